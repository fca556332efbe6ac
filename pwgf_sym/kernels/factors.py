"""The sample Jacobian as products of factors: the Kronecker structure of a map's layers.

A parameter that enters a step through a contraction, W[k, j] x[j], has rows of the sample Jacobian
that are products over its axes, a[o, k] x[j] for output o.  Then the kernel matrix J J^T of the
samples needs no row of J: it is a sum over steps and parameters of products of Gram matrices,

    sum_kj (a[n,o,k] x[n,j]) (a[n',o',k] x[n',j]) = (a a^T)[no, n'o'] (x x^T)[n, n'].

Rows that are no such product are one factor: right, but not cheaper than J itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sympy as sp

from ..tensors import Axis, Input, Labelled, Product, Tensor, product

if TYPE_CHECKING:
    from .kernels import Kernel

__all__ = ["RowFactors", "factor_kernel"]


@dataclass(frozen=True)
class RowFactors:
    """Rows of one parameter: coefficient times the product of stored values.

    Attributes
    ----------
    coefficient : Expr
        A number.
    names : tuple of str
        Stored values, each with axes of its own.
    """

    coefficient: sp.Expr
    names: tuple[str, ...]


def factor_kernel(jacobian: Kernel) -> Kernel:
    """The kernel that stores the factors of every step.

    Parameters
    ----------
    jacobian : Kernel
        The kernel of the sample Jacobian, its products flattened but not yet contracted.

    Returns
    -------
    Kernel
        "factors"; its ``stored`` holds what it reads and what it writes, its ``factors`` what the
        rows of every parameter are products of.
    """
    *seeds, backward = jacobian.sweeps
    basis = next(iter(backward.rows.values())).axes[0]
    saved: dict[Tensor, str] = {}
    rows = {}
    for name, tensor in backward.rows.items():
        coefficient, parts = _factors(tensor, basis)
        rows[name] = RowFactors(coefficient, tuple(_name(p, jacobian, saved) for p in parts))
    new = {name: tensor for tensor, name in saved.items()}
    stored = {**jacobian.stored, **{name: tensor.axes for name, tensor in new.items()}}
    return replace(
        jacobian,
        name="factors",
        summary="factors of dT/dtheta of every sample",
        sweeps=[*seeds, replace(backward, saved=new, rows={})],
        stored=stored,
        factors=rows,
        timings={},
    )


def _name(part: Tensor, jacobian: Kernel, saved: dict[Tensor, str]) -> str:
    """The name under which a factor is stored: that of the forward pass where it is there."""
    if isinstance(part, Input) and part.name in jacobian.stored:
        return part.name
    return saved.setdefault(part, f"factor_{len(saved)}")


def _factor(members: list[Labelled], axes: list[Axis]) -> Tensor:
    """The product of a group; names and order of the axes after the outputs do not matter."""
    if len(members) == 1:
        operand, own = members[0]
        if set(own) == set(axes) and own[:1] == tuple(axes[:1]):
            return operand
    return product(1, sorted(members, key=repr), axes)


def _factors(tensor: Tensor, basis: Axis) -> tuple[sp.Expr, list[Tensor]]:
    """Coefficient and factors over disjoint axes of a row tensor; the basis axis may be shared."""
    if not isinstance(tensor, Product) or any(len(set(ls)) < len(ls) for ls in tensor.labels):
        return sp.S.One, [tensor]
    groups: list[tuple[set[Axis], list[Labelled]]] = []
    for operand, own in tensor.factors:
        axes, members = set(own) - {basis}, [(operand, own)]
        for group in [g for g in groups if g[0] & axes or not (g[0] and axes)]:
            groups.remove(group)
            axes, members = axes | group[0], group[1] + members
        groups.append((axes, members))
    carried = {a for own, _ in groups for a in own}
    # One factor, or a broadcast along a parameter's axis.
    if len(groups) == 1 or set(tensor.axes) - {basis} - carried:
        return sp.S.One, [tensor]
    found = []
    for axes, members in groups:
        has_basis = any(basis in own for _, own in members)
        kept = [a for a in tensor.axes if a in axes or (a == basis and has_basis)]
        found.append(_factor(members, kept))
    if not any(basis in part.axes for part in found):
        return sp.S.One, [tensor]
    return tensor.coefficient, found
