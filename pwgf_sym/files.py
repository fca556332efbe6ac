"""Files that are written whole or not at all, and files that can only be the user's own.

Machine code runs as it is read.  So nothing is read from a folder, or from a file, that somebody
else could have written; kernels are then compiled anew, and that is said once.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .errors import CacheError, CacheWarning, warn

__all__ = ["VARIABLE", "cache_folder", "exposed", "given_folder", "instead", "make_private"]
__all__ += ["own_folder", "read_own", "read_regular", "warn_once", "write_atomically"]

VARIABLE = "PWGF_SYM_CACHE"
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # pipes do not wait
_WRITE = stat.S_IWGRP | stat.S_IWOTH
_said: set[str] = set()


def given_folder() -> bool:
    """Whether the user has chosen a folder by ``PWGF_SYM_CACHE``."""
    return bool(os.environ.get(VARIABLE))


def cache_folder() -> Path:
    """Folder of generated modules: ``PWGF_SYM_CACHE``, else pwgf_sym in the user's cache folder.

    Raises
    ------
    CacheError
        Where the user has no home folder, and no variable says where to go.
    """
    given = os.environ.get(VARIABLE)
    try:
        if given:
            return Path(given).expanduser()
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:  # of pathlib: no such home
        raise _refused(given or "no home folder", error) from error
    return Path(base) / "pwgf_sym"


def _refused(folder: object, error: object) -> CacheError:
    accepted = "a folder that can be written"
    return CacheError("cache folder", f"{folder} ({error})", accepted, f"Set {VARIABLE} to one.")


def warn_once(subject: str, text: str) -> None:
    """Warn of something about a folder, once a process."""
    if subject not in _said:
        _said.add(subject)
        warn(text, CacheWarning)


def exposed(folder: Path) -> str:
    """Why somebody else could have written what is in a folder; empty where nobody could.

    Systems without users of POSIX keep a user's folders to the user: nothing is asked there.
    """
    if not hasattr(os, "geteuid"):
        return ""
    try:
        link, found = os.lstat(folder), os.stat(folder)
    except OSError as error:
        return f"{error}. Set {VARIABLE} to a folder of your own"
    user = os.geteuid()
    if found.st_uid != user or link.st_uid not in (user, 0):
        owner = found.st_uid if found.st_uid != user else link.st_uid
        return f"it belongs to user {owner}. Set {VARIABLE} to a folder of your own"
    if found.st_mode & _WRITE:
        return f'others can write to it. Look at what is in it, then "chmod 700 {folder}"'
    return ""


def make_private(folder: Path) -> None:
    """Make a folder for the user alone, unless it is there; folders above it as usual.

    Raises
    ------
    OSError
        When it cannot be made, or is no folder.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(0o700)
    except FileExistsError:  # another process was first, or it is a file
        if not folder.is_dir():
            raise


def own_folder() -> Path:
    """The cache folder, made if need be; a temporary one where it cannot be used.

    Raises
    ------
    CacheError
        When ``PWGF_SYM_CACHE`` names a folder that cannot be made.
    """
    try:
        folder = cache_folder()
        make_private(folder)
    except (OSError, ValueError) as error:  # also our own error: there is no home folder
        if given_folder():
            raise error if isinstance(error, CacheError) else _refused(folder, error) from error
        why = error.given if isinstance(error, CacheError) else error
        return instead("~", f"The user's cache folder cannot be used: {why}.")
    reason = exposed(folder)
    if reason:
        return instead(str(folder), f"The cache folder {folder} is not used: {reason}.")
    return folder


_temporary: list[Path] = []


def instead(subject: str, why: str) -> Path:
    """A folder for this process alone, and a warning that says why, once.

    Raises
    ------
    CacheError
        When there is no place for one.
    """
    found = [folder for folder in _temporary if folder.is_dir()]
    if not found:
        try:
            folder = Path(tempfile.mkdtemp(prefix="pwgf_sym_"))
        except OSError as error:
            raise _refused(tempfile.gettempprefix(), f"{why}; {error}") from error
        _temporary[:] = found = [folder]
        atexit.register(_remove, folder, os.getpid())
    more = f"Kernels are compiled anew in every process; set {VARIABLE} to a folder that is kept."
    warn_once(subject, f"{why} {more}")
    return found[0]


def _remove(folder: Path, process: int) -> None:
    if process == os.getpid():  # and not a child's, which has inherited the name
        shutil.rmtree(folder, ignore_errors=True)


def read_regular(
    path: Path, most: int | None = None, *, own: bool = False, others: int = _WRITE
) -> bytes:
    """Contents of a file that is a file: a pipe in its place is not waited for.

    Parameters
    ----------
    path : path
    most : int, optional
        Bytes that are read at most.
    own : bool
        Whether the file must be the user's own, no link, and such that nobody else can write it.
    others : int
        Permissions that nobody else may have on a file of the user's own.

    Raises
    ------
    OSError
        When it cannot be read, or is not what is asked for.
    """
    handle = os.open(path, _OPEN | (getattr(os, "O_NOFOLLOW", 0) if own else 0))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no file")
        users = hasattr(os, "geteuid")
        if own and users and (found.st_uid != os.geteuid() or found.st_mode & others):
            raise PermissionError(f"{path} is not the user's alone")
        with open(handle, "rb", closefd=False) as file:
            return file.read() if most is None else file.read(most)
    finally:
        os.close(handle)


def read_own(path: Path, most: int | None = None, *, others: int = _WRITE) -> bytes:
    """Contents of a file that only the user can have written; see :func:`read_regular`."""
    return read_regular(path, most, own=True, others=others)


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], *, follow: bool = True, mode: int = 0o666
) -> None:
    """Write a file beside its place and move it there when it is whole; makes the folder.

    Parameters
    ----------
    path : path
    write : callable
        Writes to the open binary file.
    follow : bool
        Whether a symbolic link in the file's place stays, and its target is written; and whether a
        file that is there keeps its permissions.  Otherwise what is there is replaced.
    mode : int
        Permissions of a new file, of which the umask takes away.

    Raises
    ------
    OSError
        When the folder cannot be written; nothing is left behind.
    """
    path = Path(os.path.realpath(path)) if follow else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_mode if follow and path.exists() else None
    if before is not None and not stat.S_ISREG(before):  # a pipe or a device takes what it is given
        with path.open("wb") as file:
            write(file)
        return
    # The name is known before the file is there: no interruption leaves it behind.
    temporary = path.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            os.chmod(temporary, stat.S_IMODE(before))
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
