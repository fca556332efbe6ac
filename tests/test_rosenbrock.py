"""Rosenbrock-W steps against closed forms, and their matrix against means over the samples."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, FlowError, OptionError
from pwgf_sym.solver.decay import DecayingPart
from pwgf_sym.solver.implicit import StageOperator, entropy_factor, strain_rows, weighted_rows
from pwgf_sym.solver.sampling import draw
from pwgf_sym.solver.steppers.automatic import Automatic
from pwgf_sym.solver.steppers.rosenbrock import Rosenbrock


@dataclass
class PlainStage:
    """The right side of a system, where parameters are measured as they are."""

    theta: np.ndarray
    eta: np.ndarray
    spread: float = 1.0

    def length(self, vector):
        return float(np.linalg.norm(vector))


def right_of(rhs):
    return lambda t, theta: PlainStage(theta, rhs(theta))


def frozen(matrix_at):
    """The stepper with B a function of the state at which a step begins."""

    def operator(stage, factor):
        matrix = np.eye(stage.theta.size) - factor * np.asarray(matrix_at(stage.theta))
        return lambda v: np.linalg.solve(matrix, v)

    return Rosenbrock(operator)


def curved(y):
    """u' = u (1 - u), v' = -2 u v: with q = 1 + u0 (e^t - 1), u = u0 e^t/q and v = v0/q^2."""
    return np.array([y[0] * (1 - y[0]), -2 * y[0] * y[1]])


def curve(t):
    q = 1 + 0.2 * (np.exp(t) - 1)
    return np.array([0.2 * np.exp(t) / q, 1.5 / q**2])


MATRICES = {
    "exact": lambda y: [[1 - 2 * y[0], 0], [-2 * y[1], -2 * y[0]]],
    "none": lambda y: np.zeros((2, 2)),
    "wrong": lambda y: [[-3.0, 1.0], [2.0, -5.0]],
}


def marched(name, count):
    stepper, right, step = frozen(MATRICES[name]), right_of(curved), 2.0 / count
    stage, taken = right(0.0, curve(0.0)), []
    for k in range(count):
        taken.append(stepper.step(right, k * step, stage, step))
        stage = taken[-1].stage
    return stage.theta, taken


def slope_of(counts, errors):
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize("name", MATRICES)
def test_order_two_whatever_the_matrix(name):
    counts = [160, 226, 320, 453]
    errors = [np.linalg.norm(marched(name, n)[0] - curve(2.0)) for n in counts]
    assert slope_of(counts, errors) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("name", MATRICES)
def test_the_estimate_falls_as_the_error_of_a_step(name):
    counts = [320, 640, 1280]
    errors = [np.linalg.norm(marched(name, n)[1][n // 2].error) for n in counts]
    assert slope_of(counts, errors) == pytest.approx(3, abs=0.15)


def test_the_polynomial_of_a_step_errs_as_the_step_does():
    counts, errors = [40, 80, 160], []
    for n in counts:
        step, (_, taken) = 2.0 / n, marched("wrong", n)
        at = taken[n // 2]
        rise = at.coefficients(at.stage.eta).T @ [0.4, 0.4**2, 0.4**3]
        start = at.theta - step * at.coefficients(at.stage.eta).sum(axis=0)
        own = start - curve(step * (n // 2))
        found = start + step * rise - own
        errors.append(np.linalg.norm(found - curve(step * (n // 2 + 0.4))))
    assert slope_of(counts, errors) == pytest.approx(3, abs=0.2)


def growth(product, said):
    """Factor of a step on y' = product y where B says ``said``."""
    stepper, right = frozen(lambda y: [[said]]), right_of(lambda y: product * y)
    return stepper.step(right, 0.0, right(0.0, np.ones(1)), 1.0)


def test_stable_however_long_the_step_is():
    for product in -np.geomspace(1e-2, 1e9, 45):
        for ratio in (0.0, 0.1, 0.5, 1.0, 1.35):  # of the true rate to that which B knows
            assert abs(growth(ratio * product, product).theta[0]) <= 1 + 1e-9
    # And where B is right a mode of rate 1e6 has died down after thirty steps.
    assert abs(growth(-1e6, -1e6).theta[0]) ** 30 < 2e-6


def test_fast_modes_do_not_spoil_the_estimate_nor_the_polynomial():
    """eta is 1e6 times as large as what the step has to cure."""
    step = growth(-1e6, -1e6)
    assert abs(step.error[0]) < 1.0
    inner = [1 + step.coefficients(step.stage.eta).T @ [s, s**2, s**3] for s in (0.2, 0.5, 0.8)]
    assert np.abs(inner).max() < 8


TURN = np.array([[0.6, 0.8], [0.8, -0.6]])


def quadratic(cov, stiffness=1000.0, sigma=0.5):
    """1/2 x'Ax + sigma log rho with eigenvalues ``stiffness`` and 1 of A; the problem and A."""
    x = pw.coordinates(2)
    rho = pw.Density(x)
    a, b = (3 * x[0] + 4 * x[1]) / 5, (4 * x[0] - 3 * x[1]) / 5
    potential = (stiffness * a**2 + b**2) / 2
    E = pw.integral(potential * rho + sigma * rho * sp.log(rho), x)
    law = pw.Gaussian([0.3, -0.2], cov)
    return pw.GradientFlow(E, rho, law), TURN @ np.diag([stiffness, 1.0]) @ TURN


@pytest.fixture(scope="module")
def stage():
    """Program, samples and parameters of a map that is bent, from a law of spread other than 1."""
    problem, A = quadratic([[0.3, 0.1], [0.1, 0.2]])
    map = pw.NeuralFlow(2, 4, 1)
    program = pw.compile(problem, map)
    shares = np.random.default_rng(9).dirichlet(np.ones(200))
    samples = program.samples(draw(problem.initial, 200, sampling="sobol", seed=3), shares)
    theta = np.random.default_rng(5).normal(size=program.size) * 0.4
    return program, samples, theta, A


def test_rows_of_the_local_part(stage):
    program, samples, theta, A = stage
    state = program.push(theta, samples, "score")
    local = program.velocity_jacobian(state, program.integrals(state))
    rng, c = np.random.default_rng(1), 0.02
    for given, matrix in ((local, A), (np.tile([-5.0, 3.0], (200, 1)), np.diag([5.0, 0.0]))):
        map = program.linearize(theta, samples)
        rows = weighted_rows(map, DecayingPart(given), c)
        for v in rng.normal(size=(3, program.size)):
            moved = samples.unpack(map.jvp(v))
            squares = np.sum(moved @ (np.eye(2) + c * matrix) * moved, axis=1)
            expected = samples.unpack_scalar(samples.weight) @ squares
            assert np.sum((v @ rows) ** 2) == pytest.approx(expected, rel=1e-10)


def test_rows_of_the_entropys_part(stage):
    """Gradients in x by central differences of pushed points and of J v."""
    program, samples, theta, _ = stage
    n, h = 2 * 200 // 3, 1e-5
    rows = strain_rows(program, samples, theta)
    assert rows.shape == (program.size, 3 * n)
    spread = program.problem.initial.spread
    z = samples.unpack(samples.z)[:n] * spread + program.problem.initial.mean

    def at(points, v):
        near = program.samples(points)
        map = program.linearize(theta, near)
        return near.unpack(map.state.x), near.unpack(map.jvp(v))

    for v in np.random.default_rng(2).normal(size=(3, program.size)):
        both = [(at(z + h * e, v), at(z - h * e, v)) for e in np.eye(2)]
        dx, dv = (np.stack([(p[k] - m[k]) / (2 * h) for p, m in both], axis=2) for k in (0, 1))
        strain = dv @ np.linalg.inv(dx)
        strain = (strain + strain.transpose(0, 2, 1)) / 2
        shares = samples.unpack_scalar(samples.weight)[:n]
        expected = shares @ np.sum(strain**2, axis=(1, 2)) / shares.sum()
        assert np.sum((v @ rows) ** 2) == pytest.approx(expected, rel=1e-4)


def test_a_matrix_that_is_not_finite_is_an_error_of_the_flow(stage):
    """It says where, and a run may try a shorter step."""
    program, samples, theta, _ = stage
    state = program.push(theta, samples, "score")
    ends = {"state": state, "integrals": program.integrals(state), "shift": 1e-5}
    where = {"step": 3, "time": 0.25}
    linearized = partial(program.linearize, theta * np.nan, samples)
    given = SimpleNamespace(
        program=program, samples=samples, linearized=linearized, **ends, **where
    )
    with pytest.raises(
        FlowError, match=r"step 3 \(t = 0.25\).*a step's matrix with c = 0.1"
    ) as raised:
        StageOperator(given, 0.1)
    assert (raised.value.step, raised.value.time) == (3, 0.25)


def test_factor_of_the_entropy():
    assert entropy_factor(quadratic(1.0, sigma=0.5)[0]) == 0.5
    assert entropy_factor(quadratic(1.0, sigma=0)[0]) == 0.0


def test_a_stiff_flow_to_its_exact_answer():
    """Rate 1e4: the explicit pair would take some 1e4/2.5 steps of a unit of time.

    Mean m' = -A m and covariance S' = 2 sigma - A S - S A in the axes of A, from N(m, I/10).
    """
    problem, _ = quadratic(0.1, 1e4)
    solution = pw.solve(problem, pw.Affine(2), (0, 1), tol=1e-3, integrator="rosenbrock")
    rates = np.array([1e4, 1.0])
    mean = TURN @ (np.exp(-rates) * (TURN @ problem.initial.mean))
    variances = 0.5 / rates + (0.1 - 0.5 / rates) * np.exp(-2 * rates)
    points = solution.push(draw(problem.initial, 4096, sampling="sobol", seed=77))
    exact = TURN @ np.diag(variances) @ TURN
    spread = np.sqrt(np.trace(exact))
    assert np.linalg.norm(points.mean(axis=0) - mean) < 1e-3 * spread
    np.testing.assert_allclose(np.cov(points.T), exact, atol=2e-3 * spread**2)
    assert TURN[0] @ np.cov(points.T) @ TURN[0] == pytest.approx(variances[0], rel=0.02)
    assert solution.nsteps < 150 and solution.success


@pytest.mark.parametrize(
    "options",
    [{"linear_solver": "lsmr"}, {"formulation": "energy"}, {"shift": 0.0}, {"cutoff": 1e-9}],
    ids=lambda options: next(iter(options)),
)
def test_what_it_cannot_work_with_is_refused_with_the_alternative(options):
    problem, _ = quadratic(1.0)
    with pytest.raises(OptionError, match="rkc") as raised:
        pw.solve(problem, pw.Affine(2), (0, 1), integrator="rosenbrock", **options)
    assert raised.value.argument == {"cutoff": "shift"}.get(*[*options] * 2)


class Refusing:
    """A program whose velocity has no Jacobian, or one that has."""

    def __init__(self, problem):
        self.problem = problem

    @property
    def local_jacobian(self):
        if self.problem is not None:
            raise self.problem


@pytest.mark.parametrize("problem", [None, EnergyError("energy", "an energy", "another")])
def test_the_automatic_method_goes_on_to_implicit_steps_where_it_can(problem):
    rates = np.array([0.3, 1e6])
    right = right_of(lambda y: -rates * y)

    def plain(stage, factor):
        return lambda v: v / (1 + factor * rates)

    class Run:
        program = Refusing(problem)

        def __call__(self, t, theta):
            return right(t, theta)

    method, run = Automatic(), Run()
    method.implicit = Rosenbrock(plain)
    stage, names = run(0.0, np.array([1.0, 1e-9])), []
    for _ in range(12):
        length = method.allowed(run, 0.0, stage, 0.1)
        found = method.step(run, 0.0, stage, length)
        method.accepted(found)
        stage = found.stage
        names.append((method.chosen, length))
    if problem is None:
        assert names[-1] == ("rosenbrock", 0.1) and "very stiff" in method.switches[-1][2]
    else:
        assert names[-1][0] == "rkc" and names[-1][1] < 0.1
    rates[1] = 0.5
    for _ in range(40):
        stage = run(0.0, np.ones(2))
        method.accepted(method.step(run, 0.0, stage, method.allowed(run, 0.0, stage, 0.1)))
    assert method.chosen == "rk23"
