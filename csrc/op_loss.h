/*
 * op_loss.h: losses and their reductions.
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
    return (loss_at){vf_load_n(o.x + i, n), vf_load_n(o.t + i, n), o.w ? vf_load_n(o.w + i, n) : one,
                     o.pos ? vf_load_n(o.pos + i, n) : one};
}

/* Runs the last argument for vectors v = 0, 1, ... of n elements: i = first element, m = lanes. */
#define LOSS_VECTORS(n, first, last, i, m, ...)                                             \
    for (int64_t v_ = (first); v_ < (last); v_++) {                                         \
        const int64_t i = v_ * FNN_LANES;                                                   \
        const int m = (n) - i < FNN_LANES ? (int)((n) - i) : FNN_LANES;                     \
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
            else vf_store_n(y + i, l, m);)
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
            const vf g = reduce ? scale : vf_load_n(dy + i, m);
            vf d = vf_mul(slope(loss_load(o, i, m), c->f), g);
            if (acc) d = vf_add(vf_load_n(dx + i, m), d);
            vf_store_n(dx + i, d, m);)
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
    const vf small = vf_log1p(vf_exp(vf_neg(vf_abs(p.x))));
    const vf plain = vf_add(vf_fnma(p.x, p.t, vf_max(p.x, vf_zero())), small);
    const vf extra = vf_mul(vf_sub(p.pos, vf_set1(1.0f)), p.t);
    const vf softplus = vf_add(vf_max(vf_neg(p.x), vf_zero()), small);
    (void)f;
    return vf_mul(p.w, vf_fma(extra, softplus, plain));
}

/* w (sigma(x) - t - (pos - 1) t sigma(-x)) */
VEC vf binary_cross_entropy_with_logits_dx(loss_at p, const float *f)
{
    const vf extra = vf_mul(vf_sub(p.pos, vf_set1(1.0f)), p.t);
    const vf plain = vf_sub(vf_sigmoid(p.x), p.t);
    (void)f;
    return vf_mul(p.w, vf_fnma(extra, vf_sigmoid(vf_neg(p.x)), plain));
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

/* ==== losses of class scores: x: (n, c, d), target: (n, d) int64, w: (c) or absent. ============
 * dim: n, c, d, mode, ignored target, has_w.  A row is the c scores of one target; rows are taken
 * in groups of 16 at most, one in each lane.  Targets outside 0 .. c - 1 were refused before; that
 * they are skipped here too keeps memory safe from a caller who changes them meanwhile. */

typedef struct {
    int64_t row, at, step, next;      /* first row, its first score; to the next class, next row */
    int rows;
} class_group;

static inline int64_t class_groups(const int64_t *d)
{
    const int64_t n = d[2] == 1 ? d[0] : d[2], groups = (n + FNN_LANES - 1) / FNN_LANES;
    return d[2] == 1 ? groups : groups * d[0];
}

static inline class_group class_group_at(const int64_t *d, int64_t t)
{
    const int64_t per_item = d[2] == 1 ? 1 : (d[2] + FNN_LANES - 1) / FNN_LANES;
    const int64_t i = d[2] == 1 ? t * FNN_LANES : t / per_item;
    const int64_t j = d[2] == 1 ? 0 : t % per_item * FNN_LANES;
    const int64_t left = d[2] == 1 ? d[0] - i : d[2] - j;
    return (class_group){.row = i * d[2] + j, .at = i * d[1] * d[2] + j, .step = d[2],
                         .next = d[2] == 1 ? d[1] : 1,
                         .rows = left < FNN_LANES ? (int)left : FNN_LANES};
}

/* Lane k: where the score of row k's target is (-1: the row does not count), it, and its weight. */
typedef struct { int64_t at[FNN_LANES]; float live[FNN_LANES], weight[FNN_LANES], picked[FNN_LANES]; }
    class_targets;

static inline class_targets class_read(const fnn_call *c, const class_group *g)
{
    const float *x = c->buf[0], *w = c->dim[5] ? c->buf[2] : NULL;
    const int64_t *target = c->buf[1];
    class_targets r = {{0}, {0}, {0}, {0}};
    for (int k = 0; k < g->rows; k++) {
        const int64_t t = target[g->row + k];
        r.at[k] = -1;
        if (t == c->dim[4] || (uint64_t)t >= (uint64_t)c->dim[1]) continue;
        r.at[k] = g->at + t * g->step + k * g->next;
        r.live[k] = 1;
        r.weight[k] = w ? w[t] : 1;
        r.picked[k] = x ? x[r.at[k]] : 0;
    }
    return r;
}

/* The reduced loss and the weight it was divided by, from parts (loss, weight); of no weight, 0. */
static void class_reduce(const fnn_call *c, const fnn_scratch *s, int64_t parts, float *y, float *total)
{
    FNN_SINGLE
    {
        fold_parts(FOLD_SUM, s->shared, parts, 2, 2);
        const float loss = s->shared[0], weight = s->shared[1];
        *total = weight;
        if (c->dim[3] == LOSS_MEAN) *y = weight == 0 ? 0 : loss / weight;
        if (c->dim[3] == LOSS_SUM) *y = loss;
    }
}

/* Lane r: the gradient that reaches the loss of row r, 0 where it does not count. */
VEC vf class_upstream(const fnn_call *c, const class_group *g, vm live, const float *dy, float total)
{
    if (c->dim[3] == LOSS_NONE) return vf_sel(live, vf_load_n(dy + g->row, g->rows), vf_zero());
    if (c->dim[3] == LOSS_SUM) return vf_sel(live, vf_set1(*dy), vf_zero());
    return vf_sel(live, vf_set1(total == 0 ? 0 : *dy / total), vf_zero());
}

/* ---- nll_loss ---- l = -w[t] x[t].  Slots: x, target, w, y, total weight (1) saved. */

static void nll_loss_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t groups = class_groups(c->dim), parts = loss_parts(groups, 16);
    float *y = c->buf[3];
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        vf loss = vf_zero(), weight = vf_zero();
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(c->dim, t);
            const class_targets r = class_read(c, &g);
            const vf w = vf_load(r.weight), l = vf_neg(vf_mul(w, vf_load(r.picked)));
            if (c->dim[3] == LOSS_NONE) vf_store_n(y + g.row, l, g.rows);
            loss = vf_add(loss, l);
            weight = vf_add(weight, w);
        }
        s->shared[2 * p] = vf_hsum(loss);
        s->shared[2 * p + 1] = vf_hsum(weight);
    }
    class_reduce(c, s, parts, y, c->buf[4]);
}

/* dx = 0 but for dx[t] = -w[t] dl */
static void nll_loss_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, groups = class_groups(d), parts = loss_parts(groups, 16);
    const float total = *(const float *)c->buf[4], *dy = c->grad[3];
    float *dx = c->grad[0];
    (void)s;
    FNN_FOR
    for (int64_t i = 0; i < d[0] * (c->acc & 1 ? 0 : 1); i++)
        memset(dx + i * d[1] * d[2], 0, (size_t)(d[1] * d[2]) * sizeof *dx);
    FNN_FOR
    for (int64_t p = 0; p < parts; p++)
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(d, t);
            const class_targets r = class_read(c, &g);
            const vm live = vf_ne(vf_load(r.live), vf_zero());
            float dl[FNN_LANES];
            vf_store(dl, vf_mul(vf_load(r.weight), class_upstream(c, &g, live, dy, total)));
            for (int k = 0; k < g.rows; k++)
                if (r.at[k] >= 0) dx[r.at[k]] -= dl[k];
        }
}

/* ---- cross_entropy ----
 * l = (1 - e) w[t] (L - x[t]) + e/c sum_j w[j] (L - x[j]), L = log sum_j exp(x[j]) = m + log s.
 * Slots: x, target, w, y, m and s (2, rows) saved, total weight (1) saved.  f: e.
 * m = max_j x[j] and s are kept apart: their sum would lose the small term beside large scores. */

static inline void class_max_sum(const float *x, int64_t classes, const class_group *g, float *m,
                                 float *s)
{
    if (g->step != 1) {
        fold_rows(FOLD_MAX, x + g->at, classes, g->step, g->rows, NULL, m, 0);
        fold_rows(FOLD_EXP, x + g->at, classes, g->step, g->rows, m, s, 0);
        return;
    }
    for (int k = 0; k < g->rows; k++) {
        const float *row = x + g->at + k * classes;
        m[k] = fold_run(FOLD_MAX, row, classes, 0);
        s[k] = fold_run(FOLD_EXP, row, classes, m[k]);
    }
}

/* Lane k: sum_j w[j] (m[k] - x[j]). */
static vf class_smooth(const fnn_call *c, const class_group *g, const float *m)
{
    const int64_t classes = c->dim[1];
    const float *x = (const float *)c->buf[0] + g->at, *w = c->dim[5] ? c->buf[2] : NULL;
    const vf one = vf_set1(1.0f);
    if (g->step != 1) {
        const vf max = vf_load_n(m, g->rows);
        vf sum = vf_zero();
        for (int64_t j = 0; j < classes; j++) {
            const vf low = vf_sub(max, vf_load_n(x + j * g->step, g->rows));
            sum = vf_fma(w ? vf_set1(w[j]) : one, low, sum);
        }
        return sum;
    }
    float sums[FNN_LANES] = {0};
    for (int k = 0; k < g->rows; k++, x += classes) {
        vf sum = vf_zero();
        for (int64_t j = 0; j < classes; j += FNN_LANES) {
            const int n = classes - j < FNN_LANES ? (int)(classes - j) : FNN_LANES;
            const vf low = vf_sub(vf_set1(m[k]), vf_load_n(x + j, n));
            const vf term = vf_mul(w ? vf_load_n(w + j, n) : one, low);
            sum = vf_add(sum, vf_sel(vm_first(n), term, vf_zero()));
        }
        sums[k] = vf_hsum(sum);
    }
    return vf_load(sums);
}

/* sum_j w[j] */
static inline float class_weight_sum(const fnn_call *c)
{
    return c->dim[5] ? fold_run(FOLD_SUM, c->buf[2], c->dim[1], 0) : (float)c->dim[1];
}

static void cross_entropy_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, groups = class_groups(d), parts = loss_parts(groups, 1);
    const float e = c->f[0], all = e > 0 ? class_weight_sum(c) : 0;
    float *y = c->buf[3], *max = c->buf[4], *sum = max + d[0] * d[2];
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        vf loss = vf_zero(), weight = vf_zero();
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(d, t);
            float *m = max + g.row;
            class_max_sum(c->buf[0], d[1], &g, m, sum + g.row);
            const class_targets r = class_read(c, &g);
            const vf w = vf_load(r.weight), log_s = vf_log(vf_load_n(sum + g.row, g.rows));
            const vf nll = vf_add(vf_sub(vf_load_n(m, g.rows), vf_load(r.picked)), log_s);
            vf l = vf_mul(w, nll);
            if (e > 0) {
                const vf smooth = vf_fma(vf_set1(all), log_s, class_smooth(c, &g, m));
                l = vf_fma(vf_set1(e / (float)d[1]), smooth, vf_mul(vf_set1(1 - e), l));
            }
            l = vf_sel(vf_ne(vf_load(r.live), vf_zero()), l, vf_zero());
            if (d[3] == LOSS_NONE) vf_store_n(y + g.row, l, g.rows);
            loss = vf_add(loss, l);
            weight = vf_add(weight, w);
        }
        s->shared[2 * p] = vf_hsum(loss);
        s->shared[2 * p + 1] = vf_hsum(weight);
    }
    class_reduce(c, s, parts, y, c->buf[5]);
}

/* dx[j] = exp(x[j] - m) scale - w[j] shift for the rows of a group; 0 for those that do not count.
 * Without smoothing shift is not looked at. */
typedef struct { vf m, scale, shift; vm live; int smooth, acc; } class_slope;

VEC vf class_slope_at(const class_slope *r, vf x, vf m, vf scale, vf shift, vf w)
{
    const vf v = vf_mul(vf_exp(vf_sub(x, m)), scale);
    return r->smooth ? vf_fnma(w, shift, v) : v;
}

static void class_slope_columns(const class_slope *r, const float *x, float *dx, const float *w,
                                int64_t classes, const class_group *g)
{
    for (int64_t j = 0; j < classes; j++, x += g->step, dx += g->step) {
        const vf weight = vf_set1(w ? w[j] : 1);
        vf v = class_slope_at(r, vf_load_n(x, g->rows), r->m, r->scale, r->shift, weight);
        v = vf_sel(r->live, v, vf_zero());
        if (r->acc) v = vf_add(vf_load_n(dx, g->rows), v);
        vf_store_n(dx, v, g->rows);
    }
}

static void class_slope_rows(const class_slope *r, const float *x, float *dx, const float *w,
                             int64_t classes, const class_group *g)
{
    float m[FNN_LANES], scale[FNN_LANES], shift[FNN_LANES], live[FNN_LANES];
    vf_store(m, r->m);
    vf_store(scale, r->scale);
    vf_store(shift, r->shift);
    vf_store(live, vf_sel(r->live, vf_set1(1.0f), vf_zero()));
    for (int k = 0; k < g->rows; k++, x += classes, dx += classes) {
        const vf mk = vf_set1(m[k]), scale_k = vf_set1(scale[k]), shift_k = vf_set1(shift[k]);
        for (int64_t j = 0; j < classes; j += FNN_LANES) {
            const int n = classes - j < FNN_LANES ? (int)(classes - j) : FNN_LANES;
            const vf weight = w ? vf_load_n(w + j, n) : vf_set1(1.0f);
            vf v = vf_zero();
            if (live[k] != 0)
                v = class_slope_at(r, vf_load_n(x + j, n), mk, scale_k, shift_k, weight);
            if (r->acc) v = vf_add(vf_load_n(dx + j, n), v);
            vf_store_n(dx + j, v, n);
        }
    }
}

/* dx[j] = dl ((1 - e) w[t] (p[j] - [j = t]) + e/c (p[j] sum w - w[j])), p = exp(x - m) / s. */
static void cross_entropy_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, groups = class_groups(d), parts = loss_parts(groups, 1);
    const float *x = c->buf[0], *w = d[5] ? c->buf[2] : NULL, *max = c->buf[4];
    const float *sum = max + d[0] * d[2], total = *(const float *)c->buf[5], e = c->f[0];
    const vf all = vf_set1(e > 0 ? class_weight_sum(c) : 0);
    float *dx = c->grad[0];
    (void)s;
    FNN_FOR
    for (int64_t p = 0; p < parts; p++)
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(d, t);
            const class_targets r = class_read(c, &g);
            const vm live = vf_ne(vf_load(r.live), vf_zero());
            const vf dl = class_upstream(c, &g, live, c->grad[3], total);
            const vf hit = vf_mul(vf_mul(vf_load(r.weight), vf_set1(1 - e)), dl);
            const vf shift = vf_mul(dl, vf_set1(e / (float)d[1]));
            const vf scale = vf_div(vf_fma(shift, all, hit), vf_load_n(sum + g.row, g.rows));
            const class_slope slope = {.m = vf_load_n(max + g.row, g.rows), .scale = scale,
                                       .shift = shift, .live = live, .smooth = e > 0,
                                       .acc = c->acc & 1};
            if (g.step == 1) class_slope_rows(&slope, x + g.at, dx + g.at, w, d[1], &g);
            else class_slope_columns(&slope, x + g.at, dx + g.at, w, d[1], &g);
            float hits[FNN_LANES];
            vf_store(hits, hit);
            for (int k = 0; k < g.rows; k++)
                if (r.at[k] >= 0) dx[r.at[k]] -= hits[k];
        }
}

/* ---- soft_cross_entropy ----
 * l = -sum_j w[j] q[j] log p[j], q = (1 - e) t + e/c, p = softmax(x).  x, t: (n, c).
 * Slots: x, t, w, y, (m, s, S = sum w q): (3, n) saved.  dim: n, c, mode, has_w.  f: e. */

/* q[j] w[j] for 16 classes, 0 beyond the last. */
VEC vf soft_target(const fnn_call *c, int64_t row, int64_t j, int n, vf *w)
{
    const float *t = (const float *)c->buf[1] + row * c->dim[1];
    const vf keep = vf_set1(1 - c->f[0]), even = vf_set1(c->f[0] / (float)c->dim[1]);
    *w = c->dim[3] ? vf_load_n((const float *)c->buf[2] + j, n) : vf_set1(1.0f);
    return vf_sel(vm_first(n), vf_mul(vf_fma(vf_load_n(t + j, n), keep, even), *w), vf_zero());
}

/* The loss of one row; stats = m, s, S, each n apart. */
static float soft_row(const fnn_call *c, int64_t row, float *stats)
{
    const int64_t n_rows = c->dim[0], classes = c->dim[1];
    const float *x = (const float *)c->buf[0] + row * classes;
    const float m = fold_run(FOLD_MAX, x, classes, 0), s = fold_run(FOLD_EXP, x, classes, m);
    const vf max = vf_set1(m), log_s = vf_log(vf_set1(s));
    vf loss = vf_zero(), all = vf_zero(), w;
    for (int64_t j = 0; j < classes; j += FNN_LANES) {
        const int n = classes - j < FNN_LANES ? (int)(classes - j) : FNN_LANES;
        const vf q = soft_target(c, row, j, n, &w);
        const vf surprise = vf_add(vf_sub(max, vf_load_n(x + j, n)), log_s);
        loss = vf_add(loss, vf_sel(vm_first(n), vf_mul(q, surprise), vf_zero()));
        all = vf_add(all, q);
    }
    stats[0] = m;
    stats[n_rows] = s;
    stats[2 * n_rows] = vf_hsum(all);
    return vf_hsum(loss);
}

static void soft_cross_entropy_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0], parts = loss_parts(n, 16);
    float *y = c->buf[3], *stats = c->buf[4];
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        float sum = 0;
        for (int64_t i = n * p / parts; i < n * (p + 1) / parts; i++) {
            const float l = soft_row(c, i, stats + i);
            if (c->dim[2] == LOSS_NONE) y[i] = l;
            sum += l;
        }
        s->shared[p] = sum;
    }
    if (c->dim[2] == LOSS_NONE) return;
    FNN_SINGLE
    {
        fold_parts(FOLD_SUM, s->shared, parts, 1, 1);
        *y = c->dim[2] == LOSS_MEAN ? s->shared[0] / (float)n : s->shared[0];
    }
}

/* dx[j] = dl (p[j] S - w[j] q[j]);  dt[j] = dl (1 - e) w[j] (m + log s - x[j]) */
static void soft_slope(const fnn_call *c, int64_t row, float dl, int slot)
{
    const int64_t n_rows = c->dim[0], classes = c->dim[1];
    const float *x = (const float *)c->buf[0] + row * classes, *stats = c->buf[4];
    const float m = stats[row], s = stats[n_rows + row], all = stats[2 * n_rows + row];
    const vf max = vf_set1(m), log_s = vf_log(vf_set1(s)), g = vf_set1(dl);
    const vf scale = vf_set1(all / s), keep = vf_set1(1 - c->f[0]);
    float *dx = c->grad[slot] + row * classes;
    for (int64_t j = 0; j < classes; j += FNN_LANES) {
        const int n = classes - j < FNN_LANES ? (int)(classes - j) : FNN_LANES;
        vf w, q = soft_target(c, row, j, n, &w), low = vf_sub(max, vf_load_n(x + j, n)), v;
        if (slot == 0) v = vf_sub(vf_mul(vf_exp(vf_neg(low)), scale), q);
        else v = vf_mul(vf_mul(keep, w), vf_add(low, log_s));
        v = vf_mul(v, g);
        if (c->acc >> slot & 1) v = vf_add(vf_load_n(dx + j, n), v);
        vf_store_n(dx + j, v, n);
    }
}

static void soft_cross_entropy_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0], mode = c->dim[2], parts = loss_parts(n, 16);
    const float *dy = c->grad[3];
    (void)s;
    for (int slot = 0; slot < 2; slot++) {
        if (!c->grad[slot]) continue;
        FNN_FOR
        for (int64_t p = 0; p < parts; p++)
            for (int64_t i = n * p / parts; i < n * (p + 1) / parts; i++)
                soft_slope(c, i, mode == LOSS_NONE ? dy[i] : mode == LOSS_SUM ? *dy : *dy / (float)n,
                           slot);
    }
}

#endif
