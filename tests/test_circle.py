"""Periodic coordinates: formulas, laws, maps and flows on the circle."""

import copy
import pickle

import numpy as np
import pytest
import sympy as sp
from on_targets import program_on
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq
from scipy.special import ive
from scipy.stats import norm, vonmises

import pwgf_sym as pw
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.declare.maps import Map, map_from_dict
from pwgf_sym.declare.periods import PeriodicSymbol, wrapped
from pwgf_sym.declare.tree import from_tree, to_tree
from pwgf_sym.derive.variation import energy_terms
from pwgf_sym.errors import EnergyError, LawError, MapError
from pwgf_sym.solver.theory import theory_of

TURN = 2 * sp.pi
X = pw.coordinates(1, period=TURN)
Y = pw.copy_of(X)
RHO = pw.Density(X)
CYLINDER = pw.coordinates(3, period=[2, None, TURN])
NUMPY = {"target": "numpy"}
STEPS = {"steps": "rk4", "dt": 0.025, "samples": 512, **NUMPY}


def energy(potential=0, sigma=1, x=X):
    rho = pw.Density(x)
    return pw.integral(potential * rho + sigma * rho * sp.log(rho), x)


def kuramoto(coupling, sigma=1):
    pairs = pw.integral(-coupling * sp.cos(X[0] - Y[0]) * RHO * RHO.at(Y), X, Y) / 2
    return pairs + energy(sigma=sigma)


def order(x):
    return np.abs(np.mean(np.exp(1j * x[:, 0])))


def stationary_order(coupling):
    """r = I1(K r/sigma)/I0(K r/sigma), its positive root."""
    return brentq(lambda r: ive(1, coupling * r) / ive(0, coupling * r) - r, 1e-2, 1)


def line_and_circles():
    law = pw.Gaussian([0.2, -0.4, 1.0], [[0.2, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, 2.0]])
    x = CYLINDER
    well = sp.cos(sp.pi * x[0]) * sp.sin(x[2]) + x[1] ** 2 + sp.sin(x[2]) * x[1]
    return pw.GradientFlow(energy(well, 0.5, x), pw.Density(x), law)


# Coordinates.


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (TURN, TURN),
        (2 * np.pi, TURN),
        (np.pi / 3, sp.pi / 3),
        (0.1, sp.Rational(1, 10)),
        (np.float32(2.5), sp.Rational(5, 2)),
        (2 * sp.sqrt(3), 2 * sp.sqrt(3)),
    ],
)
def test_periods_are_exact_numbers(given, found):
    assert pw.coordinates(2, period=given).periods == (found, found)


def test_symbols_keep_their_period():
    assert CYLINDER.periods == (2, None, TURN)
    y = pw.copy_of(CYLINDER)
    assert y.name == "y" and y.periods == CYLINDER.periods
    assert pw.copy_of(tuple(CYLINDER)) == y
    assert pw.Density(CYLINDER).coordinates.periods == CYLINDER.periods
    assert CYLINDER[1] == sp.Symbol("x1", real=True)
    assert X[0] != sp.Symbol("x0", real=True) and X[0] != pw.coordinates(1, period=2)[0]
    whole = kuramoto(3)
    assert from_tree(to_tree(whole)) == whole
    for same in (copy.deepcopy(X[0]), pickle.loads(pickle.dumps(X[0]))):
        assert same == X[0] and same.period == TURN


@pytest.mark.parametrize(
    "period",
    [0, -1.0, np.inf, np.nan, True, "2*pi", [1, 2], [], sp.Symbol("P", positive=True), sp.oo]
    + [sp.Pow(10, 10**9, evaluate=False)],
)
def test_a_period_is_a_positive_number(period):
    with pytest.raises(EnergyError, match="period"):
        pw.coordinates(1, period=period)


# Formulas.


@pytest.mark.parametrize(
    "potential",
    [
        sp.cos(X[0] - 1) ** 3,
        sp.exp(sp.sin(2 * X[0])),
        sp.log(2 + sp.cos(X[0])),
        sp.Abs(sp.sin(X[0] / 2)),
        sp.Mod(X[0], TURN) * 0 + sp.cos(sp.Mod(X[0], TURN)),
        (X[0] + 1) ** 2 - X[0] * (X[0] + 2),
    ],
)
def test_formulas_of_the_period(potential):
    pw.GradientFlow(energy(potential), RHO, pw.Gaussian([0.0], 1.0))


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        (energy(sp.cos(X[0]) + X[0] ** 2 / 50), r"x0\*\*2.*x0 .*2\*pi"),
        (energy(sp.cos(X[0] / 2)), r"cos\(x0/2\).*2\*pi"),
        (energy(sp.cos(1.001 * X[0])), "2\\*pi"),
        (
            pw.integral(sp.cos(X[0] - Y[0] / 2) * RHO * RHO.at(Y), X, Y),
            r"y0/2.*y0 grows by its period 2\*pi",
        ),
        (
            pw.integral(RHO * pw.integral(sp.exp(-((X[0] - Y[0]) ** 2)) * RHO.at(Y), Y) ** 2, X),
            "exp",
        ),
    ],
)
def test_formulas_without_the_period(formula, names):
    with pytest.raises(EnergyError, match=names):
        pw.GradientFlow(formula, RHO, pw.Gaussian([0.0], 1.0))


def test_values_of_parameters_decide():
    k = sp.Symbol("k", positive=True)
    whole, law = energy(sp.cos(k * X[0])), pw.Gaussian([0.0], 1.0)
    pw.GradientFlow(whole, RHO, law, {k: 3})
    with pytest.raises(EnergyError, match="period"):
        pw.GradientFlow(whole, RHO, law, {k: 2.5})


def test_sums_over_data_have_periods_too():
    n, N = sp.Symbol("n", integer=True), sp.Symbol("N", integer=True, positive=True)
    a, law = sp.IndexedBase("a", shape=(N,)), pw.Gaussian([0.0], 1.0)
    values = {a: np.linspace(0, 3, 12)}
    pw.GradientFlow(energy(sp.Sum(sp.cos(X[0] - a[n]), (n, 0, N - 1))), RHO, law, values)
    with pytest.raises(EnergyError, match=r"2\*pi"):
        pw.GradientFlow(energy(sp.Sum(sp.cos(a[n] * X[0]), (n, 0, N - 1))), RHO, law, values)
    x, i = pw.coordinates(12, period=TURN), sp.Symbol("i", integer=True)
    rho, law = pw.Density(x), pw.Gaussian([0.0] * 12, 1.0)
    pw.GradientFlow(energy(sp.Sum(sp.cos(x[i + 1] - x[i]), (i, 0, 10)), 1, x), rho, law)
    with pytest.raises(EnergyError, match=r"2\*pi"):
        pw.GradientFlow(energy(sp.Sum(sp.cos(x[i + 1] * x[i]), (i, 0, 10)), 1, x), rho, law)


def test_a_drift_has_the_period_and_its_potential_need_not():
    law = pw.Gaussian([0.0], 1.0)
    pw.GradientFlow(energy(), RHO, law, drift=[1 + sp.sin(X[0])])
    with pytest.raises(EnergyError, match=r"drift.*2\*pi"):
        pw.GradientFlow(energy(), RHO, law, drift=[X[0]])


def test_copies_of_other_periods_are_refused():
    y = pw.coordinates(1, "y")
    with pytest.raises(EnergyError, match="copy_of"):
        whole = pw.integral(sp.cos(X[0] - y[0]) * RHO * RHO.at(y), X, y)
        pw.GradientFlow(whole, RHO, pw.Gaussian([0.0], 1.0))


# Laws.


def test_a_density_on_the_circle():
    law = pw.Circle(sp.exp(1.7 * sp.cos(X[0] - 2.5)))
    exact = vonmises(1.7, loc=2.5)
    grid = np.linspace(-9, 9, 37)[:, None]
    np.testing.assert_allclose(law.log_density(grid), exact.logpdf(grid[:, 0]), atol=1e-12)
    np.testing.assert_allclose(law.score(grid), -1.7 * np.sin(grid - 2.5), atol=1e-12)
    u = np.linspace(1e-9, 1 - 1e-9, 101)[:, None]
    x = law.transform(u)
    assert x.min() >= 2.5 - np.pi - 1e-2 and x.max() <= 2.5 + np.pi + 1e-2
    np.testing.assert_allclose(exact.cdf(x) - exact.cdf(x[0]), u - u[0], atol=1e-8)
    sample = law.sample(1000, 0)
    assert np.ptp(sample) < 2 * np.pi and np.array_equal(sample, law.sample(1000, 0))
    second = quad(lambda s: (s - 2.5) ** 2 * exact.pdf(s), 2.5 - np.pi, 2.5 + np.pi)[0]
    np.testing.assert_allclose([law.mean[0], law.covariance[0, 0]], [2.5, second], rtol=1e-2)


def test_a_kinked_density_is_sampled_right():
    law = pw.Circle(1 + sp.Abs(sp.sin(X[0] / 2)))
    start, u = law.transform([[1e-15]])[0, 0], np.linspace(0.01, 0.99, 25)
    x = law.transform(u[:, None])[:, 0]
    mass = [quad(lambda s: 1 + abs(np.sin(s / 2)), start, end, points=[0])[0] for end in x]
    np.testing.assert_allclose(np.array(mass) / (2 * np.pi + 4), u, atol=1e-9)


def test_a_gaussian_modulo_the_period():
    law = line_and_circles().initial
    line = pw.Gaussian(law.mean, [[0.2, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, 2.0]])
    points = np.random.default_rng(0).normal(size=(20, 3)) * 3
    images = [points + [2 * j, 0, 2 * np.pi * k] for j in range(-9, 10) for k in range(-5, 6)]
    weights = np.exp([line.log_density(image) for image in images])
    total = weights.sum(axis=0)
    scores = sum(w[:, None] * line.score(z) for w, z in zip(weights, images, strict=True))
    np.testing.assert_allclose(law.log_density(points), np.log(total), atol=1e-10)
    np.testing.assert_allclose(law.score(points), scores / total[:, None], rtol=1e-9, atol=1e-9)
    found = law.sample(200_000, 3)
    assert np.all(np.abs(found - law.mean)[:, [0, 2]] <= [1, np.pi])
    wave = np.exp(1j * (np.pi * found[:, 0] + found[:, 2])).mean()
    size = np.exp(-(np.pi**2 * 0.2 + 2.0) / 2)
    assert abs(wave - size * np.exp(1j * (0.2 * np.pi + 1.0))) < 5e-3
    np.testing.assert_allclose(np.cov(found.T), law.covariance, atol=2e-2)


def test_a_wide_law_becomes_uniform():
    law = pw.GradientFlow(energy(), RHO, pw.Gaussian([1.0], 900.0)).initial
    np.testing.assert_allclose(law.log_density([[0.3], [7.0]]), -np.log(2 * np.pi), atol=1e-9)
    np.testing.assert_allclose(law.covariance, np.pi**2 / 3, rtol=1e-3)


@pytest.mark.parametrize(
    "law",
    [
        pw.Circle(2 + sp.cos(X[0])),
        pw.Circle(1, X),
        pw.Circle([2 + sp.sin(sp.pi * CYLINDER[0]), pw.Gaussian([1.0], 2.0), 3], CYLINDER),
        line_and_circles().initial,
    ],
    ids=["cosine", "uniform", "cylinder", "Gaussian"],
)
def test_laws_are_values(law):
    points = np.random.default_rng(1).normal(size=(6, law.dim))
    for same in (law_from_dict(law.to_dict()), pickle.loads(pickle.dumps(law)), copy.copy(law)):
        assert same == law and hash(same) == hash(law) and same.periods == law.periods
        assert np.array_equal(same.log_density(points), law.log_density(points))
        assert np.array_equal(same.sample(5, 0), law.sample(5, 0))
    step, unit = 1e-6, np.eye(law.dim)
    slopes = [law.log_density(points + step * e) - law.log_density(points - step * e) for e in unit]
    np.testing.assert_allclose(np.array(slopes).T / (2 * step), law.score(points), atol=1e-7)


@pytest.mark.parametrize(
    ("density", "x", "names"),
    [
        (sp.cos(X[0]), None, "positive"),
        (1 + sp.cos(X[0]), None, "positive"),
        (2 + sp.cos(X[0] / 2), None, "period 2\\*pi"),
        (1, None, "give x"),
        (2 + sp.cos(sp.Symbol("t", real=True)), None, "periodic coordinate"),
        (2 + sp.Symbol("a") * sp.cos(X[0]), X, "periodic coordinate"),
        ([], None, "no density"),
        ([2 + sp.cos(X[0]), 1], X, "2 densities"),
        (pw.Gaussian([0.0], 1.0), None, "no periodic"),
        (pw.Gaussian([0.0], 1.0), X, "x0"),
        ([pw.Gaussian([0.0, 1.0], 1.0)], None, "dimension 2"),
        ("cos", None, "density"),
        (np.array([1 + 1j]), X, "density"),
        ([sp.nan], X, "density"),
        (np.array("x"), X, "density"),
        (RHO, X, "density"),
        (pw.integral(RHO, X), X, "density"),
        (None, X, "density"),
    ],
)
def test_densities_that_are_none(density, x, names):
    with pytest.raises(LawError, match=names):
        pw.Circle(density, x)


def test_laws_of_another_period_are_refused():
    line = pw.coordinates(1)
    with pytest.raises(LawError, match=r"period 6\.28319 .* no period"):
        pw.GradientFlow(energy(x=line), pw.Density(line), pw.Circle(1, X))
    other = pw.coordinates(1, period=1)
    with pytest.raises(LawError, match="has the period 1"):
        pw.GradientFlow(energy(x=other), pw.Density(other), pw.Circle(1, X))
    with pytest.raises(LawError, match="images"):
        pw.GradientFlow(energy(), RHO, pw.Gaussian([0.0], 1e12))


# Maps.


def moved_theta(program, seed=0, noise=0.2):
    theta = program.map.initial_parameters(program.problem.initial.whitened)
    return theta + noise * np.random.default_rng(seed).normal(size=theta.size)


def test_the_map_starts_as_the_identity():
    problem = line_and_circles()
    program = pw.compile(problem, pw.NeuralFlow(3, width=5), **NUMPY)
    points = problem.initial.sample(50, 0)
    samples = program.samples(points)
    theta = program.map.initial_parameters(problem.initial.whitened)
    np.testing.assert_allclose(samples.unpack(program.push(theta, samples).x), points, atol=1e-14)


def test_the_field_reads_sines_and_cosines():
    """Steps of v = A s + B q + b + W2 tanh(W1 s + U q + c), written out in NumPy."""
    problem, width, steps = line_and_circles(), 4, 3
    program = pw.compile(problem, pw.NeuralFlow(3, width, steps), **NUMPY)
    theta, points = moved_theta(program), problem.initial.sample(9, 2)
    unit = problem.initial.spread
    z = (points - problem.initial.mean) / unit
    sizes = [(3, 3), (3,), (width, 3), (width,), (3, width), (3, 2), (width, 2)]
    ends = np.cumsum([np.prod(size) for size in sizes])
    for own in theta.reshape(steps, -1):
        parts = np.split(own, ends[:-1])
        A, b, W1, c, W2, B, U = (p.reshape(n) for p, n in zip(parts, sizes, strict=True))
        w = unit * np.array([np.pi, 1.0])
        s, q = z.copy(), (1 - np.cos(w * z[:, [0, 2]])) / w
        s[:, [0, 2]] = np.sin(w * z[:, [0, 2]]) / w
        hidden = np.tanh(s @ W1.T + q @ U.T + c)
        z = z + (s @ A.T + q @ B.T + b + hidden @ W2.T) / steps
    samples = program.samples(points)
    found = samples.unpack(program.push(theta, samples).x)
    np.testing.assert_allclose(found, problem.initial.mean + unit * z, rtol=1e-12)


@pytest.mark.parametrize(
    "kind",
    [
        "euler",
        pytest.param("rk4", marks=pytest.mark.slow),
        pytest.param("trace", marks=pytest.mark.slow),
    ],
)
def test_kernels_of_a_map_on_circles(target, tmp_path, kind):
    """Shifts by the period, and differences, on circles of two periods and a line between them."""
    problem = line_and_circles()
    other = {"substep": "euler" if kind == "euler" else "rk4"}
    other["log_determinant"] = "trace" if kind == "trace" else "exact"
    program = program_on(target, problem, pw.NeuralFlow(3, 4, 2, **other), tmp_path)
    theta, points = moved_theta(program), problem.initial.sample(21, 2)

    def push(z, carry="x", at=theta):
        samples = program.samples(z)
        state = program.push(at, samples, carry)
        logs = samples.unpack_scalar(np.asarray(state.log_density)) if carry != "x" else None
        score = samples.unpack(np.asarray(state.score)) if carry == "score" else None
        return samples.unpack(np.asarray(state.x)), logs, score

    def difference(function, step=1e-5):
        return (function(step) - function(-step)) / (2 * step)

    x, logs, score = push(points, "score")
    for move in ([2, 0, 0], [0, 0, 2 * np.pi], [-6, 0, 4 * np.pi]):
        further = push(points + move, "score")
        np.testing.assert_allclose(further[0], x + move, atol=1e-12)
        np.testing.assert_allclose(further[1], logs, atol=1e-10)
        np.testing.assert_allclose(further[2], score, rtol=1e-8, atol=1e-8)
    if kind == "trace":
        return
    columns = [difference(lambda h, e=e: push(points + h * e)[0]) for e in np.eye(3)]
    matrix = np.stack(columns, axis=-1)
    wanted = problem.initial.log_density(points) - np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(logs, wanted, atol=1e-7)
    slope = [difference(lambda h, e=e: push(points + h * e, "score")[1]) for e in np.eye(3)]
    wanted = np.linalg.solve(np.swapaxes(matrix, 1, 2), np.stack(slope, -1)[..., None])[..., 0]
    np.testing.assert_allclose(score, wanted, rtol=1e-5, atol=1e-5)
    eta, samples = np.random.default_rng(5).normal(size=theta.size), program.samples(points)
    found = samples.unpack(np.asarray(program.jvp(theta, samples, eta)))
    wanted = difference(lambda h: push(points, at=theta + h * eta)[0])
    np.testing.assert_allclose(found, wanted, atol=1e-7)
    weights = np.random.default_rng(6).normal(size=points.shape)
    packed = samples.pack(weights) * (np.asarray(samples.weights) > 0)
    total = np.asarray(program.vjp(theta, samples, packed)) @ eta
    assert total == pytest.approx(np.sum(weights * found), rel=1e-10)


def test_maps_that_do_not_commute_with_the_period():
    problem = pw.GradientFlow(energy(sp.cos(X[0])), RHO, pw.Gaussian([0.0], 1.0))
    for call in (pw.compile, lambda *a, **o: pw.solve(*a, (0, 1), **o), pw.equilibrium):
        with pytest.raises(MapError, match=r"Affine.*periodic.*NeuralFlow\(1, width=16\)"):
            call(problem, pw.Affine(1), **NUMPY)
    own = pw.NeuralFlow(1, width=4, period=[1.0])
    with pytest.raises(MapError, match="Leave out period"):
        pw.compile(problem, own, **NUMPY)
    for period in ([1.0, 2.0], [0.0], [-1], "a", 3.0, [True]):
        with pytest.raises(MapError, match="period"):
            pw.NeuralFlow(1, width=4, period=period)


class Waves(Map):
    """z + a sin(w z), with the right w or a wrong one."""

    steps = 1

    def __init__(self, dim, factor, period=None):
        self.dim, self.factor, self.period = dim, factor, period

    def parameters(self):
        return {"a": "i"}

    def step(self, op, p, x):
        s = sp.Symbol("s", real=True)
        wave = sp.sin(sp.Float(2 * np.pi * self.factor / self.period) * s)
        return x + op.einsum("i,i->i", p["a"], op.apply(wave, x))

    def initial_parameters(self, law, seed=0):
        return np.zeros(self.dim)

    def on_circle(self, periods):
        return Waves(self.dim, self.factor, periods[0])

    def to_dict(self):
        return {"map": "Waves", "factor": self.factor, "period": self.period}


def test_maps_of_a_user_are_tried():
    problem = pw.GradientFlow(energy(sp.cos(X[0])), RHO, pw.Gaussian([0.3], 0.6))
    program = pw.compile(problem, Waves(1, 2), **NUMPY)
    samples = program.samples(np.array([[0.4]]))
    unit = problem.initial.spread
    moved = 0.4 + 0.1 * unit * np.sin(2 * (0.4 - 0.3))
    assert program.push(np.array([0.1]), samples).x[0] == pytest.approx(moved)
    with pytest.raises(MapError, match=r"Waves.*P = 6\.28319.*x0"):
        pw.compile(problem, Waves(1, 0.5), **NUMPY)


def test_maps_come_back_with_their_period():
    flow = pw.NeuralFlow(3, width=4, activation=sp.sin).on_circle((1.0, None, 2.5))
    same = map_from_dict(flow.to_dict())
    assert same == flow and same.period == (1.0, None, 2.5) and "period 1, none, 2.5" in repr(flow)
    assert flow.on_circle((1.0, None, 2.5)) is flow
    assert "period" not in pw.NeuralFlow(3, width=4).to_dict()


# Flows.


def fourier_truth(formula, potential_force, coupling, sigma, end, modes=64):
    """d rho/dt = d/dx (rho (V' + K (W' * rho))) + sigma rho'' on the circle, by a spectral method.

    ``formula`` is the density at the start and ``potential_force`` V', both of arrays.
    """
    count = 4 * modes
    x = 2 * np.pi * np.arange(count) / count
    k = np.fft.rfftfreq(count, 1 / count)
    keep = k <= modes
    start = formula(x)
    start = start / (start.mean() * 2 * np.pi)

    def rate(t, rho):
        first = 2 * np.pi * np.mean(rho * np.exp(1j * x))
        force = potential_force(x) + coupling * np.imag(np.exp(1j * x) * np.conj(first))
        flux = np.fft.rfft(rho * force) * keep
        return np.fft.irfft(1j * k * flux - sigma * k**2 * np.fft.rfft(rho) * keep, count)

    found = solve_ivp(rate, (0, end), start, method="LSODA", rtol=1e-9, atol=1e-11)
    return x, found.y[:, -1]


def test_a_flow_on_the_circle_against_a_spectral_solution():
    """Density and moments at a time on the way; the potential's copy, and a coupling."""
    potential = sp.cos(X[0] - 1) + sp.sin(2 * X[0]) / 2
    pairs = pw.integral(-0.8 * sp.cos(X[0] - Y[0]) * RHO * RHO.at(Y), X, Y) / 2
    law = pw.Circle(2 + sp.sin(X[0]))
    problem = pw.GradientFlow(energy(potential, 0.7) + pairs, RHO, law)
    solution = pw.solve(problem, pw.NeuralFlow(1, width=10), (0, 0.3), **STEPS)
    x, rho = fourier_truth(
        lambda x: 2 + np.sin(x), lambda x: -np.sin(x - 1) + np.cos(2 * x), 0.8, 0.7, 0.3
    )
    found = solution.sample(1 << 15, seed=9, sampling="sobol")
    assert found.min() >= 0 and found.max() < 2 * np.pi
    for k in (1, 2):
        exact = np.mean(rho * np.exp(1j * k * x)) * 2 * np.pi
        assert abs(np.exp(1j * k * found).mean() - exact) < 1e-3
    density = np.exp(solution.log_density(x[:, None] - 20 * np.pi))
    assert np.abs(density - rho).max() < 4e-3
    assert np.mean(density) * 2 * np.pi == pytest.approx(1, abs=1e-3)


def test_a_gaussian_diffuses_modulo_the_period():
    """The wrapped heat kernel, and an internal energy that reads the density on the circle."""
    law, end = pw.Gaussian([6.0], 1.6), 0.2
    problem = pw.GradientFlow(energy(), RHO, law)
    solution = pw.solve(problem, pw.NeuralFlow(1, width=10), (0, end), **STEPS)
    x = np.linspace(0, 2 * np.pi, 50)[:, None]

    def exact(x):
        images = [x + 2 * np.pi * k for k in range(-5, 6)]
        return np.sum([norm.pdf(z, 6.0, np.sqrt(1.6 + 2 * end)) for z in images], axis=0)

    assert np.abs(np.exp(solution.log_density(x)) - exact(x[:, 0])).max() < 5e-3
    grid = np.linspace(0, 2 * np.pi, 4001)
    value = np.trapezoid(exact(grid) * np.log(exact(grid)), grid)
    assert solution.energy_at() == pytest.approx(value, abs=5e-3)


def test_files_and_evidence(tmp_path):
    """A stored solution has its period; exp(-V/sigma)/Z is that of the circle."""
    problem = pw.GradientFlow(energy(2 * sp.cos(X[0])), RHO, pw.Gaussian([2.0], 2.0))
    options = {**STEPS, "samples": 128, "dense_output": True}
    solution = pw.solve(problem, pw.NeuralFlow(1, width=8), (0, 0.3), **options)
    solution.save(tmp_path / "circle.npz")
    again = pw.load_solution(tmp_path / "circle.npz")
    assert again.problem.periods == (2 * np.pi,) and again.map == solution.map
    assert again.problem.initial == problem.initial
    assert np.array_equal(again.sample(40), solution.sample(40))
    assert np.array_equal(again.log_density([[0.4]]), solution.log_density([[0.4]]))
    found = again.diagnostics()
    exact = np.log(2 * np.pi * ive(0, 2)) + 2
    assert found.log_z == pytest.approx(exact, abs=5 * found.log_z_error)
    assert found.log_z_error < 1e-2 and 0 < found.kl_to_equilibrium < 1
    assert found.mean[0] == pytest.approx(np.pi, abs=5 * found.standard_errors[0] + 1e-3)
    assert solution.error_bound(distance="KL", evaluations=1 << 12).status == "proven"


def test_laws_in_files_are_checked():
    from pwgf_sym.errors import StoredSolutionError
    from pwgf_sym.solver.described import _check_law

    law = pw.Circle(2 + sp.cos(X[0]) + sp.cos(2 * X[0]) / 2)
    _check_law(law.to_dict(), 1)
    tower = ["Integer", "10"]
    for _ in range(3):
        tower = ["Pow", ["Integer", "10"], tower]
    arc = law.to_dict()["parts"][0]
    wide = {"law": "Wrapped", "of": {"law": "Gaussian", "mean": [0] * 9, "cov": 1}, "periods": [1]}
    for bad in ({"law": "Circle", "parts": [arc | {"formula": tower}]}, wide):
        with pytest.raises(StoredSolutionError):
            _check_law(bad, 1)
    for bad in (arc | {"formula": to_tree(X[0])}, arc | {"coordinate": ["Symbol", "x0", {}]}):
        with pytest.raises(LawError):
            law_from_dict({"law": "Circle", "parts": [bad]})


def test_constants_of_an_energy_are_over_one_period():
    """int (rho - a)^2 dx is int rho^2 dx - 2 a + a^2 P on a circle of length P."""
    x = pw.coordinates(1, period=3)
    rho, law = pw.Density(x), pw.Circle(2 + sp.cos(2 * sp.pi * pw.coordinates(1, period=3)[0] / 3))
    square = pw.integral((rho - sp.Rational(1, 5)) ** 2, x)
    program = pw.compile(pw.GradientFlow(square, rho, law), pw.NeuralFlow(1, 4), **NUMPY)
    samples = program.samples(law.transform((np.arange(4000)[:, None] + 0.5) / 4000))
    theta = program.map.initial_parameters(law.whitened)
    found = program.energy(program.integrals(program.push(theta, samples, "log_density")))
    assert found == pytest.approx(1 / 3 * (1 + 1 / 8) - 2 / 5 + 3 / 25, abs=1e-6)


def test_no_bound_reads_a_growth_that_a_circle_has_not():
    """A well x1^2 beside an angle that nothing confines: bounds that forget would be false."""
    from pwgf_sym.solver.theory import formulas_of, log_sobolev_of, theory_of

    x = pw.coordinates(2, period=[TURN, None])
    law = pw.Gaussian([0.0, 0.0], 1.0)
    for well in (x[1] ** 2, x[1] ** 2 + sp.cos(x[0]), x[1] ** 4 - x[1] ** 2):
        theory = theory_of(pw.GradientFlow(energy(well, 1, x), pw.Density(x), law))
        assert not log_sobolev_of(theory.structure).holds
        assert isinstance(theory.coupling, str) and theory.modulus.value <= 0
        assert not isinstance(formulas_of(theory)["KL"], str)


def test_pictures_show_one_period(tmp_path):
    problem = pw.GradientFlow(energy(sp.cos(X[0])), RHO, pw.Gaussian([6.0], 1.0))
    options = {**STEPS, "samples": 64, "dt": 0.1}
    solution = pw.solve(problem, pw.NeuralFlow(1, width=4), (0, 0.2), **options)
    figure = solution.plot(tmp_path / "circle.png")
    axes = figure.axes[0]
    assert axes.get_xlim() == (0, 2 * np.pi)
    line = axes.get_lines()[0].get_ydata()
    assert np.isfinite(line).all() and line[0] == pytest.approx(line[-1])


def test_points_modulo_a_period():
    points = np.array([[-1e-20, 5.0], [7.0, -5.0], [2.0, 0.0]])
    found = wrapped(points, (2.0, None))
    assert np.all((found[:, 0] >= 0) & (found[:, 0] < 2))
    assert np.array_equal(found[:, 1], [5, -5, 0])
    assert wrapped(np.array([[3.5]]), (2.0,), -1.0)[0, 0] == -0.5
    assert isinstance(X[0], PeriodicSymbol)


# Errors of single samples grow where the flow parts, opposite to the mean angle; the law is right.
@pytest.mark.filterwarnings("ignore::pwgf_sym.errors.AccuracyWarning")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "coupling"),
    [(pw.Circle(1 + sp.cos(X[0] - 4) / 2), 3), (pw.Gaussian([0.3], 1.5), 4.5)],
    ids=["circle", "line"],
)
def test_noisy_kuramoto(law, coupling):
    """Its stationary order parameter, by samples that the run did not use."""
    problem = pw.GradientFlow(kuramoto(coupling), RHO, law)
    solution = pw.solve(problem, pw.NeuralFlow(1, width=12), (0, 10), tol=5e-2, samples=1024)
    found = order(solution.sample(1 << 16, seed=77, sampling="sobol"))
    assert found == pytest.approx(stationary_order(coupling), abs=2e-3)


def test_the_order_parameter_of_the_literature():
    assert stationary_order(3) == pytest.approx(0.724159, abs=1e-6)


@pytest.mark.parametrize("width", [0.1, 0.02, 0.004])
def test_narrow_wells_without_the_period_are_refused(width):
    """A Gaussian well, which is 0 to all digits at most places."""
    well = sp.exp(-((X[0] - 1) ** 2) / (2 * sp.Rational(str(width)) ** 2))
    with pytest.raises(EnergyError, match="changes as x0 grows by its period"):
        pw.GradientFlow(energy(-well), RHO, pw.Circle(1, X))
    other = sp.exp((sp.cos(X[0] - 1) - 1) / sp.Rational(str(width)) ** 2)
    pw.GradientFlow(energy(-other), RHO, pw.Circle(1, X))


def test_densities_that_jump_are_for_energies_without_the_density():
    wrapped_line = 1 + sp.atan2(sp.sin(X[0] - 1), sp.cos(X[0] - 1)) / 4
    step = sp.Piecewise((1, sp.sin(X[0]) > sp.Rational(1, 3)), (2, True))
    small = 1 + sp.Piecewise((sp.cos(X[0]) / 500, sp.sin(X[0]) > 0), (0, True))
    for density in (wrapped_line, step, small):
        law = pw.Circle(density)
        assert law.jump
        with pytest.raises(LawError, match="whose density jumps"):
            pw.compile(pw.GradientFlow(energy(), RHO, law), pw.NeuralFlow(1, width=2), **NUMPY)
    for density in (1 + sp.Abs(sp.sin(X[0])), sp.exp(600 * sp.cos(X[0])), sp.Integer(1)):
        assert not pw.Circle(density, X).jump
    with pytest.raises(LawError, match="derivative"):
        pw.Circle(1 + sp.frac(X[0] / TURN))


def test_formulas_that_sympy_does_not_differentiate_have_no_modulus():
    place = sp.frac(X[0] / TURN)
    flow = pw.GradientFlow(energy(place**2 - place), RHO, pw.Circle(1, X))
    assert not theory_of(flow).modulus.holds


def test_an_angle_itself_jumps_at_its_cut_and_its_square_does_not():
    angle = sp.atan2(sp.sin(X[0]), sp.cos(X[0]))
    for jumping in (angle, angle + sp.cos(X[0]), angle**3):
        with pytest.raises(EnergyError, match=r"which jumps at sin\(x0\) = 0"):
            energy_terms(energy(jumping), RHO)
    for continuous in (angle**2, sp.Abs(angle), angle**2 * sp.sin(X[0])):
        energy_terms(energy(continuous), RHO)
