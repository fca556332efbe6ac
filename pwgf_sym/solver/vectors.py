"""What solvers ask of vectors beside arithmetic, wherever the vectors are.

NumPy's arrays are on the host.  A vector on a device has NumPy's operators, and knows its space
(:class:`.protocols.VectorSpace`): what it is asked for here is computed where it is, and one number
comes to the host.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .host import HostVectors
from .protocols import Vector, VectorSpace

__all__ = ["as_double", "dot", "is_finite", "like", "norm", "space_of", "zeros_like"]

_HOST = HostVectors()


def space_of(u: Vector) -> VectorSpace:
    """Where a vector is."""
    found: VectorSpace = getattr(u, "space", _HOST)
    return found


def as_double(u: Vector) -> Vector:
    """The vector in double precision; itself where it is that already."""
    return u.astype(np.float64, copy=False)


def like(values: Any, u: Vector) -> Vector:
    """The same numbers in double precision where ``u`` is."""
    return space_of(u).double(values)


def zeros_like(u: Vector) -> Vector:
    """Zeros where ``u`` is."""
    return space_of(u).zeros_like(u)


def dot(u: Vector, v: Vector) -> float:
    """Sum of the products, in double precision and a fixed order."""
    return space_of(u).dot(u, v)


def norm(u: Vector, weighted: Vector | None = None) -> float:
    """Norm of a vector, or with ``weighted`` = w u the weighted one."""
    return float(np.sqrt(dot(u, u if weighted is None else weighted)))


def is_finite(u: Vector) -> bool:
    """Whether all entries are finite."""
    return space_of(u).is_finite(u)
