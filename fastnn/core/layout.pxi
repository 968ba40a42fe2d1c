# Tensors whose elements still lie in another order, and are written out only when something reads them
# that does not know that order: the swap of two axes that a matmul undoes, and images.

cdef enum Order:
    PLAIN
    SWAPPED                             # source: the last two axes exchanged
    CHANNELS_LAST                       # (N, C, ...) here, (N, ..., C) in source

cdef object _permute_copy = None        # the op that writes a tensor out in another order of axes


cdef Tensor note(Tensor source, Order order):
    """A tensor of source's elements without memory of its own; its sizes are the caller's work."""
    cdef Tensor v = Tensor.__new__(Tensor)
    v.dtype = source.dtype
    v.rank = source.rank
    v.n = source.n
    v.source = source
    v.order = order
    v.wants_grad = source.wants_grad and fnn_grad_mode(-1)
    return v


cdef int realize(Tensor t) except -1:
    """Give a tensor that is only a note memory of its own."""
    if t.source is None:
        return 0
    cdef int mode = fnn_grad_mode(1 if t.wants_grad else 0)
    cdef Tensor r
    try:
        if t.order == SWAPPED:
            r = _permute_copy(t.source, (*range(t.rank - 2), t.rank - 1, t.rank - 2))
        elif same_bytes(t):
            r = view(t.source, dims_tuple(t))
        else:
            r = _permute_copy(t.source, (0, t.rank - 1, *range(1, t.rank - 1)))
    finally:
        fnn_grad_mode(mode)
    if isinstance(t.source.edge, Record) and (<Record>t.source.edge).ran and isinstance(r.edge, Record):
        (<Record>r.edge).ran = True     # what t belongs to has been through its backward
    t.source = None
    attach(t, r.store)
    t.data = r.data
    t.edge = r.edge
    t.slot = r.slot
    return 0


# ---------------------------------------------------------------- lazy transpose


def lazy_transpose(Tensor t not None):
    """t with its last two axes swapped; nothing moves until something but a matmul reads it."""
    if t.order == SWAPPED and t.source is not None:
        return t.source
    realize(t)
    cdef Tensor v = note(t, SWAPPED)
    memcpy(v.dims, t.dims, t.rank * sizeof(long long))
    v.dims[t.rank - 2] = t.dims[t.rank - 1]
    v.dims[t.rank - 1] = t.dims[t.rank - 2]
    return v


def transpose_source(Tensor t not None):
    """What a lazy transpose was made from, or None for any other tensor."""
    if t.source is None or t.order != SWAPPED:
        return None
    t.consumed = True
    return t.source


# ---------------------------------------------------------------- images

cdef inline bint is_image(Tensor t):
    """Whether t's elements lie channels last so far."""
    return t.source is not None and t.order == CHANNELS_LAST


cdef bint same_bytes(Tensor t):
    """Whether (N, C, ...) and (N, ..., C) are the same memory: one channel, or one pixel."""
    return t.n == 0 or t.dims[1] == 1 or t.n == t.dims[0] * t.dims[1]


def channels_last(Tensor t not None):
    """The elements of t (N, C, ...) as a tensor (N, ..., C): those it is a note of, or a copy."""
    cdef tuple shape = dims_tuple(t)
    if is_image(t):
        t.consumed = True
        return t.source
    if same_bytes(t):
        return view(t, (shape[0], *shape[2:], shape[1]))
    realize(t)
    return _permute_copy(t, (0, *range(2, t.rank), 1))


cpdef Tensor from_channels_last(Tensor inner):
    """(N, ..., C) as a tensor (N, C, ...) that is written out when something asks for that order."""
    cdef Tensor v = note(inner, CHANNELS_LAST)
    cdef int i
    v.dims[0] = inner.dims[0]
    v.dims[1] = inner.dims[inner.rank - 1]
    for i in range(2, inner.rank):
        v.dims[i] = inner.dims[i - 1]
    return v


def as_it_lies(Tensor t not None):
    """The elements of t in whatever order they lie, for what does not depend on the order."""
    return channels_last(t) if is_image(t) else t


def is_channels_last(Tensor t not None):
    """Whether t's elements lie channels last so far."""
    return is_image(t)


cdef Tensor image_pair(int op, Tensor a, Tensor b, DType dtype, double f0):
    """A binary op where an operand is an image: in its order if the other can follow, else None."""
    if a.rank == b.rank:
        return from_channels_last(pair(op, channels_last(a), channels_last(b), dtype, None, f0))
    if is_image(a) and b.n == 1 and b.rank < 2:
        return from_channels_last(pair(op, channels_last(a), b, dtype, None, f0))
    if is_image(b) and a.n == 1 and a.rank < 2:
        return from_channels_last(pair(op, a, channels_last(b), dtype, None, f0))
    return None


cdef bint image_pair_into(int op, Tensor a, Tensor b, double f0) except -1:
    """a = op(a, b) in the memory that a is a note of; False if b cannot follow its order."""
    cdef Tensor inner = a.source
    if b.rank == a.rank:
        b = channels_last(b)
    elif b.n != 1 or b.rank > 1:
        return False
    if shares_memory(inner, b):
        b = b.clone()
    pair(op, inner, b, inner.dtype, inner, f0)
    a.wants_grad = inner.wants_grad
    return True
