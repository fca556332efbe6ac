"""Names of what a formula reads: Python identifiers, distinct, and no name of the kernel's own."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

import sympy as sp

from ..functions import runtime_names
from ..kernels.energies import FormulaKernel
from .nodes import Name

__all__ = ["formula_names", "prefix"]

# Names that kernels use besides their arguments and the functions of formulas.
_WORDS = (
    *("x", "w", "own", "other", "share", "tile", "acc", "i", "j", "np", "njit", "weight", "range"),
    *("load", "store", "zeros", "fma", "where", "power", "sqrt", "maximum", "minimum", "aligned"),
    *("lane_index", "add_lane_sums", "spread", "row_sum", "OPTIONS", "DTYPE", "SUMS", "scale"),
    *("low", "high", "begin", "end", "whole", "size", "room", "number", "times", "n", "min", "max"),
    *("point", "moved", "acc0", "acc1", "first", "last", "lane", "start", "gap", "factor", "tiles"),
    *("cuda", "math", "at", "OWN", "PULL", "PARTNERS", "ROOM", "block_sum", "forms", "values"),
)
# What names of sums and of arrays begin with.
_PREFIXES = ("mean", "sum", "pull", "F")


def formula_names(kernel: FormulaKernel, arguments: Iterable[str]) -> dict[sp.Symbol, Name]:
    """Variables of a kernel's symbols."""
    names = {s: s.name for s in kernel.values}
    for symbols in (*kernel.reads.values(), kernel.partner_symbols):
        names.update({s: s.name for s in symbols})
    for form in kernel.forms:
        names.update({s: s.name for s in form.symbols})
    forms = [n for form in kernel.forms for n in (form.name, f"{form.name}_CENTER")]
    if kernel.distance is not None:
        names[kernel.distance] = kernel.distance.name
    if kernel.rolled is not None:
        sums = [symbol for symbol, _ in kernel.rolled.sums]
        names.update({s: s.name for s in (*kernel.rolled.components.values(), *sums)})
    safe = _safe(names, [*arguments, *forms])
    return {symbol: Name(name) for symbol, name in safe.items()}


def prefix(names: dict[sp.Symbol, Name], number: int = 0) -> str:
    """What names of common subexpressions begin with, in one of several places."""
    found = "t" + "_" * number
    taken = [name.name for name in names.values()]
    while any(n.startswith(found) and n[len(found) :].isdigit() for n in taken):
        found += "_" * (number + 1)
    return found


def _safe(names: dict[sp.Symbol, str], reserved: list[str]) -> dict[sp.Symbol, str]:
    words = {*_WORDS, *runtime_names(), *reserved}
    taken: set[str] = set()
    found = {}
    for symbol, name in names.items():
        clean = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
        if not clean or clean[0].isdigit() or clean.startswith(_PREFIXES):
            clean = "p_" + clean
        while clean in taken or clean in words or keyword.iskeyword(clean):
            clean += "_"
        taken.add(clean)
        found[symbol] = clean
    return found
