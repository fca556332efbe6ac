"""docs/catalogue.md: a table of all entries, and what is derived of each."""

import itertools
import re
import textwrap

import sympy as sp

import pwgf_sym as pw
from pwgf_sym.declare.energies import ordered_integrals, unicode_text

from .families import ENTRIES

WIDTH = 98
#: Formulas with more characters are left out.
LONGEST = 900

HEAD = """\
# Catalogue of energies

`python examples/catalogue` writes this page, and derives and checks all that it shows: do not edit
it. Every entry has its formula in Python, its first variation and the equation of its flow in the
dimension in which it is checked, what the solver carries for a sample, and an exact answer with a
bound of the error that was found.

`tests/test_catalogue.py` runs every formula. It compares first variations with Gateaux derivatives
by quadrature, velocities with differences of first variations, the energy form with those of the
energy of samples, and both formulations with each other. Formulas stand below these lines, with the
dimension that the entry says (1 if it says none), and its period if it has one:

    import sympy as sp
    import pwgf_sym as pw

    x = pw.coordinates(1)
    y = pw.copy_of(x)
    rho = pw.Density(x)

`pw.solve(pw.GradientFlow(energy, rho, law, parameters), pw.NeuralFlow(1, 16), (0, 1))` is the flow,
with `**transport` in the problem where the entry has a drift or a mobility. What a sample carries
beside its position is a log density or a score; "pairs" and "inner integrals" are means over pairs
of samples, "triples" over three, and "data" are arrays that `parameters` gives. The velocity form
is the default; where "energy" stands alone, give `formulation="energy"`. Formulas write rho for the
density at x, rho_x0 for its derivative, and I0, I1 for integrals that are numbers.

![Flows of the catalogue: densities and samples at four times](catalogue.png)
"""


def anchor(title):
    """The link to a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def formulations(one):
    names = ["velocity"] * one.has_velocity_form + ["energy"] * one.has_energy_form
    return ", ".join(names)


def bound(limit):
    """A bound of the error, of one digit and the same on all machines."""
    return f"< {limit:.0e}".replace("e-0", "e-")


class Notation:
    """Formulas of one entry as text: short names for rho, its derivatives, integrals."""

    def __init__(self, one):
        self.one, self.numbers = one, {}

    def __call__(self, formula):
        """The text; integrals that depend on no coordinate have a name."""
        coordinates = {*self.one.x, *self.one.y}
        marks = {}
        for term in ordered_integrals(formula):
            if not term.free_symbols & coordinates:
                text = self._text(term)
                name = self.numbers.setdefault(text, f"I{len(self.numbers)}")
                marks[term] = sp.Symbol(name, real=True)
        return self._text(formula.xreplace(marks))

    def _text(self, formula):
        names = {}
        for density in formula.atoms(type(self.one.rho)):
            place = [s for s in density.args if s.name != "t"]
            elsewhere = f"({', '.join(map(str, place))})"
            names[density] = "rho" if place == [*self.one.x] else f"rho{elsewhere}"
        for slope in formula.atoms(sp.Derivative):
            if slope.expr in names:
                order = "".join(f"{s}" * n for s, n in slope.variable_count)
                names[slope] = f"rho_{order}"
        return unicode_text(formula, names)

    def equation(self):
        """d rho/dt = div(h grad dE/drho - rho b), h = rho and b = 0 if there is no other."""
        one = self.one
        left, right = pw.pde(one.energy, one.rho).args
        rho, *fluxes = left.expr, *[0] * one.dim
        for part in sp.Add.make_args(right):
            (symbol, count), *_ = part.variable_count
            fluxes[one.x.index(symbol)] = part.expr if count == 1 else part.expr.diff(symbol)
        if "mobility" in one.transport:
            factor = one.transport["mobility"].xreplace({one.rho: rho}) / rho
            fluxes = [sp.simplify(flux * factor) for flux in fluxes]
        drift = one.transport.get("drift", [0] * one.dim)
        fluxes = [flux - rho * b for flux, b in zip(fluxes, drift)]
        divergence = " + ".join(f"d/d{s}({self(flux)})" for s, flux in zip(one.x, fluxes))
        return f"{self(left)} = {divergence}"

    def definitions(self):
        """What the names of numbers stand for."""
        return [f"{name} = {text}" for text, name in self.numbers.items()]


def wrapped(label, formula):
    formula = formula if len(formula) <= LONGEST else "(long)"
    lines = textwrap.wrap(formula, WIDTH - 10, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"{label if not k else '':10}{line}" for k, line in enumerate(lines))


def table():
    rows = ["| energy | the solver carries | forms | exact answer | error |", "| --- " * 5 + "|"]
    for one in ENTRIES.values():
        link = f"[{one.name}](#{anchor(one.name)})"
        claim = one.exact.claim.replace("|", "\\|")
        cells = link, ", ".join(one.needs), formulations(one), claim, bound(one.exact.limit)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def bullet(text):
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def section(one):
    """What the page has of one entry."""
    text = Notation(one)
    lines = [wrapped("dE/drho", text(pw.first_variation(one.energy, one.rho)))]
    lines.append(wrapped("equation", text.equation()))
    lines += [wrapped("with", line) for line in text.definitions()]
    dimension = f"d = {one.dim}; " if one.dim > 1 else ""
    dimension += f"period {one.period}; " if one.period else ""
    parts = [
        f"### {one.name}",
        textwrap.fill(f"{one.about} ({one.source})", WIDTH),
        f"```python\n{one.code}```",
        "```text\n" + "\n".join(lines) + "\n```",
        bullet(f"{dimension}carries: {', '.join(one.needs)}; formulations: {formulations(one)}")
        + "\n"
        + bullet(f"exact: {one.exact.claim} (error {bound(one.exact.limit)})"),
    ]
    return "\n\n".join(parts)


def page():
    """The text of docs/catalogue.md."""
    parts = [HEAD.strip(), table()]
    for family, entries in itertools.groupby(ENTRIES.values(), key=lambda one: one.family):
        parts.append(f"## {family}")
        parts += map(section, entries)
    return "\n\n".join(parts) + "\n"
