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
* Where V is lambda-convex and the flow starts from a law with the log-Sobolev constant k_0 (a
  Gaussian: one over its largest variance), its law at t has k_t with
  1/k_t = e^(-2 lambda t)/k_0 + sigma (1 - e^(-2 lambda t))/lambda (D. Bakry, I. Gentil and
  M. Ledoux, "Analysis and Geometry of Markov Diffusion Operators", 2014, theorem 5.5.2, and the
  commutation |grad P_t f| <= e^(-lambda t) P_t |grad f|).  A part a of -sigma I is then at most
  -2 a sigma k_t KL, and KL' <= -2 a sigma k_t KL + |g|^2/(4 sigma (1 - a)) for 0 <= a < 1: early
  gaps are forgotten, like (G(s)/G(t))^a with G(t) = 1 + k_0 sigma (e^(2 lambda t) - 1)/lambda.
* W2 of Fokker-Planck equations in a potential with one-sided moduli m
  (:mod:`pwgf_sym.derive.one_sided`): p is the law of dX = (-grad V + g) dt + noise, and with equal
  noise the distance e from a solution of the flow's equation obeys
  d/dt E|e|^2 <= E sum_i (-2 m_i(X) e_i^2 + 2 |g_i e_i|)
  <= 2 a E|e|^2 + E sum_i g_i^2/(2 (m_i(X) + a)) for any a > -m, at every time the best one.
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

__all__ = ["contracted", "coupled", "entropy_decay", "entropy_growth", "locally_contracted"]

_SQRT2 = np.sqrt(2.0)
# Parts of the dissipation that are tried for the decay of KL.
_PARTS = np.linspace(0.0, 0.95, 20)


def contracted(
    rate: float,
    start: float,
    sizes: np.ndarray,
    ages: np.ndarray,
    steps: np.ndarray,
    elapsed: float,
) -> float:
    """e^(-c t) start + int e^(-c (t - s)) size(s) ds.

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
        value = grown + float(np.sum(np.exp(-rate * ages) * steps * sizes))
    return float(value) if np.isfinite(value) else np.inf


def locally_contracted(
    start: float, damped: np.ndarray, rates: np.ndarray, steps: np.ndarray
) -> float:
    """sqrt(E|e|^2) from d/dt E|e|^2 <= 2 a E|e|^2 + D_a, at every node with the best of rates a.

    Parameters
    ----------
    start : float
        E|e|^2 at the start.
    damped : (K, A) array
        D_a at the nodes in their order.
    rates : (A,) array
        a.
    steps : (K,) array
        Weights of the nodes.
    """
    value = float(start)
    with np.errstate(over="ignore", invalid="ignore"):
        for row, step in zip(damped, steps, strict=True):
            exponents = 2 * rates * step
            small = np.abs(exponents) < 1e-12
            growth = np.where(small, 1.0, np.expm1(exponents) / np.where(small, 1.0, exponents))
            values = value * np.exp(exponents) + step * growth * row
            value = float(np.nanmin(np.where(np.isfinite(values), values, np.inf)))
    return float(np.sqrt(value))


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


def entropy_decay(
    start: float,
    squares: np.ndarray,
    since: np.ndarray,
    steps: np.ndarray,
    elapsed: float,
    sigma: float,
    constant: float,
    modulus: float,
) -> float:
    """KL(t) where the flow's law has a logarithmic Sobolev inequality; the best part a of a few.

    Parameters
    ----------
    start : float
        KL(0).
    squares, since, steps : (K,) arrays
        E|g|^2 at the nodes, their times since the start, and weights.
    elapsed : float
        t since the start.
    sigma, constant, modulus : float
        The factor of the entropy, k_0, and lambda.
    """

    end = _log_growth(np.array(elapsed), sigma, constant, modulus)
    left = _log_growth(np.asarray(since, float), sigma, constant, modulus) - end
    values = [
        (start * np.exp(-part * end) if start > 0 else 0.0)
        + float(np.sum(steps * squares * np.exp(part * left))) / (4 * sigma * (1 - part))
        for part in _PARTS
    ]
    return float(min(values))


def _log_growth(t: np.ndarray, sigma: float, constant: float, modulus: float) -> np.ndarray:
    """log G(t) with G = 1 + 2 k_0 sigma t phi(2 lambda t), phi(x) = (e^x - 1)/x."""
    rate = 2 * modulus * t
    near = np.abs(rate) < 1e-12
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        phi = np.where(near, 1.0, np.expm1(rate) / np.where(near, 1.0, rate))
        found = np.log1p(2 * constant * sigma * t * phi)
        large = rate + np.log(np.float64(constant * sigma) / np.abs(modulus))  # where e^x overflows
    return np.where(np.isfinite(found), found, large)
