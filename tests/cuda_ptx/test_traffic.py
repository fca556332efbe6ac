"""Wavefronts of accesses of a warp, as Nvidia's documents and one of its engineers have them."""

import numpy as np
import pytest
from traffic import wavefronts

LANES = np.arange(32)


@pytest.mark.parametrize(
    "address, space, width, expected",
    [
        (4 * LANES, "shared", 4, 1),
        (8 * LANES, "shared", 4, 2),  # every other bank
        (128 * LANES, "shared", 4, 32),  # one bank
        (0 * LANES, "shared", 4, 1),
        (8 * LANES, "shared", 8, 2),
        (8 * (LANES // 2), "shared", 8, 1),  # neighbours have the same address
        (16 * LANES, "shared", 16, 4),
        (0 * LANES, "shared", 16, 2),
        (16 * (LANES // 2), "shared", 16, 2),
        (16 * (LANES % 2 + LANES // 4 * 2), "shared", 16, 2),  # alternate pairs have
        (16 * (LANES // 4), "shared", 16, 2),
        (16 * (LANES % 16), "shared", 16, 4),  # the same addresses, but not those of neighbours
        (32 * LANES, "shared", 16, 8),  # two of a quarter in one bank
        (4 * LANES, "global", 4, 1),
        (4 * LANES + 64, "global", 4, 2),
        (16 * LANES, "global", 16, 4),
    ],
)
def test_wavefronts(address, space, width, expected):
    assert wavefronts(address, LANES, space, width) == expected


def test_some_of_a_warp():
    lanes = np.array([1, 5, 40, 41])
    assert wavefronts(16 * lanes, lanes % 32, "shared", 16) == 2
    assert wavefronts(np.array([128]), np.array([7]), "shared", 16) == 1
