"""Where a density of SciPy's begins, ends and has poles, whatever its support is said to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Logs = Callable[[NDArray[np.float64]], NDArray[np.float64]]

__all__ = ["seen_ends"]

# Spreads from the median at which a density is looked for, and steps of a search for its end.
# Farther out there is a millionth of the mass, and tails of formulas that lose their digits.
_FAR, _STEPS = np.asarray(2.0 ** np.arange(-3, 11), np.float64), 1100
# A log density below this has vanished by underflow and not at an end.
_UNDERFLOW = -300.0


def seen_ends(
    logs: Logs, ends: NDArray[np.float64], median: float, spread: float
) -> NDArray[np.float64]:
    """Ends of the support: of infinite ones those where the density is seen to stop.

    Parameters
    ----------
    logs : callable
        (n,) places -> log densities.
    ends : (2,) array
        Ends as they are said to be.
    median, spread : float
        A place within the support, and a unit of length.

    Returns
    -------
    (2,) array
    """
    found = ends.copy()
    for k in np.flatnonzero(np.isinf(ends)):
        places = median + (-1, 1)[k] * spread * _FAR
        gone = np.flatnonzero(~(logs(places) > -np.inf))
        if not gone.size:
            continue
        inner, outer = (places[gone[0] - 1] if gone[0] else median), places[gone[0]]
        for _ in range(_STEPS):
            middle = inner + (outer - inner) / 2
            if middle in (inner, outer):
                break
            if logs(np.array([middle]))[0] > -np.inf:
                inner = middle
            else:
                outer = middle
        if logs(np.array([inner]))[0] > _UNDERFLOW:
            found[k] = inner
    return found
