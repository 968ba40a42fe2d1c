/*
 * op_norm.h: normalisation.  x^ = (x - mean) rstd, rstd = 1 / sqrt(variance + eps), y = x^ w + b.
 *
 * x: (batch, channels, length), w, b: (channels).  Either rows share a mean (layer, group: the
 * channels of a group of one batch item; below) or columns do (batch: a channel in all items; in
 * op_batch_norm.h).  Whatever it is, the work is done line by line: n neighbours, each with a mean, a
 * gain, ... of its own (a row of channels, length = 1) or all with the same (a channel, length > 1).
 *
 * A mean is kept as its distance, delta, from a pivot, the first of the numbers averaged.  Squares are
 * summed around the mean.  So neither loses digits to a mean that is far from 0.
 */
#ifndef FNN_OP_NORM_H
#define FNN_OP_NORM_H

#include "elementwise.h"

/* ---- lines ---- */

typedef struct { const float *each; vf all; } operand;     /* one for each element, or one for all */

/* Lines of n elements that share their numbers, step apart. */
typedef struct {
    int64_t n, count, step;
    const float *x, *r, *y, *dy;            /* r: added to y, may be NULL; y: see line_dz         */
    operand pivot, delta, rstd, w, b;
    int relu;
} line;

VEC vf vf_of(operand p, int64_t i, int m) { return p.each ? vf_get(p.each + i, m) : p.all; }
VEC operand one_for_all(float x) { return (operand){NULL, vf_set1(x)}; }

/* x^ of the elements `at` of x, which are elements i of their line. */
VEC vf line_hat(const line *t, int64_t at, int64_t i, int m)
{
    const vf far = vf_sub(vf_get(t->x + at, m), vf_of(t->pivot, i, m));
    return vf_mul(vf_sub(far, vf_of(t->delta, i, m)), vf_of(t->rstd, i, m));
}

/* z = x^ w + b + r */
VEC vf line_z(const line *t, vf hat, int64_t at, int64_t i, int m)
{
    const vf z = vf_fma(hat, vf_of(t->w, i, m), vf_of(t->b, i, m));
    return t->r ? vf_add(z, vf_get(t->r + at, m)) : z;
}

/* y = z, or max(z, 0) */
VEC void line_fwd(const line *t, float *y)
{
    for (int64_t row = 0; row < t->count * t->step; row += t->step)
        for (int64_t i = 0; i < t->n; i += FNN_LANES) {
            const int m = lanes_of(t->n - i);
            const vf z = line_z(t, line_hat(t, row + i, i, m), row + i, i, m);
            vf_put(y + row + i, t->relu ? vf_max(z, vf_zero()) : z, m);
        }
}

/* dz: the gradient of z, whose sign y tells if it is there; else z is computed again. */
VEC vf line_dz(const line *t, vf hat, int64_t at, int64_t i, int m)
{
    const vf dy = vf_get(t->dy + at, m);
    if (!t->relu) return dy;
    const vf z = t->y ? vf_get(t->y + at, m) : line_z(t, hat, at, i, m);
    return vf_sel(vf_le(z, vf_zero()), vf_zero(), dy);
}

/* db += dz, dw += dz x^ of `rows` lines from `at` on, element by element. */
VEC void line_add_rows(const line *t, int64_t at, int rows, float *db, float *dw)
{
    for (int64_t i = 0; i < t->n; i += FNN_LANES) {
        const int m = lanes_of(t->n - i);
        vf b = vf_get(db + i, m), w = vf_get(dw + i, m);
        for (int k = 0; k < rows; k++) {
            const int64_t here = at + k * t->step + i;
            const vf hat = line_hat(t, here, i, m), dz = line_dz(t, hat, here, i, m);
            b = vf_add(b, dz);
            w = vf_fma(dz, hat, w);
        }
        vf_put(db + i, b, m);
        vf_put(dw + i, w, m);
    }
}

/* The same for all lines. */
VEC void line_add(const line *t, float *db, float *dw)
{
    int64_t k = 0;
    for (; k + 4 <= t->count; k += 4) line_add_rows(t, k * t->step, 4, db, dw);
    for (; k < t->count; k++) line_add_rows(t, k * t->step, 1, db, dw);
}

/* The sums of g and of g x^ over a single line: g = dz, or dz w where `gain`. */
typedef struct { double g, hat; } dots;
VEC dots line_dots(const line *t, int gain)
{
    dots sum = {0, 0};
    for (int64_t lo = 0; lo < t->n; lo += FOLD_RUN) {
        const int64_t end = smaller(t->n, lo + FOLD_RUN);
        vf s[2] = {vf_zero(), vf_zero()}, h[2] = {vf_zero(), vf_zero()};
        for (int64_t i = lo; i < end;)
            for (int k = 0; k < 2 && i < end; k++, i += FNN_LANES) {
                const int m = lanes_of(end - i);
                const vf hat = line_hat(t, i, i, m), dz = line_dz(t, hat, i, i, m);
                const vf g = gain ? vf_mul(dz, vf_of(t->w, i, m)) : dz;
                s[k] = vf_add(s[k], g);
                h[k] = vf_fma(g, hat, h[k]);
            }
        sum.g += vf_hsum(vf_add(s[0], s[1]));
        sum.hat += vf_hsum(vf_add(h[0], h[1]));
    }
    return sum;
}

/* Where the gradients of x and of the residual go; either may be NULL. */
typedef struct {
    float *dx, *dr;
    const float *dsum;        /* that of x + r, where r was added before; may be NULL             */
    int acc_x, acc_r;
    int before;               /* r was added to x, not to y                                       */
} target;

VEC void put_grad(float *d, int acc, int64_t i, vf v, int m)
{
    if (d) vf_put(d + i, acc ? vf_add(vf_get(d + i, m), v) : v, m);
}

/* dx = (dz w - c1 - x^ c2) rstd; the first line begins at element `first` of the record. */
VEC void line_bwd(const line *t, operand c1, operand c2, const target *to, int64_t first)
{
    for (int64_t row = 0; row < t->count * t->step; row += t->step)
        for (int64_t i = 0; i < t->n; i += FNN_LANES) {
            const int m = lanes_of(t->n - i);
            const int64_t at = first + row + i;
            const vf hat = line_hat(t, row + i, i, m), dz = line_dz(t, hat, row + i, i, m);
            const vf rest = vf_fma(hat, vf_of(c2, i, m), vf_of(c1, i, m));
            vf d = vf_mul(vf_sub(vf_mul(dz, vf_of(t->w, i, m)), rest), vf_of(t->rstd, i, m));
            if (to->dsum) d = vf_add(vf_get(to->dsum + at, m), d);
            put_grad(to->dx, to->acc_x, at, d, m);
            put_grad(to->dr, to->acc_r, at, to->before ? d : dz, m);
        }
}

/* ---- what all have in common ---- */

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

typedef struct {
    int64_t batch, groups, channels, length;
    const float *x, *r, *y, *dy;            /* as of a line                                       */
    const float *pivot, *delta, *rstd;      /* of each mean; the pivots lie pivot_step apart       */
    int64_t pivot_step;
    const float *w, *b;                     /* NULL = 1, 0                                        */
    int relu;
} norm;

/* Number ch and those behind it, which belong to channels or to what is counted like them. */
VEC operand numbers(const float *p, int64_t ch, int each, float instead)
{
    if (!p) return one_for_all(instead);
    return each ? (operand){p + ch, vf_zero()} : one_for_all(p[ch]);
}

/* The line of n elements that begins with channel ch of item b, and those of the items behind it. */
VEC line line_at(const norm *t, const int columns, int64_t b, int64_t ch, int64_t n, int64_t count)
{
    const int64_t step = t->channels * t->length, at = b * step + ch * t->length;
    const int64_t mean = columns ? ch : b * t->groups + ch * t->groups / larger(t->channels, 1);
    const int each = t->length == 1, means = columns && each;
    return (line){
        n, count, step, t->x + at, t->r ? t->r + at : NULL, t->y ? t->y + at : NULL,
        t->dy ? t->dy + at : NULL,
        means ? numbers(t->pivot, ch, 1, 0.0f) : numbers(t->pivot, mean * t->pivot_step, 0, 0.0f),
        numbers(t->delta, mean, means, 0.0f), numbers(t->rstd, mean, means, 0.0f),
        numbers(t->w, ch, each, 1.0f), numbers(t->b, ch, each, 0.0f), t->relu};
}

/* Sum of n neighbours: chunks of FOLD_RUN, these in double. */
VEC float run_sum(int kind, const float *x, int64_t n, float shift)
{
    double sum = 0;
    for (int64_t lo = 0; lo < n; lo += FOLD_RUN)
        sum += fold_run(kind, x + lo, smaller(FOLD_RUN, n - lo), shift);
    return (float)sum;
}

/* Sums for each channel are made of slabs, joined two by two.  A window of channels at a time, so
 * that at least 32 slabs of two sums fit the shared scratch. */
#define NORM_WINDOW 16384

static inline int64_t slab_room(int64_t width) { return FNN_SHARED_BYTES / 4 / (2 * larger(width, 1)); }

/* Slabs joined: (slabs, 2, width) to db and dw, from column j on.  Returns both. */
typedef struct { vf b, w; } pair;
VEC pair join_slabs(float *parts, int64_t slabs, int64_t width, int64_t j, int m)
{
    fold_parts(FOLD_SUM, parts + j, slabs, 2 * width, m);
    fold_parts(FOLD_SUM, parts + width + j, slabs, 2 * width, m);
    return slabs ? (pair){vf_get(parts + j, m), vf_get(parts + width + j, m)}
                 : (pair){vf_zero(), vf_zero()};
}

/* ---- layer_norm, add_layer_norm, rms_norm, add_rms_norm, group_norm ----
 * Mean and variance of the n = channels / groups * length neighbours of one group of one item; with
 * rms, 0 takes the place of the mean.  The add_ forms normalise x + r, which is an output too.
 * x, r, y, sum: (batch, channels, length), w, b: (channels).  Saved: delta, rstd (batch, groups); rms
 * has no b and no delta.  dim: batch, groups, channels, length, has_w, has_b.  f: eps. */

/* Slots: x [r] w [b] | y [sum] [delta] rstd; 0 stands for those that are not there. */
typedef struct { int w, b, y, sum, delta, rstd; } row_slots;

static inline row_slots row_slots_of(int rms, int add)
{
    const int w = 1 + add, y = w + 2 - rms, sum = y + add;
    return (row_slots){w, rms ? 0 : w + 1, y, add ? sum : 0, rms ? 0 : sum + 1, sum + 2 - rms};
}

static inline norm row_norm(const fnn_call *c, int rms, int add)
{
    const int64_t *d = c->dim;
    const row_slots at = row_slots_of(rms, add);
    const float *x = c->buf[at.sum];
    return (norm){.batch = d[0], .groups = d[1], .channels = d[2], .length = d[3], .x = x,
                  .pivot = rms ? NULL : x, .pivot_step = d[2] / larger(d[1], 1) * d[3],
                  .delta = rms ? NULL : c->buf[at.delta], .rstd = c->buf[at.rstd],
                  .w = d[4] ? c->buf[at.w] : NULL, .b = d[5] ? c->buf[at.b] : NULL};
}

/* One row: n neighbours of x, or of x + r, which goes to `sum` on the way. */
typedef struct { const float *x, *r; float *sum; int64_t n; } summed;

VEC vf summed_take(const summed *t, int64_t i, int m)
{
    vf v = vf_get(t->x + i, m);
    if (t->r) {
        v = vf_add(v, vf_get(t->r + i, m));
        vf_put(t->sum + i, v, m);
    }
    return v;
}

/* The sum of v - shift, or of its squares: chunks of FOLD_RUN, these in double. */
VEC float row_sum(const summed *t, int squares, float shift)
{
    const vf by = vf_set1(shift), zero = vf_zero();
    double sum = 0;
    for (int64_t i = 0; i < t->n;) {
        const int64_t end = smaller(t->n, i + FOLD_RUN);
        vf s[4] = {zero, zero, zero, zero};
        for (; i + 4 * FNN_LANES <= end; i += 4 * FNN_LANES)
            for (int k = 0; k < 4; k++) {
                const vf v = vf_sub(summed_take(t, i + k * FNN_LANES, FNN_LANES), by);
                s[k] = squares ? vf_fma(v, v, s[k]) : vf_add(s[k], v);
            }
        for (int k = 0; i < end; i += FNN_LANES, k++) {
            const int m = lanes_of(end - i);
            const vf v = vf_sel(vm_first(m), vf_sub(summed_take(t, i, m), by), zero);
            s[k] = squares ? vf_fma(v, v, s[k]) : vf_add(s[k], v);
        }
        sum += vf_hsum(vf_add(vf_add(s[0], s[1]), vf_add(s[2], s[3])));
    }
    return (float)sum;
}

VEC void rows_fwd(const fnn_call *c, int rms, int add)
{
    const norm t = row_norm(c, rms, add);
    const row_slots at = row_slots_of(rms, add);
    const int64_t width = t.channels / larger(t.groups, 1), n = width * t.length;
    const int64_t lines = t.length == 1 ? 1 : width, len = t.length == 1 ? width : t.length;
    float *y = c->buf[at.y], *delta = rms ? NULL : c->buf[at.delta], *rstd = c->buf[at.rstd];
    FNN_FOR
    for (int64_t row = 0; row < t.batch * t.groups; row++) {
        summed from = {(const float *)c->buf[0] + row * n, NULL, NULL, n};
        if (add) {
            from.r = (const float *)c->buf[1] + row * n;
            from.sum = (float *)c->buf[at.sum] + row * n;
        }
        float pivot = 0, shift = 0, var = 0;
        if (!rms && n) {
            pivot = add ? *from.x + *from.r : *from.x;
            shift = row_sum(&from, 0, pivot) / (float)n;
            from = (summed){t.x + row * n, NULL, NULL, n};
        }
        if (n) var = row_sum(&from, 1, pivot + shift) / (float)n;
        if (!rms) delta[row] = shift;
        rstd[row] = 1.0f / __builtin_sqrtf(var + c->f[0]);
        const int64_t b = row / t.groups, first = row % t.groups * width;
        for (int64_t k = 0; k < lines && n; k++) {
            line l = line_at(&t, 0, b, first + k, len, 1);
            l.pivot = one_for_all(pivot);       /* y may lie where x does: its first element is gone */
            line_fwd(&l, y + row * n + k * len);
        }
    }
}

/* dx of one row: c1 and c2 are the means of dy w and of dy w x^. */
VEC void row_bwd(const norm *t, int64_t b, int64_t first, int64_t width, int rms, const target *to)
{
    const int64_t lines = t->length == 1 ? 1 : width, len = t->length == 1 ? width : t->length;
    const int64_t at = (b * t->channels + first) * t->length;
    dots sum = {0, 0};
    for (int64_t k = 0; k < lines; k++) {
        const line l = line_at(t, 0, b, first + k, len, 1);
        const dots part = line_dots(&l, 1);
        sum.g += part.g;
        sum.hat += part.hat;
    }
    const double n = (double)(width * t->length);
    const operand c1 = one_for_all(rms ? 0.0f : (float)(sum.g / n));
    const operand c2 = one_for_all((float)(sum.hat / n));
    for (int64_t k = 0; k < lines; k++) {
        const line l = line_at(t, 0, b, first + k, len, 1);
        line_bwd(&l, c1, c2, to, at + k * len);
    }
}

/* db, dw += what items b to end give, of channels lo to hi, which share a mean unless columns do. */
VEC void affine_add(const norm *t, const int columns, int64_t b, int64_t end, int64_t lo, int64_t hi,
                    float *db, float *dw)
{
    if (t->length == 1) {
        const int64_t count = columns ? end - b : 1;
        for (; b < end; b += count) {
            const line l = line_at(t, columns, b, lo, hi - lo, count);
            line_add(&l, db, dw);
        }
        return;
    }
    for (; b < end && t->length; b++)
        for (int64_t ch = lo; ch < hi; ch++) {
            const line l = line_at(t, columns, b, ch, t->length, 1);
            const dots sum = line_dots(&l, 0);
            db[ch - lo] += (float)sum.g;
            dw[ch - lo] += (float)sum.hat;
        }
}

/* Items in a slab: enough of them that their sums, written once, hardly count. */
static inline int64_t row_slab(const norm *t, int64_t width)
{
    const int64_t least = t->length == 1 ? 16 : 1;
    const int64_t wanted = 32768 / larger(t->channels / t->groups * t->length, 1);
    return larger(ceil_div(t->batch, slab_room(width)), smaller(64, larger(least, wanted)));
}

/* The gradients where only the sum was used. */
static void only_sum(const fnn_call *c, const norm *t, const target *to, float *dw, float *db)
{
    const int64_t n = t->batch * t->channels * t->length;
    FOR_VECTORS(n, i) {
        const int m = lanes_of(n - i);
        const vf d = vf_get(to->dsum + i, m);
        put_grad(to->dx, to->acc_x, i, d, m);
        put_grad(to->dr, to->acc_r, i, d, m);
    }
    FOR_VECTORS(t->channels, i) {
        const int m = lanes_of(t->channels - i);
        put_grad(dw, c->acc >> 2 & 1, i, vf_zero(), m);
        put_grad(db, c->acc >> 3 & 1, i, vf_zero(), m);
    }
}

VEC void rows_bwd(const fnn_call *c, const fnn_scratch *s, int rms, int add)
{
    norm t = row_norm(c, rms, add);
    const row_slots at = row_slots_of(rms, add);
    float *dw = c->dim[4] ? c->grad[at.w] : NULL, *db = c->dim[5] ? c->grad[at.b] : NULL;
    float *parts = s->shared;
    const target to = {.dx = c->grad[0], .acc_x = c->acc & 1, .before = add,
                       .dr = add ? c->grad[1] : NULL, .acc_r = c->acc >> 1 & 1,
                       .dsum = add ? c->grad[at.sum] : NULL};
    const int64_t width = t.channels / larger(t.groups, 1);
    const int affine = dw || db;
    t.dy = c->grad[at.y];
    if (!t.dy) {                            /* nobody used y */
        only_sum(c, &t, &to, dw, db);
        return;
    }
    for (int64_t c0 = 0; c0 < t.channels; c0 += NORM_WINDOW) {
        const int64_t window = smaller(NORM_WINDOW, t.channels - c0), step = row_slab(&t, window);
        const int64_t slabs = ceil_div(t.batch, step);
        FNN_FOR
        for (int64_t k = 0; k < slabs * t.groups; k++) {
            const int64_t slab = k / t.groups, first = k % t.groups * width;
            const int64_t lo = larger(first, c0), hi = smaller(first + width, c0 + window);
            const int64_t end = smaller(t.batch, (slab + 1) * step);
            float *part = parts + slab * 2 * window + lo - c0;
            if (affine && lo < hi) {
                memset(part, 0, (size_t)(hi - lo) * sizeof *part);
                memset(part + window, 0, (size_t)(hi - lo) * sizeof *part);
            }
            for (int64_t b = slab * step; b < end; b++) {
                if (t.length && c0 == 0 && (to.dx || to.dr)) row_bwd(&t, b, first, width, rms, &to);
                if (affine && lo < hi) affine_add(&t, 0, b, b + 1, lo, hi, part, part + window);
            }
        }
        if (!affine) return;
        FNN_FOR
        for (int64_t j = 0; j < window; j += FNN_LANES) {
            const int m = lanes_of(window - j);
            const pair sum = join_slabs(parts, slabs, window, j, m);
            put_grad(dw, c->acc >> at.w & 1, c0 + j, sum.w, m);
            if (!rms) put_grad(db, c->acc >> at.b & 1, c0 + j, sum.b, m);
        }
    }
}

static void layer_norm_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; rows_fwd(c, 0, 0); }
static void layer_norm_bwd(const fnn_call *c, const fnn_scratch *s) { rows_bwd(c, s, 0, 0); }

static void add_layer_norm_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; rows_fwd(c, 0, 1); }
static void add_layer_norm_bwd(const fnn_call *c, const fnn_scratch *s) { rows_bwd(c, s, 0, 1); }

static void rms_norm_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; rows_fwd(c, 1, 0); }
static void rms_norm_bwd(const fnn_call *c, const fnn_scratch *s) { rows_bwd(c, s, 1, 0); }

static void add_rms_norm_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; rows_fwd(c, 1, 1); }
static void add_rms_norm_bwd(const fnn_call *c, const fnn_scratch *s) { rows_bwd(c, s, 1, 1); }

static void group_norm_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; rows_fwd(c, 0, 0); }
static void group_norm_bwd(const fnn_call *c, const fnn_scratch *s) { rows_bwd(c, s, 0, 0); }

#endif
