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
#include "gemm_kernels.h"

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

/* Block sizes.
 * KC: k per block.  The packed row panel of A, KC x 16 floats (24 KB), stays in L1 while B streams
 *     past it from L2.
 * NC: columns per block.  KC x NC floats of packed B (720 KB) are 3/4 of a 1 MB L2.
 * NR: the columns of the tallest tile; B is divided among threads in this unit. */
#ifndef GEMM_KC
#define GEMM_KC 384
#endif
#ifndef GEMM_NC
#define GEMM_NC 480
#endif
#ifndef GEMM_PACK_B
#define GEMM_PACK_B 4
#endif
#ifndef GEMM_PACK_A
#define GEMM_PACK_A 4
#endif
#define GEMM_NR (gemm_nv[GEMM_MR - 1] * VEC_W)
#define GEMM_AR ((GEMM_MR + VEC_W - 1) / VEC_W * VEC_W)   /* row length of a packed panel of A */

static inline int64_t gemm_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t gemm_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The size of equal blocks of at most `most` that cover n, rounded up to a multiple of unit. */
static inline int64_t gemm_block(int64_t n, int64_t most, int64_t unit)
{
    const int64_t blocks = n > most ? gemm_ceil(n, most) : 1;
    return gemm_ceil(gemm_ceil(n, blocks), unit) * unit;
}

static inline vf gemm_act(vf x, int act)
{
    switch (act) {
    case GEMM_ACT_RELU: return vf_max(x, vf_zero());
    default: return x;
    }
}

/* The activation of the (m, n) elements at c, which are in L1 then. */
static void gemm_act_tile(float *c, int64_t ldc, int64_t m, int64_t n, int act)
{
    for (int64_t i = 0; i < m; i++, c += ldc) {
        int64_t j = 0;
        for (; j + FNN_LANES <= n; j += FNN_LANES)
            vf_store(c + j, gemm_act(vf_load(c + j), act));
        if (j < n)
            vf_store_n(c + j, gemm_act(vf_load_n(c + j, (int)(n - j)), act), (int)(n - j));
    }
}

/* Rows i0..i1 of C by columns j0..j1, over p0..p1: one panel of A against a block of B.
 * packed: NULL, or the packed block of B (column j at (j - j0) * (p1 - p0)), packed here if fill. */
typedef struct {
    int64_t i0, i1, j0, j1, p0, p1;
    int nv;               /* width of the column panels in vectors                        */
    float *packed_a, *packed_b;
    int fill_b;
} gemm_range;

static void gemm_panel(const fnn_gemm *g, const gemm_range *r)
{
    const int64_t mr = r->i1 - r->i0, k = r->p1 - r->p0;
    gemm_tile t = {.k = k, .ldc = g->ldc};
    int by_row = !g->ta;
    t.a = g->a + (g->ta ? r->p0 * g->lda + r->i0 : r->i0 * g->lda + r->p0);
    t.ai = g->lda;
    t.ak = g->lda;
    if (r->packed_a) {
        gemm_pack(r->packed_a, GEMM_AR, t.a, g->lda, !g->ta, mr, k);
        t.a = r->packed_a;
        t.ak = GEMM_AR;
        by_row = 0;
    }
    int nv = r->nv, log2nv = __builtin_ctz(nv);
    for (int64_t j = r->j0; j < r->j1; j += nv * VEC_W) {
        while ((nv - 1) * VEC_W >= r->j1 - j) {
            nv /= 2;
            log2nv--;
        }
        const int64_t n = gemm_min(nv * VEC_W, r->j1 - j);
        const int edge = n < nv * VEC_W;
        t.b = g->tb ? g->b + j * g->ldb + r->p0 : g->b + r->p0 * g->ldb + j;
        t.ldb = g->ldb;
        if (r->packed_b) {
            float *dst = r->packed_b + (j - r->j0) * k;
            if (r->fill_b)
                gemm_pack(dst, nv * VEC_W, t.b, g->ldb, g->tb, n, k);
            t.b = dst;
            t.ldb = nv * VEC_W;
        }
        t.c = g->c + r->i0 * g->ldc + j;
        t.last = (int)(n - (nv - 1) * VEC_W);
        if (r->p0 > 0 || g->acc) {
            t.start = t.c;
            t.lds = g->ldc;
        } else if (g->bias) {
            t.start = g->bias + j;
            t.lds = 0;
        }
        gemm_tile_fns[by_row][edge][mr - 1][log2nv](&t);
        if (g->act && r->p1 == g->k)
            gemm_act_tile(t.c, g->ldc, mr, n, g->act);
    }
}

/* One thread. */
static void gemm_serial(const fnn_gemm *g, float *scratch)
{
    if (g->m <= 0 || g->n <= 0)
        return;
    const int64_t panels = gemm_ceil(g->m, GEMM_MR), height = gemm_ceil(g->m, panels);
    const int nv = gemm_nv[height - 1];
    const int64_t kc = gemm_block(g->k, GEMM_KC, 8), nc = gemm_block(g->n, GEMM_NC, GEMM_NR);
    const int pack_a = (g->ta || height > 1) && nc > GEMM_PACK_A * GEMM_NR;
    const int pack_b = g->tb || panels > GEMM_PACK_B;
    gemm_range r = {.nv = nv, .packed_a = pack_a ? scratch : NULL,
                    .packed_b = pack_b ? scratch + GEMM_KC * GEMM_AR : NULL};
    for (r.j0 = 0; r.j0 < g->n; r.j0 = r.j1) {
        r.j1 = gemm_min(r.j0 + nc, g->n);
        r.p0 = 0;
        do {
            r.p1 = gemm_min(r.p0 + kc, g->k);
            for (int64_t i = 0; i < panels; i++) {
                r.i0 = g->m * i / panels;
                r.i1 = g->m * (i + 1) / panels;
                r.fill_b = i == 0;
                gemm_panel(g, &r);
            }
            r.p0 = r.p1;
        } while (r.p0 < g->k);
    }
}

/* The part of g with rows i0 <= i < i1 and columns j0 <= j < j1. */
static fnn_gemm gemm_part(fnn_gemm g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    g.m = i1 - i0;
    g.n = j1 - j0;
    g.a += g.ta ? i0 : i0 * g.lda;
    g.b += g.tb ? j0 * g.ldb : j0;
    g.c += i0 * g.ldc + j0;
    g.bias = g.bias ? g.bias + j0 : NULL;
    return g;
}

/* The whole team, barrier at the end.  The grid depends on the size of the team, the bits do not:
 * the chain of an element is the same in every part. */
static void gemm_team(const fnn_gemm *g, const fnn_scratch *s)
{
    /* Time of a part: its area, and the reading and packing of its rows and columns, each of which
     * costs about as much as 8 elements of the area. */
    const int64_t team = fnn_team_size(), units = gemm_ceil(g->n, GEMM_NR);
    int64_t grid = 1, best = INT64_MAX;
    for (int64_t tm = 1; tm <= team; tm++) {
        if (team % tm)
            continue;
        const int64_t rows = gemm_ceil(g->m, tm), cols = gemm_ceil(units, team / tm) * GEMM_NR;
        const int64_t cost = rows * cols + 8 * (rows + cols);
        if (cost < best) {
            best = cost;
            grid = tm;
        }
    }
    const int64_t tn = team / grid, i = fnn_team_rank() / tn, j = fnn_team_rank() % tn;
    const fnn_gemm part = gemm_part(*g, g->m * i / grid, g->m * (i + 1) / grid,
                                    gemm_min(units * j / tn * GEMM_NR, g->n),
                                    gemm_min(units * (j + 1) / tn * GEMM_NR, g->n));
    gemm_serial(&part, s->local);
    FNN_BARRIER
}

/* n[0] * n[1] products of the same shape; the whole team, barrier at the end. */
static void gemm_batched(const fnn_gemm *g, const gemm_batch *batch, const fnn_scratch *s)
{
    /* Rows are divided only as far as that is needed for at least 64 tasks, and into no fewer than
     * four panels: each task packs B again. */
    const int64_t items = batch->n[0] * batch->n[1];
    const int64_t blocks = items > 0 && g->m > 0
        ? gemm_min(gemm_ceil(64, items), gemm_ceil(g->m, 4 * GEMM_MR)) : 0;
    FNN_FOR
    for (int64_t t = 0; t < items * blocks; t++) {
        const int64_t item = t / blocks, b = t % blocks;
        const int64_t i = item / batch->n[1], j = item % batch->n[1];
        fnn_gemm part = gemm_part(*g, g->m * b / blocks, g->m * (b + 1) / blocks, 0, g->n);
        part.a += i * batch->a[0] + j * batch->a[1];
        part.b += i * batch->b[0] + j * batch->b[1];
        part.c += i * batch->c[0] + j * batch->c[1];
        gemm_serial(&part, s->local);
    }
}

#endif
