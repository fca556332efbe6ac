"""Chains of neural fields, one a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sympy as sp

from ..arguments import brief, checked_call, choice, dimension, flag, number
from ..errors import MapError, PwgfError
from ..memory import fitting
from .map import VECTORS, Family, Map, Operations, V, checked_activation, parameter_count, positive
from .periods import Periods, same_period
from .registry import remade
from .residual import random_of, spreads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = ["NeuralFlow"]


class NeuralFlow(Family):
    """A chain of steps of the fields v(x) = A x + b + W2 sigma(W1 x + c), one field a step.

    Of a periodic coordinate x_j with the period P the field reads s_j = sin(w x_j)/w in the place
    of x_j, and q_j = (1 - cos(w x_j))/w besides, w = 2 pi/P:
    v = A s + B q + b + W2 sigma(W1 s + U q + c).

    Parameters
    ----------
    dim : int
        Dimension d.
    width : int
        Number m of hidden units; a step has d^2 + d + 2 d m + m parameters, and d + m more for
        each periodic coordinate.
    steps : int
        Number of steps, each over 1/steps of the unit interval of flow time.
    activation : callable
        SymPy function of one argument, for instance ``sp.tanh`` or
        ``lambda a: a / (1 + sp.exp(-a))``.
    substep : {"euler", "rk4"}
        How a step integrates its field: x + h v(x), or a classical Runge-Kutta step.
    log_determinant : {"exact", "trace"}
        "exact": the log density of the very map, log|det| of each step's Jacobian, O(d^2 width +
        d^3) a sample.  "trace": the divergence integrated along with x by the same scheme, O(d
        width) a sample, off by the scheme's own error (O(h) for euler, O(h^4) for rk4).
    period : sequence of d numbers or None, optional
        Periods in the coordinates that the map sees, which are those of the problem over the spread
        of its initial law.  Not given, they are the problem's: :meth:`on_circle`.
    depth : {1, 2}
        Hidden layers h of the field; the second one is sigma(W h + d) of the first.
    skip : bool
        With two hidden layers, whether the first one is added to the second.

    Raises
    ------
    MapError
        When an argument is not accepted.

    Notes
    -----
    T starts as the identity: A, B, b and W2 are zero, W1, U and c are random features placed on the
    whitened initial law.  The linear term represents every affine flow exactly.
    """

    arguments = (
        *("dim", "width", "steps", "activation", "substep", "log_determinant", "period"),
        *("depth", "skip"),
    )

    @checked_call
    def __init__(
        self,
        dim: int,
        width: int,
        steps: int = 4,
        activation: Callable[[sp.Symbol], sp.Expr] | sp.Expr = sp.tanh,
        substep: str = "euler",
        log_determinant: str = "exact",
        period: Sequence[float | None] | None = None,
        depth: int = 1,
        skip: bool = False,
    ) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.width = positive("width", width)
        self.steps = positive("steps", steps)
        self.substep = choice("substep", substep, ("euler", "rk4"), error=MapError)
        kinds = ("exact", "trace")
        self.log_determinant = choice("log_determinant", log_determinant, kinds, error=MapError)
        self.period = _map_periods(period, self.dim)
        self.depth = positive("depth", depth)
        if self.depth > 2:
            raise MapError("depth", self.depth, "1 or 2")
        self.skip = flag("skip", skip, error=MapError)
        if self.skip and self.depth == 1:
            raise MapError("skip", "True of one hidden layer", "depth=2", "Leave it out.")
        size = parameter_count(self)
        fitting("width", size, 8 * VECTORS, "parameters", error=MapError)
        self.activation = checked_activation(activation)

    @property
    def _angles(self) -> list[int]:
        """Numbers of the periodic coordinates."""
        return [j for j, period in enumerate(self.period) if period is not None]

    def axes(self) -> dict[str, int]:
        own = {"l": len(self._angles)} if self._angles else {}
        own |= {"m": self.width} if self.depth > 1 else {}
        return {"i": self.dim, "j": self.dim, "k": self.width} | own

    def parameters(self) -> dict[str, str]:
        linear = {"A": "ij", "b": "i", "W1": "kj", "c": "k", "W2": "ik"}
        circle = {"B": "il", "U": "kl"} if self._angles else {}
        return linear | circle | ({"W": "mk", "d": "m"} if self.depth > 1 else {})

    def field(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        seen = op.entries(list(enumerate(self._sines())), x, "j") if self._angles else x
        inner = op.einsum("kj,j->k", p["W1"], seen) + p["c"]
        linear = p["b"] + op.einsum("ij,j->i", p["A"], seen)
        if self._angles:
            cosines = op.entries(self._cosines(), x, "l")
            inner = inner + op.einsum("kl,l->k", p["U"], cosines)
            linear = linear + op.einsum("il,l->i", p["B"], cosines)
        hidden = op.apply(self.activation, inner)
        if self.depth > 1:
            deeper = op.apply(self.activation, op.einsum("mk,k->m", p["W"], hidden) + p["d"])
            hidden = hidden + deeper if self.skip else deeper
        return linear + op.einsum("ik,k->i", p["W2"], hidden)

    def _sines(self) -> list[sp.Expr]:
        """What the field reads in the place of each coordinate."""
        waves = [None if period is None else _wave(period) for period in self.period]
        return [_ANGLE if w is None else sp.sin(w * _ANGLE) / w for w in waves]

    def _cosines(self) -> list[tuple[int, sp.Expr]]:
        waves = [(j, _wave(p)) for j, p in enumerate(self.period) if p is not None]
        return [(j, (1 - sp.cos(w * _ANGLE)) / w) for j, w in waves]

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        return op.integrate(lambda y: [self.field(op, p, y[0])], [x], self.substep, self.steps)[0]

    def on_circle(self, periods: Periods) -> Map:
        if not self._angles:
            try:
                found = remade(self, period=list(periods))
            except (TypeError, PwgfError):  # a class of the user's that does not take them
                return super().on_circle(periods)
            assert isinstance(found, NeuralFlow)
            return found
        if not all(map(same_period, self.period, periods)):
            given = f"a map of the periods {list(self.period)}"
            accepted = f"{list(periods)}, those of the problem over the spread of its initial law"
            raise MapError("map", given, accepted, "Leave out period: the problem's is taken.")
        return self

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        import numpy as np

        rng = random_of(seed)
        spread = spreads(law, self.dim)
        angles = self._angles
        waves = np.array([float(_wave(p)) for p in self.period if p is not None])
        theta = []
        # Half of the units look along one coordinate each, which suits potentials that are sums
        # over coordinates; the others look in random directions.
        along = np.arange(self.width // 2)
        for step in range(self.steps):
            direction = rng.standard_normal((self.width, self.dim)) / np.sqrt(self.dim)
            direction[along] = np.eye(self.dim)[(along + step * along.size) % self.dim]
            scale = rng.uniform(0.5, 2.5, (self.width, 1))
            w1 = direction * scale / spread
            # Each unit bends where the reference has its mass.
            at = spread * rng.standard_normal((self.width, self.dim))
            # On a circle w1 sin(w (x - at))/w takes the place of w1 (x - at), turned a little: else
            # tanh of it would have opposite values at opposite places, and no second harmonic.
            turned = rng.uniform(-1, 1, (self.width, len(angles))) if angles else 0.0
            turn, place = waves * at[:, angles] + turned, np.array(at)
            u = w1[:, angles] * np.sin(turn)
            w1[:, angles] *= np.cos(turn)
            place[:, angles] = np.sin(waves * at[:, angles]) / waves
            cosines = (1 - np.cos(waves * at[:, angles])) / waves
            shift = -np.sum(w1 * place, axis=1) - np.sum(u * cosines, axis=1)
            theta += [np.zeros(self.dim**2 + self.dim), w1.ravel(), shift]
            theta += [np.zeros(self.dim * self.width)]
            theta += [np.zeros(self.dim * len(angles)), u.ravel()]
            if self.depth > 1:
                inner = rng.standard_normal((self.width, self.width)) * np.sqrt(2 / self.width)
                theta += [inner.ravel(), rng.uniform(-1, 1, self.width)]
        return np.concatenate(theta)

    def to_dict(self) -> dict[str, Any]:
        entries = super().to_dict()
        entries["period"] = list(self.period)
        plain = {"period": [None] * self.dim, "depth": 1, "skip": False}
        return {name: v for name, v in entries.items() if v != plain.get(name)}

    def __repr__(self) -> str:
        plain = isinstance(self.activation, sp.Function) and self.activation.args[0].is_Symbol
        formula = type(self.activation).__name__ if plain else str(self.activation)
        parts = [f"dim={self.dim}, width={self.width}, steps={self.steps}", formula]
        parts += [self.substep] * (self.substep != "euler")
        parts += [f"{self.log_determinant} log det"] * (self.log_determinant != "exact")
        parts += [f"depth {self.depth}{' with skip' * self.skip}"] * (self.depth != 1)
        lengths = ["none" if p is None else f"{p:.6g}" for p in self.period]
        parts += [f"period {', '.join(lengths)}"] if self._angles else []
        return f"NeuralFlow({', '.join(parts)})"


_ANGLE = sp.Symbol("a", real=True)


def _wave(period: float) -> sp.Expr:
    """The natural frequency."""
    return sp.Float(2 * math.pi / period)


def _map_periods(given: object, dim: int) -> Periods:
    """Periods of a map's coordinates; None for each where none is given."""
    if given is None:
        return (None,) * dim
    accepted = f"{dim} positive numbers, or None for coordinates of the line"
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != dim:
        raise MapError("period", brief(given), accepted)
    return tuple(
        None if one is None else number("period", one, above=0.0, error=MapError) for one in given
    )
