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
    walk w = strided_walk(d);
    int64_t size = 1;
    for (int k = 0; k < AXES; k++) {
        const int64_t to = w.to[k];
        w.to[k] = w.from[k];
        w.from[k] = to;
        size *= d[k];
    }
    if (size < d[13] && !acc) zero_fill(c->grad[0], d[13]);
    move(w, (char *)(c->grad[0] + d[12]), (const char *)c->grad[1], 4, acc);
}

/* ---- expand ----
 * y[o][i] = x[o] for i < n.  x: (outer, inner), y: (outer, n, inner).
 * dim: outer, n, inner, bytes of an element.  */

static void expand_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    const int64_t outer = c->dim[0], n = c->dim[1], inner = c->dim[2], bytes = c->dim[3];
    const int64_t row = inner * bytes;
    const int64_t batch = inner > 0 && inner < MOVE_GRAIN ? MOVE_GRAIN / inner : 1;
    const int64_t pieces = (n + batch - 1) / batch;
    const char *x = c->buf[0];
    char *y = c->buf[1];
    FNN_FOR
    for (int64_t t = 0; t < outer * pieces; t++) {
        const int64_t o = t / pieces, i = t % pieces * batch, rows = smaller(batch, n - i);
        char *to = y + (o * n + i) * row;
        if (inner == 1)
            move_row(to, 1, x + o * row, 0, rows, (int)bytes, 0);
        else
            for (int64_t r = 0; r < rows; r++) memcpy(to + r * row, x + o * row, (size_t)row);
    }
}

/* dx = sum of dy over i. */
static void expand_bwd(const fnn_call *c, const fnn_scratch *s)
{
    axis_sums(c->grad[1], c->dim[0], c->dim[1], c->dim[2], c->grad[0], c->acc & 1, s);
}

#endif
