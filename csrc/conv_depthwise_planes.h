/*
 * conv_depthwise_planes.h: depthwise convolutions of square kernels and stride 1 over images that lie
 * in planes, (N, C, H, W): lanes are neighbours of a row.
 *
 * Each output is the chain of conv_depthwise.h.  The gradient of a weight is summed in 16 lanes,
 * column j in lane j mod 16, over images, groups of 16 columns, rows, pixels outside being 0;
 * slabs of images two by two.
 */
#ifndef FNN_CONV_DEPTHWISE_PLANES_H
#define FNN_CONV_DEPTHWISE_PLANES_H

#include "conv_depthwise.h"
#include "sums.h"

/* Lanes lo..hi of a register, loaded and stored; the others are 0 and left alone. */
#if VEC_K == 1
VEC qm planes_lanes(int64_t lo, int64_t hi) { return (qm)((1u << hi) - (1u << lo)); }
VEC qf planes_load(const float *p, qm m) { return _mm512_maskz_loadu_ps(m, p); }
VEC void planes_store(float *p, qf v, qm m) { _mm512_mask_storeu_ps(p, m, v); }
VEC qf planes_fma(qf a, qf b, qf c, qm m) { return _mm512_mask3_fmadd_ps(a, b, c, m); }
#else
VEC qm planes_lanes(int64_t lo, int64_t hi)
{
    qm m = {0};
    for (int i = 0; i < VEC_W; i++) m[i] = i >= lo && i < hi ? -1 : 0;
    return m;
}
#if VEC_K == 2
VEC qf planes_load(const float *p, qm m) { return _mm256_maskload_ps(p, (__m256i)m); }
VEC void planes_store(float *p, qf v, qm m) { _mm256_maskstore_ps(p, (__m256i)m, v); }
#else
VEC qf planes_load(const float *p, qm m)
{
    qf v = q_set1(0.0f);
    for (int i = 0; i < VEC_W; i++)
        if (m[i]) v[i] = p[i];
    return v;
}
VEC void planes_store(float *p, qf v, qm m)
{
    for (int i = 0; i < VEC_W; i++)
        if (m[i]) p[i] = v[i];
}
#endif
VEC qf planes_fma(qf a, qf b, qf c, qm m) { return q_sel(m, q_fma(a, b, c), c); }
#endif

/* y (out) (+)= start + the kernel over x (size), tap (0, 0) of output (0, 0) at (top, left). */
typedef struct {
    const float *x, *w;       /* w: taps, the last one first if flip                      */
    float *y, start;
    int64_t h, wide, out[2], top, left;
    int acc, flip;
} plane;

VEC qm planes_seen(const plane *p, int64_t column, int64_t n, int64_t tap)
{
    const int64_t at = column + p->left + tap;
    const int64_t lo = gemm_min(gemm_max(-at, 0), VEC_W), hi = gemm_min(p->wide - at, n);
    return planes_lanes(lo, gemm_max(hi, lo));
}

/* The columns from `column` on, nv registers of them; k taps a row.  The outputs of k rows are under
 * way at once: sum[i] has the taps of rows 0..i of the kernel when a row of x is through.  edge: not
 * all lanes exist, or see all taps of a row. */
VEC void planes_columns(const plane *p, int64_t column, const int k, const int nv, const int edge)
{
    const int64_t h = p->h, wide = p->wide, rows = p->out[0], out = p->out[1], top = p->top;
    const int acc = p->acc, first = p->flip ? k * k - 1 : 0, step = p->flip ? -1 : 1;
    const float *x = p->x + p->left + column + top * wide;
    const qf start = q_set1(p->start);
    const qm last = planes_lanes(0, gemm_min(out - column - (nv - 1) * VEC_W, VEC_W));
    float *y = p->y + column;
    qf sum[7][2], w[49];
    qm seen[2][7];
#pragma GCC unroll 49
    for (int i = 0; i < k * k; i++) w[i] = q_set1(p->w[first + i * step]);
#pragma GCC unroll 2
    for (int v = 0; v < nv; v++) {
        const int64_t at = column + v * VEC_W, n = gemm_min(out - at, VEC_W);
#pragma GCC unroll 7
        for (int j = 0; edge && j < k; j++) seen[v][j] = planes_seen(p, at, n, j);
#pragma GCC unroll 7
        for (int i = 0; i < k; i++) sum[i][v] = start;
    }
#pragma GCC unroll 1
    for (int64_t t = 0; t < rows + k - 1; t++, x += wide, y += out) {
        if (acc && t < rows) {
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++)
                sum[0][v] = edge && v == nv - 1 ? planes_load(y + v * VEC_W, last)
                                                : gemm_load(y + v * VEC_W);
        }
        if (top + t >= 0 && top + t < h) {
#pragma GCC unroll 7
            for (int j = 0; j < k; j++)
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++) {
                    const float *at = x + v * VEC_W + j;
                    const qf a = edge ? planes_load(at, seen[v][j]) : gemm_load(at);
#pragma GCC unroll 7
                    for (int i = 0; i < k; i++)
                        sum[i][v] = edge ? planes_fma(a, w[i * k + j], sum[i][v], seen[v][j])
                                         : q_fma(a, w[i * k + j], sum[i][v]);
                }
        }
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) {
            float *to = y - (k - 1) * out + v * VEC_W;
            if (t >= k - 1 && edge && v == nv - 1) planes_store(to, sum[k - 1][v], last);
            else if (t >= k - 1) gemm_store(to, sum[k - 1][v]);
#pragma GCC unroll 7
            for (int i = k - 1; i > 0; i--) sum[i][v] = sum[i - 1][v];
            sum[0][v] = start;
        }
    }
}

#define PLANES_K(k) \
    static void planes_##k##_1(const plane *p, int64_t j) { planes_columns(p, j, k, 1, 0); } \
    static void planes_##k##_1_edge(const plane *p, int64_t j) { planes_columns(p, j, k, 1, 1); } \
    static void planes_##k##_2(const plane *p, int64_t j) { planes_columns(p, j, k, 2, 0); } \
    static void planes_##k##_2_edge(const plane *p, int64_t j) { planes_columns(p, j, k, 2, 1); }
PLANES_K(3) PLANES_K(5) PLANES_K(7)
#define PLANES_OF(k) {{planes_##k##_1, planes_##k##_2}, {planes_##k##_1_edge, planes_##k##_2_edge}}
static void (*const planes_fns[3][2][2])(const plane *p, int64_t column) = {
    PLANES_OF(3), PLANES_OF(5), PLANES_OF(7)};

/* y, or dx: (n, c, a[0].out, a[1].out) from x, or dy: (n, c, a[0].size, a[1].size); w: (c, taps). */
static void planes_run(const float *x, const float *w, const float *bias, float *y, int64_t n,
                       const depthwise_axis a[2], int64_t c, int acc, int backward)
{
    const int64_t k = a[0].taps, wide = a[1].size, out = a[1].out;
    int64_t first[2];
    for (int i = 0; i < 2; i++) first[i] = backward ? a[i].pad - k + 1 : -a[i].pad;
    FNN_FOR
    for (int64_t t = 0; t < n * c; t++) {
        const plane p = {.x = x + t * a[0].size * wide, .w = w + t % c * k * k,
                         .y = y + t * a[0].out * out, .start = bias ? bias[t % c] : 0.0f,
                         .h = a[0].size, .wide = wide, .out = {a[0].out, out}, .top = first[0],
                         .left = first[1], .acc = acc, .flip = backward};
        for (int64_t j = 0, n2; j < out; j += n2 * VEC_W) {
            n2 = out - j > VEC_W ? 2 : 1;
            const int edge = j + first[1] < 0 || j + n2 * VEC_W > out
                          || j + n2 * VEC_W + first[1] + k - 1 > wide;
            planes_fns[k / 2 - 1][edge][n2 - 1](&p, j);
        }
    }
}

/* db[q] (+)= the sum of the planes (n, q, pixels), one after the other. */
static void planes_sums(const float *dy, int64_t n, int64_t c, int64_t pixels, float *db, int acc)
{
    FNN_FOR
    for (int64_t q = 0; q < c; q++) {
        float sum = acc ? db[q] : 0.0f;
        for (int64_t i = 0; i < n; i++) sum += fold_run(FOLD_SUM, dy + (i * c + q) * pixels, pixels, 0.0f);
        db[q] = sum;
    }
}

/* ---- the gradient of w ---- */

#define PLANES_BLOCK 16       /* channels of a task                                       */
#define PLANES_TASKS 16       /* to be had from slabs of images, if channels are few      */
#define PLANES_CHAIN 8192     /* terms of a lane, roughly, at most                        */

/* sum[i * k + j] += dy times x at tap (i, j), for `rows` rows i of taps from row `first` on, over one
 * plane, in the lanes of register `part` of a vf.  p: x and its sizes; y is dy. */
VEC void planes_weights_part(const plane *p, float *sum, int64_t part, int64_t first, const int k,
                             const int rows)
{
    qf s[9], x[3][7] = {{q_set1(0.0f)}};      /* x: rows of a window that moves down           */
#pragma GCC unroll 9
    for (int i = 0; i < rows * k; i++) s[i] = gemm_load(sum + i * FNN_LANES + part * VEC_W);
    for (int64_t column = part * VEC_W; column < p->out[1]; column += FNN_LANES) {
        const int64_t n = gemm_min(p->out[1] - column, VEC_W);
        const qm all = planes_lanes(0, n);
        qm seen[7];
#pragma GCC unroll 7
        for (int j = 0; j < k; j++) seen[j] = planes_seen(p, column, n, j);
#pragma GCC unroll 1
        for (int64_t t = 1 - rows; t < p->out[0]; t++) {
            const int64_t row = p->top + first + t + rows - 1;
            const float *from = p->x + row * p->wide + p->left + column;
            const int inside = row >= 0 && row < p->h;
#pragma GCC unroll 7
            for (int j = 0; j < k; j++) {
#pragma GCC unroll 3
                for (int i = 1; i < rows; i++) x[i - 1][j] = x[i][j];
                x[rows - 1][j] = inside ? planes_load(from + j, seen[j]) : q_set1(0.0f);
            }
            if (t < 0) continue;
            const qf dy = planes_load(p->y + t * p->out[1] + column, all);
#pragma GCC unroll 3
            for (int i = 0; i < rows; i++)
#pragma GCC unroll 7
                for (int j = 0; j < k; j++) s[i * k + j] = q_fma(x[i][j], dy, s[i * k + j]);
        }
    }
#pragma GCC unroll 9
    for (int i = 0; i < rows * k; i++) gemm_store(sum + i * FNN_LANES + part * VEC_W, s[i]);
}

static void planes_weights_of(const plane *p, float *sum, int64_t k)
{
    for (int64_t part = 0; part < VEC_K; part++) {
        if (k == 3) {
            planes_weights_part(p, sum, part, 0, 3, 3);
            continue;
        }
        for (int64_t i = 0; i < k; i++) {
            float *of_row = sum + i * k * FNN_LANES;
            if (k == 5) planes_weights_part(p, of_row, part, i, 5, 1);
            else planes_weights_part(p, of_row, part, i, 7, 1);
        }
    }
}

/* dw (c, taps) from x (n, c, sizes) and dy (n, c, outs). */
static void planes_weights(const float *x, const float *dy, float *dw, int64_t n,
                           const depthwise_axis a[2], int64_t c, int acc, const fnn_scratch *s)
{
    const int64_t k = a[0].taps, area = k * k, blocks = gemm_ceil(c, PLANES_BLOCK);
    const int64_t terms = n * a[0].out * gemm_ceil(a[1].out, FNN_LANES);
    const int64_t wanted = gemm_max(gemm_ceil(PLANES_TASKS, blocks), gemm_ceil(terms, PLANES_CHAIN));
    const int64_t slabs = gemm_max(gemm_min(gemm_min(wanted, n), FNN_SHARED_BYTES / 4 / (c * area)), 1);
    FNN_FOR
    for (int64_t t = 0; t < slabs * blocks; t++) {
        const int64_t slab = t / blocks, q0 = t % blocks * PLANES_BLOCK;
        const int64_t q1 = gemm_min(q0 + PLANES_BLOCK, c);
        float *sums = s->local;
        memset(sums, 0, (size_t)(PLANES_BLOCK * area * FNN_LANES) * sizeof(float));
        for (int64_t i = n * slab / slabs; i < n * (slab + 1) / slabs; i++)
            for (int64_t q = q0; q < q1; q++) {
                const plane p = {.x = x + (i * c + q) * a[0].size * a[1].size,
                                 .y = (float *)dy + (i * c + q) * a[0].out * a[1].out,
                                 .h = a[0].size, .wide = a[1].size, .out = {a[0].out, a[1].out},
                                 .top = -a[0].pad, .left = -a[1].pad};
                planes_weights_of(&p, sums + (q - q0) * area * FNN_LANES, k);
            }
        for (int64_t i = q0 * area; i < q1 * area; i++, sums += FNN_LANES) {
            const float sum = vf_hsum(vf_load(sums));
            if (slabs > 1) s->shared[slab * c * area + i] = sum;
            else dw[i] = acc ? dw[i] + sum : sum;
        }
    }
    if (slabs == 1) return;
    FNN_FOR
    for (int64_t i = 0; i < c * area; i++) {
        float *sum = s->shared + i;
        for (int64_t step = 1; step < slabs; step *= 2)
            for (int64_t l = 0; l + step < slabs; l += 2 * step)
                sum[l * c * area] += sum[(l + step) * c * area];
        dw[i] = acc ? dw[i] + *sum : *sum;
    }
}

#endif
