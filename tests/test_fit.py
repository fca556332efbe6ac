"""Fits of maps that carry one law near another: exact ones, divergences that are known, points."""

import time

import numpy as np
import pytest
import sympy as sp
from scipy.stats import norm

import pwgf_sym as pw
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.solver.fit import Fit, _Entropy, _Points

PLANE = pw.Gaussian([0.0, 0.0], 1.0)
LINE = pw.Gaussian([0.0], 1.0)
MODES = pw.Mixture([1, 2], means=[[-1.5], [1.5]], covs=[0.5, 0.4])


def modes(x):
    """The density of MODES, of SciPy."""
    return norm.pdf(x, -1.5, 0.5**0.5) / 3 + 2 * norm.pdf(x, 1.5, 0.4**0.5) / 3


def test_gaussian_to_gaussian():
    """Moments of the map are those of the other law, and KL in closed form is the one said."""
    to = pw.Gaussian([1.0, 2.0], [[2.0, 0.5], [0.5, 1.0]])
    found = pw.fit(pw.Affine(2), PLANE, to=to, tol=1e-6, target="numpy")
    matrix, mean = found.theta0[:4].reshape(2, 2), found.theta0[4:]
    inverse, covariance = np.linalg.inv(to.covariance), matrix @ matrix.T
    gap = mean - to.mean
    kl = np.trace(inverse @ covariance) + gap @ inverse @ gap - 2
    kl = (kl - np.linalg.slogdet(inverse @ covariance)[1]) / 2
    assert found.reached and found.kind == "KL" and 0 < kl < 1e-6
    assert abs(found.divergence - kl) < 0.02 * kl
    assert found.error < 0.01 * kl
    assert np.abs(found.law.log_density(to.mean[None]) - to.log_density(to.mean[None])) < 2e-3


def test_gaussian_to_a_mixture():
    """KL by quadrature of the map's density beside SciPy's, and a flow that begins there."""
    map = pw.NeuralFlow(1, 6)
    found = pw.fit(map, LINE, to=MODES, tol=1e-2, target="numpy")
    grid = np.linspace(-6, 6, 2401)
    logs = found.law.log_density(grid[:, None])
    kl = np.trapezoid(np.exp(logs) * (logs - np.log(modes(grid))), grid)
    assert found.reached and kl <= 1e-2
    assert abs(found.divergence - kl) < 4 * found.error + 1e-5
    x = pw.coordinates(1)
    rho = pw.Density(x)
    heat = pw.GradientFlow(pw.integral(rho * sp.log(rho), x), rho, LINE)
    options = {"target": "numpy", "steps": "rk4", "dt": 0.01, "samples": 512}
    solution = pw.solve(heat, map, (0, 0.02), theta0=found.theta0, **options)
    points = np.linspace(-3, 3, 7)[:, None]
    gap = solution.log_density(points, t=0) - found.law.log_density(points)
    assert np.abs(gap).max() < 1e-12


def test_what_is_not_reached_is_said():
    """One of two far modes is a rest of the flow: KL is log 2 there, and weights are all alike."""
    far = pw.Mixture([1, 1], means=[[-20.0], [20.0]], covs=1.0)
    law = pw.Gaussian([19.0], 1.0)
    with pytest.warns(pw.errors.ToleranceWarning, match=r"KL = 0\.69"):
        found = pw.fit(pw.Affine(1), law, to=far, tol=1e-2, target="numpy")
    assert not found.reached and abs(found.divergence - np.log(2)) < 1e-2


def gaussian_kl(theta, variance, dim):
    """Of the N(0, 1)^d that an affine map carries, from N(0, variance)^d."""
    matrix, mean = theta[: dim * dim].reshape(dim, dim), theta[dim * dim :]
    trace = (np.sum(matrix**2) + mean @ mean) / variance
    return (trace - dim + dim * np.log(variance)) / 2 - np.linalg.slogdet(matrix)[1]


@pytest.mark.parametrize("variance", [4.0, 0.3])
def test_divergences_from_wide_and_narrow_laws(variance):
    """Weights other/rho without a variance must not enter: KL in closed form."""
    law, to = pw.Gaussian([0.0] * 5, 1.0), pw.Gaussian([0.0] * 5, variance)
    goal = _Entropy(law, to, to.log_density_formula(pw.coordinates(5)))
    options = {"target": "numpy", "steps": "rk4", "dt": 1e-4, "samples": 64}
    solution = pw.solve(goal.problem, pw.Affine(5), (0, 1e-4), **options)
    found, error = goal.measured(solution, 0)
    exact = gaussian_kl(solution.theta[-1], variance, 5)
    assert abs(found - exact) < 4 * error + 1e-6 and error < 5e-3 * exact


class Unnormalized(pw.Law):
    """exp(-|x|^2/2), of the mass (2 pi)^(d/2)."""

    def __init__(self, dim):
        self.dim = dim

    def sampler(self, n, rng):
        return rng.normal(size=(n, self.dim))

    def log_density_at(self, points):
        return -np.sum(points**2, axis=1) / 2

    def score_at(self, points):
        return -points

    def log_density_formula(self, x):
        return -sum(one**2 for one in x) / 2


@pytest.mark.parametrize(
    ("dim", "message"), [(1, r"the mass 2\.5"), (3, r"at least the mass 15\.7")]
)
def test_densities_that_are_not_normalized_are_refused(dim, message):
    """Where the check of the law sees it, and where only the weights do."""
    with pytest.raises(pw.errors.LawError, match=message):
        pw.fit(pw.Affine(dim), pw.Gaussian([0.0] * dim, 1.0), to=Unnormalized(dim), target="numpy")


def test_laws_with_borders_are_points():
    """The formula of a density on a half line is none that a flow may read everywhere."""
    x = pw.coordinates(1)
    gamma = pw.Custom(
        2 * sp.log(x[0]) - x[0] - sp.log(2), x, lambda n, rng: rng.gamma(3, size=(n, 1))
    )
    found = pw.fit(pw.Affine(1), LINE, to=gamma, tol=0.1, target="numpy")
    assert found.kind == "MMD^2" and found.reached


def test_a_formula_that_is_a_text_is_refused():
    law = type("Text", (Unnormalized,), {"log_density_formula": lambda self, x: "-x0**2/2"})(3)
    with pytest.raises(pw.errors.LawError, match="'-x0") as caught:
        pw.fit(pw.Affine(3), pw.Gaussian([0.0] * 3, 1.0), to=law, target="numpy")
    assert caught.value.argument == "to"


def squared_mmd(mean, covariance, points, width):
    """Of a Gaussian and points, in closed form."""
    d, h = len(mean), width**2
    both = np.linalg.det(np.eye(d) + 2 * covariance / h) ** -0.5
    gaps = points - mean
    square = np.sum(gaps @ np.linalg.inv(covariance + h * np.eye(d)) * gaps, axis=1)
    cross = np.linalg.det(np.eye(d) + covariance / h) ** -0.5 * np.exp(-square / 2).mean()
    distances = np.sum((points[:, None] - points) ** 2, axis=2)
    return both - 2 * cross + np.exp(-distances / (2 * h)).mean()


def test_gaussian_to_points():
    """The squared MMD of a Gaussian and the points is in closed form."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2)) @ [[1.0, 0.5], [0.0, 0.7]] + [3.0, 1.0]
    found = pw.fit(pw.Affine(2), PLANE, to=pw.Empirical(points), tol=5e-3, target="numpy")
    matrix, mean = found.theta0[:4].reshape(2, 2), found.theta0[4:]
    exact = squared_mmd(mean, matrix @ matrix.T, points, found.width)
    assert found.reached and found.kind == "MMD^2"
    assert abs(found.divergence - exact) < 4 * found.error + 1e-6
    start = squared_mmd(np.zeros(2), np.eye(2), points, found.width)
    assert exact < 5e-3 < 0.1 * start
    distances = np.sqrt(np.sum((points[:, None] - points) ** 2, axis=2))
    assert abs(found.width / np.median(distances[distances > 0]) - 1) < 1e-12


def test_the_energy_of_points():
    """The energy of the flow and its constant make the divergence of the samples."""
    points = np.random.default_rng(1).normal(size=(50, 2)) + 1
    goal = _Points(PLANE, pw.Empirical(points), 0)
    z = PLANE.sample(4000, 1)
    energy = pw.compile(goal.problem, pw.Affine(2), target="numpy").energy_at(z)
    exact = squared_mmd(np.zeros(2), np.eye(2), points, goal.width)
    assert abs(energy / goal.width**2 + goal.constant - exact) < 0.1 * exact
    assert goal.near(exact * 1.2)(energy, 4000) and not goal.near(exact * 0.8)(energy, 4000)


@pytest.mark.parametrize(
    "law",
    [
        pw.Gaussian([1.0, 2.0, 0.0], [0.5, 1.0, 2.0]),
        pw.Gaussian([1.0, 2.0, 0.0], [[2.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 0.7]]),
        pw.Mixture([1, 2], [[0.0, 1, 0], [1, -1, 2]], [[0.5, 1, 2], [1, 1, 0.2]]),
        pw.Mixture([3, 1], [[0.0, 1, 0], [1, -1, 2]], [np.eye(3), np.eye(3) + 0.4]),
    ],
    ids=["diagonal", "full", "mixture", "mixture of full"],
)
def test_formulas_of_log_densities(law):
    """What is compiled of them has the laws' scores and values."""
    goal = _Entropy(pw.Gaussian([0.0] * 3, 1.0), law, law.log_density_formula(pw.coordinates(3)))
    program = pw.compile(goal.problem, pw.Affine(3), target="numpy")
    z = goal.problem.initial.sample(64, 0)
    exact = law.score(z) - goal.problem.initial.score(z)
    assert np.abs(program.velocity_at(z) - exact).max() < 1e-10
    exact = np.mean(goal.problem.initial.log_density(z) - law.log_density(z))
    assert abs(program.energy_at(z) - exact) < 1e-10


def test_a_thousand_components():
    """As fast as two: the text of the kernels has no numbers of them."""
    rng = np.random.default_rng(0)
    times = []
    for count in (2, 2, 1000):
        law = pw.Mixture(np.ones(count), rng.normal(size=(count, 3)), 0.5)
        begin = time.perf_counter()
        goal = _Entropy(law, law, law.log_density_formula(pw.coordinates(3)))
        program = pw.compile(goal.problem, pw.Affine(3), target="numpy")
        times.append(time.perf_counter() - begin)
    assert times[2] < 3 * times[1] + 1
    z = law.sample(32, 0)
    assert np.abs(program.velocity_at(z)).max() < 1e-9


def test_formulas_that_laws_have():
    x = pw.coordinates(1)
    formula = -x[0] - 2 * sp.log(1 + sp.exp(-x[0]))
    logistic = pw.Custom(formula, x, lambda n, rng: rng.logistic(size=(n, 1)))
    assert logistic.log_density_formula(x) == (formula, {})
    y = pw.coordinates(1, name="y")
    assert logistic.log_density_formula(y)[0].free_symbols == {y[0]}
    half = sp.Piecewise((-x[0], x[0] > 0), (-sp.oo, True))
    law = pw.Custom(half, x, lambda n, rng: rng.exponential(size=(n, 1)), jump=True)
    assert law.log_density_formula(x) is None
    assert pw.UniformBox([0.0], 1.0).log_density_formula(x) is None
    assert law_from_dict(MODES.to_dict()).log_density_formula(x)[0].has(sp.Sum)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ((pw.Affine(2), 1.0, PLANE), pw.errors.LawError, "law"),
        ((pw.Affine(2), PLANE, 1.0), pw.errors.LawError, "to"),
        ((pw.Affine(2), PLANE, LINE), pw.errors.LawError, "to"),
        ((pw.Affine(1), PLANE, PLANE), pw.errors.OptionError, "map"),
    ],
)
def test_wrong_arguments(arguments, error, named):
    with pytest.raises(error) as caught:
        pw.fit(*arguments, target="numpy")
    assert caught.value.argument == named
    with pytest.raises(pw.errors.OptionError):
        pw.fit(pw.Affine(2), PLANE, PLANE, tol=-1.0)


def test_a_fit_tells_what_it_is():
    found = pw.fit(pw.Affine(1), LINE, to=LINE, tol=0.5, target="numpy")
    assert isinstance(found, Fit) and "KL = " in repr(found) and "tol=0.5" in repr(found)
    assert found.divergence < 1e-12 and found.solution.nsteps == 0
