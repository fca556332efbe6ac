"""What a generated function takes: its arguments in their order, what they are, how large they are.

A builder writes them once, with the statements that read them.  The text of the function, its
docstring, the types that it is compiled for and its calls are made of them, so that an argument
more is added in one place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..schedule.reductions import OuterTiles
from ..tensors import Axis

__all__ = ["Argument", "KernelSignature", "Kind", "count", "of_sample", "of_step"]

#: What an argument is: a vector of parameters; an array that is read; what packed samples say of
#: themselves (weights, points row by row, the share of a partner); stored values of the map's
#: forward pass; an array that is written; room for the kernel, or what one of its functions leaves
#: there for another; numbers that the module needs beside its text; a whole number.
Kind = Literal[
    "parameter", "input", "samples", "stored", "output", "workspace", "constant", "scalar"
]


@dataclass(frozen=True)
class Argument:
    """An argument of a generated function; arrays are flat.

    Attributes
    ----------
    name : str
        Its name in the text.
    kind : Kind
        What it is.
    axes : tuple of str
        Axes of an array, outermost first; a number has none.
    sizes : tuple of int or None
        Their sizes; None of an axis whose length a call says: "step", "sample", "block".
    called : str
        What callers call the value, where that is not the name in the text.
    padded : int
        Numbers that stand in memory for the axes of known size; 0 for as many as there are.
    values : tuple of float
        Of a constant: its numbers.
    tiles : tuple of OuterTiles
        Of sums over samples that stand tile by tile: the tiles.
    dtype : str
        Where it is not the kernels' precision.
    dimensions : int
        Of the array that is handed over; 0 of a number.
    """

    name: str
    kind: Kind
    axes: tuple[str, ...] = ()
    sizes: tuple[int | None, ...] = ()
    called: str = ""
    padded: int = 0
    values: tuple[float, ...] = ()
    tiles: tuple[OuterTiles, ...] = field(default=(), compare=False, repr=False)
    dtype: str = ""
    dimensions: int = 1

    @property
    def label(self) -> str:
        """What callers call the value."""
        return self.called or self.name

    @cached_property
    def numbers(self) -> int:
        """Numbers in memory for every entry of the axes whose length a call says."""
        return self.padded or math.prod(size for size in self.sizes if size is not None)

    @cached_property
    def open(self) -> tuple[str, ...]:
        """Axes whose length a call says."""
        pairs = zip(self.axes, self.sizes, strict=True)
        return tuple(axis for axis, size in pairs if size is None)

    def length(self, **extents: int) -> int:
        """Numbers of the array, with the length of its open axes."""
        found = self.numbers
        for axis in self.open:
            found *= extents[axis]
        return found

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Row-major index of each place of a step's sums, which stand tile by tile."""
        found, start = np.empty(self.numbers, int), 0
        for tiles in self.tiles:
            positions = tiles.positions()
            found[start : start + positions.size] = start + positions
            start += positions.size
        return found


def of_sample(
    name: str,
    axes: Iterable[Axis],
    kind: Kind = "input",
    called: str = "",
    steps: bool = False,
    padded: int = 0,
) -> Argument:
    """An array with an entry a sample, or one a step and sample."""
    axes, outer = tuple(axes), ("step", "sample") if steps else ("sample",)
    names = *outer, *(axis.name for axis in axes)
    sizes = *(None for _ in outer), *(axis.size for axis in axes)
    return Argument(name, kind, names, sizes, called, padded)


def of_step(
    name: str, kind: Kind, axis: str, size: int, steps: int | None = None, called: str = ""
) -> Argument:
    """An array with so many numbers a step; of all steps of the map, or of so many."""
    return Argument(name, kind, ("step", axis), (steps, size), called)


def count(name: str) -> Argument:
    """A whole number."""
    return Argument(name, "scalar", dtype="int64", dimensions=0)


@dataclass(frozen=True)
class KernelSignature:
    """A function of a generated module, and what it takes.

    Attributes
    ----------
    name : str
        Of the function; a kernel of two names has the first.
    arguments : tuple of Argument
        In their order.
    block : int
        Tiles that it computes at a time: its sums take whole blocks.
    """

    name: str
    arguments: tuple[Argument, ...]
    block: int = 1

    @cached_property
    def _by_name(self) -> Mapping[str, Argument]:
        return {argument.name: argument for argument in self.arguments}

    def __iter__(self) -> Iterator[Argument]:
        return iter(self.arguments)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Argument:
        return self._by_name[name]

    def of(self, *kinds: Kind) -> tuple[Argument, ...]:
        """The arguments of some kinds."""
        return tuple(argument for argument in self if argument.kind in kinds)

    def order(self, names: Sequence[str]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
        """From values of these names to the arguments; what the function does not take is left out.

        Raises
        ------
        KeyError
            That names an argument which has no value.
        """
        missing = [argument.name for argument in self if argument.name not in names]
        if missing:
            raise KeyError(f"{self.name} takes {', '.join(missing)}, too")
        places = [names.index(argument.name) for argument in self]
        if len(places) < 2:
            return lambda values: tuple(values[k] for k in places)
        return itemgetter(*places)
