"""Seconds of compilation of every kernel: a fresh process with an empty cache, then another one.

The child of ``python -m pwgf_sym.benchmarks.compilation`` prints, for every kernel, what its first
call took longer than its second, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from ..errors import BenchmarkError

__all__ = ["compile_seconds", "first_calls"]

_SAMPLES, _TIMEOUT = 16, 1800


def first_calls(problem: str, dim: int, width: int, dtype: str, target: str) -> dict[str, float]:
    """Seconds that the first call of each kernel took longer than the second, in this process.

    A kernel that an earlier one has compiled already costs nothing more.
    """
    from .targets import TargetCase, calls_of

    start = time.perf_counter()
    calls = calls_of(TargetCase(problem, dim, width, _SAMPLES, dtype), target)
    found = {"start": time.perf_counter() - start}
    for timed in calls:
        if timed.kernel == "step":  # no kernel of its own
            continue
        times = []
        for _ in range(2):
            start = time.perf_counter()
            timed.call()
            times.append(time.perf_counter() - start)
        found[timed.kernel] = max(times[0] - times[1], 0.0)
    return found


def compile_seconds(problem: str, dim: int, width: int, dtype: str, target: str) -> dict:
    """By kernel: {"cold": seconds with an empty cache, "warm": in the next process}.

    Raises
    ------
    BenchmarkError
        If a child fails.
    """
    with tempfile.TemporaryDirectory(prefix="pwgf_sym_compilation_") as folder:
        case = [problem, str(dim), str(width), dtype, target]
        cold, warm = (_child(folder, case) for _ in range(2))
    return {name: {"cold": cold[name], "warm": warm[name]} for name in cold}


def _child(folder: str, case: list[str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "pwgf_sym.benchmarks.compilation", *case],
        env=os.environ | {"PWGF_SYM_CACHE": folder},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError("compilation", done.stderr.strip()[-300:], "calls without an error")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    name, d, m, precision, where = sys.argv[1:]
    print(json.dumps(first_calls(name, int(d), int(m), precision, where)))
