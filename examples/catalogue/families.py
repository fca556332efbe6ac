"""All entries, by name: the files of the families in the order of the page."""

from . import internal  # noqa: F401
from .entry import ENTRIES

__all__ = ["ENTRIES"]
