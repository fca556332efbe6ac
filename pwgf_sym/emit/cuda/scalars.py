"""SymPy scalars as Python text for one thread of a GPU.

In float32 every number is written as ``DTYPE(...)``: a plain Python float is double precision, and
one of them would turn a whole formula into double precision.
"""

from __future__ import annotations

from ...functions import ScalarFunction
from ..scalars import TilePrinter

__all__ = ["ThreadPrinter", "printer_of"]

_RENAMED = {"power": "pow"}


class ThreadPrinter(TilePrinter):
    """Prints a scalar expression with the functions of Python's ``math``, which Numba maps to CUDA.

    Attributes
    ----------
    single : bool
        Whether numbers are float32.
    """

    single = False

    def number(self, value: float) -> str:
        return f"DTYPE({value!r})" if self.single else repr(value)

    def choice(self, condition: str, first: str, second: str) -> str:
        return f"({first} if {condition} else {second})"

    def apply(self, entry: ScalarFunction, arguments: list[str]) -> str:
        one, zero, minus = map(self.number, (1.0, 0.0, -1.0))
        several = [entry.cuda.count(f"{{{k}}}") > 1 for k in range(len(arguments))]
        arguments = [
            self.repeated(text) if again else text
            for text, again in zip(arguments, several, strict=True)
        ]
        return entry.cuda.format(*arguments, one=one, zero=zero, minus=minus)

    def call(self, name: str, *arguments: str) -> str:
        if name in ("maximum", "minimum"):  # NaN on either side comes through
            arguments = tuple(map(self.repeated, arguments))
            x = f"({arguments[0]})"
            relation = ">" if name == "maximum" else "<"
            first = f"{x} {relation} ({arguments[1]}) or {x} != {x}"
            return self.choice(first, arguments[0], arguments[1])
        return f"math.{_RENAMED.get(name, name)}({', '.join(arguments)})"

    def _print_Not(self, expr):
        return f"(not {self._print(expr.args[0])})"

    def _print_And(self, expr):
        return "(" + " and ".join(self._print(a) for a in sorted(expr.args, key=str)) + ")"

    def _print_Or(self, expr):
        return "(" + " or ".join(self._print(a) for a in sorted(expr.args, key=str)) + ")"


class _SinglePrinter(ThreadPrinter):
    single = True


def printer_of(dtype: str) -> type[ThreadPrinter]:
    """The printer of a precision."""
    return _SinglePrinter if dtype == "float32" else ThreadPrinter
