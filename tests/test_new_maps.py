"""Maps that a user might write next: elementwise last operations, kinks, forbidden names."""

import os
import sys

import numpy as np
import pytest
import sympy as sp
from sample_energies import ENERGIES

import pwgf_sym as pw
from pwgf_sym.declare.maps import Map, NeuralFlow
from pwgf_sym.errors import FormulaError, MapError
from pwgf_sym.kernels.carried import levels
from pwgf_sym.kernels.formulas import StepFormulas
from pwgf_sym.kernels.looped import Looped
from pwgf_sym.targets import threads
from pwgf_sym.targets.program import compile_program


class Squashed(Map):
    """x' = tanh(A x + b): the last operation is elementwise, so a carry is a stored value too."""

    def __init__(self, dim=2, steps=2, names=("A", "b")):
        self.dim, self.steps, self.names = dim, steps, names

    def parameters(self):
        return {self.names[0]: "ij", self.names[1]: "i"}

    def step(self, op, p, x):
        inner = op.einsum("ij,j->i", p[self.names[0]], x) + p[self.names[1]]
        return op.apply(sp.tanh(sp.Symbol("a")), inner)

    def to_dict(self):
        return {"map": "Squashed", "dim": self.dim, "steps": self.steps}


def squashed(theta, z, steps):
    x = z
    for part in theta.reshape(steps, -1):
        x = np.tanh(x @ part[:4].reshape(2, 2).T + part[4:])
    return x


def test_a_step_that_ends_in_a_function():
    flow = Squashed()
    program = compile_program(ENERGIES["mixed"].problem(), flow)
    rng = np.random.default_rng(0)
    theta, eta = rng.standard_normal((2, program.size))
    z = rng.standard_normal((70, 2))
    samples = program.samples(z)
    expected = squashed(theta + 1e-30j * eta, z, flow.steps).imag / 1e-30
    moved = program.jvp(theta, samples, eta)
    assert np.allclose(program.unpack(moved, samples), expected, rtol=1e-12, atol=1e-14)
    u = samples.pack(rng.standard_normal((70, 2))) * (samples.weights > 0)
    assert program.vjp(theta, samples, u) @ eta == pytest.approx(np.sum(u * moved), rel=1e-12)


NAMES = [("theta", "b"), ("A", "p"), ("x", "b"), ("A", "v3"), ("u", "log_density"), ("A", "A_")]
NAMES += [("lambda_", "i"), ("hidden_0", "score_0")]


@pytest.mark.parametrize("names", NAMES, ids="-".join)
def test_names_that_kernels_use_are_free(names):
    """Kernels call such parameters otherwise."""
    flow = Squashed(names=names)
    program = compile_program(ENERGIES["mixed"].problem(), flow, target="numpy")
    rng = np.random.default_rng(0)
    theta, z = rng.standard_normal(program.size), rng.standard_normal((9, 2))
    samples = program.samples(z)
    found = program.unpack(program.push(theta, samples).x, samples)
    np.testing.assert_allclose(found, squashed(theta, z, flow.steps), rtol=1e-12)
    assert len(set(Looped(flow).parameters)) == 2


def test_a_kernel_calls_a_parameter_otherwise_on_the_cpu():
    flow = Squashed(names=("theta", "x"))
    program = compile_program(ENERGIES["mixed"].problem(), flow)
    theta, z = np.linspace(-1, 1, program.size), np.array([[0.3, -0.7]])
    samples = program.samples(z)
    found = program.unpack(program.push(theta, samples).x, samples)
    np.testing.assert_allclose(found, squashed(theta, z, flow.steps), rtol=1e-12)


@pytest.mark.parametrize("name", ["a b", "1", "", 3, "\u03b1"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(MapError, match="parameter: got"):
        Looped(Squashed(names=(name, "b")))


def test_axes_without_a_length_are_refused():
    flow = Squashed()
    flow.parameters = lambda: {"A": "ij", "b": "k"}
    with pytest.raises(MapError, match=r"parameter b: got the axis 'k'; .*i, j.*axes\(\)"):
        compile_program(ENERGIES["mixed"].problem(), flow, target="numpy")


def test_a_parameter_has_an_axis_once():
    flow = Squashed()
    flow.parameters = lambda: {"A": "ii", "b": "i"}
    with pytest.raises(MapError, match="parameter A"):
        Looped(flow)


def test_a_trace_needs_a_field():
    flow = Squashed()
    flow.log_determinant, flow.substep = "trace", "euler"
    with pytest.raises(MapError, match="without a field"):
        StepFormulas(Looped(flow)).after(levels()[1])


@pytest.mark.parametrize("axis", ["kk", "", "1", 3, "\u03b1"])
def test_axes_have_letters(axis):
    flow = Squashed()
    flow.axes = lambda: {"i": 2, "j": 2, axis: 2}
    with pytest.raises(MapError, match="axes: got"):
        Looped(flow)


@pytest.mark.parametrize("length", [0, -1, 2.5, "3", None])
def test_axes_have_lengths(length):
    flow = Squashed()
    flow.axes = lambda: {"k": length}
    with pytest.raises(MapError, match="axes, k"):
        Looped(flow)


@pytest.mark.parametrize("axis", ["e", "o", "p", "n", "z", "K", "V"])
def test_axes_that_kernels_use_are_free(axis):
    flow = Squashed()
    flow.axes = lambda: {axis: 3}
    flow.parameters = lambda: {"A": f"{axis}j", "b": f"i{axis}"}
    flow.step = lambda op, p, x: x + op.apply(sp.tanh, p["b"] @ (p["A"] @ x))
    program = compile_program(ENERGIES["mixed"].problem(), flow)
    theta, z = np.linspace(-1, 1, program.size), np.array([[0.3, -0.7], [1.0, 0.2]])
    samples = program.samples(z)
    found = program.unpack(program.push(theta, samples).x, samples)
    for part in theta.reshape(flow.steps, -1):
        z = z + np.tanh(z @ part[:6].reshape(3, 2).T @ part[6:].reshape(2, 3).T)
    np.testing.assert_allclose(found, z, rtol=1e-12)


def test_a_kink_serves_energies_without_entropy():
    x = pw.coordinates(2)
    rho = pw.Density(x)
    flow = NeuralFlow(2, 6, activation=lambda a: sp.Max(a, 0))
    law = pw.Gaussian([0, 0], 1.0)
    potential = pw.GradientFlow(pw.integral(x[0] ** 2 * rho, x), rho, initial=law)
    exactly = {"shift": 0, "tolerance": 1e-8}
    solution = pw.solve(potential, flow, (0, 0.1), samples=256, dt=0.05, **exactly)
    z = law.sample(100, seed=0)
    assert np.allclose(solution.push(z)[:, 0], np.exp(-0.2) * z[:, 0], atol=1e-5)
    with pytest.raises(FormulaError, match="activation"):
        solution.program.push(solution.theta[-1], solution.program.samples(z), "score")
    entropy = pw.GradientFlow(pw.integral(rho * sp.log(rho), x), rho, initial=law)
    with pytest.raises(FormulaError, match="activation"):
        pw.compile(entropy, flow)


def test_arguments_of_maps():
    assert NeuralFlow(np.int64(2), 3).dim == 2
    with pytest.raises(MapError, match="activation"):
        NeuralFlow(2, 3, activation=np.tanh)
    shown = repr(NeuralFlow(2, 3, activation=lambda a: sp.tanh(a) ** 2, log_determinant="trace"))
    assert "tanh(a)**2" in shown and "trace" in shown
    assert repr(NeuralFlow(2, 3)) == "NeuralFlow(dim=2, width=3, steps=4, tanh)"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_works_on():
    """In a process of its own: forking this one would fork pytest's threads as well."""
    code = """
import os, signal, time
from pwgf_sym.targets import threads
threads.thread_count = lambda: 2
work = lambda chunk, first, last: time.sleep(0.02)
threads.run_chunks(work, [(k, k + 1) for k in range(8)])
child = os.fork()
if child == 0:
    signal.alarm(20)
    threads.run_chunks(work, [(k, k + 1) for k in range(8)])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    import subprocess

    assert threads.CHUNKS == 8
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
