"""Modules are loaded and compiled once, whichever threads ask; an interruption leaves no trace."""

import gc
import linecache
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sympy as sp
from numba import types

import pwgf_sym as ps
from pwgf_sym.errors import TargetError
from pwgf_sym.targets import store, swiftly
from pwgf_sym.targets.interrupts import LaterSignals
from pwgf_sym.targets.store import load_module, write_module

TEXT = '''"""A module, {number}.

content: {content}
"""

import time

from numba import njit

time.sleep(0.05)  # others come meanwhile
OPTIONS = {"cache": True}


@njit(**OPTIONS)
def inner(x):
    return x * x + {number}


@njit(**OPTIONS)
def outer(x):
    for k in range(3):
        x = inner(x) - k * inner(x + 1)
    return x
'''


def text_of(number: int) -> str:
    return TEXT.replace("{number}", str(number))


@pytest.fixture
def eager():
    """Threads change as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(count: int, work) -> list:
    """What so many threads get that begin together."""
    start = threading.Barrier(count)

    def run(_):
        start.wait()
        return work()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_one_module_for_all_threads(tmp_path, eager):
    runs = []

    def work():
        path = write_module(text_of(1), "threads", tmp_path)
        module = load_module(path, text_of(1))
        runs.append(module.outer(1.0))
        return module

    found = at_once(8, work)
    assert len(set(map(id, found))) == 1 and len(set(runs)) == 1
    for function in (found[0].outer, found[0].inner):
        assert list(function.stats.cache_misses.values()) == [1]
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".py"] == ["machine_code"]


def test_one_program_for_all_threads(eager):
    x = ps.coordinates(1)
    rho = ps.Density(x)
    energy = ps.integral((x[0] - sp.Rational(5, 7)) ** 4 * rho, x)
    problem = ps.GradientFlow(energy, rho, initial=ps.Gaussian([0.0], 1.0))
    program = ps.compile(problem, ps.Affine(1))
    found = at_once(6, lambda: program.module)
    assert len(set(map(id, found))) == 1
    theta = program.map.initial_parameters(problem.initial)
    samples = program.samples(problem.initial.sample(40, 0))
    pushed = at_once(6, lambda: np.asarray(program.push(theta, samples).x))
    assert all(np.array_equal(one, pushed[0]) for one in pushed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork of POSIX")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_child_does_not_wait_for_locks(tmp_path):
    """Another thread of the parent holds one, and is not there any more."""
    path = write_module(text_of(2), "fork", tmp_path)
    store._locks.setdefault(f"pwgf_sym_generated.{path.stem}", threading.Lock()).acquire()
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(0 if load_module(path, text_of(2)).inner(1.0) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
    store._locks.clear()


def as_before(before) -> bool:
    return types.BaseFunction.get_call_type is before and gc.isenabled()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("last", ["normal", "error"])
def test_an_interruption_anywhere_between(last):
    """At every line of what happens before and after compiling, one after the other."""
    before, place = types.BaseFunction.get_call_type, 0

    def work():
        assert not gc.isenabled()
        if last == "error":
            raise LookupError

    while True:
        seen = 0

        def trace(frame, event, _):
            nonlocal seen
            if frame.f_code.co_filename != swiftly.__file__:
                return None
            line = linecache.getline(swiftly.__file__, frame.f_lineno).lstrip()
            # At the end of a "with" a tracer stands where no signal arrives: before the lock opens.
            if event == "line" and not line.startswith("with"):
                seen += 1
                if seen == place:  # noqa: B023
                    raise KeyboardInterrupt
            return trace

        kept = sys.gettrace()
        sys.settrace(trace)
        try:
            swiftly.swiftly(work)()
        except (KeyboardInterrupt, LookupError):
            pass
        finally:
            sys.settrace(kept)
        assert as_before(before), place
        if place > seen:
            break
        place += 1
    assert place > 15


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::pwgf_sym.errors.CacheWarning")  # what was left half made
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")
def test_an_interruption_while_numba_compiles(tmp_path):
    """At many times; the next call compiles, and finds the right number."""
    before, interrupted = types.BaseFunction.get_call_type, 0

    # Ctrl-C within llvmlite waits until it has ended: LLVM would free a module twice.
    handler = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    own = signal.default_int_handler  # SIGINT may be ignored: of a process in the background it is
    ignored = signal.signal(signal.SIGINT, own)
    try:
        for number in range(12):
            text = text_of(100 + number)
            path = write_module(text, "stopped", tmp_path)
            name = f"pwgf_sym_generated.{path.stem}"
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.01 + 0.03 * number)
                load_module(path, text).outer(1.0)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            assert as_before(before)
            assert signal.getsignal(signal.SIGINT) is own
            assert name not in sys.modules or hasattr(sys.modules[name], "outer")
            module = load_module(path, text)
            assert module.outer(1.0) == module.outer.py_func(1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.signal(signal.SIGINT, ignored)
    assert interrupted >= 3
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("waits", [True, False])
def test_an_interruption_within_llvmlite_waits_or_is_raised(waits):
    """It is never lost: where nobody of ours compiles, it is raised at once."""
    kept, names = [], {"__name__": "llvmlite.binding", "sys": sys}
    exec("def frame(): return sys._getframe()", names)
    signals = LaterSignals(lambda call: kept.append(call) or waits)
    if waits:
        signals._handle(signal.SIGINT, names["frame"]())
        (call,) = kept
        with pytest.raises(KeyboardInterrupt):
            call()
    else:
        with pytest.raises(KeyboardInterrupt):
            signals._handle(signal.SIGINT, names["frame"]())
    with pytest.raises(KeyboardInterrupt):
        signals._handle(signal.SIGINT, sys._getframe())


def test_an_interruption_that_python_would_lose():
    """Within a function that C calls, or a finalizer; other errors there go their way."""
    lost, hook = [], sys.unraisablehook
    sys.unraisablehook = lost.append
    try:
        own = sys.unraisablehook
        for error in (KeyboardInterrupt, ValueError):

            class Stopped:
                error_of_mine = error

                def __del__(self):
                    raise self.error_of_mine

            def work():
                Stopped()
                return 7

            if error is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt):
                    swiftly.swiftly(work)()
            else:
                assert swiftly.swiftly(work)() == 7
            assert sys.unraisablehook is own
    finally:
        sys.unraisablehook = hook
    assert [what.exc_type for what in lost] == [ValueError]


@pytest.mark.parametrize("value", ["1", "7"])
def test_a_compiler_that_is_switched_off(monkeypatch, value):
    """Before anything is generated; also where Numba was told otherwise."""
    x = ps.coordinates(1)
    rho = ps.Density(x)
    problem = ps.GradientFlow(ps.integral(x[0] ** 2 * rho, x), rho, initial=ps.Gaussian([0.0], 1.0))
    monkeypatch.setattr("numba.config.DISABLE_JIT", int(value))
    with pytest.raises(TargetError, match="NUMBA_DISABLE_JIT"):
        ps.compile(problem, ps.Affine(1))
