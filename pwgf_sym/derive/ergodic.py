"""How fast a Fokker-Planck equation forgets, for potentials that are not convex everywhere.

Logarithmic Sobolev inequality of pi = exp(-V/sigma)/Z:  KL(rho|pi) <= I(rho|pi)/(2 kappa) with the
Fisher information I = E_rho |grad log(rho/pi)|^2.

* Hess V >= lambda I > 0 gives kappa = lambda/sigma (D. Bakry and M. Emery, Seminaire de
  Probabilites XIX, 1985).
* V = C + B with Hess C >= m I and B bounded gives kappa = m/sigma exp(-(sup B - inf B)/sigma)
  (R. Holley and D. Stroock, J. Stat. Phys. 46, 1987).  For a potential of one coordinate C is V
  outside of an interval [a, b], up to a constant, and a parabola inside, whose slope fits at both
  ends: m = (V'(b) - V'(a))/(b - a).  A sum of such potentials has the least of their kappa.

Reflection coupling (A. Eberle, Probab. Theory Related Fields 166, 2016).  Couple
dX = (-V'(X) + p) dt + sqrt(2 sigma) dB with dY = -V'(Y) dt + sqrt(2 sigma) dB', where B' is B
reflected.  Their distance r has the quadratic variation 8 sigma dt and a drift of at most
|p| - D(r), D(r) = inf over x - y = r of V'(x) - V'(y).  If f(0) = 0, f' > 0 and

    4 sigma f'' - D f' + c f <= 0,

then E f(r) <= e^(-ct) E f(r_0) + sup f' int e^(-c(t-s)) E|p| ds, and with C = sup f'/inf(f/r)
the same holds for E r >= W1 with C before it.  Here f solves the equation up to the place from
where a straight line fulfils the inequality, and c is free: every c gives a bound.
D is superadditive, D(s + t) >= D(s) + D(t), as r D-intervals of length s + t split into two; that
carries the inequality from a grid to all distances.

For V = sum_i v_i(x_i) each coordinate is coupled on its own: its distance feels its own part p_i,
so that W1 <= sum_i E|x_i - y_i| has constants that do not depend on the dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from ..declare.formula_checks import within_depth
from .convex_sums import beside_convex_sums
from .convexity import Modulus
from .curvature import curvature, separated
from .least_values import polynomial_lower_bound
from .structure import EnergyStructure

__all__ = ["Coupling", "log_sobolev", "reflection_coupling"]

# Cells of the grid of distances, and exponents c that are offered.
_CELLS, _RATES = 2000, 24
# The grid ends where D(r) r is so many sigma.
_FAR = 100


@dataclass(frozen=True)
class Coupling:
    """Constants of reflection coupling for one coordinate.

    Attributes
    ----------
    rates, factors : (m,) arrays
        c and C: E|x - y| <= C (e^(-ct) E|x_0 - y_0| + int e^(-c(t-s)) E|p| ds) for each pair.
    """

    rates: np.ndarray
    factors: np.ndarray

    @property
    def total(self) -> float:
        """The least C/c: what a constant perturbation of size 1 can do in all time."""
        good = self.rates > 0
        return float((self.factors[good] / self.rates[good]).min()) if good.any() else np.inf


@within_depth
def log_sobolev(structure: EnergyStructure) -> Modulus:
    """The constant kappa of the logarithmic Sobolev inequality of exp(-V/sigma)/Z.

    Parameters
    ----------
    structure : EnergyStructure
        Of a Fokker-Planck energy without interactions, with numbers for all parameters.

    Returns
    -------
    Modulus
        The largest kappa that was found, or none.
    """
    if not structure.forgets_to_gibbs:
        return Modulus(np.nan, "none", "the energy is not int V rho + sigma int rho log rho")
    sigma = float(structure.sigma)
    best = Modulus(
        np.nan, "none", "V is not uniformly convex, nor a sum of wells of one coordinate"
    )
    potential = beside_convex_sums(structure)
    if potential is None:
        return best
    value, status, reason = curvature(potential, structure.coordinates)
    if value > 0:
        best = Modulus(value / sigma, status, f"Bakry-Emery: Hess V >= {value:.6g} ({reason})")
    wells = None if structure.sums else separated(structure.potential, structure.coordinates)
    if wells is not None:
        # Equal wells are one: their coefficients, which do not name the coordinate.
        different = {tuple(well.all_coeffs()): well for well in wells}.values()
        least = min(_well_constant(well, sigma) for well in different)
        if least > 0 and not best.value >= least:
            text = f"Holley-Stroock: kappa = {least:.6g} for a convex potential and a bounded one"
            best = Modulus(least, "proven", text)
    return best


def _well_constant(well: sp.Poly, sigma: float) -> float:
    """kappa of a potential of one coordinate; 0 where none is found."""
    second = well.diff().diff()
    convex = max(polynomial_lower_bound(second), 0.0) / sigma
    if well.degree() < 4 or well.degree() % 2 or well.LC() < 0:
        return convex
    ends = _best_interval(well, sigma)
    if ends is None:
        return convex
    a, b = ends
    left, right = sp.Rational(a), sp.Rational(b)
    slope = well.diff()
    m = (slope.eval(right) - slope.eval(left)) / (right - left)
    outside = (polynomial_lower_bound(second, None, left), polynomial_lower_bound(second, right))
    modulus = min(float(m), *outside)
    x = well.gen
    arc = well.eval(left) + slope.eval(left) * (x - left) + m * (x - left) ** 2 / 2
    bounded = well - sp.Poly(arc, x)
    low = polynomial_lower_bound(bounded, left, right)
    high = -polynomial_lower_bound(-bounded, left, right)
    return max(convex, modulus / sigma * float(np.exp(-(high - low) / sigma)), 0.0)


def _best_interval(well: sp.Poly, sigma: float) -> tuple[float, float] | None:
    """Ends a and b of the parabola with the largest kappa, by a search in double precision."""
    from scipy.optimize import minimize

    v = np.array([float(c) for c in well.all_coeffs()])
    slope, second = np.polyder(v), np.polyder(v, 2)
    turns = np.roots(np.polyder(v, 3)).real
    inside = np.linspace(0, 1, 101)

    def loss(ends: tuple[float, float]) -> float:
        a, b = ends
        if not b > a:
            return np.inf
        m = (np.polyval(slope, b) - np.polyval(slope, a)) / (b - a)
        outer = np.append(turns[(turns < a) | (turns > b)], [a, b])
        m_all = min(m, np.polyval(second, outer).min())
        if not m_all > 0:
            return np.inf
        x = a + (b - a) * inside
        gap = np.polyval(v, x) - np.polyval(v, a) - np.polyval(slope, a) * (x - a)
        gap -= m * (x - a) ** 2 / 2
        return np.ptp(gap) / sigma - np.log(m_all)

    size = 1 + np.abs(np.roots(second)).max()
    places = np.linspace(-3 * size, 3 * size, 61)
    starts = [(loss((a, b)), a, b) for a in places for b in places if b > a]
    value, a, b = min(starts)
    if not np.isfinite(value):
        return None
    best = minimize(loss, (a, b), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    return float(best.x[0]), float(best.x[1])


# Reflection coupling.


@within_depth
def reflection_coupling(structure: EnergyStructure) -> tuple[Coupling, ...] | str:
    """Constants of reflection coupling for a sum of potentials of one coordinate each.

    Parameters
    ----------
    structure : EnergyStructure
        With numbers for all parameters.

    Returns
    -------
    tuple of d Coupling, or str
        Or why there are none.
    """
    if not structure.forgets_to_gibbs:
        return "reflection coupling needs an energy int V rho + sigma int rho log rho"
    wells = None if structure.sums else separated(structure.potential, structure.coordinates)
    if wells is None:
        return "reflection coupling is offered for sums of polynomials of one coordinate each"
    found: dict[sp.Expr, Coupling | None] = {}
    sigma, couplings = float(structure.sigma), []
    for well in wells:
        key = tuple(well.all_coeffs())
        if key not in found:
            found[key] = _coupling(well, sigma)
        coupling = found[key]
        if coupling is None:
            return f"{well.as_expr()} is not convex far away"
        couplings.append(coupling)
    return tuple(couplings)


def _coupling(well: sp.Poly, sigma: float) -> Coupling | None:
    if well.degree() < 2 or well.degree() % 2 or well.LC() < 0:
        return None
    least = polynomial_lower_bound(well.diff().diff())
    v = np.array([float(c) for c in well.all_coeffs()])
    far = 1.0
    while True:  # until the drift of a distance has the upper hand over noise
        near = np.linspace(far / 2, far, 33)
        drift = _least_drift(v, near)
        if drift.min() > 0 and drift[-1] * far > _FAR * sigma:
            break
        far *= 2
    grid = np.linspace(0, far, _CELLS + 1)
    drift = _least_drift(v, grid)
    drift -= 1e-10 * (np.abs(drift) + abs(least) * grid)
    # V'' >= least: D falls by at most so much within a cell.
    cells = drift[:-1] + min(least, 0.0) * (grid[1] - grid[0])
    slope_far = (cells / grid[1:])[_CELLS // 2 :].min()
    return _constants(cells, grid, sigma, least, slope_far)


def _least_drift(v: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """D(s): the least of V'(m + s/2) - V'(m - s/2) over m."""
    derivatives = [np.polyder(v)]
    while derivatives[-1].size > 1:
        derivatives.append(np.polyder(derivatives[-1]))
    found = np.zeros(distances.size)
    for i, s in enumerate(distances):
        total = np.zeros(1)
        for k in range(1, len(derivatives), 2):  # V' has odd Taylor terms in the difference
            factorial = float(np.prod(np.arange(1, k + 1)))
            total = np.polyadd(total, derivatives[k] * (2 * (s / 2) ** k / factorial))
        turns = np.append(np.roots(np.polyder(total)).real, 0.0)
        found[i] = np.polyval(total, turns).min()
    return found


def _constants(
    cells: np.ndarray, grid: np.ndarray, sigma: float, least: float, slope_far: float
) -> Coupling:
    """Pairs (c, C) from the least admissible rate to the largest."""
    low, high = 0.0, 1.0

    def factor(rate: float) -> float:
        return _factor(rate, cells, grid, sigma, slope_far)

    while np.isfinite(factor(high)) and high < 1e12:
        low, high = high, 2 * high
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if np.isfinite(factor(middle)) else (low, middle)
    rates = low * np.linspace(0, 1, _RATES + 1)[:-1]
    if least < 0:
        rates = np.append(least * np.linspace(0, 1, _RATES + 1)[1:], rates)
    factors = np.array([factor(rate) for rate in rates])
    good = np.isfinite(factors)
    # V' is monotone up to least: r itself is a solution.
    rates, factors = np.append(rates[good], least), np.append(factors[good], 1.0)
    return Coupling(rates, factors)


def _factor(
    rate: float, cells: np.ndarray, grid: np.ndarray, sigma: float, slope_far: float
) -> float:
    """C for a rate c; infinite where no increasing f was found."""
    step = float(grid[1] - grid[0])
    f, slope = 0.0, 1.0
    least, largest = 1.0, 1.0
    ahead = np.append(cells, slope_far * grid[-1])
    places = grid.tolist()
    for j, drift in enumerate(cells.tolist()):
        if drift * slope >= rate * (f + slope * step) and _line_fits(
            j, f, slope, rate, ahead, grid, slope_far
        ):
            return largest / min(least, slope) * (1 + 1e-9)
        f, slope = _advance(f, slope, drift, rate, sigma, step)
        if not slope > 0 or not np.isfinite(slope):
            return np.inf
        least, largest = min(least, f / places[j + 1]), max(largest, slope)
    return np.inf


def _advance(
    f: float, slope: float, drift: float, rate: float, sigma: float, step: float
) -> tuple[float, float]:
    """4 sigma f'' = D f' - c f over a cell with constant D, by the classical Runge-Kutta method."""

    a, b = drift / (4 * sigma), rate / (4 * sigma)
    half = step / 2
    k1 = a * slope - b * f
    s2 = slope + half * k1
    k2 = a * s2 - b * (f + half * slope)
    s3 = slope + half * k2
    k3 = a * s3 - b * (f + half * s2)
    s4 = slope + step * k3
    k4 = a * s4 - b * (f + step * s3)
    moved = f + step / 6 * (slope + 2 * s2 + 2 * s3 + s4)
    return moved, slope + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _line_fits(
    j: int,
    f: float,
    slope: float,
    rate: float,
    ahead: np.ndarray,
    grid: np.ndarray,
    slope_far: float,
) -> bool:
    """Whether the line from place j on fulfils the inequality at all distances beyond."""
    line = f + slope * (grid[j + 1 :] - grid[j])
    if np.any(ahead[j:-1] * slope < rate * line):
        return False
    # Beyond the grid D(r) >= slope_far r, as r is a sum of distances from its second half.
    end = grid[-1]
    return slope_far * end * slope >= rate * line[-1] and slope_far >= rate
