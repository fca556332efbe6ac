"""Distances in shared memory, for the functions of a block and for those who plan it."""

from __future__ import annotations

__all__ = ["BOUNDARY", "STAGES", "TEAM", "lanes_of", "pitch", "spread"]

# Threads that add up the samples of a row: a warp.
TEAM = 32
# Turns of a contraction whose values are in shared memory, or on the way: each has sixteen bytes of
# every thread.
STAGES = 4
# Bytes that shared memory gives in one read, at a multiple of them.
BOUNDARY = 16


def lanes_of(dtype: str) -> int:
    """Numbers that shared memory gives in one read."""
    return BOUNDARY // (4 if dtype == "float32" else 8)


def spread(numbers: int, lanes: int) -> int:
    """A distance that so many numbers fit into: an odd multiple of sixteen bytes.

    Columns that far apart begin in different banks of shared memory.
    """
    return (numbers + lanes - 1) // lanes // 2 * 2 * lanes + lanes


def pitch(samples: int, lanes: int) -> int:
    """The distance of rows of samples in shared memory: sixteen bytes more than they take."""
    return samples + lanes
