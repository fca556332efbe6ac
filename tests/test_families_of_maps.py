"""Families of maps: where they start, one formula in NumPy, and how far small maps reach."""

import json

import numpy as np
import pytest

import pwgf_sym as pw
from pwgf_sym.__main__ import main
from pwgf_sym.benchmarks import study
from pwgf_sym.benchmarks.exact_problems import exact_problem
from pwgf_sym.benchmarks.families import FAMILIES, TABLE, families, named_map
from pwgf_sym.declare.maps import parameter_count
from pwgf_sym.errors import CallError, FlowError, MapError, OptionError
from pwgf_sym.targets.program import compile_program

MAPS = ["affine", "flow 3", "deep 3 1", "skip 3 1", "field 3", "residual 3", "planar 3"]
MAPS += ["coupled 3", "triangular 3", "monotone 3", "gradient 3", "features 3", "bent 3 3"]


def pushing(map):
    x = pw.coordinates(map.dim)
    rho = pw.Density(x)
    energy = pw.integral(sum(a**2 for a in x) * rho, x)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian(np.zeros(map.dim), 1.0))
    program = compile_program(problem, map, target="numpy")

    def push(theta, z):
        samples = program.samples(z)
        return program.unpack(program.push(theta, samples).x, samples)

    return push


@pytest.mark.parametrize("text", MAPS, ids=lambda text: text.split()[0])
def test_every_family_starts_as_the_identity(text):
    law = pw.Gaussian([0, 0, 0], [0.5, 1.0, 1.5])
    map, z = named_map(text, 3), 2 * np.random.default_rng(0).standard_normal((50, 3))
    theta = map.initial_parameters(law)
    assert theta.shape == (parameter_count(map),) and np.all(np.isfinite(theta))
    np.testing.assert_allclose(pushing(map)(theta, z), z, rtol=1e-12, atol=1e-12)


def test_all_families_are_measured():
    assert {text.split()[0] for text in MAPS} == set(FAMILIES)
    named = {text.split()[0] for texts in TABLE.values() for text in texts}
    assert named == set(FAMILIES)


@pytest.mark.parametrize("bends", [2, 5])
def test_a_monotone_map_is_its_formula(bends):
    rng, dim = np.random.default_rng(1), 3
    a = rng.normal(size=(dim, bends + 1))
    b, first, log_width = rng.normal(size=(3, dim))
    gaps = rng.normal(size=(dim, bends - 1))
    theta = np.concatenate([a.ravel(), b, first, gaps.ravel(), log_width])
    z = 3 * rng.standard_normal((40, dim))
    wanted = np.empty_like(z)
    for i in range(dim):
        knots = first[i] + np.concatenate([[0], np.cumsum(np.exp(gaps[i]))])
        wanted[:, i] = b[i] + np.exp(a[i, 0]) * z[:, i]
        for k, knot in enumerate(knots):
            u = np.exp(log_width[i]) * (z[:, i] - knot)
            turn = np.exp(a[i, k + 1]) - np.exp(a[i, k])
            wanted[:, i] += turn * (u + np.sqrt(1 + u**2)) / 2 / np.exp(log_width[i])
    found = pushing(pw.Monotone1D(dim, bends))(theta, z)
    np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)


def test_a_monotone_map_increases_whatever_its_parameters_are():
    """Slopes are means of exp(a), so they lie between the least and the largest of them."""
    map, rng = pw.Monotone1D(1, 6), np.random.default_rng(2)
    z, push = np.linspace(-30, 30, 20001)[:, None], pushing(map)
    for _ in range(5):
        theta = 2 * rng.standard_normal(parameter_count(map))
        slopes = np.diff(push(theta, z)[:, 0]) / np.diff(z[:, 0])
        low, high = np.exp([theta[:7].min(), theta[:7].max()])
        assert low * (1 - 1e-6) <= slopes.min() <= slopes.max() <= high * (1 + 1e-6)


def test_one_knot_is_refused():
    with pytest.raises(MapError, match="width: got 1"):
        pw.Monotone1D(2, 1)


def test_the_command_measures_what_solve_finds(tmp_path, capsys):
    name, file = "ornstein_uhlenbeck_2", tmp_path / "rows.json"
    given = ["--problems", name, "--maps", "affine,monotone 2", "--samples", "64"]
    given += ["--points", "512", "--tol", "0.1", "--target", "numpy"]
    assert main(["families", *given, "--json", str(file)]) == 0
    first, second = json.loads(file.read_text())["rows"]
    assert (first["parameters"], second["parameters"]) == (6, 14)
    out = capsys.readouterr().out
    assert f"{first['error']:.1e}" in out and "monotone 2" in out
    row = exact_problem(name)
    options = {"samples": 64, "tol": 0.1, "target": "numpy", "save_at": [0, 1]}
    found = pw.solve(row.problem, pw.Affine(2), (0, 1), **options)
    assert first["error"] == pytest.approx(row.error(found, 512), rel=1e-9)
    z = row.points(512)
    pairs = [np.sort(x[:, i]) for x in (found.push(z), row.exact(z)) for i in range(2)]
    gaps = [np.sqrt(np.mean((pairs[i] - pairs[i + 2]) ** 2)) for i in range(2)]
    assert first["marginal"] == pytest.approx(max(gaps), rel=1e-9)
    relative = max(gap / np.std(pairs[i + 2]) for i, gap in enumerate(gaps))
    assert first["relative"] == pytest.approx(relative, rel=1e-9)
    assert second["error"] > 10 * first["error"]  # it cannot turn coordinates


def test_runs_that_fail_are_rows(monkeypatch):
    def failing(*_, **options):
        raise FlowError("an infinite energy", "a finite one", "Take care.", step=3, time=0.1)

    monkeypatch.setattr(study, "solve", failing)
    found = families(["ornstein_uhlenbeck_2"], ["affine"], seeds=2, points=64)
    assert [row.seed for row in found.rows] == [0, 1]
    assert all(np.isnan(row.error) and "infinite energy" in row.note for row in found.rows)
    assert "nan" in str(found)


@pytest.mark.parametrize(
    ("maps", "error", "text"),
    [
        (["spline 3"], OptionError, '"monotone"'),
        (["monotone many"], OptionError, "many"),
        (["monotone 1"], MapError, "at least 2"),
        (["planar 1 2 3"], CallError, "too many"),
    ],
)
def test_wrong_maps_are_refused_before_any_run(maps, error, text, monkeypatch):
    monkeypatch.setattr(study, "solve", None)
    with pytest.raises(error, match=text):
        families(["double_well"], ["affine", *maps])


@pytest.mark.slow
def test_a_double_well_by_a_small_map():
    (row,) = families(["double_well"], ["gradient 32"], target="numpy").rows
    assert row.parameters <= 500 and row.marginal < 5e-4


@pytest.mark.slow
def test_a_product_by_a_monotone_map():
    (row,) = families(["quartic"], ["monotone 12"], target="numpy").rows
    assert row.parameters <= 100 and row.marginal < 1e-3
