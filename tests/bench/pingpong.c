/*
 * pingpong - how far apart two cores are right now: one cache line bounced
 * between two pinned threads. On a virtual machine the host may move virtual
 * CPUs, and what a datagram costs on the loopback moves with this figure.
 *
 * Build: cc -O2 -Wall -Wextra -pthread -o pingpong pingpong.c
 * Usage: pingpong [CORE CORE]      0 and 1 where not given
 * Output: nanoseconds a one-way hop (best of 5 blocks).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HOPS = 20000, BLOCKS = 5 };
static _Alignas(128) atomic_int ball;
static int core[2] = {0, 1};

/* Two threads on one core would spin for a time slice each hop: rather fail. */
static void pin(int number)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(number, &set);
    if (sched_setaffinity(0, sizeof set, &set)) {
        perror("pingpong: sched_setaffinity");
        exit(2);
    }
}

/* Wait for the other side's number, then answer with the next one. */
static void hop(int number)
{
    while (atomic_load_explicit(&ball, memory_order_acquire) != number)
        ;
    atomic_store_explicit(&ball, number + 1, memory_order_release);
}

static void *peer(void *arg)
{
    pin(core[1]);
    for (int i = 1; i < 2 * HOPS * BLOCKS; i += 2)
        hop(i);
    return arg;
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    double best = 1e18;

    for (int i = 0; argc == 3 && i < 2; i++)
        core[i] = atoi(argv[i + 1]);
    pin(core[0]);
    pthread_create(&thread, NULL, peer, NULL);
    for (int block = 0, i = 0; block < BLOCKS; block++) {
        double start = now_ns(), ns;

        for (int n = 0; n < HOPS; n++, i += 2)
            hop(i);
        ns = (now_ns() - start) / (2.0 * HOPS);
        if (ns < best)
            best = ns;
    }
    pthread_join(thread, NULL);
    printf("%.1f\n", best);
    return 0;
}
