"""Maps that add something to the identity: one hidden layer, planes, gradients, fixed features."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import sympy as sp

from ..arguments import brief, checked_call, dimension, integer, real_array, whole_seed
from ..errors import MapError
from ..memory import fitting
from .map import VECTORS, Family, Operations, V, checked_activation, parameter_count, positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = [
    "GradientMap",
    "Planar",
    "RandomFeatures",
    "Residual",
    "features",
    "random_of",
    "spreads",
]

Activation: TypeAlias = "Callable[[sp.Symbol], sp.Expr] | sp.Expr"


def features(
    dim: int, width: int, spread: NDArray[np.float64] | float, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (width, dim) and shifts (width,) of units that bend where a law has its mass.

    Half of the units look along one coordinate each, the others in random directions.
    """
    direction = random.standard_normal((width, dim)) / np.sqrt(dim)
    along = np.arange(width // 2)
    direction[along] = np.eye(dim)[along % dim]
    weights = direction * random.uniform(0.5, 2.5, (width, 1)) / spread
    places = spread * random.standard_normal((width, dim))
    return weights, -np.sum(weights * places, axis=1)


def spreads(law: Law | WhitenedLaw, dim: int) -> NDArray[np.float64]:
    """Standard deviations of the coordinates, of mean square 1.

    Raises
    ------
    MapError
        If ``law`` has no covariance of this dimension.
    """
    accepted = f"a law of dimension {dim}"
    fix = "Give the initial law in the map's coordinates, problem.initial.whitened."
    try:
        covariance = real_array("law", getattr(law, "covariance", None), error=MapError)
    except MapError as error:
        raise MapError("law", brief(law), accepted, fix) from error
    if covariance.shape != (dim, dim):
        raise MapError("law", brief(law), accepted, fix)
    variance = np.diag(covariance)
    return np.sqrt(variance / variance.mean())


def random_of(seed: int) -> np.random.Generator:
    """The random numbers of a map's start."""
    return np.random.default_rng([whole_seed("seed", seed, error=MapError), 20240419])


class Residual(Family):
    """A chain of residual steps x + W2 sigma(W1 x + c) + b; starts as the identity.

    Up to a width of 3 d/4 no d x d Jacobian is formed.  There is no linear part.

    Parameters
    ----------
    dim : int
        Dimension d.
    width : int
        Number m of hidden units; a step has d + 2 d m + m parameters.
    steps : int
        Number of steps.
    activation : callable
        SymPy function of one argument.

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "width", "steps", "activation")

    @checked_call
    def __init__(
        self, dim: int, width: int, steps: int = 2, activation: Activation = sp.tanh
    ) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.width, self.steps = positive("width", width), positive("steps", steps)
        fitting("width", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)
        self.activation = checked_activation(activation)

    def axes(self) -> dict[str, int]:
        return {"k": self.width}

    def parameters(self) -> dict[str, str]:
        return {"b": "i", "W1": "kj", "c": "k", "W2": "ik"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        return x + p["b"] + p["W2"] @ op.apply(self.activation, p["W1"] @ x + p["c"])

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        random, theta = random_of(seed), []
        for _ in range(self.steps):
            weights, shifts = features(self.dim, self.width, spreads(law, self.dim), random)
            theta += [np.zeros(self.dim), weights.ravel(), shifts, np.zeros(self.dim * self.width)]
        return np.concatenate(theta)


class Planar(Family):
    """A chain of planar steps x + u tanh(w.x + b) (Rezende and Mohamed, arXiv 1505.05770).

    The log density costs O(d) a sample and step.  A step is one to one where u.w > -1; nothing
    keeps it there, and :func:`~pwgf_sym.solve` says if it folds.

    Parameters
    ----------
    dim : int
        Dimension d.
    steps : int
        Number of steps, of 2 d + 1 parameters each.

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "steps")

    @checked_call
    def __init__(self, dim: int, steps: int = 8) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.steps = positive("steps", steps)
        fitting("steps", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    def parameters(self) -> dict[str, str]:
        return {"u": "i", "w": "j", "b": ""}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        return x + p["u"] * op.apply(sp.tanh, p["w"] @ x + p["b"])

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        random = random_of(seed)
        weights, shifts = features(self.dim, self.steps, spreads(law, self.dim), random)
        rows = [np.zeros((self.steps, self.dim)), weights, shifts[:, None]]
        return np.concatenate(rows, axis=1).ravel()


class GradientMap(Family):
    """x + grad phi, phi(x) = b.x + x.A x/2 + sum_k v_k log cosh(w_k.x + c_k): symmetric Jacobians.

    Optimal transport maps are gradients of convex functions (Brenier).  Nothing keeps |x|^2/2 + phi
    convex, and with several steps the map is no gradient any more.

    Parameters
    ----------
    dim : int
        Dimension d.
    width : int
        Number m of hidden units; a step has d^2 + d + d m + 2 m parameters.
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
        return {"A": "ij", "b": "i", "W": "kj", "c": "k", "v": "k"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        # The symmetric part of A, and the gradient of the sum, written out.
        linear = op.einsum("ij,j->i", p["A"], x) + op.einsum("ji,j->i", p["A"], x)
        bent = p["v"] * op.apply(sp.tanh, p["W"] @ x + p["c"])
        return x + p["b"] + linear / 2 + op.einsum("ki,k->i", p["W"], bent)

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        random, theta = random_of(seed), []
        for _ in range(self.steps):
            weights, shifts = features(self.dim, self.width, spreads(law, self.dim), random)
            theta += [np.zeros(self.dim**2 + self.dim), weights.ravel(), shifts]
            theta += [np.zeros(self.width)]
        return np.concatenate(theta)


class RandomFeatures(Family):
    """x + A x + b + C tanh(W x + c) with W and c fixed: linear in its parameters.

    So the metric G does not depend on them: on the same samples it is the same all the time.

    Parameters
    ----------
    dim : int
        Dimension d.
    count : int
        Number m of features; d^2 + d + d m parameters.
    seed : int
        Of the features.

    Raises
    ------
    MapError
        When an argument is not accepted.
    """

    arguments = ("dim", "count", "seed")

    @checked_call
    def __init__(self, dim: int, count: int, seed: int = 0) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.count = positive("count", count)
        self.seed = integer("seed", seed, least=0, error=MapError)
        fitting("count", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    def axes(self) -> dict[str, int]:
        return {"k": self.count}

    def parameters(self) -> dict[str, str]:
        return {"A": "ij", "b": "i", "C": "ik"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        # Of the whitened law, whose coordinates have about the spread 1.
        weights, shifts = features(self.dim, self.count, 1.0, np.random.default_rng(self.seed))
        inner = op.constant(weights, "kj") @ x + op.constant(shifts, "k")
        return x + p["A"] @ x + p["b"] + p["C"] @ op.apply(sp.tanh, inner)

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        return np.zeros(parameter_count(self))
