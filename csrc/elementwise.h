/*
 * elementwise.h: loops over elements, with broadcasting, and the sums that undo it in backward.
 *
 * A unary op is a flat loop over vectors.  A broadcast record is covered by tiles, blocks of its
 * last two axes of about GRAIN elements; an op is one function that computes a tile.  The gradient
 * of a broadcast operand is computed tile by tile too and folded: lanes and rows inside a tile,
 * tiles of a slab in order, slabs two by two.  All of that follows from the shape alone.
 */
#ifndef FNN_ELEMENTWISE_H
#define FNN_ELEMENTWISE_H

#include "sums.h"

#define GRAIN 4096            /* elements of a task: 16 KB of each operand stay in cache */

/* ---- unary ops: y = Y(x), dx = DX(dy, saved); p, q: the constants f[0], f[1] ----------------
 * `saved` names what backward reads: x, y or nothing.  dim: n.                                 */

#define FOR_VECTORS(n, i)                                                                      \
    FNN_FOR                                                                                    \
    for (int64_t chunk_ = 0; chunk_ < ((n) + GRAIN - 1) / GRAIN; chunk_++)                     \
        for (int64_t i = chunk_ * GRAIN; i < smaller(n, (chunk_ + 1) * GRAIN); i += FNN_LANES)

#define SAVED_x const vf x = vf_get((const float *)px + i, m);
#define SAVED_y const vf y = vf_get((const float *)py + i, m);
#define SAVED_nothing

#define UNARY(name, Y, saved, DX)                                                              \
    UNARY_FWD(name, Y)                                                                         \
    UNARY_BWD(name, saved, DX)
#define UNARY_FWD(name, Y)                                                                     \
    static void name##_fwd(const fnn_call *c, const fnn_scratch *s)                            \
    {                                                                                          \
        const vf p = vf_set1(c->f[0]), q = vf_set1(c->f[1]);                                   \
        const int64_t n = c->dim[0];                                                           \
        const float *px = c->buf[0];                                                           \
        float *py = c->buf[1];                                                                 \
        (void)s, (void)p, (void)q;                                                             \
        FOR_VECTORS(n, i) {                                                                    \
            const int m = lanes_of(n - i);                                                     \
            const vf x = vf_get(px + i, m);                                                    \
            (void)x;                                                                           \
            vf_put(py + i, Y, m);                                                              \
        }                                                                                      \
    }

/* y = f(x) where f takes VEC_STEP vectors in step. */
#define UNARY_STEP_FWD(name, f)                                                                \
    static void name##_fwd(const fnn_call *c, const fnn_scratch *s)                            \
    {                                                                                          \
        const int64_t n = c->dim[0], run = VEC_STEP * FNN_LANES;                               \
        const float *px = c->buf[0];                                                           \
        float *py = c->buf[1];                                                                 \
        (void)s;                                                                               \
        FNN_FOR                                                                                \
        for (int64_t b = 0; b < n; b += GRAIN) {                                               \
            const int64_t end = smaller(n, b + GRAIN);                                         \
            int64_t i = b;                                                                     \
            vf x[VEC_STEP];                                                                    \
            for (; i + run <= end; i += run) {                                                 \
                for (int j = 0; j < VEC_STEP; j++) x[j] = vf_load(px + i + j * FNN_LANES);     \
                f(x, VEC_STEP);                                                                \
                for (int j = 0; j < VEC_STEP; j++) vf_store(py + i + j * FNN_LANES, x[j]);     \
            }                                                                                  \
            for (; i < end; i += FNN_LANES) {                                                  \
                x[0] = vf_get(px + i, lanes_of(end - i));                                      \
                f(x, 1);                                                                       \
                vf_put(py + i, x[0], lanes_of(end - i));                                       \
            }                                                                                  \
        }                                                                                      \
    }

#define UNARY_BWD(name, saved, DX)                                                             \
    static void name##_bwd(const fnn_call *c, const fnn_scratch *s)                            \
    {                                                                                          \
        const vf p = vf_set1(c->f[0]), q = vf_set1(c->f[1]);                                   \
        const int64_t n = c->dim[0];                                                           \
        const void *px = c->buf[0], *py = c->buf[1];                                           \
        const float *pdy = c->grad[1];                                                         \
        float *pdx = c->grad[0];                                                               \
        const int acc = c->acc & 1;                                                            \
        (void)s, (void)p, (void)q, (void)px, (void)py;                                         \
        FOR_VECTORS(n, i) {                                                                    \
            const int m = lanes_of(n - i);                                                     \
            const vf dy = vf_get(pdy + i, m);                                                  \
            (void)dy;                                                                          \
            SAVED_##saved                                                                      \
            const vf dx = DX;                                                                  \
            vf_put(pdx + i, acc ? vf_add(vf_get(pdx + i, m), dx) : dx, m);                     \
        }                                                                                      \
    }

/* ---- broadcast records ----------------------------------------------------------------------
 * dim: sizes[axes], then the strides[axes] of each operand in elements, 0 = broadcast; operands
 * are contiguous and neighbouring axes merged, so strides along the last axis are 1 or 0.       */

typedef struct {
    int axes, n_in;               /* axes of the record, operands */
    int in_size[3], out_size;     /* bytes of an element */
} layout;

typedef struct {
    int64_t rows, n;              /* a block of the last two axes */
    void *out;
    const float *dy;              /* backward only */
    const void *in[3];
    int64_t out_row, dy_row;      /* elements from one row to the next */
    int64_t row[3], step[3];      /* the same of the operands, and from one column to the next */
    int add;                      /* backward: add to out */
} tile;

typedef void tile_fn(const tile *t);

/* Blocks of the axes: 1 along the outer ones, GRAIN elements together along the last two. */
typedef struct {
    int64_t block[5], grid[5];
} cover;

static cover cover_of(const fnn_call *c, const layout *l)
{
    const int last = l->axes - 1;
    const int64_t cols = c->dim[last];
    cover v;
    for (int k = 0; k <= last; k++) v.block[k] = 1;
    v.block[last] = GRAIN;
    if (cols > 0 && cols < GRAIN) v.block[last - 1] = GRAIN / cols;
    for (int k = 0; k <= last; k++) v.grid[k] = (c->dim[k] + v.block[k] - 1) / v.block[k];
    return v;
}

/* Digits of index in the mixed radix grid, over the axes chosen by bits of mask. */
static void grid_digits(const cover *v, int axes, int mask, int64_t index, int64_t *digit)
{
    for (int k = axes - 1; k >= 0; k--) {
        if (!(mask >> k & 1)) continue;
        digit[k] = v->grid[k] > 1 ? index % v->grid[k] : 0;
        if (v->grid[k] > 1) index /= v->grid[k];
    }
}

static const float no_operand[FNN_LANES];   /* stands for what backward did not keep */

/* The tile at digit[]; out and dy are filled in by the caller.  Returns its first element. */
static int64_t tile_at(tile *t, const fnn_call *c, const layout *l, const cover *v,
                       const int64_t *digit)
{
    const int axes = l->axes, last = axes - 1;
    const int64_t *size = c->dim;
    int64_t first = 0, at[5];
    for (int k = 0; k < axes; k++) {
        at[k] = digit[k] * v->block[k];
        first = first * size[k] + at[k];
    }
    t->rows = smaller(v->block[last - 1], size[last - 1] - at[last - 1]);
    t->n = smaller(v->block[last], size[last] - at[last]);
    for (int j = 0; j < l->n_in; j++) {
        const int64_t *stride = size + axes * (j + 1);
        int64_t offset = 0;
        for (int k = 0; k < axes; k++) offset += at[k] * stride[k];
        const int here = c->buf[j] != NULL;
        t->in[j] = no_operand;
        if (here) t->in[j] = (const char *)c->buf[j] + offset * l->in_size[j];
        t->row[j] = here ? stride[last - 1] : 0;
        t->step[j] = here ? stride[last] : 0;
    }
    return first;
}

/* Rows shorter than a vector made one long row.  An operand that is the same for all rows is
 * written out in room, which holds a tile of each. */
static void widen(tile *t, const layout *l, float *room)
{
    const int64_t rows = t->rows, n = t->n;
    if (n >= FNN_LANES || rows == 1) return;
    for (int j = 0; j < l->n_in; j++) {
        const int flat = t->step[j] ? t->row[j] == n || t->row[j] == 0 : t->row[j] == 0;
        if (l->in_size[j] != sizeof(float) || !flat) return;
    }
    for (int j = 0; j < l->n_in; j++) {
        if (!t->step[j] || t->row[j] == n) continue;
        float *copy = room + j * GRAIN;
        memcpy(copy, t->in[j], (size_t)n * sizeof(float));
        for (int64_t have = n; have < rows * n; have *= 2)
            memcpy(copy + have, copy, (size_t)smaller(have, rows * n - have) * sizeof(float));
        t->in[j] = copy;
    }
    t->rows = 1;
    t->n = rows * n;
}

#ifdef FNN_ALONE                        /* a link of a chain: one tile, and nothing to sum */

static tile whole_record(const fnn_call *c, const layout *l)
{
    const int64_t digit[5] = {0}, *size = c->dim + l->axes - 2;
    const cover v = {{0}, {0}};
    tile t;
    tile_at(&t, c, l, &v, digit);
    t.rows = size[0], t.n = size[1];
    t.out_row = t.dy_row = size[1];
    return t;
}

static void broadcast(const fnn_call *c, const fnn_scratch *s, const layout *l, tile_fn *f)
{
    tile t = whole_record(c, l);
    t.out = c->buf[l->n_in];
    widen(&t, l, s->local);
    f(&t);
}

static void broadcast_grad(const fnn_call *c, const fnn_scratch *s, const layout *l, int j,
                           tile_fn *f)
{
    if (!c->grad[j]) return;
    tile t = whole_record(c, l);
    t.out = c->grad[j], t.dy = c->grad[l->n_in];
    t.add = c->acc >> j & 1;
    widen(&t, l, s->local);
    f(&t);
}

#else

/* out[i] = f(operands[i]). */
static void broadcast(const fnn_call *c, const fnn_scratch *s, const layout *l, tile_fn *f)
{
    const cover v = cover_of(c, l);
    int64_t tiles = 1;
    for (int k = 0; k < l->axes; k++) tiles *= v.grid[k];
    FNN_FOR
    for (int64_t i = 0; i < tiles; i++) {
        int64_t digit[5];
        tile t;
        grid_digits(&v, l->axes, 31, i, digit);
        t.out = (char *)c->buf[l->n_in] + tile_at(&t, c, l, &v, digit) * l->out_size;
        t.out_row = c->dim[l->axes - 1];
        widen(&t, l, s->local);
        f(&t);
    }
}

/* out (+)= the sum of the rows of t, n < 16.  16 rows are n vectors: whole ones can be added. */
static void narrow_sum(float *out, const float *t, int64_t rows, int n, int add)
{
    const int64_t blocks = rows / FNN_LANES;
    float part[FNN_LANES * FNN_LANES];
    for (int v = 0; v < n; v++) {
        vf sum = vf_zero();
        for (int64_t b = 0; b < blocks; b++)
            sum = vf_add(sum, vf_load(t + (b * n + v) * FNN_LANES));
        vf_store(part + v * FNN_LANES, sum);
    }
    vf sum = add ? vf_load_n(out, n) : vf_zero();
    for (int r = 0; r < FNN_LANES; r++) sum = vf_add(sum, vf_load_n(part + r * n, n));
    for (int64_t r = blocks * FNN_LANES; r < rows; r++) sum = vf_add(sum, vf_load_n(t + r * n, n));
    vf_store_n(out, sum, n);
}

/* out (+)= t summed over the axes along which out does not move.  t: (rows, n). */
static void unbroadcast(float *out, int64_t out_row, int64_t out_step, const float *t,
                        int64_t rows, int64_t n, int add)
{
    if (out_step) {                              /* columns stay; there are fewer than 16 */
        narrow_sum(out, t, rows, (int)n, add);
    } else if (out_row) {                        /* rows stay */
        for (int64_t r = 0; r < rows; r++) {
            const float sum = fold_run(FOLD_SUM, t + r * n, n, 0.0f);
            out[r * out_row] = add ? out[r * out_row] + sum : sum;
        }
    } else {
        const float sum = fold_run(FOLD_SUM, t, rows * n, 0.0f);
        *out = add ? *out + sum : sum;
    }
}

/* Rows first .. first + rows - 1 of t. */
static tile tile_rows(tile t, const layout *l, int64_t first, int64_t rows)
{
    for (int j = 0; j < l->n_in; j++)
        t.in[j] = (const char *)t.in[j] + first * t.row[j] * l->in_size[j];
    t.dy += first * t.dy_row;
    t.rows = rows;
    return t;
}

#define GRAD_PART 1024        /* elements to compute before they are summed: they stay in L1    */

/* out (+)= what f computes for t, summed over the axes along which out does not move: out_row and
 * out_step are 0 there.  room holds a tile of out and of each operand. */
static void grad_tile(tile t, const layout *l, float *out, int64_t out_row, int64_t out_step,
                      int add, float *room, tile_fn *f)
{
    const int64_t rows = t.rows, n = t.n, group = n < GRAD_PART ? GRAD_PART / n : 1;
    if (out_step && (out_row || rows == 1)) {    /* nothing to sum */
        t.out = out, t.out_row = out_row, t.add = add;
        if (out_row == n) widen(&t, l, room);
        f(&t);
        return;
    }
    if (out_step && n >= FNN_LANES) {            /* each row is added to out as it comes */
        for (int64_t r = 0, next; r < rows; r = next) {
            next = r || add ? rows : 1;
            tile part = tile_rows(t, l, r, next - r);
            part.out = out, part.out_row = 0, part.add = r || add;
            f(&part);
        }
        return;
    }
    for (int64_t r = 0; r < rows; r += group) {
        tile part = tile_rows(t, l, r, smaller(group, rows - r));
        const int64_t here = part.rows;
        part.out = room, part.out_row = n, part.add = 0;
        widen(&part, l, room + GRAIN);
        f(&part);
        unbroadcast(out + r * out_row, out_row, out_step, room, here, n, add || (r && !out_row));
    }
}

#define GRAD_TASKS 64         /* enough to share; more slabs would only mean more partial sums */
#define GRAD_UNITS 8          /* tiles of a slab at least, for the same reason                 */

static void put_sums(float *out, const float *sums, int64_t n, int acc)
{
    for (int64_t i = 0; i < n; i += FNN_LANES) {
        const int m = lanes_of(n - i);
        const vf sum = vf_get(sums + i, m);
        vf_put(out + i, acc ? vf_add(vf_get(out + i, m), sum) : sum, m);
    }
}

/* grad[j] (+)= f(dy, operands) summed over the axes along which operand j was broadcast.  It may lie
 * where the operand does: sums are complete before they are stored. */
static void broadcast_grad(const fnn_call *c, const fnn_scratch *s, const layout *l, int j,
                           tile_fn *f)
{
    if (!c->grad[j]) return;
    const cover v = cover_of(c, l);
    const int axes = l->axes, all = (1 << axes) - 1, acc = c->acc >> j & 1;
    const int64_t *size = c->dim, *stride = size + axes * (j + 1);
    int kept = 0;
    int64_t tasks = 1, units = 1, width = 1;   /* tiles of grad[j], tiles in a sum, its elements */
    for (int k = 0; k < axes; k++) {
        if (stride[k]) kept |= 1 << k, tasks *= v.grid[k], width *= size[k];
        else units *= v.grid[k];
    }
    /* slabs * width <= GRAD_TASKS * GRAIN, which the shared scratch holds */
    int64_t slabs = tasks > 0 ? smaller(GRAD_TASKS / tasks, units / GRAD_UNITS) : 1;
    if (slabs < 1) slabs = 1;
    float *sums = slabs > 1 ? s->shared : c->grad[j];
    if (units == 0) {                            /* a sum of nothing */
        FOR_VECTORS(acc ? 0 : width, i)
            vf_put(c->grad[j] + i, vf_zero(), lanes_of(width - i));
        return;
    }
    const int64_t row = stride[axes - 2], step = stride[axes - 1];
    const int no_sum = units == 1 && step && (row || size[axes - 2] == 1);
    FNN_FOR
    for (int64_t i = 0; i < tasks * slabs; i++) {
        const int64_t slab = i / tasks;
        const int64_t begin = units * slab / slabs, end = units * (slab + 1) / slabs;
        int64_t digit[5];
        tile t = {0};
        grid_digits(&v, axes, kept, i % tasks, digit);
        float *out = sums + slab * width;
        for (int k = 0; k < axes; k++)
            if (stride[k]) out += digit[k] * v.block[k] * stride[k];
        for (int64_t u = begin; u < end; u++) {
            grid_digits(&v, axes, all & ~kept, u, digit);
            t.dy = c->grad[l->n_in] + tile_at(&t, c, l, &v, digit);
            t.dy_row = size[axes - 1];
            if (no_sum)
                grad_tile(t, l, out, row, step, acc, s->local, f);
            else if (slabs > 1)
                grad_tile(t, l, out, row, step, u > begin, s->local, f);
            else
                grad_tile(t, l, s->local, row ? step ? t.n : 1 : 0, step, u > begin,
                          s->local + GRAIN, f);
        }
        if (no_sum || slabs > 1) continue;
        const int64_t rows = row ? t.rows : 1, n = step ? t.n : 1;
        for (int64_t r = 0; r < rows; r++) put_sums(out + r * row, s->local + r * n, n, acc);
    }
    if (slabs == 1) return;
    FNN_FOR
    for (int64_t i = 0; i < width; i += FNN_LANES) {
        const int m = lanes_of(width - i);
        fold_parts(FOLD_SUM, sums + i, slabs, width, m);
        put_sums(c->grad[j] + i, sums + i, m, acc);
    }
}

#endif

/* ---- tile functions -------------------------------------------------------------------------
 * TILE walks the rows; COLUMNS is the loop over one of them, with r, i and m in scope.           */

#define OPERAND(j, type) ((const type *)t.in[j] + r * t.row[j])
VEC vf vf_operand(const float *p, int64_t step, int64_t i, int m)
{
    return step ? vf_get(p + i, m) : vf_set1(*p);
}

#define FLOAT_TILE(name, ...)                                                                  \
    static void name(const tile *tp)                                                           \
    {                                                                                          \
        const tile t = *tp;                                                                    \
        for (int64_t r = 0; r < t.rows; r++) {                                                 \
            const float *pa = OPERAND(0, float), *pb = OPERAND(1, float);                      \
            for (int64_t i = 0; i < t.n; i += FNN_LANES) {                                     \
                const int m = lanes_of(t.n - i);                                               \
                const vf a = vf_operand(pa, t.step[0], i, m);                                  \
                const vf b = vf_operand(pb, t.step[1], i, m);                                  \
                (void)a, (void)b;                                                              \
                __VA_ARGS__                                                                    \
            }                                                                                  \
        }                                                                                      \
    }

#define PUT_FLOATS(v) vf_put((float *)t.out + r * t.out_row + i, v, m);
#define GET_DY const vf dy = vf_get(t.dy + r * t.dy_row + i, m); (void)dy;
#define PUT_GRAD(v)                                                                            \
    float *out = (float *)t.out + r * t.out_row + i;                                           \
    vf_put(out, t.add ? vf_add(vf_get(out, m), v) : v, m);

static const layout floats = {5, 2, {4, 4, 4}, 4}, floats_to_bools = {5, 2, {4, 4, 4}, 1};

/* y = Y(a, b), da = DA(dy, a, b), db = DB(dy, a, b), elementwise with broadcasting. */
#define BINARY(name, Y, DA, DB)                                                                \
    FLOAT_TILE(name##_y, PUT_FLOATS(Y))                                                        \
    FLOAT_TILE(name##_da, GET_DY PUT_GRAD(DA))                                                 \
    FLOAT_TILE(name##_db, GET_DY PUT_GRAD(DB))                                                 \
    static void name##_fwd(const fnn_call *c, const fnn_scratch *s)                            \
    {                                                                                          \
        broadcast(c, s, &floats, name##_y);                                                    \
    }                                                                                          \
    static void name##_bwd(const fnn_call *c, const fnn_scratch *s)                            \
    {                                                                                          \
        broadcast_grad(c, s, &floats, 0, name##_da);                                           \
        broadcast_grad(c, s, &floats, 1, name##_db);                                           \
    }

/* y = M(a, b) as a boolean. */
#define COMPARE(name, M)                                                                       \
    FLOAT_TILE(name##_y, const vm y = M; uint8_t *py = (uint8_t *)t.out + r * t.out_row + i;   \
               if (m == FNN_LANES) vm_store_u8(py, y); else vm_store_u8_n(py, y, m);)          \
    static void name##_fwd(const fnn_call *c, const fnn_scratch *s)                            \
    {                                                                                          \
        broadcast(c, s, &floats_to_bools, name##_y);                                           \
    }

#endif
