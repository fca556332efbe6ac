"""Restarts in the file of a solution: of every law that was reached, theta, mean and covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import PwgfError
from .columns import Restart
from .push import Push
from .stored import refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..declare.law import Law
    from ..declare.maps import Map
    from .described import Arrays

__all__ = ["RESTARTS", "as_arrays", "from_arrays"]

#: Names of the arrays.
RESTARTS = tuple(f"restart_{name}" for name in ("t", "theta", "mean", "covariance"))


def as_arrays(restarts: Sequence[Restart]) -> dict[str, np.ndarray]:
    """The arrays of some restarts; none where there were none."""
    if not restarts:
        return {}
    laws = [restart.law for restart in restarts]
    columns = [[getattr(law, name) for law in laws] for name in ("theta", "mean", "covariance")]
    times = [restart.t for restart in restarts]
    return dict(zip(RESTARTS, map(np.array, [times, *columns]), strict=True))


def from_arrays(
    path: str, arrays: Arrays, initial: Law, map: Map, span: tuple[float, float]
) -> tuple[Restart, ...]:
    """The restarts of a file.

    Parameters
    ----------
    path : str
        Of the file, for messages.
    arrays : dict of str to array or None
        By the names in ``RESTARTS``.
    initial : Law
        That the first map acts on.
    map : Map
    span : (float, float)
        The run's first and last time.

    Raises
    ------
    StoredSolutionError
        If they do not fit each other, or the solution.
    """
    found = [array for array in arrays.values() if array is not None]
    if not found:
        return ()
    count, d = found[0].size, initial.dim
    shapes = [(count,), (count, found[1].shape[-1] if len(found) > 1 else 0), (count, d)]
    shapes.append((count, d, d))
    fits = len(found) == len(RESTARTS) and [array.shape for array in found] == shapes
    if not (fits and count and all(array.dtype == np.float64 for array in found)):
        raise refused(path, "restarts whose arrays do not fit each other")
    times, *columns = found
    if not (np.all(np.diff(times) > 0) and span[0] <= times[0] and times[-1] <= span[1]):
        raise refused(path, "restarts at times that do not increase, or are none of the run's")
    laws: list[Push] = []
    for row in zip(*columns, strict=True):
        try:
            laws.append(Push.with_moments(laws[-1] if laws else initial, map, *row))
        except PwgfError as error:
            raise refused(path, f"restarts that cannot be read ({str(error)[:500]})") from error
    return tuple(Restart(float(time), law) for time, law in zip(times, laws, strict=True))
