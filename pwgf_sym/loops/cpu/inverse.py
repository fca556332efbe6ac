"""Inverses and log-determinants of matrices side by side, a sample a lane."""

from __future__ import annotations

from collections.abc import Iterable

from ..nodes import Verbatim
from ..templates import template

__all__ = ["inverse_name", "inverses"]

_TEXT = '''@njit(**OPTIONS)
def invert_{S}(matrix, m, inverse, k, log_det, v, d):
    """inverse = matrix^-1 and log|det matrix| of {S} matrices side by side, with row pivoting."""
    a = aligned(matrix, d*d*{S})
    for n in range(0, d*d*{S}, {S}):
        store(a, n, 0, load(matrix, m + n, 0, 1, {S}))
        store(inverse, k + n, 0, zeros(matrix, 1, {S}))
    for i in range(d):
        store(inverse, k + i*(d + 1)*{S}, 0, zeros(matrix, 1, {S}) + 1.0)
    volume = zeros(matrix, 1, {S})
    for c in range(d):
        for i in range(c + 1, d):  # the largest pivot rises, for each sample by itself
            low, high = load(a, (c*d + c)*{S}, 0, 1, {S}), load(a, (i*d + c)*{S}, 0, 1, {S})
            swap = absolute(high) > absolute(low)
            for j in range(d):
                p, q = (c*d + j)*{S}, (i*d + j)*{S}
                low, high = load(a, p, 0, 1, {S}), load(a, q, 0, 1, {S})
                store(a, p, 0, where(swap, high, low))
                store(a, q, 0, where(swap, low, high))
                low, high = load(inverse, k + p, 0, 1, {S}), load(inverse, k + q, 0, 1, {S})
                store(inverse, k + p, 0, where(swap, high, low))
                store(inverse, k + q, 0, where(swap, low, high))
        pivot = load(a, (c*d + c)*{S}, 0, 1, {S})
        volume = volume + log(absolute(pivot))
        for j in range(d):
            p = (c*d + j)*{S}
            store(a, p, 0, load(a, p, 0, 1, {S})/pivot)
            store(inverse, k + p, 0, load(inverse, k + p, 0, 1, {S})/pivot)
        for i in range(d):
            if i != c:
                factor = -load(a, (i*d + c)*{S}, 0, 1, {S})
                for j in range(d):
                    p, q = (c*d + j)*{S}, (i*d + j)*{S}
                    row = fma(factor, load(a, p, 0, 1, {S}), load(a, q, 0, 1, {S}))
                    store(a, q, 0, row)
                    row = load(inverse, k + q, 0, 1, {S})
                    row = fma(factor, load(inverse, k + p, 0, 1, {S}), row)
                    store(inverse, k + q, 0, row)
    store(log_det, v, 0, volume)


'''


def inverse_name(lanes: int) -> str:
    """Name of the function for so many matrices side by side."""
    return f"invert_{lanes}"


def inverses(called: Iterable[str]) -> list[Verbatim]:
    """The functions for inverses among names of functions that are called."""
    sizes = [int(n.removeprefix("invert_")) for n in called if n.startswith("invert_")]
    return [template(_TEXT, {"S": lanes}) for lanes in sorted(sizes)]
