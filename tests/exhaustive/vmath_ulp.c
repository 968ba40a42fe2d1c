/*
 * vmath_ulp.c: the functions of csrc/vmath.h against double libm, over all 2^32 arguments.
 *
 *   vmath_ulp                     every function, every argument
 *   vmath_ulp STEP [NAME ...]     every STEP-th argument of the functions named
 *   vmath_ulp time                nanoseconds per element, from L1
 *
 * One line per function: the largest error in ULP of the float32 result and its argument, and the
 * largest absolute error; the exit code is 1 if a stated bound is exceeded.  It runs as kernels do,
 * with denormals flushed: a result below 2^-126 may be zero.  How to build it: README.md.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vmath.h"

enum { BLOCK = 4096 };
typedef void block_fn(const float *x, float *y);
typedef double ref_fn(double x);

#define APPLY(name)                                                                         \
    static void name##_block(const float *x, float *y)                                      \
    {                                                                                       \
        for (int i = 0; i < BLOCK; i += FNN_LANES) vf_store(y + i, vf_##name(vf_load(x + i))); \
    }
APPLY(exp)
APPLY(log)
APPLY(log1p)
APPLY(expm1)
APPLY(tanh)
APPLY(sigmoid)
APPLY(erf)
APPLY(softplus)
APPLY(gelu)
APPLY(gelu_tanh)
APPLY(silu)

static double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double ref_softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))) + 0 * x; }
static double ref_silu(double x) { return x == -INFINITY ? -0.0 : x * ref_sigmoid(x); }
static double ref_gelu(double x) { return x == -INFINITY ? -0.0 : x * 0.5 * erfc(-x * sqrt(0.5)); }
static double ref_gelu_tanh(double x)
{
    double z = 2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
    return x == -INFINITY ? -0.0 : x * ref_sigmoid(z);
}

/* An error passes if it is within ulp, or within abs where abs > 0. */
static const struct { const char *name; block_fn *fn; ref_fn *ref; double ulp, abs; } table[] = {
    {"exp", exp_block, exp, 1, 0},
    {"log", log_block, log, 1, 0},
    {"log1p", log1p_block, log1p, 1, 0},
    {"expm1", expm1_block, expm1, 1, 0},
    {"tanh", tanh_block, tanh, 2, 0},
    {"sigmoid", sigmoid_block, ref_sigmoid, 2, 0},
    {"erf", erf_block, erf, 2, 0},
    {"softplus", softplus_block, ref_softplus, 2, 0},
    {"gelu", gelu_block, ref_gelu, 4, 0},
    {"gelu_tanh", gelu_tanh_block, ref_gelu_tanh, 4, 0x1p-22},
    {"silu", silu_block, ref_silu, 4, 0x1p-22},
};
enum { N_FUNCTIONS = sizeof table / sizeof *table };

static void flush_denormals(void)
{
#if defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)1 << 24));
#elif defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

/* Error in ULP, HUGE_VAL if wrong in kind; *diff: the absolute error. */
static double ulp_error(float x, float got, double want, double *diff)
{
    *diff = 0;
    if (want != want || got != got) return (want != want) == (got != got) ? 0 : HUGE_VAL;
    if (x == 0 && want == 0) return got == 0 && !signbit(got) == !signbit(want) ? 0 : HUGE_VAL;
    double g = isinf(got) ? copysign(0x1p128, got) : got;
    if (fabs(want) > 0x1p128) want = copysign(0x1p128, want);
    *diff = fabs(g - want);
    if (fabs(want) < 0x1.00001p-126 && fabs(g) <= 0x1p-126) return 0;
    int e;
    frexp(fmax(fabs(want), 0x1p-126), &e);
    return ldexp(*diff, 24 - (e > 128 ? 128 : e));
}

typedef struct { double ulp, abs; float at, abs_at; uint64_t bad; } result;

static void run_block(int f, uint64_t first, uint64_t step, result *r)
{
    float x[BLOCK], y[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        uint32_t bits = (uint32_t)((first + (uint64_t)i) * step);
        memcpy(x + i, &bits, 4);
    }
    table[f].fn(x, y);
    for (int i = 0; i < BLOCK; i++) {
        double diff, err = ulp_error(x[i], y[i], table[f].ref(x[i]), &diff);
        if (diff > r->abs) r->abs = diff, r->abs_at = x[i];
        if (err > table[f].ulp && diff > 0 && diff <= table[f].abs) continue;
        if (err > r->ulp) r->ulp = err, r->at = x[i];
        r->bad += err > table[f].ulp;
    }
}

static int check(int f, uint64_t step)
{
    int64_t blocks = (int64_t)(((1ull << 32) / step + BLOCK - 1) / BLOCK);
    result all = {0};
#pragma omp parallel
    {
        result r = {0};
        flush_denormals();
#pragma omp for schedule(dynamic, 16)
        for (int64_t b = 0; b < blocks; b++) run_block(f, (uint64_t)b * BLOCK, step, &r);
#pragma omp critical
        {
            if (r.ulp > all.ulp) all.ulp = r.ulp, all.at = r.at;
            if (r.abs > all.abs) all.abs = r.abs, all.abs_at = r.abs_at;
            all.bad += r.bad;
        }
    }
    printf("%-10s %7.4f ULP at %-15.9g (bound %g)   abs %.3g at %.9g%s\n", table[f].name, all.ulp,
           all.at, table[f].ulp, all.abs, all.abs_at, all.bad ? "   EXCEEDED" : "");
    fflush(stdout);
    return all.bad != 0;
}

static void measure(int f)
{
    static float x[BLOCK], y[BLOCK];
    struct timespec a, b;
    double best = HUGE_VAL;
    for (int i = 0; i < BLOCK; i++) x[i] = 0.01f + (float)i * (4.0f / BLOCK);
    for (int round = 0; round < 200; round++) {
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < 8; i++) table[f].fn(x, y);
        clock_gettime(CLOCK_MONOTONIC, &b);
        double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
        best = fmin(best, ns / (8 * BLOCK));
    }
    printf("%-10s %.3f ns/element\n", table[f].name, best);
}

int main(int argc, char **argv)
{
    int timing = argc > 1 && !strcmp(argv[1], "time"), failed = 0;
    uint64_t step = argc > 1 && !timing ? strtoull(argv[1], NULL, 10) : 1;
    if (step == 0) return fprintf(stderr, "usage: vmath_ulp [STEP [NAME ...] | time]\n"), 2;
    for (int f = 0; f < N_FUNCTIONS; f++) {
        int chosen = argc <= 2;
        for (int i = 2; i < argc; i++) chosen |= !strcmp(argv[i], table[f].name);
        if (chosen && timing) measure(f);
        else if (chosen) failed |= check(f, step);
    }
    return failed;
}
