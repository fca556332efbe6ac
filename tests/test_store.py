"""Generated modules on disk: named by content, written whole or not at all, run from the text."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sample_energies import ENERGIES

from pwgf_sym import files
from pwgf_sym.declare.maps import Affine
from pwgf_sym.errors import CacheError, CacheWarning, PwgfError
from pwgf_sym.files import cache_folder
from pwgf_sym.printers import cuda as cuda_printer
from pwgf_sym.printers.cpu import RUNTIME
from pwgf_sym.targets import store
from pwgf_sym.targets.program import compile_program
from pwgf_sym.targets.store import content_hash, load_module, seal, write_module

ROOT = Path(store.__file__).resolve().parents[2]
TEXT = '"""A module with ∫ in it.\n\ncontent: {content}\n"""\n\nVALUE = 7\n'


def test_same_text_same_path(tmp_path):
    path = write_module(TEXT, "module", tmp_path)
    written = path.stat().st_mtime_ns
    assert path.parent == tmp_path and path.name == f"module_{content_hash(TEXT)}.py"
    assert write_module(TEXT, "module", tmp_path) == path
    assert path.stat().st_mtime_ns == written  # left alone: Numba's cache looks at the time
    assert write_module(TEXT.replace("7", "8"), "module", tmp_path) != path
    assert load_module(path, TEXT).VALUE == 7
    assert load_module(path, TEXT) is load_module(path, TEXT)
    with pytest.raises(CacheError, match="another text"):
        load_module(path.with_stem("module_0123456789abcdef"), TEXT)
    assert path.read_text(encoding="utf-8") == seal(TEXT)
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]


@pytest.mark.parametrize("kind, runtime", [("cpu", RUNTIME), ("cuda", cuda_printer.RUNTIME)])
def test_the_runtime_is_part_of_the_name(kind, runtime, monkeypatch):
    """Its functions are inlined into cached machine code: another runtime needs other modules."""
    text = "from pwgf_sym.runtime.cuda.toolkit import cuda\n" * (kind == "cuda") + TEXT
    before = content_hash(text)
    others = {"cpu": store._runtime_text("cpu"), "cuda": store._runtime_text("cuda")}
    monkeypatch.setattr(store, "_runtime_text", (others | {kind: b"another"}).__getitem__)
    assert content_hash(text) != before
    monkeypatch.undo()
    folder = Path(store.__file__).parents[1] / "runtime" / kind
    assert all((folder / f"{name}.py").exists() for name in runtime)
    whole = store._runtime_text(kind)
    assert all(path.read_bytes() in whole for path in folder.glob("*.py"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b.replace(b"VALUE = 7", b"VALUE = 8"),
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b + b"\nimport os\n",
        lambda b: b"\xff\xfe" + b,
        lambda b: b.replace(b"content: ", b"contents "),
        lambda b: b.replace(b"\n", b"\r\n"),
    ],
    ids=["changed", "half", "empty", "longer", "no text", "no hash", "line ends"],
)
def test_damaged_files(tmp_path, damage):
    """Never run; written anew when the same module is generated or run again."""
    text = TEXT + f"# {tmp_path.name}\n"  # modules are run once a process
    path = write_module(text, "module", tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert write_module(text, "module", tmp_path) == path and path.read_bytes() == whole
    path.write_bytes(damage(whole))
    assert load_module(path, text).VALUE == 7 and path.read_bytes() == whole


def test_a_module_that_fails_is_not_kept(tmp_path):
    text = TEXT + "raise RuntimeError('first')\n"
    path = write_module(text, "module", tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="first"):
            load_module(path, text)


def test_folders_that_cannot_be_written(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(CacheError, match="PWGF_SYM_CACHE"):
        write_module(TEXT, "module", blocked)
    with pytest.raises(CacheError, match="can be written"):
        write_module(TEXT, "module", blocked / "below")
    problem = ENERGIES["porous medium 2"].problem()
    with pytest.raises(CacheError):
        compile_program(problem, Affine(2), folder=blocked)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_read_only_folder(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(CacheError):
        write_module(TEXT, "module", folder)


def test_where_modules_go(monkeypatch, tmp_path):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert write_module(TEXT, "module").parent == tmp_path / "own"
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700 or os.name != "posix"
    monkeypatch.delenv("PWGF_SYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "pwgf_sym"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "pwgf_sym"


@pytest.fixture
def unsaid(monkeypatch):
    """Nothing was said in this process."""
    monkeypatch.setattr(files, "_said", set())
    monkeypatch.setattr(files, "_temporary", [])


@pytest.mark.parametrize("variable", [True, False])
def test_no_home_folder(monkeypatch, tmp_path, unsaid, variable):
    """A temporary folder, which is said once; a variable that cannot be met is refused."""

    def lost(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", lost)
    monkeypatch.setattr(Path, "expanduser", lost)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("PWGF_SYM_CACHE", "~nobody/here" if variable else "")
    if variable:
        with pytest.raises(CacheError, match="PWGF_SYM_CACHE"):
            write_module(TEXT, "module")
        return
    with pytest.raises(CacheError, match="PWGF_SYM_CACHE"):
        cache_folder()
    with pytest.warns(CacheWarning, match="home.*PWGF_SYM_CACHE"):
        path = write_module(TEXT, "module")
    assert write_module(TEXT, "module") == path  # without a second warning
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 or os.name != "posix"
    assert load_module(path, TEXT).VALUE == 7


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_at_home(monkeypatch, tmp_path, unsaid, error):
    monkeypatch.delenv("PWGF_SYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fsync = os.fsync

    def full(handle):
        if any(tmp_path.rglob("*.tmp")):
            raise OSError(error, os.strerror(error))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(CacheWarning, match="cannot be written"):
        path = write_module(TEXT, "module")
    assert tmp_path not in path.parents and path.read_bytes() == seal(TEXT).encode()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path))
    with pytest.raises(CacheError, match="PWGF_SYM_CACHE"):
        write_module(TEXT, "module")


def test_a_folder_that_is_no_path(tmp_path):
    problem = ENERGIES["porous medium 2"].problem()
    with pytest.raises(PwgfError, match="folder"):
        compile_program(problem, Affine(2), folder=7)
    with pytest.raises(PwgfError, match="folder"):
        compile_program(problem, Affine(2), folder="a\0b")


LONG = TEXT + "# much more text\n" * 20_000
WRITER = """
import os, sys, time
from pathlib import Path
from pwgf_sym.targets.store import content_hash, seal, write_module
folder, text = Path(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8")
path, whole = folder / f"module_{content_hash(text)}.py", seal(text).encode()
print("ready", flush=True)
sys.stdin.readline()
for turn in range(20):
    if turn % 4 == int(sys.argv[3]) % 4:  # damage, as a crash would leave it
        half = folder / f"half_{os.getpid()}"
        half.write_bytes(whole[:1000])
        os.replace(half, path)
    assert write_module(text, "module", folder) == path
    assert path.read_bytes() in (whole, whole[:1000])  # never something half written
assert "numba" not in sys.modules
"""


def test_many_processes_write_at_once(tmp_path):
    """While files are also damaged: no error, and one whole file in the end."""
    folder, text = tmp_path / "modules", tmp_path / "text"
    folder.mkdir()
    text.write_text(LONG, encoding="utf-8")
    command = [sys.executable, "-c", WRITER, str(folder), str(text)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([*command, str(k)], env=environment, **pipes) for k in range(8)]
    assert [w.stdout.readline().strip() for w in writers] == ["ready"] * 8
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
    assert [w.returncode for w in writers] == [0] * 8
    path = write_module(LONG, "module", folder)
    assert list(folder.iterdir()) == [path]
    assert path.read_bytes() == seal(LONG).encode()


AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from pwgf_sym.targets.program import compile_program
from pwgf_sym.declare.maps import Affine
from pwgf_sym.printers.cpu import RUNTIME
from sample_energies import ENERGIES
program = compile_program(ENERGIES["porous medium 2"].problem(), Affine(2))
samples = program.samples(np.zeros((3, 2)))
state = program.push(np.array([1.0, 0, 0, 1, 0, 0]), samples, "log_density")
program.integrals(state)
print(program.path, *program.cache_statistics().values())
"""


def test_a_second_process_compiles_nothing(tmp_path):
    environment = os.environ | {"PWGF_SYM_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AGAIN, str(Path(__file__).parent)]
    found = []
    for _ in range(2):
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        found.append(run.stdout.split())
    (path, compiled, loaded), (again, *none) = found
    assert path == again and Path(path).parent == tmp_path
    assert int(compiled) > 0 and int(loaded) == 0
    assert none[0] == "0" and int(none[1]) > 0
