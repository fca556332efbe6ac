"""Arguments of maps and laws as JSON-able data, and back.

Numbers, texts, truth values, None and lists stand for themselves; everything else is an object with
one name that says what it is:

    {"tuple": [...]}   {"dict": [[key, value], ...]}   {"float": "inf"}   {"formula": tree}
    {"function": tree in the symbol a}   {"array": numbers, "dtype": ..., "shape": [...]}
    {"map": ...}   {"law": ...}

Reading builds only these; no text is evaluated.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

from ..arguments import brief
from ..errors import PwgfError, StoredSolutionError
from ..functions import host_function
from .energies import EnergyIntegral
from .formula_checks import scalar_expression
from .tree import check_powers, from_tree, to_tree

__all__ = ["Refused", "frozen_content", "listed", "read", "shown", "stored"]

_ARGUMENT = sp.Symbol("a", real=True)
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_DTYPES = ("bool", "float16", "float32", "float64", *_INTEGERS)
# What Python still reads from digits, and what JSON still nests, with room to spare.
_MOST_BITS, _DEEPEST = 10_000, 50
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial, sp.FunctionClass, sp.Lambda)


class Refused(Exception):
    """A value that cannot be stored; ``str`` of it is its type."""


def stored(value: Any, describe: Callable[[Any], Any], depth: int = 0) -> Any:
    """A value as it is now: nothing that is changed later changes it.

    Parameters
    ----------
    value : object
    describe : callable
        Gives the description of a map or a law, and None for anything else.

    Returns
    -------
    JSON-able data, but for arrays, which stand in it as copies; :func:`listed` writes them out.

    Raises
    ------
    Refused
        If it is, or holds, what cannot be stored.
    """
    kind = type(value)
    if depth > _DEEPEST:
        raise Refused("a value that is nested too deeply")
    if value is None or kind in (bool, str):
        return value
    if isinstance(value, np.generic):
        if value.dtype.name not in _DTYPES:
            raise Refused(kind.__name__)
        return stored(value.item(), describe)
    if kind is int and value.bit_length() <= _MOST_BITS:
        return value
    if kind is float:
        return _float(value)
    deeper = functools.partial(stored, describe=describe, depth=depth + 1)
    if kind is list:
        return list(map(deeper, value))
    if kind is tuple:
        return {"tuple": list(map(deeper, value))}
    if kind is dict:
        return {"dict": [[deeper(key), deeper(entry)] for key, entry in value.items()]}
    if kind is np.ndarray and value.dtype.name in _DTYPES:
        copied = np.array(value, value.dtype.newbyteorder("="))
        copied.setflags(write=False)
        return {"array": copied}
    return _described(value, describe)


def _described(value: Any, describe: Callable[[Any], Any]) -> Any:
    """A map, a law, a formula or a function of one."""
    try:
        found = describe(value)
        if found is not None:
            return found
        if isinstance(value, sp.Basic) and not isinstance(value, sp.Lambda):
            return {"formula": to_tree(value)}
        if isinstance(value, _FUNCTIONS):
            own = sp.Dummy("a", real=True)  # which no other symbol of the function is equal to
            formula = value(own)
            if _is_function(formula, own):
                return {"function": to_tree(formula.xreplace({own: _ARGUMENT}))}
    except Exception as error:  # what a function of anybody's makes of a symbol
        reason = f" ({brief(str(error))})" if isinstance(error, PwgfError) else ""
        raise Refused(f"{type(value).__name__}{reason}") from error
    raise Refused(type(value).__name__)


def _float(value: float) -> Any:
    return value if math.isfinite(value) else {"float": repr(value)}


def listed(data: Any) -> Any:
    """What :func:`stored` gave, its arrays written out: JSON-able."""
    if isinstance(data, list):
        return list(map(listed, data))
    if not isinstance(data, dict):
        return data
    array = data.get("array")
    if isinstance(array, np.ndarray):
        numbers = array.ravel().tolist()
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            numbers = list(map(_float, numbers))
        return {"array": numbers, "dtype": array.dtype.name, "shape": list(array.shape)}
    return {key: listed(entry) for key, entry in data.items()}


def read(data: Any, restore: Callable[[dict[str, Any]], Any]) -> Any:
    """The value that :func:`stored` and :func:`listed` wrote.

    Parameters
    ----------
    data : JSON data
        Of a file that anybody has written.
    restore : callable
        Gives the map or the law of a description.

    Raises
    ------
    StoredSolutionError
        If it is nothing that they write.
    """
    if data is None or type(data) in (bool, int, float, str):
        return data
    deeper = functools.partial(read, restore=restore)
    match data:
        case list():
            return list(map(deeper, data))
        case {"map": _} | {"law": _}:
            return restore(data)
        case {"float": "inf" | "-inf" | "nan" as text}:
            return float(text)
        case {"tuple": list(entries)}:
            return tuple(map(deeper, entries))
        case {"dict": list(pairs)}:
            return {deeper(key): deeper(entry) for key, entry in pairs}
        case {"array": np.ndarray() as array}:
            return np.array(array)
        case {"array": list(entries), "dtype": str(name), "shape": list(shape)} if name in _DTYPES:
            return np.array(list(map(deeper, entries)), name).reshape(shape)
        case {"formula": tree}:
            return check_powers(from_tree(tree))
        case {"function": tree}:
            return _function(check_powers(from_tree(tree)))
    accepted = "a number, a text, a list, an array, a formula, a map or a law"
    raise StoredSolutionError("stored argument", brief(data)[:80], accepted)


def _is_function(formula: object, argument: sp.Symbol) -> bool:
    """Whether it is a formula of the argument, and of nothing else that has a name."""
    named = (AppliedUndef, EnergyIntegral, sp.Derivative, sp.Sum, sp.Product, sp.Indexed)
    if not isinstance(formula, sp.Expr) or formula.has(*named):
        return False
    return formula.atoms(sp.Symbol) == {argument}


def _function(formula: sp.Basic) -> Callable[[Any], Any]:
    """The function of a formula in the symbol a; one of SymPy's itself, where it is one."""
    if not (isinstance(formula, sp.Expr) and _is_function(formula, _ARGUMENT)):
        raise StoredSolutionError("stored function", brief(formula)[:80], "a formula in a")
    if isinstance(formula, sp.Function) and formula.args == (_ARGUMENT,):
        return formula.func
    return functools.partial(_applied, formula)


def _applied(formula: sp.Expr, value: Any) -> Any:
    """The function's value, of a formula or of numbers, as the function that was given has it."""
    if isinstance(value, (np.ndarray, np.generic, float)):
        return host_function([_ARGUMENT], formula, "numpy")(value)
    return formula.xreplace({_ARGUMENT: scalar_expression(value, "argument")})


def shown(data: Any) -> str:
    """Short text of what :func:`stored` gave, the same in every process."""
    match data:
        case {"formula": tree} | {"function": tree}:
            formula = from_tree(tree)
            plain = isinstance(formula, sp.Function) and formula.args == (_ARGUMENT,)
            return formula.func.__name__ if plain and "function" in data else brief(formula)
        case {"array": np.ndarray() as array}:
            return brief(array)
        case {"float": str(text)}:
            return text
        case {"tuple": list(entries)} if len(entries) <= 20:
            return f"({', '.join(map(shown, entries))})"
        case {"map": str(name)} | {"law": str(name)}:
            return f"{name}(...)"
    return brief(listed(data))


def frozen_content(data: Any) -> Hashable:
    """JSON-able data as a value that can be compared and hashed."""
    if isinstance(data, dict):
        return "dict", *((key, frozen_content(data[key])) for key in sorted(data))
    if isinstance(data, list):
        return "list", *map(frozen_content, data)
    return data
