"""Reading a stored solution."""

from __future__ import annotations

from ..arguments import checked_call, file_path
from ..errors import StoredSolutionError
from .described import check_columns, check_path, restore
from .history import History
from .older import in_units, with_columns
from .path import Path
from .solution import COLUMNS, STEPS, Row, Solution
from .stored import read_archive, refused

__all__ = ["load_solution"]

# Columns without negative numbers, those that may be infinite, and NaN in all rows or in none.
_POSITIVE = ("defect", "relative_defect", "residual", "iterations", "step", "error", "samples")
_ENDLESS = ("defect", "relative_defect", "residual")
_UNDEFINED = ("defect", "relative_defect")


@checked_call
def load_solution(path) -> Solution:
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
    path = file_path("path", path, error=StoredSolutionError)
    description, arrays = read_archive(path)
    columns = {name: arrays.pop(name, None) for name in Row._fields}
    steps = {name: arrays.pop(f"{STEPS}{name}", None) for name in History._fields}
    dense = {name: arrays.pop(f"path_{name}", None) for name in Path.__slots__}
    steps = with_columns(steps, description)
    if arrays:
        raise refused(path, f"unknown arrays: {', '.join(sorted(arrays))[:80]}")
    given = {"endless": _ENDLESS, "undefined": _UNDEFINED}
    check_columns(path, columns, COLUMNS, positive=_POSITIVE, **given)
    given = {"positive": _POSITIVE, "endless": _ENDLESS, "empty": True}
    check_columns(path, steps, History.dtypes(), **given)
    found = restore(path, description, columns["theta"].shape[1])
    solution = Solution.__new__(Solution)
    solution.__dict__.update(columns, **found, _program=None, _folds={})
    solution.history = History(**steps)
    solution.path = _path(path, dense, columns["theta"].shape[1])
    if description["version"] == 1:
        solution.theta = in_units(solution.theta, solution.map, solution.problem.initial)
    return solution


def _path(path, dense: dict, width: int) -> Path | None:
    """The dense output, if there is one."""
    if all(array is None for array in dense.values()):
        return None
    check_path(path, dense, width)
    return Path(**dense)
