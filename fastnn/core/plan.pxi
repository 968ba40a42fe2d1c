# From what was recorded to a Program: which memory is whose, the memory plan, final addresses.

def start_recording(list arguments not None):
    """Record what this thread runs from now on; returns (recorder, arguments to use instead)."""
    global recording
    if recording is not None:
        return None, arguments
    cdef Recorder r = Recorder()
    cdef Tensor t, v
    cdef Storage s
    cdef list given = []
    r.first_storage += len(arguments)
    for x in arguments:
        t = <Tensor>x
        realize(t)
        v = alias(t, Tensor, False)
        s = Storage.__new__(Storage)
        s.owner = t                     # a block of its own over the same memory
        s.ptr = t.data
        s.nbytes = t.n * t.dtype.itemsize
        s.readonly = t.store.readonly
        attach(v, s)
        r.name(s, r.add_block(ARGUMENT, s.ptr, s.nbytes, s))
        given.append(v)
    recording = r
    return r, given


def stop_recording():
    """Back to plain running."""
    global recording
    recording = None


def program(Recorder r not None, list arguments not None, list returned not None,
            frozenset fusions=frozenset()):
    """What was recorded, as a Program; returned: the tensors that the function gave back."""
    cdef Program p = Program.__new__(Program)
    cdef int b
    cdef long long i
    cdef dict escapes = {}
    for t in returned:
        realize(<Tensor>t)
    p.n = r.n
    p.attributes = Attributes(r.modules)
    p.runs, p.packed = r.runs, r.packed
    p.escapes, p.results, p.leaves = [], [], []
    p.n_arguments = len(arguments)
    drop_dead_leaves(r)
    p.entry = list(r.entry.items())
    for t in returned:
        p.results.append(result_of(p, r, <Tensor>t, escapes))
    for leaf in r.leaves:
        p.leaves.append(leaf_end(p, r, <Tensor>leaf, escapes))
    for b in range(r.n_blocks):
        if r.blocks[b].renewed >= 0:
            settle(r, b, b in escapes)
        if r.blocks[b].kind == TEMPORARY and r.blocks[b].alive and b not in escapes:
            raise GraphError(f"compile: got a result of {made_by(r, b)} that is kept outside the step; "
                             "need it returned: a replay runs no Python, so nothing could store it")
    p.eager_peak_bytes = eager_peak(r)
    fuse(p, r, escapes, fusions)
    p.n = r.n
    p.undo = undo_of(p, r)
    place_all(p, r, escapes)
    for i in range(p.n_arguments):
        p.argument[i] = (<Tensor>arguments[i]).data
        (<Tensor>arguments[i]).store.version += (<Storage>r.holders[i]).version
    return p


cdef long long eager_peak(Recorder r) except -1:
    """The most memory that the step's own tensors took at once while it ran eagerly."""
    cdef long long *change = <long long *>grown(NULL, (r.n + 2) * sizeof(long long))
    cdef long long i, now = 0, most = 0
    cdef Block *block
    cdef int b
    memset(change, 0, (r.n + 2) * sizeof(long long))
    for b in range(r.n_blocks):
        block = &r.blocks[b]
        if block.kind == TEMPORARY:
            change[block.first] += block.held
            change[r.n + 1 if block.gone < 0 else block.gone] -= block.held
    for i in range(r.n + 1):
        now += change[i]
        most = max(most, now)
    free(change)
    return most


cdef int drop_dead_leaves(Recorder r) except -1:
    """Leaves made during the step and let go: only the recorder still knows them."""
    cdef Tensor leaf
    cdef int known
    for x in {**r.leaves, **r.entry}:
        leaf = <Tensor>x
        known = (leaf in r.leaves) + (leaf in r.entry)
        if root_of(leaf.store).serial >= r.first_storage and refs(<void *>leaf) <= 3 + known:
            r.leaves.pop(leaf, None)
            r.entry.pop(leaf, None)
    return 0


cdef int settle(Recorder r, int b, bint returned) except -1:
    """What was made during the step and changed in place: a temporary, or state that stays."""
    r.blocks[b].alive = returned or refs(<void *>r.holders[b]) > 1
    if r.blocks[b].alive and not returned:          # as the states of an optimizer in its first step
        r.blocks[b].kind = EXTERNAL
        r.calls[r.blocks[b].renewed].dim[0] = 0     # its values are never set back: their copy may go
        r.labels[r.blocks[b].renewed].bytes = 0
        r.holders[r.operands[r.blocks[b].renewed].buf[0]] = None
    else:
        r.holders[b] = None
    return 0


cdef str made_by(Recorder r, int b):
    cdef long long i
    cdef int j
    for i in range(r.n):
        for j in range(FNN_SLOTS):
            if r.operands[i].buf[j] == b or r.operands[i].grad[j] == b:
                return OP_NAMES[r.calls[i].op]
    return "a record"


cdef int escape_of(Program p, Recorder r, Storage s, dict escapes) except -2:
    """The escape that a block made by the step is; -1 for other memory."""
    cdef Escape e
    s = root_of(s)
    cdef int b = r.known(s)
    if b < 0 or r.blocks[b].kind != TEMPORARY:
        return -1
    if b not in escapes:
        e = Escape.__new__(Escape)
        e.storages = [s]
        e.nbytes = s.nbytes
        e.now = s.ptr
        escapes[b] = len(p.escapes)
        p.escapes.append(e)
    return escapes[b]


cdef tuple result_of(Program p, Recorder r, Tensor t, dict escapes):
    """How replays make a returned tensor."""
    cdef Tensor shape
    cdef int e, b = r.known(root_of(t.store))
    if isinstance(t.edge, Record) and not (<Record>t.edge).ran:
        raise GraphError("compile: got a returned tensor whose graph is alive; need backward() inside "
                         "the step, or no_grad(), or .detach()")
    e = escape_of(p, r, t.store, escapes)
    if e < 0 and not (b >= 0 and r.blocks[b].kind == ARGUMENT):
        return (t, -1, 0, False)
    shape = Tensor.__new__(Tensor)
    shape.dtype = t.dtype
    shape.rank = t.rank
    shape.n = t.n
    memcpy(shape.dims, t.dims, t.rank * sizeof(long long))
    if e < 0:
        return (shape, b, t.data - r.blocks[b].base, True)
    return (shape, e, t.data - root_of(t.store).ptr, False)


cdef LeafEnd leaf_end(Program p, Recorder r, Tensor leaf, dict escapes):
    """What the step leaves in leaf.grad."""
    cdef LeafEnd end = LeafEnd.__new__(LeafEnd)
    cdef Tensor g = leaf.gradient
    end.leaf = leaf
    end.adds = r.entry.get(leaf) is not None
    if g is None:
        end.where = NO_GRADIENT
    elif g is leaf.home:
        end.where = AT_HOME
    else:
        end.where = escape_of(p, r, g.store, escapes)
        if end.where >= 0:
            (<Escape>p.escapes[end.where]).gradient = g
        else:
            end.where = THIS_TENSOR
            end.gradient = g
    return end


cdef int place_all(Program p, Recorder r, dict escapes) except -1:
    """Give every block its address and every operand the address in its block."""
    cdef long long n = r.n_blocks, total
    cdef long long *work = <long long *>grown(NULL, (5 * n + 1) * sizeof(long long))
    cdef char **base = <char **>grown(NULL, (n + 1) * sizeof(char *))
    cdef int *place = <int *>grown(NULL, (n + 1) * sizeof(int))
    cdef int *index = <int *>grown(NULL, (n + 1) * sizeof(int))     # among the temporaries, -1 = none
    cdef long long *over = work + 4 * n
    cdef long long m = 0
    cdef int b
    try:
        for b in range(n):
            place[b] = index[b] = -1
            if r.blocks[b].kind == CONSTANT and r.holders[b] is not None:
                p.constant_bytes += lines_of(r.blocks[b].nbytes)
            base[b] = r.blocks[b].base
            if r.blocks[b].kind == TEMPORARY and b not in escapes:
                work[m] = r.blocks[b].nbytes
                work[n + m] = r.blocks[b].first
                work[2 * n + m] = r.blocks[b].first if planted_fault == 1 else r.blocks[b].last
                p.temporary_bytes += r.blocks[b].nbytes
                index[b] = m
                m += 1
            elif r.blocks[b].kind == FUSED:
                base[b] = <char *><uintptr_t>r.blocks[b].scratch
            elif b in escapes:
                place[b] = p.n_arguments + <int>escapes[b]
            elif r.blocks[b].kind == ARGUMENT:
                place[b] = b            # arguments are the first blocks
        take_places(r, index, m, over)
        total = fnn_plan(m, work, work + n, work + 2 * n, over, p.eager_peak_bytes,
                         work + 3 * n)
        if total < 0:
            raise MemoryError("compile: no memory for the plan")
        p.arena = new_storage(total)
        p.arena_bytes = total
        m = 0
        p.temporaries = []
        for b in range(n):
            if r.blocks[b].kind == TEMPORARY and b not in escapes:
                base[b] = p.arena.ptr + work[3 * n + m]
                p.temporaries.append((work[3 * n + m], r.blocks[b].nbytes, r.blocks[b].first,
                                      r.blocks[b].last, over[m]))
                m += 1
        p.argument = <char **>grown(NULL, (p.n_arguments + 1) * sizeof(char *))
        move_operands(p, r, base, place)
        keep_what_is_needed(p, r)
    finally:
        free(work)
        free(base)
        free(place)
        free(index)
    return 0


cdef int take_places(Recorder r, int *index, long long m, long long *over) except -1:
    """over[i]: the temporary that dies at the call that makes temporary i and hands on its place."""
    cdef long long i
    cdef int j, result, host
    cdef unsigned flag
    cdef fnn_call *c
    for i in range(m):
        over[i] = -1
    for i in range(r.n):
        c = &r.calls[i]
        flag = FNN_IN_PLACE_BWD if r.backward[i] else FNN_IN_PLACE
        if not fnn_ops[c.op].writes & flag and planted_fault != 2:
            continue
        result = only_result(r, i)
        if result < 0 or index[result] < 0 or r.blocks[result].first != i or r.blocks[result].nbytes == 0:
            continue
        for j in range(2 * FNN_SLOTS):
            host = block_at(r, i, j)
            if (host >= 0 and index[host] >= 0 and r.blocks[host].first < i and r.blocks[host].last == i
                    and r.blocks[host].nbytes == r.blocks[result].nbytes and all_of_it(r, i, host)):
                over[index[result]] = index[host]
                break
    return 0


cdef inline int block_at(Recorder r, long long i, int j):
    """Operand j of a call, gradients last."""
    return r.operands[i].buf[j] if j < FNN_SLOTS else r.operands[i].grad[j - FNN_SLOTS]


cdef int only_result(Recorder r, long long i):
    """The block of the output, or of the only gradient that is wanted and not added to; -1 if none."""
    cdef fnn_call *c = &r.calls[i]
    cdef int j, found = -1
    if not r.backward[i]:
        return r.operands[i].buf[c.n_in] if r.operands[i].same >> c.n_in & 1 else -1
    for j in range(c.n_in):
        if c.grad[j] != NULL:
            if found >= 0 or c.acc >> j & 1 or not r.operands[i].same_grad >> j & 1:
                return -1
            found = r.operands[i].grad[j]
    return found


cdef bint all_of_it(Recorder r, long long i, int b):
    """Whether every operand of the call in block b is all of it, and of the size of the result."""
    cdef int j
    cdef unsigned same
    for j in range(2 * FNN_SLOTS):
        same = r.operands[i].same if j < FNN_SLOTS else r.operands[i].same_grad
        if block_at(r, i, j) == b and not same >> (j if j < FNN_SLOTS else j - FNN_SLOTS) & 1:
            return False
    return True


cdef int move_operands(Program p, Recorder r, char **base, int *place) except -1:
    """From addresses of the recording to those of the program."""
    cdef long long i
    cdef int b, k
    cdef int room = 0
    cdef fnn_call *c
    p.calls, r.calls = r.calls, NULL
    p.which, r.backward = r.backward, NULL
    p.labels, r.labels = r.labels, NULL
    p.links, r.links = r.links, NULL
    p.costs = <float *>grown(NULL, (p.n + 1) * sizeof(float))
    p.checks, r.checks = r.checks, NULL
    p.n_checks = r.n_checks
    for i in range(p.n):
        room += operands_that_move(&r.operands[i], place)
    for i in range(r.n_links):
        room += operands_that_move(&r.link_operands[i], place)
    p.patches = <Patch *>grown(NULL, (room + 1) * sizeof(Patch))
    for i in range(r.n_links):
        move_call(p, r, &p.links[i].call, &r.link_operands[i], base, place)
    for i in range(p.n):
        c = &p.calls[i]
        if c.op == FNN_CHAIN:
            c.buf[0] = p.links + <uintptr_t>c.buf[0]
        move_call(p, r, c, &r.operands[i], base, place)
        p.costs[i] = fnn_cost_ns(c, p.which[i])
        p.ns += p.costs[i]
    for k in range(p.n_checks):
        b = p.checks[k].block
        p.checks[k].block = place[b] if r.blocks[b].kind == ARGUMENT else -1
        if p.checks[k].block < 0:       # its place does not change
            p.checks[k].offset += <long long><uintptr_t>base[b]
    return 0


cdef int operands_that_move(Operands *o, int *place):
    cdef int j, n = 0
    for j in range(FNN_SLOTS):
        n += o.buf[j] >= 0 and place[o.buf[j]] >= 0
        n += o.grad[j] >= 0 and place[o.grad[j]] >= 0
    return n


cdef void move_call(Program p, Recorder r, fnn_call *c, Operands *o, char **base, int *place):
    cdef int j, b
    for j in range(FNN_SLOTS):
        b = o.buf[j]
        if b >= 0:
            move_one(p, &c.buf[j], base[b], r.blocks[b].base, place[b])
        b = o.grad[j]
        if b >= 0:
            move_one(p, <void **>&c.grad[j], base[b], r.blocks[b].base, place[b])


cdef void move_one(Program p, void **at, char *new, char *old, int place):
    cdef long long offset = <char *>at[0] - old
    cdef Patch *patch
    at[0] = new + offset
    if place >= 0:
        patch = &p.patches[p.n_patches]
        patch.place = place
        patch.at = at
        patch.offset = offset
        p.n_patches += 1


cdef int keep_what_is_needed(Program p, Recorder r) except -1:
    """Constants, external tensors with their addresses, and the phases of Python work."""
    cdef int b
    cdef Tensor t
    p.keep = [r.holders[b] for b in range(r.n_blocks)
              if r.blocks[b].kind == CONSTANT or r.blocks[b].renewed >= 0]
    p.tensors, p.written, p.argument_written = list(r.tensors.values()), [], []
    p.homes = [leaf for leaf in r.homes.values() if (<Tensor>leaf).home is not None]
    p.addresses = <char **>grown(NULL, (len(p.tensors) + len(p.homes) + 1) * sizeof(char *))
    for b in range(len(p.tensors)):
        p.addresses[b] = (<Tensor>p.tensors[b]).data
    for b in range(len(p.homes)):
        p.addresses[len(p.tensors) + b] = (<Tensor>p.homes[b]).home.data
    for x in r.written.values():
        if isinstance(x, HomeOf):
            p.written.append(x)
            continue
        t = <Tensor>x
        b = r.known(root_of(t.store))
        if b >= 0 and r.blocks[b].kind == ARGUMENT:
            p.argument_written.append(b)
        else:
            p.written.append(t)
    p.phases = phases(r)
    return 0


cdef list phases(Recorder r):
    """[(refreshes, end, after), ...]: run what refreshes, the calls up to end, then what comes after."""
    cdef list found = [], refreshes = [], after = []
    cdef set seen = set()
    for at, what, function in r.hosts:
        if what == "refresh":
            if after or function in seen:
                found.append((refreshes, at, after))
                refreshes, after, seen = [], [], set()
            refreshes.append(function)
            seen.add(function)
        elif what == "check":
            found.append((refreshes, at, [*after, function]))
            refreshes, after, seen = [], [], set()
        else:
            after.append(function)
    found.append((refreshes, r.n, after))
    return found
