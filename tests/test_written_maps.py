"""Maps that a user writes in index notation, on both targets, against NumPy and complex steps."""

import numpy as np
import pytest
import sympy as sp
from map_cases import entropy_problem
from on_targets import program_on

from pwgf_sym.declare.maps import Map
from pwgf_sym.schedule import cuda as schedule

a = sp.Symbol("a", real=True)


class Written(Map):
    """A step's formula for the compiler, and for NumPy."""

    def __init__(self, dim, shapes, step, formula, axes=None, steps=2):
        self.dim, self.steps = dim, steps
        self._shapes, self._step, self.formula, self._axes = shapes, step, formula, axes or {}

    def axes(self):
        return {"i": self.dim, "j": self.dim, **self._axes}

    def parameters(self):
        return self._shapes

    def step(self, op, p, x):
        return self._step(op, p, x)

    def to_dict(self):
        return {"map": "Written"}

    def reference(self, theta, z):
        sizes = [tuple(self.axes()[c] for c in letters) for letters in self._shapes.values()]
        ends = np.cumsum([int(np.prod(s)) for s in sizes])
        for part in theta.reshape(self.steps, -1):
            values = np.split(part, ends[:-1])
            z = self.formula(*(v.reshape(s) for v, s in zip(values, sizes, strict=True)), z)
        return z


def hidden(axis):
    """x + B tanh(A x) with the hidden axis called ``axis``."""
    inner, outer = f"{axis}i,i->{axis}", f"i{axis},{axis}->i"
    return Written(
        2,
        {"A": f"{axis}i", "B": f"i{axis}"},
        lambda op, p, x: (
            x + op.einsum(outer, p["B"], op.apply(sp.tanh(a), op.einsum(inner, p["A"], x)))
        ),
        lambda A, B, x: x + np.tanh(x @ A.T) @ B.T,
        {axis: 7},
    )


def transposed(dim):
    """Two polynomials of an outer product, one of them transposed, as one factor."""

    def step(op, p, x):
        outer = op.einsum("i,j->ij", x, op.einsum("ij,i->j", p["A"], x))
        first, second = op.apply(a**2 + 2 * a, outer), op.apply(a**3 - a, outer)
        return op.einsum(",i->i", op.einsum("ij,ji->", first, second), p["b"]) + x

    def formula(A, b, x):
        outer = x[:, :, None] * (x @ A)[:, None, :]
        first, second = outer**2 + 2 * outer, outer**3 - outer
        return np.einsum("nij,nji->n", first, second)[:, None] * b + x

    return Written(dim, {"A": "ij", "b": "i"}, step, formula)


def of_matrix(dim, step, formula):
    """b + a map of a matrix A and x."""
    return Written(
        dim,
        {"A": "ij", "b": "i"},
        lambda op, p, x: step(op, p["A"], x) + p["b"],
        lambda A, b, x: formula(A, x) + b,
    )


def diagonal(dim):
    return of_matrix(dim, lambda op, A, x: op.einsum("ii,i->i", A, x), lambda A, x: x * np.diag(A))


def diagonal_first(dim):
    def step(op, A, x):
        return op.einsum("i,i->i", op.einsum("ii->i", A), x)

    return of_matrix(dim, step, lambda A, x: x * np.diag(A))


def unused(dim):
    """A x + b with a matrix and a number that nothing reads, whose derivatives are zeros."""
    linear = of_matrix(dim, lambda op, A, x: op.einsum("ij,j->i", A, x), lambda A, x: x @ A.T)

    def formula(A, U, s, b, x):
        return linear.formula(A, b, x)

    return Written(dim, {"A": "ij", "U": "ij", "s": "", "b": "i"}, linear.step, formula)


def named(*names):
    """x + sin(a x) + a/3 for every parameter a, called as what kernels read or call."""

    def step(op, p, x):
        for name in names:
            x = x + op.apply(lambda b, c: sp.sin(b * c) + b / 3, p[name], x) / len(names)
        return x

    def formula(*values):
        *parameters, x = values
        for b in parameters:
            x = x + (np.sin(b * x) + b / 3) / len(names)
        return x

    return Written(2, dict.fromkeys(names, "i"), step, formula)


def trace(dim):
    def step(op, A, x):
        return op.einsum(",i->i", op.einsum("ii->", A), x)

    return of_matrix(dim, step, lambda A, x: x * np.trace(A))


def gates(dim, width, count=6):
    """b + B (tanh(A1 x) ... tanh(A6 x)): contractions that one loop multiplies."""
    names = [f"A{n}" for n in range(1, count + 1)]

    def step(op, p, x):
        inner = [op.einsum("kj,j->k", p[name], x) for name in names]
        found = [op.apply(sp.tanh(a), value) for value in inner]
        product = op.einsum(",".join("k" * count) + "->k", *found)
        return op.einsum("ik,k->i", p["B"], product) + p["b"]

    def formula(*values):
        *gates, B, b, x = values
        return np.prod([np.tanh(x @ A.T) for A in gates], axis=0) @ B.T + b

    shapes = dict.fromkeys(names, "kj") | {"B": "ik", "b": "i"}
    return Written(dim, shapes, step, formula, {"k": width}, steps=1)


def quadratic(dim, width):
    """Sums over two axes of weights, and a sum with a matrix of the sample's own."""

    def step(op, p, x):
        outer = op.einsum("i,j->ij", x, op.apply(sp.tanh(a), x))
        q = op.einsum("kij,ij->k", p["Q"], outer)
        mixed = op.einsum("ij,j->i", op.apply(a**2 + a, outer), x)
        return x + op.einsum("ik,k->i", p["B"], q) + mixed

    def formula(Q, B, x):
        outer = x[:, :, None] * np.tanh(x)[:, None, :]
        q = np.einsum("kij,nij->nk", Q, outer)
        return x + q @ B.T + np.einsum("nij,nj->ni", outer**2 + outer, x)

    return Written(dim, {"Q": "kij", "B": "ik"}, step, formula, {"k": width}, steps=1)


MAPS = {f"axis {axis}": lambda axis=axis: hidden(axis) for axis in "kmruwx"}
MAPS |= {"transposed 2": lambda: transposed(2), "transposed 3": lambda: transposed(3)}
MAPS |= {"diagonal 2": lambda: diagonal(2), "diagonal 7": lambda: diagonal(7)}
MAPS |= {"gates": lambda: gates(2, 3, 5), "quadratic": lambda: quadratic(2, 5)}
MAPS |= {"diagonal first": lambda: diagonal_first(7), "trace": lambda: trace(3)}
MAPS |= {"unused": lambda: unused(2)}
MAPS |= {"named": lambda: named("X", "count", "extent", "fma", "load", "place", "range", "x_out")}


def close(got, expected):
    got = np.asarray(got)
    scale = np.abs(expected).max() + 1e-3
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11 * scale)


@pytest.mark.filterwarnings("ignore:No step of")
@pytest.mark.parametrize("name", MAPS)
def test_values_and_derivatives(name, target, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "_RESULTS", 100)  # on a GPU rows come in several turns
    check_values_and_derivatives(MAPS[name](), target, tmp_path)


def check_values_and_derivatives(flow, target, folder):
    """A program's map and its derivatives are those of the reference, by complex steps."""
    problem = entropy_problem(flow.dim)
    program = program_on(target, problem, flow, folder)
    law = problem.initial
    spread = np.sqrt(np.trace(law.covariance) / law.dim)

    def reference(theta, z):
        return law.mean + spread * flow.reference(theta, (z - law.mean) / spread)

    rng = np.random.default_rng(0)
    theta, eta = 0.4 * rng.normal(size=(2, program.size))
    z, u = 0.7 * rng.normal(size=(2, 5, flow.dim))
    samples = program.samples(z)
    state = program.push(theta, samples, "log_density")
    close(program.unpack(state.x, samples), reference(theta, z))
    unit = 1e-30j * np.eye(flow.dim)
    by_z = np.stack([reference(theta, z + e).imag * 1e30 for e in unit], axis=-1)
    density = problem.initial.log_density(z) - np.linalg.slogdet(by_z)[1]
    close(program.unpack_scalar(state.log_density, samples), density)
    moved = reference(theta + 1e-30j * eta, z).imag * 1e30
    linearized = program.linearize(theta, samples)
    close(program.unpack(linearized.jvp(eta), samples), moved)
    field = samples.pack(u) * (np.asarray(samples.weights) > 0)
    unit = 1e-30j * np.eye(program.size)
    rows = np.array([reference(theta + e, z).imag * 1e30 for e in unit])
    close(linearized.vjp(field), np.einsum("pni,ni->p", rows, u))
    close(linearized.metric(eta), np.einsum("pni,ni->p", rows, moved) / len(z))
    found = np.array([program.unpack(row, samples) for row in linearized.jacobian()])
    close(found, rows)
