/*
 * sums.h: sums, maxima and their kin whose bits depend on the shape alone.
 *
 * An axis is cut into chunks of fixed extent; each is folded in order, the chunks are then joined
 * two by two.  The chunks follow from the length of the axis and what lies inside it, never from
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
    FOLD_EXP,                 /* exp(x - p), an infinite p counting as 0                      */
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
} fold;

#define FOLD_RUN 4096         /* neighbours in a chunk: 64 additions deep                     */
#define FOLD_ROWS 64          /* rows in a chunk: short enough to share, long enough to stream */
#define FOLD_COLS 64          /* columns of one task: four vectors                            */

VEC vf fold_start(int kind)
{
    return vf_set1(kind == FOLD_MAX ? -INFINITY : kind == FOLD_MIN ? INFINITY : kind == FOLD_PROD);
}

VEC vm vf_same(vf a, vf b) { return vm_or(vf_eq(a, b), vm_and(vf_isnan(a), vf_isnan(b))); }

VEC vf fold_map(int kind, vf x, vf p)
{
    if (kind == FOLD_HITS) return vf_sel(vf_same(x, p), vf_set1(1.0f), vf_zero());
    if (kind == FOLD_EXP) p = vf_sel(vf_eq(vf_abs(p), vf_set1(INFINITY)), vf_zero(), p);
    if (kind == FOLD_DIFFS || kind == FOLD_SQUARES || kind == FOLD_EXP) x = vf_sub(x, p);
    return kind == FOLD_SQUARES ? vf_mul(x, x) : kind == FOLD_EXP ? vf_exp(x) : x;
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

/* The number of chunks: their results for one outer index fit the shared scratch. */
static inline int64_t fold_chunks(int64_t n, int64_t inner)
{
    const int64_t room = FNN_SHARED_BYTES / (int64_t)sizeof(float) / (inner > 0 ? inner : 1);
    const int64_t step = inner == 1 ? FOLD_RUN : FOLD_ROWS;
    int64_t chunks = (n + step - 1) / step;
    if (chunks > room) chunks = room;
    return chunks > 0 ? chunks : 1;
}

/* One number from n neighbours. */
VEC float fold_run(int kind, const float *x, int64_t n, float shift)
{
    const vf start = fold_start(kind), p = vf_set1(shift);
    if (n <= FNN_LANES) {
        const vm live = vm_first((int)n);
        return fold_lanes(kind, vf_sel(live, fold_map(kind, vf_load_n(x, (int)n), p), start));
    }
    vf s[4] = {start, start, start, start};
    int64_t i = 0;
    for (; i + 4 * FNN_LANES <= n; i += 4 * FNN_LANES)
        for (int k = 0; k < 4; k++)
            s[k] = fold_join(kind, s[k], fold_map(kind, vf_load(x + i + k * FNN_LANES), p));
    for (; i + FNN_LANES <= n; i += FNN_LANES)
        s[0] = fold_join(kind, s[0], fold_map(kind, vf_load(x + i), p));
    if (i < n) {
        const int left = (int)(n - i);
        const vf last = fold_map(kind, vf_get(x + i, left), p);
        s[1] = fold_join(kind, s[1], vf_sel(vm_first(left), last, start));
    }
    return fold_lanes(kind, fold_join(kind, fold_join(kind, s[0], s[1]),
                                      fold_join(kind, s[2], s[3])));
}

/* out[j] = fold over rows of x[.][j], cols <= FOLD_COLS columns.  `step` from row to row. */
VEC void fold_rows(int kind, const float *x, int64_t rows, int64_t step, int cols, const float *p,
                   float *out, int acc)
{
    const vf start = fold_start(kind);
    if (cols == FOLD_COLS && !p && !acc) {
        vf s[4] = {start, start, start, start};
        for (int64_t i = 0; i < rows; i++)
            for (int k = 0; k < 4; k++)
                s[k] = fold_join(kind, s[k],
                                 fold_map(kind, vf_load(x + i * step + k * FNN_LANES), vf_zero()));
        for (int k = 0; k < 4; k++) vf_store(out + k * FNN_LANES, s[k]);
        return;
    }
    for (int j = 0; j < cols; j += FNN_LANES) {
        const int n = lanes_of(cols - j);
        const vf shift = p ? vf_get(p + j, n) : vf_zero();
        vf s = start;
        for (int64_t i = 0; i < rows; i++)
            s = fold_join(kind, s, fold_map(kind, vf_get(x + i * step + j, n), shift));
        vf_put(out + j, acc ? vf_add(vf_get(out + j, n), s) : s, n);
    }
}

/* Short rows side by side, one in each lane: x: (rows, n), rows <= 16. */
VEC void fold_short(int kind, const float *x, int rows, int64_t n, const float *p, float *out,
                    int acc)
{
    const vf shift = p ? vf_get(p, rows) : vf_zero();
    vf s = fold_start(kind);
    for (int64_t j = 0; j < n; j++) {
        float column[FNN_LANES] = {0};
        for (int i = 0; i < rows; i++) column[i] = x[i * n + j];
        s = fold_join(kind, s, fold_map(kind, vf_load(column), shift));
    }
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

/* The whole team; barrier at the end.  `kind` is a constant wherever this is called. */
VEC void fold_axis(int kind, const fold *f, const fnn_scratch *s)
{
    const int64_t n = f->n, inner = f->inner;
    if (inner == 1 && n <= FNN_LANES) {
        FNN_FOR
        for (int64_t t = 0; t < (f->outer + FNN_LANES - 1) / FNN_LANES; t++) {
            const int64_t o = t * FNN_LANES;
            const int rows = lanes_of(f->outer - o);
            fold_short(kind, f->x + o * n, rows, n, f->p ? f->p + o : NULL, f->out + o, f->acc);
        }
        return;
    }
    const int64_t chunks = fold_chunks(n, inner), blocks = (inner + FOLD_COLS - 1) / FOLD_COLS;
    const int64_t room = FNN_SHARED_BYTES / (int64_t)sizeof(float) / (chunks * (inner ? inner : 1));
    const int direct = chunks == 1;
    const int64_t group = direct ? f->outer : room;
    for (int64_t first = 0; first < f->outer; first += group) {
        const int64_t outer = smaller(f->outer - first, group);
        FNN_FOR
        for (int64_t t = 0; t < outer * chunks * blocks; t++) {
            const int64_t part = t / blocks, j = t % blocks * FOLD_COLS;
            const int64_t o = first + part / chunks, chunk = part % chunks;
            const int64_t lo = n * chunk / chunks, hi = n * (chunk + 1) / chunks;
            const int cols = (int)smaller(inner - j, FOLD_COLS);
            const float *x = f->x + (o * n + lo) * inner + j, *p = f->p ? f->p + o * inner + j : NULL;
            float *out = direct ? f->out + o * inner + j : s->shared + part * inner + j;
            const int acc = direct && f->acc;
            if (inner == 1) {
                const float y = fold_run(kind, x, hi - lo, p ? *p : 0.0f);
                *out = acc ? *out + y : y;
            } else {
                fold_rows(kind, x, hi - lo, inner, cols, p, out, acc);
            }
        }
        if (direct) continue;
        const int64_t strips = (inner + FNN_LANES - 1) / FNN_LANES;
        FNN_FOR
        for (int64_t t = 0; t < outer * strips; t++) {
            const int64_t o = t / strips, j = t % strips * FNN_LANES;
            const int cols = lanes_of(inner - j);
            float *parts = s->shared + o * chunks * inner + j, *out = f->out + (first + o) * inner + j;
            fold_parts(kind, parts, chunks, inner, cols);
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
