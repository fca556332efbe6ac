"""The machine that runs PTX: that it finds what kernels must not do."""

import math

import numpy as np
import pytest
from ptx_machine import Kernel
from ptx_memory import (
    Buffer,
    DivergenceFault,
    MemoryFault,
    RaceFault,
    UninitialisedFault,
)
from ptx_text import PtxError

from pwgf_sym.runtime.cuda.staging import arrived, fetch_piece, left_together
from pwgf_sym.runtime.cuda.toolkit import cuda

pytestmark = pytest.mark.usefixtures("machine")
THREADS = 64


# -- kernels that are wrong --------------------------------------------------------------------


@cuda.jit
def neighbours(out, x, barrier):
    """Differences of neighbours by way of shared memory; right with a barrier."""
    room = cuda.shared.array(64, np.float64)
    lane = cuda.threadIdx.x
    room[lane] = x[lane]
    if barrier:
        cuda.syncthreads()
    out[lane] = room[lane] - room[(lane + 1) % 64]


@cuda.jit
def halves(out, x, barriers):
    """A sum by halves; wrong without barriers."""
    room = cuda.shared.array(64, np.float64)
    lane, half = cuda.threadIdx.x, 32
    room[lane] = x[lane]
    cuda.syncthreads()
    while half > 0:
        if lane < half:
            room[lane] += room[lane + half]
        if barriers:
            cuda.syncthreads()
        half //= 2
    if lane == 0:
        out[0] = room[0]


@cuda.jit
def one_place(out, place):
    """All threads write the same number."""
    out[place] = 1.0


@cuda.jit
def total(out, x):
    """Every block adds to the same place."""
    if cuda.threadIdx.x == 0:
        out[0] += x[cuda.blockIdx.x]


@cuda.jit
def shifted(out, x, by):
    """out[n] = x[n + by]; an index is unsigned, as those of generated kernels are."""
    n = cuda.grid(1)
    out[np.uint64(n)] = x[np.uint64(n + by)]


@cuda.jit
def some_wait(out, most):
    """Threads below ``most`` wait at a barrier."""
    if cuda.threadIdx.x < most:
        cuda.syncthreads()
        out[cuda.threadIdx.x] = 1.0


@cuda.jit
def two_barriers(out, most):
    """Every thread waits, but not at one barrier."""
    if cuda.threadIdx.x < most:
        out[cuda.threadIdx.x] = 1.0
        cuda.syncthreads()
        out[cuda.threadIdx.x] += 1.0
    else:
        cuda.syncthreads()
        out[cuda.threadIdx.x] = 2.0


@cuda.jit
def unset_room(out):
    """Shared memory of which half is never written."""
    room = cuda.shared.array(64, np.float64)
    lane = cuda.threadIdx.x
    if lane < 32:
        room[lane] = 1.0
    cuda.syncthreads()
    out[lane] = room[(lane + 32) % 64]


@cuda.jit
def in_warps(out, x, by, barrier, block):
    """x of another thread by way of shared memory, which is then written anew."""
    room = cuda.shared.array(64, np.float64)
    lane = cuda.threadIdx.x
    room[lane] = x[lane]
    if barrier:
        cuda.syncwarp()
    if block:
        cuda.syncthreads()
    other = (lane + by) % 64
    if by == 1:
        other = lane // 32 * 32 + (lane + 1) % 32
    out[lane] = room[other]
    if barrier:
        cuda.syncwarp()
    room[lane] = 0.0


@cuda.jit
def some_of_a_warp(out, most):
    if cuda.threadIdx.x < most:
        cuda.syncwarp()
        out[cuda.threadIdx.x] = 1.0


bring, commit = fetch_piece(np.float32), left_together()
wait_for_first, wait_for_all = arrived(1), arrived()


@cuda.jit
def two_groups(out, x, of_second, everything):
    """The first number of a piece that comes at once or later; zeros for odd threads."""
    room = cuda.shared.array(512, np.float32, 16)
    lane = cuda.threadIdx.x
    for group in range(2):
        bring(room, 4 * (lane + 64 * group), x, 4 * lane, lane % 2 == 0)
        commit()
    wait_for_first()
    if everything:
        wait_for_all()
    out[lane] = room[4 * (lane + 64 * of_second)]


@cuda.jit
def shifted_pieces(out, x):
    room = cuda.shared.array(512, np.float32, 16)
    bring(room, 4 * cuda.threadIdx.x, x, cuda.threadIdx.x, True)
    wait_for_all()
    out[cuda.threadIdx.x] = room[4 * cuda.threadIdx.x]


@pytest.fixture
def x():
    return np.arange(2.0 * THREADS) ** 2


def test_neighbours(x):
    out = cuda.device_array(THREADS)
    neighbours[1, THREADS](out, cuda.to_device(x), 1)
    assert np.array_equal(out.copy_to_host(), x[:64] - np.roll(x[:64], -1))
    with pytest.raises(RaceFault, match=r"neighbours.*ld\.shared.*_cudapy_smem.*thread \d+ wrote"):
        neighbours[1, THREADS](out, cuda.to_device(x), 0)


def test_halves(x):
    out = cuda.device_array(1)
    halves[1, THREADS](out, cuda.to_device(x), 1)
    assert out.copy_to_host()[0] == x[:64].sum()
    with pytest.raises(RaceFault, match="since the last barrier"):
        halves[1, THREADS](out, cuda.to_device(x), 0)


def test_one_place():
    one_place[1, 1](cuda.device_array(3), 2)
    with pytest.raises(RaceFault, match="writes element 2 of argument 4"):
        one_place[1, THREADS](cuda.device_array(3), 2)
    with pytest.raises(RaceFault, match="block 0 wrote in the same launch"):
        one_place[2, 1](cuda.device_array(3), 2)


def test_blocks_that_add(x):
    out = cuda.to_device(np.zeros(1))
    for _ in range(2):  # of two launches the second one comes after the first
        total[1, THREADS](out, cuda.to_device(x + 1))
    assert out.copy_to_host()[0] == 2.0
    with pytest.raises(RaceFault, match=r"block \(1, 0, 0\).*block 0 wrote"):
        total[2, THREADS](out, cuda.to_device(x))


@pytest.mark.parametrize("by", [1, -1, 10**6, -(10**6)])
def test_outside(x, by):
    out, whole = cuda.device_array(2 * THREADS), cuda.to_device(x)
    shifted[2, THREADS](out, whole, 0)
    assert np.array_equal(out.copy_to_host(), x)
    with pytest.raises(MemoryFault, match=r"shifted.*ld\.global.*thread \d+: 8 bytes at 0x"):
        shifted[2, THREADS](out, whole, by)


def test_what_others_left_is_not_there(x):
    """An address that belonged to an array is nobody's once the kernel is not given it."""
    far = cuda.to_device(x)
    near = cuda.device_array(2 * THREADS)
    by = (far.buffer.base - near.buffer.base) // 8
    with pytest.raises(MemoryFault, match="no buffer is near"):
        shifted[2, THREADS](cuda.device_array(2 * THREADS), near, by)


def test_barriers_that_some_miss():
    some_wait[1, THREADS](cuda.device_array(THREADS), THREADS)
    with pytest.raises(DivergenceFault, match=r"\[20\] threads wait.*44 have returned"):
        some_wait[1, THREADS](cuda.device_array(THREADS), 20)
    two_barriers[1, THREADS](cuda.device_array(THREADS), THREADS)
    with pytest.raises(DivergenceFault, match=r"\[20, 44\] threads wait"):
        two_barriers[1, THREADS](cuda.device_array(THREADS), 20)


def test_barriers_of_warps(x):
    """They order what the warp does, and nothing else."""
    out, first = cuda.device_array(THREADS), x[:64]
    in_warps[1, THREADS](out, cuda.to_device(x), 1, 1, 0)
    expected = np.concatenate([np.roll(first[:32], -1), np.roll(first[32:], -1)])
    assert np.array_equal(out.copy_to_host(), expected)
    with pytest.raises(RaceFault, match=r"reads.*thread \d+ wrote"):
        in_warps[1, THREADS](out, cuda.to_device(x), 1, 0, 0)
    with pytest.raises(RaceFault, match=r"writes.*thread \d+ read"):
        in_warps[1, THREADS](out, cuda.to_device(x), 1, 0, 1)
    with pytest.raises(RaceFault, match=r"reads.*thread \d+ wrote"):
        in_warps[1, THREADS](out, cuda.to_device(x), 32, 1, 0)
    with pytest.raises(RaceFault, match=r"writes.*thread \d+ read"):
        in_warps[1, THREADS](out, cuda.to_device(x), 32, 1, 1)
    with pytest.raises(DivergenceFault, match=r"\[8\] threads wait.*24 have returned"):
        some_of_a_warp[1, 32](cuda.device_array(32), 8)
    some_of_a_warp[1, THREADS](cuda.device_array(THREADS), 32)  # the whole of one


def test_groups_of_copies():
    values, out = np.arange(1.0, 257, dtype=np.float32), cuda.device_array(THREADS, np.float32)
    expected = np.where(np.arange(64) % 2 == 0, values[::4], 0)
    for of_second, everything in ((0, 0), (1, 1)):
        two_groups[1, THREADS](out, cuda.to_device(values), of_second, everything)
        assert np.array_equal(out.copy_to_host(), expected)
    with pytest.raises(UninitialisedFault, match="reads element 256 of _cudapy_smem"):
        two_groups[1, THREADS](out, cuda.to_device(values), 1, 0)
    with pytest.raises(MemoryFault, match="not a multiple of 16"):
        shifted_pieces[1, THREADS](out, cuda.to_device(values))


def test_what_nobody_wrote(x):
    out, empty = cuda.device_array(2 * THREADS), cuda.device_array(2 * THREADS)
    with pytest.raises(UninitialisedFault, match="reads element 0 of argument 11"):
        shifted[2, THREADS](out, empty, 0)
    shifted[1, THREADS](out, cuda.to_device(x), 0)
    with pytest.raises(UninitialisedFault, match=r"block \(1, 0, 0\).*element 64 of argument 11"):
        shifted[2, THREADS](empty, out, 0)
    with pytest.raises(UninitialisedFault, match="the host reads element 64 of 128"):
        out.copy_to_host()
    with pytest.raises(UninitialisedFault, match="reads element 32 of _cudapy_smem"):
        unset_room[1, THREADS](out)


# -- texts -------------------------------------------------------------------------------------

TEXT = """
.version 9.0
.target sm_80
.visible .entry own(
    .param .u64 own_param_0
)
{{
    .reg .b64 %rd<9>;
    .reg .b32 %r<9>;
    .reg .f32 %f<9>;
    ld.param.u64 %rd1, [own_param_0];
    {lines}
    ret;
}}
"""


def test_unknown_lines_are_named():
    for line in ("wmma.s64 %rd1, %rd2;", "mul.f32 %f1, 1, %f2;", "add.s64 %rd1, %q2, %rd3;"):
        with pytest.raises(PtxError, match=f"line 12: {line[:8]}"):
            Kernel(TEXT.format(lines=line), 1)
    with pytest.raises(PtxError, match=r"line 12: \?\?"):
        Kernel(TEXT.format(lines="??;"), 1)


def test_misaligned_and_in_parts():
    buffer = Buffer(64, 4)
    for line, message in (
        ("ld.global.u32 %r1, [%rd1+2];", "is not a multiple of 4"),
        ("st.global.u64 [%rd1+60], %rd1;", "byte 60 of argument 0, which has 64"),
        ("ld.shared.u32 %r1, [%rd1];", "in shared memory"),
    ):
        with pytest.raises(MemoryFault, match=message):
            Kernel(TEXT.format(lines=line), 1).launch((1, 1, 1), [(buffer.base, buffer)])


@cuda.jit
def sines(x):
    x[cuda.threadIdx.x] = math.sin(x[cuda.threadIdx.x])


@pytest.mark.parametrize("dtype, bound", [("float64", 2e-16), ("float32", 1.2e-7)])
def test_tables_and_local_memory(dtype, bound):
    """Of the sine: its slow path, beyond 1e5, is not run."""
    values = np.linspace(-50, 50, THREADS).astype(dtype)
    found = cuda.to_device(values)
    sines[1, THREADS](found)
    np.testing.assert_allclose(
        found.copy_to_host(), np.sin(values.astype(float)), rtol=0, atol=bound
    )
    with pytest.raises(PtxError, match="it is not run"):
        sines[1, 1](cuda.to_device(np.full(1, 1e25, dtype)))


def test_endless_loops_end(monkeypatch):
    monkeypatch.setattr("ptx_block._LIMIT", 1000)
    with pytest.raises(PtxError, match="more than 1000 instructions"):
        Kernel(TEXT.format(lines="$L_1:\nbra $L_1;"), 1).launch((1, 1, 1), [0])


def test_halves_of_registers():
    lines = "mov.b64 {%r1, %r2}, %rd1; mov.b64 %rd2, {%r2, %r1}; st.global.u64 [%rd1], %rd2;"
    buffer = Buffer(8, 8)
    Kernel(TEXT.format(lines=lines), 1).launch((1, 1, 1), [(buffer.base, buffer)])
    (found,) = buffer.view(np.dtype(np.uint64))
    assert found == (buffer.base % 2**32) * 2**32 + buffer.base // 2**32
