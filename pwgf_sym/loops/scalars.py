"""SymPy scalars as expressions over register tiles.

Every function that targets have becomes an ``Apply`` of its entry; anything else is refused with
the name of the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import NoReturn, Protocol

import sympy as sp
from sympy.printing.precedence import precedence
from sympy.printing.printer import Printer

from .. import functions
from ..errors import FormulaError
from ..functions import LARGEST_CHAIN, ScalarFunction
from ..sharing import symbols_of
from ..tensors.scalars.offset import offset
from ..tensors.scalars.scaled import largest
from .nodes import (
    Apply,
    Binary,
    Call,
    Choice,
    Expression,
    Group,
    Integer,
    Let,
    Name,
    Negative,
    Not,
    Number,
    product_of,
)
from .printable import checked_entry, no_such_function

__all__ = ["Spelling", "assignments", "split_assignments", "written"]

_LARGEST_PRODUCT = 4  # x**4 is a product; larger integer powers are made by squaring
# What is needed several times, and longer parts of others, get names; in characters.
_SHORT, _LONG = 32, 300

Names = Mapping[sp.Symbol, Expression]


class Spelling(Protocol):
    """What the expressions of a formula depend on, of the target that prints them."""

    def length(self, expression: Expression) -> int:
        """Characters of an expression."""

    def calls(self, expression: Expression) -> bool:
        """Whether an expression calls functions."""

    def repeated(self, function: str) -> tuple[bool, ...]:
        """Which arguments of a function its text holds several times; none if it is empty."""

    def is_call(self, function: str) -> bool:
        """Whether the text of a function is a call, so that it needs no parentheses anywhere."""

    def leading_minus(self, number: Number) -> bool:
        """Whether the text of a number begins with a minus."""


class _Builder(Printer):
    """From a scalar formula to an expression; SymPy's printers find the method of a node.

    Parameters
    ----------
    names : mapping of Symbol to Expression
        What stands for the symbols.
    spelling : Spelling
    new_names : iterator of str, optional
        Names for parts of formulas: what a text holds several times, and long parts, so that texts
        grow with the number of operations.  Without it everything is one expression.

    Attributes
    ----------
    named : list of Let
        New names and what they stand for, in the order in which they have to be computed.
    """

    printmethod = "_no_method_of_nodes"

    def __init__(self, names: Names, spelling: Spelling, new_names: Iterator[str] | None = None):
        super().__init__()
        self.names, self.spelling, self.new_names = names, spelling, new_names
        self.named: list[Let] = []
        self._depth = 0

    def build(self, expression: sp.Expr) -> Expression:
        """The expression of a formula."""
        return self._print(expression)

    def name(self, value: Expression) -> Expression:
        """A new name for a value; the value in parentheses where there are no new names."""
        if self.new_names is None:
            return Group(value)
        name = next(self.new_names)
        self.named.append(Let(name, value))
        return Name(name)

    def repeated(self, value: Expression) -> Expression:
        """What stands for a value that is needed several times: a name, unless it is short."""
        if isinstance(value, Name) or self.new_names is None:
            return value
        if self.spelling.length(value) <= _SHORT and not self.spelling.calls(value):
            return value
        return self.name(value)

    def taken_out(self) -> list[Let]:
        """The names that were made since the last call."""
        found, self.named = self.named, []
        return found

    def call(self, function: str, *arguments: Expression) -> Expression:
        """A function of the tile runtime that is no scalar function of the table."""
        again = self.spelling.repeated(function) or (False,) * len(arguments)
        found = [self.repeated(a) if r else a for a, r in zip(arguments, again, strict=True)]
        return Call(function, tuple(found))

    def apply(self, entry: ScalarFunction, *arguments: Expression) -> Expression:
        """A scalar function that the target has."""
        again = self.spelling.repeated(entry.name) or (False,) * len(arguments)
        found = [self.repeated(a) if r else a for a, r in zip(arguments, again, strict=True)]
        return Apply(entry.name, tuple(found))

    # -- one method a node of SymPy's trees ----------------------------------------------------

    def _print(self, expr: sp.Basic | int, **kwargs: object) -> Expression:
        if isinstance(expr, sp.Expr) and expr.is_number and not expr.is_Atom:
            return self._print_Number(expr)  # 1/sqrt(pi): rounded once, here
        self._depth += 1
        if functions.function_of(expr) is not None:  # before SymPy's own methods
            found = self._print_Function(expr)
        else:
            found = super()._print(expr, **kwargs)
        self._depth -= 1
        inner = self._depth > 0 and self.new_names is not None and isinstance(expr, sp.Expr)
        return self.name(found) if inner and self.spelling.length(found) > _LONG else found

    def _print_Symbol(self, expr: sp.Symbol) -> Expression:
        return self.names[expr]

    _print_Dummy = _print_Symbol

    def _print_Number(self, expr: sp.Expr) -> Expression:
        value = float(expr)
        if not math.isfinite(value):
            raise FormulaError(
                "formula", f"the number {expr}", "numbers that double precision holds"
            )
        return Number(value)

    _print_NumberSymbol = _print_Number

    def _print_int(self, expr: int) -> Expression:
        return Integer(expr)

    def _print_Function(self, expr: sp.Expr) -> Expression:
        # Also a derivative of what check_printable saw: DiracDelta of Max, for instance.
        entry = checked_entry(expr, "derivative of a formula")
        if entry.written is not None:
            return Group(self._print(functions.written_out(expr)))
        return self.apply(entry, *(self._print(arg) for arg in expr.args))

    def emptyPrinter(self, expr: sp.Basic) -> NoReturn:
        """What no method prints: SymPy has methods of its own for some functions."""
        raise no_such_function("formula", expr)

    def _within(self, item: sp.Expr, level: int, strict: bool = False) -> Expression:
        """A part in parentheses where it binds less; names need none."""
        found = self._print(item)
        weak = precedence(item) < level or (not strict and precedence(item) <= level)
        return Group(found) if weak and not isinstance(found, Name) else found

    def _print_Add(self, expr: sp.Add) -> Expression:
        level = precedence(expr)
        terms = [self._signed(term, level) for term in expr.as_ordered_terms(order="lex")]
        (sign, total), *rest = terms
        total = total if sign == "+" else Negative(total)
        for sign, value in rest:
            total = Binary(sign, total, value)
        return total

    def _signed(self, term: sp.Expr, level: int) -> tuple[str, Expression]:
        """The sign of a sum's term, and the term without it."""
        value, sign = self._print(term), "+"
        positive = None if term.is_Add else self._without_minus(value)
        if positive is not None:
            value, sign = positive, "-"
        return sign, Group(value) if precedence(term) < level or term.is_Add else value

    def _without_minus(self, value: Expression) -> Expression | None:
        """The same without the minus that it begins with; None where there is none."""
        match value:
            case Negative(inner):
                return inner
            case Number(number) if self.spelling.leading_minus(value):
                return Number(-number)
            case Binary(operator, left, right):
                found = self._without_minus(left)
                return None if found is None else Binary(operator, found, right)
        return None

    def _print_Mul(self, expr: sp.Mul) -> Expression:
        numerator: list[sp.Expr] = []
        denominator: list[sp.Expr] = []
        for factor in expr.args:
            power = isinstance(factor, sp.Pow) and factor.exp.is_number and factor.exp < 0
            (denominator if power else numerator).append(1 / factor if power else factor)
        minus = bool(numerator) and numerator[0].is_Number and numerator[0] == -1
        minus = minus and len(numerator) > 1
        weak = precedence(sp.Symbol("a") * sp.Symbol("b"))
        factors = [self._within(f, weak) for f in numerator[minus:]]
        total = product_of(factors or [Number(1.0)])
        for factor in denominator:
            value = self._print(factor)
            bare = isinstance(value, Name) or factor.is_Function
            total = Binary("/", total, value if bare else Group(value))
        return Negative(total) if minus else total

    def _print_Pow(self, expr: sp.Pow, rational: bool = False) -> Expression:
        base, exponent = expr.args
        if exponent == sp.Rational(1, 2):
            return self.call("sqrt", self._print(base))
        if exponent.is_number and exponent < 0:
            return Binary("/", Number(1.0), Group(self._print(base**-exponent)))
        if exponent.is_Integer and exponent <= LARGEST_CHAIN:
            many = exponent > _LARGEST_PRODUCT
            return self._integer_power(self._factor(base, many), int(exponent))
        if exponent.is_Rational and exponent.q == 2:
            factor, whole = self._factor(base), int(exponent - sp.Rational(1, 2))
            root = self.call("sqrt", factor.value if isinstance(factor, Group) else factor)
            first = factor if whole == 1 else self._integer_power(factor, whole)
            return Binary("*", first, root)
        return self.call("power", self._print(base), self._print(exponent))

    def _factor(self, base: sp.Expr, many: bool = False) -> Expression:
        """What is multiplied by itself, maybe many times."""
        value = self._print(base)
        if many and self.new_names is not None and not isinstance(value, Name):
            return self.name(value)
        value = value if base.is_Symbol else self.repeated(value)
        return value if base.is_Symbol or isinstance(value, Name) else Group(value)

    def _integer_power(self, factor: Expression, exponent: int) -> Expression:
        if exponent <= _LARGEST_PRODUCT:
            return Group(product_of([factor] * exponent))
        half = self._integer_power(factor, exponent // 2)
        half = self.name(half) if self.spelling.length(half) > _SHORT else half
        return Group(product_of([half, half, *([factor] if exponent % 2 else [])]))

    def _print_Max(self, expr: sp.Max) -> Expression:
        return self._nested("maximum", expr.args)

    def _print_Min(self, expr: sp.Min) -> Expression:
        return self._nested("minimum", expr.args)

    def _print_largest(self, expr: largest) -> Expression:
        return self._nested("maximum", expr.args)

    def _nested(self, function: str, arguments: tuple[sp.Expr, ...]) -> Expression:
        found = self._print(arguments[0])
        for argument in arguments[1:]:
            found = self.call(function, found, self._print(argument))
        return found

    def _print_offset(self, expr: offset) -> Expression:
        coordinate, center = expr.args
        return Group(Binary("-", self._print(coordinate), self._within(center, 1000)))

    def _print_Heaviside(self, expr: sp.Heaviside) -> Expression:
        argument, at_zero = expr.args
        value = self.repeated(self._print(argument))
        sign = self.apply(functions.entry_of("sign"), value)
        half = Number(0.5)
        step = Group(Binary("+", half, Binary("*", half, sign)))  # NaN stays NaN
        if at_zero == sp.Rational(1, 2):
            return step
        return Choice(Binary("==", value, Number(0.0)), self._print(at_zero), step)

    def _print_Piecewise(self, expr: sp.Piecewise) -> Expression:
        *cases, last = expr.args
        if last.cond != sp.true:
            raise FormulaError("Piecewise", str(expr), "a last branch with the condition True")
        found = self._print(last.expr)
        for case in reversed(cases):
            found = Choice(self._print(case.cond), self._print(case.expr), found)
        return found

    def _print_JumpSlope(self, expr: sp.Expr) -> NoReturn:
        accepted = "formulas whose derivatives that are needed do not jump"
        raise FormulaError("derivative of a formula", "one that jumps", accepted)

    def _print_Relational(self, expr: sp.Basic) -> Expression:
        return Group(Binary(expr.rel_op, self._print(expr.lhs), self._print(expr.rhs)))

    def _print_And(self, expr: sp.And) -> Expression:
        return self._joined("and", expr)

    def _print_Or(self, expr: sp.Or) -> Expression:
        return self._joined("or", expr)

    def _joined(self, operator: str, expr: sp.Basic) -> Expression:
        first, *rest = (self._print(a) for a in sorted(expr.args, key=str))
        for value in rest:
            first = Binary(operator, first, value)
        return Group(first)

    def _print_Not(self, expr: sp.Not) -> Expression:
        return Not(self._print(expr.args[0]))

    def _print_BooleanTrue(self, expr: sp.Basic) -> Expression:
        return Name("True")

    def _print_BooleanFalse(self, expr: sp.Basic) -> Expression:
        return Name("False")


def assignments(
    expressions: list[sp.Expr], names: Names, prefix: str, spelling: Spelling
) -> tuple[list[Let], list[Expression]]:
    """Shared parts, and the expressions themselves."""
    shared, reduced, builder = _shared(expressions, names, prefix, spelling)
    lines: list[Let] = []
    found = []
    for symbol, expression in shared:
        value = builder.build(expression)
        lines += [*builder.taken_out(), Let(str(symbol), value)]
    for expression in reduced:
        found.append(builder.build(expression))
        lines += builder.taken_out()
    return lines, found


def split_assignments(
    expressions: list[sp.Expr],
    names: Names,
    varying: set[sp.Symbol],
    prefix: str,
    spelling: Spelling,
) -> tuple[list[Let], list[Let], list[Expression]]:
    """Assignments of shared parts without and with varying symbols, and the expressions."""
    shared, reduced, builder = _shared(expressions, names, prefix, spelling)
    varying = set(varying)
    fixed: list[Let] = []
    moving: list[Let] = []
    found = []
    for symbol, expression in [*shared, *((None, e) for e in reduced)]:
        moves = not varying.isdisjoint(symbols_of(expression))
        value = builder.build(expression)
        lines = builder.taken_out()
        if symbol is None:
            found.append(value)
        else:
            varying |= {symbol} if moves else set()
            lines.append(Let(str(symbol), value))
        (moving if moves else fixed).extend(lines)
    return fixed, moving, found


def written(
    write: Callable[[Let], None],
    expression: sp.Expr,
    names: Names,
    prefix: str,
    spelling: Spelling,
) -> Expression:
    """One formula; statements that it needs, if there are any, are written first."""
    if _is_small(expression):
        builder = _Builder(names, spelling, (f"{prefix}{n}" for n in count()))
        found, lines = builder.build(expression), builder.taken_out()
    else:
        lines, (found,) = assignments([expression], names, prefix, spelling)
    for line in lines:
        write(line)
    return found


def _is_small(expression: sp.Expr) -> bool:
    """Whether nothing in an expression is worth a search for shared parts."""
    found = list(islice(sp.preorder_traversal(expression), _SHORT + 1))
    entries = (functions.function_of(part) for part in found)
    return len(found) <= _SHORT and not any(entry and entry.written for entry in entries)


def _shared(
    expressions: Iterable[sp.Expr], names: Names, prefix: str, spelling: Spelling
) -> tuple[list[tuple[sp.Symbol, sp.Expr]], list[sp.Expr], _Builder]:
    """Shared parts by symbol, the expressions in them, and what makes expressions of both."""
    symbols = sp.numbered_symbols(prefix, real=True)
    expressions = [functions.written_out(e) for e in expressions]
    shared, reduced = sp.cse(expressions, symbols=symbols, order="none")
    names = {**names, **{symbol: Name(str(symbol)) for symbol, _ in shared}}
    free = (str(symbol) for symbol in symbols)  # those that are left
    return shared, reduced, _Builder(names, spelling, free)
