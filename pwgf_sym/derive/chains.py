"""Sums over neighbours that are written out, as sums over an index of the coordinates.

    (x1 - x0)**2 + (x2 - x1)**2 + ...  is  Sum((x[n + 1] - x[n])**2, (n, 0, d - 2)):

the summands are one formula, moved along the coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from ..declare.symbols import as_copy
from ..sharing import replaced
from .likeness import UNKNOWN, Likeness

__all__ = ["chained"]

#: As few links of a chain, and links over more coordinates than this, are written one by one.
_FEWEST, _LONGEST = 32, 4


def chained(
    summands: Sequence[sp.Expr],
    coordinates: Sequence[sp.Symbol],
    likeness: Likeness,
    index: Callable[[], sp.Symbol],
) -> list[sp.Expr]:
    """Summands with sums over an index in the place of chains.

    Parameters
    ----------
    summands : sequence of Expr
    coordinates : sequence of d Symbols
    likeness : Likeness
        Knows which coordinates stand in a formula.
    index : callable
        Gives a symbol that no formula uses.
    """
    chains: dict[sp.Expr, dict[int, sp.Expr]] = {}
    rest: list[sp.Expr] = []
    marks = [sp.Dummy(real=True) for _ in range(_LONGEST)]
    for term in summands if len(summands) >= _FEWEST else ():
        places = likeness.places(term)
        first, last = min(places, default=UNKNOWN), max(places, default=UNKNOWN)
        if first == UNKNOWN or not 1 <= last - first < _LONGEST:
            rest.append(term)
            continue
        names = {coordinates[p]: marks[p - first] for p in places}
        chains.setdefault(replaced(term, names), {})[first] = term
    if not any(len(links) >= _FEWEST for links in chains.values()):
        return list(summands)
    x, n = as_copy(coordinates, "copy").indexed_base, index()
    for link, found in chains.items():
        for run in _runs(sorted(found)):
            if len(run) < _FEWEST:
                rest += [found[p] for p in run]
                continue
            entries = {mark: x[n + run[0] + k] for k, mark in enumerate(marks)}
            rest.append(sp.Sum(replaced(link, entries), (n, 0, len(run) - 1)))
    return rest


def _runs(places: Sequence[int]) -> list[list[int]]:
    """Places that follow each other."""
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][-1] + 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found
