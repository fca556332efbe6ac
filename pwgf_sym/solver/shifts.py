"""KL of Fokker-Planck equations by shifts, which forget.

With g = u - w the law of the path is that of dX = (-grad V + g) dt + noise (:mod:`.bounds`).  Let
dY = (-grad V + v) dt + the same noise start from the law of the flow, with v = eta(t) (X - Y) that
brings Y to X by the time t.  The law of the path is then that of Y, too, and by Girsanov's theorem

    KL(path | flow) <= E int |v|^2 ds / (4 sigma)

(M. Arnaudon, A. Thalmaier and F.-Y. Wang, Bull. Sci. Math. 130, 2006, for Harnack inequalities;
J. M. Altschuler and S. Chewi, "Shifted composition I", arXiv:2311.14520, for processes with gaps).

Where Hess V >= m, the bound u on (E|X - Y|^2)^(1/2) obeys u' = -m u + |g| - v for v = eta u, root
mean squares.  With w(s) = e^(-m (t-s)), G(s) = u(0) w(0) + int_0^s w |g| dr and V(s) = int_0^s w v
dr, any v >= 0 will do with V <= G and equality at s = t.  In the time dtau = w^2 ds its cost is
int (dV/dtau)^2 dtau, the least where V is the greatest convex function of tau below G, whose slope
is an isotonic regression.  V = G is Girsanov's bound int |g|^2/(4 sigma), which forgets nothing.
"""

from __future__ import annotations

import numpy as np

from .bounds import cell_weights, envelope

__all__ = ["shift_cost"]

# An exponent beyond which a gap is forgotten.
_FORGOTTEN = 300.0


def shift_cost(start: float, sizes: np.ndarray, steps: np.ndarray, modulus: float) -> float:
    """The least int v^2 ds that brings Y to X by the end.

    Parameters
    ----------
    start : float
        u at the start.
    sizes, steps : (K,) arrays
        Root mean square gaps, the same in each cell of time, and the lengths of the cells.
    modulus : float
        m.
    """
    from scipy.optimize import isotonic_regression

    elapsed = float(np.sum(steps))
    left = elapsed - np.cumsum(steps)
    if not np.isfinite([start, *sizes]).all() or -modulus * elapsed > _FORGOTTEN:
        return np.inf
    sizes, kept = envelope(modulus, sizes, steps), modulus * left <= _FORGOTTEN
    sizes, steps, left = sizes[kept], steps[kept], left[kept]
    if not sizes.size:
        return np.inf if start > 0 else 0.0
    weights = cell_weights(modulus, left, steps)
    # V is below G inside of a cell, too: for m >= 0 a chord is below what is concave, and for m < 0
    # v is the same in all of a cell, as sizes are.
    taus = cell_weights(2 * modulus, left, steps) if modulus >= 0 else weights**2 / steps
    moved = sizes * weights
    moved[0] += start * np.exp(-modulus * elapsed)
    slopes = isotonic_regression(moved / taus, weights=taus).x
    return float(np.sum(slopes**2 * taus))
