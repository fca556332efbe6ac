"""One step of a map as tensors: samples, log density and score carried through it.

The map's own formula is the only thing that a family of maps writes down.  What is carried along
is derived here (design: Jin et al., arXiv 2404.19133, and the change of variables):

    exact    l' = l - log|det J|,  s' = J^-T (s - grad log|det J|),   J the step's Jacobian
    trace    dl/dtau = -div v,     ds/dtau = -grad div v - (grad v)^T s,  integrated with x
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
    Inverse,
    LogDet,
    Tensor,
    add,
    apply,
    constant,
    einsum,
    input_tensor,
    placeholder,
    product,
    scale,
    topological,
)
from ..tensors.differentiate import jacobian, jvp, trace_of_jacobian, vjp
from ..tensors.scalars.stable import smooth

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
_PARAMETERS = {"acc", "block", "dx", "eta", "first", "last", "log_density", "log_det", "miss"}
_PARAMETERS |= {"rows", "score", "scratch", "step", "steps", "sums", "table", "target", "theta"}
_PARAMETERS |= {"tile", "turn", "u", "u_log_density", "weight", "width", "x", *_AXES}


def _check_names(flow: Map) -> None:
    """Refuse names of a map's axes and parameters that the generated kernels use themselves."""
    for name in flow.axes():
        if len(name) != 1 or not name.isascii() or not name.islower() or name in _AXES:
            free = "one small letter other than " + ", ".join(sorted(_AXES))
            raise MapError("axis", repr(name), free, "Rename the axis.")
    for name, letters in flow.parameters().items():
        if len(set(letters)) < len(letters):
            given, fix = f"axes {letters!r}", "Give the second one a name of its own."
            raise MapError(f"parameter {name}", given, "every axis once", fix)
        taken = name in _PARAMETERS or name in flow.axes() or re.fullmatch(r"v\d+|hidden_.*", name)
        if taken or not name.isidentifier():
            raise MapError("parameter", repr(name), "a name no kernel uses", "Rename it.")


class StepFormulas:
    """Tensors of one step of a map.

    Attributes
    ----------
    x, log_density, score : Tensor
        Values before the step, per sample.
    parameters : dict of str to Tensor
        Parameters of the step.
    """

    def __init__(self, flow: Map) -> None:
        _check_names(flow)
        self.map = flow
        self.axis = {name: Axis(name, size) for name, size in flow.axes().items()}
        feature = self.axis["i"]
        self.x = input_tensor("x", (feature,), per_sample=True)
        self.log_density = input_tensor("log_density", (), per_sample=True)
        self.score = input_tensor("score", (feature,), per_sample=True)
        self.parameters = self.parameter_tensors("")

    def parameter_tensors(self, prefix: str) -> dict[str, Tensor]:
        """Invariant inputs shaped like the step's parameters."""
        return {
            name: input_tensor(prefix + name, [self.axis[a] for a in axes])
            for name, axes in self.map.parameters().items()
        }

    def carried(self, order: int) -> list[Tensor]:
        """x', then l' (order >= 1), then s' (order 2) after the step."""
        if self.map.log_determinant == "trace" and order:
            states = [self.x, self.log_density, self.score][: order + 1]
            return Formulas.integrate(self._joint_field, states, self.map.substep, self.map.steps)
        after = self.map.step(Formulas, self.parameters, self.x)
        if order == 0:
            return [after]
        matrix = jacobian(after, self.x)
        volume = LogDet(matrix)
        result = [after, add(self.log_density, scale(-1, volume))]
        if order == 2:
            result.append(self._moved_score(matrix, volume))
        return result

    def _moved_score(self, matrix: Tensor, volume: Tensor) -> Tensor:
        (gradient,) = vjp({volume: constant(1)}, [self.x])
        score = self.score - gradient
        feature, basis = matrix.axes
        inverse = Inverse(matrix)
        return product(1, [(inverse, inverse.axes), (score, (basis,))], (feature,))

    def _joint_field(self, states: list[Tensor]) -> list[Tensor]:
        x = states[0]
        velocity = self.map.field(Formulas, self.parameters, x)
        if velocity is None:
            given, fix = "'trace' of a map without a field", "Write the field, or take 'exact'."
            raise MapError("log_determinant", given, "'trace' of a flow, or 'exact'", fix)
        result = [velocity]
        if len(states) > 1:
            divergence = trace_of_jacobian(velocity, x)
            result.append(scale(-1, divergence))
        if len(states) > 2:
            # (grad v)^T s + grad div v: one reverse sweep, so that what they share is added early.
            (gradient,) = vjp({velocity: states[2], divergence: constant(1)}, [x])
            result.append(scale(-1, gradient))
        return result

    def newton(self) -> tuple[Tensor, Tensor, Tensor]:
        """One Newton step for step(x) = target: new x, step(x) - target, log|det J(x)|."""
        after = self.map.step(Formulas, self.parameters, self.x)
        matrix = jacobian(after, self.x)
        feature, basis = matrix.axes
        miss = after - input_tensor("target", self.x.axes, per_sample=True)
        inverse = Inverse(matrix)
        update = product(-1, [(inverse, (basis, feature)), (miss, (feature,))], (basis,))
        moved = product(1, [(update, (feature,))], (feature,))
        return add(self.x, moved), miss, LogDet(matrix)


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
