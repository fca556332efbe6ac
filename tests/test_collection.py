"""Numba compiles generated modules while the garbage collector waits."""

import gc
from contextlib import contextmanager

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from pwgf_sym.compile.store import load_module, write_module

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
    return load_module(write_module(TEXT, "collection", tmp_path))


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
