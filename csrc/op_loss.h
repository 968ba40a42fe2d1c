/*
 * op_loss.h: elementwise losses and their reductions; those of class scores: op_cross_entropy.h.
 *
 * A loss is reduced in the pass that computes it: the terms are cut into parts whose number follows
 * from the shape, each part is added up in order, the parts are joined two by two.
 * mode: 0 = none (y has one value per term), 1 = mean, 2 = sum.
 */
#ifndef FNN_OP_LOSS_H
#define FNN_OP_LOSS_H

#include "sums.h"
#include "vmath.h"

enum { LOSS_NONE, LOSS_MEAN, LOSS_SUM };

#define LOSS_PARTS 4096                    /* partial results of a sum, at most */

/* Parts for `units` of work, `least` of them in each as long as they go round. */
static inline int64_t loss_parts(int64_t units, int64_t least)
{
    const int64_t n = (units + least - 1) / least;
    return n < 1 ? 1 : n < LOSS_PARTS ? n : LOSS_PARTS;
}

/* ==== elementwise losses: y = value(x, t), reduced.  x, t: (n), y: (n) or one. ================
 * dim: n, mode, divisor of the reduced sum, has_w, has_pos.  w, pos: (n), where the op has them. */

typedef struct { vf x, t, w, pos; } loss_at;
typedef vf (*loss_term)(loss_at p, const float *f);

typedef struct { const float *x, *t, *w, *pos; } loss_operands;

static inline loss_operands loss_open(const fnn_call *c)
{
    return (loss_operands){c->buf[0], c->buf[1], c->n_in > 2 && c->dim[3] ? c->buf[2] : NULL,
                           c->n_in > 3 && c->dim[4] ? c->buf[3] : NULL};
}

VEC loss_at loss_load(loss_operands o, int64_t i, int n)
{
    const vf one = vf_set1(1.0f);
    return (loss_at){vf_get(o.x + i, n), vf_get(o.t + i, n),
                     o.w ? vf_get(o.w + i, n) : one, o.pos ? vf_get(o.pos + i, n) : one};
}

/* Runs the last argument for vectors v = 0, 1, ... of n elements: i = first element, m = lanes. */
#define LOSS_VECTORS(n, first, last, i, m, ...)                                             \
    for (int64_t v_ = (first); v_ < (last); v_++) {                                         \
        const int64_t i = v_ * FNN_LANES;                                                   \
        const int m = lanes_of((n) - i);                                                    \
        __VA_ARGS__                                                                         \
    }

VEC void loss_fwd(const fnn_call *c, const fnn_scratch *s, loss_term value)
{
    const int64_t n = c->dim[0], vectors = (n + FNN_LANES - 1) / FNN_LANES;
    const int64_t parts = loss_parts(vectors, 256);
    const int reduce = c->dim[1] != LOSS_NONE;
    const loss_operands o = loss_open(c);
    float *y = c->buf[c->n_in];
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        const int64_t first = vectors * p / parts, last = vectors * (p + 1) / parts;
        vf sum = vf_zero();
        LOSS_VECTORS(n, first, last, i, m,
            const vf l = value(loss_load(o, i, m), c->f);
            if (reduce) sum = vf_add(sum, m == FNN_LANES ? l : vf_sel(vm_first(m), l, vf_zero()));
            else vf_put(y + i, l, m);)
        if (reduce) s->shared[p] = vf_hsum(sum);
    }
    if (!reduce) return;
    FNN_SINGLE
    {
        fold_parts(FOLD_SUM, s->shared, parts, 1, 1);
        *y = s->shared[0] / (float)c->dim[2];
    }
}

/* dx (+)= slope(x, t) dy */
VEC void loss_slope(const fnn_call *c, int slot, loss_term slope)
{
    const int64_t n = c->dim[0], vectors = (n + FNN_LANES - 1) / FNN_LANES;
    const int64_t parts = loss_parts(vectors, 256);
    const int reduce = c->dim[1] != LOSS_NONE, acc = c->acc >> slot & 1;
    const loss_operands o = loss_open(c);
    const float *dy = c->grad[c->n_in];
    const vf scale = vf_set1(reduce ? *dy / (float)c->dim[2] : 0.0f);
    float *dx = c->grad[slot];
    if (!dx) return;
    FNN_FOR
    for (int64_t p = 0; p < parts; p++)
        LOSS_VECTORS(n, vectors * p / parts, vectors * (p + 1) / parts, i, m,
            const vf g = reduce ? scale : vf_get(dy + i, m);
            vf d = vf_mul(slope(loss_load(o, i, m), c->f), g);
            if (acc) d = vf_add(vf_get(dx + i, m), d);
            vf_put(dx + i, d, m);)
}

/* NAME_fwd from NAME_value, NAME_bwd from NAME_dx and NAME_dt. */
#define LOSS_KERNELS(name)                                                                  \
    static void name##_fwd(const fnn_call *c, const fnn_scratch *s)                         \
    {                                                                                       \
        loss_fwd(c, s, name##_value);                                                       \
    }                                                                                       \
    static void name##_bwd(const fnn_call *c, const fnn_scratch *s)                         \
    {                                                                                       \
        (void)s;                                                                            \
        loss_slope(c, 0, name##_dx);                                                        \
        loss_slope(c, 1, name##_dt);                                                        \
    }

/* For losses of d = x - t: the slope along t is that along x with the other sign. */
#define LOSS_OF_DIFFERENCE(name)                                                            \
    VEC vf name##_dt(loss_at p, const float *f) { return vf_neg(name##_dx(p, f)); }         \
    LOSS_KERNELS(name)

/* -1, 0 or 1; NaN for NaN */
VEC vf loss_sign(vf d)
{
    const vf zero = vf_zero(), one = vf_set1(1.0f);
    return vf_sel(vf_gt(d, zero), one, vf_sel(vf_lt(d, zero), vf_neg(one), d));
}

/* ---- mse_loss ---- d^2 */

VEC vf mse_loss_value(loss_at p, const float *f)
{
    const vf d = vf_sub(p.x, p.t);
    (void)f;
    return vf_mul(d, d);
}

VEC vf mse_loss_dx(loss_at p, const float *f)
{
    const vf d = vf_sub(p.x, p.t);
    (void)f;
    return vf_add(d, d);
}

LOSS_OF_DIFFERENCE(mse_loss)

/* ---- l1_loss ---- |d| */

VEC vf l1_loss_value(loss_at p, const float *f)
{
    (void)f;
    return vf_abs(vf_sub(p.x, p.t));
}

VEC vf l1_loss_dx(loss_at p, const float *f)
{
    (void)f;
    return loss_sign(vf_sub(p.x, p.t));
}

LOSS_OF_DIFFERENCE(l1_loss)

/* ---- smooth_l1_loss ---- |d| < beta ? d^2 / (2 beta) : |d| - beta / 2.  f: beta, 1 / beta. */

VEC vf smooth_l1_loss_value(loss_at p, const float *f)
{
    const vf a = vf_abs(vf_sub(p.x, p.t));
    const vf inside = vf_mul(vf_mul(vf_mul(a, a), vf_set1(0.5f)), vf_set1(f[1]));
    return vf_sel(vf_lt(a, vf_set1(f[0])), inside, vf_sub(a, vf_set1(0.5f * f[0])));
}

VEC vf smooth_l1_loss_dx(loss_at p, const float *f)
{
    const vf d = vf_sub(p.x, p.t);
    return vf_sel(vf_lt(vf_abs(d), vf_set1(f[0])), vf_mul(d, vf_set1(f[1])), loss_sign(d));
}

LOSS_OF_DIFFERENCE(smooth_l1_loss)

/* ---- huber_loss ---- |d| <= delta ? d^2 / 2 : delta (|d| - delta / 2).  f: delta. */

VEC vf huber_loss_value(loss_at p, const float *f)
{
    const vf a = vf_abs(vf_sub(p.x, p.t)), delta = vf_set1(f[0]), half = vf_set1(0.5f);
    return vf_sel(vf_le(a, delta), vf_mul(vf_mul(a, a), half),
                  vf_mul(delta, vf_sub(a, vf_mul(half, delta))));
}

VEC vf huber_loss_dx(loss_at p, const float *f)
{
    return vf_max(vf_min(vf_sub(p.x, p.t), vf_set1(f[0])), vf_set1(-f[0]));
}

LOSS_OF_DIFFERENCE(huber_loss)

/* ---- hinge_loss ---- max(margin - t x, 0).  f: margin, 0 for the perceptron's loss. */

VEC vf hinge_loss_value(loss_at p, const float *f)
{
    return vf_max(vf_fnma(p.t, p.x, vf_set1(f[0])), vf_zero());
}

/* -other where the hinge is open, NaN where the loss is. */
VEC vf hinge_loss_side(loss_at p, const float *f, vf other)
{
    const vf room = vf_fnma(p.t, p.x, vf_set1(f[0]));
    return vf_sel(vf_le(room, vf_zero()), vf_zero(), vf_neg(other));
}

VEC vf hinge_loss_dx(loss_at p, const float *f) { return hinge_loss_side(p, f, p.t); }
VEC vf hinge_loss_dt(loss_at p, const float *f) { return hinge_loss_side(p, f, p.x); }

LOSS_KERNELS(hinge_loss)

/* ---- binary_cross_entropy ---- -w (t log x + (1 - t) log(1 - x)), logarithms >= -100. */

VEC vf bce_log(vf x) { return vf_max(vf_log(x), vf_set1(-100.0f)); }
VEC vf bce_log1m(vf x) { return vf_max(vf_log1p(vf_neg(x)), vf_set1(-100.0f)); }

VEC vf binary_cross_entropy_value(loss_at p, const float *f)
{
    const vf miss = vf_mul(vf_sub(p.t, vf_set1(1.0f)), bce_log1m(p.x));
    (void)f;
    return vf_mul(p.w, vf_fnma(p.t, bce_log(p.x), miss));
}

VEC vf binary_cross_entropy_dx(loss_at p, const float *f)
{
    const vf spread = vf_max(vf_mul(p.x, vf_sub(vf_set1(1.0f), p.x)), vf_set1(1e-12f));
    (void)f;
    return vf_mul(p.w, vf_div(vf_sub(p.x, p.t), spread));
}

VEC vf binary_cross_entropy_dt(loss_at p, const float *f)
{
    (void)f;
    return vf_mul(p.w, vf_sub(bce_log1m(p.x), bce_log(p.x)));
}

LOSS_KERNELS(binary_cross_entropy)

/* ---- binary_cross_entropy_with_logits ---- with sigma(x) for x in the former:
 * w (max(x, 0) - x t + log1p(exp(-|x|)) + (pos - 1) t log1p(exp(-x))) */

VEC vf binary_cross_entropy_with_logits_value(loss_at p, const float *f)
{
    const vf small = vf_softplus(vf_neg(vf_abs(p.x)));
    const vf plain = vf_add(vf_fnma(p.x, p.t, vf_max(p.x, vf_zero())), small);
    const vf extra = vf_mul(vf_sub(p.pos, vf_set1(1.0f)), p.t);
    const vf softplus = vf_add(vf_max(vf_neg(p.x), vf_zero()), small);
    (void)f;
    return vf_mul(p.w, vf_fma(extra, softplus, plain));
}

/* w ((1 - t) sigma(x) - pos t sigma(-x)): no digits cancel where x and t agree, as in sigma(x) - t */
VEC vf binary_cross_entropy_with_logits_dx(loss_at p, const float *f)
{
    const vf negative = vf_mul(vf_sub(vf_set1(1.0f), p.t), vf_sigmoid(p.x));
    const vf positive = vf_mul(p.pos, p.t);
    (void)f;
    return vf_mul(p.w, vf_fnma(positive, vf_sigmoid(vf_neg(p.x)), negative));
}

/* w ((pos - 1) log1p(exp(-x)) - x) */
VEC vf binary_cross_entropy_with_logits_dt(loss_at p, const float *f)
{
    const vf extra = vf_sub(p.pos, vf_set1(1.0f));
    (void)f;
    return vf_mul(p.w, vf_sub(vf_mul(extra, vf_softplus(vf_neg(p.x))), p.x));
}

LOSS_KERNELS(binary_cross_entropy_with_logits)

/* ---- kl_div ---- t (log t - x), 0 log 0 = 0.  x: log-probabilities, t: probabilities. */

VEC vf kl_div_value(loss_at p, const float *f)
{
    const vf entropy = vf_sel(vf_eq(p.t, vf_zero()), vf_zero(), vf_mul(p.t, vf_log(p.t)));
    (void)f;
    return vf_fnma(p.t, p.x, entropy);
}

VEC vf kl_div_dx(loss_at p, const float *f)
{
    (void)f;
    return vf_neg(p.t);
}

VEC vf kl_div_dt(loss_at p, const float *f)
{
    (void)f;
    return vf_sub(vf_add(vf_log(p.t), vf_set1(1.0f)), p.x);
}

LOSS_KERNELS(kl_div)

/* ---- kl_div_log ---- exp(t) (t - x): both are log-probabilities. */

VEC vf kl_div_log_value(loss_at p, const float *f)
{
    (void)f;
    return vf_mul(vf_exp(p.t), vf_sub(p.t, p.x));
}

VEC vf kl_div_log_dx(loss_at p, const float *f)
{
    (void)f;
    return vf_neg(vf_exp(p.t));
}

VEC vf kl_div_log_dt(loss_at p, const float *f)
{
    (void)f;
    return vf_mul(vf_exp(p.t), vf_add(vf_sub(p.t, p.x), vf_set1(1.0f)));
}

LOSS_KERNELS(kl_div_log)

#endif
