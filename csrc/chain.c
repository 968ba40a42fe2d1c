/*
 * chain.c: records over the same rows, run tile by tile.
 *
 * Records that compute element by element, or row by row, need not walk all of memory one after the
 * other: a tile of rows goes through all of them while it is in cache, and what lives only between
 * them needs no memory but a tile of the thread's scratch.  The kernels are the records' own on
 * fewer rows, compiled for a thread alone (links.h); a row has the same bits alone and among others.
 */
#include <string.h>

#include "fnn.h"
#include "parallel.h"

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

const fnn_link_info fnn_link_ops[FNN_N_OPS] = {
#define LINK(name, kind, ...) [FNN_OP_##name] = {FNN_LINK_##kind, {__VA_ARGS__}},
#define LINK_NOGRAD LINK
#include "links.def"
#undef LINK
#undef LINK_NOGRAD
};

#define SLOTS(l) ((l)->call.n_in + (l)->call.n_out)

/* From row 0 to `row`, or as many rows on. */
static void move_rows(fnn_link *l, int64_t rows)
{
    for (int j = 0; j < SLOTS(l); j++) {
        l->call.buf[j] = (char *)l->call.buf[j] + rows * l->step[j];
        l->call.grad[j] = (float *)((char *)l->call.grad[j] + rows * l->step[FNN_SLOTS + j]);
    }
}

/* What lives in scratch has its place there, for every tile the same. */
static void settle(fnn_link *l, char *inner)
{
    for (int j = 0; j < SLOTS(l); j++) {
        if (l->inner >> j & 1) l->call.buf[j] = inner + (uintptr_t)l->call.buf[j];
        if (l->inner >> (FNN_SLOTS + j) & 1)
            l->call.grad[j] = (float *)(inner + (uintptr_t)l->call.grad[j]);
    }
}

/* The next tile's operands come nearer: the hardware would wait for the first lines of each. */
static void fetch_ahead(const fnn_link *l, int64_t rows)
{
    for (int j = 0; j < 2 * FNN_SLOTS; j++) {
        if (!(l->ahead >> j & 1)) continue;
        const char *p = j < FNN_SLOTS ? l->call.buf[j] : (char *)l->call.grad[j - FNN_SLOTS];
        const int64_t bytes = rows * l->step[j];
        for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(p + bytes + at, 0, 2);
    }
}

static void run_tiles(const fnn_isa *isa, const fnn_call *c, int64_t begin, int64_t end,
                      const fnn_scratch *s)
{
    const int64_t n_links = c->dim[0], rows = smaller(c->dim[1], end * c->dim[2]);
    const fnn_scratch own = {NULL, s->local};        /* links share nothing */
    char *inner = (char *)s->local + FNN_LOCAL_BYTES - FNN_CHAIN_BYTES;
    fnn_link *links = (fnn_link *)(inner + FNN_CHAIN_BYTES) - n_links, *last = links + n_links;
    int64_t row = begin * c->dim[2], block = 0;
    memcpy(links, c->buf[0], (size_t)n_links * sizeof *links);
    for (fnn_link *l = links; l < last; l++) {
        settle(l, inner);
        move_rows(l, row);
    }
    for (; row < rows; row += block) {
        block = smaller(c->dim[2], rows - row);
        for (fnn_link *l = links; l < last; l++) {
            if (rows - row >= 2 * block) fetch_ahead(l, block);
            l->call.dim[l->rows_at] = block * l->per_row;
            (l->backward ? isa->links->bwd : isa->links->fwd)[l->call.op](&l->call, &own);
            move_rows(l, block);
        }
    }
}

/* Every thread of the team takes its part of the tiles. */
void fnn_run_chain(const fnn_isa *isa, const fnn_call *c, const fnn_scratch *s)
{
    const int64_t tiles = (c->dim[1] + c->dim[2] - 1) / c->dim[2];
    const int64_t team = fnn_team_size(), rank = fnn_team_rank();
    run_tiles(isa, c, tiles * rank / team, tiles * (rank + 1) / team, s);
    FNN_BARRIER
}

double fnn_chain_cost_ns(const fnn_call *c)
{
    const fnn_link *links = c->buf[0];
    double ns = 0;
    for (int64_t i = 0; i < c->dim[0]; i++) ns += fnn_cost_ns(&links[i].call, links[i].backward);
    return ns;
}
