"""Memory that a run takes, estimated before anything is computed."""

from __future__ import annotations

from ..declare.maps import VECTORS, parameter_count
from ..memory import fitting

__all__ = ["check_memory"]

# Arrays of the length of a packed field that a run holds at a time at least.
_FIELDS = 16


def check_memory(map, options, rows: int) -> None:
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
    size, field = parameter_count(map), options.samples * map.dim
    number = 4 if options.dtype == "float32" else 8
    fewer = "Use a map with fewer parameters"
    fitting("map", size, 8 * VECTORS, "parameters", f"{fewer}.")
    fitting("samples", options.samples, number * _FIELDS * map.dim, "samples", "Use fewer samples.")
    fitting("save_at", rows, 8 * size, f"stored times of {size} parameters", "Store fewer times.")
    if options.on_host:
        _check_matrices(options, size, field, number, fewer)


def _check_matrices(options, size: int, field: int, number: int, fewer: str) -> None:
    """Refuse matrices of the linear solver that do not fit."""
    krylov = 'linear_solver="lsmr"'
    if options.linear_solver == "dense":
        what = 'numbers in matrices of "dense"'
        fitting("linear_solver", 3 * size**2, 8, what, f"{fewer}, or {krylov}.")
        fitting("linear_solver", size * field, number, what, f"Use fewer samples, or {krylov}.")
    elif options.linear_solver == "kernel":
        what = 'numbers in matrices of "kernel"'
        fitting("linear_solver", 2 * field**2, 8, what, f"Use fewer samples, or {krylov}.")
    else:
        rows = min(options.linear.preconditioner, options.samples) * field // options.samples
        what = "numbers in matrices of the preconditioner"
        fitting("preconditioner", 2 * rows**2, 8, what, "Make it of fewer samples.")
