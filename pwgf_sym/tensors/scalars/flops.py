"""Floating-point operations of scalar expressions.

A fused multiply-add counts as two operations, a division and a square root as one, an elementary
function as many as its vector code takes (``functions.py``).
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy as sp

from ...functions import LARGEST_CHAIN, function_of, written_out

__all__ = ["expression_flops"]

_POWER = (70, 50)  # operations of a real power in float64 and float32


def expression_flops(expressions: Iterable[sp.Expr], dtype: str) -> int:
    """Operations of SymPy scalars, common subexpressions computed once.

    Parameters
    ----------
    expressions : sequence of sympy.Expr
        Scalars that are computed together.
    dtype : {"float64", "float32"}
        Precision, on which the length of the functions depends.
    """
    shared, reduced = sp.cse([written_out(e) for e in expressions], order="none")
    found = [e for _, e in shared] + list(reduced)
    return sum(_own_flops(part, dtype) for e in found for part in sp.preorder_traversal(e))


def _own_flops(part: sp.Basic, dtype: str) -> int:
    """Operations of the outermost operation of an expression."""
    if isinstance(part, sp.Add):
        return len(part.args) - 1
    if isinstance(part, sp.Mul):
        return len(part.args) - 1 - (part.args[0] == -1)
    single = dtype == "float32"
    if isinstance(part, sp.Pow):
        exponent = part.exp
        if exponent.is_Integer and exponent <= LARGEST_CHAIN:  # by squaring, and one division
            n = abs(int(exponent))
            return n.bit_length() - 1 + bin(n).count("1") - 1 + bool(exponent < 0)
        if exponent.is_Rational and exponent.q == 2:
            return 1 + abs(exponent.p) // 2
        return _POWER[single]
    if isinstance(part, sp.Function):
        entry = function_of(part)
        return entry.operations[single] if entry else 0
    return 0
