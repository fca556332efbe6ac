"""What a stored solution says beside its numbers, as JSON-able data, and checks on reading it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy as sp

from ..arguments import brief
from ..declare.laws import law_from_dict
from ..declare.maps import map_from_dict, parameter_count
from ..declare.problem import GradientFlow
from ..declare.registry import saved
from ..declare.tree import check_powers, from_tree, to_tree
from ..errors import StoredSolutionError
from .history import Counts
from .options import NAMES, FlowOptions
from .plain import from_plain, to_plain
from .steppers import METHODS
from .stored import refused

if TYPE_CHECKING:
    from ..declare.maps import Map
    from .solution import Solution

    #: Arrays of a file by name; None where it has none.
    Arrays = Mapping[str, np.ndarray | None]

__all__ = ["STATUSES", "check_columns", "check_path", "check_starts", "describe", "restore"]

_SCHEMA, _VERSION = "pwgf_sym.solution", 3
# Version 1 has no history, no counts and no word on folds, and maps of the user's coordinates;
# version 2 fixed steps only, and no dense output.
_READ = (1, 2, 3)
# Entries of laws that are formulas.
_FORMULAS = ("formula", "coordinate")
# Entries of laws that are as long as there are components; rows have the dimension.
_ROWS = ("weights", "means", "covs", "points", "theta")
#: How a run can have ended.
STATUSES = ("completed", "stopped", "interrupted", "failed")


def describe(solution: Solution) -> dict[str, Any]:
    """Everything but the arrays."""
    problem = solution.problem
    mobility = problem.transport.mobility
    return {
        "schema": _SCHEMA,
        "version": _VERSION,
        "energy": to_tree(problem.energy),
        "density": to_tree(problem.density),
        "initial": saved(problem.initial),
        "parameters": [[to_tree(symbol), value] for symbol, value in problem.parameters.items()],
        "drift": [to_tree(formula) for formula in problem.transport.drift],
        "mobility": None if mobility is None else to_tree(mobility),
        "time": None if problem.time is None else to_tree(problem.time),
        "arrays": [to_tree(array) for array in problem.arrays],
        "map": saved(solution.map),
        "options": solution.options,
        "status": solution.status,
        "message": solution.message,
        "counts": {name: getattr(solution, name) for name in Counts._fields},
        "folded": solution.folded,
        "reads_density": solution.reads_density,
        "unknown_constant": solution.unknown_constant,
        "t_events": [[float(t) for t in times] for times in solution.t_events],
        "statistics": to_plain(solution.statistics),
    }


def check_path(path: str, dense: Arrays, width: int) -> dict[str, np.ndarray]:
    """Check the arrays of a dense output of so many parameters, and that all are there.

    Raises
    ------
    StoredSolutionError
    """
    found = {}
    for name, array in dense.items():
        if array is None:
            raise refused(path, f"a file without the array path_{name}")
        found[name] = array
        if array.dtype != np.float64 or not np.all(np.isfinite(array)):
            raise refused(path, f"array path_{name} of type {array.dtype}, or not finite")
    count = found["t"].size
    shapes = {name: array.shape for name, array in found.items()}
    wanted = {"t": (count,), "theta": (count, width)}
    steps = shapes.pop("coefficients")
    fits = len(steps) == 3 and (steps[0], steps[2]) == (count - 1, width) and steps[1] <= 8
    if shapes != wanted or not (fits and count):
        raise refused(path, "a dense output of arrays that do not fit each other")
    if not np.all(np.diff(found["t"]) > 0):
        raise refused(path, "a dense output whose times do not increase")
    return found


def check_starts(path: str, fresh: Arrays, width: int) -> dict[str, np.ndarray]:
    """Check the arrays of a dense output's restarts, which may lack.

    Raises
    ------
    StoredSolutionError
    """
    found = {name: array for name, array in fresh.items() if array is not None}
    if not found:
        return {}
    kinds = {name: (array.dtype.str[1:], array.ndim) for name, array in found.items()}
    fits = kinds == {"restarts": ("i8", 1), "starts": ("f8", 2)}
    if not fits or found["starts"].shape != (found["restarts"].size, width):
        raise refused(path, "a dense output whose restarts do not fit each other")
    if not np.all(np.isfinite(found["starts"])):
        raise refused(path, "a dense output with a start that is not finite")
    return found


def check_columns(
    path: str,
    columns: Arrays,
    kinds: Mapping[str, type],
    *,
    positive: Collection[str],
    endless: Collection[str] = (),
    undefined: Collection[str] = (),
    empty: bool = False,
) -> dict[str, np.ndarray]:
    """Check types, lengths and numbers of columns of equal length, and that all are there.

    Parameters
    ----------
    columns : dict of str to array or None
        "t" is one of them; a column is a vector, "theta" a matrix of one row a time.
    kinds : dict of str to type
        The type of each.
    positive, endless : collections of str
        Columns without negative numbers, and those that may be infinite.
    undefined : collection of str
        Columns that may be NaN altogether.
    empty : bool
        Whether there may be no times.

    Raises
    ------
    StoredSolutionError
    """
    rows = columns["t"].shape[0] if columns["t"] is not None and columns["t"].ndim == 1 else 0
    found = {}
    for name, array in columns.items():
        if array is None:
            raise refused(path, f"a file without the array {name}")
        found[name] = array
        ndim = 2 if name == "theta" else 1
        if array.dtype != kinds[name] or array.ndim != ndim or array.shape[0] != rows:
            raise refused(path, f"array {name} of type {array.dtype} and shape {array.shape}")
        nan = np.isnan(array)
        if name in undefined and nan.all():
            continue
        if np.any(nan) or not (name in endless or np.all(np.isfinite(array))):
            raise refused(path, f"array {name} with a number that is not finite")
        if name in positive and np.any(array < 0):
            raise refused(path, f"array {name} with a negative number")
    if not (rows or empty):
        raise refused(path, "no stored time")
    if not np.all(np.diff(found["t"]) > 0):
        raise refused(path, "times that do not increase")
    return found


def restore(
    path: str, description: dict[str, Any], width: int, data: Sequence[np.ndarray] = ()
) -> dict[str, Any]:
    """Attributes of a solution with ``width`` parameters of the map.

    ``data`` are the values of the energy's arrays, in the order of the description.

    Raises
    ------
    StoredSolutionError
        When the description is no description, or does not fit the numbers.
    """
    schema, version = description.get("schema"), description.get("version")
    if "schema" not in description or "version" not in description:
        raise refused(path, "a file without a description of a solution")
    if schema != _SCHEMA or type(version) is not int or version not in _READ:
        fix = "Read it with the version of the package that wrote it."
        # The text of anything else, a long list say, would take longer than all the rest.
        named = schema[:40] if isinstance(schema, str) else f"a {type(schema).__name__}"
        numbered = version if type(version) is int else f"a {type(version).__name__}"
        given = f"a file of schema {named!r} version {numbered}"
        raise refused(path, given, fix)
    try:
        map = _map(description["map"], width, version)
        found: dict[str, Any] = {"map": map, "problem": _problem(description, map.dim, data)}
        found["options"] = _options(description["options"])
        found |= _ending(description, version)
    except Exception as error:  # whatever SymPy and the constructors make of nonsense
        reason, fix = str(error), ""
        if isinstance(error, StoredSolutionError) and error.fix:
            reason, fix = f"{error.argument}: {error.given}", error.fix
        given = f"a description that cannot be read ({reason[:500]})"
        raise refused(path, given, fix) from error
    return found


def _map(entries: dict[str, Any], width: int, version: int) -> Map:
    """The map, which has so many parameters."""
    if version == 1 and "class" in entries:  # whose parameters nobody can move to other units
        raise StoredSolutionError("map", "one of the user's", "one of the package, in version 1")
    found = map_from_dict(entries)
    if parameter_count(found) != width:
        raise StoredSolutionError("theta", f"{width} parameters", "as many as the map has")
    return found


def _problem(description: dict[str, Any], dim: int, data: Sequence[np.ndarray]) -> GradientFlow:
    """The problem, of the map's dimension; laws of another one are not even made."""
    energy, rho = from_tree(description["energy"]), from_tree(description["density"])
    check_powers(energy)
    entries = description["initial"]
    if len(rho.args) != dim or entries.get("dim", dim) != dim:
        raise StoredSolutionError("initial", "another dimension", f"dimension {dim}, the map's")
    _check_law(entries, dim)
    parameters: dict[sp.Basic, Any] = {
        from_tree(tree): value for tree, value in description["parameters"]
    }
    arrays = description.get("arrays", [])
    if len(arrays) != len(data):
        raise StoredSolutionError("arrays", f"{len(data)} arrays", f"{len(arrays)}, as described")
    parameters |= {from_tree(tree): array for tree, array in zip(arrays, data, strict=True)}
    drift = [from_tree(tree) for tree in description.get("drift", [])] or None
    mobility = description.get("mobility")
    mobility = None if mobility is None else from_tree(mobility)
    for formula in [*(drift or []), *([] if mobility is None else [mobility])]:
        check_powers(formula)
    time = description.get("time")
    time = None if time is None else from_tree(time)
    return GradientFlow(energy, rho, law_from_dict(entries), parameters, drift, mobility, time)


def _check_law(entries: dict[str, Any], dim: int) -> None:
    """Refuse laws of another dimension, and formulas of laws, before anything is made of them."""
    left = [entries]
    while left:
        one = left.pop()
        if "class" in one:  # of the user's: its class knows what its lists are
            continue
        rows = [row for k in _ROWS for row in one.get(k, []) if isinstance(row, list)]
        plain = [v for k, v in one.items() if isinstance(v, list) and k not in (*_FORMULAS, *_ROWS)]
        plain += rows
        if max([one.get("dim", dim), *map(len, plain)]) > dim:
            raise StoredSolutionError("initial", "another dimension", f"dimension {dim}, the map's")
        for name in _FORMULAS:
            if name in one:
                check_powers(from_tree(one[name]))
        parts = [*one.values(), *(part for value in plain for part in value)]
        # A map is checked as the solution's own is.
        dicts = [part for part in parts if isinstance(part, dict)]
        left += [part for part in dicts if "law" in part or "map" not in part]


def _options(entries: dict[str, Any]) -> dict[str, Any]:
    """The options, checked as those of a run; the target need not be here."""
    for name in ("target", "dtype"):
        if entries[name] not in NAMES[name]:
            raise StoredSolutionError(name, repr(entries[name]), " or ".join(NAMES[name]))
    known = dict(entries)
    # A stepper of the user's own is known by its name alone.
    if isinstance(entries["integrator"], str) and entries["integrator"] not in METHODS:
        known["integrator"] = "auto"
    FlowOptions.from_dict(known | {"target": "cpu"})
    return dict(entries)


def _ending(description: dict[str, Any], version: int) -> dict[str, Any]:
    """Status, message, counts, and whether the map is folded."""
    status, message = description["status"], description["message"]
    if status not in STATUSES or not isinstance(message, str):
        raise StoredSolutionError("status", repr(status), " or ".join(STATUSES))
    old = version == 1
    counts = Counts() if old else Counts(**({"nrejected": 0} | description["counts"]))
    for name, value in counts._asdict().items():
        right = float if name == "wall_time" else int
        if value is not None and not (type(value) is right and value >= 0):
            raise StoredSolutionError(name, repr(value), "a number of at least 0")
    if len({value is None for name, value in counts._asdict().items() if name != "nrejected"}) > 1:
        raise StoredSolutionError("counts", "some of them", "all or none")
    folded = None if old else description["folded"]
    if folded is not None and not (type(folded) is float and 0 <= folded <= 0.5):
        raise StoredSolutionError("folded", repr(folded), "a number from 0 to 1/2")
    reads = True if old else description["reads_density"]
    if not isinstance(reads, bool):
        raise StoredSolutionError("reads_density", repr(reads), "true or false")
    # Files of before the word on constants are read, too.
    constant = description.get("unknown_constant", "")
    if not isinstance(constant, str):
        raise StoredSolutionError("unknown_constant", repr(constant), "a text")
    ending = {"status": status, "message": message, "folded": folded, "reads_density": reads}
    return ending | {"unknown_constant": constant} | counts._asdict() | _choices(description)


def _choices(description: dict[str, Any]) -> dict[str, Any]:
    """Times of events, and what the run chose."""
    times = description.get("t_events", [])
    if not (isinstance(times, list) and all(isinstance(entry, list) for entry in times)):
        raise StoredSolutionError("t_events", brief(times), "lists of times")
    if not all(type(time) is float for entry in times for time in entry):
        raise StoredSolutionError("t_events", brief(times), "lists of times")
    entries = description.get("statistics", {})
    if not isinstance(entries, dict):
        raise StoredSolutionError("statistics", brief(entries), "a JSON object")
    statistics = {name: from_plain(value) for name, value in entries.items()}
    rest = statistics.get("equilibrium", {"reached": True})
    if not (isinstance(rest, dict) and isinstance(rest.get("reached"), bool)):
        raise StoredSolutionError("equilibrium", brief(rest), "what a run to equilibrium found")
    estimate = statistics.get("estimate")
    if estimate is not None and not (type(estimate) is float and estimate >= 0):
        raise StoredSolutionError("estimate", brief(estimate), "a number of at least 0")
    return {"t_events": [np.array(entry, float) for entry in times], "statistics": statistics}
