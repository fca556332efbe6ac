"""Memory of the pool and launches past Numba, with the machine in place of CUDA's driver."""

import ctypes
import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from numba.cuda import dispatcher as numba_dispatcher
from numba.cuda import types
from numba.cuda.cudadrv import devicearray
from numba.cuda.cudadrv.error import CudaDriverError
from on_driver import on_driver
from sample_energies import ENERGIES
from test_vectors import (  # noqa: F401 - the simulator's tests of vectors run here, too
    applied,
    on_device,
    rng,
    system,
    test_a_matrix_on_some_entries,
    test_arithmetic_is_that_of_numpy,
    test_cg_ends_where_nothing_is_left,
    test_cg_stops_at_the_tolerance,
    test_iterates_are_those_of_scipy,
    test_lsmr_by_the_residual_is_that_of_scipy,
    test_lsmr_is_that_of_the_cpu,
    test_minres_goes_on_after_the_last_direction,
    test_preconditioner_is_that_of_the_cpu,
    test_what_is_not_finite_is_found,
)
from tile_numpy import interpreted

from pwgf_sym.declare.maps import NeuralFlow
from pwgf_sym.targets.cuda import krylov, launch, memory, vectors
from pwgf_sym.targets.cuda.report import Report
from pwgf_sym.targets.cuda.vectors import Vector
from pwgf_sym.targets.program import compile_program


@pytest.fixture(autouse=True)
def driver(compiled):
    with on_driver(compiled) as found:
        yield found
        assert not launch.refused


@pytest.mark.parametrize("energy, dtype", [("mixed", "float64"), ("aggregation", "float32")])
def test_a_program(driver, energy, dtype, tmp_path, monkeypatch):
    """Every kernel twice, the second time past Numba: the numbers of the CPU."""
    monkeypatch.setenv("PWGF_SYM_CUDA_THREADS", "32")
    problem, numbers = ENERGIES[energy].problem(), np.random.default_rng(3)
    flow = NeuralFlow(problem.dim, 3, steps=1)
    cpu = interpreted(problem, flow, tmp_path, moments=True)
    gpu = compile_program(problem, flow, target="cuda", dtype=dtype, folder=tmp_path)
    theta = flow.initial_parameters(problem.initial)
    theta = theta + 0.1 * numbers.normal(size=theta.size)
    points, eta = problem.initial.sample(70, 1), numbers.normal(size=theta.size)

    def numbers_of(program):
        samples = program.samples(points)
        state = program.push(theta, samples, "score" if "mixed" in energy else "x")
        integrals = program.integrals(state)
        linearized = program.linearize(theta, samples)
        yield integrals
        yield program.unpack(program.velocity(state, integrals), samples)
        yield program.slope(theta, samples).gradient
        yield linearized.metric(eta)
        yield linearized.vjp(samples.z)

    expected = list(map(np.asarray, numbers_of(cpu)))
    bound = 1e-12 if dtype == "float64" else 1e-4
    for _ in range(2):
        driver.launched.clear()
        for found, right in zip(numbers_of(gpu), expected, strict=True):
            scale = np.abs(right).max()
            np.testing.assert_allclose(np.asarray(found, float), right, rtol=0, atol=bound * scale)
    assert {"push_score" if energy == "mixed" else "push", "vjp"} <= set(driver.launched)


def test_a_launch_with_an_error_is_numba_s(driver):
    """It makes a context current in a new thread, or raises what is wrong."""
    u = on_device(np.arange(5.0))
    assert np.array_equal(np.asarray(u + u), 2 * np.arange(5.0))
    driver.launched.clear()
    driver.broken = True
    assert np.array_equal(np.asarray(u + u), 2 * np.arange(5.0))
    assert not driver.launched


def test_a_numba_that_lays_arguments_out_otherwise_is_left_to_itself(driver, monkeypatch):
    honest = driver.compiled

    def other(kernel, kinds):
        found = honest(kernel, kinds)
        prepare = found._prepare_args
        found._prepare_args = lambda *given: (prepare(*given), given[-1].reverse())
        return found

    monkeypatch.setattr(driver, "compiled", other)
    u = on_device(np.arange(5.0))
    with pytest.warns(RuntimeWarning, match="combine.*laid out"):
        assert np.array_equal(np.asarray(u + u), 2 * np.arange(5.0))
    assert np.array_equal(np.asarray(u + u), 2 * np.arange(5.0))
    assert not driver.launched
    assert "laid out" in launch.refused["combine"]
    launch.refused.clear()


# -- stopping tests ----------------------------------------------------------------------------


def cg(apply, right):
    return krylov.cg(apply, right, rtol=0.2, maxiter=30)[0]


def lsmr(apply, right):
    options = {"damp": 0.0, "tolerance": 0.6, "max_iterations": 30, "eps": 1e-15}
    return krylov.lsmr(apply, apply, right, None, by_residual=True, **options)[0]


@pytest.mark.parametrize("solve, products", [(cg, 1), (lsmr, 2)])
def test_the_device_goes_on_while_the_host_waits(driver, system, solve, products):  # noqa: F811
    """A product of the next iteration is started before the host waits; the last is for nothing."""
    *_, metric, right, _ = system
    product, asked = applied(metric), []

    def apply(v):
        asked.append(len(driver.events))
        return product(v)

    x = solve(apply, on_device(right))
    left = np.linalg.norm(metric @ np.asarray(x) - right)
    assert 1e-9 < left <= 0.6 * np.linalg.norm(right)
    iterations = driver.events.count("record")
    assert driver.events[: 2 * iterations] == ["record", "wait"] * iterations
    # Events before the products of an iteration: all but the wait for the last report.
    ahead = [2 * k + 1 for k in range(iterations)]
    assert asked == ahead if products == 1 else asked[1::2] == [0, *ahead]
    assert 1 < iterations < 30


def test_reports_are_kept(driver, system):  # noqa: F811
    *_, metric, right, _ = system
    for _ in range(2):
        cg(applied(metric), on_device(right))
    ((report,),) = memory.current_pool().kept.values()
    assert Report.kept(1) is report and Report.kept(1) is not report


def test_a_device_that_cannot_write_to_the_host(driver, system, monkeypatch):  # noqa: F811
    def none(*given):
        raise CudaDriverError("no mapped memory")

    monkeypatch.setattr(vectors.cuda, "mapped_array", none)
    *_, metric, right, _ = system
    x = cg(applied(metric), on_device(right))
    assert np.linalg.norm(metric @ np.asarray(x) - right) <= 0.2 * np.linalg.norm(right)
    assert not driver.events


# -- memory ------------------------------------------------------------------------------------


def test_memory_is_used_again_when_nobody_looks_at_it(driver):
    u = Vector.empty(100, np.float64)
    place = u.pointer
    view = u.data
    del u
    assert Vector.empty(100, np.float64).pointer != place  # the view is alive
    del view
    v = Vector.empty(128, np.float32)  # of another type, and of the same 512 bytes
    assert v.pointer != place and v.nbytes == 512
    assert Vector.empty(100, np.float64).pointer == place
    found = Vector.of(SimpleArray(v), np.float32)
    place = v.pointer
    del v
    assert Vector.empty(128, np.float32).pointer != place
    del found
    assert Vector.empty(128, np.float32).pointer == place


class SimpleArray:
    """Another library's array of a vector's memory."""

    def __init__(self, vector):
        self.vector = vector
        self.__cuda_array_interface__ = vector.__cuda_array_interface__


def test_sizes(driver):
    sizes = [0, 1, 512, 513, 1 << 20, (1 << 20) + 1, 5 << 20]
    expected = [512, 512, 512, 1024, 1 << 20, 2 << 20, 6 << 20]
    assert [memory.rounded(size) for size in sizes] == expected


class OutOfMemory(Exception):
    code = 2


class Limited:
    """An allocator of few bytes, which counts what is alive."""

    def __init__(self, most: int):
        self.most, self.alive = most, 0

    def __call__(self, nbytes: int):
        if self.alive + nbytes > self.most:
            raise OutOfMemory
        self.alive += nbytes
        return Piece(self, nbytes)


class Piece:
    places = count(4096, 4096)

    def __init__(self, source, nbytes):
        self.source, self.nbytes = source, nbytes
        self.device_ctypes_pointer = ctypes.c_size_t(next(self.places))

    def __del__(self):
        self.source.alive -= self.nbytes


def test_free_pieces_make_room():
    source = Limited(4096)
    pool = memory.Pool(source)
    kept = pool.take(1024)
    del_me = [pool.take(512), pool.take(1024)]
    del_me.append(del_me)  # garbage that only the collector finds
    gc.disable()
    try:
        del del_me
        assert source.alive == 2560
        large = pool.take(3072)
    finally:
        gc.enable()
    assert source.alive == 4096 and kept.nbytes + large.nbytes == 4096
    with pytest.raises(OutOfMemory):
        pool.take(512)
    del large
    assert pool.release(4096) == 0 and source.alive == 4096
    assert pool.release() == 3072 and source.alive == 1024


def test_memory_of_a_cycle_is_not_freed():
    """Numba frees by weak references, whose callbacks come before what dies says where it goes."""
    freed, source = [], Limited(4096)

    def allocate(nbytes):
        piece = source(nbytes)
        weakref.finalize(piece, freed.append, nbytes)
        return piece

    pool = memory.Pool(allocate)
    cycle = [pool.take(512)]
    place = cycle[0].pointer
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert not freed and source.alive == 512
    assert pool.take(512).pointer == place
    assert pool.release() == 512 and freed == [512]


def test_another_error_is_not_hidden():
    errors = [ZeroDivisionError]

    def allocate(nbytes):
        raise errors.pop()

    with pytest.raises(ZeroDivisionError):
        memory.Pool(allocate).take(8)


# -- parameters --------------------------------------------------------------------------------


def test_parameters_are_those_of_numba(driver, monkeypatch):
    """Read back through the pointers of a launch, beside those that Numba's own code lays out."""
    given = []

    def launched(handle, x, y, z, tx, ty, tz, shared, stream, address, extra):
        places = (ctypes.c_void_p * 24).from_address(address)
        given.append(b"".join(ctypes.string_at(place, 8) for place in places))
        return (0,)

    monkeypatch.setattr(driver, "cuLaunchKernel", launched)
    vector, single = Vector.empty(100, np.float64), Vector.empty(70, np.float32)
    places = Vector.empty(3, np.int64)
    arguments = [single, 0.1, vector, -7, places, np.int64(1 << 40)]
    words = []
    for a in arguments:
        words += a.words if isinstance(a, Vector) else [a]
    kinds = [a.kind if isinstance(a, Vector) else launch._NUMBERS[type(a)] for a in arguments]
    launcher = launch.Launcher(5, kinds)
    assert launcher(3, 32, words)
    assert not launcher(3, 32, [*words[:-1], 1 << 63])  # an integer of Numba's uint64

    kernel = numba_dispatcher._Kernel.__new__(numba_dispatcher._Kernel)
    kernel.extensions = []
    data = [numba_array(a) if isinstance(a, Vector) else a for a in arguments]
    kinds = tuple(map(vectors.fill.typeof_pyval, data))
    assert all(kind.layout == "C" for kind in kinds if isinstance(kind, types.Array))
    compiled = SimpleNamespace(argument_types=kinds, _prepare_args=kernel._prepare_args)
    assert launch.numba_layout(compiled, data) == given[0] == launcher.packed(words)


def test_threads_do_not_mix_their_parameters(driver, monkeypatch):
    given = []

    def launched(handle, x, y, z, tx, ty, tz, shared, stream, address, extra):
        time.sleep(1e-3)  # other threads go on
        places = (ctypes.c_void_p * 2).from_address(address)
        given.append((x, *(ctypes.c_int64.from_address(place).value for place in places)))
        return (0,)

    monkeypatch.setattr(driver, "cuLaunchKernel", launched)
    launcher = launch.Launcher(5, ["int", "int"])
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(lambda k: launcher(k, 32, [k, -k]), range(1, 30)))
    assert sorted(given) == [(k, k, -k) for k in range(1, 30)]


def numba_array(vector):
    """Numba's own array of a vector's memory."""
    pointer = SimpleNamespace(device_ctypes_pointer=ctypes.c_size_t(vector.pointer))
    strides = (vector.dtype.itemsize,)
    return devicearray.DeviceNDArray(vector.shape, strides, vector.dtype, gpu_data=pointer)
