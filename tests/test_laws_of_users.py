"""Laws of users' own classes are checked once; flows from written laws against exact ones."""

import numpy as np
import pytest
import scipy.stats as st
import sympy as sp
from scipy.integrate import quad

import pwgf_sym as pw
from pwgf_sym.declare import law_mass
from pwgf_sym.declare.law_protocol import check_protocol
from pwgf_sym.errors import LawError

x1, x2 = pw.coordinates(1), pw.coordinates(2)
RHO = pw.Density(x1)
HEAT = pw.integral(RHO * sp.log(RHO), x1)
POTENTIAL = pw.integral(x1[0] ** 2 / 2 * RHO, x1)
RK4 = {"target": "numpy", "steps": "rk4", "dt": 0.02, "seed": 1}


class Logistic(pw.Law):
    """With all hooks, of place 1 and scale 1/2; subclasses get one of them wrong."""

    def __init__(self):
        self.dim, self.asked = 1, 0

    def from_uniform(self, u):
        self.asked += 1
        return 1 + np.log(u / (1 - u)) / 2

    def log_density_at(self, points):
        y = np.abs(2 * (points[:, 0] - 1))
        return np.log(2) - y - 2 * np.log1p(np.exp(-y))

    def score_at(self, points):
        return -2 * np.tanh(points - 1)


class Sampled(Logistic):
    """With a sampler in place of the transform."""

    from_uniform = pw.Law.from_uniform

    def sampler(self, n, rng):
        return rng.logistic(1, 0.5, size=(n, 1))


class Underscored(pw.Law):
    """With the hooks that laws of the package have."""

    dim, mean, covariance = 1, np.ones(1), np.array([[np.pi**2 / 12]])

    def _transform(self, u):
        return 1 + np.log(u / (1 - u)) / 2

    _log_density, _score = Logistic.log_density_at, Logistic.score_at


def of(base=Logistic, **changed):
    return type("Changed", (base,), changed)()


def flow(law, energy=HEAT):
    return pw.GradientFlow(energy, RHO, law)


# The check.


@pytest.mark.parametrize("kind", [Logistic, Sampled, Underscored])
def test_right_laws_pass_and_have_moments(kind):
    law = kind()
    assert flow(law).initial is law
    np.testing.assert_allclose(law.mean, 1, atol=0.02)
    np.testing.assert_allclose(law.covariance, np.pi**2 / 12, rtol=0.03)
    assert law.has_transform == (kind is not Sampled) and law.has_density
    assert law == law and repr(law) == f"{kind.__name__}()"
    assert law.to_dict()["class"].endswith(f":{kind.__name__}")


def test_laws_are_checked_once():
    law = Logistic()
    flow(law)
    asked = law.asked
    flow(law)
    assert law.asked == asked > 0


UNIFORM = {
    "sampler": lambda self, n, rng: rng.random((n, 1)),
    "log_density_at": lambda self, points: np.zeros(len(points)),
    "score_at": lambda self, points: np.zeros_like(points),
}
# Normal, of which each half has another mass: the score does not see the jump.
STEP = {
    "from_uniform": lambda self, u: st.norm.ppf(np.where(u < 0.75, u / 1.5, 2 * u - 1)),
    "log_density_at": lambda self, p: st.norm.logpdf(p[:, 0]) + np.log(1 - np.sign(p[:, 0]) / 2),
    "score_at": lambda self, points: -points,
}
# Exponential, with a density that knows no border.
HALF = {
    "jump": True,
    "from_uniform": lambda self, u: -np.log(u),
    "log_density_at": lambda self, points: -points[:, 0],
    "score_at": lambda self, points: -np.ones_like(points),
}
NORMAL = {"sampler": lambda self, n, rng: rng.normal(size=(n, 1))}


@pytest.mark.parametrize(
    ("law", "argument", "message"),
    [
        (of(score_at=lambda self, p: 2 * np.tanh(p - 1)), "score", "gradient of its log density"),
        (of(score_at=lambda self, p: -np.tanh(p - 1)), "score", "gradient of its log density"),
        (of(score_at=lambda self, p: -2 * np.tanh(p - 1)[:, 0]), "score", "shape"),
        (of(score_at=pw.Law.score_at), "law", r"Define score_at\(points\)"),
        (of(log_density_at=lambda self, p: -p), "log density", "shape"),
        (of(log_density_at=lambda self, p: np.full(len(p), np.nan)), "log density", "nan"),
        (of(log_density_at=lambda self, p: ["a"] * len(p)), "log density", "real number"),
        (of(mean=np.zeros(1)), "mean", "about 0, as its mean"),
        (of(mean=np.ones(2)), "mean", "shape"),
        (of(mean=[np.nan]), "mean", "finite"),
        (of(covariance=np.eye(1) / 4), "covariance", "about 0.25, as its covariance"),
        (of(covariance=20 * np.eye(1)), "covariance", "about 20, as its covariance"),
        (of(covariance=-np.eye(1)), "covariance", "one of a law"),
        (of(covariance=np.ones(1)), "covariance", "shape"),
        (of(from_uniform=lambda self, u: u[:, 0]), "transform", "shape"),
        (of(from_uniform=lambda self, u: 1 + np.log(u / (1 - u)) * 1.5), "sampler", "-3.9"),
        (of(from_uniform=lambda self, u: 1.4 + np.log(u / (1 - u)) / 2), "sampler", "is below"),
        (of(Sampled, from_uniform=lambda self, u: u[:4]), "transform", "shape"),
        (of(Sampled, **NORMAL), "sampler", "of whose points|whose mean of"),
        (of(Sampled, sampler=lambda self, n, rng: rng.normal(size=n)), "sampler", "shape"),
        (of(Sampled, sampler=pw.Law.sampler), "law", "Define sampler"),
        (
            of(Sampled, sampler=lambda self, n, rng: np.random.logistic(size=(n, 1))),
            "sampler",
            "from rng",
        ),
        (of(Sampled, from_uniform=lambda self, u: 3 + u), "transform", "as of its sampler"),
        (
            of(Sampled, from_uniform=lambda self, u: np.where(u < 0.999, u, np.nan)),
            "transform",
            "finite",
        ),
        (of(jump="yes"), "jump", "True or False"),
        (of(support="half"), "support", "part"),
        (of(**STEP), "log density", "changes by -1"),
        (of(**HALF), "log density", "the mass inf beyond all its points"),
        (of(transform=lambda self, u: u), "transform", "Rename it from_uniform"),
        (of(score=lambda self, u: u), "score", "Rename it score_at"),
        (of(__init__=lambda self: None), "dim", "integer"),
        (of(Sampled, **UNIFORM), "sampler", "jump = True"),
    ],
)
def test_wrong_laws_are_refused_with_what_is_off(law, argument, message):
    for initial in (law, pw.Product([law])) if argument == "score" else (law,):
        with pytest.raises(LawError, match=message) as caught:
            flow(initial)
        assert caught.value.argument == argument


def test_wrong_correlations_are_refused():
    law = type("Changed", (pw.Mixture,), {})([1], [[0.0, 0.0]], [[[1.0, 0.8], [0.8, 1.0]]])
    check_protocol(law)
    law.covariance = np.eye(2)
    with pytest.raises(LawError, match="other correlations of the coordinates 0 and 1"):
        check_protocol(law)


def test_a_border_that_a_plane_does_not_know_is_found():
    """|N(0, 1)| and N(0, 1), with twice the density of the plane on all of it."""
    formula = -(x2[0] ** 2) / 2 - x2[1] ** 2 / 2 - sp.log(sp.pi)

    def draw(n, rng):
        return np.abs(rng.normal(size=(n, 2))) * [1, 0] + rng.normal(size=(n, 2)) * [0, 1]

    with pytest.raises(LawError, match=r"the mass (0\.9[89]|1\.)"):
        pw.Custom(formula, x2, draw, jump=True)
    pw.Custom(sp.Piecewise((formula, x2[0] > 0), (-sp.oo, True)), x2, draw, jump=True)


def test_scores_of_many_coordinates_are_looked_at():
    class Many(pw.Law):
        dim = 200

        def sampler(self, n, rng):
            return rng.normal(size=(n, 200))

        def log_density_at(self, points):
            return -np.sum(points**2, axis=1) / 2 - 100 * np.log(2 * np.pi)

        def score_at(self, points):
            return -points * np.append(np.ones(199), self.factor)

    law = Many()
    law.factor = 1.0
    check_protocol(law)
    law.factor = 1.1
    with pytest.raises(LawError, match="the gradient of its log density"):
        check_protocol(law)


def test_hooks_that_compute_in_place_move_nobodys_points():
    class Moving(Sampled):
        def log_density_at(self, points):
            points -= 1
            points *= 2
            return np.log(2) - points[:, 0] - 2 * np.log1p(np.exp(-points[:, 0]))

        def score_at(self, points):
            points -= 1
            return -2 * np.tanh(points)

    law, points = Moving(), np.array([[0.5], [2.0]])
    flow(law)
    np.testing.assert_allclose(law.log_density(points), st.logistic(1, 0.5).logpdf([0.5, 2.0]))
    assert np.array_equal(points, [[0.5], [2.0]])


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"log_density_at": lambda self, p: p}, "log density"),
        ({"score_at": lambda self, p: p[:, 0]}, "score"),
        ({"from_uniform": lambda self, u: u[:, 0]}, "transform"),
        ({"mean": [0.0, 1.0]}, "mean"),
        ({"covariance": np.eye(3)}, "covariance"),
        ({"__init__": lambda self: None}, "dim"),
    ],
)
def test_parts_of_products_are_looked_at(changed, argument):
    """Before a flow begins, too: what is wrong is named, and nothing is broadcast."""
    points = np.full((3, 2), 0.4)
    with pytest.raises(LawError) as caught:
        law = pw.Product([of(**{"mean": np.ones(1), **changed}), pw.Gaussian([0.0], 1.0)])
        law.transform(points), law.log_density(points), law.score(points)
    assert caught.value.argument == argument
    with pytest.raises(LawError, match="sampler") as caught:
        parts = [of(Sampled, mean=np.ones(1), sampler=lambda self, n, rng: rng.normal(size=n))]
        pw.Product([parts[0], pw.Empirical([[0.0], [1.0]])]).sample(4, 0)


@pytest.mark.parametrize(
    "law",
    [pw.UniformBox([0.0], 1.0), pw.UniformBall([0.0], 1.0), pw.Barenblatt(1, 2, 1.0)]
    + [pw.from_scipy(st.gamma(2)), pw.Gaussian([0.0], 1.0), pw.Mixture([1], [[0.0]], 1.0)],
    ids=lambda law: law.family,
)
def test_points_that_are_no_numbers_have_no_log_density(law):
    assert np.array_equal(np.isnan(law.log_density([[np.nan], [0.5]])), [True, False])


def test_moments_that_are_lists_serve():
    law = of(mean=[1.0], covariance=[[0.82]])
    solution = pw.solve(flow(law, POTENTIAL), pw.Affine(1), (0, 0.1), samples=64, **RK4)
    assert solution.success


RIGHT = {
    "far apart": pw.Mixture([1, 1], [[-10.0, 0.0], [10.0, 0.0]], 0.01),
    "rare": pw.Mixture([1e-3, 1], [[1000.0, 0.0], [0.0, 0.0]], 1.0),
    "narrow": pw.Gaussian([0.0, 1.0], [[1, 0.999999], [0.999999, 1]]),
    "far": pw.Gaussian([1e9], 1.0),
    "tiny": pw.Gaussian([0.0, 1e-9], 1e-24),
    "box": pw.UniformBox([0.0, 0.0], [1.0, 1e-6]),
    "ball": pw.UniformBall([0.0] * 4, 1.0),
    "steep": pw.Barenblatt(1, 6.0, 0.3),
    "profile": pw.Barenblatt(2, 1.2, 0.3),
    "circle": pw.Circle(sp.exp(sp.cos(pw.coordinates(1, period=2 * sp.pi)[0]))),
    "many": pw.Mixture(np.ones(20), np.random.default_rng(0).normal(size=(20, 30)), 0.1),
    "points": pw.Empirical(np.random.default_rng(0).normal(size=(20, 3))),
    "two points": pw.Empirical([[0.0, 1.0], [0.0, 2.0]]),
    "student": pw.from_scipy(st.multivariate_t([0, 1.0], [[2, 0.3], [0.3, 1]], 2.05)),
}
CLOUD = np.random.default_rng(0).normal(size=(700, 2))
RIGHT |= {
    f"{dim} {width} of many modes": pw.Mixture(np.ones(700), CLOUD[:, :dim], width**2)
    for dim in (1, 2)
    for width in (1e-5, 1e-3)
}
ONES = [st.t(2.1), st.laplace(), st.expon(), st.gamma(0.3), st.gamma(1.05), st.beta(0.5, 0.5)]
ONES += [st.lognorm(4), st.pareto(2.1), st.triang(0.3), st.arcsine(), st.loggamma(0.1)]
ONES += [st.dgamma(0.5), st.powerlaw(1.5), st.invgamma(2.1)]
RIGHT |= {one.dist.name: pw.from_scipy(one) for one in ONES}


@pytest.mark.parametrize("name", RIGHT)
def test_right_laws_of_every_kind_pass(name):
    """Heavy tails, jumps, poles, kinks, rare and far modes: what the package's laws are."""
    check_protocol(RIGHT[name])


def test_a_mass_that_points_do_not_tell_is_not_judged(monkeypatch):
    """Where most cells are hollow; a point of the rule within a mode counts for far too much."""
    law = pw.Gaussian([0.0], 1.0)
    points = law.sample(2048, 1)
    cells = (np.linspace(0, 2, 2047), 0.5)  # whatever it comes to
    monkeypatch.setattr(law_mass, "_of_line", lambda law, points: cells)
    law_mass.check_mass(law, points)
    monkeypatch.setattr(law_mass, "_of_line", lambda law, points: (cells[0], 0.01))
    with pytest.raises(LawError, match="the mass"):
        law_mass.check_mass(law, points)


# Flows.


def convolved(density, width):
    """A density of the line after a Gaussian of a variance is added, by quadrature."""

    def at(place):
        near = 9 * np.sqrt(width)
        function = lambda y: density(y) * st.norm.pdf(place, y, np.sqrt(width))  # noqa: E731
        ends = (place - near, place + near)
        return quad(function, *ends, epsabs=1e-11, limit=200, points=[place])[0]

    return np.vectorize(at)


def two_modes(y):
    return 0.4 * st.norm.pdf(y, -1, 0.3**0.5) + 0.6 * st.norm.pdf(y, 1.2, 0.2**0.5)


STARTS = {
    "mixture": (pw.Mixture([0.4, 0.6], [[-1.0], [1.2]], [0.3, 0.2]), two_modes),
    "custom": (
        pw.Custom(
            -x1[0] - 2 * sp.log(1 + sp.exp(-x1[0])), x1, lambda n, rng: rng.logistic(size=(n, 1))
        ),
        st.logistic.pdf,
    ),
    "scipy": (pw.from_scipy(st.t(df=5)), st.t(df=5).pdf),
    "own": (Sampled(), st.logistic(1, 0.5).pdf),
}


@pytest.mark.parametrize("name", STARTS)
def test_heat_flows_are_convolutions(name):
    law, density = STARTS[name]
    solution = pw.solve(flow(law), pw.NeuralFlow(1, width=16), (0, 0.1), samples=1024, **RK4)
    places = np.linspace(-3, 3.5, 14)
    exact = convolved(density, 0.2)(places)
    found = np.exp(solution.log_density(places[:, None]))
    assert np.abs(exact - density(places)).max() > 0.03 * exact.max()  # it has moved
    np.testing.assert_allclose(found, exact, atol=5e-3 * exact.max())


def test_a_product_flows_as_a_product():
    rho = pw.Density(x2)
    law = pw.Product([pw.from_scipy(st.t(df=5)), pw.Mixture([1, 1], [[-0.8], [0.8]], 0.3)])
    problem = pw.GradientFlow(pw.integral(rho * sp.log(rho), x2), rho, law)
    solution = pw.solve(problem, pw.NeuralFlow(2, width=24), (0, 0.1), samples=2048, **RK4)
    first = convolved(st.t(df=5).pdf, 0.2)
    places = np.array([[a, b] for a in (-2.0, 0.0, 1.0) for b in (-1.0, 0.0, 0.5, 2.0)])
    second = sum(st.norm.pdf(places[:, 1], m, np.sqrt(0.5)) / 2 for m in (-0.8, 0.8))
    exact = first(places[:, 0]) * second
    found = np.exp(solution.log_density(places))
    np.testing.assert_allclose(found, exact, atol=0.02 * exact.max())


def test_points_flow_down_a_potential():
    """As x exp(-t), and to each other: 1/39 times the sum of what the 39 others attract."""
    points = np.random.default_rng(0).normal(size=(40, 1)) + 1
    problem = flow(pw.Empirical(points), POTENTIAL)
    solution = pw.solve(problem, pw.Affine(1), (0, 1), samples=40, **RK4)
    moved = solution.sample(40, seed=3)
    np.testing.assert_allclose(np.sort(moved[:, 0]), np.sort(points[:, 0]) / np.e, rtol=1e-6)
    assert solution.energy_at(0.0) == pytest.approx(np.mean(points**2) / 2, rel=1e-12)
    with pytest.raises(LawError, match="no density"):
        solution.log_density([[0.0]])
    y1 = pw.copy_of(x1)
    pairs = pw.integral((x1[0] - y1[0]) ** 2 / 4 * RHO * RHO.at(y1), x1, y1)
    problem = flow(pw.Empirical(points), pairs)
    solution = pw.solve(problem, pw.Affine(1), (0, 1), samples=40, **RK4)
    mean = points.mean()
    exact = mean + (np.sort(points[:, 0]) - mean) * np.exp(-40 / 39)  # of 39 others each
    np.testing.assert_allclose(np.sort(solution.sample(40, seed=3)[:, 0]), exact, rtol=1e-6)


def test_points_that_agree_in_a_coordinate_flow():
    points = np.random.default_rng(0).normal(size=(64, 2)) * [1, 0] + [0, 3.0]
    rho = pw.Density(x2)
    energy = pw.integral((x2[0] ** 2 + x2[1] ** 2) / 2 * rho, x2)
    problem = pw.GradientFlow(energy, rho, pw.Empirical(points))
    solution = pw.solve(problem, pw.NeuralFlow(2, width=4), (0, 0.5), samples=64, **RK4)
    moved = solution.push(points)
    np.testing.assert_allclose(moved, points * np.exp(-0.5), atol=2e-3)


@pytest.mark.parametrize(
    ("energy", "term"),
    [
        (HEAT, r"∫\(rho\(x0\)\*log\(rho\(x0\)\)\) dx0 reads it"),
        (POTENTIAL + pw.integral(RHO**2, x1), r"rho\(x0\)\*\*2"),
        (pw.integral(RHO.diff(x1[0]) ** 2 / RHO, x1), "reads it"),
    ],
)
@pytest.mark.parametrize("law", [pw.Empirical([[0.0], [1.0], [3.0]]), pw.UniformBox([0.0], 1.0)])
def test_energies_that_read_a_density_are_refused_where_there_is_none(energy, term, law):
    with pytest.raises(LawError, match=term) as caught:
        pw.compile(flow(law, energy), pw.Affine(1), target="numpy")
    assert ("Mixture(np.ones(N)" in caught.value.fix) == isinstance(law, pw.Empirical)


def test_points_on_a_circle_are_points_modulo_the_period():
    x = pw.coordinates(1, period=2)
    rho = pw.Density(x)
    points = np.array([[0.5], [1.5], [7.25]])
    problem = pw.GradientFlow(pw.integral(sp.cos(sp.pi * x[0]) * rho, x), rho, pw.Empirical(points))
    found = np.sort(problem.initial.sample(3, 0)[:, 0] % 2)
    np.testing.assert_allclose(found, [0.5, 1.25, 1.5], rtol=1e-13)
    assert not problem.initial.has_density and not problem.initial.has_transform


STORED = {
    "mixture": STARTS["mixture"][0],
    "wide": pw.Mixture(np.ones(9), np.arange(9.0)[:, None], 0.5),
    "points": pw.Empirical(np.arange(30.0)[:, None] / 7),
    "scipy": STARTS["scipy"][0],
    "product": pw.Product([STARTS["mixture"][0]]),
}


@pytest.mark.parametrize("name", STORED)
def test_solutions_from_written_laws_are_stored(name, tmp_path):
    problem = flow(STORED[name], POTENTIAL)
    options = RK4 | {"dt": 0.05}
    solution = pw.solve(problem, pw.Affine(1), (0, 0.1), samples=64, **options)
    solution.save(tmp_path / "solution.npz")
    again = pw.load_solution(tmp_path / "solution.npz")
    assert again.problem.initial == STORED[name]
    np.testing.assert_array_equal(again.sample(9, seed=0), solution.sample(9, seed=0))


def test_a_custom_law_is_stored_by_the_name_of_its_sampler(tmp_path):
    law = pw.Custom(-(x1[0] ** 2) / 2 - sp.log(2 * sp.pi) / 2, x1, draw_normal)
    options = RK4 | {"dt": 0.05}
    solution = pw.solve(flow(law), pw.Affine(1), (0, 0.1), samples=64, **options)
    solution.save(tmp_path / "solution.npz")
    again = pw.load_solution(tmp_path / "solution.npz")
    points = np.linspace(-1, 1, 5)[:, None]
    np.testing.assert_array_equal(again.log_density(points), solution.log_density(points))
    np.testing.assert_array_equal(again.sample(9, seed=0), solution.sample(9, seed=0))
    nameless = pw.Custom(law.formula, x1, lambda n, rng: rng.normal(size=(n, 1)))
    solution = pw.solve(flow(nameless), pw.Affine(1), (0, 0.1), samples=64, **options)
    with pytest.raises(LawError, match="at the top of a module"):
        solution.save(tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


def draw_normal(n, rng):
    return rng.normal(size=(n, 1))


def test_rows_of_stored_laws_have_the_dimension_of_the_map(tmp_path):
    """Components of 10^4 coordinates would take 10^8 numbers each, and are not made."""
    from pwgf_sym.solver.described import _check_law

    wide = {"law": "Mixture", "weights": [1.0], "means": [[0.0] * 10_000], "covs": [1.0]}
    for entries in (wide, {"law": "Product", "parts": [wide]}):
        with pytest.raises(pw.errors.StoredSolutionError, match="dimension"):
            _check_law(entries, 1)
    _check_law({"law": "Mixture", "weights": [1.0] * 9, "means": [[0.0]] * 9, "covs": [1.0] * 9}, 1)
