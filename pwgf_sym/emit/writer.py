"""Lines of generated Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["Writer", "wrapped"]


class Writer:
    """Collects lines at the current indentation."""

    def __init__(self):
        self.lines: list[str] = []
        self._depth = 0

    def __call__(self, line: str = "") -> None:
        self.lines.append("    " * self._depth + line if line else "")

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """A compound statement: ``header:`` and an indented body."""
        self(header + ":")
        self._depth += 1
        yield
        self._depth -= 1

    @contextmanager
    def nest(self, headers: Iterable[str]) -> Iterator[None]:
        """Compound statements inside each other."""
        with ExitStack() as stack:
            for header in headers:
                stack.enter_context(self.block(header))
            yield

    @property
    def depth(self) -> int:
        """Current indentation, in steps."""
        return self._depth

    def insert(self, at: int, depth: int, lines: Iterable[str]) -> None:
        """Put lines before line ``at``, at an indentation of their own."""
        self.lines[at:at] = ["    " * depth + line for line in lines]

    def append(self, lines: Iterable[str]) -> None:
        """Write the lines of another writer at the current indentation."""
        for line in lines:
            self(line)

    def text(self) -> str:
        """All lines as one string."""
        return "\n".join(self.lines) + "\n"


def wrapped(text: str, width: int = 96, indent: str = "    ") -> list[str]:
    """A long line of prose or a formula broken at blanks."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        if current and len(current) + 1 + len(word) > width:
            lines.append(current)
            current = indent + word
        else:
            current = f"{current} {word}" if current else word
    return [*lines, current]
