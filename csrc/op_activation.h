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
UNARY_STEP_FWD(tanh, vf_tanh_n)
UNARY_BWD(tanh, y, vf_mul(dy, vf_fnma(y, y, vf_set1(1.0f))))

/* y = x sigmoid(x).  Beyond +-128 the slope is 0 or 1, where infinities would give NaN. */
VEC vf silu_slope(vf x)
{
    const vf z = vf_between(x, -128.0f, 128.0f), s = vf_sigmoid(z), one = vf_set1(1.0f);
    return vf_mul(s, vf_fma(z, vf_sub(one, s), one));
}
UNARY(silu, vf_silu(x), x, vf_mul(dy, silu_slope(x)))

/* y = x Phi(x), Phi the normal distribution; and what tanh makes of it. */
UNARY_STEP_FWD(gelu, vf_gelu_n)
UNARY_BWD(gelu, x, vf_mul(dy, vf_gelu_slope(x)))
UNARY_STEP_FWD(gelu_tanh, vf_gelu_tanh_n)
UNARY_BWD(gelu_tanh, x, vf_mul(dy, vf_gelu_tanh_slope(x)))

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

/* The first m lanes of v, the others of fill. */
VEC vf vf_first(vf v, int m, vf fill) { return m == FNN_LANES ? v : vf_sel(vm_first(m), v, fill); }

/* NaN is passed over: its exponential makes the sum NaN. */
VEC vf strand_max(const strand *r, const float *x)
{
    const vf low = vf_set1(-INFINITY);
    vf max = low;
    STRAND_VECTORS(*r, i, m)
        max = vf_greater(vf_first(vf_get(x + i, (int)m), (int)m, low), max);
    return r->across ? vf_set1(vf_hmax(max)) : max;
}

/* y = exp(x - max) / sum, or x - max - log(sum), for a strand. */
VEC void softmax_strand(int log, const strand *r, const float *x, float *y)
{
    const vf max = strand_max(r, x);
    vf sum = vf_zero();
    STRAND_VECTORS(*r, i, m) {
        const vf e = vf_exp_shifted(vf_sub(vf_get(x + i, (int)m), max));
        if (!log) vf_put(y + i, e, (int)m);
        sum = vf_add(sum, vf_first(e, (int)m, vf_zero()));
    }
    sum = strand_join_sum(r, sum);
    const vf last = log ? vf_log(sum) : vf_div(vf_set1(1.0f), sum);
    STRAND_VECTORS(*r, i, m) {
        const vf z = log ? vf_sub(vf_sub(vf_get(x + i, (int)m), max), last)
                         : vf_mul(vf_get(y + i, (int)m), last);
        vf_put(y + i, z, (int)m);
    }
}

/* Rows of neighbours that fit L1 go through a pipeline of three: one loop takes the exponentials of
 * a row, finishes the row before it and finds the maximum of the row after it, since the first alone
 * would leave half of the core waiting.  The other two are PIPE_SKEW columns ahead: rows of a power
 * of two would crowd a few sets of the cache. */
#define PIPE_MIN 32
#define PIPE_MAX 2048
#define PIPE_UNROLL 4
#define PIPE_STEP (PIPE_UNROLL * FNN_LANES)
#define PIPE_SKEW 256

typedef struct {
    const float *x, *x_after, *x_before;
    float *y, *y_before;
    vf max, max_before, last_before;     /* last: 1 / sum, or its logarithm */
} softmax_stage;

/* The row before, finished: y = e / sum, or x - max - log(sum). */
VEC void softmax_last(int log, const softmax_stage *t, int64_t i, int m)
{
    const vf y = log ? vf_sub(vf_sub(vf_get(t->x_before + i, m), t->max_before), t->last_before)
                     : vf_mul(vf_get(t->y_before + i, m), t->last_before);
    vf_put(t->y_before + i, y, m);
}

/* Columns i.. of the row, and `ahead`.. of those before and after. */
VEC void softmax_vector(int log, const softmax_stage *t, int64_t i, int64_t ahead, int m, vf *sum,
                        vf *max_after)
{
    const vf e = vf_exp_shifted(vf_sub(vf_get(t->x + i, m), t->max));
    if (!log) vf_put(t->y + i, e, m);
    *sum = vf_add(*sum, vf_first(e, m, vf_zero()));
    softmax_last(log, t, ahead, m);
    const vf after = vf_first(vf_get(t->x_after + ahead, m), m, vf_set1(-INFINITY));
    *max_after = vf_greater(after, *max_after);
}

/* Columns first .. last - 1, a multiple of PIPE_STEP. */
VEC void softmax_columns(int log, const softmax_stage *t, int64_t first, int64_t last, int64_t skew,
                         vf *sum, vf *max)
{
    for (int64_t i = first; i < last; i += PIPE_STEP)
        for (int k = 0; k < PIPE_UNROLL; k++) {
            const int64_t at = i + k * FNN_LANES;
            softmax_vector(log, t, at, at + skew, FNN_LANES, &sum[k], &max[k]);
        }
}

/* x, y: (rows, n); idle: n floats to read and write where there is no row before. */
VEC void softmax_rows(int log, const float *x, float *y, int64_t rows, int64_t n, float *idle)
{
    const strand first = {0, (n + FNN_LANES - 1) / FNN_LANES, FNN_LANES, FNN_LANES,
                          (int)((n - 1) % FNN_LANES + 1), 1};
    const int64_t whole = n / PIPE_STEP * PIPE_STEP, skew = whole > PIPE_SKEW ? PIPE_SKEW : 0;
    softmax_stage t = {.x_before = idle, .y_before = idle, .max = strand_max(&first, x),
                       .max_before = vf_zero(), .last_before = vf_zero()};
    memset(idle, 0, (size_t)n * sizeof *idle);
    for (int64_t r = 0; r < rows; r++) {
        const vf zero = vf_zero(), low = vf_set1(-INFINITY);
        vf sum[PIPE_UNROLL] = {zero, zero, zero, zero}, max[PIPE_UNROLL] = {low, low, low, low};
        t.x = x + r * n, t.y = y + r * n;
        t.x_after = r + 1 < rows ? t.x + n : t.x;
        softmax_columns(log, &t, 0, whole - skew, skew, sum, max);
        softmax_columns(log, &t, whole - skew, whole, skew - whole, sum, max);
        for (int64_t i = whole, k = 0; i < n; i += FNN_LANES, k++)
            softmax_vector(log, &t, i, i, lanes_of(n - i), &sum[k], &max[k]);
        const vf total = vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3]));
        const vf all = vf_set1(vf_hsum(total));
        const vf top = vf_greater(vf_greater(max[0], max[1]), vf_greater(max[2], max[3]));
        t.last_before = log ? vf_log(all) : vf_div(vf_set1(1.0f), all);
        t.x_before = t.x, t.y_before = t.y, t.max_before = t.max;
        t.max = vf_set1(vf_hmax(top));
    }
    for (int64_t i = 0; i < n; i += FNN_LANES) softmax_last(log, &t, i, lanes_of(n - i));
}

VEC void softmax_any(int log, const fnn_call *c, const fnn_scratch *s)
{
    const float *x = c->buf[0];
    float *y = c->buf[1];
    const int64_t outer = c->dim[0], n = c->dim[1];
    if (c->dim[2] == 1 && n >= PIPE_MIN && n <= PIPE_MAX) {
        const int64_t rows = smaller(16 * GRAIN / n, (outer + 15) / 16);   /* enough to share */
        FNN_FOR
        for (int64_t r = 0; r < outer; r += rows)
            softmax_rows(log, x + r * n, y + r * n, smaller(rows, outer - r), n, s->local);
        return;
    }
    FOR_STRANDS(c->dim, r) softmax_strand(log, &r, x, y);
}

/* y = exp(x - max) / sum of exp(x - max). */
static void softmax_fwd(const fnn_call *c, const fnn_scratch *s) { softmax_any(0, c, s); }

/* The sum of f(dy, y) over a strand, in four parts, so that none waits for the one before. */
VEC vf strand_sum(const strand *r, const float *dy, const float *y)
{
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int k = 0;
    STRAND_VECTORS(*r, i, m) {
        const vf g = vf_get(dy + i, (int)m);
        sum[k] = y ? vf_fma(g, vf_get(y + i, (int)m), sum[k]) : vf_add(sum[k], g);
        k = (k + 1) % 4;
    }
    return strand_join_sum(r, vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

/* dx = y (dy - sum of dy y). */
static void softmax_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const float *y = c->buf[1], *dy = c->grad[1];
    float *dx = c->grad[0];
    (void)s;
    FOR_STRANDS(c->dim, r) {
        const vf sum = strand_sum(&r, dy, y);
        STRAND_VECTORS(r, i, m) {
            const vf d = vf_mul(vf_get(y + i, (int)m), vf_sub(vf_get(dy + i, (int)m), sum));
            vf_put(dx + i, c->acc & 1 ? vf_add(vf_get(dx + i, (int)m), d) : d, (int)m);
        }
    }
}

/* y = x - max - log(sum of exp(x - max)). */
static void log_softmax_fwd(const fnn_call *c, const fnn_scratch *s) { softmax_any(1, c, s); }

/* dx = dy - exp(y) sum of dy. */
static void log_softmax_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const float *y = c->buf[1], *dy = c->grad[1];
    float *dx = c->grad[0];
    (void)s;
    FOR_STRANDS(c->dim, r) {
        const vf sum = strand_sum(&r, dy, NULL);
        STRAND_VECTORS(r, i, m) {
            const vf d = vf_fnma(vf_exp_shifted(vf_get(y + i, (int)m)), sum, vf_get(dy + i, (int)m));
            vf_put(dx + i, c->acc & 1 ? vf_add(vf_get(dx + i, (int)m), d) : d, (int)m);
        }
    }
}

#endif
