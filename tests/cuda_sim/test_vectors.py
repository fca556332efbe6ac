"""Vectors and Krylov methods of the device beside NumPy's and SciPy's, and what the host sees."""

import numpy as np
import pytest
import scipy.sparse.linalg
import sympy as sp
from tile_numpy import interpreted

import pwgf_sym as ps
from pwgf_sym.runtime.cuda.toolkit import cuda
from pwgf_sym.solver import vectors
from pwgf_sym.solver.history import Record
from pwgf_sym.solver.lsmr import lsmr
from pwgf_sym.solver.option_objects import LinearSolve, Samples
from pwgf_sym.solver.options import FlowOptions
from pwgf_sym.solver.preconditioner import SamplePreconditioner
from pwgf_sym.solver.right_side import RightSide
from pwgf_sym.solver.steppers import stepper_named
from pwgf_sym.targets.cuda import krylov
from pwgf_sym.targets.cuda.vectors import PlacesMatrix, Vector
from pwgf_sym.targets.program import compile_program

SIZE, SAMPLES = 7, 13


def on_device(values):
    return Vector.of(values, np.float64)


def applied(matrix):
    """The product with a matrix, for vectors on the device."""
    return lambda v: on_device(matrix @ np.asarray(v))


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def system(rng):
    """A matrix J, weights, the metric G, a right side and a diagonal preconditioner."""
    rows, weights = rng.normal(size=(SAMPLES, SIZE)), rng.uniform(0.1, 1, SAMPLES)
    metric = rows.T @ (weights[:, None] * rows) + 0.1 * np.eye(SIZE)
    return rows, weights, metric, rng.normal(size=SIZE), np.diag(1 / np.diag(metric))


def test_arithmetic_is_that_of_numpy(rng):
    a, b = rng.normal(size=(2, SIZE))
    u, v, single = on_device(a), on_device(b), Vector.of(a, np.float32)
    pairs = [
        (u + v, a + b),
        (u - v, a - b),
        (2 * u, 2 * a),
        (np.float64(3) * u, 3 * a),
        (u * v, a * b),
        (-u, -a),
        (u / 4, a / 4),
        (single + v, a.astype(np.float32) + b),
    ]
    w = u.copy()
    w += v
    w -= 3 * u
    pairs.append((w, a + b - 3 * a))
    for found, expected in pairs:
        assert found.dtype == np.float64
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-15, atol=1e-15)
    assert u.dot(v) == pytest.approx(a @ b, rel=1e-14)
    assert np.array_equal(np.asarray(u), a)
    assert single.dtype == np.float32 and (2.0 * single).dtype == np.float32
    assert u.astype(np.float64) is u and u.copy() is not u
    for wrong in (lambda: u + on_device(a[1:]), lambda: u + a, lambda: a + u):
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.filterwarnings("ignore:.*invalid value")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found(rng, bad):
    values = rng.normal(size=SIZE)
    assert vectors.is_finite(on_device(values))
    values[3] = bad
    assert not vectors.is_finite(on_device(values))


@pytest.mark.parametrize("precondition", [False, True])
@pytest.mark.parametrize("name", ["cg", "minres"])
def test_iterates_are_those_of_scipy(system, name, precondition):
    *_, metric, right, diagonal = system
    expected, found = [], []
    options = {"rtol": 1e-10, "maxiter": 5}
    getattr(scipy.sparse.linalg, name)(
        metric,
        right,
        M=diagonal if precondition else None,
        callback=lambda x: expected.append(x.copy()),
        **options,
    )
    getattr(krylov, name)(
        applied(metric),
        on_device(right),
        M=applied(diagonal) if precondition else None,
        callback=lambda x: found.append(np.array(x)),
        **options,
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_cg_stops_at_the_tolerance(system):
    *_, metric, right, _ = system
    x, info = krylov.cg(applied(metric), on_device(right), rtol=0.2, maxiter=50)
    expected, _ = scipy.sparse.linalg.cg(metric, right, rtol=0.2)
    gap = np.linalg.norm(metric @ expected - right)
    assert info == 0 and 1e-3 * np.linalg.norm(right) < gap  # it has stopped early
    np.testing.assert_allclose(np.asarray(x), expected, rtol=0, atol=1e-13)
    assert krylov.cg(applied(metric), on_device(right), rtol=1e-6, maxiter=2)[1] == 2


@pytest.mark.parametrize("maxiter", [1, 2, 9])
def test_cg_ends_where_nothing_is_left(maxiter):
    """Without any tolerance; the product that is started for the next iteration has no effect."""
    right, iterates, products = np.array([1.0, -2.0, 4.0]), [], []

    def double(v):
        products.append(v)
        return 2.0 * v

    found = krylov.cg(double, on_device(right), rtol=0.0, maxiter=maxiter, callback=iterates.append)
    assert found[1] == 0 and np.array_equal(np.asarray(found[0]), right / 2)
    assert len(iterates) == 1 and len(products) == min(maxiter, 2)
    assert krylov.cg(double, on_device(0 * right), rtol=0.1, maxiter=maxiter)[1] == 0
    assert krylov.cg(double, on_device(right), rtol=0.1, maxiter=0)[1] == 0
    assert len(products) == min(maxiter, 2)


def test_minres_goes_on_after_the_last_direction(system):
    """Nothing is left to find: the iterate stays, no number is lost."""
    right, eigenvalues = np.array([1.0, 0.0, 2.0]), np.diag([2.0, 3.0, 4.0])
    x, _ = krylov.minres(applied(eigenvalues), on_device(right), maxiter=6)
    np.testing.assert_allclose(np.asarray(x), [0.5, 0.0, 0.5], atol=1e-14)


@pytest.mark.parametrize("damp", [0.0, 0.3])
def test_lsmr_is_that_of_the_cpu(system, rng, damp):
    rows, weights, *_ = system
    target = rng.normal(size=SAMPLES)
    options = {"damp": damp, "tolerance": 1e-8, "max_iterations": 30, "eps": 1e-15}
    x, count, floor = lsmr(lambda v: rows @ v, lambda u: rows.T @ u, target, weights, **options)
    found = krylov.lsmr(
        applied(rows), applied(rows.T), on_device(target), on_device(weights), **options
    )
    assert found[1] == count and found[2] == pytest.approx(floor, rel=1e-12)
    np.testing.assert_allclose(np.asarray(found[0]), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6, 0.0])
@pytest.mark.parametrize("rank", [SIZE, SIZE - 2])
def test_lsmr_by_the_residual_is_that_of_scipy(system, rng, tolerance, rank):
    """Also where the matrix is singular and the right side out of its range."""
    _, _, metric, right, _ = system
    values, modes = np.linalg.eigh(metric)
    values[: SIZE - rank] = 0.0
    metric = modes * values @ modes.T
    apply = applied(metric)
    limits = {"atol": 0.0, "btol": tolerance, "conlim": 0.0, "maxiter": 3 * SIZE}
    x, _, count, *_ = scipy.sparse.linalg.lsmr(metric, right, **limits)
    options = {"damp": 0.0, "tolerance": tolerance, "max_iterations": 3 * SIZE, "eps": 1e-16}
    found, iterations, _ = krylov.lsmr(
        apply, apply, on_device(right), None, by_residual=True, **options
    )
    if tolerance and rank == SIZE:
        assert iterations == count < 3 * SIZE
        left = np.linalg.norm(metric @ np.asarray(found) - right)
        assert left <= tolerance * np.linalg.norm(right)
    np.testing.assert_allclose(np.asarray(found), x, rtol=0, atol=1e-9)


class Traffic:
    """Numbers that went to the device and that came from it."""

    def __init__(self, monkeypatch):
        self.sent, self.fetched = [], []
        kind, send = type(cuda.to_device(np.zeros(1))), cuda.to_device
        fetch = kind.copy_to_host

        def counted(array, *args, **kwargs):
            self.sent.append(np.size(array))
            return send(array, *args, **kwargs)

        def copied(array, *args, **kwargs):
            self.fetched.append(array.size)
            return fetch(array, *args, **kwargs)

        monkeypatch.setattr(cuda, "to_device", counted)
        monkeypatch.setattr(kind, "copy_to_host", copied)


def test_a_matrix_on_some_entries(rng):
    matrix, x, places = rng.normal(size=(3, 3)), rng.normal(size=8), [5, 0, 6]
    expected = np.zeros(8)
    expected[places] = matrix @ x[places]
    found = PlacesMatrix(matrix, places)(on_device(x))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("count", [6, 9])
def test_preconditioner_is_that_of_the_cpu(count, tmp_path, rng):
    problem, flow = _double_well(), ps.NeuralFlow(2, 3, steps=1)
    theta = flow.initial_parameters(problem.initial)
    right, found = rng.normal(size=theta.size), []
    for program in (
        interpreted(problem, flow, tmp_path),
        compile_program(problem, flow, target="cuda", folder=tmp_path),
    ):
        samples = program.samples(problem.initial.sample(9, 1))
        linearized = program.linearize(theta, samples)
        apply = SamplePreconditioner(linearized, count, 1e-2)
        found.append(np.asarray(apply(vectors.like(right, samples.weights))))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-11 * np.abs(found[0]).max())


def _double_well():
    x = ps.coordinates(2)
    rho = ps.Density(x)
    well = sum((c**2 - 1) ** 2 for c in x) / 4
    energy = ps.integral(well * rho + rho * sp.log(rho), x)
    return ps.GradientFlow(energy, rho, initial=ps.Gaussian(mean=[0, 0], cov=0.5))


@pytest.mark.parametrize(
    "formulation, method", [("velocity", "lsmr"), ("energy", "minres"), ("energy", "lsmr")]
)
def test_the_host_sees_numbers_only(formulation, method, tmp_path, monkeypatch):
    """A right-hand side and a Runge-Kutta step move no vector to or from the device."""
    problem = _double_well()
    program = compile_program(problem, ps.NeuralFlow(2, 5, steps=1), target="cuda", folder=tmp_path)
    options = FlowOptions(
        steps="heun",
        linear=LinearSolve(method, max_iterations=4, shift=1e-3),
        samples=Samples(9, fresh=5),
        formulation=formulation,
        target="cuda",
    )
    right = RightSide(program, options, problem.initial.sample(9, 1), Record())
    theta = vectors.like(program.map.initial_parameters(problem.initial), right.samples.weights)
    stage = right(0.0, theta)  # zeros are made once
    traffic = Traffic(monkeypatch)
    theta = stepper_named("heun").step(right, 0.0, stage, 0.01).theta
    stage = right(0.01, theta)
    assert isinstance(theta, Vector) and isinstance(stage.eta, Vector)
    # Coefficients, means of blocks and parameters of the energy are shorter than any vector.
    assert max(traffic.sent + traffic.fetched) <= 16 < min(program.size, right.samples.width)
