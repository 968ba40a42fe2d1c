/*
 * op_conv.h: convolution of images that lie channels last, as products of gemm.h with windows of
 * conv.h; see there for the order of sums.  Weights lie as users know them, (Co, Ci / groups, KH, KW).
 */
#ifndef FNN_OP_CONV_H
#define FNN_OP_CONV_H

#include "conv.h"
#include "conv_depthwise_planes.h"
#include "conv_few.h"
#include "conv_pointwise.h"
#include "conv_winograd.h"
#include "conv_winograd_once.h"
#include "gemm.h"
#include "op_linear.h"
#include "sums.h"

/* dim: N, H, W, Ci, Co, KH, KW, OH, OW, stride[2], pad[2] (top, left), dilation[2],
 * groups << 8 | CONV_BIAS, ..., GEMM_ACT_* */
enum { CONV_BIAS = 1, CONV_RESIDUAL = 2, CONV_TURNED = 4, CONV_WINOGRAD = 8,
       CONV_PLANES = 16,      /* x and its gradient are planes, (N, Ci, H, W)             */
       CONV_PLANES_OUT = 32,  /* and so are y, the residual and their gradients           */
       CONV_WINOGRAD_ONCE = 64 /* the same, kernels being transformed where they are used */ };

typedef struct {
    int64_t n, size[2], ci, co, taps[2], out[2], stride[2], pad[2], dilation[2];
    int64_t groups, cg, og;   /* channels and outputs of a group                          */
    int64_t area, pixels, k;  /* taps of a window, outputs of a channel, terms of an output */
    int flags;
} conv_shape;

static conv_shape conv_shape_of(const fnn_call *c)
{
    const int64_t *d = c->dim, groups = d[15] >> 8;
    conv_shape v = {.n = d[0], .size = {d[1], d[2]}, .ci = d[3], .co = d[4], .taps = {d[5], d[6]},
                    .out = {d[7], d[8]}, .stride = {d[9], d[10]}, .pad = {d[11], d[12]},
                    .dilation = {d[13], d[14]}, .groups = groups, .cg = d[3] / groups,
                    .og = d[4] / groups, .flags = (int)(d[15] & 255)};
    v.area = d[5] * d[6];
    v.pixels = d[0] * d[7] * d[8];
    v.k = v.area * v.cg;
    return v;
}

/* Whether each output looks at its own pixel only, so that the matrix of windows is x itself. */
static int conv_is_product(const conv_shape *v)
{
    return v->area == 1 && v->stride[0] == 1 && v->stride[1] == 1 && v->pad[0] == 0
        && v->pad[1] == 0 && v->out[0] == v->size[0] && v->out[1] == v->size[1];
}

/* Whether channels are kept apart, so that p and t are both (taps, C). */
static int conv_is_depthwise(const conv_shape *v)
{
    return v->groups > 1 && v->groups == v->ci && v->ci == v->co && v->area <= DEPTHWISE_TAPS;
}

#define CONV_BAND (1 << 16)   /* floats of a band of dx, or of the product, at most       */

/* Pixels of a row of the same residue. */
static int64_t conv_residues(const conv_shape *v) { return gemm_ceil(v->size[1], v->stride[1]); }

/* Whether x has so few channels that conv_few.h, and the gradient below, take it: the lines of a row
 * of outputs fit, a band of dx for several windows, and the product of a row. */
static int conv_is_few(const conv_shape *v)
{
    const int64_t reach = v->dilation[0] * (v->taps[0] - 1) + 1;
    const int64_t width = v->stride[1] * (v->out[1] - 1) + v->dilation[1] * (v->taps[1] - 1) + 1;
    const int64_t line = v->cg * v->stride[1] * conv_residues(v);
    return line > 0 && v->cg <= FEW_CHANNELS && v->area > 1 && v->k <= CONV_BAND / v->out[1]
        && (v->size[0] * line <= CONV_BAND || 4 * reach <= CONV_BAND / line)
        && v->cg * reach <= FEW_MOST / width;
}

/* Floats of x from a pixel to the next, and from a channel. */
static int64_t conv_ld(const conv_shape *v) { return v->flags & CONV_PLANES ? 1 : v->ci; }
static int64_t conv_step(const conv_shape *v)
{
    return v->flags & CONV_PLANES ? v->size[0] * v->size[1] : 1;
}

/* Winograd: outputs of a tile across, from kernels of 3 taps or 4 across the blocks of a stride. */
static int conv_tile_edge(const conv_shape *v) { return 7 - (int)gemm_ceil(v->taps[0], v->stride[0]); }

static winograd_weight conv_kernels(const conv_shape *v, const float *w, int turned)
{
    return (winograd_weight){.w = w, .ld = turned ? v->area : v->k, .step = turned ? v->k : v->area,
                             .taps = {v->taps[0], v->taps[1]}, .stride = v->stride[0],
                             .size = 7 - conv_tile_edge(v), .turned = turned};
}

/* x: at the first channel of a group. */
static conv_window conv_windows(const conv_shape *v, const float *x)
{
    return (conv_window){
        .x = x, .h = v->size[0], .w = v->size[1], .c = v->cg,
        .ld = conv_ld(v), .step = conv_step(v), .image = v->size[0] * v->size[1] * v->ci,
        .gh = v->out[0], .gw = v->out[1], .sh = v->stride[0], .sw = v->stride[1],
        .nh = v->taps[0], .nw = v->taps[1], .oh = -v->pad[0], .ow = -v->pad[1],
        .dh = v->dilation[0], .dw = v->dilation[1]};
}

/* A group of a pointwise convolution from planes. */
static pointwise conv_pointwise(const conv_shape *v)
{
    const int64_t pixels = v->out[0] * v->out[1];
    return (pointwise){.n = v->n, .pixels = pixels, .c = v->cg, .o = v->og,
                       .x_step = v->ci * pixels, .ldy = v->co};
}

/* ---- pack_conv ---- Weights in panels for conv2d, or turned for the gradient of its input.
 * w: (Co, Ci / groups, KH, KW).  y: (groups, panels, rows, 32), see conv.h; (taps, C) if depthwise;
 * (36, panels, stride^2 rows, 32) for Winograd's transform.  dim: as conv2d. */

static void pack_conv_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const conv_shape v = conv_shape_of(c);
    const int turned = (v.flags & CONV_TURNED) != 0;
    const int64_t columns = turned ? v.cg : v.og, rows = turned ? v.og : v.cg;
    const int64_t panels = gemm_ceil(columns, GEMM_PANEL_W), size = v.area * rows * GEMM_PANEL_W;
    const int64_t ld = turned ? v.area : v.k, step = turned ? v.k : v.area;
    const float *w = c->buf[0];
    float *y = c->buf[1];
    conv_place *place = (conv_place *)s->local;
    if (v.flags & CONV_WINOGRAD) {
        const winograd_weight k = conv_kernels(&v, w, turned);
        winograd_pack(y, &k, columns, rows);
        return;
    }
    if (conv_is_depthwise(&v)) {
        FNN_FOR
        for (int64_t i = 0; i < v.area; i++)
            for (int64_t q = 0; q < v.co; q++) y[i * v.co + q] = w[q * v.area + i];
        return;
    }
    if (turned) conv_places(place, v.taps, v.stride, v.pad, v.dilation);
    else for (int64_t i = 0; i < v.area; i++) place[i] = (conv_place){0, (int32_t)v.area, (int32_t)i};
    FNN_FOR
    for (int64_t t = 0; t < v.groups * panels; t++) {
        const int64_t g = t / panels, panel = t % panels, j = panel * GEMM_PANEL_W;
        const int64_t n = gemm_min(columns - j, GEMM_PANEL_W);
        const float *from = w + g * v.og * v.k + j * ld;
        if (v.area == 1 && !turned)
            gemm_pack_panel(y + t * size, from, ld, n, rows);
        else
            conv_pack_panel(y + g * panels * size, panel, panels, place, from, ld, step, n, rows, v.area);
    }
}

/* ---- conv2d ----
 * y[n,i,j,o] = b[o] + sum over kh, kw, q of x[n, i sh + kh dh - ph, j sw + kw dw - pw, q] w[o,q,kh,kw]
 * + r[n,i,j,o], x being 0 outside the image and q one of the channels of o's group.
 * x: (N,H,W,Ci), w: (Co,Ci/groups,KH,KW), b: (Co), r: (N,OH,OW,Co), p, t: pack_conv of w, forward and
 * turned; y: (N,OH,OW,Co).  b and r may be absent, t if the gradient of x is never wanted, both p and t
 * if kernels are transformed where they are used (CONV_WINOGRAD_ONCE). */

/* to[j] (+)= from[j] for j < n. */
VEC void conv_put(float *to, const float *from, int64_t n, int acc)
{
    for (int64_t j = 0; j < n; j += FNN_LANES) {
        const int lanes = lanes_of(n - j);
        const vf x = vf_get(from + j, lanes);
        vf_put(to + j, acc ? vf_add(vf_get(to + j, lanes), x) : x, lanes);
    }
}

static void conv_axes(const conv_shape *v, depthwise_axis a[2], int backward)
{
    for (int i = 0; i < 2; i++) {
        a[i] = (depthwise_axis){v->out[i], v->size[i], v->taps[i], v->stride[i], v->pad[i],
                                v->dilation[i]};
        if (backward) a[i].out = v->size[i], a[i].size = v->out[i];
    }
}

/* to (+)= from, (pixels, Co). */
static void conv_add(const conv_shape *v, const float *from, float *to, int acc)
{
    FNN_FOR
    for (int64_t i = 0; i < v->pixels; i++)
        conv_put(to + i * v->co, from + i * v->co, v->co, acc);
}

static void conv_forward(const fnn_call *c, float *y, const gemm_end *end, const fnn_scratch *s)
{
    const conv_shape v = conv_shape_of(c);
    if (conv_is_depthwise(&v)) {
        depthwise_axis a[2];
        conv_axes(&v, a, 0);
        const float *b = v.flags & CONV_BIAS ? c->buf[2] : NULL;
        if (v.flags & CONV_PLANES) planes_run(c->buf[0], c->buf[1], b, y, v.n, a, v.co, 0, 0);
        else depthwise_run(c->buf[0], c->buf[4], b, y, v.n, a, v.co, 0, end, 0);
        return;
    }
    if (v.flags & (CONV_WINOGRAD | CONV_WINOGRAD_ONCE)) {
        const winograd g = {.x = c->buf[0], .panels = c->buf[4], .y = y, .end = *end,
                            .bias = v.flags & CONV_BIAS ? c->buf[2] : NULL, .n = v.n,
                            .h = v.size[0], .w = v.size[1], .c = v.ci, .oh = v.out[0],
                            .ow = v.out[1], .o = v.co, .top = -v.pad[0], .left = -v.pad[1],
                            .edge = conv_tile_edge(&v)};
        const conv_window windows = conv_windows(&v, g.x);
        const winograd_weight k = conv_kernels(&v, c->buf[1], 0);
        if (v.stride[0] > 1) few_winograd(&windows, &g, v.stride[0], s);
        else if (v.flags & CONV_WINOGRAD_ONCE) winograd_once(&g, &k, s);
        else winograd_run(&g, s);
        return;
    }
    const int64_t packed = gemm_ceil(v.og, GEMM_PANEL_W) * GEMM_PANEL_W * v.k;
    for (int64_t g = 0; g < v.groups; g++) {
        conv_window windows = conv_windows(&v, (const float *)c->buf[0] + g * v.cg * conv_step(&v));
        windows.source.pack = conv_pack_windows;
        fnn_gemm product = {.m = v.pixels, .n = v.og, .k = v.k,
                            .panels = (const float *)c->buf[4] + g * packed,
                            .c = y + g * v.og, .ldc = v.co,
                            .end = gemm_end_at(*end, g * v.og, g * v.og)};
        if (v.flags & CONV_BIAS) product.bias = (const float *)c->buf[2] + g * v.og;
        if (conv_is_few(&v)) {
            few_run(&windows, &product, s);
            continue;
        }
        if (v.flags & CONV_PLANES) {
            const pointwise p = conv_pointwise(&v);
            pointwise_forward(&p, windows.x, &product, s);
            continue;
        }
        if (conv_is_product(&v)) product.a = windows.x, product.lda = v.ci;
        else product.source = &windows.source;
        gemm_team(&product, s);
    }
}

static gemm_end conv_end(const fnn_call *c)
{
    return (gemm_end){.add = c->dim[15] & CONV_RESIDUAL ? c->buf[3] : NULL, .act = (int)c->dim[16],
                      .low = c->f[0], .high = c->f[1]};
}

static void conv2d_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const gemm_end end = conv_end(c);
    conv_forward(c, c->buf[6], &end, s);
}

/* ---- conv2d_act ---- act(conv2d).  Slots and dim as conv2d, with act.  f: low, high of a clamp. */
static void conv2d_act_fwd(const fnn_call *c, const fnn_scratch *s) { conv2d_fwd(c, s); }

/* ---- conv2d_norm ---- act(x^ gain + shift + r), x^ = (conv2d without r - mean) rstd, with the bits of
 * conv2d and batch_norm_eval.  x, w, b, r, p, t as conv2d; gain, shift, mean, variance: (Co); y, rstd.
 * f: low, high, eps.  No gradient: that of gain asks for x^. */
static void conv2d_norm_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t channels = c->dim[4];
    const float *var = c->buf[9];
    float *rstd = c->buf[11];
    gemm_end end = conv_end(c);
    FOR_VECTORS(channels, i) {
        const int m = lanes_of(channels - i);
        const vf v = vf_add(vf_get(var + i, m), vf_set1(c->f[2]));
        vf_put(rstd + i, vf_div(vf_set1(1.0f), vf_sqrt(v)), m);
    }
    end.gain = c->buf[6], end.shift = c->buf[7], end.mean = c->buf[8], end.rstd = rstd;
    conv_forward(c, c->buf[10], &end, s);
}

/* ---- the gradient of x ---- Every stride-th pixel down and across is reached by the same taps: one
 * product for each such class. */

/* Windows of dy: rows are the pixels (r[0] + i stride, r[1] + j stride) of dx, columns (tap, output).
 * before: taps of the classes in front of this one. */
static conv_window conv_reached(const conv_shape *v, const float *dy, const int64_t r[2],
                                int64_t *before)
{
    conv_window w = {.source = {conv_pack_windows}, .x = dy, .h = v->out[0], .w = v->out[1],
                     .ld = v->co, .step = 1, .image = v->out[0] * v->out[1] * v->co, .c = v->og,
                     .sh = 1, .sw = 1};
    int64_t *grid[2] = {&w.gh, &w.gw}, *taps[2] = {&w.nh, &w.nw};
    int64_t *first[2] = {&w.oh, &w.ow}, *step[2] = {&w.dh, &w.dw};
    conv_taps t[2];
    for (int i = 0; i < 2; i++) {
        const int64_t stride = v->stride[i], dilation = v->dilation[i];
        t[i] = conv_reaching(r[i], v->taps[i], stride, v->pad[i], dilation);
        *grid[i] = gemm_ceil(v->size[i] - r[i], stride);
        *taps[i] = t[i].n;
        *first[i] = (r[i] + v->pad[i] - t[i].first * dilation) / stride;
        *step[i] = -(t[i].step * dilation / stride);
    }
    *before = t[0].before * v->taps[1] + t[0].n * t[1].before;
    return w;
}

#define CONV_TILE (1 << 18)   /* floats of local scratch beyond those of gemm.h           */
#define CONV_COLUMNS 2048     /* of a part of dx, at most                                 */
#define CONV_PARTS 8          /* to be shared by a team, where there is work for so many  */

/* The pixels of one class, by way of tiles.  dx: at the first channel of the group. */
static void conv_scatter(const conv_shape *v, const conv_window *w, const int64_t r[2],
                         const fnn_gemm *product, float *dx, int acc, const fnn_scratch *s)
{
    float *tile = s->local + GEMM_SCRATCH / sizeof(float);
    const int64_t columns = gemm_min(v->cg, CONV_COLUMNS), m = product->m;
    const int64_t rows = gemm_max(gemm_min(gemm_ceil(m, CONV_PARTS), CONV_TILE / columns), 1);
    const int64_t down = gemm_ceil(m, rows), across = gemm_ceil(v->cg, columns);
    FNN_FOR_NOWAIT
    for (int64_t t = 0; t < down * across; t++) {
        const int64_t i0 = t % down * rows, i1 = gemm_min(i0 + rows, m);
        const int64_t j0 = t / down * columns, j1 = gemm_min(j0 + columns, v->cg);
        fnn_gemm part = gemm_part(*product, i0, i1, j0, j1);
        part.c = tile;
        part.ldc = part.n;
        gemm_serial(&part, s->local);
        for (int64_t i = i0; i < i1; i++) {
            const int64_t b = i % w->gw, a = i / w->gw % w->gh, image = i / w->gw / w->gh;
            const int64_t y = r[0] + a * v->stride[0], x = r[1] + b * v->stride[1];
            float *to = dx + ((image * v->size[0] + y) * v->size[1] + x) * v->ci + j0;
            conv_put(to, tile + (i - i0) * part.n, part.n, acc);
        }
    }
}

/* dx of one group.  dy, dx: at its first channel; panels: turned. */
static void conv_input_gradient(const conv_shape *v, const float *dy, const float *panels, float *dx,
                                int acc, const fnn_scratch *s)
{
    const int64_t width = gemm_ceil(v->cg, GEMM_PANEL_W) * GEMM_PANEL_W;
    const int64_t down = gemm_min(v->stride[0], v->size[0]);
    const int64_t across = gemm_min(v->stride[1], v->size[1]);
    for (int64_t t = 0; t < down * across; t++) {
        const int64_t r[2] = {t / across, t % across};
        int64_t before;
        const conv_window w = conv_reached(v, dy, r, &before);
        fnn_gemm product = {.m = v->n * w.gh * w.gw, .n = v->cg, .k = w.nh * w.nw * v->og,
                            .source = &w.source, .panels = panels + before * v->og * width,
                            .c = dx};
        if (down * across > 1) {
            conv_scatter(v, &w, r, &product, dx, acc, s);
            continue;
        }
        if (conv_is_product(v)) {
            product.source = NULL;
            product.a = dy;
            product.lda = v->co;
        }
        product.ldc = v->ci;
        product.acc = acc;
        gemm_team(&product, s);
    }
    FNN_BARRIER
}

/* ---- the gradient of few channels ---- One product gives what whole rows of dy add to all windows
 * they come from, (channel, tap) by outputs; then each tap's part is added where its windows lie,
 * lanes along a row, the pixels of each residue mod stride side by side.  A band of dx at a time; an
 * element's sum goes over ascending rows of dy, then taps, whatever the bands. */

/* One row of products, (channel, tap) by windows in rows of ld, added to the rows y0..y1 of a band
 * (row, channel, residue, pixel). */
static void conv_add_row(const conv_shape *v, const float *p, int64_t ld, int64_t a, int64_t y0,
                         int64_t y1, float *band)
{
    const int64_t wide = conv_residues(v), sw = v->stride[1], line = v->cg * sw * wide;
    for (int64_t t = 0; t < v->k; t++) {
        const int64_t q = t / v->area, i = t % v->area / v->taps[1], j = t % v->taps[1];
        const int64_t y = a * v->stride[0] - v->pad[0] + i * v->dilation[0];
        if (y < y0 || y >= y1) continue;
        const int64_t r = conv_class(j, sw, v->pad[1], v->dilation[1]);
        const int64_t shift = (j * v->dilation[1] - v->pad[1] - r) / sw;
        const int64_t from = gemm_max(-shift, 0), to = gemm_min(v->out[1], wide - shift);
        if (from < to)
            conv_put(band + (y - y0) * line + (q * sw + r) * wide + from + shift,
                     p + t * ld + from, to - from, 1);
    }
}

/* The rows y0..y1 of one image's dx.  dy, dx: at the image and the first channel of the group. */
static void conv_few_band(const conv_shape *v, const float *dy, const float *w, float *dx, int acc,
                          int64_t y0, int64_t y1, const fnn_scratch *s)
{
    const int64_t wide = conv_residues(v), sw = v->stride[1], line = v->cg * sw * wide;
    const int64_t most = CONV_BAND / (v->k * v->out[1]), reach = v->dilation[0] * (v->taps[0] - 1);
    const int64_t first = gemm_max(y0 + v->pad[0] - reach + v->stride[0] - 1, 0) / v->stride[0];
    const int64_t end = gemm_min((y1 - 1 + v->pad[0]) / v->stride[0] + 1, v->out[0]);
    const int64_t ld = conv_ld(v), step = conv_step(v);
    float *band = s->local + GEMM_SCRATCH / sizeof(float), *p = band + CONV_BAND;
    memset(band, 0, (size_t)((y1 - y0) * line) * sizeof(float));
    for (int64_t a = first, n; a < end; a += n) {
        n = gemm_min(most, end - a);
        const fnn_gemm product = {.m = v->k, .n = n * v->out[1], .k = v->og, .a = w, .lda = v->k,
                                  .ta = 1, .b = dy + a * v->out[1] * v->co, .ldb = v->co, .tb = 1,
                                  .c = p, .ldc = n * v->out[1]};
        gemm_serial(&product, s->local);
        for (int64_t i = 0; i < n; i++)
            conv_add_row(v, p + i * v->out[1], product.ldc, a + i, y0, y1, band);
    }
    for (int64_t y = y0; y < y1; y++, band += line)
        for (int64_t q = 0; q < v->cg; q++)
            for (int64_t r = 0; r < sw; r++) {
                const float *from = band + (q * sw + r) * wide;
                float *to = dx + y * v->size[1] * ld + q * step;
                if (sw == 1 && ld == 1) conv_put(to, from, wide, acc);
                else for (int64_t x = r; x < v->size[1]; x += sw, from++)
                    to[x * ld] = acc ? to[x * ld] + *from : *from;
            }
}

/* dx of one group.  dy, dx: at its first channel; w: its weights. */
static void conv_few_gradient(const conv_shape *v, const float *dy, const float *w, float *dx,
                              int acc, const fnn_scratch *s)
{
    const int64_t line = v->cg * v->stride[1] * conv_residues(v);
    const int64_t bands = gemm_ceil(v->size[0], CONV_BAND / line);
    FNN_FOR
    for (int64_t t = 0; t < v->n * bands; t++) {
        const int64_t image = t / bands, band = t % bands;
        conv_few_band(v, dy + image * v->out[0] * v->out[1] * v->co, w,
                      dx + image * v->size[0] * v->size[1] * v->ci, acc,
                      v->size[0] * band / bands, v->size[0] * (band + 1) / bands, s);
    }
}

/* ---- the gradient of w ---- Rows (tap, channel) of windows^T dy, of planes (channel, tap), a part of
 * them at a time; a long sum for few weights is cut into slabs of pixels, which are then added two by two. */

/* Rows i.. of the matrix, (rows, og), into dw (og, cg, area). */
static void conv_put_weights(const conv_shape *v, const float *part, int64_t i, int64_t rows,
                             float *dw, int acc)
{
    for (int64_t r = i; r < i + rows; r++, part += v->og) {
        float *to = dw + (v->flags & CONV_PLANES ? r : r % v->cg * v->area + r / v->cg);
        for (int64_t o = 0; o < v->og; o++)
            to[o * v->k] = acc ? to[o * v->k] + part[o] : part[o];
    }
}

#define CONV_ROWS 56          /* of a part at least, if it is not all: four row panels    */
#define CONV_SLAB 1024        /* pixels of a slab at least                                */
typedef struct { int64_t rows, parts, slabs; } conv_split;

/* Parts fit the tile; as many as a team can share, if they do not become too small. */
static conv_split conv_split_of(const conv_shape *v)
{
    const int64_t needed = gemm_ceil(v->k, CONV_TILE / v->og);
    const int64_t even = gemm_ceil(needed, CONV_PARTS) * CONV_PARTS;
    conv_split p;
    p.rows = gemm_ceil(v->k, gemm_max(needed, gemm_min(even, gemm_ceil(v->k, CONV_ROWS))));
    p.parts = gemm_ceil(v->k, p.rows);
    p.slabs = gemm_min(gemm_ceil(CONV_PARTS, p.parts), v->pixels / CONV_SLAB);
    p.slabs = gemm_max(gemm_min(p.slabs, FNN_SHARED_BYTES / 4 / (v->k * v->og)), 1);
    return p;
}

/* The slabs (k, og) in shared scratch, added up. */
static void conv_add_slabs(const conv_shape *v, const conv_split *p, float *dw, int acc,
                           const fnn_scratch *s)
{
    const int64_t size = v->k * v->og;
    FNN_FOR
    for (int64_t r = 0; r < v->k; r++) {
        float *sum = s->shared + r * v->og;
        for (int64_t step = 1; step < p->slabs; step *= 2)
            for (int64_t i = 0; i + step < p->slabs; i += 2 * step)
                conv_put(sum + i * size, sum + (i + step) * size, v->og, 1);
        conv_put_weights(v, sum, r, 1, dw, acc);
    }
}

/* dw of one group.  x, dy: at its first channel. */
static void conv_weight_gradient(const conv_shape *v, const float *x, const float *dy, float *dw,
                                 int acc, const fnn_scratch *s)
{
    const conv_split p = conv_split_of(v);
    if (conv_is_product(v)) {
        const fnn_gemm g = {.m = v->og, .n = v->cg, .k = v->pixels, .a = dy, .lda = v->co, .ta = 1,
                            .b = x, .ldb = v->ci, .c = dw, .ldc = v->cg, .acc = acc};
        gemm_team(&g, s);
        return;
    }
    FNN_FOR
    for (int64_t t = 0; t < p.parts * p.slabs; t++) {
        const int64_t i = t / p.slabs * p.rows, slab = t % p.slabs;
        const int64_t first = v->pixels * slab / p.slabs;
        float *tile = p.slabs > 1 ? s->shared + slab * v->k * v->og + i * v->og
                                  : s->local + GEMM_SCRATCH / sizeof(float);
        conv_window w = conv_windows(v, x);
        w.source.pack = conv_pack_taps;
        w.skip = first;
        if (v->flags & CONV_PLANES) w.c = 1;
        const fnn_gemm part = {
            .m = gemm_min(p.rows, v->k - i), .n = v->og, .k = v->pixels * (slab + 1) / p.slabs - first,
            .source = &w.source, .first = i, .b = dy + first * v->co, .ldb = v->co,
            .c = tile, .ldc = v->og};
        gemm_serial(&part, s->local);
        if (p.slabs == 1) conv_put_weights(v, tile, i, part.m, dw, acc);
    }
    if (p.slabs > 1) conv_add_slabs(v, &p, dw, acc, s);
}

/* ---- gradients, however they are computed ---- */

static int conv_winograd_gradients(const conv_shape *v)
{
    return v->flags & (CONV_WINOGRAD | CONV_WINOGRAD_ONCE) && v->stride[0] == 1;
}

/* turned: pack_conv of w. */
static void conv_dx(const conv_shape *v, const float *dy, const float *w, const float *turned,
                    float *dx, int acc, const fnn_scratch *s)
{
    if (conv_is_depthwise(v)) {
        depthwise_axis a[2];
        conv_axes(v, a, 1);
        if (v->flags & CONV_PLANES) planes_run(dy, w, NULL, dx, v->n, a, v->co, acc, 1);
        else depthwise_run(dy, turned, NULL, dx, v->n, a, v->co, acc, &(gemm_end){0}, 1);
        return;
    }
    if (conv_winograd_gradients(v)) {
        const winograd g = {.x = dy, .panels = turned, .y = dx, .n = v->n, .h = v->out[0],
                            .w = v->out[1], .c = v->co, .oh = v->size[0], .ow = v->size[1],
                            .o = v->ci, .top = v->pad[0] - 2, .left = v->pad[1] - 2, .edge = 4,
                            .acc = acc};
        const winograd_weight k = conv_kernels(v, w, 1);
        if (v->flags & CONV_WINOGRAD) winograd_run(&g, s);
        else winograd_once(&g, &k, s);
        return;
    }
    const int64_t packed = gemm_ceil(v->cg, GEMM_PANEL_W) * GEMM_PANEL_W * v->area * v->og;
    for (int64_t g = 0; g < v->groups; g++, dy += v->og, w += v->og * v->k) {
        float *to = dx + g * v->cg * conv_step(v);
        if (conv_is_few(v)) {
            conv_few_gradient(v, dy, w, to, acc, s);
        } else if (v->flags & CONV_PLANES) {
            const pointwise p = conv_pointwise(v);
            pointwise_input(&p, dy, w, to, acc, s);
        } else {
            conv_input_gradient(v, dy, turned + g * packed, to, acc, s);
        }
    }
}

static void conv_dw(const conv_shape *v, const float *x, const float *dy, float *dw, int acc,
                    const fnn_scratch *s)
{
    if (conv_is_depthwise(v)) {
        depthwise_axis a[2];
        conv_axes(v, a, 0);
        if (v->flags & CONV_PLANES) planes_weights(x, dy, dw, v->n, a, v->co, acc, s);
        else depthwise_weights(x, dy, dw, v->n, a, v->co, acc, s);
        return;
    }
    if (conv_winograd_gradients(v)) {
        const winograd g = {.x = x, .n = v->n, .h = v->size[0], .w = v->size[1], .c = v->ci,
                            .oh = v->out[0], .ow = v->out[1], .o = v->co, .top = -v->pad[0],
                            .left = -v->pad[1], .edge = 4, .acc = acc};
        winograd_weights(&g, dy, dw, s);
        return;
    }
    for (int64_t g = 0; g < v->groups; g++, dy += v->og, dw += v->og * v->k) {
        const float *from = x + g * v->cg * conv_step(v);
        if (v->flags & CONV_PLANES && conv_is_product(v)) {
            const pointwise p = conv_pointwise(v);
            pointwise_weights(&p, from, dy, dw, acc, s);
        } else {
            conv_weight_gradient(v, from, dy, dw, acc, s);
        }
    }
}

/* summed: db is there already. */
static void conv_gradients(const fnn_call *c, int summed, const fnn_scratch *s)
{
    const conv_shape v = conv_shape_of(c);
    const float *x = c->buf[0], *w = c->buf[1], *turned = c->buf[5], *dy = c->grad[6];
    float *db = v.flags & CONV_BIAS && !summed ? c->grad[2] : NULL;
    if (c->grad[0]) conv_dx(&v, dy, w, turned, c->grad[0], c->acc & 1, s);
    if (c->grad[1]) conv_dw(&v, x, dy, c->grad[1], c->acc >> 1 & 1, s);
    if (db && v.flags & CONV_PLANES_OUT)
        planes_sums(dy, v.n, v.co, v.out[0] * v.out[1], db, c->acc >> 2 & 1);
    else if (db) column_sums(dy, v.pixels, v.co, db, c->acc >> 2 & 1, s);
    if (c->grad[3] && v.flags & CONV_RESIDUAL)
        conv_add(&v, dy, c->grad[3], c->acc >> 3 & 1);
}

static void conv2d_bwd(const fnn_call *c, const fnn_scratch *s) { conv_gradients(c, 0, s); }

static void conv2d_act_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *d = c->dim;
    const act_slope slope = {.dy = c->grad[6], .y = c->buf[6], .z = c->buf[6], .n = d[4],
                             .act = (int)d[16], .low = c->f[0], .high = c->f[1]};
    float *db = d[15] & CONV_BIAS ? c->grad[2] : NULL;
    conv_gradients(c, act_slope_run(&slope, d[0] * d[7] * d[8], db, c->acc >> 2 & 1, c->grad, s), s);
}

#endif
