"""Compiling without what costs time and brings nothing.

* Pauses of the garbage collector.  Numba makes millions of objects for a module, and nearly all go
  by themselves: looking for cycles among those that stay took a tenth to a seventh of the time.
* Steps over the edge of Python's stack.  CPython keeps the frames of Python functions in pieces of
  16 kB, and gives a piece back to the system as soon as its first frame ends: a loop that calls
  from just below an edge asks for memory at every call.  Numba compiles one function within
  another, deep enough for that: 30,000 to 80,000 times for the kernels of one CUDA module, up to a
  fifth of the time.  A frame that asks for much gets a larger piece, and the rest of the piece is
  there for the frames above it.
* Types of the same sum again.  For every ``a + b`` of a text Numba tries a dozen rules, of strings
  and lists among them, before that of numbers: 5,000 times for some fifty kinds of operands in the
  kernels of two CUDA modules, a sixth of the time.  What an operator gives for numbers is kept.
"""

from __future__ import annotations

import gc
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Lock
from types import ModuleType

__all__ = ["compile_swiftly", "swiftly"]

# Entries of the frame: a little over half of 1 MB, so that nearly as much is left beside it.  They
# are not written, and take no memory but addresses.
_ENTRIES = (1 << 19) // 8 + 4096


def _call(function, arguments, named):
    return function(*arguments, **named)


_call.__code__ = _call.__code__.replace(co_stacksize=_ENTRIES)


class _Resolution:
    """Numba's resolution of operators, with results kept for numbers, while anybody compiles."""

    def __init__(self):
        self._lock, self._users, self._restore = Lock(), 0, None
        self._known, self._operators = {}, set(map(id, vars(operator).values()))

    @contextmanager
    def kept(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._replace()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._restore()

    def _replace(self) -> None:
        from numba import types

        family, known, found = types.BaseFunction, self._known, types.BaseFunction.get_call_type

        def get_call_type(function, context, arguments, named):
            mine = id(function.typing_key) in self._operators and not named
            if not (mine and all(isinstance(kind, types.Number) for kind in arguments)):
                return found(function, context, arguments, named)
            # A rule that somebody adds makes another ``function``.
            asked = function, context, tuple(arguments)
            if asked not in known:
                known[asked] = found(function, context, arguments, named)
            return known[asked]

        def restore():
            family.get_call_type = found

        family.get_call_type, self._restore = get_call_type, restore


_resolution = _Resolution()


def swiftly(function: Callable) -> Callable:
    """The same function; nothing is collected while it runs, and there is room on the stack.

    Types of operators on numbers are resolved once, whoever compiles meanwhile.
    """

    @wraps(function)
    def call(*arguments, **named):
        enabled = gc.isenabled()
        gc.disable()
        try:
            with _resolution.kept():
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
