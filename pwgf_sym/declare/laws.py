"""Initial and reference laws: densities that can be sampled, evaluated and differentiated.

Every law has mass 1, works in float64 and offers the same interface (:class:`Law`).  A law is a
value: its arrays are read-only, it compares by content, and ``to_dict`` stores it as plain JSON.
"""

from __future__ import annotations

import numpy as np

from ..arguments import brief, checked_call, dimension, whole_seed
from ..errors import LawError
from ..memory import fitting
from .law_checks import (
    checked_covariance,
    common_dim,
    frozen,
    integer_from,
    measurable,
    number_above,
    real_array,
)

__all__ = ["Barenblatt", "Gaussian", "Law", "UniformBall", "UniformBox", "WhitenedLaw"]
__all__ += ["law_from_dict"]


class Law:
    """A probability density on R^d that samples can be drawn from.

    Subclasses set ``dim``, ``mean`` and ``covariance`` and define ``_transform``, ``_log_density``,
    ``_score`` and ``to_dict``; the public methods here check arguments and hand on float64 arrays.
    A subclass also says what its density carries, by ``jump`` and ``support``.

    Attributes
    ----------
    dim : int
        Dimension d.
    mean : (d,) array
        Exact mean.
    covariance : (d, d) array
        Exact covariance.
    jump : bool
        Whether the density jumps at the boundary of its support.  The score of such a law is only
        the smooth part of the gradient of the log density, so no energy may read it.
    support : {"space", "bounded"}
        Where the density is positive: everywhere, or in a bounded set.
    """

    dim: int
    mean: np.ndarray
    covariance: np.ndarray
    jump: bool = False
    support: str = "space"

    @property
    def spread(self) -> float:
        """Root mean variance of a coordinate, sqrt(tr(covariance)/d): the unit of length."""
        return float(np.sqrt(np.trace(self.covariance) / self.dim))

    @property
    def whitened(self) -> WhitenedLaw:
        """Mean and covariance of (z - mean)/spread, the coordinates that maps see."""
        return WhitenedLaw(self)

    @checked_call
    def sample(self, n: int, seed: int | np.random.Generator | None) -> np.ndarray:
        """Draw ``n`` independent points; the same seed gives the same points.

        None draws a seed from fresh entropy, and a generator of NumPy gives its next number.

        Returns
        -------
        (n, d) array

        Raises
        ------
        LawError
            If ``n`` is no integer of at least 1, or ``seed`` no integer of at least 0, None or a
            generator.
        """
        n, seed = integer_from("n", n, 1), whole_seed("seed", seed, error=LawError)
        fitting("n", n, 16 * self.dim, "samples", error=LawError)
        u = np.random.default_rng(seed).random((n, self.dim))
        # random() is uniform on multiples of 2^-53 and may return 0, where quantiles are infinite.
        return self._transform(np.maximum(u, 2.0**-54))

    @checked_call
    def transform(self, u) -> np.ndarray:
        """Map points of the open unit cube to the law; uniform points become points of the law.

        Parameters
        ----------
        u : (n, d) array
            Points with all coordinates strictly between 0 and 1.

        Returns
        -------
        (n, d) array

        Raises
        ------
        LawError
            If the shape is wrong or a coordinate is not strictly between 0 and 1.
        """
        u = self._points("u", u)
        if u.size and not (u.min() > 0 and u.max() < 1):
            given, fix = f"coordinates from {u.min()} to {u.max()}", "Shift or clip the points."
            raise LawError("u", given, "numbers strictly between 0 and 1", fix)
        return self._transform(u)

    @checked_call
    def log_density(self, points) -> np.ndarray:
        """Log density at (n, d) points, an (n,) array; -inf outside the support."""
        return self._log_density(self._points("points", points))

    @checked_call
    def score(self, points) -> np.ndarray:
        """Gradient of the log density at (n, d) points, an (n, d) array; NaN outside the support.

        On bounded supports this is the gradient inside; the jump at the boundary is not in it.
        """
        return self._score(self._points("points", points))

    def to_dict(self) -> dict:
        """Plain JSON-able form; :func:`law_from_dict` restores an equal law."""
        raise NotImplementedError

    def _transform(self, u: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _log_density(self, points: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _score(self, points: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _points(self, name: str, points) -> np.ndarray:
        points = real_array(name, points, finite=False)
        if points.ndim != 2 or points.shape[1] != self.dim:
            given, fix = f"an array of shape {points.shape}", "Put one point in each row."
            raise LawError(name, given, f"shape (n, {self.dim})", fix)
        return points

    def __setstate__(self, state: dict) -> None:
        # Arrays of a copy are as read-only as those of the law.
        self.__dict__.update(state)
        for value in state.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __eq__(self, other) -> bool:
        if not isinstance(other, Law):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((type(self).__name__, *self.mean.tolist(), np.trace(self.covariance)))

    def __repr__(self) -> str:
        entries = {key: value for key, value in self.to_dict().items() if key != "law"}
        return f"{type(self).__name__}({', '.join(f'{k}={brief(v)}' for k, v in entries.items())})"


class WhitenedLaw:
    """What a map may know of an initial law: the moments of (z - mean)/spread.

    A gradient flow that starts elsewhere or in other units is the same flow, moved and scaled, so
    that a map must not see where the law stands nor how wide it is.

    Attributes
    ----------
    dim : int
        Dimension d.
    mean : (d,) array
        Zero.
    covariance : (d, d) array
        Of trace d.
    """

    def __init__(self, law: Law):
        self.dim, self.mean = law.dim, frozen(np.zeros(law.dim))
        self.covariance = frozen(law.covariance / law.spread**2)


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
    def __init__(self, mean, cov):
        mean, cov = real_array("mean", mean), real_array("cov", cov)
        self.dim = common_dim({"mean": mean, "cov": cov}, matrices=("cov",))
        self.mean = frozen(np.broadcast_to(mean, (self.dim,)))
        if cov.ndim < 2:
            cov = np.diag(np.broadcast_to(cov, (self.dim,)))
        self.covariance = frozen(checked_covariance(cov))
        self._factor = frozen(np.linalg.cholesky(self.covariance))

    def _transform(self, u):
        from scipy.special import ndtri

        return self.mean + ndtri(u) @ self._factor.T

    def _whiten(self, points):
        """L^-1 (x - mean) as columns, for cov = L L'."""
        from scipy.linalg import solve_triangular

        return solve_triangular(
            self._factor, (points - self.mean).T, lower=True, check_finite=False
        )

    def _log_density(self, points):
        log_det = 2 * np.sum(np.log(np.diag(self._factor)))
        square = np.sum(self._whiten(points) ** 2, axis=0)
        return -0.5 * (square + log_det + self.dim * np.log(2 * np.pi))

    def _score(self, points):
        from scipy.linalg import solve_triangular

        white = self._whiten(points)
        return -solve_triangular(self._factor, white, lower=True, trans=1, check_finite=False).T

    def to_dict(self):
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
    def __init__(self, low, high):
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

    def _transform(self, u):
        # Rounding may step over the upper corner by one unit in the last place.
        return np.clip(self.low + u * (self.high - self.low), self.low, self.high)

    def _inside(self, points):
        return np.all((points >= self.low) & (points <= self.high), axis=1)

    def _log_density(self, points):
        return np.where(self._inside(points), -np.sum(np.log(self.high - self.low)), -np.inf)

    def _score(self, points):
        return np.where(self._inside(points)[:, None], np.zeros_like(points), np.nan)

    def to_dict(self):
        return {"law": "UniformBox", "low": self.low.tolist(), "high": self.high.tolist()}


class _PowerBall(Law):
    """Law with density proportional to (1 - |x - center|^2 / radius^2)_+^power.

    Then |x - center|^2 / radius^2 ~ Beta(d/2, power + 1), independent of the direction.  The
    uniform ball is power 0, the Barenblatt profile power 1/(m - 1).
    """

    support = "bounded"

    def _set(self, center: np.ndarray, radius: float, power: float) -> None:
        self.center = self.mean = frozen(center)
        self.dim, self.radius, self._power = center.size, radius, power
        with np.errstate(all="ignore"):
            variance = np.float64(radius) ** 2 / (self.dim + 2 * power + 2)
            covariance = np.diag(np.full(self.dim, variance))
        self.covariance = frozen(measurable("radius", f"{radius:.6g}", covariance))

    def _transform(self, u):
        """Normal quantiles give the direction; their chi-squared cdf gives the radius."""
        from scipy.special import betaincinv, gammainc, ndtri

        normal = ndtri(u)
        square = np.sum(normal**2, axis=1)
        level = gammainc(self.dim / 2, square / 2)
        fraction = np.sqrt(betaincinv(self.dim / 2, self._power + 1, level))
        # Stay inside the open support after rounding, where the log density is finite.
        far = 1 + np.max(np.abs(self.center)) * np.sqrt(self.dim) / self.radius
        fraction = np.minimum(fraction, 1 - 8 * np.finfo(float).eps * far)
        # The centre of the cube has no direction: it is the centre of the ball.
        scale = self.radius * fraction / np.where(square > 0, np.sqrt(square), 1.0)
        return self.center + scale[:, None] * normal

    def _depth(self, points):
        """Offsets from the centre, and 1 - |x - center|^2 / radius^2; NaN outside the support."""
        offset = points - self.center
        distance = np.sqrt(np.sum(offset**2, axis=1)) / self.radius
        depth = (1 - distance) * (1 + distance)
        # The closed ball for the uniform law; where the profile vanishes its log has no value.
        inside = depth >= 0 if self._power == 0 else depth > 0
        return offset, np.where(inside, depth, np.nan)

    def _log_mass(self) -> float:
        """Log of the integral of (1 - |x|^2 / radius^2)_+^power over R^d."""
        from scipy.special import betaln, gammaln

        half, area = self.dim / 2, self.dim * np.log(self.radius) + self.dim / 2 * np.log(np.pi)
        # betaln and not two gammaln: exact to round-off for large powers, that is m close to 1.
        return float(area - gammaln(half) + betaln(half, self._power + 1))

    def _log_density(self, points):
        from scipy.special import xlogy

        _, depth = self._depth(points)
        profile = xlogy(self._power, depth) - self._log_mass()
        return np.where(np.isnan(depth), -np.inf, profile)

    def _score(self, points):
        offset, depth = self._depth(points)
        if self._power == 0:
            return np.where(np.isnan(depth)[:, None], np.nan, np.zeros_like(offset))
        return -2 * self._power / self.radius**2 * offset / depth[:, None]


class UniformBall(_PowerBall):
    """Uniform law on the ball |x - center| <= radius.

    Parameters
    ----------
    center : (d,) array-like
        Its length is the dimension.
    radius : float
        Positive.

    Raises
    ------
    LawError
        If ``center`` is no vector or ``radius`` is not positive and finite.
    """

    jump = True

    @checked_call
    def __init__(self, center, radius):
        center = real_array("center", center)
        dim = common_dim({"center": center})
        self._set(np.broadcast_to(center, (dim,)), number_above("radius", radius, 0.0), 0.0)

    def to_dict(self):
        return {"law": "UniformBall", "center": self.center.tolist(), "radius": self.radius}


class Barenblatt(_PowerBall):
    r"""Barenblatt profile of mass 1 at time ``t0``, for the porous medium equation.

    The self-similar solution of d rho/dt = Laplace rho^m from a point mass at time 0,

        rho(t, x) = t^-alpha (C - k |x - center|^2 t^(-2 beta))_+^(1/(m - 1)),
        alpha = d/(d (m - 1) + 2),  beta = alpha/d,  k = beta (m - 1)/(2 m),

    with C from unit mass: with p = 1/(m - 1),
    C^(p + d/2) = (k/pi)^(d/2) Gamma(p + 1 + d/2)/Gamma(p + 1).
    Source: J. L. Vazquez, The Porous Medium Equation, Oxford University Press 2007, section 4.4.

    Parameters
    ----------
    dim : int
        Dimension d.
    m : float
        Exponent of the equation, larger than 1.
    t0 : float
        Time, positive.
    center : (d,) array-like, optional
        Centre of the profile; the origin if not given.

    Attributes
    ----------
    alpha, beta, k, constant : float
        The numbers alpha, beta, k and C above.
    radius : float
        Radius of the support, sqrt(C/k) t0^beta.

    Raises
    ------
    LawError
        If dim < 1, m <= 1, t0 <= 0, or ``center`` has another length than ``dim``.
    """

    @checked_call
    def __init__(self, dim, m, t0, center=None):
        from scipy.special import betaln, gammaln

        dim = dimension("dim", dim, error=LawError)
        self.m, self.t0 = number_above("m", m, 1.0), number_above("t0", t0, 0.0)
        center = real_array("center", 0.0 if center is None else center)
        if center.shape not in ((), (dim,)):
            raise LawError("center", f"shape {center.shape}", f"shape ({dim},)")
        half, power = dim / 2, 1 / (self.m - 1)
        self.beta = 1 / (dim * (self.m - 1) + 2)
        self.alpha, self.k = dim * self.beta, self.beta * (self.m - 1) / (2 * self.m)
        log_ratio = gammaln(half) - betaln(half, power + 1)
        log_constant = (half * np.log(self.k / np.pi) + log_ratio) / (power + half)
        self.constant = float(np.exp(log_constant))
        radius = np.sqrt(self.constant / self.k) * self.t0**self.beta
        self._set(np.broadcast_to(center, (dim,)), float(radius), power)

    def to_dict(self):
        entries = {"law": "Barenblatt", "dim": self.dim, "m": self.m, "t0": self.t0}
        return entries | {"center": self.center.tolist()}


_LAWS = {law.__name__: law for law in (Gaussian, UniformBall, UniformBox, Barenblatt)}


def law_from_dict(entries: dict) -> Law:
    """Restore a law from ``Law.to_dict()``.

    Raises
    ------
    LawError
        If the name is not one of the package's laws, or the entries are not that law's arguments.
    """
    name = entries.get("law") if isinstance(entries, dict) else None
    if not isinstance(name, str) or name not in _LAWS:
        raise LawError("law", brief(entries), f"a dictionary whose law is one of {sorted(_LAWS)}")
    arguments = {key: value for key, value in entries.items() if key != "law"}
    try:
        return _LAWS[name](**arguments)
    except TypeError as error:
        raise LawError("law", sorted(map(str, arguments)), f"the arguments of {name}") from error
