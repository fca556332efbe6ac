"""Runs tests/cuda_sim in a process of its own, with Numba's CUDA simulator on."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent / "cuda_sim"


def test_cuda_kernels_in_the_simulator():
    variables = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PWGF_SYM_CUDA_THREADS": "4"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(TESTS)]
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "[100%]" in done.stdout  # some ran: with none the exit status is not 0, either
