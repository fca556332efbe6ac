"""What kernels are generated for: this machine's vectors and caches, and blocks of threads."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from ..errors import OptionError
from ..schedule.cpu import Machine
from ..schedule.cuda import BLOCK

__all__ = ["block_threads", "this_machine"]

_BLOCK_SIZES = [2**k for k in range(2, 9)]


@lru_cache(maxsize=1)
def this_machine() -> Machine:
    """This machine's vector registers and cache.

    ``PWGF_SYM_VECTOR_BITS`` overrides the width that is detected.
    """
    near, cache = (_cache_bytes(level) for level in ("1", "2"))
    return Machine(_vector_bits(), near or Machine.near_bytes, cache or Machine.cache_bytes)


def _cache_bytes(level: str) -> int | None:
    """Size of a data cache, rounded down to a power of two; None where the system hides it."""
    for index in range(4):
        folder = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}")
        try:
            found, kind, size = (
                (folder / name).read_text().strip() for name in ("level", "type", "size")
            )
            if found == level and kind != "Instruction" and size.endswith("K"):
                return 1024 << (int(size[:-1]).bit_length() - 1)
        except (OSError, ValueError):
            continue
    return None


def _vector_bits() -> int:
    given = os.environ.get("PWGF_SYM_VECTOR_BITS")
    if given:
        if given not in ("128", "256", "512"):
            raise OptionError("PWGF_SYM_VECTOR_BITS", given, "128, 256 or 512")
        return int(given)
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 512
    return 256 if features.get("avx") else 128


def block_threads() -> int:
    """Threads of a block of a CUDA kernel; ``PWGF_SYM_CUDA_THREADS`` overrides the default."""
    given = os.environ.get("PWGF_SYM_CUDA_THREADS", str(BLOCK))
    if given not in map(str, _BLOCK_SIZES):
        accepted = "a power of two from 4 to 256"
        raise OptionError("PWGF_SYM_CUDA_THREADS", given, accepted)
    return int(given)
