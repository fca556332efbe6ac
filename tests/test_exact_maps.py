"""Exact Lagrangian maps against closed forms, quadrature and integrations that share no code."""

import numpy as np
import pytest
from scipy import integrate, special, stats
from test_exact import galerkin_moments

from pwgf_sym import exact
from pwgf_sym.errors import OptionError

A = np.array([[2.0, 0.6], [0.6, 1.0]])
COV = np.array([[0.8, -0.3], [-0.3, 0.5]])
MEAN = np.array([1.0, -0.5])


def normal(x):
    return stats.norm.pdf(x)


def particles(points, A, K, eps, mean, cov, times, b):
    """Moments and particles of an affine flow by one integration of all of them."""
    d = len(mean)

    def rate(_, state):
        m, S, x = state[:d], state[d : d + d * d].reshape(d, d), state[d + d * d :].reshape(-1, d)
        velocity = -(x - b) @ A - (x - m) @ K + eps * np.linalg.solve(S, (x - m).T).T
        drift = -(A + K) @ S - S @ (A + K) + 2 * eps * np.eye(d)
        return np.concatenate([-A @ (m - b), drift.ravel(), velocity.ravel()])

    start = np.concatenate([mean, np.ravel(cov), np.ravel(points)])
    run = integrate.solve_ivp(rate, (0, times[-1]), start, "LSODA", times, rtol=1e-11, atol=1e-12)
    y = run.y.T
    return (
        y[:, :d],
        y[:, d : d + d * d].reshape(-1, d, d),
        y[:, d + d * d :].reshape(-1, *points.shape),
    )


@pytest.mark.parametrize("K", [0.0, np.array([[0.5, 0.2], [0.2, 1.5]])], ids=["OU", "McKean"])
def test_affine_flows_carry_points_as_their_velocity_does(K):
    b, times = np.array([0.3, 0.2]), np.array([0.0, 0.4, 1.5])
    points = np.random.default_rng(1).normal(size=(5, 2))
    truth = particles(points, A, K * np.eye(2) if np.ndim(K) == 0 else K, 0.7, MEAN, COV, times, b)
    mean, cov = exact.mckean_vlasov(A, K, 0.7, MEAN, COV, times, b)
    moved = exact.ornstein_uhlenbeck_map(points, A, 0.7, MEAN, COV, times, b, attraction=K)
    np.testing.assert_allclose(mean, truth[0], atol=1e-9)
    np.testing.assert_allclose(cov, truth[1], atol=1e-9)
    np.testing.assert_allclose(moved, truth[2], atol=1e-9)
    np.testing.assert_allclose(moved[0], points, atol=1e-14)
    single = exact.ornstein_uhlenbeck_map(points, A, 0.7, MEAN, COV, 1.5, b, attraction=K)
    np.testing.assert_allclose(single, moved[2], atol=1e-11)


def test_affine_maps_carry_the_covariance_in_twenty_dimensions():
    """M cov0 M' = cov(t), and M is symmetric only where everything commutes."""
    rng, d = np.random.default_rng(3), 20
    factor = rng.normal(size=(d, d))
    A = 0.5 ** np.abs(np.subtract.outer(range(d), range(d)))
    cov0 = factor @ factor.T / d + np.eye(d)
    options = {"eps": 0.6, "mean0": np.ones(d), "t": 0.8}
    for start in (cov0, 0.7 * np.eye(d)):
        _, cov = exact.mckean_vlasov(A, 0.4, cov0=start, **options)
        ends = np.vstack([np.ones(d), 1 + np.eye(d)])
        moved = exact.ornstein_uhlenbeck_map(ends, A, cov0=start, attraction=0.4, **options)
        M = (moved[1:] - moved[0]).T
        np.testing.assert_allclose(M @ start @ M.T, cov, atol=1e-11)
        assert (np.abs(M - M.T).max() < 1e-13) == (start is not cov0)


def test_quadratic_of_condition_1e4_to_round_off():
    """Variances of a diagonal flow: s = eps/a + (s0 - eps/a) exp(-2 a t)."""
    a, points = np.array([1.0, 1e4]), np.array([[0.5, -2.0]])
    s = 1 / a + (1 - 1 / a) * np.exp(-2 * a * 0.7)
    moved = exact.ornstein_uhlenbeck_map(points, a, 1.0, [0, 0], 1.0, 0.7)
    np.testing.assert_allclose(moved, np.sqrt(s) * points, rtol=1e-13)


# ------------------------------------------------------------------------------------ on the line


def test_rearrangement_is_of_fourth_order_and_knows_its_error():
    z, errors = special.ndtri((np.arange(4096) + 0.5) / 4096), []
    truth = exact.ornstein_uhlenbeck_map(z[:, None], 2.0, 0.7, [0.0], 1.0, [0.2, 0.6], b=0.5)
    for cells in (250, 500, 1000):
        found = exact.rearrangement_1d(
            lambda x: (x - 0.5) ** 2, 0.7, normal, [0.2, 0.6], -8, 8, cells
        )
        errors.append(np.sqrt(np.mean((found(z) - truth[..., 0]) ** 2, axis=1)))
        assert np.all(errors[-1] < found.error)
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 4, atol=0.1)
    assert np.max(errors[-1]) < 1e-7
    np.testing.assert_allclose(found.variance, np.var(truth[..., 0], axis=1), rtol=2e-3)


def test_rearrangement_in_the_tails():
    """Six standard deviations out, where a distribution is within 1e-9 of 0 or 1."""
    z = np.array([-6.0, -4.5, 4.5, 6.0])
    found = exact.rearrangement_1d(lambda x: x**2, 1.0, normal, 0.5, -9, 9)
    truth = exact.ornstein_uhlenbeck_map(z[:, None], 2.0, 1.0, [0.0], 1.0, 0.5)[:, 0]
    np.testing.assert_allclose(found(z), truth, atol=1e-6)
    np.testing.assert_allclose(found(z.reshape(2, 2)), truth.reshape(2, 2), atol=1e-6)


def test_moments_of_a_well_by_the_map():
    """Of (x^2 - 2)^2 from N(0, 1), against a Legendre-Galerkin solution."""
    times = [0.1, 0.5, 1]
    truth = galerkin_moments(lambda x: 4 * x * (x**2 - 2), 5.4, times)
    nodes = np.linspace(-8, 8, 4001)
    weights = normal(nodes)
    found = exact.rearrangement_1d(lambda x: (x**2 - 2) ** 2, 1.0, normal, times, -6, 6)
    moments = np.stack([found(nodes) @ weights, found(nodes) ** 2 @ weights], axis=1)
    np.testing.assert_allclose(moments / weights.sum(), truth, atol=1e-7)
    np.testing.assert_allclose(found.variance, truth[:, 1], atol=1e-5)


def test_rearrangement_at_time_0_is_the_identity():
    found = exact.rearrangement_1d(lambda x: x**2, 1.0, normal, [0.0, 0.1], -8, 8, 200)
    z = np.linspace(-5, 5, 7)
    np.testing.assert_allclose(found(z)[0], z, atol=1e-5)


# ------------------------------------------------------------------------------------ in the plane

INVERSE = np.linalg.inv(COV)


def correlated(x, y):
    u, v = x - MEAN[0], y - MEAN[1]
    square = INVERSE[0, 0] * u * u + 2 * INVERSE[0, 1] * u * v + INVERSE[1, 1] * v * v
    return np.exp(-square / 2) * np.sqrt(np.linalg.det(INVERSE)) / (2 * np.pi)


def quadratic(x, y):
    return (A[0, 0] * x * x + 2 * A[0, 1] * x * y + A[1, 1] * y * y) / 2


def plane(cells, steps, points=None, t=(0.3, 1.0), box=((-6, 6), (-6, 6))):
    return exact.fokker_planck_2d(quadratic, 0.7, correlated, t, box, cells, points, steps)


def test_plane_particles_follow_a_correlated_ornstein_uhlenbeck_flow():
    """Errors fall 16-fold when cells and steps are halved, and stay below the estimate."""
    points = np.random.default_rng(0).multivariate_normal(MEAN, COV, 1000)
    truth = exact.ornstein_uhlenbeck_map(points, A, 0.7, MEAN, COV, [0.3, 1.0])
    errors, estimates = [], []
    for cells, steps in ((64, 40), (128, 80)):
        found = plane(cells, steps, points)
        errors.append(np.sqrt(np.mean(np.sum((found.points - truth) ** 2, axis=2), axis=1)))
        estimates.append(found.error)
    assert np.all(np.array(errors[0]) / errors[1] > 8)
    assert np.all(np.array(errors) < estimates)
    np.testing.assert_allclose(np.array(estimates[0]) / estimates[1], 4, rtol=0.25)
    assert np.max(errors[1]) < 1e-4


def test_plane_densities_are_second_order_with_mass_and_sign():
    errors = []
    mean, cov = exact.ornstein_uhlenbeck(A, 0.7, MEAN, COV, 0.5)
    law = stats.multivariate_normal(mean, cov)
    for cells, steps in ((64, 20), (128, 40)):
        found = plane(cells, steps, t=0.5)
        truth = law.pdf(np.stack(np.meshgrid(found.x0, found.x1, indexing="ij"), axis=-1))
        area = (found.x0[1] - found.x0[0]) * (found.x1[1] - found.x1[0])
        errors.append(np.abs(found.density - truth).sum() * area)
        assert found.density.min() >= 0 and found.points.shape == (0, 2)
        assert found.density.sum() * area == pytest.approx(1, abs=1e-12)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_plane_keeps_the_gibbs_density():
    def gibbs(x, y):
        return np.exp(-((x**2 - 1) ** 2) - (y - x) ** 2)

    mass = integrate.dblquad(lambda y, x: gibbs(x, y), -4, 4, -8, 8)[0]
    found = exact.fokker_planck_2d(
        lambda x, y: (x**2 - 1) ** 2 + (y - x) ** 2, 1.0, lambda x, y: gibbs(x, y) / mass,
        [0, 2.0], ((-4, 4), (-7, 7)), 48, [[0.5, 0.2]], 16,
    )  # fmt: skip
    np.testing.assert_allclose(found.density[1], found.density[0], atol=1e-12)
    np.testing.assert_allclose(found.points, [[[0.5, 0.2]]] * 2, atol=1e-5)


def test_plane_agrees_with_the_line_where_the_potential_is_a_sum():
    z = 0.7 * np.random.default_rng(2).normal(size=(500, 2))

    def start(x):
        return stats.norm.pdf(x, scale=0.7)

    found = exact.fokker_planck_2d(
        lambda x, y: (x**2 - 1) ** 2 + y**2 / 2, 1.0, lambda x, y: start(x) * start(y),
        0.5, ((-4, 4), (-6, 6)), (256, 96), z, 80,
    )  # fmt: skip
    wells = exact.rearrangement_1d(lambda x: (x**2 - 1) ** 2, 1.0, start, 0.5, -4, 4)
    trap = exact.ornstein_uhlenbeck_map(z[:, 1:], 1.0, 1.0, [0.0], 0.49, 0.5)
    truth = np.column_stack([wells(z[:, 0]), trap])
    assert np.sqrt(np.mean(np.sum((found.points - truth) ** 2, axis=1))) < 1e-4


@pytest.mark.parametrize(
    ("call", "argument", "message"),
    [
        (lambda: plane(63, 40), "cells", "Write 64"),
        (lambda: plane(64, 41), "steps", "even"),
        (lambda: plane(64, 40, box=((-6, 6), (1, 1))), "box", "low < high"),
        (lambda: plane(64, 40, box=((-1, 6), (-6, 6))), "density0", "widen"),
        (lambda: plane(64, 40, [[7.0, 0]]), "points", "in the box"),
        (lambda: plane(64, 40, [7.0, 0]), "points", "shape"),
        (lambda: exact.mckean_vlasov(1, [[1, 2], [0, 1]], 1, [0, 0], 1, 1), "attraction", "symm"),
        (lambda: exact.ornstein_uhlenbeck_map([[0, 0]], 1, 1, [0], 1, 1), "points", "shape"),
        (lambda: exact.ornstein_uhlenbeck_map([[0]], 1, 1, [0], 0, 1), "cov0", "definite"),
        (lambda: exact.rearrangement_1d(abs, 1, normal, 1, -8, 8, 101), "cells", "even"),
        (lambda: exact.rearrangement_1d(abs, 1, normal, 1, -8, 8, 100)("a"), "points", "real"),
    ],
)
def test_errors_name_the_argument(call, argument, message):
    with pytest.raises(OptionError, match=message) as caught:
        call()
    assert caught.value.argument == argument
