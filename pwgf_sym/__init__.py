"""Write an energy on probability densities as a SymPy formula, get its Wasserstein gradient flow.

The pipeline is declare -> derive -> lower -> emit -> compile -> solve -> look, one folder a step.
Names are imported when they are first used, so that ``import pwgf_sym`` stays quick.
"""

from __future__ import annotations

import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:  # the same names for type checkers, which do not run __getattr__
    from . import errors, exact
    from .compile.program import compile_program as compile
    from .declare.energies import integral
    from .declare.laws import Barenblatt, Gaussian, UniformBall, UniformBox
    from .declare.maps import Affine, NeuralFlow
    from .declare.problem import GradientFlow
    from .declare.symbols import Density, coordinates, copy_of
    from .derive.variation import first_variation, pde, velocity
    from .errors import PwgfError, PwgfWarning
    from .functions import logaddexp
    from .look.plots import plot
    from .solve.equilibrium import equilibrium
    from .solve.events import Event, until_equilibrium
    from .solve.flow import solve
    from .solve.loading import load_solution
    from .solve.option_objects import LinearSolve, Samples, Steps
    from .solve.solution import Solution

__version__ = "0.1.0"

# Public name -> module that defines it.
_PUBLIC = {
    "coordinates": "declare.symbols",
    "copy_of": "declare.symbols",
    "Density": "declare.symbols",
    "integral": "declare.energies",
    "GradientFlow": "declare.problem",
    "Gaussian": "declare.laws",
    "UniformBall": "declare.laws",
    "UniformBox": "declare.laws",
    "Barenblatt": "declare.laws",
    "Affine": "declare.maps",
    "NeuralFlow": "declare.maps",
    "first_variation": "derive.variation",
    "velocity": "derive.variation",
    "pde": "derive.variation",
    "logaddexp": "functions",
    "compile": "compile.program",
    "solve": "solve.flow",
    "Steps": "solve.option_objects",
    "LinearSolve": "solve.option_objects",
    "Samples": "solve.option_objects",
    "equilibrium": "solve.equilibrium",
    "Solution": "solve.solution",
    "load_solution": "solve.loading",
    "Event": "solve.events",
    "until_equilibrium": "solve.events",
    "plot": "look.plots",
    "PwgfError": "errors",
    "PwgfWarning": "errors",
    "exact": "exact",
    "errors": "errors",
}

_RENAMED = {"compile": "compile_program"}
# Functions that share their name with a folder of the package.
_FOLDERS = ("compile", "solve")

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> _Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _import_module(f".{_PUBLIC[name]}", __name__)
    if name in ("exact", "errors"):
        return module  # the import system has made it an attribute
    value = getattr(module, _RENAMED.get(name, name))
    if name in _FOLDERS:
        # Modules of the folder are attributes of the function, as ``import pwgf_sym.solve.options``
        # promises.  Others may be imported later: the name is looked up every time.
        folder = vars(_sys.modules[f"{__name__}.{name}"])
        vars(value).update({k: m for k, m in folder.items() if isinstance(m, _ModuleType)})
    else:
        globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(_ModuleType):
    """``compile`` and ``solve`` are folders as well as functions; the name means the function.

    The import system sets a folder as an attribute of its package when it is first imported; that
    would hide the function.
    """

    def __setattr__(self, name: str, value: _Any) -> None:
        if name in _FOLDERS and isinstance(value, _ModuleType):
            return
        super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Package
