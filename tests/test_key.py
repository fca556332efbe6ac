"""The user's key: made once, whoever asks first, and renewed where it is none."""

import errno
import os
import subprocess
import sys
import threading
import warnings

import pytest

from pwgf_sym import files
from pwgf_sym.errors import CacheWarning
from pwgf_sym.targets import key, machine_code
from pwgf_sym.targets.key import NAME, SIZE, users_key
from pwgf_sym.targets.store import load_module, write_module

TEXT = '''"""A module.

content: {content}
"""

from numba import njit

OPTIONS = {"cache": True}


@njit(**OPTIONS)
def fourfold(x):
    return 4 * x
'''
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(files, "_said", set())
    return tmp_path / "own"


def used(*arguments: int, folder=None) -> tuple[int, int]:
    """Signatures that were compiled, and that came from the disk, in what is like a new process."""
    path = write_module(TEXT, "keyed", folder)
    sys.modules.pop(f"pwgf_sym_generated.{path.stem}", None)
    function = load_module(path, TEXT).fourfold
    for argument in arguments or (3,):
        assert function(argument) == 4 * argument
    stats = function.stats
    return sum(stats.cache_misses.values()), sum(stats.cache_hits.values())


def contents(folder) -> dict:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_made_once(own):
    first = users_key(own)
    assert len(first) == SIZE and users_key(own) == first == (own / NAME).read_bytes()
    assert [p.name for p in own.iterdir()] == [NAME]
    if os.name == "posix":
        assert (own / NAME).stat().st_mode & 0o777 == 0o600


def test_threads_share_it(own):
    start, found = threading.Barrier(16), []

    def ask():
        start.wait()
        found.append(users_key(own))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16 and len(set(found)) == 1 and found[0]
    assert [p.name for p in own.iterdir()] == [NAME]


def test_processes_share_it(own):
    code = "import sys; from pwgf_sym.targets.key import users_key; sys.stdin.read()"
    code += "; print(users_key('here').hex())"
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
        for _ in range(6)
    ]
    for child in children:
        child.stdin.close()
    found = set()
    for child in children:
        with child.stdout as output:
            found.add(output.read().strip())
        assert child.wait() == 0
    assert found == {(own / NAME).read_bytes().hex()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks of POSIX")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_a_fork_finds_what_its_parent_has_compiled(own):
    assert used() == (1, 0)
    child = os.fork()
    if child == 0:
        os._exit(0 if used() == (0, 1) else 1)
    assert os.waitpid(child, 0)[1] == 0


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def link(path):
    path.rename(path.with_name("far"))
    path.symlink_to(path.with_name("far"))


DAMAGES = {
    "removed": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(path.read_bytes()[1:]),
    "long": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "of others too": lambda path: path.chmod(0o640),
    "for all": lambda path: path.chmod(0o604),
    "closed": lambda path: path.chmod(0o020),
    "pipe": pipe,
    "link": link,
}


@posix
@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_no_key_is_replaced(own, kind):
    used()
    before = users_key(own)
    DAMAGES[kind](own / NAME)
    assert used() == (1, 0)
    assert len(users_key(own)) == SIZE and users_key(own) != before
    assert used() == (0, 1)
    assert not list(own.rglob("*.tmp"))


def no_place(own, monkeypatch):
    (own / NAME).mkdir(parents=True)


def no_folder(own, monkeypatch):
    own.write_text("")


def no_space(own, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)


def open_to_all(own, monkeypatch):
    own.mkdir()
    own.chmod(0o777)


@posix
@pytest.mark.parametrize("kind", [no_place, no_folder, no_space, open_to_all])
def test_without_a_key_nothing_is_kept(own, tmp_path, monkeypatch, kind):
    """Said once; the module that is there runs."""
    write_module(TEXT, "keyed", tmp_path / "project")
    kind(own, monkeypatch)
    with pytest.warns(CacheWarning, match="cannot hold its key") as caught:
        for _ in range(2):
            assert used(folder=tmp_path / "project") == (1, 0)
    assert len(caught) == 1
    assert not list((tmp_path / "project").rglob("*.nb?"))
    assert not list(tmp_path.rglob("*.tmp"))


# -- files that cannot be read for now -------------------------------------------------------------


def refuse(error, suffix):
    """What reads files of a suffix fails."""
    read = files.read_own

    def failing(path, *given, **options):
        if path.name.endswith(suffix):
            raise error
        return read(path, *given, **options)

    return failing


PASSING = [MemoryError(), *(OSError(n, os.strerror(n)) for n in (errno.EMFILE, errno.EIO))]


@pytest.mark.parametrize("error", PASSING, ids=repr)
@pytest.mark.parametrize("suffix", [".nbi", ".nbc", NAME])
def test_what_cannot_be_read_for_now_stays(own, monkeypatch, error, suffix):
    assert used(3, 2.5) == (2, 0)
    before = contents(own)
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        for module in (key, machine_code):
            patch.setattr(module, "read_own", refuse(error, suffix))
        assert used(3) == (1, 0)
    if suffix == ".nbc":  # what was compiled is written anew, and nothing else
        assert len(before.items() - contents(own).items()) <= 2
    else:
        assert contents(own) == before
    assert used(3, 2.5) == (0, 2)


def test_what_fails_in_numba_stays(own, monkeypatch):
    """As memory that ends while machine code is put together."""
    assert used(3, 2.5) == (2, 0)

    def fail(data):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(machine_code.pickle, "loads", fail)
        assert used(3) == (1, 0)
    assert used(3, 2.5) == (0, 2)


def test_what_lies_elsewhere_is_not_the_function(own):
    """Whole files of one function in the place of another's: all are sealed with one key."""
    text = TEXT.replace("4 *", "5 *")
    used()
    path = write_module(text, "keyed")
    for file in (own / machine_code.FOLDER).iterdir():
        other = file.name.replace(write_module(TEXT, "keyed").stem, path.stem)
        (file.parent / other).write_bytes(file.read_bytes())
        (file.parent / other).chmod(0o600)
    assert load_module(path, text).fourfold(3) == 15
