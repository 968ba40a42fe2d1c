/*
 * plan.c: where the temporaries of a program lie.
 *
 * A temporary lives from the first call that touches it to the last.  Two that are alive at the same
 * call must not overlap, unless a kernel may write the one over the other; then they are placed as one
 * that lives as long as both.  Everything else may share memory.  Greedy: one after the other, each at
 * the lowest place free for the whole of its life.  The largest first leaves few holes (Pisarchyk and
 * Lee, "Efficient memory management for deep neural net inference", 2020); in training the ones that
 * live longest first leave fewer, as what forward keeps for backward nests.  The better one counts.
 */
#include <stdlib.h>

#include "fnn.h"

#define ALIGN 64
#define PAGE 4096
#define SKEW 64       /* bytes behind those of a page and more: streams should not share cache sets */

/* A temporary, or a row of them each of which takes the place of the one before. */
typedef struct {
    int64_t number;
    int64_t room, first, last, offset;   /* bytes, calls, bytes */
} lot;

static int by_order(const lot *x, const lot *y)
{
    return x->number < y->number ? -1 : x->number > y->number;
}

static int by_size(const void *a, const void *b)
{
    const lot *x = a, *y = b;
    return x->room != y->room ? (x->room < y->room ? 1 : -1) : by_order(x, y);
}

static int by_life(const void *a, const void *b)
{
    const lot *x = a, *y = b;
    const int64_t s = x->last - x->first, t = y->last - y->first;
    return s != t ? (s < t ? 1 : -1) : by_size(a, b);
}

/* What a temporary takes of the arena. */
static int64_t room_for(int64_t bytes, int64_t skew)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN + (bytes >= PAGE ? skew : 0);
}

/* Gives each lot its offset, in their order; returns the bytes of the whole.  up: (n) for the lots
 * placed so far, lowest first. */
static int64_t place(lot *lots, int64_t n, int64_t *up)
{
    int64_t total = 0;
    for (int64_t k = 0; k < n; k++) {
        lot *a = &lots[k];
        int64_t at = 0, q;
        for (q = 0; q < k; q++) {
            const lot *b = &lots[up[q]];
            if (b->first > a->last || a->first > b->last) continue;
            if (b->offset >= at + a->room) break;
            if (b->offset + b->room > at) at = b->offset + b->room;
        }
        a->offset = at;
        for (q = k; q > 0 && lots[up[q - 1]].offset > at; q--) up[q] = up[q - 1];
        up[q] = k;
        if (at + a->room > total) total = at + a->room;
    }
    return total;
}

/* The lots of n temporaries, in order; returns how many.  lot_of: (n). */
static int64_t lots_of(int64_t n, const int64_t *bytes, const int64_t *first, const int64_t *last,
                       const int64_t *over, int64_t skew, lot *lots, int64_t *lot_of)
{
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++) {
        lot_of[i] = over[i] < 0 ? m++ : lot_of[over[i]];
        lot *a = &lots[lot_of[i]];
        if (over[i] < 0) *a = (lot){lot_of[i], room_for(bytes[i], skew), first[i], last[i], 0};
        a->last = last[i];
    }
    return m;
}

/* offset[i] for n temporaries; returns the bytes of the whole, or -1 when there is no memory for
 * the work.  If they are more than limit, streams may share cache sets. */
int64_t fnn_plan(int64_t n, const int64_t *bytes, const int64_t *first, const int64_t *last,
                 const int64_t *over, int64_t limit, int64_t *offset)
{
    static int (*const orders[])(const void *, const void *) = {by_size, by_life};
    int64_t *lot_of = malloc((size_t)(n + 1) * 3 * sizeof *lot_of), *work = lot_of + n, *at = work + n;
    lot *lots = malloc((size_t)(n + 1) * sizeof *lots);
    int64_t best = -1;
    for (int k = 0; lot_of && lots && k < 4 && (k != 2 || best > limit); k++) {
        const int64_t m = lots_of(n, bytes, first, last, over, k < 2 ? SKEW : 0, lots, lot_of);
        qsort(lots, (size_t)m, sizeof *lots, orders[k % 2]);
        const int64_t total = place(lots, m, work);
        if (best >= 0 && total >= best) continue;
        best = total;
        for (int64_t i = 0; i < m; i++) at[lots[i].number] = lots[i].offset;
        for (int64_t i = 0; i < n; i++) offset[i] = at[lot_of[i]];
    }
    free(lot_of);
    free(lots);
    return best;
}
