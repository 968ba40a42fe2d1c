"""NumPy twins of op_movement.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _places(dim: list[int]) -> np.ndarray:
    """The elements of x that a strided record reads, in the order of y."""
    sizes, strides = dim[:6], dim[6:12]
    return dim[12] + sum(
        s * np.arange(n).reshape([-1 if i == k else 1 for i in range(6)])
        for k, (n, s) in enumerate(zip(sizes, strides, strict=True))
    )


def strided(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (ins[0].reshape(-1)[_places(dim)],)


def strided_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dx = np.zeros(dim[13], gouts[0].dtype)
    dx[_places(dim)] = gouts[0].reshape(dim[:6])
    return [dx]


def expand(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (np.repeat(ins[0].reshape(dim[0], 1, dim[2]), dim[1], axis=1),)


def expand_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [gouts[0].reshape(dim[:3]).sum(axis=1)]
