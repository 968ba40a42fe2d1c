/*
 * plan.c: where the temporaries of a program lie.
 *
 * A temporary lives from the first call that touches it to the last.  Two that are alive at the same
 * call must not overlap, unless a kernel may write the one over the other; then they are placed as one
 * that lives as long as both.  Everything else may share memory.  Greedy by size: the largest is placed
 * first, each at the lowest place free for the whole of its life.  Larger ones first leaves few holes
 * (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020).
 */
#include <stdlib.h>

#include "fnn.h"

#define ALIGN 64
#define PAGE 4096
#define SKEW 64       /* bytes behind those of a page and more: streams should not share cache sets */

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

/* What a temporary takes of the arena. */
static int64_t room_for(int64_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN + (bytes >= PAGE ? SKEW : 0);
}

/* offset[i] for n temporaries; returns the bytes of the whole, or -1 when there is no memory for
 * the work.  The GIL is held: sort_bytes is safe. */
int64_t fnn_plan(int64_t n, const int64_t *bytes, const int64_t *first, const int64_t *last,
                 const int64_t *over, int64_t *offset)
{
    int64_t *work = malloc((size_t)(n + 1) * 3 * sizeof *work), total = 0, placed = 0;
    int64_t *order = work, *head = work + n, *end = work + 2 * n;    /* of the chain it belongs to */
    span *taken = malloc((size_t)(n + 1) * sizeof *taken);
    if (!work || !taken) {
        free(work);
        free(taken);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) {
        head[i] = over[i] < 0 ? i : head[over[i]];
        end[head[i]] = last[i];
        if (head[i] == i) order[placed++] = i;
    }
    sort_bytes = bytes;
    qsort(order, (size_t)placed, sizeof *order, by_size);
    for (int64_t k = 0; k < placed; k++) {
        const int64_t i = order[k], need = room_for(bytes[i]);
        int64_t met = 0, at = 0;
        for (int64_t q = 0; q < k; q++) {
            const int64_t j = order[q];
            if (first[j] <= end[i] && first[i] <= end[j])
                taken[met++] = (span){offset[j], offset[j] + room_for(bytes[j])};
        }
        qsort(taken, (size_t)met, sizeof *taken, by_begin);
        for (int64_t q = 0; q < met && taken[q].begin < at + need; q++)
            if (taken[q].end > at) at = taken[q].end;
        offset[i] = at;
        if (at + need > total) total = at + need;
    }
    for (int64_t i = 0; i < n; i++) offset[i] = offset[head[i]];
    free(work);
    free(taken);
    return total;
}
