/*
 * op_movement.h: ops that move elements and do not compute.
 *
 * Elements have 1, 2, 4 or 8 bytes and are moved as bits; gradients are floats.
 */
#ifndef FNN_OP_MOVEMENT_H
#define FNN_OP_MOVEMENT_H

#include <stdlib.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "sums.h"

#define MOVE_GRAIN 8192       /* elements of one task: worth handing to a thread              */

#define STREAM_BYTES (16 << 20)   /* more than this does not stay in a cache: write around it  */

/* x[0..n) = 0, past the caches: memory is then not read before it is overwritten. */
static inline void stream_zeros(float *x, int64_t n)
{
#if defined(__SSE2__)
    for (; n > 0 && (uintptr_t)x % 16; n--) *x++ = 0;
    for (; n >= 4; n -= 4, x += 4) _mm_stream_ps(x, _mm_setzero_ps());
#endif
    memset(x, 0, sizeof *x * (size_t)n);
}

/* x[0..n) = 0 */
static inline void zero_fill(float *x, int64_t n)
{
    const int64_t tasks = (n + MOVE_GRAIN - 1) / MOVE_GRAIN;
    if (n > STREAM_BYTES / (int64_t)sizeof *x) {
        FNN_FOR_NOWAIT
        for (int64_t t = 0; t < tasks; t++)
            stream_zeros(x + t * MOVE_GRAIN, smaller(n - t * MOVE_GRAIN, MOVE_GRAIN));
#if defined(__SSE2__)
        _mm_sfence();             /* such stores are seen by others only after this */
#endif
        FNN_BARRIER
        return;
    }
    FNN_FOR
    for (int64_t t = 0; t < tasks; t++)
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

static inline void swap_axes(walk *w, int a, int b)
{
    const int64_t n = w->n[a], to = w->to[a], from = w->from[a];
    w->n[a] = w->n[b], w->to[a] = w->to[b], w->from[a] = w->from[b];
    w->n[b] = n, w->to[b] = to, w->from[b] = from;
}

/* Axes reordered so that the destination is written front to back. */
static inline walk walk_in_order(walk w)
{
    for (int i = 1; i < AXES; i++)
        for (int k = i; k > 0; k--) {
            const int64_t a = w.n[k - 1] == 1 ? INT64_MAX : llabs(w.to[k - 1]);
            const int64_t b = w.n[k] == 1 ? INT64_MAX : llabs(w.to[k]);
            if (a >= b) break;
            swap_axes(&w, k - 1, k);
        }
    return w;
}

/* A place on the walk over all axes before `last`: indices, elements from the start on both sides. */
typedef struct { int64_t i[AXES], to, from; } place;

static inline place place_at(const walk *w, int last, int64_t t)
{
    place p = {0};
    for (int k = last - 1; k >= 0; k--) {
        p.i[k] = t % w->n[k];
        t /= w->n[k];
        p.to += p.i[k] * w->to[k];
        p.from += p.i[k] * w->from[k];
    }
    return p;
}

static inline void place_next(const walk *w, int last, place *p)
{
    for (int k = last - 1; k >= 0; k--) {
        p->to += w->to[k];
        p->from += w->from[k];
        if (++p->i[k] < w->n[k]) return;
        p->i[k] = 0;
        p->to -= w->n[k] * w->to[k];
        p->from -= w->n[k] * w->from[k];
    }
}

#define MOVE_EACH(T, op)                                                                    \
    {                                                                                       \
        T *y = to;                                                                          \
        const T *x = from;                                                                  \
        const T first = n > 0 ? *x : 0;                                                     \
        if (ts == 1 && fs == 0) for (int64_t i = 0; i < n; i++) y[i] op first;              \
        else if (ts == 1 && fs == 1) for (int64_t i = 0; i < n; i++) y[i] op x[i];          \
        else for (int64_t i = 0; i < n; i++) y[i * ts] op x[i * fs];                        \
        break;                                                                              \
    }

/* n elements from one stride to another; acc: floats are added. */
static void move_row(void *restrict to, int64_t ts, const void *restrict from, int64_t fs, int64_t n,
                     int bytes, int acc)
{
    if (ts == 1 && fs == 1 && !acc) {
        memcpy(to, from, (size_t)(n * bytes));
        return;
    }
    switch (acc ? 0 : bytes) {
    case 0: MOVE_EACH(float, +=)
    case 1: MOVE_EACH(uint8_t, =)
    case 2: MOVE_EACH(uint16_t, =)
    case 4: MOVE_EACH(uint32_t, =)
    case 8: MOVE_EACH(uint64_t, =)
    }
}

/* to[i][j] = from[j][i] for i < rows, j < cols, rows of `to` ts and of `from` fs apart.  Whole tiles
 * of 4-byte elements pass through a small block, so that each line of `to` is written at once. */
static void transpose_tile(char *to, int64_t ts, const char *from, int64_t fs, int rows, int cols,
                           int bytes, int acc)
{
    if (bytes != 4 || rows != TILE || cols != TILE) {
        for (int i = 0; i < rows; i++)
            move_row(to + i * ts * bytes, 1, from + i * bytes, fs, cols, bytes, acc);
        return;
    }
    uint32_t block[TILE][TILE];
    for (int j = 0; j < TILE; j += 4)
        for (int i = 0; i < TILE; i += 4)
            transpose_4x4((const uint32_t *)from + j * fs + i, fs, &block[i][j], TILE);
    for (int i = 0; i < TILE; i++) move_row(to + i * ts * 4, 1, block[i], 1, TILE, 4, acc);
}

/* The last axis of a walk is contiguous in `to`, axis 4 in `from`: both are cut into tiles. */
static void move_tiles(const walk *w, char *to, const char *from, int bytes, int acc)
{
    enum { HIGH = 4 * TILE, WIDE = 64 * TILE };       /* what a task covers: 64 rows, 1024 columns */
    const int64_t rows = w->n[4], cols = w->n[5], ts = w->to[4], fs = w->from[5];
    const int64_t high = (rows + HIGH - 1) / HIGH, wide = (cols + WIDE - 1) / WIDE;
    const int64_t outer = w->n[0] * w->n[1] * w->n[2] * w->n[3];
    FNN_FOR
    for (int64_t t = 0; t < outer * high * wide; t++) {
        const place p = place_at(w, 4, t / wide / high);
        const int64_t i0 = t / wide % high * HIGH, j0 = t % wide * WIDE;
        for (int64_t j = j0; j < smaller(cols, j0 + WIDE); j += TILE)
            for (int64_t i = i0; i < smaller(rows, i0 + HIGH); i += TILE)
                transpose_tile(to + (p.to + i * ts + j) * bytes, ts,
                               from + (p.from + j * fs + i) * bytes, fs,
                               (int)smaller(TILE, rows - i), (int)smaller(TILE, cols - j), bytes, acc);
    }
}

/* Row by row along the last axis. */
static void move_rows(const walk *w, char *to, const char *from, int bytes, int acc)
{
    const int64_t n = w->n[5], ts = w->to[5], fs = w->from[5];
    const int64_t cols = smaller(n, MOVE_GRAIN), pieces = (n + cols - 1) / cols;
    const int64_t rows = w->n[0] * w->n[1] * w->n[2] * w->n[3] * w->n[4];
    const int64_t batch = (MOVE_GRAIN + n - 1) / n;
    FNN_FOR
    for (int64_t t = 0; t < (rows + batch - 1) / batch * pieces; t++) {
        const int64_t j = t % pieces * cols, r = t / pieces * batch;
        place p = place_at(w, 5, r);
        for (int64_t i = r; i < smaller(r + batch, rows); i++, place_next(w, 5, &p))
            move_row(to + (p.to + j * ts) * bytes, ts, from + (p.from + j * fs) * bytes, fs,
                     smaller(cols, n - j), bytes, acc);
    }
}

/* All elements of a walk; acc: floats are added. */
static void move(walk w, char *to, const char *from, int bytes, int acc)
{
    for (int k = 0; k < AXES; k++)
        if (w.n[k] == 0) return;
    w = walk_in_order(w);
    int k = AXES - 1;
    if (w.to[k] == 1 && w.from[k] != 1 && w.from[k] != 0)
        for (k = AXES - 2; k > 0 && (w.from[k] != 1 || w.n[k] == 1); k--) {}
    if (k == AXES - 1 || w.from[k] != 1 || w.n[k] == 1) {
        move_rows(&w, to, from, bytes, acc);
        return;
    }
    swap_axes(&w, k, AXES - 2);
    move_tiles(&w, to, from, bytes, acc);
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

/* Between input j, which starts at row `first` of y, and y, whose elements have so many bytes. */
static inline walk cat_walk(const fnn_call *c, int j, int64_t first, int64_t bytes, char **y)
{
    const int64_t *d = c->dim, row = d[4 + j] * d[1];
    *y += first * d[1] * bytes;
    return (walk){{1, 1, 1, 1, d[0], row}, {0, 0, 0, 0, d[2] * d[1], 1}, {0, 0, 0, 0, row, 1}};
}

#define COPY_EACH(bytes)                                                                    \
    for (; rows > 0; rows--, to += step, from += bytes) memcpy(to, from, bytes);            \
    return;

/* `rows` pieces of n bytes, side by side in `from`, `step` bytes apart in `to`. */
static inline void copy_pieces(char *to, int64_t step, const char *from, int64_t n, int64_t rows)
{
    switch (n) {
    case 4: COPY_EACH(4)
    case 8: COPY_EACH(8)
    case 12: COPY_EACH(12)
    case 16: COPY_EACH(16)
    case 32: COPY_EACH(32)
    case 64: COPY_EACH(64)
    default: COPY_EACH((size_t)n)
    }
}

/* Many rows: a batch of them is put together while it is in the cache. */
static void cat_rows(const fnn_call *c)
{
    const int64_t *d = c->dim, unit = d[1] * d[3], row = d[2] * unit;
    const int64_t batch = row < 2 * MOVE_GRAIN ? 2 * MOVE_GRAIN / (row + 1) + 1 : 1;
    FNN_FOR
    for (int64_t t = 0; t < (d[0] + batch - 1) / batch; t++) {
        const int64_t first = t * batch, rows = smaller(batch, d[0] - first);
        char *y = (char *)c->buf[c->n_in] + first * row;
        for (int j = 0; j < c->n_in; y += d[4 + j++] * unit) {
            const int64_t n = d[4 + j] * unit;
            copy_pieces(y, row, (const char *)c->buf[j] + first * n, n, rows);
        }
    }
}

static void cat_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    int64_t first = 0;
    if (c->dim[0] >= 64) {
        cat_rows(c);
        return;
    }
    for (int j = 0; j < c->n_in; first += c->dim[4 + j++]) {
        char *y = c->buf[c->n_in];
        const walk w = cat_walk(c, j, first, c->dim[3], &y);
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
        const walk w = cat_walk(c, j, first, 4, &dy);
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

#endif
