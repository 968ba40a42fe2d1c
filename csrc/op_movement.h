/*
 * op_movement.h: ops that move elements and do not compute.
 *
 * Elements have 1, 2, 4 or 8 bytes and are moved as bits; gradients are floats.
 */
#ifndef FNN_OP_MOVEMENT_H
#define FNN_OP_MOVEMENT_H

#include <stdlib.h>

#include "sums.h"

#define MOVE_GRAIN 8192       /* elements of one task: worth handing to a thread              */

/* x[0..n) = 0 */
static inline void zero_fill(float *x, int64_t n)
{
    FNN_FOR
    for (int64_t t = 0; t < (n + MOVE_GRAIN - 1) / MOVE_GRAIN; t++)
        memset(x + t * MOVE_GRAIN, 0, sizeof *x * (size_t)smaller(n - t * MOVE_GRAIN, MOVE_GRAIN));
}

/* ---- strided ----
 * y[i0..i5] = x[offset + sum of i*stride]: permute, slice, flip, select, copy.
 * No two outputs read the same element.
 * dim: sizes[6], strides[6] in elements, offset, elements of x, bytes of an element.  */

#define AXES 6
#define TILE 16

/* A walk over two tensors at once: sizes, strides of the destination, strides of the source. */
typedef struct { int64_t n[AXES], to[AXES], from[AXES]; } walk;

/* The way back. */
static inline walk reversed(walk w)
{
    walk r = w;
    memcpy(r.to, w.from, sizeof r.to);
    memcpy(r.from, w.to, sizeof r.from);
    return r;
}

/* Axes reordered so that the destination is written front to back. */
static inline walk walk_in_order(walk w)
{
    for (int i = 1; i < AXES; i++)
        for (int k = i; k > 0; k--) {
            const int64_t a = w.n[k - 1] == 1 ? INT64_MAX : llabs(w.to[k - 1]);
            const int64_t b = w.n[k] == 1 ? INT64_MAX : llabs(w.to[k]);
            if (a >= b) break;
            const int64_t n = w.n[k], to = w.to[k], from = w.from[k];
            w.n[k] = w.n[k - 1], w.to[k] = w.to[k - 1], w.from[k] = w.from[k - 1];
            w.n[k - 1] = n, w.to[k - 1] = to, w.from[k - 1] = from;
        }
    return w;
}

/* Where step t of the axes before `last` lies: elements from the start in *to and *from. */
static inline void walk_at(const walk *w, int last, int64_t t, int64_t *to, int64_t *from)
{
    *to = *from = 0;
    for (int k = last - 1; k >= 0; k--) {
        const int64_t i = t % w->n[k];
        t /= w->n[k];
        *to += i * w->to[k];
        *from += i * w->from[k];
    }
}

#define MOVE_EACH(T, op)                                                                    \
    for (int64_t i = 0; i < n; i++) ((T *)to)[i * ts] op ((const T *)from)[i * fs];         \
    break;

/* n elements from one stride to another; acc: floats are added. */
static inline void move_row(void *to, int64_t ts, const void *from, int64_t fs, int64_t n, int bytes,
                            int acc)
{
    if (ts == 1 && fs == 1 && !acc) {
        memcpy(to, from, (size_t)(n * bytes));
        return;
    }
    if (acc) bytes = 0;
    switch (bytes) {
    case 0: MOVE_EACH(float, +=)
    case 1: MOVE_EACH(uint8_t, =)
    case 2: MOVE_EACH(uint16_t, =)
    case 4: MOVE_EACH(uint32_t, =)
    case 8: MOVE_EACH(uint64_t, =)
    }
}

static inline void move(walk w, char *to, const char *from, int bytes, int acc)
{
    w = walk_in_order(w);
    const int64_t n = w.n[AXES - 1];
    const int64_t cols = smaller(n, MOVE_GRAIN), pieces = n > 0 ? (n + cols - 1) / cols : 0;
    int64_t rows = 1;
    for (int k = 0; k < AXES - 1; k++) rows *= w.n[k];
    const int64_t batch = n > 0 && n < MOVE_GRAIN ? (MOVE_GRAIN + n - 1) / n : 1;
    FNN_FOR
    for (int64_t t = 0; t < (rows + batch - 1) / batch * pieces; t++) {
        const int64_t j = t % pieces * cols, r = t / pieces * batch;
        for (int64_t i = r; i < smaller(r + batch, rows); i++) {
            int64_t a, b;
            walk_at(&w, AXES - 1, i, &a, &b);
            a += j * w.to[AXES - 1];
            b += j * w.from[AXES - 1];
            move_row(to + a * bytes, w.to[AXES - 1], from + b * bytes, w.from[AXES - 1],
                     smaller(cols, n - j), bytes, acc);
        }
    }
}

/* The walk from x to y. */
static inline walk strided_walk(const int64_t *d)
{
    walk w;
    int64_t step = 1;
    for (int k = AXES - 1; k >= 0; k--) {
        w.n[k] = d[k];
        w.from[k] = d[AXES + k];
        w.to[k] = step;
        step *= d[k];
    }
    return w;
}

static void strided_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    const int bytes = (int)d[14];
    move(strided_walk(d), c->buf[1], (const char *)c->buf[0] + d[12] * bytes, bytes, 0);
}

/* dx at the places read = dy, elsewhere 0. */
static void strided_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    const int acc = c->acc & 1;
    int64_t size = 1;
    for (int k = 0; k < AXES; k++) size *= d[k];
    if (size < d[13] && !acc) zero_fill(c->grad[0], d[13]);
    move(reversed(strided_walk(d)), (char *)(c->grad[0] + d[12]), (const char *)c->grad[1], 4, acc);
}

/* ---- expand ----
 * y[o][i] = x[o] for i < n.  x: (outer, inner), y: (outer, n, inner).
 * dim: outer, n, inner, bytes of an element.  */

static void expand_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2];
    const walk w = {{1, 1, 1, outer, n, inner}, {0, 0, 0, n * inner, inner, 1},
                    {0, 0, 0, inner, 0, 1}};
    move(w, c->buf[1], c->buf[0], (int)c->dim[3], 0);
}

/* dx = sum of dy over i. */
static void expand_bwd(const fnn_call *c, const fnn_scratch *s)
{
    axis_sums(c->grad[1], c->dim[0], c->dim[1], c->dim[2], c->grad[0], c->acc & 1, s);
}

/* ---- cat ----
 * y = the inputs side by side.  x[j]: (outer, n[j], inner), y: (outer, sum of n, inner).
 * dim: outer, inner, sum of n, bytes of an element, then n[j] of each of up to 11 inputs.  */

/* Between input j, which starts at row `first` of y, and y. */
static inline walk cat_walk(const fnn_call *c, int j, int64_t first, char **y)
{
    const int64_t *d = c->dim, row = d[4 + j] * d[1];
    *y += first * d[1] * d[3];
    return (walk){{1, 1, 1, 1, d[0], row}, {0, 0, 0, 0, d[2] * d[1], 1}, {0, 0, 0, 0, row, 1}};
}

static void cat_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    int64_t first = 0;
    for (int j = 0; j < c->n_in; first += c->dim[4 + j++]) {
        char *y = c->buf[c->n_in];
        const walk w = cat_walk(c, j, first, &y);
        move(w, y, c->buf[j], (int)c->dim[3], 0);
    }
}

/* dx[j] = its part of dy. */
static void cat_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    int64_t first = 0;
    for (int j = 0; j < c->n_in; first += c->dim[4 + j++]) {
        char *dy = (char *)c->grad[c->n_in];
        const walk w = cat_walk(c, j, first, &dy);
        if (c->grad[j]) move(reversed(w), (char *)c->grad[j], dy, 4, c->acc >> j & 1);
    }
}

/* ---- band ----
 * y = x where lo <= column - row <= hi, elsewhere 0: triangles.  x, y: (outer, rows, cols).
 * dim: outer, rows, cols, lo, hi, bytes of an element.  */

static inline void band(const int64_t *d, char *y, const char *x, int64_t bytes, int acc)
{
    const int64_t rows = d[1], cols = d[2];
    FNN_FOR
    for (int64_t t = 0; t < d[0] * rows; t++) {
        const int64_t r = t % rows, lo = smaller(cols, r + d[3] > 0 ? r + d[3] : 0);
        const int64_t end = smaller(cols, r + d[4] + 1), hi = end > lo ? end : lo;
        char *to = y + t * cols * bytes;
        const char *from = x + t * cols * bytes;
        if (!acc) memset(to, 0, (size_t)(lo * bytes));
        move_row(to + lo * bytes, 1, from + lo * bytes, 1, hi - lo, (int)bytes, acc);
        if (!acc) memset(to + hi * bytes, 0, (size_t)((cols - hi) * bytes));
    }
}

static void band_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    band(c->dim, c->buf[1], c->buf[0], c->dim[5], 0);
}

/* dx = dy inside the band. */
static void band_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    band(c->dim, (char *)c->grad[0], (const char *)c->grad[1], 4, c->acc & 1);
}

/* ---- indices -------------------------------------------------------------------------------
 * They were checked when the record was made.  Their memory may be shared with NumPy and changed
 * since, so a kernel that meets one outside leaves that element out rather than the process.    */

static inline int inside(int64_t i, int64_t n) { return (uint64_t)i < (uint64_t)n; }

/* ---- take ----
 * y[o][k] = x[o][index[k]].  x: (outer, n, inner), index: (m), y: (outer, m, inner).
 * dim: outer, n, inner, m, bytes of an element, an index that gets no gradient or -1.  */

static void take_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t n = c->dim[1], m = c->dim[3], bytes = c->dim[4], row = c->dim[2] * bytes;
    const int64_t *index = c->buf[1];
    const char *x = c->buf[0];
    char *y = c->buf[2];
    FNN_FOR
    for (int64_t t = 0; t < c->dim[0] * m; t++) {
        const int64_t o = t / m, i = index[t % m];
        if (inside(i, n)) memcpy(y + t * row, x + (o * n + i) * row, (size_t)row);
        else memset(y + t * row, 0, (size_t)row);
    }
}

/* dx[o][index[k]] += dy[o][k], in the order of k.  A task is a strip of columns, or a range of
 * rows where there are few columns: either way a row's sum is made by one thread. */
static void take_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t n = c->dim[1], inner = c->dim[2], m = c->dim[3], skip = c->dim[5];
    const int64_t strip = 256, strips = (inner + strip - 1) / strip;
    const int64_t ranges = c->dim[0] * strips < 8 ? smaller(n, 8) : 1;
    const int64_t *index = c->buf[1];
    FNN_FOR
    for (int64_t t = 0; t < c->dim[0] * strips * ranges; t++) {
        const int64_t range = t % ranges, j = t / ranges % strips * strip, o = t / ranges / strips;
        const int64_t lo = n * range / ranges, hi = n * (range + 1) / ranges;
        const int64_t cols = smaller(strip, inner - j);
        const float *dy = c->grad[2] + o * m * inner + j;
        float *dx = c->grad[0] + o * n * inner + j;
        if (!(c->acc & 1))
            for (int64_t i = lo; i < hi; i++) memset(dx + i * inner, 0, (size_t)cols * sizeof *dx);
        for (int64_t k = 0; k < m; k++)
            if (index[k] >= lo && index[k] < hi && index[k] != skip)
                move_row(dx + index[k] * inner, 1, dy + k * inner, 1, cols, 4, 1);
    }
}

/* ---- gather ----
 * y[o][k][j] = x[o][index[o][k][j]][j].  x: (outer, n, inner), index, y: (outer, m, inner).
 * dim: outer, n, inner, m, bytes of an element.  */

#define GATHER(T)                                                                           \
    {                                                                                       \
        FNN_FOR                                                                             \
        for (int64_t t = 0; t < rows; t++) {                                                \
            const T *x = (const T *)c->buf[0] + t / m * n * inner;                          \
            T *y = (T *)c->buf[2] + t * inner;                                              \
            for (int64_t j = 0; j < inner; j++) {                                           \
                const int64_t i = index[t * inner + j];                                     \
                y[j] = inside(i, n) ? x[i * inner + j] : 0;                                 \
            }                                                                               \
        }                                                                                   \
        break;                                                                              \
    }

static void gather_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t n = c->dim[1], inner = c->dim[2], m = c->dim[3], rows = c->dim[0] * m;
    const int64_t *index = c->buf[1];
    switch (c->dim[4]) {
    case 1: GATHER(uint8_t)
    case 2: GATHER(uint16_t)
    case 4: GATHER(uint32_t)
    case 8: GATHER(uint64_t)
    }
}

/* to[o][index[o][k][j]][j] += from[o][k][j], in the order of k. */
static inline void scatter_into(const int64_t *d, float *to, const int64_t *index, const float *from)
{
    const int64_t n = d[1], inner = d[2], m = d[3], strips = (inner + FOLD_COLS - 1) / FOLD_COLS;
    FNN_FOR
    for (int64_t t = 0; t < d[0] * strips; t++) {
        const int64_t o = t / strips, lo = t % strips * FOLD_COLS, hi = smaller(inner, lo + FOLD_COLS);
        for (int64_t k = o * m; k < (o + 1) * m; k++)
            for (int64_t j = lo; j < hi; j++) {
                const int64_t i = index[k * inner + j];
                if (inside(i, n)) to[(o * n + i) * inner + j] += from[k * inner + j];
            }
    }
}

/* dx = dy added up where it came from. */
static void gather_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    if (!(c->acc & 1)) zero_fill(c->grad[0], d[0] * d[1] * d[2]);
    scatter_into(d, c->grad[0], c->buf[1], c->grad[2]);
}

/* ---- scatter_add ----
 * y = x, then y[o][index[o][k][j]][j] += v[o][k][j].  x, y: (outer, n, inner), index, v: (outer, m,
 * inner).  dim: outer, n, inner, m.  */

static inline void copy_floats(float *to, const float *from, int64_t n, int acc)
{
    const walk w = {{1, 1, 1, 1, 1, n}, {0, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 1}};
    move(w, (char *)to, (const char *)from, 4, acc);
}

static void scatter_add_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    copy_floats(c->buf[3], c->buf[0], d[0] * d[1] * d[2], 0);
    scatter_into(d, c->buf[3], c->buf[1], c->buf[2]);
}

/* dx = dy, dv = dy at the index. */
static void scatter_add_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim, n = d[1], inner = d[2], m = d[3];
    const int64_t *index = c->buf[1];
    const float *dy = c->grad[3];
    float *dv = c->grad[2];
    if (c->grad[0]) copy_floats(c->grad[0], dy, d[0] * n * inner, c->acc & 1);
    if (!dv) return;
    FNN_FOR
    for (int64_t t = 0; t < d[0] * m * inner; t++) {
        const int64_t i = index[t], o = t / inner / m;
        const float g = inside(i, n) ? dy[(o * n + i) * inner + t % inner] : 0.0f;
        dv[t] = c->acc >> 2 & 1 ? dv[t] + g : g;
    }
}

#endif
