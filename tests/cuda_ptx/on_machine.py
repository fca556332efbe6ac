"""Makes the package believe in a GPU: kernels are compiled to PTX, and the machine runs it.

Everything up to the launch is what a GPU would have: the arguments are typed as numba-cuda types
them, its compiler writes the PTX of the kernel that it would load, and the parameters are laid out
as it lays them out.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import numpy as np
from numba.cuda import dispatcher as numba_dispatcher
from numba.cuda import types
from numba.cuda.cudadrv import devices
from numba.cuda.np import numpy_support
from ptx_machine import Kernel
from ptx_memory import Buffer, UninitialisedFault

from pwgf_sym.runtime.cuda import toolkit
from pwgf_sym.runtime.cuda.toolkit import cuda

__all__ = ["CAPABILITY", "DeviceArray", "Machine", "on_machine"]

CAPABILITY = (8, 0)
_MOST_THREADS, _MOST_SHARED = 1024, 48 * 1024


class DeviceArray:
    """What ``cuda.device_array`` and ``cuda.to_device`` give, on the host."""

    ndim = 1

    def __init__(self, shape, dtype):
        self.shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
        (self.size,), self.dtype = self.shape, np.dtype(dtype)
        self.nbytes = self.size * self.dtype.itemsize
        self.strides = (self.dtype.itemsize,)
        self.buffer = Buffer(self.nbytes, self.dtype.itemsize)

    @property
    def _numba_type_(self):
        return types.Array(numpy_support.from_dtype(self.dtype), 1, "C")

    def copy_to_host(self) -> np.ndarray:
        """A copy; a fault where something was never written."""
        if not self.buffer.written.all():
            first = int(np.argmin(self.buffer.written))
            text = f"the host reads element {first} of {self.size}, which nothing was written to"
            raise UninitialisedFault(text)
        return self.buffer.view(self.dtype)[: self.size].copy()

    def parameters(self) -> list:
        """As ``_Kernel._prepare_args`` lays an array out."""
        address = (self.buffer.base, self.buffer)
        return [0, 0, self.size, self.dtype.itemsize, address, *self.shape, *self.strides]


class Machine:
    """Kernels by function, types and threads, and what was run.

    Attributes
    ----------
    launches : list of (name, grid, threads, instructions)
    texts : dict
        PTX by function and types.
    kind : type
        Of the kernels that it makes.
    """

    def __init__(self, initialised: bool = True):
        self.initialised, self.kind = initialised, Kernel
        self.texts, self.kernels, self.launches = {}, {}, []

    def text(self, dispatcher, kinds) -> str:
        """PTX of the kernel that numba-cuda would load for arguments of these types."""
        key = dispatcher, kinds
        if key not in self.texts:
            kernel = numba_dispatcher._Kernel(dispatcher.py_func, kinds, **dispatcher.targetoptions)
            self.texts[key] = kernel._codelibrary.get_asm_str()
        return self.texts[key]

    def launch(self, dispatcher, grid, block, arguments) -> None:
        """Run a kernel, as ``kernel[grid, block](*arguments)``."""
        grid = (grid, 1, 1) if np.ndim(grid) == 0 else (*grid, 1, 1)[:3]
        threads = int(np.prod(block))
        assert np.ndim(block) == 0 and 1 <= threads <= _MOST_THREADS, block
        assert min(grid) >= 1, grid
        kinds = tuple(map(dispatcher.typeof_pyval, arguments))
        key, name = (dispatcher, kinds, threads), dispatcher.py_func.__name__
        if key not in self.kernels:
            self.kernels[key] = self.kind(self.text(dispatcher, kinds), threads, name)
            memory = self.kernels[key].entry.memory.values()
            assert sum(size for space, _, size in memory if space == "shared") <= _MOST_SHARED
        given = []
        for kind, value in zip(kinds, arguments, strict=True):
            assert isinstance(value, DeviceArray) or kind in (types.int64, types.float64), kind
            given += value.parameters() if isinstance(value, DeviceArray) else [value]
        done = self.kernels[key].launch(grid, given, self.initialised)
        self.launches.append((name, grid, threads, done))


def _to_device(values) -> DeviceArray:
    values = np.asarray(values)
    found = DeviceArray(values.shape, values.dtype)
    found.buffer.fill(values)
    return found


@contextmanager
def on_machine(machine: Machine | None = None):
    """Within it ``target="cuda"`` runs on the machine.

    Parameters
    ----------
    machine : Machine, optional
        One that has compiled kernels already; a new one by default.

    Yields
    ------
    Machine
    """
    machine = machine or Machine()
    device = type("Device", (), {"compute_capability": CAPABILITY})
    context = type("Context", (), {"device": device})

    def configured(kernel, configuration):
        grid, block = configuration
        return lambda *arguments: machine.launch(kernel, grid, block, arguments)

    with ExitStack() as stack:
        for owner, name, value in (
            (numba_dispatcher, "get_current_device", lambda: device),
            (devices, "get_context", lambda: context),
            (numba_dispatcher.CUDADispatcher, "__getitem__", configured),
            (toolkit, "by_driver", lambda: False),
            (cuda, "is_available", lambda: True),
            (cuda, "get_current_device", lambda: device),
            (cuda, "device_array", lambda shape, dtype=np.float64: DeviceArray(shape, dtype)),
            (cuda, "to_device", _to_device),
            (cuda, "synchronize", lambda: None),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield machine
