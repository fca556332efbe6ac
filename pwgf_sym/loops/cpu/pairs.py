"""Sums over the partners of every sample on the CPU: the samples of a tile stand in the lanes.

Cheap formulas are one body, a partner at a time.  Expensive ones of the distance |x - y|, and those
of many coordinates, take a block of partners in passes: distances, formulas of them, sums.  So few
numbers are alive in a pass that they stay in registers, and its iterations overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import sympy as sp

from ...kernels.energies import FormulaKernel
from ...sharing import parts, symbols_of
from ...tensors import Axis
from ...tensors.scalars.applications import is_function
from ..block import Block
from ..nodes import (
    Binary,
    Choice,
    Do,
    Expression,
    Group,
    Integer,
    Let,
    Lets,
    Load,
    Local,
    Name,
    Number,
    Store,
    Zeros,
    call,
    sum_of,
)
from ..places import plus, rows_loop

if TYPE_CHECKING:
    from .formulas import TileFormulaBuilder

__all__ = ["DistancePasses", "PairBody", "emit_own", "in_passes", "reacts"]

# Up to this dimension the differences x - y of a pair stay in registers.
_UNROLLED = 4
# Partners in a block: their formulas for a tile of samples stay in the level 1 cache.
_BLOCK = 64
# Measured: rows of a tile of distances, and tiles of samples side by side in a pass of formulas.
_DISTANCES, _WIDE = 2, 2

J, N, LOW, HIGH, BEGIN = Name("j"), Name("n"), Name("low"), Name("high"), Name("begin")
SIZE, NUMBER = Name("size"), Name("number")
OWN, MOVED, POINT = Name("own"), Name("moved"), Name("point")


def _times(a: Expression | str, b: int) -> Expression:
    return Binary("*", Name(a) if isinstance(a, str) else a, Integer(b))


def _minus(a: Expression, b: Expression) -> Expression:
    return Binary("-", a, b)


def _has_functions(formula: sp.Expr) -> bool:
    """Whether a formula costs an elementary function, beside which sums are cheap."""
    found = list(parts(formula))
    powers = (p for p in found if isinstance(p, sp.Pow) and is_function(p))
    return any(isinstance(p, sp.Function) for p in found) or not all(
        (2 * p.exp).is_Integer for p in powers
    )


def in_passes(formula: sp.Expr, dim: int) -> bool:
    """Whether a formula of the distance is summed in passes; a cheap one of few coordinates not."""
    return dim > _UNROLLED or _has_functions(formula)


def reacts(kernel: FormulaKernel) -> bool:
    """Whether every pair is computed once, and its partner takes the opposite velocity.

    That is so for c(|x - y|^2) (x - y); it is worth the sums over lanes where c is expensive.
    """
    alone = kernel.radial != 0 and all(e == 0 for row in kernel.fields.values() for e in row)
    return alone and _has_functions(kernel.radial)


def emit_own(write: Block, lanes: int, halves: bool) -> None:
    """Names of what all loops share: the tile's own samples, and where these are partners."""
    first = _times("tile", lanes)
    write.let("own", call("lane_index", "x", first, lanes))
    rounds = Binary("*", call("floor", Binary("/", OWN, NUMBER)), NUMBER)
    write.let("own", _minus(OWN, rounds))
    write(Lets(("low", "high"), (first, plus(first, lanes))))
    with write.when(Binary(">", HIGH, NUMBER)):
        # Padding repeats the samples: there, too, a sample is no partner of its own.
        write(Lets(("low", "high"), (LOW if halves else Integer(0), NUMBER)))


class PairBody:
    """One body of formulas in x, y and the distance; only the tile's own samples are masked.

    Parameters
    ----------
    builder, write
        The kernel's builder, and where statements go.
    formulas : dict of str to Expr
        What is summed, by the name of the register.
    halves : bool
        Whether W(x, y) = W(y, x): every pair is then computed once and doubled.
    """

    def __init__(
        self, builder: TileFormulaBuilder, write: Block, formulas: dict[str, sp.Expr], halves: bool
    ):
        self.f, self.write, self.lanes = builder, write, builder.lanes
        self.formulas, self.halves = formulas, halves
        self.used = symbols_of(*formulas.values())
        self.distance = builder.kernel.distance in self.used
        # Partners side by side: a mean alone would wait for its own last addition.
        self.rows = 2 if builder.kernel.means and not builder.kernel.with_itself else 1

    def emit(self) -> None:
        """Write the loops over the partners."""
        write, k, rows = self.write, self.f.kernel, self.rows
        for array, symbols in k.reads.items():
            wanted = set(symbols) if self.distance and array == "x" else self.used
            self.f.write_loads(write, array, symbols, wanted)
        for name in self.formulas:
            write.let(name, Zeros(rows, self.lanes))
        if k.with_itself:  # no pair is masked
            with write.loop("j", NUMBER):
                self._emit_partners(1, masked=False)
            for name in self.formulas:
                write.let(name, call("row_sum", name))
            return
        rest = Binary("//", Group(_minus(NUMBER, HIGH)), Integer(rows))
        write.let("whole", Binary("+", HIGH, _times(rest, rows)))
        apart: list[tuple[Expression, ...]] = [(HIGH, Name("whole"))]
        if not self.halves:
            apart.insert(0, (Integer(0), LOW))
        ends, end = ("begin", "end"), Name("end")
        with write.each(ends, apart), write.loop("j", end, BEGIN, rows):
            self._emit_partners(rows, masked=False)
        for name in self.formulas:
            total = call("row_sum", name)
            write.let(name, Binary("*", Number(2.0), total) if self.halves else total)
        near = [(LOW, HIGH), (Name("whole"), NUMBER)]
        with write.each(ends, near), write.loop("j", end, BEGIN):
            if self.halves:
                inside = Binary("<", J, HIGH)
                write.let("times", Choice(inside, Number(1.0), Number(2.0), uniform=True))
            self._emit_partners(1, masked=True)

    def _emit_partners(self, rows: int, masked: bool) -> None:
        write, k, names = self.write, self.f.kernel, self.f.names
        size = len(k.partner_symbols)
        for i, symbol in enumerate(k.partner_symbols):
            if symbol in self.used or self.distance:
                place = Binary("+", _times(J, size), Integer(i))
                write.let(names[symbol].name, Load("partners", place, Integer(size), rows))
        if self.distance:
            self._emit_distance(rows)
        if masked:
            write.let("other", Binary("!=", OWN, J))
        found = self.f.write_shared(write, list(self.formulas.values()))
        for name, value in zip(self.formulas, found, strict=True):
            if masked:
                value = Choice(Name("other"), value, Number(0.0))
                value = Binary("*", Name("times"), value) if self.halves else value
            write(Let(name, Binary("+", Name(name), value)))

    def _emit_distance(self, rows: int) -> None:
        k, names = self.f.kernel, self.f.names
        q = names[k.distance].name
        self.write.let(q, Zeros(rows, self.lanes))
        for own, other in zip(k.reads["x"], k.partners, strict=True):
            self.write.let("moved", _minus(names[own], names[other]))
            self.write.let(q, call("fma", MOVED, MOVED, q))


class DistancePasses:
    """Sums of f(q), or of c(q) (x - y), q = |x - y|^2, block by block of the partners.

    Parameters
    ----------
    builder, write
        The kernel's builder, and where statements go.
    formulas : list of Expr
        f of every mean, or c alone.
    halves : bool
        Whether every pair is computed once and doubled.
    """

    def __init__(
        self, builder: TileFormulaBuilder, write: Block, formulas: list[sp.Expr], halves: bool
    ):
        self.f, self.write, self.lanes, self.halves = builder, write, builder.lanes, halves
        self.dim, q = len(builder.kernel.partners), builder.kernel.distance
        self.back = reacts(builder.kernel)
        # What no pair changes is one factor of the sum; not where partners take their share.
        split = [(1, e) if self.back else e.as_independent(q, as_Add=False) for e in formulas]
        self.factors, self.formulas = [f for f, _ in split], [e for _, e in split]
        self.names = [f"F{k}" for k in range(len(formulas))]

    @property
    def _distance(self) -> str:
        return self.f.names[self.f.kernel.distance].name

    def emit_buffers(self) -> None:
        """Write the buffers of a block's formulas; the last one holds the distances before."""
        for name in self.names:
            self.write(Local(name, Integer(_BLOCK * self.lanes)))

    def emit(self, sums: Callable[[], None]) -> None:
        """Write the loop over blocks; ``sums()`` writes what adds up a block's formulas."""
        write, lanes = self.write, self.lanes
        first = LOW if self.halves else Integer(0)
        with write.loop("begin", NUMBER, first, _BLOCK):
            # Whole tiles of partners: padding is masked with the rest.
            left = Binary("+", _minus(NUMBER, BEGIN), Integer(lanes - 1))
            whole = _times(Binary("//", Group(left), Integer(lanes)), lanes)
            write.let("size", call("min", _BLOCK, whole))
            self._emit_distances()
            self._emit_formulas()
            self._emit_masks()
            sums()

    def _place(self, variable: Expression | str) -> Expression:
        """Place of coordinate i of the tile's samples."""
        tile = _times("tile", self.dim * self.lanes)
        return Binary("+", tile, _times(variable, self.lanes))

    def _partner(self, j: Expression, i: Expression) -> Expression:
        """Place of coordinate i of the block's partner j."""
        return Binary("+", _times(Group(j), self.dim), i)

    def _emit_distances(self) -> None:
        write, lanes, dim, rows = self.write, self.lanes, self.dim, _DISTANCES
        q = self._distance
        with write.loop("j", SIZE, 0, rows):
            write.let(q, Zeros(rows, lanes))
            with write.loop("i", dim):
                own = Load("x", self._place("i"), lanes=lanes)
                place = self._partner(Binary("+", BEGIN, J), Name("i"))
                write.let("moved", _minus(own, Load("partners", place, Integer(dim), rows)))
                write.let(q, call("fma", MOVED, MOVED, q))
            write(Store(self.names[-1], _times(J, lanes), Name(q), Integer(lanes)))

    def _emit_formulas(self) -> None:
        write, wide, q = self.write, _WIDE * self.lanes, self._distance
        with write.loop("n", _times(SIZE, self.lanes), 0, wide):
            write.let(q, Load(self.names[-1], N, lanes=wide))
            found = self.f.write_shared(write, self.formulas)
            for name, value, formula in zip(self.names, found, self.formulas, strict=True):
                if not formula.free_symbols:
                    value = Binary("+", Zeros(1, wide), value)
                write(Store(name, N, value))

    def _emit_masks(self) -> None:
        """No pair of a sample with itself or with padding; both halves of the own tile's pairs."""
        write, lanes = self.write, self.lanes
        place = _times(Group(_minus(J, BEGIN)), lanes)
        end = Binary("+", BEGIN, SIZE)
        with write.loop("j", call("min", end, HIGH), call("max", BEGIN, LOW)):
            for name in self.names:
                value: Expression = Load(name, place, lanes=lanes)
                if self.halves and not self.back:
                    value = Binary("*", Number(0.5), value)
                apart = Binary("!=", OWN, J)
                write(Store(name, place, Choice(apart, value, Number(0.0))))
        with write.loop("j", end, call("max", BEGIN, NUMBER)):
            for name in self.names:
                write(Store(name, place, Zeros(1, lanes)))

    def emit_means(self, sums: list[str]) -> None:
        """Add the formulas of a block to registers."""
        write, lanes = self.write, self.lanes
        acc = Name("acc")
        for total, name in zip(sums, self.names, strict=True):
            write.let("acc", Zeros(4, lanes))
            with write.loop("j", SIZE, 0, 4):
                found = Load(name, _times(J, lanes), Integer(lanes), 4, lanes)
                write.let("acc", Binary("+", acc, found))
            write.let(total, Binary("+", Name(total), call("row_sum", acc)))

    def emit_field(self) -> None:
        """Add c (x - y) of a block to SUMS, in two sums for each coordinate."""
        write, lanes, (name,) = self.write, self.lanes, self.names

        def body(variable: Expression, rows: int) -> None:
            place, stride = self._place(variable), Integer(lanes)
            own = _times(variable, lanes)
            write.let("point", Load("x", place, stride, rows, lanes))
            write.let("acc0", Load("SUMS", own, stride, rows, lanes))
            write.let("acc1", Zeros(rows, lanes))
            with write.loop("j", SIZE, 0, 2):
                for k in range(2):
                    partner = sum_of([BEGIN, J, Integer(k)])
                    place = self._partner(partner, variable)
                    factor_at = _times(Group(Binary("+", J, Integer(k))), lanes)
                    factor = Load(name, factor_at, lanes=lanes)
                    moved = _minus(POINT, Load("partners", place, Integer(1), rows))
                    write.let(f"acc{k}", call("fma", moved, factor, f"acc{k}"))
            total = Binary("+", Name("acc0"), Name("acc1"))
            write(Store("SUMS", own, total, stride))

        rows_loop(write, Axis("i", self.dim), 2, body)
        if self.back:
            self._emit_reaction()

    def _emit_reaction(self) -> None:
        """Add c (y - x), summed over the tile's samples, to partners beyond the tile."""
        write, lanes, dim, (name,) = self.write, self.lanes, self.dim, self.names
        with write.loop("i", dim):
            write.let("point", Load("x", self._place("i"), lanes=lanes))
            first = _minus(call("max", BEGIN, Binary("+", LOW, Integer(lanes))), BEGIN)
            with write.loop("j", SIZE, first, 4):
                place = self._partner(Binary("+", BEGIN, J), Name("i"))
                partner = Load("partners", place, Integer(dim), 4)
                write.let("moved", _minus(partner, POINT))
                factor = Load(name, _times(J, lanes), Integer(lanes), 4, lanes)
                pull = Binary("*", factor, MOVED)
                place = sum_of([Binary("*", Name("i"), Name("room")), BEGIN, J])
                write(Do(call("add_lane_sums", "back", place, pull)))
