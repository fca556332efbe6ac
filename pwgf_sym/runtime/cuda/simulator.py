"""Numba's simulator of GPUs, in which threads of a block are the system's threads."""

from __future__ import annotations

import inspect
import sys

import numpy as np
from numba import cuda

from .toolkit import part

__all__ = ["SimulatedCuda", "prepare"]

# Seconds for which a thread may keep the interpreter to itself, by default 5 ms: at a barrier all
# threads wait for the one that watches them, and it never sleeps.
_TURN = 1e-5


def _found_context():
    """The simulator's answer to what a running kernel sees of the module, None outside of one."""
    try:
        return part("simulator.kernel")._get_kernel_context
    except (ImportError, AttributeError):  # another simulator
        return lambda: None


_context = _found_context()


class SimulatedCuda:
    """Numba's module of the target, inside of kernels and outside.

    The simulator changes that module in the globals of a function for what a kernel sees of it, and
    changes it back when the first of the threads leaves the function, while others are still in it.
    This object stays where it is, and asks in what it is.
    """

    def __getattr__(self, name: str):
        inside = _context()
        try:
            return getattr(cuda if inside is None else inside, name)
        except AttributeError:
            return getattr(cuda, name)


def prepare() -> None:
    """Let threads change quickly, and shared arrays take a boundary: GPUs' do, here is none."""
    sys.setswitchinterval(_TURN)
    try:
        shared = part("simulator.kernelapi").FakeCUDAShared
        plain = shared.array
        known = list(inspect.signature(plain).parameters)[:3] == ["self", "shape", "dtype"]
        if not known or not hasattr(shared(0), "_allocations"):
            return
    except Exception:  # another simulator, which may take a boundary itself
        return

    def array(self, shape, dtype, alignment=None):
        if shape == 0:
            return plain(self, 0, dtype)
        frame = sys._getframe(1)  # an array is known by the line that declares it
        line = frame.f_code.co_filename, frame.f_lineno
        return self._allocations.setdefault(line, np.empty(shape, dtype))

    shared.array = array
