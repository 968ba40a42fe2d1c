/*
 * op_activation.h: activation functions and softmax.
 *
 * Backward reads y alone wherever dx follows from it exactly, so that x need not be kept.
 */
#ifndef FNN_OP_ACTIVATION_H
#define FNN_OP_ACTIVATION_H

#include <math.h>

#include "elementwise.h"

/* ---- elementwise ---- x, y: (n).  dim: n.  f: the constants p, q. */

VEC vf vf_between(vf x, float lo, float hi) { return vf_min(vf_max(x, vf_set1(lo)), vf_set1(hi)); }

/* y = max(x, 0); the gradient at 0 is 0. */
UNARY(relu, vf_max(x, vf_zero()), y, vf_sel(vf_le(y, vf_zero()), vf_zero(), dy))

/* y = x > 0 ? x : p x, for p > 0, so that y has the sign of x. */
UNARY(leaky_relu, vf_sel(vf_le(x, vf_zero()), vf_mul(p, x), x), y,
      vf_sel(vf_le(y, vf_zero()), vf_mul(p, dy), dy))

/* y = x > 0 ? x : p (exp(x) - 1), for p > 0; there dy/dx = y + p. */
UNARY(elu, vf_sel(vf_le(x, vf_zero()), vf_mul(p, vf_expm1(vf_lesser(vf_zero(), x))), x), y,
      vf_sel(vf_le(y, vf_zero()), vf_mul(dy, vf_add(y, p)), dy))

/* y = min(max(x, p), q); unlike clamp's, the gradient at p and q is 0. */
UNARY(hardtanh, vf_min(vf_max(x, p), q), y, vf_sel(vm_or(vf_le(y, p), vf_ge(y, q)), vf_zero(), dy))

/* y = 1 / (1 + exp(-x)). */
UNARY(sigmoid, vf_sigmoid(x), y, vf_mul(dy, vf_mul(y, vf_sub(vf_set1(1.0f), y))))

/* y = tanh x. */
UNARY(tanh, vf_tanh(x), y, vf_mul(dy, vf_fnma(y, y, vf_set1(1.0f))))

/* y = x sigmoid(x).  Beyond +-128 the slope is 0 or 1, where infinities would give NaN. */
VEC vf silu_slope(vf x)
{
    const vf z = vf_between(x, -128.0f, 128.0f), s = vf_sigmoid(z), one = vf_set1(1.0f);
    return vf_mul(s, vf_fma(z, vf_sub(one, s), one));
}
UNARY(silu, vf_silu(x), x, vf_mul(dy, silu_slope(x)))

/* y = x Phi(x), Phi the normal distribution; and what tanh makes of it. */
UNARY(gelu, vf_gelu(x), x, vf_mul(dy, vf_gelu_slope(x)))
UNARY(gelu_tanh, vf_gelu_tanh(x), x, vf_mul(dy, vf_gelu_tanh_slope(x)))

/* y = log(1 + exp(p x)) / p, and y = x where p x > q. */
UNARY(softplus, vf_sel(vf_gt(vf_mul(x, p), q), x, vf_div(vf_softplus(vf_mul(x, p)), p)), x,
      vf_sel(vf_gt(vf_mul(x, p), q), dy, vf_mul(dy, vf_sigmoid(vf_mul(x, p)))))

/* y = x h(x), h = min(max(x + 3, 0), 6) / 6. */
VEC vf hardsigmoid_of(vf x)
{
    return vf_mul(vf_between(vf_add(x, vf_set1(3.0f)), 0.0f, 6.0f), vf_set1(1.0f / 6));
}
VEC vf hardswish_slope(vf x)
{
    const vf three = vf_set1(3.0f), slope = vf_fma(x, vf_set1(1.0f / 3), vf_set1(0.5f));
    const vf upper = vf_sel(vf_ge(x, three), vf_set1(1.0f), slope);
    return vf_sel(vf_le(x, vf_neg(three)), vf_zero(), upper);
}
UNARY(hardsigmoid, hardsigmoid_of(x), x,
      vf_sel(vf_ge(vf_abs(x), vf_set1(3.0f)), vf_zero(), vf_mul(dy, vf_set1(1.0f / 6))))
UNARY(hardswish, vf_mul(vf_max(x, vf_set1(-3.0f)), hardsigmoid_of(x)), x,
      vf_mul(dy, hardswish_slope(x)))

/* y = 0 for a < 0, b for a = 0, 1 for a > 0: a step, whose gradient is 0. */
BINARY(heaviside,
       vf_sel(vf_eq(a, vf_zero()), b, vf_sel(vf_isnan(a), a, vf_max(sign_of(a), vf_zero()))),
       vf_zero(), vf_zero())

/* ---- softmax, log_softmax ----
 * Along the middle axis of x, y: (outer, n, inner).  dim: outer, n, inner.
 * Values are shifted by their maximum, so that exp cannot overflow; all -inf gives NaN.
 *
 * A task is a strand of vectors.  inner = 1: one row, cut into vectors, whose lanes are joined at
 * the end.  inner > 1: 16 neighbouring columns, each lane a softmax of its own.  */

typedef struct {
    int64_t first, vectors, step;   /* elements to the first vector and from one to the next */
    int lanes, last;                /* in use: of all vectors but the last, of the last */
    int across;                     /* the lanes belong together */
} strand;

static int64_t strand_count(const int64_t *d)
{
    return d[2] == 1 ? d[0] : d[0] * ((d[2] + FNN_LANES - 1) / FNN_LANES);
}

static strand strand_at(const int64_t *d, int64_t t)
{
    const int64_t n = d[1], inner = d[2], vectors = (n + FNN_LANES - 1) / FNN_LANES;
    if (inner == 1)
        return (strand){t * n, vectors, FNN_LANES, FNN_LANES,
                        (int)(n - (vectors - 1) * FNN_LANES), 1};
    const int64_t blocks = (inner + FNN_LANES - 1) / FNN_LANES, j = t % blocks * FNN_LANES;
    const int cols = lanes_of(inner - j);
    return (strand){t / blocks * n * inner + j, n, inner, cols, cols, 0};
}

#define FOR_STRANDS(d, r)                                                                      \
    FNN_FOR                                                                                    \
    for (int64_t t_ = 0; t_ < strand_count(d); t_++)                                           \
        for (strand r = strand_at(d, t_), *once_ = &r; once_; once_ = NULL)
#define STRAND_VECTORS(r, i, m)                                                                \
    for (int64_t v_ = 0, i = (r).first, m; v_ < (r).vectors &&                                 \
         (m = v_ + 1 < (r).vectors ? (r).lanes : (r).last, 1); v_++, i += (r).step)

VEC vf strand_join_sum(const strand *r, vf sum) { return r->across ? vf_set1(vf_hsum(sum)) : sum; }

VEC vf strand_max(const strand *r, const float *x)
{
    const vf low = vf_set1(-INFINITY);
    vf max = low;
    STRAND_VECTORS(*r, i, m)
        max = vf_max(max, vf_sel(vm_first((int)m), vf_get(x + i, (int)m), low));
    return r->across ? vf_set1(vf_hmax(max)) : max;
}

/* y = exp(x - max) / sum of exp(x - max). */
static void softmax_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const float *x = c->buf[0];
    float *y = c->buf[1];
    (void)s;
    FOR_STRANDS(c->dim, r) {
        const vf max = strand_max(&r, x);
        vf sum = vf_zero();
        STRAND_VECTORS(r, i, m) {
            const vf e = vf_exp(vf_sub(vf_get(x + i, (int)m), max));
            vf_put(y + i, e, (int)m);
            sum = vf_add(sum, vf_sel(vm_first((int)m), e, vf_zero()));
        }
        const vf scale = vf_div(vf_set1(1.0f), strand_join_sum(&r, sum));
        STRAND_VECTORS(r, i, m)
            vf_put(y + i, vf_mul(vf_get(y + i, (int)m), scale), (int)m);
    }
}

/* dx = y (dy - sum of dy y). */
static void softmax_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const float *y = c->buf[1], *dy = c->grad[1];
    float *dx = c->grad[0];
    (void)s;
    FOR_STRANDS(c->dim, r) {
        vf sum = vf_zero();
        STRAND_VECTORS(r, i, m)
            sum = vf_fma(vf_get(dy + i, (int)m), vf_get(y + i, (int)m), sum);
        sum = strand_join_sum(&r, sum);
        STRAND_VECTORS(r, i, m) {
            const vf d = vf_mul(vf_get(y + i, (int)m), vf_sub(vf_get(dy + i, (int)m), sum));
            vf_put(dx + i, c->acc & 1 ? vf_add(vf_get(dx + i, (int)m), d) : d, (int)m);
        }
    }
}

/* y = x - max - log(sum of exp(x - max)). */
static void log_softmax_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const float *x = c->buf[0];
    float *y = c->buf[1];
    (void)s;
    FOR_STRANDS(c->dim, r) {
        const vf max = strand_max(&r, x);
        vf sum = vf_zero();
        STRAND_VECTORS(r, i, m) {
            const vf e = vf_exp(vf_sub(vf_get(x + i, (int)m), max));
            sum = vf_add(sum, vf_sel(vm_first((int)m), e, vf_zero()));
        }
        const vf log = vf_log(strand_join_sum(&r, sum));
        STRAND_VECTORS(r, i, m)
            vf_put(y + i, vf_sub(vf_sub(vf_get(x + i, (int)m), max), log), (int)m);
    }
}

/* dx = dy - exp(y) sum of dy. */
static void log_softmax_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const float *y = c->buf[1], *dy = c->grad[1];
    float *dx = c->grad[0];
    (void)s;
    FOR_STRANDS(c->dim, r) {
        vf sum = vf_zero();
        STRAND_VECTORS(r, i, m)
            sum = vf_add(sum, vf_get(dy + i, (int)m));
        sum = strand_join_sum(&r, sum);
        STRAND_VECTORS(r, i, m) {
            const vf d = vf_fnma(vf_exp(vf_get(y + i, (int)m)), sum, vf_get(dy + i, (int)m));
            vf_put(dx + i, c->acc & 1 ? vf_add(vf_get(dx + i, (int)m), d) : d, (int)m);
        }
    }
}

#endif
