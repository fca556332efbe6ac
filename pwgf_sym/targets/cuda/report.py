"""Numbers that a kernel writes and the host reads while the device goes on with other work."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from ...runtime.cuda import toolkit
from .memory import call_driver, current_pool
from .vectors import Vector

__all__ = ["Report"]


class Report:
    """A few numbers in memory of the host that kernels write to.

    To read them, the host waits for the kernel that wrote them, and not for what was started after
    it.  Where there is no such memory they are copied from the device, after all that was started.

    Parameters
    ----------
    size : int
        How many numbers.

    Attributes
    ----------
    vector : Vector
        The numbers, as an argument of kernels.
    """

    def __init__(self, size: int):
        self._seen = self._event = None
        if toolkit.by_driver():
            self._map(size)
        if self._event is None:
            self.vector = Vector.zeros(size, np.float64)

    def _map(self, size: int) -> None:
        try:
            no_memory = toolkit.part("cudadrv.error").CudaDriverError
        except (ImportError, AttributeError):  # another Numba
            return
        try:
            mapped = toolkit.cuda.mapped_array(size, np.float64)
            event = toolkit.cuda.current_context().create_event(timing=False)
            self.vector = Vector(mapped, size, np.float64, int(mapped.device_ctypes_pointer.value))
            self._seen = np.ndarray.view(mapped, np.ndarray)  # its own ``view`` is of the device
        except (no_memory, AttributeError):  # the device cannot, or Numba has no such memory
            return
        self._event = event

    @classmethod
    def kept(cls, size: int) -> Report:
        """One that was given back, or a new one: memory that the device writes to takes long."""
        if toolkit.by_driver():
            with suppress(IndexError):
                return current_pool().kept.setdefault((cls, size), []).pop()
        return cls(size)

    def give_back(self) -> None:
        """Keep it for the next who asks; no kernel may be left that will write to it."""
        if self._event is not None:
            current_pool().kept.setdefault((type(self), self.vector.size), []).append(self)

    def sent(self) -> None:
        """The kernel that was started last has written it."""
        if self._event is not None:
            call_driver("cuEventRecord", self._event.handle, 0)

    def read(self) -> np.ndarray:
        """A copy of the numbers, when the kernel before the last :meth:`sent` has ended."""
        if self._event is None:
            return np.asarray(self.vector)
        call_driver("cuEventSynchronize", self._event.handle)
        return self._seen.copy()
