"""Direct solves: G itself (p by p), or the kernel matrix of the samples (N d by N d).

BLAS runs on one thread: its waiting threads take the processor from the kernels' own, and its sums
depend on how many there are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .preconditioner import SamplePreconditioner
from .vectors import norm

__all__ = ["solve_dense", "solve_kernel"]


@lru_cache(maxsize=1)
def _blas():
    """The BLAS libraries of this process; finding them takes milliseconds."""
    import scipy.linalg.blas  # noqa: F401  (a library must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def solve_dense(system, options):
    """(G + mu I) eta = b from G itself, with one step of iterative refinement.

    With a shift, and no cutoff asked for, by Cholesky's factorization; else by eigenvectors, of
    which those below the cutoff are dropped.  The refinement takes its gap from J, not from the
    squared matrix: the corrected seminormal equations, A. Bjorck, Linear Algebra Appl. 88/89 (1987)
    31-48, about as exact as a QR factorization of J at a tenth of its cost.

    Returns
    -------
    eta : (p,) array
        NaN where G is not finite.
    kept : function
        Takes the part of a vector that the solve does not drop.
    floor : float
        Round-off of the gap.
    rank : int or None
        Number of modes kept; None with Cholesky, which keeps all.
    """
    with _blas().limit(limits=1, user_api="blas"):
        rows, metric = _rows_and_metric(system)
        if metric is None:
            return np.full(system.right.size, np.nan), lambda v: v, 0.0, None
        size = float(np.sqrt(np.trace(metric)))
        inverse, kept, rank = _inverse(metric, system.shift, options.cutoff)
        eta, left = np.zeros(system.right.size), np.asarray(system.right)
        for _ in range(2):
            eta = eta + inverse(left)
            left = _gap(system, rows, eta)
        return eta, kept, _ROUND_OFF * system.eps * size * _length(system), rank


# Round-off of a mean of products, in units of the dtype's eps.
_ROUND_OFF = 8.0


def _rows_and_metric(system):
    """sqrt(weights) J^T (p, M), and the lower half of G; None where G is not finite."""
    from scipy.linalg.blas import get_blas_funcs

    rows = np.ascontiguousarray(system.map.jacobian())
    rows *= _roots(system)
    # The transpose of a C-ordered array is what Fortran wants: syrk reads it without a copy.
    syrk = get_blas_funcs("syrk", (rows,))
    metric = syrk(1.0, rows.T, trans=1, lower=1).astype(np.float64)
    finite = np.all(np.isfinite(np.diag(metric)))  # LAPACK must not see anything else
    return rows, metric if finite else None


def _inverse(metric, shift: float, cutoff: float | None):
    """Functions b -> (G + mu I)^-1 b and v -> the part of v that is kept; the rank."""
    from scipy.linalg import cho_factor, cho_solve, eigh

    if cutoff is None:
        metric[np.diag_indices_from(metric)] += shift
        factor = cho_factor(metric, lower=True, overwrite_a=True, check_finite=False)
        return lambda b: cho_solve(factor, b, check_finite=False), lambda v: v, None
    values, modes = eigh(metric, lower=True, driver="evd", overwrite_a=True, check_finite=False)
    keep = values > cutoff * values[-1]
    modes, factors = modes[:, keep], 1.0 / (values[keep] + shift)
    return lambda b: modes @ (factors * (modes.T @ b)), lambda v: modes.T @ v, int(keep.sum())


def _roots(system) -> np.ndarray:
    """Roots of the samples' weights, (M,)."""
    return np.sqrt(np.asarray(system.samples.weights))


def _gap(system, rows, eta):
    """b - (G + mu I) eta from the rows of J."""
    image = eta.astype(rows.dtype) @ rows
    if system.field is None:
        found = (rows @ image).astype(np.float64)
        return np.asarray(system.right) - found - system.shift * eta
    left = _roots(system) * np.asarray(system.field) - image
    return (rows @ left).astype(np.float64) - system.shift * eta


def _length(system) -> float:
    """Norm of the target field, or in the energy form 0: b is exact there."""
    if system.field is None:
        return 0.0
    return norm(system.field, system.samples.weights * system.field)


def solve_kernel(system) -> np.ndarray:
    """(G + mu I)^-1 b through the kernel matrix K = S S^T of all samples, S = sqrt(weights) J.

    In the energy form by Woodbury's formula; in the velocity form eta = S^T (K + mu I)^-1 sqrt(w) u
    for the target u, the regularized least-squares solution of least norm, with one step of
    refinement in sample space.

    The shift is above 0 (:meth:`pwgf_sym.solve.options.LinearOptions.check_for`).
    """
    with _blas().limit(limits=1, user_api="blas"):
        inverse = SamplePreconditioner(system.map, system.samples.count, system.shift)
        if system.field is None:
            eta = inverse(system.right)
            return eta + inverse(system.gap(eta))
        eta = inverse.adjoint_solve(system.field)
        gap = system.field - system.jvp(eta)
        # The second step fits what is left, and takes back the shift of the first.
        return eta + inverse.adjoint_solve(gap) - system.shift * inverse(eta)
