"""Texts that all emitters of CUDA kernels write."""

from __future__ import annotations

__all__ = ["ROLLED", "call_name", "element"]

# Stands after the length of a loop that is not to be unrolled.
ROLLED = "*one"


def call_name(kind: str, *tile: int) -> str:
    """Name of a block function for a tile, in a generated module."""
    return f"{kind}_{'_'.join(map(str, tile))}"


def element(array: str, index: str) -> str:
    """An entry of an array; ``at`` makes the index unsigned.

    Numba lets a signed index count from the end, at the cost of a comparison and a register.
    """
    return f"{array}[at({index})]"
