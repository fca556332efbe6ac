"""The kernels of a map: sweeps over its steps, derived from the step's formula.

A kernel is a chain of sweeps over a block of samples.  A sweep runs a body once a step, forward
or backward, or just once; carries go from step to step, saved values from a forward sweep to the
backward one, reductions over the samples into one slot a step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..tensors import (
    Add,
    Axis,
    Constant,
    Delta,
    Elementwise,
    Input,
    Product,
    Tensor,
    Zero,
    filled,
    input_tensor,
    product,
    topological,
)
from ..tensors.differentiate import jvp, replace, vjp
from ..tensors.passes import PASSES, FlattenProducts, ShareFunctions
from ..tensors.scalars.applications import is_function
from .carried import Level, differentiable_levels, kernel_name, levels, pullbacks
from .factors import RowFactors, factor_kernel
from .formulas import StepFormulas
from .looped import Looped

__all__ = ["Carry", "Kernel", "Sweep", "map_kernels", "newton_names"]

#: The lowest level: positions alone.
_X = levels()[0]


@dataclass
class Carry:
    """A per-sample value that goes from step to step.

    ``start`` names the kernel input it starts from; ``None`` takes the value that an earlier sweep
    left under the same name, ``"0"`` starts from zero.
    """

    before: Tensor
    after: Tensor
    start: str | None = None


@dataclass
class Sweep:
    """One pass over the steps: ``direction`` +1, -1, or 0 for a body that runs once.

    ``saved`` values are written to the kernel's stored arrays, one entry a step.
    """

    direction: int
    carries: dict[str, Carry]
    saved: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    rows: dict[str, Tensor] = field(default_factory=dict)

    def outputs(self) -> list[Tensor]:
        """Everything that the body has to compute, in a fixed order."""
        found = [*self.saved.values(), *(carry.after for carry in self.carries.values())]
        return [*found, *self.gradients.values(), *self.rows.values()]

    def with_outputs(self, new: list[Tensor]) -> Sweep:
        """The same sweep after a pass has rewritten its outputs."""
        values = iter(new)
        saved = {name: next(values) for name in self.saved}
        carries = {n: Carry(c.before, next(values), c.start) for n, c in self.carries.items()}
        gradients = {name: next(values) for name in self.gradients}
        rows = {name: next(values) for name in self.rows}
        return Sweep(self.direction, carries, saved, gradients, rows)


@dataclass
class Kernel:
    """A function on blocks of samples.

    Attributes
    ----------
    name, summary : str
        Name and one-line mathematics.
    inputs : dict of str to tuple of Axis
        Per-sample arrays that are read.
    outputs : dict of str to tuple of Axis
        Carries whose final values are written, one per-sample array each.
    tangent : bool
        Whether a direction ``eta`` in parameter space is read.
    sweeps : list of Sweep
        What runs, in order.
    stored : dict of str to tuple of Axis
        Values of the map's forward pass, one per-sample array each with an entry a step:
        ``linearize`` writes them, the derivatives of the map read them.
    steps : int or None
        Steps of the map that it takes; None for all.
    factors : dict of str to RowFactors
        Of the kernel "factors": what the rows of the sample Jacobian are products of.
    timings : dict of str to float
        Seconds each pass took.
    """

    name: str
    summary: str
    inputs: dict[str, tuple[Axis, ...]]
    outputs: dict[str, tuple[Axis, ...]]
    sweeps: list[Sweep]
    tangent: bool = False
    stored: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    steps: int | None = None
    factors: dict[str, RowFactors] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def has_gradient(self) -> bool:
        return any(sweep.gradients for sweep in self.sweeps)

    @property
    def has_rows(self) -> bool:
        return any(sweep.rows for sweep in self.sweeps)


def map_kernels(flow: Looped, read: Level = ()) -> dict[str, Kernel]:
    """All kernels of a map by name, simplified and ready to be scheduled.

    ``read`` is the level that the energy reads, of rare derivatives.
    """
    formulas = StepFormulas(flow)
    kernels = [_push(formulas, level) for level in levels()]
    linearizations = [_linearize(formulas, level) for level in levels()]
    vjp_, *others = [_pullback(formulas, level) for level in differentiable_levels(read)]
    derivatives = [_jvp(formulas), vjp_, _metric(formulas), _jacobian(formulas), *others]
    kernels += [*linearizations, *derivatives, *_newton(formulas)]
    for kernel in kernels:
        kernel.sweeps = [_with_entries(sweep) for sweep in kernel.sweeps]
    for step in PASSES:
        for kernel in kernels:
            start = time.perf_counter()
            kernel.sweeps = [s.with_outputs(step.run(s.outputs())) for s in kernel.sweeps]
            kernel.timings[step.name] = time.perf_counter() - start
        if isinstance(step, ShareFunctions):
            _store(linearizations, derivatives)
        if isinstance(step, FlattenProducts):
            (jacobian,) = (kernel for kernel in kernels if kernel.has_rows)
            kernels.append(factor_kernel(jacobian))
    for kernel in kernels:
        kernel.sweeps = [_with_numbers(sweep) for sweep in kernel.sweeps]
    return {kernel.name: kernel for kernel in kernels}


def _push(f: StepFormulas, level: Level) -> Kernel:
    carries = {
        c.name: Carry(f.before[c.name], after, c.start)
        for c, after in zip(level, f.after(level), strict=True)
    }
    return Kernel(
        kernel_name("push", level),
        ", ".join(c.formula for c in level),
        {c.start: f.before[c.name].axes for c in level},
        {c.name: f.before[c.name].axes for c in level},
        [Sweep(+1, carries)],
    )


def _linearize(f: StepFormulas, level: Level) -> Kernel:
    """The forward pass that also stores what the derivatives of the map read of it."""
    kernel = _push(f, level)
    kernel.name = kernel_name("linearize", level)
    kernel.summary += "; stores what derivatives of T read"
    return kernel


def _with_entries(sweep: Sweep) -> Sweep:
    """Outputs with entries that loops can write: of zeros a number for every entry."""
    return sweep.with_outputs(
        [product(0, (), t.axes) if isinstance(t, Zero) else t for t in sweep.outputs()]
    )


def _with_numbers(sweep: Sweep) -> Sweep:
    """The same for a gradient by a single number, of which passes leave the number 0."""
    gradients = {
        name: filled(t.value, ()) if isinstance(t, Constant) else t
        for name, t in sweep.gradients.items()
    }
    return Sweep(sweep.direction, sweep.carries, sweep.saved, gradients, sweep.rows)


def _tangent(f: StepFormulas) -> Sweep:
    before = input_tensor("dx", f.x.axes, per_sample=True)
    directions = f.parameter_tensors("eta.")
    tangents = {p: directions[name] for name, p in f.parameters.items()}
    (after,) = jvp(f.after(_X), {**tangents, f.x: before})
    return Sweep(+1, {"dx": Carry(before, after, "0")})


def _jvp(f: StepFormulas) -> Kernel:
    outputs = {"dx": f.x.axes}
    return Kernel("jvp", "dx = (dT/dtheta) eta", {}, outputs, [_tangent(f)], tangent=True)


def _cotangents(f: StepFormulas, level: Level) -> list[Tensor]:
    axes = [f.before[c.name].axes for c in level]
    return [input_tensor(c.cotangent, a, per_sample=True) for c, a in zip(level, axes)]


def _backward(f: StepFormulas, level: Level, starts: Sequence[str | None]) -> Sweep:
    """The sweep that takes cotangents of a level back to the start, and to the parameters."""
    before, after = [f.before[c.name] for c in level], f.after(level)
    cotangents = _cotangents(f, level)
    seeds = dict(zip(after, cotangents, strict=True))
    found = vjp(seeds, [*before, *f.parameters.values()])
    carries = {c.cotangent: Carry(*own) for c, own in zip(level, zip(cotangents, found, starts))}
    gradients = dict(zip(f.parameters, found[len(level) :], strict=True))
    return Sweep(-1, carries, gradients=gradients)


def _pullback(f: StepFormulas, level: Level) -> Kernel:
    starts = [made.cotangent for made in pullbacks(level)]
    inputs = {start: f.before[c.name].axes for c, start in zip(level, starts, strict=True)}
    made = pullbacks(level)[-1]
    return Kernel(made.kernel, made.summary, inputs, {}, [_backward(f, level, starts)])


def _metric(f: StepFormulas) -> Kernel:
    forward = _tangent(f)
    weight = input_tensor("weight", (), per_sample=True)
    dx = forward.carries["dx"].before
    weighted = product(1, [(weight, ()), (dx, f.x.axes)], f.x.axes)
    (u,) = _cotangents(f, _X)
    seed = Sweep(0, {"u": Carry(u, weighted)})
    return Kernel(
        "metric",
        "sum over samples of weight (dT/dtheta)^T (dT/dtheta) eta",
        {"weight": ()},
        {},
        [forward, seed, _backward(f, _X, [None])],
        tangent=True,
    )


def _jacobian(f: StepFormulas) -> Kernel:
    (after,) = f.after(_X)
    basis = Axis("o", f.dim)
    u = input_tensor("u", (basis, *f.x.axes), per_sample=True)
    found = vjp({after: u}, [f.x, *f.parameters.values()], extra=(basis,), lift=True)
    unit = Delta(basis, f.x.axes[0])
    seed = Sweep(0, {"u": Carry(u, unit)})
    rows = dict(zip(f.parameters, found[1:], strict=True))
    backward = Sweep(-1, {"u": Carry(u, found[0])}, rows=rows)
    return Kernel("jacobian", "dT/dtheta of every sample", {}, {}, [seed, backward])


def newton_names(flow: Looped) -> list[str]:
    """Names of the kernels of Newton steps, one a stage, in order."""
    count = len(flow.stages)
    return ["newton"] if count == 1 else [f"newton_{place}" for place in range(count)]


def _newton(f: StepFormulas) -> list[Kernel]:
    found = []
    for name, stage in zip(newton_names(f.looped), f.looped.stages, strict=True):
        moved, miss, volume = f.newton(stage)
        carries = {
            "x": Carry(f.x, moved, "z"),
            "miss": Carry(input_tensor("miss", f.x.axes, True), miss, "0"),
            "log_det": Carry(input_tensor("log_det", (), True), volume, "0"),
        }
        inputs = {"z": f.x.axes, "target": f.x.axes}
        outputs = {"x": f.x.axes, "miss": f.x.axes, "log_det": ()}
        summary = "a Newton step for step(x) = target"
        found.append(Kernel(name, summary, inputs, outputs, [Sweep(+1, carries)], steps=1))
    return found


def _store(linearizations: list[Kernel], derivatives: list[Kernel]) -> None:
    """Let derivatives read what the forward pass computes, instead of computing it again.

    Stored are x and, of all values that a derivative shares with the forward pass, those that take
    a contraction or a function; cheap arithmetic on them is done again.
    """
    known = [
        {t for t in topological(kernel.sweeps[0].outputs()) if t.per_sample}
        for kernel in linearizations
    ]
    stored: dict[Tensor, Input] = {}
    for kernel in derivatives:
        of_step = known[_reads_of_step(kernel)]
        for tensor in _frontier([o for s in kernel.sweeps for o in s.outputs()], of_step):
            if isinstance(tensor, Input):  # x, which keeps its name
                stored[tensor] = tensor
            elif tensor not in stored:
                name = f"hidden_{sum(not isinstance(t, Input) for t in stored)}"
                stored[tensor] = input_tensor(name, tensor.axes, per_sample=True)
    for kernel, own in zip(linearizations, known, strict=True):
        kernel.sweeps[0].saved = {new.name: old for old, new in stored.items() if old in own}
        kernel.stored = {new.name: new.axes for old, new in stored.items() if old in own}
    for kernel in derivatives:
        kernel.sweeps = [s.with_outputs(replace(s.outputs(), stored)) for s in kernel.sweeps]
        reached = set(topological([o for s in kernel.sweeps for o in s.outputs()]))
        kernel.stored = {t.name: t.axes for t in stored.values() if t in reached}


def _reads_of_step(kernel: Kernel) -> int:
    """The number of the lowest level whose forward pass has what a derivative reads of a step.

    How x and the log density move depends on x alone; how the score does on the score.
    """
    rare = [len(level) - 1 for level in levels() for made in pullbacks(level)[-1:] if made.rare]
    names = {pullbacks(levels()[number])[-1].kernel: number for number in rare}
    return names.get(kernel.name, 0)


def _frontier(outputs: list[Tensor], known: set[Tensor]) -> list[Tensor]:
    """Shared values worth storing at which the outputs' own computation begins, in a fixed order.

    A value that only others of them need is reached from none of the outputs.
    """
    found: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    stack = list(reversed(outputs))
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in known and _is_worth_storing(tensor):
            found[tensor] = None
        else:
            stack += reversed(tensor.operands)
    return list(found)


def _is_worth_storing(tensor: Tensor) -> bool:
    match tensor:
        case Input():
            return True
        case Elementwise(expression):
            return is_function(expression)
        case Product() if tensor.summed:
            return True
    return any(map(_is_sum_of_products, tensor.operands))


def _is_sum_of_products(tensor: Tensor) -> bool:
    """Whether per-sample contractions lie between a value and its functions and inputs."""
    return tensor.per_sample and isinstance(tensor, (Add, Product)) and _is_worth_storing(tensor)
