cdef extern from "fnn.h":
    enum: FNN_N_OPS
    enum: FNN_SLOTS
    enum: FNN_DIMS
    ctypedef struct fnn_call:
        unsigned short op, n_in, n_out, acc
        void *buf[12]
        float *grad[12]
        long long dim[17]
        float f[4]
    ctypedef struct fnn_op_info:
        const char *name
        unsigned diff
        unsigned writes
        unsigned long long needs
    enum: SPENDS_DY
    const fnn_op_info fnn_ops[]
    enum: FNN_IN_PLACE
    enum: FNN_IN_PLACE_BWD
    enum: FNN_COMPUTES
    unsigned fnn_needs(int op, unsigned want)
    double fnn_flops(const fnn_call *c) nogil
    double fnn_bytes(const fnn_call *c) nogil
    double fnn_cost_ns(const fnn_call *c, int backward) nogil
    int fnn_isa_count()
    const char *fnn_isa_name(int i)
    int fnn_isa_select(const char *name)
    ctypedef struct fnn_isa:
        const char *name
        void *bwd[1]
    const fnn_isa *fnn_isa_active()
    int fnn_run(const fnn_call *calls, long long n, int backward, int n_threads) nogil
    void fnn_time_records(double *begin_end)
    double fnn_clock_ns() nogil
    void fnn_always_team(int on)
    enum: FNN_ROOF_FMA
    enum: FNN_ROOF_READ
    enum: FNN_ROOF_TRIAD
    enum: FNN_ROOF_UPDATE
    double fnn_roof(int kind, float *x, long long n, long long repeats, int n_threads) nogil
    ctypedef struct fnn_watch:
        int (*look)() noexcept nogil
        double every
        long long until, begun
        double latest
    int fnn_replay(const fnn_call *calls, const unsigned char *which, const float *costs, long long n,
                   int n_threads, fnn_watch *watch) nogil
    long long fnn_plan(long long n, const long long *bytes, const long long *first, const long long *last,
                       const long long *over, long long limit, long long *offset)
    enum: FNN_CHAIN
    enum: FNN_CHAIN_BYTES
    ctypedef struct fnn_link:
        fnn_call call
        int backward, rows_at
        long long per_row
        long long step[24]
        unsigned inner, ahead
    enum: FNN_NO_LINK
    enum: FNN_LINK_FLAT
    enum: FNN_LINK_PAIR
    enum: FNN_LINK_CHOICE
    enum: FNN_LINK_ROWS
    ctypedef struct fnn_link_info:
        unsigned char kind
        unsigned char size[12]
    const fnn_link_info fnn_link_ops[]
    unsigned fnn_fp_mode() nogil
    int fnn_grad_mode(int set)
    void *fnn_malloc(size_t bytes) nogil
    void fnn_free(void *p) nogil
    long long fnn_live_bytes()
    long long fnn_peak_bytes(int restart)
    long long fnn_cached_bytes()
    long long fnn_alloc_count()
    void fnn_trim()
    void fnn_set_max_bytes(long long n)
    void fnn_fail_alloc_after(long long n)


cdef class DType:
    cdef readonly str name
    cdef readonly int itemsize
    cdef readonly str format        # struct code of the buffer protocol
    cdef readonly bint is_floating_point


cdef class Storage:
    cdef char *ptr
    cdef long long nbytes
    cdef object owner               # keeps foreign memory alive; None = ours
    cdef unsigned int version       # counts in-place changes
    cdef int handles                # tensors on it
    cdef long long serial           # in the order of making
    cdef bint readonly
    cdef int exports                # buffers through which others may write
    cdef dict packs                 # copies of weights, see packs.pxi
    cdef unsigned int packed_version
    cdef long long packed_bytes
    cdef long long recording        # of which block says which block this is
    cdef int block


cdef class Tensor:
    cdef Storage store
    cdef char *data
    cdef long long n
    cdef int rank
    cdef long long dims[32]
    cdef readonly DType dtype
    cdef bint wants_grad
    cdef object edge                # Record that made it, leaf it views, or None
    cdef int slot                   # its output slot in the Record
    cdef Tensor gradient
    cdef Tensor home                # memory kept for a fresh gradient, see Arena
    cdef Tensor source              # its elements in another order, see layout.pxi; data is NULL then
    cdef int order                  # which: Order
    cdef bint consumed              # something has read source and thus does not depend on this tensor
    cdef object __weakref__


cdef class Record:
    cdef fnn_call call
    cdef long long seq
    cdef long long mark
    cdef bint freed, ran            # backward has let go of it, has been through it
    cdef object edges               # per input: Record, leaf Tensor or None
    cdef object stores              # Storages backward reads
    cdef long long position         # 1 + its call in the list of a recorder, 0 = none
    cdef object arrays              # NumPy backend: every slot's (shape, dtype)
    cdef int module                 # number of the path it was made in, see profile.pxi
    cdef list kept                  # weak references to outputs whose .grad is wanted, too
    cdef unsigned char edge_slot[12]
    cdef unsigned int version[12]
    cdef long long numel[12]
    cdef float *g[12]               # backward plan: gradient of each output
