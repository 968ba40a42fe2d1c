# What + - * / == @ ... of a Tensor do: the kernel at once, or the ops layer's function.

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
    """What the core needs from the ops layer: functions (expand, permute_copy, getitem, ...), and as
    copy the op of a copy."""
    global _expand, _permute_copy
    hooks.update(functions)
    _expand = hooks.get("expand")
    _permute_copy = hooks.get("permute_copy")


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
