/*
 * op_cast.h: elements as another type.
 *
 * Float to integer cuts the fraction off, stops at the ends of the range, and makes NaN 0; integer
 * to integer keeps the low bits.  The gradient of every float type is float32.
 */
#ifndef FNN_OP_CAST_H
#define FNN_OP_CAST_H

#include <math.h>

#include "elementwise.h"

enum {
    CAST_FLOAT, CAST_INT64, CAST_INT32, CAST_UINT8, CAST_BOOL, CAST_COMPUTING,
    CAST_DOUBLE = CAST_COMPUTING, CAST_HALF, CAST_INT8, CAST_INT16
};

/* low <= x < beyond fits into the type */
#define FLOAT_TO(from, type, low, beyond, high)                                                \
    static inline type##_t from##_to_##type(from x)                                            \
    {                                                                                          \
        if (!(x > (low))) return x == x ? (type##_t)(low) : 0;                                 \
        return x < (beyond) ? (type##_t)x : (high);                                            \
    }
FLOAT_TO(float, int64, -0x1p63f, 0x1p63f, INT64_MAX)
FLOAT_TO(float, int32, -0x1p31f, 0x1p31f, INT32_MAX)
FLOAT_TO(float, uint8, 0.0f, 0x1p8f, UINT8_MAX)
FLOAT_TO(double, int64, -0x1p63, 0x1p63, INT64_MAX)
FLOAT_TO(double, int32, -0x1p31, 0x1p31, INT32_MAX)
FLOAT_TO(double, uint8, 0.0, 0x1p8, UINT8_MAX)
FLOAT_TO(double, int8, -0x1p7, 0x1p7, INT8_MAX)
FLOAT_TO(double, int16, -0x1p15, 0x1p15, INT16_MAX)

/* binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction. */
static inline double half_to_double(uint16_t h)
{
    const uint64_t exponent = h >> 10 & 31, fraction = h & 1023, sign = (uint64_t)(h >> 15) << 63;
    uint64_t bits = (exponent == 31 ? 2047 : exponent + 1008) << 52 | fraction << 42 | sign;
    double x;
    memcpy(&x, &bits, sizeof x);
    return exponent ? x : (sign ? -0x1p-24 : 0x1p-24) * (double)fraction;
}

/* The nearest one, the even one of two. */
static inline uint16_t double_to_half(double x)
{
    const double size = fabs(x);
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    const unsigned sign = (unsigned)(bits >> 63) << 15;
    bits &= UINT64_MAX >> 1;
    if (size != size) return (uint16_t)(sign | 0x7e00);
    if (size >= 65520.0) return (uint16_t)(sign | 0x7c00);
    if (size < 0x1p-14) return (uint16_t)(sign | (unsigned)rint(size * 0x1p24));
    bits += (1ull << 41) - 1 + (bits >> 42 & 1);
    return (uint16_t)(sign | (unsigned)((bits >> 42) - (1008 << 10)));
}

/* ---- between the types that compute: a loop for each pair ---- */

#define CAST(from, to, from_type, to_type, Y)                                                  \
    case from * CAST_COMPUTING + to: {                                                         \
        const from_type *px = c->buf[0];                                                       \
        to_type *py = c->buf[1];                                                               \
        FNN_FOR                                                                                \
        for (int64_t b = 0; b < (n + GRAIN - 1) / GRAIN; b++)                                  \
            for (int64_t i = b * GRAIN; i < smaller(n, (b + 1) * GRAIN); i++) {                \
                const from_type x = px[i];                                                     \
                py[i] = Y;                                                                     \
            }                                                                                  \
        break;                                                                                 \
    }
#define CAST_INTEGER(from, type)                                                               \
    CAST(from, CAST_FLOAT, type, float, (float)x)                                              \
    CAST(from, CAST_INT64, type, int64_t, (int64_t)x)                                          \
    CAST(from, CAST_INT32, type, int32_t, (int32_t)(uint32_t)x)                                \
    CAST(from, CAST_UINT8, type, uint8_t, (uint8_t)x)                                          \
    CAST(from, CAST_BOOL, type, uint8_t, x != 0)

static void cast_computing(const fnn_call *c)
{
    const int64_t n = c->dim[0];
    switch (c->dim[1] * CAST_COMPUTING + c->dim[2]) {
    CAST(CAST_FLOAT, CAST_FLOAT, float, float, x)
    CAST(CAST_FLOAT, CAST_INT64, float, int64_t, float_to_int64(x))
    CAST(CAST_FLOAT, CAST_INT32, float, int32_t, float_to_int32(x))
    CAST(CAST_FLOAT, CAST_UINT8, float, uint8_t, float_to_uint8(x))
    CAST(CAST_FLOAT, CAST_BOOL, float, uint8_t, x != 0)
    CAST_INTEGER(CAST_INT64, int64_t)
    CAST_INTEGER(CAST_INT32, int32_t)
    CAST_INTEGER(CAST_UINT8, uint8_t)
    CAST_INTEGER(CAST_BOOL, uint8_t)
    }
}

/* ---- from or to a type that only stores: through double or int64, which hold every value ---- */

enum { CAST_BLOCK = 256 };
typedef struct {
    int floating;                               /* which of the two is filled */
    double f[CAST_BLOCK];
    int64_t i[CAST_BLOCK];
} cast_block;

#define READ(type, from, field, X)                                                             \
    case type: {                                                                               \
        const from *p = (const from *)x + at;                                                  \
        for (int k = 0; k < n; k++) b->field[k] = X;                                           \
        break;                                                                                 \
    }

static void cast_read(cast_block *b, int64_t type, const void *x, int64_t at, int n)
{
    b->floating = type == CAST_FLOAT || type == CAST_DOUBLE || type == CAST_HALF;
    switch (type) {
    READ(CAST_FLOAT, float, f, p[k])
    READ(CAST_DOUBLE, double, f, p[k])
    READ(CAST_HALF, uint16_t, f, half_to_double(p[k]))
    READ(CAST_INT64, int64_t, i, p[k])
    READ(CAST_INT32, int32_t, i, p[k])
    READ(CAST_INT16, int16_t, i, p[k])
    READ(CAST_INT8, int8_t, i, p[k])
    READ(CAST_UINT8, uint8_t, i, p[k])
    READ(CAST_BOOL, uint8_t, i, p[k])
    }
}

#define WRITE_FROM(type, values, Y)                                                            \
    for (int k = 0; k < n; k++) {                                                              \
        const type v = values[k];                                                              \
        p[k] = Y;                                                                              \
    }
#define WRITE(type, to, from_double, from_int64)                                               \
    case type: {                                                                               \
        to *p = (to *)y + at;                                                                  \
        if (b->floating) WRITE_FROM(double, b->f, from_double)                                 \
        else WRITE_FROM(int64_t, b->i, from_int64)                                             \
        break;                                                                                 \
    }

static void cast_write(const cast_block *b, int64_t type, void *y, int64_t at, int n)
{
    switch (type) {
    WRITE(CAST_FLOAT, float, (float)v, (float)v)
    WRITE(CAST_DOUBLE, double, v, (double)v)
    WRITE(CAST_HALF, uint16_t, double_to_half(v), double_to_half((double)v))
    WRITE(CAST_INT64, int64_t, double_to_int64(v), v)
    WRITE(CAST_INT32, int32_t, double_to_int32(v), (int32_t)(uint32_t)v)
    WRITE(CAST_INT16, int16_t, double_to_int16(v), (int16_t)(uint16_t)v)
    WRITE(CAST_INT8, int8_t, double_to_int8(v), (int8_t)(uint8_t)v)
    WRITE(CAST_UINT8, uint8_t, double_to_uint8(v), (uint8_t)v)
    WRITE(CAST_BOOL, uint8_t, v != 0, v != 0)
    }
}

/* y = x as another type.  x, y: (n).  dim: n, type of x, type of y. */
static void cast_fwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0];
    (void)s;
    if (c->dim[1] < CAST_COMPUTING && c->dim[2] < CAST_COMPUTING) {
        cast_computing(c);
        return;
    }
    FNN_FOR
    for (int64_t task = 0; task < (n + GRAIN - 1) / GRAIN; task++) {
        const int64_t end = smaller(n, (task + 1) * GRAIN);
        for (int64_t at = task * GRAIN; at < end; at += CAST_BLOCK) {
            const int m = (int)smaller(CAST_BLOCK, end - at);
            cast_block b;
            cast_read(&b, c->dim[1], c->buf[0], at, m);
            cast_write(&b, c->dim[2], c->buf[1], at, m);
        }
    }
}

/* dx = dy, from any float type to any other: what their gradients are held in is float32. */
static void cast_bwd(const fnn_call *c, const fnn_scratch *s)
{
    const int64_t n = c->dim[0];
    const float *dy = c->grad[1];
    float *dx = c->grad[0];
    (void)s;
    FOR_VECTORS(n, i) {
        const int m = lanes_of(n - i);
        const vf d = vf_get(dy + i, m);
        vf_put(dx + i, c->acc & 1 ? vf_add(vf_get(dx + i, m), d) : d, m);
    }
}

#endif
