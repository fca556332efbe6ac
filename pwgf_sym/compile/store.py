"""Generated modules on disk: named by their content, written atomically, loaded when intact.

The name of a module holds a hash of its text and of the runtime that it calls, so that Numba's
cache, which looks at the caller's file only, can never serve code compiled against another text.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

from ..errors import CacheError
from .swiftly import compile_swiftly

__all__ = ["cache_folder", "content_hash", "load_module", "seal"]
__all__ += ["write_atomically", "write_module"]

_MARK = "{content}"
# What machine code is made of beside a module's own text, by whether the module is for GPUs.
_RUNTIME_FILES = {
    False: (
        *("tile_arrays.py", "tile_shapes.py", "tile_types.py", "tiles.py"),
        *("vector_exponential.py", "vector_lanes.py", "vector_logarithm.py", "vector_math.py"),
        *("vector_power.py", "vector_special.py", "vector_trigonometry.py"),
    ),
    True: (
        *("cuda/blocks.py", "cuda/contractions.py", "cuda/staging.py", "cuda/sums.py"),
        *("cuda/toolkit.py", "cuda/wide.py"),
        "../emit/cuda/schedule.py",  # distances in shared memory
    ),
}


def cache_folder() -> Path:
    """Folder of generated modules: ``PWGF_SYM_CACHE``, else pwgf_sym in the user's cache folder."""
    given = os.environ.get("PWGF_SYM_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pwgf_sym"


@lru_cache(maxsize=2)
def _runtime_text(cuda: bool) -> bytes:
    folder = Path(__file__).parent
    return b"".join((folder / name).read_bytes() for name in _RUNTIME_FILES[cuda])


def content_hash(text: str) -> str:
    """Hash of a module's text (with the mark in place of the hash) and of the runtime."""
    digest = hashlib.sha256(_runtime_text("from pwgf_sym.compile.cuda." in text))
    digest.update(text.encode())
    return digest.hexdigest()[:16]


def seal(text: str) -> str:
    """The text with its hash in place of the mark."""
    return text.replace(_MARK, content_hash(text), 1)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")  # garbage is not intact, either


def _is_intact(sealed: str) -> bool:
    found = re.search(r"^content: ([0-9a-f]{16})$", sealed, re.MULTILINE)
    if not found:
        return False
    original = sealed[: found.start(1)] + _MARK + sealed[found.end(1) :]
    return content_hash(original) == found.group(1)


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], *, private: bool = False
) -> None:
    """Write a file beside its place and move it there when it is whole; makes the folder.

    Parameters
    ----------
    path : path
        A symbolic link stays, and its target is written.
    write : callable
        Writes to the open binary file.
    private : bool
        Whether only the user may read the file, and a link in its place is replaced; by default
        permissions are those of ``open``: what the umask leaves, or those of the file before.

    Raises
    ------
    OSError
        When the folder cannot be written; nothing is left behind.
    """
    path = Path(path) if private else Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    before = None if private or not path.exists() else path.stat().st_mode
    if before is not None and not stat.S_ISREG(before):  # a pipe or a device takes what it is given
        with path.open("wb") as file:
            write(file)
        return
    # The name is known before the file is there: no interruption leaves it behind.
    temporary = path.with_name(f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=_private if private else None) as file:
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_module(text: str, name: str, folder: Path | None = None) -> Path:
    """Write a generated module under ``name_<hash>.py``; an intact one is left alone.

    Raises
    ------
    CacheError
        When the folder cannot be written.
    """
    folder = folder or cache_folder()
    path = folder / f"{name}_{content_hash(text)}.py"
    try:
        if path.exists() and _is_intact(_read(path)):
            return path
        write_atomically(path, lambda file: file.write(seal(text).encode()))
    except OSError as error:
        raise CacheError(
            "cache folder",
            f"{folder} ({error})",
            "a folder that can be written",
            "Set PWGF_SYM_CACHE to one.",
        ) from error
    return path


def load_module(path: Path) -> ModuleType:
    """Import a generated module by path, once a process.

    Raises
    ------
    CacheError
        When the file's content does not match the hash that it states.
    """
    name = f"pwgf_sym_generated.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    if not _is_intact(_read(path)):
        raise CacheError(
            str(path),
            "a text that does not match its hash",
            "a generated module as it was written",
            "Delete the file; it will be generated again.",
        )  # fmt: skip
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        compile_swiftly(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
