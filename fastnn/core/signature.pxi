# How a compiled function finds the program for its arguments: by comparison with those it was recorded for.

cdef enum Expect:
    ANY_LIKE_IT         # a tensor, or NumPy array, of this shape and dtype
    THIS_ONE            # this very object: a leaf that requires grad, or something that cannot be hashed
    EQUAL_TO_IT         # a value of the same type that is equal
    ITEMS               # a tuple or list of this type, item by item
    ENTRIES             # a dictionary with these keys, entry by entry


cdef class Expected:
    """An argument, or part of one, as it was when a program was recorded."""
    cdef Expect kind
    cdef object value               # the object, the value, the type, or the tuple of keys
    cdef DType dtype
    cdef int rank
    cdef long long dims[MAX_RANK]
    cdef list parts


cdef Expected expected(object x):
    """What later calls must bring to be like x."""
    cdef Expected e = Expected.__new__(Expected)
    cdef Tensor t
    e.value = x
    if isinstance(x, np.ndarray):
        x = as_tensor(x)
    if isinstance(x, Tensor):
        t = <Tensor>x
        if t.wants_grad:
            e.kind = THIS_ONE
            return e
        e.kind = ANY_LIKE_IT
        e.value = None
        e.dtype = t.dtype
        e.rank = t.rank
        memcpy(e.dims, t.dims, t.rank * sizeof(long long))
    elif isinstance(x, (tuple, list)):
        e.kind = ITEMS
        e.value = type(x)
        e.parts = [expected(v) for v in x]
    elif isinstance(x, dict):
        e.kind = ENTRIES
        e.value = tuple(x)
        e.parts = [expected(v) for v in x.values()]
    else:
        try:
            hash(x)
            e.kind = EQUAL_TO_IT
        except TypeError:
            e.kind = THIS_ONE
    return e


cdef bint like(Expected e, object x, list tensors) except -1:
    """Whether x is what e expects; its tensors go to the list, but for those expected themselves."""
    cdef Tensor t
    cdef int i
    if e.kind == ANY_LIKE_IT:
        if not isinstance(x, Tensor):
            if not isinstance(x, np.ndarray) or x.ndim != e.rank:
                return False
            x = as_tensor(x)
        t = <Tensor>x
        if t.dtype is not e.dtype or t.rank != e.rank or t.wants_grad:
            return False
        for i in range(e.rank):
            if t.dims[i] != e.dims[i]:
                return False
        tensors.append(t)
        return True
    if e.kind == THIS_ONE:
        return x is e.value and (not isinstance(x, Tensor) or (<Tensor>x).wants_grad)
    if e.kind == EQUAL_TO_IT:
        return x is e.value or (type(x) is type(e.value) and bool(x == e.value))
    if e.kind == ITEMS:
        if type(x) is not e.value or len(x) != len(e.parts):
            return False
    else:
        if not isinstance(x, dict) or tuple(x) != e.value:
            return False
        x = x.values()
    i = 0
    for v in x:
        if not like(<Expected>e.parts[i], v, tensors):
            return False
        i += 1
    return True


@cython.final
cdef class Recorded:
    """A program, and what it was recorded for."""
    cdef public Program program
    cdef public object returns      # the structure of the result, with a Place for each tensor
    cdef Expected args, kwargs
    cdef int grad_mode
    cdef const fnn_isa *isa

    def __cinit__(self, tuple args not None, dict kwargs not None):
        self.args, self.kwargs = expected(args), expected(kwargs)
        self.grad_mode = fnn_grad_mode(-1)
        self.isa = fnn_isa_active()

    cpdef list tensors_of(self, tuple args, dict kwargs):
        """The tensors of a call like the recorded one, or None for another."""
        cdef list tensors = []
        if (self.grad_mode != fnn_grad_mode(-1) or self.isa != fnn_isa_active()
                or not like(self.args, args, tensors)
                or ((kwargs or self.kwargs.parts) and not like(self.kwargs, kwargs, tensors))):
            return None
        return tensors


@cython.final
cdef class Place:
    """Stands for a tensor of the result."""
    cdef int i

    def __cinit__(self, int i):
        self.i = i


cdef object result(object x, list tensors):
    """x with its tensors put in."""
    if type(x) is Place:
        return tensors[(<Place>x).i]
    if isinstance(x, (tuple, list)):
        items = [result(v, tensors) for v in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        return {k: result(v, tensors) for k, v in x.items()}
    return x


def with_tensors(x, list tensors not None):
    """The result of a recorded call: its structure with these tensors in their places."""
    return result(x, tensors)


cdef class Replayer:
    """Runs a function, or the program that was recorded of it; `record` is the subclass's."""
    cdef readonly object function
    cdef public list programs           # the one used last in front; never changed in place
    cdef bint off

    def __init__(self, function, bint off):
        self.function, self.off = function, off
        self.programs = []

    def __call__(self, *args, **kwargs):
        cdef list tensors, programs = self.programs
        cdef Recorded r
        if self.off or recording is not None or reference is not None or anomaly:
            return self.function(*args, **kwargs)
        for x in programs:
            r = <Recorded>x
            tensors = r.tensors_of(args, kwargs)
            if tensors is None or not r.program.attributes.are_as_then():
                continue
            found = replay(r.program, tensors)
            if found is OTHER:
                continue
            if found is STALE:
                self.programs = [p for p in self.programs if p is not r]
                continue
            if found is HELD:
                return self.function(*args, **kwargs)
            if self.programs[0] is not r:
                self.programs = [r] + [p for p in self.programs if p is not r]
            return result(r.returns, <list>found)
        return self.record(args, kwargs)
