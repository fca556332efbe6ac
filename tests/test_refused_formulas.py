"""Formulas beyond the limits, without a value, or that cannot be stored, are refused at once."""

import math
import time

import numpy as np
import pytest
import sympy as sp
from refusals import ENERGY, FLOW, LAW, RHO, X, Y, solve

import pwgf_sym as pw
from pwgf_sym.declare.formula_checks import expanded_terms
from pwgf_sym.errors import (
    EnergyError,
    FlowError,
    FormulaError,
)
from pwgf_sym.targets.values import real_function


def nested(function, depth, start=X[0]):
    for _ in range(depth):
        start = function(start)
    return start


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (lambda: X[0] ** (3 * 10**8), "exponent 300000000"),
        (lambda: (X[0] - X[1]) ** -123456, "exponent -123456"),
        (lambda: X[0] ** sp.Float("1e300"), "exponent"),
        (lambda: sp.Integer(3) ** 900 * X[0], "larger than 1.8e308"),
        (lambda: sp.Float("2e-320") * X[0], "smaller than 2.2e-308"),
        (lambda: X[0] + sp.exp(sp.Integer(750)), "larger than 1.8e308"),
        (lambda: nested(sp.sin, 170), "more than 150 nested parts"),
        (lambda: nested(lambda e: sp.exp(-e), 100), "more than 150 nested parts"),
        (lambda: sp.Sum(X[0], (sp.Symbol("k"), 1, 10**7)), "of 10000000 terms"),
        (lambda: sp.Matrix([X[0], X[1]]), "matrix of shape"),
        (lambda: sp.MatrixSymbol("M", 3, 3)[1, 2] * X[0], "outside of a sum over its array"),
        (lambda: sp.Tuple(X[0]), "a SymPy expression"),
        (lambda: X[0] > X[1], "Write sp.Piecewise"),
        (lambda: sp.false, "Write sp.Piecewise"),
        (lambda: "x[0]**2 + 1", "Texts are not evaluated"),
        (lambda: np.array([X[0], X[1]]), "a SymPy expression"),
        (lambda: sp.Symbol("A", commutative=False), "a SymPy expression"),
    ],
)
def test_formulas_beyond_the_limits_are_refused(formula, message):
    formula = formula()
    start = time.process_time()
    with pytest.raises(EnergyError, match=message):
        pw.integral(formula, X)
    assert time.process_time() - start < 2


def test_formulas_of_many_parts_are_refused(monkeypatch):
    monkeypatch.setattr("pwgf_sym.declare.formula_checks.MOST_PARTS", 400)
    pw.integral(sp.Add(*(sp.sin(k * X[0]) for k in range(90))), X)
    with pytest.raises(EnergyError, match="at most 400 different parts"):
        pw.integral(sp.Add(*(sp.sin(k * X[0]) for k in range(200))), X)


def test_formulas_that_double_at_every_step_are_refused():
    doubled = nested(lambda e: (e + 1) * (e / 3 + 2), 24)
    with pytest.raises(EnergyError, match="a formula of too many parts"):
        pw.integral(doubled * RHO, X)


def test_formulas_within_the_limits_are_accepted():
    square = sp.Matrix(X).T * sp.Matrix(X)
    assert pw.integral(square * RHO, X) == pw.integral((X[0] ** 2 + X[1] ** 2) * RHO, X)
    assert pw.integral(sp.ImmutableMatrix([[X[0] * RHO]]), X).integrand == X[0] * RHO
    ratio = sp.Rational(7 * 10**500 + 1, 3 * 10**500)
    assert pw.integral(ratio * X[0], X).integrand == ratio * X[0]
    pw.integral(nested(sp.sin, 100) * RHO + (X[0] + 1) ** 10_000, X)


def test_powers_of_sums_are_not_multiplied_out():
    """A bound from above, by the multinomial theorem, without expanding."""
    a, b, c = sp.symbols("a b c")
    for expr in ((a + b) ** 5 * (a - c), (a + b + c) ** 7, a * (b + (a + c) ** 3) ** 2, a**9):
        terms = len(sp.Add.make_args(sp.expand(expr)))
        assert terms <= expanded_terms(expr) <= 3 * terms
    assert expanded_terms((a + b + 1) ** 1000) == 10_000
    start = time.process_time()
    kernel = (X[0] - 2 * Y[0] + 1) ** 900 + (X[1] - Y[1] + 3) ** 700
    pw.first_variation(pw.integral(kernel * RHO * RHO.at(Y), X, Y), RHO)
    assert time.process_time() - start < 5


ASSUMED = ["positive", "negative", "nonnegative", "nonzero", "integer", "rational", "even"]


@pytest.mark.parametrize("assumption", ASSUMED)
def test_coordinates_with_assumptions_are_refused(assumption):
    symbols = (X[0], sp.Symbol("w", real=True, **{assumption: True}))
    for call in (pw.Density, pw.copy_of, lambda s: pw.integral(1, s)):
        with pytest.raises(EnergyError, match=r"Write sp.Symbol\('w', real=True\)"):
            call(symbols)


def test_real_symbols_of_ones_own_are_coordinates():
    u, v = sp.symbols("u v", real=True)
    assert pw.Density([u, v]).coordinates == (u, v)
    assert pw.Density((sp.Symbol("u", real=True, finite=True), v)).coordinates == (u, v)


S = sp.Symbol("s")


@pytest.mark.parametrize(
    "outer",
    [
        *(sp.Si, sp.fresnelc, sp.zeta, sp.airyai, sp.elliptic_k, sp.Chi, sp.erfi, sp.floor),
        *(lambda e: sp.Integral(sp.exp(-e * S), (S, 0, 2)), lambda e: sp.Heaviside(e - 2)),
        *(lambda e: sp.Product(e, (S, 0, 5)), lambda e: sp.Derivative(e**3, e), sp.Function("g")),
        *(lambda e: sp.I * e, lambda e: e + sp.oo, lambda e: sp.Mod(e, 3), sp.DiracDelta),
    ],
)
def test_functions_of_integrals_without_a_value_are_refused(outer, soon):
    with pytest.raises((EnergyError, FormulaError)):
        pw.compile(pw.GradientFlow(outer(ENERGY), RHO, LAW), FLOW)


def test_values_of_formulas_are_numbers_or_nan():
    a, b = sp.symbols("sqrt b")  # a symbol may have the name of a function
    assert real_function([a, b], sp.sqrt(a) * b)(4.0, 3.0) == 6.0
    for formula in (
        sp.sqrt(-a),
        sp.log(-a),
        1 / (a - 4),
        sp.exp(900 * a),
        (-a) ** sp.Rational(1, 3),
    ):
        assert math.isnan(real_function([a], formula)(4.0))
    for formula in (sp.Ei(a), sp.besselk(1, a), sp.Derivative(sp.floor(a), a)):
        with pytest.raises(FormulaError):
            real_function([a], formula)


@pytest.mark.parametrize(
    ("outer", "value"),
    [(sp.sqrt, np.sqrt), (sp.log, np.log), (lambda e: e ** sp.Rational(2, 5), lambda e: e**0.4)],
)
def test_roots_of_moments_have_values(outer, value):
    """Of I = int int |x - y|^2 rho rho, whose kernel is summed by moments: the chain rule."""
    distance = (X[0] - Y[0]) ** 2 + (X[1] - Y[1]) ** 2
    pair = pw.integral(distance * RHO * RHO.at(Y), X, Y)
    solutions = [
        solve(pw.GradientFlow(e, RHO, LAW), samples=64, linear_solver="dense", shift=0)
        for e in (pair, outer(pair))
    ]
    plain, curved = (s.energy[0] for s in solutions)
    assert curved == pytest.approx(value(plain), rel=1e-12)
    step = 1e-6 * plain
    slope = (value(plain + step) - value(plain - step)) / (2 * step)
    rates = [s.dissipation[0] for s in solutions]
    assert rates[1] == pytest.approx(slope**2 * rates[0], rel=1e-6)


def test_an_energy_without_a_value_is_named():
    for outer in (lambda e: sp.sqrt(e - 50), lambda e: sp.acos(e), lambda e: sp.log(-e)):
        with pytest.raises(FlowError, match="the energy has no finite real value"):
            solve(pw.GradientFlow(outer(ENERGY), RHO, LAW))


def test_formulas_that_cannot_be_stored_are_refused_before_a_run(nothing_compiles):
    unknown = type("unknown", (sp.Function,), {})
    problem = pw.GradientFlow(pw.integral(unknown(X[0]) * RHO, X), RHO, LAW)
    with pytest.raises(FormulaError, match="unknown"):
        solve(problem)
