/*
 * op_batch_norm.h: batch_norm, batch_norm_eval, over the lines of op_norm.h.
 * Mean and variance of a channel in all items, or the running ones; y = x^ w + b + r, or relu of it.
 * x, r, y: (batch, channels, length), w, b, running mean and variance: (channels), count: () int64.
 * Images whose channels lie side by side are rows: batch N H W, length 1.
 * dim: batch, channels, length, has_w, has_b, has_r, relu; batch_norm: then has_running, has_count,
 * cumulative.  f: eps, momentum.  In training the statistics move by momentum, or by 1 / count where
 * cumulative, towards those of the batch, the variance as batch length / (batch length - 1) of it.
 */
#ifndef FNN_OP_BATCH_NORM_H
#define FNN_OP_BATCH_NORM_H

#include "op_norm.h"

/* Slots: x w b r, running mean and variance, count | y, delta, rstd; in batch_norm_eval the outputs
 * are y, rstd. */
static inline norm column_norm(const fnn_call *c, int eval)
{
    const int64_t *d = c->dim;
    const int one = d[1] == 1;              /* a single channel is one line */
    return (norm){.batch = one ? smaller(d[0], 1) : d[0], .groups = 1, .channels = d[1],
                  .length = one ? d[0] * d[2] : d[2],
                  .x = c->buf[0], .r = d[5] ? c->buf[3] : NULL, .relu = (int)d[6],
                  .pivot = c->buf[eval ? 4 : 0], .pivot_step = eval || one ? 1 : d[2],
                  .delta = eval ? NULL : c->buf[8], .rstd = c->buf[eval ? 7 : 9],
                  .w = d[3] ? c->buf[1] : NULL, .b = d[4] ? c->buf[2] : NULL};
}

/* A task: some items if their channels lie side by side, else some channels of one item. */
typedef struct { int64_t tasks, size, blocks, len; } share;
static inline share share_of(const norm *t, int64_t window)
{
    const int64_t len = t->length == 1 ? window : t->length, size = larger(1, GRAIN / larger(len, 1));
    const int64_t blocks = t->length == 1 ? 1 : ceil_div(window, size);
    const int64_t tasks = t->length == 1 ? ceil_div(t->batch, size) : t->batch * blocks;
    return (share){t->length ? tasks : 0, size, blocks, len};
}

/* Runs `body` with l = each line of task k and `first`, its first element in the record. */
#define FOR_LINES(t, c0, window, share, k, l, first, ...)                                       \
    do {                                                                                        \
        const int rows_ = (t)->length == 1;                                                     \
        const int64_t b_ = rows_ ? (k) * (share).size : (k) / (share).blocks;                   \
        const int64_t ch_ = rows_ ? 0 : (k) % (share).blocks * (share).size;                    \
        const int64_t count_ = rows_ ? smaller((share).size, (t)->batch - b_) : 1;              \
        const int64_t end_ = rows_ ? 1 : smaller(window, ch_ + (share).size);                   \
        for (int64_t i_ = ch_; i_ < end_; i_++) {                                               \
            const line l = line_at(t, 1, b_, (c0) + i_, (share).len, count_);                   \
            const int64_t first = (b_ * (t)->channels + (c0) + i_) * (t)->length, j = i_;       \
            (void)j;                                                                            \
            __VA_ARGS__                                                                         \
        }                                                                                       \
    } while (0)

static void columns_fwd(const norm *t, float *y)
{
    const share h = share_of(t, t->channels);
    FNN_FOR
    for (int64_t k = 0; k < h.tasks; k++)
        FOR_LINES(t, 0, t->channels, h, k, l, first, line_fwd(&l, y + first););
}

/* n_b more numbers with this mean and these squares around it join n. */
VEC void merge(vf *mean, vf *squares, float n, vf mean_b, vf squares_b, float n_b)
{
    const vf apart = vf_sub(mean_b, *mean), share = vf_set1(n_b / (n + n_b));
    const vf between = vf_mul(vf_mul(apart, apart), vf_mul(vf_set1(n), share));
    *squares = vf_add(vf_add(*squares, squares_b), between);
    *mean = vf_fma(apart, share, *mean);
}

/* Of items lo.. and `cols` channels from ch on, length 1: mean - pivot, and squares around it. */
VEC void slab_of_rows(const norm *t, int64_t lo, int64_t rows, int64_t ch, int cols, float *mean,
                      float *squares, float *centre)
{
    const int64_t step = t->channels;
    const float *x = t->x + lo * step + ch, *pivot = t->pivot + ch;
    if (step < FNN_LANES) fold_narrow(FOLD_DIFFS, x, rows, cols, x, mean, 0);
    else fold_rows(FOLD_DIFFS, x, rows, step, cols, x, mean, 0);
    for (int j = 0; j < cols; j += FNN_LANES) {
        const int m = lanes_of(cols - j);
        const vf first = vf_get(x + j, m), shift = vf_div(vf_get(mean + j, m), vf_set1((float)rows));
        vf_put(centre + j, vf_add(first, shift), m);
        vf_put(mean + j, vf_add(vf_sub(first, vf_get(pivot + j, m)), shift), m);
    }
    if (step < FNN_LANES) fold_narrow(FOLD_SQUARES, x, rows, cols, centre, squares, 0);
    else fold_rows(FOLD_SQUARES, x, rows, step, cols, centre, squares, 0);
}

/* The same of one channel, length > 1: item by item. */
VEC void slab_of_planes(const norm *t, int64_t lo, int64_t items, int64_t ch, float *mean,
                        float *squares)
{
    const int64_t len = t->length;
    const float pivot = t->pivot[ch * t->pivot_step];
    vf m = vf_zero(), q = vf_zero();
    for (int64_t i = 0; i < items; i++) {
        const float *x = t->x + ((lo + i) * t->channels + ch) * len;
        const float shift = run_sum(FOLD_DIFFS, x, len, *x) / (float)len;
        const float around = run_sum(FOLD_SQUARES, x, len, *x + shift);
        const vf mean_b = vf_set1((*x - pivot) + shift), squares_b = vf_set1(around);
        if (i == 0) m = mean_b, q = squares_b;
        else merge(&m, &q, (float)(i * len), mean_b, squares_b, (float)len);
    }
    vf_put(mean, m, 1);
    vf_put(squares, q, 1);
}

static inline int64_t column_slab(const norm *t, int64_t window)
{
    if (t->length == 1) return fold_step(t->batch, 2 * window);
    return larger(1, ceil_div(t->batch, slab_room(window)));
}

/* Channels j.. of the window: slabs merged two by two into slab 0. */
VEC void merge_slabs(float *parts, int64_t slabs, int64_t window, int64_t j, int m, int64_t each,
                     int64_t all)
{
    for (int64_t step = 1; step < slabs; step *= 2)
        for (int64_t i = 0; i + step < slabs; i += 2 * step) {
            float *a = parts + 2 * window * i + j, *b = a + 2 * window * step;
            const int64_t n_b = smaller(step * each, all - (i + step) * each);
            vf mean = vf_get(a, m), squares = vf_get(a + window, m);
            merge(&mean, &squares, (float)(step * each), vf_get(b, m), vf_get(b + window, m), (float)n_b);
            vf_put(a, mean, m);
            vf_put(a + window, squares, m);
        }
}

/* running += (now - running) momentum */
VEC void move_running(float *running, float momentum, vf now, int m)
{
    const vf kept = vf_mul(vf_get(running, m), vf_set1(1.0f - momentum));
    vf_put(running, vf_fma(now, vf_set1(momentum), kept), m);
}

/* delta and rstd of all channels, and the running statistics.  batch length > 1. */
static void column_statistics(const fnn_call *c, const fnn_scratch *s, const norm *t)
{
    const int64_t all = t->batch * t->length, *d = c->dim;
    int64_t *count = d[8] ? c->buf[6] : NULL;
    const float momentum = d[9] ? 1.0f / (float)(*count + 1) : c->f[1];
    float *parts = s->shared, *delta = c->buf[8], *rstd = c->buf[9];
    FNN_BARRIER                             /* all have read count */
    for (int64_t c0 = 0; c0 < t->channels; c0 += NORM_WINDOW) {
        const int64_t window = smaller(NORM_WINDOW, t->channels - c0), step = column_slab(t, window);
        const int64_t slabs = ceil_div(t->batch, step), width = t->length == 1 ? FOLD_WIDE : 1;
        const int64_t blocks = ceil_div(window, width);
        FNN_FOR
        for (int64_t k = 0; k < slabs * blocks; k++) {
            const int64_t slab = k / blocks, j = k % blocks * width, lo = slab * step;
            const int64_t items = smaller(step, t->batch - lo);
            float *mean = parts + slab * 2 * window + j, *squares = mean + window;
            const int cols = (int)smaller(width, window - j);
            if (t->length == 1) slab_of_rows(t, lo, items, c0 + j, cols, mean, squares, s->local);
            else slab_of_planes(t, lo, items, c0 + j, mean, squares);
        }
        FNN_FOR
        for (int64_t j = 0; j < window; j += FNN_LANES) {
            const int m = lanes_of(window - j);
            const int64_t ch = c0 + j;
            merge_slabs(parts, slabs, window, j, m, step * t->length, all);
            const vf shift = vf_get(parts + j, m), squares = vf_get(parts + window + j, m);
            const vf var = vf_div(squares, vf_set1((float)all));
            vf_put(delta + ch, shift, m);
            vf_put(rstd + ch, vf_div(vf_set1(1.0f), vf_sqrt(vf_add(var, vf_set1(c->f[0])))), m);
            if (!d[7]) continue;
            float pivot[FNN_LANES] = {0};
            for (int i = 0; i < m; i++) pivot[i] = t->pivot[(ch + i) * t->pivot_step];
            const vf unbiased = vf_div(squares, vf_set1((float)(all - 1)));
            move_running((float *)c->buf[4] + ch, momentum, vf_add(vf_load(pivot), shift), m);
            move_running((float *)c->buf[5] + ch, momentum, unbiased, m);
        }
    }
}

static void batch_norm_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const norm t = column_norm(c, 0);
    if (t.batch * t.length > 0) {
        column_statistics(c, s, &t);
    } else {
        const size_t bytes = sizeof(float) * (size_t)t.channels;
        FNN_SINGLE
        {
            memset(c->buf[8], 0, bytes);
            memset(c->buf[9], 0, bytes);
        }
    }
    FNN_SINGLE
    if (c->dim[8]) ++*(int64_t *)c->buf[6];
    columns_fwd(&t, c->buf[7]);
}

/* Gradients by the window: the sums of dz and dz x^, then dx from them.  relu's slope follows from y,
 * which a compiled step knows, or from x and r; without relu, dr is dy, and r is not looked at. */
static void columns_bwd(const fnn_call *c, const fnn_scratch *s, norm t, int eval)
{
    const target to = {.dx = c->grad[0], .acc_x = c->acc & 1, .dr = c->dim[5] ? c->grad[3] : NULL,
                       .acc_r = c->acc >> 3 & 1};
    float *dw = t.w ? c->grad[1] : NULL, *db = t.b ? c->grad[2] : NULL, *parts = s->shared;
    const float n = (float)(t.batch * t.length);
    t.y = c->buf[eval ? 6 : 7];
    t.dy = c->grad[eval ? 6 : 7];
    for (int64_t c0 = 0; c0 < t.channels; c0 += NORM_WINDOW) {
        const int64_t window = smaller(NORM_WINDOW, t.channels - c0), step = column_slab(&t, window);
        const int64_t slabs = ceil_div(t.batch, step), width = t.length == 1 ? FOLD_WIDE : 1;
        const int64_t blocks = ceil_div(window, width);
        FNN_FOR
        for (int64_t k = 0; k < slabs * blocks; k++) {
            const int64_t slab = k / blocks, j = k % blocks * width, cols = smaller(width, window - j);
            float *part = parts + slab * 2 * window + j;
            memset(part, 0, (size_t)cols * sizeof *part);
            memset(part + window, 0, (size_t)cols * sizeof *part);
            affine_add(&t, 1, slab * step, smaller(t.batch, (slab + 1) * step), c0 + j, c0 + j + cols,
                       part, part + window);
        }
        FNN_FOR
        for (int64_t j = 0; j < window; j += FNN_LANES) {
            const int m = lanes_of(window - j);
            const pair sum = join_slabs(parts, slabs, window, j, m);
            put_grad(dw, c->acc >> 1 & 1, c0 + j, sum.w, m);
            put_grad(db, c->acc >> 2 & 1, c0 + j, sum.b, m);
            const vf w = t.w ? vf_get(t.w + c0 + j, m) : vf_set1(1.0f);
            const vf scale = eval ? vf_zero() : vf_div(w, vf_set1(n));
            vf_put(parts + j, vf_mul(sum.b, scale), m);
            vf_put(parts + window + j, vf_mul(sum.w, scale), m);
        }
        const share h = share_of(&t, window);
        if (to.dx || to.dr) {
            FNN_FOR
            for (int64_t k = 0; k < h.tasks; k++)
                FOR_LINES(&t, c0, window, h, k, l, first,
                    const operand c1 = numbers(parts, j, t.length == 1, 0.0f);
                    const operand c2 = numbers(parts + window, j, t.length == 1, 0.0f);
                    line_bwd(&l, c1, c2, &to, first););
        }
    }
}

static void batch_norm_bwd(const fnn_call *c, const fnn_scratch *s)
{
    columns_bwd(c, s, column_norm(c, 0), 0);
}

static void batch_norm_eval_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const norm t = column_norm(c, 1);
    const float *var = c->buf[5];
    float *rstd = c->buf[7];
    (void)s;
    FOR_VECTORS(t.channels, i) {
        const int m = lanes_of(t.channels - i);
        const vf v = vf_add(vf_get(var + i, m), vf_set1(c->f[0]));
        vf_put(rstd + i, vf_div(vf_set1(1.0f), vf_sqrt(v)), m);
    }
    columns_fwd(&t, c->buf[6]);
}

static void batch_norm_eval_bwd(const fnn_call *c, const fnn_scratch *s)
{
    columns_bwd(c, s, column_norm(c, 1), 1);
}

#endif
