"""Radial flows: the porous medium equation from Barenblatt data, and an aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import brief, checked_call, integer, number, real_array
from ..errors import OptionError
from .checks import checked_times

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# The integrator of the aggregation takes steps in proportion to the time.
_LATEST = 1e4

__all__ = ["aggregation_minimum", "aggregation_radial", "barenblatt_scaling"]


@checked_call
def barenblatt_scaling(dim: int, m: float, t0: float, t1: float) -> float:
    """Factor (t1/t0)^beta, beta = 1/(d (m - 1) + 2), of the exact map x -> factor x.

    It carries the Barenblatt solution of d rho/dt = Laplace rho^m from time t0 to time t1
    (J. L. Vazquez, The Porous Medium Equation, Oxford University Press 2007, section 4.4).

    Raises
    ------
    OptionError
        If ``dim`` < 1 or ``m`` <= 1, or a time is not positive.
    """
    dim, m = integer("dim", dim, 1), number("m", m, above=1.0)
    t0, t1 = number("t0", t0, above=0.0), number("t1", t1, above=0.0)
    return (t1 / t0) ** (1 / (dim * (m - 1) + 2))


@checked_call
def aggregation_minimum(dim: int) -> float:
    """Least value -d/(8 (d + 1)) of E = 1/2 int int W(x, y) rho rho, W = |x-y|^4/4 - |x-y|^2/2.

    Reached exactly where |x - mean|^2 = d/(2 (d + 1)) almost surely and the covariance is
    isotropic: with M the covariance and z = x - mean,
    E = (2 E|z|^4 + 2 (tr M)^2 + 4 tr M^2)/8 - tr M/2, and E|z|^4 >= (tr M)^2, tr M^2 >= (tr M)^2/d.
    """
    dim = integer("dim", dim, 1)
    return -dim / (8 * (dim + 1))


@checked_call
def aggregation_radial(
    points: ArrayLike,
    t: ArrayLike,
    variance: float = 1.0,
    quadrature: tuple[ArrayLike, ArrayLike] | None = None,
) -> tuple[Floats, Floats | float]:
    """Map points along the aggregation equation from a radially symmetric initial law.

    For W = |x-y|^4/4 - |x-y|^2/2 and a law symmetric about the origin the velocity is
    r' = r (1 - (1 + 2/d) m2 - r^2), m2 = E|x|^2.  Given m2(t) this is a Bernoulli equation, so
    |x(t)|^2 = r^2 A/(1 + r^2 B) with A' = 2 (1 - (1 + 2/d) m2) A and B' = 2 A, where r = |x(0)|
    and m2 = E[r^2 A/(1 + r^2 B)] closes the system: two ordinary differential equations whatever
    the number of points.

    Parameters
    ----------
    points : (n, d) array-like
        Points at time 0, d at least 1.  They are test points; they do not define the law.
    t : float or (T,) array-like
        Strictly ascending times, at least 0.
    variance : float
        The initial law is N(0, variance I), unless ``quadrature`` is given.
    quadrature : (radii, weights), optional
        Another radial initial law: nodes and weights of the law of |x|, weights of sum 1.

    Returns
    -------
    mapped : (n, d) or (T, n, d) array
    second_moment : float or (T,) array
        E|x|^2 of the exact solution, relative error about 1e-12.

    Raises
    ------
    OptionError
        If shapes are wrong, or ``t``, ``variance`` or ``quadrature`` is out of range.
    """
    points = real_array("points", points)
    if points.ndim != 2 or points.shape[1] < 1:
        raise OptionError("points", f"shape {points.shape}", "shape (n, d)")
    times, dim = checked_times(t), points.shape[1]
    if times.max() > _LATEST:
        fix = "The flow has come to rest in double precision long before."
        raise OptionError("t", brief(t), f"times up to {_LATEST:g}", fix)
    if quadrature is None:
        square, weights = _gaussian_radii(dim, number("variance", variance, above=0.0))
    else:
        if not isinstance(quadrature, tuple | list) or len(quadrature) != 2:
            raise OptionError("quadrature", brief(quadrature), "a pair (radii, weights)")
        radii, weights = (real_array("quadrature", entry) for entry in quadrature)
        square = radii**2
        if radii.ndim != 1 or radii.shape != weights.shape or abs(weights.sum() - 1) > 1e-8:
            given = f"shapes {radii.shape}, {weights.shape}, sum of weights {weights.sum()}"
            raise OptionError("quadrature", given, "two vectors of one length, weights of sum 1")
    growth = _aggregation_growth(dim, square, weights, np.atleast_1d(times))
    squares = np.sum(points**2, axis=1)
    mapped = np.stack([np.sqrt(_contract(a, b, squares))[:, None] * points for a, b in growth])
    moment = np.array([weights @ (square * _contract(a, b, square)) for a, b in growth])
    return (mapped, moment) if times.ndim else (mapped[0], float(moment[0]))


def _contract(log_a: float, log_b: float, square: Floats) -> Floats:
    """A/(1 + r^2 B) from log A and log(1 + B), which stay finite at all times."""
    # The floor keeps 0 * A = 0 at the origin when A overflows; elsewhere it is invisible.
    floor = np.maximum(np.exp(-log_b), np.finfo(float).tiny)
    return np.exp(log_a - log_b) / (floor - square * np.expm1(-log_b))


def _aggregation_growth(dim: int, square: Floats, weights: Floats, times: Floats) -> Floats:
    """(log A, log(1 + B)) at the times, a (T, 2) array."""
    from scipy.integrate import solve_ivp

    def rate(_: float, state: Floats) -> list[float]:
        log_a, log_b = state
        moment = weights @ (square * _contract(log_a, log_b, square))
        return [2 - 2 * (1 + 2 / dim) * moment, 2 * np.exp(log_a - log_b)]

    run = solve_ivp(
        rate,
        (0.0, times[-1] or 1.0),
        [0.0, 0.0],
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-13,
    )
    found = np.asarray(run.y).T
    if not run.success or found.shape != (times.size, 2) or not np.all(np.isfinite(found)):
        given = f"an initial law with E|x|^2 = {weights @ square:.6g}"
        raise OptionError("variance", given, "a law of moderate size", "Rescale the points.")
    return found


def _gaussian_radii(dim: int, variance: float) -> tuple[Floats, Floats]:
    """Nodes of |x|^2 and weights for N(0, variance I): |x|^2 = 2 variance s, s ~ Gamma(d/2).

    The trapezoidal rule in log s.  Integrands 1/(1 + s B) are singular at distance pi from the
    real line for every B, so that the error stays at round-off at late times, where polynomial
    quadrature fails.
    """
    from scipy.special import gammaln

    shape = dim / 2
    step = min(0.25, 0.7 / np.sqrt(shape))
    low, high = -(42 / shape + 1), np.log1p(42 / shape) + np.sqrt(84 / shape)
    u = np.arange(low, high, step) + np.log(shape)
    weights = step * np.exp(shape * u - np.exp(u) - gammaln(shape))
    return 2 * variance * np.exp(u), weights / weights.sum()
