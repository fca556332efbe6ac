"""All entries, by name: the files of the families in the order of the page."""

from importlib import import_module

from .entry import ENTRIES

__all__ = ["ENTRIES"]

FAMILIES = (
    "internal",
    "potentials",
    "interactions",
    "kernels",
    "gradients",
    "data",
    "compositions",
)
for family in FAMILIES:
    import_module(f".{family}", __package__)
