"""One step of a map as tensors: samples, and what they carry, taken through it.

The map's own formula is the only thing that a family of maps writes down.  What samples carry along
is derived from it (:mod:`.carried`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import sympy as sp

from ..declare.maps import Map
from ..derive.borders import jump
from ..derive.pieces import in_pieces
from ..errors import FormulaError, MapError
from ..tensors import (
    Axis,
    Tensor,
    add,
    apply,
    einsum,
    input_tensor,
    placeholder,
    scale,
    topological,
    window,
)
from ..tensors.differentiate import jvp
from ..tensors.scalars.stable import smooth
from .carried import ExactStep, Level, Rate, levels
from .structure import structure_of

__all__ = ["Formulas", "StepFormulas", "is_linear"]


class Formulas:
    """What a map's formula is written with: ``einsum``, ``apply``, ``integrate``."""

    einsum = staticmethod(einsum)

    @staticmethod
    def apply(expression: sp.Expr, tensor: Tensor) -> Tensor:
        """Apply a SymPy expression in one symbol entry by entry."""
        (symbol,) = expression.free_symbols
        expression = in_pieces(expression)
        border = jump(expression)
        if border is not None:
            given, accepted = f"{expression}, which jumps {border.text()}", "a continuous function"
            fix = "A map moves samples continuously: use tanh, or Max(a, 0) without a log density."
            raise FormulaError("activation", given, accepted, fix)
        return apply(smooth(expression.xreplace({symbol: placeholder(0)})), tensor)

    @staticmethod
    def entries(formulas: Sequence[tuple[int, sp.Expr]], vector: Tensor, axis: str) -> Tensor:
        """The vector over an axis whose entry k is formula k of the entry of that number.

        Entries of one formula that follow each other are computed together.
        """
        (whole,) = vector.axes
        places, kinds = zip(*formulas, strict=True)
        if places == tuple(range(whole.size)) and len(set(kinds)) == 1:
            return Formulas.apply(kinds[0], vector)
        long, parts, first = Axis(axis, len(formulas)), [], 0
        for last in range(1, len(formulas) + 1):
            place, formula = formulas[first]
            if last < len(formulas) and formulas[last] == (place + last - first, formula):
                continue
            own = Axis(f"{axis}{first}", last - first)
            part = window(vector, whole, own, place)
            part = part if formula.is_Symbol else Formulas.apply(formula, part)
            parts.append(window(part, own, long, -first))
            first = last
        return add(*parts)

    @staticmethod
    def integrate(
        field: Callable[[list[Tensor]], list[Tensor]],
        states: Sequence[Tensor],
        scheme: str,
        steps: int,
    ) -> list[Tensor]:
        """One step of length 1/steps of d states/d tau = field(states)."""
        h = sp.Rational(1, steps)
        states = list(states)

        def moved(weights_and_slopes: Sequence[tuple[sp.Expr, list[Tensor]]]) -> list[Tensor]:
            return [
                add(y, scale(h, _combined([(w, k[n]) for w, k in weights_and_slopes])))
                for n, y in enumerate(states)
            ]

        k1 = field(states)
        if scheme == "euler":
            return moved([(1, k1)])
        half = sp.Rational(1, 2)
        k2 = field(moved([(half, k1)]))
        k3 = field(moved([(half, k2)]))
        k4 = field(moved([(1, k3)]))
        sixth = sp.Rational(1, 6)
        return moved([(sixth, k1), (2 * sixth, k2), (2 * sixth, k3), (sixth, k4)])


def _combined(terms: list[tuple[sp.Expr, Tensor]]) -> Tensor:
    return add(*[scale(weight, tensor) for weight, tensor in terms])


# Names that kernels use themselves: as axes of a basis, loop variables, offsets, arrays.
_AXES = {"e", "g", "n", "o", "p", "q", "z"}
_PARAMETERS = {"acc", "block", "dx", "eta", "first", "last", "log_det", "miss", "rows", "scratch"}
_PARAMETERS |= {"step", "steps", "sums", "table", "target", "theta", "tile", "turn", "weight"}
_PARAMETERS |= {"width", *_AXES}


def _check_names(flow: Map) -> None:
    """Refuse names of a map's axes and parameters that the generated kernels use themselves."""
    for name in flow.axes():
        if len(name) != 1 or not name.isascii() or not name.islower() or name in _AXES:
            free = "one small letter other than " + ", ".join(sorted(_AXES))
            raise MapError("axis", repr(name), free, "Rename the axis.")
    carried = {name for c in levels()[-1] for name in (c.name, c.start, c.cotangent)}
    reserved = _PARAMETERS | carried | set(flow.axes())
    for name, letters in flow.parameters().items():
        if len(set(letters)) < len(letters):
            given, fix = f"axes {letters!r}", "Give the second one a name of its own."
            raise MapError(f"parameter {name}", given, "every axis once", fix)
        unknown = [letter for letter in letters if letter not in flow.axes()]
        if unknown:
            given, known = f"the axis {unknown[0]!r}", ", ".join(flow.axes())
            fix = "Give its length in the map's axes()."
            raise MapError(f"parameter {name}", given, f"the map's axes {known}", fix)
        own = name not in reserved and not re.fullmatch(r"v\d+|hidden_.*", name)
        if not own or not name.isidentifier():
            taken = ", ".join([*sorted(reserved), "v0, v1, ..., hidden_..."])
            accepted = f"a Python name other than those that kernels use: {taken}"
            raise MapError("parameter", repr(name), accepted, "Rename it.")


class StepFormulas:
    """Tensors of one step of a map.

    Attributes
    ----------
    before : dict of str to Tensor
        What a sample carries before the step, by name.
    x : Tensor
        The sample itself.
    parameters : dict of str to Tensor
        Parameters of the step.
    """

    def __init__(self, flow: Map) -> None:
        _check_names(flow)
        self.map = flow
        self.axis = {name: Axis(name, size) for name, size in flow.axes().items()}
        self.before: dict[str, Tensor] = {
            c.name: input_tensor(c.name, [self.axis[a] for a in c.axes], per_sample=True)
            for c in levels()[-1]
        }
        self.x = self.before["x"]
        self.parameters = self.parameter_tensors("")

    def parameter_tensors(self, prefix: str) -> dict[str, Tensor]:
        """Invariant inputs shaped like the step's parameters."""
        return {
            name: input_tensor(prefix + name, [self.axis[a] for a in axes])
            for name, axes in self.map.parameters().items()
        }

    def after(self, level: Level) -> list[Tensor]:
        """What a sample carries after the step, up to a level."""
        before = [self.before[c.name] for c in level]
        if self.map.log_determinant == "trace" and len(level) > 1:

            def field(now: list[Tensor]) -> list[Tensor]:
                named = dict(zip((c.name for c in level), now, strict=True))
                rate = Rate(named, self._field(named["x"]))
                return [c.rate(rate) for c in level]

            return Formulas.integrate(field, before, self.map.substep, self.map.steps)
        step = ExactStep(self.before, self.map.step(Formulas, self.parameters, self.x))
        return [c.step(step) for c in level]

    def _field(self, x: Tensor) -> Tensor:
        velocity = self.map.field(Formulas, self.parameters, x)
        if velocity is None:
            given, fix = "'trace' of a map without a field", "Write the field, or take 'exact'."
            raise MapError("log_determinant", given, "'trace' of a flow, or 'exact'", fix)
        return velocity

    def newton(self) -> tuple[Tensor, Tensor, Tensor]:
        """One Newton step for step(x) = target: new x, step(x) - target, log|det J(x)|."""
        after = self.map.step(Formulas, self.parameters, self.x)
        structure = structure_of(after, self.x)
        miss = after - input_tensor("target", self.x.axes, per_sample=True)
        return add(self.x, structure.solve(scale(-1, miss))), miss, structure.volume


def is_linear(flow: Map) -> bool:
    """Whether T(z) is linear in the map's parameters, so that the metric G is always the same."""
    if flow.steps > 1:
        return False
    step = StepFormulas(flow)
    after = flow.step(Formulas, step.parameters, step.x)
    changes = step.parameter_tensors("change_of_")
    tangents = {value: changes[name] for name, value in step.parameters.items()}
    (change,) = jvp([after], tangents)
    return not set(step.parameters.values()) & set(topological([change]))
