/*
 * op_cross_entropy.h: losses of class scores, x: (n, c, d), target: (n, d) int64, w: (c) or absent.
 *
 * dim: n, c, d, mode, ignored target, has_w.  A row is the c scores of one target.  Rows are taken
 * in groups: where d = 1 sixteen that follow each other in memory, else columns side by side.
 * Targets outside 0 .. c - 1 were refused before; that they are skipped here too keeps memory safe
 * from a caller who changes them meanwhile.
 */
#ifndef FNN_OP_CROSS_ENTROPY_H
#define FNN_OP_CROSS_ENTROPY_H

#include "op_loss.h"

#define CLASS_ROWS 256        /* in a group of columns: lines come in runs of 1 KB */
#define CLASS_STAGE 272       /* from class to class in scratch: a power of two crowds cache sets */

typedef struct {
    int64_t row, at, step, next;      /* first row, its first score; to the next class, next row */
    int rows;
} class_group;

static inline int class_group_rows(const int64_t *d) { return d[2] == 1 ? FNN_LANES : CLASS_ROWS; }

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
        const int live = t != c->dim[4] && (uint64_t)t < (uint64_t)c->dim[1];
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

/* The reduced loss and the weight it was divided by, from parts (loss, weight); of no weight, 0. */
static void class_reduce(const fnn_call *c, const fnn_scratch *s, int64_t parts, float *y,
                         float *total)
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

/* The gradient that reaches the losses of rows k .. k + n - 1, 0 where they do not count. */
VEC vf class_upstream(const fnn_call *c, int64_t row, vm live, int n, const float *dy, float total)
{
    vf g = vf_set1(c->dim[3] == LOSS_MEAN ? (total == 0 ? 0 : *dy / total) : *dy);
    if (c->dim[3] == LOSS_NONE) g = vf_get(dy + row, n);
    return vf_sel(live, g, vf_zero());
}

/* ---- nll_loss ---- l = -w[t] x[t].  Slots: x, target, w, y, total weight (1) saved. */

static void nll_loss_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t groups = class_groups(c->dim), parts = loss_parts(groups, 1);
    float *y = c->buf[3];
    FNN_FOR
    for (int64_t p = 0; p < parts; p++) {
        vf loss = vf_zero(), weight = vf_zero();
        for (int64_t t = groups * p / parts; t < groups * (p + 1) / parts; t++) {
            const class_group g = class_group_at(c->dim, t);
            class_targets r;
            class_read(c, &g, &r);
            CLASS_VECTORS(g, k, n,
                const vf w = vf_get(r.weight + k, n);
                const vf l = vf_neg(vf_mul(w, vf_get(r.picked + k, n)));
                if (c->dim[3] == LOSS_NONE) vf_put(y + g.row + k, l, n);
                loss = vf_add(loss, l);
                weight = vf_add(weight, w);)
        }
        s->shared[2 * p] = vf_hsum(loss);
        s->shared[2 * p + 1] = vf_hsum(weight);
    }
    class_reduce(c, s, parts, y, c->buf[4]);
}

/* dx = 0 but for dx[t] = -w[t] dl */
static void nll_loss_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim, groups = class_groups(d), parts = loss_parts(groups, 1);
    const float total = *(const float *)c->buf[4], *dy = c->grad[3];
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
                const vf dl = class_upstream(c, g.row + k, class_live(&r, k, n), n, dy, total);
                vf_put(hit + k, vf_mul(vf_get(r.weight + k, n), dl), n);)
            for (int k = 0; k < g.rows; k++)
                if (r.at[k] >= 0) dx[r.at[k]] -= hit[k];
        }
}

/* ---- cross_entropy ----
 * l = (1 - e) w[t] (L - x[t]) + e/c sum_j w[j] (L - x[j]), L = log sum_j exp(x[j]) = m + log s.
 * Slots: x, target, w, y, m and s (2, rows) saved, total weight (1) saved.  f: e.
 * m = max_j x[j] and s are kept apart: their sum would lose the small term beside large scores. */

/* m and s of columns side by side, read from memory once if they fit the scratch. */
static void class_max_sum_columns(const float *x, int64_t classes, const class_group *g, float *m,
                                  float *s, float *stage)
{
    const int staged = classes <= FNN_LOCAL_BYTES / (int64_t)sizeof(float) / CLASS_STAGE;
    CLASS_VECTORS(*g, k, n, vf_put(m + k, vf_set1(-INFINITY), n);)
    for (int64_t j = 0; j < classes; j++)
        CLASS_VECTORS(*g, k, n,
            const vf v = vf_get(x + j * g->step + k, n);
            if (staged) vf_put(stage + j * CLASS_STAGE + k, v, n);
            vf_put(m + k, vf_max(vf_get(m + k, n), v), n);)
    if (staged) fold_rows(FOLD_EXP, stage, classes, CLASS_STAGE, g->rows, m, s, 0);
    else fold_rows(FOLD_EXP, x, classes, g->step, g->rows, m, s, 0);
}

/* m and s of a group; folds take an infinite m for 0, here it makes s NaN, as exp(inf - inf) is. */
static inline void class_max_sum(const float *x, int64_t classes, const class_group *g, float *m,
                                 float *s, float *stage)
{
    x += g->at;
    if (g->step != 1) class_max_sum_columns(x, classes, g, m, s, stage);
    else
        for (int k = 0; k < g->rows; k++, x += classes) {
            m[k] = fold_run(FOLD_MAX, x, classes, 0);
            s[k] = fold_run(FOLD_EXP, x, classes, m[k]);
        }
    for (int k = 0; k < g->rows; k++) s[k] += m[k] - m[k];
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
            class_targets r;
            class_max_sum(c->buf[0], d[1], &g, max + g.row, sum + g.row, s->local);
            class_read(c, &g, &r);
            CLASS_VECTORS(g, k, n,
                const float *m = max + g.row + k;
                const vf w = vf_get(r.weight + k, n);
                const vf log_s = vf_log(vf_get(sum + g.row + k, n));
                const vf above = vf_sub(vf_get(m, n), vf_get(r.picked + k, n));
                vf l = vf_mul(w, vf_add(above, log_s));
                if (e > 0) {
                    const vf even = vf_fma(vf_set1(all), log_s, class_smooth(c, &g, k, n, m));
                    l = vf_fma(vf_set1(e / (float)d[1]), even, vf_mul(vf_set1(1 - e), l));
                }
                l = vf_sel(class_live(&r, k, n), l, vf_zero());
                if (d[3] == LOSS_NONE) vf_put(y + g.row + k, l, n);
                loss = vf_add(loss, l);
                weight = vf_add(weight, w);)
        }
        s->shared[2 * p] = vf_hsum(loss);
        s->shared[2 * p + 1] = vf_hsum(weight);
    }
    class_reduce(c, s, parts, y, c->buf[5]);
}

/* dx[j] = exp(x[j] - m) scale - w[j] shift for the rows of a group; 0 for those that do not count.
 * Without smoothing shift is not looked at. */
typedef struct {
    const float *m, *live;
    float scale[CLASS_ROWS], shift[CLASS_ROWS];
    int smooth, acc;
} class_slope;

VEC void class_slope_at(const class_slope *r, const float *x, float *dx, int n, vf m, vf scale,
                        vf shift, vf w, vm live)
{
    vf v = vf_mul(vf_exp(vf_sub(vf_get(x, n), m)), scale);
    if (r->smooth) v = vf_fnma(w, shift, v);
    v = vf_sel(live, v, vf_zero());
    if (r->acc) v = vf_add(vf_get(dx, n), v);
    vf_put(dx, v, n);
}

static void class_slope_columns(const class_slope *r, const float *x, float *dx, const float *w,
                                int64_t classes, const class_group *g)
{
    for (int64_t j = 0; j < classes; j++, x += g->step, dx += g->step) {
        const vf weight = vf_set1(w ? w[j] : 1);
        CLASS_VECTORS(*g, k, n,
            const vm live = vf_ne(vf_get(r->live + k, n), vf_zero());
            class_slope_at(r, x + k, dx + k, n, vf_get(r->m + k, n), vf_get(r->scale + k, n),
                           vf_get(r->shift + k, n), weight, live);)
    }
}

static void class_slope_rows(const class_slope *r, const float *x, float *dx, const float *w,
                             int64_t classes, const class_group *g)
{
    for (int k = 0; k < g->rows; k++, x += classes, dx += classes) {
        const vf m = vf_set1(r->m[k]), scale = vf_set1(r->scale[k]), shift = vf_set1(r->shift[k]);
        const vm live = vf_ne(vf_set1(r->live[k]), vf_zero());
        for (int64_t j = 0; j < classes; j += FNN_LANES) {
            const int n = lanes_of(classes - j);
            const vf weight = w ? vf_get(w + j, n) : vf_set1(1.0f);
            class_slope_at(r, x + j, dx + j, n, m, scale, shift, weight, live);
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
            class_targets r;
            class_slope slope;
            float hit[CLASS_ROWS];
            class_read(c, &g, &r);
            CLASS_VECTORS(g, k, n,
                const vm live = class_live(&r, k, n);
                const vf dl = class_upstream(c, g.row + k, live, n, c->grad[3], total);
                const vf own = vf_mul(vf_mul(vf_get(r.weight + k, n), vf_set1(1 - e)), dl);
                const vf even = vf_mul(dl, vf_set1(e / (float)d[1]));
                const vf both = vf_fma(even, all, own);
                vf_put(hit + k, own, n);
                vf_put(slope.shift + k, even, n);
                vf_put(slope.scale + k, vf_div(both, vf_get(sum + g.row + k, n)), n);)
            slope.m = max + g.row, slope.live = r.live;
            slope.smooth = e > 0, slope.acc = c->acc & 1;
            if (g.step == 1) class_slope_rows(&slope, x + g.at, dx + g.at, w, d[1], &g);
            else class_slope_columns(&slope, x + g.at, dx + g.at, w, d[1], &g);
            for (int k = 0; k < g.rows; k++)
                if (r.at[k] >= 0) dx[r.at[k]] -= hit[k];
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
