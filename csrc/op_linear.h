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

/* ---- pack_weight ---- Panels of w^T, see gemm_pack_panel.  w: (n,k), y: (ceil(n/32),k,32).
 * dim: n, k. */

static void pack_weight_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0], k = c->dim[1];
    const float *w = c->buf[0];
    float *y = c->buf[1];
    (void)s;
    FNN_FOR
    for (int64_t j = 0; j < n; j += GEMM_PANEL_W)
        gemm_pack_panel(y + j * k, w + j * k, k, n - j, k);
}

/* ---- linear ----
 * y = x w^T + b + r.  x: (m,k), w: (n,k), b: (n), r: (m,n), p: pack_weight of w, y: (m,n).
 * b, r and p may be absent.  dim: m, n, k, has_b, has_r, has_p. */

static inline fnn_gemm linear_product(const fnn_call *c)
{
    const int64_t *d = c->dim;
    return (fnn_gemm){.m = d[0], .n = d[1], .k = d[2], .a = c->buf[0], .lda = d[2],
                      .b = c->buf[1], .ldb = d[2], .tb = 1, .c = c->buf[5], .ldc = d[1],
                      .bias = d[3] ? c->buf[2] : NULL, .end.add = d[4] ? c->buf[3] : NULL,
                      .panels = d[5] ? c->buf[4] : NULL};
}

static void linear_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const fnn_gemm g = linear_product(c);
    gemm_team(&g, s);
}

/* dx = dy w, dw = dy^T x, db = column sums of dy, dr = dy. */
static void linear_gradients(const fnn_call *c, int summed, const fnn_scratch *s)
{
    const int64_t m = c->dim[0], n = c->dim[1], k = c->dim[2];
    const float *dy = c->grad[5];
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
    if (c->grad[2] && c->dim[3] && !summed) column_sums(dy, m, n, c->grad[2], c->acc >> 2 & 1, s);
    if (c->grad[3] && c->dim[4]) {
        const int acc = c->acc >> 3 & 1;
        float *dr = c->grad[3];
        FOR_VECTORS(m * n, i) {
            const int lanes = lanes_of(m * n - i);
            const vf v = vf_get(dy + i, lanes);
            vf_put(dr + i, acc ? vf_add(vf_get(dr + i, lanes), v) : v, lanes);
        }
    }
}

static void linear_bwd(const fnn_call *c, const fnn_scratch *s) { linear_gradients(c, 0, s); }

/* ---- linear_act ---- y = act(z), z = x w^T + b + r.  Slots as linear, then z: (m,n), which is
 * absent where backward takes the slope from y.  dim as linear, then act, has_z. */

static void linear_act_fwd(const fnn_call *c, const fnn_scratch *s)
{
    fnn_gemm g = linear_product(c);
    g.end.act = (int)c->dim[6];
    g.end.keep = c->dim[7] ? c->buf[6] : NULL;
    gemm_team(&g, s);
}

/* What turns the gradient dy of (rows, n) into that of z. */
typedef struct {
    float *dy;
    const float *y, *z;
    int64_t n;
    int act;                  /* GEMM_ACT_*                                              */
    float low, high;          /* of GEMM_ACT_CLAMP                                       */
} act_slope;

/* dz = dy act'(z), as the ops of these names have it. */
VEC vf act_slope_of(const act_slope *t, vf dy, vf y, vf z, const int act)
{
    switch (act) {
    case GEMM_ACT_RELU: return vf_sel(vf_le(y, vf_zero()), vf_zero(), dy);
    case GEMM_ACT_GELU: return vf_mul(dy, vf_gelu_slope(z));
    case GEMM_ACT_GELU_TANH: return vf_mul(dy, vf_gelu_tanh_slope(z));
    case GEMM_ACT_SILU: return vf_mul(dy, silu_slope(z));
    case GEMM_ACT_TANH: return vf_mul(dy, vf_fnma(y, y, vf_set1(1.0f)));
    case GEMM_ACT_SIGMOID: return vf_mul(dy, vf_mul(y, vf_sub(vf_set1(1.0f), y)));
    case GEMM_ACT_CLAMP: return vf_sel(vm_or(vf_le(y, vf_set1(t->low)), vf_ge(y, vf_set1(t->high))),
                                       vf_zero(), dy);
    default: return dy;
    }
}

VEC void act_slope_block_as(const act_slope *t, int64_t i0, int64_t rows, int64_t j0, int64_t cols,
                            const int act)
{
    for (int64_t i = i0; i < i0 + rows; i++)
        for (int64_t j = j0; j < j0 + cols; j += FNN_LANES) {
            const int lanes = lanes_of(j0 + cols - j);
            const int64_t at = i * t->n + j;
            vf_put(t->dy + at, act_slope_of(t, vf_get(t->dy + at, lanes), vf_get(t->y + at, lanes),
                                            vf_get(t->z + at, lanes), act), lanes);
        }
}

/* dy becomes dz in rows i0.. and columns j0.. */
static void act_slope_block(const void *record, int64_t i0, int64_t rows, int64_t j0, int64_t cols)
{
    const act_slope *t = record;
    GEMM_BY_ACT(t->act, act_slope_block_as, t, i0, rows, j0, cols)
}

/* dz replaces dy, (m, t->n).  Whether its column sums went to db on the way: not where there is none,
 * nor where it lies where a gradient that is computed before it will. */
static int act_slope_run(const act_slope *t, int64_t m, float *db, int acc, float *const before[2],
                         const fnn_scratch *s)
{
    const int summed = db && t->n > 1 && db != before[0] && db != before[1];
    if (summed) {
        const fold f = {.x = t->dy, .out = db, .outer = 1, .n = m, .inner = t->n,
                        .acc = acc, .before = act_slope_block, .record = t};
        fold_axis(FOLD_SUM, &f, s);
    } else {
        FNN_FOR
        for (int64_t i = 0; i < m; i++)
            act_slope_block(t, i, 1, 0, t->n);
    }
    return summed;
}

static void linear_act_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const act_slope slope = {.dy = c->grad[5], .y = c->buf[5], .z = c->buf[c->dim[7] ? 6 : 5],
                             .n = c->dim[1], .act = (int)c->dim[6]};
    float *db = c->dim[3] ? c->grad[2] : NULL;
    linear_gradients(c, act_slope_run(&slope, c->dim[0], db, c->acc >> 2 & 1, c->grad, s), s);
}

#endif
