"""Laws that users write: mixtures, formulas, SciPy's, points, products; against mpmath."""

import mpmath
import numpy as np
import pytest
import scipy.stats as st
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.errors import LawError

x1, x2 = pw.coordinates(1), pw.coordinates(2)
MEANS = [[-1.0, 0.5], [2.0, -1.0], [0.0, 3.0]]
COVS = [[[1.0, 0.3], [0.3, 0.5]], [[0.2, -0.1], [-0.1, 0.4]], [[2.0, 0.0], [0.0, 0.1]]]
MIXTURE = pw.Mixture([0.5, 0.3, 0.2], MEANS, COVS)
LINE = pw.Mixture([0.3, 0.7], [[-1.0], [2.0]], [0.1, 2.0])
T_SHAPE = np.array([[2.0, 0.3], [0.3, 1.0]])


def draw_logistic(n, rng):
    return rng.logistic(size=(n, 1))


LOGISTIC = -x1[0] - 2 * sp.log(1 + sp.exp(-x1[0]))
CUSTOM = pw.Custom(log_density=LOGISTIC, coordinates=x1, sampler=draw_logistic)
SCIPY = {
    "t": st.t(5, loc=0.3, scale=2),
    "gamma": st.gamma(2.5, scale=0.5),
    "beta": st.beta(2, 3.5, loc=-1, scale=4),
    "lognorm": st.lognorm(0.4, loc=1),
    "skewnorm": st.skewnorm(3),
    "gumbel_r": st.gumbel_r(loc=-2, scale=0.1),
    "weibull_min": st.weibull_min(1.5),
    "invgamma": st.invgamma(4),
    "semicircular": st.semicircular(),
    # Without a closed form of the score here.
    "exponnorm": st.exponnorm(1.5, loc=1, scale=0.7),
    "nakagami": st.nakagami(2.0),
    "johnsonsu": st.johnsonsu(1.0, 2.0, scale=3),
    "genextreme": st.genextreme(-0.1),
}
PRODUCT = pw.Product([LINE, MIXTURE, pw.from_scipy(SCIPY["t"])])
LAWS = {"mixture": MIXTURE, "line": LINE, "custom": CUSTOM, "product": PRODUCT}
LAWS |= {"student": pw.from_scipy(st.multivariate_t([0.0, 1.0], T_SHAPE, 5))}
LAWS |= {name: pw.from_scipy(one) for name, one in SCIPY.items()}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
TRANSFORMED = {name: law for name, law in LAWS.items() if law.has_transform}


def sobol(n, dim):
    points = st.qmc.Sobol(dim, bits=52, rng=np.random.default_rng(3)).random(n) + 2.0**-53
    return np.clip(points, 2.0**-53, 1 - 2.0**-53)


def in_digits(logs, points):
    """Values of a function of mpmath's numbers, and its gradient by differences in 60 digits."""
    with mpmath.workdps(60):
        values, slopes, h = [], [], mpmath.mpf(10) ** -20
        for point in points:
            z = [mpmath.mpf(float(v)) for v in point]
            values.append(float(logs(*z)))
            moved = [
                [v + s * h * (i == k) for i, v in enumerate(z)]
                for k in range(len(z))
                for s in (1, -1)
            ]
            found = [logs(*one) for one in moved]
            slopes.append(
                [float((a - b) / (2 * h)) for a, b in zip(found[::2], found[1::2], strict=True)]
            )
    return np.array(values), np.array(slopes)


def mixture_in_digits(weights, means, covs):
    def logs(*z):
        total = mpmath.mpf(0)
        for weight, mean, cov in zip(weights, means, covs, strict=True):
            cov = mpmath.matrix(np.atleast_2d(cov).tolist())
            gap = mpmath.matrix([a - mpmath.mpf(b) for a, b in zip(z, mean, strict=True)])
            square = (gap.T * cov**-1 * gap)[0]
            norm = mpmath.sqrt((2 * mpmath.pi) ** len(z) * mpmath.det(cov))
            total += mpmath.mpf(weight) * mpmath.exp(-square / 2) / norm
        return mpmath.log(total)

    return logs


def check(law, points, logs):
    values, slopes = in_digits(logs, points)
    np.testing.assert_allclose(law.log_density(points), values, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(law.score(points), slopes, rtol=1e-8, atol=1e-8)


# Densities and scores.


@pytest.mark.parametrize("scale", [1.0, 20.0, 1e3])
def test_mixture_has_its_density_and_score_also_far_away(scale):
    points = scale * np.random.default_rng(0).normal(size=(12, 2))
    check(MIXTURE, points, mixture_in_digits([0.5, 0.3, 0.2], MEANS, COVS))
    check(LINE, points[:, :1], mixture_in_digits([0.3, 0.7], [[-1.0], [2.0]], [0.1, 2.0]))


def test_custom_law_has_its_density_and_score():
    points = np.random.default_rng(0).logistic(size=(12, 1))
    check(CUSTOM, points, lambda z: -z - 2 * mpmath.log(1 + mpmath.exp(-z)))
    formula = -sp.log(sp.pi) * 2 - sp.log(1 + x2[0] ** 2 + x2[1] ** 2 / 4) - sp.Abs(x2[1]) + x2[0]
    law = pw.Custom.__new__(pw.Custom)
    law._set(formula, x2, draw_logistic, [0, 0], np.eye(2), False)
    points = np.random.default_rng(1).normal(size=(12, 2))

    def logs(a, b):
        return -2 * mpmath.log(mpmath.pi) - mpmath.log(1 + a**2 + b**2 / 4) - abs(b) + a

    check(law, points, logs)


def test_student_has_its_density_and_score():
    points = 3 * np.random.default_rng(0).normal(size=(12, 2))

    def logs(a, b):
        gap = mpmath.matrix([a, b - 1])
        square = (gap.T * mpmath.matrix(T_SHAPE.tolist()) ** -1 * gap)[0]
        root = mpmath.sqrt(mpmath.det(mpmath.matrix(T_SHAPE.tolist())))
        norm = mpmath.gamma(3.5) / mpmath.gamma(2.5) / (5 * mpmath.pi) / root
        return mpmath.log(norm) - mpmath.mpf(3.5) * mpmath.log(1 + square / 5)

    check(LAWS["student"], points, logs)


@pytest.mark.parametrize("df", [2.5, 90.0, 250.0, 3e5, 1e8, 1e15])
@pytest.mark.parametrize("dim", [1, 20])
def test_student_of_any_degrees_has_its_density(dim, df):
    """Also where it is the Gaussian, and logarithms of gamma functions cancel."""
    law = pw.from_scipy(st.multivariate_t(np.zeros(dim), np.eye(dim), df))
    with mpmath.workdps(60):
        f, point = mpmath.mpf(df), np.linspace(0.1, 2, dim)
        square = sum(mpmath.mpf(float(v)) ** 2 for v in point)
        norm = mpmath.loggamma((f + dim) / 2) - mpmath.loggamma(f / 2)
        norm -= mpmath.mpf(dim) / 2 * mpmath.log(f * mpmath.pi)
        exact = float(norm - (f + dim) / 2 * mpmath.log1p(square / f))
    assert law.log_density(point[None])[0] == pytest.approx(exact, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("power", [50.0, 3e5, 1e9])
@pytest.mark.parametrize("dim", [1, 20])
def test_profiles_of_any_power_have_their_mass(dim, power):
    law = pw.Barenblatt(dim, 1 + 1 / power, 1.0)
    with mpmath.workdps(60):
        p, d = mpmath.mpf(law._power), mpmath.mpf(dim)
        exact = d * mpmath.log(law.radius) + d / 2 * mpmath.log(mpmath.pi)
        exact += mpmath.loggamma(p + 1) - mpmath.loggamma(p + 1 + d / 2)
        assert -law.log_density(np.zeros((1, dim)))[0] == pytest.approx(float(exact), abs=1e-12)


def of_distribution(name):
    """Densities of SciPy's distributions at place 0 and scale 1, in mpmath."""
    m, phi = mpmath, mpmath.npdf
    return {
        "t": lambda y: (
            m.log(m.gamma(3) / m.gamma(2.5) / m.sqrt(5 * m.pi)) - 3 * m.log(1 + y**2 / 5)
        ),
        "gamma": lambda y: m.log(y ** m.mpf(1.5) / m.gamma(2.5)) - y,
        "beta": lambda y: m.log(y * (1 - y) ** m.mpf(2.5) / m.beta(2, 3.5)),
        "lognorm": lambda y: m.log(phi(m.log(y), 0, m.mpf(0.4)) / y),
        "skewnorm": lambda y: m.log(2 * phi(y) * m.ncdf(3 * y)),
        "gumbel_r": lambda y: -y - m.exp(-y),
        "weibull_min": lambda y: m.log(m.mpf(1.5) * m.sqrt(y)) - y ** m.mpf(1.5),
        "invgamma": lambda y: -5 * m.log(y) - 1 / y - m.log(m.gamma(4)),
        "semicircular": lambda y: m.log(2 / m.pi * m.sqrt(1 - y**2)),
        "exponnorm": lambda y: m.log(
            m.exp(m.mpf(2) / 9 - y / m.mpf(1.5)) / 3 * m.erfc((1 / m.mpf(1.5) - y) / m.sqrt(2))
        ),
        "nakagami": lambda y: m.log(8 / m.gamma(2) * y**3) - 2 * y**2,
        "johnsonsu": lambda y: m.log(2 / m.sqrt(y**2 + 1) * phi(1 + 2 * m.asinh(y))),
        "genextreme": lambda y: 11 * m.log((1 + y / 10) ** -1) - (1 + y / 10) ** -10,
    }[name]


@pytest.mark.parametrize("name", SCIPY)
def test_laws_of_scipy_have_density_and_score(name):
    law = LAWS[name]
    points = law.transform(np.linspace(0.01, 0.99, 9)[:, None])
    of = of_distribution(name)
    loc, scale = mpmath.mpf(law.loc), mpmath.mpf(law.scale)
    check(law, points, lambda z: of((z - loc) / scale) - mpmath.log(scale))


def test_differences_are_right_near_ends_and_kinks():
    """The differences that other distributions have, of distributions with a closed form."""
    for frozen in (st.gamma(2.5), st.beta(2, 3.5), st.laplace(), st.t(3), st.lognorm(0.8)):
        law, other = pw.from_scipy(frozen), pw.from_scipy(frozen)
        other._known = False
        u = np.array([1e-9, 1e-5, 1e-3, 0.1, 0.4, 0.5 + 1e-3, 0.9, 1 - 1e-4])[:, None]
        points = law.transform(u)
        np.testing.assert_allclose(other.score(points), law.score(points), rtol=1e-8, atol=1e-8)


def test_scores_outside_of_the_support_are_nan():
    law = pw.Product([pw.from_scipy(st.gamma(2.5)), LINE])
    assert np.isnan(law.score([[-1.0, 0.0]])[0, 0]) and np.isfinite(law.score([[1.0, 0.0]])).all()
    assert law.log_density([[-1.0, 0.0]])[0] == -np.inf
    half = sp.Piecewise((sp.log(x1[0]) - x1[0], x1[0] > 0), (-sp.oo, True))
    for formula in (half, sp.log(x1[0]) - x1[0]):
        law = pw.Custom(formula, x1, lambda n, rng: rng.gamma(2, size=(n, 1)))
        assert law.log_density([[-1.0]])[0] == -np.inf and np.isnan(law.score([[-1.0]])[0, 0])
        np.testing.assert_allclose(law.log_density([[2.0]]), np.log(2) - 2, rtol=1e-14)


def test_a_formula_has_values_where_its_parts_leave_the_range_of_doubles():
    """exp(800) is none; the logistic law has the log density -|x| there, and the score -+1."""
    points = np.array([[-800.0], [-720.5], [3.0], [900.0]])
    exact = np.array([-800.0, -720.5, st.logistic.logpdf(3.0), -900.0])
    np.testing.assert_allclose(CUSTOM.log_density(points), exact, rtol=1e-14)
    slopes = np.array([1.0, 1.0, -np.tanh(1.5), -1.0])
    np.testing.assert_allclose(CUSTOM.score(points)[:, 0], slopes, rtol=1e-14)
    below = pw.Custom(
        sp.Piecewise((-x1[0] - sp.exp(-x1[0]), x1[0] > -1e6), (-sp.oo, True)),
        x1,
        lambda n, rng: rng.gumbel(size=(n, 1)),
    )
    assert np.array_equal(below.log_density([[-800.0], [-2e6]]), [-np.inf, -np.inf])


# Points.


def test_moments_are_exact():
    weights, means, covs = np.array([0.5, 0.3, 0.2]), np.array(MEANS), np.array(COVS)
    mean = weights @ means
    second = sum(w * (c + np.outer(m, m)) for w, c, m in zip(weights, covs, means, strict=True))
    np.testing.assert_allclose(MIXTURE.mean, mean, rtol=1e-14)
    np.testing.assert_allclose(MIXTURE.covariance, second - np.outer(mean, mean), rtol=1e-14)
    np.testing.assert_allclose(LAWS["student"].covariance, T_SHAPE * 5 / 3, rtol=1e-14)
    assert PRODUCT.mean[3] == 0.3 and PRODUCT.covariance[3, 3] == pytest.approx(4 * 5 / 3)
    np.testing.assert_array_equal(PRODUCT.covariance[1:3, 1:3], MIXTURE.covariance)
    assert np.all(PRODUCT.covariance[0, 1:] == 0)
    points = np.random.default_rng(0).normal(size=(31, 3))
    law = pw.Empirical(points)
    np.testing.assert_allclose(law.mean, points.mean(axis=0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(law.covariance, np.cov(points.T, ddof=0), rtol=1e-13, atol=1e-15)


@each_law
def test_points_have_the_moments(law):
    points = law.sample(40_000, 5)
    scale = np.sqrt(np.diag(law.covariance))
    assert np.abs((points.mean(axis=0) - law.mean) / scale).max() < 0.025
    error = np.cov(points.T).reshape(law.dim, law.dim) - law.covariance
    assert np.abs(error / np.outer(scale, scale)).max() < 0.15


@pytest.mark.parametrize("name", TRANSFORMED)
def test_uniform_points_become_points_of_the_law(name):
    """Means of smooth functions over Sobol points, against those over independent points."""
    law = TRANSFORMED[name]
    quasi, other = law.transform(sobol(1 << 14, law.dim)), law.sample(40_000, 2)
    for function in (np.tanh, np.cos, lambda z: 1 / (1 + z**2)):
        gap = function(quasi).mean(axis=0) - function(other).mean(axis=0)
        assert np.abs(gap).max() < 5 * np.abs(function(other).std(axis=0)).max() / np.sqrt(40_000)


def test_points_of_the_line_pass_kolmogorovs_test():
    def of_mixture(z):
        return 0.3 * st.norm.cdf(z, -1, 0.1**0.5) + 0.7 * st.norm.cdf(z, 2, 2**0.5)

    assert st.kstest(LINE.sample(20_000, 1)[:, 0], of_mixture).pvalue > 1e-3
    assert st.kstest(LINE.transform(sobol(1 << 12, 1))[:, 0], of_mixture).statistic < 2e-3
    assert st.kstest(CUSTOM.sample(20_000, 1)[:, 0], st.logistic.cdf).pvalue > 1e-3
    for name, frozen in SCIPY.items():
        assert st.kstest(LAWS[name].sample(5000, 1)[:, 0], frozen.cdf).pvalue > 1e-3
        quasi = LAWS[name].transform(sobol(1 << 11, 1))[:, 0]
        assert st.kstest(quasi, frozen.cdf).statistic < 2e-3


def test_points_of_the_plane_pass_kolmogorovs_test():
    """Projections of a mixture are mixtures; squared radii of Student's t follow F."""
    along = np.array([0.6, -0.8])
    shares = zip([0.5, 0.3, 0.2], MEANS, COVS, strict=True)
    parts = [(w, along @ m, np.sqrt(along @ np.array(c) @ along)) for w, m, c in shares]

    def below(z):
        return sum(w * st.norm.cdf(z, m, s) for w, m, s in parts)

    assert st.kstest(MIXTURE.sample(20_000, 1) @ along, below).pvalue > 1e-3
    assert st.kstest(MIXTURE.transform(sobol(1 << 13, 2)) @ along, below).statistic < 5e-3
    gap = LAWS["student"].transform(sobol(1 << 13, 2)) - [0.0, 1.0]
    square = np.sum(gap * np.linalg.solve(T_SHAPE, gap.T).T, axis=1) / 2
    assert st.kstest(square, st.f(2, 5).cdf).statistic < 2e-3


@pytest.mark.parametrize("name", TRANSFORMED)
def test_extreme_uniform_numbers_are_points_with_a_density(name):
    law = TRANSFORMED[name]
    corners = [2.0**-53, 0.3, 0.5, 1 - 2.0**-53]
    u = np.stack(np.meshgrid(*[corners] * law.dim), axis=-1).reshape(-1, law.dim)
    points = law.transform(u)
    assert np.isfinite(points).all() and np.isfinite(law.log_density(points)).all()
    assert np.isfinite(law.score(points)).all()


def test_extreme_quantiles_of_scipy_are_points_with_a_density():
    """Also where SciPy's are infinite, or the place of an end is 0 and rounding is on it."""
    ends = [[2.0**-53], [1 - 2.0**-53]]
    for frozen in (st.halfnorm(), st.burr(10, 4.3), st.powernorm(4.4), st.pearson3(-2)):
        law = pw.from_scipy(frozen)
        points = law.transform(ends)
        assert np.isfinite(points).all() and np.isfinite(law.log_density(points)).all()
    law = pw.from_scipy(st.beta(2.3, 0.6, loc=-1e4, scale=1e4))
    points = law.transform([[1 - 1e-12], [1 - 2.0**-53]])
    assert np.isfinite(law.log_density(points)).all() and np.isfinite(law.score(points)).all()


class Own(st.rv_continuous):
    """A distribution that has a density alone."""

    def __init__(self, density, **options):
        super().__init__(**options)
        self.density = density

    def _updated_ctor_param(self):
        return super()._updated_ctor_param() | {"density": self.density}

    def _pdf(self, x):
        return self.density(x)


def test_distributions_of_users_are_laws():
    frozen = Own(lambda x: st.gamma.pdf(x, 3), a=0.0)(loc=sp.Rational(1, 2), scale=2)
    law, exact = pw.from_scipy(frozen), st.gamma(3, loc=0.5, scale=2)
    assert law.mean == pytest.approx(6.5) and law.covariance == pytest.approx(12)
    u = np.array([[0.01], [0.3], [0.9]])
    np.testing.assert_allclose(law.transform(u), exact.ppf(u), rtol=1e-8)
    points = exact.ppf(u)
    np.testing.assert_allclose(law.log_density(points), exact.logpdf(points[:, 0]), rtol=1e-10)
    slopes = 2 / (points - 0.5) - 0.5
    np.testing.assert_allclose(law.score(points), slopes, rtol=1e-7)


@pytest.mark.parametrize(
    ("frozen", "argument", "message"),
    [
        (st.vonmises(2), "distribution", "vonmises_line"),
        (Own(lambda x: np.exp(-(x**2) / 2))(), "distribution", "mass 2.5"),
        (Own(lambda x: 1 / 0)(), "distribution", "ZeroDivisionError"),
        (Own(lambda x: np.where(x < 0, 1.5, 0.5) * st.norm.pdf(x))(), "distribution", "_cdf"),
    ],
)
def test_distributions_that_are_none_of_the_line_are_refused(frozen, argument, message):
    with pytest.raises(LawError, match=message) as caught:
        pw.from_scipy(frozen)
    assert caught.value.argument == argument


def test_points_at_the_borders_of_strata_are_finite():
    law = pw.Mixture([1, 1, 2], [[0.0], [5.0], [9.0]], 1.0)
    u = np.array([[0.25], [0.5], [np.nextafter(0.25, 0)], [np.nextafter(0.5, 0)]])
    assert np.isfinite(law.transform(u)).all()


def test_points_of_a_set_are_used_evenly():
    points = np.random.default_rng(0).normal(size=(50, 2))
    law = pw.Empirical(points)
    once = law.sample(50, 3)
    assert not np.array_equal(once, points)
    np.testing.assert_array_equal(np.sort(once[:, 0]), np.sort(points[:, 0]))
    counts = np.unique(law.sample(120, 1), axis=0, return_counts=True)[1]
    assert len(counts) == 50 and set(counts) == {2, 3} and counts.sum() == 120
    few = law.sample(20, 1)
    assert len(np.unique(few, axis=0)) == 20
    np.testing.assert_array_equal(law.sample(20, 1), few)
    firsts = [law.sample(1, seed)[0, 0] for seed in range(2000)]
    assert min(np.unique(firsts, return_counts=True)[1]) > 15
    twice = pw.Empirical([[0.0], [0.0], [1.0]])
    assert twice.mean == pytest.approx(1 / 3) and np.sum(twice.sample(300, 0)) == 100


# Kinds of laws.


def test_jumps_and_supports_of_scipys_laws_are_seen():
    for frozen, jump, support in [
        (st.norm(), False, "space"),
        (st.expon(), True, "part"),
        (st.gamma(2), False, "part"),
        (st.gamma(0.5), True, "part"),
        (st.uniform(), True, "bounded"),
        (st.beta(1.2, 3, loc=1e3), False, "bounded"),
        (st.beta(1, 3), True, "bounded"),
        (st.beta(3, 1), True, "bounded"),
        (st.truncnorm(-1, 2), True, "bounded"),
        (st.lognorm(1), False, "part"),
        # SciPy says that these are positive everywhere.
        (st.pearson3(-2, loc=3, scale=2), True, "part"),
        (st.pearson3(1), False, "part"),
        (st.pearson3(0), False, "space"),
        (st.exponnorm(1.5), False, "space"),
        (st.jf_skew_t(8, 4), False, "space"),  # whose logarithm is lost at 1e8 deviations
        # With a pole inside.
        (st.dgamma(0.5, loc=1), True, "space"),
        (st.dgamma(2), False, "space"),
        (st.rv_histogram(np.histogram([1, 2, 2, 3, 3, 4], 3))(), True, "bounded"),
    ]:
        law = pw.from_scipy(frozen)
        assert (law.jump, law.support) == (jump, support), frozen.dist.name


def test_multivariate_normal_is_the_gaussian():
    law = pw.from_scipy(st.multivariate_normal([0.0, 1.0], T_SHAPE))
    assert law == pw.Gaussian([0.0, 1.0], T_SHAPE)
    assert pw.from_scipy(st.multivariate_t([0.0, 1.0], T_SHAPE, np.inf)) == law


def test_one_component_is_the_gaussian():
    law, one = pw.Mixture([7.0], [[1.0, 2.0]], [T_SHAPE]), pw.Gaussian([1.0, 2.0], T_SHAPE)
    u, points = sobol(16, 2), one.sample(9, 0)
    np.testing.assert_allclose(law.transform(u), one.transform(u), rtol=1e-14)
    np.testing.assert_allclose(law.log_density(points), one.log_density(points), rtol=1e-13)
    np.testing.assert_allclose(law.score(points), one.score(points), rtol=1e-13)
    np.testing.assert_array_equal(law.covariance, one.covariance)


def test_forms_of_covariances():
    means = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    for covs, matrices in [
        (0.5, [0.5 * np.eye(2)] * 3),
        ([1.0, 2.0, 3.0], [np.eye(2), 2 * np.eye(2), 3 * np.eye(2)]),
        ([[1, 2], [3, 4], [5, 6]], [np.diag([1, 2]), np.diag([3, 4]), np.diag([5, 6])]),
    ]:
        np.testing.assert_array_equal(pw.Mixture([1, 1, 1], means, covs).covs, matrices)
    np.testing.assert_array_equal(pw.Mixture([2, 6], [[0.0], [1.0]], 1.0).weights, [0.25, 0.75])


def test_products_keep_what_their_parts_are():
    angle = pw.Circle(sp.exp(sp.cos(pw.coordinates(1, period=2 * sp.pi)[0])))
    law = pw.Product([pw.UniformBox([0.0], 1.0), angle, pw.Gaussian([0.0, 1.0], 0.5)])
    assert law.jump and law.support == "part"
    assert law.periods == (None, 2 * np.pi, None, None)
    assert [part.dim for part in law.coordinates_apart()] == [1, 1, 1, 1]
    assert PRODUCT.coordinates_apart() is None and not PRODUCT.jump
    points = law.sample(5, 0)
    parts = [pw.UniformBox([0.0], 1.0), angle, pw.Gaussian([0.0, 1.0], 0.5)]
    places = [[0], [1], [2, 3]]
    total = sum(p.log_density(points[:, k]) for p, k in zip(parts, places, strict=True))
    np.testing.assert_allclose(law.log_density(points), total, rtol=1e-14)
    scores = [p.score(points[:, k]) for p, k in zip(parts, places, strict=True)]
    np.testing.assert_allclose(law.score(points), np.hstack(scores), rtol=1e-14)
    mixed = pw.Product([pw.Empirical([[0.0], [1.0]]), CUSTOM])
    assert not mixed.has_transform and not mixed.has_density
    assert set(mixed.sample(10, 0)[:, 0]) == {0.0, 1.0}


def test_heavy_tails_are_summed_around_the_circle():
    """Images of a law with tails, against SciPy's density summed over 40,000 periods."""
    x = pw.coordinates(1, period=2)
    rho = pw.Density(x)
    energy = pw.integral(sp.cos(sp.pi * x[0]) * rho, x)
    points = np.array([[0.1], [0.9]])
    for frozen in (st.t(6, scale=0.3), st.lognorm(0.9)):
        law = pw.GradientFlow(energy, rho, pw.from_scipy(frozen)).initial
        images = points + 2 * np.arange(-20_000, 20_001)
        np.testing.assert_allclose(
            np.exp(law.log_density(points)), frozen.pdf(images).sum(axis=1), rtol=1e-9
        )
    far = pw.Mixture([1e-8, 1], [[1001.0], [0.0]], 0.01)
    law = pw.GradientFlow(energy, rho, far).initial
    height = 1e-8 / (1 + 1e-8) * st.norm.pdf(0, 0, 0.1)
    np.testing.assert_allclose(np.exp(law.log_density([[1.0]])), height, rtol=1e-9)
    heavy = pw.Custom(  # Student's t with 3 degrees of freedom, whose tails nobody has stated
        sp.log(2 / (sp.sqrt(3) * sp.pi)) - 2 * sp.log(1 + x1[0] ** 2 / 3),
        x1,
        lambda n, rng: rng.standard_t(3, size=(n, 1)),
    )
    with pytest.raises(LawError, match="mass beyond"):
        pw.GradientFlow(energy, rho, heavy)
