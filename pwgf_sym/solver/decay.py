"""Decaying parts of velocities' Jacobians, sample by sample: what Rosenbrock-W steps solve with.

Of the symmetric local Jacobian A of a sample (:meth:`pwgf_sym.targets.program.Program.
velocity_jacobian`) a step takes the negative semidefinite part A_ = -(the positive part of -A): its
eigenvalues that are negative, with their eigenvectors.  I - gamma h A_ has eigenvalues of at least
1 at every step size h, and a W-method keeps its order with any matrix in A's place (Steihaug and
Wolfbrandt, Math. Comp. 33, 1979; Hairer and Wanner, Solving Ordinary Differential Equations II,
section IV.7).

Coordinates that no sample couples are taken apart: a diagonal costs a division, and blocks of two
have closed forms; larger ones are given to LAPACK's eigh, once where all samples agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from ..errors import OptionError

__all__ = ["DecayingPart"]


class DecayingPart:
    """A_ of every sample, by its eigenvalues.

    Parameters
    ----------
    jacobian : (N, d) or (N, d, d) array
        Diagonals, or symmetric matrices.  The matrix of a sample that is not finite counts as zero.
    whole : bool
        Whether ``function`` takes all of A, its growing part, too.

    Attributes
    ----------
    ignored : int
        Samples whose matrix was not finite.

    Raises
    ------
    OptionError
        If ``jacobian`` has another shape.
    """

    def __init__(self, jacobian: np.ndarray, whole: bool = False) -> None:
        jacobian, self.whole = np.asarray(jacobian, float), whole
        if jacobian.ndim not in (2, 3) or len({*jacobian.shape[1:]}) != 1:
            accepted = "(N, d), diagonals, or (N, d, d), symmetric matrices"
            raise OptionError("jacobian", f"shape {jacobian.shape}", accepted)
        self.count, self.dim = jacobian.shape[:2]
        lost = ~np.isfinite(jacobian).all(axis=tuple(range(1, jacobian.ndim)))
        self.ignored = int(lost.sum())
        if self.ignored:
            jacobian = np.where(lost.reshape(-1, *[1] * (jacobian.ndim - 1)), 0.0, jacobian)
        self._blocks = list(_apart(jacobian))

    @property
    def rates(self) -> np.ndarray:
        """How fast the sample decays along each eigenvector, (N, d): minus A_'s eigenvalues."""
        return -self._gathered(lambda block, own: np.minimum(block.values, 0.0))

    def product(self, field: np.ndarray) -> np.ndarray:
        """A_ field at every sample, (N, d)."""
        return self.function(lambda values: values, field)

    def solve(self, factor: float, field: np.ndarray) -> np.ndarray:
        """k with (I - factor A_) k = field at every sample, (N, d); factor >= 0."""
        return self.function(lambda values: 1.0 / (1.0 - factor * values), field)

    def function(
        self, function: Callable[[np.ndarray], np.ndarray], field: np.ndarray
    ) -> np.ndarray:
        """f(A_) field at every sample, (N, d), for a function f of arrays of eigenvalues.

        These are at most 0, or those of all of A where ``whole`` is set.
        """
        field = np.asarray(field, float)
        if field.shape != (self.count, self.dim):
            accepted = f"shape {(self.count, self.dim)}, a vector for each sample"
            raise OptionError("field", f"shape {field.shape}", accepted)

        def of_block(block: Block, own: Own) -> np.ndarray:
            values = block.values if self.whole else np.minimum(block.values, 0.0)
            return block.times(function(values), field[:, own])

        return self._gathered(of_block)

    def matrices(self) -> np.ndarray:
        """A_ of every sample, (N, d, d)."""
        columns = [self.product(np.tile(e, (self.count, 1))) for e in np.eye(self.dim)]
        return np.stack(columns, axis=2)

    def _gathered(self, of_block: Callable[[Block, Own], np.ndarray]) -> np.ndarray:
        """Columns of all blocks, (N, d)."""
        found = np.empty((self.count, self.dim))
        for block, own in self._blocks:
            found[:, own] = of_block(block, own)
        return found


def _apart(jacobian: np.ndarray) -> Iterator[tuple[Block, Own]]:
    """Blocks of coordinates that are coupled with each other only, and their coordinates."""
    if jacobian.ndim == 2:
        yield _Diagonal(jacobian), slice(None)
        return
    from scipy.sparse.csgraph import connected_components

    _, labels = connected_components((jacobian != 0).any(axis=0), directed=False)
    groups = [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]
    single = np.array([own[0] for own in groups if len(own) == 1], int)
    if len(single):
        yield _Diagonal(jacobian[:, single, single]), single
    for own in groups:
        if len(own) > 1:
            matrices = jacobian[:, own[:, None], own]
            if len(matrices) and (matrices == matrices[:1]).all():  # a quadratic potential's
                matrices = matrices[:1]
            block: Block = _Plane(matrices) if len(own) == 2 else _Full(matrices)
            yield block, own


class _Diagonal:
    """Eigenvalues (N, k) of diagonal matrices, and products with functions of the matrices."""

    def __init__(self, diagonals: np.ndarray) -> None:
        self.values = diagonals

    def times(self, values: np.ndarray, field: np.ndarray) -> np.ndarray:
        """The matrices with these values in place of the eigenvalues, times a field (N, k)."""
        return values * field


class _Plane:
    """The same of matrices [[a, b], [b, c]]: m - r and m + r, m = (a + c)/2, r = |((a - c)/2, b)|.

    P = [[r - t, -b], [-b, r + t]]/(2 r), t = (a - c)/2, is the projector on the eigenvector of
    m - r, so that f(A) = f(m + r) I + (f(m - r) - f(m + r)) P; where r = 0 any P will do.
    """

    def __init__(self, matrices: np.ndarray) -> None:
        a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
        middle, t = (a + c) / 2, (a - c) / 2
        r = np.hypot(t, b)
        self.values = np.stack([middle - r, middle + r], axis=1)
        cosine, sine = (np.divide(v, r, out=np.zeros_like(r), where=r > 0) for v in (t, b))
        self._cosine, self._sine = cosine, sine

    def times(self, values: np.ndarray, field: np.ndarray) -> np.ndarray:
        middle, half = (values[:, 1] + values[:, 0]) / 2, (values[:, 1] - values[:, 0]) / 2
        u, v = field.T
        first = middle * u + half * (self._cosine * u + self._sine * v)
        second = middle * v + half * (self._sine * u - self._cosine * v)
        return np.stack([first, second], axis=1)


class _Full:
    """The same of any symmetric matrices, by LAPACK."""

    def __init__(self, matrices: np.ndarray) -> None:
        self.values, self._vectors = np.linalg.eigh(matrices)

    def times(self, values: np.ndarray, field: np.ndarray) -> np.ndarray:
        if len(self._vectors) == 1:
            vectors = self._vectors[0]
            return ((field @ vectors) * values) @ vectors.T
        along = np.matmul(field[:, None, :], self._vectors)[:, 0]
        return np.matmul(self._vectors, (values * along)[:, :, None])[:, :, 0]


#: Matrices of some coordinates, and which coordinates these are.
Block: TypeAlias = _Diagonal | _Plane | _Full
Own: TypeAlias = slice | np.ndarray
