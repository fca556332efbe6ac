"""Kernels of interactions that are polynomials of the distance, for a GPU.

The formulas are those of :mod:`pwgf_sym.loops.cpu.moments`.  A block adds up the samples of its
tiles; one block adds up the blocks, in their order.
"""

from __future__ import annotations

from dataclasses import replace

from ...runtime.cuda.shared import BOUNDARY
from ...schedule.cuda import CudaTiling
from ...tensors import Axis
from ..nodes import Verbatim, call
from ..signature import Argument, count, of_sample
from ..templates import template

__all__ = ["moments_functions"]

# About so many tiles give the center.
_CENTER_TILES = 8

_TEXT = '''@cuda.jit(cache=True)
def moments({moments}):
    """A center c, and sums of |y|^2, |y|^4, y, |y|^2 y, y y^T, y = x - c, a block.

    c is the mean of some samples, the same for every block.
    """
    lane, one = cuda.threadIdx.x, cuda.gridDim.y
    W = cuda.shared.array({room}, DTYPE, {boundary})
    own, g = cuda.blockIdx.x*{work} + lane, cuda.blockIdx.x*{size}
    Y, WY, T = own, own + {dS}, own + {2dS}
    apart = max(1, tiles//{some})
    for i in range({d}*one):
        total = DTYPE(0.0)
        for tile in range(0, tiles, apart):
            total += x[at(tile*{dS} + i*{S} + lane)]
        total = block_sum(total, W)
        if lane == 0:
            sums[at(g + i)] = total/DTYPE((tiles + apart - 1)//apart*{S})
    cuda.syncthreads()
    for tile in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
        w, t, more = weight[at(tile*{S} + lane)], DTYPE(0.0), tile >= cuda.gridDim.x
        for i in range({d}*one):
            v = x[at(tile*{dS} + i*{S} + lane)] - sums[at(g + i)]
            work[at(Y + i*{S})] = v
            work[at(WY + i*{S})] = w*v
            t += v*v
        work[at(T)], work[at(T + {S})], work[at(T + {2S})] = w*t, w*t*t, t
        cuda.syncthreads()
        # w |y|^2 and w |y|^4; w y; w |y|^2 y; w y y^T
        row_sums_(more, sums, g + {d}, 1, W, work, T, {S}, 2, one)
        row_sums_(more, sums, g + {first}, 1, W, work, WY, {S}, {d}, one)
        product_sums_(more, sums, g + {third}, 1, W, work, WY, {S}, work, T + {2S}, 0, {d}, one)
        factors = W, work, WY, {S}, {d}, work, Y, {S}, {d}
        outer_sums_{tile}(more, sums, g + {second}, {d}, 1, *factors, {shape}, one)
        cuda.syncthreads()


@cuda.jit(cache=True)
def moments_finish({moments_finish}):
    """The blocks' sums added up; the means of |x - y|^2 and |x - y|^4 over all pairs."""
    lane = cuda.threadIdx.x
    ROOM = cuda.shared.array({S}, DTYPE)
    for n in range(lane, {size}, {S}):
        total = sums[at(n)]  # the center, or the first block's sum
        for block in range(1, blocks if n >= {d} else 1):
            total += sums[at(block*{size} + n)]
        found[at(n)] = total
    cuda.syncthreads()
    t, y, ty, yy = {d}, {first}, {third}, {second}
    first, third, second = DTYPE(0.0), DTYPE(0.0), DTYPE(0.0)
    for i in range(lane, {d}, {S}):
        first += found[at(y + i)]*found[at(y + i)]
        third += found[at(y + i)]*found[at(ty + i)]
    for n in range(lane, {dd}, {S}):
        second += found[at(yy + n)]*found[at(yy + n)]
    first = block_sum(first, ROOM)
    third = block_sum(third, ROOM)
    second = block_sum(second, ROOM)
    if lane == 0:
        square, fourth = found[at(t)], found[at(t + 1)]
        means[0] = DTYPE(2.0)*(square - first)
        means[1] = DTYPE(2.0)*(fourth + square*square) + DTYPE(4.0)*second - DTYPE(8.0)*third


@cuda.jit(cache=True)
def moments_velocity({moments_velocity}):
    """Adds the mean over partners y of (k1 |x - y|^2 + k0) (x - y); slopes holds k1, k0."""
    lane, one = cuda.threadIdx.x, cuda.gridDim.y
    k1, k0 = slopes[0], slopes[1]
    t, y, ty, yy = {d}, {first}, {third}, {second}  # the center stands first
    for tile in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):
        x_at = tile*{dS} + lane
        s, inner = DTYPE(0.0), DTYPE(0.0)
        for i in range({d}*one):
            v = x[at(x_at + i*{S})] - found[at(i)]
            s += v*v
            inner += found[at(y + i)]*v
        slope = k1*(s + found[at(t)] - DTYPE(2.0)*inner) + k0
        for i in range({d}*one):
            total = DTYPE(0.0)
            for j in range({d}*one):
                total += found[at(yy + i*{d} + j)]*(x[at(x_at + j*{S})] - found[at(j)])
            third = s*found[at(y + i)] + found[at(ty + i)] - DTYPE(2.0)*total
            v = slope*(x[at(x_at + i*{S})] - found[at(i)])
            velocity_out[at(x_at + i*{S})] += v - k0*found[at(y + i)] - k1*third


'''


def moments_functions(dim: int, tiling: CudaTiling) -> Verbatim:
    """The kernels for dimension d and a block of S threads."""
    lanes, (shape, outer_room) = tiling.samples, tiling.outer_sums(dim, dim)
    tile = tiling.outer(dim, dim)
    values: dict[str, int | str] = {
        "d": dim,
        "S": lanes,
        "2S": 2 * lanes,
        "dS": dim * lanes,
        "2dS": 2 * dim * lanes,
    }
    values |= {"dd": dim * dim, "first": dim + 2, "third": 2 * dim + 2, "second": 3 * dim + 2}
    size, work = 2 + 3 * dim + dim * dim, (2 * dim + 3) * lanes
    values |= {"size": size, "boundary": BOUNDARY, "work": work, "some": _CENTER_TILES}
    values |= {"room": max(outer_room, tiling.row_sums(max(dim, 2)), lanes)}
    values |= {"shape": ", ".join(map(str, shape)), "tile": "_".join(map(str, tile))}
    sizes = {"outer_sums": tile, "product_sums": (), "row_sums": ()}
    made = [call(name, sizes=found) for name, found in sizes.items()]
    return template(_TEXT, values, _arguments(dim, size, work), made)


def _arguments(dim: int, size: int, room: int) -> dict[str, list[Argument]]:
    """What the functions take: so many moments in d dimensions, and a block's room."""
    axes, weight = [Axis("i", dim)], of_sample("weight", (), "samples")
    x, slopes = of_sample("x", axes), Argument("slopes", "parameter", ("power",), (2,))
    sums = Argument("sums", "workspace", ("block", "moment"), (None, size))
    work = Argument("work", "workspace", ("block", "entry"), (None, room))
    found = Argument("found", "output", ("moment",), (size,))
    means = Argument("means", "output", ("moment",), (2,))
    out = of_sample("velocity_out", axes, "output", "velocity")
    return {
        "moments": [x, weight, sums, work, count("tiles")],
        "moments_finish": [sums, found, means, count("blocks")],
        "moments_velocity": [x, replace(found, kind="input"), slopes, out, count("tiles")],
    }
