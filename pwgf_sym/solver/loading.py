"""Reading a stored solution."""

from __future__ import annotations

from functools import partial
from itertools import count, takewhile
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, file_path
from ..errors import StoredSolutionError
from .described import check_columns, check_path, check_starts, restore
from .history import History
from .older import in_units, with_columns
from .path import Path
from .solution import COLUMNS, STEPS, Row, Solution
from .stored import read_archive, refused
from .stored_restarts import RESTARTS, from_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from .columns import Restart
    from .described import Arrays

__all__ = ["load_solution"]

# Columns without negative numbers, those that may be infinite, and NaN in all rows or in none.
_POSITIVE = ("defect", "relative_defect", "residual", "iterations", "step", "error", "samples")
_ENDLESS = ("defect", "relative_defect", "residual")
_UNDEFINED = ("defect", "relative_defect")


@checked_call
def load_solution(path: str | PathLike[str]) -> Solution:
    """Read a solution that :meth:`Solution.save` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Solution
        Equal in all arrays; its program is compiled when it is first needed.

    Raises
    ------
    StoredSolutionError
        If the file is no stored solution, is damaged, or is of a version that this one does not
        read.  A file that is not there raises FileNotFoundError.

    Notes
    -----
    Nothing of the file is run, and what it claims of its sizes is checked before memory is taken.
    """
    file = file_path("path", path, error=StoredSolutionError)
    description, arrays = read_archive(file)
    stored = {name: arrays.pop(name, None) for name in Row._fields}
    steps = {name: arrays.pop(f"{STEPS}{name}", None) for name in History._fields}
    dense = {name: arrays.pop(f"path_{name}", None) for name in Path.__slots__}
    restarts = {name: arrays.pop(name, None) for name in RESTARTS}
    steps = with_columns(steps, description)
    named = takewhile(arrays.__contains__, (f"data_{number}" for number in count()))
    data = [arrays.pop(name) for name in list(named)]
    if arrays:
        raise refused(file, f"unknown arrays: {', '.join(sorted(arrays))[:80]}")
    check = partial(check_columns, positive=_POSITIVE, endless=_ENDLESS)
    columns = check(file, stored, COLUMNS, undefined=_UNDEFINED)
    history = check(file, steps, History.dtypes(), empty=True)
    found = restore(file, description, columns["theta"].shape[1], data)
    solution = Solution.__new__(Solution)
    solution.__dict__.update(columns, **found, _programs={}, _folds={})
    solution.history = History(**history)
    initial, taken = solution.problem.initial, solution.history.t
    # A run that was interrupted has steps after its last row.
    span = float(solution.t[0]), float(np.append(taken[-1:], solution.t[-1]).max())
    solution.restarts = from_arrays(file, restarts, initial, solution.map, span)
    solution.path = _path(file, dense, columns["theta"].shape[1], solution.restarts)
    if description["version"] == 1:
        solution.theta = in_units(solution.theta, solution.map, solution.problem.initial)
    return solution


def _path(path: str, dense: Arrays, width: int, restarts: Sequence[Restart]) -> Path | None:
    """The dense output, if there is one."""
    if all(array is None for array in dense.values()):
        return None
    fresh = {name: dense[name] for name in ("restarts", "starts") if dense[name] is not None}
    smooth = {name: array for name, array in dense.items() if name not in ("restarts", "starts")}
    found = Path(**check_path(path, smooth, width), **check_starts(path, fresh, width))
    # After the last one there may be no step.
    times, steps = [restart.t for restart in restarts], found.restarts
    known = steps.size in (len(times), len(times) - 1) and np.all(np.diff(steps) > 0)
    known = known and np.all((steps > 0) & (steps < len(found.coefficients)))
    if not (known and np.array_equal(found.t[steps], times[: steps.size])):
        raise refused(path, "a dense output that does not fit its restarts")
    return found
