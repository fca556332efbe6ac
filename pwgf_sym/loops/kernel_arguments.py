"""Arguments that kernels of a map, and kernels of an energy, have on all targets."""

from __future__ import annotations

from ..kernels.energies import FormulaKernel
from ..kernels.kernels import Kernel
from ..schedule.groups import SampleTiling
from ..tensors import Axis
from .places import size_of
from .signature import Argument, Kind, count, of_sample, of_step

__all__ = ["SHARE", "fields_of", "gradient", "inputs_of", "means_of", "outputs_of", "parameters"]
__all__ += ["partner_weights_of", "reads_of", "rows_of", "stored_of", "values_of", "weight_of"]

# What samples carry as one number each is no vector, and these are vectors in one dimension, too.
_VECTORS = ("x", "score")

#: The part of a partner in a mean over partners.
SHARE = Argument("share", "samples", ("one",), (1,))


# -- kernels of a map ------------------------------------------------------------------------------


def parameters(kernel: Kernel, size: int, steps: int | None = None) -> list[Argument]:
    """The parameters and, where it is read, a direction: so many numbers a step."""
    names = ("theta", "eta") if kernel.tangent else ("theta",)
    return [of_step(name, "parameter", "parameter", size, steps) for name in names]


def inputs_of(kernel: Kernel) -> list[Argument]:
    """Per-sample arrays that are read."""
    return [of_sample(name, axes) for name, axes in kernel.inputs.items()]


def stored_of(kernel: Kernel, tiling: SampleTiling) -> list[Argument]:
    """Values of the map's forward pass, step by step."""
    found = []
    for name, axes in kernel.stored.items():
        padded = tiling.padded(size_of(axes))
        found.append(of_sample(f"{name}_path", axes, "stored", name, True, padded))
    return found


def outputs_of(kernel: Kernel) -> list[Argument]:
    """Per-sample arrays that are written."""
    outputs = kernel.outputs.items()
    return [of_sample(f"{name}_out", axes, "output", name) for name, axes in outputs]


def rows_of(kernel: Kernel, size: int) -> list[Argument]:
    """Rows of the sample Jacobian and the length of one, where there are any."""
    rows = [row for sweep in kernel.sweeps for row in sweep.rows.values()]
    if not rows:
        return []
    basis = max(row.axes[0].size for row in rows)
    axes, sizes = ("step", "parameter", "sample", "basis"), (None, size, None, basis)
    return [Argument("rows", "output", axes, sizes), count("width")]


def gradient(size: int) -> Argument:
    """Derivatives by the parameters."""
    return of_step("gradient", "output", "parameter", size)


# -- kernels of an energy --------------------------------------------------------------------------


def reads_of(kernel: FormulaKernel) -> list[Argument]:
    """What samples carry."""
    return [_array(name, len(symbols), "input") for name, symbols in kernel.reads.items()]


def partner_weights_of(kernel: FormulaKernel) -> list[Argument]:
    """What is read of partners beside their coordinates."""
    size = len(kernel.partner_weights)
    return [_array("partner_weights", size, "input")] if size else []


def values_of(kernel: FormulaKernel) -> Argument:
    """The energy's parameters, then its integrals."""
    return Argument("values", "parameter", ("value",), (len(kernel.values),))


def weight_of(kernel: FormulaKernel) -> list[Argument]:
    """The samples' parts of a mean, where formulas are averaged."""
    return [of_sample("weight", (), "samples")] if kernel.means else []


def fields_of(kernel: FormulaKernel) -> list[Argument]:
    """What is written of every sample."""
    return [_array(name, len(row), "output") for name, row in kernel.fields.items()]


def means_of(kernel: FormulaKernel) -> list[Argument]:
    """Sums over samples, where formulas are averaged."""
    size = len(kernel.means)
    return [Argument("sums", "output", ("mean",), (size,), "means")] if size else []


def _array(name: str, size: int, kind: Kind) -> Argument:
    called = name.removesuffix("_out")
    vector = size > 1 or called in _VECTORS
    return of_sample(name, [Axis("i", size)] if vector else [], kind, called)
