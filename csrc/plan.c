/*
 * plan.c: where the temporaries of a program lie.
 *
 * A temporary lives from the first call that touches it to the last.  Two that are alive at the same
 * call must not overlap; everything else may share memory.  Greedy by size: the largest is placed
 * first, each at the lowest place free for the whole of its life.  Larger ones first leaves few holes
 * (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
 */
#include <stdlib.h>

#include "fnn.h"

#define ALIGN 64
#define SKEW 64       /* bytes between neighbours, so that streams of 4 KiB multiples do not share cache sets */

typedef struct {
    int64_t begin, end;                  /* bytes */
} span;

static const int64_t *sort_bytes;

static int by_size(const void *a, const void *b)
{
    const int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    if (sort_bytes[i] != sort_bytes[j]) return sort_bytes[i] < sort_bytes[j] ? 1 : -1;
    return i < j ? -1 : i > j;
}

static int by_begin(const void *a, const void *b)
{
    const int64_t x = ((const span *)a)->begin, y = ((const span *)b)->begin;
    return x < y ? -1 : x > y;
}

/* offset[i] for n temporaries; returns the bytes of the whole, or -1 when there is no memory for
 * the work.  The GIL is held: sort_bytes is safe. */
int64_t fnn_plan(int64_t n, const int64_t *bytes, const int64_t *first, const int64_t *last,
                 int64_t *offset)
{
    int64_t *order = malloc((size_t)(n + 1) * sizeof *order), total = 0;
    span *taken = malloc((size_t)(n + 1) * sizeof *taken);
    if (!order || !taken) {
        free(order);
        free(taken);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) order[i] = i;
    sort_bytes = bytes;
    qsort(order, (size_t)n, sizeof *order, by_size);
    for (int64_t k = 0; k < n; k++) {
        const int64_t i = order[k], need = (bytes[i] + ALIGN - 1) / ALIGN * ALIGN + SKEW;
        int64_t met = 0, at = 0;
        for (int64_t q = 0; q < k; q++) {
            const int64_t j = order[q];
            if (first[j] <= last[i] && first[i] <= last[j])
                taken[met++] = (span){offset[j], offset[j] + (bytes[j] + ALIGN - 1) / ALIGN * ALIGN + SKEW};
        }
        qsort(taken, (size_t)met, sizeof *taken, by_begin);
        for (int64_t q = 0; q < met && taken[q].begin < at + need; q++)
            if (taken[q].end > at) at = taken[q].end;
        offset[i] = at;
        if (at + need > total) total = at + need;
    }
    free(order);
    free(taken);
    return total;
}
