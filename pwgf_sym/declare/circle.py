"""Laws of periodic coordinates: a density on the circle, and laws of the line modulo the period."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import brief, checked_call
from ..errors import LawError
from ..functions import host_function
from ..sharing import symbols_of
from .law import Law
from .law_checks import frozen, number_above
from .law_formulas import plain_formula
from .periods import PeriodicSymbol, wrapped
from .products import Product
from .registry import description, restored
from .symbols import as_copy
from .tree import from_tree, to_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Arc", "Circle", "Wrapped", "on_circle"]

# Cells of a period, with a Gauss rule of five points each, and Newton's steps of a quantile.
_CELLS, _GAUSS, _NEWTON = 2048, np.polynomial.legendre.leggauss(5), 40
# Cells in which a jump is looked for, how often they are halved, and what is none, as a part.
_STEEPEST, _HALVINGS, _ROUGH = 16, 30, 1e-5
# Points of the lattice by which moments modulo the period are found, numbers of a block of images;
# points at which images beyond the reach are looked for, and what may be in them.
_LATTICE, _BLOCK, _MOST_IMAGES, _TRIED, _BEYOND = 1 << 13, 1 << 20, 100_000, 16, 1e-9


class Arc(Law):
    """A positive density of one periodic coordinate.

    The period begins where the density is least.
    """

    dim = 1

    def __init__(self, formula: sp.Expr, symbol: PeriodicSymbol) -> None:
        self.formula, self.symbol, self.period = formula, symbol, float(symbol.period)
        self._value = host_function([symbol], formula, "numpy")
        try:
            self._slope = host_function([symbol], sp.diff(formula, symbol), "numpy")
        except ValueError:
            accepted = "a formula whose derivative SymPy finds"
            raise LawError("density", str(formula), accepted) from None
        grid = self.period * np.arange(_CELLS) / _CELLS
        values = self._values(grid)
        bad = ~(np.isfinite(values) & (values > 0))
        if bad.any():
            at = f"{formula}, which is {values[bad][0]:.6g} at {symbol} = {grid[bad][0]:.6g}"
            raise LawError("density", at, "a formula that is positive on the whole circle")
        self._check_period(grid, values)
        self.jump = self._jumps(grid, values)
        self._edges = grid[np.argmin(values)] + self.period * np.arange(_CELLS + 1) / _CELLS
        mass = self._mass(self._edges[:-1], self._edges[1:])
        self._total = float(mass.sum())
        self._below = np.concatenate([[0.0], np.cumsum(mass)]) / self._total
        self._below[-1] = 1.0
        mean = self._moment(lambda x: x)
        if mean >= self.period:  # the period before has the mean in [0, period)
            self._edges, mean = self._edges - self.period, mean - self.period
        self.mean = frozen([mean])
        self.covariance = frozen([[self._moment(lambda x: (x - mean) ** 2)]])

    @property
    def periods(self) -> tuple[float | None, ...]:
        return (self.period,)

    def _check_period(self, grid: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        further = self._values(grid + self.period)
        if np.abs(further - values).max() > 1e-9 * values.max():
            k = int(np.argmax(np.abs(further - values)))
            given = f"{self.formula}, which is {values[k]:.6g} at {self.symbol} = {grid[k]:.6g} and"
            given += f" {further[k]:.6g} a period {self.symbol.period} further"
            raise LawError("density", given, f"a formula of the period {self.symbol.period}")

    def _jumps(self, grid: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
        """Whether the formula jumps in the cells of the steepest ends: a half keeps its change."""
        rise = np.abs(np.diff(np.append(values, values[0])))
        steepest = np.argsort(rise)[-_STEEPEST:]
        left, wide = grid[steepest], np.full(steepest.size, self.period / _CELLS)
        for _ in range(_HALVINGS):
            wide = wide / 2
            first, second = self._values(left + wide), self._values(left + 2 * wide)
            right = np.abs(second - first) > np.abs(first - self._values(left))
            left = np.where(right, left + wide, left)
        rise = np.abs(self._values(left + wide) - self._values(left))
        return bool((rise > _ROUGH * values.max()).any())

    def _values(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The formula, without its normalization."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(self._value(x), float), x.shape)

    def _mass(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integrals of the formula from low to high, within one cell each."""
        nodes, weights = _GAUSS
        half = (high - low) / 2
        places = low[:, None] + half[:, None] * (1 + nodes)
        return half * (self._values(places) @ weights)

    def _moment(self, function: Any) -> float:
        nodes, weights = _GAUSS
        half = self.period / _CELLS / 2
        places = self._edges[:-1, None] + half * (1 + nodes)
        return float(np.sum(half * weights * self._values(places) * function(places)) / self._total)

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the distribution function has the values u: Newton's steps within a cell."""
        level = u[:, 0]
        cell = np.clip(np.searchsorted(self._below, level, "right") - 1, 0, _CELLS - 1)
        low, high = self._edges[cell], self._edges[cell + 1]
        left, wanted = low, (level - self._below[cell]) * self._total
        x = low + (high - low) * (level - self._below[cell]) / np.diff(self._below)[cell]
        for _ in range(_NEWTON):
            miss = self._mass(left, x) - wanted
            low, high = np.where(miss <= 0, x, low), np.where(miss >= 0, x, high)
            step = x - miss / self._values(x)
            moved = np.where((step >= low) & (step <= high), step, (low + high) / 2)
            change, x = np.abs(moved - x).max(initial=0.0), moved
            if change <= 4 * np.spacing(self.period):
                break
        return x[:, None]

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return np.log(self._values(points[:, 0]) / self._total)

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return np.asarray(self._slope(points), float) / self._values(points)

    def to_dict(self) -> dict[str, Any]:
        trees = {"formula": to_tree(self.formula), "coordinate": to_tree(self.symbol)}
        return {"law": "Arc"} | trees

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        # As what a user gives: entries come from files.
        return _part(from_tree(entries["formula"]), from_tree(entries["coordinate"]))

    def __repr__(self) -> str:
        return str(self.formula)

    def __reduce__(self) -> tuple[object, ...]:
        return law_of_entries, (type(self), self.to_dict())


def law_of_entries(cls: type[Law], entries: dict[str, Any]) -> object:
    """A law whose functions are made anew, from its entries."""
    return cls.from_entries(entries)


class Circle(Product):
    """A law of independent periodic coordinates, by their densities on the circle.

    Parameters
    ----------
    density : Expr, or sequence of d Expr or Law
        A positive formula in a periodic coordinate, of its period; it need not be normalized.  For
        several coordinates one each; a law of one dimension, such as ``Gaussian([0], 1)``, for a
        coordinate of the line.
    x : Coordinates, optional
        The coordinates; only needed where a density is a number, that of the uniform law.

    Raises
    ------
    LawError
        If a density is no such formula, or is not positive or not periodic.

    Notes
    -----
    Points are found by inverting the distribution function, to round-off.  They lie in the period
    that begins where the density is least; density and score are periodic.

    Examples
    --------
    >>> from pwgf_sym import coordinates
    >>> theta = coordinates(1, period=2 * sp.pi)
    >>> Circle(sp.exp(sp.cos(theta[0] - 1))).dim
    1
    """

    @checked_call
    def __init__(
        self,
        density: sp.Expr | float | Law | Sequence[sp.Expr | float | Law],
        x: Sequence[sp.Symbol] | None = None,
    ) -> None:
        given: list[object] = [density]
        alone = isinstance(density, (str, sp.Basic)) or getattr(density, "ndim", 1) == 0
        if isinstance(density, Iterable) and not alone:
            given = list(density)
        space = None if x is None else as_copy(x, "x")
        if not given or (space is not None and len(space) != len(given)):
            count = "no density" if not given else f"{len(given)} densities"
            accepted = "one density a coordinate"
            raise LawError("density", count, accepted, "Write Circle([f(x[0]), g(x[1])], x).")
        symbols = [None] * len(given) if space is None else list(space)
        parts = [_part(one, symbol) for one, symbol in zip(given, symbols, strict=True)]
        if not any(any(part.periods) for part in parts):
            fix = "Give a law of the line itself, such as Gaussian(mean, cov)."
            raise LawError("density", "no periodic one", "a formula in a periodic coordinate", fix)
        self._join(parts)

    def to_dict(self) -> dict[str, Any]:
        return {"law": "Circle", "parts": [description(part) for part in self._parts]}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        parts = [_law(part) for part in entries["parts"]]
        symbols = [
            p.symbol if isinstance(p, Arc) else sp.Symbol(f"_{k}", real=True)
            for k, p in enumerate(parts)
        ]
        return cls([p.formula if isinstance(p, Arc) else p for p in parts], symbols)

    def __repr__(self) -> str:
        return f"Circle({', '.join(map(brief, self._parts))})"


def _part(given: object, symbol: sp.Symbol | None) -> Law:
    """One coordinate's density."""
    accepted = "a formula in one periodic coordinate, or a law of one dimension"
    fix = "Write Circle(1 + sp.cos(x[0])/2) for x = coordinates(1, period=2*sp.pi)."
    if isinstance(given, Law):
        if given.dim != 1 or (isinstance(symbol, PeriodicSymbol) and not any(given.periods)):
            what = f"{brief(given)} for the periodic coordinate {symbol}"
            what = what if given.dim == 1 else f"a law of dimension {given.dim}"
            raise LawError("density", what, accepted, fix)
        return given
    formula = plain_formula(given, "density", accepted, fix)
    if formula.has(sp.oo, -sp.oo):
        raise LawError("density", brief(given), accepted, fix)
    found = symbols_of(formula)
    if symbol is None and len(found) == 1:
        (symbol,) = found
    if not isinstance(symbol, PeriodicSymbol) or not found <= {symbol}:
        more = "; give x, too, for a number" if not found and symbol is None else ""
        raise LawError("density", f"{brief(given)}{more}", accepted, fix)
    return Arc(formula, symbol)


class Wrapped(Law):
    """A law of the line modulo the periods of some coordinates: its images are summed.

    Parameters
    ----------
    law : Law
    periods : sequence of d floats or None
        None for coordinates that stay on the line.
    """

    def __init__(self, law: Law, periods: Sequence[float | None]) -> None:
        self.law, self.dim = law, law.dim
        if len(periods) != law.dim:
            raise LawError("periods", f"{len(periods)} periods", f"{law.dim}, one a coordinate")
        self._periods = tuple(None if p is None else number_above("periods", p, 0) for p in periods)
        self.jump, self.support, self.mean = law.jump, law.support, law.mean
        # Coordinates that the law is periodic in already have no images.
        self._summed = [
            i for i, p in enumerate(self._periods) if p is not None and law.periods[i] is None
        ]
        self._apart: Product | None = None
        alone = law.coordinates_apart() if self.dim > 1 else None
        if alone is not None:
            one_each = zip(alone, self._periods, strict=True)
            self._apart = Product(
                [part if p is None else Wrapped(part, [p]) for part, p in one_each]
            )
            self.covariance = self._apart.covariance
            return
        lengths = np.array([self._periods[i] for i in self._summed], float)
        deviation, reach = np.sqrt(np.diag(law.covariance))[self._summed], law.reach[self._summed]
        counts = np.ceil((reach + lengths / 2) / lengths) * law.has_density
        if np.prod(2 * counts + 1) > _MOST_IMAGES:
            wide = int(np.argmax(counts))
            given = f"a law of standard deviation {deviation[wide]:.6g}, modulo {lengths[wide]:.6g}"
            accepted = f"at most {_MOST_IMAGES} images modulo the periods"
            fix = "Use Circle(density), or a law that is narrower or has independent coordinates."
            raise LawError("initial", given, accepted, fix)
        self._shifts = self._images(counts)
        if law.has_density and np.prod(4 * counts + 1) <= _MOST_IMAGES:
            self._check_reach(counts)
        inside = np.all(reach <= lengths / 2)
        self.covariance = law.covariance if inside else self._covariance()

    def _images(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shifts by up to so many periods in the coordinates that are summed."""
        grids = np.meshgrid(*(np.arange(-k, k + 1) for k in counts), indexing="ij")
        shifts = np.zeros((grids[0].size, self.dim))
        lengths = [self._periods[i] for i in self._summed]
        shifts[:, self._summed] = np.stack([g.ravel() for g in grids], -1) * np.array(
            lengths, float
        )
        return shifts

    def _check_reach(self, counts: NDArray[np.float64]) -> None:
        """Refuse a law that has mass beyond what it says: its images are not all summed."""
        points = self.law.sample(_TRIED, 0)
        near, own = self._of_images(points, False)[0], self._shifts
        self._shifts = self._images(2 * counts)
        far, self._shifts = self._of_images(points, False)[0], own
        if np.any(far - near > _BEYOND):
            given = f"{self.law.family}, which has mass beyond {self.law.reach} from its mean"
            fix = "Define the property reach, the distances (d,) within which all mass lies."
            raise LawError("initial", given, "a law within its reach", fix)

    def _covariance(self) -> NDArray[np.float64]:
        """That of the points in the period around the mean, over a Kronecker lattice."""
        if not self.has_transform:
            return self._estimated[1]
        root = 2.0
        for _ in range(60):  # the root of r^(d + 1) = r + 1 (M. Roberts' generalized golden ratio)
            root = (1 + root) ** (1 / (self.dim + 1))
        steps = root ** -np.arange(1.0, self.dim + 1)
        u = (0.5 + np.arange(1, _LATTICE + 1)[:, None] * steps) % 1.0
        gap = self._transform(np.clip(u, 1e-12, 1 - 1e-12)) - self.mean
        return frozen(gap.T @ gap / len(gap))

    @property
    def periods(self) -> tuple[float | None, ...]:
        return self._periods

    @property
    def family(self) -> str:
        return f"{self.law.family} modulo the period"

    def _around_mean(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        half = [0.0 if p is None else p / 2 for p in self._periods]
        own = [p if i in self._summed else None for i, p in enumerate(self._periods)]
        return wrapped(points, own, self.mean - np.array(half))

    @property
    def has_transform(self) -> bool:
        return self.law.has_transform

    @property
    def has_density(self) -> bool:
        return self.law.has_density

    @property
    def made_of(self) -> Sequence[Law]:
        return (self.law,)

    def sampler(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        return self._around_mean(self.law.sampler(n, rng))

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._around_mean(self.law._transform(u))

    def _of_images(
        self, points: NDArray[np.float64], with_score: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        near, count = self._around_mean(points), len(self._shifts)
        logs, scores = np.empty(len(near)), np.full(near.shape, np.nan)
        each = max(1, _BLOCK // (count * self.dim))
        for first in range(0, len(near), each):
            own = slice(first, first + each)
            images = (near[own, None, :] + self._shifts).reshape(-1, self.dim)
            values = self.law._log_density(images).reshape(-1, count)
            largest = values.max(axis=1, keepdims=True)
            with np.errstate(all="ignore"):
                weights = np.exp(values - largest)
                weights[~np.isfinite(weights)] = 0.0
                total = weights.sum(axis=1)
                logs[own] = largest[:, 0] + np.log(total)
                logs[own][~np.isfinite(largest[:, 0])] = -np.inf
                if with_score:
                    slopes = self.law._score(images).reshape(-1, count, self.dim)
                    parts = np.where(weights[:, :, None] > 0, slopes, 0.0) * weights[:, :, None]
                    scores[own] = parts.sum(axis=1) / total[:, None]
        return logs, scores

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._apart is not None:
            return self._apart._log_density(points)
        return self._of_images(points, False)[0]

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._apart is not None:
            return self._apart._score(points)
        return self._of_images(points, True)[1]

    def to_dict(self) -> dict[str, Any]:
        return {"law": "Wrapped", "of": description(self.law), "periods": list(self._periods)}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        return cls(_law(entries["of"]), entries["periods"])

    def __repr__(self) -> str:
        lengths = ", ".join("none" if p is None else f"{p:.6g}" for p in self._periods)
        return f"{self.law!r} modulo {lengths}"


def _law(entries: dict[str, Any]) -> Law:
    """A law within the entries of another."""
    found = restored("law", entries)
    assert isinstance(found, Law)
    return found


def on_circle(law: Law, periods: Sequence[float | None]) -> Law:
    """The law of periodic coordinates: of a law of the line the one modulo the periods."""
    if all(p is None or own is not None for p, own in zip(periods, law.periods, strict=True)):
        return law
    return Wrapped(law, periods)
