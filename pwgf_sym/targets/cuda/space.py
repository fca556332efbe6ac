"""Vectors of the device as solvers take them: a ``pwgf_sym.solver.protocols.VectorSpace``."""

from __future__ import annotations

import numpy as np

from . import krylov
from .vectors import PlacesMatrix, Vector

__all__ = ["DeviceVectors"]


class DeviceVectors:
    """What solvers ask of vectors beside arithmetic: computed where they are."""

    def zeros_like(self, u: Vector, /) -> Vector:
        """Zeros of a vector's length and precision."""
        return Vector.zeros(u.size, u.dtype)

    def double(self, values, /) -> Vector:
        """Numbers from anywhere as a vector of double precision."""
        return Vector.of(values, np.float64)

    def dot(self, u: Vector, v: Vector, /) -> float:
        """Sum of the products, in double precision and a fixed order."""
        return u.dot(v)

    def is_finite(self, u: Vector, /) -> bool:
        """Whether all entries are finite."""
        return u.dot(0.0 * u) == 0.0

    def cg(self, apply, right: Vector, /, **options) -> Vector:
        """Conjugate gradients; see :func:`.krylov.cg`."""
        return krylov.cg(apply, right, **options)[0]

    def minres(self, apply, right: Vector, /, **options) -> Vector:
        """MINRES; see :func:`.krylov.minres`."""
        return krylov.minres(apply, right, **options)[0]

    def lsmr(self, forward, adjoint, target: Vector, weights: Vector | None, /, **options):
        """LSMR; see :func:`.krylov.lsmr`."""
        return krylov.lsmr(forward, adjoint, target, weights, **options)

    def sample_operator(self, samples, roots, solve, algebra, /) -> PlacesMatrix:
        """The operator as a matrix: it is applied often."""
        inverse = solve(algebra.xp.diag(roots))
        places = samples.unpack(np.arange(samples.width))
        return PlacesMatrix(roots[:, None] * inverse, places.T.ravel())  # component by component
