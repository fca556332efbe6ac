"""What a run says of itself as JSON-able data, and back: bounds and numbers without end, too."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

from ..arguments import brief
from ..errors import StoredSolutionError
from .certificate import DISTANCES, ErrorBound

__all__ = ["from_plain", "to_plain"]

# Keys of objects that stand for what JSON has not.
_BOUND, _NUMBER = "error_bound", "number"
_NUMBERS = ("inf", "-inf", "nan")
_TEXTS = ("distance", "status", "reason")
_STATUSES = ("proven", "conditional")


def to_plain(value: Any) -> Any:
    """Dicts, lists, texts and finite numbers; a bound and a number without end become a dict."""
    if isinstance(value, dict):
        return {name: to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    if isinstance(value, ErrorBound):
        return {_BOUND: to_plain(asdict(value))}
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: str(float(value))}
    return value


def from_plain(value: Any) -> Any:
    """What :func:`to_plain` was given.

    Raises
    ------
    StoredSolutionError
        When a bound has other entries than bounds have.
    """
    if isinstance(value, list):
        return [from_plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_NUMBER} and value[_NUMBER] in _NUMBERS:
        return float(value[_NUMBER])
    found = {name: from_plain(part) for name, part in value.items()}
    return _bound(found[_BOUND]) if found.keys() == {_BOUND} else found


def _bound(entries: Any) -> ErrorBound:
    """The bound of these entries."""
    names = [field.name for field in fields(ErrorBound)]
    right = isinstance(entries, dict) and set(entries) == set(names)
    right = right and all(
        isinstance(entries[name], str if name in _TEXTS else float) for name in names
    )
    if not (right and entries["distance"] in DISTANCES and entries["status"] in _STATUSES):
        raise StoredSolutionError("bound", brief(entries), "the entries of an ErrorBound")
    return ErrorBound(**entries)
