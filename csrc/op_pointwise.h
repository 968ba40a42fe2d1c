/*
 * op_pointwise.h: arithmetic and comparisons of elements.
 *
 * Binary ops broadcast; their records are described in elementwise.h.  NaN propagates everywhere;
 * where a function has a kink, the gradient there is torch's.
 */
#ifndef FNN_OP_POINTWISE_H
#define FNN_OP_POINTWISE_H

#include <math.h>

#include "elementwise.h"

/* A function of libm in every lane, for what is not worth vectors of its own. */
#define LANEWISE(name, f)                                                                      \
    VEC vf name(vf x)                                                                          \
    {                                                                                          \
        float a[FNN_LANES];                                                                    \
        vf_store(a, x);                                                                        \
        for (int k = 0; k < FNN_LANES; k++) a[k] = f(a[k]);                                    \
        return vf_load(a);                                                                     \
    }
#define LANEWISE_2(name, f)                                                                    \
    VEC vf name(vf x, vf y)                                                                    \
    {                                                                                          \
        float a[FNN_LANES], b[FNN_LANES];                                                      \
        vf_store(a, x);                                                                        \
        vf_store(b, y);                                                                        \
        for (int k = 0; k < FNN_LANES; k++) a[k] = f(a[k], b[k]);                              \
        return vf_load(a);                                                                     \
    }

/* ---- float32 (a, b) -> float32 ----
 * a, b, y: broadcast.  dim: sizes[5], strides of a[5], strides of b[5]. */

BINARY(add, vf_add(a, b), dy, dy)
BINARY(sub, vf_sub(a, b), dy, vf_neg(dy))
BINARY(mul, vf_mul(a, b), vf_mul(dy, b), vf_mul(dy, a))
BINARY(div, vf_div(a, b), vf_div(dy, b), vf_neg(vf_mul(dy, vf_div(vf_div(a, b), b))))

/* d(a^b)/da = b a^(b-1), 0 where b = 0. */
VEC vf pow_slope_a(vf dy, vf a, vf b)
{
    const vf slope = vf_mul(b, vf_pow(a, vf_sub(b, vf_set1(1.0f))));
    return vf_sel(vf_eq(b, vf_zero()), vf_zero(), vf_mul(dy, slope));
}

/* d(a^b)/db = a^b log a, 0 where a = 0 and b >= 0. */
VEC vf pow_slope_b(vf dy, vf a, vf b)
{
    const vm flat = vm_and(vf_eq(a, vf_zero()), vf_ge(b, vf_zero()));
    return vf_sel(flat, vf_zero(), vf_mul(dy, vf_mul(vf_pow(a, b), vf_log(a))));
}

BINARY(pow, vf_pow(a, b), pow_slope_a(dy, a, b), pow_slope_b(dy, a, b))

/* The larger side gets dy, both get half of it where they are equal, both all of it at NaN. */
VEC vf winner(vf dy, vm lost, vm tie)
{
    return vf_sel(tie, vf_mul(dy, vf_set1(0.5f)), vf_sel(lost, vf_zero(), dy));
}

BINARY(maximum, vf_max(a, b), winner(dy, vf_lt(a, b), vf_eq(a, b)),
       winner(dy, vf_gt(a, b), vf_eq(a, b)))
BINARY(minimum, vf_min(a, b), winner(dy, vf_gt(a, b), vf_eq(a, b)),
       winner(dy, vf_lt(a, b), vf_eq(a, b)))

/* a - b floor(a / b), exact: of the sign of b. */
static float remainder_of(float a, float b)
{
    const float r = fmodf(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* floor of the exact a / b, which rounding could lift over an integer. */
static float floor_of_quotient(float a, float b)
{
    const float r = fmodf(a, b), q = rintf((a - r) / b);
    return b == 0 ? a / b : r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
}

LANEWISE_2(vf_remainder, remainder_of)
LANEWISE_2(vf_floor_divide, floor_of_quotient)

BINARY(remainder, vf_remainder(a, b), dy, vf_neg(vf_mul(dy, vf_floor_divide(a, b))))
BINARY(floor_divide, vf_floor_divide(a, b), vf_zero(), vf_zero())

/* ---- float32 (a, b) -> bool ---- dim as above. */

COMPARE(eq, vf_eq(a, b))
COMPARE(ne, vf_ne(a, b))
COMPARE(lt, vf_lt(a, b))
COMPARE(le, vf_le(a, b))
COMPARE(gt, vf_gt(a, b))
COMPARE(ge, vf_ge(a, b))

/* ---- float32 x -> float32 ---- x, y: (n).  dim: n. */

VEC vf sign_of(vf x)                            /* -1, 0, 1, or NaN */
{
    const vf one = vf_copysign(vf_set1(1.0f), x);
    return vf_sel(vf_ne(vf_abs(x), vf_zero()), vf_sel(vf_isnan(x), x, one), vf_zero());
}

VEC vf ceil_of(vf x) { return vf_neg(vf_floor(vf_neg(x))); }

LANEWISE(vf_sin, sinf)
LANEWISE(vf_cos, cosf)
LANEWISE(vf_log2, log2f)                        /* exact at powers of 2, as log10f is of 10 */
LANEWISE(vf_log10, log10f)

VEC vf erf_slope(vf x)                          /* 2 / sqrt(pi) exp(-x^2) */
{
    return vf_mul(vf_set1(0x1.20dd76p+0f), vf_exp(vf_neg(vf_mul(x, x))));
}

UNARY(neg, vf_neg(x), nothing, vf_neg(dy))
UNARY(abs, vf_abs(x), x, vf_mul(dy, sign_of(x)))
UNARY(sign, sign_of(x), nothing, vf_zero())
UNARY(exp, vf_exp(x), y, vf_mul(dy, y))
UNARY(expm1, vf_expm1(x), y, vf_fma(dy, y, dy))
UNARY(log, vf_log(x), x, vf_div(dy, x))
UNARY(log1p, vf_log1p(x), x, vf_div(dy, vf_add(x, vf_set1(1.0f))))
UNARY(log2, vf_log2(x), x, vf_div(dy, vf_mul(x, vf_set1(0x1.62e43p-1f))))
UNARY(log10, vf_log10(x), x, vf_div(dy, vf_mul(x, vf_set1(0x1.26bb1cp+1f))))
UNARY(erf, vf_erf(x), x, vf_mul(dy, erf_slope(x)))
UNARY(sqrt, vf_sqrt(x), y, vf_div(dy, vf_add(y, y)))
UNARY(rsqrt, vf_rsqrt(x), y, vf_mul(vf_mul(dy, vf_set1(-0.5f)), vf_mul(y, vf_mul(y, y))))
UNARY(reciprocal, vf_div(vf_set1(1.0f), x), y, vf_neg(vf_mul(dy, vf_mul(y, y))))
UNARY(square, vf_mul(x, x), x, vf_mul(dy, vf_add(x, x)))
UNARY(sin, vf_sin(x), x, vf_mul(dy, vf_cos(x)))
UNARY(cos, vf_cos(x), x, vf_neg(vf_mul(dy, vf_sin(x))))
UNARY(floor, vf_floor(x), nothing, vf_zero())
UNARY(ceil, ceil_of(x), nothing, vf_zero())
UNARY(round, vf_rint(x), nothing, vf_zero())

/* y = x between the constants p <= q, else the nearer one; dx = dy where p <= x <= q. */
UNARY(clamp, vf_min(vf_max(x, p), q), x,
      vf_sel(vm_and(vf_ge(x, p), vf_le(x, q)), dy, vf_zero()))

/* y = p. */
UNARY(fill, p, nothing, vf_zero())

/* ---- where ----
 * y = cond ? a : b.  cond: bool; a, b, y: float32, broadcast.
 * dim: sizes[4], strides of cond[4], of a[4], of b[4]. */

#define WHERE_TILE(name, ...)                                                                  \
    static void name(const tile *tp)                                                           \
    {                                                                                          \
        const tile t = *tp;                                                                    \
        for (int64_t r = 0; r < t.rows; r++) {                                                 \
            const uint8_t *pc = OPERAND(0, uint8_t);                                           \
            const float *pa = OPERAND(1, float), *pb = OPERAND(2, float);                      \
            (void)pa, (void)pb;                                                                \
            for (int64_t i = 0; i < t.n; i += FNN_LANES) {                                     \
                const int m = lanes_of(t.n - i);                                               \
                const vm cond = !t.step[0] ? vf_ne(vf_set1(*pc), vf_zero())                    \
                              : m == FNN_LANES ? vm_load_u8(pc + i) : vm_load_u8_n(pc + i, m); \
                __VA_ARGS__                                                                    \
            }                                                                                  \
        }                                                                                      \
    }
WHERE_TILE(where_y, PUT_FLOATS(vf_sel(cond, vf_operand(pa, t.step[1], i, m),
                                      vf_operand(pb, t.step[2], i, m))))
WHERE_TILE(where_da, GET_DY PUT_GRAD(vf_sel(cond, dy, vf_zero())))
WHERE_TILE(where_db, GET_DY PUT_GRAD(vf_sel(cond, vf_zero(), dy)))

static const layout where_floats = {4, 3, {1, 4, 4}, 4}, where_ints = {4, 3, {1, 8, 8}, 8};

static void where_fwd(const fnn_call *c, const fnn_scratch *s)
{
    broadcast(c, s, &where_floats, where_y);
}

static void where_bwd(const fnn_call *c, const fnn_scratch *s)
{
    broadcast_grad(c, s, &where_floats, 1, where_da);
    broadcast_grad(c, s, &where_floats, 2, where_db);
}

/* ---- integers ----
 * The other integer types and bool are cast to int64 and back.  dim as for float32;
 * f[0] chooses the function: the order of the tables below. */

#define INT_TILE(name, type, Y)                                                                \
    static void name(const tile *tp)                                                           \
    {                                                                                          \
        const tile t = *tp;                                                                    \
        for (int64_t r = 0; r < t.rows; r++) {                                                 \
            const int64_t *pa = OPERAND(0, int64_t), *pb = OPERAND(1, int64_t);                \
            type *y = (type *)t.out + r * t.out_row;                                           \
            for (int64_t i = 0; i < t.n; i++) {                                                \
                const int64_t a = pa[i * t.step[0]], b = pb[i * t.step[1]];                    \
                y[i] = (type)(Y);                                                              \
            }                                                                                  \
        }                                                                                      \
    }

/* Division rounds down; by 0 it gives 0, as in NumPy. */
static inline int64_t int_floor_divide(int64_t a, int64_t b)
{
    if (b == 0) return 0;
    if (b == -1) return (int64_t)-(uint64_t)a;
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static inline int64_t int_remainder(int64_t a, int64_t b)
{
    if (b == 0 || b == -1) return 0;
    return a % b + ((a % b < 0) != (b < 0) && a % b != 0 ? b : 0);
}

INT_TILE(int_add, int64_t, (uint64_t)a + (uint64_t)b)
INT_TILE(int_sub, int64_t, (uint64_t)a - (uint64_t)b)
INT_TILE(int_mul, int64_t, (uint64_t)a * (uint64_t)b)
INT_TILE(int_div, int64_t, int_floor_divide(a, b))
INT_TILE(int_mod, int64_t, int_remainder(a, b))
INT_TILE(int_max, int64_t, a > b ? a : b)
INT_TILE(int_min, int64_t, a < b ? a : b)
INT_TILE(int_and, int64_t, a & b)
INT_TILE(int_or, int64_t, a | b)
INT_TILE(int_xor, int64_t, a ^ b)

INT_TILE(int_eq, uint8_t, a == b)
INT_TILE(int_ne, uint8_t, a != b)
INT_TILE(int_lt, uint8_t, a < b)
INT_TILE(int_le, uint8_t, a <= b)
INT_TILE(int_gt, uint8_t, a > b)
INT_TILE(int_ge, uint8_t, a >= b)

static const layout ints = {5, 2, {8, 8, 8}, 8}, ints_to_bools = {5, 2, {8, 8, 8}, 1};

static void int_arithmetic_fwd(const fnn_call *c, const fnn_scratch *s)
{
    static tile_fn *const table[] = {int_add, int_sub, int_mul, int_div, int_mod,
                                     int_max, int_min, int_and, int_or, int_xor};
    broadcast(c, s, &ints, table[(int)c->f[0]]);
}

static void int_compare_fwd(const fnn_call *c, const fnn_scratch *s)
{
    static tile_fn *const table[] = {int_eq, int_ne, int_lt, int_le, int_gt, int_ge};
    broadcast(c, s, &ints_to_bools, table[(int)c->f[0]]);
}

/* y = cond ? a : b of int64.  dim as where. */
static void int_where_y(const tile *tp)
{
    const tile t = *tp;
    for (int64_t r = 0; r < t.rows; r++) {
        const uint8_t *cond = OPERAND(0, uint8_t);
        const int64_t *a = OPERAND(1, int64_t), *b = OPERAND(2, int64_t);
        int64_t *y = (int64_t *)t.out + r * t.out_row;
        for (int64_t i = 0; i < t.n; i++)
            y[i] = cond[i * t.step[0]] ? a[i * t.step[1]] : b[i * t.step[2]];
    }
}

static void int_where_fwd(const fnn_call *c, const fnn_scratch *s)
{
    broadcast(c, s, &where_ints, int_where_y);
}

#endif
