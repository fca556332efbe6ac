"""The table of exact problems: energies against exact maps, errors against known offsets."""

from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as pw
from pwgf_sym.benchmarks.exact_problems import EXACT_PROBLEMS, exact_problem
from pwgf_sym.declare.maps import parameter_count
from pwgf_sym.errors import BenchmarkError
from pwgf_sym.solver.sampling import draw, seed_for

IN_THE_PLANE = ("gaussian_mixture", "banana")
AFFINE = [name for name in EXACT_PROBLEMS if name.endswith("_affine")]
QUICK = [name for name in EXACT_PROBLEMS if name not in (*IN_THE_PLANE, *AFFINE, "banana_10")]


def potential(row):
    """V as a SymPy expression, from the first variation of the declared energy."""
    rho = row.problem.density
    variation = pw.first_variation(row.problem.energy, rho)
    return variation.subs(sp.log(rho), 0), list(row.problem.coordinates)


def gradient(row):
    V, x = potential(row)
    return [sp.lambdify(x, sp.diff(V, a)) for a in x]


def at(functions, points):
    return np.stack([np.broadcast_to(f(*points.T), len(points)) for f in functions], axis=1)


def rate(row, z, t, step=1e-3):
    """d/dt of the exact positions."""
    return (row.exact(z, t + step) - row.exact(z, t - step)) / (2 * step)


def score(row, z, t, h=0.02):
    """Gradient of the log density at the exact positions: log rho0(z) - log det dT/dz, in x."""

    def differences(f, points):
        found = []
        for s in h * np.eye(row.dim):
            near, far = f(points + s) - f(points - s), f(points + 2 * s) - f(points - 2 * s)
            found.append((8 * near - far) / (12 * h))
        return np.stack(found, axis=-1)

    def log_density(points):
        jacobian = differences(lambda p: row.exact(p, t), points)
        return row.initial.log_density(points) - np.linalg.slogdet(jacobian)[1]

    slopes = differences(log_density, z)
    jacobian = differences(lambda p: row.exact(p, t), z)
    return np.linalg.solve(np.swapaxes(jacobian, 1, 2), slopes[..., None])[..., 0]


@pytest.mark.parametrize(
    ("name", "t"),
    [
        ("ornstein_uhlenbeck_2", 0.5),
        ("double_well", 0.3),
        pytest.param("triple_well", 0.4, marks=pytest.mark.slow),
        pytest.param("quartic", 0.3, marks=pytest.mark.slow),
        ("deep_well", 0.2),
        pytest.param("sixth_order_entropy", 0.3, marks=pytest.mark.slow),
    ],
)
def test_exact_maps_follow_the_declared_fokker_planck_equations(name, t):
    """dT/dt = -grad V - grad log rho, V from the energy and rho from the map alone."""
    row = exact_problem(name)
    z = row.initial.mean + row.initial.spread * np.linspace(-1.5, 1.5, 9)[:, None] * np.ones(
        row.dim
    )
    x = row.exact(z, t)
    velocity = -at(gradient(row), x) - row.sigma * score(row, z, t)
    scale = np.abs(velocity).max()
    np.testing.assert_allclose(rate(row, z, t), velocity, atol=1e-3 * scale)


@pytest.mark.parametrize("name", ["quartic_potential", "sixth_order"])
def test_exact_maps_follow_the_declared_potentials(name):
    row = exact_problem(name)
    z = row.points(200, seed=1)
    velocity = -at(gradient(row), row.exact(z, 0.4))
    np.testing.assert_allclose(rate(row, z, 0.4, 1e-4), velocity, rtol=1e-5, atol=1e-8)


def test_exact_map_of_the_aggregation_follows_its_sums_over_pairs():
    row = exact_problem("aggregation")
    z = row.points(50, seed=1)
    apart = row.exact(z, 0.7)[:, None] - row.exact(row.points(65536), 0.7)
    square = np.sum(apart**2, axis=2, keepdims=True)
    velocity = -np.mean((square - 1) * apart, axis=1)
    np.testing.assert_allclose(rate(row, z, 0.7), velocity, atol=2e-4)


@pytest.mark.parametrize("name", ["quadratic_1e4", "ornstein_uhlenbeck_10"])
def test_matrices_are_those_of_the_declared_energies(name):
    row = exact_problem(name)
    V, x = potential(row)
    found = np.array(sp.hessian(V, x).tolist(), float)
    np.testing.assert_allclose(found, row.truth.A, rtol=1e-12)
    assert np.linalg.eigvalsh(found)[0] == pytest.approx(row.convexity, rel=1e-9)
    if name == "quadratic_1e4":
        assert np.linalg.cond(found) == pytest.approx(1e4, rel=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "ornstein_uhlenbeck_2_affine",
        *(pytest.param(n, marks=pytest.mark.slow) for n in AFFINE[1:] if "1e4" not in n),
    ],
)
def test_flows_of_affine_maps_are_solved_to_their_time_error(name):
    """The whole package against the exact answer, where the map holds the flow."""
    row = exact_problem(name)
    span, dt = row.t_span, 0.1 if "mckean" in name else 0.02
    options = {"integrator": "rk4", "dt": dt, "samples": 1024}
    solution = pw.solve(row.problem, row.map, span, save_at=span, **options)
    # The attraction is to the mean of the run's samples.
    assert row.error(solution, 4096) < (5e-3 if "mckean" in name else 1e-5)
    assert row.error(solution, 4096, t=span[0]) < 1e-14


@pytest.mark.parametrize("name", ["double_well", "triple_well", "quartic", "deep_well"])
def test_convexity_is_the_least_curvature(name):
    row = exact_problem(name)
    V, x = potential(row)
    curvature = sp.lambdify(x[:1], sp.diff(V, x[0], 2))(np.linspace(-5, 5, 100_001))
    assert np.min(curvature) == pytest.approx(row.convexity, abs=1e-6)


@pytest.mark.parametrize("name", IN_THE_PLANE)
def test_potentials_in_the_plane_are_those_of_the_energies(name):
    row = exact_problem(name)
    V, x = potential(row)
    points = 3 * np.random.default_rng(0).normal(size=(50, 2))
    apart = sp.lambdify(x, V)(*points.T) - row.truth.potential(*points.T)
    np.testing.assert_allclose(apart, apart[0], atol=1e-9)


def test_coordinates_beside_the_plane_are_independent():
    row = exact_problem("banana_10")
    V, x = potential(row)
    points = 3 * np.random.default_rng(0).normal(size=(50, 10))
    plane, others = points[:, :2], points[:, 2:]
    wanted = row.truth.plane.potential(*plane.T) + np.sum(others**2, axis=1) / 2
    apart = sp.lambdify(x, V)(*points.T) - wanted
    np.testing.assert_allclose(apart, apart[0], atol=1e-9)
    # x' = -x + x/s of the variance s, whose equation is s' = 2 (1 - s).
    s = 1 - 0.75 * np.exp(-2 * 0.7)
    np.testing.assert_allclose(row.truth.others.positions(others, 0.7), 2 * s**0.5 * others)


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_THE_PLANE)
def test_positions_in_the_plane_do_not_depend_on_the_grid(name):
    """Other cells, steps and sides: positions agree to 5e-4 of the spread; so do the moments."""
    row, t = exact_problem(name), 2.0
    z = row.points(2048)
    found = row.exact(z, t)
    other = pw.exact.fokker_planck_2d(
        row.truth.potential,
        1.0,
        row.truth.density,
        t,
        [(low * 1.05, high * 1.05) for low, high in row.truth.box],
        [round(1.2 * n / 2) * 2 for n in row.truth.cells],
        z,
        100,
    )
    apart = np.sqrt(np.mean(np.sum((found - other.points) ** 2, axis=1)))
    assert apart / row.spread(t) < 5e-4
    assert row.truth.uncertainty(z, t) < 3e-3
    own = np.sqrt(np.mean(np.var(found, axis=0)))
    assert own == pytest.approx(row.spread(t), rel=5e-3)


@pytest.mark.parametrize("name", QUICK)
def test_spread_is_that_of_the_points(name):
    row = exact_problem(name)
    assert row.spread(row.t_span[0]) == row.initial.spread
    z = row.points(4096)
    np.testing.assert_array_equal(row.exact(z, row.t_span[0]), z)
    if name == "sixth_order":  # its variance is that of few points, far out
        return
    own = np.sqrt(np.mean(np.var(row.exact(z), axis=0)))
    assert own == pytest.approx(row.spread(), rel=3e-3)


def moved_by(row, offset):
    """A solution whose map is the exact one and an offset."""
    return SimpleNamespace(push=lambda z, t: row.exact(z, t) + offset)


@pytest.mark.parametrize("name", ["double_well", "ornstein_uhlenbeck_10", "barenblatt_m3_d5"])
def test_error_of_a_known_offset(name):
    row = exact_problem(name)
    offset = np.arange(1.0, row.dim + 1)
    wanted = np.linalg.norm(offset) / (row.spread() * np.sqrt(row.dim))
    assert row.error(moved_by(row, offset), 256) == pytest.approx(wanted, rel=1e-12)
    assert row.error(moved_by(row, 0.0), 256) == 0


def test_error_takes_points_that_runs_do_not():
    row = exact_problem("double_well")
    assert not np.isin(row.points(1024, 0), row.points(1024, 1)).any()
    for purpose in ("samples", "defect"):
        used = draw(row.initial, 1024, sampling="sobol", seed=seed_for(0, purpose))
        assert not np.isin(used, row.points(1024, 0)).any()


@pytest.mark.parametrize("name", ["double_well", "styblinski_tang_10", "ornstein_uhlenbeck_10"])
def test_marginal_errors_of_a_known_offset(name):
    row = exact_problem(name)
    offset = np.linspace(0.1, 1, row.dim)
    found = row.marginal_errors(moved_by(row, offset), 8192)
    np.testing.assert_allclose(found, offset, atol=3e-3)
    assert row.marginal_errors(moved_by(row, 0.0), 8192).max() < 0.02  # 8192^-1/2 is 0.011


def test_marginals_that_are_not_known_are_refused():
    row = exact_problem("aggregation")
    with pytest.raises(BenchmarkError, match="aggregation"):
        row.marginal_errors(moved_by(row, 0.0))


def test_names_and_sizes_of_the_table():
    with pytest.raises(BenchmarkError, match="double_well") as caught:
        exact_problem("no_well")
    assert caught.value.argument == "name"
    for name in EXACT_PROBLEMS:
        row = exact_problem(name)
        assert row.name == name and row is exact_problem(name)
        assert row.map.dim == row.dim == row.initial.dim
        if "styblinski" not in name:
            assert parameter_count(row.map) < 1000
    wide = exact_problem("double_well").with_width(7)
    assert wide.map == pw.NeuralFlow(2, 7, 4) and wide.name == "double_well"
