"""Equilibria against Gibbs laws by quadrature, closed forms, and a long flow."""

import json

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import OptionError, StoredSolutionError, ToleranceWarning

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


def quadratic(width, start, map, **options):
    """An equilibrium of x^2/(2 width) with entropy."""
    energy = pw.integral(X[0] ** 2 / (2 * width) * RHO + RHO * sp.log(RHO), X)
    problem = pw.GradientFlow(energy, RHO, pw.Gaussian([start], 0.7))
    return pw.equilibrium(problem, map, target="numpy", samples=256, **options)


def test_an_equilibrium_is_saved_with_its_bound(tmp_path):
    run = quadratic(1.5, 0.4, pw.Affine(1), tol=2e-3)
    run.save(tmp_path / "rest.npz")
    loaded = pw.load_solution(tmp_path / "rest.npz")
    before, after = run.statistics["equilibrium"], loaded.statistics["equilibrium"]
    assert before["bound"].status == "proven" and str(before["bound"]) == str(after["bound"])
    assert type(after["bound"]) is type(before["bound"]) and np.isnan(after["bound"].t)
    assert {**before, "bound": 0} == {**after, "bound": 0}
    assert loaded.success is run.success is True and repr(loaded) == repr(run)
    again = tmp_path / "again.npz"
    loaded.save(again)
    assert str(pw.load_solution(again).statistics) == str(run.statistics)


def test_numbers_without_end_are_saved(tmp_path):
    run = quadratic(0.6, 0.1, pw.Affine(1), tol=2e-2)
    run.statistics["equilibrium"]["distance"] = float("inf")
    run.statistics["changes"] = [{"t": 0.5, "value": np.float64("-inf"), "reason": "a test"}]
    run.save(tmp_path / "rest.npz")
    loaded = pw.load_solution(tmp_path / "rest.npz")
    assert str(loaded.statistics) == str(run.statistics).replace("np.float64(-inf)", "-inf")


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["bound"]["error_bound"].update(value="0"),
        lambda found: found["bound"]["error_bound"].update(distance="W3"),
        lambda found: found["bound"]["error_bound"].pop("reason"),
        lambda found: found.update(bound={"error_bound": 3}),
        lambda found: found.update(reached=1),
    ],
)
def test_damaged_bounds_are_refused(tmp_path, change):
    path = tmp_path / "rest.npz"
    quadratic(1.2, 0.3, pw.Affine(1), tol=1e-2).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    description = json.loads(str(arrays["description"]))
    change(description["statistics"]["equilibrium"])
    np.savez(path, **arrays | {"description": np.array(json.dumps(description))})
    with pytest.raises(StoredSolutionError):
        pw.load_solution(path)


def test_no_success_without_the_tolerance():
    """A map that cannot be the equilibrium's: the run ends at a floor, and does not succeed."""
    energy = pw.integral((X[0] ** 2 - 2) ** 2 / 3 * RHO + RHO * sp.log(RHO), X)
    problem = pw.GradientFlow(energy, RHO, pw.Gaussian([0.1], 0.9))
    with pytest.warns(ToleranceWarning):
        run = pw.equilibrium(problem, pw.Affine(1), target="numpy", samples=256)
    assert run.success is False and not run.statistics["equilibrium"]["reached"]
    assert "success   False" in repr(run)
