"""One-sided moduli of polynomials against minima on a grid, and the bound that they give."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pwgf_sym as pw
from pwgf_sym.derive.one_sided import OneSided, one_sided
from pwgf_sym.derive.separation import separation
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.solver.bounds import contracted, locally_contracted

X = pw.coordinates(2)
RHO = pw.Density(X)


def moduli(potential):
    energy = pw.integral(potential * RHO + RHO * sp.log(RHO), X)
    found = one_sided(energy_structure(energy, RHO))
    return found if isinstance(found, str) else found.moduli


def least_on_a_grid(slope, y):
    """min over x of (V'(x) - V'(y))/(x - y), from above."""
    x = np.linspace(-30, 30, 60_002)
    return ((slope(x) - slope(y)) / (x - y)).min()


def test_a_quartic():
    first, second = moduli(X[0] ** 4 / 4 + 3 * X[1] ** 2 / 2)
    y = np.linspace(-5, 5, 41)
    found = first(y)
    np.testing.assert_allclose(found, 0.75 * y**2, atol=1e-13)
    np.testing.assert_array_equal(second(y), 3.0)
    assert first.least == 0 and second.least == 3


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=7).filter(lambda c: len(c) % 2),
    st.integers(1, 3),
)
@example([0, 0, -2, 0, -4, 1, -3], 2)
def test_random_wells_from_below(lower, top):
    """Anywhere, also beyond the table; and within what the truth changes by in a cell of it."""
    slopes = [*lower, top]  # of V', an odd degree
    q = X[0]
    potential = sum(sp.Rational(c, k + 1) * q ** (k + 1) for k, c in enumerate(slopes))
    well, free = moduli(potential + 0 * X[1])
    slope = np.polynomial.Polynomial(slopes)
    cell = 0.0 if len(slopes) <= 4 else 2 * well._table[0] / well._table[1].size
    for y in (-25.3, -3.1, -0.77, 0.0123, 1.9, 14.2):
        true = least_on_a_grid(slope, y)
        assert well(np.array(y)) <= true + 1e-9 * (1 + abs(true))
        assert well.least <= true + 1e-9 * (1 + abs(true))
        if abs(y) < 2:
            around = [least_on_a_grid(slope, y + side * cell) for side in (-1, 0, 1)]
            below = 2 * (max(around) - min(around)) + 1e-3 * (1 + abs(true))
            assert well(np.array(y)) > true - below
    assert free(np.array(1.0)) == free.least == 0


def test_potentials_without_one():
    for potential, why in (
        (X[0] ** 2 * X[1] ** 2, "orthogonal directions"),
        (sp.cos(X[0]), "polynomial"),
        (-(X[0] ** 4), "confine x0"),
        (X[1] ** 3, "confine x1"),
    ):
        assert why in moduli(potential)
    y = pw.copy_of(X)
    pair = pw.integral((X[0] - y[0]) ** 2 * RHO * RHO.at(y), X, y)
    assert "int V rho" in one_sided(energy_structure(pair, RHO))


@pytest.mark.parametrize("modulus", [-1.5, 0.0, 2.0])
def test_a_constant_modulus_gives_the_bound_of_convexity(modulus):
    """It takes rates of a grid, and so is a little larger, never smaller."""
    steps = np.full(400, 1 / 400)
    since = np.cumsum(steps) - steps / 2
    gap = 0.3 * np.exp(-since)
    rates = np.geomspace(1e-2, 1e4, 25) - modulus
    damped = gap[:, None, None] ** 2 / (2 * (modulus + rates))
    for start in (0.0, 0.2):
        wanted = contracted(modulus, start, gap, 1 - since, steps, 1.0)
        found = locally_contracted([start**2], damped, rates[None], steps)[-1, 0]
        assert wanted * 0.999 < found < 1.05 * wanted


# Near particles, and directions that are no coordinates.


@pytest.mark.parametrize(
    "slopes",
    [(0, 0, 0, 1), (0.3, -4, 1.5, 4), (0, 0, -2, 0, -4, 1, -3, 2), (0, 16, 0, -16, 0, 3)],
)
def test_what_a_gap_adds_to_the_distance_by_maxima_on_a_grid(slopes):
    """-2 (V'(x) - V'(y))(x - y) + 2 |g (x - y)| - 2 a (x - y)^2 is at most g^2/(2 (c + a))."""
    modulus, slope = OneSided(slopes), np.polynomial.Polynomial(slopes)
    x = np.linspace(-40, 40, 100_001)
    gained = []
    for y in np.random.default_rng(0).uniform(-4, 4, 40):
        apart, far, near = x - y, float(modulus(y)), float(modulus.near(y))
        gained.append((near - far) / (slope.deriv()(y) - far + 1e-9))
        for a in -modulus.least + np.array([0.01, 1.0, 30.0]):
            for g in (1e-3, 0.1, 3.0):
                known = near if g <= (far + a) * modulus.radius(y) else far
                true = -2 * (slope(x) - slope(y)) * apart + 2 * g * np.abs(apart)
                true = (true - 2 * a * apart**2).max()
                assert true <= g**2 / (2 * (known + a)) * (1 + 1e-9)
    assert np.median(gained) > 0.3  # of what the second derivative would bring


def turned(dim, seed=0):
    """An orthogonal matrix as formulas: directions as rows."""
    frame = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    x = pw.coordinates(dim)
    return frame, x, [sum(sp.Float(q) * s for q, s in zip(row, x)) for row in frame]


def test_directions_of_a_quadratic_are_eigenvectors():
    frame, x, y = turned(5)
    sizes = [0.1, 1, 1, 30, 1e4]
    found = separation(sum(c * q**2 / 2 for c, q in zip(sizes, y)) + 3 * y[0], x)
    np.testing.assert_allclose([s[1] for s in found.slopes], sizes, rtol=1e-9)
    matrix = found.frame.T @ np.diag([s[1] for s in found.slopes]) @ found.frame
    np.testing.assert_allclose(matrix, frame.T @ np.diag(sizes) @ frame, atol=1e-10)
    linear = found.frame.T @ [s[0] for s in found.slopes]
    np.testing.assert_allclose(linear, 3 * frame[0], atol=1e-12)


def test_directions_of_a_sum_of_wells():
    frame, x, y = turned(3)
    potential = (y[0] ** 2 - 1) ** 2 + y[1] ** 6 + y[2] ** 2 / 2
    found = separation(sp.expand(potential), x)
    wanted = [(0, -4, 0, 4), (0, 0, 0, 0, 0, 6), (0, 1)]
    for row, slopes in zip(frame, wanted):
        k = int(np.argmax(np.abs(found.frame @ row)))
        np.testing.assert_allclose(np.abs(found.frame[k] @ row), 1, rtol=1e-10)
        np.testing.assert_allclose(found.slopes[k], slopes, atol=1e-9)
    # A coupling that is small, but not rounding, is no sum.
    assert "orthogonal" in separation(potential + 1e-6 * x[0] ** 2 * x[1] ** 2, x)
    assert "orthogonal" in separation(y[0] ** 4 + (y[0] + y[1]) ** 4, x)


def test_a_sum_over_coordinates_keeps_them():
    found = separation(X[0] ** 4 + X[1] ** 2, X)
    np.testing.assert_array_equal(found.frame, np.eye(2))
    assert found.slopes == ((0, 0, 0, 4), (0, 2))


def test_a_bound_at_the_start_has_no_gap_in_it():
    potential = (X[0] ** 4 + X[1] ** 4) / 4
    flow = pw.GradientFlow(
        pw.integral(potential * RHO + RHO * sp.log(RHO), X), RHO, pw.Gaussian([0.0, 0.0], 1.0)
    )
    run = pw.solve(flow, pw.Affine(2), (0, 0.05), target="numpy", samples=64, tol=0.1)
    assert [float(run.error_bound(0.0, d, evaluations=1)) for d in ("KL", "TV", "W1", "W2")] == [
        0
    ] * 4
