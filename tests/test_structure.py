"""What an energy is made of: the same parts whatever the spelling."""

import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.derive.calculus import RHO
from pwgf_sym.derive.structure import energy_structure

X = pw.coordinates(2)
Y = pw.copy_of(X)
RHO_X = pw.Density(X)
PAIR = RHO_X * RHO_X.at(Y)
WELL = (X[0] ** 2 - 1) ** 2 + X[1] ** 2 / 2
GAP = sum((a - b) ** 2 for a, b in zip(X, Y))
A, B = sp.symbols("a b", positive=True)


def of(energy):
    return energy_structure(energy, RHO_X)


@pytest.mark.parametrize(
    "integrand",
    [
        WELL * RHO_X + RHO_X * sp.log(RHO_X) / B,
        (WELL + sp.log(RHO_X) / B) * RHO_X,
        sp.expand(WELL * RHO_X) + RHO_X * sp.log(RHO_X) / B,
        RHO_X * sp.log(RHO_X * sp.exp(B * WELL)) / B,
        RHO_X * sp.log(RHO_X / (sp.exp(-B * WELL) / (2 * sp.pi))) / B,
        RHO_X * sp.log(RHO_X**2) / (2 * B) + WELL * (RHO_X + 1),
        RHO_X * (2 * B * WELL + 2 * sp.log(RHO_X)) / (2 * B),
    ],
    ids=str,
)
@pytest.mark.parametrize("factor", [1, A])
def test_a_potential_and_an_entropy(integrand, factor):
    found = of(factor * pw.integral(integrand, X))
    assert found.is_fokker_planck and not found.interactions
    assert sp.simplify(found.sigma - factor / B) == 0
    for i in range(2):  # up to a constant
        assert sp.simplify(sp.diff(found.potential - factor * WELL, X[i])) == 0


def test_integrals_add_up():
    energy = 3 * pw.integral(WELL * RHO_X, X) + A * pw.integral(RHO_X * sp.log(RHO_X), X)
    energy += pw.integral(X[0] * RHO_X, X) + pw.integral(RHO_X * sp.log(RHO_X), X)
    found = of(energy)
    assert sp.expand(found.potential - 3 * WELL - X[0]) == 0
    assert sp.expand(found.sigma - A - 1) == 0


def test_interactions_are_symmetric_and_functions_of_the_difference():
    found = of(pw.integral(sp.exp(-GAP) * PAIR / 2, X, Y))
    (w,) = found.interactions
    assert w.by_difference == sp.exp(-(X[0] ** 2) - X[1] ** 2)
    (w,) = of(B * pw.integral((X[0] * Y[0] + X[1]) * PAIR, X, Y)).interactions
    assert w.by_difference is None
    assert sp.expand(w.kernel - B * (2 * X[0] * Y[0] + X[1] + Y[1])) == 0
    # multiplied out, it is still one of the difference
    (w,) = of(pw.integral(sp.expand(GAP**2) * PAIR / 2, X, Y)).interactions
    assert sp.expand(w.by_difference - (X[0] ** 2 + X[1] ** 2) ** 2) == 0


def test_internal_energies():
    m = sp.Symbol("m", positive=True)
    found = of(pw.integral(RHO_X**m / (m - 1) + WELL * RHO_X, X))
    assert sp.simplify(found.internal - RHO**m / (m - 1)) == 0
    assert found.sigma == 0 and not found.is_fokker_planck and not found.other
    found = of(pw.integral((RHO_X - 1) ** 2, X))  # -2 rho moves nothing
    assert found.internal == RHO**2 and not sp.sympify(found.potential).free_symbols


@pytest.mark.parametrize(
    ("energy", "reason"),
    [
        (pw.integral(WELL * RHO_X, X) ** 2, "no linear function"),
        (sp.sqrt(pw.integral(WELL * RHO_X, X)) + pw.integral(RHO_X**2, X), "no linear function"),
        (pw.integral(X[0] ** 2 * RHO_X**2, X), "depends on x"),
        (pw.integral(sp.exp(X[0]) * RHO_X * sp.log(RHO_X), X), "depends on x"),
    ],
)
def test_what_is_no_such_sum_is_said(energy, reason):
    assert reason in of(energy).other and not of(energy).is_fokker_planck


def test_values_of_parameters():
    found = of(pw.integral(A * X[0] ** 2 * RHO_X + B * RHO_X * sp.log(RHO_X), X))
    found = found.with_values({A: 0.1, B: 0.25})
    assert found.sigma == sp.Rational(1, 4) and not found.parameters
    assert found.potential == sp.Rational(0.1) * X[0] ** 2
