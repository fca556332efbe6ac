"""Bounds on the distance of a computed path from the flow, as functions of the measured gap.

With g = u - w, the velocity of the path less that of the flow at it:

* W2 of lambda-convex energies.  Couple both laws optimally; then d/dt W2 <= -lambda W2 + |g| with
  the root mean square |g| (Ambrosio, Gigli and Savare, "Gradient Flows", 2008, section 11.2):
  W2(t) <= e^(-lambda t) W2(0) + int e^(-lambda (t-s)) |g| ds.
* KL of Fokker-Planck equations.  For the laws p of the path and rho of the flow
  d/dt KL(p|rho) = E_p[(g + w_p - w_rho) . s] with s = grad log(p/rho), where w_p - w_rho is
  -sigma s and, with interactions, -grad W * (p - rho), at most M |p - rho|_1 <= M sqrt(2 KL)
  (Pinsker).
  So KL' <= -sigma I + (|g| + M sqrt(2 KL)) sqrt(I) <= (|g| + M sqrt(2 KL))^2/(4 sigma).
* KL forgets early gaps where V is lambda-convex, or a sum over directions: :mod:`.shifts`.
* W2 of Fokker-Planck equations in a potential that is a sum over directions, each with a one-sided
  modulus m (:mod:`pwgf_sym.derive.one_sided`): p is the law of dX = (-grad V + g) dt + noise, and
  with equal noise the distance e from a solution of the flow's equation obeys, along a direction,
  d/dt E e^2 <= E(-2 m(X) e^2 + 2 |g e|)
  <= 2 a E e^2 + E g^2/(2 (m(X) + a)) for any a > -m, at every time the best one, with nearly V''(X)
  for m(X) where g is small; W2^2 is at most the sum over directions.
* TV <= sqrt(KL/2) (Pinsker), TV being half of the L1 distance.
* W1 of Fokker-Planck equations without interactions: p is the law of dX = (-grad V + g) dt + noise,
  so that couplings of X with a solution of the flow's equation give bounds with E|g| for |g|: equal
  noise for a lambda-convex V, reflected noise (:mod:`pwgf_sym.derive.ergodic`) for one that is
  convex far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..derive.ergodic import Coupling

__all__ = ["cell_weights", "contracted", "coupled", "entropy_growth", "envelope"]
__all__ += ["locally_contracted"]

_SQRT2 = np.sqrt(2.0)
# A rate times a step beyond which nodes are too far apart to see how the past is forgotten.
_STIFF = 0.5


def contracted(
    rate: float,
    start: float,
    sizes: np.ndarray,
    ages: np.ndarray,
    steps: np.ndarray,
    elapsed: float,
) -> float:
    """e^(-c t) start + int e^(-c (t - s)) size(s) ds.

    Where c times a step is large, the exponential is integrated in closed form, with the largest
    size of neighbouring nodes: between the last one and t alone much may be forgotten.

    Parameters
    ----------
    rate : float
        c.
    start : float
    sizes, ages, steps : (K,) arrays
        Sizes at the nodes, t - s there, weights of the nodes.
    elapsed : float
        Time since the start.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        grown = np.exp(-rate * elapsed) * start if start > 0 else 0.0
        parts = np.exp(-rate * ages) * steps * sizes
        stiff = np.abs(rate) * steps > _STIFF
        if stiff.any():
            left = np.maximum(elapsed - np.cumsum(steps), 0.0)
            largest = envelope(rate, sizes, steps)
            parts = np.where(stiff, cell_weights(rate, left, steps) * largest, parts)
        value = grown + float(np.sum(parts))
    return float(value) if np.isfinite(value) else np.inf


def envelope(rate: float, sizes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Sizes, or the largest of neighbours where a rate times a step is too large to see between."""
    around = np.maximum(np.append(0.0, sizes[:-1]), np.append(sizes[1:], 0.0))
    return np.where(np.abs(rate) * steps > _STIFF, np.maximum(sizes, around), sizes)


def cell_weights(rate: float, left: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """int e^(-c (t - s)) ds over cells of time.

    Parameters
    ----------
    rate : float
        c.
    left, steps : (K,) arrays
        t less the ends of the cells, and their lengths.
    """
    exponents = rate * steps
    small = np.abs(exponents) < 1e-12
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.where(small, 1.0, -np.expm1(-exponents) / np.where(small, 1.0, exponents))
        found: np.ndarray = np.exp(-rate * left) * steps * mean
    return found


def locally_contracted(
    start: np.ndarray, damped: np.ndarray, rates: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """sqrt(E e^2) from d/dt E e^2 <= 2 a E e^2 + D_a, at every node with the best of rates a.

    Parameters
    ----------
    start : (B,) array
        E e^2 of every direction at the start.
    damped : (K, B, A) array
        D_a at the nodes in their order.
    rates : (B, A) array
        a.
    steps : (K,) array
        Weights of the nodes.

    Returns
    -------
    (K + 1, B) array
        At the start, and after every node's step.
    """
    values = [np.array(start, float)]
    with np.errstate(over="ignore", invalid="ignore"):
        for row, step in zip(damped, steps, strict=True):
            exponents = 2 * rates * step
            small = np.abs(exponents) < 1e-12
            growth = np.where(small, 1.0, np.expm1(exponents) / np.where(small, 1.0, exponents))
            offers = values[-1][:, None] * np.exp(exponents) + step * growth * row
            values.append(np.where(np.isfinite(offers), offers, np.inf).min(axis=-1))
    return np.sqrt(np.array(values))


def coupled(
    couplings: Sequence[Coupling],
    starts: np.ndarray,
    parts: np.ndarray,
    ages: np.ndarray,
    steps: np.ndarray,
    elapsed: float,
) -> float:
    """The sum over coordinates of the least bound that reflection coupling gives.

    Parameters
    ----------
    couplings : sequence of d Coupling
    starts : (d,) array
    parts : (K, d) array
        E|g_i| at the nodes.
    """
    total = 0.0
    for i, coupling in enumerate(couplings):
        choices = (
            factor * contracted(rate, starts[i], parts[:, i], ages, steps, elapsed)
            for rate, factor in zip(coupling.rates, coupling.factors, strict=True)
        )
        total += min(choices)
    return total


def entropy_growth(
    start: float, squares: np.ndarray, steps: np.ndarray, sigma: float, slope: float
) -> float:
    """KL(t) from KL' = (|g| + M sqrt(2 KL))^2/(4 sigma), from above.

    Parameters
    ----------
    start : float
        KL(0).
    squares, steps : (K,) arrays
        E|g|^2 at the nodes in their order, and weights.
    sigma, slope : float
        The factor of the entropy, and M.
    """
    if slope == 0 or not np.isfinite(start):
        return float(start) + float(np.sum(steps * squares)) / (4 * sigma)
    value = start
    for square, step in zip(squares, steps, strict=True):
        parts = max(1, int(np.ceil(20 * step * slope**2 / (2 * sigma))))
        h = step / parts
        # Implicit: the right side grows with KL, so that its value at the end is the largest.
        a = 1 - h * slope**2 / (2 * sigma)
        b = h * np.sqrt(square) * slope / (_SQRT2 * sigma)
        for _ in range(parts):
            root = (b + np.sqrt(b**2 + 4 * a * (value + h * square / (4 * sigma)))) / (2 * a)
            value = root**2
    return float(value)
