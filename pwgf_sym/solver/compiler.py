"""The one place where the solver meets the compiler: elsewhere it knows protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np

from ..declare.maps import Map
from ..declare.problem import GradientFlow
from ..targets.table import TARGETS as _TABLE
from .protocols import Program, Target

__all__ = ["TARGETS", "build_program", "displacement"]

#: Targets by name; the first is the default.
TARGETS: Mapping[str, Target] = _TABLE


def build_program(problem: GradientFlow, map: Map, target: str, dtype: str) -> Program:
    """Compile a problem with a map; the compiler is imported only here, when it is needed."""
    from ..targets.program import compile_program

    # A program takes back samples and states of its own class, which a protocol cannot say.
    return cast(Program, compile_program(problem, map, target=target, dtype=dtype))


def displacement(program: Program, theta: np.ndarray) -> float:
    """The largest |T(z) - z| at some samples of the initial law, over its spread."""
    from ..targets.written_maps import displacement_at

    return displacement_at(program, theta)
