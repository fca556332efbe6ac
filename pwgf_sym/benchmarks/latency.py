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
        Process seconds: "import" since the process started; "first", a call of ``solve``; "again",
        the same call once more, which is the arithmetic of the step itself; "start", what the
        first step waited for: "import", and "first" less "again"; "emission" of the module's text.
    """
    from ..declare.maps import NeuralFlow
    from ..solver.flow import solve
    from ..targets.program import compile_program
    from .cases import Case

    imported = time.process_time()
    case = Case(10, 64, samples)
    problem, flow = case.problem, NeuralFlow(10, 64)
    ends = [time.process_time()]
    for _ in range(2):
        solve(problem, flow, (0.0, 1e-3), dt=1e-3, samples=samples)
        ends.append(time.process_time())
    compile_program(problem, flow)
    emission = time.process_time() - ends[-1]
    first, again = (after - before for before, after in zip(ends[:-1], ends[1:], strict=True))
    found = {"import": imported, "first": first, "again": again}
    return found | {"start": imported + first - again, "emission": emission}


def run_latency(warm_starts: int = 3) -> dict:
    """Seconds of a cold and of warm first steps.

    Returns
    -------
    dict
        "cold" and "warm": the children's times, the warm ones the smallest of several; "compile":
        what the cold start took longer than the warm one.
    """
    with tempfile.TemporaryDirectory(prefix="pwgf_sym_latency_") as folder:
        cold = _child(folder)
        warm = [_child(folder) for _ in range(warm_starts)]
    best = {key: min(w[key] for w in warm) for key in cold}
    return {"cold": cold, "warm": best, "compile": cold["start"] - best["start"]}


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
