"""Where a run starts: the map's own parameters, or those that are given."""

from __future__ import annotations

import numpy as np

from ..arguments import real_array
from ..declare.map import start_parameters
from ..declare.maps import Map, Permute, parameter_count
from ..declare.problem import GradientFlow
from ..errors import MapWarning, OptionError, warn
from .compiler import displacement
from .protocols import Program
from .sampling import seed_for

__all__ = ["start_of", "warn_of_start"]

#: Spreads of the law by which a map that starts at the identity may move samples.
ROUNDING = 1e-6


def start_of(problem: GradientFlow, map: Map, theta0: np.ndarray | None, seed: int) -> np.ndarray:
    """The start parameters, (p,) float64."""
    if theta0 is None:
        return start_parameters(map, problem.initial.whitened, seed_for(seed, "map"))
    count = parameter_count(map)
    accepted = f"an array of {count} numbers"
    theta = real_array("theta0", theta0, finite=False, accepted=accepted).copy()
    if theta.shape != (count,):
        raise OptionError("theta0", f"shape {theta.shape}", f"shape {(count,)} for {map}")
    if not np.all(np.isfinite(theta)):
        bad = int(np.flatnonzero(~np.isfinite(theta))[0])
        raise OptionError("theta0", f"{theta[bad]} at index {bad}", "finite numbers")
    return theta


def warn_of_start(program: Program, theta: np.ndarray) -> None:
    """Say that a map does not start at the identity: the flow begins elsewhere."""
    if all(map(_starts_at_identity, program.map.parts())):
        return
    moved = displacement(program, theta)
    if not moved <= ROUNDING:
        warn(
            f"{program.map} does not start at the identity: it moves samples by {moved:.2g} times "
            "the spread of the initial law, and the flow begins at the law that it carries them "
            "to. Give initial_parameters() at which T(z) = z, or theta0 where that is meant.",
            MapWarning,
        )


def _starts_at_identity(part: Map) -> bool:
    """Whether it is known of the family, or nobody knows."""
    if isinstance(part, Permute):
        return False
    package = __name__.partition(".")[0]
    methods = type(part).initial_parameters, type(part).step
    return all(method.__module__.partition(".")[0] == package for method in methods)
