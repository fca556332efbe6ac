"""Kernels of an energy: straight-line formulas in what samples carry.

What a target's loops look like is in its own folder; here is what all builders share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

import sympy as sp

from ..kernels.energies import FormulaKernel
from ..kernels.linear_forms import LinearForm
from ..sharing import symbols_of
from .block import Block
from .kernel_names import formula_names, prefix
from .nodes import Expression, Integer, Name, Statement
from .places import plus, times
from .printable import check_printable
from .rolled import RolledBody
from .scalars import Spelling, assignments
from .signature import Argument

__all__ = ["FormulaBuilder"]


class FormulaBuilder(ABC):
    """Statements of one formula kernel.

    Parameters
    ----------
    kernel : FormulaKernel
        Its formulas.
    lanes : int
        Samples of a tile.
    spelling : Spelling
        What formulas ask of the target.

    Attributes
    ----------
    names : dict of Symbol to Name
        Variables of the symbols.
    used : set of Symbol
        Those that formulas read.
    """

    def __init__(self, kernel: FormulaKernel, lanes: int, spelling: Spelling) -> None:
        self.kernel, self.lanes, self.spelling = kernel, lanes, spelling
        for expression in kernel.formulas():
            check_printable(expression, kernel.name)
        self.names = formula_names(kernel, [argument.name for argument in self.arguments()])
        self.used = symbols_of(*kernel.formulas())

    # -- what a target says --------------------------------------------------------------------

    @abstractmethod
    def arguments(self) -> list[Argument]:
        """What the function takes, in its order."""

    @abstractmethod
    def statements(self) -> list[Statement]:
        """The constants of the module and the function."""

    @property
    @abstractmethod
    def zero(self) -> Expression:
        """A sum before its first term."""

    @abstractmethod
    def loaded(self, array: str, count: int, i: int | Name) -> Expression:
        """Component i of an array with so many components."""

    @abstractmethod
    def stored(
        self, array: str, count: int, i: int | Name, formula: sp.Expr, value: Expression
    ) -> Statement:
        """A statement that stores component i of a field."""

    @abstractmethod
    def write_component(self, write: Block, name: str, variable: str) -> None:
        """Write component i of an array, or of a linear form, into a variable."""

    @abstractmethod
    def write_means(self, write: Block, values: list[Expression]) -> None:
        """Add the formulas' values to the means."""

    @abstractmethod
    def write_form(self, write: Block, form: LinearForm) -> None:
        """Write a linear form of a tile's samples."""

    # -- the same for all ----------------------------------------------------------------------

    def write_tile(self, write: Block) -> None:
        """Write the formulas for a tile of samples."""
        k = self.kernel
        self.write_forms(write)
        if k.rolled:
            RolledBody(self, write, k.rolled).emit()
            return
        for array, symbols in k.reads.items():
            self.write_loads(write, array, symbols, self.used)
        found = self.write_shared(write, k.formulas())
        for array, rows in k.fields.items():
            for i, expression in enumerate(rows):
                write(self.stored(array, len(rows), i, expression, found.pop(0)))
        self.write_means(write, found)

    def write_forms(self, write: Block) -> None:
        """Write the linear forms of a tile."""
        for form in self.kernel.forms:
            self.write_form(write, form)

    def write_loads(
        self,
        write: Block,
        array: str,
        symbols: Collection[sp.Symbol],
        used: Collection[sp.Symbol],
    ) -> None:
        """Load the components of a tile that are used."""
        for i, symbol in enumerate(symbols):
            if symbol in used:
                write.let(self.names[symbol].name, self.loaded(array, len(symbols), i))

    def at(self, count: int, i: int | Name) -> Expression:
        """Place of component i of the tile's samples; i may be a variable."""
        offset = times(i, self.lanes) if isinstance(i, Name) else i * self.lanes
        return plus(times("tile", Integer(count * self.lanes)), offset)

    def write_shared(self, write: Block, formulas: list[sp.Expr]) -> list[Expression]:
        """Write the common subexpressions; the formulas."""
        shared, found = assignments(formulas, self.names, self.prefix(), self.spelling)
        write(*shared)
        return found

    def prefix(self, number: int = 0) -> str:
        """What names of common subexpressions begin with, in one of several places."""
        return prefix(self.names, number)
