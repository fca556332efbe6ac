"""Arguments of public functions: numbers of any kind, arrays, flags, and calls that do not fit.

A number is anything real: Python's, ``Fraction``, ``Decimal``, SymPy's, NumPy's, arrays of no
dimension.  Truth values, texts, complex numbers and NaN are none.  Each check returns the plain
value, or raises an error of the package that names the argument.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import numbers
import os
import sys
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, ParamSpec, SupportsFloat, TypeVar

import numpy as np

from .errors import CallError, OptionError, PwgfError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["brief", "checked_call", "choice", "dimension", "file_path", "flag", "integer"]
__all__ += ["number", "real_array", "whole_seed"]

P = ParamSpec("P")
R = TypeVar("R")

#: Coordinates of a space.  In 1000 a potential of one term each takes half a minute to compile, and
#: the time grows faster than the dimension; a covariance is factored in seconds.
LARGEST_DIMENSION = 2000

# What other packages call an argument -> what it is called here, and what to know of it.
_ELSEWHERE = {
    "t_eval": ("save_at", "the times to store"),
    "saveat": ("save_at", "the times to store"),
    "times": ("save_at", "the times to store"),
    "rtol": ("tol", "the error of the map at the end, over the spread of the density"),
    "atol": ("tol", "the error of the map at the end, over the spread of the density"),
    "eps": ("tolerance", "the residual of linear solves"),
    "method": ("integrator", "the method in time; linear solves have linear_solver"),
    "scheme": ("integrator", "the method in time"),
    "solver": ("linear_solver", "the linear solves; the method in time is integrator"),
    "first_step": ("dt", "the length of fixed steps; without it they follow tol"),
    "step_size": ("dt", "the length of fixed steps; without it they follow tol"),
    "h": ("dt", "the length of fixed steps; without it they follow tol"),
    "lr": ("dt", "the flow is no training loop: it has a time step"),
    "learning_rate": ("dt", "the flow is no training loop: it has a time step"),
    "epochs": ("t_span", "the flow is no training loop: it runs from start to end"),
    "n_steps": ("dt", "the number of steps is the length of t_span over dt"),
    "T": ("t_span", "the pair (start, end)"),
    "n_samples": ("samples", "the number of samples"),
    "num_samples": ("samples", "the number of samples"),
    "n_points": ("samples", "the number of samples"),
    "batch_size": ("samples", "the number of samples"),
    "N": ("samples", "the number of samples"),
    "maxiter": ("max_iterations", "the limit of a linear solve"),
    "max_iter": ("max_iterations", "the limit of a linear solve"),
    "random_state": ("seed", "an integer, None or a numpy.random.Generator"),
    "rng": ("seed", "an integer, None or a numpy.random.Generator"),
    "regularization": ("shift", "added to the metric"),
    "ridge": ("shift", "added to the metric"),
    "damping": ("shift", "added to the metric"),
    "x0": ("theta0", "the parameters at the start"),
    "y0": ("theta0", "the parameters at the start; the law at the start is the problem's"),
    "theta": ("theta0", "the parameters at the start"),
    "device": ("target", '"cpu", "cuda" or "numpy"'),
    "backend": ("target", '"cpu", "cuda" or "numpy"'),
    "verbose": ("progress", "True or False"),
    "filename": ("path", "the file"),
    "file": ("path", "the file"),
    "mu": ("mean", "the mean"),
    "loc": ("mean", "the mean"),
    "sigma": ("cov", "a variance or covariance, not a standard deviation"),
    "std": ("cov", "a variance or covariance, not a standard deviation"),
    "scale": ("cov", "a variance or covariance, not a standard deviation"),
    "variance": ("cov", "a variance or covariance"),
    "covariance": ("cov", "a variance or covariance"),
    "n": ("dim", "the dimension"),
    "d": ("dim", "the dimension"),
    "ndim": ("dim", "the dimension"),
    "dimension": ("dim", "the dimension"),
    "hidden": ("width", "the number of hidden units"),
    "units": ("width", "the number of hidden units"),
    "hidden_size": ("width", "the number of hidden units"),
    "layers": ("steps", "the number of steps, each with a field of its own"),
    "depth": ("steps", "the number of steps, each with a field of its own"),
    "n_layers": ("steps", "the number of steps, each with a field of its own"),
    "nonlinearity": ("activation", "a SymPy function of one argument"),
    "law": ("initial", "the law at the start"),
    "params": ("parameters", "a dict of Symbol to number"),
}


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
        raise error(name, brief(value), " or ".join(f'"{known}"' for known in names))
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


def checked_call(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function or method: a call that does not fit names what does.

    An unknown keyword, a missing or a surplus argument raises :class:`CallError` with the nearest
    name that is accepted; the signature stays as it is.
    """
    signature = functools.cache(lambda: inspect.signature(function))

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature().bind(*args, **kwargs)
        except TypeError as error:
            raise _misfit(function, signature(), kwargs, error) from None
        return function(*args, **kwargs)

    return wrapper


def _misfit(
    function: Callable[..., object],
    signature: inspect.Signature,
    keywords: Mapping[str, object],
    error: TypeError,
) -> CallError:
    """What is wrong with a call: an unknown name, or the number of its arguments."""
    name = _public_name(function)
    names = [n for n in signature.parameters if n not in ("self", "cls")]
    accepted = ", ".join(names) or "no arguments"
    unknown = [key for key in keywords if key not in names]
    if unknown:
        given = f"an argument that {name} does not have"
        return CallError(unknown[0], given, accepted, _suggestion(unknown[0], names))
    return CallError(name, f"a wrong call ({error})", f"{name}({accepted})")


def _public_name(function: Callable[..., object]) -> str:
    owner, _, name = function.__qualname__.rpartition(".")
    name = name.replace("compile_program", "compile")
    return owner if name in ("__init__", "__new__") else f"{owner}.{name}" if owner else name


def _suggestion(key: str, names: list[str]) -> str:
    here, note = _ELSEWHERE.get(key, ("", ""))
    if here in names:
        return f"Use {here}: {note}."
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(key.lower(), lower, n=1, cutoff=0.5)
    return f"Did you mean {lower[near[0]]}?" if near else ""
