"""What a run cannot do is refused before anything is compiled, by name."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from refusals import ENERGY, FLOW, LAW, PROBLEM, RHO, X, solve

import pwgf_sym as pw
from pwgf_sym.errors import (
    EnergyError,
    FormulaError,
    LawError,
    MapError,
    OptionError,
)
from pwgf_sym.solver.grid import time_grid


@pytest.mark.parametrize(
    ("t_span", "dt", "save_at", "message"),
    [
        ((0, 30_000), Fraction(1, 400), None, "save_at: got 12000001 times to store.*save_at=np"),
        ((0, 5), 1e-11, [5], "dt: got 1e-11, which makes 5e[+]11 steps"),
        ((3e15, 3e15 + 7), 0.25, None, "are 0.5 apart.*Count times from the start"),
        ((2.5e9, 2.5e9 + 3), 1e-7, [2.5e9 + 3], "4.77e-07 apart"),
        ("03", 0.1, None, "a pair"),
        (None, 0.1, None, "a pair"),
        ((0, 1j), 0.1, None, "a pair"),
        ((0, "1"), 0.1, None, "a pair"),
        ((4, 3), 0.1, None, "forward only"),
        ((0, 1), 0.1, ["0.5"], "increasing"),
        ((0, 1), 0.1, [0.5, sp.I], "increasing"),
    ],
)
def test_times_that_cannot_be_are_refused(t_span, dt, save_at, message, soon, nothing_compiles):
    with pytest.raises(OptionError, match=message):
        solve(t_span=t_span, dt=dt, save_at=save_at)


def test_times_of_any_kind_and_far_from_zero():
    times, stored = time_grid(
        (Fraction(1, 4), sp.Integer(1)), np.float32(0.25), [sp.Rational(3, 4)]
    )
    assert times.tolist() == [0.25, 0.5, 0.75] and stored.tolist() == [False, False, True]
    start = 8.5e9
    times, _ = time_grid((start, start + 1), 0.125)
    assert np.all(np.diff(times) == 0.125)


def test_stored_times_are_told_apart_by_their_distance():
    start = 6.4e9
    solution = solve(t_span=(start, start + 0.25), dt=0.125, samples=16, dense_output=False)
    moved = [solution.push(LAW.mean[None], t=t) for t in solution.t]
    assert len({m.tobytes() for m in moved}) == 3
    for k, t in enumerate([start, start + 0.125, start + 0.25]):
        assert np.array_equal(solution.push(LAW.mean[None], t=t), moved[k])
    for t in (start + 0.05, start + 1e-4, start + 0.26, "0", True, 1j):
        with pytest.raises(OptionError, match=r"^t: got"):
            solution.push([[1, 1]], t=t)
    near = solve(t_span=(0, 3e-12), dt=1e-12, samples=16, dense_output=False)
    with pytest.raises(OptionError, match=r"^t: got"):
        near.push([[1, 1]], t=1.4e-12)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pw.coordinates(10**6), EnergyError, "the dimension 1000000; accepted: at most"),
        (lambda: pw.Gaussian(np.zeros(4000), 1.0), LawError, "the dimension 4000"),
        (lambda: pw.UniformBox(np.zeros(3000), 1.0), LawError, "the dimension 3000"),
        (lambda: pw.Barenblatt(10**5, 2, 1), LawError, "the dimension 100000"),
        (lambda: pw.Affine(10**5), MapError, "the dimension 100000"),
        (lambda: pw.NeuralFlow(3, 10**10), MapError, "280000000048 parameters, which take .* GiB"),
        (lambda: pw.NeuralFlow(3, 64, 10**9), MapError, "GiB"),
        (lambda: LAW.sample(10**12, 0), LawError, "GiB"),
        (lambda: solve(samples=10**11), OptionError, "samples: .* GiB"),
        (
            lambda: solve(flow=pw.NeuralFlow(2, 10**5), linear_solver="dense"),
            OptionError,
            'linear_solver: got .* in matrices of "dense", which take .* GiB',
        ),
        (
            lambda: solve(samples=2 * 10**6, linear_solver="kernel", shift=0.1),
            OptionError,
            'linear_solver: got .* in matrices of "kernel", which take .* GiB',
        ),
        (
            lambda: solve(flow=pw.NeuralFlow(2, 20_000), t_span=(0, 9e4)),
            OptionError,
            "save_at: got 900001 stored times of .* GiB",
        ),
    ],
)
def test_sizes_beyond_memory_are_refused(call, kind, message, soon, nothing_compiles):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: pw.UniformBall([0.0], 1e200),
        lambda: pw.UniformBox([0.0], 1e-170),
        lambda: pw.UniformBox([-1e308], 1e308),
        lambda: pw.Gaussian([0.0], 1e-315),
        lambda: pw.exact.aggregation_radial([[0.3]], 2e4),
        lambda: pw.exact.ornstein_uhlenbeck(-500.0, 1.0, [1.0], 1.0, 2.0),
    ],
)
def test_sizes_beyond_double_precision_are_refused(call, soon):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((LawError, OptionError)):
            call()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: pw.solve(FLOW, PROBLEM, (0, 1)), OptionError, "Exchange the two"),
        (lambda: solve(flow=pw.NeuralFlow), OptionError, r"Write Affine\(2\)"),
        (lambda: solve(problem=pw.GradientFlow), OptionError, r"Write GradientFlow\("),
        (lambda: pw.compile(PROBLEM, pw.Affine), OptionError, r"Write Affine\(2\)"),
        (lambda: pw.compile(FLOW, PROBLEM), OptionError, "Exchange the two"),
        (lambda: pw.GradientFlow(ENERGY, RHO, pw.Gaussian), LawError, r"Write initial=Gaussian"),
        (lambda: pw.GradientFlow(ENERGY, RHO, FLOW), LawError, "a law such as"),
        (lambda: pw.GradientFlow(ENERGY, RHO, pw.Gaussian([1.0], 1)), LawError, "dimension 2"),
        (lambda: pw.GradientFlow("rho**2", RHO, LAW), EnergyError, "a SymPy expression"),
        (lambda: pw.GradientFlow(ENERGY, X, LAW), EnergyError, r"Write rho = Density\(x\)"),
        (lambda: pw.Gaussian("1, 2", 1.0), LawError, "mean: got"),
        (lambda: pw.Gaussian([0, 1], "1"), LawError, "cov: got"),
        (lambda: solve(theta0="theta"), OptionError, "theta0: got"),
        (lambda: solve(callback=3), OptionError, "callback: got"),
        (lambda: solve(target=np.array(["cpu", "cuda"])), OptionError, "target: got"),
    ],
)
def test_other_things_in_the_place_of_arguments(call, kind, message, soon, nothing_compiles):
    with pytest.raises(kind, match=message):
        call()


def test_numbers_beyond_single_precision_are_refused_there():
    for factor in (sp.Float("3e40"), sp.Rational(1, 10**39)):
        problem = pw.GradientFlow(factor * ENERGY, RHO, LAW)
        with pytest.raises(FormulaError, match=r'does not hold the number.*dtype="float64"'):
            solve(problem, dtype="float32")
    beta = sp.Symbol("beta")
    with pytest.raises(FormulaError, match="dtype: got float32"):
        pw.compile(pw.GradientFlow(beta * ENERGY, RHO, LAW, {beta: 1e39}), FLOW, dtype="float32")
