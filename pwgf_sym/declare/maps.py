"""Maps by name: all families of the package, and what a stored one is made of.

:class:`Map` says what they have in common, in a file of its own.
"""

from __future__ import annotations

from typing import Any

from ..errors import StoredSolutionError
from .affine import Affine
from .chain import Chain, Permute
from .couplings import Coupling, Monotone1D, Triangular
from .map import VECTORS, Map, Operations, parameter_count
from .neural_flow import NeuralFlow
from .registry import declare_families, restored
from .residual import GradientMap, Planar, RandomFeatures, Residual
from .time_field import TimeField

__all__ = [
    "VECTORS",
    "Affine",
    "Chain",
    "Coupling",
    "GradientMap",
    "Map",
    "Monotone1D",
    "NeuralFlow",
]
__all__ += ["Operations", "Permute", "Planar", "RandomFeatures", "Residual", "TimeField"]
__all__ += ["Triangular", "map_from_dict", "parameter_count"]

_FAMILIES: tuple[type[Map], ...] = (
    Affine,
    Chain,
    Coupling,
    GradientMap,
    Monotone1D,
    NeuralFlow,
    Permute,
    Planar,
    RandomFeatures,
    Residual,
    TimeField,
    Triangular,
)

declare_families(Map, *_FAMILIES, error=StoredSolutionError)


def map_from_dict(entries: dict[str, Any]) -> Map:
    """The map that :meth:`Map.to_dict` described.

    Raises
    ------
    StoredSolutionError
        When it is none of the package's maps, nor of a class of the user's that is imported.
    """
    found = restored("map", entries)
    assert isinstance(found, Map)
    return found
