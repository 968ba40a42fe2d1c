"""Transposed convolutions beside torch's: outputs, gradients, layers."""

import numpy as np
import pytest

import fastnn

torch = pytest.importorskip("torch")

SIZES = [       # input, weight, options
    ((3, 8, 9, 7), (8, 6, 2, 2), {"stride": 2}),
    ((3, 8, 9, 7), (8, 6, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 8, 6, 7), (8, 6, 3, 2), {"dilation": (2, 3), "padding": (1, 2)}),
    ((2, 8, 6, 7), (8, 6, 3, 3), {"dilation": 3, "stride": 2, "output_padding": 2}),
    ((2, 8, 6, 7), (8, 3, 3, 3), {"groups": 4, "stride": 2, "padding": 1}),
    ((2, 8, 6, 7), (8, 1, 4, 4), {"groups": 8, "stride": 2, "padding": 1}),
    ((0, 8, 6, 7), (8, 3, 3, 3), {"stride": 2}),
    ((2, 8, 11), (8, 6, 4), {"stride": 3, "padding": 2, "output_padding": 2}),
]


def run(engine, shapes, options, arrays):
    """y and the gradients of input, weight and bias."""
    F = engine.nn.functional
    name = "conv_transpose1d" if len(shapes) == 3 else "conv_transpose2d"
    x, w, b, seed = (engine.tensor(a) for a in arrays)
    for t in (x, w, b):
        t.requires_grad_()
    y = getattr(F, name)(x, w, b, **options)
    (y * seed.reshape(-1)[: y.numel()].reshape(y.shape)).sum().backward()
    return [t.detach().numpy() for t in (y, x.grad, w.grad, b.grad)]


@pytest.mark.parametrize("x,w,options", SIZES, ids=str)
def test_outputs_and_gradients_are_torchs(x, w, options):
    rng = np.random.default_rng(0)
    outputs = w[1] * options.get("groups", 1)
    arrays = [rng.standard_normal(s).astype("float32") for s in (x, w, (outputs,), (100_000,))]
    for ours, theirs in zip(run(fastnn, x, options, arrays), run(torch, x, options, arrays),
                            strict=True):
        assert ours.shape == theirs.shape
        scale = np.abs(theirs).max(initial=1.0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6 * scale)


def test_layers_have_torchs_parameters():
    fastnn.manual_seed(0)
    torch.manual_seed(0)
    for ours, theirs, size in ((fastnn.nn.ConvTranspose1d, torch.nn.ConvTranspose1d, (6,)),
                               (fastnn.nn.ConvTranspose2d, torch.nn.ConvTranspose2d, (6, 5))):
        arguments = (8, 12, 3, 2, 1, 1, 4)
        a, b = ours(*arguments), theirs(*arguments)
        assert [(k, v.shape) for k, v in a.state_dict().items()] == [
            (k, tuple(v.shape)) for k, v in b.state_dict().items()]
        bound = a.weight[0].numel() ** -0.5         # of torch's uniform draws, too
        for layer in (a, b):
            assert 0.9 * bound < layer.weight.abs().max().item() <= bound * (1 + 1e-6)
            assert layer.bias.abs().max().item() <= bound * (1 + 1e-6)
        assert repr(a) == repr(b)
        a.load_state_dict({k: v.numpy() for k, v in b.state_dict().items()})
        x = np.random.default_rng(1).standard_normal((2, 8, *size)).astype("float32")
        theirs_y = b(torch.tensor(x), output_size=[2 * n for n in size]).detach().numpy()
        y = a(fastnn.tensor(x), output_size=[2 * n for n in size]).detach().numpy()
        np.testing.assert_allclose(y, theirs_y, rtol=1e-5, atol=1e-6)
