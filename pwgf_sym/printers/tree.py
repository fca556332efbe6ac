"""Statements themselves, to be read: what a printer of a target starts from."""

from __future__ import annotations

from collections.abc import Iterator

from ..loops.nodes import (
    Apply,
    Barrier,
    Choice,
    Entry,
    Expression,
    For,
    Function,
    Load,
    Local,
    Not,
    Number,
    Statement,
    Store,
    Verbatim,
    Zeros,
)
from .python import PythonPrinter

__all__ = ["TreePrinter"]


class TreePrinter(PythonPrinter):
    """Statements in a notation of no target: ``array[index; rows x lanes, stride]`` is a tile."""

    def own(self, node: Expression) -> str:
        match node:
            case Number(value):
                return repr(value)
            case Load(array, index, stride, rows, lanes):
                apart = f", stride {self.text(stride)}" if rows > 1 else ""
                return f"{array}[{self.text(index)}; {rows} x {lanes}{apart}]"
            case Entry(array, index):
                return f"{array}[{self.text(index)}]"
            case Zeros(rows, lanes):
                return f"zeros {rows} x {lanes}"
            case Apply(function, arguments):
                return self.called(function, arguments)
            case Choice(condition, first, second):
                return f"({self.text(first)} if {self.text(condition)} else {self.text(second)})"
            case Not(value):
                return f"not {self.text(value)}"
        return super().own(node)

    def _tile(
        self, array: str, index: Expression, stride: Expression, rows: int, lanes: int
    ) -> str:
        shape = f"{rows} x {lanes}" + (f", stride {self.text(stride)}" if rows > 1 else "")
        return f"{array}[{self.text(index)}; {shape}]"

    def own_lines(self, node: Statement) -> Iterator[str]:
        match node:
            case Store(array, index, value, stride):
                stands = self.text(stride)
                shape = "" if stands == "0" else f"; stride {stands}"
                yield f"{array}[{self.text(index)}{shape}] = {self.text(value)}"
            case Barrier():
                yield "all threads of the block meet"
            case _:
                yield from super().own_lines(node)

    def array(self, node: Local) -> str:
        return f"{node.space} array of {self.text(node.size)}"

    def range(self, loop: For) -> str:
        step = "" if loop.step == 1 else f":{loop.step}"
        kind = "" if loop.kind == "serial" else f", {loop.kind}"
        return f"{self.text(loop.start)}:{self.text(loop.stop)}{step}{kind}"

    def function(self, node: Function) -> Iterator[str]:
        first = node.summary.split("\n")[0]
        yield f"{node.name}({node.names}): {first}"
        yield from self._indented(line for s in node.body for line in self.lines(s))
        yield ""

    def lines(self, node: Statement) -> Iterator[str]:
        if isinstance(node, Verbatim):
            return iter((f"{', '.join(node.names)}: text of the target", ""))
        return super().lines(node)
