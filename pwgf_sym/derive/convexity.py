"""Least curvature of potentials and interactions, from their formulas.

A flow contracts W2 like e^(-lambda t) where its energy is lambda-convex along geodesics of W2
(Ambrosio, Gigli and Savare, "Gradient Flows", 2008, sections 9.3 and 11.2):

* int V rho has the modulus of V: the largest lambda with Hess V >= lambda I everywhere.
* 1/2 int int W(x - y) rho rho with W even and Hess W >= lambda_W I: along a geodesic with velocity
  v the second derivative is at least lambda_W/2 E|v(X) - v(Y)|^2 = lambda_W (E|v|^2 - |E v|^2),
  with X, Y independent.  A positive lambda_W adds nothing, since a common motion of all points
  changes nothing; a negative one adds itself, once.
* 1/2 int int W(x, y) rho rho: the least eigenvalue of the Hessian of W on R^2d, where it is known,
  since E|v(X)|^2 + E|v(Y)|^2 = 2 E|v|^2.
* int U(rho) is convex where r^d U(r^-d) is convex and does not rise (R. J. McCann, Adv. Math. 128,
  1997): rho log rho, and rho^m/(m - 1) with m >= 1 - 1/d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ..declare.formula_checks import within_depth
from .calculus import RHO
from .compositions import as_composition
from .convex_sums import beside_convex_sums
from .curvature import additive, curvature
from .intervals import bounds
from .least_values import lower_bound
from .structure import EnergyStructure, in_fractions

__all__ = ["Modulus", "convexity", "displacement_convex", "gradient_bound"]


@dataclass(frozen=True)
class Modulus:
    """A number that a certificate needs, and how it is known.

    Attributes
    ----------
    value : float
        The number; NaN where there is none.
    status : {"proven", "conditional", "none"}
        Proven by the formulas; found by a numerical search, which can miss; not there.
    reason : str
        Where it comes from, or why there is none.
    """

    value: float
    status: str
    reason: str

    @property
    def holds(self) -> bool:
        """Whether there is a number."""
        return self.status != "none"


def _none(reason: str) -> Modulus:
    return Modulus(np.nan, "none", reason)


@within_depth
def convexity(structure: EnergyStructure) -> Modulus:
    """The modulus lambda of an energy along geodesics of W2.

    Parameters
    ----------
    structure : EnergyStructure
        With numbers for all parameters.

    Returns
    -------
    Modulus
    """
    if structure.other:
        return _none(f"the energy is no sum of known parts: {structure.other}")
    if not structure.sigma >= 0:
        return _none(f"the entropy has the factor {float(structure.sigma):.4g} < 0")
    internal = displacement_convex(structure.internal, len(structure.coordinates))
    if not internal.holds:
        return internal
    if structure.transport.mobility is not None:
        return _none("no contraction is known for a mobility that is not rho")
    found = [_potential(structure), *_interactions(structure)]
    bad = next((f for f in found if not f.holds), None)
    if bad is not None:
        return bad
    found.append(internal)
    status = "conditional" if any(f.status == "conditional" for f in found) else "proven"
    reasons = "; ".join(f.reason for f in found if f.reason)
    value = float(sum(f.value for f in found))
    return Modulus(value, status, f"lambda = {value:.6g}: {reasons}")


def _potential(structure: EnergyStructure) -> Modulus:
    potential = beside_convex_sums(structure)
    if potential is None:
        return _none("the potential holds a sum over an index that is not seen to be convex")
    if structure.transport.drift:
        potential = _beside_drift(structure, potential)
    if potential is None:
        return _none("the drift is not affine")
    value, status, reason = curvature(potential, structure.coordinates)
    reason += ", with the drift" if structure.transport.drift else ""
    reason += ", beside convex sums" if structure.sums else ""
    return Modulus(value, status, f"Hess V >= {value:.6g} ({reason})" if value == value else reason)


def _beside_drift(structure: EnergyStructure, potential: sp.Expr) -> sp.Expr | None:
    """V - x^T S x/2, S the symmetric part of grad b of an affine drift b; None for other drifts.

    Of X' = -grad V + b and Y' alike with equal noise |X - Y|^2 falls at twice the rate by which the
    Hessian of this is bounded.
    """
    x = structure.coordinates
    slopes = sp.Matrix([[b.diff(s) for s in x] for b in structure.transport.drift])
    if slopes.free_symbols:
        return None
    half = sum(slopes[i, j] * x[i] * x[j] for i in range(len(x)) for j in range(len(x))) / 2
    return potential - sp.expand(half)


def _interactions(structure: EnergyStructure) -> list[Modulus]:
    """What interactions add: those of differences together, the others together."""
    even = [w.by_difference for w in structure.interactions if w.by_difference is not None]
    others = [w.kernel for w in structure.interactions if w.by_difference is None]
    found = []
    if even:
        value, status, reason = curvature(sp.Add(*even), structure.coordinates)
        text = f"Hess W >= {value:.6g} ({reason})" if value == value else f"W: {reason}"
        found.append(Modulus(min(value, 0.0) if value == value else value, status, text))
    if others:
        both = (*structure.coordinates, *structure.partners)
        value, status, reason = curvature(sp.Add(*others), both)
        text = f"Hess W(x, y) >= {value:.6g} ({reason})" if value == value else f"W: {reason}"
        found.append(Modulus(value, status, text))
    return found


def displacement_convex(internal: sp.Expr, dim: int) -> Modulus:
    """Whether an internal energy U(rho) is convex along geodesics (McCann).

    Parameters
    ----------
    internal : Expr
        U, a formula of :data:`~pwgf_sym.derive.calculus.RHO` and numbers.
    dim : int
        Dimension d.

    Returns
    -------
    Modulus
        Of value 0 where r^d U(r^-d) is convex and does not rise in r > 0.
    """
    if internal == 0:
        return Modulus(0.0, "proven", "")
    for part in sp.Add.make_args(sp.expand(internal)):
        if not _power_is_convex(part, dim):
            # Of another kind, or not convex itself, which the other parts may outweigh.
            return _by_scan(internal, dim)
    return Modulus(0.0, "proven", "")


def _power_is_convex(part: sp.Expr, dim: int) -> bool:
    """McCann's condition for c rho^m and c rho log rho; False for what is neither."""
    factor, rest = part.as_independent(RHO, as_Add=False)
    if rest in (RHO, 1):
        return True
    if rest == RHO * sp.log(RHO):
        return bool(factor >= 0)
    base, power = rest.as_base_exp()
    if base != RHO or not power.is_number:
        return False
    if power > 1:
        return bool(factor >= 0)
    return bool(power >= 1 - sp.Rational(1, dim) and factor <= 0)


def _by_scan(internal: sp.Expr, dim: int) -> Modulus:
    """The same by numbers over many sizes of r: a search, and no proof."""
    r = sp.Dummy("r", positive=True)
    formula = in_fractions(sp.expand(r**dim * internal.subs(RHO, r**-dim)))
    first, second = formula.diff(r), formula.diff(r, 2)
    places = np.geomspace(1e-3, 1e3, 4001)
    low, high = _values(r * first, r, places), _values(r**2 * second, r, places)
    scale = np.abs(low) + np.abs(high) + 1e-300
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return _none("the internal energy has no values that could be searched")
    if (low > 1e-9 * scale).any() or (high < -1e-9 * scale).any():
        return _none("the internal energy is not displacement convex (McCann's condition)")
    return Modulus(0.0, "conditional", "McCann's condition on U, at 4001 densities")


def _values(expr: sp.Expr, symbol: sp.Symbol, places: np.ndarray) -> np.ndarray:
    low, high = bounds(expr, {symbol: (places, places)})
    return low / 2 + high / 2


@within_depth
def gradient_bound(structure: EnergyStructure) -> Modulus:
    """M = sup |grad W| of interactions W(x - y), where it is finite and found.

    Each W is a function f(q) of a square q = |x|^2/2 in some metric A, or of one direction; then
    |grad W| <= |f'(q)| sqrt(2 q) |A|^(1/2), a function of one number.

    Returns
    -------
    Modulus
        Of value 0 where there are no interactions.
    """
    total, reasons = 0.0, []
    for interaction in structure.interactions:
        kernel = interaction.by_difference
        if kernel is None:
            return _none("an interaction is no function of x - y")
        for part in additive(kernel):
            form = as_composition(part, structure.coordinates)
            if form is None:
                return _none("no bound on grad W was found: W is no function of |x - y|")
            matrix, symbol, outer, least, affine = form
            slope = outer.diff(symbol) ** 2 * (1 if affine else 2 * (symbol - least))
            bound = -lower_bound(-slope, symbol, None if affine else least)
            if not np.isfinite(bound):
                return _none("no bound on grad W was found: it may be unbounded")
            total += float(np.sqrt(max(bound, 0.0) * np.linalg.eigvalsh(matrix)[-1]))
            reasons.append(str(part))
    return Modulus(total, "proven", f"|grad W| <= {total:.6g}" if reasons else "")
