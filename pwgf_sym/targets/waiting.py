"""Waiting without sleep: threads that watch a number in memory.

A thread that the system has put aside takes about 50 microseconds to wake, and kernels of small
problems take a few hundred.  A thread that watches a number for as long as the next kernel may be
near answers within one or two.

Who wants the interpreter's lock while another thread has it is put aside, too.  So threads watch
without it, raise their flags without it, and begin one after the other: when the first is in its
kernel, which needs no lock, the next begins; and they end one after the other in the same way.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..errors import CacheError
from ..files import own_folder
from .machine_code import cache_class, keep_function, safe_place
from .store import source

__all__ = ["Board", "Flag"]

# Seconds for which a thread watches at most, and between the beginnings of two threads: a little
# more than a kernel's arguments take.
_WATCH, _STAGGER = 3e-4, 1e-5
# Threads that begin one after the other; all others begin with the last of these.
_FEW = 4
# Turns of watching after which a thread gives way to others.
_POLITE = 32
_X86 = llvm.get_process_triple().startswith(("x86", "i386", "i686"))


def _place(context, builder, signature, arguments):
    array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


@intrinsic
def _read(typingctx, numbers, place):
    """numbers[place], as other threads left it."""

    def codegen(context, builder, signature, arguments):
        pointer = _place(context, builder, signature, arguments)
        return builder.load_atomic(pointer, ordering="acquire", align=8)

    return types.int64(numbers, types.intp), codegen


def _calls(name: str, result, there: bool):
    """Code that calls a function without arguments, where there is one."""

    def codegen(context, builder, signature, arguments):
        if there:
            kind = ir.FunctionType(result, [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return codegen


@intrinsic
def _pause(typingctx):
    """Tell the processor that this loop waits."""
    return types.void(), _calls("llvm.x86.sse2.pause", ir.VoidType(), _X86)


@intrinsic
def _give_way(typingctx):
    """Let another thread run that the system has put on this processor."""
    return types.void(), _calls("sched_yield", ir.IntType(32), hasattr(os, "sched_yield"))


def _compiled(signature: str):
    """A function compiled now, from the disk cache where there is one."""

    def make(function):
        found = njit(nogil=True)(function)
        keep_waiting(found)
        found.compile(signature)
        return found

    return make


def keep_waiting(function) -> None:
    """Keep machine code of a function of this file in the cache folder, where there is one."""
    kind = cache_class(function)
    with suppress(OSError, CacheError):  # no folder that can be written
        place = safe_place(own_folder()) if kind is not None else None
        if place is not None:
            stamp = hashlib.sha256(source("targets/waiting.py")).hexdigest()
            keep_function(function, place, "waiting", stamp, kind)


@_compiled("boolean(int64[::1], int64, int64)")
def _watch(number, before, turns):
    """Wait until number[0] is no longer ``before``, for so many turns at most; whether it is."""
    for turn in range(turns):
        if _read(number, 0) != before:
            return True
        if turn % _POLITE == _POLITE - 1:
            _give_way()
        else:
            _pause()
    return False


@_compiled("void(int64[::1], int64[::1], int64, int64, int64)")
def _raise_and_watch(flag, posts, seen, turns, stagger):
    """Raise a flag, and wait for the next post; then let others begin before."""
    flag[0] = 1
    if _watch(posts, seen, turns):
        for _ in range(stagger):
            _pause()


class Board:
    """Where threads see that there is work.

    Parameters
    ----------
    watched : bool
        Whether threads may watch; where there are more of them than processors they would take
        from each other what they wait for.
    """

    def __init__(self, watched: bool):
        self._posts = np.zeros(1, np.int64)
        rate = _turns_a_second() if watched else 0.0
        self._longest, self._stagger = int(rate * _WATCH), int(rate * _STAGGER)

    def post(self) -> None:
        """Say that there is work; of two at once one may get lost, and is found after a while."""
        self._posts[0] += 1

    @property
    def posted(self) -> int:
        """Number of posts so far."""
        return int(self._posts[0])

    def watch(self, flag: Flag, seen: int, number: int) -> None:
        """Raise a flag; return after the next post, or after a while.

        Parameters
        ----------
        flag : Flag
        seen : int
            Number of posts that the thread knows of.
        number : int
            Of the thread, from 0 on: it begins after those before it.
        """
        stagger = min(number + 1, _FEW) * self._stagger
        _raise_and_watch(flag.number, self._posts, seen, self._longest, stagger)

    def wait(self, flag: Flag) -> None:
        """Return when a flag is raised, or after a while."""
        _watch(flag.number, 0, self._longest)


class Flag:
    """A number that one thread raises once."""

    def __init__(self):
        self.number = np.zeros(1, np.int64)


def _turns_a_second() -> float:
    """Turns of a loop that watches, by the clock."""
    number, turns = np.zeros(1, np.int64), 20_000
    start = time.perf_counter()
    _watch(number, 0, turns)
    return turns / max(time.perf_counter() - start, 1e-9)
