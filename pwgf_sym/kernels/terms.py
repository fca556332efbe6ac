"""The terms of a sum over an index as tensors, and the data that they read.

What does not differ from sample to sample, an array's entry, a function of entries and parameters,
is one :class:`Datum`: the host computes it once, wherever its formula comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from ..declare.energies import short_text
from ..declare.indexed import is_kept
from ..declare.symbols import as_copy
from ..derive.pieces import in_pieces
from ..errors import EnergyError, ParameterError
from ..memory import fitting
from ..sharing import parts, symbols_of
from ..tensors import (
    Axis,
    Input,
    Largest,
    Tensor,
    add,
    apply,
    constant,
    input_tensor,
    placeholder,
    product,
    topological,
    window,
)
from ..tensors.scalars.stable import smooth
from .kernels import Kernel

__all__ = ["Datum", "Rows", "TermGraph", "length_of_limit", "numbers_of"]

# What a value of an index takes at least, where terms are packed.
_BYTES = 64
# Rows of a step: with fewer in all, fewer.
_BLOCK, _SMALL = 64, 16
# Letters of axes: those that kernels do not use themselves, nor the coordinates.
_LETTERS = "jklmabchstuvw"
_ROWS, _COORDINATES = "r", "i"


@dataclass(frozen=True)
class Datum:
    """Numbers that a step reads.

    Attributes
    ----------
    name : str
    axes : tuple of Axis
    indices : tuple of (Symbol, Expr)
        By axis the index that runs along it, and where it starts; that of the rows starts at the
        first row of the step.
    formula : Expr
        In indices, arrays and parameters.
    beyond : float or None
        The value in rows beyond the last; None repeats the last row.
    first : float or None
        The value in the first step, in place of the formula.
    within : tuple of Expr and int, or None
        An index of the coordinates that the formula holds, and their number.
    """

    name: str
    axes: tuple[Axis, ...]
    indices: tuple[tuple[sp.Symbol, sp.Expr], ...]
    formula: sp.Expr
    beyond: float | None = None
    first: float | None = None
    within: tuple[sp.Expr, int] | None = None


@dataclass(frozen=True)
class Rows:
    """What the steps of a sum run over: an index from ``first`` to ``last``, in blocks.

    Without an index there is one step.
    """

    index: sp.Symbol | None = None
    first: sp.Expr = sp.S.Zero
    last: sp.Expr = sp.S.Zero
    block: int = 1


def numbers_of(values: Mapping[sp.Symbol, float]) -> dict[sp.Symbol, sp.Expr]:
    """Values as SymPy's numbers, whole ones as integers."""
    return {
        symbol: sp.Integer(int(value)) if float(value).is_integer() else sp.Float(value)
        for symbol, value in values.items()
    }


def length_of_limit(limit: sp.Tuple, sizes: Mapping[sp.Symbol, float]) -> int:
    """Number of terms of a sum along an index.

    Raises
    ------
    ParameterError
        If it is no whole number, or not positive.
    """
    index, first, last = limit
    count = (last - first + 1).xreplace(numbers_of(sizes))
    if count.free_symbols:
        missing = min(map(str, count.free_symbols))
        fix = f"Name it in the shape of an array, or pass parameters={{{missing}: ...}}."
        raise ParameterError(missing, "no value", f"the last value of the index {index}", fix)
    if not (count.is_number and float(count).is_integer() and count >= 1):
        given = f"an index {index} from {first} to {last}, {count} values"
        raise ParameterError(str(index), given, "at least one whole number")
    what = f"values of the index {index}"
    return fitting(str(index), int(count), _BYTES, what, error=ParameterError)


class TermGraph:
    """Lowers the terms of one sum.

    Parameters
    ----------
    node : Expr
        A sum over an index, or any formula with such sums inside.
    coordinates : sequence of d Symbols
    sizes : dict of Symbol to number
        Values of lengths.
    """

    def __init__(
        self, node: sp.Expr, coordinates: Sequence[sp.Symbol], sizes: Mapping[sp.Symbol, float]
    ):
        self.node, self.coordinates, self._sizes = node, tuple(coordinates), sizes
        self._base = as_copy(coordinates, "x").indexed_base
        self._along = sp.Dummy("place", integer=True)
        self._place = {symbol: k for k, symbol in enumerate(coordinates)}
        axis = Axis(_COORDINATES, len(coordinates))
        self.x: Input = input_tensor("x", [axis], per_sample=True)
        self._letters = iter(_LETTERS)
        self._axes: dict[sp.Symbol, Axis] = {}
        self._starts: dict[sp.Symbol, sp.Expr] = {}
        self._data: dict[object, Datum] = {}
        self.rows = self._rows()
        self._open(self._limits)

    @property
    def _limits(self) -> tuple[sp.Tuple, ...]:
        return self.node.limits if is_kept(self.node) else ()

    # -- axes ----------------------------------------------------------------------------------

    def _rows(self) -> Rows:
        """The index that the steps run over: the outermost of unknown or great length."""
        for limit in reversed(self._limits):
            index, first, last = limit
            count = length_of_limit(limit, self._sizes)
            if (last - first).free_symbols or count > _BLOCK:
                block = _SMALL if count <= 2 * _SMALL else _BLOCK
                return Rows(index, first, last, block)
        return Rows()

    def _open(self, limits: Sequence[sp.Tuple]) -> None:
        """Give the indices of a sum axes."""
        for limit in limits:
            index, first, _ = limit
            if index == self.rows.index:
                self._axes[index] = Axis(_ROWS, self.rows.block)
                self._starts[index] = first
                continue
            count = length_of_limit(limit, self._sizes)
            whole = first == 0 and count == self.x.axes[0].size
            free = self.x.axes[0] not in self._axes.values()
            self._axes[index] = self.x.axes[0] if whole and free else self._new_axis(count)
            self._starts[index] = first

    def _new_axis(self, count: int) -> Axis:
        letter = next(self._letters, None)
        if letter is None:
            given = f"{short_text(self.node)}, with more than {len(_LETTERS)} indices"
            raise EnergyError("energy", given, "sums over fewer indices")
        return Axis(letter, count)

    def _close(self, limits: Sequence[sp.Tuple]) -> None:
        for index, *_ in limits:
            del self._axes[index], self._starts[index]

    def _ordered(self, axes: Iterable[Axis]) -> tuple[Axis, ...]:
        found = set(axes)
        return tuple(sorted(found, key=lambda a: (a.name != _ROWS, a.name)))

    # -- data ----------------------------------------------------------------------------------

    def data(self, kernels: Sequence[Kernel]) -> tuple[Datum, ...]:
        """The data that kernels read; at least one, so that there are steps."""
        outputs = [o for kernel in kernels for sweep in kernel.sweeps for o in sweep.outputs()]
        read = {t.name for t in topological(outputs) if isinstance(t, Input)}
        found = tuple(d for d in self._data.values() if d.name in read)
        return found or (Datum("nothing", (), (), sp.S.Zero),)

    def _datum(
        self,
        formula: sp.Expr,
        beyond: float | None = None,
        rows: bool = False,
        within: tuple[sp.Expr, int] | None = None,
    ) -> Tensor:
        """A value that all samples share; with ``rows`` it has one for every row."""
        indices = sorted(formula.free_symbols & set(self._axes), key=str)
        if rows and self.rows.index is not None and self.rows.index not in indices:
            indices.append(self.rows.index)
        runs = self.rows.index in indices
        key = (formula, tuple(self._axes[i] for i in indices), beyond if runs else None)
        if key not in self._data:
            along = tuple((i, self._starts[i]) for i in indices)
            name = self._name(formula)
            self._data[key] = Datum(name, key[1], along, formula, key[2], within=within)
        datum = self._data[key]
        return input_tensor(datum.name, datum.axes)

    def datum_of(self, formula: sp.Expr) -> Input:
        """The tensor of a value that terms read as it is."""
        (datum,) = (d for d in self._data.values() if d.formula == formula)
        return input_tensor(datum.name, datum.axes)

    def _name(self, formula: sp.Expr) -> str:
        """The name of the array, where a datum is its entries; else a number."""
        taken = {datum.name for datum in self._data.values()}
        stem = f"data_{formula.base}" if isinstance(formula, sp.Indexed) else "data"
        stem = stem if stem.isidentifier() and stem.isascii() else "data"
        number, name = 0, stem if stem != "data" else "data0"
        while name in taken:
            number += 1
            name = f"{stem}_{number}" if stem != "data" else f"data{number}"
        return name

    def start(self, value: float) -> Tensor:
        """A number that is ``value`` in the first step, and zero in all others."""
        if "start" not in self._data:
            name = self._name(sp.S.Zero)  # no array is called so
            self._data["start"] = Datum(name, (), (), sp.S.Zero, first=value)
        return input_tensor(self._data["start"].name)

    # -- terms ---------------------------------------------------------------------------------

    def summed(self) -> Tensor:
        """The sum of the terms of a step."""
        if not is_kept(self.node):
            return self._lowered(self.node)
        return self._sum(self.node.function, [limit[0] for limit in self.node.limits], True)

    def logarithms(self, nothing: float) -> Tensor:
        """Logarithms of the terms of a step, ``nothing`` beyond the last row."""
        exponents: list[sp.Expr] = []
        others: list[sp.Expr] = []
        for factor in sp.Mul.make_args(self.node.function):
            (exponents if isinstance(factor, sp.exp) else others).append(factor)
        formula = sp.Add(*(e.args[0] for e in exponents))
        fixed = sp.Mul(*(f for f in others if not self._varies(f)))
        formula += sp.Add(*(sp.log(f) for f in others if self._varies(f)))
        terms = [self._lowered(formula)]
        if fixed != 1 or self.rows.index is not None:
            terms.append(self._datum(sp.log(fixed), nothing, rows=True))
        axes = self._ordered(self._axes[limit[0]] for limit in self.node.limits)
        symbols = sp.Add(*(placeholder(k) for k in range(len(terms))))
        return apply(symbols, *terms, axes=axes)

    def _varies(self, formula: sp.Basic) -> bool:
        """Whether a formula differs from sample to sample."""
        return any(
            part in self._place or (isinstance(part, sp.Indexed) and part.base == self._base)
            for part in parts(formula)
        )

    def _sum(self, term: sp.Expr, indices: Sequence[sp.Symbol], outermost: bool) -> Tensor:
        if term.is_Add:
            found = [self._sum(t, indices, outermost) for t in term.args]
            return self._added(found)
        number, rest = term.as_coeff_Mul()
        fixed = [f for f in sp.Mul.make_args(rest) if not self._varies(f)]
        moving = [f for f in sp.Mul.make_args(rest) if self._varies(f)]
        factors = [self._lowered(f) for f in moving]
        masked = outermost and self.rows.index is not None
        if masked or any(f != 1 for f in fixed):
            factors.append(self._datum(sp.Mul(*fixed), 0.0 if masked else None, rows=masked))
        own = {axis for t in factors for axis in t.axes}
        summed = [self._axes[i] for i in indices]
        for axis in summed:
            number *= 1 if axis in own else axis.size
        return product(number, [(t, t.axes) for t in factors], self._ordered(own - set(summed)))

    @staticmethod
    def _added(terms: list[Tensor]) -> Tensor:
        if all(t.axes == terms[0].axes for t in terms):
            return add(*terms)
        return apply(sp.Add(*(placeholder(k) for k in range(len(terms)))), *terms)

    def _lowered(self, formula: sp.Expr) -> Tensor:
        """A formula as a tensor over the indices in it."""
        leaves: list[Tensor] = []
        scalar = in_pieces(self._scalar(formula, leaves))
        if scalar.is_Number or not leaves:
            return constant(scalar)
        if scalar == placeholder(0):
            return leaves[0]
        return apply(smooth(scalar), *leaves)

    def _scalar(self, node: sp.Expr, leaves: list[Tensor]) -> sp.Expr:
        """A formula in placeholders of what is no scalar function of other parts."""
        if not self._varies(node):
            if not (symbols_of(node) or node.has(sp.Indexed)):
                return node
            return self._leaf(self._datum(node), leaves)
        if is_kept(node) or node.is_Symbol or isinstance(node, sp.Indexed):
            return self._leaf(self._entry(node), leaves)
        if isinstance(node, sp.log) and isinstance(node.args[0], sp.Sum):
            return self._log_of_sum(node.args[0], leaves)
        if node.is_Add or node.is_Mul:
            number, fixed, moving = self._sorted(node)
            shared = [self._leaf(self._datum(fixed), leaves)] if fixed is not None else []
            return node.func(number, *shared, *(self._scalar(arg, leaves) for arg in moving))
        return node.func(
            *(
                self._scalar(a, leaves) if isinstance(a, sp.Expr) else self._condition(a, leaves)
                for a in node.args
            )
        )

    def _condition(self, node: sp.Basic, leaves: list[Tensor]) -> sp.Basic:
        """A condition, or a branch of a choice, in placeholders."""
        if not node.args:
            return node
        return node.func(
            *(
                self._scalar(a, leaves) if isinstance(a, sp.Expr) else self._condition(a, leaves)
                for a in node.args
            )
        )

    def _sorted(self, node: sp.Expr) -> tuple[sp.Expr, sp.Expr | None, list[sp.Expr]]:
        """The number, the part that all samples share, and the others of a sum or a product."""
        moving = [a for a in node.args if self._varies(a)]
        others = [a for a in node.args if not self._varies(a)]
        number = node.func(*(a for a in others if a.is_number))
        fixed = [a for a in others if not a.is_number]
        return number, node.func(*fixed) if fixed else None, moving

    @staticmethod
    def _leaf(tensor: Tensor, leaves: list[Tensor]) -> sp.Symbol:
        if tensor not in leaves:
            leaves.append(tensor)
        return placeholder(leaves.index(tensor))

    def _entry(self, node: sp.Expr) -> Tensor:
        """A coordinate, by a number or by an index, or a sum inside a term."""
        if is_kept(node):
            return self._inner_sum(node)
        if node.is_Symbol:
            one = Axis("y", 1)
            entry = window(self.x, self.x.axes[0], one, self._place[node])
            return product(1, [(entry, (one,))], ())
        (index,) = node.indices
        shifted = self._shifted(index)
        if shifted is not None:
            return shifted
        free = Axis(self.x.axes[0].name + "_", self.x.axes[0].size)
        chosen = self._unit(index, free)
        axes = self._ordered(a for a in chosen.axes if a != free)
        return product(1, [(chosen, chosen.axes), (self.x, (free,))], axes)

    def _shifted(self, index: sp.Expr) -> Tensor | None:
        """x[i + c], or x[(i + c) mod d], of an index i; None for other indices."""
        whole = self.x.axes[0]
        wraps = isinstance(index, sp.Mod) and index.args[1] == whole.size
        inner = index.args[0] if wraps else index
        number, symbol = inner.as_coeff_Add()
        axis = self._axes.get(symbol)
        if axis is None or symbol == self.rows.index:
            return None
        start = number + self._starts[symbol]
        if not start.is_Integer:
            return None
        if not wraps:
            self._check_range(index, int(start), axis.size)
            return window(self.x, whole, axis, int(start))
        first = int(start) % whole.size
        turns = -(-(first + axis.size) // whole.size)
        places = [first - turn * whole.size for turn in range(turns)]
        return add(*(window(self.x, whole, axis, place) for place in places))

    def _check_range(self, index: sp.Expr, first: int, count: int) -> None:
        """Refuse coordinates that there are not: a window has zeros in their place."""
        dim = self.x.axes[0].size
        if first < 0 or first + count > dim:
            given = f"{self._base}[{index}] with {index} from {first} to {first + count - 1}"
            accepted = f"indices from 0 to {dim - 1}, those of the coordinates"
            raise EnergyError("integrand", given, accepted, "Check the limits of the sum.")

    def _unit(self, index: sp.Expr, axis: Axis) -> Tensor:
        """1 where an index is the place along the coordinates, and 0 elsewhere."""
        place = self._along
        self._axes[place], self._starts[place] = axis, sp.S.Zero
        formula = sp.Piecewise((1, sp.Eq(index, place)), (0, True))
        unit = self._datum(formula, within=(index, axis.size))
        del self._axes[place], self._starts[place]
        return unit

    def _inner_sum(self, node: sp.Sum) -> Tensor:
        self._open(node.limits)
        found = self._sum(node.function, [limit[0] for limit in node.limits], False)
        self._close(node.limits)
        return found

    def _log_of_sum(self, node: sp.Sum, leaves: list[Tensor]) -> sp.Expr:
        """The logarithm of a sum inside a term, its exponentials scaled by the largest."""
        exponentials = [f for f in sp.Mul.make_args(node.function) if isinstance(f, sp.exp)]
        if not exponentials:
            return sp.log(self._leaf(self._inner_sum(node), leaves))
        self._open(node.limits)
        exponent = self._lowered(sp.Add(*(e.args[0] for e in exponentials)))
        rest = sp.Mul(*(f for f in sp.Mul.make_args(node.function) if f not in exponentials))
        over = tuple(self._axes[limit[0]] for limit in node.limits)
        top = Largest(exponent, tuple(a for a in over if a in exponent.axes))
        scaled = apply(sp.exp(placeholder(0) - placeholder(1)), exponent, top)
        factors = [scaled] if rest == 1 else [scaled, self._lowered(rest)]
        own = {axis for t in factors for axis in t.axes}
        number = sp.Mul(*(axis.size for axis in over if axis not in own))
        axes = self._ordered(own - set(over))
        total = product(number, [(t, t.axes) for t in factors], axes)
        self._close(node.limits)
        return self._leaf(top, leaves) + sp.log(self._leaf(total, leaves))
