"""Work on chunks of samples by several threads; the chunks never depend on how many there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from queue import SimpleQueue
from threading import Lock, Thread

__all__ = ["CHUNKS", "LEAST_WORK", "chunk_bounds", "chunk_count", "run_chunks"]
__all__ += ["work_bounds"]

# Number of pieces that the samples are cut into at most: partial sums are kept one a piece and
# added in the order of the pieces, so results are the same to the bit for any number of threads.
CHUNKS = 8
# Multiplications of a chunk at least, about 0.2 ms: a chunk costs 5 to 15 microseconds of Python,
# and more where two threads want the interpreter's lock at a time.
LEAST_WORK = 1 << 21
# Tasks that wait at most.  Threads that get no time on a busy machine do not look at the queue.
_BACKLOG = 64


def chunk_count(work: float) -> int:
    """A power of two, for so many multiplications in all; it depends on nothing else."""
    return 1 << min(int(work // LEAST_WORK) | 1, CHUNKS).bit_length() - 1


@lru_cache(maxsize=256)
def chunk_bounds(tiles: int, tiles_a_block: int, most: int = CHUNKS) -> tuple[tuple[int, int], ...]:
    """First and last tile of every chunk; chunks consist of blocks, the last may be short."""
    blocks = -(-tiles // tiles_a_block)
    count = min(most, blocks)
    edges = [min(k * blocks // count * tiles_a_block, tiles) for k in range(count + 1)]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


@lru_cache(maxsize=256)
def work_bounds(tiles: int, tiles_a_block: int, work: float) -> tuple[tuple[int, int], ...]:
    """The chunks of so many multiplications in all."""
    return chunk_bounds(tiles, tiles_a_block, chunk_count(work))


def thread_count() -> int:
    """Number of threads that Numba was told to use (``NUMBA_NUM_THREADS``)."""
    from numba.core import config

    return max(1, int(config.NUMBA_NUM_THREADS))


class _Task:
    """A call that another thread makes unless it is taken back before that."""

    def __init__(self, call: Callable[[], None], board):
        from .waiting import Flag

        self._call, self._error, self._board, self.flag = call, None, board, Flag()
        self._taken, self._done = Lock(), Lock()
        self._done.acquire()

    def run(self) -> None:
        """Make the call, in another thread."""
        if not self._taken.acquire(blocking=False):
            return
        try:
            self._call()
        except BaseException as error:  # raised again where the result is awaited
            self._error = error
        finally:
            self._done.release()

    def finish(self) -> BaseException | None:
        """Take the call back if it has not begun; else wait for its end, and return its error."""
        if self._taken.acquire(blocking=False):
            # The queue keeps the task until a thread looks, which on a busy machine may be long:
            # without this it would keep the arrays of every call since, gigabytes in a minute.
            self._call = None
        else:
            self._board.wait(self.flag)
            self._done.acquire()
        return self._error


class _Pool:
    """Threads that wait for tasks: first they watch a board, then they sleep at a queue.

    Instead of the standard library's executor: a queue and a lock cost 30 microseconds a call less
    than futures, and who watches answers 40 microseconds before who sleeps; kernels take a few
    hundred.
    """

    def __init__(self, threads: int):
        from .waiting import Board, Flag

        self._queue: SimpleQueue = SimpleQueue()
        self.board = Board(watched=threads < _processors())
        for number in range(threads):
            serve = partial(self._serve, Flag(), number)
            Thread(target=serve, name=f"pwgf_sym_{number}", daemon=True).start()

    def _serve(self, flag, number: int) -> None:
        board = self.board
        seen = board.posted
        while True:
            board.watch(flag, seen, number)
            seen = board.posted  # before the queue is looked at: no post is missed
            task = self._queue.get()
            task.run()
            flag = task.flag  # raised when this thread watches again, without the lock
            del task  # and with it what the call was made for

    def give(self, tasks: Sequence[_Task]) -> None:
        """Hand tasks to the threads, unless they lag behind: the caller takes back what is left."""
        if self._queue.qsize() > _BACKLOG:
            return
        for task in tasks:
            self._queue.put(task)
        self.board.post()


@cache
def _pool(threads: int) -> _Pool:
    """So many other threads."""
    return _Pool(threads)


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if hasattr(os, "register_at_fork"):  # a forked child inherits the pool, but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run_chunks(work: Callable[[int, int, int], None], bounds: Sequence[tuple[int, int]]) -> None:
    """Call ``work(chunk, first, last)`` for every chunk; kernels release the GIL.

    The calling thread works, too: the others take chunks from the same list as they wake up, so a
    kernel of less than a millisecond does not wait for a thread that the system has put aside.
    """
    threads = min(thread_count(), len(bounds)) if len(bounds) > 1 else 1
    if threads == 1:
        for chunk, (first, last) in enumerate(bounds):
            work(chunk, first, last)
        return
    chunks = enumerate(bounds)  # taking the next one is atomic

    def drain() -> None:
        for chunk, (first, last) in chunks:
            work(chunk, first, last)

    pool = _pool(thread_count() - 1)
    tasks = [_Task(drain, pool.board) for _ in range(threads - 1)]
    pool.give(tasks)
    try:
        drain()
    finally:
        errors = [task.finish() for task in tasks]
    for error in errors:
        if error is not None:
            raise error
