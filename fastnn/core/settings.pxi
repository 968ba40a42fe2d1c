# Threads, instruction set, memory, anomaly detection; hooks for tests and benchmarks.

def grad_enabled():
    """Whether operations are being recorded for backward in this thread."""
    return bool(fnn_grad_mode(-1))


def set_grad_enabled(bint on):
    """Switch recording for this thread; returns what it was."""
    return bool(fnn_grad_mode(on))


def set_num_threads(int n):
    """Use n threads for heavy operations (results do not depend on it)."""
    global n_threads
    if n < 1 or n > 1024:
        raise ValueError(f"set_num_threads: got {n}; need 1 to 1024")
    n_threads = n


def get_num_threads():
    """Threads used for heavy operations."""
    return n_threads


def isa_names():
    """The instruction sets this machine can run, best first."""
    return [fnn_isa_name(i).decode() for i in range(fnn_isa_count())]


def isa():
    """The instruction set in use."""
    return fnn_isa_active().name.decode()


def select_isa(str name):
    """Use the kernels of another instruction set from now on."""
    if fnn_isa_select(name.encode()) != 0:
        raise ValueError(f"isa: got {name!r}; this machine runs {', '.join(isa_names())}")


def live_bytes():
    """Bytes of tensor memory in use."""
    return fnn_live_bytes()


def peak_bytes(bint restart=False):
    """The most live_bytes() since the call of this with restart."""
    return fnn_peak_bytes(restart)


def cached_bytes():
    """Bytes of freed tensor memory kept for reuse."""
    return fnn_cached_bytes()


def alloc_count():
    """Allocations made so far."""
    return fnn_alloc_count()


def trim():
    """Give freed tensor memory back to the system."""
    fnn_trim()


def set_detect_anomaly(bint on):
    """Stop at the first NaN an op or its gradient makes, from now on; returns what it was."""
    global anomaly
    old, anomaly = anomaly, on
    return bool(old)


def elements(Tensor t not None):
    """A NumPy array over the memory of t, for checks, and for those who have said their own name."""
    global unrecorded
    old, unrecorded = unrecorded, None
    try:
        return t._array()
    finally:
        unrecorded = old


def set_max_bytes(long long n):
    """Refuse allocations that would take tensor memory beyond n bytes; 0 = no limit."""
    fnn_set_max_bytes(n)


def fail_alloc_after(long long n):
    """Let the n-th allocation from now fail: for tests."""
    fnn_fail_alloc_after(n)


def always_team(bint on):
    """Tests: run every record on a team, even where one thread is faster."""
    fnn_always_team(on)


def fp_mode():
    """This thread's floating-point control word."""
    return fnn_fp_mode()


# ---------------------------------------------------------------- for tests and benchmarks

def capture(bint on):
    """Start collecting launches, or stop and return them as (op, inputs, outputs, saved, dim, f)."""
    global captured
    old, captured = captured, [] if on else None
    return old


def op_info(str name, unsigned want=0xffff):
    """What ops.def says of an op: input gradients, slots backward reads for them, inputs changed, and
    whether backward overwrites the gradients of outputs."""
    cdef const fnn_op_info *i = &fnn_ops[<int>OPS[name]]
    return {"diff": i.diff & 0xffff, "needs": fnn_needs(OPS[name], want), "writes": i.writes & 0xffff,
            "computes": bool(i.writes & FNN_COMPUTES), "spends": bool(i.diff & SPENDS_DY),
            "in_place": bool(i.writes & FNN_IN_PLACE), "in_place_bwd": bool(i.writes & FNN_IN_PLACE_BWD)}


def flops(str op, dim):
    """Floating-point operations of a forward record of op with these constants."""
    cdef fnn_call c
    set_constants(&c, OPS[op], tuple(dim), ())
    return fnn_flops(&c)


def bytes_moved(str op, dim):
    """The memory traffic of a forward record of op with these constants, at least."""
    cdef fnn_call c
    set_constants(&c, OPS[op], tuple(dim), ())
    return fnn_bytes(&c)


ROOFS = {"fma": FNN_ROOF_FMA, "read": FNN_ROOF_READ, "triad": FNN_ROOF_TRIAD,
         "update": FNN_ROOF_UPDATE}


def roof(str kind, Tensor x not None, long long n, long long repeats):
    """Run a loop that does nothing but reach a limit of the machine; returns its flops or bytes.

    kind "fma": n register iterations on each thread. "read", "triad", "update": passes over the
    first n elements of x, shared among the threads, which triad and update overwrite.
    """
    cdef int which = ROOFS[kind], threads = n_threads
    cdef float *data = <float *>x.data
    cdef double work
    if which != FNN_ROOF_FMA and (x.dtype is not F32 or not 0 <= n <= x.n):
        raise ValueError(f"roof: x: got {x.n} elements of {x.dtype.name}; need {n} of float32")
    with nogil:
        work = fnn_roof(which, data, n, repeats, threads)
    return work


def unchecked_launch(int op, arrays, grads, int n_in, dim, f, int acc=0, bint backward=False, int threads=1):
    """Run a kernel over NumPy arrays as they are: only tests that have checked them may."""
    cdef fnn_call c
    cdef int j, bad
    set_constants(&c, op, tuple(dim), tuple(f))
    if backward and not fnn_ops[op].diff:
        raise ValueError(f"{OP_NAMES[op]} has no gradient")
    c.n_in = n_in
    c.n_out = len(arrays) - n_in
    c.acc = acc
    for j in range(len(arrays)):
        if arrays[j] is not None:
            c.buf[j] = <void *><uintptr_t>arrays[j].ctypes.data
        if grads is not None and grads[j] is not None:
            c.grad[j] = <float *><uintptr_t>grads[j].ctypes.data
    with nogil:
        bad = fnn_run(&c, 1, backward, threads)
    if bad:
        raise MemoryError("no scratch memory")
    return fnn_flops(&c), fnn_bytes(&c)
