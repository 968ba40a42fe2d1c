/*
 * op_pointwise.h: arithmetic and comparisons of elements.
 *
 * Binary ops broadcast; their records are described in elementwise.h.  NaN propagates everywhere;
 * where a function has a kink, the gradient there is torch's.
 */
#ifndef FNN_OP_POINTWISE_H
#define FNN_OP_POINTWISE_H

#include "elementwise.h"

/* ---- float32 (a, b) -> float32 ----
 * a, b, y: broadcast.  dim: sizes[5], strides of a[5], strides of b[5]. */

BINARY(add, vf_add(a, b), dy, dy)
BINARY(sub, vf_sub(a, b), dy, vf_neg(dy))
BINARY(mul, vf_mul(a, b), vf_mul(dy, b), vf_mul(dy, a))
BINARY(div, vf_div(a, b), vf_div(dy, b), vf_neg(vf_mul(vf_div(dy, b), vf_div(a, b))))

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
    return vf_sel(vf_eq(vf_abs(x), vf_abs(x)),
                  vf_sub(vf_sel(vf_gt(x, vf_zero()), vf_set1(1.0f), vf_zero()),
                         vf_sel(vf_lt(x, vf_zero()), vf_set1(1.0f), vf_zero())), x);
}

UNARY(neg, vf_neg(x), nothing, vf_neg(dy))
UNARY(abs, vf_abs(x), x, vf_mul(dy, sign_of(x)))
UNARY(exp, vf_exp(x), y, vf_mul(dy, y))
UNARY(log, vf_log(x), x, vf_div(dy, x))
UNARY(sqrt, vf_sqrt(x), y, vf_div(dy, vf_add(y, y)))
UNARY(square, vf_mul(x, x), x, vf_mul(dy, vf_add(x, x)))

#endif
