"""SymPy scalars as Python text for one thread of a GPU.

In float32 every number is written as ``DTYPE(...)``: a plain Python float is double precision, and
one of them would turn a whole formula into double precision.
"""

from __future__ import annotations

from ..scalars import TilePrinter

__all__ = ["ThreadPrinter", "printer_of"]

_RENAMED = {"absolute": "fabs", "power": "pow", "loggamma": "lgamma"}
_ROUNDING = ("floor", "ceil")


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

    def call(self, name: str, *arguments: str) -> str:
        one, zero = self.number(1.0), self.number(0.0)
        x = f"({arguments[0]})"
        if name == "sigmoid":
            return f"({one}/({one} + math.exp(-{x})))"
        if name == "sign":
            negative = f"({self.number(-1.0)} if {x} < {zero} else {arguments[0]})"
            return f"({one} if {x} > {zero} else {negative})"
        if name in ("maximum", "minimum"):  # NaN on either side comes through
            relation = ">" if name == "maximum" else "<"
            first = f"{x} {relation} ({arguments[1]}) or {x} != {x}"
            return self.choice(first, arguments[0], arguments[1])
        if name in _ROUNDING:
            return f"DTYPE(math.{name}({arguments[0]}))"
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
