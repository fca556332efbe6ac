"""Numba compiles generated modules without the collector, and with room on Python's stack."""

import gc
from contextlib import contextmanager

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from pwgf_sym.compile.store import load_module, write_module
from pwgf_sym.compile.swiftly import swiftly

TEXT = '''"""A module.

content: {content}
"""

from numba import njit


@njit
def double(x):
    return x + x


@njit
def twice(x):
    for k in range(3):
        x = double(x)
    return x
'''


@pytest.fixture
def module(tmp_path):
    return load_module(write_module(TEXT, "swiftly", tmp_path))


@contextmanager
def collections():
    """Counts what the collector does, which is eager within."""
    seen, before = [], gc.get_threshold()
    gc.callbacks.append(lambda phase, info: seen.append(phase))
    gc.set_threshold(10)
    try:
        yield seen
    finally:
        gc.set_threshold(*before)
        gc.callbacks.pop()


def test_nothing_is_collected(module):
    module.double(1)  # the first call imports much, before it compiles
    with collections() as seen:
        assert module.twice(1) == 8
    assert len(seen) < 50
    with collections() as seen:
        njit(module.double.py_func)(1.0)
    assert len(seen) > 500  # a smaller function, but with the collector


def test_a_collector_that_is_off_stays_off(module):
    gc.disable()
    try:
        assert module.twice(1) == 8
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_collects_again_after_an_error(module):
    with pytest.raises(TypingError):
        module.twice(np.array(["a"]))
    assert gc.isenabled()


def page_faults(depth: int, usage) -> int:
    """Of 500 calls, which a loop makes below so many frames of others: one each at an edge."""
    if depth:
        return page_faults(depth - 1, usage)
    before = usage().ru_minflt
    max(range(500), key=lambda k: -k)
    return usage().ru_minflt - before


def test_there_is_room_on_the_stack():
    """Without it three of these depths have 500 page faults each, in Python 3.11."""
    resource = pytest.importorskip("resource")
    own = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)

    def usage():
        return resource.getrusage(own)

    assert max(swiftly(page_faults)(depth, usage) for depth in range(400)) < 250


def test_results_and_errors_come_through():
    assert swiftly(divmod)(17, 5) == (3, 2)
    assert swiftly(int)("12", base=3) == 5
    with pytest.raises(ZeroDivisionError):
        swiftly(divmod)(1, 0)
