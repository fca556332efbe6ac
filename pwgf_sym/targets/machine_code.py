"""Machine code on disk: Numba's cache of compiled functions, in files that are checked first.

Numba unpickles whatever lies in the folder of its cache, and an exception ends the run where a file
is cut.  Here a function has an index, which is text, and a file for each signature.  A file is
unpickled when it is the user's own, and when it and the index carry seals made with the user's
key.  All else is compiled anew and written over.

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
from hmac import compare_digest
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ..errors import TargetError
from ..files import exposed, make_private, read_own, warn_once
from .key import passing, seal_of, users_key
from .swiftly import interrupted

__all__ = ["FOLDER", "keep_function", "keep_machine_code", "require_compiler"]

FOLDER = "machine_code"
_FIRST = "pwgf_sym machine code, version 2"
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
    place : Place
    base : str
        What names of files begin with.
    stamp : str
        What else machine code is made of: another stamp is another key.
    """

    def __init__(self, place: Place, base: str, stamp: str):
        self.folder, self.base, self._stamp, self._key = place.folder, base, stamp, place.key
        self.dump: Callable[[object], bytes] = pickle.dumps  # Numba's, which takes functions, too
        self._index = place.folder / f"{base}.nbi"

    def load(self, key):
        """What was saved under a key, or None where the file is not what was written."""
        entry = self._entries().get(self._digest(key))
        if entry is None:
            return None
        data = read_own(self._data(entry), int(entry.partition("-")[2]) + 1)
        return pickle.loads(data) if compare_digest(self._seal(data), entry) else None

    def save(self, key, data) -> None:
        """Save what Numba gives for a key."""
        from ..files import write_atomically

        data, entries = self.dump(data), self._entries()
        digest, entry = self._digest(key), self._seal(data)
        before = entries.get(digest, entry)
        entries[digest] = entry
        lines = [_FIRST, *(f"{one} {other}" for one, other in entries.items())]
        text = "\n".join(lines).encode()
        index = b"%b\n%b\n" % (text, seal_of(self._key, text).encode())
        for path, content in ((self._data(entry), data), (self._index, index)):
            write_atomically(path, lambda file, c=content: file.write(c), follow=False, mode=0o600)
        if before != entry:  # damaged, or of a process that compiled at the same time
            with suppress(OSError):
                self._data(before).unlink()

    def flush(self) -> None:
        """Remove the index, and what it tells of."""
        with suppress(OSError):
            for entry in self._entries().values():
                with suppress(OSError):
                    self._data(entry).unlink()
        with suppress(OSError):
            self._index.unlink()

    def _data(self, entry: str) -> Path:
        return self.folder / f"{self.base}.{entry[:16]}.nbc"

    def _digest(self, key) -> str:
        return hashlib.sha256(f"{self.base}\n{self._stamp}\n{key}".encode()).hexdigest()

    def _entries(self) -> dict[str, str]:
        """Seals of files by digests of keys; empty where the index is not what was written."""
        try:
            text, _, seal = read_own(self._index, _MOST_INDEX)[:-1].rpartition(b"\n")
        except (OSError, ValueError) as error:
            if passing(error):  # it is whole, perhaps: nothing is written over it
                raise
            return {}
        if not compare_digest(seal_of(self._key, text).encode(), seal):
            return {}
        first, *lines = text.decode("ascii").split("\n")
        return dict(line.split(" ") for line in lines) if first == _FIRST else {}

    def _seal(self, data: bytes) -> str:
        """Seal and length: no more than that is read of a file."""
        return f"{seal_of(self._key, data)}-{len(data)}"


class Place(NamedTuple):
    """A folder that machine code is kept in, and the key that it is sealed with."""

    folder: Path
    key: bytes


class _Locator:
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
            self._locator = _Locator(files.folder, function.__code__.co_filename)

    class Kept(found):
        def __init__(self, function, files: _Files):
            self._impl_class = lambda function: Contents(function, files)
            super().__init__(function)
            files.dump, self._cache_file = self._cache_file._dump, files

        def load_overload(self, signature, context):
            try:
                return super().load_overload(signature, context)
            except Exception:  # no handle, no memory, another Numba; what lies there may be whole
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


def keep_function(function, place: Place, module: str, stamp: str, found: type) -> None:
    """Have Numba look for a function's machine code in a folder, and leave it there.

    Parameters
    ----------
    function : Numba's dispatcher
    place : Place
        A folder that is the user's own, and the user's key.
    module, stamp : str
        The function's module, and what its text and its runtime are.
    found : type
        Numba's class of a cache.
    """
    code, version = function.py_func, f"py{sys.version_info[0]}{sys.version_info[1]}"
    base = f"{module}.{code.__name__}-{code.__code__.co_firstlineno}.{version}"
    with suppress(Exception):  # another Numba: nothing is kept
        function._cache = _guarded(found)(code, _Files(place, base, f"{stamp}, {_versions()}"))


def safe_place(folder: Path) -> Place | None:
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
        key = users_key(folder)
        return None if key is None else Place(inside, key)
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
    place = safe_place(folder) if found is not None else None
    if place is not None:
        for function in own:
            keep_function(function, place, stamp, stamp, found)


def _stands_in(function, name: str) -> bool:
    code = getattr(function, "py_func", None)
    return getattr(code, "__module__", None) == name and hasattr(function, "_cache")


def cache_class(function) -> type | None:
    """Numba's class of a cache for a function's target; None where it is not where we know it."""
    if type(function).__module__.startswith("numba.core."):
        return getattr(sys.modules.get("numba.core.caching"), "FunctionCache", None)
    from ..runtime.cuda.toolkit import cuda_cache

    return cuda_cache()
