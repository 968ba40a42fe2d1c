/*
 * vmath.h: elementary functions of 16 lanes, branch-free.
 *
 * Written for flush-to-zero arithmetic, which run.c sets around kernels: a denormal argument counts
 * as zero and a denormal result becomes zero.  NaN propagates; infinities and the sign of zero are
 * those of C99 Annex F.  ISAs with FMA give equal bits.
 *
 * The polynomials were fitted for these ranges by tests/exhaustive/fit_vmath.py.  The errors below
 * were measured by tests/exhaustive/run.py, in ULP of the float32 result: "1.2 ULP (base 1.3)" is the
 * maximum over all 2^32 arguments with FMA, and without.
 */
#ifndef FNN_VMATH_H
#define FNN_VMATH_H

#include "vmath_tables.h"

/* c0 + x (c1 + x (c2 + ...)) */
#define VEC_POLY(x, ...)                                                                    \
    vf_poly_(x, (const float[]){__VA_ARGS__}, (int)(sizeof((float[]){__VA_ARGS__}) / 4))
VEC vf vf_poly_(vf x, const float *c, int n)
{
    vf p = vf_set1(c[n - 1]);
    for (int i = n - 2; i >= 0; i--) p = vf_fma(p, x, vf_set1(c[i]));
    return p;
}

/* Bounds that let NaN through. */
VEC vf vf_at_most(vf x, float hi) { return vf_lesser(vf_set1(hi), x); }
VEC vf vf_at_least(vf x, float lo) { return vf_greater(vf_set1(lo), x); }

/* 2^n for integers n in [-126, 127] */
VEC vf vf_two_to(vf n)
{
    return vi_as_vf(vi_shl(vi_add(vf_to_vi(n), vi_set1(127)), 23));
}

/* a * b = p + *err exactly */
VEC vf vf_two_prod(vf a, vf b, vf *err)
{
    vf p = vf_mul(a, b);
#if VEC_FMA
    *err = vf_fma(a, b, vf_neg(p));
#else
    vi top = vi_set1(~0xfff);
    vf ah = vi_as_vf(vi_and(vf_as_vi(a), top)), al = vf_sub(a, ah);
    vf bh = vi_as_vf(vi_and(vf_as_vi(b), top)), bl = vf_sub(b, bh);
    vf e = vf_sub(vf_mul(ah, bh), p);
    e = vf_add(vf_add(e, vf_mul(ah, bl)), vf_mul(al, bh));
    *err = vf_add(e, vf_mul(al, bl));
#endif
    return p;
}

/* ---- exponentials --------------------------------------------------------------------------
 * Adding 1.5 * 2^23 rounds to an integer, 1.5 * 2^21 to a quarter. */

/* exp(x) = 2^floor(n) T (1 + p): n is the multiple of 1/4 nearest to x / ln 2, T = 2^(n - floor(n)),
 * |p| < 0.091, and `bits` ends in the bits of 4 n. */
typedef struct { vf n, T, p; vi bits; } vec_power;

/* Adds to p what rounding took from T. */
VEC vec_power vf_power_fine_(vec_power e)
{
    VEC_TABLE rest_of_T[4] = {0.0f, 3.19341815e-08f, 1.71142709e-08f, -1.47196051e-08f};
    e.p = vf_add(e.p, vf_pick4(rest_of_T, e.bits));
    return e;
}

VEC vec_power vf_power_(vf x)
{
    VEC_TABLE quarters[4] = {1.0f, 0x1.306fep0f, 0x1.6a09e6p0f, 0x1.ae89fap0f};
    vf round = vf_set1(0x1.8p21f), m = vf_fma(x, vf_set1(0x1.715476p0f), round);
    vec_power e = {.n = vf_sub(m, round), .bits = vf_as_vi(m)};
    vf r = vf_fnma(e.n, vf_set1(0x1.62ep-1f), x);          /* short: its product with n is exact */
    r = vf_fnma(e.n, vf_set1(0x1.0bfbe8p-15f), r);
    e.p = vf_fma(vf_mul(r, r), VEC_POLY(r, 0.500000179f, 0.166721031f, 0.0416450873f), r);
    e.T = vf_pick4(quarters, e.bits);
    return VEC_FMA ? e : vf_power_fine_(e);                /* rounding twice leaves less room */
}

/* exp(x).  0.97 ULP (base 0.97) */
VEC vf vf_exp(vf x)
{
    vec_power e = vf_power_(vf_at_most(vf_at_least(x, -104.0f), 89.0f));
    return vf_scale2(vf_fma(e.T, e.p, e.T), e.n);
}

/* 2^floor(n) T (1 + p) for n < 128, zero below 2^-126 */
VEC vf vf_power_low_(vec_power e)
{
#if VEC_FMA
    vi scale = vi_shl(vi_and(e.bits, vi_set1(~3)), 21);    /* floor(n) as an exponent */
    vf s = vi_as_vf(vi_add(vf_as_vi(e.T), scale));
    return vf_fma(s, e.p, s);
#else
    return vf_scale2(vf_fma(e.T, e.p, e.T), e.n);          /* the product s p could be flushed */
#endif
}

/* exp(x) for x <= 88, the same bits in fewer operations; zero below -87.3 */
VEC vf vf_exp_low(vf x) { return vf_power_low_(vf_power_(vf_at_least(x, -88.0f))); }

/* exp(x) for x <= 88 with what rounding took from T: 0.55 ULP */
VEC vf vf_exp_fine_(vf x)
{
    vec_power e = vf_power_(vf_at_least(x, -88.0f));
    return vf_power_low_(VEC_FMA ? vf_power_fine_(e) : e);
}

/* exp(d) for d = x - max x: T (1 + p) by eighths, and ln 2 in one piece where there is FMA.  What that
 * costs, 0.05 u |d|, is a twentieth of what rounding x - max may have cost already.
 * 1.16 ULP and 0.05 u |d| (base 2.0 ULP) for d <= 0; zero below -87.3, NaN at inf. */
VEC vf vf_exp_shifted(vf d)
{
    VEC_TABLE eighths[8] = {                    /* 2^(k/8), less k in the bits that 8 n adds to */
        0x1p0f, 0x1.f72b84p-1f, 0x1.f06fep-1f, 0x1.ebfdaep-1f,
        0x1.ea09e6p-1f, 0x1.eace54p-1f, 0x1.ee89fap-1f, 0x1.f5818ep-1f};
    const vf round = vf_set1(0x1.8p20f), one = vf_set1(1.0f);
    d = vf_at_least(d, -88.0f);
    const vf m = vf_fma(d, vf_set1(0x1.715476p0f), round), n = vf_sub(m, round);
    const vf r = VEC_FMA ? vf_fnma(n, vf_set1(0x1.62e43p-1f), d)
        : vf_fnma(n, vf_set1(0x1.0bfbe8p-15f), vf_fnma(n, vf_set1(0x1.62ep-1f), d));
    const vf p = vf_mul(r, VEC_POLY(r, 1.0f, 0.5000645f, 0.16666858f));
    const vi bits = vf_as_vi(m);
    const vf s = vi_as_vf(vi_add(vf_as_vi(vf_pick8(eighths, bits)), vi_shl(bits, 20)));
    return VEC_FMA ? vf_fma(s, p, s) : vf_mul(s, vf_add(one, p));   /* s p alone could be flushed */
}

/* x = n ln 2 + r with |r| <= ln(2) / 2 */
#define VEC_LN2_HI 0x1.62e4p-1f            /* short: its product with n is exact */
#define VEC_LN2_LO 0x1.7f7d1cp-20f
VEC vf vf_reduce_(vf x, vf *n)
{
    vf round = vf_set1(0x1.8p23f);
    *n = vf_sub(vf_fma(x, vf_set1(0x1.715476p0f), round), round);
    return vf_fnma(*n, vf_set1(VEC_LN2_LO), vf_fnma(*n, vf_set1(VEC_LN2_HI), x));
}

/* exp(x) - 1 = 2 (s (1 + r + h) - 1/2), s = 2^(n - 1), with the rounding of s r + s - 1/2 kept.
 * 0.82 ULP (base 0.82) */
VEC vf vf_expm1(vf x)
{
    vf half = vf_set1(0.5f), n;
    vf bounded = vf_at_most(vf_at_least(x, -20.0f), 89.0f), r = vf_reduce_(bounded, &n);
    vf rest = vf_sub(vf_fnma(n, vf_set1(VEC_LN2_HI), bounded), r);   /* what rounding took from r */
    rest = vf_fnma(n, vf_set1(VEC_LN2_LO), rest);
    vf cubic = VEC_POLY(r, 0.166666657f, 0.041666463f, 0.00833357126f, 0.00139350875f,
                        0.000197394751f);                      /* (exp(r) - 1 - r - r^2/2) / r^3 */
    vf z = vf_mul(r, r), h = vf_fma(z, half, vf_fma(vf_mul(z, r), cubic, rest));
    vf s = vf_two_to(vf_sub(n, vf_set1(1.0f)));
    vf c = vf_sub(s, half), c_err = vf_sub(vf_sub(s, c), half);
    vf t = vf_fma(s, r, c), t_err = vf_add(vf_fma(s, r, vf_sub(c, t)), c_err);
    vf y = vf_add(t, vf_fma(s, h, t_err));
    return vf_sel(vf_lt(vf_abs(x), vf_set1(0x1p-26f)), x, vf_add(y, y));
}

/* 1 / (1 + exp(-x)) = s - s q where q = e / (1 + e), e = exp(-|x|), and s = 1, or e for negative x.
 * 1.60 ULP (base 1.74) */
VEC vf vf_sigmoid(vf x)
{
    vf one = vf_set1(1.0f), e = vf_exp_fine_(vf_neg(vf_abs(x)));
    vf q = vf_div(e, vf_add(e, one)), s = vf_sel(vf_lt(x, vf_zero()), e, one);
    return vf_fnma(s, q, s);
}

/* x sigmoid(x).  2.68 ULP (base 2.73); below -87, where the sigmoid is flushed, 2e-36 absolute */
VEC vf vf_silu(vf x) { return vf_mul(vf_at_least(x, -128.0f), vf_sigmoid(x)); }

/* ---- roots ---------------------------------------------------------------------------------- */

/* 1 / sqrt(x): y (3 - x y^2) / 2 from y near it, where x y = h + h_err.  0.50 ULP (base 0.90) */
VEC vf vf_rsqrt(vf x)
{
    vf one = vf_set1(1.0f), h_err;
    vm low = vf_lt(x, one);                                /* away from what would be flushed */
    x = vf_sel(low, vf_mul(x, vf_set1(0x1p64f)), x);
    vf y = vf_div(one, vf_sqrt(x)), h = vf_two_prod(x, y, &h_err);
    vf rest = vf_fnma(h_err, y, vf_fnma(h, y, one));
    vf better = vf_fma(vf_mul(y, vf_set1(0.5f)), rest, y);
    y = vf_sel(vf_isnan(rest), y, better);                 /* 0, inf, negative */
    return vf_sel(low, vf_mul(y, vf_set1(0x1p32f)), y);
}

/* ---- logarithms ----------------------------------------------------------------------------- */

/* log(1 + f) + n ln 2 for f in [-1/4, 1/2] */
VEC vf vf_log_core_(vf f, vf n)
{
    vf z = vf_mul(f, f);
    vf p = VEC_POLY(f, 0.333333403f, -0.250001639f, 0.199995786f, -0.166553184f, 0.142767966f,
                    -0.127283499f, 0.116970457f, -0.0910697952f, 0.0376107246f);
    vf y = vf_fma(vf_mul(p, f), z, vf_mul(n, vf_set1(VEC_LN2_LO)));
    y = vf_fnma(z, vf_set1(0.5f), y);
    return vf_fma(n, vf_set1(VEC_LN2_HI), vf_add(f, y));
}

/* log(x) given its value r for 0 < x < inf: -inf at 0, NaN below, inf and NaN unchanged */
VEC vf vf_log_edges_(vf r, vf x)
{
    r = vf_sel(vf_lt(x, vf_set1(__builtin_inff())), r, x);
    r = vf_sel(vf_lt(x, vf_zero()), vf_set1(__builtin_nanf("")), r);
    return vf_sel(vf_eq(x, vf_zero()), vf_set1(-__builtin_inff()), r);
}

/* x = 2^n m with m in [3/4, 3/2) */
VEC vf vf_split_(vf x, vi *n)
{
    *n = vi_sar(vi_sub(vf_as_vi(x), vi_set1(0x3f400000)), 23);
    return vi_as_vf(vi_sub(vf_as_vi(x), vi_shl(*n, 23)));
}

/* log(x).  0.82 ULP (base 0.83) */
VEC vf vf_log(vf x)
{
    vi n;
    vf f = vf_sub(vf_split_(x, &n), vf_set1(1.0f));
    return vf_log_edges_(vf_log_core_(f, vi_to_vf(n)), x);
}

/* log(1 + x): what rounding took from u = 1 + x is added to f.  0.82 ULP (base 0.83) */
VEC vf vf_log1p(vf x)
{
    vf one = vf_set1(1.0f), u = vf_add(x, one);
    vi n;
    vf f = vf_sub(vf_split_(u, &n), one);
    vf scale = vi_as_vf(vi_sub(vi_set1(0x3f800000), vi_shl(n, 23)));       /* 2^-n */
    scale = vf_greater(scale, vf_set1(0x1p-126f));
    f = vf_fma(vf_sub(x, vf_sub(u, one)), scale, f);
    vf y = vf_copysign(vf_log_core_(f, vi_to_vf(n)), x);
    return vf_log_edges_(y, u);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + e), e = exp(-|x|).  1.65 ULP (base 1.70) */
VEC vf vf_softplus(vf x)
{
    vf one = vf_set1(1.0f), half = vf_set1(0.5f), e = vf_exp_fine_(vf_neg(vf_abs(x)));
    vm low = vf_lt(e, half);
    vf f = vf_sel(low, e, vf_fma(e, half, vf_neg(half)));
    return vf_add(vf_greater(vf_zero(), x), vf_log_core_(f, vf_sel(low, vf_zero(), one)));
}

/* erf(x): x P(x^2) below 0.84375, 1 - exp(P(|x|)) above.  1.70 ULP (base 1.77) */
VEC vf vf_erf(vf x)
{
    vf z = vf_mul(x, x), a = vf_abs(x);
    vf p = VEC_POLY(z, 5.42643122e-08f, -0.376125753f, 0.112827584f, -0.026804287f,
                    0.0050541088f, -0.000633334799f);
    vf small = vf_fma(x, p, vf_mul(x, vf_set1(1.12837911f)));
    vf l = VEC_POLY(vf_at_most(a, 4.0f), -9.39098609e-05f, -1.12810719f, -0.636437297f,
                    -0.104600891f, 0.0225567278f, -0.00312767271f, 0.000204712866f);
    vf large = vf_copysign(vf_sub(vf_set1(1.0f), vf_exp_low(l)), x);
    return vf_sel(vf_lt(a, vf_set1(0.84375f)), small, large);
}

/* ---- by intervals ---- |x| falls into one of 16, each with a polynomial of its own.
 * The loops take n vectors in step: each lookup waits for the one before, and VEC_STEP of them
 * together keep the core busy where there are registers for it. */
#define VEC_STEP (VEC_K == 1 ? 4 : 1)

/* c[0] + t (c[1] + ... + t c[degree]), each lane with the coefficients of its interval */
VEC void vf_pieces_(const float (*c)[16], int degree, const vi *interval, const vf *t, vf *p, int n)
{
    for (int j = 0; j < n; j++) p[j] = vf_pick(c[degree], interval[j]);
    for (int k = degree - 1; k >= 0; k--)
        for (int j = 0; j < n; j++) p[j] = vf_fma(p[j], t[j], vf_pick(c[k], interval[j]));
}

/* x[j] = tanh(x[j]), by the exponent of |x| + 5/8 and two more bits.  1.54 ULP (base 1.55) */
VEC void vf_tanh_n(vf *x, int n)
{
    vf t[VEC_STEP], y[VEC_STEP];
    vi interval[VEC_STEP];
    for (int j = 0; j < n; j++) {
        t[j] = vf_at_most(vf_abs(x[j]), 9.1f);
        interval[j] = vi_shr(vf_as_vi(vf_add(t[j], vf_set1(0.625f))), 21);
        t[j] = vf_sub(t[j], vf_pick(vec_tanh_table[0], interval[j]));
    }
    vf_pieces_(vec_tanh_table + 1, 5, interval, t, y, n);
    for (int j = 0; j < n; j++) x[j] = vf_copysign(y[j], x[j]);
}

/* f(|x|) by intervals around the multiples of 13/32; the last one is constant */
VEC void vf_even_(const float (*table)[16], int degree, const vf *x, vf *y, int n)
{
    vf t[VEC_STEP], round = vf_set1(0x1.8p23f);
    vi interval[VEC_STEP];
    for (int j = 0; j < n; j++) {
        vf a = vf_at_most(vf_abs(x[j]), 195.0f / 32), m = vf_fma(a, vf_set1(32.0f / 13), round);
        t[j] = vf_fnma(vf_sub(m, round), vf_set1(13.0f / 32), a);
        interval[j] = vf_as_vi(m);
    }
    vf_pieces_(table, degree, interval, t, y, n);
}

/* x F(x) = max(x, 0) - a F(-a) where a = |x| and F(-a) = 1 - F(a).  Halving keeps tiny results
 * right: both terms are flushed to zero, or none. */
VEC void vf_gate_(const float (*table)[16], vf *x, int n)
{
    vf y[VEC_STEP];
    vf_even_(table, 6, x, y, n);
    for (int j = 0; j < n; j++) {
        vf half = vf_mul(vf_greater(vf_set1(-0.0f), x[j]), vf_set1(0.5f));
        x[j] = vf_sub(vf_add(half, half), y[j]);
    }
}

/* F(x) + x F'(x) = 1/2 + an odd function */
VEC vf vf_gate_slope_(const float (*table)[16], vf x)
{
    vf y;
    vf_even_(table, 5, &x, &y, 1);
    return vf_add(vf_set1(0.5f), vf_copysign(y, x));
}

/* x Phi(x), Phi the normal distribution.  1.31 ULP (base 1.64) from -1 up, 1.2e-8 absolute
 * below. */
VEC void vf_gelu_n(vf *x, int n) { vf_gate_(vec_gelu_table, x, n); }
VEC vf vf_gelu_slope(vf x) { return vf_gate_slope_(vec_gelu_slope_table, x); }

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).  1.23 ULP (base 1.56) from -1 up, 1.4e-8
 * absolute below. */
VEC void vf_gelu_tanh_n(vf *x, int n) { vf_gate_(vec_gelu_tanh_table, x, n); }
VEC vf vf_gelu_tanh_slope(vf x) { return vf_gate_slope_(vec_gelu_tanh_slope_table, x); }

VEC vf vf_tanh(vf x) { vf_tanh_n(&x, 1); return x; }
VEC vf vf_gelu(vf x) { vf_gelu_n(&x, 1); return x; }
VEC vf vf_gelu_tanh(vf x) { vf_gelu_tanh_n(&x, 1); return x; }

/* ---- powers --------------------------------------------------------------------------------- */

/* log2(x) = hi + lo with about 32 bits, for normal x > 0 */
VEC vf vf_log2_wide_(vf x, vf *lo)
{
    vf one = vf_set1(1.0f), err;
    vi e = vi_sar(vi_sub(vf_as_vi(x), vi_set1(0x3f3504f3)), 23);
    vf m = vi_as_vf(vi_sub(vf_as_vi(x), vi_shl(e, 23)));         /* in [sqrt(1/2), sqrt(2)) */

    /* s + s_err = (m - 1) / (m + 1) */
    vf f = vf_sub(m, one), d = vf_add(m, one), d_err = vf_sub(m, vf_sub(d, one));
    vf inv = vf_div(one, d), s = vf_mul(f, inv), sd = vf_two_prod(s, d, &err);
    vf rest = vf_fnma(s, d_err, vf_sub(vf_sub(f, sd), err));
    vf s_err = vf_mul(rest, inv);

    /* atanh(s + s_err) = s + tail = s + s^3 P(s^2) + s_err (1 + s^2), the cube to first order */
    vf z_err, z = vf_two_prod(s, s, &z_err);
    vf cube_err, cube = vf_two_prod(s, z, &cube_err);
    vf p = VEC_POLY(z, 0.333333313f, 0.200004861f, 0.142493963f, 0.12139409f);
    cube_err = vf_mul(vf_fma(s, z_err, cube_err), vf_set1(1.0f / 3));
    vf tail = vf_fma(cube, p, vf_add(cube_err, vf_fma(s_err, z, s_err)));

    /* times 2 log2(e), plus e */
    vf scale = vf_set1(0x1.715476p1f), t = vf_two_prod(s, scale, &err);
    tail = vf_fma(s, vf_set1(0x1.4ae0cp-25f), vf_fma(tail, scale, err));
    vf n = vi_to_vf(e), h = vf_add(n, t);
    tail = vf_add(vf_sub(t, vf_sub(h, n)), tail);
    vf hi = vf_add(h, tail);
    *lo = vf_sub(tail, vf_sub(hi, h));
    return hi;
}

/* x^y, all special cases as in C99.  2.8 ULP (base 3.4) for the hardest: x near 1, results near the
 * ends of the range; on a sample. */
VEC vf vf_pow(vf x, vf y)
{
    vf zero = vf_zero(), one = vf_set1(1.0f), inf = vf_set1(__builtin_inff());
    vf a = vf_abs(x), lo, err, n;
    vf hi = vf_log2_wide_(a, &lo);
    hi = vf_sel(vf_eq(a, zero), vf_neg(inf), vf_sel(vf_lt(a, inf), hi, a));
    vf p = vf_two_prod(y, hi, &err);
    err = vf_fma(y, lo, err);
    err = vf_sel(vf_lt(vf_abs(p), vf_set1(200.0f)), err, zero);
    p = vf_at_most(vf_at_least(p, -200.0f), 200.0f);
    n = vf_rint(p);
    vf r = vf_add(vf_sub(p, n), err);
    vf w = vf_mul(r, VEC_POLY(r, 0.693147182f, 0.240226507f, 0.0555040501f, 0.00961808674f,
                              0.00133379514f, 0.000154521811f, 1.43294019e-05f));
    vf z = vf_scale2(vf_add(one, w), n);

    /* negative x: only for integers y, with the sign of odd ones */
    vf half_y = vf_mul(y, vf_set1(0.5f));
    vm whole = vf_eq(vf_rint(y), y);
    vm odd = vm_and(whole, vf_ne(vf_rint(half_y), half_y));
    z = vf_sel(odd, vf_copysign(z, x), z);
    vm bad = vm_and(vm_and(vf_lt(x, zero), vf_lt(a, inf)), vm_not(whole));
    z = vf_sel(bad, vf_set1(__builtin_nanf("")), z);
    /* x^0 = 1^y = (-1)^(+-inf) = 1, even for NaN */
    vm unit = vm_or(vf_eq(x, one), vm_and(vf_eq(a, one), vf_eq(vf_abs(y), inf)));
    return vf_sel(vm_or(unit, vf_eq(y, zero)), one, z);
}

/* s = sin(2 pi u), c = cos(2 pi u) for |u| < 2^20: u = k/4 + r, |r| <= 1/8.
 * 6.6e-8 absolute (base 7.1e-8) for u = k / 2^24 in [0, 1) */
VEC void vf_sincos2pi(vf u, vf *s, vf *c)
{
    vf k = vf_rint(vf_mul(u, vf_set1(4.0f)));
    vf r = vf_fnma(k, vf_set1(0.25f), u), z = vf_mul(r, r);
    vf sine = vf_mul(r, VEC_POLY(z, 6.28318501f, -41.341507f, 81.571701f, -74.615448f));
    vf cosine = VEC_POLY(z, 1.0f, -19.7392082f, 64.9391403f, -85.423111f, 58.5601883f);
    vi quadrant = vf_to_vi(k), two = vi_set1(2);
    vm swap = vi_eq(vi_and(quadrant, vi_set1(1)), vi_set1(1));
    vi s_sign = vi_shl(vi_and(quadrant, two), 30);
    vi c_sign = vi_shl(vi_and(vi_add(quadrant, vi_set1(1)), two), 30);
    *s = vi_as_vf(vi_xor(vf_as_vi(vf_sel(swap, cosine, sine)), s_sign));
    *c = vi_as_vf(vi_xor(vf_as_vi(vf_sel(swap, sine, cosine)), c_sign));
}

#endif
