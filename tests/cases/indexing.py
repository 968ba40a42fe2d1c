"""Cases of op_indexing.h."""

import numpy as np

import fastnn
from fastnn import _core
from fastnn.data import Normalize
from fastnn.nn import functional as F

from . import Case, integers, randn


def pixels(dtype):
    """Samples of two channels, no multiple of a vector."""
    return lambda rng: (rng.integers(0, 256, (4, 2, 5, 7)).astype(dtype),)


CASES = [
    Case("take", lambda x: x[[2, 0, 2, -1]], randn((4, 3)), "rows"),
    Case("take", lambda x: x[:, [[1, 2], [0, 1]]], randn((2, 3, 4)), "inside"),
    Case("take", lambda x: x[[0, 1, 1], [3, 0, 0]], randn((2, 4)), "pairs"),
    Case("take", lambda x: x[[]], randn((4, 3)), "nothing"),
    Case("take", lambda x: x.index_select(1, np.array([1, 1])), randn((4, 3)), "columns"),
    Case("take", lambda x: x[x.detach() > 0], randn((4, 3)), "mask", differences=False),
    Case("take", lambda w: F.embedding(np.array([[1, 0], [3, 1]]), w, padding_idx=1), randn((4, 3)),
         "padding", differences=False),
    Case("take", lambda w: F.embedding(np.arange(301) * 7 % 67, w), randn((67, 530)), "odd",
         big=True),
    Case("take", lambda x: x[np.arange(3001) % 100], randn((130,)), "elements", big=True),
    Case("take", lambda x: x[[1, 2]], integers((4, 3), dtype="int16"), "int16", grad=False),
    *(Case("outside", lambda x, d=d: _core.call(_core.OPS["outside"], (x,), ((),),
                                                (x.numel(), *d), (), 0, (fastnn.int64,)),
           lambda rng: (np.arange(9001),), name, grad=False)
      for name, d in (("none", (0, 9001, 0, 0)), ("end", (0, 9000, 0, 0)),
                      ("middle", (0, 5000, 0, 0)), ("first", (1, 9001, 0, 0)),
                      ("skipped", (1, 9001, 0, 1)))),
    Case("take", lambda w: F.embedding(np.arange(2**17 + 9) % 2500, w), randn((2600, 1)),
         "segments", big=True, rtol=1e-5),
    *(Case("scaled_rows", lambda x, m=m, s=s: Normalize(m, s).rows(x, np.array([2, 0, 2])),
           pixels(d), f"{d}-{k}", grad=False)
      for d in ("uint8", "float32") for k, m, s in (("one", 3, 7), ("each", (3, -1), (7, 0.5)))),
    Case("gather", lambda x: x.gather(1, np.array([[0, 0], [2, 1]])), randn((2, 3)), "rows"),
    Case("gather", lambda x: x.gather(0, np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0]])),
         randn((2, 3)), "columns"),
    Case("gather", lambda x: x.gather(1, np.zeros((2, 0), int)), randn((2, 3)), "nothing"),
    Case("gather", lambda x: x.gather(1, np.arange(67 * 40).reshape(67, 40) % 301),
         randn((67, 301)), "odd", big=True),
    *(Case("gather", lambda x: x.gather(0, np.array([[2, 1], [0, 2]])), integers((3, 2), dtype=d),
           d, grad=False) for d in ("bool", "int16", "int32", "int64")),
    Case("scatter", lambda x, v: x.scatter(0, np.array([[2, 0], [1, 1]]), v),
         randn((4, 2), (2, 2)), "columns"),
    Case("scatter", lambda x, v: x.scatter(1, np.array([[2, 0]]), v),
         randn((1, 3), (1, 2)), "rows"),
    Case("scatter", lambda x, v: x.scatter(1, np.array([[2, 2, 0, 2]]), v),
         randn((1, 3), (1, 4)), "repeated", grad=False, exact=True),
    Case("scatter",
         lambda x, v: x.scatter(1, np.argsort(np.sin(np.arange(3e3)).reshape(30, 100)), v),
         randn((30, 101), (30, 100)), "odd", big=True),
    Case("scatter", lambda x, v: x.scatter(0, np.zeros((0, 3), np.int64), v),
         randn((2, 3), (0, 3)), "nothing"),
    *(Case("scatter", lambda x, v: x.scatter(0, np.array([[1, 0]]), v),
           lambda rng, d=d: (np.ones((3, 2), d), np.array([[0, 1]], d)), d, grad=False, exact=True)
      for d in ("bool", "int16", "int32", "int64")),
    Case("scatter_add", lambda x, v: x.scatter_add(0, np.array([[0, 2], [0, 1], [1, 1]]), v),
         randn((3, 2), (3, 2)), "columns"),
    Case("scatter_add", lambda x, v: x.scatter_add(1, np.array([[2, 2, 0, 1]]), v),
         randn((1, 3), (1, 4)), "rows"),
    Case("scatter_add", lambda x, v: x.scatter_add(1, np.arange(30 * 200).reshape(30, 200) % 7, v),
         randn((30, 7), (30, 200)), "odd", big=True),
]
