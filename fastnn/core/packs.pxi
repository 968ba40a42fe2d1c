# Copies of weights in the order in which kernels read them best, kept with the weight's memory.

cdef long long all_packed_bytes = 0
cdef long long max_packed_bytes = 1 << 30
cdef enum:
    MAX_PACKS = 64                      # of one Storage: views of a weight have packs of their own


cdef int drop_packs(Storage s) except -1:
    global all_packed_bytes
    all_packed_bytes -= s.packed_bytes
    s.packed_bytes = 0
    s.packs = None
    return 0


def packed(int op, Tensor w not None, tuple shape, tuple dim):
    """What op makes of w, a float32 tensor of this shape; or None, so that w must be read as it is.

    A copy is made when memory is used for the second time without a change between, and lives until
    it is changed. Nothing is kept of memory that others can write to without our seeing it (a NumPy
    array, an open buffer), nor of a weight in training, which changes with every step.
    """
    global all_packed_bytes
    cdef Storage s = w.store, whole = None
    cdef unsigned int version
    cdef dict packs
    cdef Tensor copy
    if s is None or (w.wants_grad and fnn_grad_mode(-1)):
        return None
    version = s.version
    if s.owner is not None:             # a part of an arena, whose changes count here, too
        if not isinstance(s.owner, Storage):
            return None
        whole = <Storage>s.owner
        version += whole.version
        if whole.owner is not None or whole.exports:
            return None
    if s.exports or max_packed_bytes == 0:
        if s.packs is not None:
            drop_packs(s)
        return None
    if s.packs is None or s.packed_version != version:
        drop_packs(s)
        s.packs = {}
        s.packed_version = version
    packs = s.packs
    key = (op, w.data - s.ptr, dim)
    found = packs.get(key, s)           # s: not seen yet; False: seen, without a copy
    if recorder() is not None:
        return pack_for_program(s, packs, key, op, w, shape, dim, version)
    if found is s:
        if len(packs) < MAX_PACKS:
            packs[key] = False
        return None
    if found is not False:
        return found
    return make_pack(s, packs, key, op, w, shape, dim)


cdef object pack_for_program(Storage s, dict packs, tuple key, int op, Tensor w, tuple shape, tuple dim,
                             unsigned int version):
    """A compiled step uses the copy at every replay: made at once, outside it, and believed as long as
    the weight has this version."""
    global recording
    cdef Recorder rec = recording
    if root_of(s).serial >= rec.first_storage:
        return None                     # a weight that the step itself computes
    if packs.get(key, False) is False:
        packs[key] = False
        recording = None
        try:
            if make_pack(s, packs, key, op, w, shape, dim) is None:
                return None
        finally:
            recording = rec
    rec.packed.append((w, version))
    return packs[key]


cdef bint pack_is_true(Tensor w, unsigned int version):
    """Whether w is what it was when it was packed, and nobody can write to it unseen."""
    cdef Storage s = w.store, whole
    cdef unsigned int now = s.version
    if s.owner is not None:
        whole = <Storage>s.owner
        now += whole.version
        if whole.exports:
            return False
    return now == version and not s.exports


cdef object make_pack(Storage s, dict packs, tuple key, int op, Tensor w, tuple shape, tuple dim):
    """The copy, kept if nothing has happened to w or to its packs meanwhile; None for want of room."""
    global all_packed_bytes
    cdef long long sizes[MAX_RANK]
    cdef long long n
    parse_shape(shape, sizes, &n)
    if all_packed_bytes + 4 * n > max_packed_bytes:
        return None
    try:
        copy = call(op, (w,), (shape,), dim)
    except MemoryError:
        return None
    if s.packs is packs and packs[key] is False and not s.exports:
        packs[key] = copy
        s.packed_bytes += 4 * n
        all_packed_bytes += 4 * n
    return copy


def set_max_packed_bytes(long long n):
    """Let packs take n bytes together at most from now on; 0 = none."""
    global max_packed_bytes
    max_packed_bytes = n


def packed_bytes():
    """Bytes that packs take, which are among live_bytes()."""
    return all_packed_bytes
