"""Arrays of numbers in the formula of a map, checked against the map's axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import brief
from ..errors import MapError
from ..tensors import Axis, ConstantArray, Tensor, constant_array, topological
from ..tensors.arithmetic import apart, written

__all__ = ["check_constants", "checked_constant"]


def checked_constant(values: ArrayLike, letters: str | None, axes: Mapping[str, Axis]) -> Tensor:
    """An array of numbers over axes of a map, which are named by their letters, or of their own.

    Raises
    ------
    MapError
        Where it is no array of finite real numbers, or one of another shape.
    """
    if letters is None:
        array, own = _numbers(values), list[Axis]()
        for size in array.shape:
            own.append(apart(axes["i"] if size == axes["i"].size else Axis(f"c{size}", size), own))
        return constant_array(array, own)
    known = ", ".join(axes)
    if isinstance(letters, Tensor) or not isinstance(letters, Iterable):
        raise MapError("constant", f"axes {brief(letters)}{written()}", f"the map's axes {known}")
    unknown = [letter for letter in letters if letter not in axes]
    if unknown:
        fix = "Give its length in the map's axes()."
        raise MapError(
            "constant", f"the axis {unknown[0]!r}{written()}", f"the map's axes {known}", fix
        )
    if len(set(letters)) < len(letters):
        fix = "Give the second one a name of its own."
        raise MapError("constant", f"axes {letters!r}{written()}", "every axis once", fix)
    array = _numbers(values)
    own = [axes[letter] for letter in letters]
    shape = tuple(axis.size for axis in own)
    if array.shape != shape:
        accepted = f"shape {shape}, that of the axes {letters!r}"
        fix = "Name the axes in the order of the array's."
        raise MapError("constant", f"shape {array.shape}{written()}", accepted, fix)
    return constant_array(array, own)


def _numbers(values: ArrayLike) -> np.ndarray:
    """Finite numbers in double precision."""
    accepted, fix = "an array of real numbers", "Give the values as a NumPy array of numbers."
    try:
        array = np.asarray(values)
    except MapError:  # of tensors, which says so
        raise
    except ValueError as error:  # rows of different lengths
        raise MapError("constant", f"{error}{written()}", accepted, fix) from error
    if array.dtype.kind not in "biuf":
        raise MapError("constant", f"dtype {array.dtype}{written()}", accepted, fix)
    with np.errstate(over="ignore"):  # of longer numbers
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        given = f"{array[place]} at {list(place)}" if place else f"{array[place]}"
        fix = "Replace what is not finite."
        raise MapError("constant", f"{given}{written()}", "finite numbers", fix)
    return array


def check_constants(outputs: Iterable[Tensor], dtype: str) -> None:
    """Refuse constant arrays whose numbers are too large for a precision.

    Raises
    ------
    MapError
        That names the largest of them.
    """
    largest = float(np.finfo(dtype).max)
    for tensor in topological(outputs):
        if isinstance(tensor, ConstantArray):
            found = float(np.abs(tensor.array).max(initial=0.0))
            if found > largest:
                fix = 'Take dtype="float64", or other units.'
                raise MapError("constant", f"{found:g}", f"at most {largest:g} in {dtype}", fix)
