"""Least curvature: closed forms, and never above the least eigenvalue at any point."""

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.optimize import minimize_scalar

import pwgf_sym as pw
from pwgf_sym.derive.calculus import RHO
from pwgf_sym.derive.convexity import convexity, displacement_convex, gradient_bound
from pwgf_sym.derive.curvature import curvature
from pwgf_sym.derive.intervals import bounds
from pwgf_sym.derive.least_values import lower_bound
from pwgf_sym.derive.structure import energy_structure

X = pw.coordinates(2)
A, B = X
Y = pw.copy_of(X)
RHO_X = pw.Density(X)
GAP = sum((a - b) ** 2 for a, b in zip(X, Y))
R2 = A**2 + B**2
CENTRES = [(1, 0), (-1, 2), (0, -3)]


def mixture(*centres):
    return -sp.log(sum(sp.exp(-((A - p) ** 2 + (B - q) ** 2) / 2) for p, q in centres))


def least_eigenvalue(potential, spread=3.0, count=20000):
    """At many points: what no bound may lie above."""
    hessian = sp.lambdify(X, sp.hessian(potential, X), "numpy")
    points = np.concatenate(
        [spread * np.random.default_rng(0).normal(size=(count, 2)), np.zeros((1, 2))]
    )
    found = np.array([hessian(*p) for p in points[:400]], float).reshape(-1, 2, 2)
    return np.linalg.eigvalsh(found)[:, 0].min()


PROVEN = [
    # potential, lambda in closed form
    ((A**2 - 1) ** 2 + B**2 / 2, -4.0),
    (A**2 + A * B + B**2, 1.0),
    (A**4 / 4 + B**4 / 4 + A * B, -1.0),
    ((R2 - 1) ** 2, -4.0),
    (sp.sqrt(R2 + 1), 0.0),
    (sp.sqrt(R2), 0.0),
    (sp.Abs(A - B) + R2, 2.0),
    (sp.log(1 + sp.exp(2 * A - B)) + R2 / 10, 0.2),
    (sp.cos(A - B), -2.0),
    (sp.exp(-R2), -2.0),
    (sp.Rational(3, 50) * (A**4 - 16 * A**2 + 5 * A) + B**2, -1.92),
    ((A - 4) ** 6 / 6 + B**2, 0.0),
    (sp.log(1 + R2), -0.25),  # 2 (1 - s)/(1 + s)^2 at s = 3
    (mixture((2, 0), (-2, 0)), -3.0),  # 1 - 4^2/4
    (mixture((1, 1)) + A**4, 1.0),
    ((A - B) ** 4 + A**4 - 16 * A**2, -32.0),
    ((A + 2 * B - 1) ** 2 + sp.exp(A), 0.0),
    (-sp.cosh(A) + sp.cosh(A) + 3 * A * B, -3.0),
    (sp.cosh(sp.sqrt(R2)), 1.0),  # of a root that is 0 at a place, and smooth
    (R2 ** sp.Rational(3, 4), 0.0),
]


@pytest.mark.parametrize(("potential", "value"), PROVEN, ids=lambda v: str(v)[:40])
def test_proven_moduli(potential, value):
    found, status, reason = curvature(potential, X)
    assert status == "proven" and reason
    assert value - 1e-3 <= found <= value + 1e-12


@pytest.mark.parametrize(
    "potential",
    [
        mixture(*CENTRES),
        ((A - 1) ** 2 + 2 * (B + 1) ** 2 + (A - 1) * (B + 1) / 2 - 1) ** 2,
        3 * sp.sin(2 * A) + sp.exp(-((A + B) ** 2)) + R2,
        sp.log(sp.exp(A) + sp.exp(B - A) + 3) - R2 / 3,
        sp.atan(A) * 5 + B**4,
        A**4 + A**2 * B**2 + B**4,  # a search
        sp.asin(sp.tanh(A) / 2),  # does not come to the end of asin
    ],
    ids=str,
)
def test_no_modulus_lies_above_any_eigenvalue(potential):
    found, _, _ = curvature(potential, X)
    least = least_eigenvalue(potential)
    assert found <= least + 1e-9
    assert found > least - 3 * (1 + abs(least))


@pytest.mark.parametrize(
    "potential",
    [A**2 * B**2, 10 * (B - A**2) ** 2 + A**2, -(A**4), R2 - sp.Abs(A), A * sp.exp(B), -R2 * A],
    ids=str,
)
def test_what_is_not_semiconvex_has_no_modulus(potential):
    value, status, reason = curvature(potential, X)
    assert np.isnan(value) and status == "none" and reason


# V, and a place and a direction where its slope falls at once.
R = sp.sqrt(R2)
KINKS = [
    (sp.acos(sp.cos(A)) ** 2, (np.pi, 0), (1, 0)),
    (sp.atan2(sp.sin(A - 1), sp.cos(A - 1)) ** 2 / 2 + B**2, (np.pi + 1, 0), (1, 0)),
    (sp.atan(sp.tan(A / 2)) ** 2, (np.pi, 0), (1, 0)),
    (sp.asin(sp.sin(A - B)), (np.pi / 2, 0), (1, -1)),
    (-sp.acosh(sp.cosh(B)), (0, 0), (0, 1)),
    (sp.atan(1 / A) ** 2, (0, 0), (1, 0)),
    (-sp.sqrt(A**4 + A**2) + R2, (0, 0), (1, 0)),
    (-sp.sqrt(1 - sp.cos(A)), (0, 0), (1, 0)),
    (-R, (0, 0), (1, 2)),
    (R2 - R / 10, (0, 0), (1, 2)),
    (sp.exp(-R), (0, 0), (1, 2)),
    (-sp.sqrt(R), (0, 0), (1, 2)),
    (R2 - sp.exp(-R2) - sp.sin(R), (0, 0), (1, 2)),
]


@pytest.mark.parametrize(("potential", "place", "direction"), KINKS, ids=lambda v: str(v)[:40])
def test_a_slope_that_falls_at_a_place_has_no_modulus(potential, place, direction):
    at = sp.lambdify(X, potential, "numpy")
    place, move = np.array(place) + 1e-13, np.array(direction) / np.hypot(*direction)
    second = [
        (at(*(place + h * move)) + at(*(place - h * move)) - 2 * at(*place)) / h**2
        for h in (1e-2, 1e-4)
    ]
    assert second[1] < 50 * second[0] < 0  # like 1/h: no bound from below
    value, status, reason = curvature(potential, X)
    assert np.isnan(value) and status == "none" and "may jump" in reason


def test_searches_are_called_conditional():
    assert curvature(A**4 + A**2 * B**2 + B**4, X)[1] == "conditional"


def test_chains_of_many_coordinates():
    x = pw.coordinates(30)
    potential = sum((b - a) ** 2 / 2 for a, b in zip(x, x[1:])) + sum((1 - s**2) ** 2 for s in x)
    # the chain's matrix has the eigenvalue 0, and the wells -4
    assert curvature(potential, x)[0] == pytest.approx(-4.0, abs=1e-9)


# Energies.


def modulus(energy, values=None):
    return convexity(energy_structure(energy, RHO_X).with_values(values or {}))


def pairs(kernel):
    return pw.integral(kernel * RHO_X * RHO_X.at(Y) / 2, X, Y)


ENTROPY = pw.integral(RHO_X * sp.log(RHO_X), X)


@pytest.mark.parametrize(
    ("energy", "value"),
    [
        (pw.integral((A**2 / 2 + B**2) * RHO_X, X) + ENTROPY, 1.0),
        (pairs(GAP**2 / 4 - GAP / 2), -1.0),
        (pairs(3 * GAP) + pw.integral(A**2 / 2 * RHO_X + B**2 * RHO_X, X), 1.0),
        (pairs(sp.exp(-GAP)) + pw.integral(R2 * RHO_X, X), 0.0),
        (pairs(-sp.cos(A - Y[0])) + ENTROPY, -1.0),
        (pw.integral(RHO_X**2, X), 0.0),
        (-pw.integral(sp.sqrt(RHO_X), X), 0.0),
        # (E x)^2: W(x, y) = 2 x y has the eigenvalue -2
        (pw.integral(A * Y[0] * RHO_X * RHO_X.at(Y), X, Y), -2.0),
    ],
    ids=lambda v: str(v)[:40],
)
def test_energies(energy, value):
    found = modulus(energy)
    assert found.status == "proven" and found.value == pytest.approx(value, abs=1e-9)
    assert f"lambda = {found.value:.6g}" in found.reason


@pytest.mark.parametrize(
    "energy",
    [-ENTROPY, -pw.integral(RHO_X**2, X), ENTROPY**2, pairs(-(GAP**2)) + ENTROPY],
    ids=str,
)
def test_energies_without_a_modulus(energy):
    found = modulus(energy)
    assert not found.holds and np.isnan(found.value) and found.reason


def test_parameters_have_values():
    k = sp.Symbol("k", real=True)
    energy = pw.integral(k * A**2 / 2 * RHO_X + B**2 * RHO_X, X) + ENTROPY
    assert modulus(energy, {k: 0.5}).value == 0.5
    assert modulus(energy, {k: -0.5}).value == -0.5


@pytest.mark.parametrize(
    ("power", "sign", "dim", "convex"),
    [(2, 1, 1, True), (2, -1, 1, False), (sp.Rational(1, 2), -1, 2, True)]
    + [(sp.Rational(1, 2), -1, 3, False), (sp.Rational(1, 2), 1, 1, False), (1, -1, 4, True)],
)
def test_mccanns_condition(power, sign, dim, convex):
    assert displacement_convex(sign * RHO**power, dim).holds == convex


def test_mccanns_condition_by_search():
    found = displacement_convex(RHO * sp.log(1 + RHO), 1)
    assert found.status == "conditional" and found.value == 0
    # rho^2 outweighs what is not convex nowhere: at large densities -rho^3 wins
    assert not displacement_convex(RHO**2 - RHO**3, 1).holds


@pytest.mark.parametrize(
    ("kernel", "value"),
    [
        (sp.exp(-GAP), np.sqrt(2 / np.e)),
        (2 * sp.sqrt(GAP + 1), 2.0),
        (-sp.cos(A - Y[0]) + sp.sin(B - Y[1]) * 0, 1.0),
        (sp.log(1 + GAP), 1.0),
    ],
    ids=str,
)
def test_bounds_of_slopes(kernel, value):
    structure = energy_structure(pairs(kernel), RHO_X).with_values({})
    found = gradient_bound(structure)
    assert found.status == "proven" and value - 1e-9 <= found.value <= 1.01 * value


def test_unbounded_slopes_are_seen():
    structure = energy_structure(pairs(GAP**2), RHO_X).with_values({})
    assert not gradient_bound(structure).holds
    assert gradient_bound(energy_structure(ENTROPY, RHO_X)).value == 0


# Interval arithmetic.

U = sp.Symbol("u", real=True)
FORMULAS = [
    U**3 - 2 * U,
    sp.exp(-(U**2)) * sp.cos(3 * U),
    sp.tanh(U) / (1 + U**2),
    sp.log(1 + sp.exp(U)) - U,
    sp.sqrt(1 + U**2) * sp.sin(U),
    sp.Abs(U - 1) ** 3 + sp.atan(U),
    sp.Max(U, 1 - U) - sp.cosh(U / 3),
    1 / (2 + sp.sin(U)) + U**-2,
]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_intervals_hold_all_values(formula):
    rng = np.random.default_rng(0)
    low = rng.uniform(-5, 5, 200)
    high = low + rng.exponential(0.5, 200)
    a, b = bounds(formula, {U: (low, high)})
    function = sp.lambdify(U, formula, "mpmath")
    for i in range(0, 200, 4):
        for part in (0.0, 0.37, 1.0):
            value = function(mpmath.mpf(low[i]) + part * (mpmath.mpf(high[i]) - mpmath.mpf(low[i])))
            assert a[i] <= value <= b[i]


@pytest.mark.parametrize("formula", FORMULAS[:3], ids=str)
def test_least_values_over_half_lines(formula):
    function = sp.lambdify(U, formula, "numpy")
    grid = np.linspace(0, 50, 20001)
    near = grid[np.argmin(function(grid))]
    least = minimize_scalar(function, bounds=(max(near - 0.1, 0), near + 0.1), method="bounded").fun
    found = lower_bound(formula, U, sp.S.Zero)
    assert found <= min(least, function(grid).min()) + 1e-12
    assert found >= least - 1e-3 * (1 + abs(least))


def test_least_values_over_the_line_are_proven_by_sturms_theorem():
    poly = sp.Poly(U**6 - 3 * U**4 + U, U)
    roots = list(map(float, poly.diff().real_roots()))
    least = min(float(poly.eval(sp.Rational(r))) for r in roots)
    assert least - 1e-8 <= lower_bound(poly.as_expr(), U) <= least
    assert lower_bound(U**3, U) == -np.inf and lower_bound(U**3, U, sp.S.Zero) == 0
