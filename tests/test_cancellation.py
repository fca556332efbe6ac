"""Formulas measured from points far away keep their digits: nothing is multiplied out.

The truth is computed from x - c, which is exact near c in double precision.
"""

import mpmath
import numpy as np
import pytest
import sympy as sp
from on_targets import program_on

from pwgf_sym import GradientFlow, integral
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine
from pwgf_sym.declare.symbols import Density, coordinates, copy_of
from pwgf_sym.kernels.centers import Centers
from pwgf_sym.targets.packing import State
from pwgf_sym.tensors.scalars.offset import offset

K, M = sp.symbols("k m", positive=True)
RELATIVE = 1e-11


def matrix(dim, seed, whole=True):
    """A full positive definite matrix of whole or of decimal numbers."""
    rng = np.random.default_rng(seed)
    factor = rng.integers(-4, 5, (dim, dim)) if whole else rng.normal(size=(dim, dim)).round(3)
    return factor @ factor.T + np.eye(dim, dtype=factor.dtype)


def form(numbers, z):
    """z'Az/2 as users write it with SymPy's matrices."""
    column = sp.Matrix(z)
    return (column.T * sp.Matrix(numbers.tolist()) * column)[0] / 2


def found(potential, x, points, folder, target, parameters=None, dtype="float64"):
    """Means of the potential, velocity and slopes at points, by the kernels."""
    rho = Density(x)
    law = Gaussian(np.zeros(len(x)), 1.0)
    problem = GradientFlow(integral(potential * rho, x), rho, law, parameters or {})
    program = program_on(target, problem, Affine(len(x)), folder, dtype)
    samples = program.samples(points)
    state = State(samples, x=samples.z)
    integrals = program.integrals(state)
    velocity = program.unpack(program.velocity(state, integrals), samples)
    return program, integrals[0], velocity


def near(center, count=40, seed=5):
    """Points a distance of about 1 from a center, and what they are away from it."""
    steps = np.random.default_rng(seed).normal(size=(count, len(center)))
    points = center + steps
    return points, points - center


def close(got, true):
    assert np.abs(np.asarray(got) - true).max() <= RELATIVE * np.abs(true).max()


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "decimal"])
@pytest.mark.parametrize("dim, size", [(2, 3e7), (5, -4e6), (7, 1e8), (11, 2.5e6), (16, -1e8)])
def test_shifted_quadratic(dim, size, whole, target, tmp_path):
    x, numbers = coordinates(dim), matrix(dim, dim, whole)
    center = size + np.arange(dim) * 17.25
    points, gap = near(center)
    potential = form(numbers, [s - sp.nsimplify(c) for s, c in zip(x, center, strict=True)])
    program, value, velocity = found(potential, x, points, tmp_path, target)
    close(value, np.einsum("ni,ij,nj->n", gap, numbers, gap).mean() / 2)
    close(velocity, -gap @ numbers)
    if dim > 4 and whole:
        assert all(len(k.forms) == 1 for k in program.emission.formulas.values())


@pytest.mark.parametrize("dim", [3, 12])
def test_one_center_for_all_coordinates(dim, target, tmp_path):
    """Weights 3/7 and powers; in twelve dimensions the loops over the coordinates, too."""
    x, c = coordinates(dim), 7 * 10**7
    points, gap = near(np.full(dim, float(c)))
    square = sum((s - c) ** 2 for s in x)
    potential = sp.Rational(3, 7) * square + sp.sqrt(2 + square) / 3
    _, value, velocity = found(potential, x, points, tmp_path, target)
    squares = (gap**2).sum(1)
    close(value, (3 / 7 * squares + np.sqrt(2 + squares) / 3).mean())
    close(velocity, -gap * (6 / 7 + 1 / (3 * np.sqrt(2 + squares)))[:, None])


@pytest.mark.parametrize("dim", [2, 6, 10])
def test_centers_and_weights_that_are_parameters(dim, target, tmp_path):
    x, numbers, m = coordinates(dim), matrix(dim, 40 + dim), 5e6 + 0.5
    points, gap = near(np.full(dim, m))
    potential = K * form(numbers, [s - M for s in x])
    values = {K: 1.75, M: m}
    _, value, velocity = found(potential, x, points, tmp_path, target, values)
    close(value, 1.75 * np.einsum("ni,ij,nj->n", gap, numbers, gap).mean() / 2)
    close(velocity, -1.75 * gap @ numbers)


def test_a_weight_that_is_a_parameter(target, tmp_path):
    """k times a quadratic around numbers is a matrix times x - c, beside what is no quadratic."""
    dim, c = 6, 12_000_000
    x, one = coordinates(dim), matrix(6, 1)
    points, gap = near(np.full(dim, float(c)))
    potential = K * form(one, [s - c for s in x]) + sp.exp(-((x[0] - c) ** 2))
    program, value, velocity = found(potential, x, points, tmp_path, target, {K: 0.375})
    well = np.exp(-(gap[:, 0] ** 2))
    true = 0.375 * np.einsum("ni,ij,nj->n", gap, one, gap) / 2 + well
    slopes = 0.375 * gap @ one
    slopes[:, 0] -= 2 * gap[:, 0] * well
    close(value, true.mean())
    close(velocity, -slopes)
    assert program.emission.formulas["velocity"].forms


def test_two_centers(target, tmp_path):
    """Quadratics around two points eight apart, each a sum of products of its own."""
    dim, c = 5, 3 * 10**6
    x, one, two = coordinates(dim), matrix(5, 3), matrix(5, 4)
    points, gap = near(np.full(dim, float(c)))
    potential = form(one, [s - c for s in x]) + form(two, [s - c - 8 for s in x])
    _, value, velocity = found(potential, x, points, tmp_path, target)
    true = [np.einsum("ni,ij,nj->n", g, a, g).mean() / 2 for g, a in [(gap, one), (gap - 8, two)]]
    close(value, sum(true))
    close(velocity, -gap @ one - (gap - 8) @ two)


def test_sums_of_squares_of_several_coordinates(target, tmp_path):
    """|Bx - b|^2 names no coordinate's center alone: the point where all of it vanishes."""
    dim, size = 6, 4 * 10**6
    x = coordinates(dim)
    rows = np.random.default_rng(9).integers(-3, 4, (dim + 2, dim))
    center = size + np.arange(dim)
    rest = rows @ center
    sums = [sum(int(a) * s for a, s in zip(row, x, strict=True)) for row in rows]
    potential = sum((s - int(b)) ** 2 for s, b in zip(sums, rest, strict=True)) / 2
    points, gap = near(center.astype(float))
    _, value, velocity = found(potential, x, points, tmp_path, target)
    close(value, ((gap @ rows.T) ** 2).sum(1).mean() / 2)
    close(velocity, -gap @ rows.T @ rows)


def test_single_precision(target, tmp_path):
    """x - c is exact there, too, when both are."""
    dim, c = 5, 4096
    x, numbers = coordinates(dim), matrix(5, 8)
    points = c + np.random.default_rng(2).integers(-512, 513, (30, dim)) / 256
    _, value, velocity = found(form(numbers, [s - c for s in x]), x, points, tmp_path, target,
                               dtype="float32")  # fmt: skip
    gap = points - c
    assert value == pytest.approx(np.einsum("ni,ij,nj->n", gap, numbers, gap).mean() / 2, rel=1e-6)
    assert np.abs(velocity + gap @ numbers).max() < 1e-6 * np.abs(gap @ numbers).max()


def test_formulas_without_centers_stay_as_they_are():
    x = coordinates(2)
    density = (x[0] ** 2 - 1) ** 2 + x[1] ** 4 - 16 * x[1] ** 2 + 5 * x[1]
    centers = Centers([density], x, ())
    assert centers.found == {} and centers.written(density.diff(x[1])) == density.diff(x[1])


def test_offsets():
    x = coordinates(2)
    c = sp.Integer(10) ** 9
    density = 3 * (x[0] - c) ** 2 / 2 + (x[1] - M) ** 2
    centers = Centers([density], x, ())
    assert centers.written(density.diff(x[0])) == 3 * offset(x[0], c)
    assert centers.written(density.diff(x[1])) == 2 * offset(x[1], M)
    assert centers.written(density.diff(x[0]) + 5) == 3 * offset(x[0], c) + 5
    far = 3 * x[0] - 5
    assert centers.written(far) == far


# ------------------------------------------------------------------------ interactions by moments
def _pairs(points, kernel, slope):
    """Mean of W over pairs of different samples, and -grad_x (W(x, y) + W(y, x)), in 60 digits."""
    with mpmath.workdps(60):
        exact = [[mpmath.mpf(float(v)) for v in row] for row in points]
        count, dim = points.shape
        value, rows = mpmath.mpf(0), [[mpmath.mpf(0)] * dim for _ in exact]
        for n, p in enumerate(exact):
            for q in (q for m, q in enumerate(exact) if m != n):
                value += kernel(p, q)
                rows[n] = [a - 2 * b for a, b in zip(rows[n], slope(p, q), strict=True)]
        share = mpmath.mpf(1) / (count - 1)
        velocity = [[float(a * share) for a in row] for row in rows]
        return float(value * share / count), np.array(velocity)


def _gap(p, q):
    return [a - b for a, b in zip(p, q, strict=True)]


def _dot(p, q):
    return sum(a * b for a, b in zip(p, q, strict=True))


def _quartic(p, q):
    return _dot(_gap(p, q), _gap(p, q)) ** 2


def _quartic_slope(p, q):
    return [4 * _dot(_gap(p, q), _gap(p, q)) * a for a in _gap(p, q)]


FAR = {  # W and its slope by x, of numbers or symbols; W is symmetric
    "quartic": (_quartic, _quartic_slope),
    "dot squared": (
        lambda p, q: _dot(p, q) ** 2,
        lambda p, q: [2 * _dot(p, q) * a for a in q],
    ),
    "weighted": (
        lambda p, q: (p[0] + q[0]) * _dot(_gap(p, q), _gap(p, q)),
        lambda p, q: [
            2 * (p[0] + q[0]) * a + (i == 0) * _dot(_gap(p, q), _gap(p, q))
            for i, a in enumerate(_gap(p, q))
        ],
    ),
    "sixth": (
        lambda p, q: (p[0] - q[0] + p[1] - q[1]) ** 6,
        lambda p, q: [6 * (p[0] - q[0] + p[1] - q[1]) ** 5] * 2,
    ),
}


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("center", [(1e6, -1e6), (3e5, 2e6)], ids=str)
def test_interactions_of_far_clouds(name, center, target, tmp_path):
    """A cloud of width 1 far from the origin: relative errors are those of rounding."""
    kernel, slope = FAR[name]
    x = coordinates(2)
    y, rho = copy_of(x), Density(x)
    formula = kernel(x, y)
    energy = integral(formula * rho * rho.at(y), x, y)
    problem = GradientFlow(energy, rho, Gaussian(np.zeros(2), 1.0))
    program = program_on(target, problem, Affine(2), tmp_path)
    assert program.moments is not None
    points, _ = near(np.array(center), 12)
    samples = program.samples(points)
    state = State(samples, x=samples.z)
    integrals = program.integrals(state)
    velocity = program.unpack(program.velocity(state, integrals), samples)
    value, true = _pairs(points, kernel, slope)
    close(integrals[0], value)
    close(velocity, true)
