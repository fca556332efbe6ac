"""Maps and laws by name: how they are described, compared, stored and found again.

The package's own families have a name each and write their entries themselves.  Of a class of the
user's the description says where it is imported from, and the arguments it was made with:

    {"map": "Planar", "class": "my_module:Planar", "arguments": {"dim": 2}}

or, where it has a ``to_dict`` of its own, ``"entries"``: what that gave.  Reading imports nothing,
since importing runs a module and a file may name any: the class is looked up in modules that are
imported already, and has to be a map, or a law.
"""

from __future__ import annotations

import copyreg
import inspect
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple, Self

from ..arguments import brief
from ..errors import PwgfError, StoredSolutionError
from .class_names import class_name, found_class, is_ours
from .values import Refused, frozen_content, listed, read, shown, stored

__all__ = ["Described", "add_family", "declare_families", "description"]
__all__ += ["remade", "restored", "saved"]

_RECORD = "_made_with"
# What *args and **keywords are.
_COLLECTED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Unstorable(NamedTuple):
    """In the place of an argument that cannot be stored: what it is."""

    kind: str


class Described:
    """Base of maps and laws: the arguments of the constructor are remembered, as they were.

    They make the default ``to_dict``, the comparison, the hash and the text of a class of the
    user's.  Where they do not tell, since a class has ``__new__`` of its own or an argument cannot
    be stored, each instance equals itself only, and :meth:`to_dict` says so.
    """

    _registered_as: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if is_ours(cls):
            return
        # What a family of the package says of itself does not hold for a class derived from it.
        for name in ("to_dict", "__repr__"):
            definer = next(base for base in cls.__mro__ if name in vars(base))
            if is_ours(definer) and definer is not Described:
                setattr(cls, name, vars(Described)[name])

    def __new__(cls, *args: Any, **keywords: Any) -> Self:
        self = super().__new__(cls)
        if cls.__init__ is object.__init__ and (args or keywords):
            raise TypeError(f"{cls.__name__}() takes no arguments")
        if not is_ours(cls) and cls.__new__ is Described.__new__:
            record = _arguments(cls, args, keywords)
            if record is not None:
                self.__dict__[_RECORD] = record
        return self

    def to_dict(self) -> dict[str, Any]:
        """Name, class and the constructor's arguments as JSON-able data.

        Raises
        ------
        StoredSolutionError
            Naming the argument that cannot be stored.
        """
        return _named(self) | {"arguments": listed(_storable(self))}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Described:
        """The map or law of the entries that its own ``to_dict`` has beside the name: arguments."""
        return cls(**entries)

    def __reduce_ex__(self, protocol: Any, /) -> Any:
        found = super().__reduce_ex__(protocol)
        made = isinstance(found, tuple) and found[0] is getattr(copyreg, "__newobj__", None)
        if not made or is_ours(type(self)) or type(self).__new__ is not Described.__new__:
            return found
        # A copy is not made by a call: it would be remembered as one without arguments.
        return _copied, (type(self), self.__dict__.get(_RECORD)), *found[2:]

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Described):
            return True if self is other else NotImplemented
        if type(self) is not type(other):
            return False
        own = _content(self)
        return own is not None and own == _content(other)

    def __hash__(self) -> int:
        own = _content(self)
        return object.__hash__(self) if own is None else hash(own)

    def __repr__(self) -> str:
        entries = ", ".join(f"{name}={text}" for name, text in _texts(self).items())
        return f"{type(self).__name__}({entries})"


class _Kind(NamedTuple):
    """Maps, or laws: their base, the package's families, and the error for what is none."""

    base: type[Described]
    families: dict[str, type[Described]]
    error: type[PwgfError]


_KINDS: dict[str, _Kind] = {}


def declare_families(
    base: type[Described], *families: type[Described], error: type[PwgfError]
) -> None:
    """Name the package's families of maps or laws; a new one stands here and nowhere else.

    Parameters
    ----------
    base : class
        ``Map`` or ``Law``.
    *families : classes
        Stored by their names.
    error : class
        What is raised for a name that none of them has.
    """
    _KINDS[base._registered_as] = _Kind(
        base, {family.__name__: family for family in families}, error
    )


def add_family(family: type[Described]) -> None:
    """Name one more family, of a later stage, once its kind has been declared."""
    _KINDS[family._registered_as].families[family.__name__] = family


def description(thing: Described) -> dict[str, Any]:
    """A map or a law as JSON-able data, from which :func:`restored` makes an equal one.

    Raises
    ------
    StoredSolutionError
        Naming the argument, or the entry of the class's own ``to_dict``, that cannot be stored.
    """
    if is_ours(type(thing)):
        return thing.to_dict()
    found = thing.to_dict()
    if not isinstance(found, dict):
        accepted = "a dictionary of names and values"
        raise StoredSolutionError(f"{type(thing).__name__}.to_dict()", brief(found), accepted)
    named = _named(thing)
    if found.keys() == {*named, "arguments"} and found["class"] == named["class"]:
        return found
    entries = {name: _entry(value) for name, value in found.items() if name != thing._registered_as}
    _refuse_unstorable(thing, entries, "the entry", "of to_dict")
    return named | {"entries": listed(entries)}


def saved(thing: Described) -> dict[str, Any]:
    """The description of a map or a law, tried: what is made of it has to be the same.

    Raises
    ------
    StoredSolutionError
        If it cannot be stored, or if an attribute is not what the stored arguments make.
    """
    found, seen, left = description(thing), set(), [thing]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if not is_ours(type(one)):
            _check_attributes(one)
        for value in vars(one).values():
            parts = value if isinstance(value, (list, tuple)) else [value]
            left += [part for part in parts if isinstance(part, Described)]
    return found


def _check_attributes(thing: Described) -> None:
    """Refuse one that its description does not make again, as far as its attributes tell."""
    try:
        again = _made(type(thing), description(thing))
    except Exception:  # a file that cannot be read says so when it is read
        return
    for name in (vars(thing).keys() & vars(again).keys()) - {_RECORD}:
        here, there = _entry(vars(thing)[name]), _entry(vars(again)[name])
        unknown = isinstance(here, _Unstorable) or isinstance(there, _Unstorable)
        if not unknown and frozen_content(listed(here)) != frozen_content(listed(there)):
            given = f"{thing!r} whose attribute {name} is {shown(here)}, and {shown(there)} when "
            given += "it is made anew"
            fix = "Make a new one instead of changing it, or give it a to_dict() that says all."
            accepted = "what its arguments make"
            raise StoredSolutionError(thing._registered_as, given, accepted, fix)


def restored(kind: str, entries: Any) -> Described:
    """The map or law of a description, of a file that anybody has written.

    Raises
    ------
    StoredSolutionError
        If the class is not there, or is none, or refuses what the file says.
    PwgfError
        Of the kind's own class, if a name without a class is none of the package's.
    """
    families, error = _KINDS[kind].families, _KINDS[kind].error
    name = entries.get(kind) if isinstance(entries, dict) else None
    if isinstance(entries, dict) and "class" in entries:
        return _of_user(kind, entries)
    if not isinstance(name, str) or name not in families:
        fix = f"A {kind} of your own is stored with its class by Solution.save of this version."
        accepted = f"a dictionary whose {kind} is one of {sorted(families)}"
        raise error(kind, brief(entries), accepted, fix if isinstance(name, str) else "")
    arguments = {key: value for key, value in entries.items() if key != kind}
    try:
        return families[name].from_entries(arguments)
    except (TypeError, KeyError) as caught:
        given = brief(sorted(map(str, arguments)))
        raise error(kind, given, f"the arguments of {name}") from caught


def remade(thing: Described, **changes: Any) -> Described:
    """The same map or law with other arguments.

    Raises
    ------
    TypeError, PwgfError
        What its constructor raises, if it has no such argument.
    """
    found = description(thing)
    if is_ours(type(thing)):
        return restored(thing._registered_as, found | changes)
    own = "entries" if "entries" in found else "arguments"
    changed = {name: listed(_entry(value)) for name, value in changes.items()}
    return _made(type(thing), found | {own: found[own] | changed})


def _copied(cls: type[Described], record: dict[str, Any] | None) -> Described:
    """What a pickle or a copy begins with: an object that nobody has called the constructor of."""
    found = object.__new__(cls)
    if record is not None:
        found.__dict__[_RECORD] = record
    return found


# -- writing --------------------------------------------------------------------------------------


def _arguments(
    cls: type[Described], args: tuple[Any, ...], keywords: dict[str, Any]
) -> dict[str, Any] | None:
    """The arguments of a call by name, with defaults; None where it does not fit the signature."""
    try:
        signature = _signature(cls)
        bound = signature.bind(*args, **keywords)
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    found = {}
    for name, value in bound.arguments.items():
        parameter, entry = signature.parameters[name], _entry(value)
        if parameter.kind in _COLLECTED and not value:
            continue
        # A default need not be stored: it is there again.
        if not (isinstance(entry, _Unstorable) and value is parameter.default):
            found[name] = entry
    return found


def _signature(cls: type[Described]) -> inspect.Signature:
    """That of the constructor, without self."""
    signature = inspect.signature(cls.__init__)
    first, *others = signature.parameters.values()
    return signature if first.kind in _COLLECTED else signature.replace(parameters=others)


def _entry(value: Any) -> Any:
    """A value to be stored, or what it is where it cannot be."""
    try:
        return stored(value, _description_of)
    except Refused as refused:
        return _Unstorable(str(refused))


def _description_of(value: Any) -> dict[str, Any] | None:
    return description(value) if isinstance(value, Described) else None


def _named(thing: Described) -> dict[str, Any]:
    return {thing._registered_as: type(thing).__name__, "class": class_name(type(thing))}


def _storable(thing: Described) -> dict[str, Any]:
    record = thing.__dict__.get(_RECORD)
    if record is None:
        given = f"a {thing._registered_as} whose constructor's arguments are not known"
        fix = f"Give {type(thing).__name__} a method to_dict that gives them as a dictionary."
        raise StoredSolutionError(type(thing).__name__, given, "arguments of __init__", fix)
    _refuse_unstorable(thing, record, "the argument", "of its constructor")
    return record


def _refuse_unstorable(thing: Described, entries: dict[str, Any], what: str, where: str) -> None:
    for name, entry in entries.items():
        if isinstance(entry, _Unstorable):
            given = f"{what} {name} {where}, of the type {entry.kind}, which cannot be stored"
            accepted = "numbers, texts, lists, arrays, formulas and functions of one, maps and laws"
            fix = "Solutions can be used without being saved; or make the object in __init__."
            raise StoredSolutionError(type(thing).__name__, given, accepted, fix)


def _content(thing: Described) -> Hashable | None:
    """What is compared and hashed; None where there is no description."""
    cls = type(thing)
    try:
        return cls.__module__, cls.__qualname__, frozen_content(description(thing))
    except Exception:  # a to_dict of anybody's
        return None


def _texts(thing: Described) -> dict[str, str]:
    """Names of arguments, or of entries, and short texts: the same in every process."""
    cls = type(thing)
    if is_ours(cls):
        try:
            known = thing.to_dict()
        except PwgfError:  # one that cannot be stored
            known = {"dim": getattr(thing, "dim", None)}
        return {n: brief(v) for n, v in known.items() if n != thing._registered_as}
    entries = thing.__dict__.get(_RECORD, {})
    if cls.to_dict is not Described.to_dict:
        try:
            found = thing.to_dict().items()
            entries = {n: _entry(v) for n, v in found if n not in (thing._registered_as, "class")}
        except Exception:  # a to_dict of anybody's
            pass
    return {
        name: f"<{entry.kind}>" if isinstance(entry, _Unstorable) else shown(entry)
        for name, entry in entries.items()
    }


# -- reading --------------------------------------------------------------------------------------


def _of_user(kind: str, entries: dict[str, Any]) -> Described:
    """A map or law of a class that is not the package's."""
    cls = found_class(kind, _KINDS[kind].base, entries["class"])
    try:
        found = _made(cls, entries)
    except Exception as error:  # constructors of anybody's, on what anybody has written
        given = f"what {cls.__qualname__} does not take ({type(error).__name__}: {error})"
        accepted = "the arguments of the class as it is now"
        fix = "Load with the version of your class that saved it."
        raise StoredSolutionError(kind, given, accepted, fix) from error
    if type(found) is not cls:
        given = f"{brief(found)}, made by {cls.__qualname__}"
        raise StoredSolutionError(kind, given, f"an instance of {cls.__qualname__}")
    return found


def _made(cls: type[Described], entries: dict[str, Any]) -> Described:
    """An instance, of the arguments or the entries of a description."""

    def nested(data: dict[str, Any]) -> Described:
        return restored("map" if "map" in data else "law", data)

    own = "entries" if "entries" in entries else "arguments"
    arguments = {name: read(value, nested) for name, value in entries[own].items()}
    if own == "entries":
        return cls.from_entries(arguments)
    signature = _signature(cls)
    if not arguments.keys() <= signature.parameters.keys():
        raise TypeError(f"unknown arguments among {brief(sorted(arguments))}")
    bound = inspect.BoundArguments(signature, OrderedDict(arguments))
    return cls(*bound.args, **bound.kwargs)
