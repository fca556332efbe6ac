"""Files are written whole or not at all, with the permissions that ``open`` would give them."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pwgf_sym.files import write_atomically

ROOT = Path(__file__).resolve().parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@posix
@pytest.mark.parametrize("mask, expected", [(0o027, 0o640), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_decides(tmp_path, umask, mask, expected):
    umask(mask)
    write_atomically(tmp_path / "a", lambda file: file.write(b"1"))
    assert mode(tmp_path / "a") == expected
    umask(0)
    write_atomically(tmp_path / "b", lambda file: file.write(b"1"), follow=False, mode=0o600)
    assert mode(tmp_path / "b") == 0o600


@posix
def test_a_file_keeps_its_permissions(tmp_path, umask):
    (tmp_path / "a").write_bytes(b"0")
    (tmp_path / "a").chmod(0o604)
    write_atomically(tmp_path / "a", lambda file: file.write(b"1"))
    assert mode(tmp_path / "a") == 0o604 and (tmp_path / "a").read_bytes() == b"1"


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays(tmp_path, there):
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"0")
    link.symlink_to(Path("far") / "target")
    write_atomically(link, lambda file: file.write(b"1"))
    assert link.is_symlink() and target.read_bytes() == b"1"
    write_atomically(link, lambda file: file.write(b"2"), follow=False)  # a stranger's, perhaps
    assert not link.is_symlink() and target.read_bytes() == b"1" and link.read_bytes() == b"2"


@posix
def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", lambda file: file.write(b"through"))
    assert os.read(reader, 100) == b"through"
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
    os.close(reader)
    with pytest.raises(OSError):
        write_atomically(tmp_path, lambda file: file.write(b"1"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left")])
@pytest.mark.parametrize("follow", [True, False])
def test_nothing_is_left_behind(tmp_path, error, follow):
    (tmp_path / "a").write_bytes(b"before")

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(error if isinstance(error, type) else OSError):
        write_atomically(tmp_path / "a", write, follow=follow)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"


FULL = """
import resource, signal, sys
from pathlib import Path
from pwgf_sym.files import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), lambda file: file.write(bytes(5000)))
except OSError:
    print("refused")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="limits of POSIX")
def test_a_full_disk_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path / "a")]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert done.stdout == "refused\n", done.stderr
    assert not list(tmp_path.iterdir())
