"""Every function of the table with its derivatives in one kernel, and what they are by mpmath."""

import mpmath
import numpy as np
import sympy as sp

from pwgf_sym.derive.calculus import Gradient
from pwgf_sym.functions import before_derivatives, declared
from pwgf_sym.kernels.energies import FormulaKernel

ENTRIES = declared()
FIRST, SECOND = ([sp.Symbol(f"{n}{k}", real=True) for k in range(len(ENTRIES))] for n in "ab")
# Orders and further arguments beside the first one.
ORDERS = {"besselj": 1, "polygamma": 0}
TWO = {"atan2", "logaddexp", "beta", "Mod", "hypot", "powm1"}
# Intervals that the arguments come from, where they are not (-2, 2).
BETWEEN = {
    **dict.fromkeys(("log", "log2", "log10", "Sqrt", "beta", "powm1"), (0.3, 3.0)),
    **dict.fromkeys(("gamma", "loggamma", "polygamma", "factorial"), (0.2, 4.0)),
    **dict.fromkeys(("asin", "acos", "atanh"), (-0.9, 0.9)),
    **dict.fromkeys(("asec", "acsc", "acosh", "acoth"), (1.1, 3.0)),
    **dict.fromkeys(("csc", "cot", "csch", "coth", "acsch", "acot", "asech"), (0.2, 0.9)),
    **dict.fromkeys(("Mod", "Cbrt"), (0.3, 2.9)),
    **dict.fromkeys(("sinc", "sine_quotient"), (-5.0, 5.0)),
    "besselj": (-12.0, 12.0),
    "log1p": (-0.8, 2.0),
    "tan": (-1.2, 1.2),
    "sec": (-1.2, 1.2),
}
# Their derivative is zero but where they jump: they are differentiated piece by piece, or refused.
STEPS = {"floor", "ceiling", "sign", "Mod", "frac"}
TRUTH = {
    "Abs": abs,
    "ceiling": mpmath.ceil,
    "loggamma": lambda u: mpmath.re(mpmath.loggamma(u)),
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "logaddexp": lambda a, b: mpmath.log(mpmath.exp(a) + mpmath.exp(b)),
    "sine_quotient": mpmath.sinc,
    "erfcx": lambda u: mpmath.exp(u * u) * mpmath.erfc(u),
    "besselj": lambda u: mpmath.besselj(1, u),
    "polygamma": lambda u: mpmath.psi(0, u),
    "Mod": lambda a, b: a - b * mpmath.floor(a / b),
    "frac": lambda u: u - mpmath.floor(u),
    "log2": lambda u: mpmath.log(u, 2),
    "log10": lambda u: mpmath.log(u, 10),
    "exp2": lambda u: mpmath.power(2, u),
    "Sqrt": mpmath.sqrt,
    "Cbrt": mpmath.cbrt,
    "fma": lambda u: u * u + u,
    "cosm1": lambda u: mpmath.cos(u) - 1,
    "powm1": lambda a, b: mpmath.power(a, b) - 1,
}


def application(entry, a, b):
    """The function of a, or of a and b."""
    if entry.name in ORDERS:
        return entry.kind(ORDERS[entry.name], a)
    if entry.name == "fma":
        return entry.kind(a, a, a)
    return entry.kind(a, b) if entry.name in TWO else entry.kind(a)


def formulas(entry, a, b) -> list[sp.Expr]:
    """The value and the derivatives, as the package derives them."""
    value = before_derivatives(application(entry, a, b))
    if entry.name in STEPS:
        return [value]
    return [value, *Gradient([a, b] if entry.name in TWO else [a])(value)]


def truths(entry, a, b) -> list:
    """The same by mpmath, derivatives by differences with 60 digits."""
    f = TRUTH.get(entry.name) or getattr(mpmath, entry.name)
    at = (a, b) if entry.name in TWO else (a,)
    found = [f(*at)]
    if entry.name not in STEPS:
        for k in range(len(at)):
            order = tuple(int(j == k) for j in range(len(at)))
            found.append(mpmath.diff(f, at, order) if len(at) > 1 else mpmath.diff(f, a))
    return found


def kernel() -> FormulaKernel:
    """One kernel of all of them."""
    rows = [f for e, a, b in zip(ENTRIES, FIRST, SECOND, strict=True) for f in formulas(e, a, b)]
    return FormulaKernel(
        "all_functions", "all", {"x": (*FIRST, *SECOND)}, (), (), {"out": (*rows,)}
    )


def points(count: int, dtype) -> np.ndarray:
    """Arguments, (2 functions, count)."""
    rng = np.random.default_rng(3)
    ranges = [BETWEEN.get(entry.name, (-2.0, 2.0)) for entry in ENTRIES] * 2
    return np.array([rng.uniform(*ends, count) for ends in ranges]).astype(dtype)


def check(entry, arguments: np.ndarray, values: np.ndarray, dtype) -> None:
    """Values and derivatives of one function to a few units of the precision."""
    number = ENTRIES.index(entry)
    before = sum(len(formulas(e, *sp.symbols("a b", real=True))) for e in ENTRIES[:number])
    eps, count = float(np.finfo(dtype).eps), len(ENTRIES)
    with mpmath.workdps(60):
        for n in range(arguments.shape[1]):
            a, b = (mpmath.mpf(float(arguments[k, n])) for k in (number, count + number))
            for j, truth in enumerate(truths(entry, a, b)):
                error = abs(mpmath.mpf(float(values[before + j, n])) - truth)
                assert error <= 24 * eps * max(1, abs(truth)), (entry.name, j, float(a), float(b))
