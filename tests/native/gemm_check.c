/*
 * gemm_check.c: gemm.h against the scalar chain, bit for bit, and against double precision; and
 * its speed.
 *
 *   gemm_check            quick: a thousand shapes
 *   gemm_check full       some thousand shapes
 *   gemm_check bench [threads [m n k ta tb]]
 *                         GFLOP/s and percent of the FMA roof, best of many runs; tb = 2: B in panels
 *
 * Compile it with the flags of one ISA (see tests/test_gemm_native.py).  Every matrix ends or
 * begins at an unreadable page, and so does the scratch memory.  -DPLANT=n plants a fault that a
 * checker must find: 1 sums the two halves of k apart, 2 computes one column too many, 3 reads one
 * row too many of A, 4 loses a little of each sum, 5 the last term of sums of whole numbers, 6 sums
 * in halves in teams of seven only, 7 for a row alone only.
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "gemm.h"

#ifndef PLANT
#define PLANT 0
#endif
#define MAX_THREADS 8

/* That of run.c belongs to its own teams. */
void fnn_barrier(void)
{
#pragma omp barrier
}

int fnn_given_up(void) { return 0; }

static uint64_t rng_state = 88172645463325252u;
static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state >> 11;
}
static int64_t rng_below(int64_t n) { return (int64_t)(rng() % (uint64_t)n); }
static float rng_float(void) { return (float)rng_below(1 << 24) / (1 << 23) - 1.0f; }

/* ---- memory between unreadable pages ------------------------------------------------------ */

typedef struct {
    char *map;
    size_t bytes;         /* readable ones, a whole number of pages                      */
} guarded;

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static guarded guarded_new(size_t bytes)
{
    guarded g = {.bytes = (bytes + page() - 1) / page() * page()};
    g.map = mmap(NULL, g.bytes + 2 * page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect(g.map + page(), g.bytes, PROT_READ | PROT_WRITE)) {
        perror("mmap");
        exit(2);
    }
    return g;
}
static float *guarded_begin(guarded g) { return (float *)(g.map + page()); }
static float *guarded_end(guarded g) { return (float *)(g.map + page() + g.bytes); }
/* A block of n floats that ends, or begins, at an unreadable page. */
static float *guarded_place(guarded g, int64_t n, int at_end)
{
    return at_end ? guarded_end(g) - n : guarded_begin(g);
}

static fnn_scratch scratch[MAX_THREADS];
enum { A, B, C, EXPECTED, BIAS, NORM, ADD, KEEP, PANELS, ARENAS };
static guarded arena[ARENAS];
#define ARENA_FLOATS (1 << 20)

static void setup(void)
{
    for (int i = 0; i < MAX_THREADS; i++) {
        const guarded g = guarded_new(GEMM_SCRATCH);
        scratch[i] = (fnn_scratch){NULL, guarded_begin(g)};
        memset(scratch[i].local, 0xff, GEMM_SCRATCH);   /* NaN: garbage must not leak */
    }
    for (int i = 0; i < ARENAS; i++)
        arena[i] = guarded_new(ARENA_FLOATS * sizeof(float));
}

/* ---- the definition ------------------------------------------------------------------------ */

static float chain_fma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fmaf(a, b, c);
#else
    return c + a * b;
#endif
}

/* What becomes of the end of a chain at `at` of C, in column j. */
static float ended(const gemm_end *e, float x, int64_t at, int64_t j)
{
    if (e->rstd)
        x = chain_fma((x - e->mean[j]) * e->rstd[j], e->gain[j], e->shift[j]);
    x = e->add ? x + e->add[at] : x;
    if (e->keep)
        e->keep[at] = x;
    float lanes[FNN_LANES] = {x};
    vf_store(lanes, gemm_act(vf_load(lanes), e, e->act));   /* vmath.h has checks of its own */
    return lanes[0];
}

static void reference(const fnn_gemm *g)
{
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            const int64_t at = i * g->ldc + j;
            float sum = g->acc ? g->c[at] : g->bias ? g->bias[j] : 0.0f;
            for (int64_t p = 0; p < g->k; p++)
                sum = chain_fma(g->ta ? g->a[p * g->lda + i] : g->a[i * g->lda + p],
                                g->tb ? g->b[j * g->ldb + p] : g->b[p * g->ldb + j], sum);
            g->c[at] = ended(&g->end, sum, at, j);
        }
}

static void run_team(const fnn_gemm *g, int threads)
{
#pragma omp parallel num_threads(threads)
    gemm_team(g, &scratch[fnn_team_rank()]);
}

static void run(const fnn_gemm *g, int threads)
{
    fnn_gemm first = *g;
    if ((PLANT == 1 || (PLANT == 6 && threads == 7)) && g->k > 1 && !g->panels) {
        static float half[ARENA_FLOATS];
        fnn_gemm second = *g;
        first.k = g->k / 2;
        first.end = second.end = (gemm_end){0};
        second.k -= first.k;
        second.a += g->ta ? first.k * g->lda : first.k;
        second.b += g->tb ? first.k : first.k * g->ldb;
        second.c = half;
        second.ldc = g->n;
        second.acc = 0;
        second.bias = NULL;
        run_team(&first, threads);
        run_team(&second, threads);
        for (int64_t i = 0; i < g->m * g->n; i++)
            g->c[i / g->n * g->ldc + i % g->n] += half[i];
        return;
    }
    first.n += PLANT == 2;
    first.m += PLANT == 3;
    first.k -= PLANT == 5 && first.k > 0;
    if (threads == 0)
        gemm_serial(&first, scratch[0].local);
    else
        run_team(&first, threads);
    for (int64_t i = 0; PLANT == 4 && i < g->m * g->n; i++)
        g->c[i / g->n * g->ldc + i % g->n] *= 1.0001f;
}

/* ---- the check ----------------------------------------------------------------------------- */

static int64_t failures, checks;

/* The first three of each kind are printed. */
static void fail(const fnn_gemm *g, const char *what, int threads)
{
    static struct { const char *what; int seen; } kinds[16];
    int kind = 0;
    while (kinds[kind].what && strcmp(kinds[kind].what, what))
        kind++;
    kinds[kind].what = what;
    failures++;
    if (kinds[kind].seen++ < 3)
        printf("FAIL %s m=%ld n=%ld k=%ld ta=%d tb=%d lda=%ld ldb=%ld ldc=%ld acc=%d bias=%d norm=%d"
               " act=%d add=%d keep=%d panels=%d threads=%d\n", what, (long)g->m, (long)g->n, (long)g->k,
               g->ta, g->tb, (long)g->lda, (long)g->ldb, (long)g->ldc, g->acc, g->bias != NULL,
               g->end.rstd != NULL, g->end.act, g->end.add != NULL, g->end.keep != NULL,
               g->panels != NULL, threads);
}

/* Floats from the first to the last element of a (rows, cols) matrix. */
static int64_t extent(int64_t rows, int64_t cols, int64_t ld)
{
    return rows && cols ? (rows - 1) * ld + cols : 0;
}

/* Whole numbers, or anything; with some NaN and infinities unless the sums are to be plain. */
static void fill(float *x, int64_t n, int plain, int whole)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = whole ? (float)(rng_below(17) - 8) : rng_float();
    for (int64_t i = 0; !plain && i < n / 1000; i++)
        x[rng_below(n)] = rng_below(2) ? NAN : INFINITY;
}

/* Equal bits, but any NaN equals any other: which NaN comes out of an operation is undefined. */
static int same(const float *x, const float *y, int64_t n)
{
    if (!memcmp(x, y, (size_t)n * sizeof(float)))
        return 1;
    for (int64_t i = 0; i < n; i++)
        if (memcmp(x + i, y + i, sizeof(float)) && !(isnan(x[i]) && isnan(y[i])))
            return 0;
    return 1;
}

/* Against double precision, where products of floats are exact: each error below gamma(d) |A||B|,
 * the root mean square below 2 sqrt(d) u that of |A||B|, d = k + 1 roundings, u = 2^-24.  Sums of
 * whole numbers are exact. */
static void check_sums(const fnn_gemm *g, const float *start, int whole)
{
    const double u = ldexp(1, -24), d = (double)g->k + 1, hard = d * u / (1 - d * u);
    double errors = 0, sizes = 0, worst = 0;
    int wrong = 0;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            double sum = g->acc ? start[i * g->ldc + j] : g->bias ? g->bias[j] : 0, size = fabs(sum);
            for (int64_t p = 0; p < g->k; p++) {
                const double x = (double)(g->ta ? g->a[p * g->lda + i] : g->a[i * g->lda + p])
                               * (g->tb ? g->b[j * g->ldb + p] : g->b[p * g->ldb + j]);
                sum += x;
                size += fabs(x);
            }
            const double error = fabs(g->c[i * g->ldc + j] - sum);
            wrong |= whole && error != 0;
            worst = fmax(worst, error - hard * size);
            errors += error * error;
            sizes += size * size;
        }
    checks++;
    if (wrong)
        fail(g, "whole numbers", 1);
    if (worst > 0)
        fail(g, "hard bound", 1);
    if (errors > 4 * d * u * u * sizes)
        fail(g, "soft bound", 1);
}

/* op(B) in the panels of a weight that is kept. */
static const float *panels_of(const fnn_gemm *g, int at_end)
{
    const int64_t w = GEMM_PANEL_W, size = (g->n + w - 1) / w * w * g->k;
    float *panels = guarded_place(arena[PANELS], size, at_end);
    for (int64_t j = 0; j < g->n; j += w)
        gemm_pack_panel(panels + j * g->k, g->b + j * g->ldb, g->ldb, g->n - j, g->k);
    return panels;
}

static void check(int64_t m, int64_t n, int64_t k, int variant)
{
    const int at_end = variant & 1, kind = (int)rng_below(4);
    const int whole = kind == 0, plain = kind < 2;          /* plain: the sums themselves */
    fnn_gemm g = {.m = m, .n = n, .k = k, .ta = variant >> 1 & 1, .tb = variant >> 2 & 1};
    g.acc = rng_below(3) == 0;
    g.end.act = plain || rng_below(2) ? GEMM_ACT_NONE : (int)rng_below(GEMM_ACT_CLAMP + 1);
    g.end.low = -1, g.end.high = 6;
    g.lda = (g.ta ? m : k) + (rng_below(2) ? rng_below(20) : 0);
    g.ldb = (g.tb ? k : n) + (rng_below(2) ? rng_below(20) : 0);
    g.ldc = n + (rng_below(2) ? rng_below(20) : 0);
    const int64_t size_a = extent(g.ta ? k : m, g.ta ? m : k, g.lda);
    const int64_t size_b = extent(g.tb ? n : k, g.tb ? k : n, g.ldb);
    const int64_t size_c = extent(m, n, g.ldc);
    if (size_a > ARENA_FLOATS || size_b > ARENA_FLOATS || size_c > ARENA_FLOATS) {
        printf("shape too large for the arena\n");
        exit(2);
    }
    float *a = guarded_place(arena[A], size_a, at_end);
    float *b = guarded_place(arena[B], size_b, at_end);
    float *c = guarded_place(arena[C], size_c, at_end);
    float *expected = guarded_place(arena[EXPECTED], size_c, 1);
    float *bias = guarded_place(arena[BIAS], n, at_end);
    float *norm = guarded_place(arena[NORM], 4 * n, at_end);
    float *add = guarded_place(arena[ADD], size_c, at_end);
    float *keep = guarded_place(arena[KEEP], size_c, at_end);
    float *start = malloc((size_t)size_c * sizeof(float) + 1);
    float *kept = malloc((size_t)size_c * sizeof(float) + 1);
    fill(a, size_a, plain, whole);
    fill(b, size_b, plain, whole);
    fill(bias, n, plain, whole);
    fill(norm, 4 * n, plain, whole);
    fill(c, size_c, plain, whole);
    fill(add, size_c, plain, whole);
    memcpy(expected, c, (size_t)size_c * sizeof(float));
    memcpy(start, c, (size_t)size_c * sizeof(float));
    memcpy(kept, c, (size_t)size_c * sizeof(float));
    g.a = a;
    g.b = b;
    g.bias = !g.acc && rng_below(2) ? bias : NULL;
    if (!plain && rng_below(2))
        g.end.mean = norm, g.end.rstd = norm + n, g.end.gain = norm + 2 * n, g.end.shift = norm + 3 * n;
    g.end.add = !plain && rng_below(2) ? add : NULL;
    g.end.keep = g.end.act && rng_below(2) ? kept : NULL;
    g.c = expected;
    reference(&g);
    g.c = c;
    g.end.keep = g.end.keep ? keep : NULL;
    for (int panels = 0; panels < (g.tb && m <= 40 && PLANT != 2 ? 2 : 1); panels++) {
        g.panels = panels ? panels_of(&g, at_end) : NULL;
        static const int teams[] = {0, 1, 2, 3, 7};
        for (int i = 0; i < 5; i++) {
            memcpy(c, start, (size_t)size_c * sizeof(float));
            memcpy(keep, start, (size_t)size_c * sizeof(float));
            run(&g, teams[i]);
            checks++;
            if (!same(c, expected, size_c) || (g.end.keep && !same(keep, kept, size_c)))
                fail(&g, "chain", teams[i]);
        }
        if (plain)
            check_sums(&g, start, whole);
        /* A row alone has the bits of the row in the batch. */
        if (m > 1 && n && (PLANT == 0 || PLANT == 7)) {
            const int64_t i = rng_below(m);
            fnn_gemm row = gemm_part(g, i, i + 1, 0, n);
            memcpy(row.c, start + i * g.ldc, (size_t)n * sizeof(float));
            row.k -= PLANT == 7 && k > 0 && !panels;
            gemm_serial(&row, scratch[0].local);
            checks++;
            if (!same(c, expected, size_c))
                fail(&g, "row", 1);
        }
    }
    free(start);
    free(kept);
}

/* Two nested batch dimensions with any strides, against one product after the other. */
static void check_batched(int64_t m, int64_t n, int64_t k, int variant)
{
    fnn_gemm g = {.m = m, .n = n, .k = k, .ta = variant & 1, .tb = variant >> 1 & 1};
    const gemm_batch batch = {
        {1 + rng_below(3), 1 + rng_below(4)},
        {variant & 4 ? 0 : 4 * m * k, variant & 8 ? 0 : m * k},
        {variant & 8 ? 0 : 4 * n * k, variant & 4 ? 0 : n * k},
        {4 * m * n, m * n},
    };
    const int64_t size_a = 12 * m * k, size_b = 12 * n * k, size_c = 12 * m * n;
    float *a = guarded_begin(arena[A]), *b = guarded_begin(arena[B]);
    float *c = guarded_begin(arena[C]), *expected = guarded_begin(arena[EXPECTED]);
    fill(a, size_a, 0, 0);
    fill(b, size_b, 0, 0);
    fill(c, size_c, 0, 0);
    memcpy(expected, c, (size_t)size_c * sizeof(float));
    g.lda = g.ta ? m : k;
    g.ldb = g.tb ? k : n;
    g.ldc = n;
    for (int64_t i = 0; i < batch.n[0]; i++)
        for (int64_t j = 0; j < batch.n[1]; j++) {
            g.a = a + i * batch.a[0] + j * batch.a[1];
            g.b = b + i * batch.b[0] + j * batch.b[1];
            g.c = expected + i * batch.c[0] + j * batch.c[1];
            reference(&g);
        }
    g.a = a;
    g.b = b;
    g.c = c;
    for (int threads = 1; threads <= 3; threads++) {
        memset(c, 0xff, (size_t)size_c * sizeof(float));
        memcpy(c, expected, (size_t)size_c * sizeof(float));
        for (int64_t i = 0; i < batch.n[0]; i++)
            for (int64_t j = 0; j < batch.n[1]; j++)
                memset(c + i * batch.c[0] + j * batch.c[1], 0xff, (size_t)(m * n) * sizeof(float));
#pragma omp parallel num_threads(threads)
        gemm_batched(&g, &batch, &scratch[fnn_team_rank()]);
        checks++;
        if (!same(c, expected, size_c))
            fail(&g, "batched", threads);
    }
}

/* Sizes next to the edges of vectors, tiles and blocks, then anything. */
static int64_t random_size(int64_t most)
{
    static const int64_t near[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 128};
    const int64_t n = rng_below(3) ? near[rng_below(17)] : rng_below(most + 1);
    return n < most ? n : most;
}

static int check_all(int shapes)
{
    for (int i = 0; i < shapes; i++)
        check(random_size(90), random_size(150), random_size(100), i % 8);
    for (int m = 1; m <= 2 * GEMM_MR + 1; m++)          /* every height of a tile */
        for (int variant = 0; variant < 8; variant++)
            check(m, 1 + rng_below(200), 1 + rng_below(40), variant);
    for (int i = 0; i < shapes / 40; i++)               /* several blocks of k and of columns */
        for (int variant = 0; variant < 8; variant++)
            check(1 + rng_below(i % 4 ? 20 : 100), 1 + rng_below(i % 3 ? 40 : 1100),
                  350 + rng_below(500), variant);
    for (int i = 0; i < shapes / 8; i++)
        check_batched(random_size(100), random_size(40), random_size(40), i % 16);
    printf("%ld checks, %ld failures\n", (long)checks, (long)failures);
    return failures != 0;
}

/* ---- speed --------------------------------------------------------------------------------- */

/* One thread is timed by its own CPU time, which others on the machine disturb less. */
static double now(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The FMA roof: 12 chains that never leave the registers.  Prints nothing; returns the flops. */
#define ROOF_CHAINS 12
static double roof_work(int64_t n, volatile float *sink)
{
    qf acc[ROOF_CHAINS];
    const qf x = q_set1(0.999f), y = q_set1(0.1f);
    for (int i = 0; i < ROOF_CHAINS; i++)
        acc[i] = q_set1((float)i);
    for (int64_t p = 0; p < n; p++) {
#pragma GCC unroll 12
        for (int i = 0; i < ROOF_CHAINS; i++)
            acc[i] = q_fma(acc[i], x, y);
    }
    for (int i = 0; i < ROOF_CHAINS; i++)
        *sink = acc[i][0];
    return 2.0 * VEC_W * ROOF_CHAINS * (double)n;
}

static double roof(int threads)
{
    double best = 0;
    for (int r = 0; r < 20; r++) {
        volatile float sink[MAX_THREADS][16];
        const double t = now(threads);
        double flops = 0;
#pragma omp parallel num_threads(threads) reduction(+ : flops)
        flops += roof_work(100000, sink[fnn_team_rank()]);
        const double rate = flops / (now(threads) - t);
        best = rate > best ? rate : best;
    }
    return best;
}

/* Memory of n floats as alloc.c gives it: whole huge pages where it is large, after a header. */
#define BENCH_HEADER 16
static float *bench_alloc(int64_t n)
{
    const size_t huge = 2 << 20, bytes = (size_t)(n + BENCH_HEADER) * sizeof(float);
    const size_t align = bytes >= huge ? huge : 64;
    float *x = aligned_alloc(align, (bytes + align - 1) / align * align);
    madvise(x, bytes, MADV_HUGEPAGE);       /* refused where x is not on a page: small ones */
    return x + BENCH_HEADER;
}

static void bench_one(const char *name, int64_t m, int64_t n, int64_t k, int ta, int tb,
                      int threads, double top)
{
    float *a = bench_alloc(m * k), *b = bench_alloc(n * k), *c = bench_alloc(m * n);
    float *panels = bench_alloc((n + GEMM_PANEL_W) * k);
    for (int64_t i = 0; i < m * k; i++)
        a[i] = rng_float();
    for (int64_t i = 0; i < n * k; i++)
        b[i] = rng_float();
    memset(c, 0, (size_t)(m * n) * 4);
    for (int64_t j = 0; tb && j < n; j += GEMM_PANEL_W)
        gemm_pack_panel(panels + j * k, b + j * k, k, n - j, k);
    const fnn_gemm g = {.m = m, .n = n, .k = k, .a = a, .lda = ta ? m : k, .ta = ta, .b = b,
                        .ldb = tb ? k : n, .tb = tb, .c = c, .ldc = n,
                        .panels = tb == 2 ? panels : NULL};
    /* About 0.3 s in blocks of at least 50 us inside one team. */
    const double flops = 2.0 * (double)m * (double)n * (double)k;
    const int inner = (int)(flops < 5e6 ? 5e6 / flops + 1 : 1);
    double best = 1e9, total = now(threads);
    do {
        const double t = now(threads);
#pragma omp parallel num_threads(threads)
        for (int r = 0; r < inner; r++)
            gemm_team(&g, &scratch[fnn_team_rank()]);
        const double each = (now(threads) - t) / inner;
        best = each < best ? each : best;
    } while (now(threads) - total < 0.3);
    printf("%-10s %c%c m=%-5ld n=%-5ld k=%-5ld %9.1f us %7.1f GFLOP/s %5.1f%%\n", name,
           ta ? 'T' : 'N', "NTP"[tb], (long)m, (long)n, (long)k, best * 1e6,
           flops / best * 1e-9, 100 * flops / best / top);
    free(a - BENCH_HEADER);
    free(b - BENCH_HEADER);
    free(c - BENCH_HEADER);
    free(panels - BENCH_HEADER);
}

static void bench(int threads)
{
    const double top = roof(threads);
    printf("%d threads, FMA roof %.1f GFLOP/s\n", threads, top * 1e-9);
    static const int square[] = {32, 48, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1024, 2048};
    for (size_t i = 0; i < sizeof square / sizeof *square; i++)
        for (int trans = 0; trans < (square[i] > 1024 ? 1 : 4); trans++)
            bench_one("square", square[i], square[i], square[i], trans >> 1, trans & 1, threads,
                      top);
    static const int linear[][3] = {
        {1, 1024, 1024}, {2, 1024, 1024}, {4, 1024, 1024}, {8, 1024, 1024}, {16, 1024, 1024},
        {1, 256, 784}, {1, 10, 128}, {16, 32, 32}, {8, 4096, 1024}, {64, 256, 784}, {64, 10, 128},
        {128, 768, 3072}, {4096, 64, 576}, {256, 2048, 784}, {128, 384, 384}, {128, 1536, 384}};
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++) {
        const int m = linear[i][0], n = linear[i][1], k = linear[i][2];
        bench_one("linear", m, n, k, 0, 1, threads, top);      /* Y = X W^T        */
        bench_one("linear", m, n, k, 0, 2, threads, top);      /* the same, W kept in panels */
        bench_one("linear-dx", m, k, n, 0, 0, threads, top);   /* dX = dY W        */
        bench_one("linear-dw", n, k, m, 1, 0, threads, top);   /* dW = dY^T X      */
    }
}

int main(int argc, char **argv)
{
    setup();
    if (argc > 1 && !strcmp(argv[1], "bench")) {
        const int threads = argc > 2 ? atoi(argv[2]) : 2;
        if (argc > 7)
            bench_one("", atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), atoi(argv[7]),
                      threads, roof(threads));
        else
            bench(threads);
        return 0;
    }
    return check_all(argc > 1 && !strcmp(argv[1], "full") ? 4000 : 600);
}
