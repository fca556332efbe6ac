"""What a generated CUDA module holds: the kernels of its flow, in a text that stays short."""

import numpy as np
import pytest
from sample_energies import ENERGIES
from tile_numpy import interpreted

import pwgf_sym as pw
from pwgf_sym.benchmarks.problems import problem_named
from pwgf_sym.compile.cuda import caller
from pwgf_sym.compile.program import compile_program
from pwgf_sym.errors import OptionError
from pwgf_sym.solve.options import FlowOptions, LinearOptions


def module_of(width, log_determinant, **options):
    """The program of a flow in 30 dimensions."""
    wanted = FlowOptions(target="cuda", dtype="float32", **options).kernels()
    flow = pw.NeuralFlow(30, width, log_determinant=log_determinant)
    problem = problem_named("double_well", 30)
    return compile_program(problem, flow, target="cuda", dtype="float32", kernels=wanted)


def module_lines(*given, **options):
    """Lines of its module, and kernels that it holds."""
    program = module_of(*given, **options)
    return program.code_python().splitlines(), set(program.emission.emitters)


@pytest.mark.parametrize("log_determinant", ["trace", "exact"])
def test_text_of_a_large_flow(log_determinant):
    lines, kernels = module_lines(128, log_determinant)
    assert len(lines) < 400
    assert kernels == {
        *("push", "push_log_density", "push_score", "linearize", "linearize_log_density"),
        *("jvp", "vjp"),
    }
    narrow, _ = module_lines(64, log_determinant)
    assert len(narrow) == len(lines)


@pytest.mark.parametrize(
    "options, more",
    [
        ({"formulation": "energy", "linear_solver": "cg"}, {"gradient"}),
        ({"linear_solver": "dense"}, {"jacobian"}),
        ({"linear_solver": "kernel"}, {"factors"}),
        (
            {"linear_solver": "minres", "linear": LinearOptions(preconditioner=8)},
            {"jacobian"},
        ),
    ],
)
def test_kernels_of_other_solvers(options, more):
    _, base = module_lines(8, "trace")
    _, found = module_lines(8, "trace", **options)
    assert found - base == more


def test_all_kernels_in_one_module():
    program = module_of(8, "trace")
    whole = program.complete
    assert whole.complete is whole
    missing = {"jacobian", "factors", "newton", "gradient"}
    assert set(whole.emission.emitters) - set(program.emission.emitters) == missing
    assert all(f"def {name}(" in whole.code_python() for name in missing)


def test_cpu_programs_hold_all_kernels(tmp_path):
    assert FlowOptions(target="cpu").kernels() is None
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5)
    program = compile_program(problem, flow, folder=tmp_path)
    assert program.complete is program


def test_a_kernel_that_there_is_not(tmp_path):
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5)
    with pytest.raises(OptionError, match=r"pusch.*push, push_log_density"):
        compile_program(problem, flow, target="cuda", folder=tmp_path, kernels={"pusch"})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def both(tmp_path):
    """A program with two kernels only, and the whole one on the CPU."""
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5, steps=2)
    few = compile_program(problem, flow, target="cuda", folder=tmp_path, kernels={"push", "jvp"})
    assert set(few.emission.emitters) == {"push", "jvp", "linearize"}
    return few, interpreted(problem, flow, tmp_path)


def compare(both, count, compute):
    """``compute(program, samples, theta, eta)`` gives arrays, which have to agree."""
    rng = np.random.default_rng(0)
    theta, eta = 0.3 * rng.normal(size=both[0].size), rng.normal(size=both[0].size)
    points = rng.normal(size=(count, both[0].dim))
    found = [list(compute(program, program.samples(points), theta, eta)) for program in both]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-11, atol=1e-11)


def test_other_kernels_come_when_they_are_called(both):
    def compute(program, samples, theta, eta):
        yield program.unpack(program.push(theta, samples, 2).score, samples)
        yield program.metric(theta, samples, eta)
        yield program.slope(theta, samples).gradient
        yield from program.invert(theta, np.linspace(-1, 1, 10).reshape(5, 2))
        yield program.jacobian(theta, samples)[:, 0]

    compare(both, 9, compute)


def test_what_an_energy_never_calls(tmp_path):
    """An interaction asks for no densities; who asks for them gets them all the same."""
    problem, flow = ENERGIES["aggregation"].problem(), pw.NeuralFlow(2, 4, steps=1)
    program = compile_program(problem, flow, target="cuda", folder=tmp_path)
    assert "push_score" not in program.emission.emitters
    points = np.random.default_rng(0).normal(size=(6, 2))
    theta, samples = np.zeros(program.size), program.samples(points)
    pushed = program.push(theta, samples, 2)  # the identity
    found = program.unpack_scalar(pushed.log_density, samples)
    np.testing.assert_allclose(found, problem.initial.log_density(points), rtol=1e-12)


def test_blocks_take_several_tiles(both, monkeypatch):
    """Blocks share the tiles; what push does not keep is overwritten tile after tile."""
    monkeypatch.setattr(caller, "_BLOCKS", 2)

    def compute(program, samples, theta, eta):
        linearized = program.linearize(theta, samples)
        for state in (program.push(theta, samples), linearized.state):
            yield program.unpack(state.x, samples)
        yield program.unpack(linearized.jvp(eta), samples)
        yield linearized.metric(eta)

    compare(both, 27, compute)
