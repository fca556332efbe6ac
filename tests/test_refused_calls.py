"""What a newcomer writes: the error says what to write instead."""

import inspect
import math

import numpy as np
import pytest
import sympy as sp
from refusals import ENERGY, FLOW, LAW, PROBLEM, RHO, X, Y, solve

import pwgf_sym as pw
from pwgf_sym.errors import (
    CallError,
    CoordinateError,
    EnergyError,
    MapError,
    NumpyFunctionError,
    OptionError,
)


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda: np.exp(X[0]), "sp.exp"),
        (lambda: np.exp(-(X[0] ** 2) / 2), "sp.exp"),
        (lambda: np.log(RHO), "sp.log"),
        (lambda: np.sqrt(ENERGY), "sp.sqrt"),
        (lambda: np.arctan(X[1] + 1), "sp.atan"),
        (lambda: np.tanh(X), "sp.tanh"),
        (lambda: np.cosh(np.array([X[0], 1.0])), "sp.cosh"),
        (lambda: np.log1p(X[0] * X[1]), r"sp.log\(1"),
        (lambda: np.linalg.norm(X), "sp.sqrt"),
        (lambda: np.hypot(X[0], X[1]), "sp.sqrt"),
    ],
)
def test_functions_of_numpy_say_what_to_write(call, written):
    with pytest.raises(NumpyFunctionError, match=f"Write {written}") as caught:
        call()
    assert isinstance(caught.value, TypeError)


def test_numpy_and_sympy_work_together_as_before():
    z = sp.Symbol("z_of_another_package")
    with pytest.raises(TypeError, match="no callable tan method") as caught:
        np.tan(z)
    assert not isinstance(caught.value, pw.PwgfError)
    assert np.float64(2) * X[0] == 2.0 * X[0] and (np.float64(2) < z) == (z > 2.0)
    assert (np.array([1, 2]) * X[0]).tolist() == [X[0], 2 * X[0]]
    assert (np.float64(2) == z) is False and (z**3).exp == 3
    assert np.dot([1, 2], X) == X[0] + 2 * X[1] and np.sum([z, z]) == 2 * z


@pytest.mark.parametrize(
    "call",
    [
        *(lambda: X**2, lambda: X * 3, lambda: 2 * X, lambda: X + 1, lambda: X - Y, lambda: -X),
        *(lambda: RHO * X, lambda: X / 2, lambda: np.float64(3) * X, lambda: np.ones(2) + X),
        *(lambda: X @ X, lambda: abs(X), lambda: X + Y),
    ],
)
def test_arithmetic_with_all_coordinates_is_refused(call):
    with pytest.raises(EnergyError, match=r"Write [xy]\[0\]\*\*2, or sum"):
        call()


def test_calls_of_the_density_and_wrong_indices_say_what_to_write():
    for arguments_ in (tuple(Y), (X,), (Y,), ()):
        with pytest.raises(EnergyError, match=r"rho\.at\(y\) for y = copy_of\(x\)"):
            RHO(*arguments_)
    with pytest.raises(CoordinateError, match=r"indices 0 to 1"):
        X[2]
    for index in ("__import__('os')", 0.5, None, sp.Rational(1, 2)):
        with pytest.raises(EnergyError, match="index: got"):
            X[index]
    assert list(X) == [X[0], X[-1]] and X[:1] == (X[0],)


@pytest.mark.parametrize(
    ("name", "here"),
    [
        *(
            ("t_eval", "save_at"),
            ("atol", "tol"),
            ("first_step", "dt"),
            ("scheme", "integrator"),
        ),
        *(("num_samples", "samples"), ("learning_rate", "dt"), ("random_state", "seed")),
        *(("smaples", "samples"), ("Dt", "dt"), ("linear_solvr", "linear_solver")),
        *(("energy_chek", "energy_check"), ("formulaton", "formulation"), ("device", "target")),
    ],
)
def test_unknown_options_are_named_with_the_nearest(name, here, nothing_compiles):
    with pytest.raises(
        CallError, match=rf"^{name}: .*(Use {here}:|Did you mean {here}\?)"
    ) as caught:
        solve(**{name: 1})
    assert isinstance(caught.value, OptionError) and isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pw.NeuralFlow(2, 8, hidden=3), "Use width"),
        (lambda: pw.NeuralFlow(2, 8, activaton=sp.sin), "Did you mean activation"),
        (lambda: pw.Gaussian(loc=0, cov=1), "Use mean"),
        (lambda: pw.Gaussian([0], sigma=1), "Use cov"),
        (lambda: pw.UniformBall([0], raduis=1), "Did you mean radius"),
        (lambda: pw.GradientFlow(ENERGY, RHO, law=LAW), "Use initial"),
        (lambda: pw.GradientFlow(ENERGY, initial=LAW), "missing a required argument: 'rho'"),
        (lambda: pw.solve(PROBLEM, FLOW), "missing a required argument: 't_span'"),
        (lambda: pw.compile(PROBLEM, FLOW, dtpye="float32"), "Did you mean dtype"),
        (lambda: pw.coordinates(2, nmae="z"), "Did you mean name"),
        (lambda: pw.pde(ENERGY), "missing"),
        (lambda: pw.load_solution(), "missing"),
        (lambda: pw.exact.quantiles([0, 1], [0, 1]), "missing"),
        (lambda: LAW.sample(4, sede=1), "Did you mean seed"),
        (lambda: pw.plot(None, tmes=1), "Did you mean times"),
    ],
)
def test_calls_that_do_not_fit_name_what_does(call, message):
    with pytest.raises(CallError, match=message):
        call()


def test_signatures_stay_introspectable():
    assert list(inspect.signature(pw.solve).parameters)[:3] == ["problem", "map", "t_span"]
    assert inspect.signature(pw.solve).parameters["tol"].default is None
    assert list(inspect.signature(pw.Gaussian).parameters) == ["mean", "cov"]
    assert pw.compile.__module__ == "pwgf_sym.targets.program" and pw.compile.__doc__


@pytest.mark.parametrize(
    "activation",
    [
        *("tanh", "relu", np.sinh, math.atan, lambda a: math.exp(a), lambda a: 2.5, lambda: 1),
        *(lambda a, b: a * b, lambda a: sp.I * sp.sin(a), lambda a: "sin(a)", lambda a: a / 0),
        *(lambda a: [a], lambda a: a < 1, lambda a: sp.Symbol("c") * a, lambda a: np.cos(a)),
        *(lambda a: a ** (10**7), lambda a: {}[a], sp.cos(sp.Symbol("b")), 3, None),
    ],
)
def test_activations_that_are_no_formula_are_refused(activation, soon):
    with pytest.raises(MapError, match=r"activation: got .*(Write activation=sp\.|Write it as sp)"):
        pw.NeuralFlow(2, 4, 1, activation=activation)
