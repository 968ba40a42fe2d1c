/*
 * run.c: run records.
 *
 * All threads of a team walk the list together and meet after each record; what is too short for
 * that runs on the calling thread.  Which of the two a stretch of the list is follows from the flops
 * and bytes of its records, and from what the workers did before (team.h); results do not depend on
 * it.  Denormals are flushed while kernels run, and the caller's floating-point mode is back at return.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif
#include <stdlib.h>
#include <string.h>

#include "fnn.h"
#include "crew.h"
#include "lock.h"
#include "parallel.h"
#include "team.h"

/* ---- what is known of each op ---- */

const fnn_op_info fnn_ops[FNN_N_OPS + 1] = {
#define OP(name, diff, needs, writes, flops, bytes) {#name, diff, writes, needs},
#define OP_NOGRAD(name, writes, flops, bytes) {#name, 0, writes, 0},
#include "ops.def"
#undef OP
#undef OP_NOGRAD
    {"chain", 0, 0, 0},
};

unsigned fnn_needs(int op, unsigned want)
{
    const uint64_t needs = fnn_ops[op].needs;
    uint64_t slots = needs;
    for (int i = 0; i < 3; i++)
        if (want >> i & 1) slots |= needs >> 16 * (i + 1);
    return slots & 0xffff;
}

double fnn_flops(const fnn_call *c)
{
    const int64_t *d = c->dim;
    switch (c->op) {
#define OP(name, diff, needs, writes, flops, bytes) case FNN_OP_##name: return flops;
#define OP_NOGRAD(name, writes, flops, bytes) case FNN_OP_##name: return flops;
#include "ops.def"
#undef OP
#undef OP_NOGRAD
    }
    (void)d;
    return 0;
}

double fnn_bytes(const fnn_call *c)
{
    const int64_t *d = c->dim;
    switch (c->op) {
#define OP(name, diff, needs, writes, flops, bytes) case FNN_OP_##name: return bytes;
#define OP_NOGRAD(name, writes, flops, bytes) case FNN_OP_##name: return bytes;
#include "ops.def"
#undef OP
#undef OP_NOGRAD
    }
    (void)d;
    return 0;
}

/* One core's rates, fitted to the ops of ops.def (docs/decisions/009).  Backward moves twice as much;
 * it computes twice as much if it reads inputs, and hardly anything if outputs tell the slope. */
#define FLOPS_PER_NS 110.0
#define BYTES_PER_NS 90.0        /* from a shared cache */

double fnn_cost_ns(const fnn_call *c, int backward)
{
    if (c->op == FNN_CHAIN) return fnn_chain_cost_ns(c);
    double flops = fnn_flops(c), bytes = fnn_bytes(c);
    if (backward) {
        const uint64_t inputs = ((uint64_t)1 << c->n_in) - 1;
        flops *= fnn_ops[c->op].needs & inputs * 0x0001000100010001u ? 2 : 0;
        bytes *= 2;
    }
    return flops / FLOPS_PER_NS + bytes / BYTES_PER_NS;
}

/* ---- floating-point mode ---- */

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#define FLUSH_BITS 0x8040u               /* FTZ | DAZ */
unsigned fnn_fp_mode(void) { return _mm_getcsr(); }
static void set_fp_mode(unsigned m) { _mm_setcsr(m); }
#elif defined(__aarch64__)
#define FLUSH_BITS (1u << 24)            /* FPCR.FZ */
unsigned fnn_fp_mode(void)
{
    uint64_t m;
    __asm__ volatile("mrs %0, fpcr" : "=r"(m));
    return (unsigned)m;
}
static void set_fp_mode(unsigned m)
{
    uint64_t v = m;
    __asm__ volatile("msr fpcr, %0" ::"r"(v));
}
#else
#define FLUSH_BITS 0u
unsigned fnn_fp_mode(void) { return 0; }
static void set_fp_mode(unsigned m) { (void)m; }
#endif

/* ---- scratch: one block per run in flight, kept for the next run ---- */

typedef struct {
    _Alignas(64) char local[FNN_LOCAL_BYTES];
} slice;

typedef struct pool {
    struct pool *next;
    int threads;                         /* slices it has                                     */
    _Alignas(64) char shared[FNN_SHARED_BYTES];
    slice slices[];
} pool;

static fnn_lock lock = FNN_LOCK_INIT;
static pool *idle;

static pool *scratch_take(int threads)
{
    fnn_acquire(&lock);
    pool *p = idle;
    if (p) idle = p->next;
    fnn_release(&lock);
    if (p && p->threads >= threads) return p;
    fnn_free(p);
    const size_t size = sizeof(pool) + (size_t)threads * sizeof(slice);
    p = fnn_malloc(size);
    if (p) p->threads = threads;
    return p;
}

static void scratch_give(pool *p)
{
    fnn_acquire(&lock);
    p->next = idle;
    idle = p;
    fnn_release(&lock);
}

/* ---- run ---- */

/* Calls in order: all forward, all backward, or as told for each. */
typedef struct {
    const fnn_isa *isa;
    const fnn_call *calls;
    const unsigned char *which;          /* 1 = backward, for each call; NULL: as `backward`  */
    const float *costs;                  /* fnn_cost_ns of each; NULL: not known yet          */
    fnn_watch *watch;                    /* NULL: all calls are finished                      */
    int backward;
} work;

static int is_backward(const work *w, int64_t i) { return w->which ? w->which[i] : w->backward; }

static double cost_of(const work *w, int64_t i)
{
    return w->costs ? w->costs[i] : fnn_cost_ns(&w->calls[i], w->backward);
}

/* Where this thread's runs write when record i began and ended: [2i], [2i+1], ns.  Workers of a
 * team have none: the caller, rank 0, times for all, since a record ends at its barrier. */
static FNN_OF_THREAD double *times;

void fnn_time_records(double *begin_end) { times = begin_end; }
double fnn_clock_ns(void) { return fnn_now_ns(); }

void fnn_barrier(void)
{
    if (place) meet(place, place - place->rank);
}

/* The call that this thread is in the middle of, if it need not be finished. */
static FNN_OF_THREAD fnn_watch *watching;
static FNN_OF_THREAD int64_t at_hand;

/* Rank 0 looks, for all.  It writes the number of its call, which the others compare with theirs when
 * they have met behind it, so that all leave the list at the same call. */
static int look_up(void)
{
    fnn_watch *w = watching;
    if (__atomic_load_n(&w->begun, __ATOMIC_RELAXED)) return 1;
    if (fnn_team_rank() > 0) return 0;
    const double now = fnn_now_ns();
    if (now - w->latest < w->every) return 0;
    w->latest = now;
    if (!w->look()) return 0;
    __atomic_store_n(&w->begun, at_hand + 1, __ATOMIC_RELEASE);
    return 1;
}

int fnn_given_up(void) { return watching && look_up(); }

static fnn_watch *watch_of(const work *w, int64_t i)
{
    return w->watch && i < w->watch->until && w->costs[i] >= w->watch->every ? w->watch : NULL;
}

static int stopped_at(const work *w, int64_t i)
{
    const int64_t begun = w->watch ? __atomic_load_n(&w->watch->begun, __ATOMIC_ACQUIRE) : 0;
    return begun && begun <= i + 1;
}

static void run_range(const work *w, int64_t begin, int64_t end, pool *p)
{
    slice *own = &p->slices[fnn_team_rank()];
    const fnn_scratch s = {(float *)p->shared, (float *)own->local};
    const unsigned mode = fnn_fp_mode();
    double *const at = times;
    double now = at ? fnn_now_ns() : 0;
    set_fp_mode(mode | FLUSH_BITS);
    for (int64_t i = begin; i < end; i++) {
        const fnn_call *c = &w->calls[i];
        const unsigned met = place ? place->met : 0;
        watching = watch_of(w, i);
        at_hand = i;
        if (c->op == FNN_CHAIN) fnn_run_chain(w->isa, c, &s);
        else (is_backward(w, i) ? w->isa->bwd : w->isa->fwd)[c->op](c, &s);
        if (place && place->met == met) fnn_barrier();   /* nobody may run ahead of what it read */
        if (at) {
            at[2 * i] = now;
            at[2 * i + 1] = now = fnn_now_ns();
        }
        if (stopped_at(w, i)) break;
    }
    watching = NULL;
    set_fp_mode(mode);
}

/* The calls [first, last) for each thread of a team. */
typedef struct {
    work w;
    int64_t first, last;
    pool *p;
} stretch;
_Static_assert(sizeof(stretch) <= ORDER_BYTES, "an order holds a stretch");

static void run_stretch(void *argument)
{
    const stretch *t = argument;
    run_range(&t->w, t->first, t->last, t->p);
}

/* A stretch that a team has run. */
typedef struct {
    const member *team;                  /* NULL: none                                        */
    double cost, begin, end;
} outing;

/* Wait for those of its threads that are still on their way out, and learn from it. */
static void end_outing(outing *o)
{
    if (!o->team) return;
    team_rest();
    double late = 0;
    for (int i = 1; i < o->team->size; i++) {
        const int waited = o->team[i].cpu == o->team->cpu && o->team->cpu >= 0;   /* taking turns */
        late = fmax(late, (waited ? o->end : o->team[i].started) - o->begin);
    }
    team_learn(o->cost, o->begin, late, o->end);
    o->team = NULL;
}

/* The calls [first, last) on a team if that pays for work of `cost` ns, else on this thread. */
static void run_shared(const work *w, int64_t first, int64_t last, pool *p, double cost,
                       int n_threads, outing *o)
{
    const stretch t = {*w, first, last, p};
    end_outing(o);
    o->cost = cost;
    o->begin = fnn_now_ns();
    o->team = team_pays(cost, o->begin) ? run_team(n_threads, run_stretch, &t, sizeof t) : NULL;
    if (!o->team) run_range(w, first, last, p);
    o->end = fnn_now_ns();
    if (!o->team) memory.last = o->end;
}

/* What a team works on: from one record that is worth sharing to the last that is, with what lies
 * between as long as sharing that, too, costs less than to end this team and start another. */
static void run_all(const work *w, int64_t n, pool *p, int n_threads)
{
    outing o = {0};
    for (int64_t i = 0, j, end; i < n && !stopped_at(w, n); i = end) {
        double cost = cost_of(w, i), between = 0, lost = 0;
        const int shared = worth_sharing(cost);
        for (j = end = i + 1; j < n && lost < START_NS; j++) {
            const double next = cost_of(w, j);
            between += next;
            if (worth_sharing(next) == shared) {
                end = j + 1;
                cost += between;
                between = lost = 0;
            } else if (shared) {
                lost += MEET_NS;
            } else {
                break;
            }
        }
        if (shared && team_candidate(cost)) run_shared(w, i, end, p, cost, n_threads, &o);
        else run_range(w, i, end, p);
    }
    end_outing(&o);
}

/* Also inside the team of a stranger, whom kernels must not share work with. */
static void run_alone(const work *w, int64_t n, pool *p)
{
#ifdef FNN_CREW
    run_range(w, 0, n, p);
#else
    FNN_TEAM(1)
    run_range(w, 0, n, p);
#endif
}

static int run_work(const work *w, int64_t n, int n_threads)
{
    if (n_threads < 1) n_threads = 1;
    pool *p = scratch_take(n_threads);
    if (!p) return -1;
    if (n_threads > 1 && !fnn_in_team()) run_all(w, n, p, n_threads);
    else run_alone(w, n, p);
    scratch_give(p);
    return 0;
}

int fnn_run(const fnn_call *calls, int64_t n, int backward, int n_threads)
{
    const work w = {fnn_isa_active(), calls, NULL, NULL, NULL, backward};
    return run_work(&w, n, n_threads);
}

int fnn_replay(const fnn_call *calls, const unsigned char *which, const float *costs, int64_t n,
               int n_threads, fnn_watch *watch)
{
    const work w = {fnn_isa_active(), calls, which, costs, watch, 0};
    return run_work(&w, n, n_threads);
}

void fnn_always_team(int on) { always = on; }

/* ---- the machine's limits ---- */

typedef struct {
    const fnn_isa *isa;
    int kind;
    float *x;
    int64_t part, repeats;
} roof;

static volatile float roof_sink;

static void run_roof(void *argument)
{
    const roof *r = argument;
    float *part = r->kind == FNN_ROOF_FMA ? NULL : r->x + fnn_team_rank() * r->part;
    const float sum = r->isa->roof(r->kind, part, r->part, r->repeats);
    if (fnn_team_rank() == 0) roof_sink = sum;
}

double fnn_roof(int kind, float *x, int64_t n, int64_t repeats, int n_threads)
{
    const fnn_isa *isa = fnn_isa_active();
    roof r = {isa, kind, x, kind == FNN_ROOF_FMA ? n : n / n_threads, repeats};
    if (n_threads == 1 || !run_team(n_threads, run_roof, &r, sizeof r)) {
        n_threads = 1;
        run_roof(&r);
    }
    team_rest();
    const double flops = kind == FNN_ROOF_FMA ? isa->roof_flops : kind == FNN_ROOF_UPDATE ? 7 : 4;
    return flops * (double)r.part * (double)repeats * n_threads;
}

/* ---- per-thread grad mode ---- */

static FNN_OF_THREAD int no_grad;

int fnn_grad_mode(int set)
{
    int old = !no_grad;
    if (set >= 0) no_grad = !set;
    return old;
}

/* ---- fork ---- */

void fnn_run_fork(int before)
{
    if (before) fnn_acquire(&lock);
    else fnn_release(&lock);
}

#ifndef _WIN32
static void before_fork(void)
{
#ifndef FNN_CREW
    forget_team();
    memory.awake_until = 0;
#endif
    fnn_run_fork(1);
    fnn_alloc_fork(1);
}

static void after_fork(void)
{
    fnn_alloc_fork(0);
    fnn_run_fork(0);
}

static void after_fork_in_child(void)
{
#ifdef FNN_CREW
    forget_team();
    memory.awake_until = 0;
#endif
    after_fork();
}

__attribute__((constructor)) static void install_fork_handlers(void)
{
    pthread_atfork(before_fork, after_fork, after_fork_in_child);
}
#endif
