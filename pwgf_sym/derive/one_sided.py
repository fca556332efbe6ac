"""How fast two particles come together when one of them is at a known place.

In a potential that is a sum of polynomials V_i of one coordinate each,

    (V_i'(x) - V_i'(y)) (x - y) >= m_i(y) (x - y)^2 for every x,
    m_i(y) = min over x of the divided difference (V_i'(x) - V_i'(y))/(x - y).

For x^4/4 it is 3 y^2/4: nothing at the bottom, much in the tails, where its second derivative alone
says no more than that it is at least 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from .structure import EnergyStructure

__all__ = ["OneSided", "one_sided"]

# Cells of the table of m, and how far it reaches beyond the largest root of V'.
_CELLS, _BEYOND = 8192, 8.0


@dataclass(frozen=True)
class OneSided:
    """m of one coordinate: in closed form up to degree 4, else from a table and from below.

    Attributes
    ----------
    slopes : tuple of float
        Coefficients of V', the constant first.
    """

    slopes: tuple[float, ...]

    @cached_property
    def _table(self) -> tuple[float, np.ndarray]:
        """The end R of the table, and a lower bound of m in each of its cells on [-R, R]."""
        slopes = np.array(self.slopes)
        # No root of V' is farther away (Fujiwara), and so none of V'' and its derivative.
        powers = np.abs(slopes[:-1] / slopes[-1]) ** (1.0 / np.arange(slopes.size - 1, 0, -1))
        end = _BEYOND * (2 * powers.max() or 1.0)
        values = np.array([_least(slopes, y) for y in np.linspace(-end, end, _CELLS + 1)])
        change = np.abs(np.diff(values))
        return end, np.minimum(values[:-1], values[1:]) - change

    @property
    def least(self) -> float:
        """A lower bound of m everywhere: the least second derivative of V."""
        c = self.slopes
        if len(c) <= 2:
            return c[1] if len(c) == 2 else 0.0
        return c[1] - c[2] ** 2 / (3 * c[3]) if len(c) == 4 else float(self._table[1].min())

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """m(y); beyond the table, where m grows, that of its last cell."""
        c, y = self.slopes, np.asarray(y, float)
        if len(c) <= 2:
            return np.full(y.shape, self.least)
        if len(c) == 4:  # a parabola in x: its vertex
            return 0.75 * c[3] * y**2 + c[2] * y / 2 + c[1] - c[2] ** 2 / (4 * c[3])
        end, cells = self._table
        place = ((y + end) * (cells.size / (2 * end))).astype(np.int64)
        return cells[np.clip(place, 0, cells.size - 1)]


def _least(slopes: np.ndarray, y: float) -> float:
    """min over x of sum_k c_k (x^(k-1) + x^(k-2) y + ... + y^(k-1))."""
    top = slopes.size - 1
    quotient = np.array(
        [sum(slopes[k] * y ** (k - 1 - j) for k in range(j + 1, top + 1)) for j in range(top)]
    )
    places = np.roots(np.polynomial.polynomial.polyder(quotient)[::-1])
    # A minimum that is degenerate may come with a small imaginary part: its real part is tried.
    return float(np.polynomial.polynomial.polyval(places.real, quotient).min())


def one_sided(structure: EnergyStructure) -> tuple[OneSided, ...] | str:
    """m of every coordinate, or why there is none.

    Parameters
    ----------
    structure : EnergyStructure
        With numbers for its parameters.

    Returns
    -------
    tuple of d OneSided, or str
    """
    if structure.other or structure.internal != 0 or structure.interactions:
        return "it is not int V rho + sigma int rho log rho"
    potential = sp.expand(structure.potential)
    if not potential.is_polynomial(*structure.coordinates):
        return "V is no polynomial"
    poly = sp.Poly(potential, *structure.coordinates)
    if any(sum(power > 0 for power in powers) > 1 for powers in poly.monoms()):
        return "V is no sum of functions of one coordinate each"
    found = []
    for q in structure.coordinates:
        own = sp.Poly(potential, q)
        own = own.diff(q)
        slopes = [own.nth(k) for k in range(own.degree() + 1)] if own else [sp.S.Zero]
        slopes = [c.subs(dict.fromkeys(structure.coordinates, 0)) for c in slopes]
        if not all(c.is_number for c in slopes):
            return "V has parameters without values"
        while len(slopes) > 1 and slopes[-1] == 0:
            slopes.pop()
        if len(slopes) > 1 and (len(slopes) % 2 or slopes[-1] < 0):
            return f"V does not confine {q}"
        found.append(OneSided(tuple(float(c) for c in slopes)))
    return tuple(found)
