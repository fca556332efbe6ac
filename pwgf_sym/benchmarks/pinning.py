"""Threads and cores of a benchmark process; nothing heavy is imported here."""

from __future__ import annotations

import os
import sys

__all__ = ["pin", "usable_cores"]


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pin(threads: int) -> None:
    """Keep this process, and every library that it loads later, to ``threads`` threads.

    It must run before Numba, JAX and PyTorch are imported, which read these variables once.
    """
    for name in ("NUMBA", "OPENBLAS", "OMP", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    flags = [f for f in os.environ.get("XLA_FLAGS", "").split() if "intra_op" not in f]
    flags = [f for f in flags if "multi_thread_eigen" not in f]
    flags.append(f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}")
    os.environ["XLA_FLAGS"] = " ".join([*flags, f"intra_op_parallelism_threads={threads}"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
