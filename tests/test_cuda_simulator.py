"""CUDA's tests, in processes of their own with Numba's simulator on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulated import ON_TARGETS

PARTS = {"kernels": ["cuda_sim"], "targets": ON_TARGETS}


@pytest.mark.parametrize("chosen", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
@pytest.mark.parametrize("part", PARTS)
def test_cuda_kernels_in_the_simulator(part, chosen):
    variables = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PWGF_SYM_CUDA_THREADS": "4"}
    for name in [name for name in variables if name.startswith("PYTEST_")]:
        del variables[name]  # this process may be one of several workers, that one is none
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", chosen]
    files = [str(Path(__file__).parent / name) for name in PARTS[part]]
    ran = subprocess.run(
        [*command, *files], env=variables, capture_output=True, text=True, timeout=1800
    )
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-5000:]
    assert "[100%]" in ran.stdout  # some ran: with none the exit status is not 0, either
