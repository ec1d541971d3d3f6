/*
 * gen - bounded statsd load generator for benchmarks on the loopback.
 *
 * Every datagram is built in memory before the clock starts; the send loop is
 * nothing but sendmmsg() over that pool (used in turn) and the pacing.
 *
 * It refuses any target outside 127.0.0.0/8 and ::1, and every run is bounded
 * both in lines (--lines) and in time (--seconds).
 *
 * Build: cc -O2 -Wall -Wextra -o gen gen.c -lm
 * Output: one JSON object on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINES   2000000000ULL
#define MAX_SECONDS 600.0
#define MAX_LINE    512
#define MAX_MTU     65000
#define MAX_TAGS    6
#define MAX_POOL    4000000000ULL   /* bytes: offsets are 32 bits */
#define BURST       200e-6      /* seconds of traffic in one call, when paced */
#define LATE        2000000     /* ns behind after which time is lost, not caught up */

enum { T_C, T_MS, T_G, T_S, T_H, NTYPES };
static const char *const TYPE_NAME[NTYPES] = {"c", "ms", "g", "s", "h"};

static const char *const STEM[NTYPES][8] = {
    {"web.requests", "api.users.get.count", "cache.hits", "cache.misses",
     "db.rows.read", "auth.login.ok", "queue.jobs.done", "mail.sent"},
    {"api.users.get.latency", "db.query.time", "web.render.time", "cache.get.time",
     "auth.login.time", "queue.wait.time", "rpc.billing.charge.latency", "gc.pause"},
    {"queue.depth", "mem.rss.mb", "db.pool.in_use", "disk.used.pct",
     "threads.active", "load.one", "conn.open", "cache.size.mb"},
    {"users.unique", "ips.unique", "sessions.unique", "carts.unique",
     "hosts.seen", "tenants.seen", "keys.unique", "agents.unique"},
    {"payload.size", "response.bytes", "batch.items", "query.rows",
     "image.kb", "span.depth", "retry.count", "page.weight"},
};

static const char *const TAG[MAX_TAGS] = {
    "env:prod", "region:eu-west-1", "service:checkout", "host:web-17",
    "version:2.14.3", "endpoint:/v1/users/:id",
};

struct options {
    const char *host, *unix_path, *dump, *prefix;
    int port, packed, mtu, tags, batch, core, zipf, ints;
    uint64_t series, lines, pool, seed;
    double rate, seconds;
    int mix[NTYPES];
};

/* One datagram of the pool: what it holds, for exact accounting after the run. */
struct datagram {
    uint32_t off, len, lines, by_type[NTYPES];
    double counter_sum;         /* sum of value/rate over the 'c' lines */
};

struct pool {
    struct datagram *item;
    size_t n;
    char *data;
};

/* The pool as sendmmsg() takes it; lines_before[i] lines stand before message i. */
struct messages {
    struct mmsghdr *header;
    uint64_t *lines_before;
    size_t n;
};

struct totals {
    uint64_t datagrams, lines, errors, calls, late_ns, ns;
};

static uint64_t rng_state;

static uint64_t rng(void)
{
    uint64_t x = rng_state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return rng_state = x;
}

static double uniform(void)
{
    return ((double)(rng() >> 11) + 0.5) * (1.0 / 9007199254740992.0);
}

static double normal(void)
{
    return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static void die(const char *what)
{
    fprintf(stderr, "gen: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static void *xrealloc(void *p, size_t n)
{
    p = realloc(p, n);
    if (!p)
        die("out of memory");
    return p;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* The type of a series depends only on its number, so each name has one type. */
static int type_of(const struct options *o, uint64_t series)
{
    int total = 0, t, slot;

    for (t = 0; t < NTYPES; t++)
        total += o->mix[t];
    /* 61 is coprime to any total below it and to 100: spreads types evenly */
    slot = (int)((series * 61) % (uint64_t)total);
    for (t = 0; t < NTYPES; t++) {
        if (slot < o->mix[t])
            return t;
        slot -= o->mix[t];
    }
    return T_C;
}

static int make_line(const struct options *o, uint64_t series, char *buf, int *type, double *count)
{
    int t = type_of(o, series), n, i;

    *type = t;
    *count = 0;
    n = snprintf(buf, MAX_LINE, "%s%s.s%llu:", o->prefix, STEM[t][series % 8],
                 (unsigned long long)series);
    switch (t) {
    case T_C: {
        unsigned r = (unsigned)(rng() % 100), v = r < 80 ? 1 : 1 + (unsigned)(rng() % 40);

        *count = v;
        if (rng() % 10 == 0) {
            n += snprintf(buf + n, MAX_LINE - n, "%u|c|@0.5", v);
            *count = v / 0.5;
        } else {
            n += snprintf(buf + n, MAX_LINE - n, "%u|c", v);
        }
        break;
    }
    case T_MS:
        if (o->ints)
            n += snprintf(buf + n, MAX_LINE - n, "%d|ms", 1 + (int)exp(3.0 + 0.8 * normal()));
        else
            n += snprintf(buf + n, MAX_LINE - n, "%.3f|ms", exp(3.0 + 0.8 * normal()));
        break;
    case T_G:
        n += snprintf(buf + n, MAX_LINE - n, o->ints ? "%.0f|g" : "%.2f|g", 1000.0 * uniform());
        break;
    case T_S:
        n += snprintf(buf + n, MAX_LINE - n, "u%u|s", (unsigned)(rng() % 50000));
        break;
    default:
        n += snprintf(buf + n, MAX_LINE - n, "%u|h", (unsigned)exp(7.0 + 1.2 * normal()));
        break;
    }
    for (i = 0; i < o->tags; i++)
        n += snprintf(buf + n, MAX_LINE - n, "%s%s", i ? "," : "|#", TAG[i]);
    return n;
}

/*
 * Series order: each pass over the set is a fresh permutation, so every series
 * gets the same number of samples; --zipf draws them by popularity instead.
 */
static uint64_t next_series(const struct options *o, uint32_t *perm, uint64_t k)
{
    uint64_t i = k % o->series, j;
    uint32_t tmp;

    if (o->zipf)
        return (uint64_t)(pow((double)o->series + 1.0, uniform()) - 1.0) % o->series;
    if (i == 0) {
        for (uint64_t a = o->series - 1; a > 0; a--) {
            j = rng() % (a + 1);
            tmp = perm[a];
            perm[a] = perm[j];
            perm[j] = tmp;
        }
    }
    return perm[i];
}

static void set_mix(struct options *o, char *spec)
{
    char *item, *save = NULL, *colon;
    int t, sum = 0;

    memset(o->mix, 0, sizeof o->mix);
    for (item = strtok_r(spec, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        colon = strchr(item, ':');
        if (colon)
            *colon = 0;
        for (t = 0; t < NTYPES && strcmp(item, TYPE_NAME[t]); t++)
            ;
        if (t == NTYPES)
            die("--mix wants c, ms, g, s, h with weights, as in c:40,ms:45,g:15");
        o->mix[t] = colon ? atoi(colon + 1) : 1;
        sum += o->mix[t];
    }
    if (sum <= 0 || sum > 1000)
        die("--mix weights must add up to 1..1000");
}

static int open_target(const struct options *o)
{
    int fd, size = 1 << 22;

    if (o->unix_path) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};

        if (strlen(o->unix_path) >= sizeof a.sun_path)
            die("--unix path too long");
        strcpy(a.sun_path, o->unix_path);
        fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
            die("unix target");
    } else if (strchr(o->host, ':')) {
        struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)o->port)};

        if (inet_pton(AF_INET6, o->host, &a.sin6_addr) != 1 || !IN6_IS_ADDR_LOOPBACK(&a.sin6_addr))
            die("target must be loopback (127.0.0.0/8 or ::1)");
        fd = socket(AF_INET6, SOCK_DGRAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
            die("udp6 target");
    } else {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};

        if (inet_pton(AF_INET, o->host, &a.sin_addr) != 1 || ntohl(a.sin_addr.s_addr) >> 24 != 127)
            die("target must be loopback (127.0.0.0/8 or ::1)");
        fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
            die("udp target");
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return fd;
}

/* Sleep while far from `due`, spin when close to it. */
static void wait_until(uint64_t now, uint64_t due)
{
    uint64_t wake = due - 50000;
    struct timespec ts = {(time_t)(wake / 1000000000ULL), (long)(wake % 1000000000ULL)};

    if (due - now > 70000)
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static void usage(void)
{
    fputs("gen [--host 127.0.0.1] --port P | --unix PATH\n"
          "    [--mode single|packed] [--mtu 1432]   one line a datagram, or as many as fit\n"
          "    [--series 1000] [--zipf]              distinct names; equal shares or by popularity\n"
          "    [--mix c:40,ms:45,g:15]               weights of c, ms, g, s, h\n"
          "    [--tags 0..6] [--ints] [--prefix STR] dogstatsd tags; whole values; name prefix\n"
          "    [--lines 1000000] [--seconds 60]      both bounds always hold\n"
          "    [--rate 0]                            lines/s, 0 is unpaced\n"
          "    [--core -1] [--batch 64]              pin; datagrams a sendmmsg\n"
          "    [--pool 0] [--seed 1] [--dump FILE]   lines pre-built; write them to FILE\n", stderr);
    exit(2);
}

static void parse_options(struct options *o, int argc, char **argv)
{
    static const struct option longopts[] = {
        {"host", 1, 0, 'H'}, {"port", 1, 0, 'p'}, {"unix", 1, 0, 'u'}, {"mode", 1, 0, 'm'},
        {"mtu", 1, 0, 'M'}, {"series", 1, 0, 's'}, {"mix", 1, 0, 'x'}, {"tags", 1, 0, 't'},
        {"lines", 1, 0, 'n'}, {"rate", 1, 0, 'r'}, {"seconds", 1, 0, 'T'}, {"core", 1, 0, 'c'},
        {"batch", 1, 0, 'b'}, {"pool", 1, 0, 'P'}, {"seed", 1, 0, 'S'}, {"dump", 1, 0, 'D'},
        {"prefix", 1, 0, 'f'}, {"zipf", 0, 0, 'z'}, {"ints", 0, 0, 'i'}, {0, 0, 0, 0}};
    int c;

    while ((c = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (c) {
        case 'H': o->host = optarg; break;
        case 'p': o->port = atoi(optarg); break;
        case 'u': o->unix_path = optarg; break;
        case 'm': o->packed = !strcmp(optarg, "packed"); break;
        case 'M': o->mtu = atoi(optarg); break;
        case 's': o->series = strtoull(optarg, NULL, 10); break;
        case 'x': set_mix(o, optarg); break;
        case 't': o->tags = atoi(optarg); break;
        case 'n': o->lines = strtoull(optarg, NULL, 10); break;
        case 'r': o->rate = atof(optarg); break;
        case 'T': o->seconds = atof(optarg); break;
        case 'c': o->core = atoi(optarg); break;
        case 'b': o->batch = atoi(optarg); break;
        case 'P': o->pool = strtoull(optarg, NULL, 10); break;
        case 'S': o->seed = strtoull(optarg, NULL, 10); break;
        case 'D': o->dump = optarg; break;
        case 'f': o->prefix = optarg; break;
        case 'z': o->zipf = 1; break;
        case 'i': o->ints = 1; break;
        default: usage();
        }
    }
}

static void check_options(struct options *o)
{
    if (!(o->port > 0 && o->port < 65536) && !o->unix_path && !o->dump)
        usage();
    if (o->series < 1 || o->series > 10000000 || o->tags < 0 || o->tags > MAX_TAGS ||
        o->batch < 1 || o->batch > 1024 || o->mtu < 64 || o->mtu > MAX_MTU ||
        strlen(o->prefix) > 64)
        usage();
    if (o->lines > MAX_LINES)
        o->lines = MAX_LINES;
    if (!(o->seconds > 0) || o->seconds > MAX_SECONDS)
        o->seconds = MAX_SECONDS;
    if (o->pool == 0) {         /* every series four times over, within reason */
        o->pool = o->series * 4 > 200000 ? o->series * 4 : 200000;
        if (o->pool > 4000000)
            o->pool = o->series > 4000000 ? o->series : 4000000;
    }
    if (o->pool > o->lines)
        o->pool = o->lines;
}

static void pin(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set))
        die("--core");
}

static struct pool build_pool(const struct options *o)
{
    uint32_t *perm = xrealloc(NULL, o->series * sizeof *perm);
    size_t cap = 0, used = 0, size = 0;
    struct pool p = {NULL, 0, NULL};
    struct datagram *d = NULL;
    char line[MAX_LINE + 1];

    for (uint64_t i = 0; i < o->series; i++)
        perm[i] = (uint32_t)i;
    for (uint64_t k = 0; k < o->pool; k++) {
        double count;
        int type, n = make_line(o, next_series(o, perm, k), line, &type, &count);

        if (used + MAX_LINE + 1 > size)
            p.data = xrealloc(p.data, size = size ? size * 2 : 1 << 20);
        if (!o->packed || !d || d->len + 1 + (uint32_t)n > (uint32_t)o->mtu) {
            if (p.n == cap)
                p.item = xrealloc(p.item, (cap = cap ? cap * 2 : 4096) * sizeof *p.item);
            d = &p.item[p.n++];
            memset(d, 0, sizeof *d);
            d->off = (uint32_t)used;
        } else {
            p.data[used++] = '\n';
            d->len++;
        }
        memcpy(p.data + used, line, (size_t)n);
        used += (size_t)n;
        d->len += (uint32_t)n;
        d->lines++;
        d->by_type[type]++;
        d->counter_sum += count;
        if (used > MAX_POOL)
            die("pool over 4 GB");
    }
    free(perm);
    return p;
}

static void dump(const struct pool *p, const char *path)
{
    FILE *f = fopen(path, "w");

    if (!f)
        die("--dump");
    for (size_t i = 0; i < p->n; i++) {
        fwrite(p->data + p->item[i].off, 1, p->item[i].len, f);
        fputc('\n', f);
    }
    if (fclose(f))
        die("--dump");
}

static struct messages headers(const struct pool *p)
{
    struct messages m = {xrealloc(NULL, p->n * sizeof *m.header),
                         xrealloc(NULL, (p->n + 1) * sizeof *m.lines_before), p->n};
    struct iovec *iov = xrealloc(NULL, p->n * sizeof *iov);

    memset(m.header, 0, p->n * sizeof *m.header);
    m.lines_before[0] = 0;
    for (size_t i = 0; i < p->n; i++) {
        iov[i] = (struct iovec){p->data + p->item[i].off, p->item[i].len};
        m.header[i].msg_hdr.msg_iov = &iov[i];
        m.header[i].msg_hdr.msg_iovlen = 1;
        m.lines_before[i + 1] = m.lines_before[i] + p->item[i].lines;
    }
    return m;
}

/* Datagrams in one call: a short burst when paced, else a whole batch. */
static unsigned burst(const struct options *o, const struct messages *m)
{
    double n = o->rate * BURST * (double)m->n / (double)m->lines_before[m->n];

    if (o->rate <= 0 || n > o->batch)
        return (unsigned)o->batch;
    return n < 1 ? 1 : (unsigned)n;
}

static struct totals send_all(int fd, const struct options *o, const struct messages *m)
{
    uint64_t t0 = now_ns(), start = t0, now = t0, end = t0 + (uint64_t)(o->seconds * 1e9);
    unsigned batch = burst(o, m);
    struct totals t = {0};
    size_t pos = 0;

    while (t.lines < o->lines) {
        if (o->rate > 0 || t.calls % 64 == 0)
            now = now_ns();
        if (now >= end)
            break;
        if (o->rate > 0) {
            uint64_t due = start + (uint64_t)((double)t.lines / o->rate * 1e9);

            if (now < due) {
                wait_until(now, due);
                continue;
            }
            if (now - due > LATE) {
                t.late_ns += now - due;
                start += now - due;
            }
        }
        unsigned n = batch < m->n - pos ? batch : (unsigned)(m->n - pos);
        int r = sendmmsg(fd, &m->header[pos], n, 0);

        t.calls++;
        if (r < 0) {
            if (errno != EINTR && errno != ECONNREFUSED && errno != ENOBUFS && errno != EAGAIN)
                die("sendmmsg");
            if (++t.errors > 1000000)
                die("too many send errors");
            continue;
        }
        t.lines += m->lines_before[pos + (unsigned)r] - m->lines_before[pos];
        t.datagrams += (unsigned)r;
        pos = (pos + (unsigned)r) % m->n;
    }
    t.ns = now_ns() - t0;
    return t;
}

static void report(const struct pool *p, const struct totals *t)
{
    uint64_t passes = t->datagrams / p->n, rest = t->datagrams % p->n, bytes = 0, by[NTYPES] = {0};
    double counter_sum = 0, seconds = (double)t->ns / 1e9;
    double datagrams = t->datagrams ? (double)t->datagrams : 1;
    struct rusage ru;

    for (size_t i = 0; i < p->n; i++) {
        uint64_t k = passes + (i < rest);

        bytes += k * p->item[i].len;
        counter_sum += (double)k * p->item[i].counter_sum;
        for (int type = 0; type < NTYPES; type++)
            by[type] += k * p->item[i].by_type[type];
    }
    getrusage(RUSAGE_SELF, &ru);
    printf("{\"datagrams\": %llu, \"lines\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
           "\"lines_per_s\": %.0f, \"lines_per_datagram\": %.2f, \"bytes_per_datagram\": %.1f, "
           "\"errors\": %llu, \"calls\": %llu, \"late_s\": %.6f, \"cpu_s\": %.3f, "
           "\"counter_sum\": %.1f",
           (unsigned long long)t->datagrams, (unsigned long long)t->lines,
           (unsigned long long)bytes, seconds, (double)t->lines / seconds,
           (double)t->lines / datagrams, (double)bytes / datagrams,
           (unsigned long long)t->errors, (unsigned long long)t->calls, (double)t->late_ns / 1e9,
           (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
               (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6, counter_sum);
    for (int type = 0; type < NTYPES; type++)
        printf(", \"%s\": %llu", TYPE_NAME[type], (unsigned long long)by[type]);
    printf("}\n");
}

int main(int argc, char **argv)
{
    struct options o = {.host = "127.0.0.1", .prefix = "", .mtu = 1432, .batch = 64, .core = -1,
                        .series = 1000, .lines = 1000000, .seed = 1, .seconds = 60,
                        .mix = {40, 45, 15, 0, 0}};

    parse_options(&o, argc, argv);
    check_options(&o);
    rng_state = o.seed * 0x9E3779B97F4A7C15ULL + 1;
    if (o.core >= 0)
        pin(o.core);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);

    struct pool pool = build_pool(&o);

    if (o.dump)
        dump(&pool, o.dump);
    if (!o.port && !o.unix_path)
        return 0;

    struct messages messages = headers(&pool);
    struct totals totals = send_all(open_target(&o), &o, &messages);

    report(&pool, &totals);
    return 0;
}
