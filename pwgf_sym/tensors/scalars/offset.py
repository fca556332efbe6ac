"""Differences that stay differences."""

from __future__ import annotations

from typing import Any

import sympy as sp

__all__ = ["offset"]


class offset(sp.Function):
    """x - c of a coordinate x, which no sum and no product takes apart."""

    nargs = 2

    def _eval_is_real(self) -> bool:
        return True

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """1 by the coordinate, -1 by the center."""
        return sp.S.One if argindex == 1 else sp.S.NegativeOne

    def _written(self, printer: Any) -> str:
        return f"({printer._print(self.args[0])} - ({printer._print(self.args[1])}))"

    _numpycode = _mpmathcode = _pythoncode = _written
