"""Distributions on the line: quantiles, and the Wasserstein-2 distance of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, real_array
from ..errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = ["quantiles", "w2_1d"]


@checked_call
def quantiles(x: ArrayLike, cdf: ArrayLike, levels: ArrayLike) -> Floats:
    """Quantiles of a distribution given by its cumulative distribution at ascending positions.

    Linear interpolation; levels beyond the given range get the first or last position.

    Parameters
    ----------
    x, cdf : (k,) array-like
        Strictly ascending positions and non-descending values.
    levels : array-like
        Probabilities, any shape.

    Returns
    -------
    array of the shape of ``levels``
    """
    x, cdf, levels = real_array("x", x), real_array("cdf", cdf), real_array("levels", levels)
    if (
        not x.size
        or x.ndim != 1
        or x.shape != cdf.shape
        or np.any(np.diff(x) <= 0)
        or np.any(np.diff(cdf) < 0)
    ):
        given = f"shapes {x.shape} and {cdf.shape}"
        raise OptionError("x, cdf", given, "ascending positions and non-descending values at them")
    return np.interp(levels, cdf, x)


@checked_call
def w2_1d(samples: ArrayLike, x: ArrayLike, cdf: ArrayLike) -> float:
    """Wasserstein-2 distance of a sample from a distribution on the line, by quantiles.

    W2^2 = int_0^1 (F^-1 - G^-1)^2 (C. Villani, Topics in Optimal Transportation, AMS 2003,
    theorem 2.18) with the midpoint rule at levels (i - 1/2)/n: the i-th smallest sample is
    compared with the quantile there, so that a sample of exact quantiles gives 0.

    Parameters
    ----------
    samples : (n,) array-like
        In any order.
    x, cdf : (k,) array-like
        As :func:`fokker_planck_1d` returns them.

    Raises
    ------
    OptionError
        If shapes are wrong, or ``x`` or ``cdf`` does not ascend.
    """
    samples = real_array("samples", samples)
    if samples.ndim != 1 or not samples.size:
        raise OptionError("samples", f"shape {samples.shape}", "shape (n,), n at least 1")
    samples = np.sort(samples)
    levels = (np.arange(samples.size) + 0.5) / samples.size
    return float(np.sqrt(np.mean((samples - quantiles(x, cdf, levels)) ** 2)))
