"""Machine code on disk: Numba's cache of compiled functions, in files that are checked first.

Numba unpickles whatever lies in the folder of its cache, and an exception ends the run where a file
is cut.  Here a function has an index, which is text, and a file for each signature.  A file is
unpickled when nobody but the user can have written it, and when its checksum is that of the index.
All else is removed and compiled anew.

What Numba is asked for is private to it: its class for a cache, of which we replace the files.
Where that class is not as we know it, nothing is kept, which costs time.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

from ..errors import TargetError
from .folders import exposed, make_private, read_own, warn_once
from .swiftly import interrupted

__all__ = ["FOLDER", "keep_function", "keep_machine_code", "require_compiler"]

FOLDER = "machine_code"
_FIRST = "pwgf_sym machine code, version 1"
_MOST_INDEX = 1 << 20  # bytes of an index that are read: some thousand signatures
_SWITCH = "NUMBA_DISABLE_JIT"


def require_compiler() -> None:
    """Refuse to go on where Numba's compiler is switched off: kernels are nothing without it.

    Raises
    ------
    TargetError
        That names the variable.
    """
    given = os.environ.get(_SWITCH, "").strip()
    config = getattr(sys.modules.get("numba"), "config", None)  # which may come from a file, too
    off = getattr(config, "DISABLE_JIT", None)
    if off if off is not None else given not in ("", "0"):
        what = f"{_SWITCH}={given or off}, which switches Numba's compiler off"
        raise TargetError("target", what, "Numba with its compiler", f"Unset {_SWITCH}.")


class _Files:
    """Index and files of one function's machine code, as Numba's cache asks for them.

    Parameters
    ----------
    folder : path
    base : str
        What names of files begin with.
    stamp : str
        What else machine code is made of: another stamp is another key.
    """

    def __init__(self, folder: Path, base: str, stamp: str):
        self.folder, self.base, self._stamp = folder, base, stamp
        self.dump: Callable[[object], bytes] = pickle.dumps  # Numba's, which takes functions, too
        self._index = folder / f"{base}.nbi"

    def load(self, key):
        """What was saved under a key, or None."""
        entry = self._entries().get(self._digest(key))
        if entry is None:
            return None
        try:
            data = read_own(self._data(entry), int(entry.partition("-")[2]) + 1)
        except FileNotFoundError:
            return None
        if _seal(data) != entry:
            raise ValueError("the file is not what was written")
        return pickle.loads(data)

    def save(self, key, data) -> None:
        """Save what Numba gives for a key."""
        from .store import write_atomically

        data, entries = self.dump(data), self._entries()
        digest, entry = self._digest(key), _seal(data)
        before = entries.get(digest, entry)
        entries[digest] = entry
        lines = [_FIRST, *(f"{one} {other}" for one, other in entries.items())]
        index = "\n".join([*lines, _checksum(lines), ""]).encode()
        for path, content in ((self._data(entry), data), (self._index, index)):
            write_atomically(path, lambda file, c=content: file.write(c), follow=False, mode=0o600)
        if before != entry:  # damaged, or of a process that compiled at the same time
            with suppress(OSError):
                self._data(before).unlink()

    def forget(self) -> None:
        """Remove the index, and what it tells of."""
        with suppress(OSError):
            for entry in self._entries().values():
                with suppress(OSError):
                    self._data(entry).unlink()
        with suppress(OSError):
            self._index.unlink()

    flush = forget

    def _data(self, entry: str) -> Path:
        return self.folder / f"{self.base}.{entry[:16]}.nbc"

    def _digest(self, key) -> str:
        return hashlib.sha256(f"{self.base}\n{self._stamp}\n{key}".encode()).hexdigest()

    def _entries(self) -> dict[str, str]:
        """Seals of files by digests of keys; empty where the index is not whole."""
        try:
            text = read_own(self._index, _MOST_INDEX).decode("ascii")
        except (OSError, ValueError):
            return {}
        first, *lines = text.split("\n")
        if first != _FIRST or lines[-2:] != [_checksum([first, *lines[:-2]]), ""]:
            return {}
        return dict(line.split(" ") for line in lines[:-2])


def _seal(data: bytes) -> str:
    """Checksum and length: no more than that is read of a file."""
    return f"{hashlib.sha256(data).hexdigest()}-{len(data)}"


def _checksum(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Place:
    """What Numba asks a locator of its cache for."""

    def __init__(self, folder: Path, file: str):
        self._folder, self._py_file = folder, file

    def ensure_cache_path(self) -> None:
        make_private(self._folder)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return ""  # our files have one


@cache
def _guarded(found: type) -> type:
    """Numba's class of a cache, with our files in place of its own."""

    class Contents(found._impl_class):
        """How to take machine code apart and put it together again: Numba's."""

        def __init__(self, function, files: _Files):
            self._lineno, self._filename_base = function.__code__.co_firstlineno, files.base
            self._locator = _Place(files.folder, function.__code__.co_filename)

    class Kept(found):
        def __init__(self, function, files: _Files):
            self._impl_class = lambda function: Contents(function, files)
            super().__init__(function)
            files.dump, self._cache_file = self._cache_file._dump, files

        def load_overload(self, signature, context):
            try:
                return super().load_overload(signature, context)
            except Exception:  # whatever comes from a file that is damaged
                self._cache_file.forget()
                return None

        def save_overload(self, signature, data):
            try:
                super().save_overload(signature, data)
            except Exception as error:  # no space, no permission, another Numba
                if interrupted():  # Numba's objects are half made
                    return
                text = f"Machine code is not kept in {self._cache_path}: {error}."
                warn_once(self._cache_path, text)

        def mark_launch_config_sensitive(self) -> bool:
            """Of CUDA: whether kernels can be kept that are compiled for a number of blocks."""
            return False

    return Kept


def keep_function(function, folder: Path, module: str, stamp: str, found: type) -> None:
    """Have Numba look for a function's machine code in a folder, and leave it there.

    Parameters
    ----------
    function : Numba's dispatcher
    folder : path
        A folder that is the user's own.
    module, stamp : str
        The function's module, and what its text and its runtime are.
    found : type
        Numba's class of a cache.
    """
    code, version = function.py_func, f"py{sys.version_info[0]}{sys.version_info[1]}"
    base = f"{module}.{code.__name__}-{code.__code__.co_firstlineno}.{version}"
    with suppress(Exception):  # another Numba: nothing is kept
        function._cache = _guarded(found)(code, _Files(folder, base, f"{stamp}, {_versions()}"))


def safe_folder(folder: Path) -> Path | None:
    """Where machine code of modules in a folder is kept; None, and a warning, if not safe."""
    inside = folder / FOLDER
    try:
        reason = exposed(folder)
        if not reason:
            make_private(inside)
            reason = exposed(inside)
    except OSError as error:
        reason = str(error)
    if not reason:
        return inside
    text = f"No machine code is kept in {folder}, kernels are compiled in every process: {reason}."
    warn_once(str(folder), text)
    return None


def _versions() -> str:
    """Versions of what makes machine code and reads it again."""
    import llvmlite
    import numba

    return f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, {sys.version}"


def keep_machine_code(module: ModuleType, folder: Path, stamp: str) -> None:
    """Keep machine code of all kernels that stand in a module beside its text."""
    own = [f for f in vars(module).values() if _stands_in(f, module.__name__)]
    found = cache_class(own[0]) if own else None
    inside = safe_folder(folder) if found is not None else None
    if inside is not None:
        for function in own:
            keep_function(function, inside, stamp, stamp, found)


def _stands_in(function, name: str) -> bool:
    code = getattr(function, "py_func", None)
    return getattr(code, "__module__", None) == name and hasattr(function, "_cache")


def cache_class(function) -> type | None:
    """Numba's class of a cache for a function's target; None where it is not where we know it."""
    if type(function).__module__.startswith("numba.core."):
        return getattr(sys.modules.get("numba.core.caching"), "FunctionCache", None)
    from .cuda.toolkit import cuda_cache

    return cuda_cache()
