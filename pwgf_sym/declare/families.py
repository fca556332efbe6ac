"""Sums over an index of functions of integrals, such as the risk of a mean-field neural network.

    Sum(F(I_n, b[n]), (n, 0, N - 1)),    I_n = int h(A[n, 0], ..., x) rho(x) dx

has one integral for every row of data.
"""

from __future__ import annotations

from typing import NoReturn

import sympy as sp

from ..errors import EnergyError
from ..sharing import holds, parts
from .energies import EnergyIntegral, ordered_integrals, short_text
from .indexed import is_kept

__all__ = ["check_family", "energy_parts", "is_family"]


def is_family(node: sp.Basic) -> bool:
    """Whether a part of an energy is a sum, or a product, over integrals."""
    return is_kept(node) and holds(node, (EnergyIntegral,))


def energy_parts(energy: sp.Expr) -> list[sp.Expr]:
    """The integrals of an energy that stand in no sum, and its sums over integrals, in order."""
    found: dict[sp.Expr, None] = {}
    walk = sp.preorder_traversal(energy)
    for node in walk:
        if isinstance(node, EnergyIntegral) or is_family(node):
            found[node] = None
            walk.skip()
    return list(found)


def check_family(node: sp.Basic) -> None:
    """Refuse sums over integrals of other kinds than Sum(F(integral(h*rho, x)), (n, 0, N - 1)).

    Raises
    ------
    EnergyError
    """
    accepted = "sums over one index of functions of integrals, Sum(F(integral(h*rho, x)), ...)"

    def refuse(what: str, fix: str = "") -> NoReturn:
        raise EnergyError("energy", f"{short_text(node)}: {what}", accepted, fix)

    if isinstance(node, sp.Product):
        refuse("a product over integrals", "Write sp.exp(sp.Sum(sp.log(f), (n, 0, N - 1))).")
    if len(node.limits) != 1:
        refuse("two indices over integrals", "Number the pairs of indices by one index.")
    if len(node.limits[0]) != 3:
        refuse("an index without limits", "Write sp.Sum(f, (n, 0, N - 1)).")
    if any(is_family(arg) for arg in parts(node.function)):
        refuse("a sum over integrals inside of another one")
    for one in ordered_integrals(node.function):
        if len(one.copies) != 1:
            refuse(f"the double integral {short_text(one)}", "Write its sum in the integrand.")
        if ordered_integrals(one.integrand):
            refuse(f"an integral inside of {short_text(one)}")
