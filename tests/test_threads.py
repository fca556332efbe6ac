"""Chunks of samples: how many there are, and the threads that take them."""

import threading
import time
import weakref

import pytest

from pwgf_sym.targets import threads
from pwgf_sym.targets.threads import CHUNKS, chunk_bounds, chunk_count, run_chunks
from pwgf_sym.targets.waiting import Board, Flag

_CUTS = [(1, 1, 8), (7, 2, 8), (256, 16, 4), (9, 4, 8)]


@pytest.fixture(params=[1, 2, 5])
def some_threads(monkeypatch, request):
    monkeypatch.setattr(threads, "thread_count", lambda: request.param)
    return request.param


def test_a_chunk_has_enough_work(monkeypatch):
    monkeypatch.setattr(threads, "LEAST_WORK", 2**20)
    assert [chunk_count(n * 2**20) for n in (0, 0.9, 1.9, 2, 3.9, 4, 7.9, 8, 1e6)] == [
        1, 1, 1, 2, 2, 4, 4, CHUNKS, CHUNKS,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tiles", "block", "most"), [(1, 1, 8), (7, 2, 8), (256, 16, 4), (9, 4, 8)]
)
def test_chunks_cover_the_tiles(tiles, block, most):
    bounds = chunk_bounds(tiles, block, most)
    assert len(bounds) <= most
    assert [k for first, last in bounds for k in range(first, last)] == list(range(tiles))
    assert all(first % block == 0 for first, _ in bounds)


def test_every_chunk_runs_once(some_threads):
    bounds, done = chunk_bounds(40, 1), []
    run_chunks(lambda *given: (time.sleep(0.002), done.append(given)), bounds)
    assert sorted(done) == [(k, *edges) for k, edges in enumerate(bounds)]


def test_an_error_in_another_thread_is_raised_here(some_threads):
    caller = threading.current_thread()

    def work(chunk, first, last):
        time.sleep(0.05)  # so that others wake up and take their share
        if (threading.current_thread() is caller) == (some_threads == 1):
            raise ArithmeticError("in a chunk")

    for _ in range(2):  # the threads live on
        with pytest.raises(ArithmeticError, match="in a chunk"):
            run_chunks(work, chunk_bounds(40, 1))


def test_many_short_calls(some_threads):
    """Threads that watch, threads that sleep, and tasks that are taken back before they begin."""
    bounds = chunk_bounds(8, 1)
    for number in range(300):
        done = []
        if number % 50 == 0:
            time.sleep(0.002)  # the others go to sleep
        run_chunks(lambda chunk, *_, done=done: done.append(chunk), bounds)
        assert sorted(done) == list(range(8))


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("posted", [True, False])
def test_a_thread_watches_for_a_while(watched, posted):
    """With or without a post it comes back, and has raised its flag."""
    board, flag = Board(watched), Flag()
    seen = board.posted
    thread = threading.Thread(target=board.watch, args=(flag, seen, 0))
    thread.start()
    if posted:
        board.post()
    thread.join(10)
    assert not thread.is_alive()
    assert flag.number[0] == 1
    assert board.posted == seen + posted
    board.wait(flag)  # which is raised


def test_threads_let_go_of_what_they_worked_on(some_threads):
    """An idle thread must not keep the arrays of its last call."""

    class Held:
        pass

    held = Held()
    left = weakref.ref(held)
    run_chunks(lambda *_, held=held: time.sleep(0.002), chunk_bounds(8, 1))
    del held
    end = time.monotonic() + 10
    while left() is not None and time.monotonic() < end:  # they may be just at their end
        time.sleep(0.01)
    assert left() is None


def test_threads_that_get_no_time_keep_nothing(some_threads):
    """Calls that the caller did alone wait in the queue; what they worked on must not."""

    class Held:
        pass

    pool, busy = threads._pool(max(some_threads - 1, 1)), threading.Event()
    blocked = [threads._Task(busy.wait, pool.board) for _ in range(some_threads)]
    pool.give(blocked)
    left = []
    try:
        for _ in range(20):
            held = Held()
            left.append(weakref.ref(held))
            run_chunks(lambda *_, held=held: None, chunk_bounds(8, 1))
            del held
        assert [ref() for ref in left] == [None] * 20
        for _ in range(200):
            run_chunks(lambda *_: None, chunk_bounds(8, 1))
        assert pool._queue.qsize() < 100
    finally:
        busy.set()
        for task in blocked:
            task.finish()


def test_waiting_for_a_flag_ends():
    flag = Flag()
    Board(True).wait(flag)
    assert flag.number[0] == 0


def test_work_may_have_chunks_of_its_own(some_threads):
    done = []

    def outer(*_):
        run_chunks(lambda *given: done.append(given), chunk_bounds(8, 1))

    run_chunks(outer, chunk_bounds(8, 1))
    assert len(done) == 64
