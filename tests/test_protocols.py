"""What the solver asks for is what the compiler's classes have, on every target, and stand-ins.

A type checker sees the stand-ins; of the compiler's classes it cannot see that a program takes back
samples and states of its own class only.
"""

import inspect

import numpy as np
import pytest
import sympy as sp
from fake_program import AffineProgram, quadratic_problem
from matrix_map import MatrixMap
from on_targets import program_on

import pwgf_sym as pw
from pwgf_sym.solver import protocols
from pwgf_sym.solver.vectors import space_of
from pwgf_sym.targets.table import TARGETS


def members(protocol):
    """Names of a protocol's attributes and methods."""
    return sorted(n for n in {*vars(protocol), *protocol.__annotations__} if n[0] != "_")


def missing(found, protocol):
    """What an object lacks of a protocol: attributes, or ways to call a method."""
    lacks = []
    for name in members(protocol):
        asked = vars(protocol).get(name)
        if name not in dir(found):  # which does not evaluate properties
            lacks.append(name)
        elif inspect.isfunction(asked):
            lacks += [f"{name}: {misfit}" for misfit in misfits(asked, getattr(found, name))]
    return lacks


def misfits(asked, given):
    """How a method cannot be called as a protocol's may be: by places, by names, at least."""
    own = inspect.signature(given)
    taken = [p for p in inspect.signature(asked).parameters.values() if p.name != "self"]
    needed = [p for p in taken if p.default is p.empty]
    for parameters, by_name in ((taken, ()), (taken, ("POSITIONAL_OR_KEYWORD",)), (needed, ())):
        named = [p.name for p in parameters if p.kind.name in ("KEYWORD_ONLY", *by_name)]
        places = [p.name for p in parameters if p.name not in named]
        try:
            bound = own.bind(*places, **{name: name for name in named}).arguments
        except TypeError as error:
            yield str(error)
            continue
        for p in parameters:
            if p.kind is p.POSITIONAL_OR_KEYWORD and bound.get(p.name) != p.name:
                yield f"{p.name} is not in its place"


def parts_of(program):
    """Objects of a program with the protocols that they are asked to follow."""
    points = program.problem.initial.sample(9, 0)
    theta = program.map.initial_parameters(program.problem.initial.whitened)
    samples = program.samples(points)
    state = program.push(theta, samples, ("log_density", "score"))
    linearized = program.linearize(theta, samples)
    yield program, protocols.Program
    yield program.form, protocols.Form
    yield program.form.integrals[0], protocols.Integral
    yield samples, protocols.Samples
    yield program.packed(points), protocols.Samples
    yield state, protocols.State
    yield linearized, protocols.Linearized
    yield linearized.state, protocols.State
    yield linearized.algebra, protocols.Algebra
    yield program.slope(theta, samples), protocols.Slope
    yield space_of(state.x), protocols.VectorSpace
    yield linearized.on_first(2), protocols.Linearized


def test_programs_are_what_the_solver_asks_for(target, tmp_path):
    x = pw.coordinates(2)
    rho = pw.Density(x)
    energy = pw.integral(x[0] ** 2 * rho + rho * sp.log(rho), x)
    problem = pw.GradientFlow(energy, rho, initial=pw.Gaussian([0.0, 0.0], 1.0))
    program = program_on(target, problem, pw.Affine(2), tmp_path)
    for found, protocol in parts_of(program):
        assert missing(found, protocol) == [], (type(found), protocol)
    assert program.local_jacobian.complete


def test_stand_ins_are_what_the_solver_asks_for():
    given = quadratic_problem(pw.Gaussian([0.0, 0.0], 1.0), np.eye(2), np.zeros(2), 0.5)
    program = AffineProgram(*given, np.eye(2), np.zeros(2))
    for found, protocol in parts_of(program):
        assert missing(found, protocol) == [], (type(found), protocol)
    linearized = MatrixMap(np.ones((6, 4)), 3)
    assert missing(linearized, protocols.Linearized) == []
    assert missing(linearized.samples, protocols.Samples) == []


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_what_the_solver_asks_for(name):
    assert missing(TARGETS[name], protocols.Target) == []


def test_what_does_not_follow_is_found():
    class Wrong:
        samples = theta = state = unit = algebra = None

        def jvp(self, eta, more): ...
        def vjp(self, values): ...
        def metric(self, *, eta): ...
        def jacobian(self): ...
        def on_first(self, count, step=1): ...
        def in_single(self): ...

    found = missing(Wrong(), protocols.Linearized)
    assert {text.partition(":")[0] for text in found} == {"jvp", "vjp", "metric", "kernel_matrix"}
