"""Problems with exact answers, by name, on which the solver is measured without tuning.

    row = exact_problem("double_well")
    solution = pw.solve(row.problem, row.map, row.t_span)
    row.error(solution)

Each row holds an energy, an initial law, a map, and the exact Lagrangian map: closed forms, or
finite volumes on the line or in the plane.  What it takes to build a row is done when it is asked
for, and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import sympy as sp

from ..declare.energies import integral
from ..declare.laws import Barenblatt, Gaussian
from ..declare.maps import Affine as AffineMap
from ..declare.maps import NeuralFlow
from ..errors import BenchmarkError
from . import truths
from .exact_row import ExactProblem

__all__ = ["EXACT_PROBLEMS", "exact_problem"]


def exact_problem(name: str) -> ExactProblem:
    """A row of the table by its name; the same object every time.

    Raises
    ------
    BenchmarkError
        For an unknown name.
    """
    if name not in EXACT_PROBLEMS:
        accepted = f"a name of {', '.join(EXACT_PROBLEMS)}"
        raise BenchmarkError("name", repr(name), accepted)
    if name not in _BUILT:
        _BUILT[name] = replace(EXACT_PROBLEMS[name](), name=name)
    return _BUILT[name]


_BUILT: dict[str, ExactProblem] = {}


def _row(formula, initial, energy, end, truth, map=None, sigma=None, convexity=None, start=0.0):
    """A row without its name; by default a NeuralFlow of 16 hidden units."""
    if map is None:
        map = NeuralFlow(initial.dim, 16, 4 if initial.dim <= 3 else 2)
    span = (float(start), float(end))
    return ExactProblem("", formula, initial, energy, span, truth, map, sigma, convexity)


def _fokker_planck(potential: Callable, sigma: float = 1.0) -> Callable:
    """int V rho + sigma rho log rho for V given as a function of the coordinates."""

    def energy(x, y, rho):
        return integral(potential(*x) * rho + (sigma * rho * sp.log(rho) if sigma else 0), x)

    return energy


def _quadratic(A) -> Callable:
    """x'Ax/2 of a matrix with rational entries as they are written."""
    A = [[sp.nsimplify(a) if a == round(a) else sp.Float(a) for a in row] for row in A]
    return lambda *x: sum(A[i][j] * x[i] * x[j] / 2 for i in range(len(x)) for j in range(len(x)))


def _correlated(dim: int, seed: int):
    """A (1/3 < A < 3), mean and covariance, all of them full."""
    rng = np.random.default_rng(seed)
    A = 0.5 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
    factor = rng.standard_normal((dim, dim))
    return A, rng.standard_normal(dim), factor @ factor.T / dim + 0.5 * np.eye(dim)


def _ornstein_uhlenbeck(dim: int) -> ExactProblem:
    A, mean, cov = _correlated(dim, 7)
    return _row(
        f"Ornstein-Uhlenbeck, d = {dim}, A_ij = 2^-|i-j|, full covariance",
        Gaussian(mean, cov),
        _fokker_planck(_quadratic(A)),
        1,
        truths.Affine(A, 1.0, mean, cov),
        NeuralFlow(dim, 16, 4) if dim <= 3 else NeuralFlow(dim, 8, 2),
        sigma=1.0,
        convexity=float(np.linalg.eigvalsh(A)[0]),
    )


def _stiff_quadratic() -> ExactProblem:
    """Eigenvalues 1 and 1e4 along axes that are turned by the angle of a 3-4-5 triangle."""
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    A, mean = turn @ np.diag([1.0, 1e4]) @ turn.T, np.array([1.0, 0.5])
    return _row(
        "x'Ax/2 + log rho, d = 2, eigenvalues 1 and 1e4, from N((1, 1/2), I)",
        Gaussian(mean, 1.0),
        _fokker_planck(_quadratic(A)),
        1,
        truths.Affine(A, 1.0, mean, np.eye(2)),
        sigma=1.0,
        convexity=1.0,
    )


def _mckean_vlasov() -> ExactProblem:
    dim, attraction, sigma = 20, 0.5, 0.5
    A, mean, cov = _correlated(dim, 11)
    quadratic = _quadratic(A)

    def energy(x, y, rho):
        pair = sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) * sp.Rational(1, 4)
        own = integral(quadratic(*x) * rho + rho * sp.log(rho) / 2, x)
        return own + integral(pair * rho * rho.at(y) / 2, x, y)

    return _row(
        "McKean-Vlasov, d = 20: x'Ax/2 + log(rho)/2 + |x - y|^2/4, full covariance",
        Gaussian(mean, cov),
        energy,
        1,
        truths.Affine(A, sigma, mean, cov, attraction),
        NeuralFlow(dim, 8, 1),
        convexity=float(np.linalg.eigvalsh(A)[0]),
    )


def _separable(formula, potentials, ends, deviation, end, convexity, map=None) -> ExactProblem:
    """V = sum of ``potentials`` of one coordinate each, entropy, from N(0, deviation^2 I)."""
    kinds = {}
    for potential, (low, high) in zip(potentials, ends, strict=True):
        if potential not in kinds:
            kinds[potential] = truths.Wells(potential, 1.0, deviation, low, high)
    return _row(
        formula,
        Gaussian(np.zeros(len(potentials)), deviation**2),
        _fokker_planck(lambda *x: sum(V(a) for V, a in zip(potentials, x, strict=True))),
        end,
        truths.Separable(tuple(kinds[potential] for potential in potentials)),
        map,
        sigma=1.0,
        convexity=convexity,
    )


def _trap(q):
    return q**2 / 2


def _double(q):
    return (q**2 - 1) ** 2


def _triple(q):
    return q**2 * (q**2 - 4) ** 2 / 8


def _quartic(q):
    return q**4 / 4


def _deep(q):
    return (q**2 - 2) ** 2


def _sixth(q):
    return (q - 4) ** 6 / 6


def _styblinski_tang(q):
    return (q**4 - 16 * q**2 + 5 * q) * 3 / 50


def _styblinski_tang_row(dim: int, end: float, map) -> ExactProblem:
    formula = f"Styblinski-Tang, d = {dim}: 3/50 sum(x^4 - 16 x^2 + 5 x) + log rho, from N(0, I)"
    ends = [(-7.5, 7.5)] * dim
    return _separable(formula, [_styblinski_tang] * dim, ends, 1.0, end, -1.92, map)


def _sixth_potential(z, t):
    away = np.asarray(z) - 4
    return 4 + away / (1 + 4 * t * away**4) ** 0.25


def _deterministic(formula, potential, dim, move) -> ExactProblem:
    return _row(
        formula,
        Gaussian(np.zeros(dim), 1.0),
        _fokker_planck(lambda *x: sum(potential(a) for a in x), 0.0),
        1,
        truths.Deterministic(move),
        convexity=0.0,
    )


def _aggregation() -> ExactProblem:
    def energy(x, y, rho):
        square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
        return integral((square**2 / 4 - square / 2) * rho * rho.at(y), x, y) / 2

    return _row(
        "|x - y|^4/4 - |x - y|^2/2 in the plane, from N(0, I)",
        Gaussian([0, 0], 1.0),
        energy,
        20,
        truths.Gathering(1.0),
        convexity=-1.0,
    )


def _barenblatt(m: int, dim: int, map=None) -> ExactProblem:
    law = Barenblatt(dim, m, t0=1)
    return _row(
        f"porous medium, m = {m}, d = {dim}, from the Barenblatt profile at t = 1",
        law,
        lambda x, y, rho: integral(rho**m / (m - 1), x),
        3,
        truths.Linear(law),
        map,
        convexity=0.0,
        start=1,
    )


def _mixture_potential(functions) -> Callable:
    """-log of nine unit Gaussians with centres drawn from (-5, 5)^2, without constants."""
    centers = np.random.default_rng(0).uniform(-5, 5, (9, 2)).round(3)

    def potential(x, y):
        bumps = [functions.exp(-((x - a) ** 2 + (y - b) ** 2) / 2) for a, b in centers.tolist()]
        return -functions.log(sum(bumps))

    return potential


def _mixture() -> ExactProblem:
    """The kind of target of Mokrov et al. (arXiv:2106.00736), before equilibrium is reached."""
    box = ((-22.0, 22.0), (-22.0, 22.0))
    return _row(
        "mixture of nine Gaussians in the plane, from N(0, 16 I)",
        Gaussian([0, 0], 16.0),
        _fokker_planck(_mixture_potential(sp)),
        4,
        truths.Plane(_mixture_potential(np), 4.0, box, (520, 520), 180),
        sigma=1.0,
    )


def _banana_potential(x, y):
    """Law of (x, y) = (z0, (z0^2 - 1)/sqrt(2) + z1/2) for standard normal z."""
    return x**2 / 2 + 2 * (y - (x**2 - 1) / 2**0.5) ** 2


def _banana(beside: int = 0) -> ExactProblem:
    """The bent valley, and so many coordinates of a standard normal beside it."""
    dim, box = 2 + beside, ((-5.0, 5.0), (-5.0, 11.0))
    formula = "bent valley x0^2/2 + 2 (x1 - (x0^2 - 1)/sqrt(2))^2"
    truth = truths.Plane(_banana_potential, 0.5, box, (200, 320), 200)
    if beside:
        formula += f" + (x2^2 + ... + x{dim - 1}^2)/2"
        rest = truths.Affine(np.eye(beside), 1.0, np.zeros(beside), 0.25 * np.eye(beside))
        truth = truths.Beside(truth, rest)
    return _row(
        f"{formula} + log rho, from N(0, I/4)",
        Gaussian(np.zeros(dim), 0.25),
        _fokker_planck(lambda x, y, *others: _banana_potential(x, y) + _half_square(others)),
        3,
        truth,
        sigma=1.0,
    )


def _half_square(x):
    return sum(a**2 for a in x) / 2


def _affine(build: Callable) -> Callable:
    """The same problem with an affine map, which holds the exact flow."""

    def built():
        row = build()
        return replace(row, map=AffineMap(row.dim))

    return built


_FLOWS_OF_AFFINE_MAPS = {
    "ornstein_uhlenbeck_2": lambda: _ornstein_uhlenbeck(2),
    "ornstein_uhlenbeck_10": lambda: _ornstein_uhlenbeck(10),
    "quadratic_1e4": _stiff_quadratic,
    "barenblatt_m2_d2": lambda: _barenblatt(2, 2),
    "barenblatt_m2_d15": lambda: _barenblatt(2, 15, NeuralFlow(15, 8, 1)),
    "barenblatt_m3_d5": lambda: _barenblatt(3, 5),
    "mckean_vlasov_20": _mckean_vlasov,
}

#: Functions that build a row, by its name; `exact_problem` calls them once.
EXACT_PROBLEMS: dict[str, Callable[[], ExactProblem]] = {
    **_FLOWS_OF_AFFINE_MAPS,
    "double_well": lambda: _separable(
        "(x0^2 - 1)^2 + x1^2/2 + log rho, from N(0, 0.49 I)",
        [_double, _trap], [(-4, 4), (-7, 7)], 0.7, 1, -4.0,
    ),
    "triple_well": lambda: _separable(
        "x0^2 (x0^2 - 4)^2/8 + x1^2/2 + log rho, from N(0, I)",
        [_triple, _trap], [(-6, 6), (-8, 8)], 1.0, 1, -5.6,
    ),
    "quartic": lambda: _separable(
        "(x0^4 + x1^4)/4 + log rho, from N(0, I)", [_quartic] * 2, [(-8, 8)] * 2, 1.0, 1, 0.0
    ),
    "quartic_potential": lambda: _deterministic(
        "(x0^4 + x1^4)/4, from N(0, I)", _quartic, 2, lambda z, t: z / np.sqrt(1 + 2 * t * z**2)
    ),
    "deep_well": lambda: _separable(
        "(x^2 - 2)^2 + log rho on the line, from N(0, 1)", [_deep], [(-6, 6)], 1.0, 5, -8.0
    ),
    "sixth_order": lambda: _deterministic(
        "(x - 4)^6/6 on the line, from N(0, 1)", _sixth, 1, _sixth_potential
    ),
    "sixth_order_entropy": lambda: _separable(
        "(x - 4)^6/6 + log rho on the line, from N(0, 1)", [_sixth], [(-7, 9)], 1.0, 1, 0.0
    ),
    "aggregation": _aggregation,
    "gaussian_mixture": _mixture,
    "banana": _banana,
    "banana_10": lambda: _banana(8),
    "styblinski_tang_10": lambda: _styblinski_tang_row(10, 1, NeuralFlow(10, 64, 2)),
    "styblinski_tang_30": lambda: _styblinski_tang_row(30, 0.5, NeuralFlow(30, 32, 1)),
    **{f"{name}_affine": _affine(build) for name, build in _FLOWS_OF_AFFINE_MAPS.items()},
}  # fmt: skip
