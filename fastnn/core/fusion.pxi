# Fusion: records of a step that become one, by patterns; docs/decisions/020.
#
# A pattern is a pair: a call that makes a temporary, and the call that reads it. Its rewrite merges one into
# the other if nobody else needs what would be gone, and if no other call could see the new order.

cdef class Fuser                         # below

cdef enum:
    MAX_SUM = 1 << 18                   # elements: with more, a kernel that reads one stream more is slower

ctypedef int (*Rewrite)(Fuser f, int i, int j, int made, int read) except -1

cdef class Pattern:
    """Rows of the table: calls `first` make what calls `then` read, and become one call by `rewrite`."""
    cdef readonly str name
    cdef readonly bint backward         # both are backward calls, and the temporary is a gradient
    cdef readonly tuple first, then     # names of ops
    cdef tuple made, read               # the slots that may hold the temporary
    cdef Rewrite rewrite

cdef Pattern pattern(str name, bint backward, tuple first, tuple made, tuple then, tuple read,
                     Rewrite rewrite):
    cdef Pattern p = Pattern.__new__(Pattern)
    p.name, p.backward = name, backward
    p.first, p.made, p.then, p.read = first, made, then, read
    p.rewrite = rewrite
    return p


cdef class Fuser:
    """The calls of a recorder, some of which become part of others."""
    cdef Recorder r
    cdef dict escapes
    cdef frozenset wanted               # names of patterns
    cdef int *into                      # call -> the call it is part of, itself if none
    cdef int *phase                     # call -> Python functions that run before it
    cdef dict parts                     # call -> (patterns, names of the ops it was made of)

    def __cinit__(self, Recorder r, dict escapes, frozenset wanted):
        cdef long long i, at
        self.r, self.escapes, self.wanted = r, escapes, wanted
        self.into = <int *>grown(NULL, (r.n + 1) * sizeof(int))
        self.phase = <int *>grown(NULL, (r.n + 1) * sizeof(int))
        self.parts = {}
        for i in range(r.n + 1):
            self.into[i] = i
            self.phase[i] = 0
        for host in r.hosts:
            at = host[0]
            for i in range(at, r.n + 1):
                self.phase[i] += 1

    def __dealloc__(self):
        free(self.into)
        free(self.phase)

    cdef int match(self) except -1:
        """Try every pattern at every call, again where one was found."""
        cdef int j
        for j in range(self.r.n):
            while self.into[j] == j and self.match_at(j):
                pass
        return 0

    cdef int match_at(self, int j) except -1:
        cdef Pattern p
        cdef int i, b, made, read
        cdef double both
        cdef str name_i, name_j = self.name(j)
        cdef Operands *o = &self.r.operands[j]
        cdef bint backward = self.r.backward[j]
        for p in BY_READER.get((self.r.calls[j].op, backward), ()):
            if p.name not in self.wanted:
                continue
            for read in p.read:
                b = o.grad[read] if backward else o.buf[read]
                if b < 0 or not self.is_passing(b):
                    continue
                i = self.into[self.r.blocks[b].first]
                if i >= j or self.phase[i] != self.phase[j] or self.r.backward[i] != backward:
                    continue
                if OP_NAMES[self.r.calls[i].op] not in p.first:
                    continue
                name_i = self.name(i)
                both = self.r.labels[i].bytes + self.r.labels[j].bytes
                for made in p.made:
                    if self.same(i, j, b, made, read, backward) and p.rewrite(self, i, j, made, read):
                        # The temporary is not read again, nor written if nobody else needs it.
                        self.r.labels[self.into[i]].bytes = both - self.r.blocks[b].nbytes * (
                            2.0 if self.r.blocks[b].kind == FUSED else 1.0)
                        self.note(p.name, (i, j), (name_i, name_j))
                        return 1
        return 0

    cdef bint same(self, int i, int j, int b, int made, int read, bint backward):
        """Whether slot `made` of call i is slot `read` of call j, a block from its beginning on."""
        cdef Recorder r = self.r
        if backward:
            return (r.operands[i].grad[made] == b and r.calls[i].grad[made] == r.calls[j].grad[read]
                    and not r.calls[i].acc >> made & 1)
        return r.operands[i].buf[made] == b and r.calls[i].buf[made] == r.calls[j].buf[read]

    cdef bint is_passing(self, int b):
        """A temporary of which no replay keeps anything."""
        cdef Block *k = &self.r.blocks[b]
        cdef int i
        for i in range(self.r.n_checks):
            if self.r.checks[i].block == b:
                return False
        return k.kind == TEMPORARY and k.renewed < 0 and b not in self.escapes

    cdef int touches(self, int k, int b) except -1:
        """0: call k does not touch block b, 1: it reads it, 2: it writes to it, too."""
        cdef fnn_call *c = &self.r.calls[k]
        cdef Operands *o = &self.r.operands[k]
        cdef int j, found = 0
        cdef unsigned writes = 0 if self.r.backward[k] else fnn_ops[c.op].writes | <unsigned>-1 << c.n_in
        for j in range(c.n_in + c.n_out):
            if o.grad[j] == b:
                return 2
            if o.buf[j] == b:
                found = max(found, 2 if writes >> j & 1 else 1)
        return found

    cdef int others(self, int b, int i, int j) except -1:
        """The same over all calls but i and j."""
        cdef int k, found = 0
        if planted_reader:
            return 0
        for k in range(self.r.blocks[b].first, min(self.r.blocks[b].last + 1, self.r.n)):
            if k != i and k != j and self.into[k] == k:
                found = max(found, self.touches(k, b))
        return found

    cdef int between(self, int b, int i, int j) except -1:
        """The same over the calls between i and j."""
        cdef int k, found = 0
        for k in range(i + 1, j):
            if self.into[k] == k:
                found = max(found, self.touches(k, b))
        return found

    cdef int merge(self, int gone, int into) except -1:
        """Call `gone` is part of call `into`, whose operands live there now."""
        cdef Operands *o = &self.r.operands[into]
        cdef int j
        self.into[gone] = into
        for j in range(FNN_SLOTS):
            self.alive_at(o.buf[j], into)
            self.alive_at(o.grad[j], into)
        return 1

    cdef bint may_wait(self, int i, int j) except -1:
        """Whether call i could as well run just before call j: nothing it reads is written meanwhile."""
        cdef int k
        for k in range(self.r.calls[i].n_in):
            if self.r.operands[i].buf[k] >= 0 and self.between(self.r.operands[i].buf[k], i, j) > 1:
                return False
        return True

    cdef int merge_late(self, int i, int j) except -1:
        """Call j is gone, and call i takes its place."""
        cdef Recorder r = self.r
        r.calls[j], r.operands[j], r.labels[j] = r.calls[i], r.operands[i], r.labels[i]
        return self.merge(i, j)

    cdef int forget(self, int b) except -1:
        """Nobody needs block b any more."""
        if not planted_reader:          # who reads it nevertheless finds what lay there before
            self.r.blocks[b].kind = FUSED
        return 0

    cdef int alive_at(self, int b, int k) except -1:
        if b >= 0:
            self.r.blocks[b].first = min(self.r.blocks[b].first, k)
            self.r.blocks[b].last = max(self.r.blocks[b].last, k)
        return 0

    cdef int put(self, int k, int slot, int from_call, int from_slot) except -1:
        """Slot of call k becomes an operand of another call; from_slot -1: nothing."""
        cdef Recorder r = self.r
        if from_slot < 0:
            r.operands[k].buf[slot] = -1
            r.calls[k].buf[slot] = NULL
        else:
            r.operands[k].buf[slot] = r.operands[from_call].buf[from_slot]
            r.calls[k].buf[slot] = r.calls[from_call].buf[from_slot]
        return 0

    cdef int put_grad(self, int k, int slot, int from_call, int from_slot) except -1:
        """The same for gradients."""
        self.r.operands[k].grad[slot] = self.r.operands[from_call].grad[from_slot]
        self.r.calls[k].grad[slot] = self.r.calls[from_call].grad[from_slot]
        return 0

    cdef str name(self, int k):
        return OP_NAMES[self.r.calls[k].op] + (" backward" if self.r.backward[k] else "")

    cdef int note(self, str name, tuple calls, tuple names) except -1:
        """These calls, of these names, are one now."""
        cdef list patterns = [], parts = []
        for k, own in zip(calls, names):
            had, ops = self.parts.pop(k, ([], [own]))
            patterns += had
            parts += ops
        self.parts[self.into[calls[0]]] = ([*patterns, name], parts)
        return 0

    cdef int compact(self) except -1:
        """Leave out the calls that are part of others."""
        cdef Recorder r = self.r
        cdef long long i, n = 0
        cdef int b
        cdef int *alive = <int *>grown(NULL, (r.n + 1) * sizeof(int))      # calls before this one
        try:
            for i in range(r.n):
                alive[i] = n
                if self.into[i] == i:
                    r.calls[n], r.operands[n] = r.calls[i], r.operands[i]
                    r.backward[n], r.labels[n] = r.backward[i], r.labels[i]
                    n += 1
            alive[r.n] = n
            for b in range(r.n_blocks):
                i = r.blocks[b].last
                r.blocks[b].first = alive[r.blocks[b].first]
                r.blocks[b].last = n if i >= r.n else alive[i + 1] - 1
            r.hosts = [(alive[host[0]], *host[1:]) for host in r.hosts]
            self.parts = {alive[i]: part for i, part in sorted(self.parts.items())}
            r.n = n
        finally:
            free(alive)
        return 0


cdef long long elements_of(fnn_call *c):
    """Of the result of a linear layer, a convolution or a batch norm."""
    if c.op == LINEAR:
        return c.dim[0] * c.dim[1]
    if is_conv(c):
        return c.dim[0] * c.dim[7] * c.dim[8] * c.dim[4]
    return c.dim[0] * c.dim[1] * c.dim[2]


cdef bint is_conv(fnn_call *c):
    return c.op == CONV2D or c.op == CONV2D_NORM


cdef bint is_bare(fnn_call *c):
    """Whether neither a residual nor an activation is part of it yet."""
    if c.op == LINEAR:
        return not c.dim[4]
    if is_conv(c):
        return not c.dim[15] & (CONV_RESIDUAL | CONV_PLANES_OUT) and not c.dim[16]
    return not c.dim[5] and not c.dim[6]


cdef void add_residual(fnn_call *c):
    if is_conv(c):
        c.dim[15] |= CONV_RESIDUAL
    else:
        c.dim[4 if c.op == LINEAR else 5] = 1


cdef bint elementwise_pair(fnn_call *c, long long n):
    """A binary record of n elements without broadcasting."""
    return c.dim[0] * c.dim[1] * c.dim[2] * c.dim[3] == 1 and c.dim[4] == n and c.dim[9] and c.dim[14]


cdef int linear_activation(Fuser f, int i, int j, int made, int read) except -1:
    """z = linear, y = act(z): linear_act, which keeps z if others read it."""
    cdef fnn_call *c = &f.r.calls[i]
    cdef int z = f.r.operands[i].buf[5], y = f.r.operands[j].buf[1]
    cdef int others = f.others(z, i, j)
    if others > 1 or f.r.calls[j].dim[0] != c.dim[0] * c.dim[1] or f.r.blocks[y].first != j:
        return 0
    c.dim[6] = ACTIVATIONS[OP_NAMES[f.r.calls[j].op]][0]
    c.dim[7] = others
    c.op = LINEAR_ACT
    c.n_out = 2
    f.put(i, 6, i, 5 if others else -1)
    f.put(i, 5, j, 1)
    if not others:
        f.forget(z)
    return f.merge(j, i)


cdef int norm_activation(Fuser f, int i, int j, int made, int read) except -1:
    """z = batch_norm, y = relu(z): batch_norm with relu."""
    cdef fnn_call *c = &f.r.calls[i]
    cdef int z = f.r.operands[i].buf[made], y = f.r.operands[j].buf[1]
    if (c.dim[6] or f.others(z, i, j) or f.r.calls[j].dim[0] != c.dim[0] * c.dim[1] * c.dim[2]
            or f.r.blocks[y].first != j):
        return 0
    c.dim[6] = 1
    f.put(i, made, j, 1)
    f.forget(z)
    return f.merge(j, i)


cdef int norm_activation_backward(Fuser f, int i, int j, int made, int read) except -1:
    """dz = dy where y > 0, then the gradients of batch_norm: those with relu; y stands for its residual."""
    cdef fnn_call *c = &f.r.calls[j]
    cdef int dz = f.r.operands[j].grad[read], dy = f.r.operands[i].grad[1]
    if (c.dim[6] or f.others(dz, i, j) or f.r.calls[i].dim[0] != elements_of(c)
            or not f.is_passing(dy) or f.r.blocks[dy].last != i
            or f.between(f.r.operands[i].buf[1], i, j) > 1):
        return 0
    c.dim[6] = 1
    if c.dim[5]:
        f.put(j, read, i, 1)
    f.put_grad(j, read, i, 1)
    f.forget(dz)
    return f.merge(i, j)


cdef int residual_norm(Fuser f, int i, int j, int made, int read) except -1:
    """s = x + r, y = layer_norm or rms_norm of s: add_layer_norm, add_rms_norm, which make s, too."""
    cdef Recorder r = f.r
    cdef fnn_call *c = &r.calls[j]
    cdef int k, at, slots = c.n_in + c.n_out
    for k in range(i + 1, j):
        if f.into[k] == k:
            return 0
    cdef long long n = c.dim[0] * c.dim[2] * c.dim[3]
    if n > MAX_SUM or not elementwise_pair(&r.calls[i], n):
        return 0
    for k in range(slots - 1, 0, -1):   # [s w b | y ...] becomes [x r w b | y s ...]
        at = k + 1 if k <= c.n_in else k + 2
        r.operands[j].buf[at], c.buf[at] = r.operands[j].buf[k], c.buf[k]
    f.put(j, 0, i, 0)
    f.put(j, 1, i, 1)
    f.put(j, c.n_in + 2, i, 2)
    c.op = ADD_LAYER_NORM if c.op == LAYER_NORM else ADD_RMS_NORM
    c.n_in += 1
    c.n_out += 1
    return f.merge(i, j)


cdef int linear_activation_backward(Fuser f, int i, int j, int made, int read) except -1:
    """dz = dy act'(z), then the gradients of linear: linear_act's, which puts dz where dy is."""
    cdef fnn_call *c = &f.r.calls[j]
    cdef int dz = f.r.operands[j].grad[5], dy = f.r.operands[i].grad[1]
    cdef bint from_input = ACTIVATIONS[OP_NAMES[f.r.calls[i].op]][1]
    cdef int saved = 0 if from_input else 1
    if (f.others(dz, i, j) or f.r.calls[i].dim[0] != c.dim[0] * c.dim[1]
            or not f.is_passing(dy) or f.r.blocks[dy].last != i
            or f.between(f.r.operands[i].buf[saved], i, j) > 1):
        return 0
    c.dim[6] = ACTIVATIONS[OP_NAMES[f.r.calls[i].op]][0]
    c.dim[7] = from_input
    c.op = LINEAR_ACT
    c.n_out = 2
    f.put(j, 5, i, saved)
    f.put(j, 6, i, saved if from_input else -1)
    f.put_grad(j, 5, i, 1)
    f.forget(dz)
    return f.merge(i, j)


cdef int conv_activation(Fuser f, int i, int j, int made, int read) except -1:
    """z = conv2d or conv2d_norm, y = act(z): conv2d_act, or the same with an activation."""
    cdef fnn_call *c = &f.r.calls[i]
    cdef int z = f.r.operands[i].buf[made], y = f.r.operands[j].buf[1]
    if (c.dim[16] or c.dim[15] & CONV_PLANES_OUT or f.others(z, i, j) or f.r.blocks[y].first != j
            or f.r.calls[j].dim[0] != elements_of(c)):
        return 0
    c.dim[16] = CONV_ACTIVATIONS[OP_NAMES[f.r.calls[j].op]]
    c.f[0], c.f[1] = f.r.calls[j].f[0], f.r.calls[j].f[1]
    if c.op == CONV2D:
        c.op = CONV2D_ACT
    f.put(i, made, j, 1)
    f.forget(z)
    return f.merge(j, i)


cdef int conv_activation_backward(Fuser f, int i, int j, int made, int read) except -1:
    """dz = dy act'(z), which follows from y, then the gradients of conv2d: conv2d_act's."""
    cdef fnn_call *c = &f.r.calls[j]
    cdef int dz = f.r.operands[j].grad[6], dy = f.r.operands[i].grad[1]
    if (c.dim[15] & CONV_PLANES_OUT or f.others(dz, i, j) or f.r.calls[i].dim[0] != elements_of(c)
            or not f.is_passing(dy) or f.r.blocks[dy].last != i
            or f.between(f.r.operands[i].buf[1], i, j) > 1):
        return 0
    c.dim[16] = CONV_ACTIVATIONS[OP_NAMES[f.r.calls[i].op]]
    c.f[0], c.f[1] = f.r.calls[i].f[0], f.r.calls[i].f[1]
    c.op = CONV2D_ACT
    f.put(j, 6, i, 1)
    f.put_grad(j, 6, i, 1)
    f.forget(dz)
    return f.merge(i, j)


cdef int conv_norm(Fuser f, int i, int j, int made, int read) except -1:
    """z = conv2d, y = batch_norm_eval(z): conv2d_norm, in the place of the latter."""
    cdef Recorder r = f.r
    cdef fnn_call n = r.calls[j]
    cdef Operands o = r.operands[j]
    cdef fnn_call *c = &r.calls[i]
    cdef int k, z = r.operands[i].buf[made]
    if (not is_bare(c) or f.others(z, i, j) or not n.dim[3] or not n.dim[4] or n.dim[2] != 1
            or n.dim[1] != c.dim[4] or elements_of(&n) != elements_of(c) or not f.may_wait(i, j)):
        return 0
    f.merge_late(i, j)
    c = &r.calls[j]
    for k in range(6):          # weight, bias, mean, variance | y, rstd of the norm; see csrc/op_conv.h
        r.operands[j].buf[6 + k], c.buf[6 + k] = o.buf[NORM_SLOTS[k]], n.buf[NORM_SLOTS[k]]
    if n.dim[5]:
        add_residual(c)
        r.operands[j].buf[3], c.buf[3] = o.buf[3], n.buf[3]
    c.dim[16] = n.dim[6]
    c.f[2] = n.f[0]
    c.op, c.n_in, c.n_out = CONV2D_NORM, 10, 2
    f.forget(z)
    return f.merge(i, j)


cdef int residual(Fuser f, int i, int j, int made, int read) except -1:
    """z = linear, conv2d, batch_norm, ..., y = z + r: the same with a residual, once that is there."""
    cdef fnn_call *c = &f.r.calls[i]
    cdef int z = f.r.operands[i].buf[made], y = f.r.operands[j].buf[2], r = f.r.operands[j].buf[1 - read]
    if (c.op == LINEAR and elements_of(c) > MAX_SUM or not is_bare(c) or r == z
            or f.others(z, i, j) or f.r.blocks[y].first != j
            or not elementwise_pair(&f.r.calls[j], elements_of(c))):
        return 0
    cdef bint late = f.r.blocks[r].kind == TEMPORARY and f.r.blocks[r].first > i or f.between(r, i, j) > 1
    if late and not (is_conv(c) and f.may_wait(i, j)):
        return 0
    add_residual(c)
    f.put(i, 3, j, 1 - read)
    f.put(i, made, j, 2)
    f.forget(z)
    return f.merge_late(i, j) if late else f.merge(j, i)


cdef int residual_backward(Fuser f, int i, int j, int made, int read) except -1:
    """dz = dr = dy, then the gradients of linear, conv2d or batch_norm: those with a residual."""
    cdef fnn_call *c = &f.r.calls[j]
    cdef int dz = f.r.operands[j].grad[read], dr = f.r.operands[i].grad[1 - made]
    cdef int dy = f.r.operands[i].grad[2]
    if (not is_bare(c) or dr == dz or f.others(dz, i, j) or not f.is_passing(dy)
            or f.r.blocks[dy].last != i or not elementwise_pair(&f.r.calls[i], elements_of(c))):
        return 0
    if dr >= 0:
        if f.between(dr, i, j) or f.touches(j, dr):
            return 0                    # the order of its sums would be another
        add_residual(c)
        c.acc |= (f.r.calls[i].acc >> (1 - made) & 1) << 3
        f.put_grad(j, 3, i, 1 - made)
    f.put_grad(j, read, i, 2)
    f.forget(dz)
    return f.merge(i, j)


# What linear_act calls them, and whether their slope is taken from their input.
ACTIVATIONS = {"relu": (1, False), "gelu": (2, True), "gelu_tanh": (3, True), "silu": (4, True),
               "tanh": (5, False), "sigmoid": (6, False)}
cdef tuple ACTS = tuple(ACTIVATIONS)
# What conv2d_act calls them; of those that take their slope from their input, backward is not fused.
CONV_ACTIVATIONS = {name: number for name, (number, _) in ACTIVATIONS.items()} | {"hardtanh": 7}
cdef tuple CONV_ACTS = tuple(CONV_ACTIVATIONS)
cdef int[6] NORM_SLOTS = [1, 2, 4, 5, 6, 7]
cdef enum:
    CONV_RESIDUAL = 2
    CONV_PLANES_OUT = 32

cdef list PATTERNS = [
    pattern("linear+activation", False, ("linear",), (5,), ACTS, (0,), linear_activation),
    pattern("linear+activation", True, ACTS, (0,), ("linear",), (5,), linear_activation_backward),
    pattern("linear+residual", False, ("linear",), (5,), ("add",), (0, 1), residual),
    pattern("linear+residual", True, ("add",), (0, 1), ("linear",), (5,), residual_backward),
    pattern("conv+norm", False, ("conv2d",), (6,), ("batch_norm_eval",), (0,), conv_norm),
    pattern("conv+activation", False, ("conv2d",), (6,), CONV_ACTS, (0,), conv_activation),
    pattern("conv+activation", False, ("conv2d_norm",), (10,), CONV_ACTS, (0,), conv_activation),
    pattern("conv+activation", True, ("relu", "tanh", "sigmoid", "hardtanh"), (0,), ("conv2d",), (6,),
            conv_activation_backward),
    pattern("conv+residual", False, ("conv2d",), (6,), ("add",), (0, 1), residual),
    pattern("conv+residual", False, ("conv2d_norm",), (10,), ("add",), (0, 1), residual),
    pattern("conv+residual", True, ("add",), (0, 1), ("conv2d",), (6,), residual_backward),
    pattern("residual+norm", False, ("add",), (2,), ("layer_norm", "rms_norm"), (0,), residual_norm),
    pattern("norm+residual", False, ("batch_norm",), (7,), ("add",), (0, 1), residual),
    pattern("norm+residual", False, ("batch_norm_eval",), (6,), ("add",), (0, 1), residual),
    pattern("norm+residual", True, ("add",), (0, 1), ("batch_norm",), (7,), residual_backward),
    pattern("norm+residual", True, ("add",), (0, 1), ("batch_norm_eval",), (6,), residual_backward),
    pattern("norm+activation", False, ("batch_norm",), (7,), ("relu",), (0,), norm_activation),
    pattern("norm+activation", False, ("batch_norm_eval",), (6,), ("relu",), (0,), norm_activation),
    pattern("norm+activation", True, ("relu",), (0,), ("batch_norm",), (7,), norm_activation_backward),
    pattern("norm+activation", True, ("relu",), (0,), ("batch_norm_eval",), (6,), norm_activation_backward),
]
FUSIONS = tuple(dict.fromkeys([(<Pattern>_p).name for _p in PATTERNS])) + ("chain",)
cdef dict BY_READER = {}                # (op, backward) -> patterns
for _p in PATTERNS:
    for _op in (<Pattern>_p).then:
        BY_READER.setdefault((OPS[_op], (<Pattern>_p).backward), []).append(_p)
cdef int LINEAR = OPS["linear"], LINEAR_ACT = OPS["linear_act"]
cdef int CONV2D = OPS["conv2d"], CONV2D_ACT = OPS["conv2d_act"], CONV2D_NORM = OPS["conv2d_norm"]
cdef int LAYER_NORM = OPS["layer_norm"]
cdef int ADD_LAYER_NORM = OPS["add_layer_norm"], ADD_RMS_NORM = OPS["add_rms_norm"]
cdef bint planted_reader = False


def plant_fusion_fault(bint on):
    """Fuse as if nobody else read a temporary: for tests of what must find it."""
    global planted_reader
    planted_reader = on


cdef int fuse(Program p, Recorder r, dict escapes, frozenset wanted) except -1:
    """Make fewer calls of those recorded; p.fused: call -> (patterns, names of what it was made of)."""
    cdef Fuser f = Fuser(r, escapes, wanted)
    f.match()
    if "chain" in wanted:
        find_chains(f)
    f.compact()
    p.fused = f.parts
    return 0
