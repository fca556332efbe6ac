"""Write an energy on probability densities as a SymPy formula, get its Wasserstein gradient flow.

The pipeline is declare -> derive -> lower -> emit -> compile -> solve -> look, one folder a step.
Names are imported when they are first used, so that ``import pwgf_sym`` stays quick.
"""

from __future__ import annotations

import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import Any as _Any

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
    "compile": "compile.program",
    "solve": "solve.flow",
    "Solution": "solve.solution",
    "load_solution": "solve.solution",
    "plot": "look.plots",
    "PwgfError": "errors",
    "exact": "exact",
    "errors": "errors",
}

_RENAMED = {"compile": "compile_program"}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> _Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _import_module(f".{_PUBLIC[name]}", __name__)
    if name in ("exact", "errors"):
        value = module
    else:
        value = getattr(module, _RENAMED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(_ModuleType):
    """``compile`` and ``solve`` are folders as well as functions; the name means the function.

    The import system sets a folder as an attribute of its package when it is first imported; that
    would hide the function.  Folders are reached by ``from pwgf_sym.compile... import ...``.
    """

    def __setattr__(self, name: str, value: _Any) -> None:
        if name in ("compile", "solve") and isinstance(value, _ModuleType):
            return
        super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Package
