/*
 * op_random.h: draws from the counter-based generator of philox.h.
 *
 * A generator is two int64 in memory, (seed, offset).  A draw of any size reads both and moves the
 * offset on by one, so the same record run again draws fresh numbers, and what it drew follows from
 * the (seed, offset) it found; dropout saves that pair for its backward.
 */
#ifndef FNN_OP_RANDOM_H
#define FNN_OP_RANDOM_H

#include <math.h>

#include "philox.h"
#include "sums.h"

typedef struct { uint64_t seed, offset; } rng_key;

#define RNG_TASK 16                        /* blocks per iteration: 1024 numbers, about 1 us */

/* The key of this draw, and the generator one step on.  The whole team; barrier at the end.  The
 * step is one indivisible addition: two Python threads that draw at once get different offsets. */
static inline rng_key rng_next(int64_t *state, const fnn_scratch *s)
{
    rng_key *key = (rng_key *)s->shared;
    FNN_SINGLE
    {
        key->seed = (uint64_t)state[0];
        key->offset = (uint64_t)__atomic_fetch_add(state + 1, 1, __ATOMIC_RELAXED);
    }
    return *key;
}

/* How many of the 16 lanes at element i are among n. */
static inline int rng_lanes(int64_t i, int64_t n)
{
    return n > i ? lanes_of(n - i) : 0;
}

/* Runs `body` with w = the words of numbers i .. i + 63, for i = 0, 64, ... below n. */
#define RNG_FOR(n, key, i, w, ...)                                                          \
    do {                                                                                    \
        const int64_t blocks_ = ((n) + PHILOX_BLOCK - 1) / PHILOX_BLOCK;                    \
        FNN_FOR                                                                             \
        for (int64_t t_ = 0; t_ < blocks_; t_ += RNG_TASK)                                  \
            for (int64_t b_ = t_; b_ < smaller(blocks_, t_ + RNG_TASK); b_ += PHILOX_TOGETHER) { \
                philox_words drawn_[PHILOX_TOGETHER];                                       \
                philox_blocks((key).seed, (key).offset, (uint64_t)b_, drawn_);              \
                for (int d_ = 0; d_ < PHILOX_TOGETHER && b_ + d_ < blocks_; d_++) {         \
                    const philox_words w = drawn_[d_];                                      \
                    const int64_t i = (b_ + d_) * PHILOX_BLOCK;                             \
                    __VA_ARGS__                                                             \
                }                                                                           \
            }                                                                               \
    } while (0)

/* ---- uniform ---- y = low + (high - low) u, u in [0, 1).  state: (2), y: (n).
 * dim: n.  f: low, high.  Two roundings on every ISA, so that bits are the same on all. */

static void uniform_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0];
    const rng_key key = rng_next(c->buf[0], s);
    const vf low = vf_set1(c->f[0]), span = vf_set1(c->f[1] - c->f[0]);
    float *y = c->buf[1];
    RNG_FOR(n, key, i, r,
        for (int k = 0; k < 4; k++) {
            const vf u = philox_uniform(r.w[k]);
            const int64_t j = i + k * FNN_LANES;
            vf_put(y + j, vf_add(vf_mul(u, span), low), rng_lanes(j, n));
        });
}

/* ---- normal ---- y = mean + std z, z = sqrt(-2 log u) (cos, sin)(2 pi v): Box and Muller (1958).
 * state: (2), y: (n).  dim: n.  f: mean, std.  |z| < 6.8. */

static void normal_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0];
    const rng_key key = rng_next(c->buf[0], s);
    const vf mean = vf_set1(c->f[0]), std = vf_set1(c->f[1]);
    float *y = c->buf[1];
    RNG_FOR(n, key, i, r,
        for (int k = 0; k < 4; k += 2) {
            const vf u = philox_uniform_open(r.w[k]);
            const vf radius = vf_sqrt(vf_mul(vf_log(u), vf_set1(-2.0f)));
            const int64_t j = i + k * FNN_LANES;
            vf sine, cosine;
            vf_sincos2pi(philox_uniform(r.w[k + 1]), &sine, &cosine);
            vf_put(y + j, vf_fma(vf_mul(radius, cosine), std, mean), rng_lanes(j, n));
            vf_put(y + j + FNN_LANES, vf_fma(vf_mul(radius, sine), std, mean),
                       rng_lanes(j + FNN_LANES, n));
        });
}

/* ---- bernoulli ---- y = [u < p].  p: (n) or (1), state: (2), y: (n).  dim: n, stride of p. */

static void bernoulli_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0], stride = c->dim[1];
    const rng_key key = rng_next(c->buf[1], s);
    const float *p = c->buf[0];
    float *y = c->buf[2];
    RNG_FOR(n, key, i, r,
        for (int k = 0; k < 4; k++) {
            const int64_t j = i + k * FNN_LANES;
            const int lanes = rng_lanes(j, n);
            const vf q = stride ? vf_get(p + j, lanes) : vf_set1(*p);
            const vm hit = vf_lt(philox_uniform(r.w[k]), q);
            vf_put(y + j, vf_sel(hit, vf_set1(1.0f), vf_zero()), lanes);
        });
}

/* ---- randint ---- y = low + floor(range u), u a 64-bit fraction; range 0 means 2^64.
 * state: (2), y: (n) int64.  dim: n, low, range.  Each number takes two words: number e of a block
 * of 32 has word e for its low and word 32 + e for its high half.  Bias below range / 2^64. */

static void randint_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0];
    const uint64_t low = (uint64_t)c->dim[1], range = (uint64_t)c->dim[2];
    const rng_key key = rng_next(c->buf[0], s);
    int64_t *y = c->buf[1];
    RNG_FOR(2 * n, key, i, r,
        uint32_t word[PHILOX_BLOCK];
        memcpy(word, &r, sizeof word);
        for (int e = 0; e < PHILOX_BLOCK / 2 && i / 2 + e < n; e++) {
            const uint64_t bits = word[e] | (uint64_t)word[PHILOX_BLOCK / 2 + e] << 32;
            const uint64_t x = range ? (uint64_t)((unsigned __int128)bits * range >> 64) : bits;
            y[i / 2 + e] = (int64_t)(low + x);
        });
}

/* ---- dropout ---- y = x [u >= p] / (1 - p).  x: (n), state: (2), y: (n), key: (2) int64 saved.
 * dim: n.  f: p, 1 / (1 - p), the latter 0 for p = 1.  A product, so that NaN stays NaN. */

static inline void dropout_apply(const float *x, float *y, int64_t n, rng_key key, const float *f,
                                 int acc)
{
    const vf scale = vf_set1(f[1]);
    const vi below = vi_set1((int32_t)ceilf(f[0] * 0x1p24f) - 1);      /* u >= p: word / 256 > below */
    RNG_FOR(n, key, i, r,
        for (int k = 0; k < 4; k++) {
            const int64_t j = i + k * FNN_LANES;
            const int lanes = rng_lanes(j, n);
            const vm keep = vi_gt(vi_shr(r.w[k], 8), below);
            vf v = vf_mul(vf_get(x + j, lanes), vf_sel(keep, scale, vf_zero()));
            if (acc) v = vf_add(vf_get(y + j, lanes), v);
            vf_put(y + j, v, lanes);
        });
}

static void dropout_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const rng_key key = rng_next(c->buf[1], s);
    int64_t *saved = c->buf[3];
    FNN_SINGLE
    saved[0] = (int64_t)key.seed, saved[1] = (int64_t)key.offset;
    dropout_apply(c->buf[0], c->buf[2], c->dim[0], key, c->f, 0);
}

/* dx = dy [u >= p] / (1 - p), with the u of the saved key. */
static void dropout_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t *saved = c->buf[3];
    const rng_key key = {(uint64_t)saved[0], (uint64_t)saved[1]};
    (void)s;
    dropout_apply(c->grad[2], c->grad[0], c->dim[0], key, c->f, c->acc & 1);
}

#endif
