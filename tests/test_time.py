"""Explicit time: problems at a time against those with a number in its place, and exact flows."""

import pickle
from contextlib import nullcontext
from functools import cached_property

import numpy as np
import pytest
import sympy as sp
from on_targets import program_on
from scipy.integrate import solve_ivp

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, LawError, OptionError, ParameterError
from pwgf_sym.solver.theory import formulas_of, theory_of
from pwgf_sym.targets.program import Program
from pwgf_sym.targets.timed import ProgramAtTime

T = sp.Symbol("t", real=True)
X = pw.coordinates(2)
Y, Z = pw.copy_of(X), pw.coordinates(2, "z")
RHO = pw.Density(X)
START = pw.Gaussian([1.0, -0.5], [[0.5, 0.1], [0.1, 0.3]])
CENTRE = (sp.cos(2 * T), sp.sin(3 * T))
SQUARE = sum((a - b) ** 2 for a, b in zip(X, Y, strict=True))
n, i = sp.symbols("n i", integer=True)
N = sp.Symbol("N", integer=True, positive=True)
A = sp.IndexedBase("A", shape=(N, 2))
ROWS = np.random.default_rng(5).normal(size=(7, 2))


def well(stiffness=1, center=CENTRE, sigma=sp.S.Half):
    quadratic = sum((s - c) ** 2 for s, c in zip(X, center, strict=True)) / 2
    return pw.integral(stiffness * quadratic * RHO + sigma * RHO * sp.log(RHO), X)


# Every place where the time may stand: local terms, densities, factors of integrals and functions
# of them, moments, pairs, convolutions, data inside and outside of sums, drift, mobility.
LINE = sp.Sum(A[n, i] * X[i], (i, 0, 1))
BLOB = pw.integral(sp.exp(-SQUARE * (1 + T**2)) * RHO.at(Y), Y)
PROBLEMS = {
    "local": {"energy": well(1 + T**2, sigma=sp.exp(-T))},
    "power": {"energy": pw.integral((2 + sp.sin(T)) * RHO**2, X)},
    "outside": {"energy": T * pw.integral(X[0] ** 4 * RHO, X) ** 2 + sp.cos(T) * well()},
    "moments": {"energy": well() + T * pw.integral((SQUARE + SQUARE**2) * RHO * RHO.at(Y), X, Y)},
    "pairs": {
        "energy": pw.integral(
            sp.cos(X[0] - Y[0] + 0 * T) * sp.exp(-T * SQUARE) * RHO * RHO.at(Y), X, Y
        )
    },
    "triples": {
        "energy": pw.integral(
            sp.sqrt(2 + T + (X[0] + Y[0] - 2 * Z[0] * T) ** 2) * RHO * RHO.at(Y) * RHO.at(Z),
            X,
            Y,
            Z,
        )
    },
    "convolution": {"energy": pw.integral(RHO * sp.log(BLOB), X) + well()},
    "data": {
        "energy": pw.integral(
            (1 + T) * sp.Sum(sp.log(1 + sp.exp(LINE + T)), (n, 0, N - 1)) * RHO, X
        ),
        "parameters": {A: ROWS},
    },
    "family": {
        "energy": sp.Sum(
            (pw.integral(sp.tanh(A[n, 0] * X[0] + A[n, 1] * X[1] * T) * RHO, X) - T) ** 2,
            (n, 0, N - 1),
        )
        + well(),
        "parameters": {A: ROWS},
    },
    "mixture": {
        "energy": pw.integral(
            -sp.log(
                sp.Sum(
                    sp.exp(-((X[0] - A[n, 0] * sp.cos(T)) ** 2) - X[1] ** 2 * (1 + T)),
                    (n, 0, N - 1),
                )
            )
            * RHO,
            X,
        ),
        "parameters": {A: ROWS},
    },
    "drift": {"energy": well(), "drift": [T * X[1] + sp.sin(T), -T * X[0] ** 2]},
    "mobility": {"energy": well(), "mobility": RHO / (1 + T**2 * RHO)},
}


def given(name):
    made = dict(PROBLEMS[name])
    return pw.GradientFlow(made.pop("energy"), RHO, START, time=T, **made)


def frozen(name, time):
    """The same problem with a number in the place of the time."""
    made = dict(PROBLEMS[name])
    number = {T: sp.Rational(time)}
    energy = made.pop("energy").xreplace(number)
    if "drift" in made:
        made["drift"] = [sp.sympify(b).xreplace(number) for b in made["drift"]]
    if "mobility" in made:
        made["mobility"] = made["mobility"].xreplace(number)
    return pw.GradientFlow(energy, RHO, START, **made)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_at_a_time_is_that_of_the_number(name, target, tmp_path):
    program = program_on(target, given(name), pw.Affine(2), tmp_path)
    points = np.random.default_rng(0).normal(size=(11, 2))
    theta = pw.Affine(2).initial_parameters(None) + 0.1
    order = (0.75, 0.25, 0.75)  # of a time that comes back nothing is left of the one between
    samples = program.samples(points)
    state = program.push(theta, samples, program.form.reads)
    for time in order:
        other = pw.compile(frozen(name, time), pw.Affine(2), target="numpy")
        wanted = other.velocity_at(points, theta)
        found = program.velocity_at(points, theta, time=time)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)
        energy = program.energy_at(points, theta, time=time)
        assert energy == pytest.approx(other.energy_at(points, theta), rel=1e-12)
        there = program.at(time)  # one state, at several times
        integrals = there.integrals(state)
        found = samples.unpack(np.asarray(there.velocity(state, integrals)))
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)
        if "drift" not in PROBLEMS[name] and "mobility" not in PROBLEMS[name]:
            slope = other.slope(theta, other.samples(points)).gradient
            found = np.asarray(there.slope(theta, samples).gradient)
            np.testing.assert_allclose(found, slope, rtol=1e-10, atol=1e-12)
        if name not in ("convolution", "triples"):
            own = other.push(theta, other.samples(points), other.form.reads)
            jacobian = other.velocity_jacobian(own, other.integrals(own))
            found = there.velocity_jacobian(state, integrals)
            np.testing.assert_allclose(found, jacobian, rtol=1e-10, atol=1e-12)
    with (
        pytest.raises(OptionError, match=r"^time: ")
        if name in ("mixture", "data", "family")
        else nullcontext()
    ):
        assert not np.isfinite(np.asarray(program.velocity(state))).all()  # of no time


def moments(turn, end, stiffness=lambda t: 1.0, sigma=0.5):
    """Mean and covariance of dX = (-k(t) (X - c(t)) + a(t) S X) dt + sqrt(2 sigma) dB."""

    def rate(t, y):
        matrix = -stiffness(t) * np.eye(2) + turn(t) * np.array([[0.0, -1.0], [1.0, 0.0]])
        center, covariance = np.array([np.cos(2 * t), np.sin(3 * t)]), y[2:].reshape(2, 2)
        spread = matrix @ covariance + covariance @ matrix.T + 2 * sigma * np.eye(2)
        return np.append(matrix @ y[:2] + stiffness(t) * center, spread)

    start = np.append(START.mean, START.covariance)
    y = solve_ivp(rate, (0, end), start, rtol=1e-12, atol=1e-13, method="DOP853").y[:, -1]
    return y[:2], y[2:].reshape(2, 2)


# Points of mean 0 and covariance 1: an affine map takes them to its mean and covariance.
CROSS = np.sqrt(2.0) * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])


def of_map(solution, t=None):
    found = solution.push(START.mean + CROSS @ np.linalg.cholesky(START.covariance).T, t=t)
    return found.mean(axis=0), np.cov(found.T, bias=True)


def error(solution, truth, t=None):
    return max(np.abs(a - b).max() for a, b in zip(of_map(solution, t), truth, strict=True))


def turning(turn=2):
    return pw.GradientFlow(well(), RHO, START, time=T, drift=[-turn * X[1], turn * X[0]])


@pytest.mark.parametrize("where", ["numpy", pytest.param("cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("turn", [pytest.param(2, marks=pytest.mark.slow), 1 + sp.sin(4 * T)])
def test_a_moving_centre_and_circulation_to_the_exact_gaussian(turn, where):
    options = {"target": where, "samples": 64}
    solution = pw.solve(turning(turn), pw.Affine(2), (0, 1.5), tol=1e-6, **options)
    at = sp.lambdify(T, turn, "math")
    assert error(solution, moments(at, 1.5)) < 1e-6
    assert error(solution, moments(at, 0.7), t=0.7) < 1e-6  # between the steps
    assert solution.success and solution.defect.max() < 1e-6  # the velocity of each row's time


def test_a_changing_stiffness_and_both_formulations():
    """k(t) from 3 to 1, by fits of the velocity and by the energy's gradient."""
    stiffness = 2 + sp.cos(3 * T)
    flow = pw.GradientFlow(well(stiffness), RHO, START, time=T)
    truth = moments(lambda t: 0.0, 1.0, lambda t: 2 + np.cos(3 * t))
    options = {"target": "numpy", "samples": 256}
    found = [
        pw.solve(flow, pw.Affine(2), (0, 1.0), tol=tol, formulation=formulation, **options)
        for tol, formulation in ((1e-6, "velocity"), (1e-2, "energy"))
    ]
    assert error(found[0], truth) < 1e-6
    # The energy form is exact up to what 256 samples say of means.
    assert error(found[1], truth) < 2e-2
    sampled = pw.GradientFlow(
        pw.integral(stiffness * (X[0] ** 2 + X[1] ** 2) / 2 * RHO, X), RHO, START, time=T
    )
    runs = [
        pw.solve(sampled, pw.Affine(2), (0, 1.0), tol=1e-6, formulation=f, **options)
        for f in ("velocity", "energy")
    ]
    np.testing.assert_allclose(runs[0].push(CROSS), runs[1].push(CROSS), atol=1e-6)
    factor = np.exp(-(2 + np.sin(3.0) / 3))
    np.testing.assert_allclose(runs[1].push(CROSS), factor * CROSS, atol=1e-6)


LINE_X = pw.coordinates(1)
LINE_RHO = pw.Density(LINE_X)


def forced(rate=1.0):
    """x' = -k (x - cos(2 t)) of every sample, and its exact answer from x at 0."""
    energy = pw.integral(rate * (LINE_X[0] - sp.cos(2 * T)) ** 2 / 2 * LINE_RHO, LINE_X)
    flow = pw.GradientFlow(energy, LINE_RHO, pw.Gaussian([1.5], 0.25), time=T)

    def rest(t):
        return rate * (rate * np.cos(2 * t) + 2 * np.sin(2 * t)) / (rate**2 + 4)

    return flow, lambda x, t: rest(t) + (x - rest(0.0)) * np.exp(-rate * t)


@pytest.mark.parametrize(
    ("method", "order"),
    [
        ("euler", 1),
        ("heun", 2),
        ("rk4", 4),
        ("rk23", 3),
        ("rk45", 5),
        ("rkc", 2),
        ("rosenbrock", 2),
    ],
)
def test_every_method_has_its_order(method, order):
    """At the end, and halfway through a step, where the polynomial of a step is of order 3 or 4."""
    flow, exact = forced()
    points, ends, inner = np.array([[1.0], [2.5]]), [], []
    options = {"target": "numpy", "samples": 32, "linear_solver": "dense", "shift": 1e-14}
    for count in (8, 16):
        h = 1.6 / count
        steps = pw.Steps(method, dt=h)
        solution = pw.solve(flow, pw.Affine(1), (0, 1.6), steps=steps, dense_output=True, **options)
        ends.append(np.abs(solution.push(points) - exact(points, 1.6)).max())
        gap = [solution.push(points, t=s) - exact(points, s) for s in (0.8 + h / 2, 1.6 - h / 2)]
        inner.append(np.abs(gap).max())
    assert abs(np.log2(ends[0] / ends[1]) - order) < 0.45
    assert np.log2(inner[0] / inner[1]) > min(order, 4) - 0.55


@pytest.mark.parametrize("method", ["auto", "rk23", "rk45", "rkc", "rosenbrock"])
def test_steps_follow_the_tolerance(method):
    flow, exact = forced()
    options = {"target": "numpy", "samples": 32, "linear_solver": "dense", "shift": 1e-12}
    points = np.array([[1.0], [2.5]])
    for tol in (1e-2, 1e-3):
        solution = pw.solve(flow, pw.Affine(1), (0, 1.0), steps=method, tol=tol, **options)
        times = np.linspace(0, 1, 9)
        gap = [solution.push(points, t=t) - exact(points, t) for t in times]
        unit = 0.5 * np.exp(-1.0)  # the spread at the end
        assert np.abs(gap[-1]).max() < tol * unit
        assert np.abs(gap).max() < 5 * tol * unit  # and between the steps


def test_a_stiff_force_does_not_lag():
    """Steps of 200 relaxation times: the end and the dense output follow the rest point."""
    flow, exact = forced(rate=1e4)
    options = {"target": "numpy", "samples": 32, "linear_solver": "dense", "shift": 1e-14}
    points, gaps = np.array([[1.0], [1.0]]), []
    for h in (0.04, 0.02):
        steps = pw.Steps("rosenbrock", dt=h)
        solution = pw.solve(flow, pw.Affine(1), (0, 1.6), steps=steps, dense_output=True, **options)
        times = np.array([0.8 + 0.3 * h, 1.2 + 0.7 * h, 1.6])
        gaps.append([np.abs(solution.push(points, t=t) - exact(points, t)).max() for t in times])
    assert np.max(gaps[1]) < 1e-3  # without the derivative by the time 2e-2
    assert np.log2(np.max(gaps[0]) / np.max(gaps[1])) > 1.5


def test_the_energy_may_rise_and_rows_know_their_times():
    """Fixed and controlled steps; energies of rows, of energy_at, and of events."""
    flow, _ = forced()
    seen = []

    def event(moment):
        seen.append((moment.t, moment.energy, moment.points.copy(), moment.dissipation))
        return 1.0

    options = {"target": "numpy", "samples": 64, "events": event}
    for more in ({"steps": pw.Steps("heun", dt=0.05)}, {"tol": 1e-3}):
        seen.clear()
        solution = pw.solve(flow, pw.Affine(1), (0, 3.0), dense_output=True, **more, **options)
        assert solution.success and solution.energy.argmin() not in (0, solution.t.size - 1)
        for t, energy, points, dissipation in seen:
            gap = points[:, 0] - np.cos(2 * t)
            assert energy == pytest.approx(np.mean(gap**2) / 2, rel=1e-9)
            assert dissipation == pytest.approx(np.mean(gap**2), rel=1e-9)
        for row in (1, -2):
            t = solution.t[row]
            assert solution.energy_at(t) == pytest.approx(solution.energy[row], rel=5e-2)
        np.testing.assert_array_equal(solution.history.t[[0, -1]], [0.0, 3.0])


def test_bounds_hold_for_moving_wells():
    """W2 and KL of exact Gaussians at most the bound, and not far below it."""
    options = {"integrator": "euler", "dt": 0.05, "target": "numpy", "samples": 128}
    cases = (
        (pw.GradientFlow(well(), RHO, START, time=T), moments(lambda t: 0.0, 1.0)),
        (turning(1 + sp.sin(4 * T)), moments(lambda t: 1 + np.sin(4 * t), 1.0)),
        (
            pw.GradientFlow(well(2 + sp.cos(3 * T)), RHO, START, time=T),
            moments(lambda t: 0.0, 1.0, lambda t: 2 + np.cos(3 * t)),
        ),
    )
    for flow, (mean, covariance) in cases:
        solution = pw.solve(flow, pw.Affine(2), (0, 1.0), dense_output=True, **options)
        found = of_map(solution)
        truth = {"W2": pw.exact.wasserstein_gaussian(*found, mean, covariance)}
        inverse, gap = np.linalg.inv(covariance), found[0] - mean
        quotient = inverse @ found[1]
        truth["KL"] = (
            np.trace(quotient) - 2 - np.log(np.linalg.det(quotient)) + gap @ inverse @ gap
        ) / 2
        for distance, value in truth.items():
            bound = solution.error_bound(t=1.0, distance=distance)
            assert bound.status == "proven" and value > 1e-5
            assert value <= float(bound) < 30 * value


# V, the drift, and a modulus that holds from 0 to 2; None where none is found.
MODULI = [
    ((2 + sp.cos(T)) * X[0] ** 2 / 2 + X[1] ** 2, None, 2 + np.cos(2)),
    (X[0] ** 2 + X[0] * X[1] * sp.sin(T) + X[1] ** 2 + sp.exp(T) * X[0], None, 1),
    (((X[0] - T) ** 2 - 1) ** 2 / 4 + X[1] ** 2, None, -1),
    (sp.cos(2 * X[0] - T) + X[1] ** 2, None, None),
    (X[0] ** 2 + sp.cos(X[0]) - sp.cos(X[0] - T) + X[1] ** 2, None, 0),
    (X[0] ** 2 + sp.cos(X[0] - T) + X[0] ** 4 + X[1] ** 2, None, 1),
    ((T - 1) * sp.cos(X[0]) + X[0] ** 2 + X[1] ** 2, None, 1),
    ((T - 1) * X[0] ** 4 + X[1] ** 2, None, None),
    (sp.Abs(X[0] - sp.sin(T)) + (1 + T) * (X[0] ** 2 + X[1] ** 2) / 2, None, 1),
    (X[0] ** 2 + X[1] ** 2, [-T * X[1] + sp.cos(T), T * X[0] + T * X[1] / 4], 1.5),
    (X[0] ** 2 + X[1] ** 2, [sp.sin(T * X[0]), sp.S.Zero], None),
    (sp.log(T - 1) * X[0] ** 2 + X[1] ** 2, None, None),
]


@pytest.mark.parametrize(("potential", "drift", "value"), MODULI)
def test_moduli_hold_at_all_times(potential, drift, value):
    """Below all eigenvalues of Hess V less the drift's strain, on a grid of places and times."""
    energy = pw.integral(potential * RHO + RHO * sp.log(RHO), X)
    flow = pw.GradientFlow(energy, RHO, START, time=T, drift=drift)
    modulus = theory_of(flow, (0.0, 2.0)).modulus
    assert modulus.holds == (value is not None)
    if value is None:
        return
    assert modulus.status == "proven" and modulus.value <= value
    assert modulus.value == pytest.approx(value, abs=1e-3)
    strain = sp.Matrix([[b.diff(s) for s in X] for b in drift or (0 * X[0],) * 2])
    matrix = sp.hessian(potential, X) - (strain + strain.T) / 2
    matrix = matrix.replace(sp.DiracDelta, lambda *_: sp.S.Zero)
    at = sp.lambdify([T, *X], matrix, "numpy")
    rng = np.random.default_rng(3)
    for t, x, y in zip(rng.uniform(0, 2, 300), *rng.normal(size=(2, 300)), strict=True):
        assert np.linalg.eigvalsh(np.asarray(at(t, x, y), float))[0] >= modulus.value - 1e-12


def test_bounds_that_do_not_hold_are_refused():
    """Where the time stands in an interaction, in the entropy, or nobody has said which times."""
    pair = pw.integral(T * SQUARE * RHO * RHO.at(Y) / 4, X, Y)
    theory = theory_of(pw.GradientFlow(well() + pair, RHO, START, time=T), (0.0, 1.0))
    assert not (theory.modulus.holds or theory.slope.holds)
    assert all("changes with the time" in str(why) for why in formulas_of(theory).values())
    falling = pw.GradientFlow(well(sigma=1 / (1 + T)), RHO, START, time=T)
    theory = theory_of(falling, (0.0, 3.0))
    assert theory.modulus.value == 1.0 and isinstance(theory.coupling, str)
    assert 0.2499 < float(theory.structure.sigma) <= 0.25
    assert isinstance(formulas_of(theory)["KL"], list)
    vanishing = pw.GradientFlow(well(sigma=1 - T), RHO, START, time=T)
    assert "KL" in formulas_of(theory_of(vanishing, (0.0, 1.0)))["KL"]
    assert not theory_of(vanishing, (0.0, 1.5)).modulus.holds
    assert all("depends on the time" in str(w) for w in formulas_of(theory_of(falling)).values())


def test_files_and_pickles_keep_the_time(tmp_path):
    flow = pw.GradientFlow(well(), RHO, START, time=T, drift=[T, X[0]], mobility=RHO / (1 + T))
    options = {"integrator": "euler", "dt": 0.05, "target": "numpy", "samples": 64}
    solution = pw.solve(flow, pw.Affine(2), (0, 0.2), dense_output=True, **options)
    solution.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    again = pickle.loads(pickle.dumps(flow))
    assert loaded.problem.transport == again.transport == flow.transport
    assert loaded.problem.time == T and "time=t" in repr(flow)
    assert loaded.energy_at(0.13) == solution.energy_at(0.13) != solution.energy_at(0.12)
    program = pickle.loads(pickle.dumps(solution.program))
    points = START.sample(5, seed=1)
    there = solution.program.at(0.3)
    np.testing.assert_array_equal(program.velocity_at(points, time=0.3), there.velocity_at(points))
    assert "cos(2*t)" in program.code_symbolic() and "drho/dt" in program.code_symbolic()
    assert pickle.loads(pickle.dumps(there)).time == 0.3


def test_a_potential_that_runs_around_the_circle():
    x = pw.coordinates(1, period=2 * sp.pi)
    rho = pw.Density(x)
    energy = pw.integral(-sp.cos(x[0] - T) * rho + rho * sp.log(rho) / 2, x)
    flow = pw.GradientFlow(energy, rho, pw.Gaussian([0.5], 0.3), time=T)
    program = pw.compile(flow, pw.NeuralFlow(1, width=4), target="numpy")
    points = np.linspace(-1.0, 1.0, 5)[:, None]
    truth = -np.sin(points - 0.75) + (points - 0.5) / 0.6
    np.testing.assert_allclose(program.velocity_at(points, time=0.75), truth, atol=1e-12)


def test_constants_that_change_are_not_added():
    """int (rho - f)^2 over the plane but for int f^2; inside of a function they are refused."""
    moving = sp.exp(-((X[0] - T) ** 2) - X[1] ** 2)
    energy = pw.integral((RHO - moving) ** 2, X)
    program = pw.compile(pw.GradientFlow(energy, RHO, START, time=T), pw.Affine(2), target="numpy")
    assert "which changes with the time" in program.unknown_constant
    points = START.sample(9, seed=2)
    density = np.exp(START.log_density(points))
    f = np.exp(-((points[:, 0] - 0.4) ** 2) - points[:, 1] ** 2)
    assert program.energy_at(points, time=0.4) == pytest.approx(np.mean(density - 2 * f), rel=1e-12)
    squared = pw.GradientFlow(energy**2, RHO, START, time=T)
    with pytest.raises(EnergyError, match="which changes with the time"):
        pw.solve(squared, pw.Affine(2), (0, 1), target="numpy")


def test_formulas_print_the_time():
    energy = pw.integral(T * X[0] ** 2 * RHO, X)
    assert T in pw.first_variation(energy, RHO).free_symbols
    assert pw.velocity(energy, RHO)[0] == -2 * T * X[0]
    equation = pw.pde(energy, RHO, time=T)
    assert equation.lhs == sp.Derivative(RHO.func(T, *X), T)
    other = sp.Symbol("s", real=True)
    assert pw.pde(pw.integral(other * X[0] * RHO, X), RHO, time=other).lhs.args[1][0] == other


def test_a_symbol_that_stands_nowhere_is_no_time():
    flow = pw.GradientFlow(pw.integral(X[0] ** 2 * RHO, X), RHO, START, time=T)
    assert flow.time is None
    program = pw.compile(flow, pw.Affine(2), target="numpy")
    assert program.at(1.0) is program


WRONG = [
    ({"time": "t"}, "^time: got 't'"),
    ({"time": 2 * T}, "^time: got 2.t"),
    ({"time": X[0]}, "^time: got x0, a coordinate"),
    ({"time": sp.Symbol("t")}, "^time: .*other assumptions"),
    ({"time": sp.Symbol("n", integer=True)}, "^time: got n"),
    ({"time": T, "parameters": {T: 1.0}}, "^parameters: .*t_span"),
    ({}, r"^t: got no value.*time=t"),
]


@pytest.mark.parametrize(("made", "match"), WRONG)
def test_what_is_no_time(made, match):
    with pytest.raises(ParameterError, match=match):
        pw.GradientFlow(well(), RHO, START, **made)


def test_times_stand_in_no_limit_and_no_index():
    for term in (
        sp.Sum(A[n, 0] * X[0], (n, 0, T)),
        pw.integral(Y[0] * X[0] * RHO.at(Y), Y),
    ):
        time = Y[0] if term.has(Y[0]) else T
        with pytest.raises(ParameterError, match=r"^time: "):
            pw.GradientFlow(pw.integral(term * RHO, X), RHO, START, {A: ROWS}, time=time)


def test_what_needs_a_time_or_none():
    flow = turning()
    program = pw.compile(flow, pw.Affine(2), target="numpy")
    for call in (program.velocity_at, program.energy_at):
        with pytest.raises(OptionError, match=r"^time: got None.*Pass time="):
            call(np.zeros((3, 2)))
    with pytest.raises(OptionError, match=r"^problem: .*depends on the time t"):
        pw.equilibrium(pw.GradientFlow(well(), RHO, START, time=T), pw.Affine(2))
    options = {"integrator": "euler", "dt": 0.1, "target": "numpy", "samples": 64}
    still = pw.GradientFlow(well(), RHO, START, time=T)
    solution = pw.solve(still, pw.Affine(2), (0, 0.2), **options)
    with pytest.raises(OptionError, match=r"^diagnostics: .*depends on the time t"):
        solution.diagnostics()
    late = sp.Symbol("t", positive=True)
    energy = pw.integral(late * X[0] ** 2 * RHO, X)
    flow = pw.GradientFlow(energy, RHO, START, time=late)
    with pytest.raises(OptionError, match=r"^t_span: got the time 0; accepted: times that are pos"):
        pw.solve(flow, pw.Affine(2), (0, 1), target="numpy")
    with pytest.raises(LawError, match=r"^mean: got \[t, 0.0\]"):
        pw.Gaussian([T, 0.0], 1.0)


def test_a_program_at_a_time_makes_nothing_anew():
    """What a program keeps is shared by all times, or is of one."""
    found = {
        name
        for kind in Program.__mro__
        for name, value in vars(kind).items()
        if isinstance(value, cached_property)
    }
    assert found and found <= vars(ProgramAtTime).keys()
    program = pw.compile(turning(), pw.Affine(2), target="numpy")
    there = program.at(0.25).at(0.5)
    assert there.kernels is program.kernels and there.time == 0.5
