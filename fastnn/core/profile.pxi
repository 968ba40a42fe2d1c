# Profiling: what each record did, when, and in which module. Off, it is one branch per run.

ctypedef struct Event:
    double begin, end               # ns, by fnn_clock_ns
    double flops, bytes             # estimates, see work_of
    long long live                  # bytes of tensor memory when its run was over, -1 = not looked
    int module, thread, shapes      # numbers in `paths`, Profile.threads, Profile.shapes (-1 = none)
    unsigned short op
    bint backward, replayed, in_place

ctypedef struct Span:
    double begin, end
    int name, thread                # numbers in `paths`, Profile.threads
    bint module                     # a forward(), else what the engine calls itself: backward, ...

ctypedef struct Label:
    int module                      # number in `paths`
    double bytes                    # what the call moves


# ---------------------------------------------------------------- which module a thread is in

cdef list paths = [""]              # dotted names with their root's class: "Net.fc1"
cdef dict path_numbers = {"": 0}
cdef dict trails = {}               # thread -> [(number of path, module or None, when), ...]
cdef dict names = {}                # (path around, id(module)) -> (number of path, module)
cdef long long names_true_at = 0    # changes of modules known to `names`
cdef object roots = weakref.WeakKeyDictionary()     # module that no other called -> its name
cdef enum:
    MAX_NAMES = 4096                # modules made during forward would fill memory


cdef int path_here() except -1:
    """The module that this thread is in, as far as somebody has looked."""
    cdef list trail = trails.get(PyThread_get_thread_ident())
    return trail[len(trail) - 1][0] if trail else 0


cdef int number_of(str path) except -1:
    found = path_numbers.get(path)
    if found is None:
        path_numbers[path] = found = len(paths)
        paths.append(path)
    return found


cdef int path_of(module, list trail) except -1:
    """The name of a module that is being called: its root's, or the way to it from its caller."""
    global names_true_at
    around, caller = trail[len(trail) - 1][:2] if trail else (0, None)
    if names_true_at != n_changes or len(names) > MAX_NAMES:
        names.clear()
        names_true_at = n_changes
    found = names.get((around, id(module)))
    if found is None:
        if caller is None:
            path = root_name(module)
        else:
            path = f"{paths[around]}.{step_to(caller, module)}"
        names[(around, id(module))] = found = (number_of(path), module)
    return found[0]


cdef str root_name(module):
    """The class; with a number if another module of this class is there."""
    found = roots.get(module)
    if found is not None:
        return found
    taken = set(roots.values())
    found = kind = type(module).__name__
    number = 1
    while found in taken:
        number += 1
        found = f"{kind}({number})"
    roots[module] = found
    return found


cdef str step_to(caller, module):
    for name, child in caller.__dict__.items():
        if child is module:
            return name
    for name, child in caller.named_modules():
        if child is module:
            return name
    return type(module).__name__


cdef int path_around(int a, int b) except -1:
    """The innermost module around both."""
    cdef list x = paths[a].split("."), y = paths[b].split(".")
    cdef int i = 0
    if a == b:
        return a
    while i < min(len(x), len(y)) and x[i] == y[i]:
        i += 1
    return number_of(".".join(x[:i]))


cdef int enter(int path, module) except -1:
    cdef unsigned long thread = PyThread_get_thread_ident()
    if thread not in trails:
        trails[thread] = []
    trails[thread].append((path, module, fnn_clock_ns()))
    return 0


cdef int leave() except -1:
    """Back to the module around, after enter()."""
    cdef unsigned long thread = PyThread_get_thread_ident()
    cdef list trail = trails[thread]
    path, module, begin = trail.pop()
    if not trail:
        del trails[thread]
        if profiling is None:
            names.clear()               # or it would keep modules alive
    if profiling is not None:
        profiling.add_span(path, begin, module is not None)
    return 0


def enter_module(module):
    """A module is called: whether leave_module() must follow."""
    if recording is None and profiling is None:
        return False
    note_module(module)
    enter(path_of(module, trails.get(PyThread_get_thread_ident())), module)
    return True


def leave_module():
    """What enter_module asked for."""
    leave()


# ---------------------------------------------------------------- one profile

cdef class Profile:
    """Everything that ran, in every thread, between start_profile and stop_profile."""
    cdef Event *events
    cdef long long n, room
    cdef Span *spans
    cdef long long n_spans, room_spans
    cdef dict numbers               # threading.Thread -> its number
    cdef list shapes
    cdef dict shape_numbers
    cdef bint wants_shapes
    cdef readonly list threads      # (native id, name) of each
    cdef readonly double begin, end

    def __cinit__(self, bint shapes):
        self.numbers, self.threads = {}, []
        self.shapes, self.shape_numbers = [], {}
        self.wants_shapes = shapes
        self.begin = fnn_clock_ns()

    def __dealloc__(self):
        free(self.events)
        free(self.spans)

    cdef int thread(self) except -1:
        """The number of this thread; Python, which may let other threads run."""
        me = threading.current_thread()         # identifiers are used again
        found = self.numbers.get(me)
        if found is None:
            self.numbers[me] = found = len(self.threads)
            self.threads.append((threading.get_native_id(), me.name))
        return found

    cdef int add(self, fnn_call *c, bint backward, bint replayed, double *times, double bytes,
                 int thread, int module, int shapes) except -1:
        cdef Event *e
        if self.n == self.room:
            self.events = <Event *>grown(self.events, (2 * self.room + 1024) * sizeof(Event))
            self.room = 2 * self.room + 1024
        e = &self.events[self.n]
        self.n += 1
        e.begin = times[0]
        e.end = times[1]
        e.flops = flops_of(c, backward)
        e.bytes = bytes
        e.live = -1
        e.module = module
        e.thread = thread
        e.shapes = shapes
        e.op = c.op
        e.backward = backward
        e.replayed = replayed
        e.in_place = writes_in_place(c, backward)
        return 0

    cdef void look_at_memory(self):
        if self.n:
            self.events[self.n - 1].live = fnn_live_bytes()

    cdef int add_span(self, int name, double begin, bint module) except -1:
        """What began then ends now."""
        cdef int thread = self.thread()
        cdef Span *s
        if self.n_spans == self.room_spans:
            self.spans = <Span *>grown(self.spans, (2 * self.room_spans + 256) * sizeof(Span))
            self.room_spans = 2 * self.room_spans + 256
        s = &self.spans[self.n_spans]
        self.n_spans += 1
        s.begin = max(begin, self.begin)
        s.end = fnn_clock_ns()
        s.name = name
        s.thread = thread
        s.module = module
        return 0

    cdef int shapes_of(self, tuple inputs) except -2:
        if not self.wants_shapes:
            return -1
        shapes = tuple([x.shape for x in inputs])
        found = self.shape_numbers.get(shapes)
        if found is None:
            self.shape_numbers[shapes] = found = len(self.shapes)
            self.shapes.append(shapes)
        return found

    def records(self):
        """(op, backward, replayed, in place, module, thread, begin, end, flops, bytes, shapes, live)."""
        cdef Event *e
        cdef long long i
        found = []
        for i in range(self.n):
            e = &self.events[i]
            found.append((OP_NAMES[e.op], bool(e.backward), bool(e.replayed), bool(e.in_place),
                          paths[e.module], e.thread, e.begin, e.end, e.flops, e.bytes,
                          self.shapes[e.shapes] if e.shapes >= 0 else None, e.live))
        return found

    def calls(self):
        """(name, of a module, thread, begin, end) of modules and of what the engine did around records."""
        cdef Span *s
        cdef long long i
        found = []
        for i in range(self.n_spans):
            s = &self.spans[i]
            found.append((paths[s.name], bool(s.module), s.thread, s.begin, s.end))
        return found


cdef Profile profiling = None


def start_profile(bint shapes=False):
    """Note what every thread runs from now on."""
    global profiling
    if profiling is not None:
        raise RuntimeError("profile: got one inside, or beside, another; need one at a time: end it first")
    profiling = Profile(shapes)
    return profiling


def stop_profile():
    """Back to plain running."""
    global profiling
    if profiling is not None:
        profiling.end = fnn_clock_ns()
    profiling = None
    names.clear()


cdef double flops_of(const fnn_call *c, bint backward):
    """Backward of a product is one more for each gradient; others compute twice as much as forward."""
    cdef double flops = fnn_flops(c)
    cdef unsigned long long needs = fnn_ops[c.op].needs
    cdef const fnn_link *links
    cdef int i, products = 0
    if c.op == FNN_CHAIN:
        links = <const fnn_link *>c.buf[0]
        for i in range(c.dim[0]):
            flops += flops_of(&links[i].call, links[i].backward)
        return flops
    if not backward:
        return flops
    for i in range(3):
        products += c.grad[i] != NULL and (needs >> 16 * (i + 1) & 0xffff) != 0
    return flops * (products if needs >> 16 else 2)


cdef bint writes_in_place(const fnn_call *c, bint backward):
    """Whether it writes where it reads, which costs memory less than writing elsewhere."""
    cdef int i, j
    cdef void *p
    if c.acc if backward else fnn_ops[c.op].writes & 0xffff:
        return True
    for j in range(c.n_in, c.n_in + c.n_out):
        p = <void *>c.grad[j] if backward else c.buf[j]
        for i in range(c.n_in):
            if p != NULL and p == (<void *>c.grad[i] if backward else c.buf[i]):
                return True
        if backward and c.buf[j] != NULL and c.buf[j] == <void *>c.grad[0]:
            return True
    return False


cdef double forward_bytes(fnn_call *c, tuple inputs, tuple outputs):
    """What a forward call reads and writes: less than ops.def says where an operand is broadcast."""
    cdef double total = 0
    for t in inputs:
        total += <double>(<Tensor>t).n * (<Tensor>t).dtype.itemsize
    for t in outputs:
        total += <double>(<Tensor>t).n * (<Tensor>t).dtype.itemsize
    return min(total, fnn_bytes(c)) if outputs else fnn_bytes(c)    # else in place


cdef double backward_bytes(Record r, const fnn_call *c):
    """What a backward call reads and writes, each once; r None = a copy."""
    cdef int j
    cdef double total = 0
    if r is None:
        return fnn_bytes(c)
    for j in range(c.n_in + c.n_out):
        total += 4.0 * r.numel[j] * ((c.buf[j] != NULL) + (c.grad[j] != NULL) + (c.acc >> j & 1))
    return min(total, 2 * fnn_bytes(c))     # sparse readers, such as slices, touch less


# ---------------------------------------------------------------- around runs

cdef double *start_watch(long long n) except NULL:
    """Where the next run of this thread notes the times of its n records."""
    cdef double *times = <double *>grown(NULL, (2 * n + 1) * sizeof(double))
    fnn_time_records(times)
    return times


cdef int stop_watch(double *times, fnn_call *calls, long long n, bint backward, object about) except -1:
    """The run is over. about: (inputs, outputs) of the one forward call, or backward calls' Records."""
    cdef Profile p = profiling
    cdef long long i
    fnn_time_records(NULL)
    try:
        for i in range(n):
            note_call(p, &times[2 * i], &calls[i], backward, about[i] if backward and about else about)
    finally:
        free(times)
    return 0


cdef int note_call(Profile p, double *times, fnn_call *c, bint backward, object about) except -1:
    """One call is over: a forward one, about (inputs, outputs), or a backward one, about its Record."""
    if p is None:                       # ended meanwhile
        return 0
    if backward:
        module = 0 if about is None else (<Record>about).module
        p.add(c, True, False, times, backward_bytes(<Record>about, c), p.thread(), module, -1)
    elif about is None:
        p.add(c, False, False, times, fnn_bytes(c), p.thread(), path_here(), -1)
    else:
        inputs, outputs = about
        p.add(c, False, False, times, forward_bytes(c, inputs, outputs), p.thread(), path_here(),
              p.shapes_of(inputs))
    p.look_at_memory()
    return 0


cdef int stop_replay_watch(double *times, fnn_call *calls, unsigned char *which, Label *labels,
                           long long n) except -1:
    """n calls of a program are over."""
    cdef Profile p = profiling
    cdef int thread
    cdef long long i
    fnn_time_records(NULL)
    try:
        if p is not None:
            thread = p.thread()
            for i in range(n):
                p.add(&calls[i], which[i], True, &times[2 * i], labels[i].bytes, thread, labels[i].module, -1)
            p.look_at_memory()
    finally:
        free(times)
    return 0


cdef inline double clock():
    """When something began, if somebody wants to know."""
    return 0 if profiling is None else fnn_clock_ns()


cdef inline int end_span(str name, double begin) except -1:
    """The end of what began at clock()."""
    if profiling is not None and begin:
        profiling.add_span(number_of(name), begin, False)
    return 0
