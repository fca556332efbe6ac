"""Seconds of compilation of every kernel: a fresh process with an empty cache, then another one.

The child of ``python -m pwgf_sym.benchmarks.first_calls`` prints, for every kernel, what its first
call took longer than its second, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from ..errors import BenchmarkError

__all__ = ["compile_seconds"]

_TIMEOUT = 1800


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
        [sys.executable, "-m", "pwgf_sym.benchmarks.first_calls", *case],
        env=os.environ | {"PWGF_SYM_CACHE": folder},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError("compilation", done.stderr.strip()[-300:], "calls without an error")
    return json.loads(done.stdout.splitlines()[-1])
