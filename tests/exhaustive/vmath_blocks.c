/*
 * vmath_blocks.c: the functions of csrc/vmath.h on blocks, compiled once for each ISA, named by
 * -DISA=<name>.
 */
#include "vmath_ulp.h"

#include "vmath.h"

#define FUNCTION(name, ulp, from, absolute, monotone)                                       \
    static void name##_block(const float *x, float *y)                                      \
    {                                                                                       \
        for (int i = 0; i < BLOCK; i += FNN_LANES) vf_store(y + i, vf_##name(vf_load(x + i))); \
    }
#include "functions.def"
#undef FUNCTION

/* x: pairs of BLOCK / 2 bases, then their exponents */
static void pow_block(const float *x, float *y)
{
    for (int i = 0; i < BLOCK / 2; i += FNN_LANES)
        vf_store(y + i, vf_pow(vf_load(x + i), vf_load(x + BLOCK / 2 + i)));
}

/* y: BLOCK / 2 sines, then their cosines */
static void sincos_block(const float *x, float *y)
{
    for (int i = 0; i < BLOCK / 2; i += FNN_LANES) {
        vf s, c;
        vf_sincos2pi(vf_load(x + i), &s, &c);
        vf_store(y + i, s);
        vf_store(y + BLOCK / 2 + i, c);
    }
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
block_fn *const JOIN(blocks_, ISA)[N_BLOCKS] = {
#define FUNCTION(name, ulp, from, absolute, monotone) name##_block,
#include "functions.def"
#undef FUNCTION
    pow_block, sincos_block,
};
