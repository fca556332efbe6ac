"""The solution object of the affine stand-in program: values, storage, refusals."""

import json
import os

import numpy as np
import pytest
from fake_program import (
    CENTER,
    COV,
    ENTROPY,
    MEAN,
    STIFFNESS,
    exact_moments,
    fake_compiler,
    moments,
    run,
)

from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.errors import OptionError, StoredSolutionError
from pwgf_sym.solver.loading import load_solution

compiled = pytest.fixture(fake_compiler)


def test_push_sample_and_density(compiled):
    solution = run(dt=0.1)
    z = np.random.default_rng(1).standard_normal((7, 2))
    theta = solution.theta[2]
    expected = z @ theta[:4].reshape(2, 2).T + theta[4:]
    np.testing.assert_allclose(solution.push(z, t=0.2), expected, rtol=1e-14)
    np.testing.assert_array_equal(solution.push(z), solution.push(z, t=0.5))
    # log density against the Gaussian formula
    mean, cov = moments(solution, 0.2)
    law = Gaussian(mean, (cov + cov.T) / 2)
    np.testing.assert_allclose(solution.log_density(z, t=0.2), law.log_density(z), rtol=1e-10)
    points = solution.sample(20_000, t=0.2, seed=3)
    assert points.shape == (20_000, 2)
    np.testing.assert_array_equal(points, solution.sample(20_000, t=0.2, seed=3))
    assert not np.array_equal(points, solution.sample(20_000, t=0.2, seed=4))
    assert np.abs(points.mean(axis=0) - mean).max() < 5 * np.sqrt(np.diag(cov).max() / 20_000)
    sobol = solution.sample(4096, t=0.2, sampling="sobol")
    assert np.abs(sobol.mean(axis=0) - mean).max() < 2e-3


def test_times_must_be_stored_ones_without_dense_output(compiled):
    solution = run(dt=0.1, dense_output=False)
    assert np.array_equal(solution.push(np.zeros((1, 2)), t=0.2 * (1 + 1e-12)).shape, (1, 2))
    with pytest.raises(OptionError, match=r"nearest is t=0.2\d*; store others with save_at"):
        solution.sample(3, t=0.201)
    for t in (np.nan, -1.0, "end", 0.2001):
        with pytest.raises(OptionError) as raised:
            solution.log_density(np.zeros((1, 2)), t=t)
        assert raised.value.argument == "t"


def test_the_solution_is_there_at_any_time(compiled):
    """Between stored times as exact as the cubic of a step, and at them as stored."""
    solution, points = run(dt=0.1), np.array([[0.3, -0.2], [1.0, 2.5]])
    for t in (0.017, 0.25, 0.4321):
        mean, cov = exact_moments(t, MEAN, COV, STIFFNESS, CENTER, ENTROPY)
        found = moments(solution, t)
        np.testing.assert_allclose(found[0], mean, atol=2e-5)
        np.testing.assert_allclose(found[1], cov, atol=2e-4)
        x = solution.push(points, t=t)
        logs = solution.log_density(x, t=t)
        inverse = np.linalg.inv(cov)
        offset = x - mean
        expected = -np.einsum("ni,ij,nj->n", offset, inverse, offset) / 2
        expected -= np.log(np.linalg.det(2 * np.pi * cov)) / 2
        np.testing.assert_allclose(logs, expected, atol=2e-3)
    assert solution.energy_at(0.3) == pytest.approx(solution.energy[3], rel=1e-12)
    assert solution.energy[3] > solution.energy_at(0.35) > solution.energy[4]
    with pytest.raises(OptionError, match=r"a time from 0 to 0.5. Run longer"):
        solution.push(points, t=0.51)
    named = run(dt=0.1, save_at=[0.25, 0.5], dense_output=True)
    np.testing.assert_array_equal(named.push(points, t=0.1), solution.push(points, t=0.1))


def test_points_must_have_the_right_shape(compiled):
    solution = run(dt=0.1)
    for points in (np.zeros(2), np.zeros((3, 3)), "points", [[1.0, 2.0], [3.0]]):
        with pytest.raises(OptionError, match=r"shape \(n, 2\)"):
            solution.push(points)
        with pytest.raises(OptionError, match=r"shape \(n, 2\)"):
            solution.log_density(points)


def test_repr_is_a_short_table(compiled):
    text = repr(run())
    assert len(text.splitlines()) == 9
    for word in (
        "completed: reached t = 0.5",
        "success   True",
        "Affine(dim=2), 6 parameters",
        "11 stored, 0 to 0.5",
        "converged",
    ):
        assert word in text


def test_saved_solution_comes_back_whole(compiled, tmp_path):
    solution = run(seed=2, dtype="float32", tolerance=1e-5)
    path = tmp_path / "run.npz"
    solution.save(path)
    assert os.listdir(tmp_path) == ["run.npz"]
    before = len(compiled)
    loaded = load_solution(str(path))
    assert len(compiled) == before  # nothing is compiled to look at the arrays
    for name in ("t", "theta", "energy", "dissipation", "defect", "residual", "converged"):
        ours, theirs = getattr(solution, name), getattr(loaded, name)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    assert loaded.options == solution.options and loaded.status == "completed"
    assert loaded.problem.energy == solution.problem.energy
    assert loaded.problem.parameters == solution.problem.parameters
    assert loaded.problem.initial == solution.problem.initial and loaded.map == solution.map
    z = np.ones((3, 2))
    np.testing.assert_array_equal(loaded.push(z, 0.25), solution.push(z, 0.25))
    assert len(compiled) == before + 1 and compiled[-1].dtype == np.float32
    assert repr(loaded) == repr(solution)
    loaded.save(path)  # over the old file
    assert np.array_equal(load_solution(path).theta, solution.theta)


def test_saving_never_leaves_half_a_file(compiled, tmp_path, monkeypatch):
    solution, path = run(), tmp_path / "run.npz"
    solution.save(path)
    content = path.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space"):
        solution.save(path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["run.npz"]


def altered(solution, path, change, **arrays):
    """Save a solution with a change to its description or arrays."""
    solution.save(path)
    with np.load(path) as archive:
        content = dict(archive)
    description = json.loads(str(content["description"]))
    change(description)
    content["description"] = np.array(json.dumps(description))
    np.savez(path, **(content | arrays))


def test_files_that_are_no_solutions_are_refused(compiled, tmp_path):
    path = tmp_path / "run.npz"
    solution = run(dt=0.25)
    solution.save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-30], b"\x80\x04N."):
        path.write_bytes(content)
        with pytest.raises(StoredSolutionError, match=r"run\.npz"):
            load_solution(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(StoredSolutionError, match="description"):
        load_solution(path)
    np.savez(path, description=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(StoredSolutionError):
        load_solution(path)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(StoredSolutionError):
        load_solution(path.with_suffix(".npy"))
    with pytest.raises(FileNotFoundError):
        load_solution(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("change", "arrays", "words"),
    [
        (lambda d: d.update(version=99), {}, "version 99"),
        (lambda d: d.update(schema="other"), {}, "schema 'other'"),
        (lambda d: d.pop("energy"), {}, "cannot be read"),
        (lambda d: d.update(energy=["eval", "1+1"]), {}, "cannot be read"),
        (lambda d: d.update(initial={"law": "Cauchy"}), {}, "cannot be read"),
        (lambda d: d.update(map={"map": "Spline"}), {}, "cannot be read"),
        (lambda d: d.update(options=None), {}, "cannot be read"),
        (lambda d: d["parameters"].clear(), {}, "cannot be read"),
        (lambda d: None, {"theta": np.zeros((2, 6))}, "array theta"),
        (lambda d: None, {"energy": np.array(["a", "b", "c"])}, "array energy"),
        (lambda d: None, {"extra": np.zeros(3)}, "extra"),
    ],
)
def test_altered_files_are_refused(compiled, tmp_path, change, arrays, words):
    path = tmp_path / "run.npz"
    altered(run(dt=0.25), path, change, **arrays)
    with pytest.raises(StoredSolutionError, match=words):
        load_solution(path)
