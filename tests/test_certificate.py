"""Error bounds lie above true distances, of paths that are wrong on purpose."""

import numpy as np
import pytest
import sympy as sp
from paths import Hermite, Polygon, path_of, rate_at
from scipy.integrate import solve_ivp
from scipy.stats import norm

import pwgf_sym as pw
from pwgf_sym.errors import OptionError
from pwgf_sym.exact import (
    barenblatt_scaling,
    fokker_planck_1d,
    ornstein_uhlenbeck,
    wasserstein_gaussian,
)
from pwgf_sym.solver.bounds import contracted, entropy_growth
from pwgf_sym.solver.certificate import all_bounds, bounds_over_time, equilibrium_bound, error_bound
from pwgf_sym.solver.gaps import measure, points_of
from pwgf_sym.solver.theory import _known

X = pw.coordinates(1)
RHO = pw.Density(X)
A = X[0]
WELL = (A**2 - 1) ** 2
ENTROPY = pw.integral(RHO * sp.log(RHO), X)
CHEAP = {"evaluations": 1 << 17}


def moments_of(program, theta):
    """Mean and covariance of an affine map's law."""
    law, d = program.problem.initial, program.dim
    points = np.concatenate([np.eye(d), np.zeros((1, d))])
    samples = program.samples(points)
    images = program.unpack(program.push(theta, samples).x, samples)
    matrix = (images[:d] - images[d]).T
    return images[d] + matrix @ law.mean, matrix @ law.covariance @ matrix.T


def gaussian_kl(mean, cov, mean1, cov1):
    inverse, gap = np.linalg.inv(cov1), mean1 - mean
    log_dets = np.linalg.slogdet(cov1)[1] - np.linalg.slogdet(cov)[1]
    return (np.trace(inverse @ cov) - len(mean) + gap @ inverse @ gap + log_dets) / 2


# Ornstein and Uhlenbeck, where everything is Gaussian.

STIFFNESS, CENTRE = np.array([[1.0, 0.4], [0.4, 2.0]]), np.array([0.8, -0.5])


@pytest.fixture(scope="module")
def euler():
    """Euler steps of 0.2: all of the error is one of time."""
    x = pw.coordinates(2)
    rho = pw.Density(x)
    gap = sp.Matrix([s - sp.Float(c) for s, c in zip(x, CENTRE)])
    potential = (gap.T * sp.Matrix(STIFFNESS) * gap)[0] / 2
    energy = pw.integral(potential * rho + rho * sp.log(rho), x)
    law = pw.Gaussian([1, 2], [[0.5, 0.2], [0.2, 1.5]])
    problem = pw.GradientFlow(energy, rho, law)
    return pw.solve(problem, pw.Affine(2), (0, 1), integrator="euler", dt=0.2, samples=1024)


@pytest.mark.parametrize("make", [lambda s: Polygon(s.t, s.theta), path_of], ids=["lines", "cubic"])
def test_time_error_of_a_gaussian_is_seen(euler, make):
    path, program = make(euler), euler.program
    law, times = program.problem.initial, np.array([0.1, 0.2, 0.6, 1.0])
    means, covs = ornstein_uhlenbeck(STIFFNESS, 1.0, law.mean, law.covariance, times, b=CENTRE)
    for t, mean, cov, found in zip(times, means, covs, bounds_over_time(path, program, times)):
        own = moments_of(program, path(t))
        w2, kl = wasserstein_gaussian(*own, mean, cov), gaussian_kl(*own, mean, cov)
        assert w2 > 0.05 and kl > 1e-3  # the path is wrong
        assert w2 <= float(found["W2"]) <= 3 * w2
        assert kl <= float(found["KL"]) <= 15 * kl
        assert float(found["TV"]) == pytest.approx(np.sqrt(float(found["KL"]) / 2))
        assert float(found["W1"]) <= float(found["W2"])
        assert all(b.status == "proven" and b.t == t and b.reason for b in found.values())


def test_gaps_are_what_they_are(euler):
    """E|u - w|^2 of straight lines in closed form: both velocities are affine."""
    program, path = euler.program, Polygon(euler.t, euler.theta)
    gaps = measure(path, program, [0.2], seed=0, accuracy=0.02, evaluations=1 << 18)
    law = program.problem.initial
    for t, square in zip(gaps.times, gaps.square.mean(axis=0)):
        step = 1e-6
        before, after = (moments_of(program, path(s)) for s in (t - step, t + step))
        mean, cov = moments_of(program, path(t))
        points = law.sample(8, 0)
        samples = program.samples(points)
        x, left, right = (
            program.unpack(program.push(path(s), samples).x, samples)
            for s in (t, t - step, t + step)
        )
        # u = L (x - mean) + mean', from exact finite differences of the map
        slope = np.linalg.lstsq(x - mean, (right - left - (after[0] - before[0])) / 2e-6)[0].T
        gap = slope + STIFFNESS - np.linalg.inv(cov)
        drift = (after[0] - before[0]) / 2e-6 + STIFFNESS @ (mean - CENTRE)
        expected = np.trace(gap @ cov @ gap.T) + drift @ drift
        assert square == pytest.approx(expected, rel=0.03)


def test_the_choice_and_refusals(euler):
    path, program = Polygon(euler.t, euler.theta), euler.program
    best = error_bound(path, program, **CHEAP)
    assert best.distance == "W2" and best.t == 1 and float(best) == best.value
    assert "W2 <= " in str(best) and 0 < best.standard_error < 0.1 * float(best)
    assert error_bound(path, program, 0.5, "KL", **CHEAP).distance == "KL"
    assert float(error_bound(path, program, 0.0)) == 0
    for wrong in ({"distance": "L2"}, {"t": 1.5}, {"t": "now"}, {"accuracy": 0}, {"seed": -1}):
        with pytest.raises(OptionError):
            error_bound(path, program, **wrong)


def test_equilibrium_of_a_gaussian(euler):
    program, theta = euler.program, euler.theta[-1]
    own = moments_of(program, theta)
    truth = {
        "KL": gaussian_kl(*own, CENTRE, np.linalg.inv(STIFFNESS)),
        "W2": wasserstein_gaussian(*own, CENTRE, np.linalg.inv(STIFFNESS)),
    }
    for distance, true in truth.items():
        found = equilibrium_bound(program, theta, distance)
        assert true <= float(found) <= 4 * true and found.status == "proven"
        assert found.standard_error < 0.05 * float(found)
    assert float(equilibrium_bound(program, theta, "TV")) <= 1
    with pytest.raises(OptionError, match="distance"):
        equilibrium_bound(program, theta, "L2")


def test_a_path_that_starts_elsewhere(euler):
    """The first distance enters: the start is moved by (0.3, -0.1)."""
    program = euler.program
    theta = np.array(euler.theta)
    theta[:, -2:] += np.array([0.3, -0.1]) / program.units.spread
    path = Polygon(euler.t, theta)
    found = all_bounds(path, program, 0.0, **CHEAP)
    moved = program.problem.initial.mean - moments_of(program, theta[0])[0]
    assert float(found["W2"]) == pytest.approx(np.linalg.norm(moved), rel=5e-3)
    cov = program.problem.initial.covariance
    expected = moved @ np.linalg.solve(cov, moved) / 2
    assert float(found["KL"]) == pytest.approx(expected, abs=4 * found["KL"].standard_error)
    assert found["KL"].standard_error < 0.05 * expected


# A double well with an affine map: the error is one of projection, and the law no Gaussian.


@pytest.fixture(scope="module")
def well():
    problem = pw.GradientFlow(pw.integral(WELL * RHO, X) + ENTROPY, RHO, pw.Gaussian([0.3], 0.25))
    return pw.solve(problem, pw.Affine(1), (0, 3), dt=0.05, samples=1024)


def true_laws(solution, times):
    law = solution.program.problem.initial
    start = norm(law.mean[0], np.sqrt(law.covariance[0, 0])).pdf
    return fokker_planck_1d(lambda x: (x**2 - 1) ** 2, 1.0, start, times, -5, 5, 1000, tol=1e-6)


def true_distances(solution, path, t, x, density, cdf):
    (mean,), ((variance,),) = moments_of(solution.program, path(t))
    own = norm(mean, np.sqrt(variance))
    h, p = x[1] - x[0], own.pdf(x)
    levels = (np.arange(20000) + 0.5) / 20000
    other = np.interp(levels, cdf, x)
    return {
        "KL": np.sum(p * (own.logpdf(x) - np.log(np.maximum(density, 1e-290)))) * h,
        "TV": np.abs(p - density).sum() * h / 2,
        "W1": np.abs(own.cdf(x) - cdf).sum() * h,
        "W2": np.sqrt(np.mean((own.ppf(levels) - other) ** 2)),
    }


def test_bounds_of_a_double_well(well):
    path, times = path_of(well), [0.25, 1.0, 3.0]
    x, *laws = true_laws(well, times)
    for t, found, *law in zip(times, bounds_over_time(path, well.program, times), *laws):
        true = true_distances(well, path, t, x, *law)
        for distance, value in true.items():
            assert 1e-3 < value <= float(found[distance])
    # At the end e^(4 t) has made W2 useless; reflection coupling and entropy have not.
    assert float(found["W2"]) > 1e3 and float(found["W1"]) < 40
    assert "reflection" in found["W1"].reason and "one-sided" in found["W2"].reason
    assert error_bound(path, well.program, 0.02, **CHEAP).distance == "W2"


def test_standard_errors_are_those_of_repetition(well):
    path = path_of(well)
    found = [error_bound(path, well.program, 0.5, "KL", seed=s, evaluations=1) for s in range(12)]
    values = np.array([float(b) for b in found])
    expected = np.sqrt(np.mean([b.standard_error**2 for b in found]))
    assert 0.4 * values.std() <= expected <= 2.5 * values.std()


def test_weighted_points_have_the_laws_means_with_less_noise(well):
    """E z^12 of a Gaussian, which few samples carry."""
    exact, errors = 10395.0, {}
    for wide in (True, False):
        found = []
        for seed in range(40):
            points = points_of(well.program, 512, seed, wide=wide)
            assert points.weights.sum() == pytest.approx(1, abs=0.2)
            z = (points.places[:, 0] - 0.3) / 0.5
            found.append(points.weights @ z**12)
        errors[wide] = np.sqrt(np.mean((np.array(found) / exact - 1) ** 2))
    assert errors[True] < 0.05 and errors[True] < errors[False] / 3


def test_the_equilibrium_of_a_double_well(well):
    theta = well.theta[-1]
    found = equilibrium_bound(well.program, theta)
    (mean,), ((variance,),) = moments_of(well.program, theta)
    x = np.linspace(-6, 6, 12001)
    h = x[1] - x[0]
    log_pi = -((x**2 - 1) ** 2)
    log_pi -= np.log(np.exp(log_pi).sum() * h)
    own = norm(mean, np.sqrt(variance))
    true = np.sum(own.pdf(x) * (own.logpdf(x) - log_pi)) * h
    assert 0 < true <= float(found) and "Holley" in found.reason


# Other energies.


def test_a_porous_medium_with_large_steps():
    """The exact map is a scaling; Euler steps of 0.25 miss it."""
    x = pw.coordinates(2)
    rho = pw.Density(x)
    law = pw.Barenblatt(2, m=2, t0=0.5)
    problem = pw.GradientFlow(pw.integral(rho**2, x), rho, law)
    run = pw.solve(problem, pw.Affine(2), (0, 1), integrator="euler", dt=0.25, samples=1024)
    path = Polygon(run.t, run.theta)
    found = all_bounds(path, run.program, **CHEAP)
    scale = np.sqrt(np.trace(moments_of(run.program, path(1.0))[1]))
    spread = np.sqrt(np.trace(law.covariance))
    true = abs(scale - barenblatt_scaling(2, 2, 0.5, 1.5) * spread)  # both are scalings of one law
    assert 1e-3 < true <= float(found["W2"]) <= 10 * true
    assert isinstance(found["KL"], str) and "internal energy" in found["KL"]
    with pytest.raises(OptionError, match="accepted: one of W1, W2"):
        error_bound(path, run.program, distance="TV", **CHEAP)


def test_an_attraction_between_all_points():
    """W = |x - y|^2/2 without noise: points fall to their mean like e^-t."""
    x, y = pw.coordinates(2), pw.copy_of(pw.coordinates(2))
    rho = pw.Density(x)
    kernel = sum((a - b) ** 2 for a, b in zip(x, y)) / 2
    energy = pw.integral(kernel * rho * rho.at(y) / 2, x, y)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([1, 0], 1.0))
    run = pw.solve(problem, pw.Affine(2), (0, 1), integrator="euler", dt=0.25, samples=512)
    found = all_bounds(Polygon(run.t, run.theta), run.program, **CHEAP)
    own = moments_of(run.program, run.theta[-1])
    true = wasserstein_gaussian(*own, np.array([1.0, 0.0]), np.exp(-2.0) * np.eye(2))
    assert 0.05 < true <= float(found["W2"]) <= 5 * true


def test_an_energy_without_any_bound():
    energy = pw.integral(RHO * A**2, X) ** 2
    problem = pw.GradientFlow(energy, RHO, pw.Gaussian([0], 1.0))
    run = pw.solve(problem, pw.Affine(1), (0, 0.1), dt=0.05, samples=256)
    with pytest.raises(OptionError, match="no linear function of"):
        error_bound(Polygon(run.t, run.theta), run.program, **CHEAP)


def test_what_sympy_cannot_do_is_no_error():
    def gives_up(_):
        raise NotImplementedError("no roots")

    found = _known(gives_up, None)
    assert not found.holds and "no roots" in found.reason


# The formulas.


def test_contraction_is_the_solution_of_its_equation():
    nodes, weights = np.polynomial.legendre.leggauss(12)
    times, steps = nodes + 1, weights
    for rate in (-0.7, 0.0, 1.3):
        exact = solve_ivp(
            lambda t, y, c=rate: -c * y + np.cos(t) ** 2, (0, 2), [0.4], rtol=1e-11, atol=1e-12
        ).y[0, -1]
        sizes = np.cos(times) ** 2
        assert contracted(rate, 0.4, sizes, 2 - times, steps, 2.0) == pytest.approx(exact)
    assert contracted(-1000.0, 1.0, np.ones(1), np.ones(1), np.ones(1), 1.0) == np.inf


@pytest.mark.parametrize("slope", [0.0, 0.3, 2.0])
def test_entropy_growth_is_above_the_solution_of_its_equation_and_near(slope):
    sigma, times = 0.7, (np.arange(400) + 0.5) / 200
    squares = np.cos(times) ** 2

    def change(t, k):
        return (abs(np.cos(t)) + slope * np.sqrt(2 * abs(k))) ** 2 / (4 * sigma)

    exact = solve_ivp(change, (0, 2), [1e-3], rtol=1e-9, atol=1e-12).y[0, -1]
    found = entropy_growth(1e-3, squares, np.full(400, 1 / 200), sigma, slope)
    assert exact * (1 - 1e-4) <= found <= 1.1 * exact


def test_the_stand_in_paths_are_paths():
    t = np.array([0.0, 0.5, 2.0])
    path = Hermite(t, np.stack([t**3, 1 - t], 1), np.stack([3 * t**2, -np.ones(3)], 1))
    np.testing.assert_allclose(path(0.8), [0.512, 0.2])
    np.testing.assert_allclose(path.rate(0.8), [1.92, -1.0])
    assert callable(rate_at)
