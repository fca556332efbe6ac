"""Vectors on the device, with the arithmetic that solvers write for NumPy's arrays.

A solver's parameters, directions and fields are such vectors on this target: what is written
``theta + dt * eta`` runs where they are.  Only numbers that are asked for come to the host
(:meth:`Vector.dot`), and whole vectors where NumPy is handed one (``numpy.asarray``).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ...runtime.cuda import toolkit
from ...runtime.cuda.blocks import block_sum
from ...runtime.cuda.toolkit import cuda, device, simulated
from .launch import launch
from .memory import copy_from_device, copy_to_device, current_pool

__all__ = ["PlacesMatrix", "Vector", "block_dot", "vector_threads"]

# Threads of a block that works on vectors, a power of two; blocks of a launch at most.
_THREADS, _SIMULATED, _BLOCKS = 1024, 2, 64
# Blocks of a launch over rows of a matrix at most, and threads of each.
_ROWS, _ROW_THREADS = 1024, 256


@cache
def vector_threads() -> int:
    """Threads of a block: in the simulator few, where each is one of the system's."""
    return _SIMULATED if simulated() else _THREADS


@device
def block_dot(x, y, room):
    """Sum of x y, by the threads of one block."""
    value = 0.0
    for e in range(cuda.threadIdx.x, x.size, cuda.blockDim.x):
        value += x[e] * y[e]
    return block_sum(value, room)


@cuda.jit
def combine(out, a: float, x, b: float, y):
    """out = a x + b y; where b is 0, y is not looked at."""
    for e in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        value = a * x[e]
        if b != 0.0:
            value += b * y[e]
        out[e] = value


@cuda.jit
def fill(out, value: float):
    """out = value, in every entry."""
    for e in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[e] = value


@cuda.jit
def multiply(out, x, y):
    """out = x y, entry by entry."""
    for e in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[e] = x[e] * y[e]


@cuda.jit
def partial_dots(x, y, sums):
    """sums[block] = the block's share of sum x y, in double precision."""
    room = cuda.shared.array(1024, np.float64)
    value = 0.0
    for e in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        value += np.float64(x[e]) * np.float64(y[e])
    total = block_sum(value, room)
    if cuda.threadIdx.x == 0:
        sums[cuda.blockIdx.x] = total


@cuda.jit
def places_product(matrix, places: NDArray[np.int64], x, out):
    """out[places[r]] = sum over c of matrix[r, c] x[places[c]], a row a block at a time."""
    room, size = cuda.shared.array(1024, np.float64), places.size
    for row in range(cuda.blockIdx.x, size, cuda.gridDim.x):
        value = 0.0
        for c in range(cuda.threadIdx.x, size, cuda.blockDim.x):
            value += matrix[row * size + c] * np.float64(x[places[c]])
        total = block_sum(value, room)
        if cuda.threadIdx.x == 0:
            out[places[row]] = total


class PlacesMatrix:
    """A matrix on some entries of a vector; the others do not enter, and come out as zeros.

    Parameters
    ----------
    matrix : (m, m) array
        On the host, or CuPy's.
    places : (m,) array of int
        Entries that its rows and columns stand for.
    """

    def __init__(self, matrix, places: np.ndarray):
        self.matrix = Vector.of(matrix.reshape(-1), np.float64)
        self.places = Vector.of(places, np.int64)

    def __call__(self, x: Vector) -> Vector:
        """The product, in the vector's precision."""
        out = Vector.zeros(x.size, x.dtype)
        blocks, threads = min(self.places.size, _ROWS), min(vector_threads(), _ROW_THREADS)
        launch(places_product, blocks, threads, self.matrix, self.places, x, out)
        return out


class Vector:
    """Numbers on the device.

    Sums and products with numbers and with other vectors are vectors, of the wider of the two
    precisions.

    Parameters
    ----------
    memory : Memory or device array
        What keeps the numbers alive.  Memory that a view or CuPy's array still looks at is not
        given to others: they hold this object, or what it holds.
    size : int
    dtype : np.dtype
    pointer : int, optional
        Where the numbers are, next to each other.  Without it ``memory`` is an array that only
        Numba knows how to find: in the simulator, or with numbers that stand apart.

    Attributes
    ----------
    kind, words
        What :func:`.launch.launch` knows the type of the argument by, and what it hands to a
        kernel; ``kind`` is None where Numba has to do that.
    """

    __slots__ = ("_data", "dtype", "kind", "memory", "pointer", "size", "words")

    __array_ufunc__ = None  # NumPy's arrays and numbers leave arithmetic to this class

    def __init__(self, memory, size: int, dtype, pointer: int | None = None):
        self.memory, self.size, self.pointer = memory, size, pointer
        self.dtype = dtype = np.dtype(dtype)
        self._data = self.kind = self.words = None
        if pointer is None:
            self._data = memory
        else:
            # As Numba has it: two words for owners on the host, then an array of one axis.
            self.kind = dtype.char
            self.words = (0, 0, size, dtype.itemsize, pointer, size, dtype.itemsize)

    @classmethod
    def of(cls, values, dtype) -> Vector:
        """A vector of a precision: the memory of ``values`` where it can be, else a copy."""
        if not isinstance(values, Vector) and hasattr(values, "__cuda_array_interface__"):
            values = cls._shared(values)
        if isinstance(values, Vector):
            return values.astype(dtype)
        values = np.ascontiguousarray(values, dtype)
        if not toolkit.by_driver():
            return cls(cuda.to_device(values), values.size, values.dtype)
        found = cls.empty(values.size, values.dtype)
        copy_to_device(found.pointer, values)
        return found

    @classmethod
    def _shared(cls, values) -> Vector:
        """The numbers of another library's array."""
        data = cuda.as_cuda_array(values)  # which has waited for them
        data.stream = 0
        pointer = None
        if toolkit.by_driver() and data.size and data.is_c_contiguous():
            pointer = int(data.device_ctypes_pointer.value)
        return cls(data, data.size, data.dtype, pointer)

    @classmethod
    def empty(cls, size: int, dtype) -> Vector:
        """A vector whose entries are not set."""
        dtype = np.dtype(dtype)
        if not toolkit.by_driver():
            return cls(cuda.device_array(size, dtype), size, dtype)
        memory = current_pool().take(size * dtype.itemsize)
        return cls(memory, size, dtype, memory.pointer)

    @classmethod
    def full(cls, size: int, value: float, dtype) -> Vector:
        """A vector with one number in every entry."""
        found = cls.empty(size, dtype)
        launch(fill, found.blocks, vector_threads(), found, float(value))
        return found

    @classmethod
    def zeros(cls, size: int, dtype) -> Vector:
        return cls.full(size, 0.0, dtype)

    @property
    def data(self):
        """The numbers as Numba's array, which keeps them alive."""
        if self._data is None:
            given = self.__cuda_array_interface__ | {"stream": None}
            self._data = cuda.from_cuda_array_interface(given, owner=self.memory, sync=False)
        return self._data

    @property
    def space(self):
        """What solvers ask beside arithmetic (:class:`.space.DeviceVectors`)."""
        from .space import DeviceVectors

        return DeviceVectors()

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict:
        running = {"stream": 1}  # kernels may still write
        if self.pointer is None:
            return self.data.__cuda_array_interface__ | running
        place = {"shape": self.shape, "strides": None, "data": (self.pointer, False)}
        return place | {"typestr": self.dtype.str, "version": 3} | running

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        if self.pointer is None:
            found = self.data.copy_to_host()
        else:
            found = copy_from_device(self.pointer, self.size, self.dtype)
        return found if dtype is None else found.astype(dtype, copy=False)

    def first(self, count: int) -> np.ndarray:
        """The first numbers, on the host."""
        if self.pointer is None:
            return self.data[:count].copy_to_host()
        return copy_from_device(self.pointer, count, self.dtype)

    def astype(self, dtype, copy: bool = False) -> Vector:
        """The same numbers in a precision; the vector itself where it has that already."""
        return self if self.dtype == dtype and not copy else self._combined(1.0, self, 0.0, dtype)

    def copy(self) -> Vector:
        return self.astype(self.dtype, copy=True)

    # -- arithmetic ----------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        """Blocks of a launch over all entries; it depends on nothing else."""
        return max(1, min(-(-self.size // vector_threads()), _BLOCKS))

    def _wider(self, other: Vector) -> np.dtype:
        if not isinstance(other, Vector) or other.shape != self.shape:
            raise TypeError(f"{other!r} with a vector of {self.size} numbers on the device")
        return np.promote_types(self.dtype, other.dtype)

    def _combined(self, a: float, other: Vector, b: float, dtype, out=None) -> Vector:
        """a self + b other."""
        out = Vector.empty(self.size, dtype) if out is None else out
        threads = vector_threads()
        launch(combine, self.blocks, threads, out, float(a), self, float(b), other)
        return out

    def __add__(self, other: Vector) -> Vector:
        return self._combined(1.0, other, 1.0, self._wider(other))

    def __sub__(self, other: Vector) -> Vector:
        return self._combined(1.0, other, -1.0, self._wider(other))

    def __neg__(self) -> Vector:
        return -1.0 * self

    def __mul__(self, other) -> Vector:
        if not isinstance(other, Vector):
            return self._combined(float(other), self, 0.0, self.dtype)
        out = Vector.empty(self.size, self._wider(other))
        launch(multiply, self.blocks, vector_threads(), out, self, other)
        return out

    __rmul__ = __mul__

    def __truediv__(self, number: float) -> Vector:
        return (1.0 / number) * self

    def __iadd__(self, other: Vector) -> Vector:
        self._wider(other)
        return self._combined(1.0, other, 1.0, self.dtype, out=self)

    def __isub__(self, other: Vector) -> Vector:
        self._wider(other)
        return self._combined(1.0, other, -1.0, self.dtype, out=self)

    def shares(self, other: Vector) -> Vector:
        """Sums of the products, in double precision, a block each: (blocks,)."""
        self._wider(other)
        sums = Vector.empty(self.blocks, np.float64)
        launch(partial_dots, sums.size, vector_threads(), self, other, sums)
        return sums

    def dot(self, other: Vector) -> float:
        """Sum of the products, in double precision and a fixed order, on the host."""
        return float(np.add.reduce(np.asarray(self.shares(other))))
