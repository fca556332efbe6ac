"""Launches of kernels.

Numba looks at every argument of a launch again and makes an object for each: tens of microseconds,
more than many kernels run.  A kernel that it has once launched, with arguments of the same types,
is launched here by one call of the driver.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import warnings

import numpy as np

from . import memory

__all__ = ["launch", "refused"]

# What stands for a number among the kinds of arguments, and what it is for ``struct``; arrays have
# kinds of their own, see :class:`.vectors.Vector`, and take seven words.
_NUMBERS = {int: "int", np.int64: "int", float: "float", np.float64: "float"}
_LETTERS, _ARRAY = {"int": "q", "float": "d"}, "7Q"

_launchers: dict[tuple, Launcher | None] = {}

# Why kernels are launched by Numba though CUDA's driver is there, by name: empty where all is well.
refused: dict[str, str] = {}


def launch(kernel, blocks: int, threads: int, *arguments) -> None:
    """Run a kernel, as ``kernel[blocks, threads](*arguments)``.

    Parameters
    ----------
    kernel : Numba's dispatcher
    blocks, threads : int
    *arguments : Vector, int or float
        In a kernel int64 and float64.
    """
    key, words = [kernel], []
    for argument in arguments:
        kind = _NUMBERS.get(type(argument))
        if kind is not None:
            words.append(argument)
        else:
            kind = argument.kind
            if kind is None:  # memory that Numba alone knows
                kernel[blocks, threads](*_plain(arguments))
                return
            words += argument.words
        key.append(kind)
    key = tuple(key)
    launcher = _launchers.get(key)
    if launcher is not None and launcher(blocks, threads, words):
        return
    data = _plain(arguments)
    kernel[blocks, threads](*data)
    if key not in _launchers:
        _launchers[key] = _made(kernel, key[1:], data, words)


def _plain(arguments) -> list:
    """Arguments as Numba takes them."""
    return [a if type(a) in _NUMBERS else a.data for a in arguments]


class Launcher:
    """Launches a kernel of Numba's for arguments of one list of types.

    It takes no notice of the device: the driver loads a kernel in the context that is current, and
    has an error where it cannot; Numba then compiles for that device.

    Parameters
    ----------
    handle : int
        The driver's, of a CUkernel or CUfunction.
    kinds : sequence of str
        Of the arguments.
    """

    def __init__(self, handle: int, kinds):
        api = memory.driver_api()
        layout = struct.Struct("@" + "".join(_LETTERS.get(kind, _ARRAY) for kind in kinds))
        self._pack, count = layout.pack_into, layout.size // 8
        self._words = (ctypes.c_uint64 * max(count, 1))()
        first = ctypes.addressof(self._words)
        self._places = (ctypes.c_void_p * max(count, 1))(*(first + 8 * k for k in range(count)))
        self._address = ctypes.addressof(self._places)
        self._handle, self._stream = api.CUfunction(handle), api.CUstream(0)
        self._launch, self._lock = api.cuLaunchKernel, threading.Lock()

    def packed(self, words) -> bytes:
        """The words as they are laid out for the driver."""
        self._pack(self._words, 0, *words)
        return bytes(self._words)

    def __call__(self, blocks: int, threads: int, words) -> bool:
        """Whether the launch has succeeded; else nothing was done."""
        # The driver copies the words before it returns.
        with self._lock:
            try:
                self._pack(self._words, 0, *words)
            except struct.error:  # an integer that takes more than 64 bits
                return False
            (status,) = self._launch(
                self._handle, blocks, 1, 1, threads, 1, 1, 0, self._stream, self._address, 0
            )
        return not status


def _made(kernel, kinds, data, words) -> Launcher | None:
    """A launcher for what Numba has launched, or None where this Numba is not the one we know."""
    try:
        compiled = kernel.overloads[tuple(map(kernel.typeof_pyval, data))]
        for trait in ("cooperative", "debug", "extensions", "launch_config_sensitive"):
            if getattr(compiled, trait, False):
                raise TypeError(f"the kernel is {trait}")
        found = Launcher(int(compiled._codelibrary.get_cufunc().handle), kinds)
        if found.packed(words) != numba_layout(compiled, data):
            raise TypeError("arguments are laid out otherwise")
        return found
    except Exception as error:  # whatever another version of Numba raises
        name, why = getattr(kernel, "__name__", repr(kernel)), f"{type(error).__name__}: {error}"
        if not refused:
            text = f"Numba launches {name} itself, which takes ten times as long: {why}"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        refused[name] = why
        return None


def numba_layout(compiled, data) -> bytes:
    """The words that Numba hands to the driver for these arguments."""
    given: list = []
    for kind, value in zip(compiled.argument_types, data, strict=True):
        compiled._prepare_args(kind, value, 0, [], given)
    words = (getattr(value, "value", value) for value in given)  # of ctypes' numbers
    return b"".join(struct.pack("@d" if type(w) is float else "@q", w) for w in words)
