"""The catalogue of bad inputs: each raises the named error, in C and in NumPy, and changes nothing.

For every row: no crash; the same type and text from both backends; inputs, parameters and the
random state as before; the next valid call gives the same bits.
"""

from __future__ import annotations

import numpy as np
import pytest
from bad import Bad, F, check, f, i, leaf, outcome

import fastnn
from fastnn import nn, optim
from fastnn.errors import DTypeError, GraphError, IndexRangeError, ShapeError


def mutated_before_backward() -> None:
    x = leaf(3)
    y = x * 2
    z = (y * y).sum()
    with fastnn.no_grad():
        y.add_(1.0)
    z.backward()


def second_backward() -> None:
    z = (leaf(3) ** 2).sum()
    z.backward()
    z.backward()


def in_place_on_leaf() -> None:
    x = leaf(3)
    x += 1


def in_place_on_shared_memory() -> None:
    y = leaf(4) * 1
    view = y.view(2, 2)
    y.mul_(2.0)
    del view


SHAPES = [
    Bad("add-mismatch", lambda: f(2, 3) + f(4, 3), ShapeError, r"add: .*\(2, 3\) and \(4, 3\)"),
    Bad("sub-mismatch", lambda: f(2, 3) - f(2), ShapeError, "sub"),
    Bad("compare-mismatch", lambda: f(2, 3) < f(2), ShapeError, r"\(2, 3\) and \(2,\)"),
    Bad("where-mismatch", lambda: fastnn.where(f(2) > 0, f(3), f(3)), ShapeError, "where"),
    Bad("inplace-broadcast", lambda: f(3).add_(f(2, 3)), ShapeError, r"add_"),
    Bad("matmul-inner", lambda: f(2, 3) @ f(4, 5), ShapeError, r"matmul: .*\(2, 3\) and \(4, 5\)"),
    Bad("matmul-batch", lambda: f(2, 3, 4) @ f(3, 4, 5), ShapeError, "batch"),
    Bad("matmul-scalar", lambda: fastnn.matmul(f(), f(2, 2)), ShapeError, "matmul"),
    Bad("linear-features", lambda: F.linear(f(2, 3), f(4, 5)), ShapeError,
        r"linear: input: got shape \(2, 3\); need \(\.\.\., 5\)"),
    Bad("linear-rank", lambda: F.linear(f(2, 3), f(3)), ShapeError, "linear: weight"),
    Bad("linear-bias", lambda: F.linear(f(2, 3), f(4, 3), f(5)), ShapeError, "linear: bias"),
    Bad("linear-scalar", lambda: F.linear(f(), f(4, 3)), ShapeError, "linear: input"),
    Bad("reshape-size", lambda: f(2, 3).reshape(4, 2), ShapeError, r"\(4, 2\)"),
    Bad("reshape-two-unknown", lambda: f(2, 3).reshape(-1, -1), ShapeError),
    Bad("reshape-unknown-zero", lambda: fastnn.zeros(0, 3).reshape(-1, 0), ShapeError),
    Bad("reshape-negative", lambda: f(2, 3).reshape(-2, 3), ShapeError),
    Bad("zeros-negative", lambda: fastnn.zeros(-1), ShapeError),
    Bad("zeros-overflow", lambda: fastnn.zeros(2**31, 2**31, 2**31), ShapeError),
    Bad("zeros-huge-size", lambda: fastnn.zeros(2**70), ShapeError),
    Bad("zeros-33-axes", lambda: fastnn.zeros(*[1] * 33), ShapeError, "32"),
    Bad("zeros-too-large", lambda: fastnn.zeros(2**55), MemoryError,
        r"zeros: size: got \(36028797018963968,\), a request for .* bytes; need"),
    Bad("eye-too-large", lambda: fastnn.eye(2**28), MemoryError, "eye: size: got"),
    Bad("eye-overflow", lambda: fastnn.eye(2**40), ShapeError, "eye: shape: got .*; need fewer"),
    Bad("arange-too-large", lambda: fastnn.arange(2**55), MemoryError, "arange: size: got"),
    Bad("arange-overflow", lambda: fastnn.arange(2**62), ShapeError, "arange: shape: got"),
    Bad("arange-infinite", lambda: fastnn.arange(np.inf), ShapeError, "arange: end: got inf; need"),
    Bad("linspace-too-large", lambda: fastnn.linspace(0, 1, 2**55), MemoryError, "linspace: size"),
    Bad("one-hot-too-large", lambda: F.one_hot(i(1), 2**55), MemoryError, "bytes; need"),
    Bad("expand-too-large", lambda: f(1).expand(2**55), MemoryError, "bytes; need"),
    Bad("int-add-mismatch", lambda: i(1, 2) + i(1, 2, 3), ShapeError, r"^add: shapes: got \(2,\)"),
    Bad("int-less-mismatch", lambda: i(1, 2) < i(1, 2, 3), ShapeError, r"^lt: shapes: got \(2,\)"),
    Bad("mask-mismatch", lambda: (f(2) > 0) & (f(3) > 0), ShapeError, r"^and: shapes: got \(2,\)"),
    Bad("expand-size", lambda: f(2, 3).expand(4, 3), ShapeError, "expand"),
    Bad("expand-overflow", lambda: f(1).expand(2**40, 2**40), ShapeError),
    Bad("permute-repeat", lambda: f(2, 3).permute(0, 0), (ShapeError, IndexRangeError)),
    Bad("permute-count", lambda: f(2, 3).permute(0), ShapeError, "permute"),
    Bad("transpose-axis", lambda: f(2, 3).transpose(0, 2), IndexRangeError, "transpose"),
    Bad("squeeze-axis", lambda: f(2, 3).squeeze(5), IndexRangeError),
    Bad("cat-nothing", lambda: fastnn.cat([]), ShapeError, "cat"),
    Bad("hinge-mismatch", lambda: F.hinge_embedding_loss(f(2), i(1)), ShapeError, "hinge_emb"),
    Bad("hinge-of-nothing", lambda: F.hinge_embedding_loss(f(0), i()), ShapeError, "of nothing"),
    Bad("cat-mismatch", lambda: fastnn.cat([f(2, 3), f(2, 4)], 0), ShapeError, "cat"),
    Bad("stack-mismatch", lambda: fastnn.stack([f(2), f(3)]), ShapeError, "stack"),
    Bad("split-zero", lambda: fastnn.split(f(4), 0), ShapeError, "split"),
    Bad("split-sum", lambda: fastnn.split(f(4), [1, 2]), ShapeError, "split"),
    Bad("narrow-range", lambda: f(4).narrow(0, 3, 2), (ShapeError, IndexRangeError), "narrow"),
    Bad("mean-of-nothing", lambda: fastnn.zeros(0, 3).mean(), ShapeError, "mean"),
    Bad("max-of-nothing", lambda: fastnn.zeros(0).max(), ShapeError, "max"),
    Bad("min-of-nothing", lambda: fastnn.zeros(0, 3).min(0), ShapeError, "min"),
    Bad("argmax-of-nothing", lambda: fastnn.zeros(0).argmax(), ShapeError, "argmax"),
    Bad("sum-axis", lambda: f(2, 3).sum(2), IndexRangeError, "sum: dim"),
    Bad("sum-axis-twice", lambda: f(2, 3).sum((0, 0)), (ShapeError, ValueError), "sum"),
    Bad("einsum-letters", lambda: fastnn.einsum("ijk->i", f(2, 3)), ShapeError, "einsum: operands"),
    Bad("einsum-sizes", lambda: fastnn.einsum("ij,jk->ik", f(2, 3), f(4, 5)), ShapeError,
        "einsum: operands: got sizes 3 and 4"),
    Bad("einsum-diagonal", lambda: fastnn.einsum("ii->i", f(2, 3)), ShapeError, "einsum"),
    Bad("diag-rank", lambda: fastnn.diag(f(2, 2, 2)), ShapeError, "diag: input"),
    Bad("median-of-nothing", lambda: fastnn.zeros(0).median(), ShapeError, "median: input"),
    Bad("pad-odd", lambda: F.pad(f(2, 3), (1, 2, 3)), ShapeError, "pad: pad"),
    Bad("pad-too-many", lambda: F.pad(f(3), (1, 2, 3, 4)), ShapeError, "pad: pad"),
    Bad("pad-all-away", lambda: F.pad(f(3), (-2, -2)), ShapeError, "pad: pad"),
    Bad("pad-reflect", lambda: F.pad(f(3), (3, 0), "reflect"), ShapeError, "reflect"),
    Bad("scatter-index", lambda: f(2, 3).scatter(0, i(1), f(1)), ShapeError, "scatter: index"),
    Bad("scatter-src", lambda: f(3).scatter(0, i(0, 1), f(1)), ShapeError, "scatter: src"),
    Bad("addmm-inner", lambda: fastnn.addmm(f(2, 5), f(2, 3), f(4, 5)), ShapeError, "matmul"),
    Bad("softmax-axis", lambda: F.softmax(f(2, 3), dim=-3), IndexRangeError, "softmax: dim"),
    Bad("layer-norm-axes", lambda: F.layer_norm(f(2, 3), (4,)), ShapeError,
        r"layer_norm: input: got shape \(2, 3\); need \(\.\.\., 4\)"),
    Bad("layer-norm-rank", lambda: F.layer_norm(f(3), (2, 3)), ShapeError, "layer_norm: input"),
    Bad("layer-norm-nothing", lambda: F.layer_norm(f(3), ()), ShapeError, "normalized_shape"),
    Bad("layer-norm-weight", lambda: F.layer_norm(f(2, 3), 3, f(2)), ShapeError,
        r"layer_norm: weight: got shape \(2,\); need \(3,\)"),
    Bad("layer-norm-bias", lambda: F.layer_norm(f(2, 3), 3, f(3), f(1, 3)), ShapeError, "bias"),
    Bad("rms-norm-weight", lambda: F.rms_norm(f(2, 3), 3, f(2, 3)), ShapeError, "rms_norm: weight"),
    Bad("add-norm-residual", lambda: F.add_layer_norm(f(2, 3), f(3), 3), ShapeError,
        r"add_layer_norm: residual: got shape \(3,\); need \(2, 3\)"),
    Bad("group-norm-groups", lambda: F.group_norm(f(2, 6, 2), 4), ShapeError,
        "group_norm: num_groups: got 4 for 6 channels"),
    Bad("group-norm-zero", lambda: F.group_norm(f(2, 6, 2), 0), ShapeError, "num_groups: got 0"),
    Bad("group-norm-negative", lambda: F.group_norm(f(2, 6), -(2**62)), ShapeError, "num_groups"),
    Bad("group-norm-one-value", lambda: F.group_norm(f(1, 3), 3), ShapeError, "value per group"),
    Bad("group-norm-rank", lambda: F.group_norm(f(6), 2), ShapeError, "group_norm: input"),
    Bad("instance-norm-one-value", lambda: F.instance_norm(f(2, 3, 1)), ShapeError, "value per"),
    Bad("batch-norm-one-value", lambda: F.batch_norm(f(1, 3), None, None, training=True),
        ShapeError, r"one value per channel in training, input \(1, 3\); need more"),
    Bad("batch-norm-one-pixel", lambda: F.batch_norm(f(1, 3, 1, 1), f(3), f(3), training=True),
        ShapeError, "one value per channel"),
    Bad("batch-norm-rank", lambda: F.batch_norm(f(3), f(3), f(3)), ShapeError, "batch_norm: input"),
    Bad("batch-norm-weight", lambda: F.batch_norm(f(2, 3), f(3), f(3), f(2)), ShapeError, "weight"),
    Bad("batch-norm-running", lambda: F.batch_norm(f(2, 3), f(2), f(3)), ShapeError,
        r"running_mean: got shape \(2,\); need \(3,\)"),
    Bad("batch-norm-one-running", lambda: F.batch_norm(f(2, 3), f(3), None), ValueError, "both"),
    Bad("batch-norm-no-running", lambda: F.batch_norm(f(2, 3), None, None), ValueError, "got None"),
    Bad("batch-norm-running-array", lambda: F.batch_norm(f(2, 3), np.zeros(3, np.float32), f(3)),
        DTypeError, "running_mean: got ndarray; need a float32 Tensor"),
    Bad("batch-norm-integers", lambda: F.batch_norm(i(1, 2).reshape(2, 1), f(1), f(1)), DTypeError,
        "batch_norm: input: got int64"),
    Bad("batch-norm-residual", lambda: F.batch_norm(f(2, 3), f(3), f(3), residual=f(3)),
        ShapeError, "batch_norm: residual"),
    Bad("batch-norm-activation", lambda: F.batch_norm(f(2, 3), f(3), f(3), activation="gelu"),
        ValueError, "batch_norm: activation: got 'gelu'"),
    Bad("batch-norm-channels", lambda: nn.BatchNorm2d(4)(f(2, 3, 5, 5)), ShapeError,
        r"batch_norm: input: got shape \(2, 3, 5, 5\); need \(n, 4, h, w\)"),
    Bad("mse-mismatch", lambda: F.mse_loss(f(4, 1), f(4)), ShapeError, r"\(4, 1\).*\(4,\)"),
    Bad("mse-of-nothing", lambda: F.mse_loss(fastnn.zeros(0), fastnn.zeros(0)), ShapeError, "mse"),
    Bad("l1-mismatch", lambda: F.l1_loss(f(2), f(3)), ShapeError, "l1"),
    Bad("bce-mismatch", lambda: F.binary_cross_entropy_with_logits(f(2), f(3)), ShapeError),
    Bad("ce-rows", lambda: F.cross_entropy(f(3, 4), i(0, 1)), ShapeError, "cross_entropy"),
    Bad("ce-rank", lambda: F.cross_entropy(f(), i(0)), ShapeError, "cross_entropy"),
    Bad("ce-of-nothing", lambda: F.cross_entropy(fastnn.zeros(0, 4), i()), ShapeError,
        "cross_entropy"),
    Bad("ce-no-classes", lambda: F.cross_entropy(fastnn.zeros(2, 0), i(0, 0)),
        (ShapeError, IndexRangeError)),
    Bad("ce-weight", lambda: F.cross_entropy(f(2, 4), i(0, 1), weight=f(3)), ShapeError, "weight"),
    Bad("nll-rows", lambda: F.nll_loss(f(3, 4), i(0, 1)), ShapeError, "nll"),
    Bad("kl-mismatch", lambda: F.kl_div(f(2), f(3)), ShapeError, "kl_div"),
    Bad("embedding-rank", lambda: F.embedding(i(0), f(3)), ShapeError, "embedding"),
    Bad("item-of-many", lambda: f(2).item(), ShapeError, "item"),
    Bad("bool-of-many", lambda: bool(f(2)), ShapeError, "bool"),
    Bad("arange-endless", lambda: fastnn.arange(0, 10, 0), (ShapeError, ValueError), "arange"),
    Bad("eye-negative", lambda: fastnn.eye(-1), ShapeError),
]

TYPES = [
    Bad("complex", lambda: fastnn.tensor(np.ones(2, np.complex64)), DTypeError, "complex64"),
    Bad("object", lambda: fastnn.tensor(np.array([{}])), DTypeError, "object"),
    Bad("integer-too-large", lambda: fastnn.tensor(2**70), DTypeError, "beyond int64; need"),
    Bad("unsigned-too-large", lambda: fastnn.tensor([2**63]), DTypeError, "beyond int64; need"),
    Bad("int-add-too-large", lambda: i(1) + 2**70, DTypeError, "beyond int64; need"),
    Bad("arange-integer", lambda: fastnn.arange(2**70), DTypeError, "arange: end: got 118.*int64"),
    Bad("full-too-large", lambda: fastnn.full((2,), 2**70), DTypeError,
        "full: fill_value: got 1180591620717411303424; need a number that fits int64"),
    Bad("full-uint8", lambda: fastnn.full((2,), 300, dtype=fastnn.uint8), DTypeError, "fits uint8"),
    Bad("full-nan", lambda: fastnn.full((2,), np.nan, dtype=fastnn.int64), DTypeError,
        "fits int64"),
    Bad("full-none", lambda: fastnn.full((2,), None), DTypeError, "full: fill_value: got None"),
    Bad("fill-too-large", lambda: i(1).fill_(2**70), DTypeError, "fill_: value: got 118.*int64"),
    Bad("cat-of-storage", lambda: fastnn.cat([f(2), f(2).double()]), DTypeError,
        r"cat: got float64; need .*\.float\(\)"),
    Bad("finfo-of-integers", lambda: fastnn.finfo(fastnn.int32), DTypeError, "iinfo"),
    Bad("iinfo-of-floats", lambda: fastnn.iinfo(fastnn.float32), DTypeError, "finfo"),
    Bad("ragged", lambda: fastnn.tensor([[1.0], [1.0, 2.0]]), ShapeError, "ragged"),
    Bad("string", lambda: f(2) + "a", (DTypeError, TypeError)),
    Bad("none", lambda: f(2) + None, (DTypeError, TypeError)),
    Bad("scatter-dtype", lambda: f(3).scatter(0, i(0), i(1)), DTypeError, "src: got int64"),
    Bad("scatter-float-index", lambda: f(3).scatter(0, f(1), 1.0), DTypeError, "scatter: index"),
    Bad("normalize-ints", lambda: F.normalize(i(1, 2), dim=0), DTypeError, "norm"),
    Bad("int-linear", lambda: F.linear(i(1, 2), f(3, 2)), DTypeError, "linear: input: got int64"),
    Bad("float-labels", lambda: F.nll_loss(f(2, 3), f(2)), DTypeError, "nll"),
    Bad("bool-labels", lambda: F.cross_entropy(f(2, 3), f(2) > 0), DTypeError, "cross_entropy"),
    Bad("float-index", lambda: F.embedding(f(2), f(3, 4)), DTypeError, "embedding"),
    Bad("float-getitem", lambda: f(3)[1.0], (DTypeError, TypeError)),
    Bad("mean-of-ints", lambda: i(1, 2).mean(), DTypeError, "mean"),
    Bad("float64-compute", lambda: F.relu(fastnn.from_numpy(np.ones(2))), DTypeError, "float64"),
    Bad("max-over-axes", lambda: f(3, 2).max(dim=(0, 1)), TypeError, "use amax"),
    Bad("grad-of-ints", lambda: i(1).requires_grad_(), DTypeError, "requires_grad"),
    Bad("unknown-dtype", lambda: f(2).to("float8"), DTypeError, "float8"),
    Bad("other-device", lambda: f(2).to("cuda"), DTypeError, "cuda"),
    Bad("where-condition", lambda: fastnn.where(f(2), f(2), f(2)), DTypeError, "where"),
    Bad("int-param", lambda: optim.SGD([i(1)], lr=0.1), (DTypeError, TypeError, GraphError)),
    Bad("not-a-tensor-param", lambda: optim.SGD([3], lr=0.1), TypeError),
]

INDICES = [
    Bad("label-too-large", lambda: F.cross_entropy(f(2, 3), i(0, 3)), IndexRangeError,
        r"target.*(position|index|\[1\]|at 1).*3|3.*(position|at)"),
    Bad("label-negative", lambda: F.cross_entropy(f(2, 3), i(0, -1)), IndexRangeError, "-1"),
    Bad("nll-label", lambda: F.nll_loss(f(2, 3), i(5, 0)), IndexRangeError, "5"),
    Bad("token-too-large", lambda: F.embedding(i(0, 9), f(3, 4)), IndexRangeError, "9"),
    Bad("token-negative", lambda: F.embedding(i(-1), f(3, 4)), IndexRangeError, "-1"),
    Bad("empty-vocabulary", lambda: F.embedding(i(0), fastnn.zeros(0, 4)),
        (IndexRangeError, ShapeError)),
    Bad("getitem-range", lambda: f(3)[3], IndexRangeError, "3"),
    Bad("getitem-negative", lambda: f(3)[-4], IndexRangeError, "-4"),
    Bad("getitem-too-many", lambda: f(3)[0, 0], IndexRangeError),
    Bad("getitem-array", lambda: f(3)[i(0, 7)], IndexRangeError, "7"),
    Bad("getitem-mask", lambda: f(3)[fastnn.tensor([True, False])], (IndexRangeError, ShapeError)),
    Bad("setitem-range", lambda: f(3).__setitem__(5, 1.0), IndexRangeError, "5"),
    Bad("select-range", lambda: fastnn.index_select(f(3), 0, i(3)), IndexRangeError, "3"),
    Bad("scatter-range", lambda: f(3).scatter(0, i(0, 5), 1.0), IndexRangeError, "scatter: .*5"),
    Bad("gather-range", lambda: fastnn.gather(f(2, 3), 1, fastnn.tensor([[3], [0]])),
        IndexRangeError, "3"),
]

GRAPH = [
    Bad("saved-tensor-changed", mutated_before_backward, GraphError, "version"),
    Bad("second-backward", second_backward, GraphError, "retain_graph"),
    Bad("leaf-in-place", in_place_on_leaf, GraphError, "no_grad"),
    Bad("shared-in-place", in_place_on_shared_memory, GraphError, "shares memory"),
    Bad("non-scalar", lambda: (leaf(3) * 2).backward(), GraphError, "scalar"),
    Bad("gradient-shape", lambda: (leaf(3) * 2).backward(f(4)), ShapeError, "gradient"),
    Bad("gradient-dtype", lambda: (leaf(3) * 2).backward(i(1, 2, 3)), DTypeError, "gradient"),
    Bad("no-graph", lambda: f(3).sum().backward(), GraphError, "require"),
    Bad("create-graph", lambda: leaf(3).sum().backward(create_graph=True), GraphError,
        "double backward"),
    Bad("grad-shape", lambda: setattr(leaf(3), "grad", f(4)), ShapeError, "grad"),
    Bad("grad-type", lambda: setattr(leaf(3), "grad", 3), TypeError, "grad"),
    Bad("numpy-of-tracked", lambda: leaf(3).numpy(), GraphError, "detach"),
    Bad("computed-requires-no-grad", lambda: (leaf(3) * 2).requires_grad_(False), GraphError),
    Bad("weight-gradient", lambda: F.cross_entropy(leaf(2, 3), i(0, 1), weight=leaf(3)),
        GraphError),
]

VALUES = [
    Bad("dropout-p", lambda: F.dropout(f(3), 1.5), ValueError, "dropout"),
    Bad("dropout-nan", lambda: F.dropout(f(3), float("nan")), ValueError, "dropout"),
    Bad("reduction", lambda: F.mse_loss(f(2), f(2), reduction="avg"), ValueError, "reduction"),
    Bad("smoothing", lambda: F.cross_entropy(f(2, 3), i(0, 1), label_smoothing=2.0), ValueError,
        "label_smoothing"),
    Bad("gelu-kind", lambda: F.gelu(f(2), approximate="fast"), ValueError, "gelu"),
    Bad("activation", lambda: F.linear(f(2, 3), f(4, 3), activation="magic"), ValueError, "magic"),
    Bad("lr", lambda: optim.SGD([leaf(2)], lr=-1.0), ValueError, "lr"),
    Bad("betas", lambda: optim.Adam([leaf(2)], betas=(1.0, 0.9)), ValueError, "beta"),
    Bad("no-params", lambda: optim.SGD([], lr=0.1), ValueError),
    Bad("nesterov", lambda: optim.SGD([leaf(2)], lr=0.1, nesterov=True), ValueError, "[Nn]esterov"),
    Bad("einsum-signs", lambda: fastnn.einsum("i;j", f(2), f(2)), ValueError, "einsum: equation"),
    Bad("einsum-count", lambda: fastnn.einsum("i,j", f(2)), ValueError, "for 1 operands"),
    Bad("einsum-result", lambda: fastnn.einsum("i->j", f(2)), ValueError, "einsum: equation"),
    Bad("pad-mode", lambda: F.pad(f(3), (1, 1), "mirror"), ValueError, "pad: mode"),
    Bad("scatter-reduce", lambda: f(3).scatter(0, i(0), 1.0, reduce="multiply"), ValueError,
        "scatter: reduce"),
    Bad("clamp-nothing", lambda: f(2).clamp(), ValueError, "clamp"),
    Bad("hardtanh-range", lambda: nn.Hardtanh(1.0, 1.0), ValueError, "Hardtanh: min_val"),
    Bad("huber-delta", lambda: F.huber_loss(f(2), f(2), delta=0.0), ValueError, "delta"),
    Bad("linear-sizes", lambda: nn.Linear(-1, 2), (ShapeError, ValueError)),
    Bad("seed", lambda: fastnn.manual_seed("x"), (TypeError, ValueError)),  # type: ignore[arg-type]
]

CATALOGUE = SHAPES + TYPES + INDICES + GRAPH + VALUES


@pytest.mark.parametrize("bad", CATALOGUE, ids=lambda b: b.name)
def test_bad_input(bad: Bad) -> None:
    check(bad)


def test_names_are_unique() -> None:
    assert len({b.name for b in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("call", [
    lambda x, w: F.linear(x, w, f(9)),
    lambda x, w: (x @ f(9, 9)),
    lambda x, w: x.add_(f(9)),
    lambda x, w: F.cross_entropy(x, i(0, 0, 99)),
], ids=["linear", "matmul", "add_", "cross_entropy"])
def test_a_failed_call_leaves_its_inputs_alone(call) -> None:
    x, w = f(3, 4), leaf(5, 4)
    bytes_before = x.numpy().tobytes(), w.detach().numpy().tobytes()
    outcome(lambda: call(x, w))
    assert (x.numpy().tobytes(), w.detach().numpy().tobytes()) == bytes_before
    assert w.grad is None


# ---- values that are not errors


def test_nan_and_infinity_follow_ieee() -> None:
    x = fastnn.tensor([float("nan"), float("inf"), float("-inf"), 0.0])
    assert np.isnan(F.relu(x).numpy()[0])
    assert np.isnan(x.max().numpy()) and np.isnan(x.sum().numpy())
    assert np.isnan((x - x).numpy()[:3]).all()
    assert fastnn.tensor([1.0]).div(fastnn.tensor([0.0])).item() == float("inf")
    np.testing.assert_array_equal(F.relu(x).numpy()[1:], [np.inf, 0, 0])


def test_detect_anomaly_names_the_op() -> None:
    with fastnn.autograd.detect_anomaly():
        with pytest.raises(GraphError, match="log: output 0: got NaN at element 1"):
            fastnn.tensor([1.0, -1.0]).log()
        x = fastnn.tensor([0.0], requires_grad=True)
        with pytest.raises(GraphError, match="sqrt: gradient of input 0"):
            (x.sqrt() * x.sqrt() * 0.0).backward()
    assert np.isnan(fastnn.tensor([-1.0]).log().item())


def test_overlapping_operands_are_copied_first() -> None:
    x = fastnn.arange(6).float()
    x[1:].add_(x[:-1])
    assert x.tolist() == [0, 1, 3, 5, 7, 9]
    x[:3] = x[1:4]
    assert x.tolist() == [1, 3, 5, 5, 7, 9]


def test_memory_limit() -> None:
    fastnn.limits.set_max_bytes(fastnn.live_bytes() + 40_000_000)
    try:
        with pytest.raises(MemoryError, match="40,000,000"):
            fastnn.zeros(10_000_000)
    finally:
        fastnn.limits.set_max_bytes(0)
    assert fastnn.zeros(10_000_000).numel() == 10_000_000


def test_softmax_limits() -> None:
    huge = fastnn.tensor([[1e38, -1e38, 0.0]])
    np.testing.assert_array_equal(F.softmax(huge, 1).numpy(), [[1, 0, 0]])
    assert np.isnan(F.softmax(fastnn.full((1, 3), float("-inf")), 1).numpy()).all()


@pytest.mark.parametrize("n", [7, 64, 300, 1000, 1024, 2047, 5000])
def test_softmax_errors(n: int) -> None:
    """Probabilities add up to 1 within (n + 4) u; each is off by 2 ULP and 1.05 u |x - max| of its
    exponential, and what the sum of n and the quotient cost."""
    x = (np.random.default_rng(n).standard_normal((50, n)) * 20).astype(np.float32)
    p, log_p = F.softmax(x, 1).numpy().astype(float), F.log_softmax(x, 1).numpy()
    u, d = 2.0**-24, x.astype(float) - x.max(1, keepdims=True)
    exact = np.exp(d) / np.exp(d).sum(1, keepdims=True)
    assert (abs(p.sum(1) - 1) <= (n + 4) * u).all()
    seen = (d > -87) & (exact > 1e-37)
    assert (abs(p - exact) <= exact * u * (8 + n / 16 - 1.05 * d))[seen].all()
    np.testing.assert_allclose(log_p, np.log(np.exp(d).sum(1, keepdims=True)) * -1 + d, rtol=4 * u,
                               atol=16 * u)


def test_empty_batches() -> None:
    w, b = leaf(5, 4), leaf(5)
    y = F.linear(fastnn.zeros(0, 4), w, b)
    assert y.shape == (0, 5)
    y.sum().backward()
    assert not w.grad.numpy().any() and not b.grad.numpy().any()
    assert F.relu(fastnn.zeros(0, 3)).shape == (0, 3)
    assert F.softmax(fastnn.zeros(0, 3), 1).shape == (0, 3)
    assert fastnn.zeros(0, 3).sum(0).tolist() == [0, 0, 0]
    assert (fastnn.zeros(2, 0) @ fastnn.zeros(0, 3)).tolist() == [[0, 0, 0]] * 2


def test_all_targets_ignored() -> None:
    x = leaf(3, 4)
    loss = F.cross_entropy(x, i(-100, -100, -100))
    loss.backward()
    assert loss.item() == 0 and not x.grad.numpy().any()


def test_variance_survives_a_large_mean() -> None:
    x = np.random.default_rng(0).standard_normal(10_000).astype(np.float32) + 1e4
    expected = x.astype(np.float64).var(ddof=1)
    assert fastnn.tensor(x).var().item() == pytest.approx(expected, rel=1e-4)
