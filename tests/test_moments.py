"""Separable interactions by moments: against sums over all pairs in NumPy, and the pair kernels."""

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from on_targets import fewer, program_on
from test_pair_sums import KAPPA, K, at, check, copies, problem, square

import pwgf_sym as pw
from pwgf_sym.derive.samples import sample_form
from pwgf_sym.kernels.moments import MOST_FEATURES
from pwgf_sym.kernels.pairs import pair_parts
from pwgf_sym.targets.program import compile_program


def parts_of(formula, dim):
    x, y = copies(dim)
    rho = pw.Density(x)
    return pair_parts(sample_form(pw.integral(formula * rho * rho.at(y), x, y), rho))


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


# ------------------------------------------------------------------------------ random kernels
@st.composite
def mixed(draw, x, y):
    """A function of both copies that is a sum of products."""
    a, b = (draw(st.sampled_from(x)), draw(st.sampled_from(y)))
    number = draw(st.sampled_from([1, 2, sp.Rational(-3, 2), K]))
    pool = [a - b, square(x, y), dot(x, y), a * b + b, (a - number * b) ** 2, a**2 * b - 1]
    pool += [sp.cos(number * (a - b)), sp.sin(a + number * b + 1), sp.exp(a - number * b / 2)]
    pool += [sp.cos(a**2 - b), sp.cosh(a - b), 2 ** (a + b), a**2 - b**2]
    return draw(st.sampled_from(pool))


@st.composite
def kernels(draw):
    dim = draw(st.sampled_from([1, 2, 3]))
    x, y = copies(dim)
    alone = [1, K, x[0], sp.tanh(y[-1]), 1 / (1 + x[-1] ** 2), sp.exp(-(y[0] ** 2)), sp.sqrt(3)]
    terms = []
    for _ in range(draw(st.integers(1, 2))):
        factors = draw(st.lists(mixed(x, y), min_size=1, max_size=2))
        terms.append(sp.Mul(draw(st.sampled_from(alone)), *factors))
        if draw(st.booleans()):
            terms[-1] = sp.expand(terms[-1])
    return dim, sp.Add(*terms)


@settings(
    max_examples=fewer(4, amount(10, 30)),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(kernels(), st.integers(1, 9))
def run_random(target, folder, kernel, count):
    dim, formula = kernel
    x, y = copies(dim)
    if not {*x, *y} & formula.free_symbols or formula == 0:
        return
    points = 0.7 * np.random.default_rng(count).standard_normal((count, dim))
    given_problem = problem(dim, formula)
    program = program_on(target, given_problem, pw.Affine(dim), folder)
    assert program.moments is not None and not program.sums_pairs, formula
    check(program, formula, points)
    pairs = program_on("numpy", given_problem, pw.Affine(dim), folder, moments=False)
    velocity, (value,) = at(program, points)
    expected, (truth,) = at(pairs, points)
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose(velocity, expected, rtol=0, atol=1e-12 * scale)
    assert value == pytest.approx(truth, rel=1e-12, abs=1e-12 * (1 + abs(truth)))


@pytest.mark.slow
def test_random_kernels(target, tmp_path_factory):
    run_random(target, tmp_path_factory.mktemp("moments"))


# ----------------------------------------------------------------------------- which are found
X, Y = copies(2)
SEPARABLE = {
    "g(x) h(y)": (sp.tanh(X[0]) * sp.log(1 + Y[1] ** 2), 3),
    "|x - y|^4": (square(X, Y) ** 2, 8),
    "|x - y|^4, multiplied out": (sp.expand(square(X, Y) ** 2), 8),
    "x.y squared": (dot(X, Y) ** 2, 9),
    "cos k.(x - y)": (sp.cos(2 * (X[0] - Y[0]) + K * (X[1] - Y[1])), 2),
    "waves": (sp.cos(X[0] - Y[0]) + K * sp.cos(X[1] - Y[1]) ** 2, 5),
    "exp of a sum": (sp.exp(K * X[0] - Y[1] / 2), 3),
    "decimal numbers": (sp.cos(X[1]) - 0.7 * sp.tanh(X[0]), 1),
    "a decimal parameter": (K * (sp.cos(X[1]) - 0.3 * sp.tanh(X[0])) * sp.sin(Y[0]), 3),
    "decimal products": (
        K * X[0] ** 2 * (1.9 * (X[1] - Y[1]) ** 2 - 2.1 * K * (X[0] - Y[0]) ** 2) * dot(X, Y),
        40,
    ),
    "decimal factors": (
        (0.7 * (X[0] - Y[0]) ** 4 - 4.83 * K * (X[1] - Y[1]) ** 4)
        * (2.2 * X[0] * Y[0] + 1.1 * X[1] * Y[1])
        * sp.exp(-(X[1] ** 2)),
        40,
    ),
    "a projection": ((X[0] - Y[0] + 2 * (X[1] - Y[1])) ** 4, 4),
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_separable_kernels(name, target, tmp_path):
    formula, most = SEPARABLE[name]
    parts = parts_of(formula, 2)
    assert parts.moments is not None and parts.means == [0]
    assert len(parts.moments.features) <= most
    points = np.random.default_rng(4).standard_normal((fewer(5, 13), 2))
    program = program_on(target, problem(2, formula), pw.Affine(2), tmp_path)
    check(program, formula, points)


@pytest.mark.parametrize(
    "formula",
    [
        sp.exp(-square(X, Y)),
        sp.Abs(X[0] - Y[0]),
        1 / (2 + sp.cos(X[0] - Y[0])),
        sp.Max(X[0], Y[0]),
        (sp.exp(X[0]) - sp.exp(Y[0])) ** 2,  # in whose terms digits would be lost
        sp.cos(X[0] * Y[0]),
        sp.log(X[0] ** 2 + Y[1] ** 2),
    ],
    ids=str,
)
def test_other_kernels_stay_pairs(formula):
    parts = parts_of(formula, 2)
    assert parts.moments is None and parts.rows != () and parts.means != [0]


def test_what_is_left_stays_with_the_pairs(target, tmp_path):
    """A parameter times a sum of both kinds; what reads one copy stays with the pairs."""
    formula = K * (sp.cos(X[0] - Y[1]) + sp.exp(-square(X, Y))) + X[0] ** 3
    parts = parts_of(formula, 2)
    q = parts.distance
    assert parts.moments is not None and parts.means[0].has(sp.exp)
    assert parts_of(sp.exp(-square(X, Y)) + X[0] ** 3, 2).moments is None
    assert not parts.means[0].has(sp.cos) and parts.radial in (0, 4 * K * sp.exp(-q))
    points = np.random.default_rng(1).standard_normal((fewer(4, 11), 2))
    program = program_on(target, problem(2, formula), pw.Affine(2), tmp_path)
    check(program, formula, points)


@pytest.mark.parametrize("power", [3, 4])
def test_narrow_clouds_keep_their_digits(power):
    """Powers of what is near zero are summed over pairs: multiplied out they would cancel."""
    x, y = pw.coordinates(1), pw.coordinates(1, "y")
    rho = pw.Density(x)
    kernel = (1 - sp.cos(x[0] - y[0])) ** power
    energy = pw.integral(kernel * rho * rho.at(y), x, y)
    flow = pw.GradientFlow(energy, rho, pw.Gaussian([0.0], 1.0))
    program = compile_program(flow, pw.Affine(1), "numpy")
    points = 1e-3 * np.random.default_rng(0).normal(size=(9, 1))
    gaps = points - points.T
    truth = -4 * power * (2 * np.sin(gaps / 2) ** 2) ** (power - 1) * np.sin(gaps) / 16
    np.testing.assert_allclose(program.velocity_at(points)[:, 0], truth.sum(axis=1), rtol=1e-6)


def test_many_features_stay_pairs():
    x, y = copies(3)
    assert parts_of(square(x, y) ** 2, 3).moments is not None
    wide = parts_of(square(x, y) ** 4, 3)
    assert wide.moments is None and wide.radial != 0
    many = sp.Add(*(sp.cos(k * (x[0] - y[0])) for k in range(1, MOST_FEATURES // 2 + 2)))
    assert parts_of(many, 3).moments is None


def test_many_coordinates(target, tmp_path):
    """Waves of twelve coordinates: two means for each."""
    x, y = copies(12)
    formula = sp.Add(*(sp.cos(a - b) for a, b in zip(x, y, strict=True))) + dot(x, y)
    parts = parts_of(formula, 12)
    assert len(parts.moments.features) <= 37 and parts.means == [0]
    points = np.random.default_rng(7).standard_normal((fewer(2, 3), 12))
    program = program_on(target, problem(12, formula), pw.Affine(12), tmp_path)
    check(program, formula, points)


def test_noisy_kuramoto_is_two_means():
    x, y = copies(1)
    moments = parts_of(-K * sp.cos(x[0] - y[0]), 1).moments
    assert {f.func for f in moments.features} == {sp.cos, sp.sin}


# ------------------------------------------------------------------------- both formulations
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradient_of_the_energy(dtype, target, tmp_path):
    """By moments that of the pairs, with a potential and a function of the integrals beside."""
    x, y = copies(2)
    rho = pw.Density(x)
    pair = sp.cos(x[0] - y[0]) * (x[1] - y[1]) ** 2 + sp.exp(x[0]) * y[1]
    integral = pw.integral(pair * rho * rho.at(y), x, y)
    energy = pw.integral(x[0] ** 4 * rho + rho * sp.log(rho), x) + K * integral**2
    law = pw.Gaussian(mean=[1.0, 0.0], cov=0.5)
    flow = pw.GradientFlow(energy, rho, initial=law, parameters={K: KAPPA})
    points = law.sample(fewer(6, 21), np.random.default_rng(2))
    found = []
    for moments in (True, False):
        program = program_on(target, flow, pw.Affine(2), tmp_path, dtype, moments=moments)
        theta = program.map.initial_parameters(law).astype(dtype) + program.dtype.type(0.01)
        slope = program.slope(theta, program.samples(points))
        found.append((slope.integrals, np.asarray(slope.gradient)))
    relative = 1e-12 if dtype == "float64" else 2e-5
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=relative * np.abs(b).max())


def test_a_kernel_that_changes_with_the_time(target, tmp_path):
    """The time stands in functions of a sample, and in what their means are multiplied by."""
    x, y = copies(2)
    rho, t = pw.Density(x), sp.Symbol("t", real=True)
    pair = sp.cos(t * (x[0] - y[0])) + sp.exp(-t) * dot(x, y) ** 2
    law = pw.Gaussian(mean=[0.0, 0.0], cov=1.0)
    energy = pw.integral(pair * rho * rho.at(y), x, y)
    flow = pw.GradientFlow(energy, rho, initial=law, time=t)
    points = law.sample(fewer(4, 9), np.random.default_rng(3))
    program = program_on(target, flow, pw.Affine(2), tmp_path)
    assert program.moments is not None
    for time in (0.5, 2.0):
        check(program.at(time), pair.subs(t, time), points)
