"""Energies: integrals over the density, as SymPy expressions.

An energy is any SymPy expression of :class:`EnergyIntegral` objects and parameters, for example
``integral(V*rho, x) + sqrt(integral(rho**2, x))``; :mod:`.energy_checks` says whether the package
can derive it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import sympy as sp
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from ..arguments import checked_call
from ..errors import EnergyError
from ..sharing import is_long, replaced
from .formula_checks import check_formula
from .indexed import free_scalars, renamed_copies, without_indices
from .matrices import scalar_formula
from .periods import renamed
from .symbols import Density, as_copy

if TYPE_CHECKING:
    from sympy.printing.latex import LatexPrinter
    from sympy.printing.pretty.pretty import PrettyPrinter
    from sympy.printing.pretty.stringpict import prettyForm

__all__ = [
    "SIGN",
    "EnergyIntegral",
    "integral",
    "integral_sign",
    "ordered_integrals",
    "short_text",
    "unicode_text",
]

SIGN = "\N{INTEGRAL}"


class EnergyIntegral(sp.Expr):
    """The integral of a formula over one to three copies of the space; made by :func:`integral`.

    Behaves as a real number in SymPy: it can be added, multiplied, raised to powers, put into
    functions and differentiated by parameters.  The integrated coordinates are bound:
    substitutions do not reach them, and a substitution that would capture one renames it.

    Attributes
    ----------
    integrand : Expr
    copies : tuple of tuples of Symbol
        The integrated copies of the space, one to three.
    """

    is_commutative = True
    is_real = True
    precedence = PRECEDENCE["Mul"]

    def __new__(cls, integrand: sp.Expr, *copies: Iterable[sp.Symbol]) -> sp.Expr:
        integrand = sp.sympify(integrand, strict=True)
        if integrand == 0:
            return sp.S.Zero
        return super().__new__(cls, integrand, *(sp.Tuple(*copy) for copy in copies))

    @property
    def integrand(self) -> sp.Expr:
        return self.args[0]

    @property
    def copies(self) -> tuple[tuple[sp.Symbol, ...], ...]:
        return tuple(tuple(copy) for copy in self.args[1:])

    @property
    def bound_symbols(self) -> list[sp.Symbol]:
        return [symbol for copy in self.copies for symbol in copy]

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        return free_scalars(self.integrand) - set(self.bound_symbols)

    @property
    def _diff_wrt(self) -> bool:
        # Lets E.diff(E1) work: the outer derivative of the chain rule.
        return True

    def over(self, *copies: Sequence[sp.Symbol]) -> EnergyIntegral:
        """The same integral with its copies of the space called otherwise."""
        new_symbols = [symbol for copy in copies for symbol in copy]
        names: dict[sp.Basic, sp.Basic] = dict(zip(self.bound_symbols, new_symbols, strict=True))
        for old, new in zip(self.copies, copies, strict=True):
            names |= renamed_copies(old, new)
        return EnergyIntegral(self.integrand.xreplace(names), *copies)

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        # SymPy asks only about free symbols: a bound one has the derivative 0 before this.
        return EnergyIntegral(self.integrand.diff(symbol), *self.copies)

    def _eval_subs(self, old: sp.Basic, new: sp.Basic) -> sp.Expr:
        inner = ordered_integrals(self.integrand)
        if isinstance(old, Density) and any(old.args in term.copies for term in (self, *inner)):
            return self._with_density(old, new)
        bound = set(self.bound_symbols)
        if old.free_symbols & bound:
            return self
        if new.free_symbols & bound:
            used = {s.name for s in self.integrand.free_symbols | new.free_symbols}
            return self._renamed_away_from(used)._subs(old, new)
        return EnergyIntegral(self.integrand._subs(old, new), *self.copies)

    def _with_density(self, density: Density, formula: sp.Expr) -> sp.Expr:
        """Put a formula in the place of the density, at every integrated copy."""
        inner = {t: t._with_density(density, formula) for t in ordered_integrals(self.integrand)}
        integrand = replaced(self.integrand, inner)
        for copy in self.copies:
            at_copy = formula.xreplace(dict(zip(density.args, copy, strict=True)))
            integrand = integrand._subs(density.func(*copy), at_copy)
        return EnergyIntegral(integrand, *self.copies)

    def _renamed_away_from(self, names: set[str]) -> EnergyIntegral:
        suffix = "_"
        while any(s.name + suffix in names for s in self.bound_symbols):
            suffix += "_"
        copies = [[renamed(s, s.name + suffix) for s in c] for c in self.copies]
        return self.over(*copies)

    def _xreplace(self, rule: Mapping[sp.Basic, sp.Basic]) -> tuple[sp.Basic, bool]:
        if self in rule or not isinstance(rule, dict):
            return super()._xreplace(rule)
        if any(isinstance(old, Density) and old.args in self.copies for old in rule):
            # SymPy's E.diff(rho) comes here too, and would answer 0.
            fix = "Use first_variation(E, rho), or E.subs(rho, formula)."
            raise EnergyError("energy", "a derivative or replacement of rho", "subs", fix)
        bound = set(self.bound_symbols)
        visible = {old: new for old, new in rule.items() if not bound & old.free_symbols}
        if any(
            bound & new.free_symbols for new in visible.values() if hasattr(new, "free_symbols")
        ):
            names = {s.name for e in (*visible, *visible.values(), self) for s in e.free_symbols}
            return self._renamed_away_from(names)._xreplace(visible)
        integrand, changed = self.integrand._xreplace(visible)
        return (EnergyIntegral(integrand, *self.copies), True) if changed else (self, False)

    def _differentials(self) -> list[sp.Symbol]:
        named = [as_copy(copy, "copy") for copy in self.copies]
        groups = [[sp.Symbol(c.name)] if c.name and len(c) > 1 else list(c) for c in named]
        return [symbol for group in groups for symbol in group]

    def _sympystr(self, printer: StrPrinter) -> str:
        differentials = " ".join(f"d{symbol.name}" for symbol in self._differentials())
        sign = SIGN if isinstance(printer, _UnicodePrinter) else integral_sign()
        return f"{sign * len(self.copies)}({printer._print(self.integrand)}) {differentials}"

    def _pretty(self, printer: PrettyPrinter) -> prettyForm:
        return printer._print(sp.Integral(self.integrand, *self._differentials()))

    def _latex(self, printer: LatexPrinter) -> str:
        return printer._print(sp.Integral(self.integrand, *self._differentials()))


def integral_sign() -> str:
    """The integral sign, or the word where the standard output cannot print it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        SIGN.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return "int "
    return SIGN


class _UnicodePrinter(StrPrinter):
    """SymPy's printer, for texts that go into files in UTF-8."""

    def __init__(self, names: Mapping[sp.Basic, str]):
        super().__init__()
        self.names = names

    def _print(self, expr: sp.Basic, **settings: object) -> str:
        found = self.names.get(expr)
        return super()._print(expr, **settings) if found is None else found


def unicode_text(expr: sp.Basic, names: Mapping[sp.Basic, str] | None = None) -> str:
    """The text of a formula with integral signs, whatever the standard output can print.

    ``names`` has the texts of parts.
    """
    return _UnicodePrinter(names or {}).doprint(expr)


@checked_call
def integral(expr: sp.Expr | float, *copies: Sequence[sp.Symbol]) -> EnergyIntegral:
    """The integral of a formula over one copy of the space, over two, or over three.

    ``integral(f, x)`` is int f(x, rho(x)) dx and ``integral(f, x, y)`` the double integral,
    whose integrand is W(x, y) rho(x) rho(y) in an energy; that of ``integral(f, x, y, z)`` is
    W(x, y, z) rho(x) rho(y) rho(z).  An integral over one copy may hold
    convolutions, ``integral(rho*sp.log(integral(K*rho.at(y), y)), x)``.  A sum over coordinates,
    ``sp.Sum(x[i]**2, (i, 0, d - 1))``, is written out.  A sum over data,
    ``sp.Sum(f(A[n, 0], x[0]), (n, 0, N - 1))`` with an ``sp.IndexedBase`` A, stays a sum: the
    problem is given an array for A, and may be given another one without compiling anew.

    Parameters
    ----------
    expr : Expr or number
        The integrand, in the coordinates, the density and parameters.
    *copies : one to three Coordinates, or sequences of d real symbols
        The copies of the space that are integrated over.

    Returns
    -------
    EnergyIntegral

    Raises
    ------
    EnergyError
        If the integrand is no SymPy expression, an index is out of range or left symbolic, or
        the copies share symbols or differ in dimension.
    """
    if len(copies) not in (1, 2, 3):
        accepted = "integral(f, x), integral(f, x, y) or integral(f, x, y, z)"
        raise EnergyError("integral", f"{len(copies)} copies", accepted)
    spaces = [as_copy(copy, "copy of the space") for copy in copies]
    symbols = {symbol for space in spaces for symbol in space}
    if len(spaces) > 1 and not (
        len({len(space) for space in spaces}) == 1 and len(symbols) == len(spaces) * len(spaces[0])
    ):
        accepted = "copies of one dimension without a common symbol"
        fix = "Use y = copy_of(x)" + (", and z = copy_of(y)." if len(spaces) > 2 else ".")
        raise EnergyError("integral", [tuple(s) for s in spaces], accepted, fix)
    integrand = scalar_formula(expr, "integrand")
    check_formula(integrand, "integrand")
    if integrand.has(sp.Sum, sp.Product, sp.Indexed):
        inner = [c for term in ordered_integrals(integrand) for c in term.copies]
        spaces_inside = [as_copy(copy, "copy of the space") for copy in inner]
        integrand = without_indices(integrand, [*spaces, *spaces_inside])
    return EnergyIntegral(integrand, *spaces)


def ordered_integrals(energy: sp.Expr) -> list[EnergyIntegral]:
    """The distinct integrals of an energy, outermost only, in the order of the formula."""
    found: dict[EnergyIntegral, None] = {}
    walk = sp.preorder_traversal(energy)
    for node in walk:
        if isinstance(node, EnergyIntegral):
            found[node] = None
            walk.skip()
    return list(found)


def short_text(expr: object, width: int = 80) -> str:
    """A formula as text, cut to `width`; printing a formula of thousands of nodes is slow."""
    if isinstance(expr, EnergyIntegral) and _is_long(expr):
        copies = " ".join(f"d{symbol}" for symbol in expr._differentials())
        return f"{integral_sign() * len(expr.copies)}(...) {copies}"
    text = f"{type(expr).__name__} of many terms" if _is_long(expr) else str(expr)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _is_long(expr: object, nodes: int = 300) -> bool:
    if not isinstance(expr, sp.Basic):
        return False
    return is_long(expr, nodes)
