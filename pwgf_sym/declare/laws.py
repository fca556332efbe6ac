"""Initial and reference laws: the Gaussian, the uniform law on a box, and by name all there are.

:class:`Law` says what they have in common; those on balls stand in a file of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import checked_call
from ..errors import LawError
from .balls import Barenblatt, UniformBall
from .circle import Arc, Circle, Wrapped
from .custom import Custom
from .law import Law, WhitenedLaw
from .law_checks import checked_covariance, common_dim, frozen, measurable, real_array
from .mixtures import Empirical, Mixture
from .products import Product
from .registry import declare_families, restored
from .scipy_laws import OfSciPy, StudentT, from_scipy

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .law import Formula
    from .symbols import Coordinates

__all__ = ["Barenblatt", "Circle", "Custom", "Empirical", "Gaussian", "Law", "Mixture", "Product"]
__all__ += ["UniformBall", "UniformBox", "WhitenedLaw", "from_scipy", "law_from_dict"]


class Gaussian(Law):
    """Normal law N(mean, cov).

    Parameters
    ----------
    mean : (d,) array-like or number
        A number stands for the same mean in every coordinate; then ``cov`` gives the dimension.
    cov : number, (d,) or (d, d) array-like
        A variance, one variance a coordinate, or a covariance matrix.

    Raises
    ------
    LawError
        If shapes disagree, the dimension cannot be inferred, or the covariance is not finite,
        symmetric and positive definite.

    Examples
    --------
    >>> Gaussian(mean=[0, 0], cov=0.5).dim
    2
    """

    @checked_call
    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        mean, cov = real_array("mean", mean), real_array("cov", cov)
        self.dim = common_dim({"mean": mean, "cov": cov}, matrices=("cov",))
        self.mean = frozen(np.broadcast_to(mean, (self.dim,)))
        if cov.ndim < 2:
            cov = np.diag(np.broadcast_to(cov, (self.dim,)))
        self.covariance = frozen(checked_covariance(cov))
        self._factor = frozen(np.linalg.cholesky(self.covariance))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import ndtri

        return self.mean + ndtri(u) @ self._factor.T

    def coordinates_apart(self) -> list[Law] | None:
        variances = np.diag(self.covariance)
        if not np.array_equal(self.covariance, np.diag(variances)):
            return None
        return [Gaussian([m], v) for m, v in zip(self.mean, variances, strict=True)]

    def _whiten(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """L^-1 (x - mean) as columns, for cov = L L'."""
        from scipy.linalg import solve_triangular

        return solve_triangular(
            self._factor, (points - self.mean).T, lower=True, check_finite=False
        )

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        log_det = 2 * np.sum(np.log(np.diag(self._factor)))
        square = np.sum(self._whiten(points) ** 2, axis=0)
        return -0.5 * (square + log_det + self.dim * np.log(2 * np.pi))

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.linalg import solve_triangular

        white = self._whiten(points)
        return -solve_triangular(self._factor, white, lower=True, trans=1, check_finite=False).T

    def log_density_formula(self, x: Coordinates) -> Formula:
        constant = float(np.sum(np.log(np.diag(self._factor))) + self.dim / 2 * np.log(2 * np.pi))
        precision = np.linalg.inv(self.covariance)
        precision = (precision + precision.T) / 2
        if np.count_nonzero(self.covariance) == self.dim:
            gaps = zip(x, self.mean, 1 / np.diag(self.covariance), strict=True)
            square = sp.Add(*(float(p) * (s - float(m)) ** 2 for s, m, p in gaps))
            return -square / 2 - constant, {}
        i, j = sp.symbols("i j", integer=True)
        m = sp.IndexedBase("fit_mean", shape=(self.dim,))
        p = sp.IndexedBase("fit_precision", shape=(self.dim, self.dim))
        ends = (i, 0, self.dim - 1), (j, 0, self.dim - 1)
        square = sp.Sum(p[i, j] * (x[i] - m[i]) * (x[j] - m[j]), *ends)
        return -square / 2 - constant, {m: self.mean, p: precision}

    def to_dict(self) -> dict[str, Any]:
        diagonal = np.diag(self.covariance)
        is_diagonal = np.array_equal(self.covariance, np.diag(diagonal))
        cov = diagonal if is_diagonal else self.covariance
        return {"law": "Gaussian", "mean": self.mean.tolist(), "cov": cov.tolist()}


class UniformBox(Law):
    """Uniform law on the box low <= x <= high.

    Parameters
    ----------
    low, high : (d,) array-like or number
        Opposite corners; at least one is a vector, which gives the dimension.

    Raises
    ------
    LawError
        If shapes disagree, the dimension cannot be inferred, or low < high fails somewhere.
    """

    jump, support = True, "bounded"

    @checked_call
    def __init__(self, low: ArrayLike, high: ArrayLike) -> None:
        low, high = real_array("low", low), real_array("high", high)
        self.dim = common_dim({"low": low, "high": high})
        self.low = frozen(np.broadcast_to(low, (self.dim,)))
        self.high = frozen(np.broadcast_to(high, (self.dim,)))
        wrong = np.flatnonzero(~(self.low < self.high))
        if wrong.size:
            i = int(wrong[0])
            given = f"low = {self.low[i]}, high = {self.high[i]} in coordinate {i}"
            raise LawError("low, high", given, "low < high in every coordinate")
        self.mean = frozen(self.low / 2 + self.high / 2)
        with np.errstate(all="ignore"):
            size = self.high - self.low
            covariance = np.diag(size**2 / 12)
        given = f"a box with sides from {size.min():.6g} to {size.max():.6g}"
        self.covariance = frozen(measurable("low, high", given, covariance))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        # Rounding may step over the upper corner by one unit in the last place.
        return np.clip(self.low + u * (self.high - self.low), self.low, self.high)

    def coordinates_apart(self) -> list[Law]:
        return [UniformBox([a], [b]) for a, b in zip(self.low, self.high, strict=True)]

    def _inside(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.all((points >= self.low) & (points <= self.high), axis=1)

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self._inside(points), -np.sum(np.log(self.high - self.low)), -np.inf)

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(self._inside(points)[:, None], np.zeros_like(points), np.nan)

    def to_dict(self) -> dict[str, Any]:
        return {"law": "UniformBox", "low": self.low.tolist(), "high": self.high.tolist()}


_ALL: tuple[type[Law], ...] = (Gaussian, UniformBall, UniformBox, Barenblatt, Circle, Arc, Wrapped)
_ALL += (Mixture, Empirical, Product, Custom, OfSciPy, StudentT)
declare_families(Law, *_ALL, error=LawError)


def law_from_dict(entries: dict[str, Any]) -> Law:
    """Restore a law from ``Law.to_dict()``.

    Raises
    ------
    LawError
        If the name is not one of the package's laws, or the entries are not that law's arguments.
    StoredSolutionError
        If the class of a law of the user's is not imported, or refuses the entries.
    """
    found = restored("law", entries)
    assert isinstance(found, Law)
    return found
