"""What is looked at in maps that users write: where they start, and what they read."""

from __future__ import annotations

import numpy as np

from ..errors import MapWarning, warn
from ..kernels.looped import Looped
from ..tensors import input_tensor, topological
from .numpy.map_kernels import MapKernel, Parameters

__all__ = ["displacement_at", "warn_of_unused"]

_POINTS = 16


def warn_of_unused(looped: Looped) -> None:
    """Say which parameters no step reads: the flow cannot move them."""
    read: set[str] = set()
    for stage in looped.stages:
        x = input_tensor("x", (stage.axes["i"],), per_sample=True)
        read |= {t.name for t in topological([stage.after(x)]) if hasattr(t, "name")}
    named = [pair for stage in looped.stages for pair in stage.names.items()]
    unused = dict.fromkeys(own for own, name in named if name not in read)
    if unused:
        names = ", ".join(unused)
        warn(f"No step of {looped.map} reads {names}: leave it out of parameters().", MapWarning)


def displacement_at(program, theta: np.ndarray) -> float:
    """The largest |T(z) - z| at some samples of the initial law, over its spread.

    NumPy computes it: no kernel is compiled for it.
    """
    law, emission = program.problem.initial, program.emission
    z = (law.sample(_POINTS, 0) - law.mean) / law.spread
    kernel = MapKernel(emission.kernels["push"], np.float64)
    parameters = Parameters(emission.layout, np.asarray(theta, np.float64))
    shared = kernel.shared(parameters)
    found, _ = kernel.run(len(z), parameters, shared, {"z": z}, {})
    return float(np.abs(found["x"] - z).max())
