# Element types and their names.

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
