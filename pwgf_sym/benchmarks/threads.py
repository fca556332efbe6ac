"""The kernels on 1, 2, 4, ... cores: a fresh process each, as libraries read their threads once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import BenchmarkError
from .options import BenchmarkOptions
from .pinning import usable_cores

__all__ = ["run_threads", "thread_counts"]


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4, ... and the number of cores itself."""
    found = [1]
    while 2 * found[-1] < cores:
        found.append(2 * found[-1])
    return found if cores == 1 else [*found, cores]


def run_threads(options: BenchmarkOptions, sides: dict) -> Iterable[list[dict]]:
    """Rows of suite "kernels", a block for every number of threads, by the wall clock."""
    with tempfile.TemporaryDirectory(prefix="pwgf_sym_threads_") as folder:
        for threads in thread_counts(usable_cores()):
            path = Path(folder) / f"{threads}.json"
            done = subprocess.run(
                _command(options, sides, threads, path),
                env=dict(os.environ),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchmarkError("threads", done.stderr.strip()[-300:], "a run of the kernels")
            found = json.loads(path.read_text(encoding="utf-8"))["results"]
            found = [row | {"suite": "threads"} for row in found]
            for key in dict.fromkeys((r["size"], r["dtype"]) for r in found):
                yield [r for r in found if (r["size"], r["dtype"]) == key]


def _command(options: BenchmarkOptions, sides: dict, threads: int, path: Path) -> list[str]:
    sizes = ",".join(f"{d}/{m}" for d, m in options.sizes)
    given = {
        "suite": "kernels",
        "size": sizes,
        "samples": options.samples,
        "dtype": ",".join(options.dtypes),
        "against": ",".join(sides) or "none",
        "rounds": options.rounds,
        "seconds": options.seconds,
        "threads": threads,
        "clock": "wall",
        "json": path,
    }
    pairs = [part for key, value in given.items() for part in (f"--{key}", str(value))]
    return [sys.executable, "-m", "pwgf_sym", "benchmark", *pairs]
