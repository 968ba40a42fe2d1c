/*
 * op_image.h: ops over the planes of images: resizing and sliding windows; and what augmentation does
 * to data, hence without gradients: planes moved by an affine map, rectangles replaced.
 */
#ifndef FNN_OP_IMAGE_H
#define FNN_OP_IMAGE_H

#include <math.h>
#include <string.h>

#include "op_indexing.h"

/* ---- interpolate ----
 * y[o][i][j] = sum over a, b in {0, 1} of v_a(i) w_b(j) x[o][row_a(i)][column_b(j)], v_0 = 1 - v_1.
 * x: (outer, H, W, inner), rows: (2, OH), v: (OH) = v_1, columns: (2, OW), w: (OW) = w_1,
 * y: (outer, OH, OW, inner).  dim: outer, H, W, inner, OH, OW.  */

typedef struct {
    int64_t at[4];                       /* elements from the plane's first; -1 = outside        */
    float weight[4];
} taps;

static inline taps taps_of(const fnn_call *c, int64_t i, int64_t j)
{
    const int64_t *d = c->dim, *rows = c->buf[1], *columns = c->buf[3];
    const float v = ((const float *)c->buf[2])[i], w = ((const float *)c->buf[4])[j];
    taps t;
    for (int k = 0; k < 4; k++) {
        const int64_t row = rows[(k >> 1) * d[4] + i], column = columns[(k & 1) * d[5] + j];
        const int ok = inside(row, d[1]) && inside(column, d[2]);
        t.at[k] = ok ? (row * d[2] + column) * d[3] : -1;
        t.weight[k] = ok ? (k & 2 ? v : 1 - v) * (k & 1 ? w : 1 - w) : 0;
    }
    return t;
}

#define STRIP_OF_CHANNELS 64

static inline float tap_add(float weight, float x, float sum)
{
    return VEC_FMA ? fmaf(weight, x, sum) : weight * x + sum;
}

VEC void interpolate_pixel(float *y, const float *x, const taps *t, int64_t n)
{
    if (n == 1) {
        float sum = 0;
        for (int k = 0; k < 4; k++)
            if (t->weight[k] != 0) sum = tap_add(t->weight[k], x[t->at[k]], sum);
        *y = sum;
        return;
    }
    for (int64_t l = 0; l < n; l += FNN_LANES) {
        const int m = lanes_of(n - l);
        vf sum = vf_zero();
        for (int k = 0; k < 4; k++)
            if (t->weight[k] != 0)       /* or a NaN that does not count would come in           */
                sum = vf_fma(vf_set1(t->weight[k]), vf_get(x + t->at[k] + l, m), sum);
        vf_put(y + l, sum, m);
    }
}

static void interpolate_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    FNN_FOR
    for (int64_t t = 0; t < d[0] * d[4]; t++) {
        const float *x = (const float *)c->buf[0] + t / d[4] * d[1] * d[2] * d[3];
        float *y = (float *)c->buf[5] + t * d[5] * d[3];
        for (int64_t j = 0; j < d[5]; j++) {
            const taps p = taps_of(c, t % d[4], j);
            interpolate_pixel(y + j * d[3], x, &p, d[3]);
        }
    }
}

VEC void interpolate_add(float *dx, const float *dy, const taps *t, int64_t n)
{
    if (n == 1) {
        for (int k = 0; k < 4; k++)
            if (t->weight[k] != 0) dx[t->at[k]] = tap_add(t->weight[k], *dy, dx[t->at[k]]);
        return;
    }
    for (int k = 0; k < 4; k++)
        for (int64_t l = 0; t->weight[k] != 0 && l < n; l += FNN_LANES) {
            const int m = lanes_of(n - l);
            float *to = dx + t->at[k] + l;
            vf_put(to, vf_fma(vf_set1(t->weight[k]), vf_get(dy + l, m), vf_get(to, m)), m);
        }
}

/* One thread adds up a strip of channels of one image, in the order of its pixels. */
static void interpolate_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim, plane = d[1] * d[2] * d[3];
    const int64_t strips = (d[3] + STRIP_OF_CHANNELS - 1) / STRIP_OF_CHANNELS;
    FNN_FOR
    for (int64_t t = 0; t < d[0] * strips; t++) {
        const int64_t first = t % strips * STRIP_OF_CHANNELS;
        const int64_t n = smaller(STRIP_OF_CHANNELS, d[3] - first);
        float *dx = c->grad[0] + t / strips * plane + first;
        const float *dy = c->grad[5] + t / strips * d[4] * d[5] * d[3] + first;
        for (int64_t p = 0; !(c->acc & 1) && p < d[1] * d[2]; p++)
            memset(dx + p * d[3], 0, (size_t)n * sizeof *dx);
        for (int64_t i = 0; i < d[4]; i++)
            for (int64_t j = 0; j < d[5]; j++) {
                const taps p = taps_of(c, i, j);
                interpolate_add(dx, dy + (i * d[5] + j) * d[3], &p, n);
            }
    }
}

/* ---- unfold ----
 * y[p][a][b][i][j] = x[p][i sh + a dh - ph][j sw + b dw - pw], 0 outside: the windows of each plane.
 * x: (P, H, W), y: (P, KH, KW, OH, OW).  dim: P, H, W, KH, KW, OH, OW, sh, sw, ph, pw, dh, dw.  */

/* The columns j of a row of windows, from first to the one before last, that lie inside. */
static inline int64_t window_columns(const int64_t *d, int64_t b, int64_t *first)
{
    const int64_t shift = b * d[12] - d[10], stride = d[8];
    const int64_t from = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    const int64_t to = d[2] - shift <= 0 ? 0 : (d[2] - shift + stride - 1) / stride;
    *first = smaller(from, d[6]);
    const int64_t last = smaller(to, d[6]);
    return last > *first ? last : *first;
}

/* y = the windows, or y += with acc */
static void windows(const fnn_call *c, float *y, const float *x, int acc)
{
    const int64_t *d = c->dim, rows = d[3] * d[4] * d[5];
    FNN_FOR
    for (int64_t t = 0; t < d[0] * rows; t++) {
        const int64_t i = t % d[5], b = t / d[5] % d[4], a = t / d[5] / d[4] % d[3];
        const int64_t row = i * d[7] + a * d[11] - d[9], shift = b * d[12] - d[10];
        float *to = y + t * d[6];
        if (!acc) memset(to, 0, (size_t)d[6] * sizeof *to);
        if (!inside(row, d[1])) continue;
        int64_t first, last = window_columns(d, b, &first);
        const float *from = x + (t / rows * d[1] + row) * d[2];
        for (int64_t j = first; j < last; j++) {
            const float v = from[j * d[8] + shift];
            to[j] = acc ? to[j] + v : v;
        }
    }
}

/* x = the sum of all windows at their places; one thread a plane, windows in order. */
static void sum_of_windows(const fnn_call *c, float *x, const float *y, int acc)
{
    const int64_t *d = c->dim, rows = d[3] * d[4] * d[5];
    FNN_FOR
    for (int64_t p = 0; p < d[0]; p++) {
        if (!acc) memset(x + p * d[1] * d[2], 0, (size_t)(d[1] * d[2]) * sizeof *x);
        for (int64_t t = 0; t < rows; t++) {
            const int64_t i = t % d[5], b = t / d[5] % d[4], a = t / d[5] / d[4];
            const int64_t row = i * d[7] + a * d[11] - d[9];
            int64_t first, last = window_columns(d, b, &first);
            if (!inside(row, d[1])) continue;
            float *to = x + (p * d[1] + row) * d[2];
            const float *from = y + (p * rows + t) * d[6];
            for (int64_t j = first; j < last; j++) to[j * d[8] + b * d[12] - d[10]] += from[j];
        }
    }
}

static void unfold_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    windows(c, c->buf[1], c->buf[0], 0);
}

static void unfold_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    sum_of_windows(c, c->grad[0], c->grad[1], c->acc & 1);
}

/* ---- fold ----
 * y[p] = the sum of the windows x[p] at their places: the transpose of unfold.
 * x: (P, KH, KW, OH, OW), y: (P, H, W).  dim: as unfold.  */

static void fold_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    sum_of_windows(c, c->buf[1], c->buf[0], 0);
}

static void fold_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    windows(c, c->grad[0], c->grad[1], c->acc & 1);
}

/* ---- warp ----
 * y[n][c][i][j] = x[n][c] at (u, v) = (a j + b i + e, d j + f i + g), in pixels: the four nearest
 * ones, interpolated, or the nearest.  Pixels outside the box of the image count as `fill`, or the
 * place is moved to the border of the box.
 * x: (N, C, H, W), map: (N, 6) a b e d f g, box: (N, 4) first and last column, first and last row,
 * y: (N, C, OH, OW).  dim: N, C, H, W, OH, OW, 1 = nearest, 1 = to the border.  f: fill.  */

typedef struct {
    int32_t at[4][FNN_LANES];            /* above left, above right, below left, below right      */
    uint8_t ok[4][FNN_LANES];            /* inside; `at` is 0 where not                           */
    vf right, below;                     /* how far (u, v) is from above left, 0 to 1             */
} warp_places;

VEC void warp_corner(warp_places *p, int k, vf u, vf v, const float *box, int64_t w)
{
    const vm in = vm_and(vm_and(vf_ge(u, vf_set1(box[0])), vf_le(u, vf_set1(box[1]))),
                         vm_and(vf_ge(v, vf_set1(box[2])), vf_le(v, vf_set1(box[3]))));
    const vi at = vi_add(vi_mul(vf_to_vi(vf_sel(in, v, vf_zero())), vi_set1((int32_t)w)),
                         vf_to_vi(vf_sel(in, u, vf_zero())));
    vi_store(p->at[k], at);
    vm_store_u8(p->ok[k], in);
}

/* The places that 16 pixels from column j on of row i look at. */
VEC void warp_look(warp_places *p, const float *map, const float *box, int64_t i, int64_t j,
                   const int64_t *d)
{
    const vf column = vi_to_vf(vi_add(vi_iota(), vi_set1((int32_t)j))), row = vf_set1((float)i);
    vf u = vf_fma(vf_set1(map[0]), column, vf_fma(vf_set1(map[1]), row, vf_set1(map[2])));
    vf v = vf_fma(vf_set1(map[3]), column, vf_fma(vf_set1(map[4]), row, vf_set1(map[5])));
    if (d[7]) {
        u = vf_min(vf_max(u, vf_set1(box[0])), vf_set1(box[1]));
        v = vf_min(vf_max(v, vf_set1(box[2])), vf_set1(box[3]));
    }
    p->right = p->below = vf_zero();
    if (d[6]) {
        warp_corner(p, 0, vf_rint(u), vf_rint(v), box, d[3]);
        return;
    }
    const vf left = vf_floor(u), above = vf_floor(v), one = vf_set1(1);
    p->right = vf_sub(u, left);
    p->below = vf_sub(v, above);
    for (int k = 0; k < 4; k++)
        warp_corner(p, k, k & 1 ? vf_add(left, one) : left, k & 2 ? vf_add(above, one) : above, box,
                    d[3]);
}

VEC vf warp_read(const warp_places *p, int k, const float *x, float fill)
{
    float t[FNN_LANES];
    for (int l = 0; l < FNN_LANES; l++) t[l] = p->ok[k][l] ? x[p->at[k][l]] : fill;
    return vf_load(t);
}

/* a + t (b - a), and just a where t = 0: what lies beyond the border does not matter then */
VEC vf warp_between(vf a, vf b, vf t)
{
    return vf_sel(vf_eq(t, vf_zero()), a, vf_fma(t, vf_sub(b, a), a));
}

VEC void warp_row(const fnn_call *c, const float *map, const float *box, int64_t n, int64_t i)
{
    const int64_t *d = c->dim, plane = d[2] * d[3], out = d[4] * d[5];
    const float *x = (const float *)c->buf[0] + n * d[1] * plane;
    float *y = (float *)c->buf[3] + n * d[1] * out + i * d[5];
    warp_places p;
    for (int64_t j = 0; j < d[5]; j += FNN_LANES) {
        warp_look(&p, map, box, i, j, d);
        for (int64_t k = 0; k < d[1]; k++) {
            vf v = warp_read(&p, 0, x + k * plane, c->f[0]);
            if (!d[6]) {
                const vf u = warp_between(v, warp_read(&p, 1, x + k * plane, c->f[0]), p.right);
                const vf w = warp_read(&p, 2, x + k * plane, c->f[0]);
                v = warp_between(w, warp_read(&p, 3, x + k * plane, c->f[0]), p.right);
                v = warp_between(u, v, p.below);
            }
            vf_put(y + k * out + j, v, lanes_of(d[5] - j));
        }
    }
}

static void warp_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    FNN_FOR
    for (int64_t t = 0; t < d[0] * d[4]; t++) {
        const int64_t n = t / d[4];
        const float *given = (const float *)c->buf[2] + 4 * n;
        /* The box may have changed since it was checked: never beyond the image. */
        const float box[4] = {given[0] > 0 ? given[0] : 0,
                              given[1] < (float)(d[3] - 1) ? given[1] : (float)(d[3] - 1),
                              given[2] > 0 ? given[2] : 0,
                              given[3] < (float)(d[2] - 1) ? given[3] : (float)(d[2] - 1)};
        warp_row(c, (const float *)c->buf[1] + 6 * n, box, n, t % d[4]);
    }
}

/* ---- paste ----
 * y = x, but inside the box of each image z.  x, y: (N, C, H, W), z: the same or one number,
 * box: (N, 4) int64: first column and the one after the last, first row and the one after the last.
 * dim: N, C, H, W, 1 = z is one number.  */

static void paste_row(float *y, const float *x, const float *z, int64_t from, int64_t to, int64_t w,
                      int one)
{
    memcpy(y, x, (size_t)w * sizeof *y);
    if (!one && to > from) memcpy(y + from, z + from, (size_t)(to - from) * sizeof *y);
    for (int64_t j = from; one && j < to; j++) y[j] = *z;
}

static void paste_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim, h = d[2], w = d[3];
    const int one = d[4] != 0;
    FNN_FOR
    for (int64_t t = 0; t < d[0] * d[1] * h; t++) {
        const int64_t *box = (const int64_t *)c->buf[2] + 4 * (t / (d[1] * h)), i = t % h;
        const int64_t from = box[0] < 0 ? 0 : smaller(box[0], w);
        const int64_t to = i < box[2] || i >= box[3] ? from : smaller(box[1], w);
        paste_row((float *)c->buf[3] + t * w, (const float *)c->buf[0] + t * w,
                  (const float *)c->buf[1] + (one ? 0 : t * w), from, to, w, one);
    }
}

#endif
