"""Memory on the device that is kept for reuse, and copies between it and the host.

The driver takes tens of microseconds for a piece of memory, and waits for the device when a piece
goes back to it.  Here pieces go to a list when nothing refers to them any more, from which the next
request of their size is served.  All work is queued in one stream, the default one: what writes to
a piece again comes after all that its last owner had started.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import cache
from importlib import import_module

import numpy as np

from ...runtime.cuda import toolkit

__all__ = ["Memory", "Pool", "call_driver", "copy_from_device", "copy_to_device", "driver_api"]
__all__ += ["current_pool", "release"]

# Sizes up to the first are multiples of the second, to which the driver aligns; those above are
# multiples of the pages that it takes for large pieces: nothing is lost by that.
_SMALL, _UNIT, _PAGE = 1 << 20, 512, 2 << 20
_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


@cache
def driver_api():
    """The functions of CUDA's driver."""
    return import_module("cuda.bindings.driver")


def call_driver(name: str, *arguments) -> None:
    """Call a function of the driver that gives nothing but a status.

    Raises
    ------
    CudaAPIError
        Numba's, where the call fails twice: the first time no context may be current in a thread.
    """
    (status,) = getattr(driver_api(), name)(*arguments)
    if status:
        toolkit.cuda.current_context()  # which makes one current
        getattr(toolkit.part("cudadrv.driver").driver, name)(*arguments)


def rounded(nbytes: int) -> int:
    """Bytes of the piece that serves a request."""
    unit = _UNIT if nbytes <= _SMALL else _PAGE
    return max(-(-nbytes // unit), 1) * unit


class Memory:
    """A piece of memory, free again when nothing refers to this object any more.

    Attributes
    ----------
    pointer : int
    nbytes : int
        Bytes that may be used.
    """

    __slots__ = ("__weakref__", "_home", "nbytes", "pointer")

    def __init__(self, pointer: int, nbytes: int, home: list):
        self.pointer, self._home, self.nbytes = pointer, home, nbytes

    def __del__(self):
        # In any thread, in the midst of anything, and when the interpreter ends: no lock, no import
        # and no global name.
        self._home.append(self.pointer)


class Pool:
    """Pieces of memory of one context that are free, by their size.

    Lists are appended to and popped from, which the interpreter does in one step: there is no lock
    that an object which dies while it is held would wait for.

    Parameters
    ----------
    allocate : callable
        Gives an owner of so many bytes, with Numba's ``device_ctypes_pointer``.
    """

    def __init__(self, allocate):
        self.allocate = allocate
        self._free: dict[int, list[int]] = {}
        # Numba's owners of all pieces, by their pointers.  They stand here and not with the pieces:
        # of what dies in a cycle Numba would free the memory, and the piece would be given back.
        self._owners: dict[int, object] = {}
        self.kept: dict[object, list] = {}  # what others keep for this context, by their keys

    def take(self, nbytes: int) -> Memory:
        """A piece of at least so many bytes, which are not set."""
        size = rounded(nbytes)
        home = self._free.setdefault(size, [])
        try:
            pointer = home.pop()
        except IndexError:
            owner = self._allocated(size)
            pointer = int(owner.device_ctypes_pointer.value)
            self._owners[pointer] = owner
        return Memory(pointer, size, home)

    def _allocated(self, size: int):
        try:
            return self.allocate(size)
        except Exception as error:
            if getattr(error, "code", None) != _OUT_OF_MEMORY:
                raise
        # What is left of the error would keep frames alive, and their arrays: the block has ended.
        gc.collect()
        self.release()
        return self.allocate(size)

    def release(self, least: int = 0) -> int:
        """Give free pieces of at least so many bytes back to Numba; how many bytes they were."""
        given = 0
        for size, home in list(self._free.items()):
            while size >= least and home:
                try:
                    del self._owners[home.pop()]
                except IndexError:  # another thread has taken it
                    break
                given += size
        return given


_pools: dict[int, Pool] = {}


def current_pool() -> Pool:
    """That of the current context."""
    _, context = driver_api().cuCtxGetCurrent()
    found = _pools.get(int(context))
    if found is None:
        context = toolkit.cuda.current_context()  # which makes one where there is none
        found = _pools.setdefault(int(context.handle), Pool(context.memalloc))
    return found


def release(least: int = _SMALL) -> None:
    """Give free pieces above a size back to the device, for others than this package."""
    if sum(pool.release(least) for pool in list(_pools.values())):
        with suppress(AttributeError):  # Numba, too, keeps what is given back, up to ten pieces
            toolkit.cuda.current_context().memory_manager.deallocations.clear()


def copy_to_device(pointer: int, values: np.ndarray) -> None:
    """Copy a contiguous array; it may be changed afterwards."""
    if values.nbytes:
        call_driver("cuMemcpyHtoD", pointer, values.ctypes.data, values.nbytes)


def copy_from_device(pointer: int, size: int, dtype) -> np.ndarray:
    """So many numbers at a place, when all that was started before has ended."""
    found = np.empty(size, dtype)
    if size:
        call_driver("cuMemcpyDtoH", found.ctypes.data, pointer, found.nbytes)
    return found
