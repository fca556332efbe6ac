"""Vectors of NumPy: sums in a fixed order, and the Krylov methods of SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .protocols import Algebra, Apply, Samples

__all__ = ["HostVectors"]


class HostVectors:
    """A :class:`.protocols.VectorSpace` of NumPy's arrays."""

    def zeros_like(self, u: np.ndarray, /) -> np.ndarray:
        """Zeros of a vector's length and precision."""
        return np.zeros_like(u)

    def double(self, values: Any, /) -> np.ndarray:
        """Numbers from anywhere in double precision."""
        return np.asarray(values, np.float64)

    def dot(self, u: np.ndarray, v: np.ndarray, /) -> float:
        """Sum of the products, kept in double precision.

        Not BLAS: its sums depend on the number of threads.
        """
        return float(np.einsum("i,i->", u, v, dtype=np.float64))

    def is_finite(self, u: np.ndarray, /) -> bool:
        """Whether all entries are finite."""
        return bool(np.all(np.isfinite(u)))

    def cg(
        self, apply: Apply, right: np.ndarray, /, *, M: Apply | None, **limits: Any
    ) -> np.ndarray:
        """SciPy's conjugate gradients."""
        from scipy.sparse.linalg import cg

        given = _operator(apply, right), right
        found: np.ndarray = cg(*given, M=_operator(M, right), **limits)[0]
        return found

    def minres(
        self, apply: Apply, right: np.ndarray, /, *, M: Apply | None, **limits: Any
    ) -> np.ndarray:
        """SciPy's MINRES."""
        from scipy.sparse.linalg import minres

        given = _operator(apply, right), right
        found: np.ndarray = minres(*given, M=_operator(M, right), **limits)[0]
        return found

    def lsmr(
        self,
        forward: Apply,
        adjoint: Apply,
        target: np.ndarray,
        weights: np.ndarray | None,
        /,
        *,
        damp: float,
        tolerance: float,
        max_iterations: int,
        eps: float,
        by_residual: bool = False,
    ) -> tuple[np.ndarray, int, float]:
        """LSMR: SciPy's by the residual, else :func:`.lsmr.lsmr`."""
        if by_residual:
            from scipy.sparse.linalg import lsmr as scipy_lsmr

            # With atol = conlim = 0 SciPy's rule is |r| <= btol |b|, or machine precision.
            limits = {"atol": 0.0, "btol": tolerance, "conlim": 0.0, "maxiter": max_iterations}
            operator = _operator(forward, target, adjoint)
            found, _, iterations, *_ = scipy_lsmr(operator, target, damp=damp, **limits)
            return found, iterations, 0.0
        from .lsmr import lsmr

        return lsmr(
            forward,
            adjoint,
            target,
            1.0 if weights is None else weights,
            damp=damp,
            tolerance=tolerance,
            max_iterations=max_iterations,
            eps=eps,
        )

    def sample_operator(
        self,
        samples: Samples,
        roots: np.ndarray,
        solve: Callable[[np.ndarray], np.ndarray],
        algebra: Algebra,
        /,
    ) -> Apply:
        """The operator by what ``solve`` has factorized."""

        def apply(field: np.ndarray) -> np.ndarray:
            values = samples.unpack(field).astype(np.float64).T  # component by component
            inner = roots * solve(values.ravel() * roots)
            return samples.pack(inner.reshape(values.shape).T) * (samples.weights > 0)

        return apply


def _operator(apply: Apply | None, like: np.ndarray, adjoint: Apply | None = None) -> Any:
    """A square operator as SciPy takes it; None where there is none."""
    from scipy.sparse.linalg import LinearOperator

    if apply is None:
        return None
    shape = like.size, like.size
    return LinearOperator(shape, matvec=apply, rmatvec=adjoint, dtype=np.float64)
