"""Maps with triangular Jacobians: couplings, monotone functions, triangular maps."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ..arguments import checked_call, dimension, flag, integer
from ..errors import MapError
from ..memory import fitting
from .map import VECTORS, Family, Operations, V, parameter_count, positive
from .residual import features, random_of, spreads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = ["Coupling", "Monotone1D", "Triangular"]


class Coupling(Family):
    """An affine coupling (RealNVP; Dinh et al., arXiv 1605.08803): half of the coordinates stay.

    With x = (y, z), y of d // 2 coordinates and h = tanh(W y + c) of these, T(x) is
    (y, z exp(S h + a) + T h + b), which never folds.  The log density costs O(d width) a sample.
    Alone it never moves y: take it in a chain with :class:`Affine`, :class:`Permute` and others of
    its kind.

    Parameters
    ----------
    dim : int
        Dimension d, at least 2.
    width : int
        Number of hidden units.
    reverse : bool
        Whether the last coordinates stay instead, and the first d // 2 move.

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "width", "reverse")

    @checked_call
    def __init__(self, dim: int, width: int, reverse: bool = False) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        if self.dim < 2:
            raise MapError("dim", 1, "at least 2", "Use Monotone1D(1, width) in one dimension.")
        self.width = positive("width", width)
        self.reverse = flag("reverse", reverse, error=MapError)
        fitting("width", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    @property
    def _sizes(self) -> tuple[int, int]:
        """Coordinates that stay, and that move."""
        half = self.dim // 2
        return (self.dim - half, half) if self.reverse else (half, self.dim - half)

    def axes(self) -> dict[str, int]:
        stay, move = self._sizes
        return {"k": self.width, "l": stay, "m": move}

    def parameters(self) -> dict[str, str]:
        return {"W": "kl", "c": "k", "S": "mk", "a": "m", "T": "mk", "b": "m"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        half = self.dim // 2
        stay, move = (x[half:], x[:half]) if self.reverse else (x[:half], x[half:])
        hidden = op.apply(sp.tanh, p["W"] @ stay + p["c"])
        scale = op.apply(sp.exp, p["S"] @ hidden + p["a"])
        moved = move * scale + p["T"] @ hidden + p["b"]
        return op.concatenate([moved, stay] if self.reverse else [stay, moved])

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        (stay, move), half = self._sizes, self.dim // 2
        random = random_of(seed)
        spread = spreads(law, self.dim)
        seen = spread[half:] if self.reverse else spread[:half]
        weights, shifts = features(stay, self.width, seen, random)
        return np.concatenate([weights.ravel(), shifts, np.zeros(2 * move * (self.width + 1))])


_REACH = 2.5  # spreads of a coordinate up to which Monotone1D has knots in the beginning


def _bend(u: sp.Expr) -> sp.Expr:
    """A smooth turn from the slope 0 to the slope 1."""
    return (u + sp.sqrt(1 + u**2)) / 2


class Monotone1D(Family):
    """Each coordinate by an increasing function of its own: monotone by construction.

    The slope of T_i goes from exp(a_i0) over exp(a_i1), ..., exp(a_im), and turns from one to the
    next at the knots q_i1 < ... < q_im of the coordinate, all of them smoothly over 1/w_i:

        T(x)_i = b_i + exp(a_i0) x_i + sum_k (exp(a_ik) - exp(a_i,k-1)) h(w_i (x_i - q_ik))/w_i

    with h(u) = (u + sqrt(1 + u^2))/2.  With one width the slopes are means of the exp(a_ik), which
    have no bound.

    Parameters
    ----------
    dim : int
        Dimension d.
    width : int
        Number m of knots of each function, at least 2; a step has (2 m + 3) d parameters.
    steps : int
        Number of steps.

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "width", "steps")

    @checked_call
    def __init__(self, dim: int, width: int, steps: int = 1) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.width = integer("width", width, least=2, error=MapError)
        self.steps = positive("steps", steps)
        fitting("width", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    def axes(self) -> dict[str, int]:
        return {"k": self.width, "l": self.width + 1, "m": self.width - 1}

    def parameters(self) -> dict[str, str]:
        # The first knot and the logarithms of the gaps between knots, and that of the width.
        return {"a": "il", "b": "i", "q": "i", "g": "im", "o": "i"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        after, before = np.eye(self.width + 1)[:, 1:], np.eye(self.width + 1)[:, :-1]
        slopes, width = op.apply(sp.exp, p["a"]), op.apply(sp.exp, p["o"])
        turns = op.einsum("il,lk->ik", slopes, op.constant(after - before, "lk"))
        earlier = np.triu(np.ones((self.width, self.width)), 1)[:-1]
        gaps = op.einsum("im,mk->ik", op.apply(sp.exp, p["g"]), op.constant(earlier, "mk"))
        every = op.constant(np.ones(self.width), "k")
        away = op.einsum("i,k->ik", width * (x - p["q"]), every)
        bends = op.apply(_bend, away - op.einsum("i,ik->ik", width, gaps))
        bent = op.einsum("ik,ik->i", turns, bends)
        return p["b"] + slopes[:, 0] * x + bent / width

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        spread, m = spreads(law, self.dim), self.width
        gap = 2 * _REACH * spread / (m - 1)
        gaps = np.repeat(np.log(gap), m - 1)
        rows = [np.zeros((m + 2) * self.dim), -_REACH * spread, gaps, -np.log(gap)]
        return np.tile(np.concatenate(rows), self.steps)


class Triangular(Family):
    """T(x)_i = x_i exp(s_i) + t_i, s_i and t_i functions of x_0, ..., x_{i-1}.

    Each is linear in a hidden layer of the coordinates before.  The Jacobian is triangular, and the
    map never folds.  Of its own coordinate each is affine, so that the first
    one is only scaled and moved: ``Monotone1D(d, 16) @ Triangular(d, width)`` bends all of them.
    The code grows with the dimension.

    Parameters
    ----------
    dim : int
        Dimension d, at most 16.
    width : int
        Hidden units for each coordinate.

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "width")

    @checked_call
    def __init__(self, dim: int, width: int) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        if self.dim > 16:
            raise MapError("dim", self.dim, "at most 16", "Chain Coupling and Permute instead.")
        self.width = positive("width", width)
        fitting("width", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    def axes(self) -> dict[str, int]:
        return {"k": self.width} | {self._letter(size): size for size in range(1, self.dim)}

    @staticmethod
    def _letter(size: int) -> str:
        """The axis of the first coordinates."""
        return string.ascii_uppercase[size - 1]

    def parameters(self) -> dict[str, str]:
        found = {"a0": "", "b0": ""}
        for n in range(1, self.dim):
            found |= {f"W{n}": f"k{self._letter(n)}", f"c{n}": "k", f"s{n}": "k", f"a{n}": ""}
            found |= {f"t{n}": "k", f"b{n}": ""}
        return found

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        parts = [x[0] * op.apply(sp.exp, p["a0"]) + p["b0"]]
        for n in range(1, self.dim):
            hidden = op.apply(sp.tanh, p[f"W{n}"] @ x[:n] + p[f"c{n}"])
            scale = op.apply(sp.exp, p[f"s{n}"] @ hidden + p[f"a{n}"])
            parts.append(x[n] * scale + p[f"t{n}"] @ hidden + p[f"b{n}"])
        return op.concatenate(parts)

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        random, theta = random_of(seed), [np.zeros(2)]
        spread = spreads(law, self.dim)
        for n in range(1, self.dim):
            weights, shifts = features(n, self.width, spread[:n], random)
            theta += [weights.ravel(), shifts, np.zeros(2 * self.width + 2)]
        return np.concatenate(theta)
