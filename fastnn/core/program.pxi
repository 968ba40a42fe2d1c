# A recorded step as a list of calls that runs again without Python: addresses, guards, results.

cdef object STALE = object()    # what the program was recorded for is gone: record again
cdef object OTHER = object()    # this call finds other gradients: another program, or record one
cdef object HELD = object()     # somebody holds memory it would overwrite: run the function itself


ctypedef struct Patch:
    int place                       # argument or escape
    void **at
    long long offset


cdef class Escape:
    """Memory that the step hands out: somebody may still hold what the last call put there."""
    cdef list storages              # of which one is in use, and others wait to be let go
    cdef Tensor gradient            # a leaf's .grad lies here, or None
    cdef long long nbytes
    cdef char *now

    cdef Storage free_storage(self):
        """A block that nobody else holds; at most two are kept."""
        for s in self.storages:
            if refs(<void *>s) == 2:            # the list and s
                return <Storage>s
        made = new_storage(self.nbytes)
        self.storages = [made] + self.storages[:1]
        return made


cdef enum:
    NO_GRADIENT = -1
    AT_HOME = -2
    THIS_TENSOR = -3


cdef class LeafEnd:
    """What a step leaves in leaf.grad."""
    cdef Tensor leaf
    cdef int where                      # NO_GRADIENT, AT_HOME, THIS_TENSOR, or the number of an escape
    cdef Tensor gradient                # THIS_TENSOR
    cdef bint adds                      # it had a gradient before, which the step adds to or changes


cdef class Program:
    """One signature of a compiled function: its calls, and where their operands lie.

    Addresses are final but for those of arguments and escapes, which are patched when they differ.
    """
    cdef fnn_call *calls
    cdef unsigned char *which       # 1 = a backward call
    cdef fnn_link *links            # of those calls that are chains
    cdef float *costs               # ns on one core
    cdef Label *labels              # for the profiler
    cdef long long n
    cdef double ns
    cdef Patch *patches
    cdef int n_patches
    cdef ValueCheck *checks
    cdef int n_checks
    cdef char **argument            # where each argument lies now
    cdef list argument_written
    cdef int n_arguments
    cdef list escapes
    cdef Storage arena
    cdef list keep                  # constants and external tensors
    cdef list tensors, homes        # external tensors; leaves whose homes are used
    cdef char **addresses           # and where they must be
    cdef list written               # Tensor or HomeOf
    cdef list entry, leaves         # (leaf, gradient or HOME), LeafEnd
    cdef list runs, packed
    cdef list results               # (kind, ...) of each tensor returned
    cdef list phases
    cdef Attributes attributes
    cdef readonly dict fused        # call -> (patterns, names of what it was made of)
    cdef readonly long long temporary_bytes, arena_bytes, constant_bytes, eager_peak_bytes
    cdef readonly list temporaries  # (offset in the arena, bytes, first call, last call, in place of)
    cdef Undo undo
    cdef bint busy

    def __dealloc__(self):
        free(self.calls)
        free(self.which)
        free(self.links)
        free(self.costs)
        free(self.labels)
        free(self.patches)
        free(self.checks)
        free(self.argument)
        free(self.addresses)

    def __len__(self):
        return self.n

    def memory(self):
        """Bytes, in whole cache lines, that replays take: "arena" for temporaries, "results" and
        "constants"; "temporaries" is what they would be side by side, "eager_peak" the most that the
        step itself took at once."""
        return {"arena": self.arena_bytes,
                "results": sum([lines_of((<Escape>e).nbytes) for e in self.escapes]),
                "constants": self.constant_bytes, "temporaries": self.temporary_bytes,
                "eager_peak": self.eager_peak_bytes}

    def describe(self):
        """The list of launches, the memory plan, and what was fused."""
        return describe(self)

    def calls_made(self):
        """(op, backward, estimated ns on one core) of each call."""
        return [(OP_NAMES[self.calls[i].op], bool(self.which[i]), self.costs[i]) for i in range(self.n)]


cdef bint values_are_valid(Program p, int k) except -1:
    """Look again at indices that kernels will trust, or at probabilities."""
    cdef ValueCheck *c = &p.checks[k]
    cdef const void *x = <const void *>((NULL if c.block < 0 else p.argument[c.block]) + c.offset)
    if c.real:
        return unlikely(<const float *>x, c.n, c.nan) < 0
    return outside(<const int64_t *>x, c.n, c.low, c.high, c.skip, c.skipping) < 0


cdef object state_of(Program p):
    """None if it may run, else STALE, OTHER or HELD."""
    cdef long long i, first, end, n = len(p.tensors)
    cdef unsigned int version
    cdef Tensor t
    cdef LeafEnd leaf
    cdef float *count
    for i in range(n):
        if (<Tensor>p.tensors[i]).data != p.addresses[i]:
            return STALE
    for i in range(len(p.homes)):
        t = <Tensor>p.homes[i]
        if t.home is None or t.home.data != p.addresses[n + i]:
            return STALE
    for w, v in p.packed:
        version = v
        if not pack_is_true(<Tensor>w, version):
            return STALE
    for x, g in p.entry:
        t = <Tensor>x
        if t.gradient is not g and not (g is HOME and t.gradient is not None and t.gradient is t.home):
            return OTHER if g is None or g is HOME else STALE
    for counts, first, end in p.runs:
        count = <float *>(<Tensor>counts).data
        for i in range(first, end):
            if count[i] != count[first]:
                return STALE
    for x in p.leaves:
        leaf = <LeafEnd>x
        if leaf.where == AT_HOME:
            t = leaf.leaf
            if t.home is None:
                return STALE
            # The leaf holds it as home and perhaps as gradient.
            if (refs(<void *>t.home) > 1 + (t.gradient is t.home)
                    or refs(<void *>t.home.store) > 1):
                return HELD
    return None


cdef object replay(Program p, list arguments):
    """The tensors that the program returns for arguments of its signature; or STALE, OTHER or HELD."""
    cdef double began = clock()
    if p.busy:
        return HELD
    p.busy = True
    try:
        return replay_now(p, arguments)
    finally:
        p.busy = False
        end_span("replay", began)


cdef object replay_now(Program p, list arguments):
    cdef int k
    state = state_of(p)
    if state is not None:
        return state
    patch_all(p, arguments)
    for k in range(p.n_checks):
        if not p.checks[k].late and not values_are_valid(p, k):
            return HELD                 # the function itself says what is wrong
    p.undo.begin(p)
    try:
        if not run_phases(p):
            return STALE
    except BaseException:
        p.undo.apply(p)
        raise
    return finish(p, arguments)


cdef bint run_phases(Program p) except -1:
    """Run the calls, and Python's work between them; False if the program is stale, before any call."""
    cdef long long at = 0, end
    cdef double *times = NULL
    cdef int ran
    for refreshes, end, after in p.phases:
        for f in refreshes:
            if not f():
                if at == 0:
                    return False
                raise GraphError("compile: an optimizer was changed between two of its steps; need its "
                                 "options changed outside the step")
        if profiling is not None and not poisoning:
            times = start_watch(end - at)
        try:
            ran = 0
            run_calls(p, at, end, times)
            ran = 1
        finally:
            if times != NULL:
                stop_replay_watch(times, p.calls + at, p.which + at, p.labels + at, end - at if ran else 0)
                times = NULL
        at = end
        for f in after:
            if not isinstance(f, int):
                f()
            elif not values_are_valid(p, f):
                raise IndexRangeError("compile: got a value out of range that the step computed as an "
                                      "index or a probability; need one in range: FASTNN_REPLAY=0 "
                                      "shows where")
    return True


cdef int planted_fault = 0
cdef bint poisoning = False


def plant_planner_fault(int kind):
    """Plan as if temporaries died at once (1), or as if any kernel could write over what it reads (2);
    0 = rightly. For tests of what must find it."""
    global planted_fault
    planted_fault = kind


def poison_dead_memory(bint on):
    """Fill every temporary with NaN when its last call is over: for tests."""
    global poisoning
    poisoning = on


cdef int replay_poisoned(Program p, long long at, long long end, int threads) except -1:
    cdef long long i
    cdef set handed_on = {host for *_, host in p.temporaries}
    if at == 0:
        memset(p.arena.ptr, 0xFF, p.arena_bytes)
    for i in range(at, end):
        if fnn_replay(p.calls + i, p.which + i, p.costs + i, 1, threads, NULL):
            return 1
        for k, (offset, nbytes, _, last, _) in enumerate(p.temporaries):
            if last == i and k not in handed_on:
                memset(p.arena.ptr + <long long>offset, 0xFF, nbytes)
    return 0


cdef int patch_all(Program p, list arguments) except -1:
    """Bring the addresses of arguments and escapes up to date."""
    cdef int i, k, changed = 0
    cdef Tensor t
    cdef Escape e
    cdef Storage s
    cdef char *base
    for i in range(p.n_arguments):
        t = <Tensor>arguments[i]
        realize(t)
        if p.argument[i] != t.data:
            p.argument[i] = t.data
            changed = 1
    for x in p.escapes:
        e = <Escape>x
        if e.gradient is not None:
            renew_gradient(e)
            s = e.gradient.store
        else:
            s = e.free_storage()
        if e.now != s.ptr:
            e.now = s.ptr
            changed = 1
    if changed:
        for k in range(p.n_patches):
            i = p.patches[k].place
            base = p.argument[i] if i < p.n_arguments else (<Escape>p.escapes[i - p.n_arguments]).now
            p.patches[k].at[0] = base + p.patches[k].offset
    return 0


cdef int renew_gradient(Escape e) except -1:
    """A gradient that somebody still looks at stays as it is; the leaf gets another."""
    cdef Tensor g = e.gradient
    if refs(<void *>g) <= 3 and refs(<void *>g.store) <= 1:     # the leaf, the escape and g
        return 0
    e.gradient = new_tensor(g.dtype, g.rank, g.dims, g.n)
    return 0


cdef list finish(Program p, list arguments):
    """Gradients, versions and returned tensors, as the function would have left them."""
    cdef Tensor t, v, shape
    cdef LeafEnd leaf
    cdef Storage s
    cdef list out = []
    for x in p.leaves:
        leaf = <LeafEnd>x
        t = leaf.leaf
        if leaf.where == AT_HOME:
            t.gradient = t.home
        elif leaf.where >= 0:
            t.gradient = (<Escape>p.escapes[leaf.where]).gradient
        else:
            t.gradient = leaf.gradient
        if t.gradient is not None:
            t.gradient.store.version += 1
    for x in p.written:
        if type(x) is HomeOf:
            (<HomeOf>x).leaf.home.store.version += 1
        else:
            (<Tensor>x).store.version += 1
    for i in p.argument_written:
        (<Tensor>arguments[i]).store.version += 1
    for shape, place, offset, is_argument in p.results:
        if place < 0:
            out.append(shape)
            continue
        v = Tensor.__new__(Tensor)
        v.dtype = shape.dtype
        v.rank = shape.rank
        v.n = shape.n
        memcpy(v.dims, shape.dims, shape.rank * sizeof(long long))
        s = (<Tensor>arguments[place]).store if is_argument else storage_now(<Escape>p.escapes[place])
        attach(v, s)
        v.data = (<Tensor>arguments[place]).data if is_argument else s.ptr
        v.data += <long long>offset
        out.append(v)
    return out


cdef Storage storage_now(Escape e):
    if e.gradient is not None:
        return e.gradient.store
    for s in e.storages:
        if (<Storage>s).ptr == e.now:
            return <Storage>s
