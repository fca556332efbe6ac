"""Mixtures of Gaussians, and the law of given points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import brief, checked_call, dimension
from ..errors import LawError
from ..memory import fitting
from .law import Law
from .law_checks import checked_covariance, frozen, measurable, real_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from .law import Formula
    from .symbols import Coordinates

__all__ = ["Empirical", "Mixture"]

# Numbers of a block of points times components, which a processor's cache holds.
_BLOCK = 1 << 17


class Mixture(Law):
    """Mixture of Gaussians: the law sum_k w_k N(mean_k, cov_k).

    Parameters
    ----------
    weights : (K,) array-like
        Positive; they are divided by their sum.
    means : (K, d) array-like
        A row a component, also in one dimension: ``[[-1.0], [1.0]]``.
    covs : number, (K,), (K, d) or (K, d, d) array-like
        A variance of all coordinates, the same for all components or one each; or variances of each
        component's coordinates; or a covariance matrix each.  Where K = d > 1 an array (K, d) might
        be meant as one matrix for all, and is refused: write K matrices.

    Raises
    ------
    LawError
        If shapes disagree, a weight is not positive, or a covariance not symmetric and positive
        definite.

    Notes
    -----
    The first uniform number chooses the component, and what is left of it, scaled, is the first
    one of the component's point: Sobol points become points of the law.

    Examples
    --------
    >>> Mixture([1, 3], means=[[-2.0, 0.0], [2.0, 0.0]], covs=0.5).mean
    array([1., 0.])
    """

    @checked_call
    def __init__(self, weights: ArrayLike, means: ArrayLike, covs: ArrayLike) -> None:
        weights, means = real_array("weights", weights), real_array("means", means)
        if means.ndim != 2 or not means.size:
            fix = "Write one row a component: means=[[-1.0], [1.0]] in one dimension."
            raise LawError("means", f"shape {means.shape}", "shape (K, d)", fix)
        self.dim = dimension("means", means.shape[1], error=LawError)
        fitting("means", len(means), 40 * self.dim**2, "covariances", error=LawError)
        self.weights, self.means = frozen(_normalized(weights, len(means))), frozen(means)
        covs = _matrices(real_array("covs", covs), *means.shape)
        self.covs = frozen([checked_covariance(cov, "covs") for cov in covs])
        self._factors = frozen(np.linalg.cholesky(self.covs))
        self._inverses = frozen(np.linalg.inv(self._factors))
        log_dets = np.sum(np.log(np.diagonal(self._factors, axis1=1, axis2=2)), axis=1)
        self._logs = np.log(self.weights) - log_dets - self.dim / 2 * np.log(2 * np.pi)
        self._ends = np.append(np.cumsum(self.weights)[:-1], 1.0)
        self.mean = frozen(self.weights @ means)
        gap = means - self.mean
        with np.errstate(all="ignore"):
            within = np.einsum("k,kij->ij", self.weights, self.covs)
            covariance = within + np.einsum("k,ki,kj->ij", self.weights, gap, gap)
        given = f"means from {means.min():.6g} to {means.max():.6g}"
        self.covariance = frozen(measurable("means", given, covariance))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import ndtri

        chosen = np.searchsorted(self._ends, u[:, 0], "right")
        chosen = np.minimum(chosen, len(self.weights) - 1)  # sums of weights may round to below 1
        starts = np.append(0.0, self._ends[:-1])
        normal = u.copy()
        normal[:, 0] = (u[:, 0] - starts[chosen]) / (self._ends - starts)[chosen]
        if len(self.weights) > 1:  # the ends of a stratum are the infinite quantiles
            normal[:, 0] = np.clip(normal[:, 0], 2.0**-54, 1 - 2.0**-53)
        normal, points = ndtri(normal), np.empty_like(u)
        order = np.argsort(chosen, kind="stable")
        bounds = np.searchsorted(chosen[order], np.arange(len(self.weights) + 1))
        for k in np.unique(chosen):
            own = order[bounds[k] : bounds[k + 1]]
            points[own] = self.means[k] + normal[own] @ self._factors[k].T
        return points

    @property
    def reach(self) -> NDArray[np.float64]:
        own = 9.0 * np.sqrt(np.diagonal(self.covs, axis1=1, axis2=2))
        return np.asarray(np.max(np.abs(self.means - self.mean) + own, axis=0))

    def coordinates_apart(self) -> list[Law] | None:
        return [self] if self.dim == 1 else None

    def _blocks(
        self, points: NDArray[np.float64]
    ) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.float64]]]:
        """Rows, L_k^-1 (x - mean_k) as (K, n, d), and logs of the components' densities, (K, n)."""
        each = max(1, _BLOCK // self.means.size)
        for first in range(0, len(points), each):
            rows = slice(first, first + each)
            gap = points[None, rows] - self.means[:, None]
            white = gap @ self._inverses.transpose(0, 2, 1)
            square = np.einsum("knd,knd->kn", white, white)
            yield rows, white, self._logs[:, None] - 0.5 * square

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import logsumexp

        found = np.empty(len(points))
        with np.errstate(all="ignore"):  # points without end have the log density -inf
            for rows, _, logs in self._blocks(points):
                found[rows] = logsumexp(logs, axis=0)
        return found

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.empty_like(points)
        with np.errstate(all="ignore"):
            for rows, white, logs in self._blocks(points):
                shares = np.exp(logs - logs.max(axis=0))
                shares /= shares.sum(axis=0)
                found[rows] = -np.einsum("kn,knd->nd", shares, white @ self._inverses)
        return found

    def log_density_formula(self, x: Coordinates) -> Formula:
        """A sum over the components, whose text does not grow with their number."""
        count, dim = self.means.shape
        i, j, k = sp.symbols("i j k", integer=True)
        m = sp.IndexedBase("fit_means", shape=(count, dim))
        c = sp.IndexedBase("fit_logs", shape=(count,))
        precisions = self._inverses.transpose(0, 2, 1) @ self._inverses
        if np.array_equal(self.covs, np.diagonal(self.covs, 0, 1, 2)[:, None] * np.eye(dim)):
            precisions = np.diagonal(precisions, 0, 1, 2).copy()
            p = sp.IndexedBase("fit_precisions", shape=(count, dim))
            square = sp.Sum(p[k, i] * (x[i] - m[k, i]) ** 2, (i, 0, dim - 1))
        else:
            p = sp.IndexedBase("fit_precisions", shape=(count, dim, dim))
            product = p[k, i, j] * (x[i] - m[k, i]) * (x[j] - m[k, j])
            square = sp.Sum(product, (i, 0, dim - 1), (j, 0, dim - 1))
        formula = sp.log(sp.Sum(sp.exp(c[k] - square / 2), (k, 0, count - 1)))
        return formula, {m: self.means, c: self._logs, p: precisions}

    def to_dict(self) -> dict[str, Any]:
        one = self.covs[:, 0, 0]
        plain = np.array_equal(self.covs, one[:, None, None] * np.eye(self.dim))
        entries = {
            "weights": self.weights,
            "means": self.means,
            "covs": one if plain else self.covs,
        }
        return {"law": "Mixture"} | {name: array.tolist() for name, array in entries.items()}


def _normalized(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Weights of sum 1; those that have it to round-off as they are."""
    if weights.shape != (count,):
        raise LawError("weights", f"shape {weights.shape}", f"shape ({count},), one a mean")
    wrong = np.flatnonzero(~(weights > 0))
    if wrong.size:
        given = f"the weight {weights[wrong[0]]:g} of component {wrong[0]}"
        raise LawError("weights", given, "positive weights", "Leave the component out.")
    largest = weights.max()
    total = np.sum(weights / largest) * largest
    if abs(total - 1) <= 4 * count * np.finfo(float).eps:
        return weights
    found = weights / largest / np.sum(weights / largest)
    if not np.all(found >= np.finfo(float).tiny):
        given = f"weights from {weights.min():g} to {largest:g}"
        raise LawError("weights", given, "weights of comparable sizes", "Leave the smallest out.")
    return np.asarray(found)


def _matrices(covs: NDArray[np.float64], count: int, dim: int) -> NDArray[np.float64]:
    """Covariances (K, d, d), of what is given for them."""
    if covs.shape == (count, dim) and count == dim > 1:
        given = f"shape {covs.shape}, which may be {count} rows of variances or one matrix"
        fix = "Write matrices: [np.diag(v) for v in variances], or [cov] * K for one cov."
        raise LawError("covs", given, f"numbers, or shape ({count}, {dim}, {dim})", fix)
    if covs.shape in ((), (count,)):
        return np.broadcast_to(covs, (count,))[:, None, None] * np.eye(dim)
    if covs.shape == (count, dim):
        return covs[:, None, :] * np.eye(dim)
    if covs.shape != (count, dim, dim):
        accepted = f"a number, {count} numbers, shape ({count}, {dim}) or ({count}, {dim}, {dim})"
        raise LawError("covs", f"shape {covs.shape}", accepted)
    return covs


class Empirical(Law):
    """The law of given points, all of the same weight.  It has no density.

    It serves energies that read none, which are potentials and interactions; another energy is
    refused when it is compiled.  A smooth law at the points is
    ``Mixture(np.ones(len(points)), points, h**2)``.

    Parameters
    ----------
    points : (N, d) array-like
        One point in each row; at least two different ones.  Points that are there more than once
        count as often.

    Raises
    ------
    LawError
        If the shape is another one, an entry is not finite, or all points are the same.

    Notes
    -----
    Points are drawn evenly: of N samples each is one point, in random order; of more each point is
    there equally often, but for a rest.  Sums over pairs of n samples leave out those of a sample
    with itself: interactions are n/(n - 1) times those of the N points, which more samples mend.

    Examples
    --------
    >>> Empirical([[0.0, 1.0], [2.0, 1.0]]).mean
    array([1., 1.])
    """

    @checked_call
    def __init__(self, points: ArrayLike) -> None:
        points = real_array("points", points)
        if points.ndim != 2 or not points.size:
            fix = "Put one point in each row; points[:, None] in one dimension."
            raise LawError("points", f"shape {points.shape}", "shape (N, d)", fix)
        self.dim = dimension("points", points.shape[1], error=LawError)
        self.points = frozen(points)
        self.mean = frozen(_mean(points))
        gap = points - self.mean
        with np.errstate(all="ignore"):
            covariance = gap.T @ gap / len(points)
        if not np.any(points != points[0]):
            fix = "Use Gaussian(point, cov) with a small cov."
            raise LawError("points", "one point alone", "at least two different points", fix)
        if not (np.all(np.isfinite(covariance)) and np.trace(covariance) >= np.finfo(float).tiny):
            accepted = "a size of which double precision holds the square"
            given = f"points from {points.min():.6g} to {points.max():.6g}"
            raise LawError("points", given, accepted, "Use other units of length.")
        self.covariance = frozen(covariance)

    def sampler(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        whole, rest = divmod(n, len(self.points))
        chosen = [np.tile(np.arange(len(self.points)), whole)]
        chosen.append(rng.permutation(len(self.points))[:rest])
        return self.points[rng.permutation(np.concatenate(chosen))]

    def to_dict(self) -> dict[str, Any]:
        return {"law": "Empirical", "points": self.points.tolist()}

    def __repr__(self) -> str:
        return f"Empirical({brief(self.points)})"


def _mean(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean, also of points whose sum is no double."""
    return np.asarray(np.sum(points / len(points), axis=0))
