"""Work on chunks of samples by several threads; the chunks never depend on how many there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

__all__ = ["CHUNKS", "chunk_bounds", "run_chunks"]

# Number of pieces that the samples are cut into: partial sums are kept one a piece and added in
# the order of the pieces, so results are the same to the bit for any number of threads.
CHUNKS = 8


def chunk_bounds(tiles: int, tiles_a_block: int) -> list[tuple[int, int]]:
    """First and last tile of every chunk; chunks consist of blocks, the last may be short."""
    blocks = -(-tiles // tiles_a_block)
    count = min(CHUNKS, blocks)
    edges = [min(k * blocks // count * tiles_a_block, tiles) for k in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def thread_count() -> int:
    """Number of threads that Numba was told to use (``NUMBA_NUM_THREADS``)."""
    from numba.core import config

    return max(1, int(config.NUMBA_NUM_THREADS))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="pwgf_sym")


if hasattr(os, "register_at_fork"):  # a forked child inherits the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run_chunks(work: Callable[[int, int, int], None], bounds: Sequence[tuple[int, int]]) -> None:
    """Call ``work(chunk, first, last)`` for every chunk; kernels release the GIL.

    The calling thread works, too: the others take chunks from the same list as they wake up, so a
    kernel of less than a millisecond does not wait for a thread that the system has put aside.
    """
    if len(bounds) == 1:
        work(0, *bounds[0])
        return
    chunks = enumerate(bounds)  # taking the next one is atomic

    def drain() -> None:
        for chunk, (first, last) in chunks:
            work(chunk, first, last)

    others = min(thread_count(), len(bounds)) - 1
    futures = [_pool(thread_count() - 1).submit(drain) for _ in range(others)]
    try:
        drain()
    finally:
        for future in futures:
            if not future.cancel():
                future.result()
