"""One turn of a map's loop as tensors: samples, and what they carry, taken through it.

The map's own formula is the only thing that a family of maps writes down.  What samples carry along
is derived from it (:mod:`.carried`).
"""

from __future__ import annotations

from ..declare.maps import Map
from ..tensors import Axis, Tensor, add, input_tensor, scale, topological
from ..tensors.differentiate import jvp, replace
from .carried import ExactStep, Level, Rate, levels
from .looped import Looped, Stage
from .structure import structure_of

__all__ = ["StepFormulas", "is_linear"]


class StepFormulas:
    """Tensors of one turn of a map's loop, its stages one after the other.

    Attributes
    ----------
    before : dict of str to Tensor
        What a sample carries before the turn, by name.
    x : Tensor
        The sample itself.
    parameters : dict of str to Tensor
        Parameters of the turn.
    """

    def __init__(self, looped: Looped) -> None:
        self.looped, self.dim = looped, looped.map.dim
        axes = {"i": Axis("i", self.dim)}
        self.before: dict[str, Tensor] = {
            c.name: input_tensor(c.name, [axes[a] for a in c.axes], per_sample=True)
            for c in levels()[-1]
        }
        self.x = self.before["x"]
        self.parameters = self.parameter_tensors("")

    def parameter_tensors(self, prefix: str) -> dict[str, Tensor]:
        """Invariant inputs shaped like the parameters of a turn."""
        found = self.looped.parameters
        return {name: input_tensor(prefix + name, axes) for name, axes in found.items()}

    def after(self, level: Level) -> list[Tensor]:
        """What a sample carries after the turn, up to a level."""
        inputs = [self.before[c.name] for c in level]
        current = inputs
        for stage in self.looped.stages:
            # A stage is derived in inputs of its own, so that nothing looks into those before it.
            found = self._after_stage(stage, level)
            known = dict(zip(inputs, current, strict=True))
            current = found if current is inputs else replace(found, known)
        return current

    def _after_stage(self, stage: Stage, level: Level) -> list[Tensor]:
        if stage.traced and len(level) > 1:

            def field(now: list[Tensor]) -> list[Tensor]:
                named = dict(zip((c.name for c in level), now, strict=True))
                rate = Rate(named, stage.field(named["x"]))
                return [c.rate(rate) for c in level]

            before = [self.before[c.name] for c in level]
            found: list[Tensor] = stage.operations.integrate(field, before, stage.map.substep)
            return found
        step = ExactStep(self.before, stage.after(self.x))
        return [c.step(step) for c in level]

    def newton(self, stage: Stage) -> tuple[Tensor, Tensor, Tensor]:
        """One Newton step for stage(x) = target: new x, stage(x) - target, log|det J(x)|."""
        after = stage.after(self.x)
        structure = structure_of(after, self.x)
        miss = after - input_tensor("target", self.x.axes, per_sample=True)
        return add(self.x, structure.solve(scale(-1, miss))), miss, structure.volume


def is_linear(flow: Map) -> bool:
    """Whether T(z) is linear in the map's parameters, so that the metric G is always the same."""
    looped = Looped(flow)
    if looped.steps > 1:
        return False
    step = StepFormulas(looped)
    after, *_ = step.after(levels()[0])
    changes = step.parameter_tensors("change_of_")
    tangents = {value: changes[name] for name, value in step.parameters.items()}
    (change,) = jvp([after], tangents)
    return not set(step.parameters.values()) & set(topological([change]))
