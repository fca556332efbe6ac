"""Arithmetic of the machine that runs PTX: integers, conversions, roundings, what is no number."""

import math
from fractions import Fraction

import numpy as np
import pytest
from ptx_arithmetic import fused, operation


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
