"""Functions of a loaded module, called with their arguments by name, and the types of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..loops.signature import Argument, KernelSignature

__all__ = ["BoundKernel", "numba_type"]

_EDGES, _STORED_EDGES = ("first", "last"), ("first", "last", "origin", "extent")


class BoundKernel:
    """A function of a module: where the values of names stand among its arguments.

    That is looked up once for every list of names that it is called with.  A call of a small flow
    takes microseconds, so what lies between names and arguments is one ``itemgetter``.

    Attributes
    ----------
    function : callable
        Of the module.
    signature : KernelSignature
        What it takes.
    steps : int
        Steps of the map that it takes.
    names : frozenset of str
        Its arguments.
    sizes : dict of str to int
        Lengths of its arrays, where these do not depend on the samples.
    vectors : tuple of (str, int)
        Names of its vectors of parameters, and their lengths.
    inputs : tuple of (str, int)
        Names of per-sample arrays that it reads, and their numbers a sample.
    outputs : tuple of (str, str, int)
        The same of those that it writes, with what callers call them.
    stored : tuple of str
        What callers call its stored arrays.
    """

    def __init__(self, function: Callable[..., Any], signature: KernelSignature, steps: int):
        self.function, self.signature = function, signature
        self.names = frozenset(a.name for a in signature)
        own = signature["theta"].sizes[0] if "theta" in signature else None
        self.steps = steps if own is None else own
        self.sizes = {
            a.name: a.length(step=self.steps) for a in signature if a.open in ((), ("step",))
        }
        self.vectors = tuple((a.name, self.sizes[a.name]) for a in signature.of("parameter"))
        self.inputs = tuple((a.name, a.numbers) for a in signature.of("input"))
        self.outputs = tuple((a.name, a.label, a.numbers) for a in signature.of("output"))
        self.stored = tuple(a.label for a in signature.of("stored"))
        self._paths = tuple(a.name for a in signature.of("stored"))
        self._orders: dict[tuple[str, ...], Callable[[tuple], tuple]] = {}

    def _order(self, names: tuple[str, ...]) -> Callable[[tuple], tuple]:
        found = self._orders.get(names)
        if found is None:
            found = self._orders[names] = self.signature.order(names)
        return found

    def arguments(self, values: Mapping[str, Any]) -> tuple:
        """The values that the function takes, in its order."""
        return self._order(tuple(values))(tuple(values.values()))

    def __call__(self, values: Mapping[str, Any]) -> None:
        """Call the function; values that it does not take may be there, too."""
        self.function(*self._order(tuple(values))(tuple(values.values())))

    def work(
        self, values: Mapping[str, Any], part: str = "", parts: Sequence[Any] = ()
    ) -> Callable[[int, int, int], None]:
        """A function of (chunk, first tile, last tile) that calls this one for the tiles.

        Of the argument ``part``, if one is named, every chunk has its own among ``parts``.
        """
        order = self._order((*values, part, *_EDGES))
        known, function = tuple(values.values()), self.function

        def run(chunk: int, first: int, last: int) -> None:
            own = parts[chunk] if part else None
            function(*order((*known, own, first, last)))

        return run

    def stored_work(
        self, values: Mapping[str, Any], part: str = "", parts: Sequence[Any] = ()
    ) -> Callable[..., None]:
        """The same of (chunk, pieces): stored values, first tile and last tile of each piece."""
        order = self._order((*values, part, *self._paths, *_STORED_EDGES))
        known, function, labels = tuple(values.values()), self.function, self.stored

        def run(chunk: int, pieces) -> None:
            own = parts[chunk] if part else None
            for stored, first, last in pieces:
                where = (first, last, stored.origin, stored.extent)
                function(*order((*known, own, *stored.of(labels), *where)))

        return run


def numba_type(argument: Argument, dtype: np.dtype | str):
    """The type of an argument in a module of this precision."""
    from numba import from_dtype, types

    own = from_dtype(np.dtype(argument.dtype or dtype))
    return types.Array(own, argument.dimensions, "C") if argument.dimensions else own
