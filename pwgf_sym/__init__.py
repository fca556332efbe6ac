"""Write an energy on probability densities as a SymPy formula, get its Wasserstein gradient flow.

The pipeline is declare -> derive -> lower (tensors, kernels) -> emit (schedule, loops, printers) ->
compile (targets) -> solve (solver) -> look.  Names are imported when they are first used, so that
``import pwgf_sym`` stays quick.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:  # the same names for type checkers, which do not run __getattr__
    from . import errors, exact
    from .declare.energies import integral
    from .declare.laws import (
        Barenblatt,
        Circle,
        Custom,
        Empirical,
        Gaussian,
        Law,
        Mixture,
        Product,
        UniformBall,
        UniformBox,
        from_scipy,
    )
    from .declare.maps import (
        Affine,
        Chain,
        Coupling,
        GradientMap,
        Map,
        Monotone1D,
        NeuralFlow,
        Permute,
        Planar,
        RandomFeatures,
        Residual,
        TimeField,
        Triangular,
    )
    from .declare.problem import GradientFlow
    from .declare.symbols import Density, coordinates, copy_of
    from .declare.vectors import vector
    from .derive.variation import first_variation, pde, velocity
    from .errors import PwgfError, PwgfWarning
    from .functions import logaddexp
    from .look.plots import plot
    from .solver.equilibrium import equilibrium
    from .solver.events import Event, until_equilibrium
    from .solver.fit import fit
    from .solver.flow import solve
    from .solver.loading import load_solution
    from .solver.option_objects import LinearSolve, Samples, Steps
    from .solver.push import Push
    from .solver.solution import Solution
    from .targets.program import compile_program as compile

__version__ = "0.1.0"

# Public name -> module that defines it.
_PUBLIC = {
    "coordinates": "declare.symbols",
    "copy_of": "declare.symbols",
    "Density": "declare.symbols",
    "vector": "declare.vectors",
    "integral": "declare.energies",
    "GradientFlow": "declare.problem",
    "Gaussian": "declare.laws",
    "UniformBall": "declare.laws",
    "UniformBox": "declare.laws",
    "Barenblatt": "declare.laws",
    "Circle": "declare.laws",
    "Mixture": "declare.laws",
    "Product": "declare.laws",
    "Custom": "declare.laws",
    "Empirical": "declare.laws",
    "from_scipy": "declare.laws",
    "Law": "declare.laws",
    "Push": "solver.push",
    "Affine": "declare.maps",
    "Chain": "declare.maps",
    "Coupling": "declare.maps",
    "GradientMap": "declare.maps",
    "Map": "declare.maps",
    "Monotone1D": "declare.maps",
    "NeuralFlow": "declare.maps",
    "Permute": "declare.maps",
    "Planar": "declare.maps",
    "RandomFeatures": "declare.maps",
    "Residual": "declare.maps",
    "TimeField": "declare.maps",
    "Triangular": "declare.maps",
    "first_variation": "derive.variation",
    "velocity": "derive.variation",
    "pde": "derive.variation",
    "logaddexp": "functions",
    "compile": "targets.program",
    "solve": "solver.flow",
    "Steps": "solver.option_objects",
    "LinearSolve": "solver.option_objects",
    "Samples": "solver.option_objects",
    "equilibrium": "solver.equilibrium",
    "fit": "solver.fit",
    "Solution": "solver.solution",
    "load_solution": "solver.loading",
    "Event": "solver.events",
    "until_equilibrium": "solver.events",
    "plot": "look.plots",
    "PwgfError": "errors",
    "PwgfWarning": "errors",
    "exact": "exact",
    "errors": "errors",
}

_RENAMED = {"compile": "compile_program"}

# Written out: type checkers take these names, and no computed ones, for exported.
__all__ = ["coordinates", "copy_of", "Density", "vector", "integral", "GradientFlow"]
__all__ += ["Gaussian", "UniformBall", "UniformBox", "Barenblatt", "Circle", "Mixture"]
__all__ += ["Product", "Custom", "Empirical", "from_scipy", "Law", "Push", "Affine", "Chain"]
__all__ += ["Coupling", "GradientMap", "Map", "Monotone1D", "NeuralFlow", "Permute", "Planar"]
__all__ += ["RandomFeatures", "Residual", "TimeField", "Triangular", "first_variation"]
__all__ += ["velocity", "pde", "logaddexp", "compile", "solve", "Steps", "LinearSolve"]
__all__ += ["Samples", "equilibrium", "fit", "Solution", "load_solution", "Event"]
__all__ += ["until_equilibrium", "plot", "PwgfError", "PwgfWarning", "exact", "errors"]
__all__ += ["__version__"]


def __getattr__(name: str) -> _Any:
    if name not in _PUBLIC:
        from .calls import nearest

        near = "" if name.startswith("_") else nearest(name, _PUBLIC)
        text = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(f"{text}. {near}" if near else text)
    module = _import_module(f".{_PUBLIC[name]}", __name__)
    if name in ("exact", "errors"):
        return module  # the import system has made it an attribute
    value = getattr(module, _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
