"""Checks of what the exact answers are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import brief, real_array
from ..errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["checked_matrix", "checked_times", "checked_vector", "on_grid", "square_root"]


def on_grid(name: str, function: object, *places: Floats) -> Floats:
    """Finite values of a function at arrays of coordinates of one shape, checked."""
    many = "arrays of the coordinates" if len(places) > 1 else "an array of positions"
    accepted, shape = f"a vectorized function of {many}", places[0].shape
    if not callable(function):
        raise OptionError(name, brief(function), accepted)
    try:
        values = function(*places)
    except Exception as error:  # what was given is anybody's function
        raise OptionError(name, f"a function that raises {error!r}", accepted) from error
    found = real_array(name, values, finite=False, accepted=f"{accepted}, real")
    if found.shape not in ((), shape):
        raise OptionError(name, f"a function with values of shape {found.shape}", accepted)
    found = np.broadcast_to(found, shape)
    if not np.all(np.isfinite(found)):
        bad = np.argmin(np.isfinite(found).ravel())
        where = ", ".join(f"{place.ravel()[bad]:.6g}" for place in places)
        raise OptionError(name, f"a value that is not finite at {where}", "a finite function")
    return found


def checked_times(t: ArrayLike) -> Floats:
    """A time, or strictly ascending times, of at least 0."""
    times = real_array("t", t)
    if (
        times.ndim > 1
        or not times.size
        or times.min() < 0
        or np.any(np.diff(np.atleast_1d(times)) <= 0)
    ):
        raise OptionError(
            "t", brief(t), "a finite time of at least 0, or a strictly ascending list"
        )
    return times


def checked_vector(name: str, value: ArrayLike) -> Floats:
    """A vector of at least one entry."""
    vector = np.atleast_1d(real_array(name, value))
    if vector.ndim != 1 or not vector.size:
        raise OptionError(name, f"shape {vector.shape}", "shape (d,), d at least 1")
    return vector


def checked_matrix(name: str, value: ArrayLike, dim: int) -> Floats:
    """A symmetric (dim, dim) matrix from a number, a diagonal or a matrix."""
    matrix = real_array(name, value)
    if matrix.ndim < 2 and matrix.shape in ((), (dim,)):
        matrix = np.diag(np.broadcast_to(matrix, (dim,)))
    if matrix.shape != (dim, dim):
        raise OptionError(name, f"shape {matrix.shape}", f"a number, ({dim},) or ({dim}, {dim})")
    if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-10 * np.max(np.abs(matrix))):
        raise OptionError(name, "a matrix that is not symmetric", "a finite symmetric matrix")
    return (matrix + matrix.T) / 2


def square_root(name: str, cov: ArrayLike, dim: int) -> Floats:
    """A square root S with S S' = cov of a non-negative matrix."""
    values, basis = np.linalg.eigh(checked_matrix(name, cov, dim))
    if values[0] < -1e-12 * max(abs(values[-1]), 1e-300):
        raise OptionError(name, f"smallest eigenvalue {values[0]:.6g}", "a non-negative matrix")
    return basis * np.sqrt(np.maximum(values, 0.0))
