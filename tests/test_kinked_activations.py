"""Activations with a kink carry no density, those that jump are refused, and why is passed on."""

import numpy as np
import pytest
import sympy as sp

from pwgf_sym import Gaussian, GradientFlow, NeuralFlow, solve
from pwgf_sym.declare import Density, coordinates, integral
from pwgf_sym.errors import FormulaError, MapError
from pwgf_sym.targets.program import compile_program

X1 = coordinates(1)
(A,) = X1
RHO1 = Density(X1)
NORMAL = Gaussian([0.0], 1.0)
H = sp.Heaviside

KINKED = [
    lambda a: sp.Max(a, 0),
    lambda a: a * H(a),
    lambda a: (a + sp.Abs(a)) / 2,
    lambda a: sp.Piecewise((a, a > 0), (a / 10, True)),
    lambda a: sp.Piecewise((a, a > 0), (2 * (sp.exp(a) - 1), True)),
    lambda a: sp.tanh(a) + sp.Abs(a - 1),
    lambda a: sp.Max(a, a / 5),
    lambda a: sp.frac(a) * (1 - sp.frac(a)),
]
STEPPED = [H, sp.sign, sp.floor, lambda a: sp.Piecewise((a, a > 1), (0, True)), sp.frac]
CURVED = [
    lambda a: sp.Max(a, 0) ** 3,
    lambda a: a**3 * H(a),
    lambda a: sp.Piecewise((a**3, a > 0), (0, True)),
    lambda a: sp.Piecewise((a, a > 0), (sp.exp(a) - 1, True)),
    lambda a: sp.Abs(a) ** 3,
]


def runs(energy, activation, **options):
    flow = NeuralFlow(1, 4, 2, activation=activation)
    problem = GradientFlow(energy, RHO1, initial=NORMAL)
    options = {"samples": 128, "dt": 0.05, "linear_solver": "dense", **options}
    return solve(problem, flow, (0, 0.1), **options)


@pytest.mark.parametrize("activation", KINKED)
def test_activations_with_a_kink_carry_no_density(activation, tmp_path):
    flow = NeuralFlow(1, 4, 2, activation=activation)
    for formula in (RHO1 * sp.log(RHO1), RHO1**2 + A**2 * RHO1):
        problem = GradientFlow(integral(formula, X1), RHO1, initial=NORMAL)
        with pytest.raises(FormulaError, match=r"derivative jumps (at a|where)"):
            compile_program(problem, flow, folder=tmp_path)
    potential = GradientFlow(integral(A**2 * RHO1, X1), RHO1, initial=NORMAL)
    assert compile_program(potential, flow, folder=tmp_path).code_python()


@pytest.mark.parametrize("activation", STEPPED)
def test_activations_that_jump_are_refused(activation, tmp_path):
    problem = GradientFlow(integral(A**2 * RHO1, X1), RHO1, initial=NORMAL)
    with pytest.raises(FormulaError, match=r"jumps (at|where)"):
        compile_program(problem, NeuralFlow(1, 4, activation=activation), folder=tmp_path)


@pytest.mark.parametrize("activation", CURVED)
def test_activations_with_a_continuous_slope_carry_densities(activation, tmp_path):
    energy = integral(RHO1 * sp.log(RHO1) + A**2 * RHO1 / 2, X1)
    problem = GradientFlow(energy, RHO1, initial=NORMAL)
    flow = NeuralFlow(1, 4, 2, activation=activation)
    text = compile_program(problem, flow, folder=tmp_path).code_python().split('"""', 2)[2]
    assert "Dirac" not in text and "Derivative" not in text and "JumpSlope" not in text


def test_a_relu_moves_samples_and_its_cube_carries_the_score():
    moved = runs(integral(sp.Abs(A - 1) * RHO1, X1), lambda a: a * H(a))
    assert moved.energy[-1] < moved.energy[0]
    # Ornstein-Uhlenbeck from its equilibrium: nothing moves, so the score is right.
    still = runs(integral(RHO1 * sp.log(RHO1) + A**2 * RHO1 / 2, X1), CURVED[0])
    assert np.allclose(still.push([[0.7], [-1.2]]), [[0.7], [-1.2]], atol=1e-8)


@pytest.mark.parametrize(
    "activation, words",
    [
        (lambda a: a > 2, r"Write sp.Piecewise\(\(f, condition\)"),
        (lambda a: "cos(a)", "Texts are not evaluated"),
        (lambda a: [a, 1], r"\[a, 1\]; accepted: a SymPy expression or a number"),
    ],
)
def test_what_is_wrong_with_an_activation_is_passed_on(activation, words):
    with pytest.raises(MapError, match=words):
        NeuralFlow(2, 4, 1, activation=activation)
