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

The second is a trait of CPython, the third a method that is private to Numba.  Where they are not
as they are known here, they are left alone, and compiling takes longer.
"""

from __future__ import annotations

import gc
import inspect
import operator
import sys
import weakref
from collections.abc import Callable
from functools import wraps
from threading import RLock, get_ident
from types import ModuleType

from .interrupts import LaterSignals

__all__ = ["compile_swiftly", "interrupted", "swiftly"]

# Entries of the frame: a little over half of 1 MB, so that nearly as much is left beside it.  They
# are not written, and take no memory but addresses.
_ENTRIES = (1 << 19) // 8 + 4096


def _call(function, arguments, named):
    return function(*arguments, **named)


def _roomy(function: Callable) -> Callable:
    """A function whose frame asks for much; the function itself where Python does not let us."""

    def call(function, arguments, named):
        return function(*arguments, **named)

    try:
        call.__code__ = call.__code__.replace(co_stacksize=_ENTRIES)
        return call if call(int, ("7",), {"base": 8}) == 7 else function
    except Exception:  # another Python
        return function


_call = _roomy(_call)


def _operators_of_numbers() -> tuple[type, type] | None:
    """Numba's family of functions and that of numbers; None where they are not as we know them."""
    try:
        from numba import types

        family, numbers = types.BaseFunction, types.Number
        count = len(inspect.signature(family.get_call_type).parameters)  # with the function itself
        return (family, numbers) if count == 4 and isinstance(numbers, type) else None
    except Exception:  # another Numba
        return None


class _Stay:
    """Somebody who compiles."""

    last = None  # what happens at its end, whatever ends it

    def __init__(self):
        self.thread, self.interrupted = get_ident(), None  # or what raises the interruption


class _Aids:
    """What is otherwise while anybody compiles: the collector, and Numba's search for operators.

    Ctrl-C within a function that LLVM calls back would be printed and lost, and within llvmlite
    it may crash Python: it is kept, too.

    Who compiles is known by an object that lives no longer than the call: an interruption at any
    place, even within what follows, ends it.
    """

    def __init__(self):
        self._lock, self._stays = RLock(), weakref.WeakSet()
        self._collects, self._family, self._found, self._hook = False, None, None, None
        self._signals = LaterSignals(self._keep)
        self._known, self._operators = {}, set(map(id, vars(operator).values()))

    def begin(self, stay: _Stay) -> None:
        """Somebody begins to compile."""
        with self._lock:
            first = not self._stays
            stay.last = weakref.finalize(stay, self._settle)  # called after the set is told
            stay.last.atexit = False
            self._stays.add(stay)
            if first:
                self._collects = self._collects or gc.isenabled()
                gc.disable()
                if self._hook is None:
                    self._hook = sys.unraisablehook
                    sys.unraisablehook = self._unraisable
                self._replace()
            self._signals.begin()

    def end(self, stay: _Stay) -> None:
        """Somebody has compiled, or was interrupted before or after the beginning."""
        with self._lock:
            self._stays.discard(stay)
            if not any(other.thread == stay.thread for other in self._stays):
                self._signals.end()
            self._settle()
            if stay.last is not None:  # all is done: an interruption in there would be lost
                stay.last.detach()

    def _settle(self) -> None:
        """Put everything back when nobody compiles; it may begin again where it was interrupted."""
        with self._lock:
            if self._stays:
                return
            self._signals.end()  # again: an interruption may have left it out above
            if self._family is not None:
                self._family.get_call_type, self._family = self._found, None
            if self._hook is not None:
                if sys.unraisablehook == self._unraisable:  # and not somebody else's since
                    sys.unraisablehook = self._hook
                self._hook = None
            if self._collects:
                gc.enable()
                self._collects = False

    def interrupted(self) -> bool:
        """Whether this thread keeps an interruption."""
        return any(s.interrupted is not None and s.thread == get_ident() for s in list(self._stays))

    def _unraisable(self, what) -> None:
        """Keep an interruption for the thread that compiles; all else goes its way."""
        if not (issubclass(what.exc_type, KeyboardInterrupt) and self._keep(_interrupt)):
            (self._hook or sys.__unraisablehook__)(what)

    def _keep(self, interrupt: Callable[[], None]) -> bool:
        here = [stay for stay in list(self._stays) if stay.thread == get_ident()]
        for stay in here:
            stay.interrupted = interrupt
        return bool(here)

    def _replace(self) -> None:
        known_here = _operators_of_numbers() if self._family is None else None
        if known_here is None:
            return
        family, numbers = known_here
        known, found, operators = self._known, family.get_call_type, self._operators

        def get_call_type(function, context, args, kws):
            mine = id(getattr(function, "typing_key", None)) in operators and not kws
            if not (mine and all(isinstance(kind, numbers) for kind in args)):
                return found(function, context, args, kws)
            # A rule that somebody adds makes another ``function``.
            asked = function, context, tuple(args)
            if asked not in known:
                known[asked] = found(function, context, args, kws)
            return known[asked]

        self._family, self._found = family, found
        family.get_call_type = get_call_type


def _interrupt() -> None:
    raise KeyboardInterrupt


_aids = _Aids()


def interrupted() -> bool:
    """Whether Ctrl-C was pressed while this thread compiles, and is kept until it has done so."""
    return _aids.interrupted()


def swiftly(function: Callable) -> Callable:
    """The same function; nothing is collected while it runs, and there is room on the stack.

    Types of operators on numbers are resolved once, whoever compiles meanwhile.
    """

    @wraps(function)
    def call(*arguments, **named):
        stay = _Stay()
        try:
            _aids.begin(stay)
            found = _call(function, arguments, named)
        finally:
            _aids.end(stay)
        if stay.interrupted is not None:
            stay.interrupted()
        return found

    return call


def compile_swiftly(module: ModuleType) -> None:
    """Have Numba's functions of a module compile swiftly, whenever they do."""
    for value in vars(module).values():
        if hasattr(value, "py_func") and hasattr(value, "compile"):
            value.compile = swiftly(value.compile)
