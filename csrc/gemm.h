/*
 * gemm.h: C = end(op(A) op(B) + start), single precision, row-major, all four transpositions.
 *
 * Invariant: every element of C is one chain c = fma(a[k], b[k], c) over ascending k, started from
 * the bias, from C, or from 0.  So its bits do not depend on the tiles, the number of threads, the
 * number of rows or the position of a row, and are equal on every ISA that has FMA.  (Without FMA
 * the chain is c = c + a * b with two roundings, in the same order.)
 *
 * Nothing outside the three matrices is read or written, nothing is allocated; m, n, k may be 0
 * (k = 0 writes the end of its start).
 */
#ifndef FNN_GEMM_H
#define FNN_GEMM_H

#include "fnn.h"
#include "parallel.h"
#include "sums.h"
#include "gemm_kernels.h"

enum { GEMM_ACT_NONE, GEMM_ACT_RELU, GEMM_ACT_GELU, GEMM_ACT_GELU_TANH, GEMM_ACT_SILU,
       GEMM_ACT_TANH, GEMM_ACT_SIGMOID, GEMM_ACT_CLAMP };

/* f(..., act), compiled for each activation; nothing without one. */
#define GEMM_BY_ACT(act, f, ...)                                                  \
    switch (act) {                                                                \
    case GEMM_ACT_RELU: f(__VA_ARGS__, GEMM_ACT_RELU); break;                     \
    case GEMM_ACT_GELU: f(__VA_ARGS__, GEMM_ACT_GELU); break;                     \
    case GEMM_ACT_GELU_TANH: f(__VA_ARGS__, GEMM_ACT_GELU_TANH); break;           \
    case GEMM_ACT_SILU: f(__VA_ARGS__, GEMM_ACT_SILU); break;                     \
    case GEMM_ACT_TANH: f(__VA_ARGS__, GEMM_ACT_TANH); break;                     \
    case GEMM_ACT_SIGMOID: f(__VA_ARGS__, GEMM_ACT_SIGMOID); break;               \
    case GEMM_ACT_CLAMP: f(__VA_ARGS__, GEMM_ACT_CLAMP); break;                   \
    }

/* What becomes of the end of a chain, in this order; each may be absent (NULL, GEMM_ACT_NONE).  Each
 * step rounds as the op does that it stands for. */
typedef struct {
    const float *mean, *rstd, *gain, *shift;  /* (x - mean) rstd gain + shift of each column, or all NULL */
    const float *add;     /* added; strides of C                                         */
    float *keep;          /* stored here; strides of C                                   */
    int act;              /* GEMM_ACT_* applied                                          */
    float low, high;      /* of GEMM_ACT_CLAMP                                           */
} gemm_end;

/* An A that is nowhere in memory: pack writes the rows i..i+m and columns p..p+k of op(A) as a packed
 * row panel, element (i + r, p + q) to panel[q * GEMM_AR + r]; m <= GEMM_MR. */
typedef struct gemm_source {
    void (*pack)(const struct gemm_source *a, float *panel, int64_t i, int64_t m, int64_t p,
                 int64_t k);
} gemm_source;

/* C (m,n) = op(A) (m,k) op(B) (k,n).  Leading dimensions in elements, at least the row length. */
typedef struct {
    int64_t m, n, k;
    const gemm_source *source;   /* A, instead of a, from row `first` on; or NULL        */
    int64_t first;
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
    const float *panels;  /* op(B) as gemm_pack_panel leaves it, or NULL; b is unused then */
    gemm_end end;
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
 * KC: k per block.  A packed row panel, KC x 16 floats (24 KB), stays in L1 while B streams by.
 * NC: columns per block; more if k is shorter.  KC x NC floats of packed B (720 KB) are 3/4 of a
 *     1 MB L2.
 * HELD: floats of A that stay in L2 (512 KB) where a block of A stays instead, up to HELD_K of k:
 *     a column panel of B (128 KB) is there, too.
 * GROUP: row panels of A that are packed together (96 KB).
 * PANEL: floats of a packed column panel that is used up before the next one is packed (16 KB): it
 *     stays in L1 together with the rows of A.
 * NR: columns of the tallest tile, AR: row length of a packed row panel.
 * ALIAS: rows so many floats apart share one set of L1, which has WAYS lines. */
#define GEMM_KC 384
#define GEMM_NC 480
#define GEMM_HELD (1 << 17)
#define GEMM_HELD_K 1024
#define GEMM_GROUP (64 / GEMM_AR)
#define GEMM_PANEL 4096
#define GEMM_NR (gemm_nv[GEMM_MR - 1] * VEC_W)
#define GEMM_AR ((GEMM_MR + VEC_W - 1) / VEC_W * VEC_W)
#define L1_ALIAS 1024
#define L1_WAYS 8

static inline int64_t gemm_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t gemm_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t gemm_ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* The size of equal blocks of at most `most` that cover n, rounded up to a multiple of unit. */
static inline int64_t gemm_equal(int64_t n, int64_t most, int64_t unit)
{
    const int64_t blocks = n > most ? gemm_ceil(n, most) : 1;
    return gemm_ceil(gemm_ceil(n, blocks), unit) * unit;
}

/* A weight whose products are to be taken many times is kept in panels of GEMM_PANEL_W columns of
 * op(B) by all of k, whatever the ISA: [panel][k][GEMM_PANEL_W], absent columns 0.  b: (n,k). */
static void gemm_pack_panel(float *panel, const float *b, int64_t ldb, int64_t n, int64_t k)
{
    n = gemm_min(n, GEMM_PANEL_W);
    gemm_pack_across(panel, GEMM_PANEL_W, b, ldb, n, k);
    for (int64_t p = 0; n < GEMM_PANEL_W && p < k; p++)
        for (int64_t j = n; j < GEMM_PANEL_W; j++)
            panel[p * GEMM_PANEL_W + j] = 0.0f;
}

VEC vf gemm_act(vf x, const gemm_end *e, const int act)
{
    switch (act) {
    case GEMM_ACT_RELU: return vf_max(x, vf_zero());
    case GEMM_ACT_GELU: return vf_gelu(x);
    case GEMM_ACT_GELU_TANH: return vf_gelu_tanh(x);
    case GEMM_ACT_SILU: return vf_silu(x);
    case GEMM_ACT_TANH: return vf_tanh(x);
    case GEMM_ACT_SIGMOID: return vf_sigmoid(x);
    case GEMM_ACT_CLAMP: return vf_min(vf_max(x, vf_set1(e->low)), vf_set1(e->high));
    default: return x;
    }
}

/* What becomes of x, the ends of `lanes` chains from column j on, which lie at `at` of C. */
VEC vf gemm_ended(const gemm_end *e, vf x, int64_t at, int64_t j, int lanes, const int act)
{
    if (e->rstd) {
        const vf hat = vf_mul(vf_sub(x, vf_get(e->mean + j, lanes)), vf_get(e->rstd + j, lanes));
        x = vf_fma(hat, vf_get(e->gain + j, lanes), vf_get(e->shift + j, lanes));
    }
    if (e->add) x = vf_add(x, vf_get(e->add + at, lanes));
    if (e->keep) vf_put(e->keep + at, x, lanes);
    return gemm_act(x, e, act);
}

/* The same end, told of a C that begins at element `at`, column j of the whole. */
static gemm_end gemm_end_at(gemm_end e, int64_t at, int64_t j)
{
    if (e.rstd) e.mean += j, e.rstd += j, e.gain += j, e.shift += j;
    if (e.add) e.add += at;
    if (e.keep) e.keep += at;
    return e;
}

VEC void gemm_finish_as(const fnn_gemm *g, int64_t i, int64_t j, int64_t m, int64_t n,
                        const int act)
{
    const gemm_end *e = &g->end;
    for (int64_t r = i; r < i + m; r++)
        for (int64_t q = j; q < j + n; q += FNN_LANES) {
            const int lanes = lanes_of(j + n - q);
            const int64_t at = r * g->ldc + q;
            vf_put(g->c + at, gemm_ended(e, vf_get(g->c + at, lanes), at, q, lanes, act), lanes);
        }
}

/* The end of m by n chains from (i, j) on, while C is in L1. */
static void gemm_finish(const fnn_gemm *g, int64_t i, int64_t j, int64_t m, int64_t n)
{
    const int act = g->end.act;
    if (act != GEMM_ACT_NONE) GEMM_BY_ACT(act, gemm_finish_as, g, i, j, m, n)
    else if (g->end.add || g->end.rstd) gemm_finish_as(g, i, j, m, n, GEMM_ACT_NONE);
}

/* Where the chains of the columns j, j + 1, ... start at row i, and the row stride there. */
static void gemm_set_start(gemm_tile *t, const fnn_gemm *g, int64_t i, int64_t j, int from_c)
{
    t->c = g->c + i * g->ldc + j;
    t->start = from_c ? t->c : g->bias ? g->bias + j : NULL;
    t->lds = from_c ? g->ldc : 0;
}

/* Few rows, B transposed, A not: B is read once, as it is. */
static void gemm_few_rows(const fnn_gemm *g)
{
    const int64_t width = gemm_dot_groups[g->m - 1] * SQ;
    gemm_tile t = {.k = g->k, .a = g->a, .ai = g->lda, .ldb = g->ldb, .ldc = g->ldc};
    for (int64_t j = 0, n; j < g->n; j += n) {
        const int rest = g->n - j < width;
        n = rest ? gemm_min(g->n - j, SQ) : width;
        t.b = g->b + j * g->ldb;
        gemm_set_start(&t, g, 0, j, g->acc);
        gemm_dots_fns[g->m - 1][rest](&t, n);
        gemm_finish(g, 0, j, g->m, n);
    }
}

/* Few columns, and the rows of A and the columns of B lie along k: the rows of C^T = B^T A^T. */
static void gemm_few_columns(const fnn_gemm *g)
{
    enum { WIDTH = GEMM_DOT_WIDTH };
    const int64_t width = gemm_dot_groups[g->n - 1] * SQ;
    float part[GEMM_DOT_ROWS * WIDTH];
    gemm_tile t = {.k = g->k, .a = g->b, .ai = g->tb ? g->ldb : 0, .ldb = g->lda,
                   .c = part, .ldc = WIDTH, .start = part, .lds = WIDTH};
    for (int64_t i = 0, m; i < g->m; i += m) {
        const int rest = g->m - i < width;
        m = rest ? gemm_min(g->m - i, SQ) : width;
        float *c = g->c + i * g->ldc;
        for (int64_t j = 0; j < g->n; j++)
            for (int64_t q = 0; q < m; q++)
                part[j * WIDTH + q] = g->acc ? c[q * g->ldc + j] : g->bias ? g->bias[j] : 0.0f;
        t.b = g->a + i * g->lda;
        gemm_dots_fns[g->n - 1][rest](&t, m);
        for (int64_t q = 0; q < m; q++)
            for (int64_t j = 0; j < g->n; j++)
                c[q * g->ldc + j] = part[j * WIDTH + q];
        gemm_finish(g, i, 0, m, g->n);
    }
}

/* The columns j0..j1 of C over p0..p1, in row panels. */
typedef struct {
    int64_t j0, j1, p0, p1;
    int64_t panels;       /* of rows                                                      */
    int64_t held;         /* row panels that packed_a holds: all of them, or GEMM_GROUP   */
    int nv;               /* width of a tile in vectors                                   */
    float *packed_a;      /* row panels; NULL: A is used in place                         */
    float *packed_b;      /* column panels of nv VEC_W; NULL: B or its panels are used in place */
} gemm_block;

/* Balanced row panels: 64 rows are 13 + 13 + 13 + 13 + 12, not 14 + 14 + 14 + 14 + 8. */
static inline int64_t gemm_row(const fnn_gemm *g, const gemm_block *r, int64_t panel)
{
    return g->m * panel / r->panels;
}

/* The row panel `panel`, packed.  Columns of A are read for GEMM_GROUP panels at once, a few lines
 * of memory at a time: those of one panel do not even fill a cache line, each on another page. */
static const float *gemm_packed_a(const fnn_gemm *g, const gemm_block *r, int64_t panel)
{
    const int64_t k = r->p1 - r->p0, together = g->ta ? GEMM_GROUP : 1;
    const int64_t end = gemm_min(panel + together, r->panels);
    float *packed = r->packed_a + panel % r->held * k * GEMM_AR;
    if (panel % together > 0 || (r->held == r->panels && r->j0 > 0))
        return packed;
    if (g->source) {
        const int64_t i = gemm_row(g, r, panel), mr = gemm_row(g, r, panel + 1) - i;
        g->source->pack(g->source, packed, g->first + i, mr, r->p0, k);
        return packed;
    }
    for (int64_t p = 0, n; p < k; p += n) {
        n = g->ta ? gemm_min(k - p, SQ) : k;
        for (int64_t q = panel; q < end; q++) {
            const int64_t i = gemm_row(g, r, q), mr = gemm_row(g, r, q + 1) - i;
            const float *a = g->a + (g->ta ? (r->p0 + p) * g->lda + i : i * g->lda + r->p0);
            float *to = packed + ((q - panel) * k + p) * GEMM_AR;
            (g->ta ? gemm_pack_rows : gemm_pack_across)(to, GEMM_AR, a, g->lda, mr, n);
        }
    }
    return packed;
}

/* All column panels of a B that is not transposed, a few lines of memory at a time. */
static void gemm_packed_b(const fnn_gemm *g, const gemm_block *r)
{
    const int64_t k = r->p1 - r->p0, w = r->nv * VEC_W;
    for (int64_t p = 0, n; p < k; p += n) {
        n = gemm_min(k - p, SQ);
        for (int64_t j = r->j0; j < r->j1; j += w)
            gemm_pack_rows(r->packed_b + (j - r->j0) * k + p * w, w,
                           g->b + (r->p0 + p) * g->ldb + j, g->ldb, gemm_min(w, r->j1 - j), n);
    }
}

static void gemm_row_panel(const fnn_gemm *g, const gemm_block *r, int64_t panel)
{
    const int64_t i0 = gemm_row(g, r, panel), mr = gemm_row(g, r, panel + 1) - i0;
    const int64_t k = r->p1 - r->p0, w = r->nv * VEC_W;
    const int by_row = !g->ta && !r->packed_a, fill = g->tb && panel == 0;
    const int in_place = g->ta && !r->packed_a && panel + 1 < r->panels;
    gemm_tile t = {.k = k, .ai = g->lda, .ak = g->lda, .ldb = g->ldb, .next = GEMM_PANEL_W,
                   .ldc = g->ldc};
    t.a = g->a + (g->ta ? r->p0 * g->lda + i0 : i0 * g->lda + r->p0);
    if (r->packed_a) {
        t.a = gemm_packed_a(g, r, panel);
        t.ak = GEMM_AR;
    }
    int nv = r->nv, log2nv = __builtin_ctz((unsigned)nv);
    for (int64_t j = r->j0; j < r->j1; j += nv * VEC_W) {
        if (g->panels) {
            const int64_t lane = j % GEMM_PANEL_W;
            t.b = g->panels + (j - lane) * g->k + r->p0 * GEMM_PANEL_W + lane;
            t.ldb = GEMM_PANEL_W;
            t.next = g->k * GEMM_PANEL_W;
        } else if (r->packed_b) {
            const int64_t lane = (j - r->j0) % w;
            float *panel_b = r->packed_b + (j - r->j0 - lane) * k;
            if (fill && lane == 0)          /* it is used while it is in L1 */
                gemm_pack_across(panel_b, w, g->b + j * g->ldb + r->p0, g->ldb,
                                 gemm_min(w, r->j1 - j), k);
            t.b = panel_b + lane;
            t.ldb = w;
        } else {
            t.b = g->b + r->p0 * g->ldb + j;
        }
        for (; (nv - 1) * VEC_W >= r->j1 - j; nv /= 2)
            log2nv--;
        const int64_t n = gemm_min(nv * VEC_W, r->j1 - j);
        t.last = (int)(n - (nv - 1) * VEC_W);
        /* Columns of A far apart: nothing but the tile before sees the next panel coming. */
        t.ahead = in_place && j + n == r->j1 ? gemm_row(g, r, panel + 2) - 1 - i0 : 0;
        gemm_set_start(&t, g, i0, j, r->p0 > 0 || g->acc);
        gemm_tile_fns[by_row][t.last < VEC_W][mr - 1][log2nv](&t);
        if (r->p1 == g->k)
            gemm_finish(g, i0, j, mr, n);
    }
}

/* One to GEMM_STRIP rows against panels of a weight: over all of k at once, since a row of A is in L1.
 * A product of one row may take a fifth of a microsecond, as much as a dozen divisions. */
#define GEMM_STRIP 3
static inline int gemm_is_strip(const fnn_gemm *g)
{
    return g->panels && g->m <= GEMM_STRIP && !g->source && !g->ta;
}

static void gemm_strip(const fnn_gemm *g)
{
    const gemm_block r = {.j1 = g->n, .p1 = g->k, .panels = 1, .held = 1, .nv = gemm_nv[g->m - 1]};
    gemm_row_panel(g, &r, 0);
}

/* One thread. */
static void gemm_serial(const fnn_gemm *g, float *scratch)
{
    if (g->m <= 0 || g->n <= 0)
        return;
    if (!g->source && !g->panels && !g->ta && g->tb && g->m <= GEMM_DOT_ROWS) {
        gemm_few_rows(g);
        return;
    }
    if (gemm_is_strip(g)) {
        gemm_strip(g);
        return;
    }
    if (!g->source && !g->panels && !g->ta && g->n <= GEMM_DOT_ROWS
        && (g->tb || (g->n == 1 && g->ldb == 1))) {
        gemm_few_columns(g);
        return;
    }
    /* A short chain is all stores to C; if ldc is a multiple of 4 KB the rows of a panel share one
     * set of L1, which has 8 ways. */
    const int64_t panels = gemm_ceil(g->m, g->k <= 16 ? gemm_min(GEMM_MR, 7) : GEMM_MR);
    const int64_t rows = gemm_ceil(g->m, panels), nv = gemm_nv[rows - 1];
    /* Either all rows of A stay in half of L2, over as much of k as fits, and B passes by, a column
     * panel at a time unless rows of B must be read; or a block of B stays, and row panels pass. */
    const int64_t fits = GEMM_HELD / (panels * GEMM_AR);
    const int hold_a = fits >= 2 * GEMM_KC, by_panel = hold_a && (g->tb || g->panels);
    const int64_t longest = by_panel && !g->panels && panels <= 2 ? GEMM_PANEL / (nv * VEC_W)
                          : hold_a ? gemm_min(fits, GEMM_HELD_K)
                          : g->n <= 2 * GEMM_NR && !g->source ? 2 * GEMM_KC     /* A is read twice */
                          : GEMM_KC;
    const int64_t kc = gemm_equal(g->k, longest, 8);
    const int64_t most = (hold_a ? GEMM_HELD / 2 : GEMM_KC * GEMM_NC) / gemm_max(kc, 1);
    const int64_t unit = gemm_max(GEMM_NR, g->panels ? GEMM_PANEL_W : 0);
    const int64_t nc = by_panel ? nv * VEC_W : gemm_equal(g->n, most / GEMM_NR * GEMM_NR, unit);
    /* Packing A pays from four panels of B on, if A is transposed or its rows share a set of L1.
     * B is packed if it is transposed, or read by more than eight row panels: then less of the TLB
     * is needed; up to 64 rows, and the columns of C, have room there, and twice as many panels read
     * them as they are. */
    const int shared = g->ta || (rows > L1_WAYS && g->lda % L1_ALIAS == 0);
    const int pack_a = g->source || (g->n > 4 * GEMM_NR && shared);
    const int pack_b = !g->panels && (g->tb || panels > (kc > 64 ? 8 : 16));
    gemm_block r = {.panels = panels, .held = hold_a ? panels : GEMM_GROUP, .nv = (int)nv,
                    .packed_a = pack_a ? scratch : NULL};
    r.packed_b = pack_b ? scratch + pack_a * r.held * kc * GEMM_AR : NULL;
    do {                                    /* once if k is 0 */
        r.p1 = gemm_min(r.p0 + kc, g->k);
        for (r.j0 = 0; r.j0 < g->n; r.j0 = r.j1) {
            r.j1 = gemm_min(r.j0 + nc, g->n);
            if (pack_b && !g->tb)
                gemm_packed_b(g, &r);
            for (int64_t i = 0; i < panels && !fnn_given_up(); i++)
                gemm_row_panel(g, &r, i);
        }
        r.p0 = r.p1;
    } while (r.p0 < g->k);
}

/* The rows i0..i1 and columns j0..j1 of g; j0 at the start of a panel, if B is in panels. */
static fnn_gemm gemm_part(fnn_gemm g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    g.m = i1 - i0;
    g.n = j1 - j0;
    g.first += i0;
    g.a = g.source ? NULL : g.a + (g.ta ? i0 : i0 * g.lda);
    g.b = g.panels ? NULL : g.b + (g.tb ? j0 * g.ldb : j0);
    g.panels = g.panels ? g.panels + j0 * g.k : NULL;
    g.c += i0 * g.ldc + j0;
    g.bias = g.bias ? g.bias + j0 : NULL;
    g.end = gemm_end_at(g.end, i0 * g.ldc + j0, j0);
    return g;
}

/* This thread's part of a product of the whole team.  The grid depends on the size of the team, the
 * bits do not: the chain of an element is the same in every part. */
static fnn_gemm gemm_share(const fnn_gemm *g)
{
    /* Time of a part in elements of its area: the reading and packing of a row or column costs
     * about 8 of them.  Neighbours in a row of C disturb each other where their cache lines meet,
     * some 60 cycles a row: up to ten times slower if k is small. */
    const int64_t team = fnn_team_size();
    const int64_t unit = g->panels ? GEMM_PANEL_W : GEMM_NR, units = gemm_ceil(g->n, unit);
    const int64_t most = gemm_is_strip(g) ? 1 : team;
    int64_t down = 1, best = INT64_MAX;
    for (int64_t d = 1; d <= most; d++) {
        if (team % d)
            continue;
        const int64_t rows = gemm_ceil(g->m, d);
        const int64_t cols = gemm_min(gemm_ceil(units, team / d) * unit,
                                      gemm_ceil(g->n, VEC_W) * VEC_W);
        const int64_t meet = d < team ? rows * 1000 / gemm_max(g->k, 1) : 0;
        const int64_t cost = rows * cols + 8 * (rows + cols) + meet;
        if (cost <= best) {
            best = cost;
            down = d;
        }
    }
    const int64_t across = team / down, i = fnn_team_rank() / across, j = fnn_team_rank() % across;
    return gemm_part(*g, g->m * i / down, g->m * (i + 1) / down,
                     gemm_min(units * j / across * unit, g->n),
                     gemm_min(units * (j + 1) / across * unit, g->n));
}

/* The whole team, barrier at the end. */
static void gemm_team(const fnn_gemm *g, const fnn_scratch *s)
{
    const fnn_gemm part = gemm_share(g);
    gemm_serial(&part, s->local);
    FNN_BARRIER
}

/* n[0] * n[1] products of the same shape; the whole team, barrier at the end. */
static void gemm_batched(const fnn_gemm *g, const gemm_batch *batch, const fnn_scratch *s)
{
    const int64_t items = batch->n[0] * batch->n[1];
    if (items == 1) {
        gemm_team(g, s);
        return;
    }
    /* Rows are divided only as far as 64 tasks need it, and into blocks of some four row panels or
     * more: every task packs B again. */
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
