"""A preconditioner for G + mu I from a few samples, by linear algebra in sample space.

With S = sqrt(weights) J on n samples, the metric of these samples alone is S^T S, and by Woodbury

    (S^T S + mu I)^-1 r = (r - S^T (S S^T + mu I)^-1 S r) / mu.

S S^T is n d by n d, whatever the number p of parameters, and comes from the Kronecker structure of
the map's layers (``Linearization.kernel_matrix``); S r and S^T u are the kernels' own products on
n samples, n/N of the cost of a product with G.  The first points of a Sobol sequence are spread as
evenly as all of them, so that a small n already captures the stiff directions of G.
"""

from __future__ import annotations

import numpy as np

from .vectors import as_double, on_host

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
        mu > 0.
    """

    def __init__(self, linearization, count: int, shift: float):
        whole = count == linearization.samples.count
        self.map = linearization if whole else linearization.on_first(count)
        self.samples, self.shift = self.map.samples, shift
        self.weight = 1.0 / self.samples.count
        kernel = self.map.kernel_matrix().astype(np.float64) * self.weight
        algebra, size = self.map.algebra, len(kernel)
        kernel[algebra.xp.diag_indices_from(kernel)] += shift
        with algebra.calls():
            self.solve = algebra.cholesky(kernel)
            self.on_device = None
            if not on_host(self.samples.weights):
                self.on_device = self._on_device(self.solve(self.weight * algebra.xp.eye(size)))

    def _on_device(self, inverse):
        """(S S^T + mu I)^-1 times the weight, as a matrix on the device: it is applied often."""
        from ..compile.cuda.vectors import PlacesMatrix

        places = self.samples.unpack(np.arange(self.samples.width))
        return PlacesMatrix(inverse, places.T.ravel())  # component by component

    def __call__(self, right: np.ndarray) -> np.ndarray:
        """(S^T S + mu I)^-1 right, (p,)."""
        pushed = self.map.jvp(right.astype(self.map.theta.dtype))
        return (right - self.adjoint_solve(pushed)) / self.shift

    def adjoint_solve(self, field: np.ndarray) -> np.ndarray:
        """S^T (S S^T + mu I)^-1 sqrt(weights) field for a packed field (M,); (p,)."""
        if self.on_device is not None:
            return as_double(self.map.vjp(self.on_device(field)))
        samples = self.samples
        values = samples.unpack(field).astype(np.float64).T  # component by component
        inner = self.solve(values.ravel() * self.weight)
        packed = samples.pack(inner.reshape(values.shape).T) * (samples.weights > 0)
        return as_double(self.map.vjp(packed))
