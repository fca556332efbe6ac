"""SymPy scalars as Python text over register tiles.

Every function that the tile runtime has is printed by its name; anything else is refused with the
name of the function, before anything is compiled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import count, islice

import sympy as sp
from sympy.printing.precedence import precedence
from sympy.printing.str import StrPrinter

from .. import functions
from ..errors import FormulaError
from ..functions import LARGEST_CHAIN, STRUCTURES, ScalarFunction
from ..sharing import parts, symbols_of
from ..tensors.scalars.offset import offset
from ..tensors.scalars.scaled import largest

__all__ = ["TilePrinter", "assignments", "check_printable", "split_assignments", "written_text"]

# Printed by structure.
_PRINTED = (*STRUCTURES, sp.Number, sp.NumberSymbol, sp.Symbol, offset, largest)
_LARGEST_PRODUCT = 4  # x**4 is printed as a product; larger integer powers by squaring
# Texts that are needed several times, and longer parts of others, get names.
_SHORT, _LONG = 32, 300
_CALL = re.compile(r"[a-z]\w*\(")


def check_printable(expression: sp.Expr, where: str) -> None:
    """Raise FormulaError that names the first function that no target prints.

    Parameters
    ----------
    expression : sympy.Expr
        What is to be printed.
    where : str
        What the expression is, for the message.
    """
    for part in parts(expression, within=_is_no_number):
        if not _is_no_number(part):
            continue  # printed as one number
        # Assumptions of numbers only: of a long sum they take milliseconds to find.
        not_real = isinstance(part, sp.Expr) and part.is_number and part.is_real is False
        if not_real or part in (sp.zoo, sp.nan, sp.oo, -sp.oo):
            raise FormulaError(where, f"the value {part}", "real, finite formulas")
        if not isinstance(part, _PRINTED):
            _entry(part, where)


def _is_no_number(part: sp.Basic) -> bool:
    number = isinstance(part, sp.Expr) and part.is_number and part.is_finite and part.is_real
    return not number


def _entry(part: sp.Basic, where: str) -> ScalarFunction:
    """What is known of a function; a FormulaError that names it if it is none of the table."""
    entry = functions.function_of(part)
    if entry is None:
        raise _no_such_function(where, part)
    if not entry.accepts(part):
        order = f"the order {part.args[entry.orders]} in {part}"
        raise FormulaError(where, order, "whole numbers from 0 to 8")
    return entry


def _no_such_function(where: str, part: sp.Basic) -> FormulaError:
    return FormulaError(
        where,
        f"the function {type(part).__name__} in {part}",
        ", ".join(functions.names()),
        "Rewrite the formula with these functions (expr.rewrite(sp.exp) often helps).",
    )


class TilePrinter(StrPrinter):
    """Prints a scalar expression; symbols by a table of names, numbers as floats.

    What depends on the target is in ``number``, ``call`` and ``choice``.

    Parameters
    ----------
    names : dict of Symbol to str
        Texts of the symbols.
    new_names : iterator of str, optional
        Names for parts of formulas: what a text holds several times, and long parts, so that texts
        grow with the number of operations.  Without it everything is one expression.

    Attributes
    ----------
    named : list of (str, str)
        New names and their texts, in the order in which they have to be computed.
    """

    def __init__(self, names: dict[sp.Symbol, str], new_names: Iterator[str] | None = None):
        super().__init__({"order": "lex"})
        self.names, self.new_names = names, new_names
        self.named: list[tuple[str, str]] = []
        self._depth = 0

    def name(self, text: str) -> str:
        """A new name for a text; the text in parentheses where there are no new names."""
        if self.new_names is None:
            return f"({text})"
        name = next(self.new_names)
        self.named.append((name, text))
        return name

    def repeated(self, text: str) -> str:
        """What stands for a text that is needed several times: a name, unless it is short."""
        if text.isidentifier() or (len(text) <= _SHORT and not _CALL.search(text)):
            return text
        found = self.name(text)
        return text if found.startswith("(") else found

    def taken_out(self) -> list[tuple[str, str]]:
        """The names that were made since the last call, with their texts."""
        found, self.named = self.named, []
        return found

    def number(self, value: float) -> str:
        """A number."""
        return repr(value)

    def call(self, name: str, *arguments: str) -> str:
        """A function of the tile runtime that is no scalar function of the table."""
        return f"{name}({', '.join(arguments)})"

    def apply(self, entry: ScalarFunction, arguments: list[str]) -> str:
        """A scalar function that the target has."""
        return self.call(entry.cpu, *arguments)

    def choice(self, condition: str, first: str, second: str) -> str:
        """One of two values."""
        return f"where({condition}, {first}, {second})"

    def _print_Symbol(self, expr):
        return self.names[expr]

    _print_Dummy = _print_Symbol

    def _print(self, expr, **kwargs):
        if isinstance(expr, sp.Expr) and expr.is_number and not expr.is_Atom:
            return self._print_Number(expr)  # 1/sqrt(pi): rounded once, here
        self._depth += 1
        if functions.function_of(expr) is not None:  # before SymPy's own methods
            text = self._print_Function(expr)
        else:
            text = super()._print(expr, **kwargs)
        self._depth -= 1
        inner = self._depth > 0 and self.new_names is not None and isinstance(expr, sp.Expr)
        return self.name(text) if inner and len(text) > _LONG else text

    def parenthesize(self, item, level, strict=False):
        """Names need no parentheses."""
        text = self._print(item)
        weak = precedence(item) < level or (not strict and precedence(item) <= level)
        return f"({text})" if weak and not text.isidentifier() else text

    def _print_Number(self, expr):
        value = float(expr)
        if not math.isfinite(value):
            raise FormulaError(
                "formula", f"the number {expr}", "numbers that double precision holds"
            )
        return self.number(value)

    _print_Integer = _print_Rational = _print_Float = _print_Half = _print_Number
    _print_One = _print_Zero = _print_NegativeOne = _print_NumberSymbol = _print_Number
    _print_Pi = _print_Exp1 = _print_EulerGamma = _print_GoldenRatio = _print_Number
    _print_Catalan = _print_TribonacciConstant = _print_Number

    def _print_Function(self, expr):
        # Also a derivative of what check_printable saw: DiracDelta of Max, for instance.
        entry = _entry(expr, "derivative of a formula")
        if entry.written is not None:
            return f"({self._print(functions.written_out(expr))})"
        return self.apply(entry, [self._print(arg) for arg in expr.args])

    def emptyPrinter(self, expr):
        """What no method prints: SymPy has methods of its own for some functions."""
        raise _no_such_function("formula", expr)

    def _print_largest(self, expr):
        return self._nested("maximum", expr.args)

    def _print_offset(self, expr):
        coordinate, center = expr.args
        return f"({self._print(coordinate)} - {self.parenthesize(center, 1000)})"

    def _print_Mul(self, expr):
        numerator, denominator = [], []
        for factor in expr.args:
            power = isinstance(factor, sp.Pow) and factor.exp.is_number and factor.exp < 0
            (denominator if power else numerator).append(1 / factor if power else factor)
        sign = ""
        if numerator and numerator[0].is_Number and numerator[0] == -1 and len(numerator) > 1:
            sign, numerator = "-", numerator[1:]
        weak = precedence(sp.Symbol("a") * sp.Symbol("b"))
        top = "*".join(self.parenthesize(f, weak) for f in numerator) or self.number(1.0)
        for factor in denominator:
            text = self._print(factor)
            bare = text.isidentifier() or factor.is_Function
            top += "/" + (text if bare else f"({text})")
        return sign + top

    def _print_Pow(self, expr, rational=False):
        base, exponent = expr.args
        if exponent == sp.Rational(1, 2):
            return self.call("sqrt", self._print(base))
        if exponent.is_number and exponent < 0:
            return f"{self.number(1.0)}/({self._print(base**-exponent)})"
        if exponent.is_Integer and exponent <= LARGEST_CHAIN:
            many = exponent > _LARGEST_PRODUCT
            return self._integer_power(self._factor(base, many), int(exponent))
        if exponent.is_Rational and exponent.q == 2:
            text, whole = self._factor(base), int(exponent - sp.Rational(1, 2))
            root = self.call("sqrt", text.removeprefix("(").removesuffix(")"))
            return f"{text if whole == 1 else self._integer_power(text, whole)}*{root}"
        return self.call("power", self._print(base), self._print(exponent))

    def _factor(self, base: sp.Expr, many: bool = False) -> str:
        """Text of what is multiplied by itself, maybe many times."""
        text = self._print(base)
        if many and self.new_names is not None and not text.isidentifier():
            return self.name(text)
        text = text if base.is_Symbol else self.repeated(text)
        return text if base.is_Symbol or text.isidentifier() else f"({text})"

    def _integer_power(self, text: str, exponent: int) -> str:
        if exponent <= _LARGEST_PRODUCT:
            return "(" + "*".join([text] * exponent) + ")"
        half = self._integer_power(text, exponent // 2)
        half = self.name(half) if len(half) > _SHORT else half
        return f"({half}*{half}" + (f"*{text})" if exponent % 2 else ")")

    def _print_Max(self, expr):
        return self._nested("maximum", expr.args)

    def _print_Min(self, expr):
        return self._nested("minimum", expr.args)

    def _nested(self, name, args):
        text = self._print(args[0])
        for arg in args[1:]:
            text = self.call(name, text, self._print(arg))
        return text

    def _print_Heaviside(self, expr):
        argument, at_zero = expr.args
        text_of = self.repeated(self._print(argument))
        half, sign = self.number(0.5), self.apply(functions.function_of("sign"), [text_of])
        text = f"({half} + {half}*{sign})"  # NaN stays NaN
        if at_zero == sp.Rational(1, 2):
            return text
        zero = f"{text_of} == {self.number(0.0)}"
        return self.choice(zero, self._print(at_zero), text)

    def _print_Piecewise(self, expr):
        *cases, last = expr.args
        if last.cond != sp.true:
            raise FormulaError("Piecewise", str(expr), "a last branch with the condition True")
        text = self._print(last.expr)
        for case in reversed(cases):
            text = self.choice(self._print(case.cond), self._print(case.expr), text)
        return text

    def _print_JumpSlope(self, expr):
        accepted = "formulas whose derivatives that are needed do not jump"
        raise FormulaError("derivative of a formula", "one that jumps", accepted)

    def _print_Relational(self, expr):
        return f"({self._print(expr.lhs)} {expr.rel_op} {self._print(expr.rhs)})"

    def _print_And(self, expr):
        return "(" + " & ".join(self._print(a) for a in sorted(expr.args, key=str)) + ")"

    def _print_Or(self, expr):
        return "(" + " | ".join(self._print(a) for a in sorted(expr.args, key=str)) + ")"


def assignments(
    expressions: list[sp.Expr], names: dict[sp.Symbol, str], prefix: str = "t", printer=TilePrinter
) -> tuple[list[tuple[str, str]], list[str]]:
    """Shared parts as (name, text) pairs, and the texts of the expressions themselves."""
    shared, reduced, printer = _shared(expressions, names, prefix, printer)
    lines, texts = [], []
    for symbol, expression in shared:
        text = printer.doprint(expression)
        lines += [*printer.taken_out(), (str(symbol), text)]
    for expression in reduced:
        texts.append(printer.doprint(expression))
        lines += printer.taken_out()
    return lines, texts


def split_assignments(
    expressions: list[sp.Expr], names: dict[sp.Symbol, str], varying: set, prefix: str, printer
) -> tuple[list[str], list[str], list[str]]:
    """Assignments of shared parts without and with varying symbols, and the texts."""
    shared, reduced, printer = _shared(expressions, names, prefix, printer)
    varying, fixed, moving, texts = set(varying), [], [], []
    for symbol, expression in [*shared, *((None, e) for e in reduced)]:
        moves = not varying.isdisjoint(symbols_of(expression))
        text = printer.doprint(expression)
        lines = [f"{name} = {part}" for name, part in printer.taken_out()]
        if symbol is None:
            texts.append(text)
        else:
            varying |= {symbol} if moves else set()
            lines.append(f"{symbol} = {text}")
        (moving if moves else fixed).extend(lines)
    return fixed, moving, texts


def written_text(
    write: Callable[[str], None],
    expression: sp.Expr,
    names: dict[sp.Symbol, str],
    prefix: str,
    printer=TilePrinter,
) -> str:
    """The text of one formula; statements that it needs, if there are any, are written first."""
    if _is_small(expression):
        how = printer(names, (f"{prefix}{n}" for n in count()))
        text, lines = how.doprint(expression), how.taken_out()
    else:
        lines, (text,) = assignments([expression], names, prefix, printer)
    for name, line in lines:
        write(f"{name} = {line}")
    return text


def _is_small(expression: sp.Expr) -> bool:
    """Whether nothing in an expression is worth a search for shared parts."""
    found = list(islice(sp.preorder_traversal(expression), _SHORT + 1))
    entries = (functions.function_of(part) for part in found)
    return len(found) <= _SHORT and not any(entry and entry.written for entry in entries)


def _shared(expressions, names, prefix: str, printer):
    symbols = sp.numbered_symbols(prefix, real=True)
    expressions = [functions.written_out(e) for e in expressions]
    shared, reduced = sp.cse(expressions, symbols=symbols, order="none")
    names = {**names, **{symbol: str(symbol) for symbol, _ in shared}}
    free = (str(symbol) for symbol in symbols)  # those that are left
    return shared, reduced, printer(names, free)
