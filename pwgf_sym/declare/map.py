"""What every family of maps T_theta offers: a step's formula, of which all else is derived.

A map is a chain of steps.  A family says how one step acts on one sample, with NumPy's operators
and SymPy's functions of the step's parameters; everything else (Jacobians, log-determinants,
scores, derivatives by the parameters) is the compiler's.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias, TypeVar

import sympy as sp

from ..arguments import brief, integer, real_array
from ..errors import EnergyError, MapError
from .formula_checks import check_formula, scalar_expression
from .periods import Periods
from .registry import Described
from .tree import from_portable, from_tree, portable, to_tree

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from .law import Law, WhitenedLaw

__all__ = ["VECTORS", "Family", "Map", "Operations", "Value", "checked_activation"]
__all__ += ["fitting_call", "parameter_count", "positive", "start_parameters"]


Number: TypeAlias = "sp.Expr | float"


class Value(Protocol):
    """A tensor of one step of a map, such as a parameter or the sample: NumPy's operators."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any, /) -> Self: ...
    def __add__(self, other: Self | Number, /) -> Self: ...
    def __radd__(self, other: Number, /) -> Self: ...
    def __sub__(self, other: Self | Number, /) -> Self: ...
    def __rsub__(self, other: Number, /) -> Self: ...
    def __neg__(self) -> Self: ...
    def __mul__(self, factor: Self | Number, /) -> Self: ...
    def __rmul__(self, factor: Number, /) -> Self: ...
    def __truediv__(self, other: Self | Number, /) -> Self: ...
    def __rtruediv__(self, other: Number, /) -> Self: ...
    def __pow__(self, other: Self | Number, /) -> Self: ...
    def __matmul__(self, other: Self, /) -> Self: ...


V = TypeVar("V", bound=Value)


class Operations(Protocol[V]):
    """What a map's formula is written with, beside the operators and brackets of its tensors."""

    @property
    def number(self) -> int:
        """The step's number, from 0 on."""
        ...

    @property
    def time(self) -> sp.Rational:
        """Flow time at which the step begins, from 0 to 1."""
        ...

    @property
    def length(self) -> sp.Rational:
        """The step's part of flow time, one over the number of steps."""
        ...

    def einsum(self, subscripts: str, /, *operands: V) -> V:
        """The sum of products that NumPy's ``einsum`` means by these subscripts."""
        ...

    def apply(self, function: object, /, *tensors: V) -> V:
        """A SymPy function, or a lambda of SymPy formulas, entry by entry."""
        ...

    def concatenate(self, parts: Sequence[V], /) -> V:
        """Vectors, and numbers, one after the other."""
        ...

    def sum(self, tensor: V, /) -> V:
        """The sum of all entries."""
        ...

    def gradient(self, potential: Callable[[V], V], x: V, /) -> V:
        """The gradient at x of a function of vectors, which gives a number."""
        ...

    def constant(self, values: ArrayLike, letters: str | None = None, /) -> V:
        """Numbers over axes of the map: a mask, fixed features, a matrix that selects."""
        ...

    def entries(self, formulas: Sequence[tuple[int, sp.Expr]], vector: V, axis: str, /) -> V:
        """The vector over an axis whose entry k is the formula k of the entry of that number."""
        ...

    def integrate(
        self,
        field: Callable[..., Any],
        states: Any,
        scheme: str = "rk4",
        steps: int | None = None,
        time: sp.Expr | float | None = None,
    ) -> Any:
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
    steps: int = 1
    log_determinant: str = "exact"
    substep: str  # "euler" or "rk4", of a map whose log determinant is "trace"

    def axes(self) -> dict[str, int]:
        """Axis names and lengths that the parameters use (``i`` and ``j`` are features)."""
        return {"i": self.dim, "j": self.dim}

    def axis_lengths(self) -> dict[str, int]:
        """Lengths of all axes by their letters, ``i`` and ``j`` among them.

        Raises
        ------
        MapError
            If ``axes`` gives anything but lengths of letters.
        """
        given = self.axes()
        accepted = f"a dictionary from letters to lengths; 'i' and 'j' have the length {self.dim}"
        if not isinstance(given, dict):
            raise MapError("axes", brief(given), accepted)
        found = {"i": self.dim, "j": self.dim}
        for letter, size in given.items():
            if not (isinstance(letter, str) and len(letter) == 1 and letter.isascii()):
                raise MapError("axes", brief(letter), accepted, "Name an axis by one letter.")
            if not letter.isalpha() or size != found.get(letter, size):
                raise MapError("axes", f"{letter!r} of length {brief(size)}", accepted)
            found[letter] = positive(f"axes, {letter}", size)
        return found

    def parameters(self) -> dict[str, str]:
        """Parameters of one step: name -> axes, in their order in ``theta``."""
        raise _unwritten(self, "parameters", "{'A': 'ij', 'b': 'i'}")

    def shared(self) -> dict[str, str]:
        """Parameters that all steps share: name -> axes; in ``theta`` they stand first."""
        return {}

    def parts(self) -> list[Map]:
        """The maps that this one applies one after the other: itself, if it is no chain."""
        return [self]

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        """One step on one sample x, of shape (d,), in operations ``op`` and operators."""
        raise _unwritten(self, "step", "x + p['b']")

    def field(self, op: Operations[V], p: dict[str, V], x: V) -> V | None:
        """The field v of dx/dtau = v(x) whose step this is; ``None`` for a map that is no flow."""
        return None

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        """Parameters ``theta`` (p,) at which the map is the identity.

        ``law`` has the attributes ``mean`` and ``covariance``, those of the initial law in the
        coordinates that the map sees: mean 0, and covariance of trace d.
        """
        raise _unwritten(self, "initial_parameters", f"np.zeros({parameter_count(self)})")

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

    def __matmul__(self, inner: Map) -> Map:
        """The chain of two maps, ``(A @ B)(z) = A(B(z))``."""
        from .chain import Chain

        return Chain([inner, self])


positive = functools.partial(integer, least=1, error=MapError)


def _unwritten(map: Map, method: str, example: str) -> MapError:
    fix = f"Write the method {method} of {type(map).__name__}, which returns {example}, say."
    return MapError("map", f"a family without the method {method}", "one that has it", fix)


def parameter_count(map: Map) -> int:
    """Number p of parameters ``theta`` of a map, without making any of them."""

    def count(given: object) -> int:
        terms = checked_terms(part, given, axes)
        return sum(math.prod(axes[axis] for axis in term) for term in terms.values())

    found = 0
    for part in map.parts():
        axes = part.axis_lengths()
        steps = positive("steps", part.steps)
        found += count(part.shared()) + count(part.parameters()) * steps
    return found


def checked_terms(map: Map, given: object, axes: Collection[str]) -> dict[str, str]:
    """What ``parameters()`` or ``shared()`` of a map gives, name -> letters of axes.

    Raises
    ------
    MapError
        If it is none of that.
    """
    accepted = "a dictionary from names to letters of axes, such as {'A': 'ij', 'b': 'i'}"
    if not isinstance(given, dict):
        raise MapError("parameters", brief(given), accepted)
    for name, letters in given.items():
        if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
            raise MapError("parameter", brief(name), "a Python name of plain letters", "Rename it.")
        if not isinstance(letters, str):
            raise MapError(f"parameter {name}", brief(letters), accepted)
        if len(set(letters)) < len(letters):
            given_text, fix = f"axes {letters!r}", "Give the second one a letter of its own."
            raise MapError(f"parameter {name}", given_text, "every axis once", fix)
        unknown = [letter for letter in letters if letter not in axes]
        if unknown:
            given_text, known = f"the axis {unknown[0]!r}", ", ".join(axes)
            fix = f"Give its length in axes() of {type(map).__name__}."
            raise MapError(f"parameter {name}", given_text, f"the map's axes {known}", fix)
    return given


def start_parameters(map: Map, law: Law | WhitenedLaw, seed: int) -> NDArray[np.float64]:
    """What a map's own ``initial_parameters`` gives, (p,), checked.

    Raises
    ------
    MapError
        If it is no array of as many finite numbers as the map has parameters.
    """
    import numpy as np

    fitting_call(map.initial_parameters, (law, seed), "initial_parameters(self, law, seed=0)")
    where = f"initial_parameters of {map}"
    found = real_array(where, map.initial_parameters(law, seed), finite=False, error=MapError)
    count = parameter_count(map)
    if found.shape != (count,) or not np.all(np.isfinite(found)):
        shape = f"shape {found.shape}" if found.shape != (count,) else "numbers that are not finite"
        raise MapError(where, shape, f"{count} finite numbers, those of all steps in order")
    return found.copy()


def fitting_call(method: Callable[..., object], arguments: Sequence[object], written: str) -> None:
    """Refuse a method of a user's, or a field, that does not take what it is called with.

    Raises
    ------
    MapError
        That says how it is ``written``.
    """
    name = written.partition("(")[0]
    if not callable(method):
        raise MapError(name, brief(method), written)
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # one that is not written in Python
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        given = f"{getattr(method, '__name__', name)}{signature}"
        raise MapError(name, given, written) from error


class Family(Map):
    """A family of the package, which its constructor's arguments describe.

    ``arguments`` are their names, under which the attributes have their values.
    """

    arguments: ClassVar[tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.arguments}
        plain = {n: to_tree(v) if isinstance(v, sp.Basic) else v for n, v in found.items()}
        return {"map": type(self).__name__} | plain

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Self:
        given = entries.get("activation")
        # A class derived from it, of a user's, may have an activation of another kind.
        formula = {"activation": from_tree(given)} if isinstance(given, list) else {}
        return cls(**entries | formula)

    def __getstate__(self) -> dict[str, object]:
        formulas = {n: portable(v) for n, v in self.__dict__.items() if isinstance(v, sp.Basic)}
        return self.__dict__ | formulas

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "activation" in state:
            self.activation = from_portable(state["activation"])

    def __repr__(self) -> str:
        entries = [f"{name}={getattr(self, name)}" for name in self.arguments]
        return f"{type(self).__name__}({', '.join(entries)})"


def checked_activation(given: object) -> sp.Expr:
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
