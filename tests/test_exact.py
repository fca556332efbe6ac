"""Reference answers against independent computations (ODE, Galerkin) and published tables."""

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy import integrate, linalg, stats

from pwgf_sym import exact
from pwgf_sym.declare.laws import Barenblatt
from pwgf_sym.errors import OptionError

A3 = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.5]])
COV3 = np.array([[1.0, 0.2, 0.4], [0.2, 0.5, 0.0], [0.4, 0.0, 2.0]])


def test_ornstein_uhlenbeck_solves_its_equations():
    eps, b, times = 0.7, np.array([1.0, -1.0, 0.5]), [0.0, 0.3, 2.0]

    def rate(_, state):
        mean, cov = state[:3], state[3:].reshape(3, 3)
        return np.append(-A3 @ (mean - b), -A3 @ cov - cov @ A3 + 2 * eps * np.eye(3))

    start = np.append([1.0, 2.0, 3.0], COV3)
    run = integrate.solve_ivp(rate, (0, 2), start, "DOP853", times, rtol=1e-13, atol=1e-14).y.T
    mean, cov = exact.ornstein_uhlenbeck(A3, eps, [1, 2, 3], COV3, times, b=b)
    assert (mean.shape, cov.shape) == ((3, 3), (3, 3, 3))
    np.testing.assert_allclose(mean, run[:, :3], atol=1e-12)
    np.testing.assert_allclose(cov, run[:, 3:].reshape(3, 3, 3), atol=1e-12)
    np.testing.assert_allclose(cov[0], COV3, rtol=1e-14, atol=1e-15)
    single = exact.ornstein_uhlenbeck(A3, eps, [1, 2, 3], COV3, 2.0, b=b)
    np.testing.assert_allclose(single[1], cov[2], rtol=1e-15)


def test_ornstein_uhlenbeck_closed_forms_to_round_off():
    """One dimension, free diffusion (rate 0), a very small rate and an unstable one."""
    rates, t = np.array([2.0, 0.0, 1e-9, -0.5]), 1.5
    mean, cov = exact.ornstein_uhlenbeck(rates, 0.3, np.ones(4), 2.0, t)
    rest = np.array([1 - np.exp(-6.0), 0, 3e-9 - 4.5e-18, 1 - np.exp(1.5)])
    grown = np.divide(0.3 * rest, rates, where=rates != 0, out=np.full(4, 0.9))
    np.testing.assert_allclose(mean, np.exp(-rates * t), rtol=4e-16)
    np.testing.assert_allclose(np.diag(cov), 2 * np.exp(-2 * rates * t) + grown, rtol=1e-15)
    assert np.array_equal(cov, np.diag(np.diag(cov)))


def test_wasserstein_gaussian_closed_forms():
    assert exact.wasserstein_gaussian([1], 4.0, [3], 1.0) == pytest.approx(np.sqrt(5), rel=1e-15)
    found = exact.wasserstein_gaussian([0, 0], [4, 9], [0, 0], [1, 1])
    assert found == pytest.approx(np.sqrt(1 + 4), rel=1e-15)
    root = linalg.sqrtm(COV3)
    cross = linalg.sqrtm(root @ A3 @ root)
    bures = np.sqrt(np.trace(COV3 + A3 - 2 * cross))
    assert exact.wasserstein_gaussian([0] * 3, COV3, [0] * 3, A3) == pytest.approx(bures, rel=1e-13)
    point = exact.wasserstein_gaussian([0] * 3, COV3, [1, 0, 0], 0.0)
    assert point == pytest.approx(np.sqrt(1 + np.trace(COV3)), rel=1e-14)


def test_wasserstein_gaussian_has_no_cancellation():
    assert exact.wasserstein_gaussian([0] * 3, COV3, [0] * 3, COV3) < 1e-14
    # First order in a small change of one variance: W2 = |sqrt(a) - sqrt(b)|.
    near = exact.wasserstein_gaussian([0, 0], [1, 2], [0, 0], [1 + 1e-10, 2])
    assert near == pytest.approx(5e-11, rel=1e-5)


def test_wasserstein_gaussian_is_the_distance_of_a_linear_map():
    """x -> Sx with S symmetric and positive is the Monge map: W2^2 = tr (S - I) cov (S - I)."""
    shift = A3 - np.eye(3)
    truth = np.sqrt(np.trace(shift @ COV3 @ shift))
    found = exact.wasserstein_gaussian([0] * 3, COV3, [0] * 3, A3 @ COV3 @ A3)
    assert found == pytest.approx(truth, rel=1e-13)


@pytest.mark.parametrize(("dim", "m"), [(1, 2.0), (3, 1.3), (10, 4)])
def test_barenblatt_scaling_carries_the_profile(dim, m):
    factor = exact.barenblatt_scaling(dim, m, 0.4, 2.5)
    early, late = Barenblatt(dim, m, 0.4), Barenblatt(dim, m, 2.5)
    points = early.sample(20, seed=1)
    pushed = early.log_density(points) - dim * np.log(factor)
    np.testing.assert_allclose(late.log_density(factor * points), pushed, rtol=1e-10, atol=1e-10)


# ----------------------------------------------------------------- Fokker-Planck in one dimension


def normal(x):
    return stats.norm.pdf(x)


def moments(x, density):
    width = x[1] - x[0]
    return width * density @ x, width * density @ x**2


def galerkin_moments(slope, reach, times, degree=160):
    """Legendre-Galerkin solution from N(0, 1), eps = 1: d/dt <rho, q> = -<rho' + V' rho, q'>."""
    nodes, weights = legendre.leggauss(4 * degree)
    x, weights = reach * nodes, reach * weights
    basis = legendre.legvander(nodes, degree)
    slopes = legendre.legval(nodes, legendre.legder(np.eye(degree + 1))).T / reach
    mass = (basis.T * weights) @ basis
    stiff = -(slopes.T * weights) @ (slopes + slope(x)[:, None] * basis)
    start = np.linalg.solve(mass, (basis.T * weights) @ normal(x))
    operator = np.linalg.solve(mass, stiff)
    densities = [basis @ (linalg.expm(time * operator) @ start) for time in times]
    return np.array([(weights @ (r * x), weights @ (r * x**2)) for r in densities])


def test_fokker_planck_is_second_order_and_agrees_with_ornstein_uhlenbeck():
    mean, cov = exact.ornstein_uhlenbeck(2.0, 0.7, [0], 1.0, 0.6, b=0.5)
    truth = stats.norm(mean[0], np.sqrt(cov[0, 0]))
    errors = []
    for cells in (500, 1000, 2000):
        x, density, cdf = exact.fokker_planck_1d(
            lambda x: (x - 0.5) ** 2, 0.7, normal, 0.6, -8, 8, cells
        )
        errors.append([np.abs(density - truth.pdf(x)).max(), np.abs(cdf - truth.cdf(x)).max()])
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 4, rtol=0.01)
    assert max(errors[-1]) < 1e-5


def test_fokker_planck_time_error_is_below_the_tolerance():
    def solve(tol):
        return exact.fokker_planck_1d(
            lambda x: (x**2 - 2) ** 2, 1.0, normal, 0.3, -5.5, 5.5, 600, tol
        )

    x, fine, _ = solve(1e-12)
    for tol in (1e-3, 1e-6, 1e-9):
        error = np.abs(solve(tol)[1] - fine).sum() * (x[1] - x[0])
        assert error < tol


@pytest.mark.parametrize(
    ("potential", "slope", "reach", "times"),
    [
        (lambda x: (x**2 - 2) ** 2, lambda x: 4 * x * (x**2 - 2), 5.4, [0.1, 0.5, 1]),
        (
            lambda x: 0.06 * (x**4 - 16 * x**2 + 5 * x),
            lambda x: 0.06 * (4 * x**3 - 32 * x + 5),
            8,
            [0.5, 4],
        ),
        (
            lambda x: (x - 1) ** 4 / 4 - (x - 1) ** 2 / 2,
            lambda x: (x - 1) ** 3 - (x - 1),
            6.5,
            [0.2],
        ),
    ],
    ids=["double-well", "styblinski-tang", "quartic"],
)
def test_fokker_planck_agrees_with_a_galerkin_solution(potential, slope, reach, times):
    truth = galerkin_moments(slope, reach, times)
    x, density, _ = exact.fokker_planck_1d(potential, 1.0, normal, times, -reach, reach)
    found = np.array([moments(x, row) for row in density])
    np.testing.assert_allclose(found, truth, atol=1e-5)


def test_fokker_planck_agrees_with_published_moments_and_energies():
    """Styblinski-Tang potential with factor 0.06, from N(0, 1): E x, E x^2, free energy."""
    table = {
        0.5: (-0.166423, 3.563678, -4.040498),
        1.0: (-0.292016, 5.495212, -4.694586),
        2.0: (-0.403687, 6.968722, -4.938563),
    }

    def potential(x):
        return 0.06 * (x**4 - 16 * x**2 + 5 * x)

    x, density, _ = exact.fokker_planck_1d(potential, 1.0, normal, list(table), -9, 9)
    for row, truth in zip(density, table.values(), strict=True):
        entropy = np.where(row > 0, row * np.log(np.maximum(row, 1e-300)), 0)
        energy = (row * potential(x) + entropy).sum() * (x[1] - x[0])
        assert (*moments(x, row), energy) == pytest.approx(truth, abs=1e-5)


def test_fokker_planck_does_not_leave_a_metastable_well():
    """Factor 0.5: the Gibbs mean is -2.8886, but the mean at t = 0.25 is about -0.4224."""
    x, density, _ = exact.fokker_planck_1d(
        lambda x: 0.5 * (x**4 - 16 * x**2 + 5 * x), 1.0, normal, 0.25, -7, 7
    )
    assert moments(x, density)[0] == pytest.approx(-0.4224, abs=5e-5)


def test_fokker_planck_keeps_the_gibbs_density_mass_and_sign():
    def gibbs(x):
        return np.exp(-((x**2 - 1) ** 2) / 0.25)

    mass = integrate.quad(gibbs, -4, 4, points=[-1, 1])[0]
    x, density, cdf = exact.fokker_planck_1d(
        lambda x: (x**2 - 1) ** 2, 0.25, lambda x: gibbs(x) / mass, [0, 0.1, 30], -4, 4, 500
    )
    np.testing.assert_allclose(density, np.broadcast_to(gibbs(x) / mass, density.shape), atol=1e-10)
    x, density, cdf = exact.fokker_planck_1d(
        lambda x: (x**2 - 1) ** 2, 0.25, normal, [0.01, 40], -6, 6, 500
    )
    assert density.min() >= 0
    assert np.diff(cdf).min() >= 0
    np.testing.assert_allclose(density.sum(axis=1) * (x[1] - x[0]), 1, rtol=1e-13)
    np.testing.assert_allclose(cdf[:, -1], 1, atol=1e-12)
    np.testing.assert_allclose(density[-1], gibbs(x) / mass, atol=1e-4)


def test_fokker_planck_times_compose():
    def solve(t):
        return exact.fokker_planck_1d(lambda x: x**4 / 4, 0.5, normal, t, -5, 5, 300)[1]

    steps = solve([0.2, 0.2000001, 1.0])
    np.testing.assert_allclose(steps[-1], solve(1.0), atol=1e-9)
    np.testing.assert_allclose(steps[0], solve(0.2), atol=1e-12)


# ----------------------------------------------------------------- distances on the line


def test_quantiles_of_a_known_distribution():
    x = np.linspace(-9, 9, 4001)
    levels = np.array([[1e-4, 0.1], [0.5, 0.99]])
    found = exact.quantiles(x, stats.norm.cdf(x), levels)
    np.testing.assert_allclose(found, stats.norm.ppf(levels), atol=2e-5)


def test_w2_1d_of_gaussians_and_shifts():
    x = np.linspace(-9, 9, 4001)
    cdf = stats.norm.cdf(x)
    levels = (np.arange(20_000) + 0.5) / 20_000
    perfect = exact.quantiles(x, cdf, levels)
    assert exact.w2_1d(perfect, x, cdf) == 0
    assert exact.w2_1d(perfect[::-1] + 0.3, x, cdf) == pytest.approx(0.3, rel=1e-12)
    other = 0.4 + 1.5 * stats.norm.ppf(levels)
    truth = exact.wasserstein_gaussian([0], 1.0, [0.4], 2.25)
    assert exact.w2_1d(other, x, cdf) == pytest.approx(truth, rel=1e-4)


# ----------------------------------------------------------------- aggregation equation


def brute_force_moment(dim, times):
    """E|x|^2 from N(0, I) by moving all radii of a composite Gauss rule, fine towards 0."""
    edges = np.append(0, np.geomspace(1e-12, 9, 80))
    nodes, weights = legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    r = (edges[:-1, None] + half * (1 + nodes)).ravel()
    w = (half * weights).ravel() * r ** (dim - 1) * np.exp(-(r**2) / 2)
    w /= w.sum()
    run = integrate.solve_ivp(
        lambda _, r: r * (1 - (1 + 2 / dim) * (w @ r**2) - r**2),
        *((0, times[-1]), r, "DOP853", times),
        rtol=1e-10,
        atol=1e-14,
    )
    return w @ run.y**2, r, run.y


@pytest.mark.parametrize(
    ("dim", "table"),
    [
        (1, [0.38011409, 0.28862868, 0.24091205, 0.23094816]),
        (2, [0.59570539, 0.43261524, 0.34891048, 0.32589945]),
        (10, [1.05854124, 0.692371, 0.51928657, 0.46210311]),
    ],
)
def test_aggregation_second_moment_agrees_with_the_table(dim, table):
    _, moment = exact.aggregation_radial(np.ones((1, dim)), [0.25, 0.5, 1, 2])
    np.testing.assert_allclose(moment, table, atol=6e-9)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_aggregation_agrees_with_the_radial_equations(dim):
    times = [0.3, 2.0, 5.0, 20.0]
    moment, radii, moved = brute_force_moment(dim, times)
    points = radii[:, None] * np.eye(dim)[0]
    mapped, found = exact.aggregation_radial(points, times)
    np.testing.assert_allclose(found, moment, rtol=1e-8)
    np.testing.assert_allclose(mapped[:, :, 0], moved.T, rtol=1e-6, atol=1e-9)
    assert np.all(mapped[:, :, 1:] == 0)


def test_aggregation_map_is_radial_and_starts_at_the_identity():
    points = np.random.default_rng(0).normal(size=(30, 3))
    points[0] = 0
    mapped, moment = exact.aggregation_radial(points, [0.0, 1.0, 3000.0], variance=0.3)
    np.testing.assert_allclose(mapped[0], points, rtol=1e-15)
    assert moment[0] == pytest.approx(0.9, rel=1e-12)
    np.testing.assert_allclose(np.cross(mapped[1], points), 0, atol=1e-14)
    # The sphere of the minimizers; the origin never moves.
    np.testing.assert_allclose(np.linalg.norm(mapped[2, 1:], axis=1), np.sqrt(3 / 8), rtol=1e-9)
    assert np.all(mapped[:, 0] == 0)
    single, at_one = exact.aggregation_radial(points, 1.0, variance=0.3)
    np.testing.assert_allclose(single, mapped[1], rtol=1e-10)
    assert isinstance(at_one, float)
    start, moment = exact.aggregation_radial(points, 0.0)
    np.testing.assert_array_equal(start, points)


def test_aggregation_from_another_radial_law():
    """All mass on one sphere: r' = r (1 - (2 + 2/d) r^2) is a logistic equation for r^2."""
    dim, r0, t = 3, 0.2, 1.3
    _, moment = exact.aggregation_radial(np.zeros((1, dim)), t, quadrature=([r0], [1.0]))
    limit = dim / (2 * (dim + 1))
    truth = limit / (1 + (limit / r0**2 - 1) * np.exp(-2 * t))
    assert moment == pytest.approx(truth, rel=1e-11)


@pytest.mark.parametrize(("dim", "points"), [(1, [[-0.5], [0.5]]), (2, None), (3, None)])
def test_aggregation_minimum_is_the_energy_of_a_symmetric_configuration(dim, points):
    """Vertices of a polytope of radius sqrt(d/(2 (d + 1))) with isotropic covariance attain it."""
    vertices = np.array(points) if points else np.vstack([np.eye(dim), -np.eye(dim)])
    vertices = vertices * np.sqrt(dim / (2 * (dim + 1))) / np.linalg.norm(vertices[0])

    def energy(x):
        square = np.sum((x[:, None] - x[None]) ** 2, axis=-1)
        return np.mean(square**2 / 4 - square / 2) / 2

    assert energy(vertices) == pytest.approx(exact.aggregation_minimum(dim), rel=1e-14)
    assert energy(1.01 * vertices) > exact.aggregation_minimum(dim)
    assert energy(0.99 * vertices) > exact.aggregation_minimum(dim)


def fp(potential=np.abs, eps=1.0, density0=normal, t=1.0, low=-8, high=8, cells=50, tol=1e-9):
    return exact.fokker_planck_1d(potential, eps, density0, t, low, high, cells, tol)


@pytest.mark.parametrize(
    ("call", "argument", "message"),
    [
        (lambda: exact.ornstein_uhlenbeck([[1, 2], [0, 1]], 1, [0, 0], 1, 1), "A", "symmetric"),
        (lambda: exact.ornstein_uhlenbeck(1, 1, [0, 0], [1, 1, 1], 1), "cov0", "shape"),
        (lambda: exact.ornstein_uhlenbeck(1, -1, [0], 1, 1), "eps", "at least 0"),
        (lambda: exact.ornstein_uhlenbeck(1, 1, [0], 1, -1), "t", "at least 0"),
        (lambda: exact.ornstein_uhlenbeck(1, 1, [0], 1, 1, b=[1, 2]), "b", "shape"),
        (lambda: exact.wasserstein_gaussian([0], 1, [0, 0], 1), "mean2", "shape"),
        (lambda: exact.wasserstein_gaussian([0, 0], [1, -1], [0, 0], 1), "cov1", "eigenvalue -1"),
        (lambda: exact.barenblatt_scaling(2, 1, 1, 2), "m", "above 1"),
        (lambda: exact.barenblatt_scaling(0, 2, 1, 2), "dim", "at least 1"),
        (lambda: exact.barenblatt_scaling(2, 2, 0, 2), "t0", "above 0"),
        (lambda: exact.aggregation_minimum(0.5), "dim", "integer"),
        (lambda: exact.aggregation_radial([1.0, 2.0], 1), "points", "shape"),
        (lambda: exact.aggregation_radial([[1.0]], 1, variance=0), "variance", "above 0"),
        (lambda: exact.aggregation_radial([[1.0]], [1, 1]), "t", "ascending"),
        (
            lambda: exact.aggregation_radial([[1.0]], 1, quadrature=([1.0], [2.0])),
            "quadrature",
            "sum",
        ),
        (lambda: fp(potential=lambda x: 1 / (x - x[3])), "potential", "not finite"),
        (lambda: fp(density0=lambda x: 2 * normal(x)), "density0", "mass 2"),
        (lambda: fp(high=1), "density0", "widen"),
        (lambda: fp(eps=0), "eps", "above 0"),
        (lambda: fp(high=-9), "high", "above -8"),
        (lambda: fp(cells=50.5), "cells", "integer"),
        (lambda: fp(tol=1e-30), "tol", "error reached"),
        (lambda: exact.quantiles([0, 1, 1], [0, 0.5, 1], 0.5), "x, cdf", "ascending"),
        (lambda: exact.quantiles([0, 1, 2], [0, 1, 0.5], 0.5), "x, cdf", "non-descending"),
        (lambda: exact.w2_1d([], [0, 1], [0, 1]), "samples", "at least 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_errors_name_the_argument(call, argument, message):
    with pytest.raises(OptionError, match=message) as caught:
        call()
    assert caught.value.argument == argument
