# Parameters, gradients and optimizer states side by side, so that a step is one launch.

cdef Storage part_of(Storage whole, char *ptr, long long nbytes):
    """A part of a block with a version and a reference count of its own."""
    cdef Storage s = Storage.__new__(Storage)
    s.ptr = ptr
    s.nbytes = nbytes
    s.owner = whole
    return s


cdef Tensor zeros(long long n, DType dtype):
    cdef Tensor t = new_tensor(dtype, 1, &n, n)
    memset(t.data, 0, n * dtype.itemsize)
    return t


cdef enum:
    ALIGN = 16                          # floats: every parameter starts on a cache line


@cython.final
cdef class Arena:
    """The parameters of an optimizer group side by side, so that one kernel steps them all.

    A parameter moves into ``data`` when nobody else holds its memory: no view, NumPy array or
    graph made from it can then disagree with it. Until that is so it is updated where it lies. It
    keeps its Storage, a part of the block, so versions and views stay its own. ``grads`` offers
    each parameter a home for its fresh gradients. The arena made last has both.
    """
    cdef readonly tuple params
    cdef readonly Tensor data, grads
    cdef Tensor starts                  # first element of each parameter, and the end

    def __init__(self, params):
        cdef Tensor p, g
        cdef long long i, n = len(params) + 1
        self.params = tuple(params)
        self.starts = new_tensor(I64, 1, &n, n)
        n = 0
        for i in range(len(self.params)):
            p = <Tensor>self.params[i]
            if p.dtype is not F32 or p.source is not None:
                raise DTypeError(f"arena: got {p.dtype.name}; need float32 tensors with memory of their own")
            (<int64_t *>self.starts.data)[i] = n
            n += (p.n + ALIGN - 1) // ALIGN * ALIGN
        (<int64_t *>self.starts.data)[len(self.params)] = n
        self.data = zeros(n, F32)
        self.grads = zeros(n, F32)
        self.gather(True)
        for i in range(len(self.params)):
            p = <Tensor>self.params[i]
            g = Tensor.__new__(Tensor)
            g.data = self.grads.data + self.start(i) * 4
            attach(g, part_of(self.grads.store, g.data, p.n * 4))
            g.dtype = F32
            g.rank = p.rank
            g.n = p.n
            memcpy(g.dims, p.dims, p.rank * sizeof(long long))
            p.home = g

    cdef inline long long start(self, long long i):
        return (<int64_t *>self.starts.data)[i]

    cdef inline bint inside(self, Tensor p, long long i):
        """Whether parameter i and its gradient lie here."""
        return (p.data == self.data.data + self.start(i) * 4 and p.gradient is not None
                and p.gradient.data == self.grads.data + self.start(i) * 4)

    cdef int gather(self, bint take) except -1:
        """Move in what may move; take: also out of an older arena."""
        cdef Tensor p
        cdef char *place
        cdef long long i
        for i in range(len(self.params)):
            p = <Tensor>self.params[i]
            place = self.data.data + self.start(i) * 4
            if p.data == place or refs(<void *>p.store) > 1:
                continue
            if p.store.owner is not None and not (take and isinstance(p.store.owner, Storage)):
                continue
            memcpy(place, p.data, p.n * 4)
            attach(p, part_of(self.data.store, place, p.n * 4))
            p.data = place
        return 0

    @property
    def numel(self):
        """Elements of a block that holds one value per element of the parameters."""
        return self.start(len(self.params))

    def part(self, Tensor block not None, long long i):
        """The values of parameter i in such a block, in the parameter's shape."""
        if block.n != self.numel or not 0 <= i < len(self.params):
            raise ShapeError(f"arena: got part {i} of {block.n}; need {len(self.params)} of {self.numel}")
        cdef Tensor p = <Tensor>self.params[i], v = alias(block, Tensor, False)
        v.data += self.start(i) * block.dtype.itemsize
        v.rank = p.rank
        v.n = p.n
        memcpy(v.dims, p.dims, p.rank * sizeof(long long))
        return v


cdef int check_step(Arena a, Tensor counts, values, Tensor options, tuple states) except -1:
    cdef Tensor t
    cdef long long i
    if (counts.n != len(a.params) or counts.dtype is not F32 or options.n != len(values)
            or options.dtype is not F64 or len(states) + 4 > FNN_SLOTS):
        raise ShapeError("step: got state that does not belong to the arena")
    for s in states:
        t = <Tensor?>s
        if t.n != a.data.n and t.n != 0:
            raise ShapeError("step: got state that does not belong to the arena")
    for p in a.params:
        t = <Tensor>p
        if t.gradient is not None and t.store.readonly:
            raise ValueError("step: got a parameter in read-only memory; need a copy: use .clone()")
    for i in range(options.n):
        (<double *>options.data)[i] = values[i]
    return 0


cdef int run_step(Arena a, int op, long long flags, Tensor counts, Tensor options, tuple states) except -1:
    """One record per run of neighbours whose gradients are at home and whose counts are equal."""
    cdef fnn_call c
    cdef Tensor p, g
    cdef tuple inputs
    cdef float *count = <float *>counts.data
    cdef long long first, i = 0, j, n = len(a.params)
    cdef Recorder rec = recorder()
    while i < n:
        first = i
        p = <Tensor>a.params[i]
        if rec is not None:
            rec.read_gradient(p)
        g = p.gradient
        i += 1
        if g is None:
            continue
        memset(&c, 0, sizeof(fnn_call))
        c.op = op
        c.dim[3] = a.start(first)
        if a.inside(p, first):
            while i < n and count[i] == count[first] and a.inside(<Tensor>a.params[i], i):
                if rec is not None:
                    rec.read_gradient(<Tensor>a.params[i])
                i += 1
            for j in range(first, i):
                (<Tensor>a.params[j]).store.version += 1
                if rec is not None:
                    rec.written[<uintptr_t><void *>a.params[j]] = a.params[j]
            if rec is not None:
                rec.runs.append((counts, first, i))
            c.dim[0] = a.start(i) - c.dim[3]
            c.dim[1] = c.dim[2] = c.dim[3]
            inputs = (a.data, a.grads, counts, options) + states
        else:
            c.dim[0] = p.n
            inputs = (p, g, counts, options) + states
        c.dim[4] = first
        c.dim[5] = i - first
        c.dim[6] = flags
        launch(&c, inputs, (), False)
    return 0


def step_arenas(int op, list jobs not None):
    """Step groups: jobs are (arena, flags, counts, values, options, states), see op_optim.h.

    All of them are checked before the first kernel runs, and no Python code runs in between:
    a step is applied wholly or not at all.
    """
    cdef Arena a
    for a, _, counts, values, options, states in jobs:
        check_step(a, counts, values, options, states)
    cdef bint traced = recording is not None or profiling is not None
    if traced:
        enter(number_of("optimizer"), None)
    try:
        for a, flags, counts, _, options, states in jobs:
            a.gather(False)
            run_step(a, op, flags, counts, options, states)
    finally:
        if traced:
            leave()


def set_options(list jobs not None):
    """Check jobs as step_arenas does and write their option values: a replay runs the rest."""
    for a, _, counts, values, options, states in jobs:
        check_step(a, counts, values, options, states)


def drop_gradients(params not None):
    """Set .grad of every parameter to None."""
    cdef Recorder rec = recorder()
    for p in params:
        (<Tensor?>p).gradient = None
        if rec is not None:
            rec.leaves[p] = None


def segments(list tensors not None, long long chunk):
    """Where tensors lie: [(block, table, (rows, chunks, elements))], and the chunks of all.

    One entry for all tensors in the same arena. Every tensor is cut into chunks, numbered through
    all of them. Rows of an int64 table: first element in the block, size, number of the first
    chunk, chunks of the rows before; a last row closes the last column.
    """
    cdef long long k, j, elements, chunks = 0
    cdef Tensor t, block, table
    cdef int64_t *row
    cdef dict homes = {}
    cdef list found = []
    for k in range(len(tensors)):
        t = <Tensor?>tensors[k]
        key = id(t.store.owner) if isinstance(t.store.owner, Storage) else -1 - k
        homes.setdefault(key, []).append((k, chunks))
        chunks += (t.n + chunk - 1) // chunk
    for members in homes.values():
        t = block = <Tensor>tensors[members[0][0]]
        if isinstance(t.store.owner, Storage):
            block = Tensor.__new__(Tensor)
            attach(block, <Storage>t.store.owner)
            block.data = block.store.ptr
            block.dtype = F32
            block.rank = 1
            block.dims[0] = block.n = block.store.nbytes // 4
        table = zeros(4 * (len(members) + 1), I64)
        row = <int64_t *>table.data
        elements = 0
        for k, j in members:
            t = <Tensor>tensors[k]
            row[0] = (t.data - block.data) // 4
            row[1] = t.n
            row[2] = j
            row[7] = row[3] + (t.n + chunk - 1) // chunk
            row += 4
            elements += t.n
        found.append((block, table, (len(members), row[3], elements)))
    return found, chunks
