/*
 * sink - the bare receiver: what one thread can take at most.
 *
 * One thread, recvmmsg() in batches, the receive buffer that aggd asks for. It
 * counts datagrams and their lines, so that every byte is touched once, and does
 * nothing with them. It ends --idle seconds after the last datagram, and --seconds
 * after its start in any case.
 *
 * Build: cc -O2 -Wall -Wextra -o sink sink.c
 * Output: "sink: udp 127.0.0.1:PORT" on stderr, then one JSON object on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define BATCH 256
#define SLOT  2048              /* bytes for one datagram; a longer one is cut */
#define MAX_SECONDS 600.0

static struct mmsghdr message[BATCH];
static struct iovec part[BATCH];
static char buffer[BATCH][SLOT];

struct counts {
    uint64_t datagrams, lines, bytes, calls, first_ns, last_ns;
};

static void die(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* KiB in RAM at most; ru_maxrss would be that of whoever started us, if larger. */
static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;

    while (f && fgets(line, sizeof line, f) && !sscanf(line, "VmHWM: %ld", &kib))
        ;
    if (f)
        fclose(f);
    return kib;
}

static double cpu_s(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static uint64_t newlines(const char *p, size_t n)
{
    uint64_t k = 0;

    for (size_t i = 0; i < n; i++)
        k += p[i] == '\n';
    return k;
}

static int open_socket(int port, int *granted)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval wait = {0, 50000};
    socklen_t len = sizeof a, size = sizeof *granted;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a))
        die("bind");
    /* past net.core.rmem_max for those who may, as aggd does */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, granted, sizeof *granted))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, granted, sizeof *granted);
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, granted, &size);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (getsockname(fd, (struct sockaddr *)&a, &len))
        die("getsockname");
    fprintf(stderr, "sink: udp 127.0.0.1:%d\n", ntohs(a.sin_port));
    return fd;
}

/*
 * After a batch that was less than half full it sleeps, as aggd does: without
 * that a sender on another core pays for waking it with nearly every datagram,
 * and the "limit" of single-line datagrams lies below what aggd takes.
 */
static void receive(int fd, double idle, double seconds, long pause_us, struct counts *c)
{
    struct timespec nap = {0, pause_us * 1000};
    uint64_t start = now_ns(), now;

    for (;;) {
        int n = recvmmsg(fd, message, BATCH, MSG_WAITFORONE, NULL);

        c->calls++;
        now = now_ns();
        if (now - start > (uint64_t)(seconds * 1e9))
            return;
        if (n <= 0) {
            if (c->first_ns && now - c->last_ns > (uint64_t)(idle * 1e9))
                return;
            continue;
        }
        if (!c->first_ns)
            c->first_ns = now;
        for (int i = 0; i < n; i++) {
            c->bytes += message[i].msg_len;
            c->lines += newlines(buffer[i], message[i].msg_len) + 1;
        }
        c->datagrams += (unsigned)n;
        c->last_ns = now;
        if (n < BATCH / 2 && pause_us)
            nanosleep(&nap, NULL);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"rcvbuf", 1, 0, 'r'}, {"idle", 1, 0, 'i'}, {"seconds", 1, 0, 'T'},
        {"pause", 1, 0, 'P'}, {0, 0, 0, 0}};
    int port = 0, granted = 32 << 20, c;
    double idle = 0.5, seconds = 60, cpu;
    long pause_us = 300;
    struct counts counts = {0};

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'p': port = atoi(optarg); break;
        case 'r': granted = atoi(optarg); break;
        case 'i': idle = atof(optarg); break;
        case 'T': seconds = atof(optarg); break;
        case 'P': pause_us = atol(optarg); break;
        default:
            fputs("sink [--port 0] [--rcvbuf BYTES] [--idle 0.5] [--seconds 60]\n"
                  "     [--pause 300]      microseconds after a batch less than half full\n", stderr);
            return 2;
        }
    }
    if (pause_us < 0 || pause_us > 100000)
        pause_us = 300;
    if (!(seconds > 0) || seconds > MAX_SECONDS)
        seconds = MAX_SECONDS;
    for (int i = 0; i < BATCH; i++) {
        part[i] = (struct iovec){buffer[i], SLOT};
        message[i].msg_hdr.msg_iov = &part[i];
        message[i].msg_hdr.msg_iovlen = 1;
    }
    memset(buffer, 0, sizeof buffer);       /* fault the pages in before the clock starts */

    int fd = open_socket(port, &granted);
    double before = cpu_s();

    receive(fd, idle, seconds, pause_us, &counts);
    cpu = cpu_s() - before;
    printf("{\"datagrams\": %llu, \"lines\": %llu, \"bytes\": %llu, \"calls\": %llu, "
           "\"seconds\": %.6f, \"cpu_s\": %.6f, \"resident_kib\": %ld, \"rcvbuf\": %d}\n",
           (unsigned long long)counts.datagrams, (unsigned long long)counts.lines,
           (unsigned long long)counts.bytes, (unsigned long long)counts.calls,
           (double)(counts.last_ns - counts.first_ns) / 1e9, cpu, resident_kib(), granted);
    return 0;
}
