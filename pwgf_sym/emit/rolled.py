"""Formulas in all coordinates, as loops over them."""

from __future__ import annotations

from contextlib import contextmanager

import sympy as sp

from .scalars import split_assignments
from .writer import Writer

__all__ = ["RolledBody"]


class RolledBody:
    """Writes the formulas of a rolled kernel for a tile of samples.

    Parameters
    ----------
    emitter : FormulaEmitter
        Of a kernel with ``rolled``.
    write : Writer
        Where lines go.
    """

    def __init__(self, emitter, write: Writer):
        self.e, self.write, self.rolled = emitter, write, emitter.kernel.rolled
        self.size = len(emitter.kernel.reads["x"])

    def emit(self) -> None:
        """Sums over the components, fields of all components, what is averaged."""
        k, r = self.e.kernel, self.rolled
        for array, symbols in k.reads.items():
            if array not in r.components:
                self.e.emit_loads(self.write, array, symbols, self.e.used)
        levels = r.levels()
        for number, level in enumerate(levels):
            self._emit_sums(level, number)
        rest = [*r.rows.values(), *r.scalars.values(), *r.means]
        outside, inside, texts = self._shared(rest, len(levels))
        self.write.append(outside)
        rows, texts = texts[: len(r.rows)], texts[len(r.rows) :]
        if r.rows:
            with self._loop(r.rows.values()):
                self.write.append(inside)
                for (array, formula), text in zip(r.rows.items(), rows, strict=True):
                    self.write(self.e.stored(array, self.size, "i", formula, text))
        for array, formula in r.scalars.items():
            self.write(self.e.stored(array, 1, 0, formula, texts.pop(0)))
        self.e.emit_means(self.write, texts)

    def _emit_sums(self, level, number: int) -> None:
        names = [self.e.names[symbol] for symbol, _ in level]
        formulas = [formula for _, formula in level]
        for name in names:
            self.write(f"{name} = {self.e.zero}")
        outside, inside, texts = self._shared(formulas, number)
        self.write.append(outside)
        with self._loop(formulas):
            self.write.append(inside)
            for name, text in zip(names, texts, strict=True):
                self.write(f"{name} = {name} + {text}")

    @contextmanager
    def _loop(self, formulas):
        """The loop over the components, with those that formulas read."""
        used = set().union(*(formula.free_symbols for formula in formulas))
        with self.write.block(f"for i in range({self.size})"):
            for name, symbol in self.rolled.components.items():
                if symbol in used:
                    self.e.emit_component(self.write, name, self.e.names[symbol])
            yield

    def _shared(self, formulas: list[sp.Expr], number: int):
        """Common subexpressions outside and inside the loop, and the formulas' texts."""
        own = set(self.rolled.components.values())
        how = self.e.prefix(number), self.e.printer
        return split_assignments(formulas, self.e.names, own, *how)
