/*
 * parallel.h: the only place that names OpenMP inside kernels, so that another pool can be put
 * under them.  All are orphaned: in a team of one they run serially, in a team they share the work.
 *
 *   FNN_FOR          for (i = 0; i < n; i++) ...   iterations shared, barrier at the end
 *   FNN_FOR_NOWAIT   the same without the barrier: for disjoint outputs before another FNN_FOR
 *   FNN_SINGLE       one thread runs the block, barrier at the end
 *   FNN_BARRIER
 *   FNN_TEAM(n)      a team of n threads runs the block (run_team() of crew.h alone starts teams)
 *
 * FNN_ALONE, defined before, makes serial code of all (links.h).
 * The number of iterations must follow from the record alone, never from the number of threads.
 * OpenMP shares out iterations; threads, teams and barriers are our own where they can be: crew.h.
 */
#ifndef FNN_PARALLEL_H
#define FNN_PARALLEL_H

#include <limits.h>          /* tells of glibc */

void fnn_barrier(void);      /* returns when all threads of the caller's team have come to it */
int fnn_given_up(void);      /* nonzero: what is left of this call need not be done          */

/* A variable of each thread, read without a call; glibc keeps room for some in libraries loaded late. */
#if defined(__linux__) && defined(__GLIBC__)
#define FNN_OF_THREAD __attribute__((tls_model("initial-exec"))) _Thread_local
#else
#define FNN_OF_THREAD _Thread_local
#endif

#if defined(_OPENMP) && !defined(FNN_ALONE)
#include <omp.h>
#define FNN_PRAGMA(x) _Pragma(#x)
#define FNN_FOR FNN_THEN_MEET FNN_FOR_NOWAIT
#define FNN_FOR_NOWAIT FNN_PRAGMA(omp for schedule(static) nowait)
#define FNN_SINGLE FNN_THEN_MEET if (fnn_team_rank() > 0) {} else
#define FNN_BARRIER fnn_barrier();
#define FNN_THEN_MEET for (int fnn_first = 1; fnn_first; fnn_first = 0, fnn_barrier())
#define FNN_TEAM(n) FNN_PRAGMA(omp parallel num_threads(n))
static inline int fnn_team_size(void) { return omp_get_num_threads(); }
static inline int fnn_team_rank(void) { return omp_get_thread_num(); }
static inline int fnn_in_team(void) { return omp_get_level() > 0; }
static inline double fnn_now_ns(void) { return omp_get_wtime() * 1e9; }
#else
#include <time.h>
#define FNN_FOR
#define FNN_FOR_NOWAIT
#define FNN_SINGLE
#define FNN_BARRIER
#define FNN_TEAM(n)
static inline int fnn_team_size(void) { return 1; }
static inline int fnn_team_rank(void) { return 0; }
static inline int fnn_in_team(void) { return 0; }
static inline double fnn_now_ns(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}
#endif

#endif
