# Records, and the backward pass that gathers them and runs them in one C call.

cdef list graveyard = []
cdef bint burying = False


@cython.final
@cython.no_gc
@cython.freelist(128)
cdef class Record:
    """A launch that backward can find again: what it read, and where its inputs came from."""

    def __dealloc__(self):
        # A chain of records dies link by link from a list: recursion would overflow the C stack.
        global burying
        if self.edges is None:
            return
        graveyard.append(self.edges)
        self.edges = None           # or this record would drop them, and recurse, after the loop
        if burying:
            return
        burying = True
        while graveyard:
            graveyard.pop()
        burying = False


cdef unsigned wanted(unsigned diff, tuple inputs):
    """Bit j: the gradient of input j."""
    cdef unsigned j, mask = 0
    for j in range(len(inputs)):
        if (<Tensor>inputs[j]).wants_grad:
            mask |= 1 << j
    return mask & diff


cdef Record new_record(fnn_call *c, tuple inputs, tuple outputs):
    cdef Record r = Record.__new__(Record)
    cdef const fnn_op_info *info = &fnn_ops[c.op]
    cdef int j, n_in = c.n_in
    cdef Tensor t
    cdef list edges = [None] * n_in, stores = []
    global n_records
    n_records += 1
    r.seq = n_records
    memcpy(&r.call, c, sizeof(fnn_call))
    cdef unsigned needs = fnn_needs(c.op, wanted(info.diff, inputs))
    for j in range(n_in + c.n_out):
        t = <Tensor>inputs[j] if j < n_in else <Tensor>outputs[j - n_in]
        r.numel[j] = t.n
        r.version[j] = t.store.version
        if needs >> j & 1:
            r.call.buf[j] = t.data
            stores.append((j, t.store))
        else:
            r.call.buf[j] = NULL
        if j < n_in and t.wants_grad and info.diff >> j & 1:
            edges[j] = t if t.edge is None else t.edge
            r.edge_slot[j] = t.slot
    r.edges = edges
    r.stores = stores
    if recording is not None or profiling is not None:
        r.module = path_here()
    if reference is not None:
        r.arrays = [(t.shape, t.dtype) for t in inputs + outputs]
    return r


cdef list reachable(Record root):
    """Every Record behind root, newest first (a Record is newer than those it reads)."""
    cdef list stack = [root], found = []
    cdef Record r
    global n_records
    n_records += 1
    cdef long long mark = n_records
    cdef int j
    cdef Storage s
    root.mark = mark
    while stack:
        r = <Record>stack.pop()
        found.append((-r.seq, r))
        if r.freed:
            raise GraphError(f"{OP_NAMES[r.call.op]}: got a second backward through a graph that was "
                             "freed; need retain_graph=True in the first")
        for j, store in r.stores:
            s = <Storage>store
            if s.version != r.version[j]:
                raise GraphError(
                    f"{OP_NAMES[r.call.op]}: slot {j}: got version {s.version} of a tensor that backward "
                    f"needs at version {r.version[j]}; need no in-place change between forward and backward")
        for e in r.edges:
            if isinstance(e, Record) and (<Record>e).mark != mark:
                (<Record>e).mark = mark
                stack.append(e)
    found.sort(key=_first)
    return found


cdef object _first(pair):
    return pair[0]


cdef enum:
    LONG_SEED = 4096                # floats: copying fewer costs less than asking whether one must


cdef class Buffers:
    """Gradient memory of one backward: a block is reused as soon as its last reader has run."""
    cdef dict idle                  # bytes -> [addresses]
    cdef list taken
    cdef float *lent                # the caller's: read, and not given to another
    cdef Recorder recorder
    cdef int first_block

    def __cinit__(self):
        self.idle = {}
        self.taken = []
        self.recorder = recorder()
        if self.recorder is not None:
            self.first_block = self.recorder.n_blocks

    cdef float *take(self, long long n) except NULL:
        cdef list same = self.idle.get(n)
        cdef bint again = bool(same)
        cdef void *p
        if again:
            p = <void *><uintptr_t>same.pop()
        else:
            p = fnn_malloc(n * sizeof(float))
            if p == NULL:
                raise MemoryError(f"backward: memory: got a request for {n * sizeof(float):,} bytes; need "
                                  "one that can be met: smaller batches")
            self.taken.append(<uintptr_t>p)
        if self.recorder is not None:
            self.recorder.gradient_memory(<float *>p, n, again)
        return <float *>p

    cdef give(self, float *p, long long n):
        if p != self.lent:
            self.idle.setdefault(n, []).append(<uintptr_t>p)

    def __dealloc__(self):
        if self.recorder is not None:
            self.recorder.gradients_gone(self.first_block)
        for p in self.taken:
            fnn_free(<void *><uintptr_t>p)


cdef Tensor fresh_gradient(Tensor leaf, bint at_home, Storage place):
    """Where the gradient of a leaf that has none goes: its home, unless somebody still looks at it;
    else a place it may take over, or new memory."""
    cdef Tensor g
    if (at_home and leaf.home is not None and refs(<void *>leaf.home) == 1
            and refs(<void *>leaf.home.store) == 1):
        return leaf.home
    if place is None:
        return new_tensor(F32, leaf.rank, leaf.dims, leaf.n)
    g = Tensor.__new__(Tensor)
    attach(g, place)
    g.data = place.ptr
    g.rank = leaf.rank
    g.n = leaf.n
    memcpy(g.dims, leaf.dims, leaf.rank * sizeof(long long))
    return g


cdef Storage saved_place(Record r, int j, bint keep):
    """A saved output that may become the gradient of input j, if nobody else will look at it."""
    cdef unsigned slots = fnn_ops[r.call.op].diff >> 16 & 0xfff
    if j == 0 and slots and not keep:
        for slot, store in r.stores:
            if slots >> <int>slot & 1 and (<Storage>store).handles == 0:
                return <Storage>store
    return None


cdef Tensor gradient_place(Tensor t, dict places, bint adding, Storage place, bint *acc):
    """Where the gradient of t goes: where it already went in this backward; else, adding, what was in
    .grad before; else a fresh place, or the one given. acc: it holds something."""
    cdef bint known = t in places
    acc[0] = known or adding and t.gradient is not None
    if not known:
        places[t] = t.gradient if acc[0] else fresh_gradient(t, adding, place)
    return <Tensor>places[t]


cdef int plan_kept(Record r, fnn_call *calls, dict places) except -1:
    """Copies of the gradients of outputs that .retain_grad() asked for; returns how many."""
    cdef int n = 0
    cdef Tensor t, g
    cdef bint acc
    if r.kept is None:
        return 0
    for ref in r.kept:
        t = <Tensor>ref()
        if t is None or t.edge is not r or r.g[t.slot] == NULL:
            continue
        g = gradient_place(t, places, True, None, &acc)
        memset(&calls[n], 0, sizeof(fnn_call))
        calls[n].op = <int>hooks["copy"]
        calls[n].n_in = calls[n].n_out = 1
        calls[n].acc = acc
        calls[n].dim[0] = t.n
        calls[n].grad[0] = <float *>g.data
        calls[n].grad[1] = r.g[t.slot]
        n += 1
    return n


cdef int plan_record(Record r, fnn_call *c, Buffers buffers, dict leaves, tuple only, bint keep) except -1:
    """Fill c.grad and c.acc: gradients of outputs are there, those of inputs get their place."""
    cdef int j, n_in = r.call.n_in
    cdef Storage place
    cdef Record p
    cdef Tensor leaf, g
    cdef bint acc
    memcpy(c, &r.call, sizeof(fnn_call))
    for j in range(c.n_out):
        c.grad[n_in + j] = r.g[j]
    for j in range(n_in):
        e = r.edges[j]
        if e is None:
            continue
        if isinstance(e, Record):
            p = <Record>e
            if p.g[r.edge_slot[j]] == NULL:
                place = saved_place(r, j, keep)
                if place is None:
                    p.g[r.edge_slot[j]] = buffers.take(r.numel[j])
                else:
                    p.g[r.edge_slot[j]] = <float *>place.ptr
                    if buffers.recorder is not None:
                        buffers.recorder.take_over(place)
            else:
                c.acc |= 1 << j
            c.grad[j] = p.g[r.edge_slot[j]]
            continue
        leaf = <Tensor>e
        if only is not None and not is_among(leaf, only):
            continue
        if buffers.recorder is not None and only is None:
            buffers.recorder.read_gradient(leaf)
        g = gradient_place(leaf, leaves, only is None, saved_place(r, j, keep), &acc)
        c.grad[j] = <float *>g.data
        c.acc |= acc << j
    for j in range(c.n_out):
        if r.g[j] != NULL:
            buffers.give(r.g[j], r.numel[n_in + j])
    return 0


cdef bint lies_in_gradients(Tensor t, list order):
    """Does t share memory with the .grad of a leaf of these records?"""
    cdef Tensor g
    cdef size_t bytes = t.n * sizeof(float)
    for _, record in order:
        for e in (<Record>record).edges:
            g = (<Tensor>e).gradient if isinstance(e, Tensor) else None
            if g is not None and g.data < t.data + bytes and t.data < g.data + g.n * sizeof(float):
                return True
    return False


cdef float *seed_place(Record root, Tensor seed, list order, Buffers buffers) except NULL:
    """Where backward starts from: a long seed is read where it lies, unless somebody would overwrite
    it: the kernel of root, the NumPy twin or an accumulation into a .grad that shares its memory."""
    cdef float *p
    if (seed.n > LONG_SEED and buffers.recorder is None and reference is None
            and not fnn_ops[root.call.op].diff & SPENDS_DY and not lies_in_gradients(seed, order)):
        buffers.lent = <float *>seed.data
        return buffers.lent
    p = buffers.take(seed.n)
    if buffers.recorder is None:
        memcpy(p, seed.data, seed.n * sizeof(float))
    else:
        buffers.recorder.seed(p, seed)
    return p


cdef bint is_among(Tensor t, tuple ts):
    for x in ts:
        if x is t:
            return True
    return False


cdef release(Record r):
    """Let go of what backward has read; a record that reads nothing can run again."""
    r.freed = r.freed or len(r.stores) > 0
    r.ran = True
    r.stores = []


def backward(Tensor root not None, gradient=None, bint retain_graph=False, tuple only=None):
    """Add d(root)/d(leaf) to the .grad of every leaf behind root that requires grad.

    only: leaves whose gradients to return instead, None for those not behind root.
    """
    cdef Tensor seed = None, leaf
    cdef list order = []
    cdef fnn_call *calls
    cdef long long n, i
    cdef double ns = 0, began = clock()
    realize(root)
    if not root.wants_grad:
        raise GraphError("backward: got a tensor that does not require grad; need one computed "
                         "from a tensor with requires_grad=True outside no_grad()")
    if gradient is not None:
        seed = check_gradient(root, gradient)
    elif root.n != 1:
        raise GraphError(f"backward: got shape {root.shape}; need a scalar, or the gradient argument")
    else:
        seed = new_tensor(F32, root.rank, root.dims, 1)
        (<float *>seed.data)[0] = 1
    if not isinstance(root.edge, Record):
        leaf = root if root.edge is None else <Tensor>root.edge
        if only is not None:
            return [tensor(seed) if t is leaf else None for t in only]
        accumulate_leaf(leaf, seed)
        return
    order = reachable(<Record>root.edge)
    n = 0
    for _, record in order:
        n += 1 if (<Record>record).kept is None else 1 + len((<Record>record).kept)
    calls = <fnn_call *>malloc(n * sizeof(fnn_call))
    if calls == NULL:
        raise MemoryError(f"backward: memory: got none for {n} records; need a shorter graph")
    cdef Buffers buffers = Buffers()
    cdef dict leaves = {}
    cdef list made = []                 # the record of each call, None of a copy: where that matters
    try:
        (<Record>root.edge).g[root.slot] = seed_place(<Record>root.edge, seed, order, buffers)
        n = 0
        for _, record in order:
            if only is None and (<Record>record).kept is not None:
                if buffers.recorder is not None:
                    raise UnsupportedOpError("compile: retain_grad: got it inside a compiled step; need "
                                             "the gradient of a leaf")
                i = plan_kept(<Record>record, &calls[n], leaves)
                made += [None] * i
                n += i
            plan_record(<Record>record, &calls[n], buffers, leaves, only, retain_graph)
            if buffers.recorder is not None:
                buffers.recorder.add_backward(<Record>record, &calls[n], leaves)
            ns += fnn_cost_ns(&calls[n], True)
            n += 1
            if reference is not None or anomaly or profiling is not None:
                made.append(record)
        if reference is None and not anomaly:
            run(calls, n, True, ns, made if len(made) == n else None)
        else:
            for i in range(n):
                run_slowly(<Record>made[i], &calls[i])
    finally:
        free(calls)
        for _, record in order:
            memset((<Record>record).g, 0, sizeof((<Record>record).g))
    end_span("backward", began)
    if not retain_graph:
        for _, record in order:
            release(<Record>record)
    if only is not None:
        return [leaves.get(t) for t in only]
    for leaf_, g in leaves.items():
        leaf = <Tensor>leaf_
        leaf.gradient = <Tensor>g
        leaf.gradient.store.version += 1
        if buffers.recorder is not None:
            buffers.recorder.leaves[leaf] = None


cdef int run_slowly(Record r, fnn_call *c) except -1:
    """One call of a backward by the NumPy backend, or under detect_anomaly; r None = a copy."""
    cdef int j
    if reference is None or r is None:
        run(c, 1, True, 0, [r])
    else:
        backward_reference(r, c)
    if anomaly and r is not None:
        for j in range(c.n_in):
            if c.grad[j] != NULL:
                refuse_nan(c.grad[j], r.numel[j], f"{OP_NAMES[c.op]}: gradient of input {j}")
    return 0


cdef Tensor check_gradient(Tensor root, object gradient):
    cdef Tensor g = as_tensor(gradient)
    realize(g)
    if not g.dtype.is_floating_point:
        raise DTypeError(f"backward: gradient: got {g.dtype.name}; need float32")
    if g.dtype is not F32:          # as that of a float64 tensor may well be
        g = g.to(F32)
    if g.shape != root.shape:
        raise ShapeError(f"backward: gradient: got {g.shape}; need {root.shape}")
    return g


cdef accumulate_leaf(Tensor leaf, Tensor seed):
    """backward() called on a leaf, or on a view of one."""
    if recorder() is not None:
        raise UnsupportedOpError("compile: backward: got a leaf; need a tensor computed from leaves")
    if leaf.gradient is None:
        g = new_tensor(F32, leaf.rank, leaf.dims, leaf.n)
        memcpy((<Tensor>g).data, seed.data, leaf.n * sizeof(float))
        leaf.gradient = g
        return
    cdef long long i
    for i in range(leaf.n):
        (<float *>leaf.gradient.data)[i] += (<float *>seed.data)[i]
    leaf.gradient.store.version += 1
