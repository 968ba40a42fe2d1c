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

#include <stdatomic.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <time.h>
#endif

#define ROUNDS 10            /* teams of up to 1024 threads                                    */
#define SPINS 10000          /* 0.25 ms here, then sleep; as libgomp's: fastnn/_runtime.py     */
#define GLANCE 64            /* spins between looks at who else needs this CPU                 */

typedef struct member {
    _Alignas(64) atomic_uint signal[ROUNDS];  /* how often a thread 2^r before this one has come */
    atomic_int asleep;                   /* waits for a signal in the kernel                   */
    atomic_int cpu;                      /* where it was when the team began; -1 = unknown     */
    unsigned met;                        /* barriers so far                                    */
    int rank, size;
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
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
#else
    (void)word;
#endif
}

/* Wait for the signal of `from` in its round: spin, but not where `from` needs this CPU to come. */
static void await(member *own, const member *from, int round)
{
    atomic_uint *word = &own->signal[round];
    unsigned value;
    for (int spins = 0;; spins++) {
        value = atomic_load_explicit(word, memory_order_acquire);
        if ((int)(value - own->met) >= 0) return;
        if (spins >= SPINS) {
            atomic_store(&own->asleep, 1);
            if (atomic_load(word) == value) sleep_while(word, value);
            atomic_store(&own->asleep, 0);
        } else if (spins % GLANCE == GLANCE - 1 && from->cpu >= 0 && from->cpu == this_cpu()) {
#if defined(__linux__)
            sched_yield();
#endif
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
        await(own, team + (own->rank + own->size - away) % own->size, round);
    }
}

#endif
