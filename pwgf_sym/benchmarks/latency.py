"""Waiting times before the first step: emission, cold compilation, and a warm start from the disk.

Each number is a fresh process; a cold one has an empty cache folder.  The child of
``python -m pwgf_sym.benchmarks.latency`` prints its own process times as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from ..errors import BenchmarkError

__all__ = ["first_step", "run_latency"]

_TIMEOUT = 600


def first_step(samples: int = 256) -> dict[str, float]:
    """One time step of the benchmark's energy with default options, timed in this process.

    Returns
    -------
    dict
        Process seconds: "import" since the process started, "emission" of the module's text,
        "step" from there to the end of the first step, "total" since the process started.
    """
    from ..compile.program import compile_program
    from ..declare.maps import NeuralFlow
    from ..solve.flow import solve
    from .cases import Case

    imported = time.process_time()
    case = Case(10, 64, samples)
    problem, flow = case.problem, NeuralFlow(10, 64)
    compile_program(problem, flow)
    emitted = time.process_time()
    solve(problem, flow, (0.0, 1e-3), dt=1e-3, samples=samples)
    done = time.process_time()
    found = {"import": imported, "emission": emitted - imported}
    return found | {"step": done - emitted, "total": done}


def run_latency(warm_starts: int = 3) -> dict:
    """Seconds of a cold and of warm first steps.

    Returns
    -------
    dict
        "cold" and "warm": the children's times, the warm ones the smallest of several; "compile":
        what the cold step took longer than the warm one.
    """
    with tempfile.TemporaryDirectory(prefix="pwgf_sym_latency_") as folder:
        cold = _child(folder)
        warm = [_child(folder) for _ in range(warm_starts)]
    best = {key: min(w[key] for w in warm) for key in cold}
    return {"cold": cold, "warm": best, "compile": cold["step"] - best["step"]}


def _child(folder: str) -> dict[str, float]:
    command = [sys.executable, "-m", "pwgf_sym.benchmarks.latency"]
    variables = os.environ | {"PWGF_SYM_CACHE": folder, "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    if done.returncode:
        raise BenchmarkError("latency", done.stderr.strip()[-300:], "a first step without an error")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(first_step()))
