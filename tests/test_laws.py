"""Laws against quadrature, finite differences, changes of variables and published constants."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import gamma

from pwgf_sym.declare.laws import Barenblatt, Gaussian, Law, UniformBall, UniformBox, law_from_dict
from pwgf_sym.errors import LawError

LAWS = [
    Gaussian(mean=[1.5], cov=0.3),
    Gaussian(mean=[1.0, -2.0], cov=[[2.0, 0.6], [0.6, 0.5]]),
    Gaussian(mean=0.5, cov=[0.5, 1.0, 2.0]),
    UniformBox(low=[-1.0], high=2.0),
    UniformBox(low=[-1.0, 0.0], high=[1.0, 0.25]),
    UniformBall(center=[0.5], radius=2.0),
    UniformBall(center=[1.0, -1.0], radius=0.7),
    UniformBall(center=[0.0] * 4, radius=3.0),
    Barenblatt(dim=1, m=2, t0=1),
    Barenblatt(dim=1, m=6.0, t0=0.3, center=[-1.0]),
    Barenblatt(dim=2, m=2, t0=0.2, center=[0.5, 2.0]),
    Barenblatt(dim=2, m=1.2, t0=1.0),
    Barenblatt(dim=5, m=3, t0=2.0),
]
IDS = [f"{type(law).__name__}-{law.dim}-{i}" for i, law in enumerate(LAWS)]
each_law = pytest.mark.parametrize("law", LAWS, ids=IDS)


def cube(n, dim, seed=0):
    return stats.qmc.Sobol(dim, rng=np.random.default_rng(seed), bits=50).random(n) + 2.0**-52


def box_around(law):
    reach = 12 * np.sqrt(np.diag(law.covariance))
    return list(zip(law.mean - reach, law.mean + reach, strict=True))


def density_integral(law, weight=lambda x: 1.0):
    """Integral of weight * density over the line or the plane, in polar or Cartesian form."""

    def density(*x):
        point = np.array(x)
        return float(np.exp(law.log_density(point[None])[0]) * weight(point))

    if hasattr(law, "radius") and law.dim == 2:
        return integrate.dblquad(
            lambda r, a: r * density(*(law.center + r * np.array([np.cos(a), np.sin(a)]))),
            *(0, 2 * np.pi, 0, law.radius),
            epsabs=1e-9,
        )[0]
    ranges = box_around(law)
    if hasattr(law, "low"):
        ranges = list(zip(law.low, law.high, strict=True))
    if hasattr(law, "radius"):
        ranges = [(law.center[0] - law.radius, law.center[0] + law.radius)]
    return integrate.nquad(density, ranges, opts={"epsabs": 1e-9, "limit": 200})[0]


@pytest.mark.parametrize("law", [law for law in LAWS if law.dim <= 2])
def test_density_has_mass_one(law):
    assert density_integral(law) == pytest.approx(1, abs=3e-8)


@pytest.mark.parametrize("law", [law for law in LAWS if law.dim == 1])
def test_mean_and_covariance_are_the_integrals(law):
    assert density_integral(law, lambda x: x[0]) == pytest.approx(law.mean[0], abs=3e-8)
    second = density_integral(law, lambda x: (x[0] - law.mean[0]) ** 2)
    assert second == pytest.approx(law.covariance[0, 0], abs=3e-8)


@pytest.mark.parametrize("dim", [3, 10, 40])
@pytest.mark.parametrize("m", [1.1, 2.0, 5.0])
def test_barenblatt_mass_and_second_moment_in_high_dimension(dim, m):
    law = Barenblatt(dim, m, t0=0.7)

    def shell(r, power):
        points = np.zeros((1, dim))
        points[0, 0] = r
        area = 2 * np.pi ** (dim / 2) / gamma(dim / 2)
        return area * r ** (dim - 1 + power) * np.exp(law.log_density(points)[0])

    for power, expected in ((0, 1.0), (2, np.trace(law.covariance))):
        value = integrate.quad(shell, 0, law.radius, args=(power,), epsabs=1e-11)[0]
        assert value == pytest.approx(expected, rel=1e-8)


@each_law
def test_score_is_the_gradient_of_the_log_density(law):
    points = law.transform(cube(64, law.dim))
    if hasattr(law, "radius"):
        points = law.center + 0.9 * (points - law.center)
    step, score = 1e-6, law.score(points)
    for i in range(law.dim):
        shift = step * np.eye(law.dim)[i]
        slope = (law.log_density(points + shift) - law.log_density(points - shift)) / (2 * step)
        inside = np.isfinite(slope)
        assert inside.mean() > 0.9
        np.testing.assert_allclose(score[inside, i], slope[inside], rtol=1e-6, atol=2e-7)


@each_law
def test_transform_preserves_measure_point_by_point(law):
    """Change of variables: density(T(u)) |det dT/du| = 1 at every u."""
    u = 0.05 + 0.9 * cube(32, law.dim, seed=3)
    step = 1e-5
    columns = [
        (law.transform(u + step * e) - law.transform(u - step * e)) / (2 * step)
        for e in np.eye(law.dim)
    ]
    determinant = np.abs(np.linalg.det(np.stack(columns, axis=-1)))
    np.testing.assert_allclose(
        np.exp(law.log_density(law.transform(u))) * determinant, 1, rtol=2e-6
    )


@each_law
def test_moments_of_transformed_sobol_points(law):
    points = law.transform(cube(2**14, law.dim))
    scale = np.sqrt(np.diag(law.covariance))
    np.testing.assert_allclose((points.mean(axis=0) - law.mean) / scale, 0, atol=2e-3)
    error = np.cov(points.T).reshape(law.dim, law.dim) - law.covariance
    np.testing.assert_allclose(error / np.outer(scale, scale), 0, atol=5e-3)


@pytest.mark.parametrize("law", [law for law in LAWS if hasattr(law, "radius")])
def test_radii_of_samples_follow_the_profile(law):
    """Kolmogorov-Smirnov test against the radial cdf, by quadrature of the written-out profile."""
    power = 1 / (law.m - 1) if isinstance(law, Barenblatt) else 0.0
    grid = np.linspace(0, 1, 4001)
    profile = grid ** (law.dim - 1) * (1 - grid**2) ** power
    cdf = integrate.cumulative_simpson(profile, x=grid, initial=0)
    radii = np.linalg.norm(law.sample(20_000, seed=5) - law.center, axis=1) / law.radius
    assert stats.kstest(radii, lambda r: np.interp(r, grid, cdf / cdf[-1])).pvalue > 1e-3


@each_law
def test_extreme_points_stay_where_the_density_is_positive(law):
    corners = np.array([2.0**-53, 1e-300, 0.5, 1 - 2.0**-53])
    u = np.stack(np.meshgrid(*[corners] * law.dim), axis=-1).reshape(-1, law.dim)
    points = law.transform(u)
    assert np.isfinite(points).all()
    assert np.isfinite(law.log_density(points)).all()
    assert np.isfinite(law.score(points)).all()
    centre = law.transform(np.full((1, law.dim), 0.5))[0]
    np.testing.assert_allclose(centre, law.mean, atol=1e-12)


@pytest.mark.parametrize("law", [law for law in LAWS if not isinstance(law, Gaussian)])
def test_outside_the_support(law):
    far = law.mean + 1.001 * np.sqrt(law.dim * 40 * np.max(law.covariance)) * np.ones((1, law.dim))
    assert law.log_density(far)[0] == -np.inf
    assert np.isnan(law.score(far)).all()


def test_gaussian_agrees_with_scipy():
    law = LAWS[1]
    points = np.random.default_rng(1).normal(size=(50, 2), scale=3)
    truth = stats.multivariate_normal(law.mean, law.covariance).logpdf(points)
    np.testing.assert_allclose(law.log_density(points), truth, rtol=1e-13)


@given(seed=st.integers(0, 2**32), dim=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_gaussian_score_solves_the_covariance(seed, dim, scale):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dim, dim)) + 2 * np.eye(dim)
    cov = scale * (root @ root.T + 0.1 * np.eye(dim))
    law = Gaussian(rng.normal(size=dim), cov)
    points = law.sample(20, seed)
    score = law.score(points)
    np.testing.assert_allclose(score @ cov, law.mean - points, rtol=1e-7, atol=1e-9 * scale)


@pytest.mark.parametrize(
    ("dim", "constant", "radius", "moment"),
    [
        (1, 0.36056239, 2.08008382, 0.86534974),
        (2, 0.19947114, 1.78648768, 1.06384608),
        (3, 0.13481014, 1.64201182, 1.15551549),
        (6, 0.06971527, 1.49361598, 1.33853321),
        (10, 0.04580324, 1.48275261, 1.57039665),
    ],
)
def test_barenblatt_constants_for_m_2(dim, constant, radius, moment):
    law = Barenblatt(dim, 2, 1)
    found = (law.constant, law.radius, np.trace(law.covariance))
    assert found == pytest.approx((constant, radius, moment), abs=6e-9)


@pytest.mark.parametrize(("dim", "m"), [(1, 2.0), (2, 1.5), (3, 3.0)])
def test_barenblatt_solves_the_porous_medium_equation(dim, m):
    """d rho/dt = Laplace rho^m by finite differences inside the support."""
    law, step = Barenblatt(dim, m, 0.8), 1e-3
    points = 0.7 * law.sample(40, seed=2)

    def rho(time, x):
        return np.exp(Barenblatt(dim, m, time).log_density(x))

    rate = (rho(0.8 + step, points) - rho(0.8 - step, points)) / (2 * step)
    laplace = -2 * dim * rho(0.8, points) ** m
    for e in step * np.eye(dim):
        laplace += rho(0.8, points + e) ** m + rho(0.8, points - e) ** m
    np.testing.assert_allclose(rate, laplace / step**2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 3])
def test_barenblatt_tends_to_the_heat_kernel(dim):
    law, heat = Barenblatt(dim, 1 + 1e-6, 0.3), Gaussian(np.zeros(dim), 0.6)
    points = heat.sample(100, seed=1)
    np.testing.assert_allclose(law.log_density(points), heat.log_density(points), atol=1e-3)
    np.testing.assert_allclose(law.covariance, heat.covariance, rtol=1e-4)


@each_law
def test_sample_is_reproducible_and_double(law):
    first = law.sample(100, seed=7)
    assert first.shape == (100, law.dim)
    assert first.dtype == law.log_density(first.astype("f4")).dtype == np.float64
    np.testing.assert_array_equal(first, law.sample(100, seed=7))
    assert not np.any(first == law.sample(100, seed=8))


@each_law
def test_a_law_is_a_value_and_survives_json(law):
    again = law_from_dict(json.loads(json.dumps(law.to_dict())))
    assert isinstance(again, Law)
    assert again == law
    assert hash(again) == hash(law)
    np.testing.assert_array_equal(again.sample(5, 1), law.sample(5, 1))
    assert repr(law).startswith(type(law).__name__ + "(")
    assert sum(other == law for other in LAWS) == 1
    assert law != "law"
    with pytest.raises(ValueError, match="read-only"):
        law.mean[0] = 5.0


def test_long_vectors_have_a_short_repr():
    assert len(repr(Gaussian(np.zeros(100), 1.0))) < 300


@pytest.mark.parametrize(
    ("make", "argument", "message"),
    [
        (lambda: Gaussian([0, 0], [[1, 2], [2, 1]]), "cov", "smallest eigenvalue -1"),
        (lambda: Gaussian([0, 0], [1, -3]), "cov", "smallest eigenvalue -3"),
        (lambda: Gaussian([0, 0], 0.0), "cov", "smallest eigenvalue 0"),
        (lambda: Gaussian([0, 0], [[1, 1], [1, 1]]), "cov", "smallest eigenvalue"),
        (lambda: Gaussian([0, 0], [[1, 0.5], [0, 1]]), "cov", "symmetric"),
        (lambda: Gaussian([0, 0], [[1, np.nan], [np.nan, 1]]), "cov", "finite"),
        (lambda: Gaussian([0, np.inf], 1), "mean", "finite"),
        (lambda: Gaussian([0, 0], [1, 1, 1]), "mean and cov", "dimension 3"),
        (lambda: Gaussian([0, 0], np.ones((2, 3))), "cov", "square"),
        (lambda: Gaussian([[0, 0]], 1), "mean", "shape"),
        (lambda: Gaussian([], 1), "mean", "shape"),
        (lambda: Gaussian(0, 1), "mean", "dimension"),
        (lambda: Gaussian([0, "a"], 1), "mean", "real number"),
        (lambda: Gaussian([0, 1j], 1), "mean", "real number"),
        (lambda: Gaussian([[0], [0, 1]], 1), "mean", "regular"),
        (lambda: UniformBall([0, 0], 0), "radius", "above 0"),
        (lambda: UniformBall([0, 0], np.nan), "radius", "finite"),
        (lambda: UniformBall(0, 1), "center", "length is the dimension"),
        (lambda: UniformBox([0, 0], [1, 0]), "low, high", "coordinate 1"),
        (lambda: UniformBox([0, 0], [1, 1, 1]), "low and high", "dimension 3"),
        (lambda: UniformBox(0, 1), "low", "dimension"),
        (lambda: Barenblatt(2, 1.0, 1), "m", "above 1"),
        (lambda: Barenblatt(2, 2.0, 0), "t0", "above 0"),
        (lambda: Barenblatt(0, 2.0, 1), "dim", "at least 1"),
        (lambda: Barenblatt(2.5, 2.0, 1), "dim", "integer"),
        (lambda: Barenblatt(2, 2.0, 1, center=[0, 0, 0]), "center", "shape"),
        (lambda: LAWS[0].sample(0, 0), "n", "at least 1"),
        (lambda: LAWS[0].sample(2.0, 0), "n", "integer"),
        (lambda: LAWS[0].sample(2, -1), "seed", "at least 0"),
        (lambda: LAWS[1].log_density([0.0, 0.0]), "points", r"shape \(n, 2\)"),
        (lambda: LAWS[1].score(np.zeros((3, 1))), "points", r"shape \(n, 2\)"),
        (lambda: LAWS[1].transform([[0.5, 0.0]]), "u", "strictly between 0 and 1"),
        (lambda: LAWS[1].transform([[0.5, np.nan]]), "u", "strictly between 0 and 1"),
        (lambda: law_from_dict({"law": "os.system"}), "law", "UniformBox"),
        (lambda: law_from_dict({"law": ["Gaussian"]}), "law", "UniformBox"),
        (lambda: law_from_dict({"law": "Gaussian", "size": 3}), "law", "arguments of Gaussian"),
        (lambda: law_from_dict(None), "law", "dictionary"),
    ],
)
def test_errors_name_the_argument(make, argument, message):
    with pytest.raises(LawError, match=message) as caught:
        make()
    assert caught.value.argument == argument


def test_import_is_light():
    code = (
        "import sys, pwgf_sym.declare.laws, pwgf_sym.exact, pwgf_sym.solver.sampling;"
        "print([m for m in ('scipy.stats', 'scipy.special', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
