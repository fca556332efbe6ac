"""Collects the statements of a function, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from .nodes import Comment, Each, Expression, For, If, Integer, Let, Name, Statement

__all__ = ["Block", "Header"]


class Header(NamedTuple):
    """What a loop runs over."""

    variable: str
    stop: Expression | int
    start: Expression | int = 0
    step: int = 1


class Block:
    """Statements in their order; a loop's body is written inside a ``with``."""

    def __init__(self) -> None:
        self._open: list[list[Statement]] = [[]]

    def __call__(self, *statements: Statement) -> None:
        """Put statements at the end of the innermost block."""
        self._open[-1].extend(statements)

    def let(self, name: str, value: Expression) -> Name:
        """A variable with a value."""
        self(Let(name, value))
        return Name(name)

    def comment(self, text: str) -> None:
        """A comment."""
        self(Comment(text))

    @contextmanager
    def inside(self) -> Iterator[list[Statement]]:
        """Statements that do not go into the block, but into a list."""
        body: list[Statement] = []
        self._open.append(body)
        yield body
        assert self._open.pop() is body

    @contextmanager
    def loop(
        self,
        variable: str,
        stop: Expression | int,
        start: Expression | int = 0,
        step: int = 1,
        kind: str = "serial",
    ) -> Iterator[None]:
        """A loop over ``range(start, stop, step)``; none where nothing is put into it."""
        ends = [Integer(n) if isinstance(n, int) else n for n in (stop, start)]
        with self.inside() as body:
            yield
        if body:
            self(For(variable, ends[0], tuple(body), ends[1], step, kind))

    @contextmanager
    def loops(self, headers: Iterable[Header], kind: str = "serial") -> Iterator[None]:
        """Loops inside each other; headers are what :meth:`loop` takes."""
        with ExitStack() as stack:
            for header in headers:
                stack.enter_context(self.loop(*header, kind=kind))
            yield

    @contextmanager
    def each(
        self, names: tuple[str, ...], items: Iterable[tuple[Expression, ...]]
    ) -> Iterator[None]:
        """A loop over a few tuples of values."""
        with self.inside() as body:
            yield
        self(Each(names, tuple(items), tuple(body)))

    @contextmanager
    def when(self, condition: Expression) -> Iterator[None]:
        """Statements where a condition holds; no condition where nothing is put into it."""
        with self.inside() as body:
            yield
        if body:
            self(If(condition, tuple(body)))

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All statements."""
        (found,) = self._open
        return tuple(found)
