/* vmath_ulp.h: what vmath_ulp.c, vmath_blocks.c and vmath_libm.c share. */
#ifndef VMATH_ULP_H
#define VMATH_ULP_H

enum { BLOCK = 4096 };
typedef void block_fn(const float *x, float *y);
typedef void libm_fn(const double *x, double *y);

enum {
#define FUNCTION(name, ulp, from, absolute, monotone) F_##name,
#include "functions.def"
#undef FUNCTION
    N_FUNCTIONS, F_POW = N_FUNCTIONS, F_SINCOS, N_BLOCKS
};

extern libm_fn *const libm_blocks[N_FUNCTIONS];

#endif
