"""Tensors that are computed from nothing: inputs, identity matrices, numbers and zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import sympy as sp

from .arrays import same
from .tensor import Axes, Axis, Rule, Tensor, node

__all__ = ["Constant", "Delta", "Input", "Zero", "constant", "input_tensor"]


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
