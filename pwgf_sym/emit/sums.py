"""The module of a sum over an index: the kernels of its values and of its gradients."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..kernels.sums import SumKernels
from ..loops.kernels import Layout
from ..loops.nodes import Function, Statement
from .header import sum_header
from .module import Emission
from .parts import signatures_of
from .shapes import documented, shapes_of

__all__ = ["emit_sum"]


def emit_sum(kernels: SumKernels, names: Collection[str], emission: Emission) -> Emission:
    """Print some kernels of a sum.

    The text depends neither on the map nor on the data or the number of rows, so that all share
    its machine code.

    Parameters
    ----------
    kernels : SumKernels
    names : collection of str
        Kernels to print.
    emission : Emission
        Of the program that it belongs to: target, tiles, what else a caller of kernels asks for.

    Raises
    ------
    FormulaError
        If a term, or its derivative, holds a function that no target prints.
    """
    target, layout = emission.target, Layout.of_axes(kernels.axes)
    own = {name: kernels.kernels[name] for name in names}
    builders = {n: target.map_builder(k, layout) for n, k in own.items()}
    printed: dict[Function, str] = {}
    body: list[Statement] = []
    for builder in builders.values():
        body += builder.statements(printed)
    taken = signatures_of(body)
    rows = {name: shapes_of(name, kernel.summary, taken) for name, kernel in own.items()}
    body = documented(body, rows)
    text = sum_header(kernels, target.line, rows) + target.text(body)
    return replace(
        emission,
        text=text,
        layout=layout,
        kernels=own,
        formulas={},
        moments=None,
        polynomials=None,
        left_out=frozenset(),
        statements=tuple(body),
        signatures=taken,
    )
