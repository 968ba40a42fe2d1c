# Storages, new tensors, views, and the swap of two axes kept as a note.

cdef long long n_storages = 0


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class Storage:
    """A block of memory that tensors share."""

    def __cinit__(self):
        global n_storages
        n_storages += 1
        self.serial = n_storages

    def __dealloc__(self):
        if recording is not None:
            recording.died(self)
        if self.packs is not None:
            drop_packs(self)
        if self.owner is None:
            fnn_free(self.ptr)


cdef inline void attach(Tensor t, Storage s):
    """Put t on s, which counts the tensors on it: an in-place change must not surprise a view."""
    if t.store is not None:
        t.store.handles -= 1
    t.store = s
    s.handles += 1


cdef Storage new_storage(long long nbytes):
    cdef Storage s = Storage.__new__(Storage)
    s.ptr = <char *>fnn_malloc(nbytes)
    if s.ptr == NULL:
        raise MemoryError(f"memory: got a request for {nbytes:,} bytes; need one that can be met: "
                          "smaller tensors or batches")
    s.nbytes = nbytes
    return s


cdef Storage EMPTY = new_storage(0)


cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object, int *overflow) except? -1


cdef int parse_shape(object shape, long long *dims, long long *numel) except -1:
    """Sizes into dims, their checked product into numel; the rank is returned."""
    cdef int rank = 0, overflow = 0
    cdef long long d, n = 1
    cdef object s
    cdef bint empty = False
    if len(shape) > MAX_RANK:
        raise ShapeError(f"tensor: shape: got {len(shape)} dimensions; need at most {MAX_RANK}")
    for s in shape:
        d = PyLong_AsLongLongAndOverflow(s, &overflow)
        if overflow:
            raise ShapeError(f"tensor: shape: got {tuple(shape)}; need sizes below 2**63")
        if d < 0:
            raise ShapeError(f"tensor: shape: got {tuple(shape)}; need no negative size")
        dims[rank] = d
        rank += 1
        if d == 0:
            empty = True
        elif n > (<long long>1 << 59) // d:
            raise ShapeError(f"tensor: shape: got {tuple(shape)}; need fewer than 2**59 elements")
        else:
            n *= d
    numel[0] = 0 if empty else n
    return rank


cdef Tensor new_tensor(DType dtype, int rank, const long long *dims, long long n):
    cdef Tensor t = Tensor.__new__(Tensor)
    attach(t, new_storage(n * dtype.itemsize))
    t.data = t.store.ptr
    t.dtype = dtype
    t.rank = rank
    t.n = n
    memcpy(t.dims, dims, rank * sizeof(long long))
    return t


cdef tuple dims_tuple(Tensor t):
    """The sizes as a tuple, without the detour over a list: every op asks for it."""
    cdef tuple out = PyTuple_New(t.rank)
    cdef int i
    cdef object size
    for i in range(t.rank):
        size = t.dims[i]
        Py_INCREF(size)
        PyTuple_SET_ITEM(out, i, size)
    return out


cpdef Tensor empty(object shape, object dtype=None):
    """A tensor of the given shape with undefined contents."""
    cdef long long dims[MAX_RANK]
    cdef long long n
    cdef int rank = parse_shape(shape, dims, &n)
    return new_tensor(F32 if dtype is None else as_dtype(dtype), rank, dims, n)


cdef Tensor scalar(double value):
    cdef long long no_sizes = 0
    cdef Tensor t = new_tensor(F32, 0, &no_sizes, 1)
    (<float *>t.data)[0] = <float>value
    return t


cdef Tensor alias(Tensor t, type cls, bint tracked):
    """Another handle on the same memory; tracked: and on the same place in the graph."""
    realize(t)
    cdef Tensor v = Tensor.__new__(Tensor) if cls is Tensor else Tensor.__new__(cls)
    attach(v, t.store)
    v.data = t.data
    v.dtype = t.dtype
    v.rank = t.rank
    v.n = t.n
    memcpy(v.dims, t.dims, t.rank * sizeof(long long))
    if tracked and t.wants_grad and fnn_grad_mode(-1):
        v.wants_grad = True
        v.edge = t if t.edge is None else t.edge
        v.slot = t.slot
    return v


def view(Tensor t not None, shape):
    """The same elements under another shape of equal size (the ops layer resolves -1)."""
    cdef Tensor v = alias(t, Tensor, True)
    cdef long long n
    v.rank = parse_shape(shape, v.dims, &n)
    if n != t.n:
        raise ShapeError(f"view: shape: got {tuple(shape)} for {t.shape}; need {t.n} elements")
    return v


def detach(Tensor t not None, type cls=Tensor):
    """The same memory outside the graph; cls may be a subclass of Tensor."""
    return alias(t, cls, False)


def as_subclass(Tensor t not None, type cls):
    """The same memory at the same place in the graph, as an instance of a subclass of Tensor."""
    return alias(t, cls, True)
