"""Jumps by other spellings: steps of kinks, poles inside bounded functions, nested conditions."""

import function_cases
import pytest
import sympy as sp

from pwgf_sym import Gaussian, GradientFlow, NeuralFlow
from pwgf_sym.declare import Density, coordinates, integral
from pwgf_sym.derive import velocity
from pwgf_sym.derive.borders import Border, jump
from pwgf_sym.derive.calculus import RHO
from pwgf_sym.derive.pieces import in_pieces
from pwgf_sym.errors import EnergyError, FormulaError
from pwgf_sym.functions import sigmoid
from pwgf_sym.targets.program import compile_program

(A,), (B, C) = coordinates(1), coordinates(2)
RHO1 = Density((A,))
P = sp.Symbol("p", real=True)
H, Max, Min, Abs, third = sp.Heaviside, sp.Max, sp.Min, sp.Abs, sp.Rational(1, 3)


def choice(condition, value=1, other=0):
    return sp.Piecewise((value, condition), (other, True))


JUMPING = [
    # Formulas that vanish on one side of a border, without a change of sign.
    sp.sign(Max(A - 2, 0)),
    H(Min(A + third, 0), 1),
    H(Max(Min(A, 5), 3) - 3, 0),
    choice(Max(A, -4) > -4, 7),
    choice(Min(2 * A, 3) < 3, 2),
    choice(Abs(A - 1) + A - 1 > 0),
    choice(Abs(Abs(A) - 2) + Abs(A) > 2),
    choice(sp.Or(Max(A, 0) > 0, Max(-A - 5, 0) > 0)),
    choice(sp.And(Max(B, 0) > 0, Max(C, B, 0) > B)),
    choice(sp.Eq(Max(A, 1), 1), 0, 3),
    choice(Max(RHO - 2, 0) <= 0, 0, RHO),
    sp.sign(Max(B, C, 0)),
    sp.sign(sp.floor(A)),
    choice(sp.floor(A / 2) > 0, A),
    H(sp.floor(A) + sp.ceiling(A)),
    sp.floor(Abs(A)),
    sp.frac(A**2),
    H(sp.sin(A)),
    sp.Pow(0, Max(A, 0), evaluate=False),
    sp.Pow(Max(B, 0), Max(C, 0)),
    # Infinite arguments of bounded functions.
    sp.acot(A - 2),
    sp.acot(sp.sinh(A)),
    sp.atan(sp.tan(2 * A)),
    sp.tanh(sp.tan(A)),
    sp.atan(sp.cot(A + 1)),
    sp.tanh(sp.csch(A)),
    sp.atan(sp.gamma(A)),
    sigmoid(3 / (A + 1)),
    1 / (1 + 2 ** (1 / A)),
    sp.exp(-sp.exp(2 / (A - 1))),
    sp.sqrt(1 - sp.cos(A) ** 2) / sp.sin(A),
    sp.coth(A) / sp.sqrt(1 + sp.coth(A) ** 2),
    sp.tanh(sp.sec(A)),
    choice(sp.ITE(A > 0, Max(B, 0) > 0, Min(C, 0) < 0)),
    sp.tan(A) / (1 + Abs(sp.tan(A))),
    A / sp.sqrt(A**2 + A**4),
    1 / (A * sp.sqrt(1 + 1 / A**2)),
    sp.atan2(B, C),
    sp.atan2(B - 1, Max(C, 0)),
    sp.atan2(Max(B, 0), C),
]
CONTINUOUS = [
    sp.sign(Max(A, 0)) * A,
    choice(Max(A - 1, 0) > 0, A**2 - 1),
    sp.sign(Max(A, 2)) + H(Abs(A) + 1),
    choice(sp.Or(Max(A, 0) > 0, Max(-A - 5, 0) > 0), A * (A + 5)),
    sp.floor(Abs(A)) * sp.sin(sp.pi * A),
    H(sp.sin(A)) * sp.sin(A),
    Max(A, 0) ** 0,
    sp.Pow(Max(B, 0), 2 + C**2),
    A * sp.acot(A),
    sp.acot(1 + A**2),
    sp.atan(sp.tan(A)) * sp.cos(A),
    sp.tanh(sp.tan(A)) ** 2,
    sigmoid(3 / A**2),
    sp.exp(-sp.exp(1 / A**2)),
    sp.sech(sp.tan(A)),
    sp.sqrt(1 + A**2) / A,
    A**2 / sp.sqrt(A**2 + A**4),
    B / sp.sqrt(B**2 + C**2 + 1),
    sp.atan2(B, 1 + C**2),
    sp.sign(1 + sp.tanh(A)),
    Max(A, 0) / (1 + Max(A, 0)),
]


@pytest.mark.parametrize("formula", JUMPING, ids=str)
def test_jumps_are_found(formula):
    assert jump(in_pieces(formula)) is not None


@pytest.mark.parametrize("formula", CONTINUOUS, ids=str)
def test_what_is_continuous_passes(formula):
    assert jump(in_pieces(sp.sympify(formula))) is None


@pytest.mark.parametrize("entry", function_cases.ENTRIES, ids=lambda e: e.name)
def test_every_function_of_the_table_is_compared_with_many_digits(entry):
    """Times a step at a place inside of its domain it jumps, times its distance it does not."""
    low, high = function_cases.BETWEEN.get(entry.name, (-2.0, 2.0))
    place = sp.Rational(round(3 * low + 4 * high) + 1, 7) if high > low + 1 else sp.Rational(3, 5)
    value = function_cases.application(entry, A, sp.Rational(7, 5))
    assert jump(in_pieces(value * H(A - place))) is not None
    if entry.name not in function_cases.STEPS:
        assert Border(A, place) not in {jump(in_pieces(value * (A - place) * H(A - place)))}


@pytest.mark.parametrize("step", JUMPING[:1] + JUMPING[4:6] + [sp.acot(A)], ids=str)
def test_potentials_and_activations_of_these_kinds_are_refused(step, tmp_path):
    with pytest.raises(EnergyError, match=r"jumps (at|where)"):
        velocity(integral(step * RHO1, (A,)), RHO1)
    problem = GradientFlow(integral(A**2 * RHO1, (A,)), RHO1, initial=Gaussian([0.0], 1.0))
    flow = NeuralFlow(1, 4, activation=lambda a: step.subs(A, a))
    with pytest.raises(FormulaError, match=r"jumps (at|where)"):
        compile_program(problem, flow, folder=tmp_path)


def test_borders_are_told_as_places_of_a_coordinate():
    assert Border(P, A).text() == "at x0 = p"
    assert Border(3 * P - 1, 2 * A).text() == "at x0 = 3*p/2 - 1/2"
    assert Border(A**2, RHO).text({RHO: sp.Function("rho")(A)}) == "at rho(x0) = x0**2"
    assert Border(Abs(A), sp.Integer(2)).text() == "at Abs(x0) = 2"
