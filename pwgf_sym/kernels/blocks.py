"""Steps that are concatenated from blocks which read slices: couplings, permutations, triangles.

The axis is cut where slices begin and end.  Blocks of the result are matched with parts of x that
they read, and blocks that read each other's in a circle are one.  The Jacobian is then triangular
by blocks: those on the diagonal have a structure of their own, the others act by forward and
reverse mode and are not formed.

A block that is computed from another block reads that as it stands.  With the partial derivatives
F_y and F_x of y = F(y, x) the Jacobian is (1 - F_y)^-1 F_x, and det(1 - F_y) = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from itertools import pairwise

from ..tensors import (
    Axis,
    Input,
    Tensor,
    Window,
    Zero,
    add,
    input_tensor,
    scale,
    topological,
    window,
)
from ..tensors.differentiate import jvp, replace, vjp
from .slices import Slices
from .undivided import Structure, block_structure

__all__ = ["Triangular", "triangular"]

# A step of more blocks is dense: the text of a kernel grows with their number.
_MOST_BLOCKS = 64


@dataclass(frozen=True)
class _Piece:
    """A part of a vector, under an axis of its own."""

    start: int
    own: Axis

    def meets(self, start: int, end: int) -> bool:
        """Whether it has entries from ``start`` up to ``end``."""
        return self.start < end and start < self.start + self.own.size


@dataclass(frozen=True)
class _Block:
    """A block of the result and the part of x that it is matched with.

    Attributes
    ----------
    after : Tensor
        Of inputs that stand for parts of x, and of the result.
    x, y : Input
        Those that stand for this part of x, and for this block where it is read.
    of_x, of_y : list of _Piece
        What they consist of, one behind the other.
    """

    after: Tensor
    x: Input
    y: Input
    of_x: list[_Piece]
    of_y: list[_Piece]


class Triangular:
    """A Jacobian that is triangular by blocks.

    Attributes
    ----------
    row, axis : Axis
        Those of the result and of x.
    blocks : list of _Block
        Each reads parts of x of its own and of blocks before it.
    whole : dict of Tensor to Tensor
        What stands for what, back in terms of x.
    """

    def __init__(self, row: Axis, axis: Axis, blocks: list[_Block], whole: dict[Tensor, Tensor]):
        self.row, self.axis, self.blocks, self.whole = row, axis, blocks, whole
        self.diagonal: list[Structure] = [block_structure(b.after, b.x) for b in blocks]

    @cached_property
    def volume(self) -> Tensor:
        """The sum of those of the blocks on the diagonal."""
        known = [s.volume for s in self.diagonal if not isinstance(s.volume, Zero)]
        return self._back(add(*known)) if known else Zero(())

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 r, block after block: what the blocks before moved is taken off."""
        own = [_gathered(right, self.row, b.of_y, b.y.axes[0]) for b in self.blocks]
        tangents: dict[Tensor, Tensor] = {b.y: r for b, r in zip(self.blocks, own, strict=True)}
        for block, structure, part in zip(self.blocks, self.diagonal, own, strict=True):
            (moved,) = jvp([block.after], tangents)
            tangents[block.x] = structure.solve(_less(part, moved))
        found = [_spread(tangents[b.x], b.of_x, self.axis) for b in self.blocks]
        return self._back(add(*found))

    def transposed_solve(self, right: Tensor) -> Tensor:
        """J^-T r, from the last block to the first."""
        inputs: list[Tensor] = [t for b in self.blocks for t in (b.x, b.y)]
        pulled: dict[Tensor, list[Tensor]] = {t: [] for t in inputs}
        solved: dict[Tensor, Tensor] = {}
        for block, structure in zip(reversed(self.blocks), reversed(self.diagonal), strict=True):
            part = _gathered(right, self.axis, block.of_x, block.x.axes[0])
            part = _less(part, *pulled[block.x])
            solved[block.y] = structure.transposed_solve(part)
            for one, found in zip(inputs, vjp({block.after: solved[block.y]}, inputs), strict=True):
                pulled[one].append(found)
        spread = [_spread(_less(solved[b.y], *pulled[b.y]), b.of_y, self.row) for b in self.blocks]
        return self._back(add(*spread))

    def _back(self, tensor: Tensor) -> Tensor:
        return replace([tensor], self.whole)[0]


def _less(first: Tensor, *others: Tensor) -> Tensor:
    known = [scale(-1, other) for other in others if not isinstance(other, Zero)]
    return add(first, *known)


def _gathered(vector: Tensor, axis: Axis, pieces: list[_Piece], own: Axis) -> Tensor:
    """Pieces of a vector, one behind the other."""
    if len(pieces) == 1:
        return window(vector, axis, own, pieces[0].start)
    found = [window(vector, axis, p.own, p.start) for p in pieces]
    return _in_a_row(found, own)


def _in_a_row(parts: list[Tensor], own: Axis) -> Tensor:
    """Vectors one behind the other."""
    found, first = [], 0
    for part in parts:
        found.append(window(part, part.axes[0], own, -first))
        first += part.axes[0].size
    return add(*found)


def _spread(vector: Tensor, pieces: list[_Piece], axis: Axis) -> Tensor:
    """The pieces back at their places, zero elsewhere."""
    if isinstance(vector, Zero):
        return Zero((axis,))
    (own,) = vector.axes
    if len(pieces) == 1:
        return window(vector, own, axis, -pieces[0].start)
    found, first = [], 0
    for piece in pieces:
        part = window(vector, own, piece.own, first)
        found.append(window(part, piece.own, axis, -piece.start))
        first += piece.own.size
    return add(*found)


def triangular(after: Tensor, x: Tensor) -> Triangular | None:
    """The structure of a step of several blocks, or None where they cannot be put in order."""
    for cut in _cuts(after, x):
        matched = _matching(cut)
        order = [] if matched is None else _in_order(cut.reads, matched)
        if matched is not None and len(order) > 1:
            blocks, whole = _blocks(cut, matched, order)
            return Triangular(after.axes[0], x.axes[0], blocks, whole)
    return None


@dataclass(frozen=True)
class _Cut:
    """A step in pieces.

    Attributes
    ----------
    x : Tensor
    values : list of Tensor
        The blocks of the result.
    after, y : list of Tensor
        The same, of inputs that stand for the others where they are read; these inputs.
    of_y, of_x : list of _Piece
        Places of the blocks, and of the parts of x.
    read : dict of Tensor to list of int
        Slices of x that are read, and the numbers of the parts that they are of.
    reads : list of set of int
        The numbers of the parts of x that each block reads.
    """

    x: Tensor
    values: list[Tensor]
    after: list[Tensor]
    y: list[Tensor]
    of_y: list[_Piece]
    of_x: list[_Piece]
    read: dict[Tensor, tuple[int, list[int]]]
    reads: list[set[int]]


def _cuts(after: Tensor, x: Tensor) -> Iterator[_Cut]:
    """A step cut where it is put together, and x where the blocks cut it; then ever finer.

    What is computed entry by entry from a slice can be cut where the slice is.
    """
    slices, (row,) = Slices(x), after.axes
    inward = slices.inward(after)
    placed = [t for t in topological([inward]) if isinstance(t, Window) and t.axis == row]
    names = {t.inside: t.of for t in placed if t.of.size == t.inside[1] - t.inside[0]}
    borders, more = set[int](), slices.borders(inward, row) | {0, row.size}
    while not more <= borders and len(borders | more) <= _MOST_BLOCKS + 1:
        borders |= more
        of_y = _pieces(borders, row, names)
        values = [slices.part(inward, row, p.own, p.start) for p in of_y]
        cut = _cut(slices, values, of_y)
        yield cut
        more = {
            piece.start + part.start - start
            for piece, after_ in zip(of_y, cut.after, strict=True)
            for _, along, start in slices.read(after_)
            for part in cut.of_x
            if along.size == piece.own.size and start < part.start < start + along.size
        }


def _cut(slices: Slices, values: list[Tensor], of_y: list[_Piece]) -> _Cut:
    """Blocks of a step, and x where they cut it."""
    (axis,) = slices.x.axes
    y, blocks = _through_each_other(values, slices)
    read = [slices.read(block) for block in blocks]
    borders = {c for own in read for _, along, start in own for c in (start, start + along.size)}
    names = {(start, start + a.size): a for own in read for _, a, start in reversed(own)}
    of_x = _pieces({min(max(c, 0), axis.size) for c in borders}, axis, names)
    parts = {
        tensor: (start, [j for j, p in enumerate(of_x) if p.meets(start, start + along.size)])
        for own in read
        for tensor, along, start in own
    }
    reads = [{j for tensor, _, _ in own for j in parts[tensor][1]} for own in read]
    return _Cut(slices.x, values, blocks, y, of_y, of_x, parts, reads)


def _pieces(borders: set[int], axis: Axis, names: Mapping[tuple[int, int], Axis]) -> list[_Piece]:
    """An axis cut at borders, its parts under names that are known or made up."""
    found = []
    for a, b in pairwise(sorted(borders | {0, axis.size})):
        own = Axis(f"{axis.name}{a}_{b}", b - a) if b - a < axis.size else axis
        found.append(_Piece(a, names.get((a, b), own)))
    return found


def _through_each_other(values: list[Tensor], slices: Slices) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs for the blocks, and each block of the inputs for those that it is computed from."""
    y: list[Tensor] = [input_tensor(f"y{k}", t.axes, True) for k, t in enumerate(values)]
    free = [isinstance(t, Window) and t.operand is slices.x for t in values]
    known = {
        t: own
        for t, own, slice_of_x in zip(values, y, free, strict=True)
        if slices.moves(t) and t is not slices.x and not slice_of_x
    }
    found = []
    for value in values:
        others = {t: own for t, own in known.items() if t is not value}
        found.append(replace([value], others)[0])
    return y, found


def _matching(cut: _Cut) -> list[int] | None:
    """For every block a part of x of its length that it reads, all different; or None."""
    if len(cut.of_x) != len(cut.of_y):
        return None
    owner: dict[int, int] = {}

    def place(k: int, tried: set[int]) -> bool:
        for j in sorted(cut.reads[k] - tried):
            if cut.of_x[j].own.size == cut.of_y[k].own.size and j not in tried:
                tried.add(j)
                if j not in owner or place(owner[j], tried):
                    owner[j] = k
                    return True
        return False

    if not all(place(k, set()) for k in range(len(cut.of_y))):
        return None
    return sorted(owner, key=owner.__getitem__)


def _in_order(reads: list[set[int]], matched: list[int]) -> list[list[int]]:
    """Blocks, those in a circle together, each after those whose parts of x it reads."""
    count = range(len(reads))
    known = [{k for k in count if matched[k] in own} for own in reads]
    for middle in count:
        for k in count:
            if middle in known[k]:
                known[k] |= known[middle]
    circles = {k: [m for m in count if m == k or (m in known[k] and k in known[m])] for k in count}
    first = {k: circles[k][0] for k in count}
    graph = {k: sorted({first[m] for m in known[k]} - {k}) for k in count if first[k] == k}
    return [circles[k] for k in TopologicalSorter(graph).static_order()]


def _blocks(
    cut: _Cut, matched: list[int], order: list[list[int]]
) -> tuple[list[_Block], dict[Tensor, Tensor]]:
    """The blocks in order, and what their inputs stand for."""
    inputs: dict[Tensor, Tensor] = {}  # of the pieces, in terms of those of the blocks
    whole: dict[Tensor, Tensor] = {}
    parts: dict[int, Tensor] = {}
    made = []
    for members in order:
        of_x, of_y = [cut.of_x[matched[k]] for k in members], [cut.of_y[k] for k in members]
        stands_x = [window(cut.x, cut.x.axes[0], p.own, p.start) for p in of_x]
        x, own_x = _stand_in(f"x{members[0]}", of_x, stands_x, whole)
        y, own_y = _stand_in(f"y{members[0]}", of_y, [cut.values[k] for k in members], whole)
        for k, part, value in zip(members, own_x, own_y, strict=True):
            parts[matched[k]] = part
            inputs[cut.y[k]] = value
        made.append((members, x, y, of_x, of_y))
    for tensor, (start, over) in cut.read.items():
        (along,) = tensor.axes
        moved = [(parts[j], cut.of_x[j]) for j in over]
        inputs[tensor] = add(*[window(t, p.own, along, start - p.start) for t, p in moved])
        if len(over) > 1:
            whole[inputs[tensor]] = tensor
    blocks = []
    for members, x, y, of_x, of_y in made:
        own = replace([cut.after[k] for k in members], inputs)
        after = own[0] if len(own) == 1 else _in_a_row(own, y.axes[0])
        blocks.append(_Block(after, x, y, of_x, of_y))
    return blocks, whole


def _stand_in(
    name: str, pieces: list[_Piece], values: list[Tensor], whole: dict[Tensor, Tensor]
) -> tuple[Input, list[Tensor]]:
    """An input that stands for values one behind the other, and its parts for each of them."""
    if len(pieces) == 1:
        found = input_tensor(name, (pieces[0].own,), True)
        whole[found] = values[0]
        return found, [found]
    size = sum(p.own.size for p in pieces)
    long = Axis(f"{pieces[0].own.name}_{size}", size)
    found = input_tensor(name, (long,), True)
    whole[found] = _in_a_row(values, long)
    parts, first = list[Tensor](), 0
    for piece, value in zip(pieces, values, strict=True):
        parts.append(window(found, long, piece.own, first))
        whole[parts[-1]] = value
        first += piece.own.size
    return found, parts
