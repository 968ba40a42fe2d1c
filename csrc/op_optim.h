/*
 * op_optim.h: optimizer steps, and what clipping does to gradients.
 *
 * A step changes a run: neighbouring elements of the parameters, of their gradients and of each
 * state.  Where they all lie in arenas the run is the whole group.  Elementwise, so neither the
 * cutting into runs nor the threads show in the bits.
 *
 *   slots  p, g, count, options, then the states; p, count and the states change.
 *          count: one float per parameter, the steps it has taken; equal within the run.
 *          options: float64, listed at each kernel.  1 - beta and beta^t must not start from a
 *          rounded beta (1 - 0.999f is off by 1e-5), so scalars are float64; elements never are.
 *          A state that is not in use is empty, and the flag that asks for it is not set.
 *   dim    elements, first element in p, in g, in the states, first count, counts, flags.
 */
#ifndef FNN_OP_OPTIM_H
#define FNN_OP_OPTIM_H

#include "sums.h"

enum { OPTIM_MAXIMIZE = 1, SGD_NESTEROV = 2, SGD_MOMENTUM = 4, RMSPROP_CENTERED = 2,
       RMSPROP_MOMENTUM = 4, ADAM_AMSGRAD = 2, ADAM_DECOUPLED = 4 };

typedef struct {
    float *p, *state[3];
    const float *g;
    const double *option;
    int64_t n;
    int flags;
    double t;                 /* this step's number, from 1 */
} optim_run;

static inline optim_run optim_begin(const fnn_call *c)
{
    const int64_t *d = c->dim;
    optim_run r = {.p = (float *)c->buf[0] + d[1], .g = (const float *)c->buf[1] + d[2],
                   .option = c->buf[3], .n = d[0], .flags = (int)d[6],
                   .t = (double)((const float *)c->buf[2])[d[4]] + 1};
    for (int k = 0; k < 3 && 4 + k < c->n_in; k++) r.state[k] = (float *)c->buf[4 + k] + d[3];
    return r;
}

/* Only after the loop's barrier: every thread has read its count. */
static inline void optim_end(const fnn_call *c, const optim_run *r)
{
    float *count = (float *)c->buf[2] + c->dim[4];
    FNN_SINGLE
    for (int64_t i = 0; i < c->dim[5]; i++) count[i] = (float)r->t;
}

/* b^t for whole t > 0, the same on every machine (libm's pow is not). */
static inline double optim_power(double b, double t)
{
    double y = 1;
    for (int64_t k = (int64_t)t; k > 0; k >>= 1, b *= b)
        if (k & 1) y *= b;
    return y;
}

VEC vf optim_set(double x) { return vf_set1((float)x); }

/* The statement for each vector i .. i+w of n elements, whole ones apart from the last. */
#define OPTIM_CHUNK 8192
#define OPTIM_FOR(n, ...)                                                               \
    FNN_FOR                                                                             \
    for (int64_t chunk = 0; chunk < ((n) + OPTIM_CHUNK - 1) / OPTIM_CHUNK; chunk++) {   \
        int64_t i = chunk * OPTIM_CHUNK;                                                \
        const int64_t end = (n) - i < OPTIM_CHUNK ? (n) : i + OPTIM_CHUNK;              \
        for (; i + FNN_LANES <= end; i += FNN_LANES) {                                  \
            enum { w = FNN_LANES };                                                     \
            __VA_ARGS__                                                                 \
        }                                                                               \
        if (i < end) {                                                                  \
            const int w = (int)(end - i);                                               \
            __VA_ARGS__                                                                 \
        }                                                                               \
    }

/* g, turned round to maximize, plus the L2 term. */
#define OPTIM_GRADIENT(p, l2) vf_fma(l2, p, vf_mul(sign, vf_get(r.g + i, w)))

static inline vf optim_sign(const optim_run *r)
{
    return vf_set1(r->flags & OPTIM_MAXIMIZE ? -1 : 1);
}

/* ---- sgd ----
 * b = momentum b + (1 - dampening) g, at first b = g;  p -= lr b.  Nesterov: g + momentum b in
 * place of b.
 * options: lr, momentum, dampening, weight_decay.  states: b.  Only momentum counts steps. */
static void sgd_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const optim_run r = optim_begin(c);
    const double *o = r.option;
    const int moving = r.flags & SGD_MOMENTUM, nesterov = r.flags & SGD_NESTEROV, first = r.t == 1;
    const vf lr = optim_set(o[0]), momentum = optim_set(first ? 0 : o[1]), sign = optim_sign(&r);
    const vf fresh = optim_set(first ? 1 : 1 - o[2]), l2 = optim_set(o[3]), look = optim_set(o[1]);
    OPTIM_FOR(r.n, {
        const vf p = vf_get(r.p + i, w);
        vf g = OPTIM_GRADIENT(p, l2);
        if (moving) {
            const vf b = vf_fma(momentum, vf_get(r.state[0] + i, w), vf_mul(fresh, g));
            vf_put(r.state[0] + i, b, w);
            g = nesterov ? vf_fma(look, b, g) : b;
        }
        vf_put(r.p + i, vf_fnma(lr, g, p), w);
    })
    if (moving) optim_end(c, &r);
}

/* ---- rmsprop ----
 * v = alpha v + (1 - alpha) g^2, centered: a = alpha a + (1 - alpha) g and v - a^2 in place of v;
 * u = g / (sqrt(v) + eps);  b = momentum b + u;  p -= lr (b or u).
 * options: lr, alpha, eps, weight_decay, momentum.  states: v, b, a. */
static void rmsprop_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const optim_run r = optim_begin(c);
    const double *o = r.option;
    const int moving = r.flags & RMSPROP_MOMENTUM, centered = r.flags & RMSPROP_CENTERED;
    const vf lr = optim_set(o[0]), alpha = optim_set(o[1]), fresh = optim_set(1 - o[1]);
    const vf eps = optim_set(o[2]), l2 = optim_set(o[3]), momentum = optim_set(o[4]);
    const vf sign = optim_sign(&r);
    OPTIM_FOR(r.n, {
        const vf p = vf_get(r.p + i, w);
        const vf g = OPTIM_GRADIENT(p, l2);
        vf v = vf_fma(alpha, vf_get(r.state[0] + i, w), vf_mul(vf_mul(fresh, g), g));
        vf_put(r.state[0] + i, v, w);
        if (centered) {
            const vf a = vf_fma(alpha, vf_get(r.state[2] + i, w), vf_mul(fresh, g));
            vf_put(r.state[2] + i, a, w);
            v = vf_max(vf_fnma(a, a, v), vf_zero());      /* rounding must not make it negative */
        }
        vf u = vf_div(g, vf_add(vf_sqrt(v), eps));
        if (moving) {
            u = vf_fma(momentum, vf_get(r.state[1] + i, w), u);
            vf_put(r.state[1] + i, u, w);
        }
        vf_put(r.p + i, vf_fnma(lr, u, p), w);
    })
    optim_end(c, &r);
}

/* ---- adagrad ----
 * v += g^2;  p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps).
 * options: lr, lr_decay, weight_decay, eps.  states: v. */
static void adagrad_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const optim_run r = optim_begin(c);
    const double *o = r.option;
    const vf lr = optim_set(o[0] / (1 + (r.t - 1) * o[1])), l2 = optim_set(o[2]);
    const vf eps = optim_set(o[3]), sign = optim_sign(&r);
    OPTIM_FOR(r.n, {
        const vf p = vf_get(r.p + i, w);
        const vf g = OPTIM_GRADIENT(p, l2);
        const vf v = vf_fma(g, g, vf_get(r.state[0] + i, w));
        vf_put(r.state[0] + i, v, w);
        vf_put(r.p + i, vf_fnma(lr, vf_div(g, vf_add(vf_sqrt(v), eps)), p), w);
    })
    optim_end(c, &r);
}

/* ---- adam ---- and, with decoupled decay, AdamW.
 * m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  c1, c2 = 1 - beta1^t, 1 - beta2^t;
 * p -= lr/c1 m / (sqrt(v)/sqrt(c2) + eps), brought to one division by multiplying with sqrt(c2).
 * Decoupled: p *= 1 - lr weight_decay first, else g += weight_decay p.
 * AMSGrad: the largest v so far in place of v.
 * options: lr, beta1, beta2, eps, weight_decay.  states: m, v, largest v. */
static void adam_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const optim_run r = optim_begin(c);
    const double *o = r.option, c1 = 1 - optim_power(o[1], r.t);
    const double c2 = __builtin_sqrt(1 - optim_power(o[2], r.t));
    const int largest = r.flags & ADAM_AMSGRAD, decoupled = r.flags & ADAM_DECOUPLED;
    const vf step = optim_set(o[0] / c1 * c2), eps = optim_set(o[3] * c2), sign = optim_sign(&r);
    const vf beta1 = optim_set(o[1]), fresh1 = optim_set(1 - o[1]);
    const vf beta2 = optim_set(o[2]), fresh2 = optim_set(1 - o[2]);
    const vf keep = optim_set(decoupled ? 1 - o[0] * o[4] : 1);
    const vf l2 = optim_set(decoupled ? 0 : o[4]);
    OPTIM_FOR(r.n, {
        const vf p = vf_get(r.p + i, w);
        const vf g = OPTIM_GRADIENT(p, l2);
        const vf m = vf_fma(beta1, vf_get(r.state[0] + i, w), vf_mul(fresh1, g));
        vf v = vf_fma(beta2, vf_get(r.state[1] + i, w), vf_mul(vf_mul(fresh2, g), g));
        vf_put(r.state[0] + i, m, w);
        vf_put(r.state[1] + i, v, w);
        if (largest) {
            v = vf_max(vf_get(r.state[2] + i, w), v);
            vf_put(r.state[2] + i, v, w);
        }
        const vf u = vf_div(m, vf_add(vf_sqrt(v), eps));
        vf_put(r.p + i, vf_fnma(step, u, vf_mul(keep, p)), w);
    })
    optim_end(c, &r);
}

/* ---- lion ----
 * p -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay p);  m = beta2 m + (1 - beta2) g.
 * options: lr, beta1, beta2, weight_decay.  states: m. */
static void lion_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const optim_run r = optim_begin(c);
    const double *o = r.option;
    const vf lr = optim_set(o[0]), keep = optim_set(1 - o[0] * o[3]), sign = optim_sign(&r);
    const vf beta1 = optim_set(o[1]), fresh1 = optim_set(1 - o[1]);
    const vf beta2 = optim_set(o[2]), fresh2 = optim_set(1 - o[2]);
    OPTIM_FOR(r.n, {
        const vf p = vf_get(r.p + i, w);
        const vf g = vf_mul(sign, vf_get(r.g + i, w));
        const vf m = vf_get(r.state[0] + i, w);
        const vf u = vf_fma(beta1, m, vf_mul(fresh1, g));
        const vf whole = vf_sel(vf_eq(u, vf_zero()), u, vf_copysign(vf_set1(1), u));
        const vf way = vf_sel(vf_isnan(u), u, whole);     /* sign(0) = 0, sign(NaN) = NaN */
        vf_put(r.p + i, vf_fnma(lr, way, vf_mul(keep, p)), w);
        vf_put(r.state[0] + i, vf_fma(beta2, m, vf_mul(fresh2, g)), w);
    })
    optim_end(c, &r);
}

/* ---- segments of a block ----
 * Clipping works on the gradients that lie in one block, named by a table (rows of 4 int64): first
 * element, size, number of the first chunk, chunks of the rows before; a last row closes the last
 * column.  Chunks have a fixed size and never cross segments, so sums do not depend on where the
 * gradients lie. */

#define SEGMENT_CHUNK 4096    /* floats: ops/optim.py cuts with the same */

typedef struct {
    float *x;
    int64_t n, number;
} segment_chunk;

static inline segment_chunk segment_find(float *block, const int64_t *table, int64_t rows,
                                         int64_t k)
{
    int64_t low = 0, high = rows;
    while (high - low > 1) {
        const int64_t mid = (low + high) / 2;
        if (table[4 * mid + 3] <= k) low = mid;
        else high = mid;
    }
    const int64_t *row = table + 4 * low, part = k - row[3], left = row[1] - part * SEGMENT_CHUNK;
    return (segment_chunk){block + row[0] + part * SEGMENT_CHUNK,
                           left < SEGMENT_CHUNK ? left : SEGMENT_CHUNK, row[2] + part};
}

/* The statement for each vector x + i, w of each chunk.  dim: rows, chunks, elements. */
#define SEGMENT_FOR(c, ...)                                                             \
    FNN_FOR                                                                             \
    for (int64_t k = 0; k < (c)->dim[1]; k++) {                                         \
        const segment_chunk part = segment_find((c)->buf[0], (c)->buf[1], (c)->dim[0], k); \
        float *x = part.x;                                                              \
        int64_t i = 0;                                                                  \
        for (; i + FNN_LANES <= part.n; i += FNN_LANES) {                               \
            enum { w = FNN_LANES };                                                     \
            __VA_ARGS__                                                                 \
        }                                                                               \
        if (i < part.n) {                                                               \
            const int w = (int)(part.n - i);                                            \
            __VA_ARGS__                                                                 \
        }                                                                               \
    }

enum { NORM_MAX = 0, NORM_ONE = 1, NORM_TWO = 2 };

VEC vf norm_add(vf sum, vf x, int kind)
{
    if (kind == NORM_TWO) return vf_fma(x, x, sum);
    return kind == NORM_ONE ? vf_add(sum, vf_abs(x)) : vf_max(sum, vf_abs(x));
}

/* ---- grad_sums ----
 * sums[chunk] = sum |x|, sum x^2 or max |x| over each chunk.  sums: (all chunks), changed.
 * dim: rows, chunks, elements, kind. */
static void grad_sums_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int kind = (int)c->dim[3];
    float *sums = c->buf[2];
    FNN_FOR
    for (int64_t k = 0; k < c->dim[1]; k++) {
        const segment_chunk part = segment_find(c->buf[0], c->buf[1], c->dim[0], k);
        vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
        int64_t i = 0;
        for (; i + 4 * FNN_LANES <= part.n; i += 4 * FNN_LANES)
            for (int j = 0; j < 4; j++)
                sum[j] = norm_add(sum[j], vf_load(part.x + i + j * FNN_LANES), kind);
        for (; i < part.n; i += FNN_LANES) {
            const int w = part.n - i < FNN_LANES ? (int)(part.n - i) : FNN_LANES;
            sum[0] = norm_add(sum[0], vf_load_n(part.x + i, w), kind);
        }
        sums[part.number] = kind == NORM_MAX
            ? vf_hmax(vf_max(vf_max(sum[0], sum[1]), vf_max(sum[2], sum[3])))
            : vf_hsum(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
    }
}

/* ---- grad_norm ----
 * norm of all chunks, and what to scale by: min(limit / (norm + 1e-6), 1); NaN stays NaN.
 * sums: (n), norm: (), scale: ().  dim: n, kind.  f: limit. */
static void grad_norm_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const float *sums = c->buf[0];
    const int kind = (int)c->dim[1];
    FNN_SINGLE
    {
        double all = 0;       /* one number per 4096 elements: float64 in order costs nothing */
        for (int64_t k = 0; k < c->dim[0]; k++)
            if (kind != NORM_MAX) all += sums[k];
            else if (!(sums[k] <= all) && all == all) all = sums[k];
        const float norm = (float)(kind == NORM_TWO ? __builtin_sqrt(all) : all);
        const float scale = c->f[0] / (norm + 1e-6f);
        *(float *)c->buf[1] = norm;
        *(float *)c->buf[2] = scale > 1 ? 1 : scale;
    }
}

/* ---- grad_scale ---- x *= scale.  block: changed, scale: (). */
static void grad_scale_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const float scale = *(const float *)c->buf[2];
    if (scale == 1) return;
    const vf by = vf_set1(scale);
    SEGMENT_FOR(c, vf_put(x + i, vf_mul(by, vf_get(x + i, w)), w);)
}

/* ---- grad_clamp ---- x = min(max(x, -f0), f0), NaN stays NaN.  block: changed. */
static void grad_clamp_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const vf high = vf_set1(c->f[0]), low = vf_neg(high);
    SEGMENT_FOR(c, vf_put(x + i, vf_min(vf_max(vf_get(x + i, w), low), high), w);)
}

/* ---- grad_zero ---- x = 0.  block: changed. */
static void grad_zero_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    SEGMENT_FOR(c, vf_put(x + i, vf_zero(), w);)
}

#endif
