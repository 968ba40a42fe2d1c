"""Modules: registration, the tree, state dicts, containers, layers, summary, errors with a path."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.errors import DTypeError, IndexRangeError, ShapeError, UnsupportedOpError


class Net(nn.Module):
    """Two shared layers, a buffer and a list."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 4)])
        self.tied = self.layers[1]
        self.scale = nn.Parameter(fastnn.ones(1))
        self.register_buffer("steps", fastnn.zeros(1))
        self.register_buffer("cache", fastnn.zeros(2), persistent=False)

    def forward(self, x):
        for layer in self.layers:
            x = fastnn.relu(layer(x))
        return self.tied(x) * self.scale


NAMES = ["scale", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]


# ---------------------------------------------------------------- registration

def test_parameters_are_found_once_and_in_torch_order():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == NAMES
    assert len(list(net.named_parameters(remove_duplicate=False))) == len(NAMES) + 2
    assert [n for n, _ in net.named_buffers()] == ["steps", "cache"]
    assert [n for n, _ in net.named_modules()] == ["", "layers", "layers.0", "layers.1"]
    assert [n for n, _ in net.named_children()] == ["layers", "tied"]
    assert list(net.named_parameters("x"))[0][0] == "x.scale"
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]


def test_registered_attributes_keep_their_kind():
    net = Net()
    with pytest.raises(TypeError, match="need a Parameter or None"):
        net.scale = fastnn.zeros(1)
    with pytest.raises(TypeError, match="need a Module or None"):
        net.tied = 3
    net.steps = fastnn.ones(1)
    assert isinstance(net.steps, nn.Buffer) and net.steps.persistent
    net.cache = fastnn.ones(2)
    assert not net.cache.persistent
    net.tied = None
    assert [n for n, _ in net.named_children()] == ["layers"]
    del net.scale
    assert "scale" not in dict(net.named_parameters())


def test_a_buffer_stays_in_the_graph():
    net, x = Net(), fastnn.ones(1, requires_grad=True)
    net.steps = x * 2
    net.steps.backward(fastnn.ones(1))
    assert x.grad.tolist() == [2.0]


@pytest.mark.parametrize("name, error", [
    ("", KeyError), ("a.b", KeyError), ("forward", KeyError), ("training", KeyError),
    (3, TypeError),
])
def test_impossible_names(name, error):
    for register, value in (("register_parameter", nn.Parameter(fastnn.zeros(1))),
                            ("register_buffer", fastnn.zeros(1)), ("add_module", nn.Identity())):
        with pytest.raises(error, match=register.replace("add", "register")):
            getattr(nn.Module(), register)(name, value)


def test_register_refuses_other_kinds():
    for register in ("register_parameter", "register_buffer", "register_module"):
        with pytest.raises(TypeError):
            getattr(nn.Module(), register)("x", 3)
        getattr(nn.Module(), register)("x", None)


def test_parameter_shares_memory_and_may_be_frozen():
    t = fastnn.zeros(2)
    p = nn.Parameter(t)
    t.numpy()[:] = 7
    assert p.requires_grad and p.is_leaf and p.detach().tolist() == [7, 7]
    assert not nn.Parameter(t, requires_grad=False).requires_grad
    assert nn.Parameter([1.0, 2.0]).shape == (2,)
    with pytest.raises(DTypeError):
        nn.Parameter(fastnn.tensor([1, 2]))
    assert repr(p).startswith("Parameter containing:\ntensor([7., 7.]")


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_keep_kinds_and_sharing(twin):
    net = Net()
    other = twin(net)
    assert other.layers[1] is other.tied
    assert [n for n, _ in other.named_parameters()] == NAMES
    assert isinstance(other.steps, nn.Buffer) and not other.cache.persistent
    x = fastnn.ones(2, 3)
    assert other(x).tolist() == net(x).tolist()
    nn.init.zeros_(other.scale)
    assert net.scale.item() == 1
    net.eval()
    assert other.training


def test_get_by_name():
    net = Net()
    assert net.get_submodule("") is net and net.get_submodule("layers.0") is net.layers[0]
    assert net.get_parameter("layers.0.bias") is net.layers[0].bias
    assert net.get_buffer("steps") is net.steps
    for get, name in ((net.get_submodule, "layers.7"), (net.get_submodule, "scale"),
                      (net.get_parameter, "steps"), (net.get_buffer, "no.such")):
        with pytest.raises(AttributeError):
            get(name)


def test_modes_freezing_gradients_apply():
    net = Net()
    assert net.eval() is net and not net.layers[0].training and net.train().layers[0].training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(fastnn.ones(1, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(not p.grad.numpy().any() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Linear", "ModuleList", "Linear", "Net"]


def test_a_submodule_may_refuse_training_mode():
    class Frozen(nn.Module):
        def train(self, mode=True):
            return super().train(False)

    assert not nn.Sequential(Frozen()).train()[0].training


def test_moves_that_do_nothing_and_moves_that_cannot():
    net = Net()
    for moved in (net.to("cpu"), net.to(fastnn.device("cpu")), net.to(fastnn.float32), net.cpu(),
                  net.to(device="cpu", dtype=fastnn.float32), net.float(), net.to(fastnn.ones(1))):
        assert moved is net
    for target in ("cuda", fastnn.float64):
        with pytest.raises(DTypeError):
            net.to(target)


# ---------------------------------------------------------------- state dicts

def test_state_dict_has_torch_keys_and_shares_memory():
    net = Net()
    state = net.state_dict()
    assert list(state) == ["scale", "steps", *NAMES[1:], "tied.weight", "tied.bias"]
    assert not state["scale"].requires_grad
    nn.init.constant_(net.scale, 5.0)
    assert state["scale"].item() == 5
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert list(net.layers[0].state_dict(prefix="a.")) == ["a.weight", "a.bias"]


def test_load_takes_tensors_and_arrays():
    a, b = Net(), Net()
    state = {k: v.numpy().astype(np.float64) for k, v in a.state_dict().items()}
    result = b.load_state_dict({**state, "steps": fastnn.ones(1)})
    assert result == ([], [])
    assert b.steps.item() == 1
    x = fastnn.ones(2, 3)
    assert b(x).tolist() == a(x).tolist()


def test_load_reports_everything_and_changes_nothing():
    net = Net()
    before = {k: v.clone().numpy() for k, v in net.state_dict().items()}
    state = {k: v.clone() * 0 for k, v in net.state_dict().items()}
    del state["scale"], state["steps"]
    state |= {"layers.0.weight": fastnn.zeros(2, 2), "layers.0.bias": fastnn.zeros(4).long(),
              "extra": fastnn.zeros(1)}
    with pytest.raises(nn.StateDictError) as e:
        net.load_state_dict(state)
    for part in ("Net", "layers.0.weight: got float32 (2, 2); need float32 (4, 3)",
                 "layers.0.bias: got int64", "missing: scale, steps", "unexpected: extra"):
        assert part in str(e.value)
    assert isinstance(e.value, RuntimeError) and isinstance(e.value, ShapeError)
    for k, v in net.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), before[k])


def test_load_not_strict_still_checks_shapes():
    net = Net()
    result = net.load_state_dict({"scale": [3.0], "extra": fastnn.zeros(1)}, strict=False)
    assert net.scale.item() == 3 and result.unexpected_keys == ["extra"]
    assert "steps" in result.missing_keys
    with pytest.raises(nn.StateDictError):
        net.load_state_dict({"scale": fastnn.zeros(2)}, strict=False)
    with pytest.raises(UnsupportedOpError):
        net.load_state_dict(net.state_dict(), assign=True)
    with pytest.raises(TypeError):
        net.load_state_dict([1, 2])
    with pytest.raises(DTypeError):
        net.load_state_dict({"scale": ["text"]}, strict=False)


def test_load_into_read_only_memory_changes_nothing():
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    net = nn.Module()
    net.a, net.b = nn.Parameter(fastnn.zeros(3)), nn.Parameter(fastnn.from_numpy(array))
    with pytest.raises(ValueError, match="read-only"):
        net.load_state_dict({"a": np.ones(3), "b": np.ones(3)})
    assert net.a.tolist() == [0, 0, 0]


# ---------------------------------------------------------------- containers

def test_sequential():
    seq = nn.Sequential(OrderedDict(fc=nn.Linear(2, 3), act=nn.ReLU()))
    assert list(seq.state_dict()) == ["fc.weight", "fc.bias"] and len(seq) == 2
    assert list(seq[:1].state_dict()) == ["fc.weight", "fc.bias"]
    assert seq[-1] is seq.act and [*seq] == [seq.fc, seq.act]
    seq = nn.Sequential(nn.Linear(2, 2))
    assert seq.append(nn.Tanh()).insert(0, nn.Identity()) is seq
    assert [type(m).__name__ for m in seq] == ["Identity", "Linear", "Tanh"]
    assert list(dict(seq.named_children())) == ["0", "1", "2"]
    del seq[0]
    seq[1] = nn.ReLU()
    assert [type(m).__name__ for m in seq + nn.Sequential(nn.GELU())] == ["Linear", "ReLU", "GELU"]
    assert type(seq.pop(1)).__name__ == "ReLU" and len(seq) == 1
    with pytest.raises(IndexRangeError):
        seq[5]
    assert nn.Sequential()(3) == 3


def test_module_list_and_parameter_list():
    layers = nn.ModuleList([nn.Identity()])
    layers.extend([nn.ReLU(), nn.Tanh()])
    layers.insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in layers] == ["Identity", "Sigmoid", "ReLU", "Tanh"]
    assert isinstance(layers[1:3], nn.ModuleList) and len(layers[1:3]) == 2
    assert len(layers + [nn.Identity()]) == 5
    weights = nn.ParameterList([fastnn.zeros(2), nn.Parameter(fastnn.zeros(3))])
    weights.append(fastnn.zeros(1))
    assert [n for n, _ in weights.named_parameters()] == ["0", "1", "2"]
    with pytest.raises(TypeError):
        nn.ModuleList([3])
    with pytest.raises(NotImplementedError):
        layers(3)


def test_module_dict():
    d = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    d.update([("c", nn.Tanh())])
    assert list(d) == ["a", "b", "c"] == list(d.keys()) and "b" in d and len(d) == 3
    assert [type(m).__name__ for m in d.values()] == ["ReLU", "Linear", "Tanh"]
    assert dict(d.items())["a"] is d["a"] is d.get("a") and d.get("z") is None
    assert d.pop("a") and "a" not in d
    with pytest.raises(KeyError):
        del d["a"]
    with pytest.raises(KeyError, match="items"):
        d["items"] = nn.ReLU()
    d.clear()
    assert len(d) == 0


# ---------------------------------------------------------------- layers

def test_linear_matches_numpy_and_draws_its_documented_range(rng):
    fastnn.manual_seed(1)
    layer = nn.Linear(50, 40)
    for p in layer.parameters():
        bound = np.abs(p.detach().numpy()).max()
        assert 0.9 / 50**0.5 < bound <= 1 / 50**0.5
    x = rng.standard_normal((2, 3, 50)).astype(np.float32)
    w, b = (p.detach().numpy().astype(np.float64) for p in layer.parameters())
    np.testing.assert_allclose(layer(x).detach().numpy(), x @ w.T + b, rtol=1e-5, atol=1e-6)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert list(nn.Linear(3, 2, bias=False).state_dict()) == ["weight"]
    assert nn.Linear(0, 2)(fastnn.zeros(4, 0)).shape == (4, 2)


def test_perceptron_learns_what_a_line_separates():
    p = nn.Perceptron(2)
    x = fastnn.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = fastnn.tensor([0, 0, 0, 1])
    mistakes = [p.learn(x, y)]
    while mistakes[-1] and len(mistakes) < 100:
        mistakes.append(p.learn(x, y))
    assert mistakes[0] == 3 and mistakes[-1] == 0
    assert p(x).reshape(-1).tolist() == [0, 0, 0, 1]
    assert p.weight.grad is None and fastnn.is_grad_enabled()


def test_perceptron_one_sample_at_a_time_and_several_outputs():
    p = nn.Perceptron(2, 2)
    assert p.learn([[1.0, 2.0]], [[0.0, 1.0]], lr=0.5) == 1
    assert p.weight.tolist() == [[-0.5, -1.0], [0.0, 0.0]] and p.bias.tolist() == [-0.5, 0.0]


def test_perceptron_refuses_before_it_learns():
    p = nn.Perceptron(2)
    for x, y in (([[1.0, 2.0]], [0.5]), ([[1.0, 2.0]], [1.0, 0.0]), ([1.0, 2.0], [1.0]),
                 ([[1.0, 2.0, 3.0]], [1.0])):
        with pytest.raises(ValueError):
            p.learn(x, y)
    assert p.weight.tolist() == [[0, 0]] and fastnn.is_grad_enabled()


def test_embedding_pads_and_freezes():
    e = nn.Embedding(5, 3, padding_idx=-1)
    assert e.padding_idx == 4 and e.weight[4].tolist() == [0, 0, 0]
    e(fastnn.tensor([[4, 1], [1, 0]])).sum().backward()
    assert e.weight.grad.numpy()[:, 0].tolist() == [1, 2, 0, 0, 0]
    frozen = nn.Embedding.from_pretrained(fastnn.ones(2, 3), padding_idx=0)
    assert not frozen.weight.requires_grad and frozen(fastnn.tensor([1])).tolist() == [[1, 1, 1]]
    assert nn.Embedding.from_pretrained(np.ones((2, 3)), freeze=False).weight.requires_grad
    with pytest.raises(IndexRangeError):
        nn.Embedding(5, 3, padding_idx=5)
    with pytest.raises(IndexRangeError):
        e(fastnn.tensor([5]))
    with pytest.raises(ShapeError):
        nn.Embedding.from_pretrained(fastnn.ones(3))
    with pytest.raises(UnsupportedOpError):
        nn.Embedding(5, 3, max_norm=1.0)


def test_dropout_follows_the_mode():
    drop, x = nn.Dropout(0.5), fastnn.ones(1000)
    assert 350 < int((drop(x) == 0).sum()) < 650
    assert drop.eval()(x).tolist() == x.tolist()
    with pytest.raises(ValueError, match="dropout: p"):
        nn.Dropout(1.5)


def test_flatten_and_unflatten():
    x = fastnn.zeros(2, 3, 4, 5)
    assert nn.Flatten()(x).shape == (2, 60) and nn.Flatten(0, 1)(x).shape == (6, 4, 5)
    assert nn.Unflatten(1, (3, -1))(fastnn.zeros(2, 6)).shape == (2, 3, 2)


ACTIVATIONS = [
    (nn.ReLU(), lambda x: np.maximum(x, 0)),
    (nn.ReLU6(), lambda x: np.clip(x, 0, 6)),
    (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.ELU(1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0)))),
    (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (nn.Tanh(), np.tanh),
    (nn.GELU("tanh"),
     lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))),
    (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
    (nn.Softplus(), lambda x: np.log1p(np.exp(x))),
    (nn.Hardswish(), lambda x: x * np.clip(x + 3, 0, 6) / 6),
    (nn.Hardsigmoid(), lambda x: np.clip(x + 3, 0, 6) / 6),
    (nn.Heaviside(), lambda x: (x >= 0) * 1.0),
    (nn.Softmax(1), lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True)),
    (nn.LogSoftmax(1), lambda x: x - np.log(np.exp(x).sum(1, keepdims=True))),
]


@pytest.mark.parametrize("layer, formula", ACTIVATIONS,
                         ids=lambda a: getattr(a, "_get_name", str)())
def test_activation_layers(layer, formula, rng):
    x = np.append(rng.standard_normal(38) * 4, [0.0, 7.0]).astype(np.float32).reshape(5, 8)
    expected = formula(x.astype(np.float64))
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=2e-6, atol=1e-6)


def test_losses_take_torch_arguments():
    x, y = fastnn.tensor([[0.2, 0.7], [0.9, 0.4]]), fastnn.tensor([[0.0, 1.0], [1.0, 1.0]])
    d = np.abs(x.numpy() - y.numpy()).astype(np.float64)
    assert nn.MSELoss()(x, y).item() == pytest.approx((d**2).mean())
    assert nn.MSELoss(reduction="sum")(x, y).item() == pytest.approx((d**2).sum())
    assert nn.MSELoss(reduction="none")(x, y).shape == (2, 2)
    assert nn.L1Loss()(x, y).item() == pytest.approx(d.mean())
    assert nn.HuberLoss(delta=0.25)(x, y).item() == pytest.approx(
        np.where(d < 0.25, d**2 / 2, 0.25 * (d - 0.125)).mean())
    assert nn.SmoothL1Loss(beta=0.25)(x, y).item() == pytest.approx(
        np.where(d < 0.25, d**2 / 0.5, d - 0.125).mean())
    log_p = np.log(np.exp(x.numpy()) / np.exp(x.numpy()).sum(1, keepdims=True))
    classes, weight = fastnn.tensor([1, 0]), fastnn.tensor([1.0, 3.0])
    picked = -log_p[[0, 1], [1, 0]]
    assert nn.CrossEntropyLoss()(x, classes).item() == pytest.approx(picked.mean())
    assert nn.CrossEntropyLoss(weight=weight)(x, classes).item() == pytest.approx(
        (picked * [3, 1]).sum() / 4)
    assert nn.NLLLoss()(fastnn.tensor(log_p), classes).item() == pytest.approx(picked.mean())
    assert nn.BCELoss()(x, y).item() == pytest.approx(-np.log(1 - d).mean())
    p = 1 / (1 + np.exp(-x.numpy().astype(np.float64)))
    t = y.numpy()
    assert nn.BCEWithLogitsLoss(pos_weight=fastnn.tensor([1.0, 2.0]))(x, y).item() == pytest.approx(
        -([1, 2] * t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
    q = fastnn.tensor([[0.5, 0.5], [0.25, 0.75]])
    assert nn.KLDivLoss(reduction="batchmean")(fastnn.tensor(log_p), q).item() == pytest.approx(
        (q.numpy() * (np.log(q.numpy()) - log_p)).sum() / 2, rel=1e-4)
    assert list(nn.CrossEntropyLoss(weight=weight).state_dict()) == ["weight"]
    with pytest.raises(ValueError, match="reduction"):
        nn.MSELoss(reduction="average")
    with pytest.raises(UnsupportedOpError):
        nn.MSELoss(size_average=True)


# ---------------------------------------------------------------- errors, text, summary

def test_errors_name_the_module_path():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleDict({"main": nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))})

        def forward(self, x):
            return self.branches["main"](x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block()

        def forward(self, x):
            return self.block(x)

    with pytest.raises(ShapeError, match=r"^block\.branches\.main\.1 \[linear\]: input: got shape "
                                         r"\(2, 4\); need"):
        Model()(fastnn.ones(2, 3))
    with pytest.raises(ShapeError, match="^linear: input"):
        nn.Linear(3, 2)(fastnn.ones(2, 4))


def test_errors_of_a_module_kept_outside_the_tree_name_its_class():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = [nn.Linear(3, 2)]

        def forward(self, x):
            return self.parts[0](x)

    with pytest.raises(ShapeError, match=r"^hidden\.Linear \[linear\]: "):
        nn.Sequential(OrderedDict(hidden=Hidden()))(fastnn.ones(2, 4))


def test_forward_is_required():
    with pytest.raises(NotImplementedError, match="Module: got no forward"):
        nn.Module()(1)


def test_repr():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))
    assert repr(net) == """\
Sequential(
  (0): Linear(in_features=2, out_features=3, bias=False)
  (1): Sequential(
    (0): ReLU()
    (1): Dropout(p=0.1, inplace=False)
  )
)"""
    assert repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])) == """\
ModuleList(
  (0-1): 2 x ReLU()
  (2): Tanh()
)"""
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_summary_counts_what_each_layer_does(capsys):
    net = nn.Sequential(OrderedDict(
        embed=nn.Embedding(10, 4), body=nn.Sequential(nn.Linear(4, 8), nn.ReLU()),
        head=nn.Linear(8, 2), drop=nn.Dropout(0.5)))
    net.head.requires_grad_(False)
    net.body[0].eval()
    state = fastnn.get_rng_state().tolist()
    table = net.summary(fastnn.tensor([[1, 2, 3]]))
    assert str(table) + "\n" == capsys.readouterr().out
    rows = {r.name.strip(): r for r in table.rows}
    assert rows["0 (Linear)"].flops == 2 * 3 * 4 * 8 and rows["0 (Linear)"].parameters == 40
    assert rows["head (Linear)"].shape == "(1, 3, 2)"
    assert table.parameters == 40 + 40 + 18 and table.trainable == 80
    assert table.nbytes == 4 * table.parameters
    assert table.flops == sum(r.flops for r in table.rows) >= 2 * 3 * (32 + 16)
    assert "98 parameters (80 trainable)" in str(table)
    assert fastnn.get_rng_state().tolist() == state and fastnn.is_grad_enabled()
    assert net.training and not net.body[0].training and "forward" not in net.__dict__


def test_summary_of_shapes_shared_layers_and_failures():
    shared = nn.Linear(4, 4)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = shared, shared

        def forward(self, x):
            return self.b(self.a(x)), x

    net = Twice()
    table = net.summary((2, 4))
    assert len(table.rows) == 2 and table.parameters == 20
    assert table.rows[1].flops == 2 * (2 * 2 * 4 * 4)
    assert table.rows[0].shape == "(2, 4), (2, 4)"
    with pytest.raises(ShapeError, match=r"^a \[linear\]"):
        net.summary((2, 5))
    assert fastnn.is_grad_enabled() and net.training and "forward" not in shared.__dict__
    assert net(fastnn.ones(1, 4))[0].shape == (1, 4)


def test_parameter_dict():
    d = nn.ParameterDict({"a": fastnn.zeros(2)})
    d["b"] = nn.Parameter(fastnn.ones(3), requires_grad=False)
    assert list(d) == list(d.keys()) == ["a", "b"] and len(d) == 2 and "a" in d and "c" not in d
    assert [n for n, _ in d.named_parameters()] == ["a", "b"] and d["a"].requires_grad
    assert list(d.state_dict()) == ["a", "b"] and d.get("c") is None
    assert repr(d).count("Parameter of shape") == 2
    d.update({"c": fastnn.ones(1)})
    assert d.pop("a").tolist() == [0, 0] and list(d) == ["b", "c"]
    with pytest.raises(KeyError):
        d["a"]
    d.clear()
    assert not len(d)
