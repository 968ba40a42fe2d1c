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

/* ---- indices -------------------------------------------------------------------------------
 * They were checked when the record was made.  Their memory may be shared with NumPy and changed
 * since, so a kernel that meets one outside leaves that element out rather than the process.    */

static inline int inside(int64_t i, int64_t n) { return (uint64_t)i < (uint64_t)n; }

/* ---- outside ----
 * y = the first place where not low <= x < high, other than where x = skip; -1 if there is none.
 * x: (n) int64, y: () int64.  dim: n, low, high, skip, 1 if skip counts.  */

static void outside_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0], low = c->dim[1], high = c->dim[2], skip = c->dim[3];
    const int64_t most = FNN_SHARED_BYTES / 8, run = n / most + MOVE_GRAIN / 2;
    const uint64_t span = high > low ? (uint64_t)high - (uint64_t)low : 0;
    const int64_t *x = c->buf[0], parts = (n + run - 1) / run;
    const uint64_t let = c->dim[4] != 0;
    uint64_t *bad = (uint64_t *)s->shared;
    FNN_FOR
    for (int64_t t = 0; t < parts; t++) {
        uint64_t any = 0;
        for (int64_t i = t * run; i < smaller(n, (t + 1) * run); i++)
            any |= ((uint64_t)x[i] - (uint64_t)low >= span) & ~(let & (x[i] == skip));
        bad[t] = any;
    }
    FNN_SINGLE
    {
        int64_t t = 0, i = -1;
        while (t < parts && !bad[t]) t++;
        if (t < parts)
            for (i = t * run; (uint64_t)x[i] - (uint64_t)low < span || (let && x[i] == skip);) i++;
        *(int64_t *)c->buf[1] = i;
    }
}

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

/* dx[o][index[k]] += dy[o][k], in the order of k.
 * Positions k are sorted by the row they name, neighbours in order of k; what belongs to a row is
 * added up in registers by one thread, and rows that no index names are not read.  A segment of
 * positions is what fits the scratch.  An entry: row << 24 | position in the segment. */

#define TAKE_SEGMENT (1 << 17)
#define TAKE_RADIX 11

/* Entries of a segment in order: counting sorts by 11 bits of the row at a time.  Returns where they
 * are, in one of two buffers.  One thread. */
static uint64_t *take_sort(const int64_t *index, int64_t m, int64_t n, int64_t skip, uint64_t *from,
                           uint64_t *to, int64_t *left)
{
    int64_t kept = 0;
    for (int64_t k = 0; k < m; k++)
        if (inside(index[k], n) && index[k] != skip) from[kept++] = (uint64_t)index[k] << 24 | (uint64_t)k;
    *left = kept;
    for (int shift = 24; shift < 64 && (uint64_t)(n - 1) >> (shift - 24) > 0; shift += TAKE_RADIX) {
        int32_t start[(1 << TAKE_RADIX) + 1] = {0};
        const uint64_t mask = (1 << TAKE_RADIX) - 1;
        for (int64_t k = 0; k < kept; k++) start[(from[k] >> shift & mask) + 1]++;
        for (int i = 0; i < 1 << TAKE_RADIX; i++) start[i + 1] += start[i];
        for (int64_t k = 0; k < kept; k++) to[start[from[k] >> shift & mask]++] = from[k];
        uint64_t *other = from;
        from = to, to = other;
    }
    return from;
}

/* dx[j] = (fresh ? 0 : dx[j]) + dy[k][j] for the positions k of `count` entries; dy rows inner apart. */
static void take_add(const uint64_t *entry, int64_t count, const float *dy, int64_t inner, float *dx,
                     int64_t cols, int fresh)
{
    for (int64_t j = 0; j < cols; j += 4 * FNN_LANES) {
        vf sum[4];
        int lanes[4];
        for (int v = 0; v < 4; v++) {
            const int64_t at = j + v * FNN_LANES;
            lanes[v] = at < cols ? lanes_of(cols - at) : 0;
            sum[v] = fresh ? vf_zero() : vf_load_n(dx + smaller(at, cols), lanes[v]);
        }
        for (int64_t k = 0; k < count; k++) {
            const float *row = dy + (int64_t)(entry[k] & 0xffffff) * inner + j;
            if (lanes[3] == FNN_LANES)
                for (int v = 0; v < 4; v++) sum[v] = vf_add(sum[v], vf_load(row + v * FNN_LANES));
            else
                for (int v = 0; v < 4 && lanes[v]; v++)
                    sum[v] = vf_add(sum[v], vf_get(row + v * FNN_LANES, lanes[v]));
        }
        for (int v = 0; v < 4 && lanes[v]; v++) vf_put(dx + j + v * FNN_LANES, sum[v], lanes[v]);
    }
}

/* The rows that begin among entries lo .. hi - 1. */
static void take_add_rows(const fnn_call *c, const uint64_t *entry, int64_t lo, int64_t hi,
                          int64_t end, const float *dy, float *dx, int64_t cols, int fresh)
{
    const int64_t inner = c->dim[2];
    while (lo > 0 && lo < hi && entry[lo] >> 24 == entry[lo - 1] >> 24) lo++;
    while (lo < hi) {
        const uint64_t row = entry[lo] >> 24;
        int64_t next = lo + 1;
        while (next < end && entry[next] >> 24 == row) next++;
        take_add(entry + lo, next - lo, dy, inner, dx + (int64_t)row * inner, cols, fresh);
        lo = next;
    }
}

static void take_bwd(const fnn_call *c, const fnn_scratch *s)
{
    enum { STRIP = 256, PIECES = 32 };
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2], m = c->dim[3];
    const int64_t strips = (inner + STRIP - 1) / STRIP;
    uint64_t *room = (uint64_t *)s->shared;
    struct { uint64_t *entry; int64_t left; } *sorted = (void *)(room + 2 * TAKE_SEGMENT);
    if (!(c->acc & 1)) zero_fill(c->grad[0], outer * n * inner);
    for (int64_t first = 0; first < m; first += TAKE_SEGMENT) {
        const int64_t here = smaller(m - first, TAKE_SEGMENT);
        FNN_SINGLE
        sorted->entry = take_sort((const int64_t *)c->buf[1] + first, here, n, c->dim[5], room,
                                  room + TAKE_SEGMENT, &sorted->left);
        const uint64_t *entry = sorted->entry;
        const int64_t left = sorted->left;
        FNN_FOR
        for (int64_t t = 0; t < outer * strips * PIECES; t++) {
            const int64_t o = t / PIECES / strips, j = t / PIECES % strips * STRIP, p = t % PIECES;
            take_add_rows(c, entry, left * p / PIECES, left * (p + 1) / PIECES, left,
                          c->grad[2] + (o * m + first) * inner + j, c->grad[0] + o * n * inner + j,
                          smaller(STRIP, inner - j), first == 0 && !(c->acc & 1));
        }
    }
}

/* ---- scaled_rows ----
 * y[k][j] = (x[index[k]][j] - mean[j / run]) / std[j / run]: a batch of rows, shuffled and normalised
 * in one pass.  x: (n, inner) of bytes or floats, index: (m), mean, std: (inner / run), y: (m, inner).
 * dim: m, n, inner, run, bytes of an element of x.  */

/* (x - mean) / std of n floats */
VEC void scaled_floats(const float *x, int64_t n, float mean, float std, float *y)
{
    const vf low = vf_set1(mean), by = vf_set1(std);
    for (int64_t i = 0; i < n; i += FNN_LANES) {
        const int k = lanes_of(n - i);
        vf_put(y + i, vf_div(vf_sub(vf_get(x + i, k), low), by), k);
    }
}

/* The same of bytes, whose quotients are finite: a product and the correction of what it is off give
 * the rounded quotient too, in less time (Markstein, IBM J. Res. Dev. 34, 1990); it takes an fma. */
VEC void scaled_bytes(const uint8_t *x, int64_t n, float mean, float std, float *y)
{
    const vf low = vf_set1(mean), by = vf_set1(std), inverse = vf_set1(1 / std);
    for (int64_t i = 0; i < n; i += FNN_LANES) {
        const int k = lanes_of(n - i);
        const vf v = vf_sub(k == FNN_LANES ? vf_load_u8(x + i) : vf_load_u8_n(x + i, k), low);
        const vf near = vf_mul(v, inverse);
        vf_put(y + i, VEC_FMA ? vf_fma(vf_fnma(near, by, v), inverse, near) : vf_div(v, by), k);
    }
}

static void scaled_rows_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t n = c->dim[1], inner = c->dim[2], run = c->dim[3], bytes = c->dim[4];
    const int64_t *index = c->buf[1];
    const float *mean = c->buf[2], *std = c->buf[3];
    FNN_FOR
    for (int64_t k = 0; k < c->dim[0]; k++) {
        float *y = (float *)c->buf[4] + k * inner;
        const int ok = inside(index[k], n);
        const char *x = (const char *)c->buf[0] + (ok ? index[k] * inner * bytes : 0);
        if (!ok) memset(y, 0, sizeof *y * (size_t)inner);
        for (int64_t j = 0; ok && j < inner; j += run)
            if (bytes == 4) scaled_floats((const float *)x + j, run, mean[j / run], std[j / run], y + j);
            else scaled_bytes((const uint8_t *)x + j, run, mean[j / run], std[j / run], y + j);
    }
}

/* ---- gather ----
 * y[o][k][j] = x[o][index[o][k][j]][j].  x: (outer, n, inner), index, y: (outer, m, inner).
 * dim: outer, n, inner, m, bytes of an element.  */

/* One row of y: from the same column of x, or along a line of its own where inner = 1. */
#define GATHER(T)                                                                           \
    {                                                                                       \
        FNN_FOR                                                                             \
        for (int64_t t = 0; t < outer * pieces; t++) {                                      \
            const T *x = (const T *)c->buf[0] + t / pieces * n * inner;                     \
            const int64_t first = t % pieces * rows, last = smaller(m, first + rows);       \
            const int64_t *at = index + (t / pieces * m + first) * inner;                   \
            T *y = (T *)c->buf[2] + (t / pieces * m + first) * inner;                       \
            if (inner == 1)                                                                 \
                for (int64_t k = 0; k < last - first; k++) {                                \
                    const int ok = inside(at[k], n);                                        \
                    const T v = x[ok ? at[k] : 0];                                          \
                    y[k] = ok ? v : 0;                                                      \
                }                                                                           \
            else                                                                            \
                for (int64_t k = first; k < last; k++, at += inner, y += inner)             \
                    for (int64_t j = 0; j < inner; j++)                                     \
                        y[j] = inside(at[j], n) ? x[at[j] * inner + j] : 0;                 \
        }                                                                                   \
        break;                                                                              \
    }

static void gather_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2], m = c->dim[3];
    const int64_t rows = MOVE_GRAIN / smaller(MOVE_GRAIN, inner > 0 ? inner : 1);
    const int64_t pieces = (m + rows - 1) / rows;
    const int64_t *index = c->buf[1];
    if (n == 0 || inner == 0) return;      /* no index is inside: there is nothing to write */
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

/* dv = dy at the index. */
static void gradient_at(const fnn_call *c, int slot, const float *dy)
{
    const int64_t *d = c->dim, n = d[1], inner = d[2], m = d[3], *index = c->buf[1];
    float *dv = c->grad[slot];
    FNN_FOR
    for (int64_t t = 0; t < d[0] * m * inner; t++) {
        const int64_t i = index[t], o = t / inner / m;
        const float g = inside(i, n) ? dy[(o * n + i) * inner + t % inner] : 0.0f;
        dv[t] = c->acc >> slot & 1 ? dv[t] + g : g;
    }
}

/* dx = dy, dv = dy at the index. */
static void scatter_add_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim;
    if (c->grad[0]) copy_floats(c->grad[0], c->grad[3], d[0] * d[1] * d[2], c->acc & 1);
    if (c->grad[2]) gradient_at(c, 2, c->grad[3]);
}

/* ---- scatter ----
 * y = x, then y[o][index[o][k][j]][j] = v[o][k][j], of several the last; hit says where.
 * x, y, hit: (outer, n, inner), index, v: (outer, m, inner).  dim: outer, n, inner, m, bytes.  */

#define SCATTER(T)                                                                          \
    {                                                                                       \
        FNN_FOR                                                                             \
        for (int64_t t = 0; t < d[0] * strips; t++) {                                       \
            const int64_t o = t / strips, lo = t % strips * FOLD_COLS;                      \
            const int64_t hi = smaller(inner, lo + FOLD_COLS);                              \
            for (int64_t k = o * m; k < (o + 1) * m; k++)                                   \
                for (int64_t j = lo; j < hi; j++) {                                         \
                    const int64_t i = index[k * inner + j];                                 \
                    if (!inside(i, n)) continue;                                            \
                    ((T *)c->buf[3])[(o * n + i) * inner + j] = ((T *)c->buf[2])[k * inner + j]; \
                    hit[(o * n + i) * inner + j] = 1;                                       \
                }                                                                           \
        }                                                                                   \
        break;                                                                              \
    }

static void scatter_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t *d = c->dim, n = d[1], inner = d[2], m = d[3], size = d[0] * n * inner;
    const int64_t strips = (inner + FOLD_COLS - 1) / FOLD_COLS, *index = c->buf[1];
    uint8_t *hit = c->buf[4];
    const walk all = {{1, 1, 1, 1, 1, size}, {0, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 1}};
    move(all, c->buf[3], c->buf[0], (int)d[4], 0);
    FNN_FOR
    for (int64_t t = 0; t < (size + MOVE_GRAIN - 1) / MOVE_GRAIN; t++)
        memset(hit + t * MOVE_GRAIN, 0, (size_t)smaller(MOVE_GRAIN, size - t * MOVE_GRAIN));
    switch (d[4]) {
    case 1: SCATTER(uint8_t)
    case 2: SCATTER(uint16_t)
    case 4: SCATTER(uint32_t)
    case 8: SCATTER(uint64_t)
    }
}

/* dx = dy where nothing hit, dv = dy at the index (of several, each: as if there were one). */
static void scatter_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t size = c->dim[0] * c->dim[1] * c->dim[2];
    const uint8_t *hit = c->buf[4];
    const float *dy = c->grad[3];
    float *dx = c->grad[0];
    if (dx) {
        FNN_FOR
        for (int64_t t = 0; t < size; t++)
            dx[t] = (c->acc & 1 ? dx[t] : 0.0f) + (hit[t] ? 0.0f : dy[t]);
    }
    if (c->grad[2]) gradient_at(c, 2, dy);
}

#endif
