"""What the simulator has to give: a view of the device that threads do not take from each other."""

from types import FunctionType, SimpleNamespace

import numpy as np
import pytest
import turns

from pwgf_sym.runtime.cuda.toolkit import cuda, device


@pytest.fixture
def numbas_threads(monkeypatch):
    """They run at the same time, as a user's do."""
    monkeypatch.setattr(turns.kernel, "BlockManager", turns.NUMBAS)


@pytest.mark.usefixtures("numbas_threads")
def test_threads_leave_a_function_while_others_are_in_it():
    def own_number(turns):
        for _ in range(turns):
            lane = cuda.threadIdx.x
        return lane

    # As if it stood in another module than the kernel.
    elsewhere = device(FunctionType(own_number.__code__, {"cuda": cuda}))

    @cuda.jit
    def kernel(out):
        out[cuda.threadIdx.x] = elsewhere(20_000 * (1 + cuda.threadIdx.x))

    found = np.zeros(4)
    kernel[1, 4](found)
    assert np.array_equal(found, np.arange(4))


@pytest.mark.usefixtures("numbas_threads")
def test_threads_declare_one_shared_array():
    @cuda.jit
    def kernel(out):
        room = cuda.shared.array(8, np.float64, 16)
        lane = cuda.threadIdx.x
        room[lane] = lane
        cuda.syncthreads()
        out[lane] = room[7 - lane]

    for _ in range(20):
        found = np.zeros(8)
        kernel[1, 8](found)
        assert np.array_equal(found, np.arange(8)[::-1])


@cuda.jit
def differences(out, barrier):
    """Of neighbours, by way of shared memory; right with a barrier."""
    room = cuda.shared.array(4, np.float64)
    lane = cuda.threadIdx.x
    for turn in range(8):
        room[lane] = (lane + turn) ** 2
        if barrier:
            cuda.syncthreads()
        out[turn, lane] = room[lane] - room[(lane + 1) % 4]
        cuda.syncthreads()


@pytest.mark.parametrize("barrier", [True, False])
def test_a_barrier_that_is_missing_shows(barrier):
    """Where threads take turns, too: their order is another one from barrier to barrier."""
    assert turns.kernel.BlockManager is turns.TurnManager
    found, values = np.zeros((8, 4)), np.add.outer(np.arange(8), np.arange(4)) ** 2
    differences[1, 4](found, barrier)
    assert np.array_equal(found, values - np.roll(values, -1, axis=1)) == barrier


def test_a_thread_that_fails_ends_its_block():
    ended = []

    @cuda.jit
    def kernel(out):
        try:
            cuda.syncthreads()
            out[cuda.threadIdx.x] = 1.0  # the last one has no place
            cuda.syncthreads()
            out[cuda.threadIdx.x] = 2.0
        finally:
            ended.append(cuda.threadIdx.x)

    found = np.zeros(3)
    with pytest.raises(IndexError, match=r"tid=\[3, 0, 0\]"):
        kernel[1, 4](found)
    assert sorted(ended) == [0, 1, 2, 3] and 2.0 not in found


def test_a_thread_that_has_ended_is_not_waited_for():
    @cuda.jit
    def kernel(out):
        lane = cuda.threadIdx.x
        for _ in range(lane):
            cuda.syncthreads()
        out[lane] = 1.0

    found = np.zeros(4)
    kernel[1, 4](found)
    assert np.array_equal(found, np.ones(4))


def test_outside_of_kernels_there_is_the_module():
    assert cuda.is_available()
    with pytest.raises(AttributeError):
        _ = cuda.threads_of_another_kind


@pytest.mark.parametrize("change", ["no class", "no method", "other arguments", "no module"])
def test_another_simulator_is_left_alone(monkeypatch, change):
    from pwgf_sym.runtime.cuda import simulator

    def part(name):
        if change == "no module":
            raise ImportError(name)
        classes = {
            "no method": type("Shared", (), {"__init__": lambda self, size: None}),
            "other arguments": type("Shared", (), {"array": lambda self, more, shape: more}),
        }
        return SimpleNamespace(**({"FakeCUDAShared": classes[change]} if change in classes else {}))

    monkeypatch.setattr(simulator, "part", part)
    simulator.prepare()
    assert simulator._found_context()() is None
    monkeypatch.setattr(simulator, "_context", simulator._found_context())
    assert simulator.SimulatedCuda().is_available()
