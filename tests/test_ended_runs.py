"""Runs that end early: exceptions carry the rows, signals return them, callbacks get copies."""

import os
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from fake_program import AffineProgram, fake_compiler, run

from pwgf_sym.errors import FlowError
from pwgf_sym.solver.signals import termination_interrupts

compiled = pytest.fixture(fake_compiler)


class Stubborn(Exception):
    """An exception that does not take the attribute."""

    def __setattr__(self, name, value):
        if name == "solution":
            raise AttributeError(name)
        super().__setattr__(name, value)


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError("mine"), MemoryError(), OSError(5, "disk lost"), KeyError("k")),
        *(SystemExit(3), AssertionError("no"), StopIteration("done"), GeneratorExit()),
        *(UserWarning("a warning as an error"), np.linalg.LinAlgError("singular")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_a_callback_carries_the_rows(compiled, error):
    def stop(row):
        if row.t > 0.12:
            raise error

    with pytest.raises(type(error)) as raised:
        run(callback=stop)
    assert raised.value is error
    found, whole = error.solution, run()
    assert np.array_equal(found.theta, whole.theta[:4]) and found.t[-1] == whole.t[3]
    assert found.status == "failed" and found.success is False
    assert type(error).__name__ in found.message and str(error) in found.message
    assert found.history.t.size == 4 and found.nfev == 13


def test_an_interruption_between_stored_times_says_what_is_there(compiled):
    def stop(moment):
        if moment.t > 0.32:
            raise KeyboardInterrupt
        return 1.0

    found = run(save_at=[0, 0.2, 0.5], events=[stop], dense_output=True)
    assert found.status == "interrupted" and list(found.t) == [0, 0.2]
    assert "last row is at t = 0.2; methods take t = 0.3, too" in found.message
    whole = run()
    points = [[0.5, 1.0]]
    assert found.push(points, t=0.3) == pytest.approx(whole.push(points, t=0.3), rel=1e-12)
    found = run(save_at=[0, 0.2, 0.5], events=[stop], dense_output=False)
    assert found.status == "interrupted" and "last row" not in found.message


def test_an_exception_that_takes_no_attributes_is_passed_on(compiled):
    def stop(row):
        raise Stubborn("as it is")

    with pytest.raises(Stubborn, match="as it is"):
        run(callback=stop)


@pytest.mark.parametrize("kernel", ["push", "velocity", "jvp", "integrals"])
def test_an_exception_of_a_kernel_carries_the_rows(compiled, monkeypatch, kernel):
    calls, original = [], getattr(AffineProgram, kernel)

    def fail(self, *rest, **options):
        calls.append(1)
        if len(calls) > 150:
            raise MemoryError("no room for the kernel")
        return original(self, *rest, **options)

    monkeypatch.setattr(AffineProgram, kernel, fail)
    with pytest.raises(MemoryError) as raised:
        run(dt=0.01, linear_solver="lsmr")
    rows = raised.value.solution
    assert rows.t.size > 1 and np.isfinite(rows.theta).all() and rows.folded is None


def test_a_warning_that_is_an_error_carries_the_rows(compiled):
    def complain(row):
        if row.t > 0.22:
            warnings.warn("something of another package", DeprecationWarning, stacklevel=1)

    with warnings.catch_warnings(), pytest.raises(DeprecationWarning) as raised:
        warnings.simplefilter("error")
        run(callback=complain)
    assert raised.value.solution.t[-1] == pytest.approx(0.25)


def test_before_the_first_row_there_is_no_solution(compiled):
    def stop(row):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError) as raised:
        run(callback=stop, save_at=[0.3])
    assert raised.value.solution.t == [0.3]
    with pytest.raises(FlowError) as raised:
        run((0.0, 60.0), dt=1.5, integrator="euler", save_at=[60.0])
    assert raised.value.solution is None


def test_what_a_callback_does_to_its_row_stays_there(compiled):
    seen = []

    def spoil(row):
        seen.append(row.theta.copy())
        row.theta[:] = -7.0

    assert np.array_equal(run(callback=spoil).theta, run().theta)
    assert np.array_equal(seen, run().theta)


# Signals.


def test_sigterm_ends_a_run_as_an_interruption_does(compiled):
    before = signal.getsignal(signal.SIGTERM)

    def end(row):
        if row.t > 0.31:
            os.kill(os.getpid(), signal.SIGTERM)

    solution = run(callback=end)
    assert solution.status == "interrupted" and "SIGTERM" in solution.message
    assert solution.success is False and "interrupted: ended by SIGTERM" in repr(solution)
    whole = run()
    assert np.array_equal(solution.theta, whole.theta[: solution.t.size])
    assert solution.t.size == 8 and signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_the_program_is_called_and_put_back(compiled):
    calls = []

    def mine(number, frame):
        calls.append(number)

    before = signal.signal(signal.SIGTERM, mine)
    try:
        solution = run(callback=lambda row: row.t > 0.2 and os.kill(os.getpid(), signal.SIGTERM))
        assert solution.status == "interrupted" and calls == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is mine
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        solution = run(callback=lambda row: os.kill(os.getpid(), signal.SIGTERM))
        assert solution.status == "completed"
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_put_back_after_an_exception_and_left_alone_elsewhere():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), termination_interrupts():
        assert signal.getsignal(signal.SIGTERM) is not before
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) is before
    found = []

    def look():
        with termination_interrupts():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]

    def other(number, frame):
        pass

    with termination_interrupts():
        signal.signal(signal.SIGTERM, other)
    assert signal.getsignal(signal.SIGTERM) is other
    signal.signal(signal.SIGTERM, before)


PROGRAM = """
import sys, numpy as np, pwgf_sym as pw
x = pw.coordinates(1)
rho = pw.Density(x)
problem = pw.GradientFlow(pw.integral(x[0]**2/2*rho, x), rho, initial=pw.Gaussian([1.0], 2.0))
say = lambda row: print(row.t, flush=True)
solution = pw.solve(problem, pw.Affine(1), (0, 1e3), samples=64, dt=0.01, callback=say)
solution.save("rows.npz")
print("saved", solution.status)
"""


@pytest.mark.skipif(os.name != "posix", reason="other systems end processes otherwise")
def test_a_process_that_is_asked_to_end_saves_its_rows(tmp_path):
    from pwgf_sym.solver.loading import load_solution

    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(20):
                process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0 and out.splitlines()[-1] == "saved interrupted"
    loaded = load_solution(tmp_path / "rows.npz")
    assert loaded.t.size >= 20 and loaded.status == "interrupted"
