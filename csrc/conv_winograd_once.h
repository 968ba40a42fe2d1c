/*
 * conv_winograd_once.h: Winograd's transform where few tiles of an image meet many weights, as in the
 * last stage of a network: 36 matrices of transformed kernels would be larger than the caches, and be
 * read once.
 *
 * So a block of kernels is transformed by the thread that multiplies it, and never leaves its cache:
 * all tiles' transforms lie in shared scratch, as many as fit at a time; a task is one panel of
 * outputs, which takes some channels at a time, and fetches the next ones meanwhile.
 *
 * An output is one chain of products over ascending channels, transformed back: its bits depend on its
 * tile alone, and are those of conv_winograd.h.
 */
#ifndef FNN_CONV_WINOGRAD_ONCE_H
#define FNN_CONV_WINOGRAD_ONCE_H

#include "conv_winograd.h"

#define WINOGRAD_ONCE_ROWS 64   /* channels at a time: 36 by 64 by 32 weights are 288 KB   */
#define WINOGRAD_ONCE_TILES 56  /* at most: their 36 by 32 outputs are 252 KB              */

/* n outputs of the tile (a, b) from o0 on, from m, its elements `size` apart. */
static void winograd_once_write(const winograd *g, int64_t image, int64_t a, int64_t b, int64_t o0,
                                int64_t n, const float *m, int64_t size)
{
    for (int64_t q = 0; q < n; q += FNN_LANES) {
        const int lanes = lanes_of(n - q);
        vf half[24], all[16];
        for (int j = 0; j < 6; j++) {
            vf d[6];
            for (int i = 0; i < 6; i++) d[i] = vf_load(m + (6 * i + j) * size + q);
            winograd_output(d, 1, half + j, 6);
        }
        for (int i = 0; i < 4; i++) winograd_output(half + 6 * i, 1, all + 4 * i, 1);
        const vf bias = g->bias ? vf_get(g->bias + o0 + q, lanes) : vf_zero();
        for (int i = 0; i < 4 && 4 * a + i < g->oh; i++)
            for (int j = 0; j < 4 && 4 * b + j < g->ow; j++) {
                const int64_t p = ((image * g->oh + 4 * a + i) * g->ow + 4 * b + j) * g->o + o0 + q;
                vf to = gemm_ended(&g->end, vf_add(all[4 * i + j], bias), p, o0 + q, lanes, g->end.act);
                if (g->acc) to = vf_add(to, vf_get(g->y + p, lanes));
                vf_put(g->y + p, to, lanes);
            }
    }
}

/* n tiles from `first` on, whose transforms lie at v, (36, n, ld): their outputs j0..j0 + width. */
static void winograd_once_panel(const winograd *g, const float *v, int64_t ld, int64_t first,
                                int64_t n, int64_t j0, const winograd_weight *w, const fnn_scratch *s)
{
    const int64_t down = gemm_ceil(g->oh, 4), across = gemm_ceil(g->ow, 4);
    const int64_t width = gemm_min(g->o - j0, GEMM_PANEL_W), size = n * GEMM_PANEL_W + FNN_LANES;
    float *u = s->local + GEMM_SCRATCH / 4, *m = u + 36 * (WINOGRAD_ONCE_ROWS * GEMM_PANEL_W + FNN_LANES);
    for (int64_t q = 0; q < g->c && !fnn_given_up(); q += WINOGRAD_ONCE_ROWS) {
        const int64_t rows = gemm_min(g->c - q, WINOGRAD_ONCE_ROWS);
        const int64_t matrix = rows * GEMM_PANEL_W + FNN_LANES;              /* other cache sets */
        winograd_kernels(u, matrix, w, j0, width, q, rows);
        const int ends = q + rows == g->c;          /* what follows is the next panel */
        const int64_t j1 = ends ? gemm_min(j0 + GEMM_PANEL_W, g->o) : j0, q1 = ends ? 0 : q + rows;
        for (int i = 0; i < 36; i++) {
            if (i < WINOGRAD_ASKS)
                winograd_ask(w, j1, gemm_min(g->o - j1, GEMM_PANEL_W), q1,
                             gemm_min(g->c - q1, WINOGRAD_ONCE_ROWS), i);
            const fnn_gemm product = {.m = n, .n = GEMM_PANEL_W, .k = rows, .a = v + i * n * ld + q,
                                      .lda = ld, .panels = u + i * matrix,
                                      .c = m + i * size, .ldc = GEMM_PANEL_W, .acc = q > 0};
            gemm_serial(&product, s->local);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t tile = first + i;
        winograd_once_write(g, tile / across / down, tile / across % down, tile % across, j0, width,
                            m + i * GEMM_PANEL_W, size);
    }
}

/* As winograd_run, from the kernels w; panels of g are not looked at. */
static void winograd_once(const winograd *g, const winograd_weight *w, const fnn_scratch *s)
{
    const int64_t down = gemm_ceil(g->oh, 4), across = gemm_ceil(g->ow, 4), all = g->n * down * across;
    const int64_t row = gemm_ceil(g->c, FNN_LANES) * FNN_LANES + FNN_LANES;   /* other cache sets */
    const int64_t room = gemm_min(FNN_SHARED_BYTES / 4 / (36 * row), WINOGRAD_ONCE_TILES);
    const int64_t parts = gemm_ceil(all, room), panels = gemm_ceil(g->o, GEMM_PANEL_W);
    const int64_t chunks = gemm_ceil(g->c, WINOGRAD_ONCE_ROWS);
    for (int64_t t = 0; t < parts; t++) {
        const int64_t first = all * t / parts, n = all * (t + 1) / parts - first;
        FNN_FOR
        for (int64_t k = 0; k < n * chunks; k++) {
            const int64_t tile = first + k / chunks, q = k % chunks * WINOGRAD_ONCE_ROWS;
            const float *image = g->x + tile / across / down * g->h * g->w * g->c;
            winograd_read(g, image + q, gemm_min(g->c - q, WINOGRAD_ONCE_ROWS), tile / across % down,
                          tile % across, s->shared + k / chunks * row + q, n * row);
        }
        FNN_FOR
        for (int64_t k = 0; k < panels; k++)
            winograd_once_panel(g, s->shared, row, first, n, k * GEMM_PANEL_W, w, s);
    }
}

#endif
