"""Cases of op_movement.h."""

import fastnn

from . import Case, integers, randn


def moved(op, fn, shape, name, **options):
    """A case that moves bits: kernel and reference agree exactly."""
    return Case(op, fn, randn(shape), name, exact=True, **options)


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
]
