"""sin and cos on LLVM vectors.

x = n pi/2 + r by three parts of pi/2 (Cody and Waite); with fused multiply-adds each part may
have full precision.  Where x is larger than the parts reach, the C library takes over.
"""

from __future__ import annotations

import math

from .vector_lanes import (
    Floats,
    any_lane,
    by_lane,
    fma,
    polynomial,
    round_to_integer,
    shared,
    where,
)

__all__ = ["cos", "sin"]

# sin(r) = r (1 + z S(z)), cos(r) = 1 + z C(z), z = r^2, on |r| <= 1.001 pi/4: Remez in mpmath.
_SIN = {
    64: (
        -0.16666666666666631651,
        0.0083333333333223151805,
        -0.00019841269829725249932,
        2.7557313662077963628e-6,
        -2.505075326798432134e-8,
        1.5896505144027565749e-10,
    ),
    32: (-0.16666654873170076325, 0.0083321735285791870411, -0.00019516654203478430536),
}
_COS = {
    64: (
        -0.49999999999999999563,
        0.04166666666666648609,
        -0.0013888888888863662216,
        0.00002480158728487814229,
        -2.7557313304208161512e-7,
        2.0875604078141835212e-9,
        -1.1354289710339282097e-11,
    ),
    32: (
        -0.49999999722913823545,
        0.041666623065230143315,
        -0.0013886755341075904612,
        0.000024389635616999316662,
    ),
}
# pi/2 = sum of these, each the rest rounded down: positive parts keep the sign of r = -0.
_HALF_PI = {
    64: (1.5707963267948966, 6.123233995736765e-17, 1.0828566739219139e-32),
    32: (1.570796251296997, 7.549789415861596e-08, 5.390302529957765e-15),
}
_REACH = {64: 2.0**30, 32: 2.0**14}


def _sine(x, quarters):
    """sin(x + quarters*pi/2)."""
    bits = x.lanes.bits
    integers, n = round_to_integer(x, 2 / math.pi)
    r = x
    for part in _HALF_PI[bits]:
        r = fma(n, -part, r)
    z = r * r
    # Adding 0 makes a product -0 +0, so that sin(-0) = -0.
    sine = fma(r, fma(z, polynomial(_SIN[bits], z), 0.0), r)
    cosine = fma(z, polynomial(_COS[bits], z), 1.0)
    integers = integers + quarters
    odd = (integers << (bits - 1)).floats  # its sign bit is the parity
    value = where(_negative(odd), cosine, sine)
    return (value.bits ^ ((integers << (bits - 2)) & x.lanes.sign_bit)).floats


def _negative(x):
    return x.builder.icmp_signed("<", x.bits.value, x.lanes.iconst(0))


def _with_library(symbol, quarters):
    library = by_lane(symbol)

    def body(x: Floats) -> Floats:
        """sin or cos; huge lanes are done by the C library."""
        builder = x.builder
        value = _sine(x, quarters).value
        start = builder.block
        huge = abs(x) > _REACH[x.lanes.bits]
        with builder.if_then(any_lane(x, huge), likely=False):
            # Only the huge lanes: a result must not depend on what the other lanes hold.
            exact = builder.select(huge, library(builder, x.lanes, x.value), value)
            end = builder.block
        result = builder.phi(x.lanes.type)
        result.add_incoming(value, start)
        result.add_incoming(exact, end)
        return Floats(builder, x.lanes, result)

    return shared(symbol, body)


sin, cos = _with_library("sin", 0), _with_library("cos", 1)
