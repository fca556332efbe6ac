"""The kernels of a map: sweeps over its steps, derived from the step's formula.

A kernel is a chain of sweeps over a block of samples.  A sweep runs a body once a step, forward
or backward, or just once; carries go from step to step, saved values from a forward sweep to the
backward one, reductions over the samples into one slot a step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from . import ir
from .differentiate import jvp, replace, vjp
from .formulas import StepFormulas
from .ir import Axis, Tensor
from .simplify import contract_products, flatten_products, is_function, share_functions

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
    """One pass over the steps: ``direction`` +1, -1, or 0 for a body that runs once."""

    direction: int
    carries: dict[str, Carry]
    history: tuple[str, ...] = ()
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
        return Sweep(self.direction, carries, self.history, saved, gradients, rows)


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
    timings : dict of str to float
        Seconds each pass took.
    """

    name: str
    summary: str
    inputs: dict[str, tuple[Axis, ...]]
    outputs: dict[str, tuple[Axis, ...]]
    sweeps: list[Sweep]
    tangent: bool = False
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def has_gradient(self) -> bool:
        return any(sweep.gradients for sweep in self.sweeps)

    @property
    def has_rows(self) -> bool:
        return any(sweep.rows for sweep in self.sweeps)


def map_kernels(flow) -> dict[str, Kernel]:
    """All kernels of a map by name, simplified and ready to be scheduled."""
    formulas = StepFormulas(flow)
    kernels = [_push(formulas, order) for order in (0, 1, 2)]
    kernels += [_jvp(formulas), _vjp(formulas), _metric(formulas), _jacobian(formulas)]
    kernels += [_gradient(formulas), _newton(formulas)]
    return {kernel.name: _lowered(kernel) for kernel in kernels}


def _push(f: StepFormulas, order: int) -> Kernel:
    names = ["x", "log_density", "score"][: order + 1]
    starts = ["z", "log_density_0", "score_0"]
    before = [f.x, f.log_density, f.score]
    after = f.carried(order)
    carries = {n: Carry(b, a, s) for n, b, a, s in zip(names, before, after, starts, strict=False)}
    summary = ["x = T(z)", "x = T(z), l = log rho(x)", "x = T(z), l = log rho(x), s = grad l"]
    return Kernel(
        ["push", "push_log_density", "push_score"][order],
        summary[order],
        {s: b.axes for s, b in zip(starts[: order + 1], before, strict=False)},
        {n: b.axes for n, b in zip(names, before, strict=False)},
        [Sweep(+1, carries)],
    )


def _forward(f: StepFormulas) -> Sweep:
    (after,) = f.carried(0)
    return Sweep(+1, {"x": Carry(f.x, after, "z")}, history=("x",))


def _tangent(f: StepFormulas) -> Carry:
    before = ir.input_tensor("dx", f.x.axes, per_sample=True)
    directions = f.parameter_tensors("eta.")
    tangents = {p: directions[name] for name, p in f.parameters.items()}
    (after,) = jvp(f.carried(0), {**tangents, f.x: before})
    return Carry(before, after, "0")


def _jvp(f: StepFormulas) -> Kernel:
    sweep = _forward(f)
    sweep.history = ()
    sweep.carries["dx"] = _tangent(f)
    inputs = {"z": f.x.axes}
    return Kernel("jvp", "dx = (dT/dtheta) eta", inputs, {"dx": f.x.axes}, [sweep], tangent=True)


def _cotangent(f: StepFormulas) -> Tensor:
    return ir.input_tensor("u", f.x.axes, per_sample=True)


def _backward(f: StepFormulas, start: str | None) -> Sweep:
    (after,) = f.carried(0)
    u = _cotangent(f)
    found = vjp({after: u}, [f.x, *f.parameters.values()])
    gradients = dict(zip(f.parameters, found[1:], strict=True))
    return Sweep(-1, {"u": Carry(u, found[0], start)}, gradients=gradients)


def _vjp(f: StepFormulas) -> Kernel:
    inputs = {"z": f.x.axes, "field": f.x.axes}
    sweeps = [_forward(f), _backward(f, "field")]
    return Kernel("vjp", "sum over samples of (dT/dtheta)^T field", inputs, {}, sweeps)


def _metric(f: StepFormulas) -> Kernel:
    forward = _forward(f)
    forward.carries["dx"] = tangent = _tangent(f)
    weight = ir.input_tensor("weight", (), per_sample=True)
    weighted = ir.product(1, [(weight, ()), (tangent.before, f.x.axes)], f.x.axes)
    seed = Sweep(0, {"u": Carry(_cotangent(f), weighted)})
    return Kernel(
        "metric",
        "sum over samples of weight (dT/dtheta)^T (dT/dtheta) eta",
        {"z": f.x.axes, "weight": ()},
        {},
        [forward, seed, _backward(f, None)],
        tangent=True,
    )


def _jacobian(f: StepFormulas) -> Kernel:
    (after,) = f.carried(0)
    basis = Axis("o", f.map.dim)
    u = ir.input_tensor("u", (basis, *f.x.axes), per_sample=True)
    found = vjp({after: u}, [f.x, *f.parameters.values()], extra=(basis,), lift=True)
    unit = ir.delta(basis, f.x.axes[0])
    seed = Sweep(0, {"u": Carry(u, unit)})
    rows = dict(zip(f.parameters, found[1:], strict=True))
    backward = Sweep(-1, {"u": Carry(u, found[0])}, rows=rows)
    inputs = {"z": f.x.axes}
    return Kernel(
        "jacobian", "dT/dtheta of every sample", inputs, {}, [_forward(f), seed, backward]
    )


def _gradient(f: StepFormulas) -> Kernel:
    after = f.carried(1)
    u = _cotangent(f)
    ul = ir.input_tensor("u_log_density", (), per_sample=True)
    wrt = [f.x, f.log_density, *f.parameters.values()]
    found = vjp(dict(zip(after, (u, ul), strict=True)), wrt)
    carries = {"u": Carry(u, found[0], "field"), "u_log_density": Carry(ul, found[1], "scalar")}
    backward = Sweep(-1, carries, gradients=dict(zip(f.parameters, found[2:], strict=True)))
    summary = "sum over samples of (dx/dtheta)^T field + (dl/dtheta)^T scalar"
    inputs = {"z": f.x.axes, "field": f.x.axes, "scalar": ()}
    return Kernel("gradient", summary, inputs, {}, [_forward(f), backward])


def _newton(f: StepFormulas) -> Kernel:
    moved, miss, volume = f.newton()
    carries = {
        "x": Carry(f.x, moved, "z"),
        "miss": Carry(ir.input_tensor("miss", f.x.axes, True), miss, "0"),
        "log_det": Carry(ir.input_tensor("log_det", (), True), volume, "0"),
    }
    inputs = {"z": f.x.axes, "target": f.x.axes}
    outputs = {"x": f.x.axes, "miss": f.x.axes, "log_det": ()}
    summary = "one Newton step for step(x) = target: x, step(x) - target, log|det J(x)|"
    return Kernel("newton", summary, inputs, outputs, [Sweep(+1, carries)])


def _lowered(kernel: Kernel) -> Kernel:
    """Run the passes; values that a backward sweep shares with the forward one are stored."""
    for name, run in _PASSES:
        start = time.perf_counter()
        run(kernel)
        kernel.timings[name] = time.perf_counter() - start
    return kernel


def _each(rewrite):
    def run(kernel: Kernel) -> None:
        kernel.sweeps = [s.with_outputs(rewrite(s.outputs())) for s in kernel.sweeps]

    return run


def _store_functions(kernel: Kernel) -> None:
    """Functions (tanh, exp, ...) computed forward are read back backward, not computed again."""
    backward = [k for k, sweep in enumerate(kernel.sweeps) if sweep.direction < 0]
    if not backward:
        return
    forward, last = kernel.sweeps[0], kernel.sweeps[backward[0]]
    known = set(ir.topological(forward.outputs()))
    stored = [
        t
        for t in ir.topological(last.outputs())
        if t in known and t.kind == "elementwise" and t.per_sample and is_function(t.data[0])
    ]
    mapping = {}
    for k, tensor in enumerate(stored):
        name = f"hidden_{k}"
        forward.saved[name] = tensor
        mapping[tensor] = ir.input_tensor(name, tensor.axes, per_sample=True)
    kernel.sweeps[backward[0]] = last.with_outputs(replace(last.outputs(), mapping))


_PASSES = [
    ("share functions", _each(share_functions)),
    ("store functions", _store_functions),
    ("flatten products", _each(flatten_products)),
    ("contract products", _each(contract_products)),
]
