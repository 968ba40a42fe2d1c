/*
 * sums.h: sums whose bits depend on the shape alone.
 *
 * A long sum is cut into slabs of fixed extent; each slab is added up in order, the slabs are then
 * combined two by two.  The number of slabs follows from the shape, never from the threads.
 */
#ifndef FNN_SUMS_H
#define FNN_SUMS_H

#include "fnn.h"
#include "parallel.h"
#include "vec.h"

#define SLAB_ROWS 64          /* rows added in order: short enough to share, long enough to stream */
#define SLABS_MAX 64

/* Slabs for a sum over `rows` whose partial results take `width` floats each. */
static inline int64_t slab_count(int64_t rows, int64_t width)
{
    int64_t room = FNN_SHARED_BYTES / (int64_t)sizeof(float) / (width > 0 ? width : 1);
    int64_t n = (rows + SLAB_ROWS - 1) / SLAB_ROWS;
    if (n > SLABS_MAX) n = SLABS_MAX;
    if (n > room) n = room;
    return n > 0 ? n : 1;
}

/* parts[0] += parts[1] + ... + parts[n-1], two by two.  parts: (n, width), columns j..j+cols. */
static inline void combine_slabs(float *parts, int64_t n, int64_t width, int64_t j, int cols)
{
    for (int64_t step = 1; step < n; step *= 2)
        for (int64_t i = 0; i + step < n; i += 2 * step) {
            float *a = parts + i * width + j;
            const float *b = parts + (i + step) * width + j;
            vf_store_n(a, vf_add(vf_load_n(a, cols), vf_load_n(b, cols)), cols);
        }
}

/* out[j] (+)= sum over i of x[i][j].  x: (rows, cols).  The whole team, barrier at the end. */
static inline void column_sums(const float *x, int64_t rows, int64_t cols, float *out, int acc,
                               const fnn_scratch *s)
{
    const int64_t slabs = slab_count(rows, cols), blocks = (cols + FNN_LANES - 1) / FNN_LANES;
    float *parts = slabs > 1 ? s->shared : out;
    const int direct = slabs == 1;
    FNN_FOR
    for (int64_t t = 0; t < slabs * blocks; t++) {
        const int64_t slab = t / blocks, j = t % blocks * FNN_LANES;
        const int n = cols - j < FNN_LANES ? (int)(cols - j) : FNN_LANES;
        vf sum = direct && acc ? vf_load_n(out + j, n) : vf_zero();
        for (int64_t i = rows * slab / slabs; i < rows * (slab + 1) / slabs; i++)
            sum = vf_add(sum, vf_load_n(x + i * cols + j, n));
        vf_store_n(parts + slab * cols + j, sum, n);
    }
    if (direct) return;
    FNN_FOR
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t j = b * FNN_LANES;
        const int n = cols - j < FNN_LANES ? (int)(cols - j) : FNN_LANES;
        combine_slabs(parts, slabs, cols, j, n);
        vf sum = vf_load_n(parts + j, n);
        vf_store_n(out + j, acc ? vf_add(vf_load_n(out + j, n), sum) : sum, n);
    }
}

#endif
