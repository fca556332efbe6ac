"""Explicit Runge-Kutta methods by name (Hairer, Norsett and Wanner, Solving ODEs I, chapter II)."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

__all__ = ["TABLEAUS", "Tableau"]


@dataclass(frozen=True)
class Tableau:
    """A Butcher tableau: weights of earlier slopes in each stage, and of all in the step."""

    stages: tuple[tuple[sp.Rational, ...], ...]
    weights: tuple[sp.Rational, ...]

    @property
    def times(self) -> tuple[sp.Rational, ...]:
        """Where each stage stands within the step, from 0 to 1."""
        return tuple(sum(row, sp.S.Zero) for row in self.stages)


def _tableau(stages: str, weights: str) -> Tableau:
    """Rows apart by ";", numbers by blanks; the first stage reads nothing."""
    rows = [tuple(map(sp.Rational, row.split())) for row in stages.split(";")]
    return Tableau(tuple(rows), tuple(map(sp.Rational, weights.split())))


#: Of order 1, 2, 2, 2, 3, 3, 4 and 4.
TABLEAUS: dict[str, Tableau] = {
    "euler": _tableau("", "1"),
    "midpoint": _tableau("; 1/2", "0 1"),
    "heun": _tableau("; 1", "1/2 1/2"),
    "ralston": _tableau("; 2/3", "1/4 3/4"),
    "kutta3": _tableau("; 1/2; -1 2", "1/6 2/3 1/6"),
    "ssprk3": _tableau("; 1; 1/4 1/4", "1/6 1/6 2/3"),
    "rk4": _tableau("; 1/2; 0 1/2; 0 0 1", "1/6 1/3 1/3 1/6"),
    "rk38": _tableau("; 1/3; -1/3 1; 1 -1 1", "1/8 3/8 3/8 1/8"),
}
