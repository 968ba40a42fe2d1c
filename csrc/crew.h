/*
 * crew.h: the threads that work for a calling thread.
 *
 * A region of libgomp makes two system calls, 0.46 µs, even if its workers spin; a replayed network
 * of batch 1 takes ten times that.  Here an order is one cache line or two on which all workers
 * spin, and each counts what it has done in a line of its own, which the caller looks at last.
 * GCC shares out the iterations of `omp for` by asking omp_get_num_threads() and
 * omp_get_thread_num(): this file answers, hidden from others, and no region of libgomp is needed.
 *
 * Invariants: each calling thread has a crew of its own, which ends with the thread; a forked child
 * starts without one.  What an order points to stays until team_rest().
 * Elsewhere (other compilers, other systems) OpenMP's regions do the same.
 */
#ifndef FNN_CREW_H
#define FNN_CREW_H

#include <stdlib.h>
#include <string.h>

#include "barrier.h"
#include "fnn.h"
#include "lock.h"

/* This thread's place in the team it works for, if any. */
static FNN_OF_THREAD member *place;

#define ORDER_BYTES 96

#if defined(_OPENMP) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FNN_CREW
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

int omp_get_num_threads(void) { return place ? place->size : 1; }
int omp_get_thread_num(void) { return place ? place->rank : 0; }

typedef struct {
    _Alignas(64) atomic_uint orders;     /* given so far                                       */
    void (*body)(void *);                /* NULL: the crew is dismissed                        */
    _Alignas(16) char argument[ORDER_BYTES];
    _Alignas(64) int size;               /* 0: not all threads could be made                   */
    int working;                         /* the latest order may not be done                   */
    fnn_lock start;                      /* held until all threads are made                    */
    pthread_t *threads;                  /* of size, the caller's is not used                  */
    member members[];
} crew;

static FNN_OF_THREAD crew *mine;
static pthread_key_t key;                /* tells when a calling thread ends                   */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void *serve(void *m)
{
    member *own = m, *team = own - own->rank;
    crew *c = (crew *)((char *)team - offsetof(crew, members));
    fnn_acquire(&c->start);
    fnn_release(&c->start);
    if (!c->size) return NULL;
    place = own;
    for (unsigned order = 1;; order++) {
        await(&c->orders, order, own, team);
        if (!c->body) return NULL;
        own->started = fnn_now_ns();
        own->cpu = this_cpu();
        if (own->cpu == team->cpu) step_aside(own);
        c->body(c->argument);
        atomic_store(&own->done, order);
        if (atomic_load(&team->asleep)) wake(&own->done);
    }
}

/* Everybody in the crew is told; the caller's own part is the caller's business. */
static void give_order(crew *c, void (*body)(void *))
{
    c->body = body;
    c->members->cpu = this_cpu();
    atomic_fetch_add(&c->orders, 1);
    for (int i = 1, told = 0; i < c->size && !told; i++)
        if ((told = atomic_load(&c->members[i].asleep))) wake(&c->orders);
}

/* Returns when the caller's team has done all that it was told to. */
static void team_rest(void)
{
    crew *c = mine;
    if (!c || !c->working) return;
    for (int i = 1; i < c->size; i++)
        await(&c->members[i].done, c->orders, c->members, c->members + i);
    c->working = 0;
}

/* Its threads, up to number `made`, have ended. */
static void crew_free(crew *c, int made)
{
    for (int i = 1; i < made; i++) pthread_join(c->threads[i], NULL);
    free(c->threads);
    fnn_free(c);
}

static void dismiss(void *thread_crew)
{
    crew *c = thread_crew;
    give_order(c, NULL);
    crew_free(c, c->size);
    mine = NULL;
}

static void make_key(void) { pthread_key_create(&key, dismiss); }

/* n threads, the caller among them; NULL if the system has not so many. */
static crew *new_crew(int n)
{
    const size_t size = sizeof(crew) + (size_t)n * sizeof(member);
    crew *c = fnn_malloc(size);
    if (!c) return NULL;
    memset(c, 0, size);
    pthread_mutex_init(&c->start, NULL);
    c->threads = calloc((size_t)n, sizeof *c->threads);
    for (int i = 0; i < n; i++) {
        c->members[i].rank = i;
        c->members[i].size = n;
        c->members[i].cpu = -1;
    }
    sigset_t all, old;                   /* signals are for the program's own threads          */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    fnn_acquire(&c->start);
    int made = 1;
    while (c->threads && made < n
           && !pthread_create(&c->threads[made], NULL, serve, &c->members[made]))
        made++;
    c->size = made < n ? 0 : n;
    fnn_release(&c->start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (c->size) return c;
    crew_free(c, made);
    return NULL;
}

/* The caller's team of n threads runs body(argument), of which each has a copy.  Returns when the
 * caller has; the team, whose others may still be at it until team_rest(), or NULL if the system has
 * none: nothing was done. */
static member *run_team(int n, void (*body)(void *), const void *argument, size_t bytes)
{
    team_rest();
    if (!mine || mine->size != n) {
        pthread_once(&key_once, make_key);
        if (mine) dismiss(mine);
        mine = new_crew(n);
        pthread_setspecific(key, mine);
        if (!mine) return NULL;
    }
    memcpy(mine->argument, argument, bytes);
    mine->working = 1;
    give_order(mine, body);
    place = mine->members;
    body(mine->argument);
    place = NULL;
    return mine->members;
}

/* In a forked child: the threads are the parent's. */
static void forget_team(void)
{
    if (mine) pthread_setspecific(key, NULL);
    mine = NULL;
}

#else

enum { MOST = 64 };                      /* threads of a team                                  */
static _Thread_local member members[MOST];

static void team_rest(void) {}

static member *run_team(int n, void (*body)(void *), const void *argument, size_t bytes)
{
    _Alignas(16) char copy[ORDER_BYTES];
    member *team = members;
    const unsigned met = team->met;
    n = n < MOST ? n : MOST;
    team->cpu = this_cpu();
    memcpy(copy, argument, bytes);
    FNN_TEAM(n)
    {
        place = team + fnn_team_rank();
        place->rank = fnn_team_rank();
        place->size = fnn_team_size();
        place->met = met;
        if (place->rank > 0) {
            place->started = fnn_now_ns();
            place->cpu = this_cpu();
            if (place->cpu == team->cpu) step_aside(place);
        }
        body(copy);
        place = NULL;
    }
    return team;
}

static void forget_team(void)
{
#ifdef _OPENMP
    omp_pause_resource_all(omp_pause_hard);   /* libgomp's pool does not survive a fork */
#endif
}

#endif
#endif
