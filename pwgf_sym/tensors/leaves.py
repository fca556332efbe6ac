"""Tensors that are computed from nothing: inputs, identity matrices, numbers, arrays, zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from .arrays import same
from .tensor import Array, Axes, Axis, Rule, Tensor, node

__all__ = ["Constant", "ConstantArray", "Delta", "Input", "Zero", "constant", "constant_array"]
__all__ += ["input_tensor"]

# Numbers of an array that its text shows.
_SHOWN = 4


@node
class Input(Tensor):
    """A named value from outside: a parameter (invariant), a state or a stored value."""

    name: str
    axes: Axes
    per_sample: bool

    def __post_init__(self) -> None:
        self._derive(operands=())

    def text(self) -> str:
        """Its name."""
        return self.name

    @property
    def short_name(self) -> str:
        """Its name."""
        return self.name


@node
class Delta(Tensor):
    """The identity matrix: 1 where the two indices are equal."""

    varies: ClassVar[bool] = False
    splits_trace: ClassVar[bool] = True
    first: Axis
    second: Axis

    def __post_init__(self) -> None:
        self._derive(axes=(self.first, self.second), per_sample=False, operands=())

    def traced(self, first: Axis, second: Axis) -> list[Tensor]:
        """Its number of rows."""
        return [constant(first.size)]

    def symbol(self, names: Callable[[Tensor], str]) -> str:
        """The same in all formulas; it has a number in a kernel, as all others have."""
        names(self)
        return "delta"

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The identity matrix."""
        return partial(same, np.eye(self.first.size, dtype=dtype))


@node
class Constant(Tensor):
    """One number."""

    varies: ClassVar[bool] = False
    value: sp.Expr

    def __post_init__(self) -> None:
        self._derive(axes=(), per_sample=False, operands=())

    def symbol(self, names: Callable[[Tensor], str]) -> str:
        """The number in decimals."""
        return repr(float(self.value))

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The number, rounded once."""
        return partial(same, dtype.type(float(self.value)))

    def text(self) -> str:
        """The number."""
        return str(self.value)


@node
class ConstantArray(Tensor):
    """Numbers over axes that nothing changes: a mask, fixed features, a matrix that selects.

    ``values`` are the float64 numbers, row by row, as bytes: arrays of equal numbers are one
    tensor.  :func:`constant_array` makes them of an array.
    """

    varies: ClassVar[bool] = False
    values: bytes
    axes: Axes

    def __post_init__(self) -> None:
        self._derive(per_sample=False, operands=())

    @property
    def array(self) -> Array:
        """The numbers, which cannot be written to."""
        return np.frombuffer(self.values).reshape([axis.size for axis in self.axes])

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """The numbers, rounded once."""
        return partial(same, self.array.astype(dtype))

    def text(self) -> str:
        """How many numbers, and the first of them."""
        first = [f"{value:g}" for value in self.array.flat[:_SHOWN]]
        return f"{self.size} numbers: {', '.join([*first, *['...'] * (self.size > _SHOWN)])}"


@node
class Zero(Tensor):
    """Zeros: the derivative of what depends on nothing.  Sums and products absorb them."""

    varies: ClassVar[bool] = False
    axes: Axes

    def __post_init__(self) -> None:
        self._derive(per_sample=False, operands=())

    def symbol(self, names: Callable[[Tensor], str]) -> str:
        """The same in all formulas."""
        return "zero"

    def of_arrays(self, dtype: np.dtype[Any]) -> Rule:
        """Zeros."""
        return partial(same, np.zeros([axis.size for axis in self.axes], dtype))


def input_tensor(name: str, axes: Iterable[Axis] = (), per_sample: bool = False) -> Input:
    """An input with any axes: by default an invariant number."""
    return Input(name, tuple(axes), per_sample)


def constant(value: Any) -> Constant:
    """A number of Python's or SymPy's as a tensor."""
    return Constant(sp.sympify(value))


def constant_array(values: ArrayLike, axes: Iterable[Axis]) -> Tensor:
    """An array of numbers as a tensor; without axes that is :func:`constant`."""
    axes, array = tuple(axes), np.array(values, dtype=np.float64) + 0.0  # a zero has no sign
    if array.shape != tuple(axis.size for axis in axes):
        raise ValueError(f"constant array of shape {array.shape} over {axes}")
    if axes:
        return ConstantArray(array.tobytes(), axes)
    value = array.item()
    return constant(int(value) if value.is_integer() else value)
