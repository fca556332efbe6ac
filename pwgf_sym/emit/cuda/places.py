"""Variables of generated statements: first places that are declared once, numbers used once."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..writer import Writer

__all__ = ["Places", "packed", "without_single_uses"]

# Characters of a line, and variables that a line declares at most.  Python hands three values on
# as they are; of four it makes a tuple, which costs Numba time.
_WIDTH, _AT_ONCE = 88, 3


def packed(variables: Iterable[tuple[str, str]]) -> list[str]:
    """Assignments of (name, text) pairs, a few a line."""
    lines: list[list[tuple[str, str]]] = []
    for pair in variables:
        line = [*lines[-1], pair] if lines else [pair]
        if lines and len(line) <= _AT_ONCE and len(_assignment(line)) <= _WIDTH:
            lines[-1] = line
        else:
            lines.append([pair])
    return [_assignment(line) for line in lines]


def _assignment(pairs: list[tuple[str, str]]) -> str:
    names, texts = zip(*pairs, strict=True)
    return f"{', '.join(names)} = {', '.join(texts)}"


class Places:
    """First places that hold in a block of statements, by name.

    They are met while the block is written, and declared at its top in the end.
    """

    def __init__(self, write: Writer):
        self._write, self._at, self._depth = write, len(write.lines), write.depth
        self._found: dict[str, str] = {}

    def __call__(self, name: str, text: str) -> str:
        """The name of a place, whose text is declared under it."""
        self._found[name] = text
        return name

    def declare(self) -> None:
        """Write the declarations of the places that the block reads."""
        body = "\n".join(self._write.lines[self._at :])
        used = [(n, t) for n, t in self._found.items() if re.search(rf"\b{n}\b", body)]
        self._write.insert(self._at, self._depth, packed(used))


# Signs that bind less than a product.
_LOOSE = (" + ", " - ", " if ", " and ", " or ", "not ", " == ", " < ", " > ", " <= ", " >= ")


def without_single_uses(lines: list[str], names: Iterable[str]) -> list[str]:
    """Statements in which a number that one later statement uses, once, stands right there.

    Parameters
    ----------
    lines : list of str
        Assignments and headers of loops.  What a number is computed from stays the same until it is
        used, but for arrays that a statement between assigns to.
    names : iterable of str
        Variables, in the order in which they are computed.
    """
    found = list(lines)
    for name in names:
        word = re.compile(rf"\b{name}\b")
        places = [k for k, line in enumerate(found) if word.search(line)]
        if len(places) != 2:
            continue
        first, second = (found[k] for k in places)
        assignment = re.fullmatch(rf"( *){name} = (.*)", first)
        if assignment is None or len(word.findall(second)) != 1:
            continue
        indent, value = assignment.groups()
        if len(second) - len(second.lstrip()) != len(indent):  # another loop
            continue
        between = [line.split("[")[0].strip() for line in found[places[0] + 1 : places[1]]]
        if second.lstrip().startswith(f"{name} ") or any(f"{a}[" in value for a in between if a):
            continue
        merged = _put(second, word.search(second), value)
        if len(merged) - len(indent) <= _WIDTH and not word.search(merged):
            found[places[1]] = merged
            del found[places[0]]
    return found


def _put(line: str, place: re.Match, value: str) -> str:
    """A line with a value in place of a name, in brackets where it needs them."""
    before, after = line[: place.start()], line[place.end() :]
    tight = before.endswith(("*", "/", "-", "- ")) or after.startswith(("*", "/"))
    loose = value.startswith("-") or any(sign in value for sign in _LOOSE)
    right = before.endswith("= ") and not after
    alone = right or (before.endswith("(") and after.startswith(")"))
    if not alone and (loose or (tight and re.search(r"[*/]", value))):
        value = f"({value})"
    return before + value + after
