"""What register tiles of a sum over samples cost, by the ports of a core with vector registers."""

from __future__ import annotations

__all__ = ["IN_FLIGHT", "outer_cycles"]

# A remainder costs code, and with it compile time: avoided where that costs less than this part.
_REMAINDER = 0.04
# Multiply-adds in flight: two a cycle, four cycles long.
IN_FLIGHT = 8


def outer_cycles(rows: int, columns: int, first: int, second: int) -> float:
    """Cycles a sample vector of all tiles of an outer product, remainders included."""

    def tile(r: int, c: int) -> float:
        # Multiply-adds or loads, whichever is longer, and a share of the sums over lanes.
        return max(r * c, IN_FLIGHT, r + c) / 2 + (1 + r * c / 4) / 8 if r and c else 0.0

    total = 0.0
    for r, times_r in ((rows, first // rows), (first % rows, 1)):
        for c, times_c in ((columns, second // columns), (second % columns, 1)):
            total += times_r * times_c * tile(r, c)
    remainders = bool(first % rows) + bool(second % columns)
    return total * (1 + _REMAINDER * remainders)
