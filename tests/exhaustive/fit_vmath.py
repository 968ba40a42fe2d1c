"""Fits the polynomials of csrc/vmath.h: near-minimax, then rounded to float32 one by one.

Run `python tests/exhaustive/fit_vmath.py`; needs numpy and mpmath.  It prints the coefficients,
lowest power first, and the weighted error that is left after rounding; then csrc/vmath_tables.h.
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


# ---- tables: polynomials in t = a - center, one for each of 16 intervals ------------------------


def piece(
    f: Fn, w: Fn, lo: float, hi: float, center: float, degree: int, fixed: list[float]
) -> tuple[list[np.float32], float]:
    """Coefficients for lo <= a <= hi, the first of them given; each is rounded before the next."""
    points = [p for p in grid(lo, hi)[::4] if abs(p - center) > 1e-6 * (hi - lo)]
    t = np.array([float(p - center) for p in points])
    half, weight = max(abs(t)), np.array([float(w(p)) for p in points])
    rest, found = [f(p) for p in points], []
    for k in range(degree + 1):
        if k < len(fixed):
            c = np.float32(fixed[k])
        else:
            powers = np.stack([(t / half) ** j for j in range(k, degree + 1)], 1)
            values = np.array([float(r) for r in rest])
            c = np.float32(lawson(powers, values, weight, rounds=100)[0] / half**k)
        found.append(c)
        rest = [r - mp.mpf(float(c)) * (p - center) ** k for r, p in zip(rest, points, strict=True)]
    return found, float(max(weight * abs(np.array([float(r) for r in rest]))))


def center_of(f: Fn, lo: float, hi: float) -> float:
    """The float32 near the middle at which f is nearest to a float32: c_0 costs no error."""
    middle = np.float32((lo + hi) / 2)
    near = [float(middle + np.float32(k) * np.spacing(middle)) for k in range(-1500, 1500)]

    def off(x: float) -> float:
        y = f(mp.mpf(x))
        return float(abs(y - mp.mpf(float(np.float32(float(y))))) / abs(y))

    return min(near, key=off)


def table(name: str, rows: list[list[float]], error: float) -> None:
    print(f"/* 2^{np.log2(error):.1f} */")
    print(f"VEC_TABLE {name}[{len(rows)}][16] = {{")
    for row in rows:
        text = [f"{v:.9g}" for v in row]
        text = [f"{v}f" if "." in v or "e" in v else f"{v}.0f" for v in text]
        for i in range(0, 16, 4):
            print("    {" if i == 0 else "     ", ", ".join(text[i : i + 4]), sep="", end="")
            print("}," if i == 12 else ",")
    print("};\n")


def tanh_table() -> None:
    """Intervals of a + 5/8 by its exponent and two bits, from (5/8, 3/4) to (8, 10)."""
    edges = [k / 8 for k in range(5, 8)] + [k / 4 for k in range(4, 8)]
    edges += [k / 2 for k in range(4, 8)] + [*range(4, 8), 8, 10]
    columns, worst = [[0.0] * 7 for _ in range(16)], 0.0
    for k, (lo, hi) in enumerate(zip(edges, edges[1:], strict=False)):
        lo, hi = lo - 0.625, hi - 0.625
        center = center_of(mp.tanh, lo, hi) if k else 0.0
        fixed = [] if k else [0.0, 1.0]
        c, error = piece(mp.tanh, lambda p: 1 / mp.tanh(p), lo, hi, center, 5, fixed)
        columns[(k + 9) % 16] = [center, *map(float, c)]
        worst = max(worst, error)
    table("vec_tanh_table", np.array(columns).T.tolist(), worst)


def even_table(name: str, f: Fn, w: Fn, degree: int, at_zero: float, beyond: float) -> None:
    """Interval n is centered at n 13/32; the last one is constant."""
    width, columns, worst = 13 / 32, [], 0.0
    for n in range(15):
        lo, hi = max(0.0, (n - 0.5) * width), (n + 0.5) * width
        c, error = piece(f, w, lo, hi, n * width, degree, [] if n else [at_zero])
        columns.append([float(v) for v in c])
        worst = max(worst, error if n < 11 else 0)
    columns.append([beyond] + [0.0] * degree)
    table(name, np.array(columns).T.tolist(), worst)


def tables() -> None:
    one, half, root2, b = mp.mpf(1), mp.mpf(1) / 2, mp.sqrt(2), mp.mpf("0.044715")
    k = 2 * mp.sqrt(2 / mp.pi)

    def logistic(a: mp.mpf) -> mp.mpf:
        return 1 / (1 + mp.exp(k * (a + b * a**3)))

    def gelu(a: mp.mpf) -> mp.mpf:
        return a * mp.erfc(a / root2) / 2

    def gelu_tanh(a: mp.mpf) -> mp.mpf:
        return a * logistic(a)

    def gelu_slope(a: mp.mpf) -> mp.mpf:
        return half - mp.erfc(a / root2) / 2 + a * mp.npdf(a)

    def gelu_tanh_slope(a: mp.mpf) -> mp.mpf:
        s = logistic(a)
        return half - s + a * s * (1 - s) * k * (1 + 3 * b * a * a)

    tanh_table()
    even_table("vec_gelu_table", gelu, lambda a: 1 / gelu(a), 6, 0.0, 0.0)
    even_table("vec_gelu_slope_table", gelu_slope, lambda a: one, 5, 0.0, 0.5)
    even_table("vec_gelu_tanh_table", gelu_tanh, lambda a: 1 / gelu_tanh(a), 6, 0.0, 0.0)
    even_table("vec_gelu_tanh_slope_table", gelu_tanh_slope, lambda a: one, 5, 0.0, 0.5)


def main() -> None:
    half_ln2 = float(mp.log(2)) / 2 * 1.0005
    one, sqrt, two_pi = mp.mpf(1), mp.sqrt, 2 * mp.pi
    fit(
        "exp: (exp(r) - 1 - r) / r^2",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda r: r**2 / mp.exp(r),
        -half_ln2 / 4,
        half_ln2 / 4,
        3,
    )
    fit(
        "expm1: (exp(r) - 1 - r) / r^2",
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.exp(r), -half_ln2, half_ln2, 6,
    )
    fit(
        "log: (log(1 + f) - f + f^2/2) / f^3",
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, lambda f: f**3 / mp.log1p(f), -0.25, 0.5, 9,
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
    tables()


if __name__ == "__main__":
    main()
