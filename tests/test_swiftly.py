"""Numba compiles generated modules without the collector, with room on Python's stack, and with
the types of operators kept."""

import gc
import operator
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target

from pwgf_sym.targets.store import load_module, write_module
from pwgf_sym.targets.swiftly import swiftly

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
    return load_module(write_module(TEXT, "swiftly", tmp_path), TEXT)


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


NUMBERS = [types.int64, types.uint64, types.int32, types.float32, types.float64, types.literal(3)]
OPERATORS = [operator.add, operator.mul, operator.iadd, operator.truediv, operator.lt]


def resolved(function, kinds) -> str:
    context = cpu_target.typing_context
    found = context.resolve_function_type(function, kinds, {})
    return f"{found}, {context.resolve_value_type(function).get_impl_key(found)}"


@pytest.fixture
def tried(monkeypatch):
    """Every search for the type of an operator."""
    seen, before = [], types.BaseFunction.get_call_type

    def get_call_type(function, context, arguments, named):
        seen.append((function.typing_key, tuple(arguments)))
        return before(function, context, arguments, named)

    monkeypatch.setattr(types.BaseFunction, "get_call_type", get_call_type)
    return seen


@pytest.mark.parametrize("function", OPERATORS)
def test_operators_on_numbers_have_the_same_types(function):
    kinds = [(one, other) for one in NUMBERS for other in NUMBERS]
    expected = [resolved(function, pair) for pair in kinds]
    for _ in range(2):
        assert [swiftly(resolved)(function, pair) for pair in kinds] == expected


def test_operators_on_numbers_are_resolved_once(tried):
    def polynomial(x):
        return x + (x + x * (x + x * (x + x * x)))

    signature = (types.complex64,)  # which nobody else has
    njit(polynomial).compile(signature)
    often = sum(kinds == 2 * signature for _, kinds in tried)
    tried.clear()
    swiftly(njit(polynomial).compile)(signature)
    kept = [entry for entry in tried if entry[1] == 2 * signature]
    assert often >= 6 and len(kept) == len(set(kept)) <= 2


def test_numba_is_as_before_afterwards(tried):
    before = types.BaseFunction.get_call_type
    inside, last = threading.Event(), threading.Event()

    def compiling():
        inside.set()
        last.wait()

    thread = threading.Thread(target=swiftly(compiling))
    thread.start()
    inside.wait()
    with pytest.raises(TypingError):
        swiftly(resolved)(operator.add, (types.int64, types.none))
    assert types.BaseFunction.get_call_type is not before  # somebody else compiles
    last.set()
    thread.join()
    assert types.BaseFunction.get_call_type is before
