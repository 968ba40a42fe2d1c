/*
 * sums.h: sums, maxima and their kin whose bits depend on the shape alone.
 *
 * An axis is cut into chunks of fixed extent; each is folded in a fixed order, the chunks are then
 * joined two by two.  The chunks follow from the length of the axis and what lies inside it, never from
 * the threads nor from the outer axes, so that a row gives the same bits alone and in a batch.
 */
#ifndef FNN_SUMS_H
#define FNN_SUMS_H

#include <math.h>

#include "fnn.h"
#include "parallel.h"
#include "vec.h"
#include "vmath.h"

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int lanes_of(int64_t left) { return left < FNN_LANES ? (int)left : FNN_LANES; }

/* The first n lanes; whole vectors avoid the masked path. */
VEC vf vf_get(const float *p, int n) { return n == FNN_LANES ? vf_load(p) : vf_load_n(p, n); }
VEC void vf_put(float *p, vf v, int n)
{
    if (n == FNN_LANES) vf_store(p, v);
    else vf_store_n(p, v, n);
}

/* What is folded: sums of something, except where the name says otherwise. */
enum {
    FOLD_SUM,                 /* x                                                            */
    FOLD_DIFFS,               /* x - p                                                        */
    FOLD_SQUARES,             /* (x - p)^2                                                    */
    FOLD_EXP,                 /* exp(x - p), x <= p, an infinite p counting as 0; inf gives NaN */
    FOLD_HITS,                /* 1 where x = p or both are NaN, else 0                        */
    FOLD_PROD,
    FOLD_MAX,
    FOLD_MIN
};

/* out[o][j] = fold over i of x[o][i][j].  x: (outer, n, inner); out, p: (outer, inner). */
typedef struct {
    const float *x;
    const float *p;           /* what the fold subtracts; NULL = 0                            */
    float *out;
    int64_t outer, n, inner;
    int acc;                  /* sums only: add to out                                        */
    /* Called before rows i.. and columns j.. of x are read, to change them first; outer = 1 and
     * inner > 1 then.  NULL: nothing. */
    void (*before)(const void *record, int64_t i, int64_t rows, int64_t j, int64_t cols);
    const void *record;
} fold;

#define FOLD_RUN 4096         /* neighbours in a chunk: 64 additions deep                     */
#define FOLD_ROWS 64          /* rows in a chunk: short enough to share, long enough to stream */
#define FOLD_COLS 64          /* columns of one task at least: four vectors                   */
#define FOLD_WIDE 1024        /* and at most: their results stay in the first cache           */
#define FOLD_TASKS 8          /* to be had from narrower tasks                                */

VEC vf fold_start(int kind)
{
    return vf_set1(kind == FOLD_MAX ? -INFINITY : kind == FOLD_MIN ? INFINITY : kind == FOLD_PROD);
}

VEC vm vf_same(vf a, vf b) { return vm_or(vf_eq(a, b), vm_and(vf_isnan(a), vf_isnan(b))); }

VEC vf vf_finite_or_zero(vf p)
{
    return vf_sel(vf_eq(vf_abs(p), vf_set1(INFINITY)), vf_zero(), p);
}

VEC vf fold_map(int kind, vf x, vf p)
{
    if (kind == FOLD_HITS) return vf_sel(vf_same(x, p), vf_set1(1.0f), vf_zero());
    if (kind == FOLD_EXP) p = vf_finite_or_zero(p);
    if (kind == FOLD_DIFFS || kind == FOLD_SQUARES || kind == FOLD_EXP) x = vf_sub(x, p);
    return kind == FOLD_SQUARES ? vf_mul(x, x) : kind == FOLD_EXP ? vf_exp_shifted(x) : x;
}

VEC vf fold_join(int kind, vf a, vf b)
{
    switch (kind) {
    case FOLD_MAX: return vf_max(a, b);
    case FOLD_MIN: return vf_min(a, b);
    case FOLD_PROD: return vf_mul(a, b);
    default: return vf_add(a, b);
    }
}

/* What joins the results of folds. */
static inline int fold_again(int kind) { return kind >= FOLD_PROD ? kind : FOLD_SUM; }

VEC float fold_lanes(int kind, vf a)
{
    if (kind == FOLD_MAX) return vf_hmax(a);
    if (kind == FOLD_MIN) return vf_hmin(a);
    if (kind != FOLD_PROD) return vf_hsum(a);
    float t[FNN_LANES];
    vf_store(t, a);
    for (int w = FNN_LANES / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++) t[i] *= t[i + w];
    return t[0];
}

/* Rows in a chunk.  The results of all chunks for one outer index fit the shared scratch. */
static inline int64_t fold_step(int64_t n, int64_t inner)
{
    const int64_t width = inner > 0 ? inner : 1, room = FNN_SHARED_BYTES / 4 / width;
    const int64_t least = width < FOLD_COLS ? FOLD_RUN / width : FOLD_ROWS;
    const int64_t step = room > 0 ? (n + room - 1) / room : n;
    return step > least ? step : least;
}

/* What is folded of n lanes, kept in `into` unless that is NULL. */
VEC vf fold_take(int kind, const float *x, int n, vf p, float *into)
{
    const vf v = fold_map(kind, vf_get(x, n), p);
    if (into) vf_put(into, v, n);
    return v;
}

/* One number from n neighbours; into[i] = what was folded, where that is wanted. */
VEC float fold_run_into(int kind, const float *x, int64_t n, float shift, float *into)
{
    const vf start = fold_start(kind), p = vf_set1(shift);
    vf s[4] = {start, start, start, start};
    int64_t i = 0;
    for (; i + 4 * FNN_LANES <= n; i += 4 * FNN_LANES)
        for (int k = 0; k < 4; k++) {
            const int64_t at = i + k * FNN_LANES;
            s[k] = fold_join(kind, s[k], fold_take(kind, x + at, FNN_LANES, p, into ? into + at : NULL));
        }
    for (; i + FNN_LANES <= n; i += FNN_LANES)
        s[0] = fold_join(kind, s[0], fold_take(kind, x + i, FNN_LANES, p, into ? into + i : NULL));
    if (i < n) {
        const int left = (int)(n - i);
        const vf last = fold_take(kind, x + i, left, p, into ? into + i : NULL);
        s[1] = fold_join(kind, s[1], vf_sel(vm_first(left), last, start));
    }
    if (n < 4 * FNN_LANES) return fold_lanes(kind, fold_join(kind, s[0], s[1]));
    return fold_lanes(kind, fold_join(kind, fold_join(kind, s[0], s[1]),
                                      fold_join(kind, s[2], s[3])));
}

VEC float fold_run(int kind, const float *x, int64_t n, float shift)
{
    return fold_run_into(kind, x, n, shift, NULL);
}

/* out[j] = fold over rows of x[.][j], rows `step` apart.  Four rows at a time: each is read front to
 * back, and the columns' values so far, in out, stay in the first cache. */
VEC void fold_rows(int kind, const float *x, int64_t rows, int64_t step, int cols, const float *p,
                   float *out, int acc)
{
    if (!acc)
        for (int j = 0; j < cols; j += FNN_LANES) vf_put(out + j, fold_start(kind), lanes_of(cols - j));
    for (int64_t i = 0; i < rows; i += 4) {
        const float *row = x + i * step;
        const int left = (int)smaller(4, rows - i);
        int j = 0;
        if (left == 4)
            for (; j + FNN_LANES <= cols; j += FNN_LANES) {
                const vf shift = p ? vf_load(p + j) : vf_zero();
                vf s = vf_load(out + j);
                for (int k = 0; k < 4; k++)
                    s = fold_join(kind, s, fold_map(kind, vf_load(row + k * step + j), shift));
                vf_store(out + j, s);
            }
        for (; j < cols; j += FNN_LANES) {
            const int n = lanes_of(cols - j);
            const vf shift = p ? vf_get(p + j, n) : vf_zero();
            vf s = vf_get(out + j, n);
            for (int k = 0; k < left; k++)
                s = fold_join(kind, s, fold_map(kind, vf_get(row + k * step + j, n), shift));
            vf_put(out + j, s, n);
        }
    }
}

/* The same for fewer columns than lanes, side by side in memory: 16 rows are `cols` vectors. */
VEC void fold_narrow(int kind, const float *x, int64_t rows, int cols, const float *p, float *out,
                     int acc)
{
    const int64_t blocks = rows / FNN_LANES;
    const int again = fold_again(kind);
    float part[FNN_LANES * FNN_LANES], shift[FNN_LANES * FNN_LANES] = {0};
    vf s = acc ? vf_load_n(out, cols) : fold_start(kind);
    if (blocks > 0) {
        for (int i = 0; p && i < FNN_LANES; i++) vf_store_n(shift + i * cols, vf_load_n(p, cols), cols);
        for (int v = 0; v < cols; v++) {
            const vf by = vf_load(shift + v * FNN_LANES);
            vf sum = fold_start(kind);
            for (int64_t b = 0; b < blocks; b++)
                sum = fold_join(kind, sum,
                                fold_map(kind, vf_load(x + (b * cols + v) * FNN_LANES), by));
            vf_store(part + v * FNN_LANES, sum);
        }
        for (int i = 0; i < FNN_LANES; i++) s = fold_join(again, s, vf_load_n(part + i * cols, cols));
    }
    const vf by = p ? vf_load_n(p, cols) : vf_zero();
    for (int64_t i = blocks * FNN_LANES; i < rows; i++)
        s = fold_join(kind, s, fold_map(kind, vf_load_n(x + i * cols, cols), by));
    vf_store_n(out, s, cols);
}

/* y[i][j] = x[j][i] for i, j < 4; rows xs and ys apart. */
typedef uint32_t quad __attribute__((vector_size(16), aligned(4), may_alias));
static inline void transpose_4x4(const void *x, int64_t xs, void *y, int64_t ys)
{
    const uint32_t *from = x;
    uint32_t *to = y;
    const quad a = *(const quad *)from, b = *(const quad *)(from + xs);
    const quad c = *(const quad *)(from + 2 * xs), d = *(const quad *)(from + 3 * xs);
    *(quad *)to = (quad){a[0], b[0], c[0], d[0]};
    *(quad *)(to + ys) = (quad){a[1], b[1], c[1], d[1]};
    *(quad *)(to + 2 * ys) = (quad){a[2], b[2], c[2], d[2]};
    *(quad *)(to + 3 * ys) = (quad){a[3], b[3], c[3], d[3]};
}

#define FOLD_SHORT 16         /* rows up to here are folded side by side, one in each lane     */
typedef struct { float column[FOLD_SHORT][FNN_LANES]; } short_rows;

/* Short rows turned: column[j][i] = x[i][j].  x: (rows, n), rows <= 16, n <= FOLD_SHORT. */
static inline void turn_rows(const float *x, int rows, int64_t n, short_rows *t)
{
    int64_t j = 0;
    if (rows == FNN_LANES) {
        for (; j + 4 <= n; j += 4)
            for (int i = 0; i < FNN_LANES; i += 4)
                transpose_4x4(x + i * n + j, n, &t->column[j][i], FNN_LANES);
        for (int i = 0; j < n && i < FNN_LANES - 4; i += 4)        /* reads on into the next row */
            transpose_4x4(x + i * n + j, n, &t->column[j][i], FNN_LANES);
        for (; j < n; j++)
            for (int i = FNN_LANES - 4; i < FNN_LANES; i++) t->column[j][i] = x[i * n + j];
        return;
    }
    for (; j < n; j++) {
        vf_store(t->column[j], vf_zero());
        for (int i = 0; i < rows; i++) t->column[j][i] = x[i * n + j];
    }
}

/* x[i][j] = column[j][i] */
static inline void turn_back(const short_rows *t, int rows, int64_t n, float *x)
{
    int64_t j = 0;
    if (rows == FNN_LANES)
        for (; j + 4 <= n; j += 4)
            for (int i = 0; i < FNN_LANES; i += 4)
                transpose_4x4(&t->column[j][i], FNN_LANES, x + i * n + j, n);
    for (; j < n; j++)
        for (int i = 0; i < rows; i++) x[i * n + j] = t->column[j][i];
}

/* out[i] = fold of row i.  x: (rows, n), rows <= 16, n <= FOLD_SHORT. */
VEC void fold_short(int kind, const float *x, int rows, int64_t n, const float *p, float *out,
                    int acc)
{
    const vf shift = p ? vf_get(p, rows) : vf_zero();
    vf s = fold_start(kind);
    short_rows t;
    turn_rows(x, rows, n, &t);
    for (int64_t j = 0; j < n; j++)
        s = fold_join(kind, s, fold_map(kind, vf_load(t.column[j]), shift));
    vf_put(out, acc ? vf_add(vf_get(out, rows), s) : s, rows);
}

/* The chunks of columns j.. of one outer index joined: parts[0] = parts[0] + ... + parts[n-1]. */
VEC void fold_parts(int kind, float *parts, int64_t n, int64_t width, int cols)
{
    for (int64_t step = 1; step < n; step *= 2)
        for (int64_t i = 0; i + step < n; i += 2 * step) {
            float *a = parts + i * width;
            const float *b = parts + (i + step) * width;
            vf_put(a, fold_join(kind, vf_get(a, cols), vf_get(b, cols)), cols);
        }
}

/* Rows of neighbours, each folded by one thread.  out: (outer). */
VEC void fold_lines(int kind, const fold *f)
{
    const int64_t n = f->n;
    if (n <= FOLD_SHORT) {
        FNN_FOR
        for (int64_t t = 0; t < (f->outer + FNN_LANES - 1) / FNN_LANES; t++) {
            const int64_t o = t * FNN_LANES;
            fold_short(kind, f->x + o * n, lanes_of(f->outer - o), n, f->p ? f->p + o : NULL,
                       f->out + o, f->acc);
        }
        return;
    }
    FNN_FOR
    for (int64_t o = 0; o < f->outer; o++) {
        const float y = fold_run(kind, f->x + o * n, n, f->p ? f->p[o] : 0.0f);
        f->out[o] = f->acc ? f->out[o] + y : y;
    }
}

/* Columns of one task: many are read best, but there should be tasks to share. */
static inline int64_t fold_width(int64_t inner, int64_t others)
{
    int64_t width = FOLD_WIDE;
    while (width > FOLD_COLS && (inner + width - 1) / width * others < FOLD_TASKS) width /= 2;
    return width;
}

/* The whole team; barrier at the end.  `kind` is a constant wherever this is called. */
VEC void fold_axis(int kind, const fold *f, const fnn_scratch *s)
{
    const int64_t n = f->n, inner = f->inner, step = fold_step(n, inner);
    const int64_t chunks = n > step ? (n + step - 1) / step : 1;
    if (inner == 1 && chunks == 1) {
        fold_lines(kind, f);
        return;
    }
    const int64_t width = fold_width(inner, f->outer * chunks), blocks = (inner + width - 1) / width;
    const int64_t room = FNN_SHARED_BYTES / 4 / (chunks * (inner ? inner : 1));
    const int direct = chunks == 1, again = fold_again(kind);
    const int64_t group = direct ? f->outer : room;
    for (int64_t first = 0; first < f->outer; first += group) {
        const int64_t outer = smaller(f->outer - first, group);
        FNN_FOR
        for (int64_t t = 0; t < outer * chunks * blocks; t++) {
            const int64_t part = t / blocks, j = t % blocks * width;
            const int64_t o = first + part / chunks, lo = part % chunks * step;
            const int64_t rows = smaller(n - lo, step);
            const int cols = (int)smaller(inner - j, width), acc = direct && f->acc;
            const float *x = f->x + (o * n + lo) * inner + j, *p = f->p ? f->p + o * inner + j : NULL;
            float *out = direct ? f->out + o * inner + j : s->shared + part * inner + j;
            if (f->before) f->before(f->record, lo, rows, j, cols);
            if (inner == 1) *out = fold_run(kind, x, rows, p ? *p : 0.0f);
            else if (inner < FNN_LANES) fold_narrow(kind, x, rows, cols, p, out, acc);
            else fold_rows(kind, x, rows, inner, cols, p, out, acc);
        }
        if (direct) continue;
        const int64_t strips = (inner + FNN_LANES - 1) / FNN_LANES;
        FNN_FOR
        for (int64_t t = 0; t < outer * strips; t++) {
            const int64_t o = t / strips, j = t % strips * FNN_LANES;
            const int cols = lanes_of(inner - j);
            float *parts = s->shared + o * chunks * inner + j, *out = f->out + (first + o) * inner + j;
            if (inner == 1) *parts = fold_run(again, parts, chunks, 0.0f);
            else fold_parts(again, parts, chunks, inner, cols);
            const vf y = vf_get(parts, cols);
            vf_put(out, f->acc ? vf_add(vf_get(out, cols), y) : y, cols);
        }
    }
}

/* out[o][j] (+)= sum over i of x[o][i][j].  x: (outer, n, inner).  The whole team. */
static void axis_sums(const float *x, int64_t outer, int64_t n, int64_t inner, float *out, int acc,
                      const fnn_scratch *s)
{
    const fold f = {.x = x, .out = out, .outer = outer, .n = n, .inner = inner, .acc = acc};
    fold_axis(FOLD_SUM, &f, s);
}

/* out[j] (+)= sum over i of x[i][j].  x: (rows, cols). */
static inline void column_sums(const float *x, int64_t rows, int64_t cols, float *out, int acc,
                               const fnn_scratch *s)
{
    axis_sums(x, 1, rows, cols, out, acc, s);
}

#endif
