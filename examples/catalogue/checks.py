"""Exact answers: closed forms of energies and velocities, solutions, stationary states, programs.

Each function returns a :class:`~catalogue.entry.Check`, whose error is relative to the larger of 1
and the exact value.
"""

import numpy as np
import sympy as sp

import pwgf_sym as pw

from .entry import Check
from .quadrature import Quadrature

T = sp.Symbol("t", real=True)


def gaussian(x, mean=0, variance=1):
    """The density of independent Gaussians as a formula; numbers, or one a coordinate."""
    means = mean if np.ndim(mean) else [mean] * len(x)
    variances = variance if np.ndim(variance) else [variance] * len(x)
    each = zip(x, means, variances, strict=True)
    return sp.prod([sp.exp(-((s - m) ** 2) / (2 * v)) / sp.sqrt(2 * sp.pi * v) for s, m, v in each])


def gap(found, exact):
    found, exact = np.asarray(found, float), np.asarray(exact, float)
    return float(np.max(np.abs(found - exact))) / max(1.0, float(np.max(np.abs(exact))))


def points_of(one, count=21, width=2.0):
    """Points (n, d) at which fields are compared, off the kinks."""
    rng = np.random.default_rng(5)
    return rng.uniform(-width, width, (count, one.dim))


def energy_is(claim, density, exact, limit=1e-10):
    """The energy of a density has a closed form.

    ``density`` is a function of the coordinates, ``exact`` a number.
    """

    def error(one):
        made = Quadrature(one.rho, density(one.x), **one.options)
        return gap(made(one.energy), float(exact))

    return Check(f"the energy {claim}", error, limit)


def velocity_of(one, density, points):
    """-grad dE/drho at points (n, d), by quadrature where it holds integrals."""
    made = Quadrature(one.rho, density, **one.options)
    rows = pw.velocity(one.energy, one.rho)
    return np.stack([made(row, points) for row in rows], axis=-1)


def velocity_is(claim, density, exact, limit=1e-10, width=2.0):
    """The velocity at a density has a closed form: ``exact`` of points (n, d)."""

    def error(one):
        points = points_of(one, width=width)
        return gap(velocity_of(one, density(one.x), points), exact(points))

    return Check(claim, error, limit)


def stationary(claim, density, limit=1e-10, width=2.0):
    """The velocity at a density is zero."""
    return velocity_is(claim, density, lambda points: np.zeros_like(points), limit, width)


def solves(claim, density, limit=1e-10, width=1.0, time=1.5):
    """A density of the coordinates and of time solves the equation that is derived.

    The equation has no integrals.
    """

    def error(one):
        density_in_time = density(one.x)
        equation = pw.pde(one.energy, one.rho)
        (held,) = equation.lhs.atoms(sp.core.function.AppliedUndef)
        clock = held.args[0]
        formula = density_in_time.xreplace({T: clock})

        def numbers(side):
            side = side.replace(held.func, sp.Lambda(held.args, formula)).doit()
            arrays = points_of(one, width=width).T
            side = side.xreplace({clock: sp.Float(time)})
            return np.broadcast_to(sp.lambdify(one.x, side, "numpy")(*arrays), arrays[0].shape)

        return gap(numbers(equation.rhs), numbers(equation.lhs))

    return Check(claim, error, limit)


def particles(claim, error, limit=1e-10):
    """What holds of the program's velocity at samples: ``error`` of an entry and a program."""

    def with_program(one):
        program = pw.compile(one.problem, pw.Affine(one.dim), target="numpy")
        return error(one, program)

    return Check(claim, with_program, limit)


def moves(claim, exact, limit=1e-10, points=None):
    """Samples of the initial law have velocities in closed form: ``exact`` of points (n, d)."""

    def error(one, program):
        z = one.law.sample(40, seed=3) if points is None else points
        return gap(program.velocity_at(z), exact(z))

    return particles(claim, error, limit)


def flows(claim, exact, end=1.0, limit=1e-5, **options):
    """A flow with an affine map, to its exact Lagrangian map ``exact`` of points (n, d)."""

    def error(one):
        settings = {"target": "numpy", "samples": 64, "dt": 0.02} | options
        solution = pw.solve(one.problem, pw.Affine(one.dim), (0, end), **settings)
        z = one.law.sample(40, seed=3)
        return gap(solution.push(z), exact(z))

    return Check(claim, error, limit)
