# What a program takes for granted of the modules it called: their attributes, and their layers'.

cdef long long n_changes = 0
cdef object WRITTEN = object()          # stands for the value of an attribute that the step itself sets
cdef object MISSING = object()


cdef inline bint same(object a, object b):
    return a is b or (type(a) is type(b) and isinstance(a, (bool, int, float, str)) and a == b)


def module_changed():
    """Some module got another attribute."""
    global n_changes
    n_changes += 1


cdef class Attributes:
    """The attributes of modules when a step was recorded."""
    cdef list modules                   # (__dict__, what was in it)
    cdef list held
    cdef long long changes

    def __cinit__(self, dict called):
        """called: id -> (module, its attributes before the step)."""
        cdef list below = []
        cdef set seen = set(called)
        self.modules, self.held = [], []
        self.changes = n_changes
        for module, before in called.values():
            now = <dict>module.__dict__
            self.add(module, {k: v if same(v, before.get(k, MISSING)) else WRITTEN for k, v in now.items()},
                     seen, below)
        while below:                    # a list of layers is read without being called
            module = below.pop()
            self.add(module, (<dict>module.__dict__).copy(), seen, below)

    cdef int add(self, object module, dict was, set seen, list below) except -1:
        cdef object kind = hooks["module"]
        self.held.append(module)
        self.modules.append((module.__dict__, was))
        for child in was.values():
            if isinstance(child, kind) and <uintptr_t><void *>child not in seen:
                seen.add(<uintptr_t><void *>child)
                below.append(child)
        return 0

    cdef bint are_as_then(self) except -1:
        """Looked at only after some module changed."""
        cdef long long now = n_changes
        cdef dict attributes, was
        if self.changes == now:
            return True
        for attributes, was in self.modules:
            if len(attributes) != len(was):
                return False
            for k, v in was.items():
                x = attributes.get(k, MISSING)
                if x is not v and (x is MISSING or v is not WRITTEN and not same(x, v)):
                    return False
        self.changes = now
        return True
