"""A map as a loop over equal steps, each of one stage or several.

A family writes one step.  Most maps are loops over it, each step with parameters of its own.  A
chain of different maps repeats the shortest run of them; steps that share parameters, or that read
their number, are stages of one long step.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy as sp

from ..arguments import brief, choice
from ..declare.class_names import is_ours
from ..declare.map import checked_terms, fitting_call, positive
from ..declare.maps import Map
from ..declare.tableaus import TABLEAUS
from ..errors import MapError
from ..tensors import Axis, Elementwise, Tensor, input_tensor, topological
from ..tensors.arithmetic import shape_text, under, written
from .carried import levels, pullbacks
from .operations import Formulas, ReadsNumber

__all__ = ["Looped", "Stage"]

# Names that kernels use themselves: as axes of a basis, loop variables, offsets, arrays.
_AXES = {"e", "g", "n", "o", "p", "q", "z"}
_RESERVED = {"acc", "block", "dx", "eta", "first", "last", "log_det", "miss", "rows", "scratch"}
_RESERVED |= {"step", "steps", "sums", "table", "target", "theta", "tile", "turn", "weight"}
_RESERVED |= {"constants", "width", *_AXES}
_RESERVED |= {name for c in levels()[-1] for name in (c.name, c.start, c.cotangent)}
_RESERVED |= {pullback.cotangent for pullback in pullbacks(levels()[-1])}

Axes = tuple[Axis, ...]


class _Parameters(dict[str, Tensor]):
    """Parameters of a step by name; an error of ours for a name that is none."""

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        fix = f'Write p["{name}"].'
        raise MapError("step", f"p.{name}{written()}", "parameters in brackets", fix)

    def __missing__(self, name: object) -> Tensor:
        known = ", ".join(self) or "none"
        given = f"{brief(name)}{written()}"
        raise MapError("parameter", given, f"a name of parameters() or shared(): {known}")


@dataclass(frozen=True)
class Stage:
    """One step of a map within a loop's body.

    Attributes
    ----------
    map : Map
        Whose step it is.
    place : int or None
        Its number; None where the formula is that of all steps.
    names : mapping of str to str
        What its parameters are called in kernels.
    axes : mapping of str to Axis
        The map's axes by their letters.
    parameters : mapping of str to tuple of Axis
        Axes of its parameters, by their own names.
    traced : bool
        Whether its log density is integrated along its field: that of a chain never is.
    """

    map: Map
    place: int | None
    names: Mapping[str, str]
    axes: Mapping[str, Axis]
    parameters: Mapping[str, Axes]
    traced: bool = False

    def after(self, x: Tensor) -> Tensor:
        """The step of x."""
        arguments = self.operations, self._tensors(), x
        fitting_call(self.map.step, arguments, "step(self, op, p, x)")
        return _checked(self.map, self.map.step(*arguments), x)

    def formulas(self) -> tuple[object, ...]:
        """What the step computes, and how its log density is carried.

        Raises
        ------
        MapError
            If the step is another one when it is written again, or not that of its field.
        """
        x = input_tensor("x", (self.axes["i"],), per_sample=True)
        after = self.after(x)
        if not is_ours(type(self.map)) and self.after(x) is not after:
            given = f"a step of {self.map} with another formula each time that it is written"
            fix = "Draw random numbers in __init__, from a seed, and let step change nothing."
            raise MapError("step", given, "one formula, since kernels are written one by one", fix)
        if not self.traced:
            return (after,)
        field, named = self.field(x), getattr(self.map, "substep", None)
        substep = choice("substep", named, tuple(TABLEAUS), error=MapError)
        if self.operations.integrate(self.field, x, substep) is not after:
            given = f"'trace' of {self.map}, whose step is not substep={substep!r} along its field"
            accepted = "a step by op.integrate(field, x, substep), and no time in the field"
            raise MapError("log_determinant", given, accepted, "Take 'exact'.")
        return after, field, substep, self.map.steps

    def field(self, x: Tensor) -> Tensor:
        """The field of the step at x."""
        arguments = self.operations, self._tensors(), x
        fitting_call(self.map.field, arguments, "field(self, op, p, x)")
        velocity = self.map.field(*arguments)
        if velocity is None:
            given, fix = "'trace' of a map without a field", "Write the field, or take 'exact'."
            raise MapError("log_determinant", given, "'trace' of a flow, or 'exact'", fix)
        return _checked(self.map, velocity, x)

    def _tensors(self) -> dict[str, Tensor]:
        """The parameters, by their own names."""
        found = self.parameters.items()
        return _Parameters((n, input_tensor(self.names[n], axes)) for n, axes in found)

    @property
    def operations(self) -> Formulas:
        """What the formula is written with."""
        return Formulas(self.axes, self.map.steps, self.place)


def _checked(map: Map, after: object, x: Tensor) -> Tensor:
    """What a step gave, on the axis of the sample."""
    if not isinstance(after, Tensor) or after.shape != x.shape:
        shape = shape_text(after) if isinstance(after, Tensor) else brief(after)
        given = f"{shape} of the step of {map}"
        raise MapError("step", given, f"a tensor of shape {shape_text(x)}, as the sample")
    if x not in topological([after]):
        given, accepted = f"a step of {map} that does not read x", "one that is a function of x"
        raise MapError("step", given, accepted, "Add what it computes to x, say.")
    return after if after.axes == x.axes else under(after, x.axes, x.axes)


@dataclass(frozen=True)
class _Unit:
    """A step, or all steps of a map where they differ or share parameters.

    Steps of equal formulas are the same, of whatever maps: tensors are interned.
    """

    map: Map = field(compare=False)
    whole: bool
    formulas: object


class Looped:
    """A map as what its kernels loop over.

    Attributes
    ----------
    steps : int
        Turns of the loop.
    stages : tuple of Stage
        What one turn does, in order.
    parameters : dict of str to tuple of Axis
        Parameters of a turn as they stand in ``theta``, by their names in kernels.
    """

    def __init__(self, flow: Map) -> None:
        self.map = flow
        kind = choice("log_determinant", flow.log_determinant, ("exact", "trace"), error=MapError)
        self._traced = kind == "trace"
        units = [unit for part in flow.parts() for unit in _units(part, self._traced)]
        body = units[: _period(units)]
        self.steps = len(units) // len(body)
        self.parameters: dict[str, Axes] = {}
        self._axis_names: dict[str, int] = {"i": flow.dim, "j": flow.dim}
        stages: list[Stage] = []
        axes = [self._axes(unit.map) for unit in body]
        for number, (unit, own) in enumerate(zip(body, axes, strict=True)):
            stages += self._stages(unit, own, f"_{number}" if len(body) > 1 else "")
        self.stages = tuple(stages)
        if not self.parameters:
            fix = f"Chain it with a map that has some, such as Affine({flow.dim})."
            raise MapError("map", f"{flow} without parameters", "a map that a flow can move", fix)

    def functions(self) -> list[sp.Expr]:
        """Formulas that the steps apply entry by entry, those of an activation first."""
        found = [part.activation for part in self.map.parts() if hasattr(part, "activation")]
        for stage in self.stages:
            x = input_tensor("x", (stage.axes["i"],), per_sample=True)
            after = topological([stage.after(x)])
            found += [t.expression for t in after if isinstance(t, Elementwise)]
        return list(dict.fromkeys(found))

    def _stages(self, unit: _Unit, axes: dict[str, Axis], tag: str) -> list[Stage]:
        map = unit.map
        if not unit.whole:
            own = _parameter_axes(map, map.parameters(), axes)
            names = {name: self._take(name, tag, own[name]) for name in own}
            return [Stage(map, None, names, axes, own, self._traced)]
        shared = _parameter_axes(map, map.shared(), axes)
        common = {name: self._take(name, tag, shared[name]) for name in shared}
        own = _parameter_axes(map, map.parameters(), axes)
        found = []
        for place in range(map.steps):
            numbered = {name: self._take(name, f"{tag}_{place}", own[name]) for name in own}
            names = common | numbered
            found.append(Stage(map, place, names, axes, shared | own, self._traced))
        return found

    def _axes(self, map: Map) -> dict[str, Axis]:
        """The map's axes, with names that kernels do not use and no other length has."""
        found = {}
        for letter, size in map.axis_lengths().items():
            name = letter
            if letter in _AXES or letter.isupper() or self._axis_names.get(letter, size) != size:
                name = f"{letter.lower()}{'_' * letter.isupper()}{size}"
            self._axis_names[name] = size
            found[letter] = Axis(name, size)
        return found

    def _take(self, name: str, tag: str, axes: Axes) -> str:
        """A name in kernels that nothing else has."""
        found = f"own_{name}{tag}" if _is_made(name + tag) else name + tag
        free = _RESERVED | set(self.parameters) | set(self._axis_names)
        while found in free or keyword.iskeyword(found):
            found += "_"
        self.parameters[found] = axes
        return found


def _is_made(name: str) -> bool:
    """Whether kernels make such names: v0, hidden_0, ..."""
    return (name[:1] == "v" and name[1:].isdigit()) or name.startswith(("hidden_", "constant_"))


def _units(part: Map, traced: bool) -> list[_Unit]:
    """The steps of a map; one for all of them where they share or read what is not their own."""
    axes = {letter: Axis(letter, size) for letter, size in part.axis_lengths().items()}
    shared = _parameter_axes(part, part.shared(), axes)
    own = _parameter_axes(part, part.parameters(), axes)
    both = sorted(set(own) & set(shared))
    if both:
        given = f"{both[0]!r} of a step and of the map"
        raise MapError("parameter", given, "names that differ", "Rename one of them.")
    places = tuple(shared.items()), tuple(own.items())  # in theta: the order counts
    own = shared | own
    names = {name: name for name in own}
    count = positive("steps", part.steps)
    whole = bool(shared)
    try:
        formulas = [] if whole else Stage(part, None, names, axes, own, traced).formulas()
    except ReadsNumber:
        whole = True
    if not whole:
        return [_Unit(part, False, (places, formulas))] * count
    stages = [Stage(part, place, names, axes, own, traced) for place in range(count)]
    return [_Unit(part, True, (places, [stage.formulas() for stage in stages]))]


def _period(units: list[_Unit]) -> int:
    """The length of the shortest run of steps that the whole chain repeats."""
    count = len(units)
    for length in range(1, count + 1):
        if count % length == 0 and units[length:] == units[:-length]:
            return length
    return count


def _parameter_axes(map: Map, given: object, axes: Mapping[str, Axis]) -> dict[str, Axes]:
    """Axes of a map's parameters by name, checked."""
    terms = checked_terms(map, given, axes)
    return {name: tuple(axes[letter] for letter in term) for name, term in terms.items()}
