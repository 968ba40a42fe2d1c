/*
 * vmath_ulp.c: the functions of csrc/vmath.h against double libm, over all 2^32 arguments.
 *
 *   vmath_ulp                     every function, every argument
 *   vmath_ulp STEP [NAME ...]     every STEP-th argument of the functions named
 *   vmath_ulp time                nanoseconds per element, from L1
 *
 * One line per function: the largest error in ULP of the float32 result, its argument, and a digest
 * of all results, equal on ISAs with FMA.  vf_pow and vf_sincos2pi follow, on a sample.  The exit
 * code is 1 if a bound is exceeded.  It runs as kernels do, with denormals flushed: a result below
 * 2^-126 may be zero.  How to build it: README.md.
 */
#include <float.h>
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
static void pow_block(const float *x, float *y)
{
    for (int i = 0; i < BLOCK; i += FNN_LANES) {
        vf_store(y + i, vf_pow(vf_load(x + i), vf_set1(2.5f)));
    }
}

static double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double ref_softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }
static double ref_silu(double x) { return x == -INFINITY ? -0.0 : x * ref_sigmoid(x); }
static double ref_gelu(double x) { return x == -INFINITY ? -0.0 : x * 0.5 * erfc(-x * sqrt(0.5)); }
static double ref_gelu_tanh(double x)
{
    double z = 2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
    return x == -INFINITY ? -0.0 : x * ref_sigmoid(z);
}

/* Errors are at most ulp for x >= from; below, where GELU and SiLU fade to zero, 2^-24. */
static const struct { const char *name; block_fn *fn; ref_fn *ref; double ulp, from; } table[] = {
    {"exp", exp_block, exp, 1, -INFINITY},
    {"log", log_block, log, 1, -INFINITY},
    {"log1p", log1p_block, log1p, 1, -INFINITY},
    {"expm1", expm1_block, expm1, 1, -INFINITY},
    {"tanh", tanh_block, tanh, 2, -INFINITY},
    {"sigmoid", sigmoid_block, ref_sigmoid, 2, -INFINITY},
    {"erf", erf_block, erf, 2, -INFINITY},
    {"softplus", softplus_block, ref_softplus, 2, -INFINITY},
    {"gelu", gelu_block, ref_gelu, 4, -1},
    {"gelu_tanh", gelu_tanh_block, ref_gelu_tanh, 4, -1},
    {"silu", silu_block, ref_silu, 4, -87},
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

static const float special[16] = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 3.0f, -3.0f, 0.5f, NAN,
                                  INFINITY, -INFINITY, 0x1p24f, -16777215.0f, FLT_MAX, -FLT_MIN};

typedef struct { double ulp, tail_ulp, tail_abs; float at; uint64_t bad, digest; } result;

/* A sum over (x, y) that tells other bits, in any order; NaN payloads do not count. */
static uint64_t digest(float x, float y)
{
    uint32_t a, b;
    if (y != y) y = NAN;
    memcpy(&a, &x, 4);
    memcpy(&b, &y, 4);
    return (a + 0x9e3779b97f4a7c15u) * (b * 2ull + 1);
}

static void run_block(int f, uint64_t first, uint64_t step, result *r)
{
    float x[BLOCK], y[BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        uint32_t bits = (uint32_t)((first + (uint64_t)i) * step);
        memcpy(x + i, &bits, 4);
    }
    if (first == 0) memcpy(x, special, sizeof special);   /* whatever the step */
    table[f].fn(x, y);
    for (int i = 0; i < BLOCK; i++) {
        double diff, err = ulp_error(x[i], y[i], table[f].ref(x[i]), &diff);
        r->digest += digest(x[i], y[i]);
        if (x[i] < table[f].from && isfinite(err)) {
            r->tail_ulp = fmax(r->tail_ulp, err);
            r->tail_abs = fmax(r->tail_abs, diff);
            r->bad += diff > 0x1p-24;
        } else {
            if (err > r->ulp) r->ulp = err, r->at = x[i];
            r->bad += err > table[f].ulp;
        }
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
            all.tail_ulp = fmax(all.tail_ulp, r.tail_ulp);
            all.tail_abs = fmax(all.tail_abs, r.tail_abs);
            all.bad += r.bad;
            all.digest += r.digest;
        }
    }
    printf("%-10s %7.4f ULP at %.9g (bound %g)", table[f].name, all.ulp, all.at, table[f].ulp);
    if (table[f].from > -INFINITY) {
        printf(", below %g: %.3g absolute", table[f].from, all.tail_abs);
        if (all.tail_ulp < 100) printf(", %.2f ULP", all.tail_ulp);
    }
    if (all.bad) printf("  EXCEEDED by %llu arguments", (unsigned long long)all.bad);
    printf("  bits %016llx\n", (unsigned long long)all.digest);
    fflush(stdout);
    return all.bad != 0;
}

static uint32_t random_bits(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static float random_operand(void)
{
    uint32_t u = random_bits();
    float x;
    memcpy(&x, &u, 4);
    return u % 2 ? special[u / 2 % 16] : fabsf(x) < 0x1p-126f ? 0.0f : x;
}

/* x^y: half special values, half x near 1 or anywhere with results over the whole range. */
static int check_pow(uint64_t step)
{
    double worst = 0, diff;
    uint64_t bits = 0;
    float x[16], y[16], got[16], wx = 0, wy = 0;
    flush_denormals();
    for (uint64_t round = 0; round < (1u << 26) / step + 1; round++) {
        for (int i = 0; i < 16; i++) {
            x[i] = random_operand(), y[i] = random_operand();
            if (round % 2) {
                uint32_t u = random_bits();
                x[i] = u % 2 ? 0.5f + (float)u * 0x1p-32f : ldexpf((float)u, (int)(u % 200) - 120);
                y[i] = (float)((random_bits() * 0x1p-24 - 128) / (log2(x[i]) + 1e-9));
            }
        }
        vf_store(got, vf_pow(vf_load(x), vf_load(y)));
        for (int i = 0; i < 16; i++) {
            double want = pow(x[i], y[i]), err = ulp_error(x[i], got[i], want, &diff);
            if (want == want && !signbit(want) != !signbit(got[i])) err = HUGE_VAL;
            if (err > worst) worst = err, wx = x[i], wy = y[i];
            bits += digest(x[i], got[i]) ^ digest(y[i], got[i]);
        }
    }
    printf("%-10s %7.4f ULP at %.9g ^ %.9g (bound 4)%s  bits %016llx\n", "pow", worst, wx, wy,
           worst > 4 ? "  EXCEEDED" : "", (unsigned long long)bits);
    return worst > 4;
}

/* All k / 2^24, the values of the uniform generator. */
static int check_sincos2pi(uint64_t step)
{
    double worst = 0, turn = 2 * acos(-1);
    uint64_t bits = 0;
    float u[16], s[16], c[16];
    for (uint64_t k = 0; k < 1 << 24; k += 16 * step) {
        vf sine, cosine;
        for (int i = 0; i < 16; i++) u[i] = (float)(k + (uint64_t)i) * 0x1p-24f;
        vf_sincos2pi(vf_load(u), &sine, &cosine);
        vf_store(s, sine);
        vf_store(c, cosine);
        for (int i = 0; i < 16; i++) {
            worst = fmax(worst, fabs(s[i] - sin(turn * u[i])));
            worst = fmax(worst, fabs(c[i] - cos(turn * u[i])));
            bits += digest(s[i], c[i]);
        }
    }
    printf("%-10s %.3g absolute (bound 1e-7)%s  bits %016llx\n", "sincos2pi", worst,
           worst > 1e-7 ? "  EXCEEDED" : "", (unsigned long long)bits);
    return worst > 1e-7;
}

static void measure(const char *name, block_fn *fn)
{
    static float x[BLOCK], y[BLOCK];
    struct timespec a, b;
    double best = HUGE_VAL;
    for (int i = 0; i < BLOCK; i++) x[i] = 0.01f + (float)i * (4.0f / BLOCK);
    for (int round = 0; round < 200; round++) {
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < 8; i++) fn(x, y);
        clock_gettime(CLOCK_MONOTONIC, &b);
        double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
        best = fmin(best, ns / (8 * BLOCK));
    }
    printf("%-10s %.3f ns/element\n", name, best);
}

int main(int argc, char **argv)
{
    int timing = argc > 1 && !strcmp(argv[1], "time"), failed = 0;
    uint64_t step = argc > 1 && !timing ? strtoull(argv[1], NULL, 10) : 1;
    if (step == 0) return fprintf(stderr, "usage: vmath_ulp [STEP [NAME ...] | time]\n"), 2;
    for (int f = 0; f < N_FUNCTIONS; f++) {
        int chosen = argc <= 2;
        for (int i = 2; i < argc; i++) chosen |= !strcmp(argv[i], table[f].name);
        if (chosen && timing) measure(table[f].name, table[f].fn);
        else if (chosen) failed |= check(f, step);
    }
    if (timing) measure("pow", pow_block);
    else if (argc <= 2) failed |= check_pow(step) | check_sincos2pi(step);
    return failed;
}
