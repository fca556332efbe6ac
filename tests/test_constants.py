"""Integrands that do not vanish with the density: sample means, and the constants beside them.

Truth: the formulas themselves in mpmath, quadrature by SciPy, and closed forms.
"""

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy import integrate

from pwgf_sym import Affine, Gaussian, GradientFlow, solve
from pwgf_sym.declare import Density, coordinates, integral
from pwgf_sym.derive import sample_form, velocity
from pwgf_sym.derive.calculus import RHO
from pwgf_sym.derive.vacuum import limit_in_vacuum, over_density
from pwgf_sym.errors import EnergyError
from pwgf_sym.functions import logaddexp, sigmoid
from pwgf_sym.targets.constants import integral_over_space
from pwgf_sym.targets.program import compile_program

X1, X2 = coordinates(1), coordinates(2)
RHO1, RHO2 = Density(X1), Density(X2)
(A,) = X1
C, M = sp.symbols("c m", positive=True)
R, L = sp.Rational, sp.log


def normal(x, mean=0, variance=1):
    return sp.prod([sp.exp(-((s - mean) ** 2) / (2 * variance)) for s in x]) / sp.sqrt(
        (2 * sp.pi * variance) ** len(x)
    )


PI = normal(X1, R(1, 3), R(5, 4))

# ---------------------------------------------------------------- limits and quotients

LIMITS = {
    (RHO - PI) ** 2 / PI: PI,
    (sp.sqrt(RHO) - sp.sqrt(PI)) ** 2: PI,
    RHO * L(2 * RHO / (RHO + PI)) + PI * L(2 * PI / (RHO + PI)): PI * L(2),
    (RHO**2 - 1) ** 2 / 4 + RHO * L(RHO) / 2: R(1, 4),
    RHO * L(RHO) + (1 - RHO) * L(1 - RHO): 0,
    RHO * L(RHO) - (1 + RHO) * L(1 + RHO): 0,
    sp.sqrt(4 + RHO**2) - 1: 1,
    3 / (2 + RHO * A**2): R(3, 2),
    (1 + RHO) ** R(7, 2) * sp.cos(A): sp.cos(A),
    sp.exp(-C * RHO) + sp.tanh(RHO - 1): 1 - sp.tanh(1),
    sp.cosh(RHO) * PI: PI,
    sp.Max(RHO - C, 0) ** 2 + sp.Min(RHO, C) ** 3: 0,
    sp.Piecewise((1 + RHO**2, RHO < C), (1 + C * RHO, True)): 1,
    sp.Abs(RHO - PI): PI,
    sp.Max(RHO, PI): PI,
    (1 + RHO * L(RHO)) ** 3: 1,
    L(RHO / (1 + RHO)) - L(RHO): 0,
    (RHO - PI) ** 4 / (RHO + PI) ** 3: PI,
    (RHO ** R(1, 3) - C) ** 3: -(C**3),
    L(RHO + C): L(C),
}


def numbers(formula, x, rho, c=0.7, m=2.3):
    functions = [{"expm1": mpmath.expm1, "log1p": mpmath.log1p}, "mpmath"]
    values = [mpmath.mpf(v) for v in (x, c, m, rho)]
    return sp.lambdify([A, C, M, RHO], formula, functions)(*values)


@pytest.mark.parametrize("formula", LIMITS, ids=str)
def test_limits_and_quotients(formula):
    quotient, limit = over_density(formula)
    with mpmath.workdps(120):
        for x in (-1.2, 0.4):
            assert abs(numbers(limit - LIMITS[formula], x, 1)) < 1e-40
            near = numbers(formula, x, mpmath.mpf(10) ** -50)
            assert abs(near - numbers(limit, x, 1)) < 1e-14
            for rho in ("1e-25", "0.02", "0.6", "0.95"):
                left = numbers(formula, x, rho) - numbers(limit, x, rho)
                right = mpmath.mpf(rho) * numbers(quotient, x, rho)
                # A quotient by its series is exact to fifth order in small changes.
                assert abs(left - right) < 1e-12 * (abs(left) + mpmath.mpf(rho) ** 4)


@pytest.mark.parametrize(
    "formula", [PI * L(PI / RHO), 1 / RHO, L(RHO) ** 2, PI / sp.sqrt(RHO), RHO ** (-M)], ids=str
)
def test_what_has_no_finite_limit_stays_as_it_is(formula):
    quotient, limit = over_density(formula)
    assert limit == 0 and sp.simplify(quotient * RHO - formula) == 0
    if formula != RHO ** (-M):
        assert limit_in_vacuum(formula) is None


@pytest.mark.parametrize("formula", LIMITS, ids=str)
def test_quotients_lose_no_digits_where_the_density_is_tiny(formula):
    quotient, _ = over_density(formula)
    in_double = sp.lambdify(
        [A, C, M, RHO], quotient, [{"expm1": np.expm1, "log1p": np.log1p}, "numpy"]
    )
    for rho in (1e-18, 1e-9, 1e-4, 0.3):
        found = float(in_double(0.4, 0.7, 2.3, np.float64(rho)))
        with mpmath.workdps(60):
            want = numbers(quotient, 0.4, rho)
            gap, size = abs(found - want), abs(want)
        assert gap < 1e-12 * size + 1e-14


def test_formulas_that_vanish_with_the_density_stay_as_they_are():
    x = coordinates(3)
    rho = Density(x)
    energy = integral(x[0] ** 2 * rho + rho * L(rho) + rho**M / (M - 1), x)
    (term,) = sample_form(energy, rho).integrals
    log = sample_form(energy, rho).log_density
    assert term.vacuum == 0
    assert sp.expand(term.density - x[0] ** 2 - log - sp.exp((M - 1) * log) / (M - 1)) == 0


# ---------------------------------------------------------------- integrals over the space


def over_space(formula, x, center=0.0, spread=1.0):
    count = len(x)
    return integral_over_space(sp.sympify(formula), tuple(x), (center,) * count, (spread,) * count)


def test_integrals_over_the_space_in_closed_form():
    x = coordinates(9)
    six, two, one = x[:6], x[:2], x[:1]
    entropy = -math.log(2 * math.pi * math.e * 0.8) / 2
    full = sum((k + 1) * a * a for k, a in enumerate(six)) + six[0] * six[5]
    determinant = np.diag(2.0 * np.arange(1, 7))
    determinant[0, 5] = determinant[5, 0] = 1.0
    cases = [
        (normal(x, 2, R(1, 9)), x, 1.0),
        (normal(one, 40, R(1, 10**6)), one, 1.0),
        (0.3 * normal(two, -5, R(1, 4)) + 0.2 * normal(two, 7, 2), two, 0.5),
        (normal(six, 1, R(4, 5)) * L(normal(six, 1, R(4, 5))), six, 6 * entropy),
        (3 * sp.exp(-full), six, 3 * math.pi**3 * 8 / math.sqrt(np.linalg.det(determinant))),
        (1 / (1 + one[0] ** 2), one, math.pi),
        (sp.Max(1 - one[0] ** 2, 0), one, 4 / 3),
        (two[0] ** 2 * normal(two, 0, 3) - two[1] * normal(two), two, 3.0),
        (sp.exp(-sp.Abs(one[0] - 3)) * sp.cos(one[0]), one, math.cos(3)),
    ]
    for formula, symbols, want in cases:
        assert over_space(formula, symbols) == pytest.approx(want, rel=3e-5)
    narrow = normal(one, 3000, R(1, 10**8))
    assert over_space(narrow, one, 3000.0, 1e-4) == pytest.approx(1.0, rel=1e-9)


def test_wells_and_spikes_far_from_the_initial_law():
    """Near the centre these are Gaussian to all digits; far from it they are not."""
    a, b = X2
    wells = sp.exp(-2 * sp.Min((A - 4) ** 2, (A + 1) ** 2))
    want = integrate.quad(sp.lambdify(A, wells), -8, 12, points=(-1, 1.5, 4))[0]
    assert over_space(wells, X1, 4.0, 0.3) == pytest.approx(want, rel=1e-4)
    plane = wells.subs(A, a) * sp.exp(-(b**2) / 3 + a * b / 10)
    inner = math.sqrt(3 * math.pi)  # of exp(-b^2/3 + a b/10): times exp(3 a^2/400)
    shifted = sp.lambdify(A, wells * inner * sp.exp(3 * A**2 / 400))
    want = integrate.quad(shifted, -8, 12, points=(-1, 1.5, 4))[0]
    assert over_space(plane, X2, 4.0, 0.3) == pytest.approx(want, rel=1e-3)
    bump = sp.exp(-(A**2) + 3 * sp.exp(-((A - 9) ** 2) / 2) * A**2)
    found = over_space(bump, X1)
    want = integrate.quad(sp.lambdify(A, bump), -9, 20, points=(0, 8, 9, 10), limit=400)[0]
    assert found is None or found == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("width, dim", [(R(1, 900), 1), (R(1, 400), 2), (R(1, 10**4), 5)])
def test_a_function_that_every_point_misses_has_no_value(width, dim):
    x = coordinates(dim)
    formula = sp.exp(-(sum(((s - 11) / width) ** 2 for s in x) ** 2))
    assert over_space(formula, x) is None


@pytest.mark.parametrize(
    "formula",
    [
        A**2 * L(A**2) * sp.exp(-(A**2)),
        sp.exp(-(A**2) - A * sp.Abs(A) / 3),
        sp.exp(-sp.Abs(A) / 2) * (2 + sp.sin(A)),
        sp.exp(-(A**2)) * sp.Abs(A) ** R(1, 3) * L(A**4 + 1),
    ],
    ids=str,
)
def test_negative_coordinates_count(formula):
    function = sp.lambdify(A, formula)
    want = sum(integrate.quad(function, *ends, limit=400)[0] for ends in ((-80, 0), (0, 80)))
    assert over_space(formula, X1) == pytest.approx(want, rel=1e-4)


def test_the_table_of_functions_is_integrated():
    cases = [
        (sp.exp(-(A**2)) * sp.sinc(A), lambda u: np.exp(-u * u) * np.sinc(u / np.pi)),
        (sigmoid(A) * sp.exp(-sp.Abs(A)), lambda u: np.exp(-abs(u)) / (1 + np.exp(-u))),
        (1 / (1 + logaddexp(A, -A) ** 4), lambda u: 1 / (1 + np.logaddexp(u, -u) ** 4)),
    ]
    for formula, function in cases:
        want = integrate.quad(function, -60, 60, points=(0,), limit=400)[0]
        assert over_space(formula, X1) == pytest.approx(want, rel=1e-4)
    assert over_density((RHO - sp.exp(-(A**2)) * sp.sinc(A)) ** 2)[1] != 0


@pytest.mark.parametrize("formula", [sp.sin(L(RHO)), sp.cos(2 / RHO), sp.tanh(sp.cos(L(RHO)))])
def test_what_oscillates_has_no_limit(formula):
    assert limit_in_vacuum(formula * sp.exp(-(A**2))) is None
    energy = integral(formula.subs(RHO, RHO1) * sp.exp(-(A**2)), X1)
    assert sample_form(energy, RHO1).integrals[0].vacuum == 0


def test_integrals_over_the_space_by_quadrature():
    a, b = X2
    cases = [
        sp.exp(-((a**2 - 1) ** 2) - b**2 * (1 + a**2)),
        1 / (1 + a**2 + 2 * b**2) ** 2,
        sp.exp(-(a**4) - (a - b) ** 4) * (1 + a * b),
    ]
    for formula in cases:
        function = sp.lambdify([b, a], formula)
        want, error = integrate.dblquad(function, -np.inf, np.inf, -np.inf, np.inf)
        assert over_space(formula, X2) == pytest.approx(want, rel=1e-4, abs=2 * error)


@pytest.mark.parametrize(
    "formula", [R(1, 4), sp.cos(A) ** 2, 1 / sp.sqrt(1 + A**2), sp.exp(A), A**2, sp.sqrt(sp.Abs(A))]
)
def test_integrals_without_a_finite_value(formula):
    assert over_space(formula, X1) is None
    assert over_space(formula * normal([X2[1]]), (A, X2[1])) is None


# ---------------------------------------------------------------- energies and flows


def divergences(x, rho):
    pi = normal(x, R(1, 5), R(6, 5))
    return {
        "chi squared": (rho - pi) ** 2 / pi,
        "Hellinger": (sp.sqrt(rho) - sp.sqrt(pi)) ** 2,
        "Jensen-Shannon": rho * L(2 * rho / (rho + pi)) + pi * L(2 * pi / (rho + pi)),
        "reverse KL": pi * L(pi / rho),
        "Tsallis": (rho**2 / pi - rho) / 2,
        "alpha": R(4, 3) * (rho ** R(3, 2) / sp.sqrt(pi) - R(3, 2) * rho + pi / 2),
        "squares": (rho - pi) ** 2,
    }


def by_quadrature(formula, x, rho, mean, variance):
    at = formula.xreplace({rho: normal(x, mean, variance)})
    function = sp.lambdify(x, at, "numpy")
    if len(x) == 1:
        t = np.linspace(-16, 16, 20001)
        return np.trapezoid(function(t), t)
    t = np.linspace(-10, 10, 1001)
    return np.trapezoid(np.trapezoid(function(*np.meshgrid(t, t)), t), t)


MEAN, VARIANCE = R(-1, 2), R(9, 10)


@pytest.mark.parametrize("name", divergences(X1, RHO1))
def test_energies_of_divergences(name, tmp_path):
    """Of samples of a normal law, against quadrature, in one and two dimensions."""
    for x, rho in ((X1, RHO1), (X2, RHO2)):
        formula = divergences(x, rho)[name]
        law = Gaussian([float(MEAN)] * len(x), float(VARIANCE))
        problem = GradientFlow(integral(formula, x), rho, initial=law)
        program = compile_program(problem, Affine(len(x)), folder=tmp_path)
        samples = program.samples(law.sample(1 << 14, seed=5))
        theta = Affine(len(x)).initial_parameters(law)
        state = program.push(theta, samples, "log_density")
        found = program.energy(program.integrals(state))
        want = by_quadrature(formula, x, rho, MEAN, VARIANCE)
        # Random samples: the mean of weights pi/rho scatters most.
        assert found == pytest.approx(want, abs=0.06 if name == "reverse KL" else 0.02)
        assert program.unknown_constant == ""


OPTIONS = {"samples": 2048, "dt": 0.025, "linear_solver": "dense", "save_at": [0, 0.2]}


@pytest.mark.parametrize("name", ["chi squared", "Hellinger", "Jensen-Shannon", "reverse KL"])
def test_both_formulations_give_one_flow(name):
    problem = GradientFlow(
        integral(divergences(X1, RHO1)[name], X1), RHO1, Gaussian([float(MEAN)], float(VARIANCE))
    )
    runs = [
        solve(problem, Affine(1), (0, 0.2), formulation=formulation, **OPTIONS)
        for formulation in ("velocity", "energy")
    ]
    start = [[-1.0], [0.5]]
    first, second = (run.push(start) for run in runs)
    noise = 0.03 if name == "reverse KL" else 5e-3  # that of the weights pi/rho
    assert np.allclose(first, second, atol=noise)
    assert abs(first - start).max() > 3 * noise
    assert runs[0].energy[-1] < runs[0].energy[0]


def test_a_constant_moves_nothing():
    """A double well in the density, with and without its constant, in the energy form."""
    well = (RHO1**2 - 1) ** 2 / 3 + RHO1 * L(RHO1)
    law = Gaussian([0.4], 0.7)
    solutions = [
        solve(GradientFlow(integral(f, X1), RHO1, law), Affine(1), (0, 0.2), formulation="energy",
              **OPTIONS)
        for f in (well, sp.expand(well - R(1, 3)))
    ]  # fmt: skip
    first, second = (s.push([[0.0], [2.0]]) for s in solutions)
    assert np.allclose(first, second, atol=1e-10)
    assert np.allclose(solutions[0].energy, solutions[1].energy, rtol=1e-10)
    assert "differences over time are right" in repr(solutions[0]) and "constant" not in repr(
        solutions[1]
    )
    want = by_quadrature(sp.expand(well - R(1, 3)), X1, RHO1, R(2, 5), R(7, 10))
    assert solutions[0].energy[0] == pytest.approx(want, abs=2e-3)


def inner_of(formula):
    return integral((RHO1 - formula) ** 2, X1)


def test_constants_inside_of_functions():
    """The flow of F(E) has the weight F'(E): there the constant counts, and must be known."""
    inner = integral((RHO1 - PI) ** 2, X1)
    law = Gaussian([0.0], 1.0)
    problem = GradientFlow(sp.exp(inner), RHO1, law)
    found = solve(problem, Affine(1), (0, 0.2), **OPTIONS).energy[0]
    want = math.exp(by_quadrature((RHO1 - PI) ** 2, X1, RHO1, 0, 1))
    assert found == pytest.approx(want, rel=1e-3)
    lost = GradientFlow(integral((RHO1 - 1) ** 2, X1) ** 2, RHO1, law)
    with pytest.raises(EnergyError, match=r"inside of a function.*which is infinite"):
        solve(lost, Affine(1), (0, 0.2), **OPTIONS)
    spike = sp.exp(-(((A - 11) * 900) ** 4))
    for energy, words in ((inner_of(spike) ** 2, "was not found to a part of 0.001"),):
        with pytest.raises(EnergyError, match=words):
            solve(GradientFlow(energy, RHO1, law), Affine(1), (0, 0.2), **OPTIONS)
    linear = GradientFlow(3 * integral((RHO1 - 1) ** 2, X1) + 1, RHO1, law)
    unknown = compile_program(linear, Affine(1)).unknown_constant
    assert unknown.startswith("\N{INTEGRAL}") and unknown.endswith("(infinite)")
    missed = compile_program(GradientFlow(inner_of(spike), RHO1, law), Affine(1))
    assert missed.unknown_constant and "infinite" not in missed.unknown_constant


def test_constants_with_parameters():
    """int pi for a normal law of any scale c times M: M."""
    scaled = M * normal(X1, 0, C**2)
    law = Gaussian([0.0], 0.5)
    energy = integral((sp.sqrt(RHO1) - sp.sqrt(scaled)) ** 2, X1)
    problem = GradientFlow(energy, RHO1, law, {C: 0.6, M: 2.5})
    program = compile_program(problem, Affine(1))
    assert program._constants[0] == pytest.approx([2.5], rel=1e-9)
    assert velocity(energy, RHO1).shape == (1, 1)
