"""Families of maps side by side: errors of each on problems with exact answers.

`TABLE` says which maps of which sizes run on which problem, `families` runs them one after the
other, each by `pwgf_sym.solve` with no option but those that are given, and measures them on points
that no run has used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..arguments import checked_call, choice, integer
from ..declare import maps
from ..declare.maps import Map, parameter_count
from ..files import write_atomically
from .exact_problems import exact_problem
from .exact_row import ExactProblem
from .study import aligned, plain, timed_run

__all__ = ["FAMILIES", "TABLE", "Families", "FamilyRow", "families", "named_map"]

# Characters of a note in a table.
_NOTE = 60


def _coupled(dim: int, width: int, pairs: int = 1) -> Map:
    """Pairs of couplings, which move all coordinates, in halves that change; an affine map last."""
    both = [maps.Coupling(dim, width), maps.Coupling(dim, width, reverse=True)]
    mixed = [maps.Permute([*range(0, dim, 2), *range(1, dim, 2)])] * (dim > 2)
    return maps.Chain([maps.Affine(dim), *[*both, *mixed] * pairs, maps.Affine(dim)])


def _bent(dim: int, bends: int, width: int) -> Map:
    """Each coordinate by itself, then couplings."""
    return maps.Chain([maps.Monotone1D(dim, bends), _coupled(dim, width)])


#: Families by name: a map of a dimension and of what its size is.
FAMILIES: Mapping[str, Callable[..., Map]] = {
    "affine": maps.Affine,
    "flow": maps.NeuralFlow,
    "deep": lambda dim, width, steps: maps.NeuralFlow(dim, width, steps, depth=2),
    "skip": lambda dim, width, steps: maps.NeuralFlow(dim, width, steps, depth=2, skip=True),
    "field": maps.TimeField,
    "residual": maps.Residual,
    "planar": maps.Planar,
    "coupled": _coupled,
    "triangular": maps.Triangular,
    "monotone": maps.Monotone1D,
    "gradient": maps.GradientMap,
    "features": maps.RandomFeatures,
    "bent": _bent,
}

_PLANE = (
    *("affine", "flow 16 4", "deep 16 1", "skip 16 1", "field 32", "residual 16 4"),
    *("planar 32", "coupled 16", "coupled 16 2", "triangular 32", "monotone 16", "monotone 24"),
    *("gradient 32", "features 60", "bent 12 16"),
)
#: Problem -> maps that are measured on it, each a family and its sizes.
TABLE: Mapping[str, Sequence[str]] = {
    "double_well": _PLANE,
    "styblinski_tang_10": ("affine", "flow 64 2", "monotone 16", "monotone 24", "features 200"),
    "banana": _PLANE,
    "banana_10": ("affine", "flow 32 2", "triangular 16", "coupled 16 2", "gradient 32"),
    "aggregation": _PLANE,
}


def named_map(text: str, dim: int) -> Map:
    """The map of "monotone 24", say: a family, and whole numbers, its sizes.

    Raises
    ------
    OptionError
        If there is no such family.
    MapError
        If the family has no such sizes.
    """
    name, *sizes = text.split()
    choice("families", name, FAMILIES)
    return FAMILIES[name](dim, *(integer("families", size, 1) for size in _whole(sizes)))


def _whole(sizes: Sequence[str]) -> list[object]:
    return [int(size) if size.isdecimal() else size for size in sizes]


@dataclass(frozen=True)
class FamilyRow:
    """One run.

    Attributes
    ----------
    problem, family, map : str
        Names, and the map as it is written.
    seed, parameters : int
        Of the run and the map.
    error : float
        See `ExactProblem.error`; NaN for a run that failed.
    marginal, relative : float
        Largest W2 distance of a marginal, and the largest one over its standard deviation.
    estimate, defect : float
        ``Solution.error_estimate``, and the defect at the end.
    seconds : float
        Of the run, compilation apart.
    steps, evaluations : int
        Time steps, right-hand sides; 0 for a run that failed.
    note : str
        What is wrong with the run; empty if nothing is.
    """

    problem: str
    family: str
    map: str
    seed: int
    parameters: int
    error: float
    marginal: float
    relative: float
    estimate: float
    defect: float
    seconds: float
    steps: int
    evaluations: int
    note: str


@dataclass(frozen=True)
class Families:
    """Rows in the order of the runs, and the options that they have in common."""

    rows: tuple[FamilyRow, ...]
    options: dict

    def __str__(self) -> str:
        head = ["problem", "family", "parameters", "seed", "error", "W2", "relative", "estimate"]
        lines = [[*head, "defect", "seconds", "steps", "note"]]
        for row in self.rows:
            sizes = (row.error, row.marginal, row.relative, row.estimate, row.defect)
            line = [row.problem, row.family, str(row.parameters), str(row.seed)]
            line += [f"{size:.1e}" for size in sizes]
            lines.append([*line, f"{row.seconds:.1f}", str(row.steps), row.note[:_NOTE]])
        return aligned(lines, left=(0, 1, 11))

    def save(self, path) -> None:
        """Write all rows as JSON, whole or not at all."""
        data = asdict(self)
        for row in data["rows"]:
            row |= {name: plain(v) for name, v in row.items() if isinstance(v, float)}
        text = json.dumps(data, indent=1, default=str)
        write_atomically(Path(path), lambda file: file.write(text.encode()))


@checked_call
def families(
    names: Iterable[str] = tuple(TABLE),
    chosen: Sequence[str] | None = None,
    *,
    seeds: int = 1,
    points: int = 16384,
    show: Callable[[FamilyRow], object] | None = None,
    **options,
) -> Families:
    """Run families of maps on problems with exact answers.

    Parameters
    ----------
    names : sequence of str
        Of `EXACT_PROBLEMS`; by default those of `TABLE`.
    chosen : sequence of str, optional
        Maps as `TABLE` writes them; by default its own for each problem.
    seeds : int
        Runs with seeds 0, 1, ..., seeds - 1 of every map.
    points : int
        Number of points that errors are measured on.
    show : callable, optional
        Called with every row as soon as it is there.
    **options
        Of `pwgf_sym.solve`, equal for all runs.

    Raises
    ------
    BenchmarkError, OptionError, MapError
        For an unknown problem or family, or what `solve` or a family does not accept.
    """
    seeds, points = integer("seeds", seeds, 1), integer("points", points, 1)
    runs = []
    for name in names:
        row = exact_problem(name)
        for text in chosen or TABLE.get(name, _PLANE):
            runs.append((replace(row, map=named_map(text, row.dim)), text))
    found = []
    for row, text in runs:
        for seed in range(seeds):
            found.append(_run(row, text, points, {"seed": seed} | options))
            if show is not None:
                show(found[-1])
    return Families(tuple(found), options)


def _run(row: ExactProblem, text: str, points: int, options: dict) -> FamilyRow:
    """One run, after one of a moment that compiles; a flow that fails is a row with a note."""
    solution, seconds, _, note = timed_run(row, {"save_at": row.t_span} | options)
    head = (row.name, text, str(row.map), options["seed"], parameter_count(row.map))
    if solution is None:
        return FamilyRow(*head, *[float("nan")] * 5, seconds, 0, 0, note)
    z = row.points(points)
    errors = _distances(solution.push(z), row.exact(z), row.spread())
    sizes = (solution.error_estimate, float(solution.defect[-1]))
    return FamilyRow(*head, *errors, *sizes, seconds, solution.nsteps, solution.nfev, note)


def _distances(found, wanted, spread) -> tuple[float, float, float]:
    """Error of a map over the spread, and the largest W2 of a marginal, plain and relative.

    The marginals are those of the same points by both maps: what a finite number of points misses
    of the law is in both, and is no error.
    """
    error = np.sqrt(np.mean(np.sum((found - wanted) ** 2, axis=1)) / found.shape[1]) / spread
    gaps = np.sort(found, axis=0) - np.sort(wanted, axis=0)
    marginals = np.sqrt(np.mean(gaps**2, axis=0))
    relative = marginals / np.std(wanted, axis=0)
    return float(error), float(marginals.max()), float(relative.max())
