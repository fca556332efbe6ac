"""The user's key, with which machine code on disk is sealed.

Whose a file is does not say who wrote it: what comes by an archive, a clone or a copy is the
user's own.  So machine code carries a seal that only a process can make which reads the user's
key.  The key lies in the user's own cache folder, and never beside a project.
"""

from __future__ import annotations

import errno
import hmac
import os
from contextlib import suppress
from pathlib import Path

from ..errors import CacheError
from ..files import cache_folder, exposed, given_folder, make_private, read_own, warn_once

__all__ = ["NAME", "SIZE", "seal_of", "users_key"]

NAME, SIZE = "machine_code.key", 32
_OTHERS = 0o077  # who can read it can seal
# What says nothing of the file: there are no handles, there is no memory, a device is away.
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


def passing(error: Exception) -> bool:
    """Whether reading failed for a reason that says nothing of the file, which may be whole."""
    return isinstance(error, MemoryError) or getattr(error, "errno", None) in _PASSING


def seal_of(key: bytes, data: bytes) -> str:
    """What only those can write who have the key."""
    return hmac.digest(key, data, "sha256").hex()


def users_key(wanted: Path) -> bytes | None:
    """The user's key, made if there is none; None, and a warning, where none can be kept.

    It is read anew each time, which takes microseconds: all threads and processes have that of the
    file, also after it was removed.

    Parameters
    ----------
    wanted : path
        Where machine code is to be kept, for the warning.
    """
    subject = "~"
    try:
        folder = cache_folder()
        subject = str(folder) if given_folder() else subject
        make_private(folder)
        reason = exposed(folder)
        if reason:
            subject = str(folder)
        else:
            return _read(folder / NAME) or _made(folder / NAME)
    except (OSError, ValueError, MemoryError) as error:
        reason = error.given if isinstance(error, CacheError) else str(error)
    text = f"No machine code is kept in {wanted}, kernels are compiled in every process"
    warn_once(subject, f"{text}: the cache folder cannot hold its key: {reason}.")
    return None


def _read(path: Path) -> bytes | None:
    """The key, or None where there is none, or one that somebody else could have read or made."""
    try:
        key = read_own(path, SIZE + 1, others=_OTHERS)
    except (OSError, ValueError) as error:
        if passing(error):
            raise
        return None
    return key if len(key) == SIZE else None


def _made(path: Path) -> bytes:
    """A new key, or that of a process which was first; in place of what is no key."""
    from ..files import write_atomically

    new, key = path.with_name(f".{os.urandom(8).hex()}.tmp"), os.urandom(SIZE)
    write_atomically(new, lambda file: file.write(key), follow=False, mode=0o600)
    try:
        try:
            os.link(new, path)
        except OSError:  # there is something, or a system without links
            other = _read(path)
            if other is not None:
                return other
            os.replace(new, path)
    finally:
        with suppress(OSError):
            os.unlink(new)
    found = _read(path)
    if found is None:
        raise OSError(f"{path} is not what was written")
    return found
