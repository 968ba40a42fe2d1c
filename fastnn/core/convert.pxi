# Tensors from Python objects, NumPy arrays and DLPack.

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
        raise too_large() from None
    if not hasattr(data, "dtype"):
        if arr.dtype == np.float64:
            arr = arr.astype(np.float32)
        elif arr.dtype == np.uint64 or arr.dtype == object and any([type(x) is int for x in arr.flat]):
            raise too_large()
    return arr


cdef object too_large():
    return DTypeError("tensor: data: got an integer beyond int64; need a smaller one, or a float")


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
    cdef Tensor t
    if isinstance(data, Tensor) and (dtype is None or as_dtype(dtype) is (<Tensor>data).dtype):
        t = hooks["clone"](data.detach())
        t.requires_grad = requires_grad
        return t
    arr = to_array(data.detach() if isinstance(data, Tensor) else data)
    if dtype is not None:
        arr = arr.astype(as_dtype(dtype).numpy)
    elif arr.dtype == np.float64:
        arr = arr.astype(np.float32)
    t = wrap(arr, True)
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
