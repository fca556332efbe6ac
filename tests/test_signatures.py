"""What generated functions take, against their text as Python reads it, and against their calls."""

import ast

import numpy as np
import pytest
from sample_energies import ENERGIES

import pwgf_sym as pw
from pwgf_sym.loops.signature import KernelSignature, count
from pwgf_sym.targets.bound import BoundKernel
from pwgf_sym.targets.program import compile_program

NAMES = ["double well", "mixed", "aggregation"]
LANES = {"first", "last", "steps", "origin", "extent", "width", "number", "tiles", "blocks"}


def flow_of(problem):
    return pw.NeuralFlow(problem.dim, 5, steps=2)


def modules_of(name, target, folder):
    """The emissions of all modules of a program."""
    problem = ENERGIES[name].problem()
    program = compile_program(problem, flow_of(problem), target=target, folder=folder)
    rest = [] if program.rest is None else [program.rest]
    return [part.emission for part in (program, *rest)]


@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_the_text(name, where, tmp_path):
    for emission in modules_of(name, where, tmp_path):
        tree = ast.parse(emission.text)
        defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert emission.signatures
        for signature in emission.signatures.values():
            taken = [argument.arg for argument in defined[signature.name].args.args]
            assert [argument.name for argument in signature] == taken
        called = {signature.name for signature in emission.signatures.values()}
        kernels = {name for name in defined if not name.startswith("invert_")}
        assert kernels == called


@pytest.fixture
def recorded(monkeypatch):
    """Arguments of all calls, by signature."""
    calls = []
    init = BoundKernel.__init__

    def with_record(self, function, signature, steps):
        def record(*given):
            calls.append((signature, given))
            function(*given)

        init(self, record, signature, steps)

    monkeypatch.setattr(BoundKernel, "__init__", with_record)
    return calls


@pytest.mark.parametrize("name", NAMES)
def test_arrays_have_the_lengths_that_signatures_say(name, recorded, tmp_path):
    """Kernels do not check bounds; 21 samples are no whole number of tiles."""
    problem = ENERGIES[name].problem()
    flow = flow_of(problem)
    program = compile_program(problem, flow, folder=tmp_path)
    theta = np.linspace(-0.1, 0.1, program.size)
    samples = program.samples(problem.initial.sample(21, seed=0))
    program.slope(theta, samples)
    state = program.push(theta, samples, "score")
    program.velocity(state)
    program.invert(theta, np.zeros((3, problem.dim)))
    linearization = program.linearize(theta, samples)
    linearization.metric(theta)
    linearization.jacobian()
    seen = {signature.name for signature, _ in recorded}
    assert {"metric", "metric_finish", "newton", "jacobian"} <= seen
    for signature, given in recorded:
        numbers = dict(zip((argument.name for argument in signature), given, strict=True))
        for argument, value in zip(signature, given, strict=True):
            if argument.name in LANES:
                assert isinstance(value, int | np.integer) and argument.dimensions == 0
                continue
            assert value.ndim == argument.dimensions
            assert value.dtype == (argument.dtype or program.dtype)
            if argument.kind in ("stored", "samples") or "chunk" in argument.axes:
                continue
            steps, tiles = numbers.get("steps", 0), samples.tiles
            packed = {argument.length(step=steps, sample=n * samples.lanes) for n in (1, tiles)}
            assert value.size in packed, (signature.name, argument.name)


@pytest.mark.parametrize("name", ["moments", "velocity", "newton_table"])
def test_types_of_every_function(name, tmp_path):
    """Numba compiles a function for the types that its signature says."""
    problem = ENERGIES["aggregation"].problem()
    program = compile_program(problem, flow_of(problem), folder=tmp_path)
    assert "define" in program.code_llvm(name)


def test_a_value_that_is_missing():
    taken = KernelSignature("sums", (count("first"), count("last")))
    assert BoundKernel(lambda *given: None, taken, 1).arguments({"last": 2, "first": 1}) == (1, 2)
    with pytest.raises(KeyError, match="sums takes last"):
        BoundKernel(lambda *given: None, taken, 1).arguments({"first": 1, "step": 2})
