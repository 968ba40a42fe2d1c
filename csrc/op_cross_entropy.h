/*
 * op_cross_entropy.h: losses of class scores, x: (n, c, d), target: (n, d) int64, w: (c) or absent.
 *
 * dim: n, c, d, mode, ignored target, has_w.  A row is the c scores of one target.  Rows are taken
 * in groups: where d = 1 up to sixteen that follow each other in memory, else columns side by side.
 * Targets outside 0 .. c - 1 were refused before; that they are skipped here too keeps memory safe
 * from a caller who changes them meanwhile.
 */
#ifndef FNN_OP_CROSS_ENTROPY_H
#define FNN_OP_CROSS_ENTROPY_H

#include "elementwise.h"
#include "op_loss.h"

#define CLASS_ROWS 256        /* in a group of columns: lines come in runs of 1 KB */
#define CLASS_LONG 4096       /* more classes: one row is a group, else its scores leave the cache */
#define CLASS_STAGE 272       /* from class to class in scratch: a power of two crowds cache sets */

typedef struct {
    int64_t row, at, step, next;      /* first row, its first score; to the next class, next row */
    int rows;
} class_group;

static inline int class_group_rows(const int64_t *d)
{
    return d[2] != 1 ? CLASS_ROWS : d[1] > CLASS_LONG ? 1 : FNN_LANES;
}

static inline int64_t class_groups(const int64_t *d)
{
    const int64_t width = class_group_rows(d), across = d[2] == 1 ? d[0] : d[2];
    return (across + width - 1) / width * (d[2] == 1 ? 1 : d[0]);
}

static inline class_group class_group_at(const int64_t *d, int64_t t)
{
    const int64_t width = class_group_rows(d);
    if (d[2] == 1) {
        const int64_t i = t * width, left = d[0] - i;
        return (class_group){i, i * d[1], 1, d[1], left < width ? (int)left : (int)width};
    }
    const int64_t per_item = (d[2] + width - 1) / width;
    const int64_t i = t / per_item, j = t % per_item * width, left = d[2] - j;
    return (class_group){i * d[2] + j, i * d[1] * d[2] + j, d[2], 1,
                         left < width ? (int)left : (int)width};
}

/* Runs the last argument for the vectors of a group: lanes hold rows k .. k + n - 1. */
#define CLASS_VECTORS(g, k, n, ...)                                                         \
    for (int k = 0; k < (g).rows; k += FNN_LANES) {                                         \
        const int n = lanes_of((g).rows - k);                                               \
        __VA_ARGS__                                                                         \
    }

static inline int class_counts(const int64_t *d, int64_t target)
{
    return target != d[4] && (uint64_t)target < (uint64_t)d[1];
}

/* Of row k: where the score of its target is (-1: the row does not count), it, and its weight. */
typedef struct {
    int64_t at[CLASS_ROWS];
    float live[CLASS_ROWS], weight[CLASS_ROWS], picked[CLASS_ROWS];
} class_targets;

static inline void class_read(const fnn_call *c, const class_group *g, class_targets *r)
{
    const float *x = c->buf[0], *w = c->dim[5] ? c->buf[2] : NULL;
    const int64_t *target = c->buf[1];
    for (int k = 0; k < g->rows; k++) {
        const int64_t t = target[g->row + k];
        const int live = class_counts(c->dim, t);
        r->at[k] = live ? g->at + t * g->step + k * g->next : -1;
        r->live[k] = (float)live;
        r->weight[k] = !live ? 0 : w ? w[t] : 1;
        r->picked[k] = live && x ? x[r->at[k]] : 0;
    }
}

VEC vm class_live(const class_targets *r, int k, int n)
{
    return vf_ne(vf_get(r->live + k, n), vf_zero());
}

/* What a mean divides by: the weight of the targets that count.  The whole team. */
static float class_total(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t rows = c->dim[0] * c->dim[2], parts = loss_parts(rows, 4096);
    const int64_t *target = c->buf[1];
    const float *w = c->dim[5] ? c->buf[2] : NULL;
    float *sums = s->shared + LOSS_PARTS;      /* class_reduce has the place before */
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        double sum = 0;
        for (int64_t i = rows * p / parts; i < rows * (p + 1) / parts; i++)
            if (class_counts(c->dim, target[i])) sum += w ? w[target[i]] : 1;
        sums[p] = (float)sum;
    }
    FNN_SINGLE
    sums[0] = fold_run(FOLD_SUM, sums, parts, 0);
    return sums[0];
}

static inline float class_unit(const fnn_call *c, float total)
{
    return c->dim[3] != LOSS_MEAN ? 1 : total == 0 ? 0 : 1 / total;
}

/* The reduced loss from the sums of its parts. */
static void class_reduce(const fnn_call *c, const fnn_scratch *s, int64_t parts, float total)
{
    float *y = c->buf[3];
    FNN_SINGLE
    {
        const float sum = fold_run(FOLD_SUM, s->shared, parts, 0);
        if (c->dim[3] == LOSS_MEAN) *y = total == 0 ? 0 : sum / total;
        if (c->dim[3] == LOSS_SUM) *y = sum;
    }
}

/* What reaches the losses of rows k .. k + n - 1, 0 where they do not count. */
VEC vf class_upstream(const fnn_call *c, const class_group *g, const class_targets *r, int k, int n,
                      float unit)
{
    const float *dy = c->grad[3];
    const vf dl = c->dim[3] == LOSS_NONE ? vf_get(dy + g->row + k, n) : vf_set1(*dy * unit);
    return vf_sel(class_live(r, k, n), dl, vf_zero());
}

/* ---- nll_loss ---- l = -w[t] x[t].  Slots: x, target, w, y, total weight (1) saved. */

static void nll_loss_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t groups = class_groups(c->dim), parts = loss_parts(groups, 1);
    const float total = class_total(c, s);
    float *y = c->buf[3];
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        vf loss = vf_zero();
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(c->dim, t);
            class_targets r;
            class_read(c, &g, &r);
            CLASS_VECTORS(g, k, n,
                const vf w = vf_get(r.weight + k, n);
                const vf l = vf_neg(vf_mul(w, vf_get(r.picked + k, n)));
                if (c->dim[3] == LOSS_NONE) vf_put(y + g.row + k, l, n);
                loss = vf_add(loss, l);)
        }
        s->shared[p] = vf_hsum(loss);
    }
    FNN_SINGLE
    *(float *)c->buf[4] = total;
    class_reduce(c, s, parts, total);
}

/* dx = 0 but for dx[t] = -w[t] dl */
static void nll_loss_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, groups = class_groups(d), parts = loss_parts(groups, 1);
    const float unit = class_unit(c, *(const float *)c->buf[4]);
    float *dx = c->grad[0];
    (void)s;
    FNN_FOR
    for (int64_t i = 0; i < (c->acc & 1 ? 0 : d[0]); i++)
        memset(dx + i * d[1] * d[2], 0, (size_t)(d[1] * d[2]) * sizeof *dx);
    FNN_FOR
    for (int64_t p = 0; p < parts; p++)
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(d, t);
            class_targets r;
            float hit[CLASS_ROWS];
            class_read(c, &g, &r);
            CLASS_VECTORS(g, k, n,
                const vf dl = class_upstream(c, &g, &r, k, n, unit);
                vf_put(hit + k, vf_mul(vf_get(r.weight + k, n), dl), n);)
            for (int k = 0; k < g.rows; k++)
                if (r.at[k] >= 0) dx[r.at[k]] -= hit[k];
        }
}

/* ---- cross_entropy ----
 * l = (1 - e) w[t] (L - x[t]) + e/c sum_j w[j] (L - x[j]), L = log sum_j exp(x[j]) = m + log s.
 * Slots: x, target, w, y, slope saved: (n, c, d) where dim[6] says that it is wanted, else empty.
 * f: e.  m = max_j x[j] and s are kept apart: their sum would lose the small term beside large
 * scores.
 *
 * The slope is that of y along x, without reduction that of each l.  It is written while a row's
 * scores are in the cache, so that backward only multiplies by what comes in: where it lies if its
 * memory has become that of the gradient, and then not at all if that is 1. */

/* Of the rows of a group: m, s, and where exp(x[j] - m) lies: row k of class j at e + j step + k,
 * or, step = 1, at e + k c + j.  NULL where no slope is wanted. */
typedef struct {
    float m[CLASS_ROWS], s[CLASS_ROWS];
    float *e;
    int64_t step;
} class_exps;

/* Rows one after the other. */
static void class_exps_of_lines(const float *x, int64_t classes, int rows, class_exps *v)
{
    for (int k = 0; k < rows; k++, x += classes) {
        v->m[k] = fold_run(FOLD_MAX, x, classes, 0);
        v->s[k] = v->e ? fold_run_into(FOLD_EXP, x, classes, v->m[k], v->e + k * classes)
                       : fold_run(FOLD_EXP, x, classes, v->m[k]);
    }
}

/* Rows side by side, from class to class `step` in x. */
static void class_exps_of_columns(const float *x, int64_t step, int64_t classes, int rows,
                                  class_exps *v)
{
    fold_rows(FOLD_MAX, x, classes, step, rows, NULL, v->m, 0);
    if (!v->e) {
        fold_rows(FOLD_EXP, x, classes, step, rows, v->m, v->s, 0);
        return;
    }
    memset(v->s, 0, (size_t)rows * sizeof *v->s);
    for (int64_t j = 0; j < classes; j++)
        for (int k = 0; k < rows; k += FNN_LANES) {
            const int n = lanes_of(rows - k);
            const vf e = fold_take(FOLD_EXP, x + j * step + k, n, vf_get(v->m + k, n),
                                   v->e + j * v->step + k);
            vf_put(v->s + k, vf_add(vf_get(v->s + k, n), e), n);
        }
}

/* Folds take an infinite m for 0; here it makes s NaN, as exp(inf - inf) is.  Short rows and columns
 * that fit the scratch are brought there first: memory is then read once, and in one piece. */
static void class_softmax(const fnn_call *c, const class_group *g, float *stage, class_exps *v)
{
    const int64_t classes = c->dim[1];
    const float *x = (const float *)c->buf[0] + g->at;
    const int brief = g->step == 1 && classes <= FOLD_SHORT;
    v->e = c->dim[6] ? (float *)c->buf[4] + g->at : NULL;
    v->step = g->step;
    if (g->step == 1 && !brief) {
        class_exps_of_lines(x, classes, g->rows, v);
    } else if (brief || classes * CLASS_STAGE <= FNN_LOCAL_BYTES / (int64_t)sizeof(float)) {
        const int64_t step = brief ? FNN_LANES : CLASS_STAGE;
        if (brief) turn_rows(x, g->rows, classes, (short_rows *)stage);
        else
            for (int64_t j = 0; j < classes; j++)
                memcpy(stage + j * step, x + j * g->step, (size_t)g->rows * sizeof *x);
        if (v->e) v->e = stage, v->step = step;
        class_exps_of_columns(stage, step, classes, brief ? FNN_LANES : g->rows, v);
    } else {
        class_exps_of_columns(x, g->step, classes, g->rows, v);
    }
    for (int k = 0; k < g->rows; k++) v->s[k] += v->m[k] - v->m[k];
}

/* sum_j w[j] (m - x[j]) of rows k .. k + rows - 1 */
static vf class_smooth(const fnn_call *c, const class_group *g, int k, int rows, const float *m)
{
    const int64_t classes = c->dim[1];
    const float *x = (const float *)c->buf[0] + g->at + k * g->next;
    const float *w = c->dim[5] ? c->buf[2] : NULL;
    const vf one = vf_set1(1.0f);
    if (g->step != 1) {
        const vf max = vf_get(m, rows);
        vf sum = vf_zero();
        for (int64_t j = 0; j < classes; j++) {
            const vf low = vf_sub(max, vf_get(x + j * g->step, rows));
            sum = vf_fma(w ? vf_set1(w[j]) : one, low, sum);
        }
        return sum;
    }
    float sums[FNN_LANES] = {0};
    for (int i = 0; i < rows; i++, x += classes) {
        vf sum = vf_zero();
        for (int64_t j = 0; j < classes; j += FNN_LANES) {
            const int n = lanes_of(classes - j);
            const vf low = vf_sub(vf_set1(m[i]), vf_get(x + j, n));
            const vf term = vf_mul(w ? vf_get(w + j, n) : one, low);
            sum = vf_add(sum, vf_sel(vm_first(n), term, vf_zero()));
        }
        sums[i] = vf_hsum(sum);
    }
    return vf_load(sums);
}

/* sum_j w[j] */
static inline float class_weight_sum(const fnn_call *c)
{
    return c->dim[5] ? fold_run(FOLD_SUM, c->buf[2], c->dim[1], 0) : (float)c->dim[1];
}

/* The losses of a group: their sum in each lane, and to y without reduction. */
static vf class_losses(const fnn_call *c, const class_group *g, const class_targets *r,
                       const class_exps *v, float all)
{
    const float e = c->f[0];
    vf sum = vf_zero();
    CLASS_VECTORS(*g, k, n,
        const vf log_s = vf_log(vf_get(v->s + k, n));
        const vf above = vf_sub(vf_get(v->m + k, n), vf_get(r->picked + k, n));
        vf l = vf_mul(vf_get(r->weight + k, n), vf_add(above, log_s));
        if (e > 0) {
            const vf even = vf_fma(vf_set1(all), log_s, class_smooth(c, g, k, n, v->m + k));
            l = vf_fma(vf_set1(e / (float)c->dim[1]), even, vf_mul(vf_set1(1 - e), l));
        }
        l = vf_sel(class_live(r, k, n), l, vf_zero());
        if (c->dim[3] == LOSS_NONE) vf_put((float *)c->buf[3] + g->row + k, l, n);
        sum = vf_add(sum, l);)
    return sum;
}

/* slope[j] = e[j] scale - w[j] shift, for a row that does not count 0. */
typedef struct { float scale[CLASS_ROWS], shift[CLASS_ROWS], hit[CLASS_ROWS]; } class_factors;

VEC void class_slope_at(vf e, float *slope, int n, vf scale, vf shift, vf w, vm live)
{
    vf_put(slope, vf_sel(live, vf_fnma(w, shift, vf_mul(e, scale)), vf_zero()), n);
}

static void class_slope_lines(const class_exps *v, const class_factors *f, const class_targets *r,
                              const float *w, int64_t classes, int rows, float *slope)
{
    for (int k = 0; k < rows; k++, slope += classes) {
        const float *e = v->e + k * classes;
        const vf scale = vf_set1(f->scale[k]), shift = vf_set1(f->shift[k]);
        const vm live = vf_ne(vf_set1(r->live[k]), vf_zero());
        for (int64_t j = 0; j < classes; j += FNN_LANES) {
            const int n = lanes_of(classes - j);
            class_slope_at(vf_get(e + j, n), slope + j, n, scale, shift,
                           w ? vf_get(w + j, n) : vf_set1(1.0f), live);
        }
    }
}

static void class_slope_columns(const class_exps *v, const class_factors *f, const class_targets *r,
                                const float *w, int64_t classes, int rows, float *slope,
                                int64_t step)
{
    for (int64_t j = 0; j < classes; j++)
        for (int k = 0; k < rows; k += FNN_LANES) {
            const int n = lanes_of(rows - k);
            class_slope_at(vf_get(v->e + j * v->step + k, n), slope + j * step + k, n,
                           vf_get(f->scale + k, n), vf_get(f->shift + k, n),
                           vf_set1(w ? w[j] : 1), class_live(r, k, n));
        }
}

/* dl ((1 - e) w[t] (p[j] - [j = t]) + e/c (p[j] sum w - w[j])), p = exp(x - m) / s, dl = unit. */
static void class_slopes(const fnn_call *c, const class_group *g, const class_targets *r,
                         const class_exps *v, float all, float unit)
{
    const int64_t classes = c->dim[1];
    const float e = c->f[0], *w = c->dim[5] && e > 0 ? c->buf[2] : NULL;
    float *slope = c->buf[4];
    class_factors f;
    CLASS_VECTORS(*g, k, n,
        const vf own = vf_mul(vf_get(r->weight + k, n), vf_set1((1 - e) * unit));
        const vf even = vf_set1(e / (float)classes * unit);
        vf_put(f.hit + k, own, n);
        vf_put(f.shift + k, even, n);
        vf_put(f.scale + k, vf_div(vf_fma(even, vf_set1(all), own), vf_get(v->s + k, n)), n);)
    if (g->step != 1) {
        class_slope_columns(v, &f, r, w, classes, g->rows, slope + g->at, g->step);
    } else if (v->step == 1) {
        class_slope_lines(v, &f, r, w, classes, g->rows, slope + g->at);
    } else {
        class_slope_columns(v, &f, r, w, classes, g->rows, v->e, v->step);
        turn_back((const short_rows *)v->e, g->rows, classes, slope + g->at);
    }
    for (int k = 0; k < g->rows; k++)
        if (r->at[k] >= 0) slope[r->at[k]] -= f.hit[k];
}

static void cross_entropy_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t groups = class_groups(c->dim), parts = loss_parts(groups, 1);
    const float total = c->dim[3] == LOSS_MEAN ? class_total(c, s) : 0;
    const float unit = class_unit(c, total);
    const float all = c->f[0] > 0 ? class_weight_sum(c) : 0;
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        vf loss = vf_zero();
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(c->dim, t);
            class_targets r;
            class_exps v;
            class_read(c, &g, &r);
            class_softmax(c, &g, s->local, &v);
            loss = vf_add(loss, class_losses(c, &g, &r, &v, all));
            if (c->dim[6]) class_slopes(c, &g, &r, &v, all, unit);
        }
        s->shared[p] = vf_hsum(loss);
    }
    class_reduce(c, s, parts, total);
}

VEC void class_scaled(const float *slope, vf by, float *dx, int n, int acc)
{
    const vf v = vf_mul(vf_get(slope, n), by);
    vf_put(dx, acc ? vf_add(vf_get(dx, n), v) : v, n);
}

/* dx = slope dl of each row of a group. */
static void class_scale_group(const fnn_call *c, const class_group *g)
{
    const int64_t classes = c->dim[1];
    const float *slope = (const float *)c->buf[4] + g->at;
    float *dx = c->grad[0] + g->at, dl[CLASS_ROWS];
    const int acc = c->acc & 1;
    class_targets r;
    class_read(c, g, &r);
    CLASS_VECTORS(*g, k, n, vf_put(dl + k, class_upstream(c, g, &r, k, n, 1), n);)
    if (g->step == 1) {
        for (int k = 0; k < g->rows; k++, slope += classes, dx += classes)
            for (int64_t j = 0; j < classes; j += FNN_LANES)
                class_scaled(slope + j, vf_set1(dl[k]), dx + j, lanes_of(classes - j), acc);
        return;
    }
    for (int64_t j = 0; j < classes; j++, slope += g->step, dx += g->step)
        CLASS_VECTORS(*g, k, n, class_scaled(slope + k, vf_get(dl + k, n), dx + k, n, acc);)
}

/* dx = slope dy */
static void cross_entropy_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, size = d[0] * d[1] * d[2];
    const float *slope = c->buf[4], dy = d[3] == LOSS_NONE ? 0 : *c->grad[3];
    float *dx = c->grad[0];
    const int acc = c->acc & 1;
    (void)s;
    if (d[3] == LOSS_NONE) {
        FNN_FOR
        for (int64_t t = 0; t < class_groups(d); t++) {
            const class_group g = class_group_at(d, t);
            class_scale_group(c, &g);
        }
    } else if (dx != slope || dy != 1) {
        FOR_VECTORS(size, i)
            class_scaled(slope + i, vf_set1(dy), dx + i, lanes_of(size - i), acc);
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
    *w = c->dim[3] ? vf_get((const float *)c->buf[2] + j, n) : vf_set1(1.0f);
    return vf_sel(vm_first(n), vf_mul(vf_fma(vf_get(t + j, n), keep, even), *w), vf_zero());
}

/* The loss of one row; stats = m, s, S, each n apart. */
static float soft_row(const fnn_call *c, int64_t row, float *stats)
{
    const int64_t n_rows = c->dim[0], classes = c->dim[1];
    const float *x = (const float *)c->buf[0] + row * classes;
    const float m = fold_run(FOLD_MAX, x, classes, 0);
    const float s = fold_run(FOLD_EXP, x, classes, m) + (m - m);
    const vf max = vf_set1(m), log_s = vf_log(vf_set1(s));
    vf loss = vf_zero(), all = vf_zero(), w;
    for (int64_t j = 0; j < classes; j += FNN_LANES) {
        const int n = lanes_of(classes - j);
        const vf q = soft_target(c, row, j, n, &w);
        const vf surprise = vf_add(vf_sub(max, vf_get(x + j, n)), log_s);
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
        const int n = lanes_of(classes - j);
        vf w, q = soft_target(c, row, j, n, &w), low = vf_sub(max, vf_get(x + j, n)), v;
        if (slot == 0) v = vf_sub(vf_mul(vf_exp(vf_neg(low)), scale), q);
        else v = vf_mul(vf_mul(keep, w), vf_add(low, log_s));
        v = vf_mul(v, g);
        if (c->acc >> slot & 1) v = vf_add(vf_get(dx + j, n), v);
        vf_put(dx + j, v, n);
    }
}

static void soft_cross_entropy_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0], mode = c->dim[2], parts = loss_parts(n, 16);
    const float *dy = c->grad[3], divisor = mode == LOSS_MEAN ? (float)n : 1;
    (void)s;
    for (int slot = 0; slot < 2; slot++) {
        if (!c->grad[slot]) continue;
        FNN_FOR
        for (int64_t p = 0; p < parts; p++)
            for (int64_t i = n * p / parts; i < n * (p + 1) / parts; i++)
                soft_slope(c, i, mode == LOSS_NONE ? dy[i] : *dy / divisor, slot);
    }
}

#endif
