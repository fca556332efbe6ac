"""What a stranger has planted in the cache runs nothing, wherever it lies."""

import importlib.util
import io
import os
import pickle
import py_compile
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from planted import Cache, Payload

import pwgf_sym as ps
from pwgf_sym.declare.laws import UniformBox
from pwgf_sym.solver.sampling import _content, draw
from pwgf_sym.targets.key import NAME
from pwgf_sym.targets.store import seal

root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A cache folder with machine code, from which every test gets a copy."""
    folder = tmp_path_factory.mktemp("compiled") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PWGF_SYM_CACHE", str(folder))
        cache = Cache(folder, folder.parent / "mark")
        *x, energy = cache.run()
    assert abs(energy - np.mean((np.array(x) - 3 / 11) ** 2)) < 1e-12 * energy
    cache.expected = np.array([*x, energy])
    assert cache.files(".nbi") and cache.files(".nbc")
    return cache


@pytest.fixture
def cache(compiled, tmp_path, monkeypatch):
    shutil.copytree(compiled.folder, tmp_path / "cache")
    (tmp_path / "cache").chmod(0o700)
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "cache"))
    found = Cache.__new__(Cache)
    found.__dict__ |= vars(compiled) | {"given": None}
    found.folder, found.mark = tmp_path / "cache", tmp_path / "mark"
    found.path = found.folder / compiled.path.name
    return found


def harmless(cache, warned: str = ""):
    """The right numbers, and no mark; with a warning where the folder is not used."""
    if warned:
        with pytest.warns(ps.errors.CacheWarning, match=warned):
            found = cache.run()
    else:
        found = cache.run()
    np.testing.assert_array_equal(found, cache.expected)
    assert not cache.mark.exists()


def payload(cache) -> str:
    return f"open({str(cache.mark)!r}, 'w').close()\n"


# -- generated modules ---------------------------------------------------------------------------


def sealed(cache, change) -> bytes:
    """The module's text, changed, with the hash that belongs to it."""
    return seal(change(cache.program.emission.text)).encode()


MODULES = {
    "after": lambda c: sealed(c, lambda text: text + payload(c)),
    "before": lambda c: sealed(c, lambda text: payload(c) + text),
    "in a kernel": lambda c: sealed(
        c, lambda text: text.replace('"""\n    ', '"""\n    ' + payload(c) + "    ")
    ),
    "as a default": lambda c: sealed(
        c, lambda text: text.replace("OPTIONS = ", payload(c) + "OPTIONS = ", 1)
    ),
    "with the old hash": lambda c: c.path.read_bytes() + payload(c).encode(),
    "nothing else": lambda c: payload(c).encode(),
    "as a coding": lambda c: b"# coding: utf-7\n" + payload(c).encode("utf-7"),
}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("when", ["before", "between"])
def test_modules(cache, kind, when):
    """Also after it was written, and before its kernels are called; with the old time stamp."""
    whole, times = cache.path.read_bytes(), cache.path.stat()
    text = MODULES[kind](cache)
    assert payload(cache).split("'")[1].encode() in text or kind == "as a coding"
    if when == "between":
        harmless(cache)
        program = cache.program
        sys.modules.pop(f"pwgf_sym_generated.{cache.path.stem}")
        cache.path.write_bytes(text)
        program.__dict__.pop("module")
        program.module  # noqa: B018
    else:
        cache.path.write_bytes(text)
        os.utime(cache.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    harmless(cache)
    assert cache.path.read_bytes() == whole  # a debugger shows what is run
    assert cache.program.code_python().encode() == whole


def compiled_payload(cache, tmp_path, unchecked: bool) -> bytes:
    source = tmp_path / "payload.py"
    source.write_text(payload(cache))
    mode = py_compile.PycInvalidationMode
    chosen = mode.UNCHECKED_HASH if unchecked else mode.TIMESTAMP
    data = Path(py_compile.compile(str(source), invalidation_mode=chosen)).read_bytes()
    if unchecked:
        return data
    times = cache.path.stat()
    words = (int(times.st_mtime).to_bytes(4, "little"), times.st_size.to_bytes(4, "little"))
    return data[:8] + b"".join(words) + data[16:]


@pytest.mark.parametrize("unchecked", [True, False])
@pytest.mark.parametrize("where", ["cache", "beside", "without source"])
def test_bytecode(cache, tmp_path, unchecked, where):
    data = compiled_payload(cache, tmp_path, unchecked)
    target = Path(importlib.util.cache_from_source(str(cache.path)))
    if where != "cache":
        target = cache.path.with_suffix(".pyc")
    if where == "without source":
        cache.path.unlink()
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    harmless(cache)
    assert target.read_bytes() == data


@pytest.mark.parametrize("name", ["numba", "pwgf_sym", "numpy", "sitecustomize", "machine_code"])
def test_modules_of_other_names(cache, name):
    (cache.folder / f"{name}.py").write_text(payload(cache))
    harmless(cache)


@posix
@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe", "dangling"])
def test_what_is_no_file(cache, tmp_path, kind):
    """Nothing is written through a link, and no pipe is waited for."""
    other = tmp_path / "other"
    other.write_text(payload(cache))
    cache.path.unlink()
    if kind == "symlink":
        cache.path.symlink_to(other)
    elif kind == "hard link":
        os.link(other, cache.path)
    elif kind == "pipe":
        os.mkfifo(cache.path)
    else:
        cache.path.symlink_to(tmp_path / "new")
    harmless(cache)
    assert other.read_text() == payload(cache) and not (tmp_path / "new").exists()


# -- machine code ---------------------------------------------------------------------------------


def test_a_payload_would_run(cache):
    """Sealed with the user's key it does; so what else is tried below reaches what it should."""
    cache.plant_code()
    np.testing.assert_array_equal(cache.run(), cache.expected)  # and is compiled anew
    assert cache.mark.exists()


@pytest.mark.parametrize("given", [True, False], ids=["folder", "variable"])
@pytest.mark.parametrize("key", [b"", bytes(32), b"k" * 32])
def test_a_payload_without_the_users_key(cache, key, given):
    """As in an archive or a clone that the user has unpacked: all of it is the user's own."""
    cache.plant_code(key or os.urandom(32))
    cache.given = cache.folder if given else None
    harmless(cache)
    harmless(cache)


@pytest.mark.parametrize(
    "kind", ["none", "in the folder", *(["of a clone"] * (os.name == "posix"))]
)
def test_a_folder_that_comes_with_a_key(cache, tmp_path, monkeypatch, kind):
    """A key beside a project is not looked at, nor one that others can read."""
    cache.plant_code(b"k" * 32)
    planted = cache.folder / NAME
    planted.unlink()
    if kind != "none":
        planted.write_bytes(b"k" * 32)
        planted.chmod(0o644 if kind == "of a clone" else 0o600)
    if kind == "in the folder":
        cache.given = cache.folder
        monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "own"))
    harmless(cache)
    made = (tmp_path / "own" if cache.given else cache.folder) / NAME
    assert made.stat().st_mode & 0o777 == 0o600 or os.name != "posix"
    assert made.read_bytes() != b"k" * 32
    harmless(cache)


def test_a_copied_folder(cache, compiled, tmp_path, monkeypatch):
    """It is compiled anew where the key is another one, and kept there."""
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "own"))
    cache.given = cache.folder
    harmless(cache)
    assert cache.program.cache_statistics()["loaded"] == 0
    harmless(cache)
    assert cache.program.cache_statistics()["compiled"] == 0


def test_pickles_without_a_checksum(cache):
    for path in [*cache.files(".nbi"), *cache.files(".nbc")]:
        path.write_bytes(cache.pickled)
    harmless(cache)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_pickles_of_one_kind(cache, suffix):
    for path in cache.files(suffix):
        path.write_bytes(cache.pickled)
    harmless(cache)


@pytest.mark.parametrize("variable", [True, False])
def test_numbas_own_cache(cache, tmp_path, monkeypatch, variable):
    """Files as Numba writes them, where it would look for them; it is not asked."""
    import numba

    folder = cache.folder / "__pycache__"
    if variable:
        monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "numba"))
        name = numba.core.caching._CacheLocator.get_suitable_cache_subpath(str(cache.path))
        folder = tmp_path / "numba" / name
    folder.mkdir(parents=True)
    for index in cache.files(".nbi"):
        (folder / index.name).write_bytes(pickle.dumps(numba.__version__) + cache.pickled)
    shutil.rmtree(cache.code)
    harmless(cache)


def give_file(cache, files):
    cache.give_away(files[1])


def link_folder(cache, files):
    shutil.move(cache.code, cache.folder.parent / "far")
    cache.code.symlink_to(cache.folder.parent / "far")
    cache.give_away(cache.code, cache.folder.parent / "far")


def link_files(cache, files):
    for path in files[1::2]:
        shutil.move(path, cache.folder.parent / path.name)
        path.symlink_to(cache.folder.parent / path.name)


def link_cache(cache, files):
    shutil.move(cache.folder, cache.folder.parent / "far")
    cache.folder.symlink_to(cache.folder.parent / "far")
    cache.give_away(cache.folder)


# What a stranger could do to planted files, and what the warning says, if there is one.
PLACES = {
    "data of another": (lambda c, files: c.give_away(*files[1::2]), "", True),
    "indices of another": (lambda c, files: c.give_away(*files[::2]), "", True),
    "all of another": (lambda c, files: c.give_away(*files), "", True),
    "folder of another": (lambda c, files: c.give_away(c.code), "belongs to user 54321", True),
    "cache of another": (lambda c, files: c.give_away(c.folder), "belongs to user 54321", True),
    "folder behind a link": (link_folder, "belongs to user 54321", True),
    "cache behind a link": (link_cache, "belongs to user 54321", True),
    "data behind links": (link_files, "", False),
    "data open to all": (lambda c, files: [p.chmod(0o666) for p in files[1::2]], "", False),
    "data open to the group": (lambda c, files: [p.chmod(0o660) for p in files[1::2]], "", False),
    "indices open to all": (lambda c, files: [p.chmod(0o602) for p in files[::2]], "", False),
    "folder open to all": (lambda c, files: c.code.chmod(0o777), "others can write", False),
    "folder open to the group": (lambda c, files: c.code.chmod(0o770), "others can write", False),
    "cache open to all": (lambda c, files: c.folder.chmod(0o777), "chmod 700", False),
    "cache like /tmp": (lambda c, files: c.folder.chmod(0o1777), "chmod 700", False),
    "cache open to the group": (lambda c, files: c.folder.chmod(0o775), "chmod 700", False),
}


@posix
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("given", [True, False], ids=["folder", "variable"])
def test_machine_code(cache, place, given):
    change, warned, needs_root = PLACES[place]
    if needs_root and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    change(cache, cache.plant_code())
    cache.given = cache.folder if given else None
    harmless(cache, warned)
    harmless(cache, warned)


@posix
def test_what_is_not_used_is_said_once(cache):
    cache.folder.chmod(0o777)
    harmless(cache, "chmod 700")
    with pytest.warns() as caught:
        cache.run()
        ps.compile(cache.problem, cache.flow)
    assert len(caught) == 1
    assert cache.program.path.parent != cache.folder


# -- stored points ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seal_it", [True, False])
def test_points(tmp_path, monkeypatch, seal_it):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "cache"))
    law, mark = UniformBox([0.0, 0.0], 1.0), tmp_path / "mark"
    expected = draw(law, 16, seed=3, keep=True)
    (path,) = (tmp_path / "cache").glob("sobol_*.npy")
    planted = np.empty((16, 2), object)
    planted[:] = Payload(mark)
    buffer = io.BytesIO()
    np.save(buffer, planted, allow_pickle=True)
    data = buffer.getvalue()
    if seal_it:
        data += _content(path.name, np.zeros((16, 2)))[-32:]
        monkeypatch.setattr("pwgf_sym.solver.sampling.hashlib.sha256", lambda _: Same(data[-32:]))
    path.write_bytes(data)
    np.testing.assert_array_equal(draw(law, 16, seed=3, keep=True), expected)
    assert not mark.exists()


class Same:
    """A checksum that somebody has met."""

    def __init__(self, value):
        self.value = value

    def digest(self):
        return self.value


@root
def test_points_of_another(tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "cache"))
    law = UniformBox([0.0, 0.0], 1.0)
    expected = draw(law, 16, seed=3, keep=True)
    (path,) = (tmp_path / "cache").glob("sobol_*.npy")
    path.write_bytes(_content(path.name, np.full((16, 2), 0.5)))
    os.chown(path, 54321, 54321)
    np.testing.assert_array_equal(draw(law, 16, seed=3, keep=True), expected)
