# Ctrl-C in the middle of a long replay: the step happens wholly or not at all.

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept
    void *raise_pending "PyErr_Occurred"() except *
    void PyErr_SetInterrupt()

cdef enum:
    MAX_UNDO = 1 << 16                  # bytes of state that are kept to be set back

cdef double poll_ns = 2e7               # estimated work between two looks at signals
cdef long long n_polls = 0, interrupt_at = 0


cdef class Undo:
    """Until when a program can be given up, and what must be set back then.

    A replay that stops before the call `until` has changed nothing that outlives the step, but for
    gradients, which are forgotten (as zero_grad() does, and eager code would have before), and for
    little things like the state of a generator, which are kept and set back.
    """
    cdef long long until, reached       # calls
    cdef bint careful                   # something may stop this program: signals, checks of values
    cdef list kept                      # (Tensor, where its block is, bytes, a Storage for a copy)

    cdef int begin(self, Program p) except -1:
        self.reached = 0
        self.careful = p.ns >= poll_ns or len(p.phases) > 1
        if self.careful:
            for _, at, nbytes, copy in self.kept:
                memcpy((<Storage>copy).ptr, <char *><uintptr_t>at, <long long>nbytes)
        return 0

    cdef int apply(self, Program p) except -1:
        """The program was given up: as before, if it has not come too far."""
        cdef LeafEnd end
        if not self.careful or self.reached > self.until:
            return 0
        for _, at, nbytes, copy in self.kept:
            memcpy(<char *><uintptr_t>at, (<Storage>copy).ptr, <long long>nbytes)
        for x in p.leaves:
            end = <LeafEnd>x
            if end.where == AT_HOME and not end.adds:
                end.leaf.gradient = None
        return 0


cdef Undo undo_of(Program p, Recorder r):
    """Made while the calls still have the addresses of the recording."""
    cdef Undo u = Undo.__new__(Undo)
    cdef dict kept = {}
    cdef set fresh = set()              # gradients that this step starts
    cdef long long i, nbytes = 0
    cdef int j, b
    cdef fnn_call *c
    cdef unsigned writes
    cdef long long last = r.n
    for at, what, _ in r.hosts:
        if what == "after":             # such as a schedule's step, which nothing can take back
            last = min(last, <long long>at)
    u.kept = []
    u.until = 0
    for i in range(last):
        c = &r.calls[i]
        writes = fnn_ops[c.op].writes | ~((1u << c.n_in) - 1)
        for j in range(c.n_in + c.n_out):
            if r.backward[i]:
                b = r.operands[i].grad[j] if j < c.n_in else -1
                if b >= 0 and not c.acc >> j & 1:
                    fresh.add(<uintptr_t>c.grad[j])
                if b >= 0 and <uintptr_t>c.grad[j] in fresh:
                    fresh.add(("block", b))
                    continue
            else:
                b = r.operands[i].buf[j] if writes >> j & 1 else -1
            if b < 0 or b in kept or r.blocks[b].kind in (TEMPORARY, CONSTANT):
                continue
            if ("block", b) in fresh and not r.backward[i]:
                continue
            if r.blocks[b].kind == ARGUMENT or nbytes + r.blocks[b].nbytes > MAX_UNDO:
                return u
            nbytes += r.blocks[b].nbytes
            kept[b] = None
            u.kept.append((r.holders[b], <uintptr_t>r.blocks[b].base, r.blocks[b].nbytes,
                           new_storage(r.blocks[b].nbytes)))
        u.until = i + 1
    return u


cdef int run_calls(Program p, long long at, long long end, double *times) except -1:
    """Run calls; while the program can still be given up, look for signals now and then.
    times: where a profile wants to know when each of them ran, or NULL."""
    cdef long long stop, first = at
    cdef double ns
    cdef int threads = n_threads, bad
    cdef fnn_watch watch = fnn_watch(look, poll_ns, 0, 0, 0)
    cdef fnn_watch *watched = &watch if p.ns >= poll_ns and is_main_thread() else NULL
    while at < end:
        stop, ns = at, 0
        while stop < end and (p.ns < poll_ns or at >= p.undo.until or ns <= poll_ns):
            ns += p.costs[stop]
            stop += 1
        if times != NULL:
            fnn_time_records(times + 2 * (at - first))
        watch.until = p.undo.until - at
        if poisoning:
            bad = replay_poisoned(p, at, stop, threads)
        elif ns > DROP_GIL_NS:
            with nogil:
                bad = fnn_replay(p.calls + at, p.which + at, p.costs + at, stop - at, threads, watched)
        else:
            bad = fnn_replay(p.calls + at, p.which + at, p.costs + at, stop - at, threads, watched)
        if bad:
            raise MemoryError("compile: got no scratch memory for a kernel; need some megabytes")
        if watch.begun:
            p.undo.reached = at + watch.begun
            raise_pending()
        p.undo.reached = at = stop
        if at < end and at < p.undo.until and look():
            raise_pending()
    return 0


cdef bint is_main_thread():
    """The only one in which Python looks at signals."""
    return threading.current_thread() is threading.main_thread()


cdef int look() noexcept with gil:
    """Let Python look at its signals; nonzero if a handler raised, which raise_pending() passes on."""
    global n_polls, interrupt_at
    n_polls += 1
    if interrupt_at and n_polls == interrupt_at:
        interrupt_at = 0
        PyErr_SetInterrupt()
    return PyErr_CheckSignals()


def poll_signals_every(double ns):
    """Look at signals after so much estimated work; returns what it was. For tests."""
    global poll_ns
    old, poll_ns = poll_ns, ns
    return old


def interrupt_after(long long n):
    """Let the n-th look at signals from now find a Ctrl-C, 0 = none: for tests."""
    global n_polls, interrupt_at
    n_polls, interrupt_at = 0, n
