"""Generated modules: named by their content, written atomically, run from the text itself.

The name of a module holds a hash of its text and of the runtime that it calls.  What is compiled is
the text that the emitter has written in this process; the file is there to be read, by people and
by their debuggers, and is written anew where it says something else.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from threading import Lock
from types import ModuleType

from ..errors import CacheError
from ..files import VARIABLE, given_folder, instead, own_folder, read_regular, write_atomically
from .machine_code import keep_machine_code, require_compiler
from .swiftly import compile_swiftly

__all__ = ["content_hash", "load_module", "seal", "write_module"]

_MARK = "{content}"


@lru_cache(maxsize=2)
def _runtime_text(target: str) -> bytes:
    """What machine code is made of beside a module's own text: the runtime of its target."""
    folder = files(__package__.partition(".")[0]).joinpath("runtime", target)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".py"))
    return b"".join(source(f"runtime/{target}/{name}") for name in names)


def source(name: str) -> bytes:
    """A source file of the package by its path there, also where the package is in a zip file."""
    package = files(__package__.partition(".")[0])
    return package.joinpath(*posixpath.normpath(name).split("/")).read_bytes()


def content_hash(text: str) -> str:
    """Hash of a module's text (with the mark in place of the hash) and of the runtime."""
    target = "cuda" if "from pwgf_sym.runtime.cuda." in text else "cpu"
    digest = hashlib.sha256(_runtime_text(target))
    digest.update(text.encode())
    return digest.hexdigest()[:16]


def seal(text: str) -> str:
    """The text with its hash in place of the mark."""
    return text.replace(_MARK, content_hash(text), 1)


def write_module(text: str, name: str, folder: Path | None = None) -> Path:
    """Write a generated module under ``name_<hash>.py``; one that says the same is left alone.

    Parameters
    ----------
    text : str
        With the mark in place of the hash.
    name : str
    folder : path, optional
        The cache folder if not given; a temporary one where that cannot be used.

    Raises
    ------
    CacheError
        When the folder cannot be written.
    """
    place, file = folder, f"{name}_{content_hash(text)}.py"
    try:
        place = folder or own_folder()
        return _written(place / file, seal(text).encode())
    except CacheError:
        raise
    except (OSError, ValueError) as error:
        if folder is None and not given_folder():
            why = f"The user's cache folder cannot be written: {error}."
            with suppress(OSError):
                return _written(instead("~", why) / file, seal(text).encode())
        raise CacheError(
            "cache folder",
            f"{place} ({error})",
            "a folder that can be written",
            f"Set {VARIABLE} to one.",
        ) from error


def _written(path: Path, text: bytes) -> Path:
    if not _says(path, text):
        write_atomically(path, lambda file: file.write(text), follow=False)
    return path


def _says(path: Path, text: bytes) -> bool:
    """Whether a file says what it should; of a longer one no more than that is read."""
    try:
        return read_regular(path, len(text) + 1) == text
    except (OSError, ValueError):
        return False


_locks: dict[str, Lock] = {}
if hasattr(os, "register_at_fork"):  # another thread of the parent may hold one
    os.register_at_fork(after_in_child=_locks.clear)


def load_module(path: Path, text: str) -> ModuleType:
    """The module of a generated text, made once a process, whichever threads ask for it.

    Parameters
    ----------
    path : path
        Where the text was written by :func:`write_module`.  The file is not read to be run.
    text : str
        As it was emitted, with the mark in place of the hash.

    Raises
    ------
    CacheError
        When the file is not named by the hash of the text.
    TargetError
        When Numba's compiler is switched off.
    """
    name = f"pwgf_sym_generated.{path.stem}"
    with _locks.setdefault(name, Lock()):
        if name in sys.modules:
            return sys.modules[name]
        if not path.stem.endswith(content_hash(text)):
            accepted = "the text that the file is named by"
            raise CacheError(str(path), "another text", accepted, "Write the module first.")
        require_compiler()
        with suppress(OSError, ValueError):  # who reads the file, in a debugger, reads what is run
            os.utime(_written(path, seal(text).encode()))  # "pwgf-sym cache" tells when it was used
        module = _run(name, path, text)
        sys.modules[name] = module  # when it is whole
    return module


def _run(name: str, path: Path, text: str) -> ModuleType:
    """Run a text as a module; Numba keeps machine code of it where we let it, and nowhere else."""
    module = ModuleType(name)
    module.__file__ = str(path)
    sealed = seal(text).replace('"cache": True', '"cache": False').replace("cache=True", "")
    exec(compile(sealed, str(path), "exec", dont_inherit=True), vars(module))
    keep_machine_code(module, path.parent, path.stem)
    compile_swiftly(module)
    return module
