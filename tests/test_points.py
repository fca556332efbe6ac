"""Velocity and energy at points of the initial law, against closed forms."""

import numpy as np
import pytest
import sympy as sp
from on_targets import program_on

import pwgf_sym as pw
from pwgf_sym.errors import EnergyError, OptionError

X, R = pw.coordinates(2), pw.coordinates(1)
RHO, DENSITY = pw.Density(X), pw.Density(R)
STIFFNESS = np.array([[1.5, 0.4], [0.4, 0.8]])
CENTER, EPS = np.array([0.3, -1.0]), 0.7
MEAN, COV = np.array([1.0, 2.0]), np.array([[0.5, 0.2], [0.2, 1.5]])


def ornstein_uhlenbeck():
    """int (x - c)' K (x - c)/2 rho + eps int rho log rho, from a Gaussian."""
    offset = sp.Matrix(X) - sp.Matrix(CENTER)
    potential = (offset.T * sp.Matrix(STIFFNESS) * offset)[0] / 2
    energy = pw.integral(potential * RHO + EPS * RHO * sp.log(RHO), X)
    return pw.GradientFlow(energy, RHO, initial=pw.Gaussian(MEAN, COV))


def test_velocity_of_an_ornstein_uhlenbeck_flow(target, tmp_path):
    """w = -K (x - c) + eps cov^-1 (x - mean), of the law and of its image by an affine map."""
    program = program_on(target, ornstein_uhlenbeck(), pw.Affine(2), tmp_path)
    points = program.problem.initial.sample(9, 0)

    def exact(x, mean, cov):
        return (x - mean) @ np.linalg.inv(cov) * EPS - (x - CENTER) @ STIFFNESS

    found = program.velocity_at(points)
    assert found.shape == (9, 2) and found.dtype == np.float64
    np.testing.assert_allclose(found, exact(points, MEAN, COV), rtol=1e-12, atol=1e-12)
    matrix, shift = np.array([[1.2, 0.3], [-0.4, 0.9]]), np.array([0.5, -0.2])
    spread = np.sqrt(np.trace(COV) / 2)  # the map's unit of length, from the law's mean
    theta, mean = np.append(matrix.ravel(), shift / spread), MEAN + shift
    x = (points - MEAN) @ matrix.T + mean
    expected = exact(x, mean, matrix @ COV @ matrix.T)
    for given in (theta, theta.tolist()):
        found = program.velocity_at(points.tolist(), given)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_energy_of_a_barenblatt_profile(target, tmp_path):
    """int rho^2 of a (1 - (x/r)^2) on the line is 16 r a^2/15, and of a map by c a c-th of it."""
    law = pw.Barenblatt(1, 2.0, 0.5)
    a, r = 0.75 / law.radius, law.radius
    problem = pw.GradientFlow(pw.integral(DENSITY**2, R), DENSITY, initial=law)
    program = program_on(target, problem, pw.Affine(1), tmp_path)
    # The middles of parts of equal mass: the law's distribution function is a cubic in x/r.
    levels = (np.arange(200) + 0.5) / 200
    cubic = [np.roots([-1, 0, 3, 2 - 4 * level]) for level in levels]
    s = np.array([roots.real[np.abs(roots.real) <= 1][0] for roots in cubic])
    exact = 16 / 15 * r * a**2
    assert isinstance(program.energy_at(r * s[:, None]), float)
    assert program.energy_at(r * s[:, None]) == pytest.approx(exact, rel=5e-4)
    assert program.energy_at(r * s[:, None], [2.0, 0.3]) == pytest.approx(exact / 2, rel=5e-4)
    np.testing.assert_allclose(
        program.velocity_at(r * s[:, None])[:, 0], 4 * a * s / r, rtol=1e-12, atol=1e-12
    )


def test_points_stand_for_the_law(target, tmp_path):
    """Means over partners, and an integral that the velocity reads, are those over the points."""
    y = pw.copy_of(R)
    second = pw.integral(R[0] ** 2 * DENSITY, R)
    pairs = pw.integral((R[0] - y[0]) ** 2 / 2 * DENSITY * DENSITY.at(y), R, y)
    problem = pw.GradientFlow(second**2 + pairs, DENSITY, initial=pw.Gaussian([0.0], 1.0))
    program = program_on(target, problem, pw.Affine(1), tmp_path)
    points = np.array([[1.0], [2.0], [-1.0]])
    # Half the squares of the distances 1, 2 and 3, and twice the mean distance to the two others.
    assert program.energy_at(points) == pytest.approx(2.0**2 + 7 / 3)
    attraction = np.array([[-1.0], [-4.0], [5.0]])
    expected = -4 * 2.0 * points + attraction
    np.testing.assert_allclose(program.velocity_at(points), expected, rtol=1e-13)


def test_wrong_calls(tmp_path):
    program = pw.compile(ornstein_uhlenbeck(), pw.Affine(2), "numpy")
    with pytest.raises(OptionError, match=r"points.*shape \(N, 2\)"):
        program.velocity_at(np.zeros(3))
    with pytest.raises(OptionError, match="points"):
        program.energy_at([["a", "b"]])
    with pytest.raises(OptionError, match=r"theta.*shape \(6,\)"):
        program.energy_at(np.zeros((3, 2)), np.zeros(5))
    jumps = pw.integral(sp.Abs(DENSITY - sp.Rational(2, 7)), R)
    rough = pw.GradientFlow(jumps, DENSITY, initial=pw.Gaussian([0.0], 1.0))
    program = pw.compile(rough, pw.Affine(1), "numpy")
    with pytest.raises(EnergyError, match="first variation jumps"):
        program.velocity_at(np.zeros((1, 1)))
    assert np.isfinite(program.energy_at(np.zeros((1, 1))))
