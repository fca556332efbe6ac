"""Checks of the arguments of laws: each returns the clean value or raises LawError."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from .. import arguments
from ..errors import LawError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Relative asymmetry of a covariance that is taken for round-off and removed.
_ASYMMETRY = 1e-10


real_array = functools.partial(arguments.real_array, error=LawError)
integer_from = functools.partial(arguments.integer, error=LawError)


def number_above(name: str, value: object, bound: float) -> float:
    """A finite number larger than a bound, as a float."""
    return arguments.number(name, value, above=bound, error=LawError)


def common_dim(arrays: dict[str, NDArray[np.float64]], matrices: tuple[str, ...] = ()) -> int:
    """Dimension that the given vectors (and square matrices) agree on."""
    dims = {}
    for name, array in arrays.items():
        most = 2 if name in matrices else 1
        if array.ndim > most or 0 in array.shape or (array.ndim == 2 and len(set(array.shape)) > 1):
            accepted = "a number or a vector" + (" or a square matrix" if most == 2 else "")
            raise LawError(name, f"shape {array.shape}", accepted)
        if array.ndim:
            dims[name] = array.shape[0]
    if len(set(dims.values())) > 1:
        given = ", ".join(f"{name} of dimension {dim}" for name, dim in dims.items())
        raise LawError(" and ".join(dims), given, "the same dimension")
    if not dims:
        name, value = next(iter(arrays.items()))
        accepted = "a vector, because its length is the dimension"
        raise LawError(name, value, accepted, f"Write {name}=[{value}] in one dimension.")
    return arguments.dimension(next(iter(dims)), next(iter(dims.values())), error=LawError)


def checked_covariance(cov: NDArray[np.float64], name: str = "cov") -> NDArray[np.float64]:
    """Symmetric part of a covariance matrix that is symmetric to round-off and positive."""
    skew = np.max(np.abs(cov - cov.T))
    if skew > _ASYMMETRY * np.max(np.abs(cov)):
        fix = "Use (cov + cov.T)/2 if the difference is round-off."
        raise LawError(name, f"a matrix with max |cov - cov'| = {skew:.6g}", "a symmetric one", fix)
    cov = cov / 2 + cov.T / 2
    diagonal = np.diag(cov)
    plain = np.count_nonzero(cov) == np.count_nonzero(diagonal)
    values = np.sort(diagonal) if plain else np.linalg.eigvalsh(cov)
    if not values[0] > len(cov) * np.finfo(float).eps * values[-1]:
        given = f"a covariance with smallest eigenvalue {values[0]:.6g}"
        fix = "Add a small multiple of the identity, or drop the degenerate directions."
        raise LawError(name, given, "a positive definite covariance", fix)
    return measurable(name, f"variances from {values[0]:.6g} to {values[-1]:.6g}", cov)


def measurable(name: str, given: str, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A covariance, or a LawError where the law is too wide or too narrow to have one."""
    diagonal = np.diag(covariance)
    if not (np.all(np.isfinite(covariance)) and np.all(diagonal >= np.finfo(float).tiny)):
        accepted = "a size of which double precision holds the square"
        raise LawError(name, given, accepted, "Use other units of length.")
    return covariance


def frozen(array: ArrayLike) -> NDArray[np.float64]:
    """A read-only copy."""
    array = np.array(array, dtype=np.float64)
    array.setflags(write=False)
    return array
