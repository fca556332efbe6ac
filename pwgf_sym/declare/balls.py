"""Laws on balls: the uniform one, and the Barenblatt profile of the porous medium equation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import checked_call, dimension
from ..errors import LawError
from .law import Law
from .law_checks import common_dim, frozen, measurable, number_above, real_array
from .law_formulas import log_gamma_ratio

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Barenblatt", "UniformBall"]


class _PowerBall(Law):
    """Law with density proportional to (1 - |x - center|^2 / radius^2)_+^power.

    Then |x - center|^2 / radius^2 ~ Beta(d/2, power + 1), independent of the direction.  The
    uniform ball is power 0, the Barenblatt profile power 1/(m - 1).
    """

    support = "bounded"

    def _set(self, center: NDArray[np.float64], radius: float, power: float) -> None:
        self.center = self.mean = frozen(center)
        self.dim, self.radius, self._power = center.size, radius, power
        with np.errstate(all="ignore"):
            variance = np.float64(radius) ** 2 / (self.dim + 2 * power + 2)
            covariance = np.diag(np.full(self.dim, variance))
        self.covariance = frozen(measurable("radius", f"{radius:.6g}", covariance))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
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

    def _depth(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Offsets from the centre, and 1 - |x - center|^2 / radius^2; NaN outside the support."""
        offset = points - self.center
        distance = np.sqrt(np.sum(offset**2, axis=1)) / self.radius
        depth = (1 - distance) * (1 + distance)
        # The closed ball for the uniform law; where the profile vanishes its log has no value.
        inside = depth >= 0 if self._power == 0 else depth > 0
        return offset, np.where(inside, depth, np.nan)

    def _log_mass(self) -> float:
        """Log of the integral of (1 - |x|^2 / radius^2)_+^power over R^d."""
        half, area = self.dim / 2, self.dim * np.log(self.radius) + self.dim / 2 * np.log(np.pi)
        return float(area - log_gamma_ratio(self._power + 1, half))

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import xlogy

        _, depth = self._depth(points)
        profile = xlogy(self._power, depth) - self._log_mass()
        return np.where(np.isnan(depth), -np.inf, profile)

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
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
    def __init__(self, center: ArrayLike, radius: float) -> None:
        center = real_array("center", center)
        dim = common_dim({"center": center})
        self._set(np.broadcast_to(center, (dim,)), number_above("radius", radius, 0.0), 0.0)

    def to_dict(self) -> dict[str, Any]:
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
    def __init__(self, dim: int, m: float, t0: float, center: ArrayLike | None = None) -> None:
        dim = dimension("dim", dim, error=LawError)
        self.m, self.t0 = number_above("m", m, 1.0), number_above("t0", t0, 0.0)
        center = real_array("center", 0.0 if center is None else center)
        if center.shape not in ((), (dim,)):
            raise LawError("center", f"shape {center.shape}", f"shape ({dim},)")
        half, power = dim / 2, 1 / (self.m - 1)
        self.beta = 1 / (dim * (self.m - 1) + 2)
        self.alpha, self.k = dim * self.beta, self.beta * (self.m - 1) / (2 * self.m)
        log_ratio = log_gamma_ratio(power + 1, half)
        log_constant = (half * np.log(self.k / np.pi) + log_ratio) / (power + half)
        self.constant = float(np.exp(log_constant))
        radius = np.sqrt(self.constant / self.k) * self.t0**self.beta
        self._set(np.broadcast_to(center, (dim,)), float(radius), power)

    def to_dict(self) -> dict[str, Any]:
        entries = {"law": "Barenblatt", "dim": self.dim, "m": self.m, "t0": self.t0}
        return entries | {"center": self.center.tolist()}
