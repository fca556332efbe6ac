"""Formulas in all coordinates as loops over them.

In 30 dimensions a potential is often a sum of 30 terms that differ in the coordinate only, and its
gradient 30 formulas that do.  Such a kernel becomes a loop: its text no longer grows with the
dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef

from ..declare.energies import EnergyIntegral

if TYPE_CHECKING:
    from .energies import FormulaKernel

__all__ = ["UNROLLED", "Rolled", "readable", "roll"]

# Up to so many coordinates formulas stand one below the other.
UNROLLED = 8


@dataclass(frozen=True)
class Rolled:
    """Formulas of a kernel in component i of what samples carry.

    Attributes
    ----------
    components : dict of str to Symbol
        What component i of an array, or of a linear form, is called.
    sums : tuple of (Symbol, Expr)
        Sums over i of formulas in component i; later ones may read earlier ones.
    rows : dict of str to Expr
        Component i of a field.
    scalars : dict of str to Expr
        Fields of one component.
    means : tuple of Expr
        Results that are averaged over the samples.
    """

    components: dict[str, sp.Symbol]
    sums: tuple[tuple[sp.Symbol, sp.Expr], ...]
    rows: dict[str, sp.Expr]
    scalars: dict[str, sp.Expr]
    means: tuple[sp.Expr, ...]

    def levels(self) -> list[list[tuple[sp.Symbol, sp.Expr]]]:
        """The sums, those together that one loop can add up."""
        found: list[list[tuple[sp.Symbol, sp.Expr]]] = []
        for symbol, formula in self.sums:
            if not found or formula.free_symbols & {known for known, _ in found[-1]}:
                found.append([])
            found[-1].append((symbol, formula))
        return found


def roll(kernel: FormulaKernel) -> Rolled | None:
    """The loops of a formula kernel, or None where its formulas do not have that shape."""
    size = len(kernel.reads["x"])
    if kernel.partners or size <= UNROLLED:
        return None
    families = {name: symbols for name, symbols in kernel.reads.items() if len(symbols) == size}
    families |= {form.name: form.symbols for form in kernel.forms if len(form.symbols) == size}
    if len(families) < sum(len(s) == size for s in kernel.reads.values()) + len(kernel.forms):
        return None  # a linear form of another size
    if any(len(formulas) not in (1, size) for formulas in kernel.fields.values()):
        return None
    taken = {s.name for s in (*kernel.values, *kernel.reads["x"])}
    taken |= {s.name for symbols in (*families.values(), *kernel.reads.values()) for s in symbols}
    roller = _Roller(families, size, taken)
    rows, scalars = {}, {}
    for name, formulas in kernel.fields.items():
        found = [roller.without_sums(e) for e in formulas]
        if len(found) == size:
            rows[name] = roller.common([roller.template(e, i) for i, e in enumerate(found)])
        else:
            scalars[name] = found[0]
    means = tuple(roller.without_sums(e) for e in kernel.means)
    left = any(roller.places(e) for e in (*scalars.values(), *means))
    if left or any(row is None for row in rows.values()):
        return None
    sums = tuple((symbol, formula) for formula, symbol in roller.sums.items())
    return Rolled(roller.components, sums, rows, scalars, means)


def readable(formula: sp.Expr, coordinates: tuple[sp.Symbol, ...]) -> sp.Expr:
    """A formula with ``sum_i(...)`` for sums over many coordinates; to be read, not evaluated."""
    if len(coordinates) <= UNROLLED or formula.has(sp.Derivative):
        return formula
    integrals = {term: sp.Dummy() for term in formula.atoms(EnergyIntegral)}
    formula = formula.xreplace(integrals)
    # Of a function of all coordinates, such as the density, there is only one.
    formula = formula.xreplace({f: sp.Symbol(str(f)) for f in formula.atoms(AppliedUndef)})
    taken = {symbol.name for symbol in formula.free_symbols}
    roller = _Roller({"x": coordinates}, len(coordinates), taken)
    formula = roller.without_sums(formula)
    for template, symbol in reversed(roller.sums.items()):  # later ones may hold earlier ones
        formula = formula.xreplace({symbol: sp.Function("sum_i")(template)})
    inner = {
        dummy: EnergyIntegral(readable(term.integrand, term.copies[0]), *term.copies)
        for term, dummy in integrals.items()
    }
    return formula.xreplace(inner)


class _Roller:
    """Finds formulas that differ in the component only."""

    def __init__(self, families: dict[str, tuple[sp.Symbol, ...]], size: int, taken: set[str]):
        self.size, self._taken = size, taken
        self.sums: dict[sp.Expr, sp.Symbol] = {}
        self.components = {
            name: self._symbol(symbols[0].name.rstrip("0123456789") + "_i")
            for name, symbols in families.items()
        }
        self._place = {s: i for symbols in families.values() for i, s in enumerate(symbols)}
        self._generic = {
            s: self.components[name] for name, symbols in families.items() for s in symbols
        }

    def _symbol(self, name: str) -> sp.Symbol:
        """A symbol that stands for nothing else."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return sp.Symbol(name, real=True)

    def places(self, formula: sp.Basic) -> set[int]:
        """Components that a formula is about."""
        return {self._place[s] for s in formula.free_symbols if s in self._place}

    def template(self, formula: sp.Expr, i: int) -> sp.Expr | None:
        """The formula in a component of any number; None where it is about others than i."""
        return formula.xreplace(self._generic) if self.places(formula) <= {i} else None

    @staticmethod
    def common(templates: list[sp.Expr | None]) -> sp.Expr | None:
        """The one template of all components, if it is one."""
        return templates[0] if len(set(templates)) == 1 else None

    def without_sums(self, formula: sp.Basic) -> sp.Basic:
        """The formula with a symbol for every sum over all components."""
        if len(self.places(formula)) < self.size:
            return formula
        formula = formula.func(*map(self.without_sums, formula.args))
        if not formula.is_Add:
            return formula
        terms: dict[sp.Expr, dict[int, sp.Expr]] = {}
        for term in formula.args:
            about = self.places(term)
            if len(about) == 1:
                (i,) = about
                terms.setdefault(self.template(term, i), {})[i] = term
        for template, found in terms.items():
            if len(found) == self.size:
                if template not in self.sums:
                    self.sums[template] = self._symbol(f"total{len(self.sums)}")
                rest = [term for term in formula.args if term not in found.values()]
                formula = sp.Add(self.sums[template], *rest)
        return formula
