/*
 * gemm_kernels.h: the register tiles of gemm.h and the packing of their operands.
 *
 * A tile is mr rows by nv native vectors (qf: VEC_W floats) of C, in registers for a block of k:
 *
 *     for p < k:  b[v] = B[p][v]           nv vector loads
 *                 x = A[i][p]              mr broadcasts, one load each
 *                 acc[i][v] += x * b[v]    mr * nv independent chains
 *
 * One generic body makes all of them.  gcc keeps acc in registers and the loop free of spills;
 * tests/test_gemm_native.py looks at the disassembly.
 */
#ifndef FNN_GEMM_KERNELS_H
#define FNN_GEMM_KERNELS_H

#include "vec.h"

/* GEMM_TILES: the largest nv for mr = 1, 2, ..., GEMM_MR rows.  A power of two, so that a narrower
 * rest splits into few tiles.  mr * nv gives the 8 or more chains that hide the latency of FMA
 * where it can, and leaves registers for nv vectors of B and one broadcast, or the reverse.
 *
 * gemm_tail: the first n lanes of a register, 1 <= n <= VEC_W. */
#if VEC_K == 1                              /* 32 registers: 28 + 2 + 1, 24 + 4 + 1, 24 + 1 + 3 */
#define GEMM_MR 14
#define GEMM_TILES(T) T(1, 8) T(2, 8) T(3, 8) T(4, 4) T(5, 4) T(6, 4) T(7, 2) T(8, 2) T(9, 2) \
    T(10, 2) T(11, 2) T(12, 2) T(13, 2) T(14, 2)
typedef __mmask16 gemm_tail;
VEC gemm_tail gemm_first(int n) { return vm_first(n).v[0]; }
VEC qf gemm_load_n(const float *p, gemm_tail t) { return _mm512_maskz_loadu_ps(t, p); }
VEC void gemm_store_n(float *p, qf v, gemm_tail t) { _mm512_mask_storeu_ps(p, t, v); }
#elif VEC_K == 2                            /* 16 registers: 12 + 2 + 1 */
#define GEMM_MR 6
#define GEMM_TILES(T) T(1, 8) T(2, 4) T(3, 4) T(4, 2) T(5, 2) T(6, 2)
typedef __m256i gemm_tail;
VEC gemm_tail gemm_first(int n) { return (__m256i)vm_first(n).v[0]; }
VEC qf gemm_load_n(const float *p, gemm_tail t) { return _mm256_maskload_ps(p, t); }
VEC void gemm_store_n(float *p, qf v, gemm_tail t) { _mm256_maskstore_ps(p, t, v); }
#else
#if defined(__aarch64__)                    /* 32 registers: 24 + 4 + 1 */
#define GEMM_MR 6
#define GEMM_TILES(T) T(1, 8) T(2, 8) T(3, 8) T(4, 4) T(5, 4) T(6, 4)
#else                                       /* 16 registers: 8 + 2 + 1 and one for the product */
#define GEMM_MR 4
#define GEMM_TILES(T) T(1, 8) T(2, 4) T(3, 2) T(4, 2)
#endif
typedef int gemm_tail;
VEC gemm_tail gemm_first(int n) { return n; }
VEC qf gemm_load_n(const float *p, gemm_tail n)
{
    return (qf){p[0], n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, n > 3 ? p[3] : 0.0f};
}
VEC void gemm_store_n(float *p, qf v, gemm_tail n)
{
    for (int i = 0; i < n; i++)
        p[i] = v[i];
}
#endif
VEC qf gemm_load(const float *p) { return *(const qf_mem *)p; }
VEC void gemm_store(float *p, qf v) { *(qf_mem *)p = v; }

/* Columns of a panel of a weight that is kept packed, on every ISA; see gemm_pack_panel. */
#define GEMM_PANEL_W 32

/* One tile of C, (mr, nv VEC_W), over one block of k. */
typedef struct {
    int64_t k;
    const float *a;       /* element (i, p) at a[i * ai + p * ak]; ai or ak is 1          */
    int64_t ai, ak;
    int64_t ahead;        /* not by row: from a column to what is read there next, into L1 */
    const float *b;       /* row p at b + p * ldb, GEMM_PANEL_W columns; the next ones ...  */
    int64_t ldb;
    int64_t next;         /* ... so far behind: GEMM_PANEL_W if rows are contiguous       */
    float *c;
    int64_t ldc;
    const float *start;   /* the chains of row i start from start + i * lds; NULL: from 0 */
    int64_t lds;
    int last;             /* lanes of the last vector that exist, 1..VEC_W                */
} gemm_tile;

/* The bytes to row i are an odd multiple of those to row 1, shifted by up to 3: an index register and
 * its scale on x86.  Hidden from gcc, which would keep a register for every row, find too few, and
 * spill to vector registers: each vmovq on the way back delays the FMAs of Zen 4 by a cycle. */
#define GEMM_ODD ((GEMM_MR + 1) / 2)
VEC int64_t gemm_to_row(const int64_t odd[GEMM_ODD], const int i)
{
    const int shift = i ? __builtin_ctz((unsigned)i) : 0;
    return i ? odd[(i >> shift) / 2] << shift : 0;
}
VEC void gemm_hide(int64_t odd[GEMM_ODD], const int mr)
{
#pragma GCC unroll 8
    for (int q = 0; 2 * q + 1 < mr; q++)
        __asm__("" : "+r"(odd[q]));
}

/* Hidden for the same reason: the next row is found from the one before. */
VEC void gemm_step(float **c, const float **start)
{
    __asm__("" : "+r"(*c), "+r"(*start));
}

/* by_row: A is read along its rows (ak = 1), else along its columns (ai = 1).
 * edge: the last vector is not full. */
VEC void gemm_tile_run(const gemm_tile *t, const int mr, const int nv, const int by_row,
                       const int edge)
{
    qf acc[GEMM_MR][8], b[8];
    const gemm_tail last = gemm_first(t->last);
    const int64_t ak = by_row ? 1 : t->ak, ldb = t->ldb, next = t->next;
    const float *a = t->a, *bp = t->b, *const end = a + t->k * ak, *start = t->start;
    const int started = start != NULL;
    float *c = t->c;
    int64_t odd[GEMM_ODD];

#pragma GCC unroll 8
    for (int q = 0; q < GEMM_ODD; q++)
        odd[q] = (2 * q + 1) * (by_row ? t->ai : 1) * (int64_t)sizeof(float);
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, c += t->ldc, start += t->lds) {
        gemm_step(&c, &start);
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) {
            if (v * VEC_W % 16 == 0)        /* or the stores at the end wait for these lines */
                __builtin_prefetch(c + v * VEC_W, 1);
            acc[i][v] = !started ? q_set1(0.0f)
                      : edge && v == nv - 1 ? gemm_load_n(start + v * VEC_W, last)
                                            : gemm_load(start + v * VEC_W);
        }
    }
#pragma GCC unroll 1
    for (; a != end; a += ak, bp += ldb) {
        if (by_row)
            gemm_hide(odd, mr);
        else
            __builtin_prefetch(a + t->ahead);
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) {
            const float *bv = bp + v * VEC_W / GEMM_PANEL_W * next + v * VEC_W % GEMM_PANEL_W;
            b[v] = edge && v == nv - 1 ? gemm_load_n(bv, last) : gemm_load(bv);
        }
#pragma GCC unroll 16
        for (int i = 0; i < mr; i++) {
            const qf x = q_set1(*(const float *)((const char *)a + gemm_to_row(odd, i)));
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++)
                acc[i][v] = q_fma(x, b[v], acc[i][v]);
        }
    }
    c = t->c;
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++, c += t->ldc) {
        gemm_step(&c, &start);
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
            if (edge && v == nv - 1)
                gemm_store_n(c + v * VEC_W, acc[i][v], last);
            else
                gemm_store(c + v * VEC_W, acc[i][v]);
    }
}

/* The tiles by [by_row][edge][mr - 1][log2 nv], and the largest nv of each mr. */
typedef void (*gemm_tile_fn)(const gemm_tile *t);
#define GEMM_TILE(mr, nv, r, e) \
    static void gemm_tile_##mr##x##nv##_##r##e(const gemm_tile *t) \
    { gemm_tile_run(t, mr, nv, r, e); }
#define GEMM_TILE_2(mr, r, e) GEMM_TILE(mr, 1, r, e) GEMM_TILE(mr, 2, r, e)
#define GEMM_TILE_4(mr, r, e) GEMM_TILE_2(mr, r, e) GEMM_TILE(mr, 4, r, e)
#define GEMM_TILE_8(mr, r, e) GEMM_TILE_4(mr, r, e) GEMM_TILE(mr, 8, r, e)
#define GEMM_TILE_ALL(mr, nv) GEMM_TILE_##nv(mr, 0, 0) GEMM_TILE_##nv(mr, 0, 1) \
    GEMM_TILE_##nv(mr, 1, 0) GEMM_TILE_##nv(mr, 1, 1)
GEMM_TILES(GEMM_TILE_ALL)

#define GEMM_NAME_2(mr, s) gemm_tile_##mr##x1_##s, gemm_tile_##mr##x2_##s
#define GEMM_NAME_4(mr, s) GEMM_NAME_2(mr, s), gemm_tile_##mr##x4_##s
#define GEMM_NAME_8(mr, s) GEMM_NAME_4(mr, s), gemm_tile_##mr##x8_##s
#define GEMM_ROW_00(mr, nv) {GEMM_NAME_##nv(mr, 00)},
#define GEMM_ROW_01(mr, nv) {GEMM_NAME_##nv(mr, 01)},
#define GEMM_ROW_10(mr, nv) {GEMM_NAME_##nv(mr, 10)},
#define GEMM_ROW_11(mr, nv) {GEMM_NAME_##nv(mr, 11)},
static const gemm_tile_fn gemm_tile_fns[2][2][GEMM_MR][4] = {
    {{GEMM_TILES(GEMM_ROW_00)}, {GEMM_TILES(GEMM_ROW_01)}},
    {{GEMM_TILES(GEMM_ROW_10)}, {GEMM_TILES(GEMM_ROW_11)}},
};
#define GEMM_NV(mr, nv) nv,
static const int8_t gemm_nv[GEMM_MR] = {GEMM_TILES(GEMM_NV)};

/* ---- transposed operands -------------------------------------------------------------------
 *
 * Squares of SQ by SQ are transposed in registers.  256-bit ones even under AVX-512: inserting a
 * quad costs a shuffle there, and Zen 4 needs 0.15 cycles per element this way, 0.24 with 512 bits.
 *
 * sq_quads(row, p): the quads row[0][p..p+3] and, if SQ is 8, row[4][p..p+3].
 * sq_floats_lo/hi, sq_pairs_lo/hi: interleave the floats, or the pairs of floats, of each quad. */
#if VEC_K <= 2
#define SQ 8
typedef __m256 sqf;
VEC sqf sq_load(const float *p) { return _mm256_loadu_ps(p); }
VEC void sq_store(float *p, sqf v) { _mm256_storeu_ps(p, v); }
VEC sqf sq_set1(float x) { return _mm256_set1_ps(x); }
VEC sqf sq_fma(sqf a, sqf b, sqf c) { return _mm256_fmadd_ps(a, b, c); }
VEC sqf sq_quads(const float *const *row, int64_t p)
{
    const sqf v = _mm256_castps128_ps256(_mm_loadu_ps(row[0] + p));
    return _mm256_insertf128_ps(v, _mm_loadu_ps(row[4] + p), 1);
}
VEC sqf sq_floats_lo(sqf a, sqf b) { return _mm256_unpacklo_ps(a, b); }
VEC sqf sq_floats_hi(sqf a, sqf b) { return _mm256_unpackhi_ps(a, b); }
VEC sqf sq_pairs_lo(sqf a, sqf b) { return _mm256_shuffle_ps(a, b, 0x44); }
VEC sqf sq_pairs_hi(sqf a, sqf b) { return _mm256_shuffle_ps(a, b, 0xee); }
#else
#define SQ 4
typedef qf sqf;
VEC sqf sq_load(const float *p) { return gemm_load(p); }
VEC void sq_store(float *p, sqf v) { gemm_store(p, v); }
VEC sqf sq_set1(float x) { return q_set1(x); }
VEC sqf sq_fma(sqf a, sqf b, sqf c) { return q_fma(a, b, c); }
VEC sqf sq_quads(const float *const *row, int64_t p) { return gemm_load(row[0] + p); }
VEC sqf sq_floats_lo(sqf a, sqf b) { return __builtin_shuffle(a, b, (qs){0, 4, 1, 5}); }
VEC sqf sq_floats_hi(sqf a, sqf b) { return __builtin_shuffle(a, b, (qs){2, 6, 3, 7}); }
VEC sqf sq_pairs_lo(sqf a, sqf b) { return __builtin_shuffle(a, b, (qs){0, 1, 4, 5}); }
VEC sqf sq_pairs_hi(sqf a, sqf b) { return __builtin_shuffle(a, b, (qs){2, 3, 6, 7}); }
#endif

/* x[i], lane j = row[j][p + i].  row[j] points to the row of lane j. */
VEC void gemm_transpose(sqf x[SQ], const float *const row[SQ], int64_t p)
{
#pragma GCC unroll 2
    for (int q = 0; q < SQ; q += 4) {
        const sqf r0 = sq_quads(row, p + q), r1 = sq_quads(row + 1, p + q);
        const sqf r2 = sq_quads(row + 2, p + q), r3 = sq_quads(row + 3, p + q);
        const sqf lo01 = sq_floats_lo(r0, r1), hi01 = sq_floats_hi(r0, r1);
        const sqf lo23 = sq_floats_lo(r2, r3), hi23 = sq_floats_hi(r2, r3);
        x[q] = sq_pairs_lo(lo01, lo23);
        x[q + 1] = sq_pairs_hi(lo01, lo23);
        x[q + 2] = sq_pairs_lo(hi01, hi23);
        x[q + 3] = sq_pairs_hi(hi01, hi23);
    }
}

/* SQ rows of a matrix of n rows; the ones that do not exist repeat the last one, so that nothing
 * outside the matrix is read.  Their lanes are never stored to C. */
VEC void gemm_row_pointers(const float *row[SQ], const float *src, int64_t ld, int64_t n)
{
    for (int64_t j = 0; j < SQ; j++)
        row[j] = src + (j < n ? j : n - 1) * ld;
}

/* A packed panel holds n lanes, in rows of w (a multiple of VEC_W), by k:
 *
 *     dst:  [p = 0: lane 0 1 2 ... w - 1] [p = 1: lane 0 1 ... w - 1] ... [p = k - 1: ...]
 *
 * gemm_pack_across: lane j at p comes from src[j * ld + p].  GEMM_PACKED of p at a time, whose part of
 * a panel of 32 lanes (8 KB) stays in L1 while SQ lanes after SQ lanes are put into its lines. */
#define GEMM_PACKED 64
static void gemm_pack_across(float *dst, int64_t w, const float *src, int64_t ld, int64_t n,
                             int64_t k)
{
    for (int64_t p0 = 0, p1; p0 < k; p0 = p1) {
        p1 = k - p0 < GEMM_PACKED ? k : p0 + GEMM_PACKED;
        for (int64_t j = 0; j < n; j += SQ) {
            const float *row[SQ];
            gemm_row_pointers(row, src + j * ld, ld, n - j);
            int64_t p = p0;
            for (; p + SQ <= p1; p += SQ) {
                sqf x[SQ];
                gemm_transpose(x, row, p);
#pragma GCC unroll 8
                for (int i = 0; i < SQ; i++)
                    sq_store(dst + (p + i) * w + j, x[i]);
            }
            for (; p < p1; p++)
                for (int64_t i = 0; i < SQ; i++)
                    dst[p * w + j + i] = row[i][p];
        }
    }
}

/* Lane j at p comes from src[p * ld + j]. */
static void gemm_pack_rows(float *dst, int64_t w, const float *src, int64_t ld, int64_t n,
                           int64_t k)
{
    const int64_t full = n / VEC_W * VEC_W;
    const gemm_tail tail = gemm_first((int)(n - full));
    for (int64_t p = 0; p < k; p++, src += ld, dst += w) {
        for (int64_t j = 0; j < full; j += VEC_W)
            gemm_store(dst + j, gemm_load(src + j));
        if (full < n)
            gemm_store(dst + full, gemm_load_n(src + full, tail));
    }
}

/* ---- few rows against a transposed B: nothing is packed -------------------------------------
 *
 * C (mr, n) = A (mr, k) B^T over all of k, n <= ng SQ.  Squares of B are transposed in registers
 * and used at once, so that B streams from memory while the chains advance. */
#define GEMM_DOT_ROWS 4
#define GEMM_DOT_WIDTH (4 * SQ)             /* columns at a time, at most                    */

/* The columns of group g over p, ..., p + SQ - 1. */
VEC void gemm_dots_square(sqf acc[GEMM_DOT_ROWS][4], const gemm_tile *t, const float *const row[SQ],
                          int64_t p, const int g, const int mr)
{
    sqf x[SQ];
    gemm_transpose(x, row, p);
#pragma GCC unroll 8
    for (int q = 0; q < SQ; q++) {
#pragma GCC unroll 4
        for (int i = 0; i < mr; i++)
            acc[i][g] = sq_fma(sq_set1(t->a[i * t->ai + p + q]), x[q], acc[i][g]);
    }
}

VEC void gemm_dots_run(const gemm_tile *t, const int mr, const int ng, int64_t n)
{
    sqf acc[GEMM_DOT_ROWS][4];
    const float *row[4][SQ];
    const int whole = ng > 1 || n == SQ;
    float part[SQ] = {0};
    int64_t p = 0;

#pragma GCC unroll 4
    for (int g = 0; g < ng; g++) {
        gemm_row_pointers(row[g], t->b + g * SQ * t->ldb, t->ldb, whole ? SQ : n);
#pragma GCC unroll 4
        for (int i = 0; i < mr; i++) {
            if (t->start && !whole)
                memcpy(part, t->start + i * t->lds, (size_t)n * sizeof(float));
            acc[i][g] = sq_load(t->start && whole ? t->start + i * t->lds + g * SQ : part);
        }
    }
    /* A group takes a whole cache line (16 floats) of its rows before the next one comes: if ldb is
     * a multiple of 4 KB all rows share one set of L1, which has as many ways as a group rows. */
    for (const int64_t end = t->k - t->k % SQ; p < end;) {
        const int64_t next = p + 16 < end ? p + 16 : end;
#pragma GCC unroll 4
        for (int g = 0; g < ng; g++) {
#pragma GCC unroll 1
            for (int64_t q = p; q < next; q += SQ)
                gemm_dots_square(acc, t, row[g], q, g, mr);
        }
        p = next;
    }
#pragma GCC unroll 1
    for (; p < t->k; p++) {
#pragma GCC unroll 4
        for (int g = 0; g < ng; g++) {
            float x[SQ];
            for (int j = 0; j < SQ; j++)
                x[j] = row[g][j][p];
#pragma GCC unroll 4
            for (int i = 0; i < mr; i++)
                acc[i][g] = sq_fma(sq_set1(t->a[i * t->ai + p]), sq_load(x), acc[i][g]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < mr; i++) {
#pragma GCC unroll 4
        for (int g = 0; g < ng; g++) {
            float *c = t->c + i * t->ldc + g * SQ;
            sq_store(whole ? c : part, acc[i][g]);
            if (!whole)
                memcpy(c, part, (size_t)n * sizeof(float));
        }
    }
}

/* GEMM_DOTS: the groups of mr = 1, ..., GEMM_DOT_ROWS rows: mr * groups chains, and registers for
 * them and SQ + 1 more.  More rows are better packed: every FMA needs its own broadcast here. */
#if VEC_K == 1
#define GEMM_DOTS(D) D(1, 2) D(2, 2) D(3, 2) D(4, 2)
#elif defined(__aarch64__)
#define GEMM_DOTS(D) D(1, 4) D(2, 4) D(3, 4) D(4, 4)
#else
#define GEMM_DOTS(D) D(1, 2) D(2, 2) D(3, 2) D(4, 1)
#endif
typedef void (*gemm_dots_fn)(const gemm_tile *t, int64_t n);
#define GEMM_DOT(mr, ng) \
    static void gemm_dots_##mr##_whole(const gemm_tile *t, int64_t n) \
    { gemm_dots_run(t, mr, ng, n); } \
    static void gemm_dots_##mr##_rest(const gemm_tile *t, int64_t n) \
    { gemm_dots_run(t, mr, 1, n); }
GEMM_DOTS(GEMM_DOT)
#define GEMM_DOT_NAMES(mr, ng) {gemm_dots_##mr##_whole, gemm_dots_##mr##_rest},
static const gemm_dots_fn gemm_dots_fns[GEMM_DOT_ROWS][2] = {GEMM_DOTS(GEMM_DOT_NAMES)};
#define GEMM_DOT_GROUPS(mr, ng) ng,
static const int8_t gemm_dot_groups[GEMM_DOT_ROWS] = {GEMM_DOTS(GEMM_DOT_GROUPS)};

#endif
