"""SymPy expressions as JSON-able nested lists, and back.

A tree is ``[head, ...]``: the head is a string from a fixed table, and what follows are trees,
or plain strings and integers for the leaves:

    ["Integer", "3"]   ["Rational", "1", "3"]   ["Float", sign, mantissa, exponent, bits]
    ["Symbol", "beta", {"positive": true}]       ["pi"]
    ["Add", tree, tree, ...]   ["exp", tree]     ["Density", "rho", tree, ...]

Reading builds only objects of the table; no text is evaluated.  Sums, products and powers are
rebuilt as they were, unevaluated, so the result equals what was stored.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from typing import TypeAlias, Union

import sympy as sp
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from ..errors import EnergyError, FormulaError, StoredSolutionError
from ..functions import STRUCTURES, function_of
from .energies import EnergyIntegral
from .periods import PeriodicSymbol, period_of
from .symbols import Density

__all__ = ["check_powers", "from_portable", "from_tree", "portable", "to_tree"]

#: The head, and what belongs to it.
Tree: TypeAlias = list[Union[str, int, dict[str, bool], "Tree"]]

_CONSTANTS = {
    "pi": sp.pi,
    "Exp1": sp.E,
    "EulerGamma": sp.EulerGamma,
    "GoldenRatio": sp.GoldenRatio,
    "Catalan": sp.Catalan,
    "Infinity": sp.oo,
    "NegativeInfinity": -sp.oo,
    "true": sp.true,
    "false": sp.false,
}

# Heads beside the functions of the table.  What takes the option `evaluate` is rebuilt without
# evaluation: the result equals the stored expression, and no stored text can start a long
# computation such as 10**10**10.
_CONSTANT_KINDS = (BooleanTrue, BooleanFalse)
_SUMS = (sp.Sum, sp.Product, sp.Indexed)
_PLAIN = (sp.And, sp.Or, sp.Not, ExprCondPair, sp.Tuple, sp.Derivative, EnergyIntegral, *_SUMS)
_STRUCTURES = {cls.__name__: cls for cls in (*STRUCTURES, *_PLAIN) if cls not in _CONSTANT_KINDS}
_ASSUMPTIONS = frozenset(sp.Symbol("s", positive=True, integer=True).assumptions0) | {
    *("prime", "composite", "even", "odd", "irrational", "noninteger", "polar", "antihermitian"),
    *("transcendental",),
}
# Bits and exponents of numbers beyond this are nothing that a formula of doubles has.
_MOST_BITS = 10**5
_LARGEST_EXPONENT = 10**6
_NOT_STORED = "numbers, symbols, densities, energy integrals and the functions of formulas"


def to_tree(expr: sp.Basic) -> Tree:
    """An expression as nested lists of strings, integers and booleans.

    Parameters
    ----------
    expr : SymPy expression or relation
        Any formula that the package accepts, also energies.

    Returns
    -------
    list
        JSON-able; :func:`from_tree` gives an equal expression.

    Raises
    ------
    FormulaError
        Naming the object that cannot be stored.
    """
    expr = sp.sympify(expr, strict=True)
    leaf = _leaf(expr)
    if leaf is not None:
        return leaf
    if isinstance(expr, sp.IndexedBase):
        return ["IndexedBase", *(to_tree(part) for part in (expr.label, *(expr.shape or ())))]
    if isinstance(expr, Density):
        return ["Density", expr.func.__name__, *(to_tree(arg) for arg in expr.args)]
    if function_of(expr) is None and _STRUCTURES.get(type(expr).__name__) is not type(expr):
        raise FormulaError("formula", f"{expr} ({type(expr).__name__})", _NOT_STORED)
    return [type(expr).__name__, *(to_tree(arg) for arg in expr.args)]


def _leaf(expr: sp.Basic) -> Tree | None:
    if isinstance(expr, sp.Integer):
        return ["Integer", str(expr.p)]
    if isinstance(expr, sp.Rational):
        return ["Rational", str(expr.p), str(expr.q)]
    if isinstance(expr, sp.Float) and expr.is_finite:
        sign, mantissa, exponent, _ = expr._mpf_
        return ["Float", int(sign), str(int(mantissa)), int(exponent), int(expr._prec)]
    if isinstance(expr, PeriodicSymbol):
        return ["PeriodicSymbol", expr.name, to_tree(expr.period)]
    if type(expr) is sp.Symbol:
        return ["Symbol", expr.name, _generators(expr)]
    if isinstance(expr, (BooleanTrue, BooleanFalse)):
        return ["true"] if expr else ["false"]
    for name, constant in _CONSTANTS.items():
        if expr is constant:
            return [name]
    return None


def _generators(symbol: sp.Symbol) -> dict[str, bool]:
    """The fewest assumptions that give the symbol back."""
    few = {k: v for k, v in getattr(symbol, "_assumptions_orig", {}).items() if v is not None}
    if sp.Symbol(symbol.name, **few) != symbol:
        few = dict(symbol.assumptions0)
    return dict(sorted(few.items()))


def from_tree(tree: Tree) -> sp.Basic:
    """The expression that :func:`to_tree` stored.

    Raises
    ------
    StoredSolutionError
        If a head is unknown or a node is malformed.
    """
    try:
        return _read(tree)
    except StoredSolutionError:
        raise
    except (TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise _malformed(tree) from error


def portable(expr: sp.Basic) -> Tree | sp.Basic:
    """What is pickled in place of an expression: its tree, or itself where it has none."""
    try:
        return to_tree(expr)
    except FormulaError:
        return expr


def from_portable(given: Tree | sp.Basic) -> sp.Basic:
    """The expression of :func:`portable`."""
    return from_tree(given) if isinstance(given, list) else given


def check_powers(formula: sp.Basic) -> sp.Basic:
    """Refuse towers of numbers, which take all memory when anything looks at their value.

    Returns
    -------
    The formula itself.

    Raises
    ------
    StoredSolutionError
    """
    sizes: dict[sp.Basic, float] = {}
    for node in sp.postorder_traversal(formula):
        if node in sizes:
            continue
        args = [sizes.get(arg, 1.0) for arg in node.args]
        try:
            if node.is_Number:
                sizes[node] = abs(float(node))
            elif isinstance(node, sp.Pow):
                if args[1] > _LARGEST_EXPONENT:
                    raise StoredSolutionError("energy", "a power without end", "smaller exponents")
                sizes[node] = args[0] ** (args[1] if args[0] > 1 else 1)
            else:
                sizes[node] = max(args, default=1.0) if not node.is_Mul else math.prod(args)
        except OverflowError:
            sizes[node] = math.inf
    return formula


def _read(tree: object) -> sp.Basic:
    if not (isinstance(tree, (list, tuple)) and tree and isinstance(tree[0], str)):
        raise _malformed(tree)
    head, *rest = tree
    if head in _READERS:
        return _READERS[head](*rest)
    if head in _CONSTANTS and not rest:
        return _CONSTANTS[head]
    entry = function_of(head)
    if entry is None and head not in _STRUCTURES:
        fix = "Read it with the version that wrote it."
        raise StoredSolutionError("stored formula", repr(head)[:80], _NOT_STORED, fix)
    cls, args = entry.kind if entry else _STRUCTURES[head], [_read(arg) for arg in rest]
    if cls in (sp.Piecewise, sp.Max, sp.Min) and not args:
        raise _malformed(tree)
    # A truth value in a sum: SymPy only warns of it.
    if cls in (sp.Add, sp.Mul, sp.Pow) and not all(isinstance(arg, sp.Expr) for arg in args):
        raise _malformed(tree)
    return cls(*args) if cls in _PLAIN else cls(*args, evaluate=False)


def _read_integer(digits: str) -> sp.Integer:
    return sp.Integer(_int(digits))


def _read_rational(numerator: str, denominator: str) -> sp.Rational:
    if _int(denominator) < 1:
        raise ValueError("malformed number")
    return sp.Rational(_int(numerator), _int(denominator))


def _read_float(sign: int, mantissa: str, exponent: int, bits: int) -> sp.Float:
    if sign not in (0, 1) or not (type(exponent) is type(bits) is int) or bits < 1:
        raise ValueError("malformed number")
    if max(abs(exponent), bits) > _MOST_BITS:
        raise ValueError("a number of too many digits")
    man = _int(mantissa)
    return sp.Float._new((sign, man, exponent, man.bit_length()), bits, zero=False)


def _int(digits: str) -> int:
    if not isinstance(digits, str):
        raise TypeError("integers are stored as strings")
    return int(digits)


def _read_symbol(name: str, assumptions: dict[str, bool]) -> sp.Symbol:
    if not isinstance(name, str) or not name.isprintable() or not set(assumptions) <= _ASSUMPTIONS:
        raise ValueError("malformed symbol")
    if not all(isinstance(value, bool) for value in assumptions.values()):
        raise ValueError("malformed assumption")
    return sp.Symbol(name, **assumptions)


def _read_periodic(name: str, period: Tree) -> PeriodicSymbol:
    if not isinstance(name, str) or not name.isprintable():
        raise ValueError("malformed symbol")
    try:
        found = period_of(_read(period))
    except EnergyError as error:
        raise ValueError("malformed period") from error
    return PeriodicSymbol(name, found)


def _read_density(name: str, *arguments: Tree) -> Density:
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError("malformed density")
    return Density.of_name(name)(*(_read(arg) for arg in arguments))


def _read_array(label: Tree, *shape: Tree) -> sp.IndexedBase:
    lengths = [_read(length) for length in shape]
    if not all(isinstance(length, sp.Expr) for length in lengths):
        raise ValueError("malformed shape")
    name = _read(label)
    if not isinstance(name, sp.Symbol):
        raise ValueError("malformed array")
    return sp.IndexedBase(name, shape=tuple(lengths)) if lengths else sp.IndexedBase(name)


_READERS: dict[str, Callable[..., sp.Basic]] = {
    "Integer": _read_integer,
    "Rational": _read_rational,
    "Float": _read_float,
    "Symbol": _read_symbol,
    "PeriodicSymbol": _read_periodic,
    "Density": _read_density,
    "IndexedBase": _read_array,
}


def _malformed(tree: object) -> StoredSolutionError:
    return StoredSolutionError(
        "stored formula", reprlib.repr(tree)[:80], "a tree written by to_tree"
    )
