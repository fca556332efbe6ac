"""Sums over neighbours that are written out in Python: found, and what they were."""

import numpy as np
import pytest
import sympy as sp
from sympy.core.function import AppliedUndef

import pwgf_sym as pw
from pwgf_sym.derive.gather import derived_form
from pwgf_sym.solver.theory import theory_of
from pwgf_sym.targets.program import compile_program

DIM = 50
x = pw.coordinates(DIM)
RHO = pw.Density(x)
b = sp.Symbol("b", positive=True)
STEP = 1e-30


def _triples(x, module, b):
    """Of three neighbours each, a ring of two, and a well with its own number at every place."""
    around = range(len(x))
    threes = [(x[k + 1] - x[k]) ** 2 * x[k + 2] for k in around[:-2]]
    ring = [module.cos(x[k] - 2 * x[k - 1]) for k in around]
    wells = [(k + 1) * x[k] ** 2 for k in around]
    return b * sum(threes) + sum(ring) + sum(wells)


def _bonds(x, module, b):
    """A chain with one place left out, beside functions of its ends."""
    bonds = [module.exp((x[k + 1] - x[k]) / 3) for k in range(len(x) - 1) if k != 40]
    return sum(bonds) * b + module.sin(x[0] * x[-1])


@pytest.mark.parametrize("formula", [_triples, _bonds])
def test_a_chain_is_a_sum_over_an_index(formula):
    energy = pw.integral(formula(list(x), sp, b) * RHO, x)
    flow = pw.GradientFlow(energy, RHO, pw.Gaussian([0.0] * DIM, 1.0), {b: 0.7})
    assert derived_form(flow).energy.has(sp.Sum)
    program = compile_program(flow, pw.Affine(DIM), "numpy")
    points = np.random.default_rng(0).normal(size=(7, DIM))

    def value(points):
        return formula(list(points.T), np, 0.7)

    slopes = [value(points + 1j * STEP * e).imag / STEP for e in np.eye(DIM)]
    truth = np.stack(slopes, axis=-1)
    gap = np.abs(program.velocity_at(points) + truth).max() / np.abs(truth).max()
    assert gap < 1e-13
    assert abs(program.energy_at(points) / value(points).mean() - 1) < 1e-13


def test_short_chains_and_wide_links_stay():
    for links in (
        [(x[k + 1] - x[k]) ** 2 for k in range(20)],
        [(x[k + 9] - x[k]) ** 2 for k in range(DIM - 9)],
        [s**4 for s in x],
    ):
        energy = pw.integral(sum(links) * RHO, x)
        flow = pw.GradientFlow(energy, RHO, pw.Gaussian([0.0] * DIM, 1.0))
        assert derived_form(flow).energy == energy


def test_a_chain_keeps_its_modulus():
    """A ring of springs in a trap |x|^2 is 2-convex, however it is written."""
    springs = sum((x[k] - x[k - 1]) ** 2 for k in range(DIM)) * 3 + sum(s**2 for s in x)
    energy = pw.integral(springs * RHO + RHO * sp.log(RHO), x)
    assert energy.atoms(AppliedUndef)
    flow = pw.GradientFlow(energy, RHO, pw.Gaussian([0.0] * DIM, 1.0))
    assert derived_form(flow).energy.has(sp.Sum)
    assert theory_of(flow).modulus.value == pytest.approx(2.0, abs=1e-9)
