"""Problems that the benchmark of targets offers by name, in any dimension."""

from __future__ import annotations

import numpy as np
import sympy as sp

from ..declare.energies import integral
from ..declare.laws import Gaussian
from ..declare.problem import GradientFlow
from ..declare.symbols import Density, coordinates, copy_of

__all__ = ["PROBLEMS", "WITH_OPPONENTS", "problem_named"]


def _double_well(x, y, rho):
    potential = sum((a**2 - 1) ** 2 for a in x) / 4
    return integral(potential * rho + rho * sp.log(rho), x)


def _ornstein_uhlenbeck(x, y, rho):
    return integral(sum(a**2 for a in x) / 2 * rho + rho * sp.log(rho), x)


def _porous_medium(x, y, rho):
    return integral(rho**2, x)


def _aggregation(x, y, rho):
    square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return integral((square**2 / 4 - square / 2) * rho * rho.at(y), x, y) / 2


def _repulsion(x, y, rho):
    square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    confined = integral(sum(a**2 for a in x) / 2 * rho, x)
    return confined + integral(sp.exp(-square / 2) * rho * rho.at(y), x, y) / 2


# The problem of `.cases`, which the opponents are written for.
WITH_OPPONENTS = "double_well"
PROBLEMS = {
    "double_well": _double_well,
    "ornstein_uhlenbeck": _ornstein_uhlenbeck,
    "porous_medium": _porous_medium,
    "aggregation": _aggregation,
    "repulsion": _repulsion,
}


def problem_named(name: str, dim: int) -> GradientFlow:
    """One of `PROBLEMS` in a dimension, from N(0, I)."""
    x = coordinates(dim)
    rho = Density(x)
    energy = PROBLEMS[name](x, copy_of(x), rho)
    return GradientFlow(energy, rho, Gaussian(mean=np.zeros(dim), cov=1.0))
