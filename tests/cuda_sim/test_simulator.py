"""What the simulator has to give: a view of the device that threads do not take from each other."""

from types import FunctionType, SimpleNamespace

import numpy as np
import pytest

from pwgf_sym.runtime.cuda.toolkit import cuda, device


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
