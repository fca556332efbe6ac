"""Figures for files, for pyplot and for notebooks.  Importing this module imports matplotlib."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..arguments import file_path
from ..errors import OptionError
from ..files import write_atomically

__all__ = ["Picture", "check_path", "close", "new_figure", "save"]


class Picture(Figure):
    """A figure that a notebook shows once.

    The inline backend shows pyplot's figures when a cell ends, and a notebook shows the value of a
    cell's last line: ``solution.plot()`` would be shown twice.
    """

    def _ipython_display_(self) -> None:
        """Take the figure from pyplot, as it is being shown; IPython goes on with its formats."""
        if "inline" in matplotlib.get_backend():
            close(self)
        raise NotImplementedError

    def _repr_png_(self) -> bytes:
        """The picture, for a notebook in which no backend of pyplot is active."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_figure(path, **options) -> Figure:
    """A figure of pyplot, to be shown; or one of its own, to be written to ``path``.

    Figures for a file need no pyplot, whose backend may want a screen.
    """
    if path is not None:
        return Picture(**options)
    from matplotlib import pyplot

    return pyplot.figure(FigureClass=Picture, **options)


def close(figure: Figure) -> None:
    """Take a figure from pyplot, if it is one of its."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)


def save(figure: Figure, path, **options) -> None:
    """Write a picture in the format of the path's ending, PNG without one; whole or not at all."""
    path = Path(path)
    path = path if path.suffix else path.with_name(f"{path.name}.png")
    options["format"] = path.suffix[1:].lower()
    write_atomically(path, lambda file: figure.savefig(file, **options))


def check_path(name: str, path) -> str:
    """The path of a picture as a text; refused where none could be written after all the work.

    Raises
    ------
    OptionError
        When ``path`` is no path, is a folder, in no folder, or ends like no format of pictures.
    """
    path = file_path(name, path)
    folder, ending = os.path.dirname(path), os.path.splitext(path)[1][1:].lower()
    if os.path.isdir(path) or not os.path.isdir(folder or "."):
        raise OptionError(name, repr(path), "a file in a folder that exists")
    formats = Figure().canvas.get_supported_filetypes()
    if ending and ending not in formats:
        raise OptionError(name, f"a file of format {ending!r}", ", ".join(sorted(formats)))
    return path
