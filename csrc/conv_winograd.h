/*
 * conv_winograd.h: 3 by 3 convolutions of stride 1 with a quarter of the multiplications, and 4 by 4
 * ones with a quarter, too.
 *
 * Tiles of 6 by 6 pixels give 4 by 4 outputs, F(4, 3), or 3 by 3, F(3, 4): transform the tile and the
 * kernel, multiply element by element, transform back (Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray,
 * "Fast algorithms for convolutional neural networks", 2016).  Summed over channels, the products of
 * one of the 36 elements are a matrix product, (tiles, channels) by (channels, outputs).
 *
 * The transforms interpolate at 0, +-3/4, +-3/2 and infinity, which halves the error of the usual
 * 0, +-1, +-2.  An output depends on its tile alone, so that its bits are those of any batch, any
 * number of threads and any ISA with FMA.
 *
 * The gradient of the kernels shares the tiles: 4 by 4 gradients of outputs are then the kernel of
 * F(3, 4), and products are summed over tiles before they are transformed back.
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
#define WINOGRAD_CA (1 / (WINOGRAD_A2 * (WINOGRAD_A2 - WINOGRAD_B2) * 2))
#define WINOGRAD_CB (1 / (WINOGRAD_B2 * (WINOGRAD_B2 - WINOGRAD_A2) * 2))
#define WINOGRAD_MOST 28                   /* tiles at a time: two row panels of the GEMM */
#define WINOGRAD_SHORT 48                  /* channels whose products need no gemm_serial */

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

/* u at the points 0, a, -a, b, -b from the first element and the even and odd parts at a and b. */
VEC void winograd_points(vf *u, int us, vf first, vf even1, vf odd1, vf even2, vf odd2)
{
    const vf ca = vf_set1(WINOGRAD_CA), cb = vf_set1(WINOGRAD_CB);
    u[0] = vf_mul(vf_set1(1 / WINOGRAD_PRODUCT), first);
    u[us] = vf_mul(ca, vf_add(even1, odd1));
    u[2 * us] = vf_mul(ca, vf_sub(even1, odd1));
    u[3 * us] = vf_mul(cb, vf_add(even2, odd2));
    u[4 * us] = vf_mul(cb, vf_sub(even2, odd2));
}

/* u = transformed kernel g, three elements to six. */
VEC void winograd_kernel(const vf *g, int gs, vf *u, int us)
{
    const vf even1 = vf_fma(vf_set1(WINOGRAD_A2), g[2 * gs], g[0]), odd1 = vf_mul(vf_set1(WINOGRAD_A), g[gs]);
    const vf even2 = vf_fma(vf_set1(WINOGRAD_B2), g[2 * gs], g[0]), odd2 = vf_mul(vf_set1(WINOGRAD_B), g[gs]);
    winograd_points(u, us, g[0], even1, odd1, even2, odd2);
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

/* u = transformed gradient g of outputs, four elements to six. */
VEC void winograd_gradient(const vf *g, int gs, vf *u, int us)
{
    const vf a2 = vf_set1(WINOGRAD_A2), b2 = vf_set1(WINOGRAD_B2);
    const vf even1 = vf_fma(a2, g[2 * gs], g[0]), even2 = vf_fma(b2, g[2 * gs], g[0]);
    const vf odd1 = vf_mul(vf_set1(WINOGRAD_A), vf_fma(a2, g[3 * gs], g[gs]));
    const vf odd2 = vf_mul(vf_set1(WINOGRAD_B), vf_fma(b2, g[3 * gs], g[gs]));
    winograd_points(u, us, g[0], even1, odd1, even2, odd2);
    u[5 * us] = g[3 * gs];
}

/* y = m transformed back to a kernel, six elements to three. */
VEC void winograd_taps(const vf *m, int ms, vf *y, int ys)
{
    const vf even1 = vf_add(m[ms], m[2 * ms]), odd1 = vf_sub(m[ms], m[2 * ms]);
    const vf even2 = vf_add(m[3 * ms], m[4 * ms]), odd2 = vf_sub(m[3 * ms], m[4 * ms]);
    y[0] = vf_add(m[0], vf_add(even1, even2));
    y[ys] = vf_fma(vf_set1(WINOGRAD_A), odd1, vf_mul(vf_set1(WINOGRAD_B), odd2));
    y[2 * ys] = vf_fma(vf_set1(WINOGRAD_A2), even1,
                       vf_fma(vf_set1(WINOGRAD_B2), even2, m[5 * ms]));
}

/* ---- pack ---- 36 matrices (rows, columns) in panels, one behind the other. */

/* The kernel of row o, column j is w[j * ld + o * step ..], taps[0] by taps[1], turned by 180 degrees
 * if turned.  A stride splits it by the parities of its taps: rows are (across, down, o) then, and
 * every kernel has `size` taps down and across, 0 where w ends. */
typedef struct {
    const float *w;
    int64_t ld, step, taps[2], stride;
    int size, turned;
} winograd_weight;

static float winograd_tap(const winograd_weight *k, int64_t row, int64_t inner, int64_t j, int i)
{
    const int64_t y = i / k->size * k->stride + row / inner % k->stride;
    const int64_t x = i % k->size * k->stride + row / inner / k->stride;
    const int64_t tap = y * k->taps[1] + x;
    if (y >= k->taps[0] || x >= k->taps[1]) return 0.0f;
    return k->w[j * k->ld + row % inner * k->step + tap];
}

/* u[i * size] = element i of the transform of n by n taps, which lie GEMM_PANEL_W apart, for a panel
 * of columns. */
VEC void winograd_transform(const float *taps, const int n, int turned, float *u, int64_t size)
{
    for (int j = 0; j < GEMM_PANEL_W; j += FNN_LANES) {
        vf g[16], half[24], all[36];
        for (int i = 0; i < n * n; i++)
            g[i] = vf_load(taps + (turned ? n * n - 1 - i : i) * GEMM_PANEL_W + j);
        for (int i = 0; i < n; i++)
            if (n == 3) winograd_kernel(g + i, n, half + i, n);
            else winograd_gradient(g + i, n, half + i, n);
        for (int i = 0; i < 6; i++)
            if (n == 3) winograd_kernel(half + n * i, 1, all + 6 * i, 1);
            else winograd_gradient(half + n * i, 1, all + 6 * i, 1);
#pragma GCC unroll 36
        for (int i = 0; i < 36; i++) vf_store(u + i * size + j, all[i]);
    }
}

#define WINOGRAD_ROWS 64      /* rows whose taps are gathered at once */

/* u = transformed kernels of 3 by 3, rows o0.. of a panel of n columns from j0 on: 36 matrices `size`
 * apart.  Columns that do not exist are 0. */
static void winograd_kernels(float *u, int64_t size, const winograd_weight *k, int64_t j0, int64_t n,
                             int64_t o0, int64_t rows)
{
    float taps[WINOGRAD_ROWS * 9 * GEMM_PANEL_W];
    for (int64_t o = 0; o < rows; o += WINOGRAD_ROWS) {
        const int64_t most = gemm_min(rows - o, WINOGRAD_ROWS), run = k->step == 9 ? most : 1;
        for (int64_t j = 0; j < GEMM_PANEL_W; j += SQ)
            for (int64_t r = 0; r < most; r += run) {
                const int64_t first = gemm_min(j, n - 1);
                const float *row[SQ];
                gemm_row_pointers(row, k->w + (j0 + first) * k->ld + (o0 + o + r) * k->step, k->ld,
                                  n - first);
                conv_gather(taps + 9 * r * GEMM_PANEL_W + j, GEMM_PANEL_W, row, 9 * run);
            }
        for (int64_t p = 0; n < GEMM_PANEL_W && p < 9 * most; p++)
            memset(taps + p * GEMM_PANEL_W + n, 0, (size_t)(GEMM_PANEL_W - n) * sizeof *taps);
        for (int64_t r = 0; r < most; r++)
            winograd_transform(taps + 9 * r * GEMM_PANEL_W, 3, k->turned, u + (o + r) * GEMM_PANEL_W, size);
    }
}

/* Fetches one of WINOGRAD_ASKS parts of what winograd_kernels is to read. */
#define WINOGRAD_ASKS 32
static void winograd_ask(const winograd_weight *k, int64_t j0, int64_t n, int64_t o0, int64_t rows,
                         int part)
{
    const int64_t lines = k->step == 9 ? n : rows, size = 9 * (k->step == 9 ? rows : n);
    const int64_t ld = k->step == 9 ? k->ld : k->step, end = lines * (part + 1) / WINOGRAD_ASKS;
    for (int64_t i = lines * part / WINOGRAD_ASKS; i < end; i++)
        for (int64_t p = 0; p < size; p += 16)
            __builtin_prefetch(k->w + j0 * k->ld + o0 * k->step + i * ld + p, 0, 2);
}

/* inner: rows of w. */
static void winograd_pack(float *u, const winograd_weight *k, int64_t columns, int64_t inner)
{
    const int64_t rows = inner * k->stride * k->stride, blocks = gemm_ceil(rows, WINOGRAD_ROWS);
    const int64_t panels = gemm_ceil(columns, GEMM_PANEL_W), size = panels * rows * GEMM_PANEL_W;
    FNN_FOR
    for (int64_t t = 0; t < panels * blocks; t++) {
        const int64_t j0 = t / blocks * GEMM_PANEL_W, n = gemm_min(GEMM_PANEL_W, columns - j0);
        const int64_t o0 = t % blocks * WINOGRAD_ROWS, o1 = gemm_min(o0 + WINOGRAD_ROWS, rows);
        float *to = u + t / blocks * rows * GEMM_PANEL_W;
        if (k->stride == 1) {
            winograd_kernels(to + o0 * GEMM_PANEL_W, size, k, j0, n, o0, o1 - o0);
            continue;
        }
        for (int64_t o = o0; o < o1; o++) {
            float taps[16 * GEMM_PANEL_W] = {0};
            for (int64_t j = 0; j < n; j++)
                for (int i = 0; i < k->size * k->size; i++)
                    taps[i * GEMM_PANEL_W + j] = winograd_tap(k, o, inner, j0 + j, i);
            if (k->size == 3) winograd_transform(taps, 3, 0, to + o * GEMM_PANEL_W, size);
            else winograd_transform(taps, 4, 0, to + o * GEMM_PANEL_W, size);
        }
    }
}

/* ---- run ---- */

typedef struct {
    const float *x, *panels, *bias;
    float *y;
    gemm_end end;
    int64_t n, h, w, c;       /* images x                                                 */
    int64_t oh, ow, o;        /* images y                                                 */
    int64_t top, left;        /* pixel of x that tap (0, 0) of output (0, 0) looks at     */
    int edge;                 /* of the outputs of a tile: 4, or 3 for kernels of 4 by 4  */
    int acc;                  /* add to y                                                 */
    int loose;                /* tiles lie inside x, and FNN_LANES floats behind it       */
} winograd;

/* The tile (a, b) of an image, n channels from `image` on, as element i of 36 at v + i * size. */
static void winograd_read(const winograd *g, const float *image, int64_t n, int64_t a, int64_t b,
                          float *v, int64_t size)
{
    const int64_t y0 = g->edge * a + g->top, x0 = g->edge * b + g->left;
    for (int64_t q = 0; q < n; q += FNN_LANES) {
        const int lanes = g->loose ? FNN_LANES : lanes_of(n - q);
        vf half[36], all[36];
        for (int j = 0; j < 6; j++) {
            const int64_t x = x0 + j;
            vf d[6];
            for (int i = 0; i < 6; i++) {
                const int64_t y = y0 + i;
                const int inside = g->loose || (y >= 0 && y < g->h && x >= 0 && x < g->w);
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

VEC void winograd_back(const vf *m, int ms, vf *y, int ys, const int edge)
{
    if (edge == 4) winograd_output(m, ms, y, ys);
    else winograd_taps(m, ms, y, ys);
}

/* half (tiles, edge, 6, o): column j of it from six matrices m (tiles, o), `size` apart. */
VEC void winograd_down(const winograd *g, const float *m, int64_t size, int64_t n, int j, float *half,
                       const int edge)
{
    for (int64_t t = 0; t < n; t++, m += g->o, half += 6 * edge * g->o)
        for (int64_t q = 0; q < g->o; q += FNN_LANES) {
            const int lanes = lanes_of(g->o - q);
            vf d[6], y[4];
            for (int i = 0; i < 6; i++) d[i] = vf_get(m + i * size + q, lanes);
            winograd_back(d, 1, y, 1, edge);
            for (int i = 0; i < edge; i++) vf_put(half + (6 * i + j) * g->o + q, y[i], lanes);
        }
}

/* The outputs of tile (a, b) of an image. */
VEC void winograd_write(const winograd *g, int64_t image, int64_t a, int64_t b, const float *half,
                        const int edge)
{
    const int64_t down = gemm_min(edge, g->oh - edge * a), across = gemm_min(edge, g->ow - edge * b);
    for (int64_t q = 0; q < g->o; q += FNN_LANES) {
        const int lanes = lanes_of(g->o - q);
        const vf bias = g->bias ? vf_get(g->bias + q, lanes) : vf_zero();
        for (int64_t i = 0; i < down; i++) {
            const int64_t at = ((image * g->oh + edge * a + i) * g->ow + edge * b) * g->o + q;
            vf d[6], y[4];
            for (int j = 0; j < 6; j++) d[j] = vf_get(half + (6 * i + j) * g->o + q, lanes);
            winograd_back(d, 1, y, 1, edge);
            for (int j = 0; j < across; j++) {
                const int64_t p = at + j * g->o;
                vf to = vf_add(y[j], bias);
                to = gemm_ended(&g->end, to, p, q, lanes, g->end.act);
                if (g->acc) to = vf_add(to, vf_get(g->y + p, lanes));
                vf_put(g->y + p, to, lanes);
            }
        }
    }
}

/* Floats that winograd_tiles wants for each tile, and besides. */
static int64_t winograd_room(const winograd *g) { return 36 * g->c + 6 * (1 + g->edge) * g->o; }
#define WINOGRAD_BESIDES (42 * FNN_LANES)

/* One of the products: C (n, o) = A (n, c) times its panels.  A short chain is little work for
 * gemm_serial to be prepared for. */
static void winograd_product(const winograd *g, int64_t n, const float *a, const float *panels,
                             float *c, float *scratch)
{
    if (g->c > WINOGRAD_SHORT) {
        const fnn_gemm product = {.m = n, .n = g->o, .k = g->c, .a = a, .lda = g->c,
                                  .panels = panels, .c = c, .ldc = g->o};
        gemm_serial(&product, scratch);
        return;
    }
    const int64_t parts = gemm_ceil(n, GEMM_MR);
    int nv = GEMM_NR / VEC_W;
    for (int64_t j = 0; j < g->o; j += nv * VEC_W) {
        while ((nv - 1) * VEC_W >= g->o - j) nv /= 2;
        const int64_t lane = j % GEMM_PANEL_W;
        const int64_t last = gemm_min(g->o - j, nv * VEC_W) - (nv - 1) * VEC_W;
        for (int64_t p = 0; p < parts; p++) {
            const int64_t i = n * p / parts, mr = n * (p + 1) / parts - i;
            const gemm_tile t = {.k = g->c, .a = a + i * g->c, .ai = g->c,
                                 .b = panels + (j - lane) * g->c + lane, .ldb = GEMM_PANEL_W,
                                 .c = c + i * g->o + j, .ldc = g->o, .last = (int)last};
            gemm_tile_fns[1][last < VEC_W][mr - 1][__builtin_ctz((unsigned)nv)](&t);
        }
    }
}

/* n tiles from number `first` on: their 36 matrices lie at v, the products six at a time. */
static void winograd_tiles(const winograd *g, int64_t first, int64_t n, float *v, float *scratch)
{
    const int64_t down = gemm_ceil(g->oh, g->edge), across = gemm_ceil(g->ow, g->edge);
    const int64_t width = gemm_ceil(g->o, GEMM_PANEL_W) * GEMM_PANEL_W;
    const int64_t in = n * g->c + FNN_LANES, out = n * g->o + FNN_LANES;   /* other cache sets */
    float *m = v + 36 * in, *half = m + 6 * out;
    if (fnn_given_up()) return;
    for (int64_t i = 0; i < n; i++) {
        const int64_t tile = first + i, image = tile / across / down;
        winograd_read(g, g->x + image * g->h * g->w * g->c, g->c, tile / across % down,
                      tile % across, v + i * g->c, in);
    }
    for (int j = 0; j < 6; j++) {
        for (int i = 0; i < 6; i++) {
            const int64_t at = 6 * i + j;
            winograd_product(g, n, v + at * in, g->panels + at * width * g->c, m + i * out,
                             scratch);
        }
        if (g->edge == 4) winograd_down(g, m, out, n, j, half, 4);
        else winograd_down(g, m, out, n, j, half, 3);
    }
    for (int64_t i = 0; i < n; i++, half += 6 * g->edge * g->o) {
        const int64_t image = (first + i) / across / down, a = (first + i) / across % down;
        if (g->edge == 4) winograd_write(g, image, a, (first + i) % across, half, 4);
        else winograd_write(g, image, a, (first + i) % across, half, 3);
    }
}

/* Some tiles at a time, by one thread: their 36 matrices lie in its scratch.  How many fit depends on
 * the team, which no bit of a tile does. */
static void winograd_run(const winograd *g, const fnn_scratch *s)
{
    const int64_t all = g->n * gemm_ceil(g->oh, g->edge) * gemm_ceil(g->ow, g->edge);
    const int64_t share = FNN_SHARED_BYTES / 4 / fnn_team_size(), own = (FNN_LOCAL_BYTES - GEMM_SCRATCH) / 4;
    const int64_t room = gemm_max(share, own) - WINOGRAD_BESIDES;
    float *v = share > own ? s->shared + share * fnn_team_rank() : s->local + GEMM_SCRATCH / 4;
    const int64_t most = gemm_max(gemm_min(room / winograd_room(g), WINOGRAD_MOST), 1);
    const int64_t team = fnn_team_size(), parts = gemm_ceil(gemm_ceil(all, most), team) * team;
    FNN_FOR
    for (int64_t t = 0; t < parts; t++) {
        const int64_t first = all * t / parts;
        winograd_tiles(g, first, all * (t + 1) / parts - first, v, s->local);
    }
}

/* ---- the gradient of the kernels ---- A block of outputs by channels over a slab of tiles: 36
 * products, summed over tiles some at a time, stay in the scratch of a thread until they are
 * transformed back.  Slabs, which follow from the shapes, are added two by two. */

#define WINOGRAD_BLOCK 64     /* outputs of a block, and channels, at most                */
#define WINOGRAD_SLAB 32      /* tiles of a slab at least                                 */
#define WINOGRAD_PARTS 8      /* to be shared by a team, where there is work for so many  */

/* The tile (a, b) of n gradients of outputs from `image` on, as element i of 36 at u + i * size. */
static void winograd_read_gradient(const winograd *g, const float *image, int64_t n, int64_t a,
                                   int64_t b, float *u, int64_t size)
{
    for (int64_t q = 0; q < n; q += FNN_LANES) {
        const int lanes = lanes_of(n - q);
        vf half[24], all[36];
        for (int j = 0; j < 4; j++) {
            const int64_t x = 4 * b + j;
            vf d[4];
            for (int i = 0; i < 4; i++) {
                const int64_t y = 4 * a + i;
                const int inside = y < g->oh && x < g->ow;
                d[i] = inside ? vf_get(image + (y * g->ow + x) * g->o + q, lanes) : vf_zero();
            }
            winograd_gradient(d, 1, half + j, 4);
        }
        for (int i = 0; i < 6; i++) {
            winograd_gradient(half + 4 * i, 1, all + 6 * i, 1);
            for (int j = 0; j < 6; j++) vf_put(u + (6 * i + j) * size + q, all[6 * i + j], lanes);
        }
    }
}

/* dw (+)= m transformed back.  m: (36, o, c), dw: (o, c, 9) in rows of ld. */
static void winograd_write_kernels(const float *m, int64_t o, int64_t c, float *dw, int64_t ld,
                                   int acc)
{
    for (int64_t r = 0; r < o; r++)
        for (int64_t q = 0; q < c; q += FNN_LANES) {
            const int lanes = lanes_of(c - q);
            float tap[9][FNN_LANES], *to = dw + r * ld + 9 * q;
            vf half[18], all[9];
            for (int j = 0; j < 6; j++) {
                vf d[6];
                for (int i = 0; i < 6; i++)
                    d[i] = vf_get(m + ((6 * i + j) * o + r) * c + q, lanes);
                winograd_taps(d, 1, half + j, 6);
            }
            for (int i = 0; i < 3; i++) winograd_taps(half + 6 * i, 1, all + 3 * i, 1);
            for (int i = 0; i < 9; i++) vf_store(tap[i], all[i]);
            for (int lane = 0; lane < lanes; lane++)
                for (int i = 0; i < 9; i++)
                    to[9 * lane + i] = acc ? to[9 * lane + i] + tap[i][lane] : tap[i][lane];
        }
}

/* Outputs o0..o1 and channels q0..q1 over tiles first..end. */
typedef struct { int64_t o0, o1, q0, q1, first, end; } winograd_block;

/* The 36 products of a block, (36, outputs, channels) at m; tiles lie behind them. */
static void winograd_sum(const winograd *g, const float *dy, const winograd_block *r, float *m,
                         const fnn_scratch *s)
{
    const int64_t down = gemm_ceil(g->oh, 4), across = gemm_ceil(g->ow, 4);
    const int64_t o = r->o1 - r->o0, c = r->q1 - r->q0;
    const int64_t room = (FNN_LOCAL_BYTES - GEMM_SCRATCH) / 4 - 36 * (o * c + 2 * FNN_LANES);
    const int64_t most = gemm_min(room / (36 * (o + c)), WINOGRAD_MOST);
    int64_t at = r->first;
    do {                                    /* once if there are no tiles */
        const int64_t n = gemm_min(r->end - at, most);
        const int64_t in = n * c + FNN_LANES, out = n * o + FNN_LANES;         /* other cache sets */
        float *v = m + 36 * o * c, *u = v + 36 * in;
        for (int64_t i = 0; i < n; i++) {
            const int64_t tile = at + i, image = tile / across / down;
            const int64_t a = tile / across % down, b = tile % across;
            winograd_read(g, g->x + image * g->h * g->w * g->c + r->q0, c, a, b, v + i * c, in);
            winograd_read_gradient(g, dy + image * g->oh * g->ow * g->o + r->o0, o, a, b, u + i * o,
                                   out);
        }
        for (int i = 0; i < 36; i++) {
            const fnn_gemm product = {.m = o, .n = c, .k = n, .a = u + i * out, .lda = o, .ta = 1,
                                      .b = v + i * in, .ldb = c, .c = m + i * o * c, .ldc = c,
                                      .acc = at > r->first};
            gemm_serial(&product, s->local);
        }
        at += n;
    } while (at < r->end && !fnn_given_up());
}

/* dw (+)= sum of slabs, each `size` floats in shared scratch.  The sums are formed there. */
static void winograd_add_slabs(float *dw, int64_t slabs, int64_t size, int acc, const fnn_scratch *s)
{
    FNN_FOR
    for (int64_t t = 0; t < gemm_ceil(size, FNN_LANES); t++) {
        const int64_t i = t * FNN_LANES;
        const int lanes = lanes_of(size - i);
        fold_parts(FOLD_SUM, s->shared + i, slabs, size, lanes);
        const vf sum = vf_get(s->shared + i, lanes);
        vf_put(dw + i, acc ? vf_add(vf_get(dw + i, lanes), sum) : sum, lanes);
    }
}

/* dw (+)= the gradient of kernels (o, c, 9); y, panels, bias, end of g are not looked at. */
static void winograd_weights(const winograd *g, const float *dy, float *dw, const fnn_scratch *s)
{
    const int64_t tiles = g->n * gemm_ceil(g->oh, 4) * gemm_ceil(g->ow, 4), size = 9 * g->o * g->c;
    const int64_t down = gemm_ceil(g->o, WINOGRAD_BLOCK), across = gemm_ceil(g->c, WINOGRAD_BLOCK);
    int64_t slabs = gemm_min(gemm_ceil(WINOGRAD_PARTS, down * across), tiles / WINOGRAD_SLAB);
    slabs = gemm_max(gemm_min(slabs, FNN_SHARED_BYTES / 4 / size), 1);
    float *m = s->local + GEMM_SCRATCH / 4;
    FNN_FOR
    for (int64_t t = 0; t < down * across * slabs; t++) {
        const int64_t slab = t % slabs, a = t / slabs / across, b = t / slabs % across;
        const winograd_block r = {g->o * a / down, g->o * (a + 1) / down, g->c * b / across,
                                  g->c * (b + 1) / across, tiles * slab / slabs,
                                  tiles * (slab + 1) / slabs};
        float *to = slabs > 1 ? s->shared + slab * size : dw;
        winograd_sum(g, dy, &r, m, s);
        winograd_write_kernels(m, r.o1 - r.o0, r.q1 - r.q0, to + 9 * (r.o0 * g->c + r.q0), 9 * g->c,
                               slabs == 1 && g->acc);
    }
    if (slabs > 1) winograd_add_slabs(dw, slabs, size, g->acc, s);
}

#endif
