"""Declare: coordinates, densities, energies and problems; laws and maps stand in files beside."""

from .energies import EnergyIntegral, integral
from .energy_checks import check_energy
from .problem import GradientFlow
from .symbols import Coordinates, Density, coordinates, copy_of
from .tree import from_tree, to_tree

__all__ = [
    "Coordinates",
    "Density",
    "EnergyIntegral",
    "GradientFlow",
    "check_energy",
    "coordinates",
    "copy_of",
    "from_tree",
    "integral",
    "to_tree",
]
