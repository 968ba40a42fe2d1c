# Filling one fnn_call from checked tensors and running it: call(), elementwise(), in-place and view ops.

OPS = {fnn_ops[_i].name.decode(): _i for _i in range(FNN_N_OPS)}
cdef list OP_NAMES = [*OPS, "chain"]   # FNN_CHAIN is no op that could be called

cdef int n_threads = 1
cdef long long n_records = 0
cdef dict reference = None              # op id -> (forward, backward) in NumPy
cdef list captured = None
cdef bint anomaly = False               # stop at the first NaN and name its op


cdef double DROP_GIL_NS = 20000.0       # dropping and retaking the GIL must be worth it


cdef int run(fnn_call *calls, long long n, bint backward, double ns, object about) except -1:
    """Run calls of ns in all; about: what stop_watch wants to know of them."""
    cdef int bad, threads = n_threads
    cdef double *times = NULL if profiling is None else start_watch(n)
    if ns > DROP_GIL_NS:
        with nogil:
            bad = fnn_run(calls, n, backward, threads)
    else:
        bad = fnn_run(calls, n, backward, threads)
    if times != NULL:
        stop_watch(times, calls, 0 if bad else n, backward, about)
    if bad:
        raise MemoryError("memory: got no scratch memory for a kernel; need some megabytes")
    return 0


cdef int launch(fnn_call *c, tuple inputs, tuple outputs, bint in_place, int saved=0) except -1:
    """Run one record over checked tensors and, where a gradient is wanted, keep it."""
    cdef int j, n_in = len(inputs), n_out = len(outputs)
    cdef const fnn_op_info *info = &fnn_ops[c.op]
    cdef Tensor t
    cdef bint track = False
    c.n_in = n_in
    c.n_out = n_out
    for j in range(n_in):
        t = <Tensor>inputs[j]
        if t.source is not None:
            realize(t)
        c.buf[j] = t.data
        if t.wants_grad and info.diff:
            if not info.diff >> j & 1:
                if fnn_grad_mode(-1):
                    raise GraphError(f"{OP_NAMES[c.op]}: input {j}: got a tensor that requires "
                                     "grad; need one that does not: this op has no gradient for it")
            else:
                track = True
        if info.writes >> j & 1 and t.store.readonly:
            raise ValueError(f"{OP_NAMES[c.op]}: input {j}: got read-only memory; need a copy")
    for j in range(n_out):
        c.buf[n_in + j] = (<Tensor>outputs[j]).data
    if track:
        track = fnn_grad_mode(-1)
    cdef Record r = None
    if track:
        if in_place and (<Tensor>outputs[0]).store.handles > 1:
            raise GraphError(f"{OP_NAMES[c.op]}_: got a tensor that shares memory with another; need one "
                             "of its own: views of it would get a wrong gradient (use the op without _)")
        r = new_record(c, inputs, outputs)
    cdef Recorder rec = recorder()
    if rec is not None:
        rec.add_forward(c, inputs, outputs, in_place)
        if r is not None:
            r.position = rec.n
    if reference is None:
        run(c, 1, False, fnn_cost_ns(c, False), None if profiling is None else (inputs, outputs))
    else:
        run_reference(c, inputs, outputs)
    for j in range(n_in):
        if info.writes >> j & 1:
            (<Tensor>inputs[j]).store.version += 1
    if in_place:
        (<Tensor>outputs[0]).store.version += 1
    if track:
        for j in range(n_out):
            t = <Tensor>outputs[j]
            r.version[n_in + j] = t.store.version
            if t.dtype.is_floating_point:
                t.edge = r
                t.slot = j
                t.wants_grad = True
    elif in_place and (<Tensor>outputs[0]).edge is not None and fnn_grad_mode(-1):
        (<Tensor>outputs[0]).edge = None        # overwritten by what needs no gradient
        (<Tensor>outputs[0]).wants_grad = False
    if anomaly:
        for j in range(n_out - saved):
            t = <Tensor>outputs[j]
            if t.dtype is F32:
                refuse_nan(<float *>t.data, t.n, f"{OP_NAMES[c.op]}: output {j}")
    if captured is not None:
        captured.append((OP_NAMES[c.op], inputs, outputs, saved,
                         [c.dim[j] for j in range(FNN_DIMS)], [c.f[j] for j in range(4)]))
    return 0


cdef int refuse_nan(const float *x, long long n, str what) except -1:
    """Anomaly detection: name the first NaN."""
    cdef long long i
    for i in range(n):
        if x[i] != x[i]:
            raise GraphError(f"{what}: got NaN at element {i}; need numbers: detect_anomaly is on")
    return 0


cdef int set_constants(fnn_call *c, int op, tuple dim, tuple f) except -1:
    cdef int j, overflow = 0
    memset(c, 0, sizeof(fnn_call))
    if op < 0 or op >= FNN_N_OPS or len(dim) > FNN_DIMS or len(f) > 4:
        raise ValueError("call: got an impossible record")
    c.op = op
    for j in range(len(dim)):
        c.dim[j] = PyLong_AsLongLongAndOverflow(dim[j], &overflow)
        if overflow:
            raise ShapeError(f"{OP_NAMES[op]}: sizes: got {dim[j]} elements; need below 2**63")
    for j in range(len(f)):
        c.f[j] = f[j]
    return 0


def call(int op, tuple inputs not None, tuple shapes not None, tuple dim=(), tuple f=(), int saved=0,
         tuple dtypes=None):
    """Run op on checked inputs; returns its outputs but for the last `saved`, alone or as a tuple."""
    cdef fnn_call c
    cdef long long dims[MAX_RANK]
    cdef long long n
    cdef int j, rank, n_out = len(shapes)
    cdef tuple outputs = PyTuple_New(n_out)
    cdef Tensor out
    set_constants(&c, op, dim, f)
    if len(inputs) + n_out > FNN_SLOTS:
        raise ValueError("call: got too many slots")
    for t in inputs:
        if not isinstance(t, Tensor):
            raise TypeError(f"{OP_NAMES[op]}: got {type(t).__name__}; need a Tensor")
    for j in range(n_out):
        rank = parse_shape(shapes[j], dims, &n)
        out = new_tensor(F32 if dtypes is None else <DType>dtypes[j], rank, dims, n)
        Py_INCREF(out)
        PyTuple_SET_ITEM(outputs, j, out)
    launch(&c, inputs, outputs, False, saved)
    if n_out - saved == 1:
        return outputs[0]
    return outputs[:n_out - saved]


def elementwise(int op, Tensor x not None, f=()):
    """A float32 op of one tensor that keeps its shape: dim = n."""
    if is_image(x):
        return from_channels_last(elementwise(op, channels_last(x), f))
    cdef fnn_call c
    cdef int j
    memset(&c, 0, sizeof(fnn_call))
    c.op = op
    c.dim[0] = x.n
    for j in range(len(f)):
        c.f[j] = f[j]
    cdef Tensor out = new_tensor(F32, x.rank, x.dims, x.n)
    launch(&c, (x,), (out,), False)
    return out


def elementwise_into(int op, Tensor x not None, tuple f=()):
    """The same in x's own memory."""
    cdef Tensor inner = x.source if is_image(x) else x
    call_into(op, (inner,), inner, (x.n,), f)
    x.wants_grad = inner.wants_grad
    return x


def call_into(int op, tuple inputs not None, Tensor out not None, tuple dim=(), tuple f=()):
    """Run op with its only output written into out, which may be one of the inputs."""
    cdef fnn_call c
    set_constants(&c, op, dim, f)
    check_writable(OP_NAMES[op], out)
    launch(&c, spared(op, inputs, out), (out,), True)
    return out


cdef tuple spared(int op, tuple inputs, Tensor out):
    """The inputs, with a copy for out where backward will read what is about to be overwritten."""
    cdef unsigned j, needs
    cdef object copy = None
    if not fnn_grad_mode(-1):
        return inputs
    needs = fnn_needs(op, wanted(fnn_ops[op].diff, inputs))
    for j in range(len(inputs)):
        if inputs[j] is out and needs >> j & 1:
            copy = out.clone()
    return inputs if copy is None else tuple([copy if x is out else x for x in inputs])


def call_view(int op, Tensor base not None, shape, long long offset, tuple dim=()):
    """A view of base from element `offset` on; op only says how its gradient flows back."""
    cdef fnn_call c
    cdef Tensor v = alias(base, Tensor, False)
    cdef Record r
    cdef long long n
    v.rank = parse_shape(shape, v.dims, &n)
    if offset < 0 or offset + n > base.n:
        raise ShapeError(f"{OP_NAMES[op]}: got elements {offset} to {offset + n}; need 0 to {base.n}")
    v.n = n
    v.data += offset * base.dtype.itemsize
    if base.wants_grad and fnn_grad_mode(-1):
        set_constants(&c, op, dim, ())
        c.n_in = c.n_out = 1
        r = new_record(&c, (base,), (v,))
        v.edge = r
        v.slot = 0
        v.wants_grad = True
    return v


def check_writable(str op, Tensor t not None):
    """Refuse an in-place change that the memory or the graph forbids."""
    realize(t)
    if t.store.readonly:
        raise ValueError(f"{op}: output: got read-only memory; need a copy: use .clone()")
    if t.wants_grad and t.edge is None and fnn_grad_mode(-1):
        raise GraphError(f"{op}: got an in-place change of a leaf that requires grad; "
                         "need no_grad() around it")


def bump_version(Tensor t not None):
    """Tell the graph that t's memory was changed from outside."""
    t.store.version += 1


def all_float32(*tensors):
    """Whether every argument is a float32 Tensor: the usual case, checked at C speed."""
    for t in tensors:
        if not isinstance(t, Tensor) or (<Tensor>t).dtype is not F32:
            return False
    return True


cdef int OUTSIDE = OPS["outside"]
cdef enum:
    CHECK_HERE = 1024                   # so few indices are checked before a kernel has begun


def first_outside(Tensor t not None, long long low, long long high, skip=None):
    """Where, counted from 0, an int64 tensor first leaves low <= x < high; -1 if nowhere.

    Elements equal to skip are let through.
    """
    if t.dtype is not I64:
        raise DTypeError(f"first_outside: got {t.dtype.name}; need int64")
    realize(t)
    cdef long long i = outside(<const int64_t *>t.data, t.n, low, high, 0 if skip is None else skip,
                               skip is not None)
    cdef Recorder rec = recorder()
    if rec is not None and i < 0:
        rec.add_check(t, low, high, skip)
    return i


cdef long long outside(const int64_t *x, long long n, long long low, long long high, long long let,
                       bint skipping) except -2:
    cdef fnn_call c
    cdef int64_t i
    if n > CHECK_HERE and reference is None:
        set_constants(&c, OUTSIDE, (n, low, high, let, skipping), ())
        c.n_in = c.n_out = 1
        c.buf[0] = <void *>x
        c.buf[1] = &i
        run(&c, 1, False, fnn_cost_ns(&c, False), None)
        return i
    for i in range(n):
        if (x[i] < low or x[i] >= high) and not (skipping and x[i] == let):
            return i
    return -1


def first_unlikely(Tensor t not None, bint nan):
    """Where a float32 tensor first leaves 0 <= x <= 1, -1 if nowhere; nan: NaN is let through."""
    realize(t)
    cdef const float *x = <const float *>t.data
    cdef long long i = unlikely(x, t.n, nan)
    cdef Recorder rec = recorder()
    if rec is not None and i < 0:
        rec.add_check(t, 0, 1, None, nan)
    return i


cdef long long unlikely(const float *x, long long n, bint nan) noexcept nogil:
    cdef long long i
    for i in range(n):
        if not (x[i] >= 0 and x[i] <= 1) and not (nan and x[i] != x[i]):
            return i
    return -1


def element(Tensor t not None, long long i):
    """Element i of an int64 or float32 tensor, for messages."""
    return (<const float *>t.data)[i] if t.dtype is F32 else (<const int64_t *>t.data)[i]


def shares_memory(Tensor a not None, Tensor b not None):
    """Whether the two overlap without being the very same elements."""
    if a.source is not None or b.source is not None or a.store is not b.store:
        return False
    if a.data == b.data and a.n == b.n:
        return False
    return (a.data < b.data + b.n * b.dtype.itemsize) and (b.data < a.data + a.n * a.dtype.itemsize)
