"""Damaged cache folders give the right numbers, warnings, or our own errors, and nothing else."""

import os
import random
import shutil
import signal
import stat
import sys
import time
import tracemalloc
import warnings
from contextlib import suppress

import numpy as np
import pytest

from pwgf_sym import files
from pwgf_sym.declare.laws import UniformBox
from pwgf_sym.errors import CacheWarning, PwgfError
from pwgf_sym.solver.sampling import draw
from pwgf_sym.targets.machine_code import FOLDER
from pwgf_sym.targets.store import load_module, write_module

TEXT = '''"""A module.

content: {content}
"""

from numba import njit

OPTIONS = {"cache": True}


@njit(**OPTIONS)
def twice(x):
    return 2 * x


@njit(**OPTIONS)
def thrice(x):
    return 3 * x
'''
LAW = UniformBox([0.0], 1.0)
POINTS = draw(LAW, 8, seed=7)
TOTAL, PART = 500, 100  # folders; those of a part run in one test


@pytest.fixture(autouse=True)
def no_end():
    """Who waits for a pipe is interrupted; how busy the machine is does not count otherwise."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        pytest.fail("something is waited for")  # no Exception: nobody takes it for a damaged file

    handler = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 600)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def numbers() -> tuple[list, np.ndarray]:
    """What comes from the folder, as in a process of its own."""
    for name in [n for n in sys.modules if n.startswith("pwgf_sym_generated.damaged_")]:
        del sys.modules[name]
    files._said.clear()
    path = write_module(TEXT, "damaged")
    module = load_module(path, TEXT)
    return [module.twice(7), module.thrice(7)], draw(LAW, 8, seed=7, keep=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a module, its machine code and points."""
    folder = tmp_path_factory.mktemp("whole") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PWGF_SYM_CACHE", str(folder))
        numbers()
    assert len([p for p in folder.rglob("*") if p.is_file()]) == 7
    return folder


# -- what may happen to a file ---------------------------------------------------------------------


def change_bytes(random, path, files):
    data = bytearray(path.read_bytes())
    for _ in range(random.choice([1, 2, 40])):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def change_length(random, path, files):
    data = path.read_bytes()
    more = random.randbytes(random.randrange(1, 200))
    path.write_bytes(random.choice([data + more, more + data, data + data, data[1:]]))


def change_lines(random, path, files):
    lines = path.read_bytes().split(b"\n")
    random.shuffle(lines)
    path.write_bytes(b"\n".join(lines[: random.randrange(len(lines) + 1)]))


def exchange(random, path, files):
    other = random.choice(files)
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)


def make_folder(random, path, files):
    path.unlink()
    path.mkdir()
    if random.random() < 0.5:
        (path / "inside").write_bytes(b"1")


def make_link(random, path, files):
    targets = [path.name, "nowhere", files[0], path.parent, "/dev/null", "/dev/zero"]
    path.unlink()
    path.symlink_to(random.choice(targets))


def make_pipe(random, path, files):
    path.unlink()
    os.mkfifo(path)


def claim_much(random, path, files):
    """Sizes without end in headers of pickles and arrays; sparse files of gigabytes."""
    if random.random() < 0.3:
        with path.open("r+b") as file:
            file.truncate(1 << 36)
        return
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**15,), }".ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path.write_bytes(random.choice([array, b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f", b"\x80\x05B"]))


def close_folder(random, path, files):
    path.parent.chmod(random.choice([0o000, 0o500, 0o777, 0o770, 0o600]))


DAMAGES = [
    lambda random, path, files: path.write_bytes(b""),
    lambda random, path, files: path.write_bytes(random.randbytes(random.randrange(1, 4000))),
    lambda random, path, files: os.truncate(path, random.randrange(path.stat().st_size)),
    lambda random, path, files: path.unlink(),
    lambda random, path, files: path.chmod(random.choice([0o000, 0o222, 0o666, 0o777])),
    lambda random, path, files: shutil.rmtree(path.parent),
    *(change_bytes, change_bytes, change_length, change_lines, exchange, make_folder, claim_much),
    *([make_link, make_pipe, close_folder] if os.name == "posix" else []),
]


def damage(folder, random) -> list[str]:
    """Damage some of the files of a folder; what was done."""
    done = []
    for _ in range(random.choice([1, 1, 2, 4])):
        try:
            files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
            files = [p for p in files if p.stat().st_size and p.stat().st_size < 1 << 20]
        except OSError:
            break
        if not files:
            break
        path, how = random.choice(files), random.choice(DAMAGES)
        with suppress(OSError):  # of a folder that was closed before
            how(random, path, files)
        done.append(f"{getattr(how, '__name__', how)} {path.name}")
    return done


@pytest.mark.parametrize(
    "first",
    [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(PART, TOTAL, PART))],
)
def test_damaged_folders(whole, tmp_path, monkeypatch, first):
    kinds = {"right": 0, "warned": 0, "refused": 0}
    for number in range(first, first + PART):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        folder.chmod(0o700)
        monkeypatch.setenv("PWGF_SYM_CACHE", str(folder))
        done, start = damage(folder, random.Random(number)), time.process_time()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                for _ in range(2):
                    found, points = numbers()
                    assert found == [14, 21], (number, done)
                    np.testing.assert_array_equal(points, POINTS)
            assert all(w.category is CacheWarning for w in caught), (number, done, caught)
            kinds["warned" if caught else "right"] += 1
        except PwgfError as error:
            assert "PWGF_SYM_CACHE" in str(error), (number, done)
            kinds["refused"] += 1
        assert time.process_time() - start < 10, (number, done)
        for inside in (folder, folder / FOLDER):
            if inside.is_dir():
                inside.chmod(0o700)
        assert not list(folder.rglob("*.tmp")), (number, done)
    assert kinds["right"] > PART / 2 and kinds["warned"], kinds


def test_no_more_is_read_than_was_written(whole, tmp_path, monkeypatch):
    """Of files of a terabyte each."""
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    monkeypatch.setenv("PWGF_SYM_CACHE", str(folder))
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, 1 << 40)
    start = time.process_time()
    tracemalloc.start()
    try:
        assert numbers()[0] == [14, 21]
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_it_mends_itself(whole, tmp_path, monkeypatch):
    """After files were cut, the folder is as before: nothing is compiled the time after."""
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    monkeypatch.setenv("PWGF_SYM_CACHE", str(folder))
    before = sorted(p.name for p in folder.rglob("*.nbi"))
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    numbers()
    assert sorted(p.name for p in folder.rglob("*.nbi")) == before
    for path in folder.rglob("*.nb?"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    numbers()
    (module,) = (m for n, m in sys.modules.items() if n.startswith("pwgf_sym_generated.damaged_"))
    assert sum(module.twice.stats.cache_hits.values()) == 1
    assert not module.twice.stats.cache_misses
