"""A law by a formula of its log density and a function that draws its points."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import brief, checked_call, flag, real_array
from ..errors import EnergyError, LawError
from ..functions import before_derivatives, host_function
from ..sharing import symbols_of
from .law import Law
from .law_checks import checked_covariance, frozen
from .law_formulas import plain_formula
from .law_protocol import check_protocol
from .periods import PeriodicSymbol
from .symbols import Coordinates, as_copy
from .tree import from_portable, from_tree, portable, to_tree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .law import Formula

__all__ = ["Custom"]

# Digits in which what overflows is evaluated: differences of exponents of 700 keep all of a double.
_DIGITS = 40

Sampler = Callable[[int, np.random.Generator], "ArrayLike"]


class Custom(Law):
    """A law by the formula of its log density and a function that draws its points.

    Parameters
    ----------
    log_density : Expr
        Logarithm of the normalized density, in the coordinates; ``-sp.oo`` in pieces outside of its
        support, and where the formula has no real value it is taken for that.
    coordinates : sequence of Symbol
        The d coordinates, as from ``pw.coordinates(d)``.
    sampler : callable
        ``sampler(n, rng)`` -> n independent points, (n, d), from a generator of NumPy.
    mean : (d,) array-like, optional
        Estimated from samples of a fixed seed if it is not given.
    covariance : (d, d) array-like, optional
        Likewise.
    jump : bool
        Whether the density jumps at the boundary of its support; then no energy may read it.

    Raises
    ------
    LawError
        If the formula holds other symbols, or what is given does not fit together: the sampler's
        points are compared with the formula when the law is made.  The mass is compared with 1 in
        one and two dimensions; in more it is yours to normalize the density.

    Notes
    -----
    The score is SymPy's derivative of the formula.  The law is drawn with independent points where
    Sobol points are asked for.  It is stored by its formula and the sampler's name, so a sampler of
    stored solutions is a function at the top of a module, which is imported before it is used.

    Examples
    --------
    >>> from pwgf_sym import coordinates
    >>> x = coordinates(1)
    >>> formula = -x[0] - 2 * sp.log(1 + sp.exp(-x[0]))
    >>> Custom(formula, x, lambda n, rng: rng.logistic(size=(n, 1))).dim
    1
    """

    @checked_call
    def __init__(
        self,
        log_density: sp.Expr,
        coordinates: Sequence[sp.Symbol],
        sampler: Sampler,
        mean: ArrayLike | None = None,
        covariance: ArrayLike | None = None,
        jump: bool = False,
    ) -> None:
        if not callable(sampler):
            fix = "Write a function of points (n, d): lambda n, rng: rng.normal(size=(n, 2))."
            raise LawError("sampler", brief(sampler), "a function sampler(n, rng)", fix)
        self._set(log_density, coordinates, sampler, mean, covariance, jump)
        check_protocol(self)

    def _set(
        self,
        formula: object,
        coordinates: object,
        sampler: Sampler | str,
        mean: object,
        covariance: object,
        jump: object,
    ) -> None:
        try:
            self.coordinates = as_copy(coordinates, "coordinates")
        except EnergyError as error:
            raise LawError("coordinates", error.given, error.accepted, error.fix) from error
        if any(isinstance(symbol, PeriodicSymbol) for symbol in self.coordinates):
            fix = (
                "Use Circle(density), or coordinates without a period: the law is summed modulo it."
            )
            given = "periodic coordinates"
            raise LawError("coordinates", given, "coordinates of the line", fix)
        self.dim, self._sampler = len(self.coordinates), sampler
        self.formula = _formula(formula, self.coordinates)
        self.jump = flag("jump", jump, error=LawError)
        if mean is not None:
            self.mean = frozen(_shaped("mean", mean, (self.dim,)))
        if covariance is not None:
            matrix = _shaped("covariance", covariance, (self.dim, self.dim))
            self.covariance = frozen(checked_covariance(matrix, "covariance"))
        self._compile()

    def _compile(self) -> None:
        """Functions of NumPy's arrays for the formula and its derivatives."""
        formula = before_derivatives(self.formula)
        self._functions: dict[sp.Expr, Callable[..., Any]] = {}
        try:
            self._slopes = [sp.diff(formula, symbol) for symbol in self.coordinates]
        except ValueError:
            accepted = "a formula whose derivatives SymPy finds"
            raise LawError("log_density", brief(self.formula), accepted) from None

    def sampler(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        if isinstance(self._sampler, str):
            self._sampler = _function_of(self._sampler)
        try:
            drawn = self._sampler(n, rng)
        except Exception as error:
            given = f"a function that raises {type(error).__name__}: {brief(str(error))}"
            fix = "Write sampler(n, rng), which returns an array of shape (n, d)."
            raise LawError("sampler", given, "one that draws points", fix) from error
        points = real_array("sampler", drawn, finite=False, error=LawError)
        if points.shape != (n, self.dim):
            fix = f"Return an array of shape (n, {self.dim})."
            given = f"points of shape {points.shape} for n = {n}"
            raise LawError("sampler", given, f"shape ({n}, {self.dim})", fix)
        return points

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        values = self._evaluated(self.formula, points)
        return np.where(np.isnan(values), -np.inf, values)

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.stack([self._evaluated(slope, points) for slope in self._slopes], axis=1)
        return np.where(np.isneginf(self._log_density(points))[:, None], np.nan, found)

    def _evaluated(self, formula: sp.Expr, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of a formula; in many digits where a part of it leaves the range of doubles."""
        if formula not in self._functions:
            self._functions[formula] = host_function(self.coordinates, formula, "numpy")
        function = self._functions[formula]
        try:
            with np.errstate(all="ignore", over="raise"):
                return _values(function, points)
        except FloatingPointError:
            with np.errstate(all="ignore"):
                values = _values(function, points).copy()
        lost = np.flatnonzero(~np.isfinite(values) & np.isfinite(points).all(axis=1))
        exact = host_function(self.coordinates, formula, "mpmath")
        values[lost] = [_in_digits(exact, point) for point in points[lost]]
        return values

    def log_density_formula(self, x: Coordinates) -> Formula | None:
        if self.formula.has(sp.oo, -sp.oo, sp.zoo, sp.nan):
            return None
        return self.formula.xreplace(dict(zip(self.coordinates, x, strict=True))), {}

    def to_dict(self) -> dict[str, Any]:
        name = self._sampler if isinstance(self._sampler, str) else _name_of(self._sampler)
        entries: dict[str, Any] = {"law": "Custom", "formula": to_tree(self.formula)}
        entries["coordinates"] = [to_tree(symbol) for symbol in self.coordinates]
        moments = {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}
        return entries | {"sampler": name, "jump": self.jump} | moments

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        known = {"formula", "coordinates", "sampler", "jump", "mean", "covariance"}
        if set(entries) != known or not isinstance(entries["sampler"], str):
            raise LawError("law", brief(sorted(map(str, entries))), f"the entries {sorted(known)}")
        law = cls.__new__(cls)
        law._set(
            from_tree(entries["formula"]),
            [from_tree(tree) for tree in entries["coordinates"]],
            *(entries[name] for name in ("sampler", "mean", "covariance", "jump")),
        )
        return law

    def __repr__(self) -> str:
        return f"Custom({brief(self.formula)}, {self.coordinates})"

    def __getstate__(self) -> dict[str, object]:
        # Functions are made anew, and formulas travel as trees.
        state = {k: v for k, v in self.__dict__.items() if k not in ("_functions", "_slopes")}
        return state | {"formula": portable(self.formula)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state | {"formula": from_portable(state["formula"])})
        self._compile()


def _formula(given: object, coordinates: Coordinates) -> sp.Expr:
    """The log density as a formula in the coordinates alone."""
    accepted, fix = "a formula in the coordinates", "Write -x[0]**2/2 - sp.log(2*sp.pi)/2."
    formula = plain_formula(given, "log_density", accepted, fix)
    other = symbols_of(formula) - set(coordinates)
    if other:
        names = ", ".join(sorted(map(str, other)))
        fix = "Put in numbers: formula.subs(symbol, number)."
        raise LawError("log_density", f"a formula in {names}, too", f"{accepted} alone", fix)
    return formula


def _shaped(name: str, value: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = real_array(name, value, error=LawError)
    if array.shape != shape:
        raise LawError(name, f"shape {array.shape}", f"shape {shape}")
    return array


def _values(function: Callable[..., Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A function's values, also of one that is constant; NaN where they are not real."""
    values = np.asarray(function(*points.T))
    values = np.where(np.imag(values) == 0, np.real(values), np.nan).astype(np.float64)
    return np.broadcast_to(values, (len(points),))


def _in_digits(function: Callable[..., Any], point: NDArray[np.float64]) -> float:
    """A function's value, in mpmath's numbers; NaN where it is not real."""
    import mpmath

    try:
        with mpmath.workdps(_DIGITS):
            value = mpmath.mpmathify(function(*map(mpmath.mpf, point.tolist())))
            return float(mpmath.re(value)) if mpmath.im(value) == 0 else np.nan
    except (ArithmeticError, ValueError, TypeError):  # a pole, a piece that has no value
        return np.nan


def _name_of(sampler: object) -> str:
    """The name "module:qualname" by which a stored law finds its sampler."""
    if isinstance(sampler, FunctionType):
        name = f"{sampler.__module__}:{sampler.__qualname__}"
        if _found(name) is sampler:
            return name
    fix = "Define it by def at the top of a module, and make the law with that."
    given = f"{brief(sampler)}, which cannot be found again by its name"
    raise LawError("sampler", given, "to store it: a function of a module", fix)


def _function_of(name: str) -> Sampler:
    """The function of a name; nothing is imported for what a file says."""
    found = _found(name)
    if found is None:
        module = name.partition(":")[0]
        fix = f"Import {module}, where the law was made, before points are drawn."
        raise LawError("sampler", f"the name {name!r}", "that of an imported function", fix)
    return found


def _found(name: str) -> Sampler | None:
    """A plain function of a module that is imported already, and not one of Python's own."""
    module, _, path = name.partition(":")
    found: object = sys.modules.get(module)
    if module.partition(".")[0] in sys.stdlib_module_names:
        return None
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, FunctionType) or (found.__module__, found.__qualname__) != (
        module,
        path,
    ):
        return None
    return found
