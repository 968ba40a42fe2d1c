/*
 * conv_depthwise.h: convolutions that keep channels apart: one kernel per channel, lanes are channels.
 *
 * Weights come as (taps, C).  Each output is one chain over ascending pixels of its window that starts
 * from the bias: ascending taps forward, descending ones for the gradient of x; pixels outside the
 * image are left out.  The gradient of a weight is summed image by image, over ascending rows and
 * columns, and the images two by two.
 */
#ifndef FNN_CONV_DEPTHWISE_H
#define FNN_CONV_DEPTHWISE_H

#include "conv.h"

#define DEPTHWISE_TAPS 64     /* at most; others are left to the GEMM                     */
#define DEPTHWISE_PIXELS 4    /* of a tile, which share the loads of weights              */
#define DEPTHWISE_LINE 8      /* taps of a kernel row whose gradients are summed at once  */

/* What one pixel, or a tile of neighbours, adds up: the first pixel's operand of each tap. */
typedef struct {
    const float *at[DEPTHWISE_TAPS];
    int64_t tap[DEPTHWISE_TAPS];
    int n;
} depthwise_terms;

/* y[p][q..c] = start[q..c] + sum over terms of at[p * step][q..c] w[tap][q..c] for m pixels. */
VEC void depthwise_pixels(const depthwise_terms *t, const float *w, const float *start, int64_t q,
                          int64_t c, int64_t step, float *y, int acc, const int m)
{
    for (; q < c; q += FNN_LANES) {
        const int lanes = lanes_of(c - q);
        vf sum[DEPTHWISE_PIXELS];
        for (int p = 0; p < m; p++)
            sum[p] = acc ? vf_get(y + p * c + q, lanes) : start ? vf_get(start + q, lanes) : vf_zero();
        for (int i = 0; i < t->n; i++) {
            const vf tap = vf_get(w + t->tap[i] * c + q, lanes);
            for (int p = 0; p < m; p++)
                sum[p] = vf_fma(vf_get(t->at[i] + p * step + q, lanes), tap, sum[p]);
        }
        for (int p = 0; p < m; p++) vf_put(y + p * c + q, sum[p], lanes);
    }
}

/* The pixel that tap k of output o looks at (forward), or the output that pixel o is seen by through
 * tap k (backward); -1: none. */
static inline int64_t depthwise_sees(int64_t o, int64_t k, int64_t stride, int64_t pad,
                                     int64_t dilation, int64_t size, int backward)
{
    const int64_t i = backward ? o + pad - k * dilation : o * stride - pad + k * dilation;
    const int64_t p = backward ? i / stride : i;
    return i < 0 || (backward && i % stride) || p >= size ? -1 : p;
}

/* One axis of an image: out results, from size operands. */
typedef struct { int64_t out, size, taps, stride, pad, dilation; } depthwise_axis;

static void depthwise_find(depthwise_terms *t, const float *x, const depthwise_axis a[2], int64_t o,
                           int64_t p, int64_t c, int backward)
{
    const int64_t down = a[0].taps - 1, across = a[1].taps - 1;
    t->n = 0;
    for (int64_t i = 0; i <= down; i++) {
        const int64_t k = backward ? down - i : i;
        const int64_t row = depthwise_sees(o, k, a[0].stride, a[0].pad, a[0].dilation, a[0].size, backward);
        if (row < 0) continue;
        for (int64_t j = 0; j <= across; j++) {
            const int64_t l = backward ? across - j : j, column =
                depthwise_sees(p, l, a[1].stride, a[1].pad, a[1].dilation, a[1].size, backward);
            if (column < 0) continue;
            t->at[t->n] = x + (row * a[1].size + column) * c;
            t->tap[t->n++] = k * a[1].taps + l;
        }
    }
}

/* Whether the DEPTHWISE_PIXELS from j on see the image through the same taps. */
static int depthwise_alike(const depthwise_axis *a, int64_t j, int backward)
{
    const int64_t last = j + DEPTHWISE_PIXELS - 1, reach = (a->taps - 1) * a->dilation;
    if (last >= a->out || (backward && a->stride > 1)) return 0;
    return backward ? j + a->pad - reach >= 0 && last + a->pad < a->size
                    : j * a->stride >= a->pad && last * a->stride - a->pad + reach < a->size;
}

/* ---- tiles ---- r rows of m outputs by one register of channels stay in registers, while the pixels
 * they see are loaded once each.  Square kernels without dilation. */

#define DEPTHWISE_CASE(k, s, r, m) case 8 * r + m: \
    for (int64_t q = 0; q < c; q += VEC_W) { depthwise_tile(g, o, p, q, k, s, r, m); } break;
#if VEC_K == 1 || defined(__aarch64__)      /* 32 registers: 16 + 9 weights + 1 */
#define DEPTHWISE_TILE 4
#define DEPTHWISE_ROWS(k, s, r) DEPTHWISE_CASE(k, s, r, 1) DEPTHWISE_CASE(k, s, r, 2) \
    DEPTHWISE_CASE(k, s, r, 3) DEPTHWISE_CASE(k, s, r, 4)
#define DEPTHWISE_CASES(k, s) DEPTHWISE_ROWS(k, s, 1) DEPTHWISE_ROWS(k, s, 2) \
    DEPTHWISE_ROWS(k, s, 3) DEPTHWISE_ROWS(k, s, 4)
#else                                       /* 16 registers: 4 + 9 + 1 */
#define DEPTHWISE_TILE 2
#define DEPTHWISE_ROWS(k, s, r) DEPTHWISE_CASE(k, s, r, 1) DEPTHWISE_CASE(k, s, r, 2)
#define DEPTHWISE_CASES(k, s) DEPTHWISE_ROWS(k, s, 1) DEPTHWISE_ROWS(k, s, 2)
#endif

typedef struct {
    const float *x, *w, *start;
    float *y;
    int64_t h, wide, out, c;      /* rows and columns of x, columns of y, channels        */
    int64_t top, left;            /* pixel of tap (0, 0) of output (0, 0)                 */
    int acc, flip;                /* flip: the last tap first                             */
    fnn_gemm chains;              /* y as (pixels, channels), and the end of its sums     */
} depthwise_image;

/* The outputs (o, p), ..., (o + r - 1, p + m - 1), channels q.. */
VEC void depthwise_tile(const depthwise_image *g, int64_t o, int64_t p, int64_t q, const int k,
                        const int stride, const int r, const int m)
{
    const int64_t row = o * stride + g->top, column = p * stride + g->left;
    const float *x = g->x + (row * g->wide + column) * g->c + q;
    float *y = g->y + (o * g->out + p) * g->c + q;
    qf sum[DEPTHWISE_TILE][DEPTHWISE_TILE], w[25];
#pragma GCC unroll 25
    for (int i = 0; i < k * k; i++) w[i] = gemm_load(g->w + (g->flip ? k * k - 1 - i : i) * g->c + q);
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 4
        for (int j = 0; j < m; j++)
            sum[i][j] = g->acc ? gemm_load(y + (i * g->out + j) * g->c)
                      : g->start ? gemm_load(g->start + q) : q_set1(0.0f);
#pragma GCC unroll 16
    for (int a = 0; a < (r - 1) * stride + k; a++, x += g->wide * g->c) {
        if (row + a < 0 || row + a >= g->h) continue;
#pragma GCC unroll 16
        for (int b = 0; b < (m - 1) * stride + k; b++) {
            if (column + b < 0 || column + b >= g->wide) continue;
            const qf v = gemm_load(x + b * g->c);
#pragma GCC unroll 4
            for (int i = 0; i < r; i++)
#pragma GCC unroll 4
                for (int j = 0; j < m; j++) {
                    const int down = a - i * stride, across = b - j * stride;
                    if (down >= 0 && down < k && across >= 0 && across < k)
                        sum[i][j] = q_fma(v, w[down * k + across], sum[i][j]);
                }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < r; i++)
#pragma GCC unroll 4
        for (int j = 0; j < m; j++) gemm_store(y + (i * g->out + j) * g->c, sum[i][j]);
}

/* The same for r by m outputs and the first c channels, a multiple of VEC_W. */
#define DEPTHWISE_FN(k, s) \
    static void depthwise_tile_##k##_##s(const depthwise_image *g, int64_t o, int64_t p, int64_t r, \
                                         int64_t m, int64_t c) \
    { switch (8 * r + m) { DEPTHWISE_CASES(k, s) } }
DEPTHWISE_FN(3, 1)
DEPTHWISE_FN(3, 2)
DEPTHWISE_FN(5, 1)

/* ---- any kernel ---- */

/* Channels q..c of output row o. */
static void depthwise_row(const depthwise_image *g, const depthwise_axis a[2], int64_t o, int64_t q,
                          int backward)
{
    const int64_t step = backward ? g->c : a[1].stride * g->c;
    depthwise_terms t;
    for (int64_t j = 0, m; j < a[1].out; j += m) {
        float *y = g->y + (o * a[1].out + j) * g->c;
        depthwise_find(&t, g->x, a, o, j, g->c, backward);
        m = depthwise_alike(&a[1], j, backward) ? DEPTHWISE_PIXELS : 1;
        if (m > 1) depthwise_pixels(&t, g->w, g->start, q, g->c, step, y, g->acc, DEPTHWISE_PIXELS);
        else depthwise_pixels(&t, g->w, g->start, q, g->c, step, y, g->acc, 1);
    }
}

/* Rows o..o+r of an image. */
static void depthwise_band(const depthwise_image *g, const depthwise_axis a[2], int64_t o, int64_t r,
                           int backward)
{
    const int64_t k = a[0].taps, stride = a[0].stride, tiles = gemm_ceil(a[1].out, DEPTHWISE_TILE);
    const int square = k == a[1].taps && stride == a[1].stride && a[0].dilation * a[1].dilation == 1;
    const int tiled = square && ((k == 3 && stride == 1) || (k == 5 && stride == 1)
                                 || (k == 3 && stride == 2 && !backward));
    const int64_t whole = tiled ? g->c / VEC_W * VEC_W : 0;
    for (int64_t t = 0; whole > 0 && t < tiles; t++) {
        const int64_t p = a[1].out * t / tiles, m = a[1].out * (t + 1) / tiles - p;
        if (stride == 2) depthwise_tile_3_2(g, o, p, r, m, whole);
        else if (k == 3) depthwise_tile_3_1(g, o, p, r, m, whole);
        else depthwise_tile_5_1(g, o, p, r, m, whole);
        for (int64_t i = o; i < o + r; i++) gemm_finish(&g->chains, i * g->out + p, 0, m, whole);
    }
    for (int64_t i = o; whole < g->c && i < o + r; i++) {
        depthwise_row(g, a, i, whole, backward);
        gemm_finish(&g->chains, i * g->out, whole, g->out, g->c - whole);
    }
}

/* y, or dx: (n, a[0].out, a[1].out, c) from x, or dy: (n, a[0].size, a[1].size, c). */
static void depthwise_run(const float *x, const float *w, const float *start, float *y, int64_t n,
                          const depthwise_axis a[2], int64_t c, int acc, const gemm_end *e,
                          int backward)
{
    const int64_t rows = a[0].out, bands = gemm_ceil(rows, DEPTHWISE_TILE);
    int64_t first[2];
    for (int i = 0; i < 2; i++) first[i] = backward ? a[i].pad - a[i].taps + 1 : -a[i].pad;
    FNN_FOR
    for (int64_t t = 0; t < n * bands; t++) {
        const int64_t image = t / bands, b = t % bands, o = rows * b / bands;
        const int64_t at = image * rows * a[1].out * c;
        const depthwise_image g = {.x = x + image * a[0].size * a[1].size * c, .w = w,
                                   .start = start, .y = y + at,
                                   .chains = {.c = y + at, .ldc = c, .end = gemm_end_at(*e, at, 0)},
                                   .h = a[0].size, .wide = a[1].size, .out = a[1].out, .c = c,
                                   .top = first[0], .left = first[1], .acc = acc, .flip = backward};
        depthwise_band(&g, a, o, rows * (b + 1) / bands - o, backward);
    }
}

/* ---- the gradient of w ---- */

/* sum[l] += x at tap l of each output of a line, times dy; m taps, `lanes` channels. */
VEC void depthwise_line(vf sum[DEPTHWISE_LINE], const float *x, const float *dy,
                        const depthwise_axis *a, int64_t first, int64_t c, int lanes, const int m)
{
    for (int64_t j = 0; j < a->out; j++, dy += c) {
        const vf g = vf_get(dy, lanes);
        const int64_t p = j * a->stride - a->pad + first * a->dilation;
        const int64_t end = p + (m - 1) * a->dilation;
        if (p >= 0 && end < a->size) {
            for (int l = 0; l < m; l++)
                sum[l] = vf_fma(vf_get(x + (p + l * a->dilation) * c, lanes), g, sum[l]);
            continue;
        }
        for (int l = 0; l < m; l++) {
            const int64_t at = p + l * a->dilation;
            if (at >= 0 && at < a->size) sum[l] = vf_fma(vf_get(x + at * c, lanes), g, sum[l]);
        }
    }
}

/* The same for m taps of kernel row k over an image, added to out[l * c]. */
VEC void depthwise_sum(const float *x, const float *dy, const depthwise_axis a[2], int64_t k,
                         int64_t first, int64_t c, int lanes, float *out, const int m)
{
    vf sum[DEPTHWISE_LINE];
    for (int l = 0; l < m; l++) sum[l] = vf_get(out + l * c, lanes);
    for (int64_t i = 0; i < a[0].out; i++) {
        const int64_t row = depthwise_sees(i, k, a[0].stride, a[0].pad, a[0].dilation, a[0].size, 0);
        if (row >= 0)
            depthwise_line(sum, x + row * a[1].size * c, dy + i * a[1].out * c, &a[1], first, c, lanes, m);
    }
    for (int l = 0; l < m; l++) vf_put(out + l * c, sum[l], lanes);
}

static void depthwise_taps(const float *x, const float *dy, const depthwise_axis a[2], int64_t k,
                           int64_t first, int64_t c, int lanes, float *out, int64_t m)
{
    switch (m) {
    case 1: depthwise_sum(x, dy, a, k, first, c, lanes, out, 1); break;
    case 2: depthwise_sum(x, dy, a, k, first, c, lanes, out, 2); break;
    case 3: depthwise_sum(x, dy, a, k, first, c, lanes, out, 3); break;
    case 4: depthwise_sum(x, dy, a, k, first, c, lanes, out, 4); break;
    case 5: depthwise_sum(x, dy, a, k, first, c, lanes, out, 5); break;
    case 6: depthwise_sum(x, dy, a, k, first, c, lanes, out, 6); break;
    case 7: depthwise_sum(x, dy, a, k, first, c, lanes, out, 7); break;
    default: depthwise_sum(x, dy, a, k, first, c, lanes, out, 8); break;
    }
}

/* 3x3 kernels of stride 1: a window moves along a row, so that a pixel is loaded once for three taps
 * of it.  Pixels outside count as 0. */

#define DEPTHWISE_BAND 4      /* rows that the sums of a register of channels take at once: L1 */
#define DEPTHWISE_GROUP 64    /* channels of a task                                       */

VEC qf depthwise_get(const float *p, gemm_tail tail, const int edge)
{
    return edge ? gemm_load_n(p, tail) : gemm_load(p);
}

/* sum[tap * c] += over rows o..end of dy, in y, times x at the tap, for `lanes` channels from q on. */
VEC void depthwise_window(const depthwise_image *g, float *sum, int64_t o, int64_t end, int64_t q,
                          int lanes, const int edge)
{
    const gemm_tail tail = gemm_first(lanes);
    const int64_t c = g->c, wide = g->wide, left = g->left;
    qf s[9], x[3][3];
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++) s[i] = depthwise_get(sum + i * c, tail, edge);
    for (; o < end; o++) {
        const int64_t row = o + g->top;
        const float *from = g->x + (row * wide + left) * c + q, *dy = g->y + o * g->out * c + q;
#pragma GCC unroll 1
        for (int64_t j = -2; j < g->out; j++, from += c) {
            const int seen = left + j + 2 >= 0 && left + j + 2 < wide;
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++) {
                const int inside = seen && row + i >= 0 && row + i < g->h;
                x[i][0] = j > -2 ? x[i][1] : q_set1(0.0f);
                x[i][1] = j > -2 ? x[i][2] : q_set1(0.0f);
                x[i][2] = inside ? depthwise_get(from + i * wide * c, tail, edge) : q_set1(0.0f);
            }
            if (j < 0) continue;
            const qf d = depthwise_get(dy + j * c, tail, edge);
#pragma GCC unroll 9
            for (int i = 0; i < 9; i++) s[i] = q_fma(x[i / 3][i % 3], d, s[i]);
        }
    }
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++) {
        if (edge) gemm_store_n(sum + i * c, s[i], tail);
        else gemm_store(sum + i * c, s[i]);
    }
}

/* The sums of an image for the channels q0..q1. */
static void depthwise_windows(const depthwise_image *g, float *sum, int64_t rows, int64_t q0, int64_t q1)
{
    for (int64_t o = 0; o < rows; o += DEPTHWISE_BAND)
        for (int64_t q = q0; q < q1; q += VEC_W) {
            const int64_t end = gemm_min(o + DEPTHWISE_BAND, rows);
            const int lanes = (int)gemm_min(VEC_W, q1 - q);
            if (lanes < VEC_W) depthwise_window(g, sum + q, o, end, q, lanes, 1);
            else depthwise_window(g, sum + q, o, end, q, lanes, 0);
        }
}

/* The sums (area, c) of one image, added to `sum` for the channels q0..q1. */
static void depthwise_add_image(const float *x, const float *dy, const depthwise_axis a[2], int64_t c,
                                int64_t q0, int64_t q1, float *sum)
{
    const int simple = a[0].taps == 3 && a[1].taps == 3 && a[0].stride * a[1].stride == 1
                    && a[0].dilation * a[1].dilation == 1;
    if (simple) {
        const depthwise_image g = {.x = x, .y = (float *)dy, .h = a[0].size, .wide = a[1].size,
                                   .out = a[1].out, .c = c, .top = -a[0].pad, .left = -a[1].pad};
        depthwise_windows(&g, sum, a[0].out, q0, q1);
        return;
    }
    for (int64_t q = q0; q < q1; q += FNN_LANES)
        for (int64_t k = 0; k < a[0].taps; k++)
            for (int64_t l = 0; l < a[1].taps; l += DEPTHWISE_LINE)
                depthwise_taps(x + q, dy + q, a, k, l, c, lanes_of(q1 - q),
                               sum + (k * a[1].taps + l) * c + q, gemm_min(a[1].taps - l, DEPTHWISE_LINE));
}

/* dw (c, taps) from x (n, sizes, c) and dy (n, outs, c). */
static void depthwise_weights(const float *x, const float *dy, float *dw, int64_t n,
                              const depthwise_axis a[2], int64_t c, int acc, const fnn_scratch *s)
{
    const int64_t area = a[0].taps * a[1].taps, blocks = gemm_ceil(c, DEPTHWISE_GROUP);
    const int64_t room = FNN_SHARED_BYTES / 4 / gemm_max(area * c, 1);
    const int64_t slabs = gemm_max(gemm_min(n, room), 1), size = area * c;
    FNN_FOR
    for (int64_t t = 0; t < slabs * blocks; t++) {
        const int64_t slab = t / blocks, q0 = t % blocks * DEPTHWISE_GROUP;
        const int64_t q1 = gemm_min(q0 + DEPTHWISE_GROUP, c);
        float *sum = s->shared + slab * size;
        for (int64_t k = 0; k < area; k++)
            memset(sum + k * c + q0, 0, (size_t)(q1 - q0) * sizeof(float));
        for (int64_t i = n * slab / slabs; i < n * (slab + 1) / slabs; i++)
            depthwise_add_image(x + i * a[0].size * a[1].size * c, dy + i * a[0].out * a[1].out * c, a,
                                c, q0, q1, sum);
    }
    FNN_FOR
    for (int64_t k = 0; k < area; k++) {
        float *sum = s->shared + k * c;
        for (int64_t step = 1; step < slabs; step *= 2)
            for (int64_t i = 0; i + step < slabs; i += 2 * step)
                for (int64_t q = 0; q < c; q++)
                    sum[i * size + q] += sum[(i + step) * size + q];
        for (int64_t q = 0; q < c; q++)
            dw[q * area + k] = acc ? dw[q * area + k] + sum[q] : sum[q];
    }
}

#endif
