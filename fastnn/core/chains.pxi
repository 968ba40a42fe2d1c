# Chains: neighbouring calls over the same rows, run tile by tile (csrc/chain.c).
#
# A call is a link where each element, or each row, follows from its own alone. Calls become a chain if
# running all of them on one tile before the next tile cannot be told from running them in order: what any
# of them writes, all of them must find at the same place of the same row.

cdef enum:
    TILE = 512                          # elements of a tile: some tiles fit the first cache
    MAX_LINKS = 24
    MAX_WIDTH = 8192                    # elements of a row

# Elements: fewer are read again from the last cache, as fast as short tiles can be fetched into the first.
cdef long long chain_minimum = 1 << 22


def set_chain_minimum(long long n):
    """Make chains of calls over n elements or more; returns what it was. For tests."""
    global chain_minimum
    old, chain_minimum = chain_minimum, n
    return old


cdef enum Walk:                         # how an operand moves from row to row
    WHOLE                               # by a row
    COLUMN                              # by an element
    STILL

cdef struct Access:
    int block
    char *at
    Walk walk
    int itemsize
    bint write

cdef struct Shape:
    long long n, width                  # elements of all rows, of one; 1 = any that divides n
    int rows_at                         # which dim counts the rows, or their elements
    bint counts_elements
    Walk walk[12]                       # of each slot


cdef bint broadcast_shape(fnn_call *c, int axes, int operands, Shape *s):
    """The shape of a record that broadcasts over no more than its last two axes."""
    cdef long long rows = c.dim[axes - 2], width = c.dim[axes - 1]
    cdef long long row, step
    cdef int j, k
    for k in range(axes - 2):
        if c.dim[k] != 1:
            return False
    s.n = rows * width
    s.width = 1 if rows == 1 else width
    s.rows_at = axes - 1 if rows == 1 else axes - 2
    s.counts_elements = rows == 1
    s.walk[operands] = WHOLE
    for j in range(operands):
        step = c.dim[axes * (j + 2) - 1]
        row = c.dim[axes * (j + 2) - 2] if rows > 1 else step * width
        if step == 1 and row == width:
            s.walk[j] = WHOLE
        elif row == 0:
            s.walk[j] = STILL
        elif step == 0 and row == 1:
            s.walk[j] = COLUMN
        else:
            return False
    return True


cdef bint link_shape(fnn_call *c, Shape *s):
    """How a call walks its operands; False: it cannot be a link."""
    cdef int kind = FNN_NO_LINK if c.op == FNN_CHAIN else fnn_link_ops[c.op].kind
    s.rows_at = 0
    s.walk[0] = s.walk[1] = WHOLE
    if kind == FNN_LINK_FLAT:
        s.n = c.dim[0]
        s.width = 1
        s.counts_elements = True
        return True
    if kind == FNN_LINK_ROWS:
        s.n = c.dim[0] * c.dim[1]
        s.width = c.dim[1]
        s.counts_elements = False
        return c.dim[2] == 1
    if kind == FNN_LINK_PAIR:
        return broadcast_shape(c, 5, 2, s)
    return kind == FNN_LINK_CHOICE and broadcast_shape(c, 4, 3, s)


cdef int accesses(Recorder r, int k, Shape *s, Access *found) except -2:
    """What call k reads and writes; -1: it sums over rows."""
    cdef fnn_call *c = &r.calls[k]
    cdef Operands *o = &r.operands[k]
    cdef int j, n = 0, slots = c.n_in + c.n_out
    cdef const unsigned char *sizes = fnn_link_ops[c.op].size
    for j in range(slots):
        if o.buf[j] >= 0:
            found[n] = Access(o.buf[j], <char *>c.buf[j], s.walk[j], sizes[j],
                              not r.backward[k] and j >= c.n_in)
            n += 1
        if o.grad[j] >= 0:
            if s.walk[j] != WHOLE:
                return -1
            found[n] = Access(o.grad[j], <char *>c.grad[j], WHOLE, 4, True)
            n += 1
    return n


cdef class Chain:
    """Calls that follow each other, and all that they touch."""
    cdef Fuser f
    cdef int[24] calls
    cdef Shape[24] shapes
    cdef Access[576] touched
    cdef int n, n_touched
    cdef long long elements, width

    cdef bint takes(self, int k) except -1:
        """Append call k if it fits."""
        cdef Shape s
        cdef Access new[24]
        cdef Access *a
        cdef Recorder r = self.f.r
        cdef bint met = self.n == 0
        cdef int i, j, count
        if not link_shape(&r.calls[k], &s) or s.n < chain_minimum or s.width > MAX_WIDTH:
            return False
        count = accesses(r, k, &s, new)
        if count < 0 or self.n == MAX_LINKS:
            return False
        if self.n and (s.n != self.elements or self.f.phase[k] != self.f.phase[self.calls[0]]):
            return False
        if self.n and s.width > 1 and self.width > 1 and s.width != self.width:
            return False
        for i in range(count):
            if new[i].write and (r.blocks[new[i].block].kind != TEMPORARY or new[i].walk == STILL):
                return False
            for j in range(self.n_touched + i):
                a = &self.touched[j] if j < self.n_touched else &new[j - self.n_touched]
                if a.block != new[i].block:
                    continue
                met = True
                if (a.write or new[i].write) and (a.at != new[i].at or a.walk != new[i].walk
                                                  or a.itemsize != new[i].itemsize):
                    return False
        if not met:
            return False                # nothing of it is in cache
        for i in range(count):
            self.touched[self.n_touched + i] = new[i]
        self.n_touched += count
        self.calls[self.n] = k
        self.shapes[self.n] = s
        self.n += 1
        self.elements = s.n
        self.width = max(s.width, self.width)
        return True

    cdef int close(self) except -1:
        """Make one call of them, and begin anew."""
        cdef Recorder r = self.f.r
        cdef fnn_call *c
        cdef long long rows
        cdef int i, head
        cdef dict inner
        if self.n > 1:
            head = self.calls[0]
            rows = max(TILE // self.width, 1)
            inner, seen = self.scratch(rows), set()
            self.f.note("chain", tuple([self.calls[i] for i in range(self.n)]),
                        tuple([self.f.name(self.calls[i]) for i in range(self.n)]))
            for i in range(self.n):
                self.add_link(i, inner, seen)
            for i in range(1, self.n):
                self.f.into[self.calls[i]] = head
            for i in range(self.n_touched):
                self.f.alive_at(self.touched[i].block, head)
            r.labels[head].bytes = self.bytes_moved(inner)
            for i in range(1, self.n):
                r.labels[head].module = path_around(r.labels[head].module, r.labels[self.calls[i]].module)
            c = &r.calls[head]
            memset(c, 0, sizeof(fnn_call))
            c.op = FNN_CHAIN
            c.buf[0] = <void *><uintptr_t>(r.n_links - self.n)      # its first link, until a Program has them
            c.dim[0] = self.n
            c.dim[1] = self.elements // self.width
            c.dim[2] = rows
            memset(&r.operands[head], 0xFF, sizeof(Operands))
            r.backward[head] = 0
        self.n = self.n_touched = 0
        self.width = 1
        return 0

    cdef double bytes_moved(self, dict inner) except -1:
        """What all links read and write of memory that is not scratch, each block once."""
        cdef dict first = {}, reads = {}, writes = {}
        cdef double total = 0
        cdef long long n
        cdef int i
        cdef Access *a
        for i in range(self.n_touched):
            a = &self.touched[i]
            if a.block in inner:
                continue
            n = self.elements if a.walk == WHOLE else (
                self.elements // self.width if a.walk == COLUMN else self.width)
            first.setdefault(a.block, a.write)
            side = writes if a.write else reads
            side[a.block] = max(side.get(a.block, 0), n * a.itemsize)
        for b in first:
            total += (0 if first[b] else reads.get(b, 0)) + writes.get(b, 0)
        return total

    cdef dict scratch(self, long long rows):
        """{block: its place in a thread's scratch} of temporaries that only the chain touches."""
        cdef Recorder r = self.f.r
        cdef long long size = (4 * rows * self.width + 63) // 64 * 64
        cdef dict place = {}, last = {}
        cdef list free_places = []
        cdef int i, j, b, n = 0
        cdef Access found[24]
        for i in range(self.n):
            for j in range(accesses(r, self.calls[i], &self.shapes[i], found)):
                b = found[j].block
                if (self.f.is_passing(b) and r.blocks[b].first >= self.calls[0]
                        and r.blocks[b].last <= self.calls[self.n - 1]):
                    last[b] = i
        for i in range(self.n):
            for j in range(accesses(r, self.calls[i], &self.shapes[i], found)):
                b = found[j].block
                if b not in last or b in place:
                    continue
                if not free_places:
                    free_places.append(n * size)
                    n += 1
                place[b] = free_places.pop()
            free_places += [place[b] for b in place if last[b] == i]
        return place if n * size <= FNN_CHAIN_BYTES // 2 else {}

    cdef int add_link(self, int i, dict inner, set seen) except -1:
        """Call i of the chain as a link; seen: the blocks that those before it touch."""
        cdef Recorder r = self.f.r
        cdef int j, k = self.calls[i]
        cdef fnn_link *link
        cdef Operands *o
        cdef Shape *s = &self.shapes[i]
        cdef const unsigned char *sizes = fnn_link_ops[r.calls[k].op].size
        if r.n_links == r.room_links:
            r.room_links = 2 * r.room_links + 16
            r.links = <fnn_link *>grown(r.links, r.room_links * sizeof(fnn_link))
            r.link_operands = <Operands *>grown(r.link_operands, r.room_links * sizeof(Operands))
        link = &r.links[r.n_links]
        o = &r.link_operands[r.n_links]
        r.n_links += 1
        memset(link, 0, sizeof(fnn_link))
        link.call = r.calls[k]
        link.backward = r.backward[k]
        link.rows_at = s.rows_at
        link.per_row = self.width if s.counts_elements else 1
        o[0] = r.operands[k]
        for j in range(link.call.n_in + link.call.n_out):
            if in_scratch(r, o.buf[j], inner):
                link.inner |= 1 << j
            elif o.buf[j] >= 0:
                link.step[j] = step_of(s.walk[j], sizes[j], self.width)
                link.ahead |= is_new(seen, o.buf[j]) << j
            if in_scratch(r, o.grad[j], inner):
                link.inner |= 1 << (FNN_SLOTS + j)
            elif o.grad[j] >= 0:
                link.step[FNN_SLOTS + j] = 4 * self.width
                link.ahead |= is_new(seen, o.grad[j]) << (FNN_SLOTS + j)
        return 0


cdef long long step_of(Walk walk, long long itemsize, long long width):
    return 0 if walk == STILL else itemsize if walk == COLUMN else itemsize * width


cdef unsigned is_new(set seen, int b) except? 2:
    if b in seen:
        return 0
    seen.add(b)
    return 1


cdef bint in_scratch(Recorder r, int b, dict inner) except? 2:
    """Whether a block lies in scratch, where its operands say how far from its beginning."""
    if b not in inner:
        return 0
    r.blocks[b].kind = FUSED
    r.blocks[b].scratch = inner[b]
    return 1


cdef int find_chains(Fuser f) except -1:
    """Make one call of neighbours that can be a chain."""
    cdef int k
    cdef Chain chain = Chain.__new__(Chain)
    chain.f = f
    chain.width = 1
    for k in range(f.r.n):
        if f.into[k] == k and not chain.takes(k):
            chain.close()
            chain.takes(k)
    return chain.close()
