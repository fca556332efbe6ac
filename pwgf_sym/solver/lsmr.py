"""LSMR for the weighted least-squares problem of the velocity form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .vectors import norm

__all__ = ["lsmr"]


def lsmr(
    forward: Callable[[np.ndarray], np.ndarray],
    adjoint: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    weights: np.ndarray | float,
    *,
    damp: float,
    tolerance: float,
    max_iterations: int,
    eps: float,
) -> tuple[np.ndarray, int, float]:
    """Minimize |A x - target|_w^2 + damp^2 |x|^2 from x = 0 by LSMR.

    D. C.-L. Fong and M. A. Saunders, SIAM J. Sci. Comput. 33 (2011) 2950-2971.  The iterates are
    those of ``scipy.sparse.linalg.lsmr``; the stopping rule is not.  SciPy's compares the gradient
    g = A^T r - damp^2 x with |A| |r|, which says little about x where the target is nearly
    orthogonal to the range, as it is near equilibrium.  Here g is compared with its value at x = 0,
    so that the tolerance is that of the residual of the normal equation.

    Parameters
    ----------
    forward, adjoint : callable
        A x, and A^T applied to a field that was multiplied by the weights.
    target : (M,) array
        Right side.
    weights : (M,) array or float
        Weights of the norm |u|_w^2 = sum w u^2.
    damp, tolerance, max_iterations : float, float, int
        Square root of the Tikhonov shift; relative tolerance; iteration limit.
    eps : float
        Relative round-off of ``adjoint``; below eps |A| |target| a gradient is noise.

    Returns
    -------
    x : (p,) float64 array
    iterations : int
    floor : float
        eps |A| |target|_w with the Frobenius norm of A estimated from below.
    """
    u = target.copy()
    weighted = weights * u
    beta = length = norm(u, weighted)
    u /= beta
    v = adjoint(weighted / beta)
    alpha = norm(v)
    v /= alpha
    x, h, hbar = np.zeros_like(v), v.copy(), np.zeros_like(v)
    start = zetabar = alpha * beta
    alphabar, rho, rhobar, cbar, sbar = alpha, 1.0, 1.0, 1.0, 0.0
    size2 = alpha * alpha
    iteration = 0
    while iteration < max_iterations:
        iteration += 1
        # Golub-Kahan: beta u = A v - alpha u,  alpha v = A^T u - beta v.
        u *= -alpha
        u += forward(v)
        np.multiply(weights, u, out=weighted)
        beta = norm(u, weighted)
        alpha = 0.0
        if beta > 0:
            u /= beta
            weighted /= beta
            v = adjoint(weighted) - beta * v
            alpha = norm(v)
            v /= alpha or 1.0
        # Rotations: damping, then R of the bidiagonal matrix, then R of its transpose.
        rho_old, rhobar_old = rho, rhobar
        alphahat = float(np.hypot(alphabar, damp))
        c, s, rho = _rotation(alphahat, beta)
        theta_new, alphabar = s * alpha, c * alpha
        theta_bar = sbar * rho
        cbar, sbar, rhobar = _rotation(cbar * rho, theta_new)
        zeta, zetabar = cbar * zetabar, -sbar * zetabar
        hbar = h - (theta_bar * rho / (rho_old * rhobar_old)) * hbar
        x += (zeta / (rho * rhobar)) * hbar
        h = v - (theta_new / rho) * h
        size2 += alpha * alpha + beta * beta
        floor = eps * float(np.sqrt(size2)) * length
        if abs(zetabar) <= max(tolerance * start, floor):
            break
    return x, iteration, floor


def _rotation(a: float, b: float) -> tuple[float, float, float]:
    """Cosine, sine and length of the plane rotation that takes (a, b) to (length, 0)."""
    length = float(np.hypot(a, b))
    return a / length, b / length, length
