"""Laws that a map carries others to: densities, chains of them, flows that go on, stored ones."""

import pickle
import warnings

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.declare.registry import description
from pwgf_sym.solver.push import Push

X = pw.coordinates(2)
RHO = pw.Density(X)
ANGLE = pw.coordinates(1, period=2 * sp.pi)
MODES = pw.Mixture([1, 2], means=[[-1.0, 0.5], [1.0, 0.0]], covs=[0.3, 0.6])
OPTIONS = {"target": "numpy", "tol": 1e-3}


def thetas(map, seed, size=0.3):
    """Parameters beside the identity."""
    start = map.initial_parameters(pw.Gaussian([0.0] * map.dim, 1.0).whitened, seed)
    return start + size * np.random.default_rng(seed).normal(size=start.size)


def jacobian_logs(law, z, step=1e-6):
    """log|det dT/dz| from differences of pushed points, T by the law's own transform."""
    rows = [
        (law._push(z + step * unit) - law._push(z - step * unit)) / (2 * step)
        for unit in np.eye(law.dim)
    ]
    return np.linalg.slogdet(np.stack(rows, axis=2))[1]


def test_an_affine_map_of_a_gaussian():
    """In closed form, and without a map to invert."""
    base = pw.Gaussian([1.0, -2.0], [[2.0, 0.3], [0.3, 0.5]])
    map = pw.Affine(2)
    theta = np.array([1.5, 0.2, -0.1, 0.7, 0.4, -0.3])  # A, then b
    law = Push(base, map, theta)
    matrix, shift = theta[:4].reshape(2, 2), theta[4:]
    m, s = base.mean, base.spread
    exact = pw.Gaussian(m + s * shift, matrix @ base.covariance @ matrix.T)
    points = exact.sample(500, 3)
    assert np.abs(law.log_density(points) - exact.log_density(points)).max() < 1e-11
    assert np.abs(law.score(points) - exact.score(points)).max() < 1e-10
    assert np.abs(law.mean - exact.mean).max() < 1e-3 * law.spread
    assert np.abs(law.covariance - exact.covariance).max() < 2e-3 * law.spread**2
    assert law.has_transform and law.support == "space" and not law.jump


def test_a_network_of_a_mixture():
    """The change of variables, by differences; the score as the slope of the log density."""
    map = pw.NeuralFlow(2, 6, steps=2)
    law = Push(MODES, map, thetas(map, 1, 0.1))
    z = MODES.sample(200, 5)
    x = law._push(z)
    exact = MODES.log_density(z) - jacobian_logs(law, z)
    assert np.abs(law.log_density(x) - exact).max() < 1e-7
    step, score = 1e-5, law.score(x)
    for i, unit in enumerate(np.eye(2)):
        slope = law.log_density(x + step * unit) - law.log_density(x - step * unit)
        assert np.abs(slope / (2 * step) - score[:, i]).max() < 1e-6 * np.abs(score).max()
    grid = np.stack(np.meshgrid(*[np.linspace(-9, 9, 181)] * 2), axis=-1).reshape(-1, 2)
    assert abs(np.exp(law.log_density(grid)).sum() * 0.1**2 - 1) < 1e-6


def test_samples_know_their_densities(monkeypatch):
    """No inversion at points that the law has drawn, and the same values as by one."""
    map = pw.NeuralFlow(2, 4, steps=2)
    law, other = (Push(MODES, map, thetas(map, 2)) for _ in range(2))
    for x in (law.sample(64, seed=4), law.transform(np.random.default_rng(0).random((64, 2)))):
        by_inversion = other.log_density(x), other.score(x)
        with monkeypatch.context() as patch:
            patch.setattr(type(law._program(1)), "invert", None)
            found = law.log_density(x), law.score(x)
        x[0] += 1.0  # the law has its own copy
        assert np.abs(found[0] - by_inversion[0]).max() < 1e-12
        assert np.abs(found[1] - by_inversion[1]).max() < 1e-10
        assert abs(law.log_density(x)[0] - found[0][0]) > 1e-2


def test_chains():
    """A push of a push of a Gaussian by affine maps is Gaussian; by networks, two changes."""
    affine = pw.Affine(2)
    inner = Push(pw.Gaussian([0.0, 1.0], 1.0), affine, [1.0, 0.5, 0.0, 2.0, 0.1, 0.0])
    outer = Push(inner, affine, [0.5, 0.0, 0.3, 1.0, 0.0, -1.0])
    one, two = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([[0.5, 0.0], [0.3, 1.0]])
    mean = np.array([0.1, 1.0])
    # The inner law's estimated moments are the outer map's units.
    m, s = inner.mean, inner.spread
    exact = pw.Gaussian(m + two @ (mean - m) + s * np.array([0.0, -1.0]), two @ one @ one.T @ two.T)
    points = exact.sample(200, 1)
    assert np.abs(outer.log_density(points) - exact.log_density(points)).max() < 1e-10
    assert np.abs(outer.score(points) - exact.score(points)).max() < 1e-10
    map = pw.NeuralFlow(2, 4, steps=1)
    inner = Push(MODES, map, thetas(map, 3))
    outer = Push(inner, map, thetas(map, 4))
    z = inner.sample(100, 1)
    exact = inner.log_density(z) - jacobian_logs(outer, z)
    assert np.abs(outer.log_density(outer._push(z)) - exact).max() < 1e-7


def test_a_flow_goes_on():
    """Ornstein-Uhlenbeck in two parts is in closed form; the second begins at the identity."""
    energy = pw.integral((X[0] ** 2 + 3 * X[1] ** 2) / 2 * RHO + RHO * sp.log(RHO), X)
    problem = pw.GradientFlow(energy, RHO, pw.Gaussian([1.0, -1.0], 0.3))
    first = pw.solve(problem, pw.Affine(2), (0, 0.4), **OPTIONS)
    again = pw.GradientFlow(energy, RHO, first.law())
    second = pw.solve(again, pw.Affine(2), (0.4, 1.0), **OPTIONS)
    a = np.array([1.0, 3.0])
    decay = np.exp(-a)
    exact = pw.Gaussian(decay * [1.0, -1.0], 0.3 * decay**2 + (1 - decay**2) / a)
    points = exact.sample(200, 1)
    assert np.abs(second.log_density(points) - exact.log_density(points)).max() < 2e-4
    middle = first.law(0.2).log_density(points)
    assert np.abs(middle - first.log_density(points, t=0.2)).max() < 1e-11


def test_storage(tmp_path):
    map = pw.NeuralFlow(2, 4, steps=2)
    law = Push(Push(MODES, map, thetas(map, 5, 0.1)), map, thetas(map, 6, 0.1))
    points = law.sample(50, seed=0)
    for again in (law_from_dict(description(law)), pickle.loads(pickle.dumps(law))):
        assert again == law and hash(again) == hash(law)
        assert np.array_equal(again.sample(50, seed=0), points)
        assert np.array_equal(again.mean, law.mean)
    assert Push(MODES, map, thetas(map, 7)) != Push(MODES, map, thetas(map, 6))
    energy = pw.integral(X[0] ** 2 * RHO + RHO * sp.log(RHO), X)
    problem = pw.GradientFlow(energy, RHO, law)
    found = pw.solve(problem, map, (0, 0.02), steps="rk4", dt=0.01, target="numpy", samples=64)
    found.save(tmp_path / "run.npz")
    loaded = pw.load_solution(tmp_path / "run.npz")
    assert loaded.problem.initial == law
    assert np.array_equal(loaded.log_density(points), found.log_density(points))


def test_laws_without_a_density():
    """Points alone are pushed, and energies that read none go on."""
    base = pw.Empirical(np.random.default_rng(0).normal(size=(64, 2)))
    law = Push(base, pw.Affine(2), [2.0, 0, 0, 2.0, 0, 0])
    assert not law.has_density and not law.has_transform
    x, z = law.sample(64, seed=1), base.sample(64, seed=1)
    assert np.abs(x - (base.mean + 2 * (z - base.mean))).max() < 1e-12
    with pytest.raises(pw.errors.LawError, match="no density"):
        law.log_density(x)
    flow = pw.GradientFlow(pw.integral(X[0] ** 2 * RHO, X), RHO, law)
    assert pw.solve(flow, pw.Affine(2), (0, 0.1), target="numpy", samples=64).success


def test_points_anywhere():
    """Outside of the support, at infinity, no number, none at all: as of other laws."""
    law = Push(pw.UniformBox([0, 0], 1.0), pw.Affine(2), [2.0, 0, 0, 1, 0, 0])
    assert law.jump and law.support == "bounded"
    points = np.array([[1.4, 0.5], [5, 5], [np.inf, 0], [np.nan, 0], [-0.45, 0.1]])
    exact = [-np.log(2), -np.inf, -np.inf, np.nan, -np.log(2)]
    np.testing.assert_allclose(law.log_density(points), exact, rtol=1e-14)
    assert np.array_equal(law.score(points)[[0, 4]], np.zeros((2, 2)))
    assert np.isnan(law.score(points)[1:4]).all()
    assert law.log_density(np.empty((0, 2))).shape == (0,)


def test_a_folded_map_says_so():
    """Where it turns on the line, and only there."""
    map, folds = pw.Residual(1, 2), []
    for seed in range(8):
        law = Push(pw.Gaussian([0.0], 1.0), map, thetas(map, seed, 4.0))
        step = np.diff(law._push(np.linspace(-2, 2, 400)[:, None])[:, 0])
        folded = np.any(step > 0) and np.any(step < 0)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            law.log_density(law.sample(8, seed=0))
        said = any(issubclass(w.category, pw.errors.FoldedMapWarning) for w in seen)
        assert said == folded
        folds.append(folded)
    assert any(folds) and not all(folds)


@pytest.mark.parametrize(
    ("law", "map", "theta", "named"),
    [
        (1.0, pw.Affine(2), np.zeros(6), "law"),
        (MODES, 1.0, np.zeros(6), "map"),
        (MODES, pw.Affine(1), np.zeros(2), "map"),
        (MODES, pw.Affine(2), np.zeros(5), "theta"),
        (MODES, pw.Affine(2), [1, 0, 0, 1, np.nan, 0], "theta"),
        (pw.Circle(2 + sp.cos(ANGLE[0])), pw.Affine(1), np.zeros(2), "law"),
    ],
)
def test_wrong_arguments(law, map, theta, named):
    with pytest.raises(pw.errors.LawError) as caught:
        Push(law, map, theta)
    assert caught.value.argument == named


def test_entries_of_a_file():
    """What anybody may have written is refused by name."""
    law = Push(MODES, pw.Affine(2), [1.0, 0, 0, 1, 0, 0])
    entries = description(law)
    # Moments are the next map's units: those that the law was used with, not estimated anew.
    assert np.array_equal(law_from_dict(entries | {"mean": [0.5, 9.0]}).mean, [0.5, 9.0])
    for change in ({"theta": [1.0]}, {"mean": [0.0]}, {"covariance": [[1.0, 2.0], [2.0, 1.0]]}):
        with pytest.raises(pw.errors.LawError):
            law_from_dict(entries | change)
    with pytest.raises(pw.errors.LawError):
        law_from_dict({k: v for k, v in entries.items() if k != "mean"})
