"""Fits the polynomials of csrc/vmath.h: near-minimax, then rounded to float32 one by one.

Run `python tests/exhaustive/fit_vmath.py`; needs numpy and mpmath.  It prints the coefficients,
lowest power first, and the weighted error that is left after rounding.
"""

from collections.abc import Callable

import mpmath as mp
import numpy as np

Fn = Callable[[mp.mpf], mp.mpf]
mp.mp.dps = 40


def lawson(basis: np.ndarray, f: np.ndarray, w: np.ndarray, rounds: int = 300) -> np.ndarray:
    """c minimising max |w (f - basis c)|: least squares, reweighted towards the peaks."""
    law = np.ones_like(f)
    best, best_c = np.inf, np.zeros(basis.shape[1])
    for _ in range(rounds):
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


def report(name: str, error: float, coefficients: np.ndarray | list[np.float32]) -> None:
    print(f"{name}: 2^{np.log2(error):.2f}")
    print("   ", ", ".join(f"{c:.9g}f" for c in coefficients))


def fit(name: str, f: Fn, w: Fn, lo: float, hi: float, n: int) -> None:
    """f(x) ~ c_0 + ... + c_(n-1) x^(n-1) with error weight w."""
    points = grid(lo, hi)
    x = np.array(points, dtype=float)
    weight = np.array([abs(w(p)) for p in points], dtype=float)
    rest = np.array([f(p) for p in points], dtype=float)
    fixed: list[np.float32] = []
    for k in range(n):
        powers = np.stack([x**j for j in range(k, n)], 1)
        fixed.append(np.float32(lawson(powers, rest, weight)[0]))
        rest = rest - float(fixed[-1]) * x**k
    report(name, np.max(weight * abs(rest)), fixed)


def ratios(x: np.ndarray, f: np.ndarray, n: int, m: int) -> list[np.ndarray]:
    """Denominators q of near-minimax f ~ (1 + p_1 x ... p_n x^n) / (1 + q_1 x ... q_m x^m)."""
    top = np.stack([x**j for j in range(1, n + 1)], 1)
    bottom = np.stack([x**j for j in range(1, m + 1)], 1)
    c, law, found = np.zeros(n + m), np.ones_like(x), []
    for step in range(440):
        num, den = 1 + top @ c[:n], 1 + bottom @ c[n:]
        err = num / den / f - 1
        if step < 40:  # linear in num - f * den, scaled by the last denominator
            basis = np.hstack([top / f[:, None], -bottom]) / den[:, None]
            c = np.linalg.lstsq(basis, (1 - 1 / f) / den, rcond=None)[0]
        else:  # Gauss-Newton on the relative error, reweighted towards the peaks
            law = law * (abs(err) / abs(err).max() + 1e-2)
            law /= law.mean()
            basis = np.hstack([top / den[:, None], -bottom * (num / den**2)[:, None]]) / f[:, None]
            s = np.sqrt(law)
            c = c - np.linalg.lstsq(basis * s[:, None], err * s, rcond=None)[0]
        found.append(c[n:])
    return found[-40:]


def fit_ratio(name: str, f: Fn, lo: float, hi: float, n: int, m: int) -> None:
    """Round each denominator found, fit and round the numerator for it, and keep the best."""
    points = grid(lo, hi)
    x = np.array(points, dtype=float)
    value = np.array([f(p) for p in points], dtype=float)
    best, best_c = np.inf, []
    for scaled in ratios(x / hi, value, n, m):
        q = (scaled / hi ** np.arange(1, m + 1)).astype(np.float32)
        w = 1 / (value * np.polyval([*q[::-1].astype(float), 1], x))
        rest, p = 1 / w - 1, []
        for k in range(1, n + 1):
            powers = np.stack([x**j for j in range(k, n + 1)], 1)
            p.append(np.float32(lawson(powers, rest, w, rounds=60)[0]))
            rest = rest - float(p[-1]) * x**k
        if np.max(abs(w * rest)) < best:
            best, best_c = np.max(abs(w * rest)), [*p, *q]
    report(name, best, best_c)


def main() -> None:
    half_ln2 = float(mp.log(2)) / 2 * 1.0005
    one, sqrt, two_pi = mp.mpf(1), mp.sqrt, 2 * mp.pi
    fit(
        "exp: (exp(r) - 1 - r) / r^2",
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.exp(r), -half_ln2, half_ln2, 6,
    )
    fit(
        "log: (log(1 + f) - f + f^2/2) / f^3",
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, lambda f: f**3 / mp.log1p(f), -0.25, 0.5, 9,
    )
    fit(
        "tanh: (tanh(x) - x) / x^3 in x^2",
        lambda t: (mp.tanh(sqrt(t)) / sqrt(t) - 1) / t,
        lambda t: t * sqrt(t) / mp.tanh(sqrt(t)),
        0.0, 0.55**2, 5,
    )
    fit(
        "erf, small: erf(x) / x - 1.12837911 in x^2",
        lambda t: mp.erf(sqrt(t)) / sqrt(t) - mp.mpf(float(np.float32(1.12837911))),
        lambda t: sqrt(t) / mp.erf(sqrt(t)),
        0.0, 0.84375**2, 6,
    )
    fit(
        "erf, large: log(1 - erf(x))",
        lambda x: mp.log(mp.erfc(x)), lambda x: mp.erfc(x) / mp.erf(x), 0.84, 3.95, 7,
    )
    fit_ratio(
        "gelu: exp(a^2/2) erfc(a / sqrt(2)), numerator then denominator",
        lambda a: mp.exp(a * a / 2) * mp.erfc(a / sqrt(2)), 0.0, 13.3, 4, 5,
    )
    fit(
        "pow: (atanh(s) - s) / s^3 in s^2",
        lambda t: (mp.atanh(sqrt(t)) / sqrt(t) - 1) / t, lambda t: t, 0.0, 0.0295, 4,
    )
    fit(
        "pow: (2^r - 1) / r",
        lambda r: mp.expm1(r * mp.log(2)) / r, lambda r: r / mp.power(2, r), -0.501, 0.501, 7,
    )
    fit(
        "sin(2 pi r) / r in r^2",
        lambda t: mp.sin(two_pi * sqrt(t)) / sqrt(t), lambda t: sqrt(t), 0.0, 1 / 64, 4,
    )
    fit("cos(2 pi r) in r^2", lambda t: mp.cos(two_pi * sqrt(t)), lambda t: one, 0.0, 1 / 64, 5)


if __name__ == "__main__":
    main()
