/*
 * conv_pointwise.h: 1x1 convolutions of images that lie in planes, (N, C, pixels), without turning them.
 *
 * Each image is a matrix that gemm.h takes transposed, or as it stands.  Every element is the chain
 * that images channels last give: outputs over ascending channels, gradients of x over ascending
 * outputs, those of weights over ascending images and pixels.
 */
#ifndef FNN_CONV_POINTWISE_H
#define FNN_CONV_POINTWISE_H

#include "gemm.h"
#include "op_layout.h"

/* One group: x at its first channel, images x_step apart; y (N, pixels, ldy) at its first output. */
typedef struct {
    int64_t n, pixels, c, o, x_step, ldy;
} pointwise;

#define POINTWISE_TASKS 16    /* to be had from parts of images, if these are few         */
#define POINTWISE_PART 112    /* pixels of a part at least                                */

static int64_t pointwise_parts(const pointwise *v)
{
    const int64_t most = gemm_ceil(v->pixels, POINTWISE_PART);
    return v->n > 0 ? gemm_min(gemm_ceil(POINTWISE_TASKS, v->n), most) : 0;
}

/* y_n = x_n^T w^T and what g says about its end.  g: of one image, without A. */
static void pointwise_forward(const pointwise *v, const float *x, const fnn_gemm *g,
                              const fnn_scratch *s)
{
    const int64_t parts = pointwise_parts(v), y_step = v->pixels * v->ldy;
    FNN_FOR
    for (int64_t t = 0; t < v->n * parts; t++) {
        const int64_t image = t / parts, part = t % parts;
        fnn_gemm item = *g;
        item.a = x + image * v->x_step, item.lda = v->pixels, item.ta = 1;
        item.c += image * y_step;
        item.end = gemm_end_at(item.end, image * y_step, 0);
        item = gemm_part(item, v->pixels * part / parts, v->pixels * (part + 1) / parts, 0, v->o);
        gemm_serial(&item, s->local);
    }
}

/* dx_n (c, pixels) (+)= w^T dy_n^T.  w: (o, c). */
static void pointwise_input(const pointwise *v, const float *dy, const float *w, float *dx, int acc,
                            const fnn_scratch *s)
{
    const int64_t parts = pointwise_parts(v);
    FNN_FOR
    for (int64_t t = 0; t < v->n * parts; t++) {
        const int64_t image = t / parts, part = t % parts;
        const fnn_gemm g = {.m = v->c, .n = v->pixels, .k = v->o, .a = w, .lda = v->c, .ta = 1,
                            .b = dy + image * v->pixels * v->ldy, .ldb = v->ldy, .tb = 1,
                            .c = dx + image * v->x_step, .ldc = v->pixels, .acc = acc};
        const fnn_gemm item = gemm_part(g, 0, v->c, v->pixels * part / parts,
                                        v->pixels * (part + 1) / parts);
        gemm_serial(&item, s->local);
    }
}

/* dw (o, c) (+)= the sum of dy_n^T x_n^T: x_n dy_n in shared scratch, some channels at a time, turned. */
static void pointwise_weights(const pointwise *v, const float *x, const float *dy, float *dw, int acc,
                              const fnn_scratch *s)
{
    const int64_t room = gemm_max(FNN_SHARED_BYTES / 4 / v->o, 1);
    for (int64_t c0 = 0, rows; c0 < v->c; c0 += rows) {
        rows = gemm_min(room, v->c - c0);
        const fnn_gemm g = {.m = rows, .n = v->o, .k = v->pixels, .a = x + c0 * v->pixels,
                            .lda = v->pixels, .b = dy, .ldb = v->ldy, .c = s->shared, .ldc = v->o};
        fnn_gemm part = gemm_share(&g);
        part.k = v->n > 0 ? part.k : 0;
        for (int64_t image = 0; image == 0 || image < v->n; image++) {
            part.acc = image > 0;
            gemm_serial(&part, s->local);
            part.a += v->x_step;
            part.b += v->pixels * v->ldy;
        }
        FNN_BARRIER
        FNN_FOR
        for (int64_t o = 0; o < v->o; o += TURN_COLUMNS)
            turn_block(s->shared + o, v->o, dw + o * v->c + c0, v->c, rows,
                       gemm_min(TURN_COLUMNS, v->o - o), acc);
    }
}

#endif
