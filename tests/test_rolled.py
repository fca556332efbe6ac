"""Formulas that differ in the coordinate only become loops, on both targets, and stay right."""

import numpy as np
import pytest
import sympy as sp
from energy_checks import check, random
from hypothesis import given
from hypothesis import strategies as st
from on_targets import program_on
from sample_energies import LOCAL, Energy, R

from pwgf_sym.declare.maps import Affine
from pwgf_sym.declare.symbols import coordinates, copy_of
from pwgf_sym.emit.module import cpu_target, emit_module
from pwgf_sym.schedule.cpu import Machine
from pwgf_sym.targets.program import compile_program

BETA = sp.Symbol("beta", positive=True)
# Names that the loops would take, too.
TOTAL = sp.Symbol("total0", real=True)


def squares(x):
    return sum(c**2 for c in x)


def quadratic(x):
    """x'Ax/2 with a full matrix of numbers."""
    factor = np.random.default_rng(0).normal(size=(len(x), len(x)))
    matrix = sp.Matrix(factor @ factor.T / len(x))
    return sp.expand((sp.Matrix(x).T * (matrix + matrix.T) * sp.Matrix(x))[0] / 4)


def cases(dim):
    x = coordinates(dim)
    wells = sum((c**2 - 1) ** 2 for c in x)
    entropy = R * sp.log(R)
    powers = {BETA: 1.25}
    return {
        "a sum": Energy(dim, wells / 4, entropy),
        "sums and entropies": Energy(dim, wells / 4, entropy / BETA + R**2, parameters=powers),
        "a function of a sum": Energy(dim, sp.exp(-squares(x) / dim), entropy),
        "a sum times a root of one": Energy(
            dim, sum(map(sp.sin, x)) * sp.sqrt(1 + squares(x)) + TOTAL * squares(x),
            entropy, parameters={TOTAL: 0.5},
        ),
        "two sums": Energy(dim, wells * sp.log(2 + squares(x)), R**3),
        "an outer function": Energy(dim, wells, entropy, outer=sp.sqrt(4 + LOCAL**2)),
        "a dense form": Energy(dim, quadratic(x) + wells, entropy),
        "no potential": Energy(dim, internal=R**2),
    }  # fmt: skip


@pytest.mark.parametrize("name", cases(9))
def test_values_and_slopes(name, target, tmp_path):
    energy = cases(9)[name]
    program = program_on(target, energy.problem(), Affine(9), tmp_path)
    assert all(k.rolled for k in program.emission.formulas.values())
    check(energy, program, 5)


NAMES = (
    *("lane", "start", "gap", "factor", "OWN", "PULL", "PARTNERS", "ROOM", "cuda", "math", "at"),
    *("tiles", "total0", "x_i", "s_i", "pull0", "block_sum", "i", "n", "q", "t0", "t_0", "scale"),
)


@pytest.mark.parametrize("dim", [3, 9])
def test_parameters_may_be_called_anything(dim, target, tmp_path):
    """What the loops and the sums over partners call their own is no one else's."""
    x, y = coordinates(dim), copy_of(coordinates(dim))
    symbols = [sp.Symbol(name, positive=True) for name in NAMES]
    square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    potential = sum(s * sp.exp(-s * c**2) for s in symbols for c in x)
    pair = sum(sp.exp(-s * square) / s for s in symbols[::2])
    pair += sum(s * sp.sin(x[0] * y[1] * s) for s in symbols[1::2])
    values = {s: 0.5 + k / 32 for k, s in enumerate(symbols)}
    energy = Energy(dim, potential, R * sp.log(R), pair, parameters=values)
    check(energy, program_on(target, energy.problem(), Affine(dim), tmp_path), 3)


@pytest.mark.parametrize("name", ["a sum times a root of one", "a dense form"])
def test_compiled(name, tmp_path):
    energy = cases(9)[name]
    check(energy, compile_program(energy.problem(), Affine(9), folder=tmp_path), 9)


@pytest.mark.parametrize("name", cases(9))
def test_the_text_does_not_grow(name):
    def lines(dim):
        problem = cases(dim)[name].problem()
        target = cpu_target("float64", Machine())
        emission = emit_module(problem.energy, problem.density, Affine(dim), target)
        kernels = emission.text.split("def push(")[0].split("OPTIONS")[1]
        return [line for line in kernels.splitlines() if "np.array" not in line]

    few, many = lines(9), lines(14)
    rows = 3 * 5 * (name == "a dense form")  # the matrix itself
    assert len(many) <= len(few) + rows + 6 * (rows > 0)


def potentials(x, uneven):
    """A sum over the coordinates, a function of another one, and what breaks the symmetry."""
    terms = [lambda c: c**4, lambda c: sp.cos(c), lambda c: c / (1 + c**2), lambda c: c * 2]
    functions = [lambda s: s, lambda s: sp.sin(s / 9), lambda s: sp.sqrt(1 + s**2), sp.tanh]
    breaks = [x[3] ** 2, x[0] * x[1], sp.sin(x[8]), -sp.cos(x[2])]
    return st.builds(
        lambda f, t, g, u, e: f(sum(map(t, x))) + g(sum(map(u, x))) + (e if uneven else 0),
        *map(st.sampled_from, (functions, terms, functions, terms, breaks)),
    )


@pytest.mark.parametrize("uneven", [False, True])
@random(10)
@given(st.data(), st.integers(0, 99))
def test_random_potentials(target, uneven, tmp_path_factory, data, seed):
    """Where one coordinate is different the velocity and the slopes are written out."""
    potential = data.draw(potentials(coordinates(9), uneven))
    energy = Energy(9, potential, R * sp.log(R))
    folder = tmp_path_factory.mktemp("random")
    program = program_on(target, energy.problem(), Affine(9), folder)
    formulas = program.emission.formulas
    if uneven:
        assert formulas["velocity"].rolled is None
    else:
        assert all(kernel.rolled for kernel in formulas.values())
    check(energy, program, 3, seed=seed)
