/*
 * fnn.h: the record that carries everything, and the rules every kernel keeps.
 *
 * One kernel launch is one fnn_call.  Eager execution runs one record, the tape is the array of
 * records already run, backward walks the same array in reverse with grad[] filled, replay keeps
 * the array.  No other part of the engine knows what an op computes.
 *
 * A kernel
 *   - is a function of a record and scratch memory; it never allocates, locks, fails or calls Python;
 *   - trusts its record: sizes, strides and indices were checked before the record was made;
 *   - runs inside a team of threads (possibly of one): work is shared with FNN_FOR, whose implicit
 *     barrier also orders one record after the other; it reads no operand after its last barrier,
 *     unless it has none at all;
 *   - in backward may use the gradient of its outputs as scratch if its row says SPENDS_DY;
 *   - splits work over outputs, and reduces by fixed-size chunks and a fixed tree, so that its
 *     bits do not depend on the number of threads.
 */
#ifndef FNN_H
#define FNN_H

#include <stddef.h>
#include <stdint.h>

#define FNN_SLOTS 12
#define FNN_DIMS 17

typedef struct {
    uint16_t op;              /* row of ops.def                                          */
    uint16_t n_in, n_out;     /* slots: inputs, then outputs (the saved ones last)       */
    uint16_t acc;             /* bit j: backward adds to grad[j] instead of storing      */
    void *buf[FNN_SLOTS];     /* forward operands                                        */
    float *grad[FNN_SLOTS];   /* same slots; NULL = this gradient is not wanted          */
    int64_t dim[FNN_DIMS];    /* sizes and strides, documented at the kernel             */
    float f[4];               /* true constants only: eps, slope, scale                  */
} fnn_call;

/* Scratch memory of one run.  Contents are garbage at entry and lost at exit of each kernel. */
#define FNN_SHARED_BYTES (4 << 20)
#define FNN_LOCAL_BYTES (2 << 20)
typedef struct {
    float *shared;            /* FNN_SHARED_BYTES, one block for the whole team          */
    float *local;             /* FNN_LOCAL_BYTES, this thread's own                      */
} fnn_scratch;

typedef void (*fnn_kernel)(const fnn_call *c, const fnn_scratch *s);

/* Row ids, in the order of ops.def. */
enum {
#define OP(name, diff, needs, writes, flops, bytes) FNN_OP_##name,
#define OP_NOGRAD(name, writes, flops, bytes) FNN_OP_##name,
#include "ops.def"
#undef OP
#undef OP_NOGRAD
    FNN_N_OPS,
    FNN_CHAIN = FNN_N_OPS     /* a record made of records, see chain.c                   */
};

/* What is true of an op on every ISA. */
typedef struct {
    const char *name;
    uint32_t diff;            /* bit j: the backward kernel fills grad[j] of input j; bit 16 + j:
                                 slot j, a saved output, may become the memory of grad[0];
                                 bit 28: it overwrites the gradients of outputs           */
    uint32_t writes;          /* bit j: the forward kernel changes input j in place      */
    uint64_t needs;           /* bit j: the backward kernel reads buf[j]; bits 16(i+1) + j:
                                 it does so only for the gradient of input i, i < 3      */
} fnn_op_info;
extern const fnn_op_info fnn_ops[FNN_N_OPS + 1];      /* FNN_CHAIN last */
/* In `writes`, see ops.def. */
enum { FNN_IN_PLACE = 0x10000, FNN_IN_PLACE_BWD = 0x20000, FNN_COMPUTES = 0x40000 };
#define GRAD_IN(slot) (1u << (16 + (slot)))
#define SPENDS_DY (1u << 28)
#define FOR_GRAD(i, slots) ((uint64_t)(slots) << 16 * ((i) + 1))
unsigned fnn_needs(int op, unsigned want);  /* slots that backward reads for the gradients wanted */
double fnn_flops(const fnn_call *c);   /* arithmetic of the forward record               */
double fnn_bytes(const fnn_call *c);   /* its minimum memory traffic                     */

/* What roof.h measures. */
enum { FNN_ROOF_FMA, FNN_ROOF_READ, FNN_ROOF_TRIAD, FNN_ROOF_UPDATE };

/* The kernels of one ISA, and those of links.def for a thread that works alone. */
typedef struct {
    fnn_kernel fwd[FNN_N_OPS], bwd[FNN_N_OPS];
} fnn_links;
typedef struct {
    const char *name;
    fnn_kernel fwd[FNN_N_OPS];
    fnn_kernel bwd[FNN_N_OPS];         /* NULL where the op has no gradient              */
    const fnn_links *links;
    float (*roof)(int kind, float *x, int64_t n, int64_t repeats);   /* see roof.h       */
    int roof_flops;                    /* of one iteration of ROOF_FMA                   */
} fnn_isa;

/* cpu.c: the ISA in use.  All of those this machine can run are listed, best first. */
int fnn_isa_count(void);
const char *fnn_isa_name(int i);
int fnn_isa_select(const char *name);  /* 0, or -1 if this machine cannot run it         */
const fnn_isa *fnn_isa_active(void);

/* run.c: run n records in order (backward: in the order given, their backward kernels).
 * Returns 0, or -1 when scratch memory could not be had; nothing has run then. */
int fnn_run(const fnn_call *calls, int64_t n, int backward, int n_threads);
/* A run that need not be finished: the calling thread asks `look` every now and then, also in the
 * middle of long products.  When it says so, the call at hand is left as it is, and no other runs. */
typedef struct {
    int (*look)(void);        /* nonzero: stop                                           */
    double every;             /* ns between two looks, and the least work of a call looked into */
    int64_t until;            /* calls from this one on are always finished              */
    int64_t begun;            /* the calls that had begun when it stopped; 0 = it did not */
    double latest;            /* look, ns                                                */
} fnn_watch;

/* The same for a list of forward and backward calls (which[i] = 1), whose costs are known; watch may
 * be NULL. */
int fnn_replay(const fnn_call *calls, const unsigned char *which, const float *costs, int64_t n,
               int n_threads, fnn_watch *watch);
double fnn_cost_ns(const fnn_call *c, int backward);  /* estimated time on one core       */
void fnn_time_records(double *begin_end);  /* this thread's runs write here when each of their
                                          records began and ended, by this clock; NULL = nowhere */
double fnn_clock_ns(void);
void fnn_always_team(int on);          /* tests: no record is too small for a team         */
double fnn_roof(int kind, float *x, int64_t n, int64_t repeats, int n_threads);  /* flops or bytes
                                          done by a team, each thread on its part of x[0..n) */
unsigned fnn_fp_mode(void);            /* the calling thread's floating-point control word */
int fnn_grad_mode(int set);            /* thread-local: -1 reads, 0/1 sets; returns the old value */

/* chain.c: records over the same rows, run tile by tile.  The chain is a record, too: op = FNN_CHAIN,
 * buf[0] = its links, dim: links, rows, rows of a tile. */
typedef struct {
    fnn_call call;            /* its operands at row 0                                   */
    int backward;
    int rows_at;              /* dim[rows_at] counts rows, and holds per_row of each     */
    int64_t per_row;
    int64_t step[2 * FNN_SLOTS];      /* bytes from row to row, of buf[], then of grad[];
                                         0 = the same for all                            */
    uint32_t inner;           /* bit j, in this order: lives in scratch, at this offset  */
    uint32_t ahead;           /* bit j: no link before this one touches it               */
} fnn_link;
enum { FNN_NO_LINK, FNN_LINK_FLAT, FNN_LINK_PAIR, FNN_LINK_CHOICE, FNN_LINK_ROWS };
typedef struct {
    uint8_t kind;             /* what its dim mean, see links.def                        */
    uint8_t size[FNN_SLOTS];  /* bytes of an element of each slot                        */
} fnn_link_info;
extern const fnn_link_info fnn_link_ops[FNN_N_OPS];
#define FNN_CHAIN_BYTES (FNN_LOCAL_BYTES / 2)   /* of a thread's scratch; links use the rest */
void fnn_run_chain(const fnn_isa *isa, const fnn_call *c, const fnn_scratch *s);
double fnn_chain_cost_ns(const fnn_call *c);

/* plan.c: offsets of n temporaries that live from call first[i] to last[i]; over[i] < i: of that one, which
 * has its size and dies as it is born, it takes the place (-1: of none).  Returns the bytes of all, which
 * should be no more than limit. */
int64_t fnn_plan(int64_t n, const int64_t *bytes, const int64_t *first, const int64_t *last,
                 const int64_t *over, int64_t limit, int64_t *offset);

/* alloc.c: 64-byte-aligned memory with a cache of freed blocks. NULL when there is none. */
/* ---- memory ---- */
void *fnn_malloc(size_t bytes);
void fnn_free(void *p);
int64_t fnn_live_bytes(void);          /* bytes handed out and not given back            */
int64_t fnn_peak_bytes(int restart);   /* the most of them since it was last told to restart */
int64_t fnn_cached_bytes(void);
int64_t fnn_alloc_count(void);         /* calls of fnn_malloc so far                     */
void fnn_trim(void);                   /* give cached blocks back to the system          */
void fnn_set_max_bytes(int64_t bytes); /* refuse to go beyond; 0 = no limit              */
void fnn_fail_alloc_after(int64_t n);  /* tests: the n-th allocation from now fails; 0 = never */

#endif
