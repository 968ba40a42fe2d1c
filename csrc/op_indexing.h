/*
 * op_indexing.h: ops that read or write where int64 indices say.
 *
 * Indices were checked when the record was made.  Their memory may be shared with NumPy and changed
 * since, so a kernel that meets one outside leaves that element out rather than the process.
 */
#ifndef FNN_OP_INDEXING_H
#define FNN_OP_INDEXING_H

#include "op_movement.h"

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
