"""What a solution holds: its rows as columns, and what is known of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ..declare.maps import Map
    from ..declare.problem import GradientFlow
    from .history import History
    from .path import Path
    from .protocols import Program
    from .push import Push

__all__ = ["COLUMNS", "STEPS", "Columns", "Restart", "Row"]


class Row(NamedTuple):
    """What a run records at a stored time.

    ``residual``, ``iterations`` and ``converged`` are the worst, the sum and the conjunction over
    all linear solves since the row before, those between stored times included.
    """

    t: float
    theta: np.ndarray
    energy: float
    dissipation: float
    defect: float
    relative_defect: float
    residual: float
    iterations: int
    converged: bool


#: Type of every column of rows.
COLUMNS = dict.fromkeys(Row._fields, np.float64) | {"iterations": np.int64, "converged": bool}
#: What names of the history, and of the dense output, begin with in a file.
STEPS = "history_"


class Restart(NamedTuple):
    """A fresh map that took over.

    Attributes
    ----------
    t : float
        The time; at this time itself the solution is that of the map before.
    law : Push
        The law that the maps before it have carried the initial law to.
    """

    t: float
    law: Push


class Columns:
    """Attributes of a :class:`~pwgf_sym.solver.solution.Solution`, whose docstring says them."""

    t: np.ndarray
    theta: np.ndarray
    energy: np.ndarray
    dissipation: np.ndarray
    defect: np.ndarray
    relative_defect: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    converged: np.ndarray

    nfev: int | None
    nsteps: int | None
    nrejected: int | None
    nsolves: int | None
    nmissed: int | None
    nit: int | None
    wall_time: float | None

    problem: GradientFlow
    map: Map
    options: dict[str, Any]
    status: str
    message: str
    history: History
    folded: float | None
    reads_density: bool
    unknown_constant: str
    path: Path | None
    t_events: list[np.ndarray]
    statistics: dict[str, Any]
    restarts: tuple[Restart, ...]

    _folds: dict[float, float | None]
    _programs: dict[int, Program]
