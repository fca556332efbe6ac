"""What the threads of a block do together, beside NumPy: sums over samples, contractions."""

from itertools import product

import numpy as np
import pytest

from pwgf_sym.runtime.cuda import blocks, contractions, sums
from pwgf_sym.runtime.cuda.shared import BOUNDARY, lanes_of
from pwgf_sym.runtime.cuda.toolkit import cuda, simulated
from pwgf_sym.schedule import cuda as schedule
from pwgf_sym.schedule.cuda import CudaTiling

BOUND = {"float64": 1e-13, "float32": 1e-5}
# Threads of a block, and sizes of an outer product: few and many tiles, remainders of both.
SHAPES = (
    [(4, 5, 7), (4, 2, 3), (4, 40, 3), (4, 1, 1), (8, 9, 17), (16, 40, 30)]
    if simulated()
    else [(128, 128, 30), (128, 30, 30), (128, 30, 128), (32, 9, 2), (32, 200, 37), (64, 2, 2)]
)
# And bytes of shared memory: enough; for some samples at a time; less than for one, where that does
# not take long.
ROOMS = [(*shape, room) for shape in SHAPES for room in (40 * 1024, 6 * 1024)]
ROOMS += [(*shape, 600) for shape in SHAPES if simulated() or shape[1] * shape[2] < 20]


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def device(values, dtype):
    return cuda.to_device(np.ascontiguousarray(values, dtype).reshape(-1))


def close(found, expected, dtype):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.copy_to_host(), expected, rtol=0, atol=BOUND[dtype] * scale)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("threads, m, n, room", ROOMS)
def test_sums_of_outer_products(threads, m, n, room, dtype, rng, monkeypatch):
    """Added to what is there, with any distances; also where few samples fit at a time."""
    monkeypatch.setattr(schedule, "_CHUNKS", room)
    tiling, number = CudaTiling(dtype, threads), np.dtype(dtype).type
    shape, size = tiling.outer_sums(m, n)
    chunk, down, across = shape
    add = sums.outer_sums(number, threads, *tiling.outer(m, n))

    @cuda.jit
    def kernel(a, b, out):
        R = cuda.shared.array(size, number, BOUNDARY)
        lane, one = cuda.threadIdx.x, cuda.gridDim.y
        for turn in range(3):  # what is left in shared memory does not enter
            last = chunk, down, across, one
            add(turn > 0, out, 3, n + 2, 1, R, a, lane, threads, m, b, lane, threads, n, *last)
            cuda.syncthreads()

    a, b, out = rng.normal(size=(m, threads)), rng.normal(size=(n, threads)), np.ones(m * (n + 2))
    expected = np.concatenate([np.ones(3), out])
    expected[3:].reshape(m, n + 2)[:, :n] = 3 * a @ b.T
    found = device(np.ones(expected.size), dtype)
    kernel[1, threads](device(a, dtype), device(b, dtype), found)
    close(found, expected, dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("threads, m, n", SHAPES)
def test_sums_of_rows_and_products(threads, m, n, dtype, rng):
    number = np.dtype(dtype).type
    rows, products = (make(number, threads) for make in (sums.row_sums, sums.product_sums))
    size = CudaTiling(dtype, threads).row_sums(n)  # not for all m at a time

    @cuda.jit
    def kernel(a, b, out):
        R = cuda.shared.array(size, number, BOUNDARY)
        lane, one = cuda.threadIdx.x, cuda.gridDim.y
        rows(False, out, 0, 1, R, a, lane, threads, m, one)
        products(False, out, m, 1, R, a, lane, threads, b, lane, threads, m, one)
        products(False, out, 2 * m, 1, R, a, lane, threads, b, lane, 0, m, one)
        rows(True, out, 0, 1, R, b, lane, threads, m, one)
        products(True, out, m, 1, R, b, lane, threads, b, lane, threads, m, one)

    a, b = rng.normal(size=(2, m, threads))
    whole = a + b
    expected = np.concatenate([whole.sum(1), (whole * b).sum(1), (a * b[0]).sum(1)])
    found = device(np.full(3 * m, np.nan), dtype)
    kernel[1, threads](device(a, dtype), device(b, dtype), found)
    close(found, expected, dtype)


# Rows of the weights, terms, whether they are stored the other way round, rows and samples that a
# thread takes.
CONTRACTIONS = [
    (5, 9, False, (3, 2)),
    (8, 3, True, (2, 4)),
    (3, 20, True, (3, 1)),
    (1, 0, False, (1, 1)),
]
if not simulated():  # there are more samples than four
    CONTRACTIONS += [(15, 40, False, (4, 4)), (16, 7, True, (2, 8)), (9, 5, False, (5, 2))]


class Contraction:
    """What begins, adds and ends sums of a contraction, and what is handed to a kernel of them.

    Attributes
    ----------
    begin, contract, end : device functions
    row, term : int
        Distances of rows and of terms of the weights.
    pitch, size : int
        Distance of rows of results; entries of a thread.
    """

    def __init__(self, kind, dtype, tile, rows, count, transposed=False):
        self.threads, self.dtype, self.transposed = SHAPES[0][0], dtype, transposed
        self.number, self.rows, self.count = np.dtype(dtype).type, rows, count
        made = (contractions.begin, kind, contractions.end)
        self.begin, self.contract, self.end = (m(self.number, self.threads, *tile) for m in made)
        self.row, self.term = (1, rows) if transposed else (count, 1)
        self.tiling, self.size = CudaTiling(dtype, self.threads), tile[0] * tile[1]
        self.pitch = self.tiling.pitch

    def check(self, kernel, times: int, rng) -> None:
        """``kernel(weights, values, out)`` gives so many times the product."""
        weights = rng.normal(size=(self.rows, self.count))
        values = rng.normal(size=(self.count, self.threads))
        found = device(np.zeros(self.rows * self.threads), self.dtype)
        given = device(weights.T if self.transposed else weights, self.dtype)
        kernel[1, self.threads](given, device(values, self.dtype), found)
        close(found, times * (weights @ values).ravel(), self.dtype)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("rows, count, transposed, tile", CONTRACTIONS)
def test_contractions(rows, count, transposed, tile, dtype, rng):
    """Weights in several rounds, stored either way; added to what is there, or held."""
    own = Contraction(contractions.contract, dtype, tile, rows, count, transposed)
    begin, contract, end, number, size = own.begin, own.contract, own.end, own.number, own.size
    threads, pitch, row, term = own.threads, own.pitch, own.row, own.term
    second, room = size * pitch, 2 * size * pitch
    whole = own.tiling.with_weights(room + own.tiling.staged, tile, -(-count // 2))

    @cuda.jit
    def kernel(weights, values, out):
        W, lane = cuda.shared.array(whole, number, BOUNDARY), cuda.threadIdx.x
        T, one = cuda.local.array(size, number), cuda.gridDim.y
        for c in (0, second):
            given = (weights, 0, row, term, values, lane, threads, rows, count, one)
            begin(T, False, W, c)
            contract(T, W, room, *given)
            contract(T, W, room, *given)
            end(T, W, c)
            begin(T, True, W, c)
            contract(T, W, room, *given)
            end(T, W, c)
        for r in range(rows):
            out[r * threads + lane] = W[r * pitch + lane] + W[second + r * pitch + lane]

    own.check(kernel, 6, rng)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("rows, count, transposed, tile", [c for c in CONTRACTIONS if c[1] < 40])
def test_contractions_of_what_is_near(rows, count, transposed, tile, dtype, rng):
    """Values in shared memory, which each thread has put there for its own sample."""
    own = Contraction(contractions.contract_near, dtype, tile, rows, count, transposed)
    begin, contract, end, number, size = own.begin, own.contract, own.end, own.number, own.size
    threads, pitch, row, term = own.threads, own.pitch, own.row, own.term
    second = size * pitch
    room = second + -(-count // 4) * 4 * pitch  # terms of the last turn that do not count
    whole = own.tiling.with_weights(room, tile, -(-count // 2))

    @cuda.jit
    def kernel(weights, values, out):
        W, lane = cuda.shared.array(whole, number, BOUNDARY), cuda.threadIdx.x
        T, one = cuda.local.array(size, number), cuda.gridDim.y
        for place in range(second + lane, room, threads):
            W[place] = number(0.0)
        cuda.syncthreads()
        for turn in range(3):
            for k in range(count):
                W[second + k * pitch + lane] = values[k * threads + lane]
            begin(T, turn > 0, W, 0)
            contract(T, W, room, weights, 0, row, term, second + lane, rows, count, one)
            end(T, W, 0)
            for k in range(count):
                W[second + k * pitch + lane] = number(7.0)
        for r in range(rows):
            out[r * threads + lane] = W[r * pitch + lane]

    own.check(kernel, 3, rng)


@pytest.mark.parametrize("dtype", BOUND)
def test_results_where_factors_were(dtype, rng):
    """Results in the place of weights that other warps may still read."""
    tile, count = (3, 2), 20
    own = Contraction(contractions.contract, dtype, tile, 6, count)
    begin, contract, end, number = own.begin, own.contract, own.end, own.number
    threads, pitch, second = own.threads, own.pitch, 6 * own.pitch
    first_weight = second + own.tiling.staged
    room = first_weight + second
    size = own.tiling.with_weights(room + own.tiling.staged, tile, count)

    @cuda.jit
    def kernel(weights, values, out):
        W, lane = cuda.shared.array(size, number, BOUNDARY), cuda.threadIdx.x
        T, one = cuda.local.array(6, number), cuda.gridDim.y
        given = (weights, 0, count, 1, values, lane, threads, 6, count, one)
        for place, factors in ((0, second), (first_weight, room)):
            begin(T, False, W, place)
            contract(T, W, factors, *given)
            end(T, W, place)
        for r in range(6):
            out[r * threads + lane] = W[r * pitch + lane] + W[first_weight + r * pitch + lane]

    own.check(kernel, 2, rng)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("results", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 10, 30, 33, 64, 100, 128, 300])
def test_shapes_of_contractions(size, results, dtype):
    """Results and weights fit into shared memory; few rows are computed that do not exist."""
    tiling = CudaTiling(dtype)
    rows, samples = tile = tiling.contraction(size, results)
    before = results * rows * samples * tiling.pitch
    assert before < tiling.with_weights(before, tile, 1000) <= tiling.room
    assert -(-size // (rows * samples)) * rows * samples <= max(1.3 * size, size + 2)


@pytest.mark.parametrize("dtype", BOUND)
@pytest.mark.parametrize("threads", [4, 8, 32, 64, 128, 256])
def test_shared_memory_of_all_shapes(threads, dtype):
    """No kernel asks for more shared memory than every GPU gives without being asked for more."""
    tiling = CudaTiling(dtype, threads)
    sizes, most = (1, 2, 3, 5, 10, 30, 33, 64, 128, 300, 6000), 48 * 1024 // tiling.bytes
    for first, second in product(sizes, sizes):
        (chunk, down, across), numbers = tiling.outer_sums(first, second)
        assert numbers <= most, (first, second)
        assert chunk % lanes_of(dtype) == 0 and down * across <= threads
    for size, results, taken in product(sizes, (1, 2, 4), (0, 32)):
        if tiling.rows_left(taken) > 0:
            tile = tiling.contraction(size, results, taken)
            before = (taken + results * tile[0] * tile[1]) * tiling.pitch
            numbers = tiling.with_weights(before + tiling.staged, tile, 6000)
            assert numbers <= most, (size, results, taken)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 7, 8, 10, 11, 12])
@pytest.mark.parametrize("dtype", BOUND)
def test_factorisations(d, dtype, rng):
    """A matrix a thread; without exchanges of rows some of them could not be eliminated."""
    threads, number = 4, np.dtype(dtype).type
    panel = CudaTiling(dtype, threads).panel(d)
    assert panel in ((d, 0), (4, d % 4)) or d % panel[0] == panel[1] == 0
    invert, log_determinant = (
        make(number, *panel) for make in (blocks.invert, blocks.log_determinant)
    )

    @cuda.jit
    def kernel(matrix, inverse, scratch, log_det, d):
        lane = cuda.threadIdx.x
        invert(matrix, lane, inverse, lane, scratch, lane, log_det, lane, d, threads)
        log_determinant(matrix, lane, scratch, lane, log_det, threads + lane, d, threads)

    matrices = rng.standard_normal((threads, d, d))
    matrices[1] = np.eye(d)[rng.permutation(d)] * rng.uniform(1, 2, d)
    matrices[2][0, 0] = 0.0 if d > 1 else 0.5
    by_entry = matrices.transpose(1, 2, 0)  # a thread's entries stand a block apart
    inverse = device(np.zeros(by_entry.size), dtype)
    scratch, log_det = device(np.zeros(by_entry.size), dtype), device(np.zeros(2 * threads), dtype)
    kernel[1, threads](device(by_entry, dtype), inverse, scratch, log_det, d)
    expected = np.linalg.inv(matrices.astype(dtype).astype(float))
    found = inverse.copy_to_host().reshape(d, d, threads).transpose(2, 0, 1)
    bound = 100 * BOUND[dtype] * np.abs(expected).max((1, 2), keepdims=True)
    assert np.all(np.abs(found - expected) <= bound)
    volume = np.linalg.slogdet(matrices)[1]
    for part in log_det.copy_to_host().reshape(2, threads):
        np.testing.assert_allclose(part, volume, rtol=0, atol=100 * BOUND[dtype])
