"""Blocks of samples that NumPy works on at a time: their arrays stay in the cache."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NumpyTiling"]


@dataclass(frozen=True)
class NumpyTiling:
    """Samples one after the other: a tile is one sample, and there is no padding.

    Attributes
    ----------
    numbers : int
        Numbers that a block of samples takes in a kernel of a map.
    at_once : int
        Samples of a block in a kernel of an energy.
    own, partners : int
        Samples and partners of a block of pairs.
    piece_bytes : int
        Bytes of the stored values of a piece, where those of all samples do not fit into memory.
    """

    numbers: int = 1 << 19
    at_once: int = 4096
    own: int = 128
    partners: int = 1024
    piece_bytes: int = 1 << 26

    @property
    def samples(self) -> int:
        """Samples of a tile."""
        return 1

    def padded(self, numbers: int) -> int:
        """Numbers that a sample takes in an array."""
        return numbers

    def block(self, numbers: int) -> int:
        """Samples of a block in a kernel of a map that takes so many numbers of each."""
        return max(1, self.numbers // max(numbers, 1))

    def piece(self, stored: int) -> int:
        """Samples of a piece, where the stored values of each take so many bytes."""
        return max(1, self.piece_bytes // max(stored, 1))
