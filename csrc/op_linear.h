/*
 * op_linear.h: matrix products.  All of them are calls of gemm.h; see there for the order of sums.
 */
#ifndef FNN_OP_LINEAR_H
#define FNN_OP_LINEAR_H

#include "gemm.h"
#include "sums.h"

/* ---- matmul ----
 * y = op(a) op(b) for each item of two nested batch dimensions.
 * a: (m,k), stored (k,m) if ta.  b: (k,n), stored (n,k) if tb.  y: (n0,n1,m,n).
 * dim: m, n, k, ta, tb, n0, n1, then the batch strides a0, a1, b0, b1 in elements; 0 = shared.  */

static inline fnn_gemm matmul_item(const fnn_call *c)
{
    const int64_t *d = c->dim;
    const int ta = (int)d[3], tb = (int)d[4];
    return (fnn_gemm){.m = d[0], .n = d[1], .k = d[2],
                      .a = c->buf[0], .lda = ta ? d[0] : d[2], .ta = ta,
                      .b = c->buf[1], .ldb = tb ? d[2] : d[1], .tb = tb,
                      .c = c->buf[2], .ldc = d[1]};
}

static void matmul_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, mn = d[0] * d[1];
    const fnn_gemm g = matmul_item(c);
    const gemm_batch batch = {{d[5], d[6]}, {d[7], d[8]}, {d[9], d[10]}, {d[6] * mn, mn}};
    gemm_batched(&g, &batch, s);
}

/* Items whose results share memory (batch stride 0 in c) are added one after the other. */
static void matmul_reduce(fnn_gemm g, gemm_batch batch, const fnn_scratch *s)
{
    int64_t times[2] = {1, 1};
    for (int i = 0; i < 2; i++)
        if (batch.c[i] == 0) {
            times[i] = batch.n[i];
            batch.n[i] = 1;
        }
    if (times[0] * times[1] == 0 && !g.acc) {       /* an empty sum is zero */
        g.k = 0;
        gemm_batched(&g, &batch, s);
    }
    for (int64_t i = 0; i < times[0]; i++)
        for (int64_t j = 0; j < times[1]; j++) {
            fnn_gemm item = g;
            item.a += i * batch.a[0] + j * batch.a[1];
            item.b += i * batch.b[0] + j * batch.b[1];
            item.acc = g.acc || i + j > 0;
            gemm_batched(&item, &batch, s);
        }
}

/* da = dy op(b)^T and db = op(a)^T dy, each stored the way its operand is. */
static void matmul_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, m = d[0], n = d[1], k = d[2], mn = m * n;
    const int ta = (int)d[3], tb = (int)d[4];
    const float *a = c->buf[0], *b = c->buf[1], *dy = c->grad[2];
    const int64_t ys[2] = {d[6] * mn, mn};
    if (c->grad[0]) {
        fnn_gemm g = {.k = n, .c = c->grad[0], .acc = c->acc & 1};
        gemm_batch batch = {{d[5], d[6]}, {ys[0], ys[1]}, {d[9], d[10]}, {d[7], d[8]}};
        if (!ta) {                                  /* da (m,k) = dy (m,n) op(b)^T (n,k) */
            g.m = m, g.n = k, g.ldc = k;
            g.a = dy, g.lda = n, g.ta = 0;
            g.b = b, g.ldb = tb ? k : n, g.tb = !tb;
        } else {                                    /* da (k,m) = op(b) (k,n) dy^T (n,m) */
            g.m = k, g.n = m, g.ldc = m;
            g.a = b, g.lda = tb ? k : n, g.ta = tb;
            g.b = dy, g.ldb = n, g.tb = 1;
            batch = (gemm_batch){{d[5], d[6]}, {d[9], d[10]}, {ys[0], ys[1]}, {d[7], d[8]}};
        }
        matmul_reduce(g, batch, s);
    }
    if (c->grad[1]) {
        fnn_gemm g = {.k = m, .c = c->grad[1], .acc = c->acc >> 1 & 1};
        gemm_batch batch = {{d[5], d[6]}, {d[7], d[8]}, {ys[0], ys[1]}, {d[9], d[10]}};
        if (!tb) {                                  /* db (k,n) = op(a)^T (k,m) dy (m,n) */
            g.m = k, g.n = n, g.ldc = n;
            g.a = a, g.lda = ta ? m : k, g.ta = !ta;
            g.b = dy, g.ldb = n, g.tb = 0;
        } else {                                    /* db (n,k) = dy^T (n,m) op(a) (m,k) */
            g.m = n, g.n = k, g.ldc = k;
            g.a = dy, g.lda = n, g.ta = 1;
            g.b = a, g.ldb = ta ? m : k, g.tb = ta;
            batch = (gemm_batch){{d[5], d[6]}, {ys[0], ys[1]}, {d[7], d[8]}, {d[9], d[10]}};
        }
        matmul_reduce(g, batch, s);
    }
}

/* ---- linear ----
 * y = x w^T + b.  x: (m,k), w: (n,k), b: (n) or absent, y: (m,n).  dim: m, n, k, has_bias. */

static inline fnn_gemm linear_product(const fnn_call *c, int act)
{
    const int64_t *d = c->dim;
    return (fnn_gemm){.m = d[0], .n = d[1], .k = d[2], .a = c->buf[0], .lda = d[2],
                      .b = c->buf[1], .ldb = d[2], .tb = 1, .c = c->buf[3], .ldc = d[1],
                      .bias = d[3] ? c->buf[2] : NULL, .act = act};
}

static void linear_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const fnn_gemm g = linear_product(c, GEMM_ACT_NONE);
    gemm_team(&g, s);
}

/* dx = dy w, dw = dy^T x, db = column sums of dy. */
static void linear_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t m = c->dim[0], n = c->dim[1], k = c->dim[2];
    const float *dy = c->grad[3];
    if (c->grad[0]) {
        const fnn_gemm g = {.m = m, .n = k, .k = n, .a = dy, .lda = n, .b = c->buf[1], .ldb = k,
                            .c = c->grad[0], .ldc = k, .acc = c->acc & 1};
        gemm_team(&g, s);
    }
    if (c->grad[1]) {
        const fnn_gemm g = {.m = n, .n = k, .k = m, .a = dy, .lda = n, .ta = 1, .b = c->buf[0],
                            .ldb = k, .c = c->grad[1], .ldc = k, .acc = c->acc >> 1 & 1};
        gemm_team(&g, s);
    }
    if (c->grad[2] && c->dim[3]) column_sums(dy, m, n, c->grad[2], c->acc >> 2 & 1, s);
}

/* ---- linear_relu ---- y = max(x w^T + b, 0), in one pass.  Slots and dim as linear. */

static void linear_relu_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const fnn_gemm g = linear_product(c, GEMM_ACT_RELU);
    gemm_team(&g, s);
}

/* dy *= [y > 0] in its own memory, then as linear. */
static void linear_relu_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t size = c->dim[0] * c->dim[1];
    const float *y = c->buf[3];
    float *dy = c->grad[3];
    FNN_FOR
    for (int64_t b = 0; b < (size + 1023) / 1024; b++)
        for (int64_t i = b * 1024; i < size && i < (b + 1) * 1024; i += FNN_LANES) {
            const int n = size - i < FNN_LANES ? (int)(size - i) : FNN_LANES;
            const vm live = vf_gt(vf_load_n(y + i, n), vf_zero());
            vf_store_n(dy + i, vf_sel(live, vf_load_n(dy + i, n), vf_zero()), n);
        }
    linear_bwd(c, s);
}

#endif
