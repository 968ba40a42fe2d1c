/*
 * conv.h: windows of images as matrices that are nowhere in memory.
 *
 * Images lie channels last: (images, h, w, ld), of which c channels are looked at.  Windows of nh by
 * nw taps lie on a grid; row r of the matrix is the window r, column (i, j, q) its tap (i, j),
 * channel q, 0 outside the image.  A convolution is the product of that matrix with the weights: a
 * panel of its rows is gathered just before the tile that needs it (gemm_source), so each output is
 * one chain over ascending (i, j, q), whatever the tiles.  The transposed matrix gives the gradient
 * of the weights, and windows of dy with the taps reversed that of the input.
 */
#ifndef FNN_CONV_H
#define FNN_CONV_H

#include "gemm.h"

typedef struct {
    gemm_source source;       /* first, so that one points to the other                   */
    const float *x;
    int64_t h, w, c;
    int64_t ld, step;         /* floats from a pixel to the next, and from a channel      */
    int64_t image;            /* floats of an image                                       */
    int64_t gh, gw;           /* windows of an image                                      */
    int64_t sh, sw;           /* pixels from one window to the next                       */
    int64_t nh, nw;           /* taps of a window                                         */
    int64_t oh, ow;           /* pixel of tap (0, 0) of window (0, 0)                     */
    int64_t dh, dw;           /* pixels from one tap to the next                          */
    int64_t skip;             /* conv_pack_taps: windows left out in front                */
} conv_window;

#define CONV_RUN 512          /* channels gathered at once, at most                       */
VEC_TABLE conv_zeros[CONV_RUN] = {0};

/* dst[p * w + j] = row[j][p] for SQ rows. */
VEC void conv_gather(float *dst, int64_t w, const float *const row[SQ], int64_t n)
{
    sqf x[SQ];
    int64_t p = 0;
    if (n < SQ) {
        for (; p < n; p++)
            for (int64_t j = 0; j < SQ; j++)
                dst[p * w + j] = row[j][p];
        return;
    }
    for (;; p += SQ) {
        if (p + SQ > n) {                   /* the last square overlaps the one before it */
            if (p == n) return;
            p = n - SQ;
        }
        gemm_transpose(x, row, p);
#pragma GCC unroll 8
        for (int i = 0; i < SQ; i++)
            sq_store(dst + (p + i) * w, x[i]);
    }
}

/* Pixel (0, 0) of the images that SQ windows lie in, and the pixels of their first taps. */
typedef struct {
    const float *image[SQ];
    int64_t top[SQ], left[SQ];
    int whole;                /* no window leaves the image at the left or at the right   */
} conv_rows;

/* Windows r, ..., r + n - 1; those that do not exist repeat the last one. */
VEC void conv_find(conv_rows *f, const conv_window *v, int64_t r, int64_t n)
{
    const int64_t reach = v->ow + (v->nw - 1) * v->dw;
    int64_t b = r % v->gw, a = r / v->gw % v->gh, image = r / v->gw / v->gh;
    f->whole = 1;
    for (int64_t j = 0; j < SQ; j++) {
        f->image[j] = v->x + image * v->image;
        f->top[j] = a * v->sh + v->oh;
        f->left[j] = b * v->sw + v->ow;
        f->whole &= f->left[j] >= 0 && b * v->sw + reach < v->w;
        if (j + 1 >= n) continue;
        if (++b == v->gw) {
            b = 0;
            if (++a == v->gh) {
                a = 0;
                image++;
            }
        }
    }
}

/* Where channel q of tap (i, j) of each window lies; outside the image, zeros. */
VEC void conv_point(const float *row[SQ], const conv_rows *f, const conv_window *v, int64_t i,
                    int64_t j, int64_t q)
{
    for (int64_t n = 0; n < SQ; n++) {
        const int64_t y = f->top[n] + i * v->dh, x = f->left[n] + j * v->dw;
        const int inside = y >= 0 && y < v->h && x >= 0 && x < v->w;
        row[n] = inside ? f->image[n] + (y * v->w + x) * v->ld + q : conv_zeros;
    }
}

/* n numbers of a row of taps from `at` on, counted from the start of an image line of `size`, 0
 * outside; line NULL: outside altogether. */
VEC void conv_edge(float *to, const float *line, int64_t at, int64_t size, int64_t n)
{
    for (int64_t l = 0; l < n; l++)
        to[l] = line && at + l >= 0 && at + l < size ? line[at + l] : 0.0f;
}

#define CONV_EDGE 64          /* numbers copied from a window at the edge of an image at once */

/* As conv_point, for windows whose taps of a row are neighbours but that leave the image. */
VEC void conv_point_edges(const float *row[SQ], float edge[SQ][CONV_EDGE], const conv_rows *f,
                          const conv_window *v, int64_t i, int64_t j, int64_t q, int64_t n)
{
    for (int64_t l = 0; l < SQ; l++) {
        const int64_t y = f->top[l] + i * v->dh, at = (f->left[l] + j) * v->c + q;
        const float *line = y >= 0 && y < v->h ? f->image[l] + y * v->w * v->c : NULL;
        row[l] = line && at >= 0 && at + n <= v->w * v->c ? line + at : edge[l];
        if (row[l] == edge[l]) conv_edge(edge[l], line, at, v->w * v->c, n);
    }
}

/* Windows one number apart: a tap of neighbours is a piece of an image line. */
static void conv_pack_lines(const conv_window *v, float *panel, int64_t i, int64_t m, int64_t p,
                            int64_t k)
{
    for (int64_t l = 0, n; l < m; l += n) {
        const int64_t b = (i + l) % v->gw, r = (i + l) / v->gw;
        const float *image = v->x + r / v->gh * v->h * v->w;
        n = gemm_min(m - l, v->gw - b);
        for (int64_t tap = p; tap < p + k; tap++) {
            const int64_t y = r % v->gh * v->sh + v->oh + tap / v->nw * v->dh;
            const int64_t at = b + v->ow + tap % v->nw * v->dw;
            const float *line = y >= 0 && y < v->h ? image + y * v->w : NULL;
            float *to = panel + (tap - p) * GEMM_AR + l;
            if (line && at >= 0 && at + n <= v->w) vf_put(to, vf_get(line + at, (int)n), (int)n);
            else conv_edge(to, line, at, v->w, n);
        }
    }
}

/* gemm_source: rows are windows. */
static void conv_pack_windows(const gemm_source *a, float *panel, int64_t i, int64_t m, int64_t p,
                              int64_t k)
{
    const conv_window *v = (const conv_window *)a;
    const int joined = v->ld == v->c && v->dw == 1;       /* the taps of a row are neighbours */
    if (v->ld == 1 && v->sw == 1) {
        conv_pack_lines(v, panel, i, m, p, k);
        return;
    }
    for (int64_t j = 0; j < m; j += SQ) {
        const float *row[SQ];
        float edge[SQ][CONV_EDGE];
        conv_rows f;
        conv_find(&f, v, i + j, m - j);
        const int copied = joined && !f.whole && v->c < CONV_EDGE;
        for (int64_t at = p, n; at < p + k; at += n) {
            const int64_t tap = at / v->c, q = at % v->c, across = tap % v->nw;
            const int64_t taps = joined && (f.whole || copied) ? v->nw - across : 1;
            n = gemm_min(gemm_min(taps * v->c - q, p + k - at), copied ? CONV_EDGE : CONV_RUN);
            if (copied) conv_point_edges(row, edge, &f, v, tap / v->nw, across, q, n);
            else conv_point(row, &f, v, tap / v->nw, across, q);
            conv_gather(panel + (at - p) * GEMM_AR + j, GEMM_AR, row, n);
        }
    }
}

/* panel[b * GEMM_AR + l] = lane l of window b of a row of windows, b0 <= b < b1, for n lanes from
 * channel q of tap (i, j) on, which may go on into neighbouring taps; line: the image line of tap
 * row i, or NULL outside. */
VEC void conv_pack_line(float *panel, const conv_window *v, const float *line, int64_t b0, int64_t b1,
                        int64_t j, int64_t q, int64_t n)
{
    const int64_t last = (q + n - 1) / v->c;              /* tap of the last lane, from j on */
    for (int64_t b = b0; b < b1; b++, panel += GEMM_AR) {
        const int64_t x = b * v->sw + v->ow + j * v->dw;
        if (line && x >= 0 && x + last < v->w)
            vf_put(panel, vf_get(line + x * v->ld + q, (int)n), (int)n);
        else if (last == 0) vf_put(panel, vf_zero(), (int)n);
        else conv_edge(panel, line, x * v->c + q, v->w * v->c, n);
    }
}

/* gemm_source: columns are windows.  Of planes v->c is 1, and the rows are (channel, i, j). */
static void conv_pack_taps(const gemm_source *a, float *panel, int64_t i, int64_t m, int64_t p,
                           int64_t k)
{
    const conv_window *v = (const conv_window *)a;
    const int joined = v->ld == v->c && v->dw == 1;
    p += v->skip;
    for (int64_t l = 0, n; l < m; l += n) {
        const int64_t tap = (i + l) / v->c, q = (i + l) % v->c, across = tap % v->nw;
        const int64_t down = tap / v->nw % v->nh, plane = tap / v->nw / v->nh;
        const float *x = v->x + plane * v->step;
        n = gemm_min((joined ? v->nw - across : 1) * v->c - q, m - l);
        for (int64_t at = p, end; at < p + k; at = end) {
            const int64_t b = at % v->gw, r = at / v->gw, image = r / v->gh;
            const int64_t y = r % v->gh * v->sh + v->oh + down * v->dh;
            const float *line = y >= 0 && y < v->h ? x + image * v->image + y * v->w * v->ld : NULL;
            end = gemm_min(at - b + v->gw, p + k);
            conv_pack_line(panel + (at - p) * GEMM_AR + l, v, line, b, b + end - at, across, q, n);
        }
    }
}

/* ---- weights in panels ---------------------------------------------------------------------
 *
 * The product's other operand, in panels of GEMM_PANEL_W columns as gemm.h wants them; each group has
 * its own.  Forward, its rows are (kh, kw, channel) and its columns outputs.  For the gradient of the
 * input (turned) rows are (tap, output), columns channels, and there is one matrix for each class of
 * pixels that the same taps reach: tap kh reaches those ih with ih = kh * dilation - pad mod stride,
 * and the same holds across. */

/* Taps of one axis that reach the pixels r, r + stride, ...: first, first + step, ..., n of them. */
typedef struct { int64_t first, step, n, before; } conv_taps;     /* before: of smaller r     */

static inline int64_t conv_class(int64_t tap, int64_t stride, int64_t pad, int64_t dilation)
{
    const int64_t r = (tap * dilation - pad) % stride;
    return r < 0 ? r + stride : r;
}

static conv_taps conv_reaching(int64_t r, int64_t taps, int64_t stride, int64_t pad, int64_t dilation)
{
    conv_taps t = {0, 1, 0, 0};
    for (int64_t k = 0; k < taps; k++) {
        const int64_t of = conv_class(k, stride, pad, dilation);
        t.before += of < r;
        if (of != r) continue;
        if (t.n == 0) t.first = k;
        if (t.n == 1) t.step = k - t.first;
        t.n++;
    }
    return t;
}

/* Which matrix a tap belongs to: behind the panels of `before` taps, the index-th of n taps. */
typedef struct { int32_t before, n, index; } conv_place;

static void conv_places(conv_place *place, const int64_t taps[2], const int64_t stride[2],
                        const int64_t pad[2], const int64_t dilation[2])
{
    for (int64_t i = 0; i < taps[0]; i++) {
        const int64_t r = conv_class(i, stride[0], pad[0], dilation[0]);
        const conv_taps down = conv_reaching(r, taps[0], stride[0], pad[0], dilation[0]);
        for (int64_t j = 0; j < taps[1]; j++) {
            const int64_t q = conv_class(j, stride[1], pad[1], dilation[1]);
            const conv_taps across = conv_reaching(q, taps[1], stride[1], pad[1], dilation[1]);
            const int64_t index = (i - down.first) / down.step * across.n
                                + (j - across.first) / across.step;
            place[i * taps[1] + j] = (conv_place){
                (int32_t)(down.before * taps[1] + down.n * across.before),
                (int32_t)(down.n * across.n), (int32_t)index};
        }
    }
}

/* Panel number `panel` of each matrix: row (tap p, o), column j is w[j * ld + o * step + p], 0 for the
 * columns from n on.  all: panels of a matrix. */
static void conv_pack_panel(float *matrices, int64_t panel, int64_t all, const conv_place *place,
                            const float *w, int64_t ld, int64_t step, int64_t n, int64_t rows,
                            int64_t taps)
{
    float square[SQ * SQ] = {0};
    for (int64_t j = 0; j < GEMM_PANEL_W; j += SQ)
        for (int64_t o = 0; o < rows; o++)
            for (int64_t p = 0, m; p < taps; p += m) {
                m = gemm_min(SQ, taps - p);
                if (j < n) {
                    const float *row[SQ];
                    gemm_row_pointers(row, w + j * ld + o * step + p, ld, n - j);
                    conv_gather(square, SQ, row, m);
                }
                for (int64_t q = 0; q < m; q++) {
                    const conv_place *at = &place[p + q];
                    const int64_t tap = at->before * all + panel * at->n + at->index;
                    float *to = matrices + (tap * rows + o) * GEMM_PANEL_W + j;
                    for (int64_t lane = 0; lane < SQ; lane++)
                        to[lane] = j + lane < n ? square[q * SQ + lane] : 0.0f;
                }
            }
}

#endif
