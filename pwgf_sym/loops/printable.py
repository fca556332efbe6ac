"""Which formulas targets print: what is none of them is refused before anything is compiled."""

from __future__ import annotations

import sympy as sp

from .. import functions
from ..errors import FormulaError
from ..functions import STRUCTURES, ScalarFunction
from ..sharing import parts
from ..tensors.scalars.offset import offset
from ..tensors.scalars.scaled import largest

__all__ = ["check_printable", "checked_entry", "no_such_function"]

# Printed by structure.
_PRINTED = (*STRUCTURES, sp.Number, sp.NumberSymbol, sp.Symbol, offset, largest)


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
            checked_entry(part, where)


def _is_no_number(part: sp.Basic) -> bool:
    number = isinstance(part, sp.Expr) and part.is_number and part.is_finite and part.is_real
    return not number


def checked_entry(part: sp.Basic, where: str) -> ScalarFunction:
    """What is known of a function; a FormulaError that names it if it is none of the table."""
    entry = functions.function_of(part)
    if entry is None:
        raise no_such_function(where, part)
    if not entry.accepts(part):
        order = f"the order {part.args[entry.orders]} in {part}"
        raise FormulaError(where, order, "whole numbers from 0 to 8")
    return entry


def no_such_function(where: str, part: sp.Basic) -> FormulaError:
    """The error for a function that is none of the table."""
    kind = type(part)
    if isinstance(part, sp.Derivative) and functions.function_of(part.expr) is not None:
        given = f"{part}, which its class does not know"
        fix = "Define the class again with a method fdiff, or declare it with early=True."
        return FormulaError(where, given, "functions with known derivatives", fix)
    fix = "Rewrite the formula with these functions (expr.rewrite(sp.exp) often helps)."
    package = (kind.__module__ or "sympy").split(".")[0]  # sp.Function("f") is of no module
    if isinstance(part, sp.Function) and package not in ("sympy", "pwgf_sym"):
        fix = f"Declare it: pwgf_sym.functions.declare({kind.__name__}, written=...)."
    given = f"the function {kind.__name__} in {part}"
    return FormulaError(where, given, ", ".join(functions.names()), fix)
