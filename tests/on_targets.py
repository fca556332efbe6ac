"""Programs on the target that a test's fixture ``target`` names."""

import pytest
from tile_numpy import interpreted

from pwgf_sym.runtime.cuda.toolkit import available, simulated
from pwgf_sym.targets.program import compile_program

__all__ = ["TARGETS", "fewer", "program_on"]


# In the simulator's process CUDA alone; elsewhere the CPU and NumPy, and a GPU by ``-m gpu``.
TARGETS = (
    ["cuda"]
    if simulated()
    else [
        "cpu",
        "numpy",
        pytest.param(
            "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not available(), reason="no GPU")]
        ),
    ]
)


def fewer(few, many):
    """A number of samples in the simulator, where threads are the system's, and elsewhere."""
    return few if simulated() else many


def program_on(target, problem, flow, folder, dtype="float64", **options):
    """The text for the CPU, run by Python, or the program for another target."""
    if target == "cpu":
        return interpreted(problem, flow, folder, dtype, **options)
    return compile_program(problem, flow, target, dtype, folder, **options)
