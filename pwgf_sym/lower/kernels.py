"""The kernels of a map: sweeps over its steps, derived from the step's formula.

A kernel is a chain of sweeps over a block of samples.  A sweep runs a body once a step, forward
or backward, or just once; carries go from step to step, saved values from a forward sweep to the
backward one, reductions over the samples into one slot a step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..declare.maps import Map
from ..tensors import (
    Add,
    Axis,
    Delta,
    Elementwise,
    Input,
    Product,
    Tensor,
    input_tensor,
    product,
    topological,
)
from ..tensors.differentiate import jvp, replace, vjp
from ..tensors.passes import PASSES, FlattenProducts, ShareFunctions
from ..tensors.scalars.applications import is_function
from .factors import RowFactors, factor_kernel
from .formulas import StepFormulas

__all__ = ["Carry", "Kernel", "Sweep", "map_kernels"]


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
    factors: dict[str, RowFactors] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def has_gradient(self) -> bool:
        return any(sweep.gradients for sweep in self.sweeps)

    @property
    def has_rows(self) -> bool:
        return any(sweep.rows for sweep in self.sweeps)


def map_kernels(flow: Map) -> dict[str, Kernel]:
    """All kernels of a map by name, simplified and ready to be scheduled."""
    formulas = StepFormulas(flow)
    kernels = [_push(formulas, order) for order in (0, 1, 2)]
    linearizations = [_linearize(formulas, order) for order in (0, 1)]
    derivatives = [make(formulas) for make in (_jvp, _vjp, _metric, _jacobian, _gradient)]
    kernels += [*linearizations, *derivatives, _newton(formulas)]
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
    return {kernel.name: kernel for kernel in kernels}


_NAMES = ("x", "log_density", "score")
_STARTS = ("z", "log_density_0", "score_0")
_SUMMARIES = ("x = T(z)", "x = T(z), l = log rho(x)", "x = T(z), l = log rho(x), s = grad l")


def _push(f: StepFormulas, order: int) -> Kernel:
    before = [f.x, f.log_density, f.score]
    after = f.carried(order)
    carries = {n: Carry(b, a, s) for n, b, a, s in zip(_NAMES, before, after, _STARTS)}
    return Kernel(
        ["push", "push_log_density", "push_score"][order],
        _SUMMARIES[order],
        {s: c.before.axes for s, c in zip(_STARTS, carries.values())},
        {n: c.before.axes for n, c in carries.items()},
        [Sweep(+1, carries)],
    )


def _linearize(f: StepFormulas, order: int) -> Kernel:
    """The forward pass that also stores what the derivatives of the map read of it."""
    kernel = _push(f, order)
    kernel.name = ["linearize", "linearize_log_density"][order]
    kernel.summary += "; stores what derivatives of T read"
    return kernel


def _tangent(f: StepFormulas) -> Sweep:
    before = input_tensor("dx", f.x.axes, per_sample=True)
    directions = f.parameter_tensors("eta.")
    tangents = {p: directions[name] for name, p in f.parameters.items()}
    (after,) = jvp(f.carried(0), {**tangents, f.x: before})
    return Sweep(+1, {"dx": Carry(before, after, "0")})


def _jvp(f: StepFormulas) -> Kernel:
    outputs = {"dx": f.x.axes}
    return Kernel("jvp", "dx = (dT/dtheta) eta", {}, outputs, [_tangent(f)], tangent=True)


def _cotangent(f: StepFormulas) -> Tensor:
    return input_tensor("u", f.x.axes, per_sample=True)


def _backward(f: StepFormulas, start: str | None) -> Sweep:
    (after,) = f.carried(0)
    u = _cotangent(f)
    found = vjp({after: u}, [f.x, *f.parameters.values()])
    gradients = dict(zip(f.parameters, found[1:], strict=True))
    return Sweep(-1, {"u": Carry(u, found[0], start)}, gradients=gradients)


def _vjp(f: StepFormulas) -> Kernel:
    summary = "sum over samples of (dT/dtheta)^T field"
    return Kernel("vjp", summary, {"field": f.x.axes}, {}, [_backward(f, "field")])


def _metric(f: StepFormulas) -> Kernel:
    forward = _tangent(f)
    weight = input_tensor("weight", (), per_sample=True)
    dx = forward.carries["dx"].before
    weighted = product(1, [(weight, ()), (dx, f.x.axes)], f.x.axes)
    seed = Sweep(0, {"u": Carry(_cotangent(f), weighted)})
    return Kernel(
        "metric",
        "sum over samples of weight (dT/dtheta)^T (dT/dtheta) eta",
        {"weight": ()},
        {},
        [forward, seed, _backward(f, None)],
        tangent=True,
    )


def _jacobian(f: StepFormulas) -> Kernel:
    (after,) = f.carried(0)
    basis = Axis("o", f.map.dim)
    u = input_tensor("u", (basis, *f.x.axes), per_sample=True)
    found = vjp({after: u}, [f.x, *f.parameters.values()], extra=(basis,), lift=True)
    unit = Delta(basis, f.x.axes[0])
    seed = Sweep(0, {"u": Carry(u, unit)})
    rows = dict(zip(f.parameters, found[1:], strict=True))
    backward = Sweep(-1, {"u": Carry(u, found[0])}, rows=rows)
    return Kernel("jacobian", "dT/dtheta of every sample", {}, {}, [seed, backward])


def _gradient(f: StepFormulas) -> Kernel:
    after = f.carried(1)
    u = _cotangent(f)
    ul = input_tensor("u_log_density", (), per_sample=True)
    wrt = [f.x, f.log_density, *f.parameters.values()]
    found = vjp(dict(zip(after, (u, ul), strict=True)), wrt)
    carries = {"u": Carry(u, found[0], "field"), "u_log_density": Carry(ul, found[1], "scalar")}
    backward = Sweep(-1, carries, gradients=dict(zip(f.parameters, found[2:], strict=True)))
    summary = "sum over samples of (dx/dtheta)^T field + (dl/dtheta)^T scalar"
    inputs = {"field": f.x.axes, "scalar": ()}
    return Kernel("gradient", summary, inputs, {}, [backward])


def _newton(f: StepFormulas) -> Kernel:
    moved, miss, volume = f.newton()
    carries = {
        "x": Carry(f.x, moved, "z"),
        "miss": Carry(input_tensor("miss", f.x.axes, True), miss, "0"),
        "log_det": Carry(input_tensor("log_det", (), True), volume, "0"),
    }
    inputs = {"z": f.x.axes, "target": f.x.axes}
    outputs = {"x": f.x.axes, "miss": f.x.axes, "log_det": ()}
    summary = "a Newton step for step(x) = target"
    return Kernel("newton", summary, inputs, outputs, [Sweep(+1, carries)])


def _store(linearizations: list[Kernel], derivatives: list[Kernel]) -> None:
    """Let derivatives read what the forward pass computes, instead of computing it again.

    Stored are x and, of all values that a derivative shares with the forward pass, those that take
    a contraction or a function; cheap arithmetic on them is done again.
    """
    known = {t for t in topological(linearizations[0].sweeps[0].outputs()) if t.per_sample}
    stored: dict[Tensor, Input] = {}
    for kernel in derivatives:
        for tensor in _frontier([o for s in kernel.sweeps for o in s.outputs()], known):
            if isinstance(tensor, Input):  # x, which keeps its name
                stored[tensor] = tensor
            elif tensor not in stored:
                name = f"hidden_{sum(not isinstance(t, Input) for t in stored)}"
                stored[tensor] = input_tensor(name, tensor.axes, per_sample=True)
    for kernel in linearizations:
        kernel.sweeps[0].saved = {new.name: old for old, new in stored.items()}
        kernel.stored = {new.name: new.axes for new in stored.values()}
    for kernel in derivatives:
        kernel.sweeps = [s.with_outputs(replace(s.outputs(), stored)) for s in kernel.sweeps]
        reached = set(topological([o for s in kernel.sweeps for o in s.outputs()]))
        kernel.stored = {t.name: t.axes for t in stored.values() if t in reached}


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
