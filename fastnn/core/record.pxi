# Recording a step: every launch of one thread, with each operand as (block, offset) instead of an address.

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef enum Kind:
    ARGUMENT            # an argument of the step: its address may differ at every call
    EXTERNAL            # memory from before: parameters, optimizer states, generators
    CONSTANT            # made during the step, but by no record: numbers, index tables
    TEMPORARY           # made by a record
    FUSED               # a temporary that fusion did away with, or put in the scratch of threads

ctypedef struct Block:
    Kind kind
    long long nbytes
    long long first, last           # the calls that touch it, first and last
    char *base                      # where it was during recording
    bint alive                      # TEMPORARY: somebody still holds it
    long long scratch               # FUSED: where in the scratch of each thread
    long long renewed               # the call that fills it with what it held at first, -1 = none
    long long gone                  # the first call that eager would run without it, -1 = none
    long long held                  # bytes that eager takes for it

ctypedef struct Operands:
    int buf[12]                     # block of each operand, -1 = none
    int grad[12]
    unsigned same, same_grad        # bit j: all of its block, and of the size and dtype of the first output

ctypedef struct ValueCheck:
    int block
    bint real                       # probabilities, else indices
    bint nan
    long long offset, n, low, high, skip
    bint skipping
    bint late                       # the step computes them: looked at when they are there


cdef inline long long lines_of(long long nbytes):
    """The bytes of whole cache lines."""
    return (nbytes + 63) // 64 * 64


cdef class Recorder:
    """Collects the calls of one step; a Program is made of it."""
    cdef unsigned long thread
    cdef long long first_storage    # serial: anything from it on was made during the step
    cdef long long first_record
    cdef fnn_call *calls            # addresses are those of the recording, until a Program moves them
    cdef Operands *operands
    cdef unsigned char *backward
    cdef Label *labels
    cdef long long n, room
    cdef Block *blocks
    cdef ValueCheck *checks
    cdef int n_checks, room_checks
    cdef int n_blocks, room_blocks
    cdef long long serial           # of this recording: Storages that carry it know their block
    cdef dict raw                   # address of gradient memory without a Storage -> block
    cdef list holders               # block -> what keeps it: Tensor, Storage, or None
    cdef dict tensors               # id -> external Tensor, whose address must stay what it was
    cdef dict written               # id -> external Tensor that a record changes
    cdef dict entry                 # leaf -> its .grad when the step began, if that mattered; HOME: its home
    cdef dict homes                 # id -> leaf whose home it is: a home must not be held, see fresh_gradient
    cdef dict leaves                # leaf -> None: its .grad was set by the step
    cdef list hosts                 # (call, what, ...): what Python does before that call
    cdef dict modules               # id -> (module called, its attributes before)
    cdef bint in_host
    cdef list packed                # (weight, its version) of copies that calls read instead
    cdef list runs                  # (counts, first, end): step counts that were equal
    cdef fnn_link *links            # of all chains, which fusion makes
    cdef Operands *link_operands
    cdef int n_links, room_links

    def __cinit__(self):
        self.thread = PyThread_get_thread_ident()
        global n_recordings
        n_recordings += 1
        self.serial = n_recordings
        self.first_storage = n_storages + 1
        self.first_record = n_records
        self.raw, self.holders = {}, []
        self.tensors, self.written, self.entry, self.leaves, self.homes = {}, {}, {}, {}, {}
        self.hosts, self.modules, self.runs, self.packed = [], {}, [], []

    def __dealloc__(self):
        free(self.calls)
        free(self.operands)
        free(self.backward)
        free(self.labels)
        free(self.links)
        free(self.link_operands)
        free(self.blocks)
        free(self.checks)

    cdef int add_block(self, Kind kind, char *base, long long nbytes, object holder) except -1:
        cdef Block *b
        if self.n_blocks == self.room_blocks:
            self.room_blocks = 2 * self.room_blocks + 64
            self.blocks = <Block *>grown(self.blocks, self.room_blocks * sizeof(Block))
        b = &self.blocks[self.n_blocks]
        b.kind = kind
        b.nbytes = nbytes
        b.first = b.last = self.n
        b.base = base
        b.alive = kind == TEMPORARY
        b.renewed = b.gone = -1
        b.held = lines_of(nbytes)
        self.holders.append(holder)
        self.n_blocks += 1
        return self.n_blocks - 1

    cdef inline int known(self, Storage s):
        """The block that s is, -1 if it was not seen yet."""
        return s.block if s.recording == self.serial else -1

    cdef inline void name(self, Storage s, int b):
        s.recording = self.serial
        s.block = b

    cdef int block_of(self, Tensor t, bint output) except -1:
        """The block a tensor lies in; a new one is made where it was not seen before."""
        cdef Storage s = root_of(t.store)
        cdef int b = self.known(s)
        if b >= 0:
            if self.blocks[b].kind == EXTERNAL and self.holders[b] is not t:
                self.pin(t)
            self.blocks[b].last = self.n
            return b
        if s.serial < self.first_storage:
            b = self.add_block(EXTERNAL, s.ptr, s.nbytes, self.pin(t))
        elif output:
            b = self.add_block(TEMPORARY, s.ptr, s.nbytes, None)
        else:
            b = self.add_block(CONSTANT, s.ptr, s.nbytes, s)
        self.name(s, b)
        return b

    cdef object pin(self, Tensor t):
        """The program works where t lies; returns what keeps it there, None for the home of a leaf."""
        if <uintptr_t><void *>t in self.homes:
            return None
        self.tensors[<uintptr_t><void *>t] = t
        return t

    cdef int add_call(self, fnn_call *c, bint backward) except -1:
        cdef int j
        if self.n == self.room:
            self.room = 2 * self.room + 64
            self.calls = <fnn_call *>grown(self.calls, self.room * sizeof(fnn_call))
            self.operands = <Operands *>grown(self.operands, self.room * sizeof(Operands))
            self.backward = <unsigned char *>grown(self.backward, self.room)
            self.labels = <Label *>grown(self.labels, self.room * sizeof(Label))
        self.calls[self.n] = c[0]
        self.backward[self.n] = backward
        for j in range(FNN_SLOTS):
            self.operands[self.n].buf[j] = self.operands[self.n].grad[j] = -1
        self.operands[self.n].same = self.operands[self.n].same_grad = 0
        return 0

    cdef int add_forward(self, fnn_call *c, tuple inputs, tuple outputs, bint in_place) except -1:
        """A launch that is about to run."""
        cdef int j
        cdef Operands *o
        cdef Tensor t
        cdef unsigned writes = fnn_ops[c.op].writes
        for j in range(c.n_in):
            if writes >> j & 1:
                self.note_write(<Tensor>inputs[j], c.op)
        if in_place:
            self.note_write(<Tensor>outputs[0], c.op)
        self.add_call(c, False)
        self.labels[self.n].module = path_here()
        self.labels[self.n].bytes = forward_bytes(c, inputs, outputs)
        o = &self.operands[self.n]
        for j in range(c.n_in):
            o.buf[j] = self.block_of(<Tensor>inputs[j], False)
        for j in range(c.n_out):
            o.buf[c.n_in + j] = self.block_of(<Tensor>outputs[j], True)
        if c.n_out:
            for j in range(c.n_in + c.n_out):
                t = <Tensor>inputs[j] if j < c.n_in else <Tensor>outputs[j - c.n_in]
                o.same |= self.fills(o.buf[j], t, <Tensor>outputs[0]) << j
        self.n += 1
        return 0

    cdef inline unsigned fills(self, int b, Tensor t, Tensor like):
        return (t.data == self.blocks[b].base and t.n * t.dtype.itemsize == self.blocks[b].nbytes
                and t.n == like.n and t.dtype is like.dtype)

    cdef int note_write(self, Tensor t, int op) except -1:
        """A record is about to change t in place."""
        cdef Storage s = root_of(t.store)
        cdef Tensor old
        cdef int b = self.known(s)
        if b < 0 and s.serial >= self.first_storage:
            # Made during the step, with values that every replay must start from, unless it stays.
            old = new_tensor(t.dtype, t.rank, t.dims, t.n)
            memcpy(old.data, t.data, t.n * t.dtype.itemsize)
            b = self.add_block(TEMPORARY, s.ptr, s.nbytes, s)
            self.name(s, b)
            self.blocks[b].renewed = self.n
            unrecorded_copy(t, old)
        elif b >= 0 and self.blocks[b].kind == CONSTANT:
            raise UnsupportedOpError(f"compile: {OP_NAMES[op]}: got an in-place change of a tensor made "
                                     f"inside the step and read before{where()}; need the op without _")
        elif b < 0 or self.blocks[b].kind != TEMPORARY:
            leaf = self.homes.get(<uintptr_t><void *>t)
            self.written[<uintptr_t><void *>t] = t if leaf is None else HomeOf(leaf)
        return 0

    cdef int gradient_memory(self, float *p, long long n, bint again) except -1:
        """Backward takes memory for a gradient that no tensor owns; again: it had it before."""
        cdef int b = self.add_block(TEMPORARY, <char *>p, n * sizeof(float), None)
        self.blocks[b].alive = False
        if again:
            self.blocks[b].held = 0
        self.raw[<uintptr_t>p] = b
        return 0

    cdef void gradients_gone(self, int first):
        """Backward gives its memory back: the blocks from first on that no Storage was told of."""
        cdef int b
        for b in range(first, self.n_blocks):
            if self.blocks[b].kind == TEMPORARY and not self.blocks[b].alive and self.blocks[b].gone < 0:
                self.blocks[b].gone = self.n

    cdef int take_over(self, Storage s) except -1:
        """A saved output becomes a gradient."""
        self.raw[<uintptr_t>s.ptr] = self.known(s)
        return 0

    cdef int seed(self, float *p, Tensor value) except -1:
        """Backward starts from value: copied by a record, for kernels may overwrite it."""
        cdef Storage s = Storage.__new__(Storage)
        cdef Tensor t = Tensor.__new__(Tensor)
        s.owner = self                  # not the owner of this memory
        s.ptr = <char *>p
        s.nbytes = value.n * sizeof(float)
        attach(t, s)
        t.data = s.ptr
        t.rank = value.rank
        t.n = value.n
        memcpy(t.dims, value.dims, value.rank * sizeof(long long))
        self.name(s, self.raw[<uintptr_t>p])
        unrecorded_copy(t, value)
        return 0

    cdef void died(self, Storage s):
        if s.recording == self.serial:
            self.blocks[s.block].alive = False
            self.blocks[s.block].gone = self.n

    cdef int add_backward(self, Record r, fnn_call *c, dict leaves) except -1:
        """One call of a backward pass, whose gradients have their places."""
        cdef int j, b
        cdef Operands *o
        cdef Tensor leaf
        if r.seq <= self.first_record:
            raise GraphError(f"compile: {OP_NAMES[c.op]}: got a backward pass through a graph that was made "
                             "outside the step; need the forward pass inside, or .detach()")
        self.add_call(c, True)
        self.labels[self.n].module = r.module
        self.labels[self.n].bytes = backward_bytes(r, c)
        o = &self.operands[self.n]
        for j, store in r.stores:
            o.buf[j] = b = self.known(root_of(<Storage>store))
            self.blocks[b].last = self.n
            if r.position and self.operands[r.position - 1].same >> <int>j & 1:
                o.same |= 1 << <int>j
        for j in range(c.n_in + c.n_out):
            if c.grad[j] == NULL:
                continue
            e = r.edges[j] if j < c.n_in else None
            if isinstance(e, Tensor):
                leaf = <Tensor>leaves[e]
                b = self.block_of(leaf, True)
            else:
                b = self.raw[<uintptr_t>c.grad[j]]
                self.blocks[b].last = self.n
            o.grad[j] = b
            if (<char *>c.grad[j] == self.blocks[b].base and r.numel[j] == r.numel[c.n_in]
                    and r.numel[j] * <long long>sizeof(float) == self.blocks[b].nbytes):
                o.same_grad |= 1 << j
        self.n += 1
        return 0

    cdef int read_gradient(self, Tensor leaf) except -1:
        """Something depends on the .grad that leaf has now."""
        if leaf.home is not None and root_of(leaf.home.store).serial < self.first_storage:
            self.homes[<uintptr_t><void *>leaf.home] = leaf
        if leaf not in self.leaves and leaf not in self.entry:
            at_home = leaf.gradient is not None and leaf.gradient is leaf.home
            self.entry[leaf] = HOME if at_home else leaf.gradient
        return 0

    cdef int check_readable(self, Tensor t, str what) except -1:
        """A value leaves for Python: fine if it is the same at every replay."""
        cdef Storage s = root_of(t.store)
        cdef int b = self.known(s)
        if s.serial >= self.first_storage and (b < 0 or self.blocks[b].kind == CONSTANT):
            return 0
        made = f", made by {OP_NAMES[(<Record>t.edge).call.op]}," if isinstance(t.edge, Record) else ""
        raise GraphError(f"compile: {what}: got the value of a tensor {t.shape}{made} inside a compiled step"
                         f"{where()}; need it read outside: return the tensor")

    cdef int add_check(self, Tensor t, long long low, long long high, skip, bint nan=False) except -1:
        """Indices were found to lie in [low, high), or probabilities: later calls must look again."""
        cdef ValueCheck *k
        cdef int b = self.block_of(t, False)
        if self.n_checks == self.room_checks:
            self.room_checks = 2 * self.room_checks + 8
            self.checks = <ValueCheck *>grown(self.checks, self.room_checks * sizeof(ValueCheck))
        k = &self.checks[self.n_checks]
        k.block = b
        k.real = t.dtype is F32
        k.nan = nan
        k.offset = t.data - self.blocks[b].base
        k.n = t.n
        k.low = low
        k.high = high
        k.skipping = skip is not None
        k.skip = skip if k.skipping else 0
        k.late = self.blocks[b].kind == TEMPORARY
        if k.late:
            self.hosts.append((self.n, "check", self.n_checks))
        self.n_checks += 1
        return 0


cdef object HOME = object()             # a gradient that lies at the leaf's home


@cython.final
cdef class HomeOf:
    """The home of a leaf, without holding it."""
    cdef Tensor leaf

    def __cinit__(self, Tensor leaf):
        self.leaf = leaf


cdef Recorder recording = None
cdef long long n_recordings = 0


cdef int unrecorded_copy(Tensor to, Tensor source) except -1:
    """Copy by a call of the program that belongs to no graph."""
    cdef int mode = fnn_grad_mode(0)
    try:
        hooks["copy_"](alias(to, Tensor, False), source)
    finally:
        fnn_grad_mode(mode)
    return 0


cdef inline Recorder recorder():
    """The recorder of this thread, or None."""
    if recording is None or recording.thread != PyThread_get_thread_ident():
        return None
    return recording


cdef Storage root_of(Storage s):
    """The block that a part of an arena belongs to."""
    while isinstance(s.owner, Storage):
        s = <Storage>s.owner
    return s


cdef void *grown(void *p, size_t nbytes) except NULL:
    cdef void *q = realloc(p, nbytes)
    if q == NULL:
        raise MemoryError("compile: no memory for the list of calls")
    return q


cdef str where():
    """The line of the caller outside fastnn, for messages."""
    frame = _getframe(0)
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "fastnn":
        frame = frame.f_back
    return "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"


cdef int leaves_for_python(Tensor t, str what) except -1:
    """The values of t are about to be read outside records."""
    cdef Recorder r = recorder()
    if r is not None:
        r.check_readable(t, what)
    return 0


cdef object unrecorded = None           # a listener, for tests


def untraceable(str name):
    """Said by whatever computes from the values of tensors outside records, which a replay of records
    would therefore miss: integer extremes, sort, nonzero, ..."""
    if unrecorded is not None:
        unrecorded(name)
    if recorder() is not None:
        raise UnsupportedOpError(f"compile: {name}: got it inside a compiled step{where()}; need it outside: "
                                 "it computes in NumPy, which a replay does not run")


def on_untraceable(function):
    """Call function(name) at each of them from now on, None = nothing; returns what it was."""
    global unrecorded
    old, unrecorded = unrecorded, function
    return old


def is_recording():
    """Whether this thread is recording a step."""
    return recorder() is not None


cdef note_module(module):
    """A module is called: its attributes belong to the program."""
    cdef Recorder r = recorder()
    if r is not None:
        key = <uintptr_t><void *>module
        if key not in r.modules:
            r.modules[key] = (module, (<dict>module.__dict__).copy())


def host_call(str what, function):
    """Run function, which changes no tensor; a compiled step runs it at every replay, too.

    what: "refresh" before the calls that follow, "after" behind those before it.
    """
    r = recorder()
    if r is None:
        return function()
    outer = r.in_host
    if not outer:
        r.hosts.append((r.n, what, function))
    r.in_host = True
    try:
        return function()
    finally:
        r.in_host = outer


def note_host(str what, function):
    """The same for a function that has run already."""
    r = recorder()
    if r is not None:
        r.hosts.append((r.n, what, function))
