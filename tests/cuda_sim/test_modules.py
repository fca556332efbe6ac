"""What a generated CUDA module holds: the kernels of its flow, in a text that stays short."""

import re

import numpy as np
import pytest
from sample_energies import ENERGIES
from tile_numpy import interpreted

import pwgf_sym as pw
from pwgf_sym.benchmarks.problems import problem_named
from pwgf_sym.errors import OptionError
from pwgf_sym.targets.cuda import caller
from pwgf_sym.targets.program import compile_program


def modules_of(width, log_determinant):
    """Lines of the two modules of a flow in 30 dimensions, and kernels that they hold."""
    flow = pw.NeuralFlow(30, width, log_determinant=log_determinant)
    problem = problem_named("double_well", 30)
    program = compile_program(problem, flow, target="cuda", dtype="float32")
    parts = (program, program.rest)
    return [(code_lines(p.code_python()), kernels_of(p)) for p in parts]


def kernels_of(program):
    """Kernels of the map that a program's own module holds."""
    return set(program.emission.kernels) & set(program.emission.signatures)


def code_lines(text):
    """The lines of a module's code, without what it says of itself and of its kernels."""
    return [
        line for k, part in enumerate(text.split('"""')) if k % 2 == 0 for line in part.split("\n")
    ]


@pytest.mark.parametrize("log_determinant", ["trace", "exact"])
def test_texts_of_a_large_flow(log_determinant):
    found = modules_of(128, log_determinant)
    (first, kernels), (rest, others) = found
    assert len(first) < 400 and len(rest) < 400
    assert kernels == {
        *("push", "push_log_density", "push_score"),
        *("linearize", "linearize_log_density", "linearize_score"),
        *("jvp", "vjp"),
    }
    assert others == {"jacobian", "factors", "newton", "gradient"}
    assert all(any(f"def {name}(" in line for line in rest) for name in others)
    assert not any("def integrals(" in line for line in rest)
    narrow = modules_of(64, log_determinant)
    assert [len(lines) for lines, _ in narrow] == [len(lines) for lines, _ in found]


def test_cpu_programs_hold_all_kernels(tmp_path):
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5)
    assert compile_program(problem, flow, folder=tmp_path).rest is None


def test_a_kernel_that_there_is_not(tmp_path):
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5)
    with pytest.raises(OptionError, match=r"pusch.*push, push_log_density"):
        compile_program(problem, flow, target="cuda", folder=tmp_path, kernels={"pusch"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("threads", [4, 128, 256])
def test_a_map_wider_than_shared_memory(tmp_path, threads, monkeypatch):
    """Its factors of sums over samples are more than shared memory holds: they come in rounds."""
    monkeypatch.setenv("PWGF_SYM_CUDA_THREADS", str(threads))
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 6000, steps=1)
    program = compile_program(problem, flow, target="cuda", folder=tmp_path)
    text = program.code_python() + program.rest.code_python()
    shared = [*map(int, re.findall(r"W = cuda.shared.array\((\d+), DTYPE", text))]
    assert len(shared) > 5 and all(8 * numbers <= 48 * 1024 for numbers in shared)


@pytest.fixture
def both(tmp_path):
    """A program with two kernels only, and the whole one on the CPU."""
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5, steps=2)
    few = compile_program(problem, flow, target="cuda", folder=tmp_path, kernels={"push", "jvp"})
    assert kernels_of(few) == {"push", "jvp", "linearize"}
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
        yield program.unpack(program.push(theta, samples, "score").score, samples)
        yield program.metric(theta, samples, eta)
        yield program.slope(theta, samples).gradient
        yield from program.invert(theta, np.linspace(-1, 1, 10).reshape(5, 2))
        yield program.jacobian(theta, samples)[:, 0]

    compare(both, 9, compute)


def test_what_an_energy_never_calls(tmp_path):
    """An interaction asks for no densities; who asks for them gets them all the same."""
    problem, flow = ENERGIES["aggregation"].problem(), pw.NeuralFlow(2, 4, steps=1)
    program = compile_program(problem, flow, target="cuda", folder=tmp_path)
    assert "push_score" not in program.emission.signatures
    points = np.random.default_rng(0).normal(size=(6, 2))
    theta, samples = np.zeros(program.size), program.samples(points)
    pushed = program.push(theta, samples, "score")  # the identity
    found = program.unpack_scalar(pushed.log_density, samples)
    np.testing.assert_allclose(found, problem.initial.log_density(points), rtol=1e-12)


@pytest.mark.parametrize("limit, value", [("_BLOCKS", 2), ("_ROOM", 20000)])
def test_blocks_take_several_tiles(both, limit, value, monkeypatch):
    """Blocks share the tiles; what push does not keep is overwritten tile after tile."""
    monkeypatch.setattr(caller, limit, value)
    kernels, samples = both[0].kernels, both[0].samples(np.zeros((27, both[0].dim)))
    assert kernels.blocks(samples, 1000) == 2 < samples.tiles

    def compute(program, samples, theta, eta):
        linearized = program.linearize(theta, samples)
        for state in (program.push(theta, samples), linearized.state):
            yield program.unpack(state.x, samples)
        yield program.unpack(linearized.jvp(eta), samples)
        yield linearized.metric(eta)

    compare(both, 27, compute)


def test_loops_over_entries_that_follow_each_other_are_one(tmp_path):
    """What is left to do with the sums over samples is the same for all parameters."""
    problem, flow = ENERGIES["double well"].problem(), pw.NeuralFlow(2, 5, steps=2)
    text = compile_program(problem, flow, target="cuda", folder=tmp_path).code_python()
    loops = re.findall(r"for entry in range\(lane, (\d+),", text[text.index("def vjp_finish") :])
    assert loops == [str(flow.initial_parameters(problem.initial).size // 2)]
