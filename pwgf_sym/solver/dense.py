"""Direct solves: G itself (p by p), or the kernel matrix of the samples (N d by N d).

Matrices are arrays of the kernels' ``algebra``, and so are vectors between two products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .preconditioner import SamplePreconditioner
from .vectors import like, norm

if TYPE_CHECKING:
    from .linear import System
    from .option_objects import LinearSolve
    from .protocols import Algebra, Apply, Vector

    #: A matrix, or a vector, of the map's algebra.
    Array = Any

__all__ = ["solve_dense", "solve_kernel"]


def solve_dense(system: System, options: LinearSolve) -> tuple[Vector, Apply, float, int | None]:
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
    algebra = system.algebra
    with algebra.calls():
        rows, metric = _rows_and_metric(system)
        if metric is None:
            return np.nan * system.right, lambda v: v, 0.0, None
        size = float(np.sqrt(float(metric.trace())))
        inverse, kept, rank = _inverse(algebra, metric, system.shift, options.cutoff)
        right = algebra.array(system.right)
        eta, left = 0.0 * right, right
        for _ in range(2):
            eta = eta + inverse(left)
            left = _gap(system, rows, eta)
    floor = _ROUND_OFF * system.eps * size * _length(system)
    return (
        like(eta, system.right),
        lambda v: like(kept(algebra.array(v)), system.right),
        floor,
        rank,
    )


# Round-off of a mean of products, in units of the dtype's eps.
_ROUND_OFF = 8.0


def _rows_and_metric(system: System) -> tuple[Array, Array | None]:
    """sqrt(weights) J^T (p, M), and the lower half of G; None where G is not finite."""
    algebra, rows = system.algebra, system.map.jacobian()
    rows *= _roots(system)
    metric = algebra.gram(rows).astype(np.float64)
    # Libraries must not see anything else.
    finite = algebra.xp.isfinite(algebra.xp.diag(metric)).all()
    return rows, metric if finite else None


def _inverse(
    algebra: Algebra, metric: Array, shift: float, cutoff: float | None
) -> tuple[Apply, Apply, int | None]:
    """Functions b -> (G + mu I)^-1 b and v -> the part of v that is kept; the rank."""
    if cutoff is None:
        metric[algebra.xp.diag_indices_from(metric)] += shift
        return algebra.cholesky(metric), lambda v: v, None
    values, modes = algebra.eigh(metric)
    keep = values > cutoff * values[-1]
    modes, factors = modes[:, keep], 1.0 / (values[keep] + shift)
    return lambda b: modes @ (factors * (modes.T @ b)), lambda v: modes.T @ v, int(keep.sum())


def _roots(system: System) -> Array:
    """Roots of the samples' weights, (M,)."""
    return system.algebra.xp.sqrt(system.algebra.array(system.samples.weights))


def _gap(system: System, rows: Array, eta: Array) -> Array:
    """b - (G + mu I) eta from the rows of J."""
    image = eta.astype(rows.dtype) @ rows
    if system.field is None:
        found = (rows @ image).astype(np.float64)
        return system.algebra.array(system.right) - found - system.shift * eta
    left = _roots(system) * system.algebra.array(system.field) - image
    return (rows @ left).astype(np.float64) - system.shift * eta


def _length(system: System) -> float:
    """Norm of the target field, or in the energy form 0: b is exact there."""
    if system.field is None:
        return 0.0
    return norm(system.field, system.samples.weights * system.field)


def solve_kernel(system: System) -> Vector:
    """(G + mu I)^-1 b through the kernel matrix K = S S^T of all samples, S = sqrt(weights) J.

    In the energy form by Woodbury's formula; in the velocity form eta = S^T (K + mu I)^-1 sqrt(w) u
    for the target u, the regularized least-squares solution of least norm, with one step of
    refinement in sample space.

    The shift is above 0 (:meth:`pwgf_sym.LinearSolve.check_method`).
    """
    with system.algebra.calls():
        inverse = SamplePreconditioner(system.map, system.samples.count, system.shift)
        if system.field is None:
            eta = inverse(system.right)
            return eta + inverse(system.gap(eta))
        eta = inverse.adjoint_solve(system.field)
        gap = system.field - system.jvp(eta)
        # The second step fits what is left, and takes back the shift of the first.
        return eta + inverse.adjoint_solve(gap) - system.shift * inverse(eta)
