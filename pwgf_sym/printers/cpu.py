"""Text for the CPU: register tiles, by the functions of the tile runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import functions
from ..loops.cpu.inverse import inverses
from ..loops.nodes import (
    Apply,
    Call,
    Choice,
    Entry,
    Expression,
    Function,
    Load,
    Local,
    Node,
    Not,
    Number,
    Statement,
    Store,
    Table,
    Zeros,
    walk,
)
from .python import PythonPrinter

__all__ = ["RUNTIME", "CpuPrinter"]

# Functions that generated code may call, by the runtime's module.
RUNTIME = {
    "tile_arrays": ["exp_array", "prefetch", "sigmoid_array", "tanh_array"],
    "tile_shapes": ["spread", "unit"],
    "tiles": sorted({
        "add_lane_sums", "aligned", "fma", "lane_index", "load", "maximum", "minimum", "outer",
        "power", "row_sum", "sqrt", "store", "where", "zeros", *functions.runtime_names(),
    }),
}  # fmt: skip
_OPTIONS = '{"fastmath": {"contract"}, "error_model": "numpy", "nogil": True, "cache": True}'
# What the runtime calls the nodes that are a function of it each.
_CALLED: dict[type[Node], str] = {Load: "load", Store: "store", Zeros: "zeros", Local: "aligned"}
_OPERATORS = {"and": "&", "or": "|"}


class CpuPrinter(PythonPrinter):
    """Prints kernels for Numba's CPU target."""

    decorator = "@njit(**OPTIONS)"

    def __init__(self) -> None:
        self._like = ""  # an array of the kernel's precision: the function's first argument

    def own(self, node: Expression) -> str:
        match node:
            case Number(value):
                return repr(value)
            case Load(array, index, stride, rows, lanes):
                return f"load({array}, {self.text(index)}, {self.text(stride)}, {rows}, {lanes})"
            case Zeros(rows, lanes):
                return f"zeros({self._like}, {rows}, {lanes})"
            case Entry(array, index):
                return f"{array}[{self.text(index)}]"
            case Apply(function, arguments):
                return self.called(functions.entry_of(function).cpu, arguments)
            case Choice(condition, first, second):
                return self.called("where", (condition, first, second))
            case Not(value):
                return f"~({self.text(value)})"
        return super().own(node)

    def operator(self, operator: str) -> str:
        return _OPERATORS.get(operator, operator)

    def repeated(self, function: str) -> tuple[bool, ...]:
        """No text of a function holds an argument several times."""
        return ()

    def is_call(self, function: str) -> bool:
        """All functions are."""
        return True

    def leading_minus(self, number: Number) -> bool:
        """Whether the text of a number begins with a minus."""
        return repr(number.value).startswith("-")

    def own_lines(self, node: Statement) -> Iterator[str]:
        match node:
            case Store(array, index, value, stride):
                places = f"{array}, {self.text(index)}, {self.text(stride)}"
                yield f"store({places}, {self.text(value)})"
            case _:
                yield from super().own_lines(node)

    def array(self, node: Local) -> str:
        return f"aligned({self._like}, {self.text(node.size)})"

    def whole(self, statements: list[Statement], dtype: str) -> str:
        """A module: imports, options, and the statements with the inverses that they call."""
        used = self._used(statements)  # asked once: a module has tens of thousands of nodes
        needed = inverses(used)
        used |= self._used(needed)
        tables = any(isinstance(node, Table) for node in statements)
        lines = ["", *self._imports(used, tables, dtype), "", ""]
        return "".join(f"{line}\n" for line in lines) + self._listed([*needed, *statements])

    def listing(self, statements: list[Statement]) -> str:
        """Statements with the inverses that they call."""
        return self._listed([*inverses(self._used(statements)), *statements])

    def _listed(self, statements: list[Statement]) -> str:
        return self.module(statements).rstrip("\n") + "\n"

    def _imports(self, used: set[str], tables: bool, dtype: str) -> Iterator[str]:
        yield from ["import numpy as np"] * tables
        yield from ("from numba import njit", "")
        for module, names in RUNTIME.items():
            found = sorted(used.intersection(names))
            where = f"from pwgf_sym.runtime.cpu.{module} import"
            if module == "tiles":
                yield from (f"{where} (", *(f"    {name}," for name in found), ")")
            elif found:
                yield f"{where} {', '.join(found)}"
        yield from ("", f"OPTIONS = {_OPTIONS}")
        yield from [f"DTYPE = np.{dtype}"] * tables

    @staticmethod
    def _used(statements: Iterable[Statement]) -> set[str]:
        """Functions of the runtime that statements call."""
        found: set[str] = set()
        for node in walk(statements):
            if name := _CALLED.get(type(node)):
                found.add(name)
                continue
            match node:
                case Call(function):
                    found.add(function)
                case Choice(uniform=False):
                    found.add("where")
                case Apply(function):
                    found.add(functions.entry_of(function).cpu)
        return found

    def function(self, node: Function) -> Iterator[str]:
        self._like = node.arguments[0].name
        yield from super().function(node)
