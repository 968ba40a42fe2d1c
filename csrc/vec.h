/*
 * vec.h: the vector type of all kernels, 16 virtual lanes on every instruction set.
 *
 * One vf is one AVX-512 register, two AVX2, or four SSE2 / NEON / plain-C ones, so loops, tails and
 * reduction trees are the same everywhere, and ISAs with FMA produce the same bits (NaN payloads
 * aside).  Base x86-64 has no FMA: vf_fma rounds twice there.
 *
 *   vf 16 floats, vi 16 int32 (arithmetic wraps), vm 16 booleans.
 *   The _n forms touch only the first n lanes of memory, 0 <= n <= 16; absent lanes read 0.
 *   Comparisons are IEEE: false for NaN, ne true.  vf_max/vf_min return NaN if either side is NaN.
 *
 * Lifting: each ISA defines the few q_... operations on one register that plain vector operators
 * cannot express; EACH(statement) repeats a statement for register k = 0 .. VEC_K-1.
 */
#ifndef FNN_VEC_H
#define FNN_VEC_H

#include <stdint.h>
#include <string.h>

#define FNN_LANES 16
#define VEC static inline __attribute__((always_inline))
#define VEC_TABLE static const float __attribute__((aligned(64)))

#if defined(__AVX512F__)
#include <immintrin.h>
#define VEC_K 1
#define EACH(...) VEC_AT(0, __VA_ARGS__)
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define VEC_K 2
#define EACH(...) VEC_AT(0, __VA_ARGS__) VEC_AT(1, __VA_ARGS__)
#else
#define VEC_K 4
#define EACH(...) VEC_AT(0, __VA_ARGS__) VEC_AT(1, __VA_ARGS__) \
                  VEC_AT(2, __VA_ARGS__) VEC_AT(3, __VA_ARGS__)
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#else
#include <math.h>
#endif
#endif

#if VEC_K < 4 || defined(__aarch64__)
#define VEC_FMA 1                          /* vf_fma rounds once */
#else
#define VEC_FMA 0
#endif
#define VEC_AT(i, ...) { enum { k = i }; __VA_ARGS__; }
#define VEC_W (FNN_LANES / VEC_K)          /* floats in one register */
#define VEC_BYTES (4 * VEC_W)

/* One register. */
typedef float qf __attribute__((vector_size(VEC_BYTES)));
typedef int32_t qs __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t qi __attribute__((vector_size(VEC_BYTES)));
typedef uint64_t ql __attribute__((vector_size(VEC_BYTES)));
typedef float qf_mem __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));
typedef uint32_t qi_mem __attribute__((vector_size(VEC_BYTES), aligned(4), may_alias));
#if VEC_K == 1
typedef __mmask16 qm;
#else
typedef qs qm;                             /* 0 or -1 */
#endif

typedef struct { qf v[VEC_K]; } vf;
typedef struct { qi v[VEC_K]; } vi;
typedef struct { qm v[VEC_K]; } vm;

/* ---- what differs between instruction sets --------------------------------------------------
 * q_greater(a,b) = a > b ? a : b and q_lesser(a,b) = a < b ? a : b, hence b if either is NaN.
 * q_half4/8(a): the lanes 4 / 8 apart exchanged.
 * q_mul_even(a,b): 64-bit products of the even lanes, the lower half first.
 * q_pick, q_pick8, q_pick4(t, i) = t[i & 15], t[i & 7], t[i & 3] of aligned floats. */

#if VEC_K == 1

VEC qf q_set1(float x) { return _mm512_set1_ps(x); }
VEC qf q_fma(qf a, qf b, qf c) { return _mm512_fmadd_ps(a, b, c); }
VEC qf q_fnma(qf a, qf b, qf c) { return _mm512_fnmadd_ps(a, b, c); }
VEC qf q_greater(qf a, qf b) { return _mm512_max_ps(a, b); }
VEC qf q_lesser(qf a, qf b) { return _mm512_min_ps(a, b); }
VEC qf q_sqrt(qf a) { return _mm512_sqrt_ps(a); }
VEC qf q_rint(qf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
VEC qf q_floor(qf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF); }
VEC qm q_lt(qf a, qf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
VEC qm q_le(qf a, qf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
VEC qm q_eq(qf a, qf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
VEC qm q_ne(qf a, qf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
VEC qm q_ieq(qi a, qi b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
VEC qm q_igt(qi a, qi b) { return _mm512_cmpgt_epi32_mask((__m512i)a, (__m512i)b); }
VEC qf q_sel(qm m, qf a, qf b) { return _mm512_mask_blend_ps(m, b, a); }
VEC qi q_to_i(qf a) { return (qi)_mm512_cvtps_epi32(a); }
VEC qi q_load_u8(const uint8_t *p) { return (qi)_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p)); }
VEC qi q_mul_even(qi a, qi b) { return (qi)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
VEC qf q_pick(const float *t, qi i) { return _mm512_permutexvar_ps((__m512i)i, _mm512_load_ps(t)); }
VEC qf q_pick8(const float *t, qi i)
{
    return _mm512_permutexvar_ps((__m512i)i, _mm512_broadcast_f32x8(_mm256_load_ps(t)));
}
VEC qf q_pick4(const float *t, qi i)
{
    return _mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_load_ps(t)), (__m512i)i);
}
VEC qf q_half8(qf a) { return _mm512_shuffle_f32x4(a, a, 0x4E); }
VEC qf q_half4(qf a) { return _mm512_shuffle_f32x4(a, a, 0xB1); }
VEC qf q_half2(qf a) { return _mm512_permute_ps(a, 0x4E); }
VEC qf q_half1(qf a) { return _mm512_permute_ps(a, 0xB1); }
VEC vm vm_first(int n) { return (vm){{(__mmask16)((1u << n) - 1)}}; }

#elif VEC_K == 2

VEC qf q_set1(float x) { return _mm256_set1_ps(x); }
VEC qf q_fma(qf a, qf b, qf c) { return _mm256_fmadd_ps(a, b, c); }
VEC qf q_fnma(qf a, qf b, qf c) { return _mm256_fnmadd_ps(a, b, c); }
VEC qf q_greater(qf a, qf b) { return _mm256_max_ps(a, b); }
VEC qf q_lesser(qf a, qf b) { return _mm256_min_ps(a, b); }
VEC qf q_sqrt(qf a) { return _mm256_sqrt_ps(a); }
VEC qf q_rint(qf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC qf q_floor(qf a) { return _mm256_floor_ps(a); }
VEC qf q_sel(qm m, qf a, qf b) { return _mm256_blendv_ps(b, a, (__m256)m); }
VEC qi q_to_i(qf a) { return (qi)_mm256_cvtps_epi32(a); }
VEC qi q_load_u8(const uint8_t *p) { return (qi)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p)); }
VEC qi q_mul_even(qi a, qi b) { return (qi)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
VEC qf q_pick(const float *t, qi i)
{
    __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(t), (__m256i)i);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(t + 8), (__m256i)i);
    return _mm256_blendv_ps(low, high, (__m256)(i << 28));
}
VEC qf q_pick8(const float *t, qi i)
{
    return _mm256_permutevar8x32_ps(_mm256_load_ps(t), (__m256i)i);
}
VEC qf q_pick4(const float *t, qi i)
{
    return _mm256_permutevar_ps(_mm256_broadcast_ps((const __m128 *)t), (__m256i)i);
}
VEC qf q_half4(qf a) { return _mm256_permute2f128_ps(a, a, 1); }
VEC qf q_half2(qf a) { return _mm256_permute_ps(a, 0x4E); }
VEC qf q_half1(qf a) { return _mm256_permute_ps(a, 0xB1); }

#else /* 128-bit registers */

VEC qf q_half2(qf a) { return (qf){a[2], a[3], a[0], a[1]}; }
VEC qf q_half1(qf a) { return (qf){a[1], a[0], a[3], a[2]}; }

VEC qi q_load_u8(const uint8_t *p) { return (qi){p[0], p[1], p[2], p[3]}; }
#if defined(__aarch64__) && !defined(__SSE2__)

VEC qf q_set1(float x) { return (qf)vdupq_n_f32(x); }
VEC qf q_fma(qf a, qf b, qf c)
{
    return (qf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
VEC qf q_fnma(qf a, qf b, qf c)
{
    return (qf)vfmsq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
VEC qf q_sqrt(qf a) { return (qf)vsqrtq_f32((float32x4_t)a); }
VEC qf q_rint(qf a) { return (qf)vrndnq_f32((float32x4_t)a); }
VEC qf q_floor(qf a) { return (qf)vrndmq_f32((float32x4_t)a); }
VEC qf q_sel(qm m, qf a, qf b)
{
    return (qf)vbslq_f32((uint32x4_t)m, (float32x4_t)a, (float32x4_t)b);
}
VEC qf q_greater(qf a, qf b) { return q_sel(a > b, a, b); }
VEC qf q_lesser(qf a, qf b) { return q_sel(a < b, a, b); }
VEC qi q_to_i(qf a) { return (qi)vcvtnq_s32_f32((float32x4_t)a); }
VEC qi q_mul_even(qi a, qi b)
{
    return (qi)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}
VEC qf q_pick(const float *t, qi i)
{
    qi at = (i & 15) * 0x04040404 + 0x03020100;      /* the four bytes of each */
    return (qf)vqtbl4q_u8(vld1q_u8_x4((const uint8_t *)t), (uint8x16_t)at);
}
VEC qf q_pick8(const float *t, qi i)
{
    qi at = (i & 7) * 0x04040404 + 0x03020100;
    return (qf)vqtbl2q_u8(vld1q_u8_x2((const uint8_t *)t), (uint8x16_t)at);
}
VEC qf q_pick4(const float *t, qi i)
{
    qi at = (i & 3) * 0x04040404 + 0x03020100;
    return (qf)vqtbl1q_u8(vld1q_u8((const uint8_t *)t), (uint8x16_t)at);
}

#else /* no FMA, no rounding instruction, no lookup */

VEC qf q_pick(const float *t, qi i)
{
    return (qf){t[i[0] & 15], t[i[1] & 15], t[i[2] & 15], t[i[3] & 15]};
}
VEC qf q_pick8(const float *t, qi i)
{
    return (qf){t[i[0] & 7], t[i[1] & 7], t[i[2] & 7], t[i[3] & 7]};
}
VEC qf q_pick4(const float *t, qi i)
{
    return (qf){t[i[0] & 3], t[i[1] & 3], t[i[2] & 3], t[i[3] & 3]};
}

VEC qf q_fma(qf a, qf b, qf c) { return a * b + c; }
VEC qf q_fnma(qf a, qf b, qf c) { return c - a * b; }
VEC qf q_sel(qm m, qf a, qf b) { return (qf)(((qm)a & m) | ((qm)b & ~m)); }
#if defined(__SSE2__)
VEC qf q_set1(float x) { return _mm_set1_ps(x); }
VEC qf q_greater(qf a, qf b) { return _mm_max_ps(a, b); }
VEC qf q_lesser(qf a, qf b) { return _mm_min_ps(a, b); }
VEC qf q_sqrt(qf a) { return _mm_sqrt_ps(a); }
VEC qi q_to_i(qf a) { return (qi)_mm_cvtps_epi32(a); }
VEC qi q_mul_even(qi a, qi b) { return (qi)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
VEC qf q_set1(float x) { return (qf){x, x, x, x}; }
VEC qf q_greater(qf a, qf b) { return q_sel(a > b, a, b); }
VEC qf q_lesser(qf a, qf b) { return q_sel(a < b, a, b); }
VEC qf q_sqrt(qf a) { return (qf){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
VEC qi q_to_i(qf a)
{
    return (qi)(qs){(int)lrintf(a[0]), (int)lrintf(a[1]), (int)lrintf(a[2]), (int)lrintf(a[3])};
}
VEC qi q_mul_even(qi a, qi b)
{
    const uint64_t p = (uint64_t)a[0] * b[0], q = (uint64_t)a[2] * b[2];
    return (qi){(uint32_t)p, (uint32_t)(p >> 32), (uint32_t)q, (uint32_t)(q >> 32)};
}
#endif
/* Adding 2^23 leaves no bits for a fraction; larger numbers are integers already. */
VEC qf q_rint(qf a)
{
    qi sign = (qi)a & 0x80000000u;
    qf big = q_set1(8388608.0f), mag = (qf)((qi)a & 0x7fffffffu);
    qf r = (qf)((qi)((mag + big) - big) | sign);
    return q_sel(mag < big, r, a);
}
VEC qf q_floor(qf a)
{
    qf r = q_rint(a);
    return r - (qf)((qm)(r > a) & (qm)q_set1(1.0f));
}
#endif
#endif /* 128-bit registers */

#if VEC_K > 1
VEC qm q_lt(qf a, qf b) { return a < b; }
VEC qm q_le(qf a, qf b) { return a <= b; }
VEC qm q_eq(qf a, qf b) { return a == b; }
VEC qm q_ne(qf a, qf b) { return a != b; }
VEC qm q_ieq(qi a, qi b) { return (qm)(a == b); }
VEC qm q_igt(qi a, qi b) { return (qs)a > (qs)b; }
#endif

/* ---- integers ------------------------------------------------------------------------------ */

VEC vi vi_set1(int32_t x) { vi r; EACH(r.v[k] = (qi){0} + (uint32_t)x) return r; }
VEC vi vi_load(const int32_t *p)
{
    vi r; EACH(r.v[k] = *(const qi_mem *)(p + VEC_W * k)) return r;
}
VEC void vi_store(int32_t *p, vi a) { EACH(*(qi_mem *)(p + VEC_W * k) = a.v[k]) }
VEC vi vi_iota(void)
{
    static const int32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return vi_load(lane);
}
VEC vi vi_add(vi a, vi b) { EACH(a.v[k] += b.v[k]) return a; }
VEC vi vi_sub(vi a, vi b) { EACH(a.v[k] -= b.v[k]) return a; }
VEC vi vi_mul(vi a, vi b) { EACH(a.v[k] *= b.v[k]) return a; }
VEC vi vi_and(vi a, vi b) { EACH(a.v[k] &= b.v[k]) return a; }
VEC vi vi_or(vi a, vi b) { EACH(a.v[k] |= b.v[k]) return a; }
VEC vi vi_xor(vi a, vi b) { EACH(a.v[k] ^= b.v[k]) return a; }
VEC vi vi_mul_even(vi a, vi b) { EACH(a.v[k] = q_mul_even(a.v[k], b.v[k])) return a; }
VEC vi vi_odd(vi a) { EACH(a.v[k] = (qi)((ql)a.v[k] >> 32)) return a; }   /* to the even places */
VEC vi vi_even_pair(vi a, vi b)                            /* the even lanes of a and b in turn */
{
    EACH(a.v[k] = (qi)(((ql)a.v[k] & 0xffffffffu) | (ql)b.v[k] << 32))
    return a;
}
VEC vi vi_shl(vi a, int n) { EACH(a.v[k] <<= n) return a; }
VEC vi vi_shr(vi a, int n) { EACH(a.v[k] >>= n) return a; }
VEC vi vi_sar(vi a, int n) { EACH(a.v[k] = (qi)((qs)a.v[k] >> n)) return a; }
VEC vm vi_eq(vi a, vi b) { vm r; EACH(r.v[k] = q_ieq(a.v[k], b.v[k])) return r; }
VEC vm vi_gt(vi a, vi b) { vm r; EACH(r.v[k] = q_igt(a.v[k], b.v[k])) return r; }

VEC vi vf_as_vi(vf a) { vi r; EACH(r.v[k] = (qi)a.v[k]) return r; }
VEC vf vi_as_vf(vi a) { vf r; EACH(r.v[k] = (qf)a.v[k]) return r; }
VEC vi vf_to_vi(vf a) { vi r; EACH(r.v[k] = q_to_i(a.v[k])) return r; }    /* needs |a| < 2^31 */
VEC vf vi_to_vf(vi a) { vf r; EACH(r.v[k] = __builtin_convertvector((qs)a.v[k], qf)) return r; }

/* Lanes t[i & 15] of 16 numbers, t[i & 7] of 8, t[i & 3] of 4: the fewer the cheaper. */
VEC vf vf_pick(const float *t, vi i) { vf r; EACH(r.v[k] = q_pick(t, i.v[k])) return r; }
VEC vf vf_pick8(const float *t, vi i) { vf r; EACH(r.v[k] = q_pick8(t, i.v[k])) return r; }
VEC vf vf_pick4(const float *t, vi i) { vf r; EACH(r.v[k] = q_pick4(t, i.v[k])) return r; }

/* ---- masks --------------------------------------------------------------------------------- */

#if VEC_K > 1
VEC vm vm_first(int n) { return vi_gt(vi_set1(n), vi_iota()); }
#endif
VEC vm vm_and(vm a, vm b) { EACH(a.v[k] &= b.v[k]) return a; }
VEC vm vm_or(vm a, vm b) { EACH(a.v[k] |= b.v[k]) return a; }
VEC vm vm_not(vm a) { EACH(a.v[k] = ~a.v[k]) return a; }

/* Bytes in memory: any nonzero byte is true, stored ones are 0 or 1. */
#if VEC_K == 1
VEC vm vm_load_u8(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)p);
    return (vm){{_mm_test_epi8_mask(b, b)}};
}
VEC vm vm_load_u8_n(const uint8_t *p, int n)
{
    __m128i b = _mm_maskz_loadu_epi8(vm_first(n).v[0], p);
    return (vm){{_mm_test_epi8_mask(b, b)}};
}
VEC void vm_store_u8(uint8_t *p, vm m)
{
    _mm_storeu_si128((__m128i *)p, _mm_maskz_set1_epi8(m.v[0], 1));
}
VEC void vm_store_u8_n(uint8_t *p, vm m, int n)
{
    _mm_mask_storeu_epi8(p, vm_first(n).v[0], _mm_maskz_set1_epi8(m.v[0], 1));
}
#else
#if defined(__SSE2__)
VEC vm vm_load_u8(const uint8_t *p)
{
    vm r;
    __m128i b = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)p), _mm_setzero_si128());
#if VEC_K == 2
    r.v[0] = (qm)_mm256_cvtepi8_epi32(b);
    r.v[1] = (qm)_mm256_cvtepi8_epi32(_mm_srli_si128(b, 8));
#else
    __m128i lo = _mm_unpacklo_epi8(b, b), hi = _mm_unpackhi_epi8(b, b);
    r.v[0] = (qm)_mm_unpacklo_epi16(lo, lo);
    r.v[1] = (qm)_mm_unpackhi_epi16(lo, lo);
    r.v[2] = (qm)_mm_unpacklo_epi16(hi, hi);
    r.v[3] = (qm)_mm_unpackhi_epi16(hi, hi);
#endif
    return vm_not(r);
}
VEC void vm_store_u8(uint8_t *p, vm m)
{
    __m128i w[4];
    memcpy(w, &m, sizeof w);
    __m128i b = _mm_packs_epi16(_mm_packs_epi32(w[0], w[1]), _mm_packs_epi32(w[2], w[3]));
    _mm_storeu_si128((__m128i *)p, _mm_and_si128(b, _mm_set1_epi8(1)));
}
#else
VEC vm vm_load_u8(const uint8_t *p)
{
    int32_t t[16];
    for (int i = 0; i < 16; i++) t[i] = p[i];
    return vm_not(vi_eq(vi_load(t), vi_set1(0)));
}
VEC void vm_store_u8(uint8_t *p, vm m)
{
    int32_t t[16];
    memcpy(t, &m, sizeof t);
    for (int i = 0; i < 16; i++) p[i] = t[i] & 1;
}
#endif
VEC vm vm_load_u8_n(const uint8_t *p, int n)
{
    uint8_t t[16] = {0};
    memcpy(t, p, (size_t)n);
    return vm_load_u8(t);
}
VEC void vm_store_u8_n(uint8_t *p, vm m, int n)
{
    uint8_t t[16];
    vm_store_u8(t, m);
    memcpy(p, t, (size_t)n);
}
#endif

/* ---- floats -------------------------------------------------------------------------------- */

VEC vf vf_set1(float x) { vf r; EACH(r.v[k] = q_set1(x)) return r; }
VEC vf vf_zero(void) { return vf_set1(0.0f); }
VEC vf vf_load(const float *p)
{
    vf r; EACH(r.v[k] = *(const qf_mem *)(p + VEC_W * k)) return r;
}
VEC void vf_store(float *p, vf a) { EACH(*(qf_mem *)(p + VEC_W * k) = a.v[k]) }

#if VEC_K == 1
VEC vf vf_load_n(const float *p, int n)
{
    return (vf){{_mm512_maskz_loadu_ps(vm_first(n).v[0], p)}};
}
VEC void vf_store_n(float *p, vf a, int n) { _mm512_mask_storeu_ps(p, vm_first(n).v[0], a.v[0]); }
#elif VEC_K == 2
VEC vf vf_load_n(const float *p, int n)
{
    vf r; vm m = vm_first(n);
    EACH(r.v[k] = _mm256_maskload_ps(p + VEC_W * k, (__m256i)m.v[k]))
    return r;
}
VEC void vf_store_n(float *p, vf a, int n)
{
    vm m = vm_first(n);
    EACH(_mm256_maskstore_ps(p + VEC_W * k, (__m256i)m.v[k], a.v[k]))
}
#else
VEC vf vf_load_n(const float *p, int n)
{
    float t[16] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return vf_load(t);
}
VEC void vf_store_n(float *p, vf a, int n)
{
    float t[16];
    vf_store(t, a);
    memcpy(p, t, (size_t)n * sizeof *p);
}
#endif

VEC vf vf_add(vf a, vf b) { EACH(a.v[k] += b.v[k]) return a; }
VEC vf vf_sub(vf a, vf b) { EACH(a.v[k] -= b.v[k]) return a; }
VEC vf vf_mul(vf a, vf b) { EACH(a.v[k] *= b.v[k]) return a; }
VEC vf vf_div(vf a, vf b) { EACH(a.v[k] /= b.v[k]) return a; }
VEC vf vf_fma(vf a, vf b, vf c) { EACH(a.v[k] = q_fma(a.v[k], b.v[k], c.v[k])) return a; }
VEC vf vf_fnma(vf a, vf b, vf c) { EACH(a.v[k] = q_fnma(a.v[k], b.v[k], c.v[k])) return a; }
VEC vf vf_sqrt(vf a) { EACH(a.v[k] = q_sqrt(a.v[k])) return a; }
VEC vf vf_rint(vf a) { EACH(a.v[k] = q_rint(a.v[k])) return a; }            /* nearest even */
VEC vf vf_floor(vf a) { EACH(a.v[k] = q_floor(a.v[k])) return a; }
VEC vf vf_neg(vf a) { EACH(a.v[k] = -a.v[k]) return a; }
VEC vf vf_abs(vf a) { EACH(a.v[k] = (qf)((qi)a.v[k] & 0x7fffffffu)) return a; }
VEC vf vf_copysign(vf a, vf s)
{
    EACH(a.v[k] = (qf)(((qi)a.v[k] & 0x7fffffffu) | ((qi)s.v[k] & 0x80000000u)))
    return a;
}

VEC vm vf_lt(vf a, vf b) { vm r; EACH(r.v[k] = q_lt(a.v[k], b.v[k])) return r; }
VEC vm vf_le(vf a, vf b) { vm r; EACH(r.v[k] = q_le(a.v[k], b.v[k])) return r; }
VEC vm vf_gt(vf a, vf b) { return vf_lt(b, a); }
VEC vm vf_ge(vf a, vf b) { return vf_le(b, a); }
VEC vm vf_eq(vf a, vf b) { vm r; EACH(r.v[k] = q_eq(a.v[k], b.v[k])) return r; }
VEC vm vf_ne(vf a, vf b) { vm r; EACH(r.v[k] = q_ne(a.v[k], b.v[k])) return r; }
VEC vm vf_isnan(vf a) { return vf_ne(a, a); }
VEC vf vf_sel(vm m, vf a, vf b) { EACH(a.v[k] = q_sel(m.v[k], a.v[k], b.v[k])) return a; }
VEC vi vi_sel(vm m, vi a, vi b) { return vf_as_vi(vf_sel(m, vi_as_vf(a), vi_as_vf(b))); }

/* a > b ? a : b and a < b ? a : b, hence b if either is NaN: one instruction on x86. */
VEC vf vf_greater(vf a, vf b) { EACH(a.v[k] = q_greater(a.v[k], b.v[k])) return a; }
VEC vf vf_lesser(vf a, vf b) { EACH(a.v[k] = q_lesser(a.v[k], b.v[k])) return a; }
VEC vf vf_max(vf a, vf b) { return vf_sel(vf_isnan(a), a, vf_greater(a, b)); }
VEC vf vf_min(vf a, vf b) { return vf_sel(vf_isnan(a), a, vf_lesser(a, b)); }

/* x * 2^floor(n) with one rounding, for n in [-252, 255). */
VEC vf vf_scale2(vf x, vf n)
{
#if VEC_K == 1
    return (vf){{_mm512_scalef_ps(x.v[0], n.v[0])}};
#else
    vi i = vf_to_vi(vf_floor(n)), half = vi_sar(i, 1), one = vi_set1(0x3f800000);
    vf a = vi_as_vf(vi_add(vi_shl(half, 23), one));
    vf b = vi_as_vf(vi_add(vi_shl(vi_sub(i, half), 23), one));
    return vf_mul(vf_mul(x, a), b);
#endif
}

/* Horizontal reductions, one tree on all ISAs: lanes i + 8, then + 4, + 2, + 1. */
#define VEC_REDUCE(name, op)                                                                \
    VEC float name(vf a)                                                                    \
    {                                                                                       \
        qf r = VEC_FOLD(op);                                                                \
        r = op(r, q_half2(r));                                                              \
        r = op(r, q_half1(r));                                                              \
        return r[0];                                                                        \
    }
VEC qf q_add(qf a, qf b) { return a + b; }
VEC qf q_max(qf a, qf b) { return q_sel(q_ne(a, a), a, q_greater(a, b)); }
VEC qf q_min(qf a, qf b) { return q_sel(q_ne(a, a), a, q_lesser(a, b)); }
#if VEC_K == 1
#define VEC_FOLD(op) op(op(a.v[0], q_half8(a.v[0])), q_half4(op(a.v[0], q_half8(a.v[0]))))
#elif VEC_K == 2
#define VEC_FOLD(op) op(op(a.v[0], a.v[1]), q_half4(op(a.v[0], a.v[1])))
#else
#define VEC_FOLD(op) op(op(a.v[0], a.v[2]), op(a.v[1], a.v[3]))
#endif
VEC_REDUCE(vf_hsum, q_add)
VEC_REDUCE(vf_hmax, q_max)
VEC_REDUCE(vf_hmin, q_min)

/* 16 bytes, 0 .. 255, as floats; of the last only the first n are read. */
VEC vf vf_load_u8(const uint8_t *p)
{
    vi r;
    EACH(r.v[k] = q_load_u8(p + VEC_W * k))
    return vi_to_vf(r);
}
VEC vf vf_load_u8_n(const uint8_t *p, int n)
{
    uint8_t t[FNN_LANES] = {0};
    for (int i = 0; i < n; i++) t[i] = p[i];
    return vf_load_u8(t);
}

#endif
