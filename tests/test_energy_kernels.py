"""Kernels of energies against 50-digit arithmetic (sample_energies), to 1e-12."""

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from energy_checks import carried, check, random
from hypothesis import given
from hypothesis import strategies as st
from on_targets import program_on
from sample_energies import ENERGIES, LOCAL, PAIR, Energy, R, full_quadratic
from tile_numpy import interpreted

from pwgf_sym.declare.maps import Affine
from pwgf_sym.declare.symbols import coordinates, copy_of
from pwgf_sym.targets.packing import State
from pwgf_sym.targets.program import compile_program


def compiled(energy, dtype="float64"):
    """The program with the smallest map: only the formulas are of interest."""
    return compile_program(energy.problem(), Affine(energy.dim), dtype=dtype)


GALLERY = [name for name in ENERGIES if name != "ornstein uhlenbeck"]


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_text(name, target, tmp_path):
    energy = ENERGIES[name]
    check(energy, program_on(target, energy.problem(), Affine(energy.dim), tmp_path), 7)


@pytest.mark.parametrize("name", ["styblinski tang", "root", "aggregation"])
def test_gallery_compiled(name):
    check(ENERGIES[name], compiled(ENERGIES[name]), 7)


@pytest.mark.parametrize("name", ["mixed", "newtonian", "porous medium 3"])
def test_gallery_in_single_precision(name, target, tmp_path):
    energy = ENERGIES[name]
    program = program_on(target, energy.problem(), Affine(energy.dim), tmp_path, "float32")
    check(energy, program, 7, relative=64 * np.finfo(np.float32).eps)


def test_quadratic_in_thirty_dimensions(tmp_path):
    """A full matrix is emitted as a matrix, once a kernel, and not as 900 products in a row."""
    energy = full_quadratic(30)
    program = interpreted(energy.problem(), Affine(30), tmp_path)
    forms = {name: len(k.forms) for name, k in program.emission.formulas.items()}
    assert forms == {"integrals": 1, "velocity": 1, "slopes": 1}
    check(energy, program, 3)
    body = program.emission.text.split('"""', 2)[2]
    assert body.count("x29") < 40


@pytest.mark.parametrize("dim", [4, 5, 7])
def test_linear_forms_of_all_sizes(dim, tmp_path):
    """Dense rows with terms beside them: cubes, parameters, cross terms of a parameter."""
    x, stiffness = coordinates(dim), sp.Symbol("k", positive=True)
    base = full_quadratic(dim, seed=dim)
    extra = sum(c**3 for c in x) / 3 + sp.sin(x[2]) * x[3]
    extra += stiffness * x[0] * x[1] + stiffness * sum(x) ** 2 / 2
    energy = Energy(
        dim, base.potential + extra, R**2, outer=sp.exp(LOCAL / 5), parameters={stiffness: 1.5}
    )
    program = compiled(energy) if dim == 5 else interpreted(energy.problem(), Affine(dim), tmp_path)
    assert all(k.forms for k in program.emission.formulas.values()) == (dim > 4)
    check(energy, program, 9)


# ------------------------------------------------------------------------------ random formulas
THETA, KAPPA = sp.symbols("theta kappa", positive=True)


@st.composite
def potentials(draw, x):
    def term():
        c = draw(st.sampled_from(x))
        d = draw(st.sampled_from(x))
        return draw(
            st.sampled_from(
                [c ** draw(st.integers(1, 9)), c * d, sp.sin(c - d), sp.cos(c * d), sp.exp(-c * c)]
                + [sp.sqrt(1 + c**2), (1 + c**2) ** sp.Rational(3, 2), sp.log(2 + sp.cos(c))]
                + [1 / (1 + c**2 + d**2), (2 + d**2) ** -3, (1 + c**2) ** THETA, sp.atan(KAPPA * c)]
                + [sp.tanh(c + d), sp.erf(c), sp.Abs(c) ** 3, sp.Max(c, d, 0) ** 2, sp.atan2(c, 2)]
                + [sp.Piecewise((c**2, c < 1), (2 * c - 1, True)), sp.asinh(c) * d]
                + [
                    (1 + d**2) ** sp.Rational(1, 3),
                    sp.cosh(c) / (1 + sp.cosh(c)),
                    sp.Min(c, 1) ** 4,
                ]
            )
        )

    factor = draw(st.sampled_from([1, -2, sp.Rational(3, 7), THETA, -1 / KAPPA, sp.sqrt(3), sp.pi]))
    formula = sum((term() for _ in range(draw(st.integers(0, 2)))), sp.S.Zero)
    return factor * term() + formula + x[0] ** 2 / 2


@st.composite
def internals(draw):
    return sp.Add(
        *draw(
            st.lists(
                st.sampled_from(
                    [R * sp.log(R), THETA * R * sp.log(R), R**2 / 2, R**3, -3 * sp.sqrt(R)]
                    + [R ** sp.Rational(5, 3), R**THETA, R**2 / (1 + R), R * sp.exp(-R)]
                    + [R * sp.log(1 + KAPPA * R), R**2 * sp.log(R), sp.log(R), R * sp.sin(R)]
                ),
                max_size=2,
                unique=True,
            )
        )
    )


@st.composite
def pairs(draw, x, y):
    q = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    choice = [sp.S.Zero, sp.S.Zero, sp.exp(-KAPPA * q), q**2 / 4 - q / 2, sp.sqrt(1 + q)]
    choice += [1 / (1 + q), q ** sp.Rational(3, 2), sp.log(q), sp.sin(x[0]) * y[-1] ** 2]
    choice += [sp.tanh(x[0] * y[0]) / THETA, sp.cos(q), 1 / sp.sqrt(q)]
    return draw(st.sampled_from(choice))


@st.composite
def energies(draw):
    dim = draw(st.integers(1, 3))
    x = coordinates(dim)
    outer = [
        LOCAL + PAIR,
        LOCAL + PAIR,
        (LOCAL + THETA * PAIR) ** 2,
        sp.sqrt(4 + LOCAL**2 + PAIR**2),
    ]
    outer += [sp.exp((LOCAL + PAIR) / 100) + KAPPA * LOCAL]
    energy = Energy(
        dim,
        draw(potentials(x)),
        draw(internals()),
        draw(pairs(x, copy_of(x))),
        draw(st.sampled_from(outer)),
    )
    free = (energy.potential + energy.internal + energy.pair + energy.outer).free_symbols
    values = {THETA: 1.375, KAPPA: 0.75}
    energy.parameters = {s: v for s, v in values.items() if s in free}
    return energy


@pytest.mark.slow
@random(amount(10, 30))
@given(energies(), st.integers(2, 5), st.integers(0, 99))
def test_random_energies(target, tmp_path_factory, energy, count, seed):
    folder = tmp_path_factory.mktemp("random")
    program = program_on(target, energy.problem(), Affine(energy.dim), folder)
    check(energy, program, count, seed=seed)


@pytest.mark.slow
@random(5)
@given(energies())
def test_random_energies_compiled(energy):
    check(energy, compiled(energy), 3)


# ----------------------------------------------------------------------------- pairs of samples
@pytest.fixture(scope="module")
def newtonian():
    """A kernel that is infinite at x = y: the diagonal must be left out, also in the padding."""
    return compiled(ENERGIES["newtonian"])


@pytest.mark.parametrize("count", [1, 2, 7, 64, 130])
def test_pairs_against_a_double_loop(newtonian, count):
    samples, state = carried(newtonian, count)
    x = newtonian.unpack(state.x, samples)
    integrals = newtonian.integrals(state)
    velocity = newtonian.velocity(state, integrals)
    assert np.isfinite(velocity).all()  # the padding, too: sums run over it with weight 0
    total, pull, others = 0.0, np.zeros_like(x), max(count - 1, 1)
    for n in range(count):
        for m in range(count):
            if n != m:
                difference = x[n] - x[m]
                square = difference @ difference
                total += -np.log(square) / (4 * np.pi) / others
                pull[n] += difference / (np.pi * square) / others
    pull[:, 0] -= 2 * x[:, 0]
    (pair,) = [v for i, v in zip(newtonian.form.integrals, integrals, strict=True) if i.pair]
    assert pair == pytest.approx(total / count, rel=1e-12, abs=1e-15)
    got = newtonian.unpack(velocity, samples)
    np.testing.assert_allclose(got, pull, rtol=1e-11, atol=1e-12 * np.abs(pull).max())


def test_not_a_number_comes_through(newtonian):
    _, state = carried(newtonian, 20)
    state = State(state.samples, **state.carried | {"x": state.x.copy()})
    state.x[2] = np.nan
    integrals = newtonian.integrals(state)
    assert np.isnan(integrals).all()
    assert np.isnan(newtonian.velocity(state, integrals)[2])
    state.x[2] = np.inf
    assert not np.isfinite(newtonian.integrals(state)).any()


def test_outer_functions_without_a_value():
    energy = Energy(1, coordinates(1)[0] ** 2, outer=sp.sqrt(LOCAL - 1) + 1 / (LOCAL - 3))
    program = compiled(energy)
    assert program.energy([5.0]) == pytest.approx(2.5, rel=1e-15)
    assert np.isnan([program.energy([v]) for v in (0.0, 3.0, np.nan)]).all()


def test_parameters_need_no_new_code():
    """Values of parameters are read at run time: one module for all of them."""
    energy = ENERGIES["double well"]
    first = compiled(energy)
    (beta,) = energy.parameters
    second = compiled(Energy(2, energy.potential, energy.internal, parameters={beta: 3.0}))
    assert first.path == second.path
    samples, state = carried(first, 7)
    gap = first.integrals(state) - second.integrals(state)
    expected = np.mean(first.unpack_scalar(state.log_density, samples)) * (1 / 0.75 - 1 / 3.0)
    assert gap[0] == pytest.approx(expected, rel=1e-12)
