"""What a map's formula is written with: einsums, functions, parts, gradients, Runge-Kutta steps."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import sympy as sp
from numpy.typing import ArrayLike

from ..arguments import brief, choice
from ..declare.formula_checks import check_formula, scalar_expression
from ..declare.map import fitting_call, positive
from ..declare.tableaus import TABLEAUS
from ..derive.borders import jump
from ..derive.pieces import in_pieces
from ..errors import EnergyError, FormulaError, MapError
from ..tensors import (
    Axis,
    Elementwise,
    Tensor,
    add,
    constant,
    einsum,
    input_tensor,
    placeholder,
    product,
    scale,
    topological,
    window,
)
from ..tensors.arithmetic import concatenated, elementwise, plus, shape_text, written
from ..tensors.differentiate import replace, vjp
from ..tensors.scalars.stable import smooth
from .constant_arrays import checked_constant

__all__ = ["Formulas", "ReadsNumber"]

_NAMES = itertools.count()
# How fields are written without and with the time.
_FIELDS = "field(x)", "field(x, t) where time is given"


class ReadsNumber(BaseException):
    """A step's formula reads the step's number, where it has none: the steps differ.

    No ``except Exception`` on the way, of a user's or of ours, takes it for an error.
    """


@dataclass(frozen=True)
class Formulas:
    """The operations that the step of a map is written with.

    Attributes
    ----------
    axes : mapping of str to Axis
        The map's axes by their letters.
    count : int
        Number of steps of the map.
    place : int or None
        The number of this one; None in a formula that all of them share.
    """

    axes: Mapping[str, Axis]
    count: int = 1
    place: int | None = None

    # -- where the step stands ------------------------------------------------------------------

    @property
    def number(self) -> int:
        """The step's number, from 0 on."""
        if self.place is None:
            raise ReadsNumber
        return self.place

    @property
    def time(self) -> sp.Rational:
        """Flow time at which the step begins, from 0 to 1."""
        return sp.Rational(self.number, self.count)

    @property
    def length(self) -> sp.Rational:
        """The step's part of flow time, one over the number of steps."""
        return sp.Rational(1, self.count)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        fields = self.__dataclass_fields__
        known = [n for n in dir(type(self)) if not n.startswith("_") and n not in fields]
        fix = f"Write op.apply(sp.{name}, x)." if hasattr(sp, name) else ""
        raise MapError("step", f"op.{name}{written()}", f"op's {', '.join(known)}", fix)

    # -- operations -----------------------------------------------------------------------------

    @staticmethod
    def einsum(subscripts: str, *operands: Tensor) -> Tensor:
        """The sum of products that NumPy's ``einsum`` means by these subscripts."""
        try:
            return einsum(subscripts, *operands)
        except Exception as error:  # whatever the subscripts are
            given = f"op.einsum({brief(subscripts)}) of shapes {_shapes(operands)}{written()}"
            raise MapError("step", given, "subscripts that fit, as 'ij,j->i'") from error

    @staticmethod
    def apply(function: Any, *tensors: Tensor) -> Tensor:
        """A SymPy function, or a lambda of SymPy formulas, entry by entry.

        Of one tensor it may be a formula in one symbol.
        """
        if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            given = f"op.apply of {', '.join(map(brief, tensors)) or 'nothing'}{written()}"
            raise MapError("step", given, "a function and its tensors")
        expression = in_pieces(_expression(function, len(tensors)))
        border = jump(expression)
        if border is not None:
            given = f"{expression}, which jumps {border.text()},{written()}"
            accepted = "a continuous function"
            fix = "A map moves samples continuously: use tanh, or Max(a, 0) without a log density."
            raise FormulaError("activation", given, accepted, fix)
        return elementwise("op.apply", smooth(expression), *tensors)

    def concatenate(self, parts: Sequence[Tensor]) -> Tensor:
        """Vectors, and numbers, one after the other."""
        return concatenated(parts, [self.axes["i"]])

    def constant(self, values: ArrayLike, letters: str | None = None) -> Tensor:
        """Numbers over axes of the map: a mask, fixed features, a matrix that selects.

        Without letters they have axes of their own, which operators align as NumPy does.
        """
        return checked_constant(values, letters, self.axes)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of all entries."""
        if not isinstance(tensor, Tensor):
            raise MapError("step", f"op.sum of {brief(tensor)}{written()}", "a tensor")
        return product(1, [(tensor, tensor.axes)], ())

    @staticmethod
    def gradient(potential: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """The gradient at x of a function of vectors, which gives a number."""
        if not isinstance(x, Tensor) or not callable(potential):
            given = f"op.gradient({brief(potential)}, {_shapes([x])}){written()}"
            raise MapError("step", given, "a function, and the tensor where its gradient is taken")
        at = input_tensor(f"at_{next(_NAMES)}", x.axes, per_sample=True)
        value = potential(at)
        if not isinstance(value, Tensor) or value.axes:
            shape = shape_text(value) if isinstance(value, Tensor) else brief(value)
            given = f"op.gradient of {shape}{written()}"
            raise MapError("step", given, "a function whose value is a tensor of shape ()")
        (slope,) = vjp({value: constant(1)}, [at])
        _check_continuous(slope)
        return replace([slope], {at: x})[0]

    @staticmethod
    def entries(formulas: Sequence[tuple[int, sp.Expr]], vector: Tensor, axis: str) -> Tensor:
        """The vector over an axis whose entry k is formula k of the entry of that number.

        Entries of one formula that follow each other are computed together.
        """
        (whole,) = vector.axes
        places, kinds = zip(*formulas, strict=True)
        if places == tuple(range(whole.size)) and len(set(kinds)) == 1:
            return Formulas.apply(kinds[0], vector)
        long, parts, first = Axis(axis, len(formulas)), [], 0
        for last in range(1, len(formulas) + 1):
            place, formula = formulas[first]
            if last < len(formulas) and formulas[last] == (place + last - first, formula):
                continue
            own = Axis(f"{axis}{first}", last - first)
            part = window(vector, whole, own, place)
            part = part if formula.is_Symbol else Formulas.apply(formula, part)
            parts.append(window(part, own, long, -first))
            first = last
        return add(*parts)

    def integrate(
        self,
        field: Callable[..., Any],
        states: Any,
        scheme: str = "rk4",
        steps: int | None = None,
        time: sp.Expr | float | None = None,
    ) -> Any:
        """One step of length 1/steps of d states/d tau = field(states), by an explicit method.

        Parameters
        ----------
        field : callable
            Of the states, and of the time as a second argument where a time is given.
        states : Tensor or list of Tensor
            What the field takes and gives.
        scheme : str
            A name of :data:`pwgf_sym.declare.tableaus.TABLEAUS`.
        steps : int, optional
            The number of steps of the map if not given.
        time : number, optional
            Where the step begins, for instance ``op.time``.
        """
        h = sp.Rational(1, self.count if steps is None else positive("steps", steps))
        tableau = TABLEAUS[choice("scheme", scheme, tuple(TABLEAUS), error=MapError)]
        alone = isinstance(states, Tensor)
        y = [states] if alone else list(states) if isinstance(states, (list, tuple)) else []
        if not y or not all(isinstance(one, Tensor) for one in y):
            text = f"op.integrate of {brief(states)}{written()}"
            raise MapError("step", text, "a tensor, or a list of tensors")
        fitting_call(field, (y,) if time is None else (y, time), _FIELDS[time is not None])

        def moved(weights: Sequence[sp.Rational], slopes: list[list[Tensor]]) -> list[Tensor]:
            """The states, moved along earlier slopes."""
            terms = [(w, k) for w, k in zip(weights, slopes, strict=True) if w != 0]
            if not terms:
                return y
            return [
                plus(one, scale(h, _sum([scale(w, k[n]) for w, k in terms])))
                for n, one in enumerate(y)
            ]

        slopes: list[list[Tensor]] = []
        for row, place in zip(tableau.stages, tableau.times, strict=True):
            now = moved(row, slopes)
            given = (now[0] if alone else now,) + (() if time is None else (time + place * h,))
            found = field(*given)
            slopes.append(_slopes([found] if alone else found, y))
        result = moved(tableau.weights, slopes)
        return result[0] if alone else result


def _check_continuous(slope: Tensor) -> None:
    """Refuse a gradient that jumps: samples would."""
    for one in topological([slope]):
        border = jump(in_pieces(one.expression)) if isinstance(one, Elementwise) else None
        if border is not None:
            given = f"a gradient that jumps {border.text()},{written()}"
            fix = "Use sqrt(1 + a**2) in the place of abs(a), or a power of Max(a, 0)."
            raise FormulaError("step", given, "a function with a continuous gradient", fix)


def _slopes(found: object, states: list[Tensor]) -> list[Tensor]:
    """What a field gave: a tensor of the shape of each state."""
    given = list(found) if isinstance(found, (list, tuple)) else [found]
    tensors = [one for one in given if isinstance(one, Tensor)]
    if [one.shape for one in tensors] != [y.shape for y in states] or len(tensors) < len(given):
        text = f"a field of {_shapes(given)}{written()}"
        raise MapError("step", text, f"tensors of the states' shapes, {_shapes(states)}")
    return tensors


def _sum(terms: list[Tensor]) -> Tensor:
    if all(term.axes == terms[0].axes for term in terms):
        return add(*terms)
    return functools.reduce(plus, terms)


def _shapes(operands: Sequence[object]) -> str:
    return ", ".join(shape_text(t) if isinstance(t, Tensor) else brief(t) for t in operands)


def _expression(function: Any, count: int) -> sp.Expr:
    """The formula of a function in ``placeholder(0..)``."""
    given = f"op.apply of {brief(function)}"
    accepted = f"a SymPy function of {count} argument{'s' * (count != 1)}"
    fix = "Write op.apply(sp.tanh, x) or op.apply(lambda a, b: a*sp.exp(b), x, y)."
    symbols = [placeholder(k) for k in range(count)]
    try:
        if isinstance(function, sp.Expr):
            (symbol,) = function.free_symbols
            found = function.xreplace({symbol: symbols[0]})
        else:
            found = function(*symbols)
        found = scalar_expression(found, "activation")
        check_formula(found, "activation")
    except EnergyError as error:
        raise MapError("step", f"{given}: {error.given}{written()}", error.accepted, fix) from error
    except Exception as error:  # what was given is anybody's function
        raise MapError("step", f"{given}{written()}", accepted, fix) from error
    bad = found.has(sp.I, sp.nan, sp.zoo, sp.oo, -sp.oo)
    if not found.free_symbols or not found.free_symbols <= set(symbols) or bad:
        raise MapError("step", f"{given}, of the value {brief(found)}{written()}", accepted, fix)
    return found
