# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True
"""Tensor, call(), Record and backward: a constant surface that knows no op by name.

An op reaches its kernel only through ``call`` or ``pointwise``, which fill one ``fnn_call`` with
shapes that the ops layer has checked, run it, and keep it as a Record when a gradient is wanted.
Backward gathers the Records behind a tensor, newest first, gives every gradient its place, and
runs them all in one C call.
"""
cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.object cimport Py_EQ, Py_GT, Py_LE, Py_LT, Py_NE
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from operator import index as as_index

import numpy as np

from .errors import DTypeError, GraphError, ShapeError

cdef enum:
    MAX_RANK = 32

cdef extern from *:
    """
    /* Ops add their methods to the extension type itself: a Python subclass would cost every
       tensor a second type lookup and a garbage-collector header. */
    static int fnn_set_attr(PyObject *type, PyObject *name, PyObject *value)
    {
        PyTypeObject *t = (PyTypeObject *)type;
        int bad = PyDict_SetItem(t->tp_dict, name, value);
        PyType_Modified(t);
        return bad;
    }
    """
    int fnn_set_attr(object type, object name, object value) except -1

cdef extern from "Python.h":
    Py_ssize_t refs "Py_REFCNT"(void *object)


# ---------------------------------------------------------------- dtypes

cdef class DType:
    """An element type, such as ``fastnn.float32``."""

    def __init__(self, str name, int itemsize, str format, bint floating):
        self.name = name
        self.itemsize = itemsize
        self.format = format
        self.is_floating_point = floating

    def __repr__(self):
        return "fastnn." + self.name

    def __reduce__(self):
        return _dtype_by_name, (self.name,)

    @property
    def numpy(self):
        """The NumPy dtype of the same elements."""
        return np.dtype(self.format)


cdef dict _dtypes = {}
for _row in (("float32", 4, "f", True), ("float64", 8, "d", True), ("float16", 2, "e", True),
             ("int8", 1, "b", False), ("uint8", 1, "B", False), ("int16", 2, "h", False),
             ("int32", 4, "i", False), ("int64", 8, "q", False), ("bool", 1, "?", False)):
    _dtypes[_row[0]] = DType(*_row)
DTYPES = dict(_dtypes)
cdef DType F32 = _dtypes["float32"], F64 = _dtypes["float64"], I64 = _dtypes["int64"], BOOL = _dtypes["bool"]
cdef dict _by_numpy = {np.dtype(d.format).str: d for d in _dtypes.values()}


def _dtype_by_name(name):
    return _dtypes[name]


cpdef DType as_dtype(object d):
    """The fastnn dtype meant by a fastnn dtype, a NumPy dtype, a name or a Python type."""
    if isinstance(d, DType):
        return d
    if d is float:
        return F32
    try:
        return _by_numpy[np.dtype(d).newbyteorder("=").str]
    except (KeyError, TypeError):
        raise DTypeError(f"dtype: got {d!r}; need one of {', '.join(_dtypes)}") from None


# ---------------------------------------------------------------- memory

@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class Storage:
    """A block of memory that tensors share."""

    def __dealloc__(self):
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
        raise MemoryError(f"fastnn could not get {nbytes:,} bytes")
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


# ---------------------------------------------------------------- lazy transpose

cdef object _transpose_copy = None      # the op that writes a lazy transpose out


def lazy_transpose(Tensor t not None):
    """t with its last two axes swapped; nothing moves until something but a matmul reads it."""
    if t.source is not None:
        return t.source
    cdef Tensor v = Tensor.__new__(Tensor)
    v.dtype = t.dtype
    v.rank = t.rank
    v.n = t.n
    memcpy(v.dims, t.dims, t.rank * sizeof(long long))
    v.dims[t.rank - 2] = t.dims[t.rank - 1]
    v.dims[t.rank - 1] = t.dims[t.rank - 2]
    v.source = t
    v.wants_grad = t.wants_grad and fnn_grad_mode(-1)
    return v


def transpose_source(Tensor t not None):
    """What a lazy transpose was made from, or None for any other tensor."""
    return t.source


cdef int realize(Tensor t) except -1:
    """Give a lazy transpose memory of its own."""
    if t.source is None:
        return 0
    cdef int mode = fnn_grad_mode(1 if t.wants_grad else 0)
    cdef Tensor r
    try:
        r = _transpose_copy(t.source)
    finally:
        fnn_grad_mode(mode)
    t.source = None
    attach(t, r.store)
    t.data = r.data
    t.edge = r.edge
    t.slot = r.slot
    return 0


# ---------------------------------------------------------------- running records

OPS = {fnn_ops[_i].name.decode(): _i for _i in range(FNN_N_OPS)}
cdef list OP_NAMES = list(OPS)

cdef int n_threads = 1
cdef long long n_records = 0
cdef dict reference = None              # op id -> (forward, backward) in NumPy
cdef list captured = None
cdef bint anomaly = False               # stop at the first NaN and name its op

cdef double DROP_GIL_NS = 20000.0       # dropping and retaking the GIL must be worth it


cdef int run(fnn_call *calls, long long n, bint backward, double ns) except -1:
    cdef int bad, threads = n_threads
    if ns > DROP_GIL_NS:
        with nogil:
            bad = fnn_run(calls, n, backward, threads)
    else:
        bad = fnn_run(calls, n, backward, threads)
    if bad:
        raise MemoryError("fastnn could not get scratch memory")
    return 0


cdef int launch(fnn_call *c, tuple inputs, tuple outputs, bint in_place, int saved=0) except -1:
    """Run one record over checked tensors and, where a gradient is wanted, keep it."""
    cdef int j, n_in = len(inputs), n_out = len(outputs)
    cdef const fnn_op_info *info = &fnn_ops[c.op]
    cdef Tensor t
    cdef bint track = False
    c.n_in = n_in
    c.n_out = n_out
    for j in range(n_in):
        t = <Tensor>inputs[j]
        if t.source is not None:
            realize(t)
        c.buf[j] = t.data
        if t.wants_grad and info.diff:
            if not info.diff >> j & 1:
                if fnn_grad_mode(-1):
                    raise GraphError(f"{OP_NAMES[c.op]}: input {j}: got a tensor that requires "
                                     "grad; need one that does not: this op has no gradient for it")
            else:
                track = True
        if info.writes >> j & 1 and t.store.readonly:
            raise ValueError(f"{OP_NAMES[c.op]}: input {j}: got read-only memory; need a copy")
    for j in range(n_out):
        c.buf[n_in + j] = (<Tensor>outputs[j]).data
    if track:
        track = fnn_grad_mode(-1)
    cdef Record r = None
    if track:
        if in_place and (<Tensor>outputs[0]).store.handles > 1:
            raise GraphError(f"{OP_NAMES[c.op]}_: got a tensor that shares memory with another; need one "
                             "of its own: views of it would get a wrong gradient (use the op without _)")
        r = new_record(c, inputs, outputs)
    if reference is None:
        run(c, 1, False, fnn_cost_ns(c, False))
    else:
        run_reference(c, inputs, outputs)
    for j in range(n_in):
        if info.writes >> j & 1:
            (<Tensor>inputs[j]).store.version += 1
    if in_place:
        (<Tensor>outputs[0]).store.version += 1
    if track:
        for j in range(n_out):
            t = <Tensor>outputs[j]
            r.version[n_in + j] = t.store.version
            if t.dtype is F32:
                t.edge = r
                t.slot = j
                t.wants_grad = True
    elif in_place and (<Tensor>outputs[0]).edge is not None and fnn_grad_mode(-1):
        (<Tensor>outputs[0]).edge = None        # overwritten by what needs no gradient
        (<Tensor>outputs[0]).wants_grad = False
    if anomaly:
        for j in range(n_out - saved):
            t = <Tensor>outputs[j]
            if t.dtype is F32:
                refuse_nan(<float *>t.data, t.n, f"{OP_NAMES[c.op]}: output {j}")
    if captured is not None:
        captured.append((OP_NAMES[c.op], inputs, outputs, saved,
                         [c.dim[j] for j in range(FNN_DIMS)], [c.f[j] for j in range(4)]))
    return 0


cdef int refuse_nan(const float *x, long long n, str what) except -1:
    """Anomaly detection: name the first NaN."""
    cdef long long i
    for i in range(n):
        if x[i] != x[i]:
            raise GraphError(f"{what}: got NaN at element {i}; need numbers: detect_anomaly is on")
    return 0


cdef int set_constants(fnn_call *c, int op, tuple dim, tuple f) except -1:
    cdef int j, overflow = 0
    memset(c, 0, sizeof(fnn_call))
    if op < 0 or op >= FNN_N_OPS or len(dim) > FNN_DIMS or len(f) > 4:
        raise ValueError("call: got an impossible record")
    c.op = op
    for j in range(len(dim)):
        c.dim[j] = PyLong_AsLongLongAndOverflow(dim[j], &overflow)
        if overflow:
            raise ShapeError(f"{OP_NAMES[op]}: sizes: got {dim[j]} elements; need below 2**63")
    for j in range(len(f)):
        c.f[j] = f[j]
    return 0


def call(int op, tuple inputs not None, tuple shapes not None, tuple dim=(), tuple f=(), int saved=0,
         tuple dtypes=None):
    """Run op on checked inputs; returns its outputs but for the last `saved`, alone or as a tuple."""
    cdef fnn_call c
    cdef long long dims[MAX_RANK]
    cdef long long n
    cdef int j, rank, n_out = len(shapes)
    cdef tuple outputs = PyTuple_New(n_out)
    cdef Tensor out
    set_constants(&c, op, dim, f)
    if len(inputs) + n_out > FNN_SLOTS:
        raise ValueError("call: got too many slots")
    for t in inputs:
        if not isinstance(t, Tensor):
            raise TypeError(f"{OP_NAMES[op]}: got {type(t).__name__}; need a Tensor")
    for j in range(n_out):
        rank = parse_shape(shapes[j], dims, &n)
        out = new_tensor(F32 if dtypes is None else <DType>dtypes[j], rank, dims, n)
        Py_INCREF(out)
        PyTuple_SET_ITEM(outputs, j, out)
    launch(&c, inputs, outputs, False, saved)
    if n_out - saved == 1:
        return outputs[0]
    return outputs[:n_out - saved]


def elementwise(int op, Tensor x not None, tuple f=()):
    """An op over the elements of a float32 tensor, into a new one: dim[0] = how many."""
    cdef fnn_call c
    set_constants(&c, op, (), f)
    realize(x)
    c.dim[0] = x.n
    cdef Tensor y = new_tensor(F32, x.rank, x.dims, x.n)
    launch(&c, (x,), (y,), False)
    return y


def call_into(int op, tuple inputs not None, Tensor out not None, tuple dim=(), tuple f=()):
    """Run op with its only output written into out, which may be one of the inputs."""
    cdef fnn_call c
    set_constants(&c, op, dim, f)
    check_writable(OP_NAMES[op], out)
    launch(&c, spared(op, inputs, out), (out,), True)
    return out


cdef tuple spared(int op, tuple inputs, Tensor out):
    """The inputs, with a copy for out where backward will read what is about to be overwritten."""
    cdef unsigned j, needs
    cdef object copy = None
    if not fnn_grad_mode(-1):
        return inputs
    needs = fnn_needs(op, wanted(fnn_ops[op].diff, inputs))
    for j in range(len(inputs)):
        if inputs[j] is out and needs >> j & 1:
            copy = out.clone()
    return inputs if copy is None else tuple([copy if x is out else x for x in inputs])


def call_view(int op, Tensor base not None, shape, long long offset, tuple dim=()):
    """A view of base from element `offset` on; op only says how its gradient flows back."""
    cdef fnn_call c
    cdef Tensor v = alias(base, Tensor, False)
    cdef Record r
    cdef long long n
    v.rank = parse_shape(shape, v.dims, &n)
    if offset < 0 or offset + n > base.n:
        raise ShapeError(f"{OP_NAMES[op]}: got elements {offset} to {offset + n}; need 0 to {base.n}")
    v.n = n
    v.data += offset * base.dtype.itemsize
    if base.wants_grad and fnn_grad_mode(-1):
        set_constants(&c, op, dim, ())
        c.n_in = c.n_out = 1
        r = new_record(&c, (base,), (v,))
        v.edge = r
        v.slot = 0
        v.wants_grad = True
    return v


def check_writable(str op, Tensor t not None):
    """Refuse an in-place change that the memory or the graph forbids."""
    realize(t)
    if t.store.readonly:
        raise ValueError(f"{op}: output: got read-only memory; need a copy: use .clone()")
    if t.wants_grad and t.edge is None and fnn_grad_mode(-1):
        raise GraphError(f"{op}: got an in-place change of a leaf that requires grad; "
                         "need no_grad() around it")


def bump_version(Tensor t not None):
    """Tell the graph that t's memory was changed from outside."""
    t.store.version += 1


def all_float32(*tensors):
    """Whether every argument is a float32 Tensor: the usual case, checked at C speed."""
    for t in tensors:
        if not isinstance(t, Tensor) or (<Tensor>t).dtype is not F32:
            return False
    return True


def first_outside(Tensor t not None, long long low, long long high, skip=None):
    """Where, counted from 0, an int64 tensor first leaves low <= x < high; -1 if nowhere.

    Elements equal to skip are let through.
    """
    if t.dtype is not I64:
        raise DTypeError(f"first_outside: got {t.dtype.name}; need int64")
    realize(t)
    cdef const int64_t *x = <const int64_t *>t.data
    cdef long long i, n = t.n, let = 0 if skip is None else skip
    cdef bint skipping = skip is not None
    with nogil:
        for i in range(n):
            if (x[i] < low or x[i] >= high) and not (skipping and x[i] == let):
                break
        else:
            i = -1
    return i


def shares_memory(Tensor a not None, Tensor b not None):
    """Whether the two overlap without being the very same elements."""
    if a.source is not None or b.source is not None or a.store is not b.store:
        return False
    if a.data == b.data and a.n == b.n:
        return False
    return (a.data < b.data + b.n * b.dtype.itemsize) and (b.data < a.data + a.n * a.dtype.itemsize)


# ---------------------------------------------------------------- broadcasting pairs

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


def elementwise(int op, Tensor x not None, f=()):
    """A float32 op of one tensor that keeps its shape: dim = n."""
    cdef fnn_call c
    cdef int j
    memset(&c, 0, sizeof(fnn_call))
    c.op = op
    c.dim[0] = x.n
    for j in range(len(f)):
        c.f[j] = f[j]
    cdef Tensor out = new_tensor(F32, x.rank, x.dims, x.n)
    launch(&c, (x,), (out,), False)
    return out


def pointwise_into(int op, Tensor a not None, Tensor b not None, f=()):
    """The same written into a, as ``a += b`` does."""
    check_writable(OP_NAMES[op], a)
    if shares_memory(a, b):
        b = b.clone()
    return pair(op, a, b, a.dtype, a, f[0] if f else 0.0)


# ---------------------------------------------------------------- NumPy backend

cdef object raw_array(void *ptr, shape, DType dtype):
    """A NumPy view of memory that outlives it."""
    cdef long long n = dtype.itemsize
    for s in shape:
        n *= s
    if n == 0:
        return np.empty(shape, dtype.numpy)
    cdef char[::1] bytes_ = <char[:n]>ptr
    return np.frombuffer(bytes_, dtype.numpy).reshape(shape)


cdef run_reference(fnn_call *c, tuple inputs, tuple outputs):
    cdef Tensor t
    cdef int j
    ins = [raw_array((<Tensor>x).data, x.shape, (<Tensor>x).dtype) for x in inputs]
    with np.errstate(all="ignore"):
        results = reference[c.op][0](ins, [c.dim[j] for j in range(FNN_DIMS)], [c.f[j] for j in range(4)])
    if len(results) != len(outputs):
        raise AssertionError(f"reference {OP_NAMES[c.op]} gave {len(results)} outputs, not {len(outputs)}")
    for x, y in zip(outputs, results):
        t = <Tensor>x
        y = np.asarray(y)
        if y.size != t.n:
            raise AssertionError(f"reference {OP_NAMES[c.op]} gave shape {y.shape}, not {t.shape}")
        raw_array(t.data, t.shape, t.dtype)[...] = y.reshape(t.shape)


cdef backward_reference(Record r, fnn_call *c):
    cdef int j
    cdef list arrays = []
    for j in range(c.n_in + c.n_out):
        shape, dtype = r.arrays[j]
        arrays.append(None if c.buf[j] == NULL else raw_array(c.buf[j], shape, dtype))
    gouts = [None if c.grad[j] == NULL else raw_array(c.grad[j], r.arrays[j][0], F32)
             for j in range(c.n_in, c.n_in + c.n_out)]
    want = [c.grad[j] != NULL for j in range(c.n_in)]
    with np.errstate(all="ignore"):
        grads = reference[c.op][1](arrays[:c.n_in], arrays[c.n_in:], gouts, want,
                                   [c.dim[j] for j in range(FNN_DIMS)], [c.f[j] for j in range(4)])
    for j in range(c.n_in):
        if want[j]:
            g = raw_array(c.grad[j], r.arrays[j][0], F32)
            y = np.asarray(grads[j])
            if y.size != g.size:
                raise AssertionError(f"reference {OP_NAMES[c.op]} gave gradient {j} of shape "
                                     f"{y.shape}, not {g.shape}")
            if c.acc >> j & 1:
                g += y.reshape(g.shape)
            else:
                g[...] = y.reshape(g.shape)


def use_reference(table):
    """Send every record to table[op] = (forward, backward) from now on; None = back to C."""
    global reference
    reference = None if table is None else {OPS[k]: v for k, v in table.items()}


def backend_is_numpy():
    """Whether records go to the NumPy reference."""
    return reference is not None


# ---------------------------------------------------------------- the graph

cdef list graveyard = []
cdef bint burying = False


@cython.final
@cython.no_gc
@cython.freelist(128)
cdef class Record:
    """A launch that backward can find again: what it read, and where its inputs came from."""

    def __dealloc__(self):
        # A chain of records dies link by link from a list: recursion would overflow the C stack.
        global burying
        if self.edges is None:
            return
        graveyard.append(self.edges)
        self.edges = None           # or this record would drop them, and recurse, after the loop
        if burying:
            return
        burying = True
        while graveyard:
            graveyard.pop()
        burying = False


cdef unsigned wanted(unsigned diff, tuple inputs):
    """Bit j: the gradient of input j."""
    cdef unsigned j, mask = 0
    for j in range(len(inputs)):
        if (<Tensor>inputs[j]).wants_grad:
            mask |= 1 << j
    return mask & diff


cdef Record new_record(fnn_call *c, tuple inputs, tuple outputs):
    cdef Record r = Record.__new__(Record)
    cdef const fnn_op_info *info = &fnn_ops[c.op]
    cdef int j, n_in = c.n_in
    cdef Tensor t
    cdef list edges = [None] * n_in, stores = []
    global n_records
    n_records += 1
    r.seq = n_records
    memcpy(&r.call, c, sizeof(fnn_call))
    cdef unsigned needs = fnn_needs(c.op, wanted(info.diff, inputs))
    for j in range(n_in + c.n_out):
        t = <Tensor>inputs[j] if j < n_in else <Tensor>outputs[j - n_in]
        r.numel[j] = t.n
        r.version[j] = t.store.version
        if needs >> j & 1:
            r.call.buf[j] = t.data
            stores.append((j, t.store))
        else:
            r.call.buf[j] = NULL
        if j < n_in and t.wants_grad and info.diff >> j & 1:
            edges[j] = t if t.edge is None else t.edge
            r.edge_slot[j] = t.slot
    r.edges = edges
    r.stores = stores
    if reference is not None:
        r.arrays = [(t.shape, t.dtype) for t in inputs + outputs]
    return r


cdef list reachable(Record root):
    """Every Record behind root, newest first (a Record is newer than those it reads)."""
    cdef list stack = [root], found = []
    cdef Record r
    global n_records
    n_records += 1
    cdef long long mark = n_records
    cdef int j
    cdef Storage s
    root.mark = mark
    while stack:
        r = <Record>stack.pop()
        found.append((-r.seq, r))
        if r.freed:
            raise GraphError(f"{OP_NAMES[r.call.op]}: got a second backward through a graph that was "
                             "freed; need retain_graph=True in the first")
        for j, store in r.stores:
            s = <Storage>store
            if s.version != r.version[j]:
                raise GraphError(
                    f"{OP_NAMES[r.call.op]}: slot {j}: got version {s.version} of a tensor that backward "
                    f"needs at version {r.version[j]}; need no in-place change between forward and backward")
        for e in r.edges:
            if isinstance(e, Record) and (<Record>e).mark != mark:
                (<Record>e).mark = mark
                stack.append(e)
    found.sort(key=_first)
    return found


cdef object _first(pair):
    return pair[0]


cdef class Buffers:
    """Gradient memory of one backward: a block is reused as soon as its last reader has run."""
    cdef dict idle                  # bytes -> [addresses]
    cdef list taken

    def __cinit__(self):
        self.idle = {}
        self.taken = []

    cdef float *take(self, long long n) except NULL:
        cdef list same = self.idle.get(n)
        cdef void *p
        if same:
            return <float *><uintptr_t>same.pop()
        p = fnn_malloc(n * sizeof(float))
        if p == NULL:
            raise MemoryError(f"backward: fastnn could not get {n * sizeof(float):,} bytes")
        self.taken.append(<uintptr_t>p)
        return <float *>p

    cdef give(self, float *p, long long n):
        self.idle.setdefault(n, []).append(<uintptr_t>p)

    def __dealloc__(self):
        for p in self.taken:
            fnn_free(<void *><uintptr_t>p)


cdef Tensor fresh_gradient(Tensor leaf, bint at_home):
    """Where the gradient of a leaf that has none goes: its home, unless somebody still looks at it."""
    if (at_home and leaf.home is not None and refs(<void *>leaf.home) == 1
            and refs(<void *>leaf.home.store) == 1):
        return leaf.home
    return new_tensor(F32, leaf.rank, leaf.dims, leaf.n)


cdef int plan_record(Record r, fnn_call *c, Buffers buffers, dict leaves, tuple only) except -1:
    """Fill c.grad and c.acc: gradients of outputs are there, those of inputs get their place."""
    cdef int j, n_in = r.call.n_in
    cdef Record p
    cdef Tensor leaf, g
    memcpy(c, &r.call, sizeof(fnn_call))
    for j in range(c.n_out):
        c.grad[n_in + j] = r.g[j]
    for j in range(n_in):
        e = r.edges[j]
        if e is None:
            continue
        if isinstance(e, Record):
            p = <Record>e
            if p.g[r.edge_slot[j]] == NULL:
                p.g[r.edge_slot[j]] = buffers.take(r.numel[j])
            else:
                c.acc |= 1 << j
            c.grad[j] = p.g[r.edge_slot[j]]
            continue
        leaf = <Tensor>e
        if only is not None and not is_among(leaf, only):
            continue
        if leaf in leaves:
            c.acc |= 1 << j
        elif leaf.gradient is not None and only is None:
            leaves[leaf] = leaf.gradient
            c.acc |= 1 << j
        else:
            leaves[leaf] = fresh_gradient(leaf, only is None)
        g = <Tensor>leaves[leaf]
        c.grad[j] = <float *>g.data
    for j in range(c.n_out):
        if r.g[j] != NULL:
            buffers.give(r.g[j], r.numel[n_in + j])
    return 0


cdef bint is_among(Tensor t, tuple ts):
    for x in ts:
        if x is t:
            return True
    return False


cdef release(Record r):
    r.freed = True
    r.stores = []


def backward(Tensor root not None, gradient=None, bint retain_graph=False, tuple only=None):
    """Add d(root)/d(leaf) to the .grad of every leaf behind root that requires grad.

    only: leaves whose gradients to return instead, None for those not behind root.
    """
    cdef Tensor seed = None, leaf
    cdef list order = []
    cdef fnn_call *calls
    cdef long long n, i
    cdef double ns = 0
    realize(root)
    if not root.wants_grad:
        raise GraphError("backward: got a tensor that does not require grad; need one computed "
                         "from a tensor with requires_grad=True outside no_grad()")
    if gradient is not None:
        seed = check_gradient(root, gradient)
    elif root.n != 1:
        raise GraphError(f"backward: got shape {root.shape}; need a scalar, or the gradient argument")
    else:
        seed = new_tensor(F32, root.rank, root.dims, 1)
        (<float *>seed.data)[0] = 1
    if not isinstance(root.edge, Record):
        leaf = root if root.edge is None else <Tensor>root.edge
        if only is not None:
            return [tensor(seed) if t is leaf else None for t in only]
        accumulate_leaf(leaf, seed)
        return
    order = reachable(<Record>root.edge)
    n = len(order)
    calls = <fnn_call *>malloc(n * sizeof(fnn_call))
    if calls == NULL:
        raise MemoryError("backward: no memory for the list of records")
    cdef Buffers buffers = Buffers()
    cdef dict leaves = {}
    try:
        (<Record>root.edge).g[root.slot] = buffers.take(seed.n)
        memcpy((<Record>root.edge).g[root.slot], seed.data, seed.n * sizeof(float))
        for i in range(n):
            plan_record(<Record>(<tuple>order[i])[1], &calls[i], buffers, leaves, only)
            ns += fnn_cost_ns(&calls[i], True)
        if reference is None and not anomaly:
            run(calls, n, True, ns)
        else:
            for i in range(n):
                if reference is None:
                    run(&calls[i], 1, True, 0)
                else:
                    backward_reference(<Record>(<tuple>order[i])[1], &calls[i])
                if anomaly:
                    refuse_nan_gradients(<Record>(<tuple>order[i])[1], &calls[i])
    finally:
        free(calls)
        for _, record in order:
            memset((<Record>record).g, 0, sizeof((<Record>record).g))
    if not retain_graph:
        for _, record in order:
            release(<Record>record)
    if only is not None:
        return [leaves.get(t) for t in only]
    for leaf_, g in leaves.items():
        leaf = <Tensor>leaf_
        leaf.gradient = <Tensor>g
        leaf.gradient.store.version += 1


cdef int refuse_nan_gradients(Record r, fnn_call *c) except -1:
    cdef int j
    for j in range(c.n_in):
        if c.grad[j] != NULL:
            refuse_nan(c.grad[j], r.numel[j], f"{OP_NAMES[c.op]}: gradient of input {j}")
    return 0


cdef Tensor check_gradient(Tensor root, object gradient):
    cdef Tensor g = as_tensor(gradient)
    realize(g)
    if g.dtype is not F32:
        raise DTypeError(f"backward: gradient: got {g.dtype.name}; need float32")
    if g.shape != root.shape:
        raise ShapeError(f"backward: gradient: got {g.shape}; need {root.shape}")
    return g


cdef accumulate_leaf(Tensor leaf, Tensor seed):
    """backward() called on a leaf, or on a view of one."""
    if leaf.gradient is None:
        g = new_tensor(F32, leaf.rank, leaf.dims, leaf.n)
        memcpy((<Tensor>g).data, seed.data, leaf.n * sizeof(float))
        leaf.gradient = g
        return
    cdef long long i
    for i in range(leaf.n):
        (<float *>leaf.gradient.data)[i] += (<float *>seed.data)[i]
    leaf.gradient.store.version += 1


# ---------------------------------------------------------------- arenas

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
    while i < n:
        first = i
        p = <Tensor>a.params[i]
        g = p.gradient
        i += 1
        if g is None:
            continue
        memset(&c, 0, sizeof(fnn_call))
        c.op = op
        c.dim[3] = a.start(first)
        if a.inside(p, first):
            while i < n and count[i] == count[first] and a.inside(<Tensor>a.params[i], i):
                i += 1
            for j in range(first, i):
                (<Tensor>a.params[j]).store.version += 1
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
    for a, flags, counts, _, options, states in jobs:
        a.gather(False)
        run_step(a, op, flags, counts, options, states)


def drop_gradients(params not None):
    """Set .grad of every parameter to None."""
    for p in params:
        (<Tensor?>p).gradient = None


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


# ---------------------------------------------------------------- from Python objects

cdef Tensor wrap(object arr, bint copy):
    """A tensor over a NumPy array of a known dtype: its memory if possible, else a copy."""
    cdef DType dtype = _by_numpy.get(arr.dtype.newbyteorder("=").str)
    if dtype is None or type(arr).__name__ == "MaskedArray":
        raise DTypeError(f"tensor: data: got {type(arr).__name__} of {arr.dtype}; "
                         f"need one of {', '.join(_dtypes)}")
    cdef Py_buffer b
    cdef Tensor t
    cdef long long dims[MAX_RANK]
    cdef long long n
    cdef int rank = parse_shape(arr.shape, dims, &n)
    if copy or not (arr.flags.c_contiguous and arr.flags.aligned and arr.dtype.isnative):
        arr = np.ascontiguousarray(arr, dtype.numpy)
        t = new_tensor(dtype, rank, dims, n)
        PyObject_GetBuffer(arr, &b, 0)
        try:
            if n:
                memcpy(t.data, b.buf, n * dtype.itemsize)
        finally:
            PyBuffer_Release(&b)
        return t
    t = Tensor.__new__(Tensor)
    t.dtype = dtype
    t.rank = rank
    t.n = n
    memcpy(t.dims, dims, rank * sizeof(long long))
    attach(t, Storage.__new__(Storage))
    PyObject_GetBuffer(arr, &b, 0)
    t.store.ptr = <char *>b.buf
    t.store.nbytes = b.len
    t.store.owner = arr             # an array's memory cannot move while it is referenced
    t.store.readonly = not arr.flags.writeable
    t.data = t.store.ptr
    PyBuffer_Release(&b)
    return t


cdef object to_array(object data):
    """Anything array-like as a NumPy array; Python floats mean float32."""
    if isinstance(data, np.ndarray):
        return data
    try:
        arr = np.asarray(data)
    except ValueError as e:
        raise ShapeError(f"tensor: data: got a ragged sequence; need equal lengths ({e})") from None
    except OverflowError:
        raise DTypeError("tensor: data: got an integer beyond int64; need a smaller one") from None
    if arr.dtype == np.float64 and not hasattr(data, "dtype"):
        arr = arr.astype(np.float32)
    return arr


cpdef Tensor as_tensor(object data, object dtype=None):
    """Data as a tensor: itself if it is one, NumPy memory shared where the dtype allows, else a copy.

    Python numbers and float64 arrays become float32.
    """
    cdef Tensor t
    if isinstance(data, Tensor):
        t = <Tensor>data
    elif type(data) is float:
        t = scalar(data)
    else:
        arr = to_array(data)
        if dtype is None and arr.dtype == np.float64:
            arr = arr.astype(np.float32)
        t = wrap(arr if dtype is None else arr.astype(as_dtype(dtype).numpy, copy=False), False)
    if dtype is not None and t.dtype is not as_dtype(dtype):
        return t.to(as_dtype(dtype))
    return t


def tensor(data, dtype=None, device=None, bint requires_grad=False):
    """A new tensor with a copy of data; Python numbers and float64 arrays become float32.

    Example:
        >>> import fastnn
        >>> fastnn.tensor([[1.0, 2.0], [3.0, 4.0]]).shape
        (2, 2)
    """
    check_device(device)
    if isinstance(data, Tensor):
        data = np.array(data.detach())
    arr = to_array(data)
    if dtype is not None:
        arr = arr.astype(as_dtype(dtype).numpy)
    elif arr.dtype == np.float64:
        arr = arr.astype(np.float32)
    cdef Tensor t = wrap(arr, True)
    t.requires_grad = requires_grad
    return t


def from_numpy(array):
    """A tensor that shares the memory of a NumPy array.

    Errors: TypeError for anything but an ndarray; DTypeError for a dtype fastnn does not store;
    ValueError for a layout that cannot be shared (strided, byte-swapped, misaligned).

    Example:
        >>> import numpy as np, fastnn
        >>> fastnn.from_numpy(np.ones((2, 3), np.float32)).shape
        (2, 3)
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: got {type(array).__name__}; need a numpy.ndarray")
    if not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
        raise ValueError("from_numpy: got a strided, byte-swapped or misaligned array; need a contiguous "
                         "one: use np.ascontiguousarray, or fastnn.tensor to copy")
    return wrap(array, False)


def from_dlpack(data):
    """A tensor over the memory of any CPU object that speaks DLPack."""
    if isinstance(data, Tensor):
        return data
    return from_numpy(np.from_dlpack(data))


def check_device(device):
    """Only the CPU is there."""
    if device is not None and str(device).split(":")[0] != "cpu":
        raise DTypeError(f"device: got {str(device)!r}; need 'cpu': fastnn runs on the CPU only")


# ---------------------------------------------------------------- Python operators

cdef list OPERATORS = ["add", "sub", "mul", "div", "pow", "floor_divide", "remainder",
                       "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "matmul"]
cdef int fast_op[17]                    # the float32 op behind an operator, -1 = ask slow_op
cdef list fast_dtype = [F32] * 17
cdef list slow_op = [None] * 17
cdef dict hooks = {}
for _i in range(17):
    fast_op[_i] = -1


def bind_operator(str name, function, str op=None, dtype=None):
    """Let an operator call function(a, b); op names the kernel for two float32 tensors."""
    cdef int k = OPERATORS.index(name)
    slow_op[k] = function
    if op is not None:
        fast_op[k] = OPS[op]
        fast_dtype[k] = F32 if dtype is None else dtype


def bind(**functions):
    """Functions the Tensor needs from the ops layer (expand, transpose_copy, getitem, ...)."""
    global _expand, _transpose_copy
    hooks.update(functions)
    _expand = hooks.get("expand")
    _transpose_copy = hooks.get("transpose_copy")


def add_method(str name, value):
    """Make value an attribute of Tensor."""
    fnn_set_attr(Tensor, name, value)


cdef object binary(int k, object a, object b):
    cdef Tensor x, y
    if fast_op[k] >= 0:
        if isinstance(a, Tensor):
            x = <Tensor>a
            if isinstance(b, Tensor):
                y = <Tensor>b
            elif type(b) is float or type(b) is int:
                y = scalar(b) if x.dtype is F32 else None
            else:
                y = None
        elif type(a) is float or type(a) is int:
            y = <Tensor>b
            x = scalar(a) if y.dtype is F32 else None
        else:
            x = y = None
        if x is not None and y is not None and x.dtype is F32 and y.dtype is F32:
            return pair(fast_op[k], x, y, <DType>fast_dtype[k], None, 0.0)
    return slow_op[k](a, b)


cdef object binary_into(int k, Tensor a, object b):
    """a += b and its kin, kept in a's memory."""
    cdef Tensor y
    if isinstance(b, Tensor):
        y = <Tensor>b
    elif type(b) is float or type(b) is int:
        y = scalar(b)
    else:
        y = as_tensor(b)
    if fast_op[k] >= 0 and a.dtype is F32 and y.dtype is F32:
        return pointwise_into(fast_op[k], a, y)
    return hooks["assign"](OPERATORS[k] + "_", a, slow_op[k](a, b))


# ---------------------------------------------------------------- Tensor

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
        return self.gradient

    @grad.setter
    def grad(self, value):
        cdef Tensor g
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
        body = np.array2string(self._array(), separator=", ", prefix="tensor(")
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
        self.format[0] = ord(dtype.format)
        self.format[1] = 0

    def __dealloc__(self):
        free(self.extra)


def _rebuild(array, requires_grad):
    t = tensor(array, dtype=array.dtype)
    t.requires_grad = requires_grad
    return t


# ---------------------------------------------------------------- settings

def grad_enabled():
    """Whether operations are being recorded for backward in this thread."""
    return bool(fnn_grad_mode(-1))


def set_grad_enabled(bint on):
    """Switch recording for this thread; returns what it was."""
    return bool(fnn_grad_mode(on))


def set_num_threads(int n):
    """Use n threads for heavy operations (results do not depend on it)."""
    global n_threads
    if n < 1 or n > 1024:
        raise ValueError(f"set_num_threads: got {n}; need 1 to 1024")
    n_threads = n


def get_num_threads():
    """Threads used for heavy operations."""
    return n_threads


def isa_names():
    """The instruction sets this machine can run, best first."""
    return [fnn_isa_name(i).decode() for i in range(fnn_isa_count())]


def isa():
    """The instruction set in use."""
    return fnn_isa_active().name.decode()


def select_isa(str name):
    """Use the kernels of another instruction set from now on."""
    if fnn_isa_select(name.encode()) != 0:
        raise ValueError(f"isa: got {name!r}; this machine runs {', '.join(isa_names())}")


def live_bytes():
    """Bytes of tensor memory in use."""
    return fnn_live_bytes()


def cached_bytes():
    """Bytes of freed tensor memory kept for reuse."""
    return fnn_cached_bytes()


def alloc_count():
    """Allocations made so far."""
    return fnn_alloc_count()


def trim():
    """Give freed tensor memory back to the system."""
    fnn_trim()


def set_detect_anomaly(bint on):
    """Stop at the first NaN an op or its gradient makes, from now on; returns what it was."""
    global anomaly
    old, anomaly = anomaly, on
    return bool(old)


def set_max_bytes(long long n):
    """Refuse allocations that would take tensor memory beyond n bytes; 0 = no limit."""
    fnn_set_max_bytes(n)


def fail_alloc_after(long long n):
    """Let the n-th allocation from now fail: for tests."""
    fnn_fail_alloc_after(n)


def fp_mode():
    """This thread's floating-point control word."""
    return fnn_fp_mode()


# ---------------------------------------------------------------- for tests and benchmarks

def capture(bint on):
    """Start collecting launches, or stop and return them as (op, inputs, outputs, saved, dim, f)."""
    global captured
    old, captured = captured, [] if on else None
    return old


def op_info(str name, unsigned want=0xffff):
    """What ops.def says of an op: input gradients, slots backward reads for them, inputs changed."""
    cdef const fnn_op_info *i = &fnn_ops[<int>OPS[name]]
    return {"diff": i.diff, "needs": fnn_needs(OPS[name], want), "writes": i.writes}


def flops(str op, dim):
    """Floating-point operations of a forward record of op with these constants."""
    cdef fnn_call c
    set_constants(&c, OPS[op], tuple(dim), ())
    return fnn_flops(&c)


def unchecked_launch(int op, arrays, grads, int n_in, dim, f, int acc=0, bint backward=False, int threads=1):
    """Run a kernel over NumPy arrays as they are: only tests that have checked them may."""
    cdef fnn_call c
    cdef int j, bad
    set_constants(&c, op, tuple(dim), tuple(f))
    if backward and not fnn_ops[op].diff:
        raise ValueError(f"{OP_NAMES[op]} has no gradient")
    c.n_in = n_in
    c.n_out = len(arrays) - n_in
    c.acc = acc
    for j in range(len(arrays)):
        if arrays[j] is not None:
            c.buf[j] = <void *><uintptr_t>arrays[j].ctypes.data
        if grads is not None and grads[j] is not None:
            c.grad[j] = <float *><uintptr_t>grads[j].ctypes.data
    with nogil:
        bad = fnn_run(&c, 1, backward, threads)
    if bad:
        raise MemoryError("no scratch memory")
    return fnn_flops(&c), fnn_bytes(&c)
