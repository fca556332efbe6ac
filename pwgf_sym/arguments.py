"""Arguments of public functions: numbers of any kind, arrays, flags; `calls.py` has whole calls.

A number is anything real: Python's, ``Fraction``, ``Decimal``, SymPy's, NumPy's, arrays of no
dimension.  Truth values, texts, complex numbers and NaN are none.  Each check returns the plain
value, or raises an error of the package that names the argument.
"""

from __future__ import annotations

import math
import numbers
import os
import sys
from collections.abc import Collection
from decimal import Decimal
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np

from .calls import checked_call, nearest
from .errors import OptionError, PwgfError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["brief", "checked_call", "choice", "dimension", "file_path", "flag", "integer"]
__all__ += ["number", "real_array", "whole_seed"]

#: Coordinates of a space.  In 1000 a potential of one term each takes half a minute to compile, and
#: the time grows faster than the dimension; a covariance is factored in seconds.
LARGEST_DIMENSION = 2000


def number(
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    error: type[PwgfError] = OptionError,
) -> float:
    """A real number as a float.

    Parameters
    ----------
    name : str
        The argument, for the message.
    value : number
        Of any kind that is real.
    above, least, below : float
        Bounds: larger than ``above``, at least ``least``, smaller than ``below``.
    error : subclass of PwgfError
        What is raised.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    PwgfError
        Of the given class, if it is no finite real number within the bounds.
    """
    found = _real(value)
    if not (math.isfinite(found) and above < found < below and found >= least):
        bounds = {"above": above, "of at least": least, "below": below}
        words = [f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound)]
        accepted = f"a finite real number {' and '.join(words)}".rstrip()
        raise error(name, brief(value), accepted)
    return found


def integer(name: str, value: object, least: int, *, error: type[PwgfError] = OptionError) -> int:
    """An integer of at least ``least`` as an int, from any kind of integer.

    Raises
    ------
    PwgfError
        Of the given class, if it is none.
    """
    found = _entry(value)
    truth = isinstance(found, bool | np.bool_)
    if isinstance(found, numbers.Rational) and not truth and found.denominator == 1:
        whole = int(found.numerator)
        if whole >= least:
            return whole
    real = _real(value)
    near = math.isfinite(real) and real == round(real) >= least
    fix = f"Write {round(real)}." if near and abs(real) < 1e15 else ""
    raise error(name, brief(value), f"an integer of at least {least}", fix)


def dimension(name: str, value: object, *, error: type[PwgfError] = OptionError) -> int:
    """A dimension: an integer from 1 to :data:`LARGEST_DIMENSION`.

    Raises
    ------
    PwgfError
        Of the given class, if it is none.
    """
    found = integer(name, value, 1, error=error)
    if found > LARGEST_DIMENSION:
        fix = "Formulas are written out, a symbol a coordinate: use fewer coordinates."
        raise error(name, f"the dimension {found}", f"at most {LARGEST_DIMENSION}", fix)
    return found


def real_array(
    name: str,
    value: object,
    *,
    finite: bool = True,
    accepted: str = "a finite real number or a regular array of them",
    error: type[PwgfError] = OptionError,
) -> NDArray[np.float64]:
    """A real array of float64 from numbers of any kind.

    Parameters
    ----------
    name : str
        The argument, for the message.
    value : number or array-like
        Of any shape.
    finite : bool
        Whether all entries have to be finite.
    accepted : str
        What is accepted, for the message.
    error : subclass of PwgfError
        What is raised.

    Returns
    -------
    float64 array

    Raises
    ------
    PwgfError
        Of the given class, if an entry is no real number, or not finite.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            array = np.array([_real_or_refuse(v) for v in array.flat]).reshape(array.shape)
        if array.dtype.kind not in "iuf":
            raise TypeError(array.dtype.name)
        with np.errstate(over="ignore"):
            array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as caught:
        raise error(name, brief(value), accepted) from caught
    if finite and not np.all(np.isfinite(array)):
        raise error(name, brief(value), accepted, "Replace the infinite or NaN entries.")
    return array


def whole_seed(name: str, seed: object, *, error: type[PwgfError] = OptionError) -> int:
    """The integer that fixes all random numbers of a call.

    Parameters
    ----------
    name : str
        The argument, for the message.
    seed : int, None or numpy.random.Generator
        An integer is itself; None draws one from the system's entropy, and a generator gives its
        next number, so that another call gives another one.
    error : subclass of PwgfError
        What is raised.

    Returns
    -------
    int
        At least 0, and below 2^63 unless it was given.

    Raises
    ------
    PwgfError
        Of the given class, if ``seed`` is nothing of these.
    """
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(1 << 63, dtype=np.uint64))
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) >> 1
    try:
        return integer(name, seed, 0, error=error)
    except error as caught:
        accepted = f"{caught.accepted}, None, or a numpy.random.Generator"
        raise error(name, brief(seed), accepted, caught.fix) from None


def flag(name: str, value: object, *, error: type[PwgfError] = OptionError) -> bool:
    """A truth value as a bool, or an error by the name of the argument."""
    if not isinstance(value, bool | np.bool_):
        raise error(name, brief(value), "True or False")
    return bool(value)


def choice(
    name: str, value: object, names: Collection[str], *, error: type[PwgfError] = OptionError
) -> str:
    """One of several names, or an error with all of them."""
    if not isinstance(value, str) or value not in names:
        fix = nearest(value, names) if isinstance(value, str) else ""
        raise error(name, brief(value), " or ".join(f'"{known}"' for known in names), fix)
    return str(value)


def file_path(name: str, value: object, *, error: type[PwgfError] = OptionError) -> str:
    """The path of a file as a text, or an error by the name of the argument."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise error(name, brief(value), "the path of a file, a str or Path")
    try:
        path.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
    except UnicodeError:
        raise error(name, ascii(path), "a path that the system can spell") from None
    return path


def _entry(value: object) -> object:
    """The entry of an array of no dimension; anything else as it is."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _real(value: object) -> float:
    """A real number as a float; NaN for anything else."""
    value = _entry(value)
    if isinstance(value, bool | np.bool_):
        return math.nan
    try:
        # SymPy says of its own numbers whether they can be compared: real, and with a value.
        if isinstance(value, numbers.Real | Decimal) or (
            getattr(value, "is_comparable", 0) is True and isinstance(value, SupportsFloat)
        ):
            return float(value)
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        pass
    return math.nan


def _real_or_refuse(value: object) -> float:
    found = _real(value)
    infinite = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    if math.isnan(found) and not infinite:
        raise TypeError(type(value).__name__)
    return found


def brief(value: object) -> str:
    """Short text of a value for messages: long ones keep their first and last characters."""
    if isinstance(value, np.ndarray):
        if value.size > 60:
            return f"an array of shape {value.shape} and type {value.dtype}"
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset | dict | str | bytes) and len(value) > 500:
        return f"a {type(value).__name__} of length {len(value)}"
    if _is_long_formula(value):
        return f"a formula of many terms ({type(value).__name__})"
    try:
        text = repr(value)
    except Exception:  # an object of anybody: its repr may do anything
        text = f"an object of type {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:56]} ... {text[-56:]}"


def _is_long_formula(value: object, nodes: int = 300) -> bool:
    """Whether a SymPy object has more nodes than can be printed at once."""
    stack, seen = [value], 0
    while stack and seen <= nodes:
        node = stack.pop()
        args = getattr(node, "args", None) if hasattr(node, "free_symbols") else None
        stack += args if isinstance(args, tuple) else ()
        seen += 1
    return bool(stack)
