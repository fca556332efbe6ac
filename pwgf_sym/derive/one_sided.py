"""How fast two particles come together when one of them is at a known place.

In a potential that is a sum of polynomials V_i of one coordinate each, or of one direction each of
an orthogonal frame (:mod:`.separation`), as every quadratic is,

    (V_i'(x) - V_i'(y)) (x - y) >= m_i(y) (x - y)^2 for every x,
    m_i(y) = min over x of the divided difference (V_i'(x) - V_i'(y))/(x - y).

For x^4/4 it is 3 y^2/4: nothing at the bottom, much in the tails, where its second derivative alone
says no more than that it is at least 0.  Of a particle that is near, more is known: with
c_i(y) = min over |x - y| <= r_i(y) of the same quotient, which is nearly V_i''(y) = 3 y^2,

    -2 (V_i'(x) - V_i'(y)) (x - y) + 2 g (x - y) - 2 a (x - y)^2 <= g^2/(2 (c_i(y) + a))

for every x, as soon as |g| <= (m_i(y) + a) r_i(y): farther away the left side is not positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .separation import separation
from .structure import EnergyStructure

__all__ = ["OneSided", "OneSidedSum", "one_sided"]

# Cells of the tables of m and c, and how far they reach beyond the largest root of V'.
_CELLS, _BEYOND = 8192, 8.0
# What is near, as a part of the distance from the mean of the roots of V'.
_NEAR = 0.25


@dataclass(frozen=True)
class OneSided:
    """m and c of one direction: in closed form up to degree 4, else from tables and from below.

    Attributes
    ----------
    slopes : tuple of float
        Coefficients of V', the constant first.
    """

    slopes: tuple[float, ...]

    @cached_property
    def _table(self) -> tuple[float, np.ndarray, np.ndarray]:
        """The end R of the tables, and lower bounds of m and c in each cell of [-R, R]."""
        slopes = np.array(self.slopes)
        # No root of V' is farther away (Fujiwara), and so none of V'' and its derivative.
        powers = np.abs(slopes[:-1] / slopes[-1]) ** (1.0 / np.arange(slopes.size - 1, 0, -1))
        end = _BEYOND * (2 * powers.max() or 1.0)
        places = np.linspace(-end, end, _CELLS + 1)
        # r of a place in a cell is at most that of its end and a part of the cell.
        radii = self.radius(places) + _NEAR * 2 * end / _CELLS
        found = [_least(slopes, y, radius) for y, radius in zip(places, radii, strict=True)]
        values, near = np.array(found).T
        return end, _below(values), np.maximum(_below(near), _below(values))

    @property
    def constant(self) -> bool:
        """Whether m is the same everywhere: V is a parabola."""
        return len(self.slopes) <= 2

    @property
    def least(self) -> float:
        """A lower bound of m everywhere: the least second derivative of V."""
        c = self.slopes
        if self.constant:
            return c[1] if len(c) == 2 else 0.0
        return c[1] - c[2] ** 2 / (3 * c[3]) if len(c) == 4 else float(self._table[1].min())

    def radius(self, y: np.ndarray) -> np.ndarray:
        """r(y)."""
        c = self.slopes
        middle = -c[-2] / ((len(c) - 1) * c[-1]) if len(c) > 2 else 0.0
        return _NEAR * np.abs(np.asarray(y, float) - middle)

    def near(self, y: np.ndarray) -> np.ndarray:
        """c(y); beyond the table, where c grows, that of its last cell."""
        c, y = self.slopes, np.asarray(y, float)
        if self.constant:
            return self(y)
        if len(c) == 4:
            ends = self.radius(y) * np.array([-1.0, 1.0]).reshape(2, *[1] * y.ndim)
            values = c[1] + c[2] * (2 * y + ends) + c[3] * (3 * y**2 + 3 * y * ends + ends**2)
            inside = np.abs(c[2] + 3 * c[3] * y) <= 2 * c[3] * ends[1]  # the vertex
            return np.where(inside, self(y), values.min(axis=0))
        end, _, cells = self._table
        place = ((y + end) * (cells.size / (2 * end))).astype(np.int64)
        return cells[np.clip(place, 0, cells.size - 1)]

    def __call__(self, y: np.ndarray) -> np.ndarray:
        """m(y); beyond the table, where m grows, that of its last cell."""
        c, y = self.slopes, np.asarray(y, float)
        if self.constant:
            return np.full(y.shape, self.least)
        if len(c) == 4:  # a parabola in x: its vertex
            return 0.75 * c[3] * y**2 + c[2] * y / 2 + c[1] - c[2] ** 2 / (4 * c[3])
        end, cells, _ = self._table
        place = ((y + end) * (cells.size / (2 * end))).astype(np.int64)
        return cells[np.clip(place, 0, cells.size - 1)]


@dataclass(frozen=True)
class OneSidedSum:
    """Moduli of a potential that is a sum over directions.

    Attributes
    ----------
    frame : (d, d) array
        Rows are the orthonormal directions; the identity where they are the coordinates.
    moduli : tuple of d OneSided
        m of every direction.
    """

    frame: np.ndarray
    moduli: tuple[OneSided, ...]

    @cached_property
    def bent(self) -> tuple[int, ...]:
        """The directions whose m is not the same everywhere."""
        return tuple(k for k, modulus in enumerate(self.moduli) if not modulus.constant)


def _below(values: np.ndarray) -> np.ndarray:
    """A lower bound in each cell from the values at its ends."""
    return np.minimum(values[:-1], values[1:]) - np.abs(np.diff(values))


def _least(slopes: np.ndarray, y: float, radius: float) -> tuple[float, float]:
    """min over x of sum_k c_k (x^(k-1) + x^(k-2) y + ... + y^(k-1)), and for |x - y| <= r."""
    top = slopes.size - 1
    quotient = np.array(
        [sum(slopes[k] * y ** (k - 1 - j) for k in range(j + 1, top + 1)) for j in range(top)]
    )
    # A minimum that is degenerate may come with a small imaginary part: its real part is tried.
    places = np.roots(np.polynomial.polynomial.polyder(quotient)[::-1]).real
    clipped = np.append(np.clip(places, y - radius, y + radius), [y - radius, y + radius])
    value = np.polynomial.polynomial.polyval
    return float(value(places, quotient).min()), float(value(clipped, quotient).min())


def one_sided(structure: EnergyStructure) -> OneSidedSum | str:
    """The moduli of an energy's potential, or why there are none.

    Parameters
    ----------
    structure : EnergyStructure
        With numbers for its parameters.

    Returns
    -------
    OneSidedSum or str
    """
    if structure.other or structure.internal != 0 or structure.interactions:
        return "it is not int V rho + sigma int rho log rho"
    if not structure.transport.plain:
        return "there is a drift or a mobility"
    if structure.sums:
        return "V holds a sum over an index"
    if not structure.sigma >= 0:
        return "its entropy has a negative factor"
    found = separation(structure.potential, structure.coordinates)
    if isinstance(found, str):
        return found
    for name, slopes in zip(structure.coordinates, found.slopes, strict=True):
        if len(slopes) > 2 and (len(slopes) % 2 or slopes[-1] < 0):
            alone = (found.frame == np.eye(len(found.frame))).all()
            return f"V does not confine {name if alone else 'one of its directions'}"
    return OneSidedSum(found.frame, tuple(OneSided(slopes) for slopes in found.slopes))
