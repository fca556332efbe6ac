"""Functions of whole arrays: their loops take several numbers at different stages at once."""

from functools import cache

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from pwgf_sym.runtime.cpu import tile_arrays, tiles
from pwgf_sym.runtime.cpu.tile_arrays import prefetch

OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1e300, -1e300, 20.0, 0.2369, 800.0]
NAMES = ["exp", "sigmoid", "tanh"]


@cache
def _both(name: str, count: int, lanes: int):
    """The function of a whole array, and the same one vector after the other."""
    whole, single = getattr(tile_arrays, f"{name}_array"), getattr(tiles, name)
    load, store = tiles.load, tiles.store

    @njit(**OPTIONS)
    def by_array(target, to, source, at):
        whole(target, to, source, at, count, lanes)

    @njit(**OPTIONS)
    def by_vector(target, to, source, at):
        for n in range(0, count, lanes):
            store(target, to + n, 0, single(load(source, at + n, 0, 1, lanes)))

    return by_array, by_vector


def _numbers(count: int, dtype) -> np.ndarray:
    values = np.random.default_rng(count).normal(size=count) * 3
    values[: min(count, len(SPECIAL))] = SPECIAL[:count]
    with np.errstate(over="ignore"):
        return np.random.default_rng(1).permutation(values).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("vectors", [3, 4, 5, 16])
def test_same_bits_as_vector_by_vector(name, dtype, vectors):
    """Also at NaN, infinities, zeros of both signs and subnormal numbers, and in place."""
    lanes, to, at = 8, 3, 5
    count = vectors * lanes
    by_array, by_vector = _both(name, count, lanes)
    source = np.concatenate([np.full(at, 7.0), _numbers(count, dtype), np.full(4, 7.0)])
    source = source.astype(dtype)
    found, right = np.full(count + 9, 9.0, dtype), np.full(count + 9, 9.0, dtype)
    by_array(found, to, source, at)
    by_vector(right, to, source, at)
    bits = np.uint64 if dtype is np.float64 else np.uint32
    assert np.array_equal(found.view(bits), right.view(bits))  # nothing else is written either
    by_array(source, at, source, at)
    assert np.array_equal(source[at : at + count].view(bits), right[to : to + count].view(bits))
    assert (source[:at] == 7.0).all() and (source[at + count :] == 7.0).all()


def test_prefetching_changes_nothing_and_may_point_outside():
    @njit(**OPTIONS)
    def ask(buffer, offset):
        prefetch(buffer, offset, 64)

    buffer = np.arange(8.0)
    for offset in (0, -(10**9), 10**12):
        ask(buffer, offset)
    assert np.array_equal(buffer, np.arange(8.0))


@pytest.mark.parametrize("count, lanes", [(20, 8), (24, 6)])
def test_remainders_are_refused(count, lanes):
    with pytest.raises(TypingError, match="multiple of a power of two"):
        by_array, _ = _both("tanh", count, lanes)
        by_array(np.zeros(24), 0, np.zeros(24), 0)


def test_mixed_precision_is_refused():
    by_array, _ = _both("tanh", 24, 8)
    with pytest.raises(TypingError, match="one dtype"):
        by_array(np.zeros(24), 0, np.zeros(24, np.float32), 0)
