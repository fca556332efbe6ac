"""A flow that starts elsewhere or is measured in another unit is the same flow, moved and scaled.

With x = m + s x', an energy of V, sigma rho log rho and W has the same flow as that of s^2 V',
s^2 sigma and s^2 W' in x': both are solved.
"""

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import LawError, OptionError
from pwgf_sym.kernels.formulas import is_linear
from pwgf_sym.targets.packing import Units

COV = np.array([[1.0, 0.3], [0.3, 0.8]])
RUN = {"samples": 256, "dt": 0.05, "linear_solver": "dense"}


# Parameters of the formulas, so that all places and units run the same kernels.
M, S = sp.Symbol("m", real=True), sp.Symbol("s", positive=True)


def mixed(x, y, rho):
    """A double well, an entropy and an attraction, about m in units of s."""
    a, b = ([(c - M) / S for c in copy] for copy in (x, y))
    potential = (a[0] ** 2 - 1) ** 2 / 4 + a[0] * a[1] / 3 + a[1] ** 2 / 2
    square = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
    attraction = sp.log(1 + square) / 4 + square**2 / 50  # over pairs, and by moments
    local = potential * rho + sp.Rational(3, 10) * rho * sp.log(rho)
    return S**2 * (pw.integral(local, x) + pw.integral(attraction * rho * rho.at(y), x, y))


def porous(x, y, rho):
    """rho^2: scaled by s, the density is s^-2 times as large."""
    return S**4 * pw.integral((1 + M) * rho**2, x)


def solved(energy, flow, m, s, law=None, **options):
    x = pw.coordinates(2)
    y, rho = pw.copy_of(x), pw.Density(x)
    law = law or pw.Gaussian([m, m], COV * float(s) ** 2)
    given = {"initial": law, "parameters": {M: m, S: s}}
    return pw.solve(
        pw.GradientFlow(energy(x, y, rho), rho, **given), flow, (0, 0.2), **RUN | options
    )


Z = np.random.default_rng(3).normal(size=(40, 2))


def difference(one, other, m, s):
    """Largest distance of the maps, in units of s."""
    moved = (other.push(m + float(s) * Z) - m) / float(s)
    return np.abs(moved - one.push(Z)).max()


@pytest.mark.parametrize("formulation", ["velocity", "energy"])
@pytest.mark.parametrize("flow", [pw.Affine(2), pw.NeuralFlow(2, 6, 2)], ids=repr)
def test_moved_and_scaled(flow, formulation):
    """To round-off of positions: 2e-12 near 10^4, 2e-8 in units of 10^-4; less where s alone is."""
    options = {"formulation": formulation, "shift": 1e-3 if formulation == "energy" else None}
    one = solved(mixed, flow, 0, sp.Integer(1), **options)
    scaled = solved(mixed, flow, 0, sp.Rational(1, 3000), **options)
    assert difference(one, scaled, 0, sp.Rational(1, 3000)) < 1e-9
    assert scaled.defect[-1] * 3000 == pytest.approx(one.defect[-1], rel=1e-6)
    assert scaled.dissipation[-1] * 3000**2 == pytest.approx(one.dissipation[-1], rel=1e-6)
    moved = solved(mixed, flow, 10**4, sp.Rational(1, 10**4), **options)
    assert difference(one, moved, 1e4, 1e-4) < 2e-7
    points = one.push(Z)
    density = moved.log_density(1e4 + 1e-4 * points)
    np.testing.assert_allclose(density, one.log_density(points) + 2 * np.log(1e4), atol=1e-6)


def test_powers_of_the_density_scale_as_well():
    """Barenblatt data of m = 2, whose spread is no whole number."""
    flow = pw.NeuralFlow(2, 6, 2)
    one = solved(porous, flow, 0, sp.Integer(1), pw.Barenblatt(2, 2, 1))
    # The profile of t0 has radius t0^(1/4) and 1/16 of the density: s = 2.
    other = solved(porous, flow, 0, sp.Integer(2), pw.Barenblatt(2, 2, 16))
    assert difference(one, other, 0, 2) < 1e-9


def test_single_precision_as_far_as_it_goes():
    """Positions near 300 are known to 2e-5 of a spread of 1; those near 10^4 spreads not at all."""
    flow = pw.NeuralFlow(2, 6, 2)
    one = solved(mixed, flow, 0, sp.Integer(1), dtype="float32", shift=1e-3)
    other = solved(mixed, flow, 300, sp.Integer(1), dtype="float32", shift=1e-3)
    assert difference(one, other, 300, 1) < 2e-3
    with pytest.raises(OptionError, match="float64"):
        solved(mixed, flow, 10**4, sp.Rational(1, 10**4), dtype="float32")


def test_a_law_far_away_in_narrow_units_is_refused():
    """Beyond 10^12 spreads doubles are too far apart, too."""
    Units.of(pw.Gaussian([1e4], 1e-8)).check("float64")
    with pytest.raises(OptionError, match="spreads"):
        Units.of(pw.Gaussian([1e9], 1e-8)).check("float64")
    for spread in (1e-20, 1e20):
        with pytest.raises(OptionError, match="unit of length"):
            Units([0.0], spread).check("float32")
        Units([0.0], spread).check("float64")


def test_units_there_and_back():
    law = pw.Gaussian([3.0, -7.0], [0.25, 0.01])
    units = Units.of(law)
    assert units.spread == pytest.approx(np.sqrt(0.13))
    points = law.sample(50, seed=1)
    inside = units.inward(points)
    np.testing.assert_allclose(units.outward(inside), points, rtol=1e-15)
    np.testing.assert_allclose(inside, (points - [3, -7]) / np.sqrt(0.13), rtol=1e-14)
    assert Units.none(2).trivial and not units.trivial
    white = law.whitened
    assert np.trace(white.covariance) == pytest.approx(2) and not white.mean.any()


def test_an_affine_flow_is_exact_by_default():
    """Ornstein-Uhlenbeck, correlated, d = 4, every option but the samples as it comes."""
    rng = np.random.default_rng(8)
    stiff, cov = (a @ a.T / 4 + np.eye(4) / 4 for a in rng.normal(size=(2, 4, 4)))
    mean = np.array([20.0, -3.0, 0.5, 1.0])
    x = pw.coordinates(4)
    rho = pw.Density(x)
    potential = (sp.Matrix(x).T * sp.Matrix(stiff) * sp.Matrix(x))[0] / 2
    energy = pw.integral(potential * rho + rho * sp.log(rho) / 3, x)
    problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian(mean, cov))
    solution = pw.solve(problem, pw.Affine(4), (0, 0.5), samples=256)
    expected = pw.exact.ornstein_uhlenbeck(stiff, 1 / 3, mean, cov, 0.5)
    ends = solution.push(np.vstack([mean, mean + np.eye(4)]), t=0.5)
    matrix = (ends[1:] - ends[0]).T
    np.testing.assert_allclose(ends[0], expected[0], atol=1e-7)
    np.testing.assert_allclose(matrix @ cov @ matrix.T, expected[1], atol=1e-7)


def test_maps_that_are_linear_in_their_parameters():
    assert is_linear(pw.Affine(3))
    assert not is_linear(pw.NeuralFlow(2, 3, 1))
    twice = pw.Affine(2)
    twice.steps = 2  # A2 (A1 z + b1) + b2
    assert not is_linear(twice)


@pytest.mark.parametrize("law", [pw.UniformBox([0, 0], 1.0), pw.UniformBall([1.0, 2.0], 3.0)])
def test_no_energy_of_rho_from_a_density_that_jumps(law):
    x = pw.coordinates(2)
    y, rho = pw.copy_of(x), pw.Density(x)
    gap = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    fine = pw.integral(x[0] ** 2 * rho, x) + pw.integral(gap * rho * rho.at(y), x, y)
    for term in (rho * sp.log(rho), rho**3, sp.sqrt(rho)):
        problem = pw.GradientFlow(fine + pw.integral(term, x), rho, initial=law)
        with pytest.raises(LawError, match=r"jumps.*Gaussian"):
            pw.solve(problem, pw.Affine(2), (0, 1))
    pw.compile(pw.GradientFlow(fine, rho, initial=law), pw.Affine(2))
