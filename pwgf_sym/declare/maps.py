"""Maps T_theta that push the reference density forward, as formulas.

A map is a chain of equal steps.  A family says how one step acts on one sample, in terms of
einsums and SymPy scalars of the step's parameters; everything else (Jacobians, log-determinants,
scores, derivatives by the parameters) is the compiler's.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import sympy as sp

from ..arguments import brief, checked_call, choice, dimension, integer, number
from ..errors import EnergyError, MapError, PwgfError, StoredSolutionError
from ..memory import fitting
from .formula_checks import check_formula, scalar_expression
from .periods import Periods, same_period
from .registry import Described, declare_families, remade, restored
from .tree import from_portable, from_tree, portable, to_tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw

__all__ = ["Affine", "Map", "NeuralFlow", "Operations", "map_from_dict", "parameter_count"]


class Value(Protocol):
    """A tensor of one step of a map, such as a parameter or the sample."""

    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __neg__(self) -> Self: ...
    def __mul__(self, factor: sp.Expr | float, /) -> Self: ...
    def __rmul__(self, factor: sp.Expr | float, /) -> Self: ...


V = TypeVar("V", bound=Value)


class Operations(Protocol[V]):
    """What a map's formula is written with, beside + - * of its tensors."""

    def einsum(self, subscripts: str, /, *operands: V) -> V:
        """The sum of products that NumPy's ``einsum`` means by these subscripts."""
        ...

    def apply(self, expression: sp.Expr, tensor: V, /) -> V:
        """A SymPy formula in one symbol, entry by entry."""
        ...

    def entries(self, formulas: Sequence[tuple[int, sp.Expr]], vector: V, axis: str, /) -> V:
        """The vector over an axis whose entry k is the formula k of the entry of that number."""
        ...

    def integrate(
        self, field: Callable[[list[V]], list[V]], states: Sequence[V], scheme: str, steps: int, /
    ) -> list[V]:
        """One step of length 1/steps of d states/d tau = field(states)."""
        ...


# Vectors of the length of theta that a run holds at a time at least.
VECTORS = 12


class Map(Described):
    """Base of the families of maps.

    A map acts on whitened coordinates: with m and s the mean and the spread of the initial law,
    the samples are m + s T((z - m)/s), so that no map depends on units or on the origin.

    Attributes
    ----------
    dim : int
        Dimension d of the space.
    steps : int
        Number of equal steps, each with parameters of its own.
    """

    _registered_as = "map"
    dim: int
    steps: int
    log_determinant: str = "exact"
    substep: str  # "euler" or "rk4", of a map whose log determinant is "trace"

    def axes(self) -> dict[str, int]:
        """Axis names and lengths that the parameters use (``i`` and ``j`` are features)."""
        return {"i": self.dim, "j": self.dim}

    def parameters(self) -> dict[str, str]:
        """Parameters of one step: name -> axes, in their order in ``theta``."""
        raise NotImplementedError

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        """One step on one sample: ``op.einsum``, ``op.apply`` and + - * on tensors."""
        raise NotImplementedError

    def field(self, op: Operations[V], p: dict[str, V], x: V) -> V | None:
        """The field v of dx/dtau = v(x) whose step this is; ``None`` for a map that is no flow."""
        return None

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        """Parameters ``theta`` (p,) at which the map is the identity.

        ``law`` has the attributes ``mean`` and ``covariance``, those of the initial law in the
        coordinates that the map sees: mean 0, and covariance of trace d.
        """
        raise NotImplementedError

    def on_circle(self, periods: Periods) -> Map:
        """The map that commutes with the periods, T(z + P e_i) = T(z) + P e_i.

        Only such a map moves laws of periodic coordinates: what it does to a point must not depend
        on which of its images is given.

        Parameters
        ----------
        periods : tuple of d floats or None
            In the coordinates that the map sees; None for coordinates of the line.

        Raises
        ------
        MapError
            If the family has none.
        """
        given = f"{self} on periodic coordinates"
        accepted = "a map whose displacement is periodic: NeuralFlow, or one with on_circle()"
        raise MapError("map", given, accepted, f"Use NeuralFlow({self.dim}, width=16).")


_positive = functools.partial(integer, least=1, error=MapError)


def parameter_count(map: Map) -> int:
    """Number p of parameters ``theta`` of a map, without making any of them."""
    axes = map.axes()
    one_step = sum(math.prod(axes[axis] for axis in term) for term in map.parameters().values())
    return one_step * map.steps


def _activation(given: object) -> sp.Expr:
    """The formula of an activation, in one real symbol."""
    symbol = sp.Symbol("a", real=True)
    fix = "Write it as sp.tanh or lambda a: a / (1 + sp.exp(-a))."
    named = given if isinstance(given, str) else getattr(given, "__name__", None)
    if isinstance(named, str) and isinstance(getattr(sp, named, None), sp.FunctionClass):
        fix = f"Write activation=sp.{named}."
    accepted = "a SymPy function of one argument"
    try:
        formula = given(symbol) if callable(given) else given
        formula = scalar_expression(formula, "activation")
        check_formula(formula, "activation")
    except EnergyError as error:  # it says what is wrong with the formula
        given = f"{brief(given)}: {error.given}"
        raise MapError("activation", given, error.accepted, f"{error.fix} {fix}".strip()) from error
    except Exception as error:  # what was given is anybody's function: a NumPy function, say
        raise MapError("activation", brief(given), accepted, fix) from error
    if formula.free_symbols != {symbol} or formula.has(sp.I, sp.nan, sp.zoo, sp.oo, -sp.oo):
        given = f"{brief(given)}, of the value {brief(formula)}"
        raise MapError("activation", given, accepted, fix)
    return formula


class Affine(Map):
    """T(z) = A z + b with a full matrix A (d, d) and a shift b (d,); starts as the identity."""

    steps = 1

    @checked_call
    def __init__(self, dim: int) -> None:
        self.dim = dimension("dim", dim, error=MapError)

    def parameters(self) -> dict[str, str]:
        return {"A": "ij", "b": "i"}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        return op.einsum("ij,j->i", p["A"], x) + p["b"]

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        import numpy as np

        return np.concatenate([np.eye(self.dim).ravel(), np.zeros(self.dim)])

    def to_dict(self) -> dict[str, Any]:
        return {"map": "Affine", "dim": self.dim}

    def __repr__(self) -> str:
        return f"Affine(dim={self.dim})"


class NeuralFlow(Map):
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

    Raises
    ------
    MapError
        When an argument is not accepted.

    Notes
    -----
    T starts as the identity: A, B, b and W2 are zero, W1, U and c are random features placed on the
    whitened initial law.  The linear term represents every affine flow exactly.
    """

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
    ) -> None:
        self.dim = dimension("dim", dim, error=MapError)
        self.width = _positive("width", width)
        self.steps = _positive("steps", steps)
        self.substep = choice("substep", substep, ("euler", "rk4"), error=MapError)
        kinds = ("exact", "trace")
        self.log_determinant = choice("log_determinant", log_determinant, kinds, error=MapError)
        self.period = _map_periods(period, self.dim)
        size = parameter_count(self)
        fitting("width", size, 8 * VECTORS, "parameters", error=MapError)
        self.activation = _activation(activation)

    @property
    def _angles(self) -> list[int]:
        """Numbers of the periodic coordinates."""
        return [j for j, period in enumerate(self.period) if period is not None]

    def axes(self) -> dict[str, int]:
        own = {"l": len(self._angles)} if self._angles else {}
        return {"i": self.dim, "j": self.dim, "k": self.width} | own

    def parameters(self) -> dict[str, str]:
        linear = {"A": "ij", "b": "i", "W1": "kj", "c": "k", "W2": "ik"}
        return linear | ({"B": "il", "U": "kl"} if self._angles else {})

    def field(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        seen = op.entries(list(enumerate(self._sines())), x, "j") if self._angles else x
        inner = op.einsum("kj,j->k", p["W1"], seen) + p["c"]
        linear = p["b"] + op.einsum("ij,j->i", p["A"], seen)
        if self._angles:
            cosines = op.entries(self._cosines(), x, "l")
            inner = inner + op.einsum("kl,l->k", p["U"], cosines)
            linear = linear + op.einsum("il,l->i", p["B"], cosines)
        return linear + op.einsum("ik,k->i", p["W2"], op.apply(self.activation, inner))

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

        rng = np.random.default_rng([seed, 20240419])
        variance = np.diag(law.covariance)
        spread = np.sqrt(variance / variance.mean())
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
        return np.concatenate(theta)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"activation": portable(self.activation)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, activation=from_portable(state["activation"]))

    def to_dict(self) -> dict[str, Any]:
        entries: dict[str, Any] = {
            "map": "NeuralFlow",
            "dim": self.dim,
            "width": self.width,
            "steps": self.steps,
            "activation": to_tree(self.activation),
            "substep": self.substep,
            "log_determinant": self.log_determinant,
        }
        return entries | ({"period": list(self.period)} if self._angles else {})

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Self:
        given = entries["activation"] if cls is NeuralFlow else entries.get("activation")
        return cls(
            **entries | ({"activation": from_tree(given)} if isinstance(given, list) else {})
        )

    def __repr__(self) -> str:
        plain = isinstance(self.activation, sp.Function) and self.activation.args[0].is_Symbol
        formula = type(self.activation).__name__ if plain else str(self.activation)
        parts = [f"dim={self.dim}, width={self.width}, steps={self.steps}", formula]
        parts += [self.substep] * (self.substep != "euler")
        parts += [f"{self.log_determinant} log det"] * (self.log_determinant != "exact")
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


declare_families(Map, Affine, NeuralFlow, error=StoredSolutionError)


def map_from_dict(entries: dict[str, Any]) -> Map:
    """The map that :meth:`Map.to_dict` described.

    Raises
    ------
    StoredSolutionError
        When it is none of the package's maps, nor of a class of the user's that is imported.
    """
    found = restored("map", entries)
    assert isinstance(found, Map)
    return found
