/*
 * team.h: when a team of threads pays.
 *
 * n threads save at least half of what one thread takes, and cost the wait for the last of them to
 * start.  How long that is depends on what the workers are doing: for SPIN_NS after a region they
 * spin, later they sleep, and where other programs or other pools want the cores they come
 * milliseconds late.  It also depends on how far apart the cores are, which a virtual machine may
 * change.  So each calling thread, which has workers of its own, remembers when they last had work
 * and how late they came.  Results do not depend on the answer: a kernel's bits are
 * the same for any number of threads.
 */
#ifndef FNN_TEAM_H
#define FNN_TEAM_H

#include <math.h>

#include "parallel.h"

#define START_NS 1750.0      /* to start and end a team whose workers spin, as long as untimed     */
#define START_FIXED 700.0    /* ... of which so much is there for any two cores                    */
#define START_LATE 2.7       /* ... and the rest so many times what the last thread came late      */
#define FORGET_NS 10e6       /* work done alone until what was timed counts as old                 */
#define MEET_NS 150.0        /* for its threads to meet once, and to fetch what others computed    */
#define WAKE_NS 50000.0      /* ... whose workers sleep, as long as none has been timed            */
#define SPIN_NS 200000.0     /* how long they spin: SPINS in barrier.h                             */
#define AMORTIZE 16.0        /* late starts may cost one part in so many                           */
#define ALONE_NS 64e6        /* ... and keep a caller from trying again for so long at most        */
#define STREAK 6             /* doublings of that time, from twice the loss on                     */

typedef struct {
    double start;            /* what a team takes to start and end while its workers spin: median  */
    double lone;             /* work that was too short for that, since                            */
    double last;             /* end of the latest work that was a candidate for a team             */
    double awake_until;      /* the workers spin until then                                        */
    double wake;             /* what waking them takes                                             */
    double alone;            /* work done alone because they sleep                                 */
    double late;             /* how late they came when that was too late                          */
    double owed_until;       /* that loss is made up for then                                      */
    double crowded_until;    /* the next came before: late starts are expected until then          */
    int streak;              /* how many came so                                                   */
} team_memory;

static FNN_OF_THREAD team_memory memory = {.start = START_NS, .wake = WAKE_NS};
static int always;           /* tests: every record runs on a team                                 */

static inline int worth_sharing(double cost) { return always || cost > 2 * MEET_NS; }
static inline int team_candidate(double cost) { return always || cost > 2 * START_NS; }

/* Is a team worth its start, for work that takes one thread `cost` ns?  Work that would pay but for
 * sleeping workers adds up, so that a burst of it wakes them. */
static int team_pays(double cost, double now)
{
    team_memory *m = &memory;
    if (always) return 1;
    if (now < m->crowded_until) return cost > 2 * m->late;
    if (cost <= 2 * m->start) {
        m->lone += cost;
        if (m->lone > FORGET_NS) m->start = START_NS, m->lone = 0;
        return 0;
    }
    if (now < m->awake_until) return 1;
    if (now - m->last > SPIN_NS) m->alone = 0;
    m->alone += cost;
    return m->alone > 2 * m->wake;
}

/* A team has done work of `cost` ns; its last thread started `late` ns after the call.  One late
 * start is forgiven.  The next before that loss is made up for keeps the caller alone, twice as long
 * each time: a worker that woke in the wrong place costs little, a crowd is soon left to itself. */
static void team_learn(double cost, double begin, double late, double end)
{
    team_memory *m = &memory;
    const int asleep = begin > m->awake_until;
    const double expected = asleep ? m->wake : START_NS;
    if (asleep) m->wake += (fmin(late, 10 * WAKE_NS) - m->wake) / 4;
    else m->start *= START_FIXED + START_LATE * late > m->start ? 1.05 : 0.95;
    m->lone = 0;
    if (late > 4 * expected && late > cost / 2) {
        m->streak = begin < m->owed_until ? m->streak + (m->streak < STREAK) : 0;
        if (m->streak) m->crowded_until = end + fmin((1 << m->streak) * late, ALONE_NS);
        m->owed_until = fmin(fmax(m->owed_until, end) + AMORTIZE * late, end + 2 * ALONE_NS);
        m->late = late;
    }
    m->last = end;
    m->awake_until = end + SPIN_NS;
    m->alone = 0;
}

#endif
