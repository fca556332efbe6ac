"""The one place that imports Numba's CUDA target, when it is first needed, and that names it.

What is private to it is asked for by :func:`part`, and done without where it is not as it is known.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib import import_module

import numpy as np

__all__ = ["MODULE", "PACKAGE", "asynchronous", "available", "by_driver", "cuda_cache", "device"]
__all__ += ["nvidia", "part", "simulated"]

PACKAGE, MODULE = "numba-cuda", "numba_cuda"


def __getattr__(name: str):
    if name != "cuda":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from numba import cuda

    _import_with_row_stack()
    if simulated():
        from .simulator import SimulatedCuda, prepare

        prepare()
        cuda = SimulatedCuda()
    elif "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS" not in os.environ:
        # Few samples take few blocks, and vectors of parameters one: there is nothing to warn of.
        with suppress(ImportError, AttributeError):
            part("dispatcher").config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
    globals()["cuda"] = cuda
    return cuda


def _import_with_row_stack() -> None:
    """Import what names a function that NumPy 2.5 took away, while that is there again."""
    if hasattr(np, "row_stack") or simulated():
        return
    np.row_stack = np.vstack
    try:
        part("np.arrayobj")
    except Exception:  # another version: what is missing is said when kernels are compiled
        pass
    finally:
        del np.row_stack


def part(name: str):
    """A module within Numba's CUDA target.

    Raises
    ------
    ImportError
        Where this version has none of that name.
    """
    return import_module(f"numba.cuda.{name}")


def nvidia() -> bool:
    """Whether the target is NVIDIA's package, and not what Numba brings itself."""
    return getattr(__getattr__("cuda"), "implementation", "") == "NVIDIA"


def device(function):
    """A function that kernels call; its code is put where the call is.

    Arrays that it is handed may then be registers.
    """
    if simulated():
        return function
    from numba import types

    found = __getattr__("cuda").jit(device=True, forceinline=True)(function)
    compile_device = getattr(found, "compile_device", None)
    if compile_device is None:  # another version: it compiles more often
        return found

    def once(arguments, return_type=None):
        # Numba would compile a version for every number that stands in a call.
        return compile_device(tuple(map(types.unliteral, arguments)), return_type)

    found.compile_device = once
    return found


def cuda_cache() -> type | None:
    """Numba's class of a cache for kernels; None where it is not where we know it."""
    try:
        return part("dispatcher").CUDACache
    except (ImportError, AttributeError):
        return None


def simulated() -> bool:
    """Whether Numba runs kernels of GPUs as Python threads (``NUMBA_ENABLE_CUDASIM=1``)."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def asynchronous() -> bool:
    """Whether threads can leave copies to shared memory to the hardware: since Ampere.

    Without a GPU, where code is only looked at, it is that of a GPU which can.
    """
    if simulated() or not available():
        return not simulated()
    return tuple(__getattr__("cuda").get_current_device().compute_capability) >= (8, 0)


@cache
def by_driver() -> bool:
    """Whether memory and launches are asked of CUDA's driver, past Numba's arrays, which are slow.

    Not in the simulator, which has no driver.
    """
    if simulated():
        return False
    try:
        import_module("cuda.bindings.driver")
    except ImportError:
        return False
    return True


def available() -> bool:
    """Whether kernels can run: on a GPU, or in the simulator."""
    if simulated():
        return True
    try:
        return bool(__getattr__("cuda").is_available())
    except Exception:  # a broken installation is none, whatever it raises
        return False
