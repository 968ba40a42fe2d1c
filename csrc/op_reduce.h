/*
 * op_reduce.h: one axis made into a number.  The folds themselves are in sums.h.
 *
 * Every record has dim: outer, n, inner.  x: (outer, n, inner), y: (outer, inner).
 */
#ifndef FNN_OP_REDUCE_H
#define FNN_OP_REDUCE_H

#include "elementwise.h"

static inline fold fold_of(const fnn_call *c, const float *p, float *out)
{
    return (fold){.x = c->buf[0], .p = p, .out = out,
                  .outer = c->dim[0], .n = c->dim[1], .inner = c->dim[2]};
}

/* Up to FOLD_COLS columns of one outer index: where they begin in x and in y. */
typedef struct { int64_t x, y, cols; } strip;

static inline int64_t strips_of(const int64_t *d)
{
    return d[0] * ((d[2] + FOLD_COLS - 1) / FOLD_COLS);
}

static inline strip strip_at(const int64_t *d, int64_t t)
{
    const int64_t blocks = (d[2] + FOLD_COLS - 1) / FOLD_COLS, o = t / blocks;
    const int64_t j = t % blocks * FOLD_COLS;
    return (strip){o * d[1] * d[2] + j, o * d[2] + j, smaller(d[2] - j, FOLD_COLS)};
}

/* ---- gradients of folds: each element of x from its own value and those of its output ---- */

/* a times the derivative of the fold's map; for maxima, a where x is the extreme. */
VEC vf spread_map(int kind, vf x, vf a, vf p)
{
    switch (kind) {
    case FOLD_SQUARES: return vf_mul(a, vf_sub(x, p));     /* the factor 2 is in a */
    case FOLD_EXP: return vf_mul(a, vf_exp(vf_sub(x, vf_finite_or_zero(p))));
    case FOLD_HITS: return vf_sel(vf_same(x, p), a, vf_zero());
    default: return a;
    }
}

VEC void spread_store(int kind, const float *x, vf a, vf p, float *dx, int n, int acc)
{
    const vf g = spread_map(kind, kind == FOLD_SUM ? a : vf_get(x, n), a, p);
    vf_put(dx, acc ? vf_add(vf_get(dx, n), g) : g, n);
}

/* dx[i] (+)= spread_map(x[i], a, p) for n neighbours. */
VEC void spread_run(int kind, const float *x, int64_t n, float a, float p, float *dx, int acc)
{
    const vf va = vf_set1(a), vp = vf_set1(p);
    for (int64_t i = 0; i < n; i += FNN_LANES)
        spread_store(kind, x + i, va, vp, dx + i, lanes_of(n - i), acc);
}

/* dx[i][j] (+)= spread_map(x[i][j], a[j], p[j]) for rows of `cols` columns, inner apart. */
VEC void spread_rows(int kind, const float *x, int64_t rows, int64_t inner, int64_t cols,
                     const float *a, const float *p, float *dx, int acc)
{
    for (int64_t i = 0; i < rows; i++, x = x ? x + inner : NULL, dx += inner)
        for (int64_t j = 0; j < cols; j += FNN_LANES) {
            const int n = lanes_of(cols - j);
            const vf vp = p ? vf_get(p + j, n) : vf_zero();
            spread_store(kind, x + j, vf_get(a + j, n), vp, dx + j, n, acc);
        }
}

/* The whole team.  a, p: (outer, inner).  A task is a batch of lines, or rows of one outer index. */
VEC void spread_axis(int kind, const fnn_call *c, const float *a, const float *p)
{
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2];
    const int acc = c->acc & 1;
    const float *x = c->buf[0];
    float *dx = c->grad[0];
    const int64_t step = fold_step(n, inner), chunks = (n + step - 1) / step;
    if (inner == 1) {
        FNN_FOR
        for (int64_t t = 0; t < outer * chunks; t++) {
            const int64_t o = chunks == 1 ? t : t / chunks, lo = (t - o * chunks) * step;
            spread_run(kind, x ? x + o * n + lo : NULL, smaller(step, n - lo), a[o], p ? p[o] : 0.0f,
                       dx + o * n + lo, acc);
        }
        return;
    }
    FNN_FOR
    for (int64_t t = 0; t < outer * chunks; t++) {
        const int64_t o = t / chunks, lo = t % chunks * step, at = (o * n + lo) * inner;
        spread_rows(kind, x ? x + at : NULL, smaller(step, n - lo), inner, inner, a + o * inner,
                    p ? p + o * inner : NULL, dx + at, acc);
    }
}

/* ---- sum ---- y = sum of x over the axis / f[0]: a sum, or a mean where f[0] = n. */

static inline void divide(float *y, int64_t n, float by)
{
    if (by != 1.0f)
        FOR_VECTORS(n, i) {
            const int k = lanes_of(n - i);
            vf_put(y + i, vf_div(vf_get(y + i, k), vf_set1(by)), k);
        }
}

static void sum_fwd(const fnn_call *c, const fnn_scratch *s)
{
    axis_sums(c->buf[0], c->dim[0], c->dim[1], c->dim[2], c->buf[1], 0, s);
    divide(c->buf[1], c->dim[0] * c->dim[2], c->f[0]);
}

/* dx = dy / f[0] */
static void sum_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    divide(c->grad[1], c->dim[0] * c->dim[2], c->f[0]);
    spread_axis(FOLD_SUM, c, c->grad[1], NULL);
}

/* ---- sum_int ---- y = sum of integers or of bytes.  y: int64.  dim[3]: bytes of an x, 1 or 8. */

static void sum_int_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t n = c->dim[1], inner = c->dim[2];
    FNN_FOR
    for (int64_t t = 0; t < strips_of(c->dim); t++) {
        const strip at = strip_at(c->dim, t);
        const int64_t *x = (const int64_t *)c->buf[0] + at.x, cols = at.cols;
        const uint8_t *bytes = (const uint8_t *)c->buf[0] + at.x;
        uint64_t sum[FOLD_COLS] = {0};
        if (inner == 1 && c->dim[3] == 8)
            for (int64_t i = 0; i < n; i++) sum[0] += (uint64_t)x[i];
        else if (inner == 1)
            for (int64_t i = 0; i < n; i++) sum[0] += bytes[i];
        else if (c->dim[3] == 8)
            for (int64_t i = 0; i < n; i++)
                for (int64_t k = 0; k < cols; k++) sum[k] += (uint64_t)x[i * inner + k];
        else
            for (int64_t i = 0; i < n; i++)
                for (int64_t k = 0; k < cols; k++) sum[k] += bytes[i * inner + k];
        memcpy((int64_t *)c->buf[1] + at.y, sum, (size_t)cols * sizeof *sum);
    }
}

/* ---- amax, amin ---- y = the extreme.  NaN wins. */

static void amax_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const fold f = fold_of(c, NULL, c->buf[1]);
    fold_axis(FOLD_MAX, &f, s);
}

/* dx = dy shared evenly by the elements that are the extreme. */
static void amax_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t n = c->dim[1], inner = c->dim[2];
    FNN_FOR
    for (int64_t t = 0; t < strips_of(c->dim); t++) {
        const strip at = strip_at(c->dim, t);
        const int cols = (int)at.cols;
        const float *x = (const float *)c->buf[0] + at.x, *y = (const float *)c->buf[1] + at.y;
        float *dy = c->grad[1] + at.y, *dx = c->grad[0] + at.x, hits[FOLD_COLS];
        if (inner == 1)
            hits[0] = fold_run(FOLD_HITS, x, n, *y);
        else
            fold_rows(FOLD_HITS, x, n, inner, cols, y, hits, 0);
        for (int k = 0; k < cols; k++) dy[k] /= hits[k];
        if (inner == 1)
            spread_run(FOLD_HITS, x, n, *dy, *y, dx, c->acc & 1);
        else
            spread_rows(FOLD_HITS, x, n, inner, cols, dy, y, dx, c->acc & 1);
    }
}

static void amin_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const fold f = fold_of(c, NULL, c->buf[1]);
    fold_axis(FOLD_MIN, &f, s);
}

static void amin_bwd(const fnn_call *c, const fnn_scratch *s) { amax_bwd(c, s); }

/* ---- max, min ---- y = the extreme, and where it is first: i (outer, inner) int64.  NaN wins. */

/* The first of n neighbours that equals y. */
static inline int64_t first_hit(const float *x, int64_t n, float y)
{
    for (int64_t i = 0; i < n; i += FNN_LANES) {
        const int left = lanes_of(n - i);
        const vm hit = vm_and(vm_first(left), vf_same(vf_get(x + i, left), vf_set1(y)));
        uint8_t lane[FNN_LANES];
        uint64_t word[2];
        vm_store_u8(lane, hit);
        memcpy(word, lane, sizeof word);
        if (word[0] | word[1])
            for (int k = 0;; k++)
                if (lane[k]) return i + k;
    }
    return 0;
}

/* y, at = x, i in the lanes where x is more extreme than y.  NaN is, and stays so. */
VEC void extreme_next(int kind, vf x, vi i, vf *y, vi *at)
{
    const vm worse = kind == FOLD_MAX ? vf_le(x, *y) : vf_ge(x, *y);
    const vm next = vm_and(vm_not(worse), vf_eq(*y, *y));
    *y = vf_sel(next, x, *y);
    *at = vi_sel(next, i, *at);
}

VEC void store_places(int64_t *index, vi at, int n)
{
    int32_t place[FNN_LANES];
    vi_store(place, at);
    for (int k = 0; k < n; k++) index[k] = place[k];
}

/* Short rows, one in each lane.  x: (rows, n), rows <= 16, n <= FOLD_SHORT. */
VEC void extreme_short(int kind, const float *x, int rows, int64_t n, float *y, int64_t *index)
{
    short_rows t;
    turn_rows(x, rows, n, &t);
    vf best = fold_start(kind);
    vi at = vi_set1(0);
    for (int64_t j = 0; j < n; j++)
        extreme_next(kind, vf_load(t.column[j]), vi_set1((int32_t)j), &best, &at);
    vf_put(y, best, rows);
    store_places(index, at, rows);
}

/* Columns side by side, `step` from row to row, read as in fold_rows; cols <= FOLD_COLS * 4. */
VEC void extreme_columns(int kind, const float *x, int64_t n, int64_t step, int cols, float *y,
                         int64_t *index)
{
    int32_t place[4 * FOLD_COLS + FNN_LANES] = {0};
    for (int j = 0; j < cols; j += FNN_LANES)
        vf_put(y + j, vf_get(x + j, lanes_of(cols - j)), lanes_of(cols - j));
    for (int64_t i = 1; i < n; i += 4) {
        const int left = (int)smaller(4, n - i);
        for (int j = 0; j < cols; j += FNN_LANES) {
            const int m = lanes_of(cols - j);
            vf best = vf_get(y + j, m);
            vi at = vi_load(place + j);
            for (int k = 0; k < left; k++)
                extreme_next(kind, vf_get(x + (i + k) * step + j, m), vi_set1((int32_t)(i + k)), &best,
                             &at);
            vf_put(y + j, best, m);
            vi_store(place + j, at);
        }
    }
    for (int j = 0; j < cols; j++) index[j] = place[j];
}

/* Extremes and their places in one pass over memory, but for lines too long for the cache. */
VEC void extremes(int kind, const fnn_call *c, const fnn_scratch *s)
{
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2];
    const float *x = c->buf[0];
    float *y = c->buf[1];
    int64_t *index = c->buf[2];
    if (inner != 1) {
        const int64_t width = smaller(fold_width(inner, outer), 4 * FOLD_COLS);
        const int64_t blocks = (inner + width - 1) / width;
        FNN_FOR
        for (int64_t t = 0; t < outer * blocks; t++) {
            const int64_t o = t / blocks, j = t % blocks * width, at = o * inner + j;
            extreme_columns(kind, x + o * n * inner + j, n, inner, (int)smaller(inner - j, width),
                            y + at, index + at);
        }
    } else if (n <= FOLD_SHORT) {
        FNN_FOR
        for (int64_t t = 0; t < (outer + FNN_LANES - 1) / FNN_LANES; t++) {
            const int64_t o = t * FNN_LANES;
            extreme_short(kind, x + o * n, lanes_of(outer - o), n, y + o, index + o);
        }
    } else {
        const int once = n > FOLD_RUN;
        const fold f = fold_of(c, NULL, y);
        if (once) fold_axis(kind, &f, s);
        FNN_FOR
        for (int64_t o = 0; o < outer; o++) {
            if (!once) y[o] = fold_run(kind, x + o * n, n, 0.0f);
            index[o] = first_hit(x + o * n, n, y[o]);
        }
    }
}

static void max_fwd(const fnn_call *c, const fnn_scratch *s) { extremes(FOLD_MAX, c, s); }

/* dx = dy at the index, else 0. */
static void max_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2];
    const int64_t *index = c->buf[2];
    const float *dy = c->grad[1];
    FNN_FOR
    for (int64_t o = 0; o < outer; o++) {
        float *dx = c->grad[0] + o * n * inner;
        if (!(c->acc & 1)) memset(dx, 0, sizeof *dx * (size_t)(n * inner));
        if (dy)
            for (int64_t j = 0; j < inner; j++)
                dx[index[o * inner + j] * inner + j] += dy[o * inner + j];
    }
}

static void min_fwd(const fnn_call *c, const fnn_scratch *s) { extremes(FOLD_MIN, c, s); }

static void min_bwd(const fnn_call *c, const fnn_scratch *s) { max_bwd(c, s); }

/* ---- var ----
 * y = sum of (x - mean)^2 / f[0], or its root if dim[3].  Saved: mean (outer, inner).
 * The mean is summed as a distance from the row's first element, so that a mean far from 0 costs
 * no digits. */

/* The same line by line: what a line's mean brought into the cache, its squares find there. */
static void var_lines(const fnn_call *c)
{
    const int64_t n = c->dim[1];
    const float *x = c->buf[0];
    float *y = c->buf[1], *mean = c->buf[2];
    FNN_FOR
    for (int64_t o = 0; o < c->dim[0]; o++) {
        const float *line = x + o * n;
        mean[o] = *line + fold_run(FOLD_DIFFS, line, n, *line) / (float)n;
        const float v = fold_run(FOLD_SQUARES, line, n, mean[o]) / c->f[0];
        y[o] = c->dim[3] ? __builtin_sqrtf(v) : v;
    }
}

static void var_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[1], inner = c->dim[2], size = c->dim[0] * inner;
    const float *x = c->buf[0];
    float *y = c->buf[1], *mean = c->buf[2];
    if (inner == 1 && n > FOLD_SHORT && n <= FOLD_RUN) {
        var_lines(c);
        return;
    }
    FNN_FOR
    for (int64_t i = 0; i < size; i++) mean[i] = x[i / inner * n * inner + i % inner];
    fold f = fold_of(c, mean, y);
    fold_axis(FOLD_DIFFS, &f, s);
    FOR_VECTORS(size, i) {
        const int k = lanes_of(size - i);
        const vf shift = vf_div(vf_get(y + i, k), vf_set1((float)n));
        vf_put(mean + i, vf_add(vf_get(mean + i, k), shift), k);
    }
    fold_axis(FOLD_SQUARES, &f, s);
    FOR_VECTORS(size, i) {
        const int k = lanes_of(size - i);
        const vf v = vf_div(vf_get(y + i, k), vf_set1(c->f[0]));
        vf_put(y + i, c->dim[3] ? vf_sqrt(v) : v, k);
    }
}

/* g / root, and 0 where root = 0 */
VEC vf over_root(vf g, vf root)
{
    return vf_sel(vf_eq(root, vf_zero()), vf_zero(), vf_div(g, root));
}

/* dx = dy 2 (x - mean) / f[0]; of the root, dy (x - mean) / (f[0] y), and 0 where y = 0. */
static void var_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const float *y = c->buf[1];
    float *dy = c->grad[1];
    const int64_t size = c->dim[0] * c->dim[2];
    FOR_VECTORS(size, i) {
        const int k = lanes_of(size - i);
        const vf g = vf_get(dy + i, k);
        const vf a = c->dim[3] ? over_root(g, vf_get(y + i, k)) : vf_add(g, g);
        vf_put(dy + i, vf_div(a, vf_set1(c->f[0])), k);
    }
    spread_axis(FOLD_SQUARES, c, dy, c->buf[2]);
}

/* ---- norm ---- y = root of the sum of x^2. */

static void norm_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t size = c->dim[0] * c->dim[2];
    float *y = c->buf[1];
    const fold f = fold_of(c, NULL, y);
    fold_axis(FOLD_SQUARES, &f, s);
    FOR_VECTORS(size, i) {
        const int k = lanes_of(size - i);
        vf_put(y + i, vf_sqrt(vf_get(y + i, k)), k);
    }
}

/* dx = dy x / y, and 0 where y = 0. */
static void norm_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const float *y = c->buf[1];
    float *dy = c->grad[1];
    const int64_t size = c->dim[0] * c->dim[2];
    FOR_VECTORS(size, i) {
        const int k = lanes_of(size - i);
        vf_put(dy + i, over_root(vf_get(dy + i, k), vf_get(y + i, k)), k);
    }
    spread_axis(FOLD_SQUARES, c, dy, NULL);
}

/* ---- logsumexp ---- y = m + log(sum of exp(x - m)), m = max x.  Saved: m (outer, inner). */

static void logsumexp_fwd(const fnn_call *c, const fnn_scratch *s)
{
    float *y = c->buf[1], *m = c->buf[2];
    const fold peak = fold_of(c, NULL, m), f = fold_of(c, m, y);
    fold_axis(FOLD_MAX, &peak, s);
    fold_axis(FOLD_EXP, &f, s);
    const int64_t size = c->dim[0] * c->dim[2];
    FOR_VECTORS(size, i) {
        const int k = lanes_of(size - i);
        const vf top = vf_get(m + i, k), log_sum = vf_log(vf_get(y + i, k));
        const vm infinite = vf_eq(vf_abs(top), vf_set1(INFINITY));
        vf_put(y + i, vf_sel(infinite, top, vf_add(top, log_sum)), k);
    }
}

/* dx = dy exp(x - y) */
static void logsumexp_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    spread_axis(FOLD_EXP, c, c->grad[1], c->buf[1]);
}

/* ---- prod ---- y = product. */

static void prod_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const fold f = fold_of(c, NULL, c->buf[1]);
    fold_axis(FOLD_PROD, &f, s);
}

/* dx[i] = dy times the product of all others, zeros included: what stands before x[i] times what
 * stands behind it, the latter kept for `run` elements and beyond them for whole runs only. */
static void prod_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[1], inner = c->dim[2], size = c->dim[0] * inner;
    int64_t run = 1;
    while (run * run < n) run *= 2;
    const int64_t runs = (n + run - 1) / run;
    float *behind = s->local, *beyond = behind + run;
    FNN_FOR
    for (int64_t t = 0; t < size; t++) {
        const int64_t at = t / inner * n * inner + t % inner;
        const float *x = (const float *)c->buf[0] + at;
        float *dx = c->grad[0] + at, before = c->grad[1][t], tail = 1.0f;
        for (int64_t b = runs - 1; b >= 0; b--) {
            beyond[b] = tail;
            for (int64_t i = smaller(n, (b + 1) * run) - 1; i >= b * run; i--) tail *= x[i * inner];
        }
        for (int64_t b = 0; b < runs; b++) {
            const int64_t lo = b * run, hi = smaller(n, lo + run);
            tail = beyond[b];
            for (int64_t i = hi - 1; i >= lo; i--) {
                behind[i - lo] = tail;
                tail *= x[i * inner];
            }
            for (int64_t i = lo; i < hi; i++) {
                const float g = before * behind[i - lo];
                dx[i * inner] = c->acc & 1 ? dx[i * inner] + g : g;
                before *= x[i * inner];
            }
        }
    }
}

/* ---- cumsum ---- y[i] = x[0] + ... + x[i], added up in double.  y: (outer, n, inner). */

/* `cols` neighbouring columns of one outer index; a constant where it is 1. */
VEC void running_columns(const float *x, float *y, int64_t n, int64_t inner, int64_t cols, int acc)
{
    double sum[FNN_LANES] = {0};
    for (int64_t i = 0; i < n; i++, x += inner, y += inner)
        for (int64_t k = 0; k < cols; k++) {
            sum[k] += x[k];
            y[k] = acc ? y[k] + (float)sum[k] : (float)sum[k];
        }
}

static inline void running_sums(const fnn_call *c, const float *x, float *y, int reverse, int acc)
{
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2];
    const int64_t strips = (inner + FNN_LANES - 1) / FNN_LANES, step = reverse ? -inner : inner;
    FNN_FOR
    for (int64_t t = 0; t < outer * strips; t++) {
        const int64_t j = t % strips * FNN_LANES, start = t / strips * n + (reverse ? n - 1 : 0);
        const int64_t at = start * inner + j;
        if (inner == 1) running_columns(x + at, y + at, n, step, 1, acc);
        else running_columns(x + at, y + at, n, step, lanes_of(inner - j), acc);
    }
}

static void cumsum_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    running_sums(c, c->buf[0], c->buf[1], 0, 0);
}

/* dx[i] = dy[i] + ... + dy[n-1] */
static void cumsum_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    running_sums(c, c->grad[1], c->grad[0], 1, c->acc & 1);
}

#endif
