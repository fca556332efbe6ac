"""Kernels are compiled once a machine: the second process finds machine code on the disk.

There is no GPU to bind them to; all else is what numba-cuda does at the first call of a kernel.
"""

import sys
from unittest.mock import patch

import pytest
from numba.cuda import dispatcher as numba_dispatcher
from numba.cuda import types
from on_machine import CAPABILITY, on_machine
from sample_energies import ENERGIES

from pwgf_sym.declare.maps import NeuralFlow
from pwgf_sym.targets.program import compile_program

ARRAY = types.Array(types.float32, 1, "C")
SIGNATURE = types.void(*[ARRAY] * 6, types.int64, types.int64)


@pytest.fixture
def bound():
    """Machine code instead of a kernel that the driver has loaded."""

    def bind(kernel):
        kernel._codelibrary.get_cubin(CAPABILITY)

    with on_machine(), patch.object(numba_dispatcher._Kernel, "bind", bind):
        yield


def compiled(folder):
    """A kernel of a program, compiled as in a process that has not seen its module."""
    for name in [n for n in sys.modules if n.startswith("pwgf_sym_generated.")]:
        del sys.modules[name]
    problem, flow = ENERGIES["mixed"].problem(), NeuralFlow(2, 3, steps=2)
    program = compile_program(problem, flow, "cuda", "float32", folder)
    dispatcher = program.module.jvp
    dispatcher.compile(SIGNATURE)
    (kernel,) = dispatcher.overloads.values()
    return dispatcher.stats, kernel._codelibrary


def test_the_second_process_finds_the_machine_code(bound, tmp_path):
    stats, first = compiled(tmp_path)
    assert stats.cache_misses and not stats.cache_hits
    assert str(tmp_path) in stats.cache_path
    stats, second = compiled(tmp_path)
    assert stats.cache_hits and not stats.cache_misses
    with patch.object(numba_dispatcher, "compile_cuda", side_effect=AssertionError("compiled")):
        assert second.get_cubin(CAPABILITY).code == first.get_cubin(CAPABILITY).code
