"""Memory that a run takes, estimated before anything is computed."""

from __future__ import annotations

from ..declare.maps import VECTORS, Map, parameter_count
from ..memory import fitting
from .option_objects import LinearSolve
from .options import FlowOptions

__all__ = ["check_memory"]

# Arrays of the length of a packed field that a run holds at a time at least.
_FIELDS = 16
_FEWER = "Use a map with fewer parameters"


def check_memory(map: Map, options: FlowOptions, rows: int) -> None:
    """Refuse a run whose arrays cannot fit into memory.

    Parameters
    ----------
    map : Map
        The family of maps.
    options : FlowOptions
        Samples, linear solver and dtype.
    rows : int
        Number of stored times.

    Raises
    ------
    OptionError
        With the bytes of the largest part, and what makes it smaller.
    """
    size, count = parameter_count(map), options.number
    number = 4 if options.dtype == "float32" else 8
    fitting("map", size, 8 * VECTORS, "parameters", f"{_FEWER}.")
    fitting("samples", count, number * _FIELDS * map.dim, "samples", "Use fewer samples.")
    fitting("save_at", rows, 8 * size, f"stored times of {size} parameters", "Store fewer times.")
    if options.on_host:
        _check_matrices(options.linear, size, count, map.dim, number)


def _check_matrices(linear: LinearSolve, size: int, count: int, dim: int, number: int) -> None:
    """Refuse matrices of the linear solver that do not fit."""
    krylov, field = 'linear_solver="lsmr"', count * dim
    if linear.method == "dense":
        what = 'numbers in matrices of "dense"'
        fitting("linear_solver", 3 * size**2, 8, what, f"{_FEWER}, or {krylov}.")
        fitting("linear_solver", size * field, number, what, f"Use fewer samples, or {krylov}.")
    elif linear.method == "kernel":
        what = 'numbers in matrices of "kernel"'
        fitting("linear_solver", 2 * field**2, 8, what, f"Use fewer samples, or {krylov}.")
    else:
        rows = min(linear.preconditioner, count) * dim
        what = "numbers in matrices of the preconditioner"
        fitting("preconditioner", 2 * rows**2, 8, what, "Make it of fewer samples.")
