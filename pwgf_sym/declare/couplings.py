"""Maps with triangular Jacobians: couplings, monotone functions, triangular maps."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ..arguments import checked_call, dimension, flag
from ..errors import MapError
from ..memory import fitting
from .map import VECTORS, Family, Operations, V, parameter_count, positive
from .residual import features, spreads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = ["Coupling", "Monotone", "Triangular"]


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
            raise MapError("dim", 1, "at least 2", "Use Monotone(1, width) in one dimension.")
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
        random = np.random.default_rng([seed, 20240419])
        spread = spreads(law)
        seen = spread[half:] if self.reverse else spread[:half]
        weights, shifts = features(stay, self.width, seen, random)
        return np.concatenate([weights.ravel(), shifts, np.zeros(2 * move * (self.width + 1))])


_ROOM = 0.99  # slopes of Monotone stay above 1 - _ROOM, in units of exp(a)


class Monotone(Family):
    """Each coordinate by an increasing function of its own: monotone by construction.

    T(x)_i = b_i + exp(a_i) (x_i + (0.99/m) sum_k tanh(v_ik) tanh(w_ik x_i + c_ik)/w_ik) with
    w = exp(o) > 0, whose slope is between 0.01 and 1.99 times exp(a_i).

    Parameters
    ----------
    dim : int
        Dimension d.
    width : int
        Number m of bends of each function; a step has 2 d + 3 d m parameters.
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
        self.width, self.steps = positive("width", width), positive("steps", steps)
        fitting("width", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    def axes(self) -> dict[str, int]:
        return {"k": self.width}

    def parameters(self) -> dict[str, str]:
        return {"a": "i", "b": "i", "v": "ik", "o": "ik", "c": "ik"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        bend = op.apply(sp.tanh, op.einsum("ik,i->ik", op.apply(sp.exp, p["o"]), x) + p["c"])
        size = op.apply(lambda v, o: sp.tanh(v) * sp.exp(-o), p["v"], p["o"])
        bent = op.einsum("ik,ik->i", size, bend) * (sp.Float(_ROOM) / self.width)
        return p["b"] + op.apply(sp.exp, p["a"]) * (x + bent)

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        random, theta = np.random.default_rng([seed, 20240419]), []
        spread = spreads(law)[:, None]
        shape = (self.dim, self.width)
        for _ in range(self.steps):
            weights = random.uniform(0.5, 2.5, shape) / spread
            places = spread * random.standard_normal(shape)
            theta += [np.zeros(2 * self.dim + self.dim * self.width), np.log(weights).ravel()]
            theta += [-(weights * places).ravel()]
        return np.concatenate(theta)


class Triangular(Family):
    """T(x)_i = x_i exp(s_i) + t_i, s_i and t_i functions of x_0, ..., x_{i-1}.

    Each is linear in a hidden layer of the coordinates before.  The Jacobian is triangular and the
    map never folds.  Of a Gaussian it makes laws whose conditional laws are Gaussian: chain it with
    :class:`Permute` or :class:`Monotone` for others.  The code grows with the dimension.

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
        random, theta = np.random.default_rng([seed, 20240419]), [np.zeros(2)]
        spread = spreads(law)
        for n in range(1, self.dim):
            weights, shifts = features(n, self.width, spread[:n], random)
            theta += [weights.ravel(), shifts, np.zeros(2 * self.width + 2)]
        return np.concatenate(theta)
