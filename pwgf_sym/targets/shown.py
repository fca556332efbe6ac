"""Texts of code that show themselves in colours, where somebody reads them."""

from __future__ import annotations

import sys

__all__ = ["Code"]


class Code(str):
    """Python text; in a notebook and at a terminal's prompt it is highlighted.

    It is a string in every other way.  Colours come from Pygments, which notebooks bring along;
    without it the text is plain.
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        try:
            from pygments.formatters import HtmlFormatter
        except ImportError:
            from html import escape

            return f"<pre>{escape(self)}</pre>"
        return self._highlighted(HtmlFormatter(noclasses=True))

    def __repr__(self) -> str:
        if not getattr(sys.stdout, "isatty", bool)():
            return super().__repr__()
        try:
            from pygments.formatters import TerminalFormatter
        except ImportError:
            return str(self)
        return self._highlighted(TerminalFormatter())

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(repr(self))

    def _highlighted(self, formatter) -> str:
        from pygments import highlight
        from pygments.lexers import PythonLexer

        return highlight(str(self), PythonLexer(), formatter)
