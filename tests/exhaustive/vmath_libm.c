/*
 * vmath_libm.c: the true values, in double.  Where the C library has vector versions (glibc on
 * x86-64, within 4 units of the 53rd bit), the loops call those.
 */
#include "vmath_ulp.h"

#if defined(__x86_64__) && defined(__linux__)
#define VECTOR _Pragma("omp declare simd notinbranch")
#else
#define VECTOR
#endif
VECTOR double exp(double);
VECTOR double expm1(double);
VECTOR double log(double);
VECTOR double log1p(double);
VECTOR double tanh(double);
VECTOR double erf(double);
VECTOR double erfc(double);
double sqrt(double);

#define INF __builtin_inf()
#define ROOT_HALF 0x1.6a09e667f3bcdp-1
#define B 0.044715
#define K 0x1.988453308214bp+0                    /* 2 sqrt(2 / pi) */
#define ROOT_2PI 0x1.40d931ff62706p+1
#define SIGMOID(z) (1 / (1 + exp(-(z))))
#define LOW(x) ((x) < -1e30 ? -1e30 : (x))
#define BOUNDED(x) ((x) < -1e30 ? -1e30 : (x) > 1e30 ? 1e30 : (x))    /* keeps 0 inf away */

#define REFERENCE(name, ...)                                                                \
    static void name##_libm(const double *px, double *py)                                   \
    {                                                                                       \
        _Pragma("omp simd") for (int i = 0; i < BLOCK; i++)                                 \
        {                                                                                   \
            const double x = px[i];                                                         \
            py[i] = __VA_ARGS__;                                                            \
        }                                                                                   \
    }
REFERENCE(exp, exp(x))
REFERENCE(expm1, expm1(x))
REFERENCE(log, log(x))
REFERENCE(log1p, log1p(x))
REFERENCE(rsqrt, 1 / sqrt(x))
REFERENCE(tanh, tanh(x))
REFERENCE(sigmoid, SIGMOID(x))
REFERENCE(erf, erf(x))
REFERENCE(softplus, (x <= 0 ? 0 : x) + log1p(exp(x > 0 ? -x : x)))
REFERENCE(gelu, LOW(x) * 0.5 * erfc(-x * ROOT_HALF))
REFERENCE(gelu_tanh, LOW(x) * SIGMOID(K * (x + B * x * x * x)))
REFERENCE(silu, LOW(x) * SIGMOID(x))
REFERENCE(gelu_slope, 0.5 * erfc(-x * ROOT_HALF) + BOUNDED(x) * exp(-0.5 * x * x) / ROOT_2PI)
static inline double slope(double x, double s) { return s + x * s * (1 - s) * K * (1 + 3 * B * x * x); }
REFERENCE(gelu_tanh_slope, slope(BOUNDED(x), SIGMOID(K * (x + B * x * x * x))))

libm_fn *const libm_blocks[N_FUNCTIONS] = {
#define FUNCTION(name, ulp, from, absolute, monotone) name##_libm,
#include "functions.def"
#undef FUNCTION
};
