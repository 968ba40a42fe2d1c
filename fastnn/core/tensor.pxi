# The Tensor type: what it is, its place in the graph, its way to Python and NumPy.

@cython.no_gc
@cython.freelist(512)
cdef class Tensor:
    """A C-contiguous array that remembers how it was computed.

    float32 tensors compute and carry gradients; int64 and int32 index; bool masks; the other dtypes
    only store (convert with ``.float()``).  ``reshape`` and leading slices share memory, other
    views copy.
    """
    __array_priority__ = 1000

    def __cinit__(self):
        # Even Tensor.__new__(Tensor) from Python must be a tensor: an empty one.
        self.dtype = F32
        self.rank = 1
        attach(self, EMPTY)

    def __init__(self, data=()):
        """A float32 tensor with a copy of data; fastnn.tensor() keeps the dtype."""
        cdef Tensor t = tensor(data, F32)
        attach(self, t.store)
        self.data = t.data
        self.rank = t.rank
        self.n = t.n
        memcpy(self.dims, t.dims, t.rank * sizeof(long long))

    def __dealloc__(self):
        if self.store is not None:
            self.store.handles -= 1

    # -- what it is

    @property
    def shape(self):
        return dims_tuple(self)

    def size(self, dim=None):
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self):
        """The number of axes."""
        return self.rank

    @property
    def ndim(self):
        return self.rank

    def numel(self):
        """The number of elements."""
        return self.n

    @property
    def nbytes(self):
        return self.n * self.dtype.itemsize

    def element_size(self):
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def device(self):
        return "cpu"

    def data_ptr(self):
        """The address of the first element."""
        realize(self)
        return <uintptr_t>self.data

    def stride(self, dim=None):
        """Elements from one index to the next along each axis, or along one."""
        cdef list s = [1] * self.rank
        cdef int i
        for i in range(self.rank - 2, -1, -1):
            s[i] = s[i + 1] * self.dims[i + 1]
        return tuple(s) if dim is None else s[dim]

    def is_contiguous(self):
        """Always true: fastnn tensors are C-contiguous."""
        return True

    @property
    def _version(self):
        realize(self)
        return self.store.version

    # -- the graph

    @property
    def requires_grad(self):
        return self.wants_grad

    @requires_grad.setter
    def requires_grad(self, bint value):
        if value and self.dtype is not F32:
            raise DTypeError(f"requires_grad: got {self.dtype.name}; need float32")
        if not value and self.edge is not None:
            raise GraphError("requires_grad: got False for a computed tensor; need .detach()")
        if value != self.wants_grad:
            realize(self)
        self.wants_grad = value

    def requires_grad_(self, bint requires_grad=True):
        """Ask for, or give up, gradients; returns self."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self):
        return self.edge is None and (self.source is None or not self.wants_grad)

    @property
    def grad_fn(self):
        """The name of the op that made it, or None."""
        realize(self)
        return OP_NAMES[(<Record>self.edge).call.op] if isinstance(self.edge, Record) else None

    @property
    def grad(self):
        if recording is not None and recorder() is not None:
            recording.read_gradient(self)
        return self.gradient

    @grad.setter
    def grad(self, value):
        cdef Tensor g
        if recording is not None and recorder() is not None:
            recording.leaves[self] = None
        if value is None:
            self.gradient = None
            return
        if not isinstance(value, Tensor):
            raise TypeError(f"grad: got {type(value).__name__}; need a Tensor or None")
        g = <Tensor>value
        realize(g)
        if g.dtype is not F32 or g.shape != self.shape:
            raise ShapeError(f"grad: got {g.dtype.name} {g.shape}; need float32 {self.shape}")
        self.gradient = g if g.edge is None and not g.wants_grad else alias(g, Tensor, False)

    def backward(self, gradient=None, retain_graph=False, create_graph=False):
        """Compute the gradients of the leaves behind this tensor and add them to their ``.grad``."""
        if create_graph:
            raise GraphError("backward: got create_graph=True; need False: fastnn has no double backward")
        backward(self, gradient, retain_graph or False)

    def retain_grad(self):
        """Let backward fill ``.grad`` of this computed tensor, as it does for leaves.

        A reshaped view shares its gradient with what it is a view of.
        """
        if self.consumed:               # by ops whose gradients do not come through this tensor
            raise GraphError("retain_grad: got a tensor that was read in another order of axes before; "
                             "need retain_grad() before its first use")
        realize(self)
        if not self.wants_grad:
            raise GraphError("retain_grad: got a tensor that does not require grad; need one that does")
        if isinstance(self.edge, Record) and not self.retains_grad:
            r = <Record>self.edge
            r.kept = (r.kept or []) + [weakref.ref(self)]

    @property
    def retains_grad(self):
        """Whether retain_grad() was called for what this tensor holds now."""
        if not isinstance(self.edge, Record):
            return False
        return any([ref() is self for ref in (<Record>self.edge).kept or ()])

    def detach(self):
        """The same memory outside the graph."""
        return alias(self, Tensor, False)

    @property
    def data(self):
        return alias(self, Tensor, False)

    @data.setter
    def data(self, Tensor value not None):
        realize(value)
        if value.dtype is not self.dtype or value.shape != self.shape:
            raise ShapeError(f"data: got {value.dtype.name} {value.shape}; "
                             f"need {self.dtype.name} {self.shape}")
        attach(self, value.store)
        self.data = value.data

    # -- to Python and NumPy

    def __getbuffer__(self, Py_buffer *b, int flags):
        cdef Py_ssize_t *extra
        cdef int i
        realize(self)
        if unrecorded is not None:
            unrecorded("numpy")
        leaves_for_python(self, "numpy")
        if self.wants_grad:
            raise BufferError("got a tensor that requires grad; need .detach()")
        if flags & PyBUF_WRITABLE and self.store.readonly:
            raise BufferError("got a request for writable memory of a read-only tensor")
        extra = <Py_ssize_t *>malloc((2 * self.rank + 1) * sizeof(Py_ssize_t))
        if extra == NULL:
            raise MemoryError()
        for i in range(self.rank):
            extra[i] = self.dims[i]
        for i in range(self.rank - 1, -1, -1):
            extra[self.rank + i] = (self.dtype.itemsize if i == self.rank - 1
                                    else extra[self.rank + i + 1] * extra[i + 1])
        b.buf = self.data
        b.obj = Exported.__new__(Exported, self.store, self.dtype)
        b.len = self.n * self.dtype.itemsize
        b.readonly = self.store.readonly
        b.itemsize = self.dtype.itemsize
        b.format = NULL
        if flags & PyBUF_FORMAT:
            b.format = (<Exported>b.obj).format
        b.ndim = self.rank
        b.shape = extra if flags & PyBUF_ND else NULL
        b.strides = extra + self.rank if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        b.suboffsets = NULL
        b.internal = extra
        (<Exported>b.obj).extra = extra

    def _array(self):
        return np.asarray(memoryview(alias(self, Tensor, False)))

    def numpy(self):
        """A NumPy array over the same memory."""
        if self.wants_grad:
            raise GraphError("numpy: got a tensor that requires grad; need .detach().numpy()")
        return self._array()

    def __array__(self, dtype=None, copy=None):
        if self.wants_grad:
            raise GraphError("numpy: got a tensor that requires grad; need .detach().numpy()")
        arr = self._array()
        if dtype is not None and arr.dtype != dtype:
            if copy is False:
                raise ValueError(f"__array__: got dtype {dtype} without copy; need {arr.dtype}")
            return arr.astype(dtype)
        return arr.copy() if copy else arr

    def __dlpack__(self, **kwargs):
        return self.detach().numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return (1, 0)               # kDLCPU, first device

    def item(self):
        """The only element as a Python number."""
        realize(self)
        if unrecorded is not None:
            unrecorded("item")
        leaves_for_python(self, "item")
        if self.n != 1:
            raise ShapeError(f"item: got shape {self.shape}; need one element: use .tolist()")
        if self.dtype is F32:
            return <double>(<float *>self.data)[0]
        if self.dtype is I64:
            return (<int64_t *>self.data)[0]
        return self._array().item()

    def tolist(self):
        """The elements as nested Python lists."""
        return self._array().tolist()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        return as_index(self.item())

    def __bool__(self):
        if self.n != 1:
            raise ShapeError(f"bool: got shape {self.shape}; need one element: use .any() or .all()")
        return bool(self.item())

    def __len__(self):
        if self.rank == 0:
            raise TypeError("len: got a 0-dimensional tensor; need at least one axis")
        return self.dims[0]

    def __iter__(self):
        if self.rank == 0:
            raise TypeError("iter: got a 0-dimensional tensor; need at least one axis")
        return iter([self[i] for i in range(self.dims[0])])

    def __contains__(self, value):
        return bool((self == value).any())

    def __hash__(self):
        return <Py_ssize_t><uintptr_t><void *>self >> 4

    def __repr__(self):
        body = np.array2string(elements(self), separator=", ", prefix="tensor(")
        text = "tensor(" + body
        if self.dtype is not F32 and self.dtype is not I64 and self.dtype is not BOOL:
            text += f", dtype={self.dtype!r}"
        if self.wants_grad:
            text += ", requires_grad=True" if self.is_leaf else f", grad_fn={self.grad_fn}"
        return text + ")"

    def __format__(self, spec):
        return format(self.item(), spec) if self.n == 1 and spec else repr(self)

    def __reduce__(self):
        return _rebuild, (self._array().copy(), self.wants_grad and self.edge is None)

    def __deepcopy__(self, memo):
        if self.edge is not None:
            raise GraphError("deepcopy: got a computed tensor; need a leaf: use .detach()")
        t = alias(tensor(self), type(self), False)
        (<Tensor>t).wants_grad = self.wants_grad
        if self.gradient is not None:
            (<Tensor>t).gradient = tensor(self.gradient)
        if hasattr(self, "__dict__"):
            t.__dict__.update(self.__dict__)
        memo[id(self)] = t
        return t

    # -- operators

    def __getitem__(self, key):
        return hooks["getitem"](self, key)

    def __setitem__(self, key, value):
        hooks["setitem"](self, key, value)

    def __add__(self, other): return binary(0, self, other)
    def __radd__(self, other): return binary(0, other, self)
    def __iadd__(self, other): return binary_into(0, self, other)
    def __sub__(self, other): return binary(1, self, other)
    def __rsub__(self, other): return binary(1, other, self)
    def __isub__(self, other): return binary_into(1, self, other)
    def __mul__(self, other): return binary(2, self, other)
    def __rmul__(self, other): return binary(2, other, self)
    def __imul__(self, other): return binary_into(2, self, other)
    def __truediv__(self, other): return binary(3, self, other)
    def __rtruediv__(self, other): return binary(3, other, self)
    def __itruediv__(self, other): return binary_into(3, self, other)
    def __pow__(self, other, mod): return binary(4, self, other)
    def __rpow__(self, other, mod): return binary(4, other, self)
    def __floordiv__(self, other): return binary(5, self, other)
    def __rfloordiv__(self, other): return binary(5, other, self)
    def __mod__(self, other): return binary(6, self, other)
    def __rmod__(self, other): return binary(6, other, self)
    def __and__(self, other): return binary(13, self, other)
    def __rand__(self, other): return binary(13, other, self)
    def __or__(self, other): return binary(14, self, other)
    def __ror__(self, other): return binary(14, other, self)
    def __xor__(self, other): return binary(15, self, other)
    def __rxor__(self, other): return binary(15, other, self)
    def __matmul__(self, other): return binary(16, self, other)
    def __rmatmul__(self, other): return binary(16, other, self)
    def __neg__(self): return hooks["neg"](self)
    def __pos__(self): return self
    def __abs__(self): return hooks["abs"](self)
    def __invert__(self): return hooks["invert"](self)

    def __richcmp__(self, other, int how):
        if how == Py_EQ:
            return NotImplemented if other is None else binary(7, self, other)
        if how == Py_NE:
            return NotImplemented if other is None else binary(8, self, other)
        return binary(9 if how == Py_LT else 10 if how == Py_LE else 11 if how == Py_GT else 12, self, other)


@cython.final
@cython.no_gc
cdef class Exported:
    """Owns what a buffer view points at, apart from the tensor: its memory may be replaced later."""
    cdef Storage store
    cdef Py_ssize_t *extra
    cdef char format[2]

    def __cinit__(self, Storage store, DType dtype):
        self.store = store
        store.exports += 1
        if store.packs is not None:
            drop_packs(store)
        self.format[0] = ord(dtype.format)
        self.format[1] = 0

    def __dealloc__(self):
        self.store.exports -= 1
        free(self.extra)


def _rebuild(array, requires_grad):
    t = tensor(array, dtype=array.dtype)
    t.requires_grad = requires_grad
    return t
