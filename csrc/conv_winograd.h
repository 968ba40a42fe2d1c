/*
 * conv_winograd.h: 3 by 3 convolutions of stride 1 with a quarter of the multiplications.
 *
 * Tiles of 6 by 6 pixels give 4 by 4 outputs: transform the tile and the kernel, multiply element by
 * element, transform back (Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray,
 * "Fast algorithms for convolutional neural networks", 2016).  Summed over channels, the products of
 * one of the 36 elements are a matrix product, (tiles, channels) by (channels, outputs).
 *
 * The transforms interpolate at 0, +-3/4, +-3/2 and infinity, which halves the error of the usual
 * 0, +-1, +-2.  An output depends on its tile alone, so that its bits are those of any batch, any
 * number of threads and any ISA with FMA.
 */
#ifndef FNN_CONV_WINOGRAD_H
#define FNN_CONV_WINOGRAD_H

#include "conv.h"

#define WINOGRAD_A 0.75f
#define WINOGRAD_B 1.5f
#define WINOGRAD_A2 0.5625f                /* A squared */
#define WINOGRAD_B2 2.25f
#define WINOGRAD_SUM 2.8125f               /* A2 + B2 */
#define WINOGRAD_PRODUCT 1.265625f         /* A2 B2 */
#define WINOGRAD_MOST 28                   /* tiles at a time: two row panels of the GEMM */

/* v = transformed d, six elements with steps of their own. */
VEC void winograd_tile(const vf *d, int ds, vf *v, int vs)
{
    const vf a = vf_set1(WINOGRAD_A), b = vf_set1(WINOGRAD_B), s = vf_set1(WINOGRAD_SUM);
    const vf a2 = vf_set1(WINOGRAD_A2), b2 = vf_set1(WINOGRAD_B2), q = vf_set1(WINOGRAD_PRODUCT);
    const vf d1 = d[ds], d2 = d[2 * ds], d3 = d[3 * ds], d4 = d[4 * ds];
    const vf even1 = vf_fnma(b2, d2, d4), odd1 = vf_fnma(b2, d1, d3);
    const vf even2 = vf_fnma(a2, d2, d4), odd2 = vf_fnma(a2, d1, d3);
    v[0] = vf_fma(q, d[0], vf_fnma(s, d2, d4));
    v[vs] = vf_fma(a, odd1, even1);
    v[2 * vs] = vf_fnma(a, odd1, even1);
    v[3 * vs] = vf_fma(b, odd2, even2);
    v[4 * vs] = vf_fnma(b, odd2, even2);
    v[5 * vs] = vf_fma(q, d1, vf_fnma(s, d3, d[5 * ds]));
}

/* u = transformed kernel g, three elements to six. */
VEC void winograd_kernel(const vf *g, int gs, vf *u, int us)
{
    const float a = WINOGRAD_A2 * (WINOGRAD_A2 - WINOGRAD_B2) * 2;
    const float b = WINOGRAD_B2 * (WINOGRAD_B2 - WINOGRAD_A2) * 2;
    const vf ca = vf_set1(1 / a), cb = vf_set1(1 / b);
    const vf even1 = vf_fma(vf_set1(WINOGRAD_A2), g[2 * gs], g[0]), odd1 = vf_mul(vf_set1(WINOGRAD_A), g[gs]);
    const vf even2 = vf_fma(vf_set1(WINOGRAD_B2), g[2 * gs], g[0]), odd2 = vf_mul(vf_set1(WINOGRAD_B), g[gs]);
    u[0] = vf_mul(vf_set1(1 / WINOGRAD_PRODUCT), g[0]);
    u[us] = vf_mul(ca, vf_add(even1, odd1));
    u[2 * us] = vf_mul(ca, vf_sub(even1, odd1));
    u[3 * us] = vf_mul(cb, vf_add(even2, odd2));
    u[4 * us] = vf_mul(cb, vf_sub(even2, odd2));
    u[5 * us] = g[2 * gs];
}

/* y = m transformed back, six elements to four. */
VEC void winograd_output(const vf *m, int ms, vf *y, int ys)
{
    const vf even1 = vf_add(m[ms], m[2 * ms]), odd1 = vf_sub(m[ms], m[2 * ms]);
    const vf even2 = vf_add(m[3 * ms], m[4 * ms]), odd2 = vf_sub(m[3 * ms], m[4 * ms]);
    y[0] = vf_add(m[0], vf_add(even1, even2));
    y[ys] = vf_fma(vf_set1(WINOGRAD_A), odd1, vf_mul(vf_set1(WINOGRAD_B), odd2));
    y[2 * ys] = vf_fma(vf_set1(WINOGRAD_A2), even1, vf_mul(vf_set1(WINOGRAD_B2), even2));
    y[3 * ys] = vf_fma(vf_set1(WINOGRAD_A * WINOGRAD_A2), odd1,
                       vf_fma(vf_set1(WINOGRAD_B * WINOGRAD_B2), odd2, m[5 * ms]));
}

/* ---- pack ---- 36 matrices (rows, columns) in panels, one behind the other.  Row o, column j is
 * the kernel w[j * ld + o * step ..], turned by 180 degrees if turned. */
static void winograd_pack(float *u, const float *w, int64_t ld, int64_t step, int64_t columns,
                          int64_t rows, int turned)
{
    const int64_t panels = gemm_ceil(columns, GEMM_PANEL_W), size = panels * rows * GEMM_PANEL_W;
    FNN_FOR
    for (int64_t t = 0; t < panels * rows; t++) {
        const int64_t j0 = t / rows * GEMM_PANEL_W, o = t % rows;
        float kernel[9][GEMM_PANEL_W] = {{0}};
        for (int64_t j = 0; j < gemm_min(GEMM_PANEL_W, columns - j0); j++)
            for (int i = 0; i < 9; i++)
                kernel[i][j] = w[(j0 + j) * ld + o * step + (turned ? 8 - i : i)];
        for (int j = 0; j < GEMM_PANEL_W; j += FNN_LANES) {
            vf g[9], half[18], all[36];
            for (int i = 0; i < 9; i++) g[i] = vf_load(kernel[i] + j);
            for (int i = 0; i < 3; i++) winograd_kernel(g + i, 3, half + i, 3);
            for (int i = 0; i < 6; i++) winograd_kernel(half + 3 * i, 1, all + 6 * i, 1);
            for (int i = 0; i < 36; i++) vf_store(u + i * size + t * GEMM_PANEL_W + j, all[i]);
        }
    }
}

/* ---- run ---- */

typedef struct {
    const float *x, *panels, *bias, *add;
    float *y;
    int64_t n, h, w, c;       /* images x                                                 */
    int64_t oh, ow, o;        /* images y, add                                            */
    int64_t top, left;        /* pixel of x that tap (0, 0) of output (0, 0) looks at     */
    int acc;                  /* add to y                                                 */
} winograd;

/* The tile (a, b) of an image, all channels, as element i of 36 at v + i * size. */
static void winograd_read(const winograd *g, const float *image, int64_t a, int64_t b, float *v,
                          int64_t size)
{
    const int64_t y0 = 4 * a + g->top, x0 = 4 * b + g->left;
    for (int64_t q = 0; q < g->c; q += FNN_LANES) {
        const int lanes = lanes_of(g->c - q);
        vf half[36], all[36];
        for (int j = 0; j < 6; j++) {
            const int64_t x = x0 + j;
            vf d[6];
            for (int i = 0; i < 6; i++) {
                const int64_t y = y0 + i;
                const int inside = y >= 0 && y < g->h && x >= 0 && x < g->w;
                d[i] = inside ? vf_get(image + (y * g->w + x) * g->c + q, lanes) : vf_zero();
            }
            winograd_tile(d, 1, half + j, 6);
        }
        for (int i = 0; i < 6; i++) {
            winograd_tile(half + 6 * i, 1, all + 6 * i, 1);
            for (int j = 0; j < 6; j++) vf_put(v + (6 * i + j) * size + q, all[6 * i + j], lanes);
        }
    }
}

static void winograd_write(const winograd *g, int64_t image, int64_t a, int64_t b, const float *m,
                           int64_t size)
{
    for (int64_t q = 0; q < g->o; q += FNN_LANES) {
        const int lanes = lanes_of(g->o - q);
        const vf bias = g->bias ? vf_get(g->bias + q, lanes) : vf_zero();
        vf half[24], all[16];
        for (int j = 0; j < 6; j++) {
            vf d[6];
            for (int i = 0; i < 6; i++) d[i] = vf_get(m + (6 * i + j) * size + q, lanes);
            winograd_output(d, 1, half + j, 6);
        }
        for (int i = 0; i < 4; i++) winograd_output(half + 6 * i, 1, all + 4 * i, 1);
        for (int i = 0; i < 4 && 4 * a + i < g->oh; i++)
            for (int j = 0; j < 4 && 4 * b + j < g->ow; j++) {
                const int64_t at = ((image * g->oh + 4 * a + i) * g->ow + 4 * b + j) * g->o + q;
                vf y = vf_add(all[4 * i + j], bias);
                if (g->add) y = vf_add(y, vf_get(g->add + at, lanes));
                if (g->acc) y = vf_add(y, vf_get(g->y + at, lanes));
                vf_put(g->y + at, y, lanes);
            }
    }
}

/* Some tiles at a time, by one thread: their 36 matrices lie in its scratch.  How many fit depends on
 * the team, which no bit of a tile does. */
static void winograd_run(const winograd *g, const fnn_scratch *s)
{
    const int64_t down = gemm_ceil(g->oh, 4), across = gemm_ceil(g->ow, 4), all = g->n * down * across;
    const int64_t width = gemm_ceil(g->o, GEMM_PANEL_W) * GEMM_PANEL_W;
    const int64_t share = FNN_SHARED_BYTES / 4 / fnn_team_size(), own = (FNN_LOCAL_BYTES - GEMM_SCRATCH) / 4;
    const int64_t room = gemm_max(share, own) - 72 * FNN_LANES;
    float *v = share > own ? s->shared + share * fnn_team_rank() : s->local + GEMM_SCRATCH / 4;
    const int64_t most = gemm_max(gemm_min(room / (36 * (g->c + g->o)), WINOGRAD_MOST), 1);
    const int64_t parts = gemm_ceil(all, most);
    FNN_FOR
    for (int64_t t = 0; t < parts; t++) {
        const int64_t first = all * t / parts, n = all * (t + 1) / parts - first;
        const int64_t in = n * g->c + FNN_LANES, out = n * g->o + FNN_LANES;   /* other cache sets */
        float *m = v + 36 * in;
        for (int64_t i = 0; i < n; i++) {
            const int64_t tile = first + i, image = tile / across / down;
            winograd_read(g, g->x + image * g->h * g->w * g->c, tile / across % down, tile % across,
                          v + i * g->c, in);
        }
        for (int i = 0; i < 36; i++) {
            const fnn_gemm product = {.m = n, .n = g->o, .k = g->c, .a = v + i * in, .lda = g->c,
                                      .panels = g->panels + i * width * g->c, .c = m + i * out,
                                      .ldc = g->o};
            gemm_serial(&product, s->local);
        }
        for (int64_t i = 0; i < n; i++) {
            const int64_t tile = first + i;
            winograd_write(g, tile / across / down, tile / across % down, tile % across, m + i * g->o,
                           out);
        }
    }
}

#endif
