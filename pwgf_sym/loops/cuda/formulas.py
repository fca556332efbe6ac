"""Kernels of an energy for a GPU: straight-line formulas, one sample a thread.

Means are summed over the threads of a block by halves, and over the blocks by the caller, in order.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from ...kernels.energies import FormulaKernel
from ...kernels.linear_forms import LinearForm
from ...schedule.cuda import CudaTiling
from ..block import Block
from ..formulas import FormulaBuilder
from ..kernel_arguments import (
    SHARE,
    fields_of,
    means_of,
    partner_weights_of,
    reads_of,
    values_of,
    weight_of,
)
from ..nodes import (
    Accumulate,
    Assign,
    Binary,
    Entry,
    Expression,
    Function,
    Group,
    Integer,
    Let,
    Local,
    Name,
    Number,
    Statement,
    call,
)
from ..places import plus, times
from ..scalars import Spelling
from ..signature import Argument, count
from .names import BLOCK, LANE, TILES, from_lane
from .pairs import emit_pairs

__all__ = ["ThreadFormulaBuilder"]

_COLUMN = Name("j")


class ThreadFormulaBuilder(FormulaBuilder):
    """Statements of one formula kernel for the sample of a thread."""

    def __init__(self, kernel: FormulaKernel, tiling: CudaTiling, spelling: Spelling) -> None:
        super().__init__(kernel, tiling.samples, spelling)

    @property
    def zero(self) -> Expression:
        return Number(0.0)

    def arguments(self) -> list[Argument]:
        k = self.kernel
        pairs = [SHARE, count("number"), count("group")] if k.partners else []
        found = [*reads_of(k), *partner_weights_of(k), *pairs, values_of(k), *weight_of(k)]
        return [*found, *self._forms(), *fields_of(k), *self._sums(), count("tiles")]

    def _forms(self) -> list[Argument]:
        """The matrices of the linear forms, row by row, each with its center after it."""
        forms = self.kernel.forms
        rows = [row for form in forms for row in (*form.matrix, form.center)]
        numbers = tuple(float(value) for row in rows for value in row)
        found = Argument("forms", "constant", ("entry",), (len(numbers),), values=numbers)
        return [found] if forms else []

    def _sums(self) -> list[Argument]:
        """Means of every block."""
        return [
            replace(a, axes=("block", *a.axes), sizes=(None, *a.sizes))
            for a in means_of(self.kernel)
        ]

    def statements(self) -> list[Statement]:
        k, write = self.kernel, Block()
        write(Let("lane", Name("cuda.threadIdx.x")))
        if k.partners:
            write(Local("PARTNERS", Integer(len(k.partner_symbols) * self.lanes), "shared"))
        for j, symbol in enumerate(k.values):
            if symbol in self.used:
                write.let(self.names[symbol].name, Entry("values", Integer(j)))
        for j in range(len(k.means)):
            write.let(f"mean{j}", self.zero)
        with write.loop("tile", TILES, kind="blocks"):
            if k.partners:
                emit_pairs(self, write)
            else:
                self.write_tile(write)
        self._write_block_sums(write)
        return [Function(k.name, tuple(self.arguments()), k.summary, write.statements)]

    def loaded(self, array: str, count: int, i: int | Name) -> Entry:
        return Entry(array, from_lane(self.at(count, i)))

    def stored(
        self, array: str, count: int, i: int | Name, formula: sp.Expr, value: Expression
    ) -> Statement:
        return Assign(self.loaded(array, count, i), value)

    def write_means(self, write: Block, values: list[Expression]) -> None:
        for j, value in enumerate(values):
            added = Binary("*", self.loaded("weight", 1, 0), Group(value))
            write(Accumulate(Name(f"mean{j}"), added))

    def write_component(self, write: Block, name: str, variable: str) -> None:
        if name in self.kernel.reads:
            write.let(variable, self.loaded(name, len(self.kernel.reads[name]), Name("i")))
            return
        start, columns = self._start(name), len(self.kernel.reads["x"])
        (form,) = (form for form in self.kernel.forms if form.name == name)
        total = write.let(variable, self.zero)
        with write.loop("j", columns):
            own = self._from_center(form, self._coordinate(columns))
            place = Binary("+", Binary("*", Name("i"), Integer(columns)), _COLUMN)
            write(Accumulate(total, Binary("*", Entry("forms", plus(place, start)), own)))

    def _coordinate(self, columns: int) -> Entry:
        """Coordinate j of the thread's sample."""
        tile = times("tile", columns * self.lanes)
        return Entry("x", from_lane(tile, times(_COLUMN, self.lanes)))

    def _from_center(self, form: LinearForm, coordinate: Expression) -> Expression:
        """Coordinate j less that of the form's center."""
        if not form.center:
            return coordinate
        start = self._start(form.name) + len(form.matrix) * len(form.center)
        return Group(Binary("-", coordinate, Entry("forms", plus(_COLUMN, start))))

    def _start(self, name: str) -> int:
        """Where the matrix of a linear form begins."""
        start = 0
        for form in self.kernel.forms:
            if form.name == name:
                break
            start += len(form.matrix) * len(form.matrix[0]) + len(form.center)
        return start

    def write_forms(self, write: Block) -> None:
        if not self.kernel.rolled:
            super().write_forms(write)

    def write_form(self, write: Block, form: LinearForm) -> None:
        """Every row of a matrix times the coordinates, in a loop over the columns."""
        start, columns = self._start(form.name), len(form.matrix[0])
        rows = [self.names[symbol] for symbol in form.symbols]
        for row in rows:
            write.let(row.name, self.zero)
        with write.loop("j", columns):
            other = write.let("other", self._from_center(form, self._coordinate(columns)))
            for i, row in enumerate(rows):
                place = Binary("+", Integer(start + i * columns), _COLUMN)
                write(Accumulate(row, Binary("*", Entry("forms", place), other)))

    def _write_block_sums(self, write: Block) -> None:
        """Sums over the threads of a block."""
        count = len(self.kernel.means)
        if not count:
            return
        write(Local("ROOM", Integer(self.lanes), "shared"))
        for j in range(count):
            write.let(f"mean{j}", call("block_sum", f"mean{j}", "ROOM"))
        with write.when(Binary("==", LANE, Integer(0))):
            for j in range(count):
                place = plus(Binary("*", BLOCK, Integer(count)), j)
                write(Assign(Entry("sums", place, plain=True), Name(f"mean{j}")))
