"""Kernels of the sums over an index in an energy: values at a sample, gradients, Hessians.

A sum over data rows runs over blocks of rows as a map runs over its steps: a block is a step, its
rows are the step's parameters, and the sum so far is carried on.  So a module's text depends on
neither the rows nor their number, a block of rows stays in the cache while all samples of a block
meet it, and the gradient is reverse mode of the same graph.

The logarithm of a sum of exponentials is carried as itself:

    L <- L + log(1 + exp(M - L)),   M = m + log sum_r exp(t_r - m),   m = max_r t_r,

and its gradient is the sum of exp(t_r - L) grad t_r: nothing overflows (Blanchard, Higham and
Higham, IMA J. Numer. Anal. 41, 2021).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from ..declare.energies import short_text
from ..derive.families import Family
from ..derive.sums import IndexedSum
from ..tensors import (
    Axis,
    Delta,
    Largest,
    Tensor,
    Zero,
    add,
    apply,
    between_jumps,
    constant,
    input_tensor,
    placeholder,
    product,
)
from ..tensors.differentiate import jvp, vjp
from ..tensors.passes import PASSES
from ..tensors.scalars.scaled import largest
from .kernels import Carry, Kernel, Sweep
from .terms import Datum, Rows, TermGraph

__all__ = ["SumKernels", "sum_kernels"]

#: What a logarithm of a sum starts from, and what rows beyond the last one have: exp(-1e30) = 0.
NOTHING = -1e30


@dataclass(frozen=True)
class SumKernels:
    """The kernels of one sum.

    Attributes
    ----------
    name : str
        That of the sum, and of the kernel of its values.
    kernels : dict of str to Kernel
        By name: the values S(x_n), the gradients, and the second derivatives; those of a logarithm
        L at fixed L, so that -grad L grad L^T is missing.
    logarithm : bool
        Whether the sum stands in a logarithm.
    data : tuple of Datum
        What a step reads, in the order in which it stands in the kernels' parameters.
    rows : Rows
        What a step runs over.
    """

    name: str
    kernels: dict[str, Kernel]
    logarithm: bool
    data: tuple[Datum, ...]
    rows: Rows

    @property
    def axes(self) -> dict[str, tuple[Axis, ...]]:
        """Axes of what a step reads, by name."""
        return {datum.name: datum.axes for datum in self.data}


def sum_kernels(
    one: IndexedSum,
    coordinates: tuple[sp.Symbol, ...],
    sizes: Mapping[sp.Symbol, float],
    family: Family | None = None,
) -> SumKernels:
    """The kernels of a sum.

    Parameters
    ----------
    one : IndexedSum
    coordinates : tuple of d Symbols
    sizes : dict of Symbol to int
        Lengths of arrays: axes within a block of rows have these lengths.
    family : Family, optional
        The sum over integrals whose first variation it is: their means are kernels, too.

    Raises
    ------
    EnergyError, ParameterError
        If a limit of the sum is no whole number, or a term cannot be lowered.
    """
    logarithm = isinstance(one.formula, sp.log)
    node = one.formula.args[0] if logarithm else one.formula
    graph = TermGraph(node, coordinates, sizes)
    make = _logarithm if logarithm else _plain
    made = make(one, graph)
    if family is not None:
        made.append(_means_kernel(one, graph, family))
    kernels = {kernel.name: _simplified(kernel) for kernel in made}
    data = graph.data(list(kernels.values()))
    return SumKernels(one.name, kernels, logarithm, data, graph.rows)


def _plain(one: IndexedSum, graph: TermGraph) -> list[Kernel]:
    found = graph.summed()
    (gradient,) = vjp({found: constant(1)}, [graph.x])
    after = add(input_tensor(one.name, (), per_sample=True), found)
    return [_value_kernel(one, graph, after), *_derivatives(one, graph, gradient, {})]


def _means_kernel(one: IndexedSum, graph: TermGraph, family: Family) -> Kernel:
    """Of S = sum of c_j g_j the means of g_j, its derivatives by c_j."""
    weight = input_tensor("weight", (), per_sample=True)
    entries = [graph.datum_of(c[family.limits[0]]) for c in family.weights]
    means = vjp({graph.summed(): weight}, entries)
    by_name = {entry.name: mean for entry, mean in zip(entries, means, strict=True)}
    summary = f"sum over samples of weight dS/dc, S = {short_text(one.formula)}"
    inputs: dict[str, tuple[Axis, ...]] = {"x": graph.x.axes, "weight": ()}
    sweep = Sweep(-1, {}, gradients=by_name)
    return Kernel(f"{one.name}_means", summary, inputs, {}, [sweep])


def _logarithm(one: IndexedSum, graph: TermGraph) -> list[Kernel]:
    a, b, c = map(placeholder, range(3))
    terms = graph.logarithms(NOTHING)
    top = Largest(terms, terms.axes)
    scaled = apply(sp.exp(a - b), terms, top)
    block = apply(a + sp.log(b), top, product(1, [(scaled, scaled.axes)], ()))
    whole = input_tensor(one.name, (), per_sample=True)
    before = apply(a + b, whole, graph.start(NOTHING))
    larger = apply(largest(a, b), before, block)
    after = apply(c + sp.log(sp.exp(a - c) + sp.exp(b - c)), before, block, larger)
    share = apply(sp.exp(a - b), terms, whole)
    (gradient,) = vjp({terms: share}, [graph.x])
    reads: dict[str, tuple[Axis, ...]] = {one.name: ()}
    return [_value_kernel(one, graph, after), *_derivatives(one, graph, gradient, reads)]


def _value_kernel(one: IndexedSum, graph: TermGraph, after: Tensor) -> Kernel:
    before = input_tensor(one.name, (), per_sample=True)
    summary = f"S(x) = {short_text(one.formula)}"
    sweep = Sweep(+1, {one.name: Carry(before, after, "0")})
    return Kernel(one.name, summary, {"x": graph.x.axes}, {one.name: ()}, [sweep])


def _derivatives(
    one: IndexedSum, graph: TermGraph, gradient: Tensor, reads: dict[str, tuple[Axis, ...]]
) -> list[Kernel]:
    """The gradient, and its derivative; ``reads`` is what they read of a sample beside x."""
    text = short_text(one.formula)
    row, column = graph.x.axes[0], Axis("e", graph.x.axes[0].size)
    (moved,) = jvp([gradient], {graph.x: Delta(row, column)}, (column,))
    # A method in time reads the Hessian as an approximation: that between kinks will do.
    moved = between_jumps(moved)
    made = {
        f"{one.name}_slope": (gradient, f"grad S(x), S(x) = {text}"),
        f"{one.name}_hessian": (moved, f"Hess S(x), what it reads held fixed, S(x) = {text}"),
    }
    found = []
    for name, (tensor, summary) in made.items():
        axes = tensor.axes
        if isinstance(tensor, Zero):  # entries that loops can write
            tensor = product(0, (), axes)
        before = input_tensor(name, axes, per_sample=True)
        sweep = Sweep(+1, {name: Carry(before, add(before, tensor), "0")})
        found.append(Kernel(name, summary, {"x": graph.x.axes, **reads}, {name: axes}, [sweep]))
    return found


def _simplified(kernel: Kernel) -> Kernel:
    """The kernel after all passes on tensors."""
    for step in PASSES:
        start = time.perf_counter()
        kernel.sweeps = [s.with_outputs(step.run(s.outputs())) for s in kernel.sweeps]
        kernel.timings[step.name] = time.perf_counter() - start
    return kernel
