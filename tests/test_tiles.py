"""Register tiles against NumPy: broadcasting, sums, caching, machine code."""

import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from pwgf_sym.runtime.cpu import tiles
from pwgf_sym.runtime.cpu.tiles import (
    add_lane_sums,
    aligned,
    exp,
    fetch,
    fma,
    full,
    lane_index,
    load,
    log,
    maximum,
    outer,
    power,
    row_sum,
    sin,
    sqrt,
    store,
    tanh,
    where,
    zeros,
)

kernel = njit(fastmath={"contract"}, error_model="numpy", nogil=True)
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPES = [(1, 1), (3, 1), (2, 4), (6, 4), (1, 8), (4, 8), (3, 16), (2, 16)]


# ------------------------------------------------------------------------- shapes and broadcasting
@BOTH
@pytest.mark.parametrize("shape", SHAPES)
def test_load_store_arithmetic(dtype, shape):
    R, S = shape

    @kernel
    def run(x, y, off, stride, h):
        a = load(x, off, stride, R, S)
        row = load(x, 1, 0, 1, S)
        column = load(x, 2, 5, R, 1)
        one = load(x, 3, 0, 1, 1)
        b = (a + row) * column - one / (2.5 - a)
        b += h * a
        b = fma(column, row, -b) + fma(a, 2, one) - 1
        store(y, 1, S + 2, b)

    rng = np.random.default_rng(R * S)
    x = rng.uniform(0.5, 2, size=40 + 20 * R).astype(dtype)
    y = np.full(1 + R * (S + 2), 9.0, dtype)
    run(x, y, 7, 19, 0.1)
    a = np.array([x[7 + 19 * r : 7 + 19 * r + S] for r in range(R)])
    row, column, one, h = x[1 : 1 + S], x[2 : 2 + 5 * R : 5, None], x[3], dtype(0.1)
    b = (a + row) * column - one / (dtype(2.5) - a) + h * a
    truth = column * row - b + a * 2 + one - 1
    np.testing.assert_allclose(
        y[1:].reshape(R, S + 2)[:, :S], truth, rtol=0, atol=300 * np.finfo(dtype).eps
    )
    assert (y[1:].reshape(R, S + 2)[:, S:] == 9).all() and y[0] == 9  # nothing else written


@BOTH
@pytest.mark.parametrize("shape", [(2, 1), (3, 4), (4, 8)])
def test_masks(dtype, shape):
    R, S = shape

    @kernel
    def run(x, y):
        a, b = load(x, 0, S, R, S), load(x, R * S, S, R, S)
        column = load(x, 0, S, R, 1)
        n = R * S
        store(y, 0, S, where(a < b, 1.0, zeros(x, 1, 1)))
        store(y, n, S, where(a <= column, a, 5))
        store(y, 2 * n, S, where(a < 1.0, a, b))
        store(y, 3 * n, S, where((a >= b) | (a == 0.0), a, b))
        store(y, 4 * n, S, where((a != b) & ~(column > 0.0), a, b))
        store(y, 5 * n, S, where(column == b, a, b))

    rng = np.random.default_rng(5)
    x = rng.integers(-2, 3, size=2 * R * S).astype(dtype)
    x[[0, -1]] = math.nan
    y = np.empty((6, R, S), dtype)
    run(x, y.reshape(-1))
    a, b = x.reshape(2, R, S)
    column = a[:, :1]
    truth = [
        np.where(a < b, 1.0, 0.0),
        np.where(a <= column, a, 5),
        np.where(a < 1, a, b),
        np.where((a >= b) | (a == 0), a, b),
        np.where((a != b) & ~(column > 0), a, b),
        np.where(column == b, a, b),
    ]
    np.testing.assert_array_equal(y, np.array(truth))


@BOTH
@pytest.mark.parametrize(("R", "Q", "S"), [(1, 1, 1), (2, 3, 1), (1, 2, 4), (3, 3, 4), (2, 1, 8)])
def test_outer_and_lane_sums(dtype, R, Q, S):
    check_lane_sums(dtype, R, Q, S)


@BOTH
@pytest.mark.parametrize(("R", "Q", "S"), [(4, 4, 8), (1, 3, 16), (3, 4, 16)])
def test_outer_and_lane_sums_wide(dtype, R, Q, S):
    check_lane_sums(dtype, R, Q, S)


def check_lane_sums(dtype, R, Q, S):
    P = R * Q

    @kernel
    def run(x, y, z, rows):
        acc = outer(full(x, 1, P, S), load(x, 0, S, R, S), load(x, R * S, S, Q, S))
        add_lane_sums(y, 1, acc)
        store(rows, 0, S, acc)
        store(z, 0, 0, row_sum(acc))

    x = np.random.default_rng(R + S).normal(size=(R + Q) * S).astype(dtype)
    y = np.ones(2 + P, dtype)
    z, rows = np.empty(S, dtype), np.empty(P * S, dtype)
    run(x, y, z, rows)
    a, b = x[: R * S].reshape(R, 1, S), x[R * S :].reshape(1, Q, S)
    eps = np.finfo(dtype).eps
    products = (1 + a.astype(float) * b).reshape(P, S)
    np.testing.assert_allclose(rows.reshape(P, S), products, rtol=0, atol=4 * eps)
    sums = np.array([1 + math.fsum(row) for row in rows.reshape(P, S).tolist()])
    size = 1 + np.abs(rows.reshape(P, S)).sum(axis=1)
    assert (np.abs(y[1:-1] - sums) <= 6 * eps * size).all()
    assert y[0] == y[-1] == 1
    np.testing.assert_allclose(z, products.sum(axis=0), rtol=0, atol=8 * eps * P * 4)


@BOTH
def test_small_helpers(dtype):
    @kernel
    def run(x, start, n):
        y = aligned(x, n)
        store(y, 0, 0, lane_index(x, start, 8))
        store(y, 8, 1, full(x, 0.1, 3, 1))
        y[11] = fetch(x, 2) + exp(fetch(x, 0))
        return y, y.ctypes.data

    x = np.array([0.0, 1.0, 2.0], dtype)
    for n in (12, 13, 1000):
        y, address = run(x, 5, n)
        assert address % 64 == 0
        assert y.dtype == dtype and y.shape == (n,) and y.flags.c_contiguous
        np.testing.assert_array_equal(y[:8], np.arange(5, 13))
        np.testing.assert_array_equal(y[8:11], dtype(0.1))
        assert y[11] == 3
        y[:] = 1.0


def test_loop_variables_and_helper_functions():
    @njit(inline="never")
    def square(t):
        return t * t

    @kernel
    def run(x, n):
        a = zeros(x, 2, 4)
        for i in range(n):
            t = load(x, 4 * i, 4, 2, 4)
            if fetch(x, 4 * i) > 0.0:
                a = a + square(t)
            else:
                a = a - t
        store(x, 0, 4, a)

    x = np.random.default_rng(0).normal(size=24)
    blocks = [x[4 * i : 4 * i + 8] for i in range(5)]
    truth = sum(b * b if b[0] > 0 else -b for b in blocks)
    run(x, 5)
    np.testing.assert_allclose(x[:8], truth, rtol=1e-14)


# --------------------------------------------------------------------------------------- refusals
def test_wrong_shapes_are_refused():
    @kernel
    def mismatch(x):
        store(x, 0, 0, load(x, 0, 0, 2, 4) + load(x, 0, 0, 3, 4))

    @kernel
    def odd_lanes(x):
        store(x, 0, 0, load(x, 0, 0, 2, 3))

    @kernel
    def run_time_rows(x, R):
        store(x, 0, 0, load(x, 0, 0, R, 4))

    @kernel
    def other_dtype(x, y):
        store(x, 0, 0, load(y, 0, 0, 1, 4))

    x = np.zeros(32)
    with pytest.raises(TypingError, match="do not broadcast"):
        mismatch(x)
    with pytest.raises(TypingError, match="power of two"):
        odd_lanes(x)
    with pytest.raises(TypingError, match="literal positive integer"):
        run_time_rows(x, 2)
    with pytest.raises(TypingError, match="same dtype"):
        other_dtype(x, x.astype(np.float32))
    with pytest.raises(TypingError, match="contiguous"):
        odd_lanes(x[::2])
    with pytest.raises(NotImplementedError, match="inside compiled kernels"):
        tiles.exp(1.0)


# ----------------------------------------------------------------------------------- machine code
def test_float32_stays_float32():
    @kernel
    def run(x, y):
        a, h = load(x, 0, 8, 2, 8), fetch(x, 3)
        b = exp(a) * 0.1 + tanh(a) / 3 - log(where(a < 0.5, 1.5, a)) + h * sin(a)
        acc = outer(zeros(x, 2, 8), b, load(x, 0, 0, 1, 8))
        add_lane_sums(y, 0, power(acc, 2) + sqrt(maximum(acc, 0)))

    x = np.ones(16, np.float32)
    run(x, x.copy())
    (code,) = run.inspect_llvm().values()
    arithmetic = re.findall(r"= (?:fadd|fsub|fmul|fdiv|fpext|fptrunc|call)[^\n]*double[^\n]*", code)
    assert arithmetic == []
    assert "@sinf(" in code


def test_rank_one_update_is_packed():
    """The inner loop of a layer is fused multiply-adds on whole registers, without spills."""

    @kernel
    def layer(theta, x, y, d):
        a = zeros(theta, 4, 8)
        for q in range(d):
            a = fma(load(theta, q, d, 4, 1), load(x, 8 * q, 0, 1, 8), a)
        store(y, 0, 8, a)

    rng = np.random.default_rng(0)
    theta, x, y = rng.normal(size=(4, 5)), rng.normal(size=(5, 8)), np.empty((4, 8))
    layer(theta.reshape(-1), x.reshape(-1), y.reshape(-1), 5)
    np.testing.assert_allclose(y, theta @ x, rtol=1e-13, atol=1e-13)
    (code,) = layer.inspect_asm().values()
    # The loop itself is the label with most of the work (LLVM unrolls it twice).
    loop = max(re.split(r"\n\.L\w+:", code), key=lambda block: block.count("vfmadd"))
    fused = re.findall(r"\tvfm\w+\t[^\n]*", loop)
    if not fused:
        pytest.skip("no fused multiply-add with AVX names on this machine")
    assert all("pd\t" in line and re.search("[yz]mm", line) for line in fused), fused
    assert "vbroadcastsd\t" in loop or "{1to8}" in loop
    assert "(%rsp)" not in loop


MODULE = """
from numba import njit
from pwgf_sym.runtime.cpu.tiles import exp, fma, load, log, store, tanh

OPTIONS = dict(fastmath={"contract"}, error_model="numpy", nogil=True, cache=True)

@njit(**OPTIONS)
def helper(t, u):
    return tanh(t) * u - log(exp(t))

@njit(**OPTIONS)
def run(x, y, n):
    for i in range(0, n, 8):
        a = load(x, i, 4, 2, 4)
        store(y, i, 4, fma(helper(a, a + 1.0), 2.0, a))
"""
PROGRAM = """
import numpy as np
import kernels
x = np.linspace(-1, 1, 16); y = np.empty(16)
kernels.run(x, y, 16)
assert np.allclose(y, 2 * (np.tanh(x) * (x + 1) - x) + x, rtol=1e-14, atol=1e-14)
print(sum(kernels.run.stats.cache_hits.values()), sum(kernels.run.stats.cache_misses.values()))
"""


def test_cached_across_processes(tmp_path):
    (tmp_path / "kernels.py").write_text(textwrap.dedent(MODULE))
    root = Path(tiles.__file__).resolve().parents[2]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    environment = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PROGRAM]
    counts = [
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert [c.split() for c in counts] == [["0", "1"], ["1", "0"]]
