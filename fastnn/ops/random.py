"""Random numbers: a counter-based generator (csrc/philox.h), and what is drawn from it.

The same seed gives the same numbers on every machine, ISA, thread count and backend. Every draw,
whatever its size, takes one offset of the generator's stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import _core
from .._core import DTYPES, OPS, Tensor, as_tensor, call, call_into, elements
from ..errors import DTypeError, ShapeError
from .checks import need_float32, need_int, need_probability, need_shape

__all__ = [
    "Generator", "bernoulli", "default_generator", "dropout", "fork_rng", "get_rng_state",
    "initial_seed", "manual_seed", "multinomial", "normal", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state", "uniform",
]

UNIFORM, NORMAL, BERNOULLI = OPS["uniform"], OPS["normal"], OPS["bernoulli"]
RANDINT, DROPOUT = OPS["randint"], OPS["dropout"]
F32, I64 = DTYPES["float32"], DTYPES["int64"]


# ---------------------------------------------------------------- generators

class Generator:
    """A stream of random numbers: a seed and the offset of the next draw.

    Source: Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Example:
        >>> import fastnn
        >>> g = fastnn.Generator().manual_seed(1)
        >>> a = fastnn.rand(3, generator=g)
        >>> b = fastnn.rand(3, generator=g.manual_seed(1))
        >>> bool((a.numpy() == b.numpy()).all())
        True
    """

    def __init__(self, device: Any = None) -> None:
        _core.check_device(device)
        self.state = _core.empty((2,), I64)     # kernels change it in place: it never moves
        self._words = self.state.numpy()
        self._words[:] = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of a seed, any integer from -2**63 to 2**64 - 1; returns self."""
        n = need_int("manual_seed", "seed", seed)
        if not -(2**63) <= n < 2**64:
            raise ValueError(f"manual_seed: seed: got {n}; need -2**63 to 2**64 - 1")
        self._words[:] = (n + 2**63) % 2**64 - 2**63, 0
        return self

    def initial_seed(self) -> int:
        """The seed of the stream, as an integer from 0 to 2**64 - 1."""
        return int(self._words[0]) % 2**64

    def seed(self) -> int:
        """Start a stream that cannot be foreseen; returns its seed."""
        n = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(n)
        return n

    def get_state(self) -> Tensor:
        """A copy of (seed, offset), int64."""
        return _core.tensor(self._words, dtype=I64)

    def set_state(self, state: Any) -> Generator:
        """Continue from a state that get_state returned; returns self."""
        t = as_tensor(state)
        if t.dtype is not I64:
            raise DTypeError(f"set_state: state: got {t.dtype.name}; need int64")
        if t.shape != (2,):
            raise ShapeError(f"set_state: state: got shape {t.shape}; need (2,)")
        self._words[:] = t.numpy()
        return self


default_generator = Generator()
_STATE = default_generator.state


def _state(op: str, generator: Generator | None) -> Tensor:
    """The state that a draw advances."""
    if generator is None:
        return _STATE
    if not isinstance(generator, Generator):
        raise TypeError(f"{op}: generator: got {type(generator).__name__}; need a fastnn.Generator")
    return generator.state


def manual_seed(seed: int) -> Generator:
    """Start the default stream over from a seed; returns its generator.

    Example:
        >>> import fastnn
        >>> _ = fastnn.manual_seed(0)
        >>> a = fastnn.randn(2)
        >>> _ = fastnn.manual_seed(0)
        >>> bool((a.numpy() == fastnn.randn(2).numpy()).all())
        True
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start a default stream that cannot be foreseen; returns its seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default stream."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default stream: (seed, offset), int64."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Continue the default stream from a state that get_rng_state returned."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True) -> Iterator[None]:
    """Put the default stream back at the end of a with block, whatever was drawn inside."""
    state = get_rng_state()
    try:
        yield
    finally:
        if enabled:
            set_rng_state(state)


# ---------------------------------------------------------------- new tensors

def _finish(t: Tensor, dtype: Any, requires_grad: bool) -> Tensor:
    """The options that every function making a tensor has."""
    if dtype is not None and _core.as_dtype(dtype) is not t.dtype:
        t = t.to(_core.as_dtype(dtype))
    if requires_grad:
        t.requires_grad = True
    return t


def _numel(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def uniform(
    low: float = 0.0, high: float = 1.0, size: Any = (), *, generator: Generator | None = None,
    dtype: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:
    """Numbers spread evenly over [low, high); rounding may reach high where high - low is tiny.

    Shapes: size, any shape. Errors: ValueError unless low <= high and high - low is finite.

    Example:
        >>> import fastnn
        >>> fastnn.uniform(-1, 1, (2, 3)).shape
        (2, 3)
    """
    _core.check_device(device)
    shape = need_shape("uniform", (size,))
    low, high = _interval("uniform", low, high)
    state = _state("uniform", generator)
    return _finish(call(UNIFORM, (state,), (shape,), (_numel(shape),), (low, high)), dtype,
                   requires_grad)


_FLOAT_MAX = float(np.finfo(np.float32).max)


def _interval(op: str, low: Any, high: Any) -> tuple[float, float]:
    """Bounds that have a finite distance in float32."""
    low, high = float(low), float(high)
    if not (-_FLOAT_MAX <= low <= high <= _FLOAT_MAX and high - low <= _FLOAT_MAX):
        raise ValueError(f"{op}: bounds: got {low} and {high}; need low <= high, finitely apart")
    return low, high


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers spread evenly over [0, 1): multiples of 2**-24.

    Example:
        >>> import fastnn
        >>> fastnn.rand(2, 3).shape
        (2, 3)
    """
    _core.check_device(device)
    shape = need_shape("rand", size)
    t = call(UNIFORM, (_state("rand", generator),), (shape,), (_numel(shape),), (0.0, 1.0))
    return _finish(t, dtype, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal numbers (Box and Muller 1958); none is beyond 6.8 in magnitude.

    Example:
        >>> import fastnn
        >>> fastnn.randn(2, 3).shape
        (2, 3)
    """
    _core.check_device(device)
    shape = need_shape("randn", size)
    t = call(NORMAL, (_state("randn", generator),), (shape,), (_numel(shape),), (0.0, 1.0))
    return _finish(t, dtype, requires_grad)


def rand_like(input: Any, *, generator: Generator | None = None, dtype: Any = None,
              device: Any = None, requires_grad: bool = False) -> Tensor:
    """rand of the shape of input."""
    return rand(as_tensor(input).shape, generator=generator, dtype=dtype, device=device,
                requires_grad=requires_grad)


def randn_like(input: Any, *, generator: Generator | None = None, dtype: Any = None,
               device: Any = None, requires_grad: bool = False) -> Tensor:
    """randn of the shape of input."""
    return randn(as_tensor(input).shape, generator=generator, dtype=dtype, device=device,
                 requires_grad=requires_grad)


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    dtype: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of a mean and a standard deviation: numbers with a size, or tensors.

    Shapes: size; or that to which mean and std broadcast. Errors: ValueError for std < 0.

    Example:
        >>> import fastnn
        >>> fastnn.normal(0.0, 0.02, (2, 3)).shape
        (2, 3)
    """
    _core.check_device(device)
    state = _state("normal", generator)
    if isinstance(mean, (int, float)) and isinstance(std, (int, float)):
        shape = need_shape("normal", (() if size is None else size,))
        dim, f = (_numel(shape),), (float(mean), _deviation("normal", std))
        return _finish(call(NORMAL, (state,), (shape,), dim, f), dtype, requires_grad)
    if size is not None:
        raise ValueError(f"normal: size: got {size} besides a tensor; need mean and std as numbers")
    m, s = as_tensor(mean).detach(), as_tensor(std).detach()
    need_float32("normal", mean=m, std=s)
    if bool((elements(s) < 0).any()):
        raise ValueError("normal: std: got a negative number; need none")
    try:
        shape = np.broadcast_shapes(m.shape, s.shape)
    except ValueError:
        raise ShapeError(f"normal: shapes: got {m.shape} and {s.shape}; "
                         "need shapes that broadcast") from None
    z = call(NORMAL, (state,), (shape,), (_numel(shape),), (0.0, 1.0))
    return _finish(z * s + m, dtype, requires_grad)


def _deviation(op: str, std: Any) -> float:
    std = float(std)
    if not std >= 0:
        raise ValueError(f"{op}: std: got {std}; need a number >= 0")
    return std


def randint(
    low: int, high: Any = None, size: Any = None, *, generator: Generator | None = None,
    dtype: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:
    """Integers from low up to but not including high, int64: randint(high, size) begins at 0.

    Errors: ValueError unless low < high.

    Example:
        >>> import fastnn
        >>> fastnn.randint(0, 10, (2, 3)).shape
        (2, 3)
    """
    _core.check_device(device)
    if size is None:
        low, high, size = 0, low, high
    if size is None:
        raise TypeError("randint: size: got none; need a shape")
    shape = need_shape("randint", (size,))
    low, high = need_int("randint", "low", low), need_int("randint", "high", high)
    if not -(2**63) <= low < high <= 2**63:
        raise ValueError(f"randint: bounds: got {low} and {high}; need low < high within int64")
    t = _integers(low, high - low, shape, _state("randint", generator))
    return _finish(t, dtype, requires_grad)


def _integers(low: int, span: int, shape: tuple[int, ...], state: Tensor) -> Tensor:
    """int64 in [low, low + span), where span = 2**64 covers them all."""
    span = (span + 2**63) % 2**64 - 2**63       # the kernel reads it as unsigned, 0 for 2**64
    return call(RANDINT, (state,), (shape,), (_numel(shape), low, span), dtypes=(I64,))


def randint_like(input: Any, low: int, high: int | None = None, **options: Any) -> Tensor:
    """randint of the shape of input."""
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, as_tensor(input).shape, **options)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None,
             device: Any = None) -> Tensor:
    """The integers 0 to n - 1 in random order, int64: the order of n random 64-bit keys.

    Example:
        >>> import fastnn
        >>> sorted(fastnn.randperm(4).tolist())
        [0, 1, 2, 3]
    """
    _core.check_device(device)
    count = need_int("randperm", "n", n)
    if count < 0:
        raise ValueError(f"randperm: n: got {count}; need a number >= 0")
    _core.untraceable("randperm")
    keys = _integers(-(2**63), 2**64, (count,), _state("randperm", generator))
    return _finish(as_tensor(np.argsort(elements(keys), kind="stable")), dtype, False)


# ---------------------------------------------------------------- draws that depend on a tensor

def bernoulli(input: Any, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that input says, else 0, elementwise, float32.

    Errors: ValueError for a probability outside [0, 1] or NaN.

    Example:
        >>> import fastnn
        >>> fastnn.bernoulli([0.0, 1.0]).tolist()
        [0.0, 1.0]
    """
    p = _probabilities("bernoulli", input)
    return call(BERNOULLI, (p, _state("bernoulli", generator)), (p.shape,), (p.numel(), 1))


def _probabilities(op: str, input: Any) -> Tensor:
    p = as_tensor(input).detach()
    need_float32(op, input=p)
    at = _core.first_unlikely(p, False)
    if at >= 0:
        raise ValueError(f"{op}: input: got {_core.element(p, at):g}; "
                         "need probabilities from 0 to 1")
    return p


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with the given weights, int64; without replacement none comes twice.

    Shapes: (k) -> (num_samples), (m, k) -> (m, num_samples); the weights need not sum to one.

    Errors: ValueError for a negative, infinite or NaN weight, a row without a positive weight, or
    (without replacement) fewer positive weights in a row than samples.

    Source: without replacement, Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", 2006.

    Example:
        >>> import fastnn
        >>> fastnn.multinomial([0.0, 1.0], 3, replacement=True).tolist()
        [1, 1, 1]
    """
    w = as_tensor(input).detach()
    need_float32("multinomial", input=w)
    if w.ndim not in (1, 2) or w.shape[-1] == 0:
        raise ShapeError(f"multinomial: input: got shape {w.shape}; need (k) or (m, k), k > 0")
    k = need_int("multinomial", "num_samples", num_samples)
    _core.untraceable("multinomial")
    weights = elements(w).astype(np.float64).reshape(-1, w.shape[-1])
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("multinomial: input: got a negative, infinite or NaN weight; "
                         "need finite weights >= 0")
    positive = int(np.count_nonzero(weights, axis=1).min(initial=weights.shape[1]))
    if k <= 0 or positive == 0 or (k > positive and not replacement):
        raise ValueError(f"multinomial: num_samples: got {k} of {positive} positive weights; need "
                         "1 or more, and without replacement no more than those")
    state = _state("multinomial", generator)
    if replacement:
        drawn = _inverse(np.cumsum(weights, axis=1), _fractions((weights.shape[0], k), state))
    else:
        u = _fractions(weights.shape, state)
        with np.errstate(divide="ignore"):      # a weight of 0 comes last
            keys = -np.log1p(-u) / weights
        drawn = np.argsort(keys, axis=1, kind="stable")[:, :k]
    return as_tensor(np.ascontiguousarray(drawn.reshape(*w.shape[:-1], k)))


def _inverse(steps: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The first place in each row of cumulative weights that exceeds u times the row's total."""
    drawn = np.empty(u.shape, np.int64)
    for row, x, out in zip(steps, u, drawn, strict=True):
        last = np.searchsorted(row, row[-1])    # where rounding must stop
        out[:] = np.minimum(np.searchsorted(row, x * row[-1], side="right"), last)
    return drawn


def _fractions(shape: tuple[int, ...], state: Tensor) -> np.ndarray:
    """Multiples of 2**-53 in [0, 1), float64."""
    return _integers(0, 2**53, shape, state).numpy() * 2.0**-53


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element set to zero with probability p, the others divided by 1 - p.

    p = 0 or training=False gives input itself, p = 1 zeros. Backward draws the same mask again from
    the saved (seed, offset): no mask is stored. inplace is accepted; the result is a new tensor.

    Errors: ValueError for p outside [0, 1].

    Source: Srivastava et al., "Dropout", JMLR 15, 2014.

    Example:
        >>> import fastnn
        >>> y = fastnn.nn.functional.dropout(fastnn.tensor([1.0, 2.0]), 1.0)
        >>> y.tolist()
        [0.0, 0.0]
    """
    x = as_tensor(input)
    p = need_probability("dropout", p)
    if not training or p == 0.0:
        return x
    if x.dtype is not F32:
        need_float32("dropout", input=x)
    f = (p, 1.0 / (1.0 - p) if p < 1.0 else 0.0)
    return call(DROPOUT, (x, _STATE), (x.shape, (2,)), (x.numel(),), f, 1, (F32, I64))


# ---------------------------------------------------------------- methods of Tensor

def _fill(op: int, name: str, t: Tensor, state: Tensor, f: tuple[float, float]) -> Tensor:
    need_float32(name, input=t)
    return call_into(op, (state,), t, (t.numel(),), f)


def uniform_(self: Tensor, low: float = 0.0, high: float = 1.0, *,
             generator: Generator | None = None) -> Tensor:
    """Fill with numbers spread evenly over [low, high); returns self."""
    bounds = _interval("uniform_", low, high)
    return _fill(UNIFORM, "uniform_", self, _state("uniform_", generator), bounds)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *,
            generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers; returns self."""
    f = (float(mean), _deviation("normal_", std))
    return _fill(NORMAL, "normal_", self, _state("normal_", generator), f)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 where a draw hits probability p (a number or a tensor of this shape), else 0."""
    need_float32("bernoulli_", input=self)
    q = _probabilities("bernoulli_", p)
    if q.ndim and q.shape != self.shape:
        raise ShapeError(f"bernoulli_: p: got shape {q.shape}; need {self.shape} or a number")
    dim = (self.numel(), int(q.ndim > 0))
    return call_into(BERNOULLI, (q, _state("bernoulli_", generator)), self, dim)


def random_(self: Tensor, low: int = 0, high: int | None = None, *,
            generator: Generator | None = None) -> Tensor:
    """Fill int64 with integers from low up to but not including high (by default all >= low)."""
    if self.dtype is not I64:
        raise DTypeError(f"random_: input: got {self.dtype.name}; need int64")
    low = need_int("random_", "low", low)
    high = 2**63 if high is None else need_int("random_", "high", high)
    if not -(2**63) <= low < high <= 2**63:
        raise ValueError(f"random_: bounds: got {low} and {high}; need low < high within int64")
    span = (high - low + 2**63) % 2**64 - 2**63
    state = _state("random_", generator)
    return call_into(RANDINT, (state,), self, (self.numel(), low, span))


for _method in (bernoulli, bernoulli_, multinomial, normal_, random_, uniform_):
    _core.add_method(_method.__name__, _method)
