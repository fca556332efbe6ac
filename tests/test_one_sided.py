"""One-sided moduli of polynomials against minima on a grid, and the bound that they give."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pwgf_sym as pw
from pwgf_sym.derive.one_sided import one_sided
from pwgf_sym.derive.structure import energy_structure
from pwgf_sym.solver.bounds import contracted, locally_contracted

X = pw.coordinates(2)
RHO = pw.Density(X)


def moduli(potential):
    energy = pw.integral(potential * RHO + RHO * sp.log(RHO), X)
    return one_sided(energy_structure(energy, RHO))


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
        (X[0] ** 2 * X[1] ** 2, "one coordinate"),
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
    damped = gap[:, None] ** 2 / (2 * (modulus + rates))
    for start in (0.0, 0.2):
        wanted = contracted(modulus, start, gap, 1 - since, steps, 1.0)
        found = locally_contracted(start**2, damped, rates, steps)
        assert wanted * 0.999 < found < 1.05 * wanted
