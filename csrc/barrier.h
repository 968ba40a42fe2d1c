/*
 * barrier.h: where the threads of a team meet.
 *
 * The barrier of libgomp makes a system call each time, 0.23 µs even if nobody sleeps; a record of
 * a small network is not much longer.  This is a dissemination barrier (Hensgen, Finkel and Manber,
 * "Two algorithms for barrier synchronization", 1988): in round r every thread signals the one 2^r
 * places after it and waits for the one 2^r before it.  Two threads store and load once, 0.05 µs.
 *
 * Invariants: all threads of a team meet equally often; `met` is the same for all at the start of a
 * team and only grows, so that no signal of the past looks like one of now.
 */
#ifndef FNN_BARRIER_H
#define FNN_BARRIER_H

#include <limits.h>
#include <stdatomic.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <time.h>
#endif

#include "parallel.h"

#define ROUNDS 10            /* teams of up to 1024 threads                                    */
#define SPINS 10000          /* 0.25 ms here, longer than Python's pauses in a step; then sleep */
#define GLANCE 64            /* spins between looks at who else needs this CPU                 */

/* What others write or look at while they spin lies in one cache line, what a thread writes in another. */
typedef struct member {
    _Alignas(64) atomic_uint signal[ROUNDS];  /* how often a thread 2^r before this one has come */
    atomic_int asleep;                   /* waits in the kernel, or was woken and has not run  */
    atomic_int cpu;                      /* where it was last seen; -1 = unknown               */
    int rank, size;
    _Alignas(64) unsigned met;           /* barriers so far                                    */
    atomic_uint done;                    /* orders carried out, see crew.h                     */
    double started;                      /* when it began with the latest, ns                  */
    double moved;                        /* when it last left its master's CPU, ns             */
} member;

static int this_cpu(void)
{
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

static void spin_once(void)
{
#if defined(__x86_64__) || defined(_M_X64)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Sleep while *word is `value`. */
static void sleep_while(atomic_uint *word, unsigned value)
{
#if defined(__linux__)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#else
    (void)word, (void)value;
    nanosleep(&(struct timespec){0, 50000}, NULL);
#endif
}

static void wake(atomic_uint *word)
{
#if defined(__linux__)
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
    (void)word;
#endif
}

#define MOVE_NS 2e5          /* a worker is moved at most once in so long                      */

/* Linux wakes a worker on the CPU of its master and may leave both there for hundreds of
 * milliseconds, while another CPU idles.  Such a worker steps aside: its mask, which it has for a
 * moment only, leaves no other way.  The caller's own thread, rank 0, is never touched. */
static void step_aside(member *own)
{
#if defined(__linux__)
    const double now = fnn_now_ns();
    cpu_set_t all, others;
    if (own->rank == 0 || now - own->moved < MOVE_NS || sched_getaffinity(0, sizeof all, &all)
        || CPU_COUNT(&all) < own->size)
        return;
    others = all;
    CPU_CLR(own->cpu, &others);
    own->moved = now;
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof all, &all);
    own->cpu = this_cpu();
#else
    (void)own;
#endif
}

/* A look around while waiting: does `from` need this CPU to come? */
static void make_way(member *own, const member *from)
{
#if defined(__linux__)
    const int here = this_cpu();
    if (own->cpu != here) own->cpu = here;
    if (here >= 0 && from->cpu == here) step_aside(own);
    if (own->cpu == from->cpu || from->asleep) sched_yield();
#else
    (void)own, (void)from;
#endif
}

/* Wait until `from` has counted *word up to `least`: spin, but not where it needs this CPU to come. */
static void await(atomic_uint *word, unsigned least, member *own, const member *from)
{
    unsigned value;
    for (int spins = 0;; spins++) {
        value = atomic_load_explicit(word, memory_order_acquire);
        if ((int)(value - least) >= 0) return;
        if (spins >= SPINS) {
            atomic_store(&own->asleep, 1);
            if (atomic_load(word) == value) sleep_while(word, value);
            atomic_store(&own->asleep, 0);
            own->cpu = this_cpu();
            if (own->cpu == from->cpu) step_aside(own);
        } else if (spins % GLANCE == GLANCE - 1) {
            make_way(own, from);
        } else {
            spin_once();
        }
    }
}

/* Member `own` of team[0..own->size) has come; returns when all have. */
static void meet(member *own, member *team)
{
    own->met++;
    for (int round = 0, away = 1; away < own->size; round++, away *= 2) {
        member *to = team + (own->rank + away) % own->size;
        atomic_store(&to->signal[round], own->met);
        if (atomic_load(&to->asleep)) wake(&to->signal[round]);
        await(&own->signal[round], own->met, own, team + (own->rank + own->size - away) % own->size);
    }
}

#endif
