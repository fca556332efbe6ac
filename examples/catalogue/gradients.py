"""Energies that read the gradient of the density: flows of fourth order."""

import numpy as np
import sympy as sp

import pwgf_sym as pw

from .checks import T, energy_is, gaussian, solves, stationary
from .entry import entry

FAMILY = "Gradients of the density"


def spreading(alpha):
    """The self-similar solution of the flow of int |d rho^alpha/dx|^2/(2 alpha)."""
    alpha = sp.nsimplify(alpha)
    beta, power = 1 / (2 * alpha + 3), 1 / (alpha - sp.Rational(1, 2))

    u, k = sp.symbols("u k", positive=True)
    inside = 1 - k * u**2
    pressure = inside ** (power * (alpha - 1)) * sp.diff(inside ** (power * alpha), u, 2)
    # d rho/dt + d(rho w)/dx = 0 at t = 1 for w = beta x, and w = d pressure/dx.
    (found,) = sp.solve(sp.simplify(sp.diff(pressure, u) / u) - beta, k)

    def density(x):
        return T**-beta * (1 - found * x[0] ** 2 * T ** (-2 * beta)) ** power

    return density


@entry(
    "Fisher information",
    source="Gianazza, Savare and Toscani 2009",
    exact=solves(
        "N(0, sqrt(1 + 8 t)) solves the equation", lambda x: gaussian(x, 0, sp.sqrt(1 + 8 * T))
    ),
)
def fisher(x, y, rho):
    """int |grad rho|^2/rho."""
    return pw.integral(sum(rho.diff(s) ** 2 for s in x) / rho, x)


@entry(
    "Quantum drift diffusion",
    source="Derrida, Lebowitz, Speer and Spohn 1991; Juengel and Matthes 2008",
    exact=solves(
        "N(0, sqrt(1 + 2 t)) solves the equation", lambda x: gaussian(x, 0, sp.sqrt(1 + 2 * T))
    ),
)
def quantum_drift_diffusion(x, y, rho):
    """int |grad sqrt(rho)|^2, the DLSS equation."""
    return pw.integral(sum(sp.sqrt(rho).diff(s) ** 2 for s in x), x)


@entry(
    "Thin film",
    source="Otto 1998; Giacomelli and Otto 2001",
    exact=solves("the source-type solution (a - b x^2)^2 solves the equation", spreading(1)),
)
def thin_film(x, y, rho):
    """Dirichlet's energy, half int |grad rho|^2: Hele-Shaw flow of a film."""
    return pw.integral(sum(rho.diff(s) ** 2 for s in x) / 2, x)


@entry(
    "Fourth-order family",
    source="Denzler and McCann 2008; Matthes, McCann and Savare 2009",
    exact=solves("(a - b x^2)^4 solves the equation, alpha = 3/4", spreading(0.75), width=0.4),
)
def fourth_order(x, y, rho):
    """int |grad rho^alpha|^2/(2 alpha): between quantum drift diffusion and thin films."""
    alpha = sp.Rational(3, 4)
    return pw.integral(sum((rho**alpha).diff(s) ** 2 for s in x), x) / (2 * alpha)


@entry(
    "Cahn-Hilliard",
    source="Cahn and Hilliard 1958; Elbar and Skrzeczkowski 2023",
    exact=stationary(
        "the front (1 + tanh(x/sqrt(2)))/2 is stationary",
        lambda x: (1 + sp.tanh(x[0] / sp.sqrt(2))) / 2,
    ),
)
def cahn_hilliard(x, y, rho):
    """A double well of the density and its gradient: phases part."""
    well = (rho * (1 - rho)) ** 2
    return pw.integral(well + sum(rho.diff(s) ** 2 for s in x) / 2, x)


@entry(
    "Fisher divergence",
    source="Hyvarinen 2005 (score matching)",
    exact=energy_is("of N(1, 2) from N(0, 1): 1 + 1/2", lambda x: gaussian(x, 1, 2), 1.5),
    box=(-12, 12),
)
def fisher_divergence(x, y, rho):
    """int rho |grad log(rho/pi)|^2 for pi = exp(-V), with V = |x|^2/2."""
    V = sum(s**2 for s in x) / 2
    return pw.integral(sum(rho * (rho.diff(s) / rho + V.diff(s)) ** 2 for s in x), x)


@entry(
    "Gross-Pitaevskii",
    source="Lieb, Seiringer and Yngvason 2000",
    exact=energy_is(
        "of N(0, 1/2), g = 1: 1/2 + 1/sqrt(8 pi)",
        lambda x: gaussian(x, 0, sp.Rational(1, 2)),
        0.5 + 1 / np.sqrt(8 * np.pi),
    ),
)
def gross_pitaevskii(x, y, rho):
    """The ground state of a trapped condensate as the end of a flow of its density."""
    kinetic = sum(sp.sqrt(rho).diff(s) ** 2 for s in x) / 2
    V = sum(s**2 for s in x) / 2
    return pw.integral(kinetic + V * rho + rho**2 / 2, x)


@entry(
    "Korteweg's capillarity",
    source="Gualdani, Juengel and Toscani 2006",
    exact=energy_is(
        "of N(0, 1): 1/2 - log(2 pi e)/2", lambda x: gaussian(x), 0.5 - np.log(2 * np.pi * np.e) / 2
    ),
)
def capillarity(x, y, rho):
    """Diffusion with a dispersive quantum correction: entropy and Fisher information."""
    quantum = sum(rho.diff(s) ** 2 for s in x) / (2 * rho)
    return pw.integral(rho * sp.log(rho) + quantum, x)
