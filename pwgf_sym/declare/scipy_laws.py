"""Laws of SciPy's frozen distributions."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import brief, checked_call, real_array
from ..errors import LawError
from .law import ROUND_OFF, Law
from .law_checks import checked_covariance, common_dim, frozen, measurable, number_above
from .law_formulas import log_gamma_ratio
from .law_protocol import check_protocol
from .scipy_ends import seen_ends
from .scipy_scores import SCORES, score_by_differences

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["OfSciPy", "StudentT", "from_scipy"]

# A density vanishes at an end where it falls with a power of the distance larger than this.
_POWER = 0.01
# Spreads from the median beyond which there is nothing, and round-off of a distribution function.
_BEYOND, _OFF = 1e6, 1e-6
# How far the mass of a density may be from 1.
_MASS = 1e-4
# Uniform numbers whose quantiles are finite, where those of the nearest ones to 0 and 1 are not.
_LEVELS = 2.0**-50, 1 - 2.0**-50
_WRITE = "Write from_scipy(scipy.stats.t(df=5))."


class OfSciPy(Law):
    """A continuous distribution of SciPy on the line, made by :func:`from_scipy`."""

    dim = 1

    def __init__(self, frozen_one: Any) -> None:
        import scipy.stats

        self.dist = frozen_one.dist
        self._shapes, self.loc, self.scale = _parameters(frozen_one)
        self.frozen = self.dist(*self._shapes, loc=self.loc, scale=self.scale)
        self._known = type(self.dist) is type(getattr(scipy.stats, self.dist.name, None))
        with np.errstate(all="ignore"):
            mean, variance = self._moments()
        if not np.all(np.isfinite([mean, variance])):
            given = f"{self.family}, of mean {mean:g} and variance {variance:g}"
            accepted = "laws of finite variance, between which the flow's distance is finite"
            fix = "Use one with lighter tails, or scipy.stats.truncnorm and others that are cut."
            raise LawError("distribution", given, accepted, fix)
        self.mean = frozen([mean])
        given = f"{self.family} of variance {variance:g}"
        self.covariance = frozen(measurable("distribution", given, np.array([[variance]])))
        self._spread = float(np.sqrt(variance) / self.scale)
        self._ends = np.array(self.dist.support(*self._shapes), float)
        inner = isinstance(self.dist, scipy.stats.rv_histogram)
        if not (inner or (self._known and self.dist.name in SCORES)):
            inner = self._look()
        self.jump = inner or any(self._jumps(end) for end in (0, 1))
        finite = np.isfinite(self._ends).sum()
        self.support = ("space", "part", "bounded")[finite]

    def _moments(self) -> tuple[float, float]:
        """Mean and variance."""
        from scipy.stats import rv_continuous

        kind = type(self.dist)
        if self._known or kind._munp is not rv_continuous._munp:
            return float(self.frozen.mean()), float(self.frozen.var())
        # SciPy integrates quantiles, each of which it searches for: half a minute for a density.
        mass = self.dist.expect(lambda y: 1.0, self._shapes)
        if not abs(mass - 1) <= _MASS:
            given, fix = f"{self.family}, whose density has the mass {mass:.6g}", "Normalize it."
            raise LawError("distribution", given, "one of mass 1", fix)
        mean = self.dist.expect(lambda y: y, self._shapes)
        variance = self.dist.expect(lambda y: (y - mean) ** 2, self._shapes)
        return float(self.loc + self.scale * mean), float(self.scale**2 * variance)

    def _look(self) -> bool:
        """Take over the ends where the density is seen to stop; whether it has a pole inside."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            median = float(self.dist.median(*self._shapes))
            if not np.isfinite(median):
                given = f"{self.family}, whose median is {median:g}"
                fix = "Look at its density and support."
                raise LawError("distribution", given, "a distribution of mass 1", fix)
            far = median + _BEYOND * self._spread * np.array([-1.0, 1.0])
            below = np.asarray(self.dist.cdf(far, *self._shapes), float)
            if np.any((below < -_OFF) | (below > 1 + _OFF)):
                k = int(np.argmax(np.abs(below - 0.5)))
                given = (
                    f"{self.family}, whose distribution function is {below[k]:.6g} at {far[k]:g}"
                )
                fix = "Use Circle(density) for a law of angles, or vonmises_line for one period."
                raise LawError("distribution", given, "one between 0 and 1", fix)
            self._ends = seen_ends(self._logs, self._ends, median, self._spread)
            return bool(np.any(self._logs(np.array([0.0, median])) == np.inf))

    @property
    def family(self) -> str:
        return f"scipy.stats.{self.dist.name}"

    def _jumps(self, k: int) -> bool:
        """Whether the density does not vanish at an end of the support."""
        end = self._ends[k]
        if not np.isfinite(end):
            return False
        width = min(1.0, float(np.ptp(self._ends)), self._spread)
        steps = width * np.array([1e-8, 1e-5])
        with np.errstate(all="ignore"):
            near, far = self.dist.logpdf(end + (1, -1)[k] * steps, *self._shapes)
            return bool(near > -np.inf and not far - near > _POWER * np.log(1e3))

    @property
    def reach(self) -> NDArray[np.float64]:
        ends = self.frozen.ppf([ROUND_OFF]), self.frozen.isf([ROUND_OFF])
        return np.max(np.abs(np.array(ends) - self.mean), axis=0)

    def _standard(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return (points[:, 0] - self.loc) / self.scale

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            found = np.asarray(self._quantiles(u[:, 0]), float)
            lost = ~np.isfinite(found)
            if lost.any():
                found[lost] = self._quantiles(np.clip(u[lost, 0], *_LEVELS))
            found = self.loc + self.scale * found
        # Not on an end, by rounding: there the density may have no logarithm.
        ends = self.loc + self.scale * self._ends
        off = 4 * (np.spacing(np.abs(ends)) + self.scale * np.spacing(np.abs(self._ends)))
        inward = np.where(np.isfinite(ends), off, 0.0)
        return np.clip(found, ends[0] + inward[0], ends[1] - inward[1])[:, None]

    @cached_property
    def _quantiles(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """The distribution's own, or in place of a search for each one a table right to 1e-11."""
        import scipy.stats
        from scipy.stats.sampling import NumericalInversePolynomial, UNURANError

        plain = self.dist(*self._shapes)
        if type(self.dist)._ppf is not scipy.stats.rv_continuous._ppf:
            return plain.ppf
        levels = np.array([1e-9, 1e-3, 0.1, 0.3, 0.5, 0.8, 0.95, 1 - 1e-6])
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                table = NumericalInversePolynomial(plain, domain=self._ends, u_resolution=1e-12)
                missed = np.abs(plain.cdf(table.ppf(levels)) - levels).max()
        except (UNURANError, ValueError, ArithmeticError):
            missed = np.inf
        if missed < 1e-10:
            return table.ppf
        if not self._known and type(self.dist)._cdf is scipy.stats.rv_continuous._cdf:
            given = f"{self.family}, whose quantiles are searched with an integral at each step"
            fix = "State its support by a and b, define _cdf or _ppf in its class, or use Custom."
            raise LawError("distribution", given, "one that is drawn in good time", fix)
        return plain.ppf

    def coordinates_apart(self) -> list[Law]:
        return [self]

    def _logs(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return np.asarray(self.dist.logpdf(y, *self._shapes), float)

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._logs(self._standard(points)) - np.log(self.scale)

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        y = self._standard(points)
        with np.errstate(all="ignore"):
            if self._known and self.dist.name in SCORES:
                found = SCORES[self.dist.name](y, *self._shapes)
            else:
                found = score_by_differences(self._logs, y, self._ends, self._spread)
            inside = (y >= self._ends[0]) & (y <= self._ends[1])
        return np.where(inside, found, np.nan)[:, None] / self.scale

    def __getstate__(self) -> dict[str, object]:
        return {k: v for k, v in self.__dict__.items() if k != "_quantiles"}

    def to_dict(self) -> dict[str, Any]:
        if not self._known:
            given = f"{brief(self.dist)}, which is not one of scipy.stats"
            fix = "Use a distribution of scipy.stats, or a law of your own with to_dict."
            raise LawError("distribution", given, "to store it, one that is", fix)
        entries = {"shapes": list(self._shapes), "loc": self.loc, "scale": self.scale}
        return {"law": "OfSciPy", "distribution": self.dist.name} | entries

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        import scipy.stats

        name = entries["distribution"]
        dist = getattr(scipy.stats, name, None) if isinstance(name, str) else None
        if dist is None or not isinstance(dist, scipy.stats.rv_continuous):
            raise LawError("distribution", brief(name), "a continuous one of scipy.stats")
        shapes = [number_above("shapes", value, -np.inf) for value in entries["shapes"]]
        moved = {k: number_above(k, entries[k], -np.inf) for k in ("loc", "scale")}
        return from_scipy(dist(*shapes, **moved))

    def __repr__(self) -> str:
        shapes = [f"{value:.6g}" for value in self._shapes]
        return (
            f"{self.family}({', '.join([*shapes, f'loc={self.loc:.6g}, scale={self.scale:.6g}'])})"
        )


class StudentT(Law):
    """Multivariate t distribution with more than two degrees of freedom.

    Parameters
    ----------
    loc : (d,) array-like
        Its length is the dimension.
    shape : number, (d,) or (d, d) array-like
        The covariance is df/(df - 2) times this.
    df : float
        Degrees of freedom, above 2: with fewer there is no variance.

    Raises
    ------
    LawError
        If shapes disagree, ``shape`` is not positive definite or ``df`` is not above 2.
    """

    @checked_call
    def __init__(self, loc: ArrayLike, shape: ArrayLike, df: float) -> None:
        loc, shape = (
            real_array("loc", loc, error=LawError),
            real_array("shape", shape, error=LawError),
        )
        self.dim = common_dim({"loc": loc, "shape": shape}, matrices=("shape",))
        self.df = number_above("df", df, 2.0)
        if shape.ndim < 2:
            shape = np.diag(np.broadcast_to(shape, (self.dim,)))
        self.mean = frozen(np.broadcast_to(loc, (self.dim,)))
        self.shape = frozen(checked_covariance(shape, "shape"))
        covariance = self.shape * (self.df / (self.df - 2))
        self.covariance = frozen(measurable("df", f"{self.df:g}", covariance))
        self._factor = frozen(np.linalg.cholesky(self.shape))

    @property
    def reach(self) -> NDArray[np.float64]:
        from scipy.stats import t

        return np.sqrt(np.diag(self.shape)) * float(t.isf(ROUND_OFF, self.df))

    # A normal vector over the root of a chi squared takes d + 1 uniform numbers; points of the cube
    # go to normal ones, whose radius is then that of the law.
    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import betaincinv, gammainc, gammaincc, ndtri

        normal = ndtri(u)
        square, half = np.sum(normal**2, axis=1), self.dim / 2
        upper = gammaincc(half, square / 2)
        # df/(df + r^2) ~ Beta(df/2, d/2), from the end that is near.
        near = betaincinv(half, self.df / 2, gammainc(half, square / 2))
        far = betaincinv(self.df / 2, half, upper)
        far = np.where(upper < 0.5, far, 1 - near)
        near = np.where(upper < 0.5, 1 - far, near)
        scale = np.sqrt(self.df * near / far / np.where(square > 0, square, 1.0))
        return self.mean + (scale[:, None] * normal) @ self._factor.T

    def _whiten(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.linalg import solve_triangular

        gap = (points - self.mean).T
        return solve_triangular(self._factor, gap, lower=True, check_finite=False)

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        half, square = (self.df + self.dim) / 2, np.sum(self._whiten(points) ** 2, axis=0)
        log_det = np.sum(np.log(np.diag(self._factor)))
        constant = log_gamma_ratio(self.df / 2, self.dim / 2)
        constant -= self.dim / 2 * np.log(self.df * np.pi)
        return np.asarray(constant - log_det - half * np.log1p(square / self.df))

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.linalg import solve_triangular

        white = self._whiten(points)
        weight = (self.df + self.dim) / (self.df + np.sum(white**2, axis=0))
        slope = solve_triangular(self._factor, white, lower=True, trans=1, check_finite=False)
        return np.asarray(-(weight * slope).T)

    def to_dict(self) -> dict[str, Any]:
        entries = {"loc": self.mean.tolist(), "shape": self.shape.tolist(), "df": self.df}
        return {"law": "StudentT"} | entries


@checked_call
def from_scipy(distribution: object) -> Law:
    """The law of a frozen continuous distribution of SciPy.

    Distributions on the line keep SciPy's quantiles, log density and support.  The score is a
    closed form for the usual ones; else it is a difference of the log density, right to about 1e-8
    but for points beside a kink.  A density that does not vanish at a finite end of its support
    jumps there, and no energy may read it.

    Parameters
    ----------
    distribution : frozen distribution
        Such as ``scipy.stats.t(df=5)``; ``multivariate_normal`` and ``multivariate_t`` of more
        dimensions, which become a :class:`Gaussian` and a law of closed form.  One of a class of
        your own is checked as a law of your own is.

    Returns
    -------
    Law

    Raises
    ------
    LawError
        If it is not frozen, not continuous or of infinite variance, such as Cauchy's: the flow's
        distance needs second moments.  Parameters that are arrays are refused, too.

    Examples
    --------
    >>> import scipy.stats
    >>> from_scipy(scipy.stats.t(df=4)).covariance
    array([[2.]])
    """
    import scipy.stats as stats

    kind = type(distribution).__name__
    accepted = "a frozen continuous distribution of scipy.stats"
    if isinstance(distribution, stats.rv_continuous | stats.rv_discrete):
        if isinstance(distribution, stats.rv_discrete):
            raise LawError("distribution", f"the discrete {distribution.name}", accepted, _WRITE)
        names = distribution.shapes or ""
        known = type(getattr(stats, str(distribution.name), None)) is type(distribution)
        name = f"scipy.stats.{distribution.name}" if known else "distribution"
        fix = f"Freeze it: {name}({names})."
        raise LawError("distribution", f"{distribution.name}, which is not frozen", accepted, fix)
    dist = getattr(distribution, "dist", None)
    if isinstance(dist, stats.rv_continuous):
        return _of_line(distribution)
    if isinstance(dist, stats.rv_discrete):
        raise LawError("distribution", f"the discrete {dist.name}", accepted, _WRITE)
    given: Any = distribution
    if kind == "multivariate_normal_frozen":
        from .laws import Gaussian

        return Gaussian(np.atleast_1d(given.mean), np.atleast_2d(given.cov_object.covariance))
    if kind == "multivariate_t_frozen":
        if not given.df < np.inf:
            from .laws import Gaussian

            return Gaussian(np.atleast_1d(given.loc), np.atleast_2d(given.shape))
        return StudentT(np.atleast_1d(given.loc), np.atleast_2d(given.shape), float(given.df))
    fix = _WRITE
    if hasattr(distribution, "logpdf") and hasattr(distribution, "rvs"):
        fix = "Use Custom(log_density, coordinates, sampler), with its rvs as the sampler."
    raise LawError("distribution", brief(distribution), accepted, fix)


def _of_line(distribution: Any) -> Law:
    """A law of the line; of a class that is not SciPy's it is checked."""
    try:
        law = OfSciPy(distribution)
        if not law._known:
            check_protocol(law)
    except LawError:
        raise
    except (RuntimeError, ValueError, ArithmeticError, TypeError) as error:
        given = (
            f"{distribution.dist.name}, which raises {type(error).__name__}: {brief(str(error))}"
        )
        fix = "Look at its density and its support, a and b."
        raise LawError("distribution", given, "one that SciPy can work with", fix) from error
    return law


def _parameters(given: Any) -> tuple[tuple[float, ...], float, float]:
    """Shape parameters, place and scale of a frozen distribution."""
    dist = given.dist
    names = [name.strip() for name in (dist.shapes or "").split(",") if name.strip()]
    values = {"loc": 0.0, "scale": 1.0}
    values |= dict(zip([*names, "loc", "scale"], given.args, strict=False)) | given.kwds
    for name, value in values.items():
        one = (
            value.item()
            if isinstance(value, np.ndarray | np.generic) and value.size == 1
            else value
        )
        if not isinstance(one, numbers.Real) or not np.isfinite(float(one)):
            accepted, fix = "one finite number", "Use Product([from_scipy(...), ...]) for more."
            raise LawError("distribution", f"{name} = {brief(value)}", accepted, fix)
        values[name] = float(one)
    shapes = tuple(values[name] for name in names)
    if not (dist._argcheck(*shapes) and values["scale"] > 0):
        raise LawError("distribution", brief(values), f"parameters that {dist.name} has values for")
    return shapes, values["loc"], values["scale"]
