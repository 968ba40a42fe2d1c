# What a program is made of, in words.

cdef str place_of(Program p, dict moving, void **at, bint inner):
    """Where an operand lies."""
    cdef long long offset
    if inner:
        return f"scratch+{<uintptr_t>at[0]}"
    found = moving.get(<uintptr_t>at)
    if found is not None:
        place, offset = found
        kind, number = ("argument", place) if place < p.n_arguments else ("result", place - p.n_arguments)
        return f"{kind} {number}" + (f"+{offset}" if offset else "")
    offset = <char *>at[0] - p.arena.ptr
    return f"arena+{offset}" if 0 <= offset < p.arena_bytes else "outside"


cdef str operands_of(Program p, dict moving, fnn_call *c, bint backward, unsigned inner):
    """a, b -> c: what a call reads and what it makes, slot by slot."""
    cdef list read = [], made = []
    cdef int j
    cdef str at
    for j in range(c.n_in + c.n_out):
        if c.buf[j] != NULL or inner >> j & 1:
            at = place_of(p, moving, &c.buf[j], inner >> j & 1)
            (read if backward or j < c.n_in else made).append(at)
        if c.grad[j] != NULL or inner >> (FNN_SLOTS + j) & 1:
            at = place_of(p, moving, <void **>&c.grad[j], inner >> (FNN_SLOTS + j) & 1)
            if j < c.n_in:
                made.append(f"{'+' if c.acc >> j & 1 else ''}d{j}: {at}")
            else:
                read.append(f"d{j}: {at}")
    return f"{', '.join(read)} -> {', '.join(made)}"


cdef str call_line(Program p, dict moving, str number, fnn_call *c, bint backward, unsigned inner):
    """One line of the list of launches."""
    cdef list dim = [c.dim[j] for j in range(FNN_DIMS)]
    while dim and dim[len(dim) - 1] == 0:
        dim.pop()
    name = OP_NAMES[c.op] + (" backward" if backward else "")
    return (f"{number:>5}  {name:26} {fnn_cost_ns(c, backward) / 1000:9.2f} us  "
            f"({', '.join(map(str, dim))})  {operands_of(p, moving, c, backward, inner)}")


cdef str describe(Program p):
    cdef dict moving = {}
    cdef long long i, k
    cdef int j
    cdef fnn_link *link
    for j in range(p.n_patches):
        moving[<uintptr_t>p.patches[j].at] = (p.patches[j].place, p.patches[j].offset)
    recorded = p.n + sum([len(parts) - 1 for _, parts in p.fused.values()])
    lines = [f"{p.n} launches for {recorded} recorded, about {p.ns / 1000:.1f} us on one core",
             "", "launches: op, estimated time, (dim), what it reads -> what it makes"]
    for i in range(p.n):
        if p.calls[i].op != FNN_CHAIN:
            lines.append(call_line(p, moving, str(i), &p.calls[i], p.which[i], 0))
            continue
        lines.append(f"{i:>5}  chain {'':20} {p.costs[i] / 1000:9.2f} us  {p.calls[i].dim[1]} rows, "
                     f"{p.calls[i].dim[2]} at a time:")
        for k in range(p.calls[i].dim[0]):
            link = <fnn_link *>p.calls[i].buf[0] + k
            lines.append(call_line(p, moving, "", &link.call, link.backward, link.inner))
    memory = p.memory()
    sizes = [f"{name.replace('_', ' ')} {n:,} bytes" for name, n in memory.items()]
    lines += ["", "memory: " + ", ".join(sizes)]
    for i, (at, nbytes, first, last, over) in enumerate(p.temporaries):
        over = f", in place of {over}" if over >= 0 else ""
        lines.append(f"{i:>5}  arena+{at}: {nbytes:,} bytes, launches {first} to {last}{over}")
    lines += ["", "fused:" if p.fused else "fused: nothing"]
    for i, (patterns, parts) in p.fused.items():
        lines.append(f"{i:>5}  {', '.join(dict.fromkeys(patterns))}: {', '.join(parts)}")
    return "\n".join(lines)
