"""Formulas in all coordinates, as loops over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sympy as sp

from ..kernels.rolling import Rolled
from .block import Block
from .nodes import Binary, Expression, Let, Name
from .scalars import split_assignments

if TYPE_CHECKING:
    from .formulas import FormulaBuilder

__all__ = ["RolledBody"]


class RolledBody:
    """Writes the formulas of a rolled kernel for a tile of samples.

    Parameters
    ----------
    builder : FormulaBuilder
        Of the kernel.
    write : Block
        Where statements go.
    rolled : Rolled
        The kernel's formulas in component i.
    """

    def __init__(self, builder: FormulaBuilder, write: Block, rolled: Rolled):
        self.e, self.write, self.rolled = builder, write, rolled
        self.size = len(builder.kernel.reads["x"])

    def emit(self) -> None:
        """Sums over the components, fields of all components, what is averaged."""
        k, r = self.e.kernel, self.rolled
        for array, symbols in k.reads.items():
            if array not in r.components:
                self.e.write_loads(self.write, array, symbols, self.e.used)
        levels = r.levels()
        for number, level in enumerate(levels):
            self._emit_sums(level, number)
        rest = [*r.rows.values(), *r.scalars.values(), *r.means]
        outside, inside, values = self._shared(rest, len(levels))
        self.write(*outside)
        rows, values = values[: len(r.rows)], values[len(r.rows) :]
        if r.rows:
            with self._loop(r.rows.values()):
                self.write(*inside)
                for (array, formula), value in zip(r.rows.items(), rows, strict=True):
                    self.write(self.e.stored(array, self.size, Name("i"), formula, value))
        for array, formula in r.scalars.items():
            self.write(self.e.stored(array, 1, 0, formula, values.pop(0)))
        self.e.write_means(self.write, values)

    def _emit_sums(self, level: list[tuple[sp.Symbol, sp.Expr]], number: int) -> None:
        names = [self.e.names[symbol] for symbol, _ in level]
        formulas = [formula for _, formula in level]
        for name in names:
            self.write(Let(name.name, self.e.zero))
        outside, inside, values = self._shared(formulas, number)
        self.write(*outside)
        with self._loop(formulas):
            self.write(*inside)
            for name, value in zip(names, values, strict=True):
                self.write(Let(name.name, Binary("+", name, value)))

    @contextmanager
    def _loop(self, formulas: Iterable[sp.Expr]) -> Iterator[None]:
        """The loop over the components, with those that formulas read."""
        used = set().union(*(formula.free_symbols for formula in formulas))
        with self.write.loop("i", self.size):
            for name, symbol in self.rolled.components.items():
                if symbol in used:
                    self.e.write_component(self.write, name, self.e.names[symbol].name)
            yield

    def _shared(
        self, formulas: list[sp.Expr], number: int
    ) -> tuple[list[Let], list[Let], list[Expression]]:
        """Common subexpressions outside and inside the loop, and the formulas."""
        own = set(self.rolled.components.values())
        how = self.e.prefix(number), self.e.spelling
        return split_assignments(formulas, self.e.names, own, *how)
