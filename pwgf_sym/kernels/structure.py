"""Structure in the Jacobian of a step, by which log|det J| and J^-1 take less than a dense matrix.

Kinds are tried in order.  Where nothing proves one, the Jacobian is formed: a structure is never
guessed, as it would give wrong numbers silently.
"""

from __future__ import annotations

from ..tensors import Tensor
from ..tensors.differentiate import jacobian
from .blocks import triangular
from .undivided import Dense, Structure, diagonal_structure, low_rank_structure

__all__ = ["Structure", "structure_of"]


def structure_of(after: Tensor, x: Tensor) -> Structure:
    """The structure of d after / d x; both have one axis, of one length."""
    matrix, (axis,) = jacobian(after, x), x.axes
    found = diagonal_structure(matrix, axis) or triangular(after, x)
    return found or low_rank_structure(matrix, axis) or Dense(matrix, axis)
