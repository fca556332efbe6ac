"""Dense linear algebra on the device: cuBLAS and cuSOLVER through CuPy, where it is installed."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from ...runtime.cuda.toolkit import simulated
from ..algebra import HostAlgebra
from .memory import release

__all__ = ["CupyAlgebra", "algebra_of_device"]


class CupyAlgebra:
    """What :class:`pwgf_sym.targets.algebra.HostAlgebra` does, on CuPy's arrays.

    They share memory with Numba's: both speak ``__cuda_array_interface__``, and queue their work in
    the same default stream.

    Raises
    ------
    ImportError
        If CuPy is not installed, or lacks a library of CUDA.
    """

    block = sys.maxsize

    def __init__(self):
        self.xp = import_module("cupy")
        self._errstate = import_module("cupyx").errstate
        self._triangular = import_module("cupyx.scipy.linalg").solve_triangular
        _ = self.xp.cuda.cusolver  # a library that is missing is missed now

    @contextmanager
    def calls(self):
        """A context in which a matrix that is not positive definite is an error.

        At its beginning CuPy may have the memory that this package keeps for later, and at its end
        Numba that of CuPy.
        """
        release()
        try:
            with self._errstate(linalg="raise"):
                yield
        finally:
            self.xp.get_default_memory_pool().free_all_blocks()

    def array(self, values):
        """An array on the device; the same memory where ``values`` are there."""
        return self.xp.asarray(values)

    def host(self, values) -> np.ndarray:
        """A copy on the host."""
        return self.xp.asnumpy(values)

    def gram(self, rows):
        """rows rows^T, (p, M) -> (p, p)."""
        return rows @ rows.T

    def cholesky(self, matrix):
        """A function b -> matrix^-1 b, (m,) or (m, n), of a matrix (m, m); raises LinAlgError."""
        lower = self.xp.asfortranarray(self.xp.linalg.cholesky(matrix))
        if not self.xp.isfinite(self.xp.diag(lower)).all():  # cuSOLVER calls this a success
            raise np.linalg.LinAlgError("the matrix is not finite")

        def solve(b):
            half = self._triangular(lower, b, lower=True)
            return self._triangular(lower, half, trans="T", lower=True)

        return solve

    def eigh(self, matrix):
        """Eigenvalues (m,), the least first, and eigenvectors (m, m); the lower half is read."""
        return self.xp.linalg.eigh(matrix, UPLO="L")


def algebra_of_device() -> CupyAlgebra | HostAlgebra:
    """CuPy's, or the host's where CuPy is not installed or kernels run in the simulator.

    A CuPy that is installed and does not work is warned of, and the host's is taken.
    """
    if simulated() or find_spec("cupy") is None:
        return HostAlgebra()
    try:
        return CupyAlgebra()
    except Exception as error:  # whatever a broken installation raises
        text = (
            f"CuPy does not work ({type(error).__name__}: {error}); matrices are made on the host"
        )
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return HostAlgebra()
