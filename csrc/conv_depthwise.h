/*
 * conv_depthwise.h: convolutions that keep channels apart: one kernel per channel, lanes are channels.
 *
 * Weights come as (taps, C).  Each output is one chain over ascending taps that starts from the bias;
 * taps outside the image are left out.  The gradient of a weight is summed image by image, and the
 * images two by two.
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

/* y[p][c] = start[c] + sum over terms of at[p * step][c] w[tap][c] for m pixels. */
VEC void depthwise_tile(const depthwise_terms *t, const float *w, const float *start, int64_t c,
                        int64_t step, float *y, int acc, const int m)
{
    for (int64_t q = 0; q < c; q += FNN_LANES) {
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

static void depthwise_find(depthwise_terms *t, const float *x, const depthwise_axis a[2], int64_t i,
                           int64_t j, int64_t c, int backward)
{
    t->n = 0;
    for (int64_t k = 0; k < a[0].taps; k++) {
        const int64_t row = depthwise_sees(i, k, a[0].stride, a[0].pad, a[0].dilation, a[0].size, backward);
        if (row < 0) continue;
        for (int64_t l = 0; l < a[1].taps; l++) {
            const int64_t column =
                depthwise_sees(j, l, a[1].stride, a[1].pad, a[1].dilation, a[1].size, backward);
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

/* y, or dx: (n, a[0].out, a[1].out, c) from x, or dy: (n, a[0].size, a[1].size, c). */
static void depthwise_run(const float *x, const float *w, const float *start, float *y, int64_t n,
                          const depthwise_axis a[2], int64_t c, int acc, int backward)
{
    const int64_t step = backward ? c : a[1].stride * c;
    FNN_FOR
    for (int64_t r = 0; r < n * a[0].out; r++) {
        const float *image = x + r / a[0].out * a[0].size * a[1].size * c;
        float *line = y + r * a[1].out * c;
        depthwise_terms t;
        for (int64_t j = 0; j < a[1].out;) {
            depthwise_find(&t, image, a, r % a[0].out, j, c, backward);
            if (depthwise_alike(&a[1], j, backward)) {
                depthwise_tile(&t, w, start, c, step, line + j * c, acc, DEPTHWISE_PIXELS);
                j += DEPTHWISE_PIXELS;
            } else {
                depthwise_tile(&t, w, start, c, step, line + j * c, acc, 1);
                j++;
            }
        }
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
VEC void depthwise_image(const float *x, const float *dy, const depthwise_axis a[2], int64_t k,
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
    case 1: depthwise_image(x, dy, a, k, first, c, lanes, out, 1); break;
    case 2: depthwise_image(x, dy, a, k, first, c, lanes, out, 2); break;
    case 3: depthwise_image(x, dy, a, k, first, c, lanes, out, 3); break;
    case 4: depthwise_image(x, dy, a, k, first, c, lanes, out, 4); break;
    case 5: depthwise_image(x, dy, a, k, first, c, lanes, out, 5); break;
    case 6: depthwise_image(x, dy, a, k, first, c, lanes, out, 6); break;
    case 7: depthwise_image(x, dy, a, k, first, c, lanes, out, 7); break;
    default: depthwise_image(x, dy, a, k, first, c, lanes, out, 8); break;
    }
}

/* dw (c, taps) from x (n, sizes, c) and dy (n, outs, c). */
static void depthwise_weights(const float *x, const float *dy, float *dw, int64_t n,
                              const depthwise_axis a[2], int64_t c, int acc, const fnn_scratch *s)
{
    const int64_t area = a[0].taps * a[1].taps, blocks = gemm_ceil(c, FNN_LANES);
    const int64_t room = FNN_SHARED_BYTES / 4 / gemm_max(area * c, 1);
    const int64_t slabs = gemm_max(gemm_min(n, room), 1), size = area * c;
    FNN_FOR
    for (int64_t t = 0; t < slabs * blocks; t++) {
        const int64_t slab = t / blocks, q = t % blocks * FNN_LANES;
        const int lanes = lanes_of(c - q);
        float *sum = s->shared + slab * size + q;
        for (int64_t k = 0; k < area; k++) vf_put(sum + k * c, vf_zero(), lanes);
        for (int64_t i = n * slab / slabs; i < n * (slab + 1) / slabs; i++)
            for (int64_t k = 0; k < a[0].taps; k++)
                for (int64_t l = 0; l < a[1].taps; l += DEPTHWISE_LINE)
                    depthwise_taps(x + i * a[0].size * a[1].size * c + q,
                                   dy + i * a[0].out * a[1].out * c + q, a, k, l, c, lanes,
                                   sum + (k * a[1].taps + l) * c,
                                   gemm_min(a[1].taps - l, DEPTHWISE_LINE));
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
