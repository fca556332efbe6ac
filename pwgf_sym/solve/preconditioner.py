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
        from scipy.linalg import cho_factor

        whole = count == linearization.samples.count
        self.map = linearization if whole else linearization.on_first(count)
        self.samples, self.shift = self.map.samples, shift
        self.weight = 1.0 / self.samples.count
        kernel = self.map.kernel_matrix().astype(np.float64) * self.weight
        kernel[np.diag_indices_from(kernel)] += shift
        self.factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
        self.on_device = None if on_host(self.samples.weights) else self._inverse()

    def _inverse(self):
        """(S S^T + mu I)^-1 times the weight, as a matrix on the device: it is applied often."""
        from scipy.linalg import cho_solve

        from ..compile.cuda.vectors import PlacesMatrix

        size = len(self.factor[0])
        inverse = cho_solve(self.factor, self.weight * np.eye(size), check_finite=False)
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
        from scipy.linalg import cho_solve

        samples = self.samples
        values = samples.unpack(field).astype(np.float64).T  # component by component
        inner = cho_solve(self.factor, values.ravel() * self.weight, check_finite=False)
        packed = samples.pack(inner.reshape(values.shape).T) * (samples.weights > 0)
        return as_double(self.map.vjp(packed))
