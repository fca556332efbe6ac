"""Seconds that first calls of kernels take, in a process of their own."""

from __future__ import annotations

import json
import sys
import time

from .targets import TargetCase, calls_of

__all__ = ["first_calls"]

_SAMPLES = 16


def first_calls(problem: str, dim: int, width: int, dtype: str, target: str) -> dict[str, float]:
    """Seconds that the first call of each kernel took longer than the second, in this process.

    A kernel that an earlier one has compiled already costs nothing more.
    """
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


if __name__ == "__main__":
    name, d, m, precision, where = sys.argv[1:]
    print(json.dumps(first_calls(name, int(d), int(m), precision, where)))
