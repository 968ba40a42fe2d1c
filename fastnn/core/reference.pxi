# The NumPy backend: the same records, run by fastnn/reference.

cdef object raw_array(void *ptr, shape, DType dtype):
    """A NumPy view of memory that outlives it."""
    cdef long long n = dtype.itemsize
    for s in shape:
        n *= s
    if n == 0:
        return np.empty(shape, dtype.numpy)
    cdef char[::1] bytes_ = <char[:n]>ptr
    return np.frombuffer(bytes_, dtype.numpy).reshape(shape)


cdef run_reference(fnn_call *c, tuple inputs, tuple outputs):
    cdef Tensor t
    cdef int j
    cdef double times[2]
    times[0] = fnn_clock_ns()
    ins = [raw_array((<Tensor>x).data, x.shape, (<Tensor>x).dtype) for x in inputs]
    with np.errstate(all="ignore"):
        results = reference[c.op][0](ins, [c.dim[j] for j in range(FNN_DIMS)], [c.f[j] for j in range(4)])
    if len(results) != len(outputs):
        raise AssertionError(f"reference {OP_NAMES[c.op]} gave {len(results)} outputs, not {len(outputs)}")
    for x, y in zip(outputs, results):
        t = <Tensor>x
        y = np.asarray(y)
        if y.size != t.n:
            raise AssertionError(f"reference {OP_NAMES[c.op]} gave shape {y.shape}, not {t.shape}")
        raw_array(t.data, t.shape, t.dtype)[...] = y.reshape(t.shape)
    times[1] = fnn_clock_ns()
    if profiling is not None:
        note_call(profiling, times, c, False, (inputs, outputs))


cdef backward_reference(Record r, fnn_call *c):
    cdef int j
    cdef list arrays = []
    cdef double times[2]
    times[0] = fnn_clock_ns()
    for j in range(c.n_in + c.n_out):
        shape, dtype = r.arrays[j]
        arrays.append(None if c.buf[j] == NULL else raw_array(c.buf[j], shape, dtype))
    gouts = [None if c.grad[j] == NULL else raw_array(c.grad[j], r.arrays[j][0], F32)
             for j in range(c.n_in, c.n_in + c.n_out)]
    want = [c.grad[j] != NULL for j in range(c.n_in)]
    with np.errstate(all="ignore"):
        grads = reference[c.op][1](arrays[:c.n_in], arrays[c.n_in:], gouts, want,
                                   [c.dim[j] for j in range(FNN_DIMS)], [c.f[j] for j in range(4)])
    for j in range(c.n_in):
        if want[j]:
            g = raw_array(c.grad[j], r.arrays[j][0], F32)
            y = np.asarray(grads[j])
            if y.size != g.size:
                raise AssertionError(f"reference {OP_NAMES[c.op]} gave gradient {j} of shape "
                                     f"{y.shape}, not {g.shape}")
            if c.acc >> j & 1:
                g += y.reshape(g.shape)
            else:
                g[...] = y.reshape(g.shape)
    times[1] = fnn_clock_ns()
    if profiling is not None:
        note_call(profiling, times, c, True, r)


def use_reference(table):
    """Send every record to table[op] = (forward, backward) from now on; None = back to C."""
    global reference
    reference = None if table is None else {OPS[k]: v for k, v in table.items()}


def backend_is_numpy():
    """Whether records go to the NumPy reference."""
    return reference is not None
