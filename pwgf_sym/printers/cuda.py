"""Text for a GPU: threads in Python, by the functions of the CUDA runtime and Python's ``math``.

In float32 every number is written as ``DTYPE(...)``: a plain Python float is double precision, and
one of them would turn a whole formula into double precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import functions
from ..loops.nodes import (
    Apply,
    Barrier,
    Call,
    Choice,
    Entry,
    Expression,
    For,
    Integer,
    Local,
    Not,
    Number,
    Statement,
    walk,
)
from .python import PythonPrinter

__all__ = ["RUNTIME", "CudaPrinter"]

# Functions of the runtime that are made for a tile, by its module, and what else they are made of.
_MADE_FOR_TILES: dict[str, dict[str, tuple[str, ...]]] = {
    "blocks": dict.fromkeys(("invert", "log_determinant", "store"), ("DTYPE",)),
    "contractions": dict.fromkeys(
        ("begin", "contract", "contract_near", "end"), ("DTYPE", "THREADS")
    ),
    "sums": dict.fromkeys(("outer_sums", "product_sums", "row_sums"), ("DTYPE", "THREADS")),
}
# Functions of its module blocks that are made for a precision, and plain ones.
_MADE = {"add_partials": "partial_sums"}
_PLAIN = ("block_sum", "copy", "fill")
# All names that a module may import, by where they are.
RUNTIME = {
    "blocks": {*_MADE_FOR_TILES["blocks"], *_MADE.values(), *_PLAIN},
    "contractions": {*_MADE_FOR_TILES["contractions"]},
    "sums": {*_MADE_FOR_TILES["sums"]},
    "toolkit": {"cuda"},
}
_MATH = {"power": "math.pow", "sqrt": "math.sqrt"}
_RELATIONS = {"maximum": ">", "minimum": "<"}
_RANGES = {
    "threads": "range(lane, {}, cuda.blockDim.x)",
    "blocks": "range(cuda.blockIdx.x, {}, cuda.gridDim.x)",
}


class CudaPrinter(PythonPrinter):
    """Prints kernels for Numba's CUDA target.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    threads : int
        Threads of a block.
    """

    decorator = "@cuda.jit(cache=True)"

    def __init__(self, dtype: str, threads: int) -> None:
        self.dtype, self.threads = dtype, threads

    def own(self, node: Expression) -> str:
        match node:
            case Number(value):
                return f"DTYPE({value!r})" if self.dtype == "float32" else repr(value)
            case Entry(array, index, plain):
                # Numba lets a signed index count from the end, at the cost of a comparison and a
                # register; ``at`` makes it unsigned.
                if plain or isinstance(index, Integer):
                    return f"{array}[{self.text(index)}]"
                return f"{array}[at({self.text(index)})]"
            case Apply(function, arguments):
                numbers = {"one": Number(1.0), "zero": Number(0.0), "minus": Number(-1.0)}
                texts = {name: self.text(number) for name, number in numbers.items()}
                return functions.entry_of(function).cuda.format(*map(self.text, arguments), **texts)
            case Choice(condition, first, second):
                parts = map(self.text, (first, condition, second))
                return "({} if {} else {})".format(*parts)
            case Not(value):
                return f"(not {self.text(value)})"
        return super().own(node)

    def called(self, function: str, arguments: tuple[Expression, ...]) -> str:
        if function in _RELATIONS:  # NaN on either side comes through
            first, second = map(self.text, arguments)
            condition = f"({first}) {_RELATIONS[function]} ({second}) or ({first}) != ({first})"
            return f"({first} if {condition} else {second})"
        return super().called(_MATH.get(function, function), arguments)

    def repeated(self, function: str) -> tuple[bool, ...]:
        """Those that stand in a function's text more than once."""
        if function in _RELATIONS:
            return (True, True)
        entry = functions.function_of(function)
        if entry is None:
            return ()
        count = max((k + 1 for k in range(9) if f"{{{k}}}" in entry.cuda), default=0)
        return tuple(entry.cuda.count(f"{{{k}}}") > 1 for k in range(count))

    def is_call(self, function: str) -> bool:
        """Whether a function has a name here, and is not put together of others."""
        entry = functions.function_of(function)
        return function not in _RELATIONS and (entry is None or not entry.cuda.startswith("("))

    def leading_minus(self, number: Number) -> bool:
        """Whether the text of a number begins with a minus."""
        return self.text(number).startswith("-")

    def own_lines(self, node: Statement) -> Iterator[str]:
        match node:
            case Barrier():
                yield "cuda.syncthreads()"
            case _:
                yield from super().own_lines(node)

    def array(self, node: Local) -> str:
        boundary = f", {node.boundary}" if node.boundary else ""
        return f"cuda.{node.space}.array({self.text(node.size)}, DTYPE{boundary})"

    def range(self, loop: For) -> str:
        if loop.kind in _RANGES:
            return _RANGES[loop.kind].format(self.text(loop.stop))
        return super().range(loop)

    def stop(self, loop: For) -> str:
        """Where a loop ends; NVVM unrolls no loop to a length that it does not know."""
        return self.text(loop.stop) + ("*one" if loop.kind == "rolled" else "")

    # -- modules -------------------------------------------------------------------------------

    def whole(self, statements: list[Statement]) -> str:
        """A module: imports, functions made for its tiles, and the statements."""
        lines = ["", *self._preamble(statements), "", ""]
        return "".join(f"{line}\n" for line in lines) + self.listing(statements)

    def listing(self, statements: list[Statement]) -> str:
        """Statements alone."""
        return self.module(statements).rstrip("\n") + "\n"

    def _preamble(self, statements: Iterable[Statement]) -> Iterator[str]:
        """Imports, and the functions of a block that the kernels call."""
        nodes = list(walk(statements))
        calls = {node for node in nodes if isinstance(node, Call)}
        if any(_is_of_math(node) for node in nodes):
            yield from ("import math", "")
        yield from ("import numpy as np", "")
        tiled = dict(pair for found in _MADE_FOR_TILES.values() for pair in found.items())
        made = {(c.function, "_".join(map(str, c.sizes))) for c in calls if c.sizes is not None}
        plain = {c.function for c in calls if c.sizes is None}
        used = {"cuda", *(function for function, _ in made), *_MADE.values(), *plain}
        for module, names in RUNTIME.items():
            found = ", ".join(sorted(used & names))
            yield from [f"from pwgf_sym.runtime.cuda.{module} import {found}"] if found else []
        yield from ("", f"DTYPE, THREADS, at = np.{self.dtype}, {self.threads}, np.uint64")
        variables = []
        for function, tile in sorted(made):
            given = ", ".join([*tiled[function], *filter(None, tile.split("_"))])
            variables.append((f"{function}_{tile}", f"{function}({given})"))
        variables += [(name, f"{maker}(DTYPE)") for name, maker in _MADE.items()]
        yield from self.packed(variables)


def _is_of_math(node: object) -> bool:
    match node:
        case Apply(function):
            return "math." in functions.entry_of(function).cuda
        case Call(function):
            return function in _MATH
    return False
