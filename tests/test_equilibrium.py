"""Equilibria against Gibbs laws by quadrature, closed forms, and a long flow."""

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import OptionError, ToleranceWarning

X = pw.coordinates(1)
RHO = pw.Density(X)
WELL = (X[0] ** 2 - 1) ** 2
PROBLEM = pw.GradientFlow(
    pw.integral(WELL * RHO + RHO * sp.log(RHO), X), RHO, pw.Gaussian([0.2], 0.6)
)
MAP = pw.NeuralFlow(1, 8, 2)


def gibbs():
    """Places, density and distribution of exp(-V)/Z on the line."""
    x = np.linspace(-4, 4, 20001)
    density = np.exp(-((x**2 - 1) ** 2))
    density /= density.sum() * (x[1] - x[0])
    return x, density, np.cumsum(density) * (x[1] - x[0])


@pytest.fixture(scope="module")
def well():
    return pw.equilibrium(PROBLEM, MAP, tol=5e-3)


def test_a_double_well(well):
    x, density, distribution = gibbs()
    levels = (np.arange(8192) + 0.5) / 8192
    points = np.sort(well.sample(8192, seed=5, sampling="sobol")[:, 0])
    w2 = np.sqrt(np.mean((points - np.interp(levels, distribution, x)) ** 2))
    assert w2 < 0.02
    places = np.linspace(-1.8, 1.8, 41)[:, None]
    expected = np.log(np.interp(places[:, 0], x, density))
    np.testing.assert_allclose(well.log_density(places), expected, atol=0.03)


def test_the_stated_distance(well):
    """KL by quadrature is what was measured, and below the bound."""
    x, density, _ = gibbs()
    inside = (np.abs(x) < 2.4) & (np.arange(x.size) % 20 == 0)
    x, density = x[inside], density[inside]
    own = np.exp(well.log_density(x[:, None]))
    ratio = density / own
    kl = np.sum(own * (ratio - 1 - np.log(ratio))) * (x[1] - x[0])
    found = well.statistics["equilibrium"]
    assert found["reached"] and found["distance"] <= found["tol"] == 5e-3
    assert kl < (2 * 5e-3) ** 2 and kl < float(found["bound"])
    assert "equilibrium" in well.message and well.t[0] == 0


def test_a_long_flow_ends_there(well):
    flow = pw.solve(PROBLEM, MAP, (0, 6), tol=1e-2, save_at=[6])
    z = np.linspace(-1.5, 1.5, 31)[:, None]
    # Both maps are monotone between the same laws.
    np.testing.assert_allclose(flow.push(z), well.push(z), atol=0.03)


def test_a_gaussian():
    x = pw.coordinates(2)
    rho = pw.Density(x)
    energy = pw.integral((x[0] ** 2 + x[0] * x[1] + 2 * x[1] ** 2) * rho + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([2, -1], 0.3))
    run = pw.equilibrium(problem, pw.Affine(2), tol=1e-4, samples=512)
    points = run.sample(1 << 13, sampling="sobol", seed=3)
    target = np.linalg.inv([[2.0, 1.0], [1.0, 4.0]])
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(np.cov(points.T), target, atol=3e-3)
    assert float(run.statistics["equilibrium"]["bound"]) < 1e-6


def test_an_energy_without_entropy():
    """|x|^2/2 and rho^2: Barenblatt's profile, 1/2 |x|^2 + 2 rho = c, within a ball."""
    x = pw.coordinates(2)
    rho = pw.Density(x)
    energy = pw.integral((x[0] ** 2 + x[1] ** 2) / 2 * rho + rho**2, x)
    problem = pw.GradientFlow(energy, rho, pw.Barenblatt(2, m=2, t0=0.5))
    run = pw.equilibrium(problem, pw.Affine(2), tol=1e-3, samples=512)
    # Mass: int (c - r^2/2)/2 = pi c^2/2 = 1; E|x|^2 = 2 c/3.
    square = np.mean(np.sum(run.sample(1 << 13, sampling="sobol") ** 2, axis=1))
    assert square == pytest.approx(2 * np.sqrt(2 / np.pi) / 3, rel=5e-3)
    assert run.statistics["equilibrium"]["kind"] == "W2 over the spread"


def test_what_cannot_be_reached_is_said():
    """No affine map makes a double well."""
    with pytest.warns(ToleranceWarning, match="was not reached"):
        run = pw.equilibrium(PROBLEM, pw.Affine(1), tol=1e-3, samples=256)
    found = run.statistics["equilibrium"]
    assert not found["reached"] and found["distance"] > 0.1


def test_more_samples_are_drawn_while_they_help():
    """What is left is the map's: four times as many samples are tried once."""
    with pytest.warns(ToleranceWarning, match="no nearer"):
        run = pw.equilibrium(PROBLEM, pw.Affine(1), target="numpy")
    assert [change["value"] for change in run.statistics["changes"]] == [4096]


def test_refusals():
    for wrong in ({"integrator": "euler"}, {"max_steps": 0}, {"tol": -1}, {"dt": 0.1}):
        with pytest.raises(OptionError):
            pw.equilibrium(PROBLEM, MAP, **wrong)
