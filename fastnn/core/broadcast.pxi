# Binary ops over broadcast shapes, collapsed to at most five axes.

cdef object _expand = None              # op: a tensor written out to a larger shape


cdef int broadcast(str op, Tensor a, Tensor b, long long *shape) except -1:
    """The common shape of a and b; its rank is returned."""
    cdef int rank = max(a.rank, b.rank), i
    cdef long long x, y
    for i in range(rank):
        x = a.dims[i - rank + a.rank] if i >= rank - a.rank else 1
        y = b.dims[i - rank + b.rank] if i >= rank - b.rank else 1
        if x != y and x != 1 and y != 1:
            raise ShapeError(f"{op}: shapes: got {a.shape} and {b.shape}; "
                             "need equal sizes or 1, aligned at the last axis")
        shape[i] = y if x == 1 else x
    return rank


cdef int collapse(Tensor a, Tensor b, int rank, const long long *shape, long long *dim):
    """Merge axes that both operands walk alike: dim = sizes[5], strides of a[5], of b[5].

    Returns the number of axes left; more than 5 means that dim could not hold them.
    """
    cdef long long size[MAX_RANK]
    cdef long long sa[MAX_RANK]
    cdef long long sb[MAX_RANK]
    cdef long long step_a = 1, step_b = 1, ta, tb, x, y
    cdef int n = 0, i, k
    for i in range(rank - 1, -1, -1):
        x = a.dims[i - rank + a.rank] if i >= rank - a.rank else 1
        y = b.dims[i - rank + b.rank] if i >= rank - b.rank else 1
        if shape[i] == 1:
            continue
        ta = 0 if x == 1 else step_a
        tb = 0 if y == 1 else step_b
        if n and ta == sa[n - 1] * size[n - 1] and tb == sb[n - 1] * size[n - 1]:
            size[n - 1] *= shape[i]
        else:
            size[n] = shape[i]
            sa[n] = ta
            sb[n] = tb
            n += 1
        step_a *= x
        step_b *= y
    if n <= 5:
        for k in range(5):
            i = 4 - k
            dim[i] = size[k] if k < n else 1
            dim[5 + i] = sa[k] if k < n else 0
            dim[10 + i] = sb[k] if k < n else 0
    return n


cdef Tensor pair(int op, Tensor a, Tensor b, DType dtype, Tensor out, double f0):
    """out[i] = op(a[i], b[i]) over the broadcast shape; out None = a new tensor."""
    cdef fnn_call c
    cdef long long shape[MAX_RANK]
    cdef long long numel = 1
    cdef int rank, i
    cdef Tensor image
    if out is None and (is_image(a) or is_image(b)):
        image = image_pair(op, a, b, dtype, f0)
        if image is not None:
            return image
    memset(&c, 0, sizeof(fnn_call))
    c.op = op
    c.f[0] = f0
    if a.rank == b.rank and a.n == b.n and memcmp_dims(a, b):
        rank = a.rank
        memcpy(shape, a.dims, rank * sizeof(long long))
        for i in range(4):
            c.dim[i] = 1
        c.dim[4] = numel = a.n
        c.dim[9] = c.dim[14] = 1
    else:
        rank = broadcast(OP_NAMES[op], a, b, shape)
        for i in range(rank):
            numel *= shape[i]
        if collapse(a, b, rank, shape, c.dim) > 5:
            return pair_expanded(op, a, b, dtype, out, f0, tuple([shape[i] for i in range(rank)]))
    if out is None:
        out = new_tensor(dtype, rank, shape, numel)
        launch(&c, (a, b), (out,), False)
    else:
        if out.rank != rank or out.n != numel:
            raise ShapeError(f"{OP_NAMES[op]}_: other: got {b.shape}; need one that broadcasts to {a.shape}")
        launch(&c, spared(op, (a, b), out), (out,), True)
    return out


cdef inline bint memcmp_dims(Tensor a, Tensor b):
    cdef int i
    for i in range(a.rank):
        if a.dims[i] != b.dims[i]:
            return False
    return True


cdef Tensor pair_expanded(int op, Tensor a, Tensor b, DType dtype, Tensor out, double f0, tuple shape):
    """Interleaved broadcasts beyond five axes: write one operand out first, then if needed both."""
    if b.shape != shape:
        return pair(op, a, _expand(b, shape), dtype, out, f0)
    return pair(op, _expand(a, shape), b, dtype, out, f0)


def pointwise(int op, Tensor a not None, Tensor b not None, f=(), dtype=None):
    """A broadcasting binary op: dim = sizes[5], strides of a[5], strides of b[5] (elements)."""
    return pair(op, a, b, F32 if dtype is None else <DType>dtype, None, f[0] if f else 0.0)


def pointwise_into(int op, Tensor a not None, Tensor b not None, f=()):
    """The same written into a, as ``a += b`` does."""
    if is_image(a) and image_pair_into(op, a, b, f[0] if f else 0.0):
        return a
    check_writable(OP_NAMES[op], a)
    if shares_memory(a, b):
        b = b.clone()
    return pair(op, a, b, a.dtype, a, f[0] if f else 0.0)
