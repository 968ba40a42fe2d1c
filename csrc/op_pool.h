/*
 * op_pool.h: windows of images that lie channels last, reduced to their maximum or their mean.
 *
 * Lanes are channels.  Backward visits each pixel of x once and gathers from the windows that it lies
 * in, by ascending window, so that no two tasks write to the same place.
 */
#ifndef FNN_OP_POOL_H
#define FNN_OP_POOL_H

#include "elementwise.h"
#include "sums.h"

/* dim: N, H, W, C, KH, KW, OH, OW, stride[2], pad[2], dilation[2], POOL_PADDED | POOL_ADAPTIVE,
 * divisor (0: the number of pixels) */
enum { POOL_PADDED = 1, POOL_ADAPTIVE = 2 };  /* means count padding; windows share H, W evenly */

typedef struct {
    int64_t n, size[2], c, taps[2], out[2], stride[2], pad[2], dilation[2];
    int flags;
    int64_t divisor;
} pool_shape;

static pool_shape pool_shape_of(const fnn_call *c)
{
    const int64_t *d = c->dim;
    return (pool_shape){.n = d[0], .size = {d[1], d[2]}, .c = d[3], .taps = {d[4], d[5]},
                        .out = {d[6], d[7]}, .stride = {d[8], d[9]}, .pad = {d[10], d[11]},
                        .dilation = {d[12], d[13]}, .flags = (int)d[14], .divisor = d[15]};
}

static inline int64_t pool_up(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : 0; }

/* Windows of one axis that reach pixel p: first..last. */
typedef struct { int64_t first, last; } pool_range;

static pool_range pool_reaching(const pool_shape *v, int axis, int64_t p)
{
    const int64_t size = v->size[axis], out = v->out[axis], at = p + v->pad[axis];
    if (v->flags & POOL_ADAPTIVE) return (pool_range){p * out / size, pool_up((p + 1) * out, size) - 1};
    const int64_t reach = (v->taps[axis] - 1) * v->dilation[axis];
    return (pool_range){pool_up(at - reach, v->stride[axis]),
                        smaller(at / v->stride[axis], out - 1)};
}

#define POOL_CHANNELS 64      /* of one task                                              */

/* A task is a row of outputs, or of pixels, and some channels. */
typedef struct { int64_t image, row, from, to; } pool_task;

static inline int64_t pool_tasks(const pool_shape *v, int64_t rows)
{
    return v->n * rows * ((v->c + POOL_CHANNELS - 1) / POOL_CHANNELS);
}

static inline pool_task pool_task_of(const pool_shape *v, int64_t rows, int64_t t)
{
    const int64_t blocks = (v->c + POOL_CHANNELS - 1) / POOL_CHANNELS;
    const int64_t from = t % blocks * POOL_CHANNELS;
    return (pool_task){t / blocks / rows, t / blocks % rows, from,
                       smaller(from + POOL_CHANNELS, v->c)};
}

/* ---- max_pool2d ----
 * y = max over the window of x, NaN if there is one, -infinity if no pixel is in it.
 * x: (N,H,W,C), y: (N,OH,OW,C), tap: the same, uint8: which pixel of the window it was, the first of
 * equals; the last NaN.  KH KW <= 256. */

VEC void pool_max(const pool_shape *v, const float *x, int64_t y0, int64_t x0, float *y, uint8_t *tap,
                  int lanes)
{
    vf best = vf_set1(-INFINITY), where = vf_zero();
    float at[FNN_LANES];
    for (int64_t i = 0; i < v->taps[0]; i++) {
        const int64_t row = y0 + i * v->dilation[0];
        if (row < 0 || row >= v->size[0]) continue;
        for (int64_t j = 0; j < v->taps[1]; j++) {
            const int64_t column = x0 + j * v->dilation[1];
            if (column < 0 || column >= v->size[1]) continue;
            const vf a = vf_get(x + (row * v->size[1] + column) * v->c, lanes);
            const vm better = vm_or(vf_gt(a, best), vf_isnan(a));
            best = vf_sel(better, a, best);
            where = vf_sel(better, vf_set1((float)(i * v->taps[1] + j)), where);
        }
    }
    vf_put(y, best, lanes);
    vf_store(at, where);
    for (int l = 0; l < lanes; l++) tap[l] = (uint8_t)(int)at[l];
}

VEC vf pool_number(const uint8_t *p, int n)
{
    return n == FNN_LANES ? vf_load_u8(p) : vf_load_u8_n(p, n);
}

/* What pixel (row, column) gets from the windows whose maximum it was. */
VEC vf pool_max_gradient(const pool_shape *v, const float *dy, const uint8_t *tap, int64_t row,
                         int64_t column, pool_range down, pool_range across, int lanes)
{
    vf sum = vf_zero();
    for (int64_t a = down.first; a <= down.last; a++) {
        const int64_t i = row + v->pad[0] - a * v->stride[0];
        if (i % v->dilation[0]) continue;
        for (int64_t b = across.first; b <= across.last; b++) {
            const int64_t j = column + v->pad[1] - b * v->stride[1];
            if (j % v->dilation[1]) continue;
            const int64_t at = (a * v->out[1] + b) * v->c;
            const int64_t number = i / v->dilation[0] * v->taps[1] + j / v->dilation[1];
            const vm hit = vf_eq(pool_number(tap + at, lanes), vf_set1((float)number));
            sum = vf_add(sum, vf_sel(hit, vf_get(dy + at, lanes), vf_zero()));
        }
    }
    return sum;
}

/* ---- avg_pool2d ----
 * y = sum over the window of x / divisor.  x: (N,H,W,C), y: (N,OH,OW,C). */

/* Pixels of window o along one axis: begin <= p < end, and how many count. */
typedef struct { int64_t begin, end, count; } pool_window;

static pool_window pool_window_of(const pool_shape *v, int axis, int64_t o)
{
    const int64_t size = v->size[axis], out = v->out[axis];
    if (v->flags & POOL_ADAPTIVE) {
        const int64_t begin = o * size / out, end = pool_up((o + 1) * size, out);
        return (pool_window){begin, end, end - begin};
    }
    const int64_t start = o * v->stride[axis] - v->pad[axis];
    const int64_t stop = smaller(start + v->taps[axis], size + v->pad[axis]);
    const int64_t begin = start > 0 ? start : 0, end = smaller(stop, size);
    return (pool_window){begin, end, v->flags & POOL_PADDED ? stop - start : end - begin};
}

static inline float pool_divisor(const pool_shape *v, pool_window a, pool_window b)
{
    return (float)(v->divisor ? v->divisor : a.count * b.count);
}

VEC vf pool_mean(const pool_shape *v, const float *x, pool_window down, pool_window across,
                 vf divisor, int lanes)
{
    vf sum = vf_zero();
    for (int64_t a = down.begin; a < down.end; a++) {
        vf row = vf_zero();
        for (int64_t b = across.begin; b < across.end; b++)
            row = vf_add(row, vf_get(x + (a * v->size[1] + b) * v->c, lanes));
        sum = vf_add(sum, row);
    }
    return vf_div(sum, divisor);
}

/* What a pixel gets from the windows that it lies in. */
VEC vf pool_mean_gradient(const pool_shape *v, const float *dy, pool_range down, pool_range across,
                          int lanes)
{
    vf sum = vf_zero();
    for (int64_t a = down.first; a <= down.last; a++)
        for (int64_t b = across.first; b <= across.last; b++) {
            const float n = pool_divisor(v, pool_window_of(v, 0, a), pool_window_of(v, 1, b));
            const vf g = vf_get(dy + (a * v->out[1] + b) * v->c, lanes);
            sum = vf_add(sum, vf_div(g, vf_set1(n)));
        }
    return sum;
}

/* ---- both ---- */

VEC void pool_fwd(const fnn_call *c, const int max)
{
    const pool_shape v = pool_shape_of(c);
    const float *x = c->buf[0];
    float *y = c->buf[1];
    uint8_t *tap = max ? c->buf[2] : NULL;
    FNN_FOR
    for (int64_t t = 0; t < pool_tasks(&v, v.out[0]); t++) {
        const pool_task k = pool_task_of(&v, v.out[0], t);
        const float *image = x + k.image * v.size[0] * v.size[1] * v.c;
        const pool_window down = pool_window_of(&v, 0, k.row);
        for (int64_t j = 0; j < v.out[1]; j++) {
            const pool_window across = pool_window_of(&v, 1, j);
            const vf divisor = vf_set1(pool_divisor(&v, down, across));
            const int64_t at = ((k.image * v.out[0] + k.row) * v.out[1] + j) * v.c;
            for (int64_t q = k.from; q < k.to; q += FNN_LANES) {
                const int lanes = lanes_of(k.to - q);
                float *to = y + at + q;
                if (max)
                    pool_max(&v, image + q, k.row * v.stride[0] - v.pad[0],
                             j * v.stride[1] - v.pad[1], to, tap + at + q, lanes);
                else
                    vf_put(to, pool_mean(&v, image + q, down, across, divisor, lanes), lanes);
            }
        }
    }
}

VEC void pool_bwd(const fnn_call *c, const int max)
{
    const pool_shape v = pool_shape_of(c);
    const float *dy = c->grad[1];
    const uint8_t *tap = max ? c->buf[2] : NULL;
    float *dx = c->grad[0];
    FNN_FOR
    for (int64_t t = 0; t < pool_tasks(&v, v.size[0]); t++) {
        const pool_task k = pool_task_of(&v, v.size[0], t);
        const int64_t image = k.image * v.out[0] * v.out[1] * v.c;
        const pool_range down = pool_reaching(&v, 0, k.row);
        for (int64_t j = 0; j < v.size[1]; j++) {
            const pool_range across = pool_reaching(&v, 1, j);
            const int64_t at = ((k.image * v.size[0] + k.row) * v.size[1] + j) * v.c;
            for (int64_t q = k.from; q < k.to; q += FNN_LANES) {
                const int lanes = lanes_of(k.to - q);
                const int64_t from = image + q;
                const vf g = max ? pool_max_gradient(&v, dy + from, tap + from, k.row, j, down,
                                                     across, lanes)
                                 : pool_mean_gradient(&v, dy + from, down, across, lanes);
                put_grad(dx, c->acc & 1, at + q, g, lanes);
            }
        }
    }
}

static void max_pool2d_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; pool_fwd(c, 1); }
static void max_pool2d_bwd(const fnn_call *c, const fnn_scratch *s) { (void)s; pool_bwd(c, 1); }

static void avg_pool2d_fwd(const fnn_call *c, const fnn_scratch *s) { (void)s; pool_fwd(c, 0); }
static void avg_pool2d_bwd(const fnn_call *c, const fnn_scratch *s) { (void)s; pool_bwd(c, 0); }

#endif
