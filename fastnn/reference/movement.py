"""NumPy twins of op_movement.h."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = list[Any]


def _places(dim: list[int]) -> np.ndarray:
    """The elements of x that a strided record reads, in the order of y."""
    places = np.array(dim[12])
    for n, stride in zip(dim[:6], dim[6:12], strict=True):
        places = places[..., None] + stride * np.arange(n)
    return places


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


def cat(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    parts = [x.reshape(dim[0], n, dim[1]) for x, n in zip(ins, dim[4:], strict=False)]
    return (np.concatenate(parts, axis=1),)


def cat_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    dy = gouts[0].reshape(dim[0], dim[2], dim[1])
    return np.split(dy, np.cumsum(dim[4 : 3 + len(ins)]), axis=1)


def _band(x: np.ndarray, dim: list[int]) -> np.ndarray:
    gap = np.arange(dim[2]) - np.arange(dim[1])[:, None]
    return np.where((dim[3] <= gap) & (gap <= dim[4]), x.reshape(dim[:3]), np.zeros((), x.dtype))


def band(ins: Arrays, dim: list[int], f: list[float]) -> tuple[Any, ...]:
    return (_band(ins[0], dim),)


def band_grad(
    ins: Arrays, outs: Arrays, gouts: Arrays, want: list[bool], dim: list[int], f: list[float]
) -> Arrays:
    return [_band(gouts[0], dim)]
