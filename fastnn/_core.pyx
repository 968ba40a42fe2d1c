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
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

import threading
import weakref
from operator import index as as_index
from sys import _getframe

import numpy as np

from .errors import DTypeError, GraphError, IndexRangeError, ShapeError, UnsupportedOpError

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

# One extension module, so that every call between the parts stays a C call; each may use those above it.
include "core/dtypes.pxi"
include "core/memory.pxi"
include "core/layout.pxi"
include "core/record.pxi"
include "core/guard.pxi"
include "core/profile.pxi"
include "core/launch.pxi"
include "core/packs.pxi"
include "core/broadcast.pxi"
include "core/reference.pxi"
include "core/graph.pxi"
include "core/arena.pxi"
include "core/convert.pxi"
include "core/operators.pxi"
include "core/tensor.pxi"
include "core/program.pxi"
include "core/describe.pxi"
include "core/interrupt.pxi"
include "core/fusion.pxi"
include "core/chains.pxi"
include "core/plan.pxi"
include "core/signature.pxi"
include "core/settings.pxi"
