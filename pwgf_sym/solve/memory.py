"""Memory that a run takes, estimated before anything is computed."""

from __future__ import annotations

from ..arguments import memory_limit
from ..declare.maps import VECTORS, parameter_count
from ..errors import OptionError

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
    limit = memory_limit()
    size, field = parameter_count(map), options.samples * map.dim
    number = 4 if options.dtype == "float32" else 8
    more, fewer = "Use fewer samples.", "Use a map with fewer parameters"
    parts = [
        ("map", f"{size} parameters", 8 * VECTORS * size, f"{fewer}."),
        ("samples", f"{options.samples} samples", number * _FIELDS * field, more),
        ("save_at", f"{rows} stored times of {size} parameters", 8 * rows * size, "Store fewer."),
    ]
    if options.target == "cpu":
        parts += _matrices(options, size, field, number, more, fewer)
    for argument, what, needed, fix in parts:
        if needed > limit:
            given = f"{what}, for which arrays of {needed / 2**30:.3g} GiB are needed"
            accepted = f"what fits into the {limit / 2**30:.3g} GiB of memory"
            raise OptionError(argument, given, accepted, fix)


def _matrices(options, size: int, field: int, number: int, more: str, fewer: str) -> list[tuple]:
    """Matrices of the linear solver."""
    jacobian = number * size * field
    krylov = 'linear_solver="lsmr"'
    if options.linear_solver == "dense":
        what, fix = f'"dense" with {size} parameters', f"{fewer}, or {krylov}."
        return [
            ("linear_solver", what, 8 * 3 * size**2, fix),
            ("linear_solver", f"{what} and {options.samples} samples", jacobian, fix),
        ]
    if options.linear_solver == "kernel":
        what = f'"kernel" with {options.samples} samples'
        return [("linear_solver", what, 8 * 2 * field**2, f"{more[:-1]}, or {krylov}.")]
    rows = min(options.linear.preconditioner, options.samples) * field // options.samples
    what = f"a preconditioner of {options.linear.preconditioner} samples"
    return [("preconditioner", what, 8 * 2 * rows**2, "Use fewer of them.")]
