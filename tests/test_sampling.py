"""Samples for the solver: nets, open cube, reproducibility, independent seeds."""

import io
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from pwgf_sym.declare.laws import Barenblatt, Gaussian, UniformBox
from pwgf_sym.errors import OptionError
from pwgf_sym.solver.sampling import _content, draw, draw_with_tails, seed_for

UNIT = UniformBox([0.0, 0.0, 0.0], 1.0)


def test_sobol_points_form_a_net():
    """2^k scrambled Sobol points have one point in each of 2^k equal bins of each coordinate,
    and one in each elementary box of the first two coordinates."""
    points = draw(UNIT, 256, seed=4)
    for column in points.T:
        assert np.bincount((256 * column).astype(int), minlength=256).tolist() == [1] * 256
    boxes = (16 * points[:, 0]).astype(int) * 16 + (16 * points[:, 1]).astype(int)
    assert np.bincount(boxes, minlength=256).tolist() == [1] * 256


@pytest.mark.parametrize("seed", range(5))
def test_points_lie_in_the_open_cube(seed):
    points = draw(UNIT, 4096, seed=seed)
    assert points.min() >= 2.0**-53
    assert points.max() <= 1 - 2.0**-53
    # Odd multiples of 2^-53: midpoints of cells, never an end of one.
    assert np.all((points * 2.0**53) % 2 == 1)


def test_any_number_of_points_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = draw(UNIT, 1000, seed=3)
    assert points.shape == (1000, 3)
    np.testing.assert_array_equal(points, draw(UNIT, 1024, seed=3)[:1000])
    assert draw(UNIT, 1, seed=3).shape == (1, 3)


def test_the_warnings_of_others_still_come_through():
    class Loud(UniformBox):
        def transform(self, u):
            warnings.warn("heard", UserWarning, stacklevel=1)
            return super().transform(u)

    with pytest.warns(UserWarning, match="heard"):
        draw(Loud([0.0], 1.0), 8, seed=0)


@pytest.mark.parametrize("dim", [1, 3, 30])
@pytest.mark.parametrize("every", [2, 4])
def test_means_with_points_of_the_tails(dim, every):
    """Weights take the wider law back: moments of the Gaussian; its tails have more points."""
    mean, spread = np.linspace(1.0, 2.0, dim), np.linspace(0.5, 1.5, dim)
    law, n = Gaussian(mean, np.diag(spread**2)), 8192
    points, weights = draw_with_tails(law, n, every, sampling="sobol", seed=2)
    z = (points - mean) / spread
    near = 4 / np.sqrt(n)
    assert weights.max() <= every / (every - 1) / n and weights.sum() == pytest.approx(1, abs=near)
    for power, moment in ((1, 0), (2, 1), (4, 3)):
        np.testing.assert_allclose(weights @ z**power, moment, atol=15 * near)
        assert np.abs(weights @ z**power - moment).mean() < near
    far = np.sum(z**2, axis=1) > stats.chi2.ppf(0.999, dim)
    assert far.mean() > 0.02 and weights[far].sum() == pytest.approx(0.001, rel=0.3)


def test_sobol_is_more_accurate_than_random():
    law = Gaussian([0.0] * 4, 1.0)

    def error(sampling):
        means = [draw(law, 4096, sampling=sampling, seed=s).mean(axis=0) for s in range(8)]
        return np.sqrt(np.mean(np.square(means)))

    assert error("random") == pytest.approx(1 / 64, rel=0.5)
    assert error("sobol") < error("random") / 20


def test_random_points_are_independent():
    points = draw(UNIT, 20_000, sampling="random", seed=11)
    assert stats.kstest(points.ravel(), "uniform").pvalue > 1e-3
    assert np.unique(points).size == points.size
    neighbours = np.corrcoef(points[:-1, 0], points[1:, 0])[0, 1]
    assert abs(neighbours) < 4 / np.sqrt(20_000)
    np.testing.assert_array_equal(points, UNIT.sample(20_000, 11))


@pytest.mark.parametrize("sampling", ["sobol", "random"])
def test_the_seed_decides(sampling):
    law = Barenblatt(2, 2, 1)
    first = draw(law, 100, sampling=sampling, seed=1)
    np.testing.assert_array_equal(first, draw(law, 100, sampling=sampling, seed=1))
    assert not np.any(first == draw(law, 100, sampling=sampling, seed=2))
    assert first.dtype == np.float64
    assert np.isfinite(law.log_density(first)).all()


def test_derived_seeds_differ_and_do_not_change():
    seeds = {
        seed_for(seed, purpose, step)
        for seed in range(20)
        for purpose in ("samples", "defect", "partners", "")
        for step in range(50)
    }
    assert len(seeds) == 20 * 4 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    # Fixed once: a stored run must be reproducible on other machines and in other processes.
    assert seed_for(0, "samples") == seed_for(0, "samples", 0) == GOLDEN
    # A step or seed of more than 32 bits must not run into its neighbour.
    assert seed_for(1, "samples", 2**32) != seed_for(1, "samples", 0)
    assert seed_for(2**32, "samples") != seed_for(0, "samples", 1)


GOLDEN = 3279477483793325325


def test_streams_of_derived_seeds_are_uncorrelated():
    streams = [
        np.random.default_rng(seed_for(5, "resample", step)).random(2000) for step in range(20)
    ]
    correlation = np.corrcoef(streams) - np.eye(20)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("call", "argument", "message"),
    [
        (lambda: draw(UNIT, 10, sampling="halton", seed=0), "sampling", '"sobol" or "random"'),
        (lambda: draw(UNIT, 0, seed=0), "samples", "at least 1"),
        (lambda: draw(UNIT, 10.0, seed=0), "samples", "integer"),
        (lambda: draw(UNIT, True, seed=0), "samples", "integer"),
        (lambda: draw(UNIT, 10, seed=-1), "seed", "at least 0"),
        (lambda: draw(UNIT, 10, seed="one"), "seed", "integer"),
        (
            lambda: draw(SimpleNamespace(dim=21202, has_transform=True, transform=None), 2, seed=0),
            "sampling",
            "at most 21201",
        ),
        (lambda: seed_for(-1, "samples"), "seed", "at least 0"),
        (lambda: seed_for(1, "samples", 0.5), "step", "integer"),
        (lambda: seed_for(1, 3), "purpose", "string"),
    ],
)
def test_errors_name_the_option(call, argument, message):
    with pytest.raises(OptionError, match=message) as caught:
        call()
    assert caught.value.argument == argument


def test_numpy_integers_are_accepted():
    np.testing.assert_array_equal(draw(UNIT, np.int64(8), seed=np.uint32(3)), draw(UNIT, 8, seed=3))


def test_kept_points_are_the_same_and_a_damaged_file_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    expected = draw(UNIT, 64, seed=5)
    assert not list(tmp_path.iterdir())  # nothing is kept unless asked for
    np.testing.assert_array_equal(draw(UNIT, 64, seed=5, keep=True), expected)
    (path,) = tmp_path.glob("sobol_*.npy")
    whole, other = path.read_bytes(), np.full((64, UNIT.dim), 0.5)
    path.write_bytes(_content(path.name, other))  # the file is what is read
    assert np.ptp(draw(UNIT, 64, seed=5, keep=True)) == 0
    buffer = io.BytesIO()
    np.save(buffer, other)
    damages = [
        b"",
        b"garbage",
        whole[:-9],
        whole + b"1",
        buffer.getvalue(),
        whole[:-33] + whole[-32:],
    ]
    damages += [buffer.getvalue(), _content("another name", other)]
    damages += [_content(path.name, other[:32])]
    for damage in damages:
        path.write_bytes(damage)
        np.testing.assert_array_equal(draw(UNIT, 64, seed=5, keep=True), expected)
        assert path.read_bytes() == whole
    np.testing.assert_array_equal(draw(UNIT, 64, seed=5, keep=True), expected)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_kept_points_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    for seed in range(40):
        draw(UNIT, 4, seed=seed, keep=True)
    assert len(list(tmp_path.iterdir())) == 32
