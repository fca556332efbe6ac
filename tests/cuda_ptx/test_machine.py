"""The machine that runs PTX: its arithmetic, and that it finds what kernels must not do."""

import math
from fractions import Fraction

import numpy as np
import pytest
from ptx_arithmetic import fused, operation
from ptx_machine import Kernel
from ptx_memory import (
    Buffer,
    DivergenceFault,
    MemoryFault,
    RaceFault,
    UninitialisedFault,
)
from ptx_text import PtxError

from pwgf_sym.compile.cuda.toolkit import cuda

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


# -- arithmetic --------------------------------------------------------------------------------


def computed(opcode, *values):
    """One result of an instruction, as a Python number."""
    from ptx_arithmetic import DTYPES

    function, kinds, _ = operation(opcode, len(values) + 1)
    given = [np.array([v]).astype(DTYPES[k]) for v, k in zip(values, kinds, strict=True)]
    with np.errstate(all="ignore"):
        return function(*given)[0].item()


BIG, LOW = 2**63 - 1, -(2**63)
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    "opcode, values, expected",
    [
        ("add.s64", (BIG, 1), LOW),
        ("sub.s32", (-(2**31), 1), 2**31 - 1),
        ("mul.lo.s64", (BIG, 3), BIG - 2),
        ("mul.hi.s64", (LOW, LOW), 2**62),
        ("mul.hi.s64", (-1, 1), -1),
        ("mul.hi.s64", (-3037000500, 3037000500), -1),
        ("mul.hi.u32", (2**32 - 1, 2**32 - 1), 2**32 - 2),
        ("mul.hi.s32", (-(2**31), 2**31 - 1), -(2**30)),
        ("mul.wide.s32", (-(2**31), 2**31 - 1), -(2**31) * (2**31 - 1)),
        ("mul.wide.u32", (2**32 - 1, 2), 2**33 - 2),
        ("div.s64", (-7, 2), -3),
        ("div.s64", (7, -2), -3),
        ("div.s64", (-8, 2), -4),
        ("div.u32", (2**32 - 1, 2), 2**31 - 1),
        ("rem.s64", (-7, 2), -1),
        ("rem.s64", (7, -2), 1),
        ("rem.u32", (2**32 - 1, 10), 5),
        ("shl.b64", (1, 63), 2**63),
        ("shl.b64", (1, 64), 0),
        ("shl.b32", (3, 31), 2**31),
        ("shl.b32", (1, 2**32 - 1), 0),
        ("shr.s64", (-8, 1), -4),
        ("shr.s64", (-8, 64), -1),
        ("shr.s32", (-1, 200), -1),
        ("shr.u64", (2**64 - 8, 1), 2**63 - 4),
        ("shr.u64", (2**64 - 8, 64), 0),
        ("shr.b32", (2**31, 31), 1),
        ("bfi.b64", (0b101, -1, 4, 3), -1 - (0b010 << 4)),
        ("bfi.b64", (-1, 0, 1, 63), -2),
        ("bfi.b32", (0xFF, 0, 28, 8), -(2**28)),
        ("bfi.b64", (-1, 7, 64, 3), 7),
        ("not.b64", (0,), -1),
        ("min.s64", (-1, 0), -1),
        ("max.u64", (2**64 - 1, 0), 2**64 - 1),
        ("setp.lt.u64", (2**64 - 1, 0), False),
        ("setp.lt.s64", (-1, 0), True),
        ("selp.b64", (1, 2, False), 2),
        ("cvt.u32.u64", (2**32 + 5,), 5),
        ("cvt.s64.s32", (-1,), -1),
        ("cvt.u64.u32", (2**32 - 1,), 2**32 - 1),
        ("cvt.rn.f32.s32", (2**24 + 1,), 2.0**24),
        ("cvt.rn.f32.f64", (1 + 2.0**-24,), 1.0),
        ("cvt.rn.f32.f64", (1 + 2.0**-24 + 2.0**-50,), 1 + 2.0**-23),
        ("cvt.rni.f32.f32", (2.5,), 2.0),
        ("cvt.rzi.f64.f64", (-2.5,), -2.0),
        ("cvt.rmi.s32.f32", (-2.5,), -3),
        ("cvt.rpi.s32.f32", (-2.5,), -2),
        ("cvt.rni.s32.f64", (1e300,), 2**31 - 1),
        ("cvt.rni.s32.f64", (-INF,), -(2**31)),
        ("cvt.rni.s64.f64", (2.0**63,), BIG),
        ("cvt.rni.s32.f32", (NAN,), 0),
        ("cvt.rzi.u32.f32", (-1.5,), 0),
        ("cvt.sat.f32.f32", (1.5,), 1.0),
        ("cvt.sat.f32.f32", (NAN,), 0.0),
        ("div.rn.f32", (1, 3), float(np.float32(1) / np.float32(3))),
        ("rcp.rn.f32", (3,), float(np.float32(1) / np.float32(3))),
        ("max.f64", (NAN, 1.0), 1.0),
        ("min.f32", (1.0, NAN), 1.0),
        ("copysign.f64", (-0.0, 2.0), -2.0),
        ("copysign.f32", (1.0, -2.0), 2.0),
        ("setp.ne.f64", (NAN, 1), False),
        ("setp.neu.f64", (NAN, 1), True),
        ("setp.ltu.f64", (NAN, 1), True),
        ("setp.lt.f64", (NAN, 1), False),
        ("setp.geu.f32", (1, 2), False),
        ("setp.equ.f32", (NAN, NAN), True),
        ("setp.nan.f32", (NAN, 1), True),
        ("ex2.approx.ftz.f32", (-140,), 0.0),
        ("ex2.approx.f32", (-140,), 2.0**-140),
        ("ex2.approx.ftz.f32", (3,), 8.0),
        ("mul.ftz.f32", (2.0**-130, 4), 0.0),
        ("mul.f32", (2.0**-130, 4), 2.0**-128),
        ("rcp.approx.ftz.f64", (2.0**-1030,), INF),
        ("rcp.approx.ftz.f64", (4.0,), 0.25),
        ("fma.rm.f32", (1 + 2.0**-12, 1 + 2.0**-12, 0), 1 + 2.0**-11),
        ("fma.rm.f32", (-1 - 2.0**-12, 1 + 2.0**-12, 0), -1 - 2.0**-11 - 2.0**-23),
        ("fma.rm.f32", (2.0**-60, -1, 1), 1 - 2.0**-24),
        ("fma.rm.f32", (2.0**-60, 1, 1), 1.0),
        ("add.rz.f32", (1, 2.0**-24 + 2.0**-30), 1.0),
        ("add.rz.f32", (-1, -(2.0**-80)), -1.0),
        ("add.rz.f32", (-1, 2.0**-80), -1 + 2.0**-24),
        ("add.rz.f32", (1, -(2.0**-80)), 1 - 2.0**-24),
    ],
)
def test_operations(opcode, values, expected):
    assert computed(opcode, *values) == expected


def test_zeros_have_signs():
    for opcode, sign in (("max.f64", 1.0), ("min.f64", -1.0)):
        for values in ((0.0, -0.0), (-0.0, 0.0)):
            assert math.copysign(1.0, computed(opcode, *values)) == sign


def test_high_halves():
    rng = np.random.default_rng(0)
    for kind, ends in (("s64", (LOW, BIG)), ("u64", (0, 2**64 - 1))):
        numbers = rng.integers(*ends, 200, dtype=np.int64 if kind == "s64" else np.uint64)
        for a, b in zip(numbers.tolist(), numbers[::-1].tolist()):
            assert computed(f"mul.hi.{kind}", a, b) == (a * b) >> 64


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fused_multiply_adds(dtype):
    """One rounding: where the sum cancels, and where rounding twice would be seen."""
    rng, digits = np.random.default_rng(1), np.finfo(dtype).nmant + 1
    a, b = (rng.normal(size=500).astype(dtype) for _ in range(2))
    near = [-(a * b), rng.normal(size=500).astype(dtype), (a * b * dtype(1e-20)).astype(dtype)]
    for c in near:
        found = fused(a, b, c)
        assert found.dtype == dtype
        for x, y, z, result in zip(a, b, c, found):
            exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
            error = abs(Fraction(float(result)) - exact)
            assert error <= abs(exact) / 2**digits
    # 1 + 2^-24 + 2^-70: by way of double precision it would be a tie, and rounded to one.
    one = np.float32(1)
    tie = fused(np.float32(1 + 2.0**-12), np.float32(2.0**-12), np.float32(1 - 2.0**-12))
    assert tie == np.float32(1.0) and fused(one, one, np.float32(-1)) == 0
    above = fused(np.float32(2.0**-24), np.float32(1 + 2.0**-23), one)
    assert above == np.float32(1 + 2.0**-23)


def test_gross_reciprocals():
    """Twenty bits of a mantissa, and no more."""
    values = np.random.default_rng(2).uniform(1, 2, 100)
    function, *_ = operation("rcp.approx.ftz.f64", 2)
    error = np.abs(function(values) * values - 1)
    assert 1e-8 < error.max() < 2.0**-18
    assert not np.any(function(values).view(np.uint64) & np.uint64(0xFFFFFFFF))
