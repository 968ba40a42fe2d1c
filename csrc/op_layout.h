/*
 * op_layout.h: images from (N, C, pixels) to (N, pixels, C), and back.
 */
#ifndef FNN_OP_LAYOUT_H
#define FNN_OP_LAYOUT_H

#include "gemm.h"

#define TURN_ROWS 64          /* of a block: four cache lines of a row of y               */
#define TURN_COLUMNS 16       /* a cache line of a row of x                               */

/* y[j][i] (+)= x[i][j] for i < m, j < n; rows xs and ys apart. */
static void turn_block(const float *x, int64_t xs, float *y, int64_t ys, int64_t m, int64_t n, int acc)
{
    const int64_t down = acc ? 0 : m / SQ * SQ, across = acc ? 0 : n / SQ * SQ;
    for (int64_t j = 0; j < across; j += SQ)
        for (int64_t i = 0; i < down; i += SQ) {
            const float *row[SQ];
            sqf square[SQ];
            gemm_row_pointers(row, x + i * xs, xs, SQ);
            gemm_transpose(square, row, j);
#pragma GCC unroll 8
            for (int q = 0; q < SQ; q++)
                sq_store(y + (j + q) * ys + i, square[q]);
        }
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = j < across ? down : 0; i < m; i++)
            y[j * ys + i] = acc ? y[j * ys + i] + x[i * xs + j] : x[i * xs + j];
}

/* y (n,c,r) (+)= x (n,r,c) with the last two axes exchanged. */
static void turn_images(const float *x, float *y, int64_t n, int64_t r, int64_t c, int acc)
{
    const int64_t down = gemm_ceil(r, TURN_ROWS), across = gemm_ceil(c, TURN_COLUMNS);
    FNN_FOR
    for (int64_t t = 0; t < n * down * across; t++) {
        const int64_t image = t / down / across * r * c;
        const int64_t i = t % down * TURN_ROWS, j = t / down % across * TURN_COLUMNS;
        turn_block(x + image + i * c + j, c, y + image + j * r + i, r, gemm_min(TURN_ROWS, r - i),
                   gemm_min(TURN_COLUMNS, c - j), acc);
    }
}

/* ---- turn ---- x: (n,r,c), y: (n,c,r).  dim: n, r, c. */

static void turn_fwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    turn_images(c->buf[0], c->buf[1], c->dim[0], c->dim[1], c->dim[2], 0);
}

static void turn_bwd(const fnn_call *c, const fnn_scratch *s)
{
    (void)s;
    turn_images(c->grad[1], c->grad[0], c->dim[0], c->dim[2], c->dim[1], c->acc & 1);
}

#endif
