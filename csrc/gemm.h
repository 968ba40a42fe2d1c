/*
 * gemm.h: C = act(op(A) op(B) + start), single precision, row-major, all four transpositions.
 *
 * Invariant: every element of C is one chain c = fma(a[k], b[k], c) over ascending k, started from
 * the bias, from C, or from 0.  So its bits do not depend on the tiles, the number of threads, the
 * number of rows or the position of a row, and are equal on every ISA that has FMA.  (Without FMA
 * the chain is c = c + a * b with two roundings, in the same order.)
 *
 * Nothing outside the three matrices is read or written, nothing is allocated; m, n, k may be 0
 * (k = 0 writes the start of the chain through act).
 */
#ifndef FNN_GEMM_H
#define FNN_GEMM_H

#include "fnn.h"
#include "parallel.h"

enum { GEMM_ACT_NONE, GEMM_ACT_RELU };

/* C (m,n) = op(A) (m,k) op(B) (k,n).  Leading dimensions in elements, at least the row length. */
typedef struct {
    int64_t m, n, k;
    const float *a;       /* (m,k), or (k,m) if ta                                       */
    int64_t lda;
    int ta;
    const float *b;       /* (k,n), or (n,k) if tb: the weight (out,in) of a Linear      */
    int64_t ldb;
    int tb;
    float *c;             /* (m,n); must not overlap a, b or bias                        */
    int64_t ldc;
    int acc;              /* C +=: the chain starts from C; bias must be NULL then       */
    const float *bias;    /* (n), or NULL                                                */
    int act;              /* GEMM_ACT_*, applied to the end of the chain                 */
} fnn_gemm;

/* Two nested batch dimensions (outer, inner): counts and element strides; stride 0 = shared.
 * One dimension: n = {batch, 1}.  The C of different items must not overlap. */
typedef struct {
    int64_t n[2], a[2], b[2], c[2];
} gemm_batch;

/* The first GEMM_SCRATCH bytes of local scratch are used; the rest of it and all of the shared
 * scratch stay the caller's. */
#define GEMM_SCRATCH (1 << 20)

static inline float gemm_fma(float a, float b, float c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return __builtin_fmaf(a, b, c);
#else
    return c + a * b;
#endif
}

/* One thread. */
static void gemm_serial(const fnn_gemm *g, float *scratch)
{
    (void)scratch;
    for (int64_t i = 0; i < g->m; i++) {
        float *c = g->c + i * g->ldc;
        if (!g->acc)
            for (int64_t j = 0; j < g->n; j++)
                c[j] = g->bias ? g->bias[j] : 0.0f;
        for (int64_t p = 0; p < g->k; p++) {
            const float a = g->ta ? g->a[p * g->lda + i] : g->a[i * g->lda + p];
            if (g->tb)
                for (int64_t j = 0; j < g->n; j++)
                    c[j] = gemm_fma(a, g->b[j * g->ldb + p], c[j]);
            else
                for (int64_t j = 0; j < g->n; j++)
                    c[j] = gemm_fma(a, g->b[p * g->ldb + j], c[j]);
        }
        if (g->act == GEMM_ACT_RELU)
            for (int64_t j = 0; j < g->n; j++)
                c[j] = c[j] < 0.0f ? 0.0f : c[j];
    }
}

/* The rows i0 <= i < i1 of g. */
static fnn_gemm gemm_rows(fnn_gemm g, int64_t i0, int64_t i1)
{
    g.m = i1 - i0;
    g.a += g.ta ? i0 : i0 * g.lda;
    g.c += i0 * g.ldc;
    return g;
}

/* The whole team, barrier at the end. */
static void gemm_team(const fnn_gemm *g, const fnn_scratch *s)
{
    const int64_t t = fnn_team_size(), r = fnn_team_rank();
    const fnn_gemm part = gemm_rows(*g, g->m * r / t, g->m * (r + 1) / t);
    gemm_serial(&part, s->local);
    FNN_BARRIER
}

/* n[0] * n[1] products of the same shape; the whole team, barrier at the end. */
static void gemm_batched(const fnn_gemm *g, const gemm_batch *batch, const fnn_scratch *s)
{
    const int64_t items = batch->n[0] * batch->n[1];
    FNN_FOR
    for (int64_t t = 0; t < items; t++) {
        const int64_t i = t / batch->n[1], j = t % batch->n[1];
        fnn_gemm item = *g;
        item.a += i * batch->a[0] + j * batch->a[1];
        item.b += i * batch->b[0] + j * batch->b[1];
        item.c += i * batch->c[0] + j * batch->c[1];
        gemm_serial(&item, s->local);
    }
}

#endif
