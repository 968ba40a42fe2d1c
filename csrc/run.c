/*
 * run.c: run records.
 *
 * Neighbouring records that are worth a team run inside one parallel region; the others run on the
 * calling thread.  Which of the two a record is follows from its flops and bytes alone.  Denormals
 * are flushed while kernels run, and the caller's floating-point mode is back at return.
 */
#include <stdlib.h>

#include "fnn.h"
#include "lock.h"
#include "parallel.h"

/* ---- what is known of each op ---- */

const fnn_op_info fnn_ops[FNN_N_OPS] = {
#define OP(name, diff, needs, writes, flops, bytes) {#name, diff, writes, needs},
#define OP_NOGRAD(name, writes, flops, bytes) {#name, 0, writes, 0},
#include "ops.def"
#undef OP
#undef OP_NOGRAD
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

/* Rough one-core rates: 40 flops and 20 bytes (from cache) a nanosecond; backward does twice the work. */
double fnn_cost_ns(const fnn_call *c, int backward)
{
    double ns = fnn_flops(c) / 40 + fnn_bytes(c) / 20;
    return backward ? 2 * ns : ns;
}

#define TEAM_NS 5000.0   /* below this, waking the team costs more than it saves */

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

typedef struct pool {
    struct pool *next;
    int threads;                         /* local slices it has */
} pool;
#define POOL_HEADER 64

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
    p = fnn_malloc(POOL_HEADER + (size_t)FNN_SHARED_BYTES + (size_t)threads * FNN_LOCAL_BYTES);
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

static fnn_scratch scratch_of(pool *p, int rank)
{
    char *base = (char *)p + POOL_HEADER;
    return (fnn_scratch){(float *)base,
                         (float *)(base + FNN_SHARED_BYTES + (size_t)rank * FNN_LOCAL_BYTES)};
}

/* ---- run ---- */

static void run_range(const fnn_kernel *table, const fnn_call *c, int64_t n, pool *p)
{
    fnn_scratch s = scratch_of(p, fnn_team_rank());
    unsigned mode = fnn_fp_mode();
    set_fp_mode(mode | FLUSH_BITS);
    for (int64_t i = 0; i < n; i++) table[c[i].op](&c[i], &s);
    set_fp_mode(mode);
}

int fnn_run(const fnn_call *calls, int64_t n, int backward, int n_threads)
{
    const fnn_isa *isa = fnn_isa_active();
    const fnn_kernel *table = backward ? isa->bwd : isa->fwd;
    if (n_threads < 1) n_threads = 1;
    pool *p = scratch_take(n_threads);
    if (!p) return -1;
    for (int64_t i = 0, j; i < n; i = j) {
        int heavy = n_threads > 1 && fnn_cost_ns(&calls[i], backward) > TEAM_NS;
        for (j = i + 1; j < n; j++)
            if ((n_threads > 1 && fnn_cost_ns(&calls[j], backward) > TEAM_NS) != heavy) break;
        if (heavy) {
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
#endif
            run_range(table, calls + i, j - i, p);
        } else {
            run_range(table, calls + i, j - i, p);
        }
    }
    scratch_give(p);
    return 0;
}

/* ---- the machine's limits ---- */

double fnn_roof(int kind, float *x, int64_t n, int64_t repeats, int n_threads)
{
    const fnn_isa *isa = fnn_isa_active();
    const int64_t part = kind == FNN_ROOF_FMA ? n : n / n_threads;
    volatile float sink = 0;
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
#endif
    {
        float *mine = kind == FNN_ROOF_FMA ? NULL : x + fnn_team_rank() * part;
        float sum = isa->roof(kind, mine, part, repeats);
        if (fnn_team_rank() == 0) sink = sum;
    }
    (void)sink;
    const double work = kind == FNN_ROOF_FMA ? isa->roof_flops : kind == FNN_ROOF_UPDATE ? 7 : 4;
    return work * (double)part * (double)repeats * n_threads;
}

/* ---- per-thread grad mode ---- */

static _Thread_local int no_grad;

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
#ifdef _OPENMP
    omp_pause_resource_all(omp_pause_hard);   /* libgomp's pool does not survive a fork */
#endif
    fnn_run_fork(1);
    fnn_alloc_fork(1);
}

static void after_fork(void)
{
    fnn_alloc_fork(0);
    fnn_run_fork(0);
}

__attribute__((constructor)) static void install_fork_handlers(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}
#endif
