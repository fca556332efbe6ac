"""Kernels of a map: the functions that a kernel consists of, and where its values live.

What a target's loops look like is in its own folder; here is what all builders share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from ..kernels.kernels import Kernel, Sweep
from ..schedule.groups import Tiling, parts_of
from ..schedule.reductions import outer_tiles
from ..tensors import Axes, Axis, ConstantArray, Input, Inverse, LogDet, Tensor, topological
from .block import Block
from .groups import Names
from .kernel_arguments import gradient, inputs_of, outputs_of, parameters, rows_of, stored_of
from .nodes import Alias, Expression, Function, Integer, Name, Statement
from .places import Slot, plus, row_major, size_of
from .scalars import Spelling
from .signature import Argument, of_step

__all__ = ["KernelBuilder", "Layout", "scratch_size"]


@dataclass(frozen=True)
class Layout:
    """Where a map's parameters stand in ``theta``.

    Attributes
    ----------
    offsets : dict of str to int
        Offset of each parameter inside its step.
    axes : dict of str to tuple of Axis
        Axes of each parameter.
    size : int
        Parameters of one step.
    """

    offsets: dict[str, int]
    axes: dict[str, tuple[Axis, ...]]
    size: int

    @classmethod
    def of_axes(cls, axes: Mapping[str, Axes]) -> Layout:
        """The layout of what a step reads, one after the other."""
        offsets, at = {}, 0
        for name, own in axes.items():
            offsets[name] = at
            at += size_of(own)
        return cls(offsets, dict(axes), at)


def scratch_size(tensors: Iterable[Tensor]) -> int:
    """Numbers a sample that factorisations need beside their results; 0 without any."""
    kinds = (Inverse, LogDet)
    sizes = [t.operands[0].axes[0].size for t in tensors if isinstance(t, kinds)]
    return max(sizes) ** 2 + 1 if sizes else 0


class KernelBuilder(ABC):
    """Statements of one kernel: ``name_table``, ``name`` and ``name_finish``, as far as needed.

    Attributes
    ----------
    forgets : bool
        Whether the kernel keeps the values that it stores only if it is told to, by ``extent``.
    table_size, sums_size : int
        Numbers that a step keeps in the table, and in the sums over samples.
    constants : dict of Tensor to Slot
        Places of constant arrays, which only the table is made of: others read them there.
    """

    def __init__(self, kernel: Kernel, layout: Layout, tiling: Tiling, spelling: Spelling):
        self.kernel, self.layout, self.tiling = kernel, layout, tiling
        self.spelling = spelling
        self.parts = [parts_of(sweep) for sweep in kernel.sweeps]
        reductions = [tensor for parts in self.parts for tensor in parts.reduction]
        self.outer_tiles = outer_tiles(reductions, tiling)
        blocked = kernel.has_gradient or kernel.stored
        self.tiles = tiling.block(*self._block_numbers()) if blocked else 1
        saved = {name for sweep in kernel.sweeps for name in sweep.saved}
        self.forgets = bool(saved) and saved == set(kernel.stored)
        self.names = Names()
        self.table, self.table_size = self._table_slots()
        self.sums, self.sums_size = self._sum_slots()
        self.constants, self._numbers = self._constant_slots()

    def _block_numbers(self) -> tuple[int, int]:
        """Numbers of a sample in the cache: carries and what is summed; and the hot ones of them.

        Hot is the smaller factor of an outer product, which is read once for every tile of the
        other.
        """
        carried = {n: c.before for sweep in self.kernel.sweeps for n, c in sweep.carries.items()}
        summed = {t for tensor in self.outer_tiles for t in tensor.operands if t.per_sample}
        numbers = 2 * sum(size_of(t.axes) for t in carried.values())
        numbers += sum(size_of(t.axes) for t in summed)
        outer = [tensor for tensor, tiles in self.outer_tiles.items() if tiles.column is not None]
        near = [min(size_of(t.axes) for t in tensor.operands) for tensor in outer]
        return numbers, max(near, default=1)

    # -- what lives outside the samples ------------------------------------------------------

    def _parameter_slots(self) -> dict[str, Slot]:
        found = {}
        for name, axes in self.layout.axes.items():
            base = plus("p", self.layout.offsets[name])
            found[name] = Slot("theta", base, row_major(axes, 1), 1)
            found["eta." + name] = Slot("eta", base, row_major(axes, 1), 1)
        return found

    def invariant_slots(self, tensors: Iterable[Tensor]) -> dict[Tensor, Slot]:
        """Places of the parameters among tensors."""
        names = self._parameter_slots()
        fixed = [t for t in tensors if isinstance(t, Input) and not t.per_sample]
        return {t: names[t.name] for t in fixed if t.name in names}

    def _table_slots(self) -> tuple[dict[Tensor, Slot], int]:
        slots: dict[Tensor, Slot] = {}
        at = 0
        for parts in self.parts:
            for tensor in parts.table:
                if tensor not in slots:
                    slots[tensor] = Slot("table", plus("q", at), row_major(tensor.axes, 1), 1)
                    at += size_of(tensor.axes)
        return slots, at

    def _sum_slots(self) -> tuple[dict[Tensor, Slot], int]:
        slots: dict[Tensor, Slot] = {}
        at = 0
        for parts in self.parts:
            for tensor in parts.reduction:
                slots[tensor] = Slot("sums", plus("g", at), row_major(tensor.axes, 1), 1)
                at += size_of(tensor.axes)
        return slots, at

    def _constant_slots(self) -> tuple[dict[Tensor, Slot], list[float]]:
        slots: dict[Tensor, Slot] = {}
        places: dict[bytes, int] = {}
        numbers: list[float] = []
        for tensor in topological(self.table):
            if isinstance(tensor, ConstantArray):
                if tensor.values not in places:
                    places[tensor.values] = len(numbers)
                    numbers += tensor.array.ravel().tolist()
                at = Integer(places[tensor.values])
                slots[tensor] = Slot("constants", at, row_major(tensor.axes, 1), 1)
        return slots, numbers

    def table_parts(self) -> tuple[list[ConstantArray], list[Tensor]]:
        """What the table holds: constant arrays, and what is computed."""
        copied = [tensor for tensor in self.table if isinstance(tensor, ConstantArray)]
        return copied, [t for t in self.table if not isinstance(t, ConstantArray)]

    def copied_line(self, tensor: ConstantArray) -> str:
        """The comment above the copy of a constant array."""
        labels = ",".join(axis.name for axis in tensor.axes)
        return f"{self.names(tensor)}[{labels}] = {tensor.text()}"

    def gradient_slots(self, sweep: Sweep) -> dict[str, Slot]:
        """Where the derivatives by the parameters go."""
        return {
            name: Slot("gradient", plus("p", self.layout.offsets[name]), row_major(t.axes, 1), 1)
            for name, t in sweep.gradients.items()
        }

    # -- functions ---------------------------------------------------------------------------

    def statements(self, printed: dict[Function, str] | None = None) -> list[Statement]:
        """The kernel's functions.

        Parameters
        ----------
        printed : dict of Function to str, optional
            Names of the module's functions by what else they consist of.  A function that is there
            already is only given its name.
        """
        parts: list[Callable[[], Function]] = [self._table_function] if self.table else []
        parts.append(self._samples_function)
        parts += [self._finish_function] if self.kernel.has_gradient else []
        printed = {} if printed is None else printed
        found: list[Statement] = []
        for function in [make() for make in parts]:
            same = printed.setdefault(replace(function, name=""), function.name)
            new = same == function.name
            found.append(function if new else Alias(function.name, same))
        return found

    # -- arguments ---------------------------------------------------------------------------

    def theta(self, steps: int | None = None) -> list[Argument]:
        """The parameters and a direction, of all steps or of so many."""
        return parameters(self.kernel, self.layout.size, steps)

    def shared(self) -> list[Argument]:
        """What every sample shares, as far as there is any."""
        return [of_step("table", "workspace", "entry", self.table_size)] if self.table else []

    def of_table(self) -> list[Argument]:
        """What the table is made of, and the table."""
        numbers = tuple(self._numbers)
        found = Argument("constants", "constant", ("entry",), (len(numbers),), values=numbers)
        return [*self.theta(), *([found] if numbers else []), *self.shared()]

    def summed(self) -> Argument:
        """Sums over samples."""
        found = of_step("sums", "workspace", "entry", self.sums_size)
        return replace(found, tiles=tuple(self.outer_tiles.values()))

    def of_samples(self) -> list[Argument]:
        """What the kernel takes, but for where its loops begin and end."""
        kernel = self.kernel
        found = [*self.theta(kernel.steps), *self.shared()]
        found += [*stored_of(kernel, self.tiling), *inputs_of(kernel), *outputs_of(kernel)]
        found += [self.summed()] if kernel.has_gradient else []
        return found + rows_of(kernel, self.layout.size)

    def of_finish(self) -> list[Argument]:
        """What goes from sums over samples to the gradient."""
        return [*self.theta(), *self.shared(), self.summed(), gradient(self.layout.size)]

    @abstractmethod
    def _table_function(self) -> Function:
        """What every sample shares."""

    @abstractmethod
    def _samples_function(self) -> Function:
        """The kernel itself, for samples."""

    @abstractmethod
    def _finish_function(self) -> Function:
        """From sums over the samples to the gradient by theta."""

    # -- places of per-sample values ----------------------------------------------------------

    @abstractmethod
    def copy(self, write: Block, target: Slot, source: Slot | None, axes: Axes) -> None:
        """Copy a per-sample value (``None`` stands for zero)."""

    @abstractmethod
    def global_slot(self, name: str, axes: Axes) -> Slot:
        """A kernel argument with one entry a sample."""

    @abstractmethod
    def stored_slot(self, name: str, axes: Axes) -> Slot:
        """A value of the forward pass at the current step."""

    @abstractmethod
    def local_slot(self, name: str, axes: Axes, block: bool) -> Slot:
        """A buffer, of one tile or of every tile of the block."""

    @abstractmethod
    def carry_slot(self, sweep: Sweep, name: str, when: Expression) -> Slot:
        """Where a carry stands after ``when`` steps of its sweep."""

    @abstractmethod
    def row_slot(self, name: str, tensor: Tensor) -> Slot:
        """Rows of the sample Jacobian: parameters outermost, then tile, component, sample."""

    def final_slot(self, name: str, before: Sweep) -> Slot:
        """Where an earlier sweep left a carry."""
        for sweep in reversed(self.kernel.sweeps[: self.kernel.sweeps.index(before)]):
            if name in sweep.carries and sweep.direction:
                return self.carry_slot(sweep, name, Name("steps"))
        raise KeyError(name)
