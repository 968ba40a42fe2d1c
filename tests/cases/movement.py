"""Cases of op_movement.h."""

import numpy as np

import fastnn
from fastnn import _core
from fastnn.data import Normalize
from fastnn.nn import functional as F

from . import Case, randn


def integers(*shapes, dtype="int64"):
    """Small integers of a storage dtype."""
    return lambda rng: tuple(rng.integers(0, 100, s).astype(dtype) for s in shapes)


def moved(op, fn, shape, name, **options):
    """A case that moves bits: kernel and reference agree exactly."""
    return Case(op, fn, randn(shape), name, exact=True, **options)


def pixels(dtype):
    """Samples of two channels, no multiple of a vector."""
    return lambda rng: (rng.integers(0, 256, (4, 2, 5, 7)).astype(dtype),)


CASES = [
    moved("strided", lambda x: x.permute(1, 0, 2), (2, 3, 4), "permute"),
    moved("strided", lambda x: x.permute(2, 0, 1), (2, 3, 4), "permute-cycle"),
    moved("strided", lambda x: x.permute(3, 1, 2, 0), (2, 3, 4, 5), "permute-reverse"),
    moved("strided", lambda x: x.permute(5, 3, 1, 4, 2, 0), (2, 3, 2, 3, 2, 3), "permute-6"),
    moved("strided", lambda x: x.permute(7, 5, 3, 1, 6, 4, 2, 0), (2, 1, 2, 3, 2, 2, 2, 3),
          "permute-8"),
    moved("strided", lambda x: x.mT.clone(), (3, 5), "transpose"),
    moved("strided", lambda x: x.mT.clone(), (2, 3, 5), "transpose-batched"),
    moved("strided", lambda x: x.clone(), (3, 5), "clone"),
    moved("strided", lambda x: x.clone(), (), "clone-scalar"),
    moved("strided", lambda x: x.clone(), (0, 3), "clone-empty"),
    moved("strided", lambda x: x.permute(1, 0, 2), (2, 0, 3), "permute-empty"),
    moved("strided", lambda x: x.mT.clone(), (131, 77), "transpose-odd", big=True),
    moved("strided", lambda x: x.permute(0, 2, 1, 3), (3, 40, 33, 70), "heads", big=True),
    moved("strided", lambda x: x.permute(0, 2, 3, 1), (3, 17, 35, 19), "channels-last", big=True),
    moved("strided", lambda x: x.clone(), (30011,), "clone-long", big=True),
    *(Case("strided", lambda x: x.permute(2, 1, 0), integers((19, 5, 33), dtype=d), f"permute-{d}",
           grad=False)
      for d in ("int64", "int32", "int16", "uint8")),
    Case("expand", lambda x: x.expand(4, 3), randn((3,)), "rows"),
    Case("expand", lambda x: x.expand(4, 3), randn((4, 1)), "columns"),
    Case("expand", lambda x: x.expand(2, 5, 3, 4), randn((5, 1, 4)), "both"),
    Case("expand", lambda x: x.expand(0, 3), randn((3,)), "empty"),
    Case("expand", lambda x: x.expand(4, 0), randn((0,)), "nothing"),
    Case("expand", lambda x: x.expand(70, 301), randn((70, 1)), "columns-odd", big=True),
    Case("expand", lambda x: x.expand(301, 130), randn((130,)), "rows-odd", big=True),
    # The gradient adds 20,000 numbers that cancel: its error follows u sum|g|, not the sum.
    Case("expand", lambda x: x.expand(20000), randn((1,)), "long", big=True, atol=2e-4),
    Case("expand", lambda x: x.expand(17, 20011), randn((17, 1)), "long-rows", big=True),
    Case("expand", lambda x: x.expand(4, 3), integers((3,), dtype="uint8"), "bytes", grad=False),
    moved("strided", lambda x: x[1:, ::2], (4, 7), "slice"),
    moved("strided", lambda x: x[..., 2, None, 1:3], (4, 7, 5), "slice-inside"),
    moved("strided", lambda x: x[1:1, 3], (4, 7), "slice-nothing"),
    moved("strided", lambda x: x.flip(0, 2), (3, 4, 5), "flip"),
    moved("strided", lambda x: x[:, 3:250:3], (67, 301), "slice-odd", big=True),
    moved("strided", lambda x: x.flip(1), (67, 301), "flip-odd", big=True),
    Case("cat", lambda *x: fastnn.cat(x), randn((2, 3), (1, 3), (4, 3)), "rows", exact=True),
    Case("cat", lambda *x: fastnn.cat(x, 1), randn((2, 3, 2), (2, 1, 2), (2, 0, 2)), "inside",
         exact=True),
    Case("cat", lambda *x: fastnn.stack(x, -1), randn((2, 3), (2, 3)), "stack", exact=True),
    Case("cat", lambda x: fastnn.cat((x, x)), randn((2, 3)), "same-twice", exact=True),
    Case("cat", lambda *x: fastnn.cat(x, 1), randn((67, 301), (67, 130)), "odd", exact=True,
         big=True),
    Case("cat", lambda *x: fastnn.cat(x, 1), integers((2, 3), (2, 4)), "int64", grad=False),
    moved("band", lambda x: x.tril(), (3, 4, 5), "tril"),
    moved("band", lambda x: x.triu(1), (5, 4), "triu"),
    moved("band", lambda x: x.tril(-7), (3, 4), "nothing"),
    moved("band", lambda x: x.triu(-9), (3, 4), "everything"),
    moved("band", lambda x: x.tril(3), (130, 67), "odd", big=True),
    Case("band", lambda x: x.tril(), integers((4, 4), dtype="bool"), "bool", grad=False),
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
