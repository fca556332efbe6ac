"""Dense linear algebra for solves with G: LAPACK's, on one thread.

BLAS runs on one thread: its waiting threads take the processor from the kernels' own, and its sums
depend on how many there are.  Where kernels run on a GPU, :mod:`.cuda.algebra` may stand in.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["HostAlgebra"]


@lru_cache(maxsize=1)
def _blas():
    """The BLAS libraries of this process; finding them takes milliseconds."""
    import scipy.linalg.blas  # noqa: F401  (a library must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class HostAlgebra:
    """NumPy's arrays and LAPACK.

    Attributes
    ----------
    xp : module
        NumPy, or what has its functions for arrays elsewhere.
    block : int
        Rows of a matrix that are worked on together: here they stay in the cache.
    """

    xp, block = np, 64

    def calls(self):
        """A context for the methods below."""
        return _blas().limit(limits=1, user_api="blas")

    def array(self, values) -> np.ndarray:
        """An array of ``xp``: the same memory, where it can be."""
        return np.asarray(values)

    def host(self, values) -> np.ndarray:
        """The array as NumPy's."""
        return values

    def gram(self, rows: np.ndarray) -> np.ndarray:
        """rows rows^T, (p, M) -> (p, p), at least its lower half."""
        from scipy.linalg.blas import get_blas_funcs

        # The transpose of a C-ordered array is what Fortran wants: syrk reads it without a copy.
        syrk = get_blas_funcs("syrk", (rows,))
        return syrk(1.0, rows.T, trans=1, lower=1)

    def cholesky(self, matrix: np.ndarray):
        """A function b -> matrix^-1 b, (m,) or (m, n), of a matrix (m, m).

        Its lower half is read, and it is overwritten.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the matrix is not positive definite, or not finite.
        """
        from scipy.linalg import cho_factor, cho_solve

        factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        if not np.isfinite(np.diagonal(factor[0])).all():  # OpenBLAS calls this a success
            raise np.linalg.LinAlgError("the matrix is not finite")
        return lambda b: cho_solve(factor, b, check_finite=False)

    def eigh(self, matrix: np.ndarray):
        """Eigenvalues (m,), the least first, and eigenvectors (m, m); as with ``cholesky``."""
        from scipy.linalg import eigh

        return eigh(matrix, lower=True, driver="evd", overwrite_a=True, check_finite=False)
