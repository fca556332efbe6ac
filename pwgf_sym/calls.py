"""Calls that do not fit: the error names the argument, and the nearest one that is accepted."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import ParamSpec, TypeVar, overload

from .errors import CallError

__all__ = ["checked_call", "nearest", "takes_one"]

P = ParamSpec("P")
R = TypeVar("R")

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
    "law": ("initial", "the law at the start"),
    "params": ("parameters", "a dict of Symbol to number"),
}
# The same for maps of hidden units, whose steps are layers, not those of a run in time.
_ELSEWHERE_OF_MAPS = {
    "hidden": ("width", "the number of hidden units"),
    "units": ("width", "the number of hidden units"),
    "hidden_size": ("width", "the number of hidden units"),
    "layers": ("steps", "the number of steps, each with a field of its own"),
    "depth": ("steps", "the number of steps, each with a field of its own"),
    "n_layers": ("steps", "the number of steps, each with a field of its own"),
    "nonlinearity": ("activation", "a SymPy function of one argument"),
}


@overload
def checked_call(function: Callable[P, R]) -> Callable[P, R]: ...


@overload
def checked_call(
    *, also: Collection[str] = (), renamed: Mapping[str, str] = {}
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def checked_call(
    function: Callable[P, R] | None = None,
    *,
    also: Collection[str] = (),
    renamed: Mapping[str, str] = {},
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a public function or method: a call that does not fit names what does.

    An unknown keyword, a missing or a surplus argument raises :class:`CallError` with the nearest
    name that is accepted; the signature stays as it is.

    Parameters
    ----------
    function : callable
    also : collection of str
        Keywords that the function takes by its ``**``, and no others.
    renamed : mapping of str to str
        What an argument is called elsewhere in the package -> its name here.
    """
    if function is None:
        return lambda function: _checked(function, also, renamed)
    return _checked(function, also, renamed)


def _checked(
    function: Callable[P, R], also: Collection[str], renamed: Mapping[str, str]
) -> Callable[P, R]:
    """The function, whose calls are compared with its signature."""
    signature = functools.cache(lambda: inspect.signature(function))
    names = functools.cache(lambda: _names(signature(), also))

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            signature().bind(*args, **kwargs)
            if also and not kwargs.keys() <= set(names()):
                raise TypeError("an unknown keyword")
        except TypeError as error:
            owner = type(args[0]).__name__ if args and "self" in signature().parameters else ""
            raise _misfit(function, owner, names(), kwargs, error, renamed) from None
        return function(*args, **kwargs)

    return wrapper


def takes_one(function: object) -> bool:
    """Whether a value is a function that can be called with one argument, as far as it tells."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:  # one that is not written in Python
        pass
    return True


def _names(signature: inspect.Signature, also: Collection[str]) -> list[str]:
    """Names of all arguments; those that a ``**`` takes stand for it."""
    names = [n for n in signature.parameters if n not in ("self", "cls")]
    return [*names[:-1], *also] if also else names


def _misfit(
    function: Callable[..., object],
    of: str,
    names: list[str],
    keywords: Mapping[str, object],
    error: TypeError,
    renamed: Mapping[str, str],
) -> CallError:
    """What is wrong with a call: an unknown name, or the number of its arguments."""
    name = _public_name(function, of)
    accepted = ", ".join(names) or "no arguments"
    unknown = [key for key in keywords if key not in names]
    if unknown:
        given = f"an argument that {name} does not have"
        return CallError(unknown[0], given, accepted, _suggestion(unknown[0], names, renamed))
    return CallError(name, f"a wrong call ({error})", f"{name}({accepted})")


def _public_name(function: Callable[..., object], of: str) -> str:
    """A function's name; of a method with the class of the object, not a base that defines it."""
    owner, _, name = function.__qualname__.rpartition(".")
    owner = of if of and not name.startswith("__") else owner
    name = name.replace("compile_program", "compile")
    return owner if name in ("__init__", "__new__") else f"{owner}.{name}" if owner else name


def _suggestion(key: str, names: list[str], renamed: Mapping[str, str]) -> str:
    """The fix for an unknown name, where there is one."""
    if key in _ELSEWHERE_OF_MAPS and "width" not in names:
        return ""
    here, note = (_ELSEWHERE | _ELSEWHERE_OF_MAPS).get(key, (key, ""))
    here = renamed.get(here, here)
    if here in names:
        return f"Use {here}: {note}." if note else f"Use {here}."
    return nearest(key, names, 0.5)


def nearest(key: str, names: Collection[str], cutoff: float = 0.7) -> str:
    """The question whether the nearest name was meant, where one is near."""
    if len(key) > 80:  # a text, whose comparison would take its time
        return ""
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(key.lower(), lower, n=1, cutoff=cutoff)
    return f"Did you mean {lower[near[0]]}?" if near else ""
