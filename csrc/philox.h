/*
 * philox.h: random numbers as a function of (seed, offset, element), with no state to carry along.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011).
 * The 64-bit seed is its key; its 128-bit counter is a 64-bit count of the elements of one draw and
 * the 64-bit offset of that draw in the stream.  16 lanes hold 16 consecutive counts, each gives
 * four words: word w of count k is number 64 (k / 16) + 16 w + k % 16 of the draw.  So any element
 * can be had alone, by any thread, and numbers are the same on every ISA.
 */
#ifndef FNN_PHILOX_H
#define FNN_PHILOX_H

#include "vec.h"

#define PHILOX_BLOCK (4 * FNN_LANES)       /* numbers of 16 counts */

typedef struct { vi w[4]; } philox_words;

/* The words of block b: those of counts 16 b .. 16 b + 15. */
VEC philox_words philox_block(uint64_t seed, uint64_t offset, uint64_t b)
{
    const uint64_t count = b * FNN_LANES;
    const vi m0 = vi_set1((int32_t)0xD2511F53u), m1 = vi_set1((int32_t)0xCD9E8D57u);
    vi c0 = vi_add(vi_set1((int32_t)count), vi_iota()), c1 = vi_set1((int32_t)(count >> 32));
    vi c2 = vi_set1((int32_t)offset), c3 = vi_set1((int32_t)(offset >> 32));
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const vi hi0 = vi_mulhi_u32(m0, c0), lo0 = vi_mul(m0, c0);
        const vi hi1 = vi_mulhi_u32(m1, c2), lo1 = vi_mul(m1, c2);
        c0 = vi_xor(vi_xor(hi1, c1), vi_set1((int32_t)k0));
        c1 = lo1;
        c2 = vi_xor(vi_xor(hi0, c3), vi_set1((int32_t)k1));
        c3 = lo0;
        k0 += 0x9E3779B9u;                 /* golden ratio */
        k1 += 0xBB67AE85u;                 /* sqrt(3) - 1  */
    }
    return (philox_words){{c0, c1, c2, c3}};
}

/* A multiple of 2^-24 in [0, 1): every float of that form, all alike. */
VEC vf philox_uniform(vi word)
{
    return vf_mul(vi_to_vf(vi_shr(word, 8)), vf_set1(0x1p-24f));
}

/* In (0, 1], of all 32 bits, so that small values come as finely as they can.  One rounding. */
VEC vf philox_uniform_open(vi word)
{
    vf hi = vf_mul(vi_to_vf(vi_shr(word, 16)), vf_set1(0x1p-16f));
    vf lo = vf_add(vi_to_vf(vi_and(word, vi_set1(0xffff))), vf_set1(0.5f));
    return vf_fma(lo, vf_set1(0x1p-32f), hi);
}

#endif
