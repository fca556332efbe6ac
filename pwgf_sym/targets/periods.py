"""Whether a compiled map commutes with the periods of its coordinates, found by numbers."""

from __future__ import annotations

import numpy as np

from ..declare.map import start_parameters
from ..declare.maps import NeuralFlow
from ..errors import MapError

__all__ = ["check_displacement"]

_POINTS, _NOISE = 16, 0.3


def check_displacement(program) -> None:
    """Check that T(z + P e_i) = T(z) + P e_i at random parameters and points.

    A family of the user's own says that it does by its ``on_circle``; of NeuralFlow it is known.

    Raises
    ------
    MapError
        Naming the coordinate and its period.
    """
    problem, map = program.problem, program.map
    if isinstance(map, NeuralFlow):
        return
    random = np.random.default_rng(0)
    theta = start_parameters(map, problem.initial.whitened, seed=0)
    theta = (theta + _NOISE * random.normal(size=theta.size)).astype(program.dtype)
    points = problem.initial.sample(_POINTS, 0)
    for i, period in enumerate(problem.periods):
        if period is None:
            continue
        move = np.zeros(program.dim)
        move[i] = period
        here, there = (_pushed(program, theta, z) for z in (points, points + move))
        miss = float(np.abs(there - here - move).max())
        if not miss <= 1e3 * float(np.finfo(program.dtype).eps) * (1 + np.abs(here).max()):
            given = f"{map}, which takes z + P to T(z) + P but for {miss:.2g}, P = {period:.6g}"
            accepted = f"a map with a periodic displacement in {problem.coordinates[i]}"
            fix = "Let it read sin and cos of that coordinate, or use NeuralFlow."
            raise MapError("map", given, accepted, fix)


def _pushed(program, theta, points) -> np.ndarray:
    samples = program.samples(points)
    return program.unpack(np.asarray(program.push(theta, samples).x), samples).astype(float)
