"""Compiling without what costs time and brings nothing.

* Pauses of the garbage collector.  Numba makes millions of objects for a module, and nearly all go
  by themselves: looking for cycles among those that stay took a tenth to a seventh of the time.
* Steps over the edge of Python's stack.  CPython keeps the frames of Python functions in pieces of
  16 kB, and gives a piece back to the system as soon as its first frame ends: a loop that calls
  from just below an edge asks for memory at every call.  Numba compiles one function within
  another, deep enough for that: 30,000 to 80,000 times for the kernels of one CUDA module, up to a
  fifth of the time.  A frame that asks for much gets a larger piece, and the rest of the piece is
  there for the frames above it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import wraps
from types import ModuleType

__all__ = ["compile_swiftly", "swiftly"]

# Entries of the frame: a little over half of 1 MB, so that nearly as much is left beside it.  They
# are not written, and take no memory but addresses.
_ENTRIES = (1 << 19) // 8 + 4096


def _call(function, arguments, named):
    return function(*arguments, **named)


_call.__code__ = _call.__code__.replace(co_stacksize=_ENTRIES)


def swiftly(function: Callable) -> Callable:
    """The same function; nothing is collected while it runs, and there is room on the stack."""

    @wraps(function)
    def call(*arguments, **named):
        enabled = gc.isenabled()
        gc.disable()
        try:
            return _call(function, arguments, named)
        finally:
            if enabled:
                gc.enable()

    return call


def compile_swiftly(module: ModuleType) -> None:
    """Have Numba's functions of a module compile swiftly, whenever they do."""
    for value in vars(module).values():
        if hasattr(value, "py_func") and hasattr(value, "compile"):
            value.compile = swiftly(value.compile)
