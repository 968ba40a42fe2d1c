/*
 * op_image.h: what augmentation does to batches of images: a plane is moved by an affine map, or a
 * rectangle of it is replaced.  No gradients: both are applied to data.
 */
#ifndef FNN_OP_IMAGE_H
#define FNN_OP_IMAGE_H

#include <string.h>

#include "sums.h"

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
