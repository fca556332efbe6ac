"""Kernels of interactions that are polynomials of the distance: moments, and the velocity in them.

With centered samples y, t = |y|^2, and means over all samples

    mean |x - y|^2             = s + <t> - 2 x.<y>,                      s = |x|^2,
    mean |x - y|^2 (x - y)     = x mean |x - y|^2 - s <y> - <t y> + 2 <y y^T> x.
"""

from __future__ import annotations

from dataclasses import replace

from ...schedule.cpu import CpuTiling
from ...tensors import Axis
from ..nodes import Verbatim
from ..signature import Argument, count, of_sample
from ..templates import template

__all__ = ["moments_functions"]

# About so many tiles give the center.
_CENTER_TILES = 8

_TEXT = '''@njit(**OPTIONS)
def moments({moments}):
    """A center c, and sums of |y|^2, |y|^4, y, |y|^2 y, lower half of y y^T, y = x - c.

    c is the mean of some samples, the same for every chunk.
    """
    y = aligned(x, {d}*{S})
    acc = aligned(x, {count}*{S})
    for n in range({d} + {count}):
        sums[n] = 0.0
    apart = max(1, tiles//{some})
    for i in range({d}):
        v = zeros(x, 1, {S})
        for tile in range(0, tiles, apart):
            v = v + load(x, tile*{dS} + i*{S}, 0, 1, {S})
        add_lane_sums(sums, i, v)
        sums[i] = sums[i]/(len(range(0, tiles, apart))*{S})
    for n in range({count}):
        store(acc, n*{S}, 0, zeros(x, 1, {S}))
    for tile in range(first, last):
        w = load(weight, tile*{S}, 0, 1, {S})
        t = zeros(x, 1, {S})
        for i in range({d}):
            v = load(x, tile*{dS} + i*{S}, 0, 1, {S}) - load(sums, i, 0, 1, 1)
            store(y, i*{S}, 0, v)
            t = fma(v, v, t)
        wt = w*t
        store(acc, 0, 0, load(acc, 0, 0, 1, {S}) + wt)
        store(acc, {S}, 0, fma(wt, t, load(acc, {S}, 0, 1, {S})))
        for i in range({d}):
            v = load(y, i*{S}, 0, 1, {S})
            first_order, third_order = (2 + i)*{S}, ({d} + 2 + i)*{S}
            store(acc, first_order, 0, fma(w, v, load(acc, first_order, 0, 1, {S})))
            store(acc, third_order, 0, fma(wt, v, load(acc, third_order, 0, 1, {S})))
            wv = w*v
            for j in range(i + 1):
                n = ({second} + i*{d} + j)*{S}
                store(acc, n, 0, fma(wv, load(y, j*{S}, 0, 1, {S}), load(acc, n, 0, 1, {S})))
    for n in range({count}):
        add_lane_sums(sums, {d} + n, load(acc, n*{S}, 0, 1, {S}))


@njit(**OPTIONS)
def moments_finish({moments_finish}):
    """The chunks' sums added up; found begins with the means of |x - y|^2 and |x - y|^4."""
    for n in range({d} + {count}):
        total = 0.0
        for chunk in range(sums.shape[0] if n >= {d} else 1):
            total += sums[chunk, n]
        found[2 + n] = total
    t, tt, y, ty, yy = {d} + 2, {d} + 3, {d} + 4, 2*{d} + 4, 3*{d} + 4
    first, third, second = 0.0, 0.0, 0.0
    for i in range({d}):
        first += found[y + i]*found[y + i]
        third += found[y + i]*found[ty + i]
        for j in range(i + 1):
            found[yy + j*{d} + i] = found[yy + i*{d} + j]
            second += (1 if i == j else 2)*found[yy + i*{d} + j]**2
    found[0] = 2*(found[t] - first)
    found[1] = 2*found[tt] + 2*found[t]**2 + 4*second - 8*third
    for n in range({d} + {count}):
        means[n] = found[2 + n]


@njit(**OPTIONS)
def moments_velocity({moments_velocity}):
    """Adds the mean over partners y of (k1 |x - y|^2 + k0) (x - y); slopes holds k1, k0."""
    y = aligned(x, {d}*{S})
    k1, k0 = load(slopes, 0, 0, 1, 1), load(slopes, 1, 0, 1, 1)
    for tile in range(first, last):
        s = zeros(x, 1, {S})
        inner = zeros(x, 1, {S})
        for i in range({d}):
            v = load(x, tile*{dS} + i*{S}, 0, 1, {S}) - load(means, i, 0, 1, 1)
            store(y, i*{S}, 0, v)
            s = fma(v, v, s)
            inner = fma(load(means, {y} + i, 0, 1, 1), v, inner)
        slope = k1*(s + load(means, {d}, 0, 1, 1) - 2.0*inner) + k0
        for i in range({d}):
            total = zeros(x, 1, {S})
            for j in range({d}):
                v = load(means, {d} + {second} + i*{d} + j, 0, 1, 1)
                total = fma(v, load(y, j*{S}, 0, 1, {S}), total)
            mean, third = load(means, {y} + i, 0, 1, 1), load(means, {y} + {d} + i, 0, 1, 1)
            v = slope*load(y, i*{S}, 0, 1, {S}) - k0*mean - k1*(s*mean + third - 2.0*total)
            at = tile*{dS} + i*{S}
            store(velocity_out, at, 0, load(velocity_out, at, 0, 1, {S}) + v)


'''


def moments_functions(dim: int, tiling: CpuTiling) -> Verbatim:
    """The kernels for dimension d and a number of samples in a tile."""
    lanes = tiling.samples
    values = {"d": dim, "S": lanes, "dS": dim * lanes, "second": 2 + 2 * dim}
    values |= {"count": 2 + 2 * dim + dim * dim, "y": dim + 2, "some": _CENTER_TILES}
    return template(_TEXT, values, _arguments(dim, 2 + 3 * dim + dim * dim))


def _arguments(dim: int, size: int) -> dict[str, list[Argument]]:
    """What the functions take: so many moments in d dimensions."""
    edges, axes = [count("first"), count("last")], [Axis("i", dim)]
    x, weight = of_sample("x", axes), of_sample("weight", (), "samples")
    means = Argument("means", "output", ("moment",), (size,))
    sums = Argument("sums", "workspace", ("moment",), (size,))
    chunks = Argument("sums", "workspace", ("chunk", "moment"), (None, size), dimensions=2)
    found = Argument("found", "output", ("moment",), (size + 2,), dtype="float64")
    slopes = Argument("slopes", "parameter", ("power",), (2,))
    out = of_sample("velocity_out", axes, "output", "velocity")
    return {
        "moments": [x, weight, sums, count("tiles"), *edges],
        "moments_finish": [chunks, means, found],
        "moments_velocity": [x, replace(means, kind="input"), slopes, out, *edges],
    }
