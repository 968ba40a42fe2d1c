/*
 * conv_few.h: convolutions of few channels, such as the first layer of a network has.
 *
 * The lines of the image that a band of outputs looks at are copied, padding and all, with the
 * channels of a pixel side by side, wherever they lay.  Then a tap is so many bytes from the first
 * one in every window, and a tile of neighbouring windows by outputs broadcasts its numbers from
 * where they are.  Each output is one chain over ascending (kh, kw, channel), as in conv.h, so its
 * bits are those of a product of windows.
 */
#ifndef FNN_CONV_FEW_H
#define FNN_CONV_FEW_H

#include "conv.h"
#include "conv_winograd.h"

#define FEW_CHANNELS 8        /* of a group at most                                       */
#define FEW_STRIDE 4          /* pixels that are joined to a block, at most               */

/* ---- lines ---- */

/* dst[x * n + j] = row[j][x * ld], x < w, 0 for the rows that are NULL; with ld 1 up to SQ - 1 floats
 * behind that are written, too. */
static void few_join(float *dst, const float *const *row, int64_t n, int64_t ld, int64_t w)
{
    if (n == 1 && ld == 1 && row[0]) {
        memcpy(dst, row[0], (size_t)w * sizeof(float));
        return;
    }
    if (ld > 1) {
        for (int64_t x = 0; x < w; x++)
            for (int64_t j = 0; j < n; j++) dst[x * n + j] = row[j] ? row[j][x * ld] : 0.0f;
        return;
    }
    for (int64_t x = 0, m; x < w; x += m) {
        m = gemm_min(w - x, CONV_RUN);
        for (int64_t j = (n - 1) / SQ * SQ; j >= 0; j -= SQ) {    /* what a square writes beyond */
            const float *part[SQ];                                /* its rows, a later one mends */
            for (int64_t l = 0; l < SQ; l++) {
                const float *from = row[gemm_min(j + l, n - 1)];
                part[l] = from ? from + x : conv_zeros;
            }
            conv_gather(dst + x * n + j, n, part, m);
        }
    }
}

/* `lines` lines of an image of v, from (y, x) on, each of `width` blocks of s by s pixels, 0 outside
 * the image: (lines, width, (across, down, channel)). */
static void few_lines(float *dst, const conv_window *v, const float *image, int64_t y, int64_t x,
                      int64_t lines, int64_t width, int64_t s)
{
    const int64_t n = s * v->c, x1 = x + width * s;
    const int64_t from = gemm_min(gemm_max(x, 0), x1), to = gemm_max(gemm_min(x1, v->w), from);
    const float *row[FEW_STRIDE * FEW_CHANNELS];
    for (int64_t l = 0; l < lines; l++, y += s, dst += width * s * n) {
        for (int64_t i = 0; i < s; i++)
            for (int64_t q = 0; q < v->c; q++)
                row[i * v->c + q] = y + i >= 0 && y + i < v->h
                    ? image + ((y + i) * v->w + from) * v->ld + q * v->step : NULL;
        memset(dst, 0, (size_t)((from - x) * n) * sizeof(float));
        few_join(dst + (from - x) * n, row, n, v->ld, to - from);
        memset(dst + (to - x) * n, 0, (size_t)((x1 - to) * n) * sizeof(float));
    }
}

/* ---- tiles ---- */

/* `tiles` tiles of neighbouring windows; a, ai, as for gemm_tile.  tap: bytes to each term. */
typedef struct {
    gemm_tile t;
    const int32_t *tap;
    int64_t tiles;
} few_tile;

#define FEW_NV (GEMM_NR / VEC_W)

VEC void few_tile_run(const few_tile *f, const int mr, const int nv, const int edge)
{
    const gemm_tile *t = &f->t;
    const gemm_tail last = gemm_first(t->last);
    const char *a = (const char *)t->a;
    float *c = t->c;
    int64_t odd[GEMM_ODD];
#pragma GCC unroll 8
    for (int q = 0; q < GEMM_ODD; q++)
        odd[q] = (2 * q + 1) * t->ai * (int64_t)sizeof(float);
#pragma GCC unroll 1
    for (int64_t i = 0; i < f->tiles; i++, a += mr * t->ai * (int64_t)sizeof(float), c += mr * t->ldc) {
        qf acc[GEMM_MR][4], b[4];
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                if (v * VEC_W % 16 == 0)    /* or the stores at the end wait for these lines */
                    __builtin_prefetch(c + r * t->ldc + v * VEC_W, 1);
                acc[r][v] = !t->start ? q_set1(0.0f)
                            : edge && v == nv - 1 ? gemm_load_n(t->start + v * VEC_W, last)
                                                  : gemm_load(t->start + v * VEC_W);
            }
        }
        const float *bp = t->b;
        const int32_t *tap = f->tap, *const end = tap + t->k;
#pragma GCC unroll 1
        for (; tap != end; tap++, bp += GEMM_PANEL_W) {
            const char *x = a + *tap;
            gemm_hide(odd, mr);
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                b[v] = edge && v == nv - 1 ? gemm_load_n(bp + v * VEC_W, last)
                                           : gemm_load(bp + v * VEC_W);
#pragma GCC unroll 16
            for (int r = 0; r < mr; r++) {
                const qf one = q_set1(*(const float *)(x + gemm_to_row(odd, r)));
#pragma GCC unroll 4
                for (int v = 0; v < nv; v++)
                    acc[r][v] = q_fma(one, b[v], acc[r][v]);
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < mr; r++) {
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                if (edge && v == nv - 1)
                    gemm_store_n(c + r * t->ldc + v * VEC_W, acc[r][v], last);
                else
                    gemm_store(c + r * t->ldc + v * VEC_W, acc[r][v]);
        }
    }
}

/* Three by three taps over one channel: all weights stay in 18 of 32 registers, one window follows
 * the other, and their chains overlap without being woven into tiles. */
#define FEW_HOLDS (VEC_K == 1)

/* Register v of a row of outputs. */
VEC qf few_load(const float *p, const int v, const int masked, gemm_tail last)
{
    return masked ? gemm_load_n(p + v * VEC_W, last) : gemm_load(p + v * VEC_W);
}

VEC void few_store(float *p, qf x, const int v, const int masked, gemm_tail last)
{
    if (masked) gemm_store_n(p + v * VEC_W, x, last);
    else gemm_store(p + v * VEC_W, x);
}

/* f->tiles windows, one in each.  tap: in rows of neighbours, equally far apart. */
VEC void few_held_run(const few_tile *f, const int nv, const int edge)
{
    const gemm_tile *t = &f->t;
    const gemm_tail last = gemm_first(t->last);
    const char *a = (const char *)t->a, *row[3] = {a, a + f->tap[3], a + f->tap[6]};
    const int64_t across = f->tap[1], step = t->ai * (int64_t)sizeof(float);
    const int64_t n = f->tiles, ldc = t->ldc;
    float *c = t->c;
    qf start[4], w[9][4];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++)
        start[v] = !t->start ? q_set1(0.0f) : few_load(t->start, v, edge && v == nv - 1, last);
#pragma GCC unroll 9
    for (int p = 0; p < 9; p++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            w[p][v] = few_load(t->b + p * GEMM_PANEL_W, v, edge && v == nv - 1, last);
#pragma GCC unroll 1
    for (int64_t i = 0; i < n; i++, c += ldc) {
        qf acc[4];
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) acc[v] = start[v];
#pragma GCC unroll 9
        for (int p = 0; p < 9; p++) {
            const qf one = q_set1(*(const float *)(row[p / 3] + p % 3 * across));
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) acc[v] = q_fma(one, w[p][v], acc[v]);
        }
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) few_store(c, acc[v], v, edge && v == nv - 1, last);
#pragma GCC unroll 3
        for (int p = 0; p < 3; p++) row[p] += step;
    }
}

/* The tiles by [edge][whether wide][mr - 1]. */
typedef void (*few_tile_fn)(const few_tile *f);
#define FEW_TILE(mr, nv) \
    static void few_tile_##mr##_00(const few_tile *f) { few_tile_run(f, mr, 1, 0); } \
    static void few_tile_##mr##_01(const few_tile *f) { few_tile_run(f, mr, FEW_NV, 0); } \
    static void few_tile_##mr##_10(const few_tile *f) { few_tile_run(f, mr, 1, 1); } \
    static void few_tile_##mr##_11(const few_tile *f) { few_tile_run(f, mr, FEW_NV, 1); }
GEMM_TILES(FEW_TILE)
#define FEW_NAME_00(mr, nv) few_tile_##mr##_00,
#define FEW_NAME_01(mr, nv) few_tile_##mr##_01,
#define FEW_NAME_10(mr, nv) few_tile_##mr##_10,
#define FEW_NAME_11(mr, nv) few_tile_##mr##_11,
static const few_tile_fn few_tile_fns[2][2][GEMM_MR] = {
    {{GEMM_TILES(FEW_NAME_00)}, {GEMM_TILES(FEW_NAME_01)}},
    {{GEMM_TILES(FEW_NAME_10)}, {GEMM_TILES(FEW_NAME_11)}},
};

static void few_held_00(const few_tile *f) { few_held_run(f, 1, 0); }
static void few_held_01(const few_tile *f) { few_held_run(f, FEW_NV, 0); }
static void few_held_10(const few_tile *f) { few_held_run(f, 1, 1); }
static void few_held_11(const few_tile *f) { few_held_run(f, FEW_NV, 1); }
static const few_tile_fn few_held_fns[2][2] = {
    {few_held_00, few_held_01},
    {few_held_10, few_held_11},
};

/* ---- run ---- */

#define FEW_ROOM (1 << 15)    /* floats of the lines of a band, if they need not be more  */
#define FEW_MOST (1 << 17)    /* floats of the lines of one row of outputs at most        */
#define FEW_TASKS 32          /* bands to be shared by a team, where there is work for so many */

static int64_t few_reach(const conv_window *v) { return (v->nh - 1) * v->dh + 1; }
static int64_t few_width(const conv_window *v) { return (v->gw - 1) * v->sw + (v->nw - 1) * v->dw + 1; }

/* A row of v->gw outputs, from row `i` of C on; lines: those of its windows. */
static void few_row(const conv_window *v, const fnn_gemm *g, const float *lines, const int32_t *tap,
                    int64_t i, int64_t j, int64_t n)
{
    const int64_t parts = gemm_ceil(v->gw, GEMM_MR), mr = v->gw / parts, taller = v->gw % parts;
    const int wide = n > (FEW_NV - 1) * VEC_W;
    few_tile f = {.t = {.k = g->k, .ai = v->sw * v->c, .a = lines, .ldc = g->ldc}, .tap = tap};
    f.t.b = g->panels + (j - j % GEMM_PANEL_W) * g->k + j % GEMM_PANEL_W;
    f.t.last = (int)(wide ? n - (FEW_NV - 1) * VEC_W : n);
    gemm_set_start(&f.t, g, i, j, 0);
    if (FEW_HOLDS && v->nh == 3 && v->nw == 3 && v->c == 1) {
        f.tiles = v->gw;
        few_held_fns[f.t.last < VEC_W][wide](&f);
    } else {
        const few_tile_fn *fns = few_tile_fns[f.t.last < VEC_W][wide];
        f.tiles = taller;
        if (taller) fns[mr](&f);
        f.t.a += taller * (mr + 1) * f.t.ai;
        f.t.c += taller * (mr + 1) * g->ldc;
        f.tiles = parts - taller;
        fns[mr - 1](&f);
    }
    gemm_finish(g, i, j, v->gw, n);
}

/* C = windows of v times the panels of g, C in rows of windows.  v->source is not looked at. */
static void few_run(const conv_window *v, const fnn_gemm *g, const fnn_scratch *s)
{
    const int64_t reach = few_reach(v), width = few_width(v), line = width * v->c;
    const int64_t images = v->gw && v->gh ? g->m / (v->gh * v->gw) : 0;
    const int64_t room = gemm_max((FEW_ROOM / line - reach) / v->sh + 1, 1);
    const int64_t fit = gemm_ceil(v->gh, room), share = gemm_ceil(FEW_TASKS, gemm_max(images, 1));
    const int64_t bands = gemm_max(fit, gemm_min(share, v->gh / 4));
    int32_t *tap = (int32_t *)s->local;
    float *lines = s->local + g->k;
    for (int64_t p = 0; p < g->k; p++) {
        const int64_t at = p / v->c / v->nw * v->dh * line + p / v->c % v->nw * v->dw * v->c + p % v->c;
        tap[p] = (int32_t)(at * (int64_t)sizeof(float));
    }
    FNN_FOR
    for (int64_t t = 0; t < images * bands; t++) {
        const int64_t image = t / bands, r0 = v->gh * (t % bands) / bands;
        const int64_t r1 = v->gh * (t % bands + 1) / bands;
        few_lines(lines, v, v->x + image * v->image, r0 * v->sh + v->oh, v->ow,
                  (r1 - r0 - 1) * v->sh + reach, width, 1);
        for (int64_t j = 0, n; j < g->n; j += n) {
            n = gemm_min(FEW_NV * VEC_W, g->n - j);
            if (n <= (FEW_NV - 1) * VEC_W) n = gemm_min(n, VEC_W);
            for (int64_t r = r0; r < r1; r++)
                few_row(v, g, lines + (r - r0) * v->sh * line, tap, (image * v->gh + r) * v->gw, j, n);
        }
    }
}

/* ---- strides by Winograd's transform ---- A convolution of stride s is one of stride 1 of the
 * image's blocks of s by s pixels, whose channels are (across, down, channel): a kernel of 5 to 12
 * taps has then 3 or 4.  A band of outputs is a small image of its own. */

/* s: the stride.  x, c, h, w, top and left of g are not looked at. */
static void few_winograd(const conv_window *v, const winograd *g, int64_t s, const fnn_scratch *scratch)
{
    const int64_t down = gemm_ceil(g->oh, g->edge), across = gemm_ceil(g->ow, g->edge);
    const int64_t width = g->edge * (across - 1) + 6, c = s * s * v->c;
    const int64_t room = gemm_max((FEW_ROOM / (width * c) - 6) / g->edge + 1, 1);
    const int64_t fit = gemm_ceil(down, room), share = gemm_ceil(FEW_TASKS, gemm_max(g->n, 1));
    const int64_t bands = gemm_max(fit, gemm_min(share, down));
    float *lines = scratch->local + GEMM_SCRATCH / 4;
    FNN_FOR
    for (int64_t t = 0; t < g->n * bands; t++) {
        const int64_t image = t / bands, a0 = down * (t % bands) / bands;
        const int64_t a1 = down * (t % bands + 1) / bands, h = g->edge * (a1 - a0 - 1) + 6;
        const int64_t y = image * g->oh * g->ow * g->o, all = (a1 - a0) * across;
        winograd band = *g;
        band.x = lines, band.n = 1, band.h = h, band.w = width, band.c = c;
        band.top = -g->edge * a0, band.left = 0, band.loose = 1;
        band.y += y;
        band.end = gemm_end_at(g->end, y, 0);
        const int64_t left = (FNN_LOCAL_BYTES - GEMM_SCRATCH) / 4 - h * width * c - FNN_LANES - WINOGRAD_BESIDES;
        const int64_t parts = gemm_ceil(all, gemm_min(left / winograd_room(&band), WINOGRAD_MOST));
        few_lines(lines, v, v->x + image * v->image, g->edge * a0 * s + v->oh, v->ow, h, width, s);
        for (int64_t p = 0; p < parts; p++) {
            const int64_t first = a0 * across + all * p / parts, end = a0 * across + all * (p + 1) / parts;
            winograd_tiles(&band, first, end - first, lines + h * width * c + FNN_LANES,
                           scratch->local);
        }
    }
}

#endif
