/*
 * vec_check.c: every operation of csrc/vec.h against scalar C, on random and special lanes.
 * Prints the ISA and exits non-zero at the first difference.  Run: see README.md.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "vec.h"

#if VEC_K == 1
#define ISA "avx512"
#elif VEC_K == 2
#define ISA "avx2"
#elif defined(__aarch64__)
#define ISA "neon"
#else
#define ISA "base"
#endif
#if VEC_FMA
#define FMA(a, b, c) fmaf(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

static uint64_t state = 88172645463325252u;
static uint32_t rnd(void)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32);
}

/* A mix of plain numbers, specials, halves (ties of rint) and arbitrary bit patterns. */
static float rnd_float(void)
{
    static const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, -0.5f, 1.5f, 2.5f, NAN,
                                    INFINITY, -INFINITY, 8388607.5f, 8388609.0f, -3e9f, 1e-30f,
                                    0.49999997f};
    float x;
    uint32_t u = rnd();
    switch (rnd() % 4) {
    case 0: return special[u % 16];
    case 1: return (float)(int32_t)(u % 4001 - 2000) * 0.5f;
    case 2: return (float)(int32_t)u * 1e-8f;
    default: memcpy(&x, &u, 4); return x;
    }
}

static int same(float a, float b) { return (a != a && b != b) || memcmp(&a, &b, 4) == 0; }
static void fail(const char *what, int lane)
{
    printf("%s: %s differs in lane %d\n", ISA, what, lane);
    exit(1);
}

static float a[16], b[16], c[16], got[16];
static int32_t p[16], q[16], igot[16];
static uint8_t mgot[16];

#define F(expr, want)                                                                       \
    vf_store(got, expr);                                                                    \
    for (int i = 0; i < 16; i++) if (!same(got[i], want)) fail(#expr, i)
#define I(expr, want)                                                                       \
    vi_store(igot, expr);                                                                   \
    for (int i = 0; i < 16; i++) if (igot[i] != (int32_t)(want)) fail(#expr, i)
#define M(expr, want)                                                                       \
    vm_store_u8(mgot, expr);                                                                \
    for (int i = 0; i < 16; i++) if (mgot[i] != (want)) fail(#expr, i)

static float gt(float x, float y) { return x > y ? x : y; }
static float lt(float x, float y) { return x < y ? x : y; }
static float mx(float x, float y) { return x != x ? x : gt(x, y); }
static float mn(float x, float y) { return x != x ? x : lt(x, y); }
static float add(float x, float y) { return x + y; }
static float tree(float (*op)(float, float), const float *x)
{
    float t[16];
    memcpy(t, x, sizeof t);
    for (int h = 8; h; h /= 2) for (int i = 0; i < h; i++) t[i] = op(t[i], t[i + h]);
    return t[0];
}

static const float table[16] __attribute__((aligned(64))) = {3, 1, 4, 1.5f, 9, 2, 6, 5, 3.5f, 8,
                                                             9.5f, 7, 9.25f, 3.25f, 2.5f, -1};
static int32_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

/* Kernels run with denormals off: vf_scale2 may round a denormal result twice. */
static float flush(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }

static void check_float(void)
{
    vf x = vf_load(a), y = vf_load(b), z = vf_load(c);
    F(vf_add(x, y), a[i] + b[i]);
    F(vf_sub(x, y), a[i] - b[i]);
    F(vf_mul(x, y), a[i] * b[i]);
    F(vf_div(x, y), a[i] / b[i]);
    F(vf_fma(x, y, z), FMA(a[i], b[i], c[i]));
    F(vf_fnma(x, y, z), FMA(-a[i], b[i], c[i]));
    F(vf_sqrt(x), sqrtf(a[i]));
    F(vf_rint(x), rintf(a[i]));
    F(vf_floor(x), floorf(a[i]));
    F(vf_neg(x), -a[i]);
    F(vf_abs(x), fabsf(a[i]));
    F(vf_copysign(x, y), copysignf(a[i], b[i]));
    F(vf_greater(x, y), gt(a[i], b[i]));
    F(vf_lesser(x, y), lt(a[i], b[i]));
    F(vf_max(x, y), mx(a[i], b[i]));
    F(vf_min(x, y), mn(a[i], b[i]));
    F(vf_set1(b[3]), b[3]);
    F(vf_zero(), 0.0f);
    F(vf_pick(table, vf_as_vi(x)), table[bits_of(a[i]) & 15]);
    F(vf_pick8(table, vf_as_vi(x)), table[bits_of(a[i]) & 7]);
    F(vf_pick4(table, vf_as_vi(x)), table[bits_of(a[i]) & 3]);
    F(vf_sel(vf_lt(x, y), x, z), a[i] < b[i] ? a[i] : c[i]);
    for (int e = -252; e <= 254; e += 11) {
        vf_store(got, vf_scale2(x, vf_set1((float)e + 0.25f * (float)(e & 3))));
        for (int i = 0; i < 16; i++) {
            if (!same(flush(got[i]), flush(ldexpf(a[i], e)))) fail("vf_scale2", i);
        }
    }
    M(vf_lt(x, y), a[i] < b[i]);
    M(vf_le(x, y), a[i] <= b[i]);
    M(vf_gt(x, y), a[i] > b[i]);
    M(vf_ge(x, y), a[i] >= b[i]);
    M(vf_eq(x, y), a[i] == b[i]);
    M(vf_ne(x, y), a[i] != b[i]);
    M(vf_isnan(x), a[i] != a[i]);
    M(vm_and(vf_lt(x, y), vf_lt(y, z)), a[i] < b[i] && b[i] < c[i]);
    M(vm_or(vf_lt(x, y), vf_lt(y, z)), a[i] < b[i] || b[i] < c[i]);
    M(vm_not(vf_lt(x, y)), !(a[i] < b[i]));
    if (!same(vf_hsum(x), tree(add, a))) fail("vf_hsum", 0);
    if (!same(vf_hmax(x), tree(mx, a))) fail("vf_hmax", 0);
    if (!same(vf_hmin(x), tree(mn, a))) fail("vf_hmin", 0);
}

static void check_int(void)
{
    vi x = vi_load(p), y = vi_load(q);
    I(vi_add(x, y), (uint32_t)p[i] + (uint32_t)q[i]);
    I(vi_sub(x, y), (uint32_t)p[i] - (uint32_t)q[i]);
    I(vi_mul(x, y), (uint32_t)p[i] * (uint32_t)q[i]);
    I(vi_mul_even(x, y), (uint64_t)(uint32_t)p[i & ~1] * (uint32_t)q[i & ~1] >> 32 * (i & 1));
    I(vi_odd(x), i & 1 ? 0 : p[i + 1]);
    I(vi_even_pair(x, y), i & 1 ? q[i - 1] : p[i]);
    I(vi_and(x, y), p[i] & q[i]);
    I(vi_or(x, y), p[i] | q[i]);
    I(vi_xor(x, y), p[i] ^ q[i]);
    I(vi_shl(x, 5), (uint32_t)p[i] << 5);
    I(vi_shr(x, 5), (uint32_t)p[i] >> 5);
    I(vi_sar(x, 5), p[i] >> 5);
    I(vi_set1(q[1]), q[1]);
    I(vi_iota(), i);
    I(vi_sel(vi_gt(x, y), x, y), p[i] > q[i] ? p[i] : q[i]);
    M(vi_eq(x, vi_set1(p[2])), p[i] == p[2]);
    M(vi_gt(x, y), p[i] > q[i]);
    F(vi_to_vf(x), (float)p[i]);
    for (int i = 0; i < 16; i++) a[i] = (float)(p[i] % 9999999) * 0.25f;
    vf f = vf_load(a);
    I(vf_to_vi(f), rintf(a[i]));
    I(vf_as_vi(vi_as_vf(x)), p[i]);
}

/* Only the first n lanes of memory may be read (absent lanes are 0) or written. */
static void check_partial(void)
{
    uint8_t bytes[16], mask[16];
    for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)(p[i] % 3 ? 0 : p[i] | 1);
    M(vm_load_u8(bytes), bytes[i] != 0);
    for (int n = 0; n <= 16; n++) {
        float *heap = malloc((size_t)n * 4 + 1);         /* so that a sanitizer sees overruns */
        uint8_t *byte = malloc((size_t)n + 1);
        memcpy(heap, a, (size_t)n * 4);
        memcpy(byte, bytes, (size_t)n);
        F(vf_load_n(heap, n), i < n ? a[i] : 0.0f);
        M(vm_load_u8_n(byte, n), i < n && bytes[i]);
        M(vm_first(n), i < n);
        memcpy(got, b, sizeof got);
        vf_store_n(got, vf_load(a), n);
        for (int i = 0; i < 16; i++) if (!same(got[i], i < n ? a[i] : b[i])) fail("vf_store_n", i);
        memset(mask, 7, sizeof mask);
        vm_store_u8_n(mask, vm_load_u8(bytes), n);
        for (int i = 0; i < 16; i++) {
            if (mask[i] != (i < n ? bytes[i] != 0 : 7)) fail("vm_store_u8_n", i);
        }
        free(heap);
        free(byte);
    }
}

int main(void)
{
    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 16; i++) {
            a[i] = rnd_float(), b[i] = rnd_float(), c[i] = rnd_float();
            p[i] = (int32_t)rnd() >> rnd() % 31, q[i] = (int32_t)rnd() >> rnd() % 31;
        }
        check_float();
        if (round % 16 == 0) check_partial();
        check_int();
    }
    printf("%s: all operations agree\n", ISA);
    return 0;
}
