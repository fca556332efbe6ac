"""Sigmoid, log1p and expm1 recognized in formulas: values against mpmath, shared derivatives."""

import mpmath
import numpy as np
import pytest
import sympy as sp

from pwgf_sym.lower import ir
from pwgf_sym.lower.differentiate import vjp
from pwgf_sym.lower.formulas import Formulas
from pwgf_sym.lower.simplify import is_function, share_functions
from pwgf_sym.lower.stable import expm1, log1p, sigmoid, stable

x, y = sp.symbols("x y", real=True)
LOGISTIC = 1 / (1 + sp.exp(-x))
CASES = {
    LOGISTIC: sigmoid(x),
    3 / (2 + 2 * sp.exp(-x * y)): sp.Rational(3, 2) * sigmoid(x * y),
    1 / (1 + sp.exp(x)): sigmoid(-x),
    x / (1 + sp.exp(-x)): x * sigmoid(x),
    sp.exp(x) / (1 + sp.exp(x)): sigmoid(x),
    LOGISTIC.diff(x): sigmoid(x) * sigmoid(-x),
    LOGISTIC.diff(x, 2): sigmoid(x) * sigmoid(-x) * (2 * sigmoid(-x) - 1),
    (1 + sp.exp(2 * x)) ** sp.Rational(-1, 2): sp.sqrt(sigmoid(-2 * x)),
    sp.log(1 + sp.exp(x)): log1p(sp.exp(x)),
    sp.log(1 + sp.exp(x)).diff(x): sigmoid(x),
    sp.log(1 + x**2 + y): log1p(x**2 + y),
    sp.exp(x * y) - 1: expm1(x * y),
    2 - 2 * sp.exp(x) + y: y - 2 * expm1(x),
    sp.Piecewise((sp.exp(x) - 1, x < 0), (x, True)): sp.Piecewise((expm1(x), x < 0), (x, True)),
}
UNCHANGED = [
    *(sp.log(x), sp.log(2 + x), sp.exp(x) - 2, sp.exp(x) - y, 1 + sp.exp(x)),
    *((1 + sp.exp(x)) ** 2, 1 / (2 + sp.exp(x)), 1 / (1 - sp.exp(x)) - 1, 1 / (x + sp.exp(x))),
    *(sp.tanh(x), sp.exp(x) * sigmoid(x), 1 / (1 + sp.exp(1)) + x),
]


@pytest.mark.parametrize("formula", list(CASES), ids=str)
def test_recognized(formula):
    assert sp.simplify(stable(formula) - CASES[formula]) == 0
    assert not any(base.has(sp.exp) for base in stable(formula).atoms(sp.Pow))
    assert stable(stable(formula)) == stable(formula)


@pytest.mark.parametrize("formula", [*CASES, *UNCHANGED], ids=str)
def test_values_are_kept(formula):
    functions = {"sigmoid": lambda u: 1 / (1 + mpmath.exp(-u))}
    before, after = (
        sp.lambdify((x, y), e, [functions, "mpmath"]) for e in (formula, stable(formula))
    )
    for point in [(0.3, 0.7), (-1.2, 0.4), (2.5, 3.1)]:
        assert mpmath.almosteq(before(*point), after(*point), 1e-13)


@pytest.mark.parametrize("formula", [e for e in UNCHANGED if not e.has(1 - sp.exp(x))], ids=str)
def test_left_alone(formula):
    assert stable(formula) == formula


def test_derivatives_read_the_stored_sigmoid():
    """Reverse mode through a swish: one function in all, and no exponential."""
    axis = ir.Axis("k", 3)
    a, ct = (ir.input_tensor(n, (axis,), per_sample=True) for n in ("a", "ct"))
    value = Formulas.apply(x / (1 + sp.exp(-x)), a)
    (slope,) = vjp({value: ct}, [a])
    (curvature,) = vjp({slope: ct}, [a])
    outputs = share_functions([value, slope, curvature])
    kept = [
        t for t in ir.topological(outputs) if t.kind == "elementwise" and is_function(t.data[0])
    ]
    assert [type(t.data[0]) for t in kept] == [sigmoid]


def test_numbers_are_worked_out():
    assert sigmoid(sp.Integer(0)) == sp.Rational(1, 2)
    assert float(sigmoid(sp.Float(2.0))) == pytest.approx(1 / (1 + np.exp(-2.0)), rel=1e-15)
    assert sigmoid(x).diff(x) == sigmoid(x) * (1 - sigmoid(x))
    assert sigmoid(x).is_positive
