"""The gallery's flows against exact answers, and its generated modules against fresh ones."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pwgf_sym as pw

ROOT = Path(__file__).parent.parent
#: The energies of examples/catalogue are data: tests/test_catalogue.py.
APART = {"emit_gallery.py", *(p.name for p in (ROOT / "examples" / "catalogue").glob("*.py"))}
EXAMPLES = sorted(p for p in (ROOT / "examples").rglob("*.py") if p.name not in APART)


def example(name):
    """Names that an example defines before it runs."""
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="gallery")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_fit_on_a_screen(path):
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fokker_planck", "porous_medium", "aggregation"])
def test_examples_of_the_paper(tmp_path, name):
    """With a tenth of its samples and steps; our error is below the paper's, and both are small."""
    folder = ROOT / "examples" / "paper"
    code = f"""
import runpy, sys
sys.path.insert(0, {str(folder)!r})
import schemes
schemes.PAPER |= dict(dt=1e-2, samples=1000)
runpy.run_path({str(folder / f"{name}.py")!r}, run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    paper, ours = (float(e) for e in re.findall(r"error of the map (\S+) ", done.stdout))
    assert ours < 5e-3 and ours < paper < 0.2
    assert (tmp_path / f"paper_{name}.png").stat().st_size > 10_000


def test_committed_modules_equal_fresh_emissions():
    tools = runpy.run_path(str(ROOT / "examples" / "emit_gallery.py"), run_name="gallery")
    found = tools["gallery"]()
    committed = {p.stem for p in (ROOT / "generated").glob("*.py")}
    assert committed == set(found)
    for name, (problem, flow) in found.items():
        text = (ROOT / "generated" / f"{name}.py").read_text()
        assert tools["emitted"](problem, flow) == text, f"run examples/emit_gallery.py: {name}"


def test_ornstein_uhlenbeck_to_1e_6():
    names = example("ornstein_uhlenbeck")
    dim, mean, cov = names["dim"], names["mean"], names["cov"]
    solution = pw.solve(
        names["problem"], names["flow"], (0, 1), samples=256, dt=0.01, save_at=[1]
    )  # fmt: skip
    moved = solution.push(np.vstack([mean, mean + np.eye(dim)]))
    matrix = (moved[1:] - moved[0]).T
    exact_mean, exact_cov = pw.exact.ornstein_uhlenbeck(names["A"], 1.0, mean, cov, 1.0)
    assert np.linalg.norm(moved[0] - exact_mean) < 1e-6 * np.linalg.norm(exact_mean)
    assert np.linalg.norm(matrix @ cov @ matrix.T - exact_cov) < 1e-6 * np.linalg.norm(exact_cov)
    assert solution.converged.all()


def marginal_error(solution, potential, variance, t, columns=(0,)):
    """Largest W2 distance of marginals to finite volumes, on 32,768 fresh samples."""
    grid, _, cdf = pw.exact.fokker_planck_1d(
        potential,
        1.0,
        lambda q: np.exp(-(q**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance),
        t,
        -7,
        7,
    )
    fresh = solution.sample(32768, t=t, seed=12345, sampling="sobol")
    return max(pw.exact.w2_1d(fresh[:, k], grid, np.ravel(cdf)) for k in columns)


DOUBLE_WELL_RUNS = {
    "velocity form": {"linear_solver": "dense"},
    "energy form": {
        "formulation": "energy",
        "integrator": "euler",
        "linear_solver": "minres",
        "shift": 1e-4,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("run", DOUBLE_WELL_RUNS)
def test_double_well_marginal(run):
    names = example("double_well")
    options = {"samples": 4096, "dt": 0.01, "save_at": [1]} | DOUBLE_WELL_RUNS[run]
    solution = pw.solve(names["problem"], names["flow"], (0, 1), **options)
    assert solution.theta.shape[1] <= 500
    assert marginal_error(solution, lambda q: (q**2 - 1) ** 2, 0.49, 1.0) < 5e-3


@pytest.mark.slow
def test_styblinski_tang_marginals():
    names = example("styblinski_tang")
    solution = pw.solve(
        names["problem"], names["flow"], (0, 1), samples=2048, dt=0.05, save_at=[1], tolerance=1e-3
    )
    potential = lambda q: 0.06 * (q**4 - 16 * q**2 + 5 * q)  # noqa: E731
    assert marginal_error(solution, potential, 1.0, 1.0, range(10)) < 4e-2


@pytest.mark.slow
@pytest.mark.parametrize("m, dim, bound", [(2, 2, 1e-3), (3, 5, 5e-3)])
def test_porous_medium_radius(m, dim, bound):
    problem, flow = example("porous_medium")["gallery"][f"porous_medium_m{m}_d{dim}"]
    solution = pw.solve(problem, flow, (1, 3), samples=1024, dt=0.05, save_at=[3])
    z = problem.initial.sample(8192, seed=3)
    exact = pw.exact.barenblatt_scaling(dim, m, 1, 3) * np.linalg.norm(z, axis=1)
    found = np.linalg.norm(solution.push(z, t=3), axis=1)
    assert np.mean(np.abs(found - exact) / exact) < bound


@pytest.mark.slow
def test_aggregation_map_and_minimum():
    names = example("aggregation")
    problem, flow = names["problem"], names["flow"]
    options = {"samples": 1024, "linear_solver": "dense"}
    early = pw.solve(problem, flow, (0, 2), dt=0.02, save_at=[1, 2], **options)
    late = pw.solve(
        problem, flow, (2, 20), dt=0.1, save_at=[20], theta0=early.theta[-1], **options
    )  # fmt: skip
    z = problem.initial.sample(8192, seed=3)
    for t in (1, 2):
        exact, moment = pw.exact.aggregation_radial(z, t)
        distance = np.linalg.norm(early.push(z, t=t) - exact, axis=1)
        assert np.mean(distance / np.linalg.norm(exact, axis=1)) < 2e-2
        fresh = early.sample(32768, t=t, seed=3, sampling="sobol")
        assert np.mean(np.sum(fresh**2, axis=1)) == pytest.approx(moment, rel=5e-3)
    assert late.energy[-1] == pytest.approx(pw.exact.aggregation_minimum(2), abs=2e-3)


@pytest.mark.slow
def test_mixed_energy_mean_and_covariance():
    names = example("mixed_energy")
    start, cov, attraction = names["start"], names["cov"], names["k"] * np.eye(2)
    solution = pw.solve(
        names["problem"], names["flow"], (0, 1), samples=1024, dt=0.02, save_at=[1],
        linear_solver="dense",
    )  # fmt: skip
    fresh = solution.sample(32768, seed=3, sampling="sobol")
    exact_mean, _ = pw.exact.ornstein_uhlenbeck(names["A"], 0.5, start, cov, 1.0)
    _, exact_cov = pw.exact.ornstein_uhlenbeck(names["A"] + attraction, 0.5, start, cov, 1.0)
    found = pw.exact.wasserstein_gaussian(
        fresh.mean(axis=0), np.cov(fresh.T), exact_mean, exact_cov
    )
    assert found < 2e-3
