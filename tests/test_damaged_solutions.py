"""Damaged files of solutions: an error of the package within a second, or the right solution."""

import io
import os
import subprocess
import sys
import time
import warnings
import zipfile

import numpy as np
import pytest
from damage import archive, damaged, npy, solutions

from pwgf_sym.errors import StoredSolutionError
from pwgf_sym.solver.loading import load_solution
from pwgf_sym.solver.solution import Solution

# Seconds of processor time; a file of a few thousand bytes takes some milliseconds.
LIMIT = 1.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of undamaged files."""
    folder, found = tmp_path_factory.mktemp("whole"), []
    for k, solution in enumerate(solutions()):
        solution.save(folder / f"{k}.npz")
        found.append((folder / f"{k}.npz").read_bytes())
    return found


def checked(path) -> bool:
    """Load a file; whether it was taken for a solution, which then has to be one."""
    start = time.process_time()
    try:
        loaded = load_solution(path)
    except StoredSolutionError:
        assert time.process_time() - start < LIMIT
        return False
    assert time.process_time() - start < LIMIT
    repr(loaded)
    assert isinstance(loaded, Solution) and loaded.success in (True, False)
    assert np.isfinite(loaded.theta).all() and (np.diff(loaded.t) > 0).all()
    law = loaded.problem.initial
    assert loaded.problem.dim == loaded.map.dim == law.dim
    assert law.sample(3, 1).shape == (3, law.dim)
    assert loaded.map.initial_parameters(law).shape == loaded.theta.shape[1:]
    loaded.save(path)
    again = load_solution(path)
    assert again.problem.energy == loaded.problem.energy and again.options == loaded.options
    return True


def run(whole, path, seeds):
    taken = 0
    for seed in seeds:
        rng = np.random.default_rng([7, seed])
        path.write_bytes(damaged(rng, whole[seed % len(whole)]))
        try:
            taken += checked(path)
        except BaseException as error:
            error.add_note(f"damage of seed {seed}")
            raise
    return taken


def test_undamaged_files_are_taken(whole, tmp_path):
    for data in whole:
        (tmp_path / "a.npz").write_bytes(data)
        assert checked(tmp_path / "a.npz")


def test_damaged_files(whole, tmp_path):
    taken = run(whole, tmp_path / "a.npz", range(400))
    assert 0 < taken < 150  # most are refused; a changed word of the message is no damage


@pytest.mark.slow
def test_ten_thousand_damaged_files(whole, tmp_path):
    run(whole, tmp_path / "a.npz", range(400, 10_400))


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def header(shape, kind="<f8"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def with_member(data, name, value, compression=zipfile.ZIP_STORED):
    return archive((members_of(data) | {f"{name}.npy": value}).items(), compression)


def with_description(data, change):
    text = str(np.load(io.BytesIO(members_of(data)["description.npy"])))
    return with_member(data, "description", npy(np.array(change(text))))


def overlapping(data):
    """A directory whose entries all mean one large member."""
    once = archive([("t.npy", header((10**6,)) + bytes(8 * 10**6))])
    start = once.index(b"PK\x01\x02")
    entry, end = once[start : once.index(b"PK\x05\x06")], once[once.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"t.npy", f"{i:05d}".encode()) for i in range(1000))
    counts = (1000).to_bytes(2, "little") * 2 + len(entries).to_bytes(4, "little")
    return once[:start] + entries + end[:8] + counts + end[16:]


HOSTILE = {
    "compressed bomb": lambda d: with_member(
        d, "theta", header((10**7,)) + bytes(8 * 10**7), zipfile.ZIP_DEFLATED
    ),
    "overlapping members": overlapping,
    "a long theta is claimed": lambda d: with_member(d, "theta", header((4, 10**12))),
    "a long text is claimed": lambda d: with_member(d, "description", header((), "<U999999999")),
    "objects": lambda d: with_member(d, "t", npy(np.array([{}], dtype=object))),
    "rows without width": lambda d: with_member(d, "theta", header((4, 0))),
    "endless product of lengths": lambda d: with_member(d, "theta", header((0,) + (10**17,) * 30)),
    "header of parentheses": lambda d: with_member(d, "t", header("(" * 9000)),
    "deep JSON": lambda d: with_description(d, lambda t: "[" * 200_000),
    "deep formula": lambda d: with_description(
        d, lambda t: t.replace('["Symbol"', '["exp", ' * 900 + '["Symbol"', 1)
    ),
    "digits without end": lambda d: with_description(d, lambda t: t.replace("64", "8" * 9999)),
    "an exponent without end": lambda d: with_description(
        d, lambda t: t.replace('["Integer", "2"]', '["Float", 0, "1", 99999999999, 53]')
    ),
    "a power without end": lambda d: with_description(
        d,
        lambda t: t.replace(
            '["Integer", "2"]',
            '["Pow", ["Integer", "7"], ["Pow", ["Integer", "9"], ["Integer", "999999"]]]',
        ),
    ),
    "a width without end": lambda d: with_description(
        d, lambda t: t.replace('"width": 3', f'"width": {10**12}')
    ),
    "steps without end": lambda d: with_description(
        d, lambda t: t.replace('"steps": 2', f'"steps": {10**15}')
    ),
    "a law of a long mean": lambda d: with_description(
        d, lambda t: t.replace('"mean": [0.5]', f'"mean": {[0.5] * 9000}')
    ),
    "infinite parameter": lambda d: with_description(d, lambda t: t.replace("1.5", "1e999")),
    "NaN in theta": lambda d: with_member(d, "theta", npy(np.full((4, 22), np.nan))),
    "times backward": lambda d: with_member(d, "t", npy(np.arange(4.0)[::-1])),
    "truth values of 2": lambda d: with_member(
        d, "converged", header((4,), "|b1") + bytes([1, 1, 2, 1])
    ),
    "a truth value in a product": lambda d: with_description(
        d, lambda t: t.replace('["Integer", "2"]', '["Mul", ["true"], ["Integer", "2"]]')
    ),
    "text as code": lambda d: with_description(
        d, lambda t: t.replace('["Symbol", "x0"', "[\"__import__('os').getpid()\"", 1)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_takes_no_memory_and_no_time(whole, tmp_path, name):
    path = tmp_path / "a.npz"
    data = HOSTILE[name](whole[0])
    assert data != whole[0]
    path.write_bytes(data)
    resource = pytest.importorskip("resource")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(StoredSolutionError, match=r"a\.npz"):
            load_solution(path)
    assert not caught
    assert time.process_time() - start < LIMIT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000 + len(data) / 200


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(StoredSolutionError):
            load_solution(path)


def test_loading_imports_no_compiler(whole, tmp_path):
    (tmp_path / "a.npz").write_bytes(whole[0])
    code = (
        "import sys, pwgf_sym as pw; print(pw.load_solution('a.npz'));"
        "bad = {'numba', 'llvmlite', 'scipy.stats', 'matplotlib', 'tqdm'} & set(sys.modules);"
        "assert not bad, bad"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "7 steps and 1 rejected, 29 right-hand sides" in run.stdout


def test_files_without_a_history_are_read(whole, tmp_path):
    """Those of version 1, which had neither counts nor a word on folds."""
    members = {
        k: v for k, v in members_of(whole[0]).items() if "history" not in k and "path" not in k
    }
    text = str(np.load(io.BytesIO(members["description.npy"])))
    old = text[: text.index(', "counts"')] + "}"
    members["description.npy"] = npy(np.array(old.replace('"version": 3', '"version": 1')))
    (tmp_path / "a.npz").write_bytes(archive(members.items()))
    loaded = load_solution(tmp_path / "a.npz")
    assert loaded.history.t.size == 0 and loaded.nfev is None and loaded.folded is None
    assert loaded.success and "right-hand sides" not in repr(loaded)
    loaded.save(tmp_path / "b.npz")
    assert np.array_equal(load_solution(tmp_path / "b.npz").theta, loaded.theta)
