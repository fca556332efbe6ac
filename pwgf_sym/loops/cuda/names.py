"""What all builders of CUDA kernels write: names of threads and blocks, a function's first line."""

from __future__ import annotations

from ..block import Block
from ..nodes import Binary, Expression, Function, Integer, Lets, Name
from ..signature import Argument

__all__ = ["BLOCK", "BLOCKS", "LANE", "ONE", "TILES", "function", "from_lane", "turns"]

# The number of the thread's block, and of the thread in it; how many blocks there are.
BLOCK, BLOCKS, LANE = Name("cuda.blockIdx.x"), Name("cuda.gridDim.x"), Name("lane")
# One at run time: loops to ``size*one`` are not unrolled.
ONE = Name("one")
TILES = Name("tiles")


def function(name: str, arguments: list[Argument], summary: str, write: Block) -> Function:
    """A kernel with its first line."""
    first = Lets(("lane", "one"), (Name("cuda.threadIdx.x"), Name("cuda.gridDim.y")))
    return Function(name, tuple(arguments), summary, (first, *write.statements))


def turns(size: int) -> Expression:
    """The length of a loop inside a function of the runtime that is not to be unrolled."""
    return Binary("*", Integer(size), ONE)


def from_lane(*terms: Expression) -> Expression:
    """``a + b + ... + lane``."""
    first, *rest = (*terms, LANE)
    for term in rest:
        first = Binary("+", first, term)
    return first
