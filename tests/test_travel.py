"""Objects survive pickle, copies and other processes; seeds of any kind; files as of open()."""

import copy
import inspect
import json
import multiprocessing
import os
import pickle
import stat
from operator import methodcaller

import numpy as np
import pytest
import sympy as sp
from damage import solution_of
from fake_program import fake_compiler, run
from sympy.codegen.cfunctions import expm1

import pwgf_sym as pw
from pwgf_sym import errors
from pwgf_sym.declare.tree import from_tree, to_tree

compiled = pytest.fixture(fake_compiler)

BY_PICKLE = [lambda o, p=p: pickle.loads(pickle.dumps(o, p)) for p in range(2, 6)]
COPIES = [*BY_PICKLE, copy.copy, copy.deepcopy]
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PwgfError) and kind is not errors.FlowError
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_travel(kind):
    error = kind("dt", -0.125, "a number above 0", "Use dt=0.125.")
    error.add_note("seen in run 7")
    for again in (f(error) for f in COPIES):
        assert type(again) is kind and str(again) == str(error) and again.args == error.args
        for name in ("argument", "accepted", "fix", "__notes__"):
            assert getattr(again, name) == getattr(error, name)
        assert str(again.given) == "-0.125"


def test_errors_of_what_cannot_travel_do(compiled):
    error = errors.OptionError("callback", lambda row: row, "a function")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(errors.FlowError) as raised:
        run((0.0, 60.0), dt=1.5, integrator="euler")
    for again in (f(raised.value) for f in COPIES):
        assert (again.step, again.time, again.sample) == (0, 0.0, None)
        assert str(again) == str(raised.value)
        assert np.array_equal(again.solution.theta, raised.value.solution.theta)


def energies():
    x, u = pw.coordinates(2), pw.coordinates(1, "q")
    y, rho, mu = pw.copy_of(x), pw.Density(x), pw.Density(u, "mu")
    beta = sp.Symbol("beta", positive=True)
    pair = sp.exp(-sum((a - b) ** 2 for a, b in zip(x, y)) / 3)
    yield (
        rho,
        pw.integral(rho * sp.log(rho) / beta, x) + pw.integral(pair * rho * rho.at(y), x, y),
        {beta: 0.75},
    )
    # SymPy would multiply these out when they are made again.
    bent = sp.cos(sp.Mul(2, u[0] + 1, evaluate=False)) * u[0] ** 2 * mu
    yield mu, sp.exp(pw.integral(sp.Piecewise((bent, u[0] > 0), (0, True)) + mu**2, u)), {}


LAWS = [
    pw.Gaussian([0.25, 4.0], [[2.0, 0.5], [0.5, 1.0]]),
    pw.UniformBall([1.0, 0.0], 2.5),
    pw.UniformBox([-1.0, 0.0], [2.0, 0.5]),
    pw.Barenblatt(2, 2.5, 0.75),
]


@pytest.mark.parametrize("again", COPIES)
def test_problems_maps_and_laws_travel(again):
    for rho, energy, parameters in energies():
        law = pw.Gaussian(np.arange(len(rho.args)) * 1.0, 2.0)
        problem = pw.GradientFlow(energy, rho, initial=law, parameters=parameters)
        found = again(problem)
        assert found.energy == problem.energy and found.density == problem.density
        assert isinstance(found.density, pw.Density) and found.parameters == parameters
        assert found.coordinates == problem.coordinates and found.initial == law
        assert found.coordinates.name == problem.coordinates.name
        assert pw.velocity(found.energy, found.density) == pw.velocity(energy, rho)
        assert again(rho) == rho and again(rho.coordinates) == rho.coordinates
    for law in LAWS:
        found = again(law)
        assert found == law and np.array_equal(found.sample(9, 3), law.sample(9, 3))
        with pytest.raises(ValueError, match="read-only"):
            found.mean[0] = 1
    read = from_tree(to_tree(sp.tanh(sp.Symbol("a", real=True) / 3)))
    for flow in (pw.Affine(3), pw.NeuralFlow(2, 5, 3, activation=lambda a: read, substep="rk4")):
        assert again(flow) == flow and hash(again(flow)) == hash(flow)


def test_a_formula_without_a_tree_travels_as_it_is():
    x = pw.coordinates(1)
    rho = pw.Density(x)
    assert again_equal(pw.integral(expm1(x[0]) * rho, x))


def again_equal(energy):
    return all(f(energy) == energy for f in COPIES)


@pytest.mark.parametrize("again", COPIES[2:])
def test_solutions_travel(compiled, again):
    solution = run(dt=0.1)
    z = np.random.default_rng(3).standard_normal((6, 2))
    wanted, before = solution.push(z, 0.3), len(compiled)
    found = again(solution)
    assert np.array_equal(found.theta, solution.theta) and repr(found) == repr(solution)
    assert np.array_equal(found.history.energy, solution.history.energy)
    assert len(compiled) == before  # nothing is compiled before it is needed
    np.testing.assert_array_equal(found.push(z, 0.3), wanted)
    assert len(compiled) == before + 1
    if again is not copy.copy:
        found.theta[:] = 0
        assert solution.theta.any()


@pytest.fixture(scope="module")
def real():
    """A solution, and what it pushes two points to."""
    x = pw.coordinates(1)
    rho, beta = pw.Density(x), sp.Symbol("beta", positive=True)
    energy = pw.integral((x[0] - 2) ** 2 * rho + rho * sp.log(rho) / beta, x)
    problem = pw.GradientFlow(energy, rho, pw.Gaussian([0.5], 0.4), {beta: 3.0})
    solution = pw.solve(problem, pw.Affine(1), (0, 0.2), samples=64, dt=0.1)
    return solution, solution.push([[0.4], [-1.0]])


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_other_processes_get_what_was_sent_and_send_back(real, method):
    solution, wanted = real
    formulas = solution.problem.energy, solution.problem.density
    with multiprocessing.get_context(method).Pool(1) as pool:
        # First, before anything there knows a density of that name.
        assert pool.apply(pw.velocity, formulas) == pw.velocity(*formulas)
        found = pool.apply(methodcaller("push", [[0.4], [-1.0]]), (solution,))
        assert np.array_equal(found, wanted)
        back = pool.apply(copy.copy, (solution,))
        assert np.array_equal(back.theta, solution.theta) and back.problem.energy is not None
        assert back.problem.energy == solution.problem.energy
        samples = pool.apply(methodcaller("sample", 5, 7), (solution.problem.initial,))
        assert np.array_equal(samples, solution.problem.initial.sample(5, 7))
        program = pool.apply(copy.copy, (solution.program,))
        assert program.path == solution.program.path
        # An error comes back as it was raised there, with the same words.
        with pytest.raises(errors.OptionError, match=r"a time from 0 to 0\.2"):
            pool.apply(methodcaller("push", [[0.4]], 0.5), (solution,))


def test_programs_travel(real):
    program = real[0].program
    theta = real[0].theta[-1]
    for again in (COPIES[0], copy.deepcopy):
        other = again(program)
        assert other is not program and other.path == program.path
        samples = other.samples(np.array([[0.4], [-1.0]]))
        state = other.push(theta.astype(other.dtype), samples)
        assert np.array_equal(other.unpack(state.x, samples), real[1])


# Seeds.


def test_a_seed_of_none_is_drawn_and_recorded(compiled):
    first, second = run(seed=None), run(seed=None)
    assert type(first.options["seed"]) is int and first.options["seed"] != second.options["seed"]
    assert not np.array_equal(first.energy, second.energy)
    again = run(seed=first.options["seed"])
    assert np.array_equal(again.theta, first.theta) and np.array_equal(again.energy, first.energy)


def test_a_generator_gives_its_next_number(compiled):
    one, two = (np.random.default_rng(17) for _ in range(2))
    solutions = [run(seed=one), run(seed=two)]
    assert np.array_equal(solutions[0].energy, solutions[1].energy)
    assert not np.array_equal(run(seed=one).energy, solutions[0].energy)
    solution, law = solutions[0], LAWS[0]
    for draw in (lambda s: solution.sample(4, seed=s), lambda s: law.sample(4, s)):
        one, two = (np.random.default_rng(5) for _ in range(2))
        first = draw(one)
        assert np.array_equal(first, draw(two)) and not np.array_equal(first, draw(one))
        assert not np.array_equal(draw(None), draw(None))
        assert np.array_equal(draw(np.int16(3)), draw(3))


@pytest.mark.parametrize("seed", [-1, 0.5, "7", True, np.random.RandomState(0), [1]])
def test_other_seeds_are_refused(compiled, seed):
    for call, kind in (
        (lambda: run(seed=seed), errors.OptionError),
        (lambda: LAWS[0].sample(3, seed), errors.LawError),
    ):
        with pytest.raises(kind, match=r"None, or a numpy\.random\.Generator") as raised:
            call()
        assert raised.value.argument == "seed"


# Files.


@pytest.mark.skipif(os.name != "posix", reason="permissions of other systems are others")
@pytest.mark.parametrize("mask", [0o027, 0o077, 0o002])
def test_saved_solutions_follow_the_umask_and_keep_links(compiled, tmp_path, mask):
    solution, before = run(dt=0.25), os.umask(mask)
    try:
        solution.save(tmp_path / "a.npz")
        (tmp_path / "real").mkdir()
        (tmp_path / "link.npz").symlink_to(tmp_path / "real" / "b.npz")
        solution.save(tmp_path / "link.npz")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.npz").stat().st_mode) == 0o666 & ~mask
    assert (tmp_path / "link.npz").is_symlink() and (tmp_path / "real" / "b.npz").is_file()
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "link.npz", "real"]
    assert np.array_equal(pw.load_solution(tmp_path / "link.npz").theta, solution.theta)


@pytest.mark.parametrize("substep", ["affine", "euler", "rk4"])
def test_maps_of_older_files_are_the_same_maps(tmp_path, substep):
    """Their parameters were those of a map of the user's coordinates, written out here."""
    x = pw.coordinates(2)
    rho, rng = pw.Density(x), np.random.default_rng(8)
    law = pw.Gaussian([3.0, -40.0], [[0.02, 0.005], [0.005, 0.01]])
    problem = pw.GradientFlow(pw.integral(x[0] ** 2 * rho, x), rho, initial=law)
    flow = pw.Affine(2) if substep == "affine" else pw.NeuralFlow(2, 3, 2, substep=substep)
    theta = 0.3 * rng.standard_normal((3, 6 if substep == "affine" else 42))
    z = law.sample(5, 1)
    wanted = z.copy()
    if substep == "affine":
        wanted = z @ theta[2, :4].reshape(2, 2).T + theta[2, 4:]
    for own in theta[2].reshape(2, 21) if substep != "affine" else ():
        a, b, w1, c, w2 = np.split(own, np.cumsum([4, 2, 6, 3]))
        a, w1, w2 = a.reshape(2, 2), w1.reshape(3, 2), w2.reshape(2, 3)

        def field(y, a=a, b=b, w1=w1, c=c, w2=w2):
            return y @ a.T + b + np.tanh(y @ w1.T + c) @ w2.T

        k = [field(wanted)]
        k += [field(wanted + 0.25 * k[0])]
        k += [field(wanted + 0.25 * k[1])]
        k += [field(wanted + 0.5 * k[2])]
        step = k[0] if substep == "euler" else (k[0] + 2 * k[1] + 2 * k[2] + k[3]) / 6
        wanted = wanted + step / 2
    solution = solution_of(problem, flow, theta.shape[1], rows=3)
    solution.theta = theta
    solution.save(tmp_path / "a.npz")
    as_version_1(tmp_path / "a.npz")
    found = pw.load_solution(tmp_path / "a.npz")
    np.testing.assert_allclose(found.push(z), wanted, rtol=1e-11)


def as_version_1(path):
    """Rewrite a file as it was written before there was a history."""
    with np.load(path) as archive:
        arrays = {name: array for name, array in archive.items() if "history" not in name}
    description = json.loads(str(arrays.pop("description"))) | {"version": 1}
    for name in ("counts", "folded", "reads_density", "unknown_constant"):
        del description[name]
    np.savez(path, description=np.array(json.dumps(description)), **arrays)
