/*
 * stranger.c: an OpenMP program of somebody else in the same process.  It shares the runtime and
 * the worker threads of its caller.
 */
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#include <omp.h>

/* callback() from every thread of a team. */
void call_from_team(int n_threads, void (*callback)(void))
{
#pragma omp parallel num_threads(n_threads)
    callback();
}

/* The floating-point mode of every worker; returns how many there are. */
int fp_modes(int n_threads, unsigned *modes)
{
    int n = 0;
#pragma omp parallel num_threads(n_threads)
    {
#if defined(__x86_64__)
        modes[omp_get_thread_num()] = _mm_getcsr();
#else
        modes[omp_get_thread_num()] = 0;
#endif
#pragma omp master
        n = omp_get_num_threads();
    }
    return n;
}
