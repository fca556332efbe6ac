"""CUDA's driver as the package calls it past Numba, played by the machine.

Memory is taken from the pool, parameters are read through the pointers that a launch hands over,
and a piece that is taken again is not initialised: who still looks at what it held is found.
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from numba.cuda import dispatcher as numba_dispatcher
from numba.cuda import types
from numba.cuda.cudadrv import devicearray
from on_machine import DeviceArray, on_machine
from ptx_memory import Buffer, UninitialisedFault

from pwgf_sym.runtime.cuda import toolkit
from pwgf_sym.runtime.cuda.toolkit import cuda
from pwgf_sym.targets.cuda import launch, memory

__all__ = ["Driver", "on_driver"]

_CONTEXT, _INVALID_CONTEXT = 7, 201
_NUMBERS = {types.int64: ctypes.c_int64, types.float64: ctypes.c_double}


class NumbaArray(DeviceArray):
    """Numba's array of memory that is not its own."""

    def __init__(self, buffer: Buffer, size: int, dtype, owner):
        self.buffer, self.size, self.dtype, self.owner = buffer, size, dtype, owner
        self.shape, self.strides, self.nbytes = (size,), (dtype.itemsize,), size * dtype.itemsize
        self.device_ctypes_pointer = ctypes.c_size_t(buffer.base)

    def is_c_contiguous(self) -> bool:
        return True


class Pool(memory.Pool):
    """A pool of the driver's, which is told what is taken."""

    def __init__(self, driver):
        super().__init__(driver.memalloc)
        self.driver = driver

    def take(self, nbytes: int):
        found = super().take(nbytes)
        self.driver.forget(found.pointer)
        return found


class Driver:
    """The functions that are called of ``cuda.bindings.driver``, and of Numba's context.

    Attributes
    ----------
    launched : list of str
        Kernels that were launched past Numba.
    events : list of str
        "record" and "wait", in their order.
    broken : bool
        Launches have an error.
    """

    CUfunction = CUstream = staticmethod(lambda handle: handle)

    def __init__(self, machine):
        self.machine, self.launched, self.events, self.broken = machine, [], [], False
        self.handles, self.buffers, self.sent, self.limits = [], {}, {}, {}
        self.handle = _CONTEXT

    # -- memory ----------------------------------------------------------------------------------

    def memalloc(self, nbytes: int):
        base = Buffer(8, 8).base  # of an address space of its own
        self.limits[base] = nbytes
        return SimpleNamespace(device_ctypes_pointer=ctypes.c_size_t(base))

    def forget(self, pointer: int) -> None:
        for held in (self.buffers, self.sent):
            held.pop(pointer, None)

    def buffer(self, pointer: int, size: int, itemsize: int) -> Buffer:
        """The memory of an array."""
        if pointer not in self.buffers:
            assert size * itemsize <= self.limits[pointer]
            found = Buffer(size * itemsize, itemsize, window=pointer >> 36)
            if pointer in self.sent:
                found.fill(np.frombuffer(self.sent[pointer], np.uint8))
            self.buffers[pointer] = found
        found = self.buffers[pointer]
        assert (found.nbytes, found.grain) == (size * itemsize, itemsize)
        return found

    def mapped_array(self, size: int, dtype):
        """What ``cuda.mapped_array`` gives: memory of the host that has an address here."""
        host = np.full(size, np.nan, dtype)
        buffer = Buffer(host.nbytes, host.itemsize)
        buffer.bytes, self.buffers[buffer.base] = host.view(np.uint8), buffer
        found = np.ndarray.view(host, devicearray.MappedNDArray)
        found.device_setup(SimpleNamespace(device_ctypes_pointer=ctypes.c_size_t(buffer.base)))
        return found

    def array(self, description, owner, sync: bool = True) -> NumbaArray:
        """What ``cuda.from_cuda_array_interface`` gives."""
        (size,), dtype = description["shape"], np.dtype(description["typestr"])
        buffer = self.buffer(description["data"][0], size, dtype.itemsize)
        return NumbaArray(buffer, size, dtype, owner)

    def cuMemcpyHtoD(self, pointer: int, host: int, nbytes: int):
        assert pointer not in self.buffers and nbytes <= self.limits[pointer]
        self.sent[pointer] = ctypes.string_at(host, nbytes)
        return (0,)

    def cuMemcpyDtoH(self, host: int, pointer: int, nbytes: int):
        source = self.sent.get(pointer)
        if pointer in self.buffers:
            found = self.buffers[pointer]
            if not found.written.all():
                raise UninitialisedFault("the host reads what nothing was written to")
            source = found.bytes[:nbytes].tobytes()
        assert source is not None, "the host reads what was never written"
        ctypes.memmove(host, source, nbytes)
        return (0,)

    # -- launches and events ---------------------------------------------------------------------

    def cuCtxGetCurrent(self):
        return 0, _CONTEXT

    def create_event(self, timing: bool):
        return SimpleNamespace(handle=11)

    def cuEventRecord(self, event, stream: int):
        self.events.append("record")
        return (0,)

    def cuEventSynchronize(self, event):
        self.events.append("wait")
        return (0,)

    def compiled(self, kernel, kinds):
        """What Numba keeps of a kernel that it has launched."""
        self.handles.append((kernel, kinds))
        function = SimpleNamespace(handle=len(self.handles) - 1)
        library = SimpleNamespace(get_cufunc=lambda: function)

        def prepare(kind, value, stream, retr, given):
            if isinstance(value, DeviceArray):
                given += [w[0] if isinstance(w, tuple) else w for w in value.parameters()]
            else:
                given.append(_NUMBERS[kind](value))

        return SimpleNamespace(argument_types=kinds, _codelibrary=library, _prepare_args=prepare)

    def cuLaunchKernel(self, handle, x, y, z, threads, ty, tz, shared, stream, address, extra):
        if self.broken:
            return (_INVALID_CONTEXT,)
        assert (y, z, ty, tz, shared, stream, extra) == (1, 1, 1, 1, 0, 0, 0)
        kernel, kinds = self.handles[handle]
        count = sum(7 if isinstance(kind, types.Array) else 1 for kind in kinds)
        places = iter((ctypes.c_void_p * count).from_address(address))
        given = []
        for kind in kinds:
            if isinstance(kind, types.Array):
                words = [ctypes.c_int64.from_address(next(places)).value for _ in range(7)]
                buffer = self.buffer(words[4], words[2], words[3])
                assert words == [0, 0, words[2], buffer.grain, buffer.base, words[2], buffer.grain]
                given += [*words[:4], (buffer.base, buffer), *words[5:]]
            else:
                given.append(_NUMBERS[kind].from_address(next(places)).value)
        key = kernel, kinds, threads
        if key not in self.machine.kernels:
            text = self.machine.text(kernel, kinds)
            self.machine.kernels[key] = self.machine.kind(text, threads, kernel.__name__)
        self.machine.kernels[key].launch((x, 1, 1), given, self.machine.initialised)
        self.launched.append(kernel.__name__)
        return (0,)


@contextmanager
def on_driver(machine=None):
    """As :func:`.on_machine.on_machine`; yields the driver that the package talks to."""
    with on_machine(machine) as machine, ExitStack() as stack:
        driver = Driver(machine)

        def configured(kernel, configuration):
            def numba(*arguments):
                machine.launch(kernel, *configuration, arguments)
                kinds = tuple(map(kernel.typeof_pyval, arguments))
                if kinds not in kernel.overloads:
                    kernel.overloads[kinds] = driver.compiled(kernel, kinds)
                    stack.callback(kernel.overloads.pop, kinds)

            return numba

        def never(*given):
            raise AssertionError("Numba's arrays are slow")

        dispatcher = numba_dispatcher.CUDADispatcher
        for owner, name, value in (
            (dispatcher, "__getitem__", configured),
            (toolkit, "by_driver", lambda: True),
            (memory, "driver_api", lambda: driver),
            (memory, "_pools", {_CONTEXT: Pool(driver)}),
            (launch, "_launchers", {}),
            (launch, "refused", {}),
            (cuda, "current_context", lambda: driver),
            (cuda, "mapped_array", driver.mapped_array),
            (cuda, "from_cuda_array_interface", driver.array),
            (cuda, "as_cuda_array", lambda a: driver.array(a.__cuda_array_interface__, a)),
            (cuda, "device_array", never),
            (cuda, "to_device", never),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield driver
