"""One energy of the catalogue: its formula, the problem of its checks, its exact answer."""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import sympy as sp

import pwgf_sym as pw
from pwgf_sym.derive.samples import SampleForm, sample_form

#: Entries by name, in the order of the page.
ENTRIES = {}


@dataclass(frozen=True)
class Check:
    """An exact answer: what it says, a function of an entry that gives the error, its limit."""

    claim: str
    error: Callable
    limit: float = 1e-10


@dataclass(frozen=True)
class Entry:
    """An energy in the dimension in which it is shown and checked.

    Attributes
    ----------
    name, family, source : str
    build : Callable
        The energy of the coordinates x, a copy y, and the density rho; or the energy, and a dict
        with a drift or a mobility.
    dim : int
    law : Law
        The initial law of checks.
    given : dict of str to number or array
        Values of parameters, by their names.
    exact : Check
    breaks : tuple of float
        Where formulas have kinks on the line.
    period : Expr
        Of the coordinates on a circle.
    reach : float
        Distance at which a kernel on the line has a kink.
    singular : bool
        Whether the kernel is infinite where x = y.
    box : (float, float)
        Where the densities of checks live.
    """

    name: str
    family: str
    source: str
    build: Callable
    exact: Check
    dim: int = 1
    law: pw.Gaussian = None
    given: dict = field(default_factory=dict)
    breaks: tuple = ()
    period: sp.Expr = None
    reach: float = 0
    singular: bool = False
    box: tuple = (-10, 10)

    @cached_property
    def x(self):
        return pw.coordinates(self.dim, period=self.period)

    @cached_property
    def y(self):
        return pw.copy_of(self.x)

    @cached_property
    def rho(self):
        return pw.Density(self.x)

    @cached_property
    def built(self):
        made = self.build(self.x, self.y, self.rho)
        return made if isinstance(made, tuple) else (made, {})

    @property
    def energy(self):
        return self.built[0]

    @property
    def transport(self) -> dict:
        """Drift and mobility, by these names."""
        return self.built[1]

    @cached_property
    def form(self) -> SampleForm:
        """The energy in what samples carry."""
        return sample_form(self.energy, self.rho)

    @cached_property
    def parameters(self):
        """Values by the symbols of the energy."""
        names = {s.name: s for s in self.energy.free_symbols}
        names |= {a.base.name: a.base for a in self.energy.atoms(sp.Indexed)}
        names |= {a.name: a for a in self.energy.atoms(sp.IndexedBase)}
        return {names[name]: value for name, value in self.given.items()}

    @cached_property
    def problem(self):
        return pw.GradientFlow(self.energy, self.rho, self.law, self.parameters, **self.transport)

    @property
    def code(self) -> str:
        """The formula as a user writes it: the body of the function that builds the energy."""
        source = textwrap.dedent(inspect.getsource(self.build))
        body = source[re.search(r"^def .*:\n", source, re.MULTILINE).end() :]
        body = re.sub(r'^    """.*?"""\n', "", body, flags=re.DOTALL)
        names = "energy, transport" if self.transport else "energy"
        return textwrap.dedent(body).replace("return ", f"{names} = ")

    @property
    def about(self) -> str:
        return inspect.getdoc(self.build)

    @property
    def options(self) -> dict:
        """Of quadratures."""
        kinks = {"breaks": self.breaks, "reach": self.reach, "singular": self.singular}
        return {"values": self.parameters, "box": self.box, **kinks}

    @property
    def has_velocity_form(self) -> bool:
        return self.form.rough is None

    @property
    def has_energy_form(self) -> bool:
        return not self.transport

    @property
    def needs(self) -> list[str]:
        """What the solver has to carry for a sample, or for all."""
        form, found = self.form, []
        reads = {*form.energy_reads, *(form.velocity_reads if self.has_velocity_form else ())}
        found += ["log density"] * ("log_density" in reads) + ["score"] * ("score" in reads)
        for copies, name in ((2, "pairs"), (3, "triples")):
            found += [name] * any(i.copies == copies for i in form.integrals)
        found += ["inner integrals"] * bool(form.convolutions)
        found += ["data"] * bool(self.energy.atoms(sp.IndexedBase))
        return found or ["positions"]


def entry(name, *, source, exact, dim=1, law=None, **options):
    """Put an energy into the catalogue, under the title of the file that it stands in."""

    def put(build):
        family = build.__globals__["FAMILY"]
        initial = law or pw.Gaussian([0.3, -0.2, 0.1, 0.2][:dim], 0.7)
        if name in ENTRIES:
            raise ValueError(f"two entries have the name {name}")
        ENTRIES[name] = Entry(name, family, source, build, exact, dim, initial, **options)
        return build

    return put
