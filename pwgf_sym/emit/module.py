"""The whole generated module of a problem and a map: header, kernels, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import sympy as sp

from ..declare.energies import ordered_integrals, short_text
from ..declare.families import energy_parts, is_family
from ..declare.maps import Map
from ..declare.symbols import Density
from ..declare.transport import Transport
from ..derive.borders import jump
from ..derive.calculus import derivative
from ..derive.pieces import in_pieces
from ..derive.samples import SampleForm, sample_form
from ..errors import FormulaError, OptionError
from ..kernels.carried import Level, differentiable_levels, kernel_name, level_of, levels, pullbacks
from ..kernels.energies import FormulaKernel, energy_kernels
from ..kernels.kernels import Kernel, map_kernels, newton_names
from ..kernels.looped import Looped
from ..kernels.moments import MomentForm
from ..kernels.pairs import DistanceForm, pair_parts
from ..loops.cpu.formulas import TileFormulaBuilder
from ..loops.cpu.kernels import TileKernelBuilder
from ..loops.cpu.moments import moments_functions
from ..loops.kernels import Layout
from ..loops.nodes import Function, Statement
from ..loops.printable import check_printable
from ..loops.signature import KernelSignature
from ..printers.cpu import CpuPrinter
from ..schedule.cpu import CpuTiling, Machine
from ..schedule.groups import SampleTiling
from ..sharing import parts_of_kind, replaced
from .header import header
from .parts import signatures_of
from .shapes import documented, shapes_of

__all__ = ["Emission", "Target", "cpu_target", "emit_module", "forgetting"]


class MapBuilder(Protocol):
    """What a target makes of a kernel of a map."""

    kernel: Kernel

    def statements(self, printed: dict[Function, str] | None = None) -> list[Statement]:
        """The kernel's functions; of those that are ``printed`` already only their names."""


class EnergyBuilder(Protocol):
    """What a target makes of a kernel of an energy."""

    def statements(self) -> list[Statement]:
        """The kernel's function, and the constants that it reads."""


@dataclass
class Emission:
    """A generated module's text and what a caller of its kernels must know.

    Attributes
    ----------
    text : str
        The module, without its content hash.
    form : SampleForm
        The energy in samples.
    tiling : SampleTiling
        Shapes of tiles and blocks.
    layout : Layout
        Where parameters stand in ``theta``.
    looped : Looped
        The map as a loop over its steps.
    kernels : dict of str to Kernel
        Kernels of the map.
    formulas : dict of str to FormulaKernel
        Kernels of the energy.
    signatures : dict of str to KernelSignature
        What the module's functions take, by the names under which they are called: those of
        kernels, and of their parts, which end in "_table", "_finish" or "_velocity".
    moments : MomentForm or None
        Interactions that are computed from moments of the samples.
    polynomials : DistanceForm or None
        The same, of polynomials of the distance in many coordinates.
    left_out : frozenset of str
        Kernels that the module does not hold.
    timings : dict of str to float
        Seconds each stage took.
    target : Target
        What it was printed for.
    statements : tuple of Statement
        The functions, before they were printed.
    """

    text: str
    form: SampleForm
    tiling: SampleTiling
    layout: Layout
    looped: Looped
    kernels: dict[str, Kernel]
    formulas: dict[str, FormulaKernel]
    signatures: dict[str, KernelSignature]
    moments: MomentForm | None
    polynomials: DistanceForm | None
    left_out: frozenset[str]
    timings: dict[str, float]
    target: Target
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Target:
    """What differs between the targets, after the passes that all of them share.

    Attributes
    ----------
    line : str
        What the header says of the target.
    tiling : SampleTiling
        Shapes of tiles and blocks.
    map_builder : callable
        Of a kernel of the map and the layout of its parameters.
    formula_builder : callable
        Of a kernel of the energy.
    text : callable
        From statements to the text of a module, without its header.
    listing : callable
        From statements to their text alone, with the functions that they call.
    moments : callable or None
        Of a dimension: the kernels of interactions that are polynomials of |x - y|^2, as moments of
        the samples; without it they are sums over all pairs.
    composed : frozenset of str
        Kernels of the map that its caller puts together of others.
    forgetting : dict of str to str
        Kernels of the map that are others which store values, told to keep none, and these.
    first : frozenset of str
        Kernels that its first module holds, as far as an energy calls them; all if there are none.
    """

    line: str
    tiling: SampleTiling
    map_builder: Callable[[Kernel, Layout], MapBuilder]
    formula_builder: Callable[[FormulaKernel], EnergyBuilder]
    text: Callable[[list[Statement]], str]
    listing: Callable[[list[Statement]], str]
    moments: Callable[[int], Statement] | None
    composed: frozenset[str] = frozenset()
    forgetting: dict[str, str] = field(default_factory=dict)
    first: frozenset[str] = frozenset()

    def builders(self, kernels: dict[str, Kernel], layout: Layout) -> dict[str, MapBuilder]:
        """Builders of the map's kernels by name; two names of one kernel have one builder."""
        printed = {n: k for n, k in kernels.items() if n not in self.composed}
        for name, other in self.forgetting.items():
            summary = f"{kernels[other].summary} (of extent tiles; with 0 they are not kept)"
            printed[name] = replace(kernels[other], name=name, summary=summary)
        shared = {other: name for name, other in self.forgetting.items()}
        found = {n: self.map_builder(k, layout) for n, k in printed.items() if n not in shared}
        return found | {other: found[name] for other, name in shared.items()}


def forgetting(pushed: Iterable[Level]) -> dict[str, str]:
    """Kernels that push these levels as those that linearize the map, which keep nothing."""
    return {kernel_name("push", level): kernel_name("linearize", level) for level in pushed}


def cpu_target(dtype: str, machine: Machine, moments: bool = True) -> Target:
    """The CPU.

    Parameters
    ----------
    dtype : {"float64", "float32"}
        Precision of all numbers.
    machine : Machine
        Vector registers and cache that tiles and blocks are cut for.
    moments : bool
        Whether interactions that are polynomials of |x - y|^2 become moments of the samples.
    """
    tiling, printer = CpuTiling.for_machine(machine, dtype), CpuPrinter()
    size = f"{tiling.vector_bits}-bit vectors, {tiling.samples} samples a tile"
    return Target(
        f"cpu, {dtype}, {size}",
        tiling,
        lambda kernel, layout: TileKernelBuilder(kernel, layout, tiling, printer),
        lambda kernel: TileFormulaBuilder(kernel, tiling, printer),
        lambda statements: printer.whole(statements, dtype),
        printer.listing,
        (lambda dim: moments_functions(dim, tiling)) if moments else None,
        # Where a score is carried the stores hardly count, and a kernel takes a second to compile.
        forgetting=forgetting(level for level in levels() if level not in differentiable_levels()),
    )


def emit_module(
    energy: sp.Expr,
    density: Density,
    flow: Map,
    target: Target,
    wanted: Collection[str] | None = None,
    transport: Transport | None = None,
) -> Emission:
    """Derive, lower and print kernels of an energy and a map.

    Parameters
    ----------
    energy : sympy.Expr
        The energy.
    density : Density
        Its unknown density.
    flow : Map
        The map.
    target : Target
        What the kernels are printed for.
    wanted : collection of str, optional
        Kernels to print.  Those of the target's first module if not given.
    transport : Transport, optional
        Drift and mobility beside the energy.

    Raises
    ------
    EnergyError, FormulaError, OptionError
        When the energy cannot be derived or printed, or a kernel is wanted that there is not.
    """
    clock, timings = time.perf_counter(), {}

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        timings[name], clock = now - clock, now

    looped = Looped(flow)
    for function in looped.functions():
        check_printable(in_pieces(function), "activation")
    for term in energy_parts(energy):  # before SymPy is asked for derivatives
        if is_family(term):  # its terms are checked where they are lowered
            continue
        values = {
            d: sp.Symbol(d.func.__name__, positive=True) for d in parts_of_kind(term, Density)
        }
        values |= {d: sp.Symbol(f"slope{k}", real=True) for k, d in enumerate(_slopes_in(term))}
        # Terms of sums are checked where they are lowered.
        values |= {s: sp.Symbol("S", real=True) for s in parts_of_kind(term, sp.Sum, sp.Product)}
        # So are kernels of convolutions.
        inner = ordered_integrals(term.integrand)
        values |= {i: sp.Symbol("c", real=True) for i in inner}
        check_printable(in_pieces(replaced(term.integrand, values)), short_text(term))
    transport = Transport() if transport is None else transport
    for formula in transport.formulas:
        bare = replaced(formula, {density: sp.Symbol("rho", positive=True)})
        check_printable(in_pieces(bare), "drift or mobility")
    form = sample_form(energy, density, transport)
    check_printable(form.value, "energy, outside its integrals")
    lap("derive")
    parts = pair_parts(form, target.moments is not None)
    kernels, formulas = (
        map_kernels(looped, level_of(form.energy_reads)),
        energy_kernels(form, parts),
    )
    names = {*kernels, *formulas, *({"moments"} if parts.polynomials else ())}
    unknown = set(wanted or ()) - names
    if unknown:
        raise OptionError("kernels", repr(min(unknown)), ", ".join([*kernels, *formulas]))
    if wanted is None:
        wanted = names
        if target.first:
            wanted = target.first & (names - set(kernels) | _called(form, looped))
    lap("lower")
    layout = Layout.of_axes(looped.parameters)
    emitters = target.builders(kernels, layout)
    printers = {name: target.formula_builder(kernel) for name, kernel in formulas.items()}
    body: list[Statement] = []
    for name, printer in printers.items():
        if name in wanted:
            body += printer.statements()
    if target.moments is not None and parts.polynomials and "moments" in wanted:
        body.append(target.moments(flow.dim))
    left_out = _without(emitters, wanted) | (names - set(kernels) - set(wanted))
    body += _map_functions(looped, form, kernels, emitters)
    taken = signatures_of(body)
    rows = {n: shapes_of(n, k.summary, taken) for n, k in formulas.items() if n in wanted}
    printed = {emitter.kernel.name: emitter.kernel for emitter in emitters.values()}
    rows |= {name: shapes_of(name, k.summary, taken) for name, k in printed.items()}
    body = documented(body, rows)
    taken |= _second_names(emitters, taken)
    read = next(iter(formulas.values())).values if formulas else ()
    text = header(energy, density, looped, target.line, read, rows, transport) + target.text(body)
    lap("emit")
    found = (
        target.tiling,
        layout,
        looped,
        kernels,
        formulas,
        taken,
        parts.moments,
        parts.polynomials,
    )
    return Emission(text, form, *found, frozenset(left_out), timings, target, tuple(body))


def _slopes_in(term: sp.Expr) -> list[sp.Basic]:
    """Derivatives of the density in an integral."""
    return sorted(parts_of_kind(term, sp.Derivative), key=str)


def _called(form: SampleForm, looped: Looped) -> set[str]:
    """Kernels of the map that a flow of this energy may call."""
    called = {"jvp", "metric", "jacobian", "factors", *newton_names(looped)}
    called |= {made.kernel for made in pullbacks(level_of(form.energy_reads))}
    for level in levels()[: len(level_of(form.reads))]:
        called |= {kernel_name("push", level), kernel_name("linearize", level)}
    return called


def _without(emitters: dict[str, MapBuilder], wanted: Collection[str]) -> set[str]:
    """Remove builders that are not wanted, under no name that they have; returns the names."""
    kept = [emitters[n] for n in wanted if n in emitters]
    left_out = {n for n, emitter in emitters.items() if emitter not in kept}
    for name in left_out:
        del emitters[name]
    return left_out


def _second_names(
    emitters: dict[str, MapBuilder], taken: dict[str, KernelSignature]
) -> dict[str, KernelSignature]:
    """Signatures of kernels that are printed under another name, by the one they are called by."""
    found = {}
    for name, emitter in emitters.items():
        for part in ("", "_table", "_finish"):
            if emitter.kernel.name + part in taken:
                found[name + part] = taken[emitter.kernel.name + part]
    return found


def _map_functions(
    looped: Looped,
    form: SampleForm,
    kernels: dict[str, Kernel],
    emitters: dict[str, MapBuilder],
) -> list[Statement]:
    """The map's kernels; without what no target prints and this energy never calls.

    An activation with a kink has no second derivative, so no score and no energy gradient by the
    log density; a potential or an interaction does not ask for them.  A kernel of two names has one
    builder, and is printed under the name that the builder has.
    """
    called = _called(form, looped)
    printed: dict[Function, str] = {}
    found: list[Statement] = []
    for name, emitter in list(emitters.items()):
        if name != emitter.kernel.name:  # another name of a kernel that is printed
            continue
        try:
            found += emitter.statements(printed)
        except FormulaError as error:
            if name in called:
                raise _no_derivative(looped, error) from error
            for same in [n for n, e in emitters.items() if e is emitter]:
                del kernels[same], emitters[same]
    return found


def _no_derivative(looped: Looped, error: FormulaError) -> FormulaError:
    """What a function of the map lacks where the log density or the score is carried."""
    for formula in looped.functions():
        for symbol in sorted(formula.free_symbols, key=str):
            border = jump(derivative(in_pieces(formula), symbol))
            if border is not None:
                how = f"whose derivative jumps {border.text()}, and the density of the map with it"
                accepted = (
                    "for an energy of the density, an activation with a continuous derivative"
                )
                fix = "Use tanh, a/(1 + exp(-a)), or a power of Max(a, 0) such as its cube."
                return FormulaError("activation", f"{formula}, {how}", accepted, fix)
    given = f"{looped.map}, of whose derivatives: {error}"
    return FormulaError("activation", given, "one with derivatives that can be printed")
