/*
 * vmath_ulp.c: the functions of csrc/vmath.h against double libm.
 *
 *   vmath_ulp ISA sample [STEP]    every STEP-th argument of every function, and all near the
 *                                  places where one polynomial or range takes over from another
 *   vmath_ulp ISA shard K NAME     arguments K 2^26 to (K + 1) 2^26 - 1 as bits, 0 <= K < 64
 *   vmath_ulp ISA time             nanoseconds per element, from L1
 *
 * It prints one line of JSON per function: the largest errors and where, steps against the
 * direction of a monotone function, a digest of all results, and how many bits differ from those of
 * the best ISA; a shard of another ISA than the best looks at those arguments alone.  The exit code
 * is 1 if a bound is exceeded.  Denormals are flushed, as in kernels: a result below 2^-126 may be
 * zero.  How to build it: run.py.
 */
#define _POSIX_C_SOURCE 199309L
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vmath_ulp.h"

#define SHARDS 64
#define SHARD_BITS (1ull << 26)

static const struct { const char *name; double ulp, from, absolute; int monotone; } table[] = {
#define FUNCTION(name, ulp, from, absolute, monotone) {#name, ulp, from, absolute, monotone},
#include "functions.def"
#undef FUNCTION
};

#define ISA(name) extern block_fn *const blocks_##name[N_BLOCKS];
ISAS
#undef ISA
static const struct { const char *name; block_fn *const *blocks; } isas[] = {   /* best first */
#define ISA(name) {#name, blocks_##name},
    ISAS
#undef ISA
};

static void flush_denormals(void)
{
#if defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)1 << 24));
#elif defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? 0x7fc00000 : bits;       /* NaN payloads do not count */
}

/* A sum over (x, y) that tells other bits, in any order. */
static uint64_t digest(float x, float y)
{
    uint64_t z = ((uint64_t)bits_of(x) << 32 | bits_of(y)) + 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Error in units of the last place, HUGE_VAL if wrong in kind; *diff: the absolute error. */
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

typedef struct {
    double ulp, tail_ulp, tail_abs, back;    /* back: the largest step backwards, in ULP */
    float at;
    uint64_t count, bad, backward, differ, digest;
} result;

/* Blocks whose results are all ordinary and below the bound by the fast formula need no more. */
static int ordinary(int f, const float *y, const double *want, result *r)
{
    double worst = 0;
    int odd = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint64_t bits;
        const double w = fabs(want[i]), diff = fabs((double)y[i] - want[i]);
        memcpy(&bits, &want[i], 8);
        bits = (2046 - (bits >> 52 & 0x7ff) + 23) << 52;          /* 2^(23 - exponent) */
        double scale;
        memcpy(&scale, &bits, 8);
        const double err = diff * scale;
        odd |= !(w > 0x1.01p-126 && w < 0x1.fp127 && err < 1e6);
        worst = err > worst ? err : worst;
    }
    (void)f;
    return !odd && worst <= r->ulp;
}

static void compare(int f, const float *x, const float *y, const float *best, result *r)
{
    double dx[BLOCK], want[BLOCK], diff;
    for (int i = 0; i < BLOCK; i++) dx[i] = fabsf(x[i]) < 0x1p-126f ? copysign(0, x[i]) : x[i];
    libm_blocks[f](dx, want);
    if (!best && x[0] >= table[f].from && x[BLOCK - 1] >= table[f].from
        && ordinary(f, y, want, r)) return;
    for (int i = 0; i < BLOCK; i++) {
        if (best && bits_of(best[i]) == bits_of(y[i])) continue;
        const double err = ulp_error((float)dx[i], y[i], want[i], &diff);
        if (x[i] < table[f].from && isfinite(err)) {
            r->tail_ulp = fmax(r->tail_ulp, err);
            r->tail_abs = fmax(r->tail_abs, diff);
            r->bad += diff > table[f].absolute;
        } else {
            if (err > r->ulp) r->ulp = err, r->at = x[i];
            r->bad += err > table[f].ulp;
        }
    }
}

/* Counts steps against the direction of a monotone function; x[-1], y[-1] come before x[0]. */
static void watch_order(const float *x, const float *y, float last_x, float last_y, result *r)
{
    for (int i = 0; i < BLOCK; last_x = x[i], last_y = y[i], i++) {
        if (signbit(last_x) != signbit(x[i])) continue;
        const float step = x[i] > last_x ? y[i] - last_y : last_y - y[i];
        if (!(step < 0)) continue;
        r->backward++;
        const double one = nextafterf(fabsf(y[i]), INFINITY) - fabsf(y[i]);
        r->back = fmax(r->back, -step / one);
    }
}

/* One block of arguments.  proven: the best ISA's results are known to be right. */
static void run_block(int isa, int f, const float *x, int proven, result *r)
{
    float y[BLOCK], best[BLOCK];
    int same = 1;
    isas[isa].blocks[f](x, y);
    if (isa > 0) {
        isas[0].blocks[f](x, best);
        for (int i = 0; i < BLOCK; i++) {
            const int differ = bits_of(y[i]) != bits_of(best[i]);
            r->differ += differ;
            same &= !differ;
        }
    }
    r->count += BLOCK;
    for (int i = 0; i < BLOCK; i++) r->digest += digest(x[i], y[i]);
    if (isa == 0 || !proven) compare(f, x, y, NULL, r);
    else if (!same) compare(f, x, y, best, r);
}

static int print_result(int isa, int f, int shard, const result *r)
{
    printf("{\"isa\": \"%s\", \"function\": \"%s\", ", isas[isa].name, table[f].name);
    if (shard >= 0) printf("\"shard\": %d, ", shard);
    printf("\"count\": %llu, \"ulp\": %.4f, \"at\": \"%a\", \"tail_ulp\": %.4g, "
           "\"tail_absolute\": %.4g, \"bad\": %llu, \"backward\": %llu, \"back\": %.2f, "
           "\"differ\": %llu, \"digest\": \"%016llx\"}\n",
           (unsigned long long)r->count, isfinite(r->ulp) ? r->ulp : 1e99, (double)r->at,
           r->tail_ulp, r->tail_abs, (unsigned long long)r->bad,
           (unsigned long long)r->backward, r->back, (unsigned long long)r->differ,
           (unsigned long long)r->digest);
    fflush(stdout);
    return r->bad != 0;
}

static int run_shard(int isa, int f, int shard)
{
    const uint64_t first = shard * SHARD_BITS;
    float x[BLOCK], y[BLOCK], last_x = NAN, last_y = NAN;
    result r = {0};
    if (first % (1ull << 31)) {                  /* the end of the shard before */
        for (int i = 0; i < BLOCK; i++) x[i] = float_of((uint32_t)(first - BLOCK + (uint64_t)i));
        isas[isa].blocks[f](x, y);
        last_x = x[BLOCK - 1], last_y = y[BLOCK - 1];
    }
    for (uint64_t b = first; b < first + SHARD_BITS; b += BLOCK) {
        for (int i = 0; i < BLOCK; i++) x[i] = float_of((uint32_t)(b + (uint64_t)i));
        run_block(isa, f, x, 1, &r);
        if (!table[f].monotone) continue;
        isas[isa].blocks[f](x, y);
        watch_order(x, y, last_x, last_y, &r);
        last_x = x[BLOCK - 1], last_y = y[BLOCK - 1];
    }
    return print_result(isa, f, shard, &r);
}

/* ---- samples ---- */

static float near_x[1 << 20];
static int n_near;

static void add_near(double edge)
{
    for (int sign = -1; sign <= 1; sign += 2)
        for (int k = -8; k <= 8; k++) {
            const uint32_t bits = bits_of((float)(sign * edge));
            near_x[n_near++] = float_of(bits + (uint32_t)k);
        }
}

/* Powers of two, and where vmath.h goes over to another interval, range or integer. */
static void list_edges(void)
{
    static const double ranges[] = {0.0, 9.1, 195.0 / 32, 0.84375, 4.0, 20.0, 80.0, 87.33, 88.0,
                                    88.7228, 89.0, 104.0, 128.0, 0.75, 1.5, 0.5, 3.4028235e38};
    for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) add_near(ranges[i]);
    for (int e = -126; e < 128; e++) add_near(ldexp(1, e)), add_near(ldexp(1.5, e));
    for (int k = 0; k < 600; k++) add_near((k + 0.5) * 0.17328679513998632);   /* exp: ln(2)/4 */
    for (int k = 0; k < 140; k++) add_near((k + 0.5) * 0.69314718055994531);
    for (int k = 0; k < 15; k++) add_near((k + 0.5) * 13 / 32);                /* GELU */
    for (int e = -1; e <= 3; e++)                                              /* tanh */
        for (int k = 4; k < 8; k++) add_near(fabs(ldexp(k, e - 2) - 0.625));
    while (n_near % BLOCK) near_x[n_near++] = NAN;
}

static int run_sample(int isa, int f, uint64_t step)
{
    const int64_t blocks = (int64_t)(((1ull << 32) / step + BLOCK - 1) / BLOCK);
    static const float special[] = {0.0f, -0.0f, NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX,
                                    FLT_MIN, -FLT_MIN, 0x1p-149f, -0x1p-149f, 1.0f, -1.0f};
    result r = {0};
    float x[BLOCK] = {0};
    memcpy(x, special, sizeof special);
    run_block(isa, f, x, 0, &r);
    for (int i = 0; i < n_near; i += BLOCK) run_block(isa, f, near_x + i, 0, &r);
    for (int64_t b = 0; b < blocks; b++) {
        for (int i = 0; i < BLOCK; i++) x[i] = float_of((uint32_t)((uint64_t)(b * BLOCK + i) * step));
        run_block(isa, f, x, 0, &r);
    }
    return print_result(isa, f, -1, &r);
}

static uint32_t random_bits(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static float random_operand(void)
{
    static const float special[16] = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 3.0f, -3.0f, 0.5f, NAN,
                                      INFINITY, -INFINITY, 0x1p24f, -16777215.0f, FLT_MAX, -FLT_MIN};
    const uint32_t u = random_bits();
    const float x = float_of(u);
    return u % 2 ? special[u / 2 % 16] : fabsf(x) < 0x1p-126f ? 0.0f : x;
}

/* x^y: half special values, half x near 1 or anywhere with results over the whole range. */
static int sample_pow(int isa, uint64_t step)
{
    double worst = 0, diff;
    uint64_t bits = 0;
    float x[BLOCK], got[BLOCK], *y = x + BLOCK / 2, wx = 0, wy = 0;
    for (uint64_t round = 0; round < (1u << 19) / step + 1; round++) {
        for (int i = 0; i < BLOCK / 2; i++) {
            x[i] = random_operand(), y[i] = random_operand();
            if (i % 2) {
                const uint32_t u = random_bits();
                x[i] = u % 2 ? 0.5f + (float)u * 0x1p-32f : ldexpf((float)u, (int)(u % 200) - 120);
                y[i] = (float)((random_bits() * 0x1p-24 - 128) / (log2(x[i]) + 1e-9));
            }
        }
        isas[isa].blocks[F_POW](x, got);
        for (int i = 0; i < BLOCK / 2; i++) {
            double want = pow(x[i], y[i]), err = ulp_error(x[i], got[i], want, &diff);
            if (want == want && !signbit(want) != !signbit(got[i])) err = HUGE_VAL;
            if (err > worst) worst = err, wx = x[i], wy = y[i];
            bits += digest(x[i], got[i]) ^ digest(y[i], got[i]);
        }
    }
    printf("{\"isa\": \"%s\", \"function\": \"pow\", \"ulp\": %.4f, \"at\": \"%a ^ %a\", "
           "\"bad\": %d, \"digest\": \"%016llx\"}\n", isas[isa].name, worst, (double)wx, (double)wy,
           worst > 4, (unsigned long long)bits);
    return worst > 4;
}

/* All k / 2^24, the values of the uniform generator. */
static int sample_sincos(int isa, uint64_t step)
{
    double worst = 0, turn = 2 * acos(-1);
    uint64_t bits = 0;
    float u[BLOCK], s[BLOCK], *c = s + BLOCK / 2;
    for (uint64_t k = 0; k < 1 << 24; k += BLOCK / 2 * (step > 64 ? 64 : step)) {
        for (int i = 0; i < BLOCK / 2; i++) u[i] = (float)(k + (uint64_t)i) * 0x1p-24f;
        isas[isa].blocks[F_SINCOS](u, s);
        for (int i = 0; i < BLOCK / 2; i++) {
            worst = fmax(worst, fabs(s[i] - sin(turn * u[i])));
            worst = fmax(worst, fabs(c[i] - cos(turn * u[i])));
            bits += digest(s[i], c[i]);
        }
    }
    printf("{\"isa\": \"%s\", \"function\": \"sincos2pi\", \"absolute\": %.3g, \"bad\": %d, "
           "\"digest\": \"%016llx\"}\n", isas[isa].name, worst, worst > 1e-7,
           (unsigned long long)bits);
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
    printf("%-16s %.3f ns/element\n", name, best);
}

int main(int argc, char **argv)
{
    int isa = 0, f = 0, failed = 0;
    const int n_isas = (int)(sizeof isas / sizeof *isas);
    while (argc > 1 && isa < n_isas && strcmp(argv[1], isas[isa].name)) isa++;
    if (argc < 3 || isa == n_isas) goto usage;
    flush_denormals();
    if (!strcmp(argv[2], "shard") && argc == 5) {
        while (f < N_FUNCTIONS && strcmp(argv[4], table[f].name)) f++;
        const int shard = atoi(argv[3]);
        if (f == N_FUNCTIONS || shard < 0 || shard >= SHARDS) goto usage;
        return run_shard(isa, f, shard);
    }
    if (!strcmp(argv[2], "time")) {
        for (f = 0; f < N_FUNCTIONS; f++) measure(table[f].name, isas[isa].blocks[f]);
        return 0;
    }
    const uint64_t step = argc > 3 ? strtoull(argv[3], NULL, 10) : 4099;
    if (strcmp(argv[2], "sample") || step == 0) goto usage;
    list_edges();
    for (f = 0; f < N_FUNCTIONS; f++) failed |= run_sample(isa, f, step);
    return failed | sample_pow(isa, step) | sample_sincos(isa, step);
usage:
    fprintf(stderr, "usage: vmath_ulp ISA sample [STEP] | shard K NAME | time\n");
    return 2;
}
