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

/* Blocks drawn together, and sets of counters that go through the rounds in step: each product waits
 * for the one before, so the more sets the better, where there are registers for them. */
#define PHILOX_TOGETHER (VEC_K == 1 ? 2 : 1)
#define PHILOX_STEP (VEC_K == 1 ? 4 : 1)

/* Ten rounds for the counters in the even lanes of n sets.  What the odd lanes hold, the upper halves
 * of products, no product reads. */
VEC void philox_rounds_(uint64_t seed, philox_words *set, int n)
{
    const vi m0 = vi_set1((int32_t)0xD2511F53u), m1 = vi_set1((int32_t)0xCD9E8D57u);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int j = 0; j < n; j++) {
            vi *c = set[j].w;
            const vi product0 = vi_mul_even(m0, c[0]), product1 = vi_mul_even(m1, c[2]);
            c[0] = vi_xor(vi_xor(vi_odd(product1), c[1]), vi_set1((int32_t)k0));
            c[1] = product1;
            c[2] = vi_xor(vi_xor(vi_odd(product0), c[3]), vi_set1((int32_t)k1));
            c[3] = product0;
        }
        k0 += 0x9E3779B9u;                 /* golden ratio */
        k1 += 0xBB67AE85u;                 /* sqrt(3) - 1  */
    }
}

/* The words of PHILOX_TOGETHER blocks from b on; block b has those of counts 16 b .. 16 b + 15.
 * Even and odd counts go apart, since a product of two lanes takes the room of two. */
VEC void philox_blocks(uint64_t seed, uint64_t offset, uint64_t b, philox_words *block)
{
    const vi c2 = vi_set1((int32_t)offset), c3 = vi_set1((int32_t)(offset >> 32));
    philox_words set[2 * PHILOX_TOGETHER];
    for (int j = 0; j < PHILOX_TOGETHER; j++) {
        const uint64_t count = (b + j) * FNN_LANES;
        const vi c0 = vi_add(vi_set1((int32_t)count), vi_iota());
        const vi c1 = vi_set1((int32_t)(count >> 32));
        set[2 * j] = (philox_words){{c0, c1, c2, c3}};
        set[2 * j + 1] = (philox_words){{vi_odd(c0), c1, c2, c3}};
    }
    for (int j = 0; j < 2 * PHILOX_TOGETHER; j += PHILOX_STEP)
        philox_rounds_(seed, set + j, PHILOX_STEP);
    for (int j = 0; j < PHILOX_TOGETHER; j++)
        for (int k = 0; k < 4; k++)
            block[j].w[k] = vi_even_pair(set[2 * j].w[k], set[2 * j + 1].w[k]);
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
