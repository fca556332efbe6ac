"""Sums over pairs against the energy itself: complex steps of a double sum in NumPy.

The truth here knows the interaction as a formula to be evaluated and nothing else, so it also
tells whether an interaction was rightly taken for one of the distance, or of moments.
"""

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from on_targets import fewer, program_on
from tile_numpy import interpreted

import pwgf_sym as pw
from pwgf_sym.derive.samples import sample_form
from pwgf_sym.kernels.pairs import pair_parts
from pwgf_sym.targets import threads
from pwgf_sym.targets.packing import State
from pwgf_sym.targets.program import compile_program

K = sp.Symbol("kappa", positive=True)
KAPPA = 0.75


def copies(dim):
    x = pw.coordinates(dim)
    return x, pw.copy_of(x)


def square(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def problem(dim, formula, outer=lambda value: value):
    x, y = copies(dim)
    rho = pw.Density(x)
    energy = outer(pw.integral(formula * rho * rho.at(y), x, y))
    used = {K: KAPPA} if K in energy.free_symbols else {}
    law = pw.Gaussian(mean=np.zeros(dim), cov=1.0)
    return pw.GradientFlow(energy, rho, initial=law, parameters=used)


def double_sum(formula, dim, points):
    """Mean of W over pairs of different samples."""
    x, y = copies(dim)
    count = len(points)
    function = sp.lambdify([*x, *y], formula.subs(K, KAPPA), "numpy")
    total = 0.0
    for n in range(count):
        others = np.delete(points, n, axis=0)
        if len(others):
            total = total + np.sum(function(*points[n], *others.T) + np.zeros(count - 1))
    return total / (count * max(count - 1, 1))


def steepest_descent(formula, dim, points, step=1e-30):
    """-N dE/dx_n by complex steps, (N, d)."""
    found = np.zeros_like(points)
    for n in np.ndindex(*points.shape):
        moved = points.astype(complex)
        moved[n] += 1j * step
        found[n] = -len(points) * np.imag(double_sum(formula, dim, moved)) / step
    return found


def at(program, points):
    """(velocity, integrals) of a program with the samples at these points."""
    samples = program.samples(points)
    state = State(samples, x=samples.z)
    integrals = program.integrals(state)
    return program.unpack(program.velocity(state, integrals), samples), integrals


def check(program, formula, points, tolerance=1e-11, slope=lambda value: 1.0):
    dim = points.shape[1]
    velocity, (value,) = at(program, points)
    truth = double_sum(formula, dim, points)
    assert value == pytest.approx(truth, rel=tolerance, abs=tolerance)
    expected = slope(truth) * steepest_descent(formula, dim, points)
    scale = np.abs(expected).max() + 1.0
    np.testing.assert_allclose(velocity, expected, rtol=0, atol=tolerance * scale)


# ------------------------------------------------------------------------------ random formulas
@st.composite
def interactions(draw):
    dim = draw(st.sampled_from([1, 2, 3, 5]))
    x, y = copies(dim)
    q = square(x, y) if draw(st.booleans()) else sp.expand(square(x, y))
    first = x[0] - y[0]
    weighted = sum((i + 1) * (a - b) ** 2 for i, (a, b) in enumerate(zip(x, y, strict=True)))
    pool = [q, q**2, K * q**2 / 4 - q / 2, q**3, sp.exp(-K * q), sp.sqrt(1 + q), sp.log(1 + q)]
    pool += [1 / (1 + q), (1 + q) ** -K, q * sp.exp(-q), sp.cos(q), sp.tanh(q) / K]
    pool += [sp.exp(-weighted), weighted, first**2, first**4, first**2 * q, x[0] * y[-1]]
    pool += [sp.sin(x[0]) * y[-1] ** 2, sp.cos(first), (x[0] + 1) * q, sp.exp(x[0]) * sp.cos(y[0])]
    terms = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True))
    factors = [draw(st.sampled_from([1, sp.Rational(-2, 3), K, 0.1])) for _ in terms]
    return dim, sp.Add(*(a * b for a, b in zip(factors, terms, strict=True)))


@pytest.mark.slow
@settings(
    max_examples=amount(fewer(6, 20), 60),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(interactions(), st.integers(1, 11), st.booleans(), st.booleans())
def test_random_interactions(target, tmp_path_factory, interaction, count, moments, outer):
    dim, formula = interaction
    points = 0.7 * np.random.default_rng(count).standard_normal((count, dim))
    given_problem = problem(dim, formula, (lambda e: e**2 + e) if outer else lambda e: e)
    folder = tmp_path_factory.mktemp("pairs")
    program = program_on(target, given_problem, pw.Affine(dim), folder, moments=moments)
    slope = (lambda value: 2 * value + 1) if outer else lambda value: 1.0
    check(program, formula, points, slope=slope)


# ------------------------------------------------------------- what is an interaction of |x - y|
def not_radial(dim):
    """Formulas that agree with one of |x - y| along a line, or wherever both are tiny."""
    x, y = copies(dim)
    first, others = x[0] - y[0], square(x[1:], y[1:])
    return {
        "narrow": sp.exp(-100 * first**2 - 200 * others),
        "compact": sp.Max(0, 1 - first**2 - 2 * others) ** 2,
        "nearly": square(x, y) ** 2 + sp.Float(1e-12) * others,
        "moved": square(x, y) + x[1] * (x[0] - y[0]) ** 2,
    }


@pytest.mark.parametrize("name", not_radial(2))
@pytest.mark.parametrize("dim", [2, 10])
def test_only_the_distance_counts(name, dim):
    x, y = copies(dim)
    rho = pw.Density(x)
    formula = not_radial(dim)[name]
    parts = pair_parts(sample_form(pw.integral(formula * rho * rho.at(y), x, y), rho), False)
    assert parts.radial == 0 and parts.moments is None


@pytest.mark.parametrize("name", ["narrow", "compact"])
def test_values_of_anisotropic_interactions(name, tmp_path):
    formula = not_radial(2)[name]
    points = np.random.default_rng(0).standard_normal((30, 2))
    points[1::2] = points[::2] + 0.05 * points[1::2]  # pairs where the formula is not zero
    program = interpreted(problem(2, formula), pw.Affine(2), tmp_path)
    _, (value,) = at(program, points)
    assert value > 1e-3
    assert value == pytest.approx(double_sum(formula, 2, points), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 3, 30])
def test_interactions_of_the_distance(dim):
    """However they are written."""
    x, y = copies(dim)
    rho = pw.Density(x)
    r2 = square(y, x)

    def parts(formula):
        return pair_parts(sample_form(pw.integral(formula * rho * rho.at(y), x, y), rho))

    q = parts(r2).distance
    for formula, found in [
        (sp.exp(-sp.expand(r2) / 2), sp.exp(-q / 2)),
        (r2 / 2 + sp.sin(r2), sp.sin(q)),
        (sp.expand(r2) * sp.exp(-r2), q * sp.exp(-q)),
        (K * sp.log(1 + r2) - 0.1 * r2**2, K * sp.log(1 + q)),
        (sp.Piecewise((1 - r2, r2 < 1), (0, True)), sp.Piecewise((1 - q, q < 1), (0, True))),
    ]:
        assert parts(formula).means == [found]


# --------------------------------------------------------------------------- blocks and padding
FORMULAS = {
    "quartic": lambda q: q**2 / 4 - q / 2,
    "gaussian": lambda q: sp.exp(-q / 2),
    "root": lambda q: sp.sqrt(q + 1),
    "logarithm": lambda q: sp.log(q) / 2,
}


def radial(name, dim):
    return FORMULAS[name](square(*copies(dim)))


def by_numpy(name, points):
    """Value and velocity, and the sums of the sizes of their terms, in extended precision."""
    gap = points[:, None] - points[None]
    gap = gap.astype(np.longdouble)
    q = np.sum(gap**2, axis=2)
    np.fill_diagonal(q, 1.0)
    value, slope = {
        "quartic": lambda: (q**2 / 4 - q / 2, q - 1),
        "gaussian": lambda: (np.exp(-q / 2), -np.exp(-q / 2)),
        "root": lambda: (np.sqrt(1 + q), 1 / np.sqrt(1 + q)),
        "logarithm": lambda: (np.log(q) / 2, 1 / q),
    }[name]()
    # What rounding of q, relative to q, does to the terms that are added up.
    sizes = abs(value) + q * abs(slope) + q
    pulls = {"quartic": q + 1, "gaussian": (1 + q) * np.exp(-q / 2)}.get(name, 2 * abs(slope))
    for a in (value, slope, sizes, pulls):
        np.fill_diagonal(a, 0.0)
    count, share = len(points), 1 / max(len(points) - 1, 1)
    velocity = -2 * np.einsum("nm,nmi->ni", slope, gap) * share
    scale = 2 * np.einsum("nm,nmi->ni", pulls, abs(gap)) * share
    return value.sum() * share / count, sizes.sum() * share / count, velocity, scale


def check_rounding(program, name, points, units):
    """Errors in units of the round-off of the sum of the terms' sizes."""
    value, size, velocity, scale = by_numpy(name, points)
    found, (mean,) = at(program, points.astype(float))
    eps = units * np.finfo(program.dtype).eps
    assert abs(mean - value) <= eps * size
    assert np.all(abs(found - velocity) <= eps * scale + 1e-300)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("dim", [2, 6])
@pytest.mark.parametrize("name", FORMULAS)
def test_blocks_padding_and_far_clusters(name, dim, dtype):
    """All lengths of the last tile and block; clusters that are narrow and far from the origin."""
    program = compile_program(problem(dim, radial(name, dim)), pw.Affine(dim), dtype=dtype)
    plain = compile_program(
        problem(dim, radial(name, dim)), pw.Affine(dim), dtype=dtype, moments=False
    )
    rng = np.random.default_rng(dim)
    far = 1e4 if dtype == "float64" else 300.0
    for count in (1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 130, 301):
        cloud = rng.standard_normal((count, dim))
        sides = np.where(rng.random((count, 1)) < 0.5, far, -far)
        for points in (cloud, 1e-2 * cloud + far, cloud + sides):
            for given_program in (program, plain):
                check_rounding(given_program, name, points.astype(dtype), 64)


@pytest.mark.parametrize("dim", [2, 6])
def test_samples_that_meet(dim):
    """Two samples at one place have no pull where the formula has no value; no other sees it."""
    program = compile_program(problem(dim, radial("logarithm", dim)), pw.Affine(dim))
    points = np.random.default_rng(1).standard_normal((75, dim))
    points[70] = points[3]
    velocity, (value,) = at(program, points)
    assert not np.isfinite(value)
    met = np.isin(np.arange(75), [3, 70])
    assert not np.isfinite(velocity[met]).any()
    with np.errstate(all="ignore"):
        _, _, expected, _ = by_numpy("logarithm", points)
    np.testing.assert_allclose(velocity[~met], expected[~met].astype(float), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["quartic", "gaussian"])
@pytest.mark.parametrize("moments", [True, False])
def test_bits_do_not_depend_on_the_threads(name, moments, monkeypatch):
    program = compile_program(problem(3, radial(name, 3)), pw.Affine(3), moments=moments)
    points = np.random.default_rng(0).standard_normal((9001 if moments else 700, 3))
    if name == "gaussian":
        points = points[:700]
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "thread_count", lambda count=count: count)
        velocity, integrals = at(program, points)
        found.append((velocity.tobytes(), integrals.tobytes()))
    assert found[0] == found[1] == found[2]
