"""What solvers ask of vectors beside arithmetic: NumPy's arrays, or vectors on a device.

A vector on a device (:class:`pwgf_sym.targets.cuda.vectors.Vector`) has NumPy's operators; what it
is asked for here is computed where it is, and one number comes to the host.
"""

from __future__ import annotations

import numpy as np

__all__ = ["as_double", "dot", "is_finite", "like", "norm", "on_host", "zeros_like"]


def on_host(u) -> bool:
    """Whether a vector is NumPy's."""
    return isinstance(u, np.ndarray)


def as_double(u):
    """The vector in double precision; itself where it is that already."""
    return u.astype(np.float64, copy=False)


def like(values, u):
    """The same numbers in double precision where ``u`` is."""
    return np.asarray(values, np.float64) if on_host(u) else type(u).of(values, np.float64)


def zeros_like(u):
    """Zeros where ``u`` is."""
    return np.zeros_like(u) if on_host(u) else type(u).zeros(u.size, u.dtype)


def dot(u, v) -> float:
    """Sum of the products, kept in double precision.

    Not BLAS: its sums depend on the number of threads.
    """
    if on_host(u):
        return float(np.einsum("i,i->", u, v, dtype=np.float64))
    return u.dot(v)


def norm(u, weighted=None) -> float:
    """Norm of a vector, or with ``weighted`` = w u the weighted one."""
    return float(np.sqrt(dot(u, u if weighted is None else weighted)))


def is_finite(u) -> bool:
    """Whether all entries are finite."""
    if on_host(u):
        return bool(np.all(np.isfinite(u)))
    return u.dot(0.0 * u) == 0.0
