/*
 * roof.h: loops that do nothing but reach a limit of the machine, for one ISA.
 *
 * Each runs on the calling thread over its own floats x[0..n), `repeats` times, and returns a value
 * that depends on all it did.  ROOF_FMA does ROOF_FLOPS·n flops and leaves x alone; the others move
 * 4n bytes (read, triad) or 7n (update).
 */
#ifndef FNN_ROOF_H
#define FNN_ROOF_H

/* Independent chains that hide the latency of FMA and, with two operands, still fit the registers. */
#if VEC_K == 1 || defined(__aarch64__)
#define ROOF_CHAINS (16 / VEC_K)           /* of 32 registers */
#else
#define ROOF_CHAINS (12 / VEC_K)           /* of 16 registers */
#endif
#define ROOF_FLOPS (2 * ROOF_CHAINS * FNN_LANES)

/* a = a·b + c on registers alone */
static float roof_fma(int64_t n)
{
    vf a[ROOF_CHAINS], b = vf_set1(0.999f), c = vf_set1(0.001f);
    for (int k = 0; k < ROOF_CHAINS; k++) a[k] = vf_set1((float)k);
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < ROOF_CHAINS; k++) a[k] = vf_fma(a[k], b, c);
    for (int k = 1; k < ROOF_CHAINS; k++) a[0] = vf_add(a[0], a[k]);
    return vf_hsum(a[0]);
}

/* Σ x: reads n */
static float roof_read(const float *x, int64_t n)
{
    vf a[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    for (int64_t i = 0; i + 4 * FNN_LANES <= n; i += 4 * FNN_LANES)
        for (int k = 0; k < 4; k++) a[k] = vf_add(a[k], vf_load(x + i + k * FNN_LANES));
    return vf_hsum(vf_add(vf_add(a[0], a[1]), vf_add(a[2], a[3])));
}

/* x = y + s·z on thirds: reads 2n/3, writes n/3 */
static float roof_triad(float *x, int64_t n)
{
    const int64_t m = n / 3;
    const float *y = x + m, *z = y + m;
    const vf s = vf_set1(0.5f);
    for (int64_t i = 0; i + FNN_LANES <= m; i += FNN_LANES)
        vf_store(x + i, vf_fma(s, vf_load(z + i), vf_load(y + i)));
    return x[0];
}

/* x, y, z = x / 2 + w, ... on quarters, as an optimizer does: reads n, writes 3n/4 in place */
static float roof_update(float *x, int64_t n)
{
    const int64_t m = n / 4;
    const float *w = x + 3 * m;
    const vf s = vf_set1(0.5f);
    for (int64_t i = 0; i + FNN_LANES <= m; i += FNN_LANES)
        for (int k = 0; k < 3; k++)
            vf_store(x + k * m + i, vf_fma(s, vf_load(x + k * m + i), vf_load(w + i)));
    return x[0];
}

static float roof(int kind, float *x, int64_t n, int64_t repeats)
{
    float sum = 0;
    for (int64_t r = 0; r < repeats; r++) {
        sum += kind == FNN_ROOF_FMA ? roof_fma(n) : kind == FNN_ROOF_READ ? roof_read(x, n)
             : kind == FNN_ROOF_TRIAD ? roof_triad(x, n) : roof_update(x, n);
        __asm__ volatile("" ::: "memory");   /* the next pass loads anew */
    }
    return sum;
}

#endif
