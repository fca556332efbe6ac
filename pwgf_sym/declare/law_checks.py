"""Checks of the arguments of laws: each returns the clean value or raises LawError."""

from __future__ import annotations

import numbers

import numpy as np

from ..errors import LawError

# Relative asymmetry of a covariance that is taken for round-off and removed.
_ASYMMETRY = 1e-10


def real_array(name: str, value, finite: bool = True) -> np.ndarray:
    """Real float64 array, or a LawError that names the argument."""
    accepted = "a finite real number or a regular array of them"
    try:
        if np.iscomplexobj(value):
            raise TypeError("complex")
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LawError(name, brief(value), accepted) from error
    if finite and not np.all(np.isfinite(array)):
        raise LawError(name, brief(value), accepted, "Replace the infinite or NaN entries.")
    return array


def common_dim(arrays: dict[str, np.ndarray], matrices: tuple[str, ...] = ()) -> int:
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
    return next(iter(dims.values()))


def checked_covariance(cov: np.ndarray) -> np.ndarray:
    """Symmetric part of a covariance matrix that is symmetric to round-off and positive."""
    skew = np.max(np.abs(cov - cov.T))
    if skew > _ASYMMETRY * np.max(np.abs(cov)):
        fix = "Use (cov + cov.T)/2 if the difference is round-off."
        raise LawError(
            "cov", f"a matrix with max |cov - cov'| = {skew:.6g}", "a symmetric one", fix
        )
    cov = (cov + cov.T) / 2
    values = np.linalg.eigvalsh(cov)
    if not values[0] > len(cov) * np.finfo(float).eps * values[-1]:
        given = f"a covariance with smallest eigenvalue {values[0]:.6g}"
        fix = "Add a small multiple of the identity, or drop the degenerate directions."
        raise LawError("cov", given, "a positive definite covariance", fix)
    return cov


def number_above(name: str, value, bound: float) -> float:
    array = real_array(name, value)
    if array.shape != () or not array > bound:
        raise LawError(name, brief(value), f"one finite number larger than {bound:g}")
    return float(array)


def integer_from(name: str, value, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise LawError(name, brief(value), f"an integer of at least {least}")
    return int(value)


def frozen(array: np.ndarray) -> np.ndarray:
    array = np.array(array, dtype=np.float64)
    array.setflags(write=False)
    return array


def brief(value) -> str:
    """Short text of a value for messages: long lists keep their first and last entries."""
    text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= 120 else f"{text[:56]} ... {text[-56:]}"
