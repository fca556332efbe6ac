"""Kernels of an energy on the CPU: straight-line formulas over tiles of samples."""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from ...kernels.energies import FormulaKernel
from ...kernels.linear_forms import LinearForm
from ...schedule.cpu import CpuTiling
from ...sharing import symbols_of
from ...tensors import Axis
from ..block import Block
from ..formulas import FormulaBuilder
from ..kernel_arguments import SHARE, fields_of, means_of, reads_of, values_of, weight_of
from ..nodes import (
    Assign,
    Binary,
    Blank,
    Comment,
    Do,
    Entry,
    Expression,
    Function,
    Group,
    Integer,
    Let,
    Load,
    Local,
    Name,
    Number,
    Statement,
    Store,
    Table,
    Zeros,
    call,
)
from ..places import plus, rows_loop, times
from ..scalars import Spelling
from ..signature import Argument, count, of_sample
from .pairs import DistancePasses, PairBody, emit_own, in_passes, reacts

__all__ = ["TileFormulaBuilder"]


class TileFormulaBuilder(FormulaBuilder):
    """Statements of one formula kernel for register tiles."""

    def __init__(self, kernel: FormulaKernel, tiling: CpuTiling, spelling: Spelling):
        super().__init__(kernel, tiling.samples, spelling)
        self.tiling = tiling

    def arguments(self) -> list[Argument]:
        k = self.kernel
        partners = Argument("partners", "samples", ("i", "sample"), (len(k.partner_symbols), None))
        back = of_sample("back", [Axis("i", len(k.partners))], "workspace")
        pairs = [partners, SHARE, count("number")] if k.partners else []
        found = [*reads_of(k), *pairs, values_of(k), *weight_of(k), *fields_of(k)]
        found += [back] if reacts(k) else []
        return [*found, *means_of(k), count("first"), count("last")]

    def statements(self) -> list[Statement]:
        """The constants of the module and the function."""
        return [*self._tables(), self._function()]

    def _tables(self) -> list[Statement]:
        found: list[Statement] = []
        for form in self.kernel.forms:
            moved = f"(x - {form.name}_CENTER)" if form.center else "x"
            found.append(Comment(f"{form.symbols[0]}, ... = {form.name} {moved}"))
            found.append(Table(form.name, tuple(tuple(map(float, row)) for row in form.matrix)))
            if form.center:
                center = tuple(map(float, form.center))
                found.append(Table(f"{form.name}_CENTER", (center,), short=True))
            found.append(Blank(2))
        return found

    def _function(self) -> Function:
        k, write = self.kernel, Block()
        for j, symbol in enumerate(k.values):
            if symbol in self.used:
                write.let(self.names[symbol].name, Load("values", Integer(j)))
        for j in range(len(k.means)):
            write.let(f"mean{j}", self.zero)
        for form in k.forms:
            write(Local(f"FORM_{form.name}", Integer(len(form.symbols) * self.lanes)))
        if k.partners:
            self._write_pairs(write)
        else:
            with write.loop("tile", Name("last"), Name("first")):
                self.write_tile(write)
        for j in range(len(k.means)):
            write(Assign(Entry("sums", Integer(j)), Number(0.0)))
            write(Do(call("add_lane_sums", "sums", j, f"mean{j}")))
        return Function(k.name, tuple(self.arguments()), k.summary, write.statements)

    def write_means(self, write: Block, values: list[Expression]) -> None:
        if self.kernel.means:
            write.let("w", self.loaded("weight", 1, 0))
        for j, value in enumerate(values):
            added = Binary("*", Name("w"), Group(value))
            write(Let(f"mean{j}", Binary("+", Name(f"mean{j}"), added)))

    def loaded(self, array: str, count: int, i: int | Name) -> Load:
        return Load(array, self.at(count, i), lanes=self.lanes)

    def stored(
        self, array: str, count: int, i: int | Name, formula: sp.Expr, value: Expression
    ) -> Statement:
        return Store(array, self.at(count, i), self._spread(formula, value))

    def write_component(self, write: Block, name: str, variable: str) -> None:
        if name in self.kernel.reads:
            write.let(variable, self.loaded(name, len(self.kernel.reads[name]), Name("i")))
        else:
            place = times("i", self.lanes)
            write.let(variable, Load(f"FORM_{name}", place, lanes=self.lanes))

    @property
    def zero(self) -> Expression:
        return Zeros(1, self.lanes)

    def _write_pairs(self, write: Block) -> None:
        """Sums over partners: bodies of formulas, and passes over distances."""
        k, lanes, dim = self.kernel, self.lanes, len(self.kernel.partners)
        halves = (k.symmetric and bool(k.means)) or reacts(k)
        body, means, radial = self._summands()
        passes = DistancePasses(self, write, radial or list(means.values()), halves)
        passes.emit_buffers()
        if radial:
            write(Local("SUMS", Integer(dim * lanes)))
        if reacts(k):
            tiles = Binary("//", Group(plus("number", lanes - 1)), Integer(lanes))
            write.let("room", Binary("*", tiles, Integer(lanes)))
        with write.loop("tile", Name("last"), Name("first")):
            if not k.with_itself:
                emit_own(write, lanes, halves)
            if body:
                PairBody(self, write, body, halves).emit()
            for name in means:
                write.let(name, self.zero)
            if radial:
                with write.loop("i", dim):
                    write(Store("SUMS", times("i", lanes), self.zero))
                passes.emit(passes.emit_field)
            elif means:
                passes.emit(lambda: passes.emit_means(list(means)))
            write.let("scale", Load("share", Integer(0)))
            for array in k.fields:
                self._write_field(write, array, body, passes.factors if radial else [])
            if k.means:
                factors = dict(zip(means, passes.factors, strict=True))
                self._write_pair_means(write, body, factors)

    def _summands(self) -> tuple[dict[str, sp.Expr], dict[str, sp.Expr], list[sp.Expr]]:
        """Formulas of the body by register, means in passes by register, and [c] in passes."""
        k, dim = self.kernel, len(self.kernel.partners)
        rows = [e for row in k.fields.values() for e in row]
        radial = [k.radial] if k.radial != 0 else []
        if radial and not in_passes(k.radial, dim):
            pairs = zip(rows, k.reads["x"], k.partners, strict=True)
            rows, radial = [row + k.radial * (x - y) for row, x, y in pairs], []
        sums = {f"sum{j}": e for j, e in enumerate([*rows, *k.means]) if e != 0}
        means = {
            name: e for name, e in sums.items() if k.distance in symbols_of(e) and in_passes(e, dim)
        }
        means = means if k.means else {}
        return {n: e for n, e in sums.items() if n not in means}, means, radial

    def _write_field(
        self, write: Block, array: str, body: Iterable[str], factors: list[sp.Expr]
    ) -> None:
        """Add the sums over partners to a field."""
        size, lanes = len(self.kernel.fields[array]), self.lanes
        for i in range(size):
            if f"sum{i}" in body:
                place = self.at(size, i)
                before = Load(array, place, lanes=lanes)
                write(Store(array, place, call("fma", "scale", f"sum{i}", before)))
        for factor in factors:
            (value,) = self.write_shared(write, [factor])
            with write.loop("i", size):
                place = plus(times("tile", size * lanes), Binary("*", Name("i"), Integer(lanes)))
                before = Load(array, place, lanes=lanes)
                total = Load("SUMS", times("i", lanes), lanes=lanes)
                scaled = Binary("*", Group(value), Name("scale"))
                write(Store(array, place, call("fma", scaled, total, before)))

    def _write_pair_means(
        self, write: Block, body: Iterable[str], factors: dict[str, sp.Expr]
    ) -> None:
        """Add the sums over partners to the means."""
        weight = Load("weight", self.at(1, 0), lanes=self.lanes)
        write.let("w", Binary("*", Name("scale"), weight))
        for name in body:
            mean = f"mean{name[3:]}"
            added = Binary("*", Name("w"), Name(name))
            write.let(mean, Binary("+", Name(mean), added))
        for name, factor in factors.items():
            mean = f"mean{name[3:]}"
            doubled = 2 * factor if self.kernel.symmetric else factor
            (value,) = self.write_shared(write, [doubled])
            added = Binary("*", Binary("*", Name("w"), Group(value)), Name(name))
            write.let(mean, Binary("+", Name(mean), added))

    def _spread(self, expression: sp.Expr, value: Expression) -> Expression:
        """A formula that does not depend on the sample still fills a row of samples."""
        if symbols_of(expression) - set(self.kernel.values):
            return value
        return Binary("+", self.zero, value)

    def write_form(self, write: Block, form: LinearForm) -> None:
        """Rows of a matrix times the coordinates, into a buffer, then into registers."""
        size, lanes = len(form.symbols), self.lanes
        columns = len(form.matrix[0])

        def body(variable: Expression, rows: int) -> None:
            at = variable if variable == Integer(0) else Binary("*", variable, Integer(columns))
            write.let("acc", Zeros(rows, lanes))
            with write.loop("j", columns):
                place = Binary("+", at, Name("j"))
                column = Load(form.name, place, Integer(columns), rows)
                row: Expression = Load("x", self._coordinate(columns), lanes=lanes)
                if form.center:
                    row = Binary("-", row, Load(f"{form.name}_CENTER", Name("j")))
                write.let("acc", call("fma", column, row, "acc"))
            place = Binary("*", variable, Integer(lanes))
            write(Store(f"FORM_{form.name}", place, Name("acc"), Integer(lanes)))

        rows_loop(write, Axis("i", size), self.tiling.rows(size), body)
        if self.kernel.rolled:
            return
        for i, symbol in enumerate(form.symbols):
            place = Integer(i * lanes)
            write.let(self.names[symbol].name, Load(f"FORM_{form.name}", place, lanes=lanes))

    def _coordinate(self, columns: int) -> Expression:
        lanes = self.lanes
        tile = Binary("*", Name("tile"), Integer(columns * lanes))
        return Binary("+", tile, Binary("*", Name("j"), Integer(lanes)))
