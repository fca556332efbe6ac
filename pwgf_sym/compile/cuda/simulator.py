"""Numba's simulator of GPUs, in which threads of a block are the system's threads."""

from __future__ import annotations

import sys

import numpy as np
from numba import cuda
from numba.cuda.simulator import kernel
from numba.cuda.simulator.kernelapi import FakeCUDAShared

__all__ = ["SimulatedCuda", "prepare"]

# Seconds for which a thread may keep the interpreter to itself, by default 5 ms: at a barrier all
# threads wait for the one that watches them, and it never sleeps.
_TURN = 1e-5


class SimulatedCuda:
    """The module ``numba.cuda``, inside of kernels and outside.

    The simulator changes that module in the globals of a function for what a kernel sees of it, and
    changes it back when the first of the threads leaves the function, while others are still in it.
    This object stays where it is, and asks in what it is.
    """

    def __getattr__(self, name: str):
        inside = kernel._get_kernel_context()
        try:
            return getattr(cuda if inside is None else inside, name)
        except AttributeError:
            return getattr(cuda, name)


def prepare() -> None:
    """Let threads change quickly, and shared arrays take a boundary: GPUs' do, here is none."""
    sys.setswitchinterval(_TURN)
    plain = FakeCUDAShared.array

    def array(self, shape, dtype, alignment=None):
        if shape == 0:
            return plain(self, 0, dtype)
        frame = sys._getframe(1)  # an array is known by the line that declares it
        line = frame.f_code.co_filename, frame.f_lineno
        return self._allocations.setdefault(line, np.empty(shape, dtype))

    FakeCUDAShared.array = array
