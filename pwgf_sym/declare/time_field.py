"""One neural field for all steps, with flow time as an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from ..arguments import checked_call, choice, dimension
from ..errors import MapError
from ..memory import fitting
from .map import VECTORS, Family, Operations, V, checked_activation, parameter_count, positive
from .residual import features, random_of, spreads
from .tableaus import TABLEAUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = ["TimeField"]


class TimeField(Family):
    """dx/dtau = A x + b + W2 sigma(W1 x + c + tau s) over the unit interval of flow time.

    This is the usual neural ODE (Chen et al., arXiv 1806.07366): all steps share the parameters.
    Kernels have the steps one after the other, so that their code grows with the number of steps.

    Parameters
    ----------
    dim : int
        Dimension d.
    width : int
        Number m of hidden units; d^2 + d + 2 d m + 2 m parameters.
    steps : int
        Steps of the Runge-Kutta method.  The log density is that of the steps, exactly.
    activation : callable
        SymPy function of one argument.
    substep : str
        An explicit Runge-Kutta method: "euler", "midpoint", "heun", "ralston", "kutta3", "ssprk3",
        "rk4" or "rk38".

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "width", "steps", "activation", "substep")

    @checked_call
    def __init__(
        self,
        dim: int,
        width: int,
        steps: int = 4,
        activation: Callable[[sp.Symbol], sp.Expr] | sp.Expr = sp.tanh,
        substep: str = "midpoint",
    ) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.width, self.steps = positive("width", width), positive("steps", steps)
        self.substep = choice("substep", substep, tuple(TABLEAUS), error=MapError)
        fitting("width", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)
        self.activation = checked_activation(activation)

    def axes(self) -> dict[str, int]:
        return {"k": self.width}

    def shared(self) -> dict[str, str]:
        return {"A": "ij", "b": "i", "W1": "kj", "c": "k", "s": "k", "W2": "ik"}

    def parameters(self) -> dict[str, str]:
        return {}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        def field(y: V, time: sp.Expr) -> V:
            inner = p["W1"] @ y + p["c"] + time * p["s"]
            return p["A"] @ y + p["b"] + p["W2"] @ op.apply(self.activation, inner)

        moved: V = op.integrate(field, x, self.substep, time=op.time)
        return moved

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        random = random_of(seed)
        spread = spreads(law, self.dim)
        weights, shifts = features(self.dim, self.width, spread, random)
        linear, last = np.zeros(self.dim**2 + self.dim), np.zeros(self.dim * self.width)
        return np.concatenate(
            [linear, weights.ravel(), shifts, random.uniform(-1, 1, self.width), last]
        )
