/*
 * op_conv_transpose.h: transposed convolution of images that lie channels last.
 *
 * It runs op_conv.h backwards: forward is the gradient of a convolution's input, the gradient of its
 * own input is that convolution, and that of the weights is the convolution's with operands exchanged.
 * In conv_shape, then, (size, ci) are those of y and (out, co) those of x.
 */
#ifndef FNN_OP_CONV_TRANSPOSE_H
#define FNN_OP_CONV_TRANSPOSE_H

#include "op_conv.h"

/* y[n,h,w,q] = b[q] + sum over i, j, o of x[n,i,j,o] w[o,q,kh,kw] where h = i sh + kh dh - ph and
 * w = j sw + kw dw - pw, o being one of the channels of q's group.
 * x: (N,OH,OW,Co), w: (Co,Ci/groups,KH,KW), b: (Ci), t, p: pack_conv of w, turned and forward;
 * y: (N,H,W,Ci).  b may be absent, p if the gradient of x is never wanted.  dim: as conv2d. */

/* y = b in every pixel, (N H W, Ci). */
static void conv_begin(const conv_shape *v, const float *b, float *y)
{
    FNN_FOR
    for (int64_t i = 0; i < v->n * v->size[0] * v->size[1]; i++)
        conv_put(y + i * v->ci, b, v->ci, 0);
}

static void conv_transpose2d_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const conv_shape v = conv_shape_of(c);
    const float *x = c->buf[0], *b = v.flags & CONV_BIAS ? c->buf[2] : NULL, *turned = c->buf[3];
    const int64_t packed = gemm_ceil(v.cg, GEMM_PANEL_W) * GEMM_PANEL_W * v.area * v.og;
    float *y = c->buf[5];
    if (conv_is_depthwise(&v)) {
        depthwise_axis a[2];
        conv_axes(&v, a, 1);
        depthwise_run(x, turned, b, y, v.n, a, v.ci, 0, &(gemm_end){0}, 1);
        return;
    }
    if (b) conv_begin(&v, b, y);
    for (int64_t g = 0; g < v.groups; g++)
        conv_input_gradient(&v, x + g * v.og, turned + g * packed, y + g * v.cg, b != NULL, s);
}

/* dx of one group (+)= windows of dy times w.  dy, dx: at its first channel. */
static void conv_transpose_input(const conv_shape *v, const float *dy, const float *panels, float *dx,
                                 int acc, const fnn_scratch *s)
{
    conv_window windows = conv_windows(v, dy);
    windows.source.pack = conv_pack_windows;
    fnn_gemm product = {.m = v->pixels, .n = v->og, .k = v->k, .panels = panels, .c = dx,
                        .ldc = v->co, .acc = acc};
    if (conv_is_product(v)) product.a = dy, product.lda = v->ci;
    else product.source = &windows.source;
    gemm_team(&product, s);
}

static void conv_transpose2d_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const conv_shape v = conv_shape_of(c);
    const float *x = c->buf[0], *panels = c->buf[4], *dy = c->grad[5];
    const int64_t packed = gemm_ceil(v.og, GEMM_PANEL_W) * GEMM_PANEL_W * v.k;
    const int depthwise = conv_is_depthwise(&v), groups = depthwise ? 0 : (int)v.groups;
    depthwise_axis a[2];
    conv_axes(&v, a, 0);
    if (depthwise && c->grad[0])
        depthwise_run(dy, panels, NULL, c->grad[0], v.n, a, v.co, c->acc & 1, &(gemm_end){0}, 0);
    if (depthwise && c->grad[1])
        depthwise_weights(dy, x, c->grad[1], v.n, a, v.co, c->acc >> 1 & 1, s);
    for (int64_t g = 0; c->grad[0] && g < groups; g++)
        conv_transpose_input(&v, dy + g * v.cg, panels + g * packed, c->grad[0] + g * v.og,
                             c->acc & 1, s);
    for (int64_t g = 0; c->grad[1] && g < groups; g++)
        conv_weight_gradient(&v, dy + g * v.cg, x + g * v.og, c->grad[1] + g * v.og * v.k,
                             c->acc >> 1 & 1, s);
    if (c->grad[2] && v.flags & CONV_BIAS)
        column_sums(dy, v.n * v.size[0] * v.size[1], v.ci, c->grad[2], c->acc >> 2 & 1, s);
}

#endif
