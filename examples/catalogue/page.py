"""docs/catalogue.md: a table of all entries, and what is derived of each."""

import itertools
import re
import textwrap

import pwgf_sym as pw
from pwgf_sym.declare.energies import unicode_text

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
dimension that the entry says (1 if it says none):

    import sympy as sp
    import pwgf_sym as pw

    x = pw.coordinates(1)
    y = pw.copy_of(x)
    rho = pw.Density(x)

`pw.solve(pw.GradientFlow(energy, rho, law, parameters), pw.NeuralFlow(1, 16), (0, 1))` is the flow.
What a sample carries beside its position is a log density or a score; "pairs" and "inner integrals"
are means over pairs of samples, "data" are arrays that `parameters` gives. The velocity form is the
default; where "energy" stands alone, give `formulation="energy"`.
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


def wrapped(label, formula):
    lines = textwrap.wrap(formula, WIDTH - 10, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"{label if not k else '':10}{line}" for k, line in enumerate(lines))


def text_of(label, formula):
    text = unicode_text(formula)
    return wrapped(label, text if len(text) <= LONGEST else "(long)")


def equation_of(one):
    equation = pw.pde(one.energy, one.rho)
    left, right = map(unicode_text, equation.args)
    return wrapped("equation", f"{left} = {right}" if len(right) <= LONGEST else "(long)")


def table():
    rows = ["| energy | the solver carries | forms | exact answer | error |", "| --- " * 5 + "|"]
    for one in ENTRIES.values():
        link = f"[{one.name}](#{anchor(one.name)})"
        claim = one.exact.claim.replace("|", "\\|")
        cells = link, ", ".join(one.needs), formulations(one), claim, bound(one.exact.limit)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def section(one):
    """What the page has of one entry."""
    about = f"{one.about} ({one.source})"
    parts = [f"### {one.name}", textwrap.fill(about, WIDTH), f"```python\n{one.code}```"]
    lines = [text_of("dE/drho", pw.first_variation(one.energy, one.rho)), equation_of(one)]
    parts.append("```text\n" + "\n".join(lines) + "\n```")
    dimension = f"d = {one.dim}; " if one.dim > 1 else ""
    facts = f"{dimension}carries {', '.join(one.needs)}; {formulations(one)} form; "
    facts += f"exact: {one.exact.claim} (error {bound(one.exact.limit)})."
    parts.append(textwrap.fill(facts[0].upper() + facts[1:], WIDTH))
    return "\n\n".join(parts)


def page():
    """The text of docs/catalogue.md."""
    parts = [HEAD.strip(), table()]
    for family, entries in itertools.groupby(ENTRIES.values(), key=lambda one: one.family):
        parts.append(f"## {family}")
        parts += map(section, entries)
    return "\n\n".join(parts) + "\n"
