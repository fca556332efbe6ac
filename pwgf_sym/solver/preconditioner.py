"""A preconditioner for G + mu I from a few samples, by linear algebra in sample space.

With S = sqrt(weights) J on n samples, the metric of these samples alone is S^T S, and by Woodbury

    (S^T S + mu I)^-1 r = (r - S^T (S S^T + mu I)^-1 S r) / mu.

S S^T is n d by n d, whatever the number p of parameters, and comes from the Kronecker structure of
the map's layers (``Linearization.kernel_matrix``); S r and S^T u are the kernels' own products on
n samples, n/N of the cost of a product with G.  The first points of a Sobol sequence are spread as
evenly as all of them, so that a small n already captures the stiff directions of G.

How much is it to be trusted?  By matrix concentration (J. A. Tropp, Found. Trends Mach. Learn. 8
(2015) 1-230) G_n + mu I is near to G + mu I where n is well above tr(G) / mu, if no sample stands
out: what n samples say of eigenvalues far below tr(G) / n is noise.  So mu is at least a part of
tr(G_n) / n; how large a part is known by trying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .vectors import as_double, space_of

if TYPE_CHECKING:
    from .protocols import Linearized, Vector

__all__ = ["SamplePreconditioner"]


class SamplePreconditioner:
    """The operator above: r (p,) -> (G_n + mu I)^-1 r.

    Parameters
    ----------
    linearization : Linearization
        The map at all samples.
    count : int
        Number n of samples, the first ones.
    shift : float
        mu, unless ``least`` asks for more; at least 0.
    least : float
        mu is at least this part of tr(G_n) / n.
    """

    def __init__(
        self, linearization: Linearized, count: int, shift: float, least: float = 0.0
    ) -> None:
        whole = count == linearization.samples.count
        self.map = linearization if whole else linearization.on_first(count)
        self.samples = self.map.samples
        shares = self.samples.unpack_scalar(as_double(self.samples.weight))
        roots = np.tile(np.sqrt(shares), self.samples.dim)
        algebra = self.map.algebra
        with algebra.calls():
            self.roots = algebra.array(roots)
            kernel = self.map.kernel_matrix().astype(np.float64)
            kernel *= self.roots[:, None] * self.roots
            # Any mu will do where these samples have J = 0 and there is no shift.
            self.shift = max(shift, least * float(kernel.trace()) / count) or 1.0
            kernel[algebra.xp.diag_indices_from(kernel)] += self.shift
            solve = algebra.cholesky(kernel)
            space = space_of(self.samples.weights)
            self.apply = space.sample_operator(self.samples, self.roots, solve, algebra)

    def __call__(self, right: Vector) -> Vector:
        """(S^T S + mu I)^-1 right, (p,)."""
        pushed = self.map.jvp(right.astype(self.map.theta.dtype))
        return (right - self.adjoint_solve(pushed)) / self.shift

    def adjoint_solve(self, field: Vector) -> Vector:
        """S^T (S S^T + mu I)^-1 sqrt(weights) field for a packed field (M,); (p,)."""
        return as_double(self.map.vjp(self.apply(field)))
