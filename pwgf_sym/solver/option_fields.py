"""The mechanism of option objects: a field is written once, with its default and its check.

`solve` takes an object such as :class:`pwgf_sym.Steps` in one argument, and its fields as keywords,
too.  A field says here what it accepts, and what its keyword is where that has another name; the
signatures, the messages and what files store follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from ..arguments import brief, checked_call
from ..errors import OptionError

__all__ = ["OptionObject", "combined", "option", "option_object", "settled"]

Options = TypeVar("Options", bound="OptionObject")
Value = TypeVar("Value")


def settled(value: Value | None) -> Value:
    """A value that is there by now, as an option that a run has filled in."""
    assert value is not None
    return value


def option(default: Any, check: Callable[[str, Any], Any], keyword: str = "") -> Any:
    """A field of an option object.

    Parameters
    ----------
    default : object
        None where the run finds a value; None passes without a check then.
    check : callable
        (name, value) -> the plain value; raises an OptionError about that name.
    keyword : str
        The keyword of `solve`, where it is not the field's name.
    """
    return field(default=default, metadata={"check": check, "keyword": keyword})


@dataclass(frozen=True, repr=False)
class OptionObject:
    """Base of frozen dataclasses whose fields are checked when an object is made."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is not None or entry.default is not None:
                value = entry.metadata["check"](entry.name, value)
                object.__setattr__(self, entry.name, value)

    @classmethod
    def keywords(cls) -> dict[str, str]:
        """Keyword of `solve` -> field, in the order of the fields."""
        return {_keyword(entry): entry.name for entry in fields(cls)}

    def by_keyword(self) -> dict[str, Any]:
        """Values by the keywords of `solve`."""
        return {keyword: getattr(self, name) for keyword, name in self.keywords().items()}

    def __repr__(self) -> str:
        values = ((entry, getattr(self, entry.name)) for entry in fields(self))
        given = [f"{entry.name}={value!r}" for entry, value in values if value != entry.default]
        return f"{type(self).__name__}({', '.join(given)})"


def _keyword(entry: Field[Any]) -> str:
    return entry.metadata["keyword"] or entry.name


def option_object(kind: type[Options]) -> type[Options]:
    """Decorate an option object: a call that does not fit names what does, also by keywords."""
    checked = checked_call(renamed=kind.keywords())
    setattr(kind, "__init__", checked(getattr(kind, "__init__")))  # noqa: B009, B010 -- of a class
    return kind


def combined(
    kind: type[Options],
    argument: str,
    given: object,
    keywords: Mapping[str, object],
    defaults: Mapping[str, object],
) -> Options:
    """The option object of an argument and of keywords for single fields.

    Parameters
    ----------
    kind : type
        Of the object.
    argument : str
        The argument of `solve` that it stands in.
    given : object
        What stands there: an object, a value of its first field, or None.
    keywords : mapping
        Values by the keywords of `solve`, also those of other objects.
    defaults : mapping
        The same, for fields that are None in the end.

    Raises
    ------
    OptionError
        By the name that was given, for a value that is not accepted, and for a field that is given
        twice with two values.
    """
    found = _object(kind, argument, given)
    names = kind.keywords()
    settled = set(names.values()) if isinstance(given, kind) else set()
    if given is not None:
        settled.add(next(iter(names.values())))
    for keyword, name in names.items():
        if keyword not in keywords:
            continue
        value = keywords[keyword]
        changed = _with(found, name, keyword, value)
        if name in settled and changed != found:
            both = f"{brief(value)} together with {argument}={brief(given)}"
            fix = f"Write {argument}={changed!r}."
            raise OptionError(keyword, both, "one of the two, where they differ", fix)
        found = changed
    for keyword, name in names.items():
        if keyword in defaults and getattr(found, name) is None:
            found = _with(found, name, keyword, defaults[keyword])
    return found


def _object(kind: type[Options], argument: str, given: object) -> Options:
    """The object of what stands in an argument, without the keywords."""
    if given is None or isinstance(given, kind):
        return kind() if given is None else given
    try:
        return kind(**{fields(kind)[0].name: given})
    except OptionError as error:
        meant = isinstance(given, dict | OptionObject)
        fix = f"Write {argument}={kind.__name__}(...)." if meant else error.fix
        raise OptionError(argument, error.given, error.accepted, fix) from None


def _with(found: Options, name: str, keyword: str, value: object) -> Options:
    """The object with another value of a field; errors name the keyword."""
    try:
        return replace(found, **{name: value})
    except OptionError as error:
        raise OptionError(keyword, error.given, error.accepted, error.fix) from None
