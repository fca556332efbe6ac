"""Names of classes such as ``my_module:Planar``, and the classes of names that files give.

A name in a file is anybody's.  Nothing is imported for it and nothing is called: it is looked up in
the modules that are imported, by attributes that are modules' or classes' own.
"""

from __future__ import annotations

import sys
import types
from typing import TypeVar

from ..arguments import brief
from ..errors import StoredSolutionError

__all__ = ["class_name", "found_class", "is_ours"]

T = TypeVar("T")

_PACKAGE = __name__.partition(".")[0]
# Characters of the longest name that a file may give.
_LONGEST = 400


def is_ours(cls: type) -> bool:
    """Whether a class is the package's own."""
    return str(cls.__module__).partition(".")[0] == _PACKAGE


def class_name(cls: type) -> str:
    """Module and qualified name; a script has one module, also in processes that it starts."""
    module = "__main__" if cls.__module__ == "__mp_main__" else cls.__module__
    return f"{module}:{cls.__qualname__}"


def found_class(kind: str, base: type[T], name: object) -> type[T]:
    """The user's class of a name, derived from ``base``.

    Parameters
    ----------
    kind : str
        What is looked for, for messages: a map or a law.
    base : class
    name : object
        Of a file.

    Raises
    ------
    StoredSolutionError
        If it is no name, or that of a module that is not imported, or of anything else.
    """
    argument, accepted = f"class of the {kind}", f"an imported subclass of {base.__name__}"
    if not isinstance(name, str) or len(name) > _LONGEST:
        raise StoredSolutionError(argument, brief(name)[:80], accepted)
    module, _, path = name.partition(":")
    parts = path.split(".")
    if "<locals>" in parts:
        given = f"{name!r}, which was defined within a function"
        fix = "Define the class at the top of a module, and save again."
        raise StoredSolutionError(argument, given, accepted, fix)
    plain = all(part.isidentifier() for part in (*module.split("."), *parts))
    if not plain or any(part.startswith("__") for part in parts):
        raise StoredSolutionError(argument, repr(name), accepted)
    holder: object = sys.modules.get(module)
    if not isinstance(holder, types.ModuleType):
        fix = f"import {module} first, then load."
        given = f"{name}, of a module that is not imported"
        raise StoredSolutionError(argument, given, accepted, fix)
    for part in parts:
        known = isinstance(holder, (types.ModuleType, type))
        holder = vars(holder).get(part) if known else None
    mine = isinstance(holder, type) and not is_ours(holder) and holder.__qualname__ == path
    if mine and isinstance(holder, type) and issubclass(holder, base):
        return holder
    fix = "Define the class there, under that name, then load."
    given = f"{name}, which is no {kind} of that name"
    raise StoredSolutionError(argument, given, accepted, fix)
