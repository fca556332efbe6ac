"""Evidence from the exact density: closed forms of Gaussians, quadrature of a double well."""

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import OptionError
from pwgf_sym.solver.evidence import diagnostics, log_weights

STIFFNESS, CENTRE = np.array([[1.0, 0.4], [0.4, 2.0]]), np.array([0.8, -0.5])
MEAN, COV = np.array([0.6, -0.2]), np.array([[0.9, -0.3], [-0.3, 0.6]])
X = pw.coordinates(1)
WELL = (X[0] ** 2 - 1) ** 2 + X[0] / 2


def energy(x, potential, sigma=1):
    rho = pw.Density(x)
    return pw.integral(potential * rho + sigma * rho * sp.log(rho), x), rho


def quadratic():
    x = pw.coordinates(2)
    gap = sp.Matrix([s - sp.Float(c) for s, c in zip(x, CENTRE)])
    return x, (gap.T * sp.Matrix(STIFFNESS) * gap)[0] / 2


@pytest.fixture(scope="module")
def gaussian():
    x, potential = quadratic()
    problem = pw.GradientFlow(*energy(x, potential, 2), pw.Gaussian(MEAN, COV))
    program = pw.compile(problem, pw.Affine(2))
    return program, problem_start(problem, program)


def problem_start(problem, program):
    return program.map.initial_parameters(problem.initial.whitened, 0)


def test_a_gaussian_beside_a_gaussian(gaussian):
    """sigma = 2: pi = N(centre, 2 K^-1)."""
    program, theta = gaussian
    found = diagnostics(program, theta, n=1 << 16)
    cov = 2 * np.linalg.inv(STIFFNESS)
    inverse, gap = np.linalg.inv(cov), MEAN - CENTRE
    log_dets = np.linalg.slogdet(cov)[1] - np.linalg.slogdet(COV)[1]
    kl = (np.trace(inverse @ COV) - 2 + gap @ inverse @ gap + log_dets) / 2
    log_z = np.log(2 * np.pi) + np.linalg.slogdet(cov)[1] / 2

    def near(value, true, error):
        assert np.all(np.abs(value - true) <= 5 * error) and np.all(error > 0)

    near(found.log_z, log_z, found.log_z_error)
    near(found.kl_to_equilibrium, kl, found.kl_error)
    near(found.mean, CENTRE, found.standard_errors)
    near(found.covariance, cov, found.covariance_errors)
    assert found.log_z_error < 0.03 and found.standard_errors.max() < 0.1
    assert found.samples == 1 << 16 and "log Z" in str(found)


def test_at_equilibrium_all_weights_are_equal():
    x, potential = quadratic()
    law = pw.Gaussian(CENTRE, np.linalg.inv(STIFFNESS))
    problem = pw.GradientFlow(*energy(x, potential), law)
    program = pw.compile(problem, pw.Affine(2))
    found = diagnostics(program, problem_start(problem, program), n=1000)
    assert found.effective_sample_size == pytest.approx(found.samples)
    assert found.kl_to_equilibrium == pytest.approx(0, abs=1e-12)
    log_z = np.log(2 * np.pi) - np.linalg.slogdet(STIFFNESS)[1] / 2
    assert found.log_z == pytest.approx(log_z, abs=1e-12) and found.log_z_error < 1e-12
    np.testing.assert_allclose(found.mean, CENTRE, atol=5 * found.standard_errors.max())


@pytest.fixture(scope="module")
def well():
    problem = pw.GradientFlow(*energy(X, WELL), pw.Gaussian([0.0], 1.0))
    program = pw.compile(problem, pw.Affine(1))
    return program, problem_start(problem, program)


def test_a_double_well_by_quadrature(well):
    program, theta = well
    found = diagnostics(program, theta, seed=3)
    x = np.linspace(-5, 5, 20001)
    h = x[1] - x[0]
    v = (x**2 - 1) ** 2 + x / 2
    z = np.exp(-v).sum() * h
    pi = np.exp(-v) / z
    own = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    mean = np.sum(x * pi) * h
    kl = np.sum(own * (np.log(own) + v)) * h + np.log(z)
    size = np.sum(np.exp(-2 * v) / np.maximum(own, 1e-300)) * h / z**2  # E w^2/(E w)^2
    assert abs(found.log_z - np.log(z)) <= 5 * found.log_z_error < 0.05
    assert abs(found.kl_to_equilibrium - kl) <= 5 * found.kl_error < 0.1
    assert abs(found.mean[0] - mean) <= 5 * found.standard_errors[0] < 0.05
    variance = np.sum((x - mean) ** 2 * pi) * h
    assert abs(found.covariance[0, 0] - variance) <= 5 * found.covariance_errors[0, 0]
    assert found.effective_sample_size == pytest.approx(found.samples / size, rel=0.02)


def test_errors_are_those_of_repetition(well):
    program, theta = well
    found = [diagnostics(program, theta, n=1024, seed=seed) for seed in range(40)]
    for value, error in (
        ("log_z", "log_z_error"),
        ("kl_to_equilibrium", "kl_error"),
        ("mean", "standard_errors"),
        ("covariance", "covariance_errors"),
    ):
        values = np.array([getattr(d, value) for d in found])
        expected = np.sqrt(np.mean(np.array([getattr(d, error) for d in found]) ** 2))
        assert 0.6 * values.std() <= expected <= 1.7 * values.std()


def test_a_potential_of_ones_own_and_another_law(well):
    """Against N(1, 2): from another law, pushed by the identity."""
    program, theta = well
    target = (X[0] - 1) ** 2 / 4
    law = pw.Gaussian([0.5], 2.0)
    found = diagnostics(program, theta, law=law, potential=target, sigma=1.0)
    assert found.kl_to_equilibrium == pytest.approx(0.25 / 4, abs=5 * found.kl_error + 1e-12)
    assert found.log_z == pytest.approx(np.log(4 * np.pi) / 2, abs=5 * found.log_z_error)


def test_weights_of_points(well):
    program, theta = well
    z = np.array([[0.3], [-1.2]])
    x, logs = log_weights(program, theta, z)
    np.testing.assert_allclose(x, z, atol=1e-14)
    v = (z[:, 0] ** 2 - 1) ** 2 + z[:, 0] / 2
    np.testing.assert_allclose(logs, -v + z[:, 0] ** 2 / 2 + np.log(2 * np.pi) / 2)


def test_refusals(well):
    program, theta = well
    rho = pw.Density(X)
    porous = pw.compile(
        pw.GradientFlow(pw.integral(rho**2, X), rho, pw.Gaussian([0.0], 1.0)), pw.Affine(1)
    )
    with pytest.raises(OptionError, match="no known equilibrium"):
        diagnostics(porous, theta)
    for wrong in ({"potential": sp.Symbol("q")}, {"potential": 3}, {"sigma": -1}, {"n": 3}):
        with pytest.raises(OptionError):
            diagnostics(program, theta, **wrong)


def test_diagnostics_are_compared_and_shown():
    """Arrays have no truth value: two diagnostics are equal where they are the same one."""
    x = pw.coordinates(1)
    rho = pw.Density(x)
    energy = pw.integral(x[0] ** 2 / 3 * rho + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([0.2], 1.4))
    program = pw.compile(problem, pw.Affine(1), target="numpy")
    one, two = (diagnostics(program, np.array([1.1, 0.0]), n=64) for _ in range(2))
    assert one == one and one != two and hash(one) == hash(one)
    assert repr(one) == str(one) and "log Z" in repr(one)


@pytest.mark.parametrize(("wide", "dim"), [(60.0, 5), (20.0, 9)])
def test_errors_are_infinite_where_few_samples_have_all_weights(wide, dim):
    """N(0, 1) beside N(0, wide): log Z is off by 10 times the scatter of the sets and more."""
    x = pw.coordinates(dim)
    potential = sum(s**2 for s in x) / (2 * wide)
    problem = pw.GradientFlow(*energy(x, potential), pw.Gaussian([0.0] * dim, 1.0))
    program = pw.compile(problem, pw.Affine(dim), target="numpy")
    theta = problem_start(problem, program)
    exact = dim / 2 * np.log(2 * np.pi * wide)
    found = diagnostics(program, theta, n=4096, seed=1)
    assert abs(found.log_z - exact) > 2 and np.isinf(found.log_z_error)
    errors = found.kl_error, *found.standard_errors, *found.covariance_errors.ravel()
    assert np.isinf(errors).all() and "inf" in str(found)


def test_errors_of_few_samples_are_finite(gaussian):
    """Of 64 samples each brings more than a hundredth of the weights."""
    program, _ = gaussian
    theta = problem_start(program.problem, program)
    assert np.isfinite(diagnostics(program, theta, n=64).log_z_error)
