"""Fits the polynomials of csrc/vmath.h: near-minimax, then rounded to float32 one by one.

Run `python tests/exhaustive/fit_vmath.py`; needs numpy and mpmath.  It prints the coefficients,
lowest power first, and the weighted error that is left after rounding.
"""

from collections.abc import Callable

import mpmath as mp
import numpy as np

Fn = Callable[[mp.mpf], mp.mpf]
mp.mp.dps = 40


def lawson(basis: np.ndarray, f: np.ndarray, w: np.ndarray) -> np.ndarray:
    """c minimising max |w (f - basis c)|: least squares, reweighted towards the peaks."""
    law = np.ones_like(f)
    best, best_c = np.inf, np.zeros(basis.shape[1])
    for _ in range(300):
        s = w * np.sqrt(law)
        c = np.linalg.lstsq(basis * s[:, None], f * s, rcond=None)[0]
        err = abs(w * (f - basis @ c))
        if err.max() < best:
            best, best_c = err.max(), c
        law = law * (err / err.max() + 1e-3)
        law /= law.mean()
    return best_c


def grid(lo: float, hi: float) -> list[mp.mpf]:
    x = (lo + hi) / 2 - (hi - lo) / 2 * np.cos(np.linspace(0, np.pi, 800))
    return [mp.mpf(float(v)) for v in x if abs(v) > 1e-5 * (hi - lo)]


def fit(name: str, f: Fn, w: Fn, lo: float, hi: float, n: int, first: float = 0.0) -> None:
    """f(x) ~ c_0 + ... + c_(n-1) x^(n-1) with error weight w; `first` holds c_0 fixed."""
    points = grid(lo, hi)
    x = np.array(points, dtype=float)
    weight = np.array([abs(w(p)) for p in points], dtype=float)
    rest = np.array([f(p) for p in points], dtype=float)
    fixed: list[np.float32] = []
    for k in range(n):
        powers = np.stack([x**j for j in range(k, n)], 1)
        c = first if first and k == 0 else lawson(powers, rest, weight)[0]
        fixed.append(np.float32(c))
        rest = rest - float(fixed[-1]) * x**k
    print(f"{name}: 2^{np.log2(np.max(weight * abs(rest))):.2f}")
    print("   ", ", ".join(f"{c:.9g}f" for c in fixed))


def fit_ratio(name: str, f: Fn, lo: float, hi: float, n: int, m: int) -> None:
    """f(x) ~ (p_0 + ... + p_n x^n) / (1 + q_1 x + ... + q_m x^m), relative error."""
    points = grid(lo, hi)
    x = np.array(points, dtype=float)
    value = np.array([f(p) for p in points], dtype=float)
    top = np.stack([x**j for j in range(n + 1)], 1)
    bottom = np.stack([x**j for j in range(1, m + 1)], 1)
    q = np.zeros(m)
    for _ in range(12):
        w = 1 / (value * abs(1 + bottom @ q))
        q = lawson(np.hstack([top, -bottom * value[:, None]]), value, w)[n + 1 :]
    q = q.astype(np.float32)
    den = 1 + bottom @ q.astype(float)
    p = np.zeros(0, dtype=np.float32)
    for k in range(n + 1):
        rest = value * den - top[:, :k] @ p.astype(float)
        p = np.append(p, np.float32(lawson(top[:, k:], rest, 1 / (value * den))[0]))
    err = np.max(abs(top @ p.astype(float) / den / value - 1))
    print(f"{name}: 2^{np.log2(err):.2f}")
    print("   ", ", ".join(f"{c:.9g}f" for c in p))
    print("   ", ", ".join(f"{c:.9g}f" for c in q))


def main() -> None:
    half_ln2 = float(mp.log(2)) / 2 * 1.0005
    two_pi = 2 * mp.pi
    for n in (5, 6):
        fit(
            f"exp {n}: (exp(r) - 1 - r) / r^2",
            lambda r: (mp.expm1(r) - r) / r**2,
            lambda r: r**2 / mp.exp(r),
            -half_ln2, half_ln2, (n),
        )
        fit(
            f"expm1 {n}: (exp(r) - 1 - r) / r^2",
            lambda r: (mp.expm1(r) - r) / r**2,
            lambda r: r**2 / mp.expm1(r),
            -half_ln2, half_ln2, (n),
        )
    for n in (8, 9, 10):
        fit(
            f"log {n}: (log1p(f) - f + f^2/2) / f^3",
            lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3,
            lambda f: f**3 / mp.log1p(f),
            -0.25, 0.5, (n),
        )
    for n in (5, 6):
      for s in (0.84375, 0.921875,1.0):
        fit(
            f"erf, small {n} {s}: erf(x) / x in x^2",
            lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t) -1.12837911,
            lambda t: 1 / (mp.erf(mp.sqrt(t)) / mp.sqrt(t)),
            0.0, s*s, (n),
        )
    for n in (6,7, 8,):
        fit(
            f"erf, large {n}: log(erfc(x))",
            lambda t: mp.log(mp.erfc(t)),
            lambda t: mp.erfc(t) / mp.erf(t),
            0.92, 3.95, (n),
        )
    fit(
        "sin(2 pi r) / r in r^2",
        lambda t: mp.sin(two_pi * mp.sqrt(t)) / mp.sqrt(t), lambda t: mp.mpf(1)*mp.sqrt(t),
        0.0, 1 / 64, 4,
    )
    fit(
        "cos(2 pi r) in r^2",
        lambda t: mp.cos(two_pi * mp.sqrt(t)), lambda t: mp.mpf(1),
        0.0, 1 / 64, 5,
    )
    for n in (6,7):
        fit(
            f"exp2 {n}: (2^r - 1) / r",
            lambda r: mp.expm1(r * mp.log(2)) / r, lambda r: r / mp.power(2, r),
            -0.501, 0.501, n,
        )
    for n in (3, 4):
        fit(
            f"atanh {n}: (atanh(s) / s - 1) / s^2 in s^2",
            lambda t: (mp.atanh(mp.sqrt(t)) / mp.sqrt(t) - 1) / t,
            lambda t: t,
            0.0, 0.0295, n,
        )
    for n,m in ((4,5),(5,5),(5,6),(6,6),(6,7)):
        fit_ratio(f"gelu {n} {m}", lambda t: mp.erfc(t/mp.sqrt(2))*mp.exp(t*t/2)/2, 0.0, 13.3,n,m)


if __name__ == "__main__":
    main()
