"""The machine: what it is, and what matrix products and memory reach on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform

import numpy as np

from .pinning import usable_cores

__all__ = ["bandwidth_call", "describe", "gemm_call"]

_PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "sympy", "jax", "jaxlib", "torch")
_GEMM = 1000
_TRIAD = 4_000_000


def describe() -> dict:
    """CPU, versions, BLAS and load, as JSON-able data."""
    from ..targets.machine import this_machine

    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "vector_bits": this_machine().vector_bits,
        "platform": platform.platform(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": {"python": platform.python_version(), **_versions()},
        "blas": _blas(),
    }


def _versions() -> dict:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _blas() -> list[dict]:
    from threadpoolctl import threadpool_info

    keys = ("internal_api", "version", "architecture", "num_threads")
    return [{k: p.get(k) for k in keys} for p in threadpool_info() if p["user_api"] == "blas"]


def gemm_call(dtype: str, size: int = _GEMM, threads: int = 1):
    """A matrix product on so many BLAS threads and its operations: (call, flops)."""
    from threadpoolctl import ThreadpoolController

    a, b = (np.random.default_rng(k).standard_normal((size, size)).astype(dtype) for k in (0, 1))
    out, pools = np.empty_like(a), ThreadpoolController()

    def call():
        with pools.limit(limits=threads, user_api="blas"):
            np.dot(a, b, out=out)

    return call, 2.0 * size**3


def bandwidth_call(dtype: str, size: int = _TRIAD):
    """A triad c = a + s b far beyond the caches, and its bytes: (call, bytes).

    In two passes of NumPy, by pieces that stay in the cache in between, so that every
    array crosses the memory bus once.  The write allocates: c counts twice.
    """
    a, b, c = (np.full(size, 1.0 + k, dtype) for k in range(3))
    piece = 8192
    scratch = np.empty(piece, dtype)

    def call():
        for first in range(0, size, piece):
            part = slice(first, min(first + piece, size))
            left = scratch[: part.stop - first]
            np.multiply(b[part], 3, out=left)
            np.add(a[part], left, out=c[part])

    return call, 4.0 * size * a.itemsize
