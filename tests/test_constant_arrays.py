"""Constant arrays in formulas of maps, on all targets, against NumPy and differences."""

from functools import partial

import numpy as np
import pytest
import sympy as sp
from map_cases import entropy_problem
from on_targets import program_on
from sample_energies import Energy
from test_kernel_matrix import check as check_kernel_matrix
from test_written_maps import Written, check_values_and_derivatives

from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Map
from pwgf_sym.errors import MapError
from pwgf_sym.targets.program import compile_program
from pwgf_sym.tensors import (
    Axis,
    Constant,
    add,
    apply,
    constant_array,
    einsum,
    input_tensor,
    placeholder,
    product,
)
from pwgf_sym.tensors.differentiate import jvp, replace, vjp
from pwgf_sym.tensors.evaluate import evaluate
from pwgf_sym.tensors.passes import simplify

a = sp.Symbol("a", real=True)
TANH = sp.tanh(a)


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def features(dim=2, width=7):
    """x + B tanh(W x + c) with fixed W."""
    W = numbers(width, dim)

    def step(op, p, x):
        inner = op.einsum("ki,i->k", op.constant(W, "ki"), x) + p["c"]
        return x + op.einsum("ik,k->i", p["B"], op.apply(TANH, inner))

    def formula(B, c, x):
        return x + np.tanh(x @ W.T + c) @ B.T

    return Written(dim, {"B": "ik", "c": "k"}, step, formula, {"k": width})


def outer_features(dim=3, width=5):
    """x + C tanh(W x + c): the fixed matrix is a factor of the Jacobian's rows."""
    C = numbers(dim, width)

    def step(op, p, x):
        inner = op.einsum("ki,i->k", p["W"], x) + p["c"]
        return x + op.einsum("ik,k->i", op.constant(C, "ik"), op.apply(TANH, inner))

    def formula(W, c, x):
        return x + np.tanh(x @ W.T + c) @ C.T

    return Written(dim, {"W": "ki", "c": "k"}, step, formula, {"k": width})


def coupling():
    """A mask keeps half of the coordinates, the other half moves: a layer of RealNVP."""
    keep = np.array([1, 0, 1])
    other = 1 - keep

    def step(op, p, x):
        seen = op.einsum("i,i->i", op.constant(keep, "i"), x)
        scale = op.apply(sp.exp(TANH), op.einsum("ij,j->i", p["S"], seen))
        shift = op.apply(TANH, op.einsum("ij,j->i", p["T"], seen) + p["b"])
        moved = op.einsum("i,i->i", scale, x) + shift
        return seen + op.einsum("i,i->i", op.constant(other, "i"), moved)

    def formula(S, T, b, x):
        seen = keep * x
        return seen + other * (x * np.exp(np.tanh(seen @ S.T)) + np.tanh(seen @ T.T + b))

    return Written(3, {"S": "ij", "T": "ij", "b": "i"}, step, formula)


def masked_weights():
    """A triangular matrix of weights: a product of a parameter and a constant array."""
    mask = np.tril(np.ones((3, 3)))

    def step(op, p, x):
        weights = op.einsum("ij,ij->ij", p["A"], op.constant(mask, "ij"))
        return x + op.apply(TANH, op.einsum("ij,j->i", weights, x) + p["b"])

    return Written(
        3, {"A": "ij", "b": "i"}, step, lambda A, b, x: x + np.tanh(x @ (A * mask).T + b)
    )


def permuted_and_moved():
    """A permutation matrix, and a constant array that is added."""
    P, shift = np.eye(3)[[2, 0, 1]], np.array([0.25, -1.5, 3.0])

    def step(op, p, x):
        turned = op.einsum("ij,j->i", op.constant(P, "ij"), x)
        bent = op.apply(TANH, op.einsum("ij,j->i", p["A"], turned) + op.constant(shift, "i"))
        return turned + bent + op.constant(shift, "i")

    def formula(A, x):
        return x @ P.T + np.tanh(x @ P.T @ A.T + shift) + shift

    return Written(3, {"A": "ij"}, step, formula)


def three_axes():
    """Constant arrays of 3, 2 and 1 axes, one of them zero, one used twice and transposed."""
    Q, E, zero = numbers(4, 2, 2), numbers(2, 2), np.zeros(2)

    def step(op, p, x):
        q = op.einsum("kij,i,j->k", op.constant(Q, "kij"), x, op.apply(TANH, x))
        e = op.constant(E, "ij")
        both = op.einsum("ij,ji,j->i", e, e, x)
        fixed = op.einsum("i,i->i", op.apply(sp.exp(a), op.constant(E[0], "i")), p["b"])
        rest = op.einsum("i,i->i", op.constant(zero, "i"), op.apply(sp.sin(a), x)) * 0.5
        return x + op.einsum("ik,k->i", p["B"], q) + 0.25 * both + rest + fixed

    def formula(B, b, x):
        q = np.einsum("kij,ni,nj->nk", Q, x, np.tanh(x))
        return x + q @ B.T + 0.25 * x @ (E * E.T).T + np.exp(E[0]) * b

    return Written(2, {"B": "ik", "b": "i"}, step, formula, {"k": 4}, steps=1)


def alone():
    """Parameters that constant arrays alone multiply, one of them a number."""
    c, R = numbers(2), numbers(2, 4)

    def step(op, p, x):
        moved = op.einsum(",i->i", p["s"], op.constant(c, "i"))
        number = op.constant(0.5, "")
        return 2 * x + moved + op.einsum(",ik,k->i", number, op.constant(R, "ik"), p["b"])

    def formula(s, b, x):
        return 2 * x + s * c + 0.5 * R @ b

    return Written(2, {"s": "", "b": "k"}, step, formula, {"k": 4})


def translation():
    """x + b + C c, whose Jacobian is the identity."""
    C = numbers(2, 4)

    def step(op, p, x):
        return x + p["b"] + op.einsum("ik,k->i", op.constant(C, "ik"), p["c"])

    return Written(2, {"b": "i", "c": "k"}, step, lambda b, c, x: x + b + C @ c, {"k": 4})


MAPS = {"features": features, "outer features": outer_features, "coupling": coupling}
MAPS |= {"masked weights": masked_weights, "permuted": permuted_and_moved}
MAPS |= {"three axes": three_axes, "alone": alone, "translation": translation}


@pytest.mark.parametrize("name", MAPS)
def test_values_and_derivatives(name, target, tmp_path):
    check_values_and_derivatives(MAPS[name](), target, tmp_path)


def case(flow, target, folder, dtype="float64", count=5):
    program = program_on(target, entropy_problem(flow.dim), flow, folder, dtype)
    rng = np.random.default_rng(1)
    theta, z = 0.4 * rng.normal(size=program.size), 0.7 * rng.normal(size=(count, flow.dim))
    return program, theta, z, program.samples(z)


def central(function, x, h=1e-3):
    """The derivative by every entry of the last axis, to the sixth order."""
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    columns = []
    for unit in np.eye(x.shape[-1]):
        moved = [w * (function(x + k * h * unit) - function(x - k * h * unit)) / h for k, w in
                 weights.items()]  # fmt: skip
        columns.append(sum(moved))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("name", ["coupling", "outer features", "permuted", "translation"])
def test_score_and_slope(name, target, tmp_path):
    """The score at T(z) is J^-T times the derivative of the density there by z."""
    flow = MAPS[name]()
    program, theta, z, samples = case(flow, target, tmp_path)
    law, spread = program.problem.initial, program.units.spread

    def moved(z):
        return law.mean + spread * flow.reference(theta, (z - law.mean) / spread)

    def jacobian(z):
        unit = 1e-30j * np.eye(flow.dim)
        return np.stack([moved(z + e).imag * 1e30 for e in unit], axis=-1)

    def density(z):
        return law.log_density(z) - np.linalg.slogdet(jacobian(z))[1]

    state = program.push(theta, samples, "score")
    pulled = np.einsum("nij,ni->nj", jacobian(z), program.unpack(state.score, samples))
    np.testing.assert_allclose(pulled, central(density, z), rtol=1e-8, atol=1e-8)

    def energy(theta):
        return program.energy(program.integrals(program.push(theta, samples, "log_density")))

    gradient = np.asarray(program.slope(theta, samples).gradient)
    direction = np.random.default_rng(2).normal(size=theta.size)
    found = central(lambda t: energy(theta + t[0] * direction), np.zeros(1))
    np.testing.assert_allclose(found, gradient @ direction, rtol=1e-7)


class Field(Map):
    """dx/dtau = v(x) = C x + B tanh(W x + c), with fixed C and W, and the trace of its Jacobian."""

    dim, steps, log_determinant, substep = 2, 2, "trace", "rk4"
    C, W = 0.3 * numbers(2, 2), numbers(4, 2)

    def axes(self):
        return {"i": 2, "j": 2, "k": 4}

    def parameters(self):
        return {"B": "ik", "c": "k"}

    def field(self, op, p, x):
        inner = op.einsum("ki,i->k", op.constant(self.W, "ki"), x) + p["c"]
        bent = op.einsum("ik,k->i", p["B"], op.apply(TANH, inner))
        return op.einsum("ij,j->i", op.constant(self.C, "ij"), x) + bent

    def step(self, op, p, x):
        field = lambda states: [self.field(op, p, states[0])]  # noqa: E731
        return op.integrate(field, [x], self.substep, self.steps)[0]

    def to_dict(self):
        return {"map": "Field"}


def test_traces(target, tmp_path):
    """x and the log density move by the field and by minus its divergence, in steps of rk4."""
    flow = Field()
    program, theta, z, samples = case(flow, target, tmp_path)
    law, spread = program.problem.initial, program.units.spread

    def rate(y, B, c):
        bend = np.tanh(y[:, :2] @ flow.W.T + c)
        loops = np.einsum("ik,nk,ki->n", B, 1 - bend**2, flow.W)
        return np.column_stack([y[:, :2] @ flow.C.T + bend @ B.T, -np.trace(flow.C) - loops])

    y = np.column_stack([(z - law.mean) / spread, law.log_density(z)])
    for part in theta.reshape(2, -1):
        B, c = part[:8].reshape(2, 4), part[8:]
        k1 = rate(y, B, c)
        k2 = rate(y + k1 / 4, B, c)
        k3 = rate(y + k2 / 4, B, c)
        y = y + (k1 + 2 * k2 + 2 * k3 + rate(y + k3 / 2, B, c)) / 12
    state = program.push(theta, samples, "log_density")
    x = law.mean + spread * y[:, :2]
    np.testing.assert_allclose(program.unpack(state.x, samples), x, rtol=1e-12, atol=1e-13)
    found = program.unpack_scalar(state.log_density, samples)
    np.testing.assert_allclose(found, y[:, 2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["outer features", "alone", "masked weights"])
def test_rows_as_products_of_factors(name, target, tmp_path):
    program, theta, z, _ = case(MAPS[name](), target, tmp_path)
    check_kernel_matrix(program, theta, z, 1e-13)


def test_back_again(target, tmp_path):
    """Newton's method inverts the map step by step."""
    for flow in (masked_weights(), translation()):
        program, theta, z, samples = case(flow, target, tmp_path)
        theta = 0.2 * theta
        x = program.unpack(program.push(theta, samples).x, samples)
        np.testing.assert_allclose(program.invert(theta, x)[0], z, rtol=1e-9, atol=1e-9)


class Nameless(Written):
    """A map whose text does not say which it is."""

    def __repr__(self):
        return "Nameless()"


def at_the_origin(dim, terms, target, folder, dtype="float64", shapes=None, axes=None):
    """A x + terms at x = 0 and A = 0, by the other parameters; the law has no units."""

    def step(op, p, x):
        return op.einsum("ij,j->i", p["A"], x) + terms(op, p)

    flow = Nameless(dim, {"A": "ij", **(shapes or {})}, step, None, axes, steps=1)
    law = Gaussian(mean=np.zeros(dim), cov=np.eye(dim))
    energy = Energy(dim, sum(c**2 for c in sp.symbols(f"x:{dim}", real=True)))
    compiled = target == "compiled"
    making = compile_program if compiled else partial(program_on, target)
    program = making(energy.problem(law), flow, folder=folder, dtype=dtype)
    samples = program.samples(np.zeros((1, dim)))

    def moved(*others):
        theta = np.concatenate([np.zeros(dim * dim), *others])
        return program.unpack(program.push(theta, samples).x, samples)[0]

    return program, moved


def test_single_precision(target, tmp_path):
    """Numbers are rounded once, and tiny ones are zero."""
    c = np.array([1 / 3, 1e-300])
    _, moved = at_the_origin(2, lambda op, p: op.constant(c, "i"), target, tmp_path, "float32")
    np.testing.assert_array_equal(moved(), np.array([np.float32(1 / 3), 0]))


def test_too_large_for_single_precision(tmp_path):
    with pytest.raises(MapError, match=r"constant: got 1e\+39; .*float32.*float64"):
        at_the_origin(1, lambda op, p: op.constant([1e39], "i"), "numpy", tmp_path, "float32")


def test_numbers_in_double_precision(target, tmp_path):
    """The least and the largest numbers come through to the last bit, row by row."""
    c = np.array([[1e-300, np.pi], [-1.7e308, 5e-324], [0.1, -0.0]])

    def terms(op, p):
        return op.einsum("ik,k->i", op.constant(c, "ik"), p["b"])

    _, moved = at_the_origin(3, terms, target, tmp_path, "float64", {"b": "k"}, {"k": 2})
    for b, column in zip(np.eye(2), c.T, strict=True):
        np.testing.assert_array_equal(moved(b), column)


def test_two_maps_of_one_text(tmp_path):
    """Modules whose texts agree have the numbers of their own maps."""
    found = []
    for last in (1.0, 2.0):
        c = np.array([0, 0, 0, 0, last])  # the comment shows four of them
        program, moved = at_the_origin(5, lambda op, p, c=c: op.constant(c, "i"), "cpu", tmp_path)
        found.append((program.path.name, moved()[4]))
    assert found[0][0] == found[1][0] and [x for _, x in found] == [1.0, 2.0]


def test_many_numbers_compiled(tmp_path):
    """Machine code; neither it nor its text grows with the numbers."""
    W = numbers(512, 8)

    def terms(op, p):
        inner = op.einsum("ki,i->k", op.constant(W, "ki"), p["b"])
        return op.einsum("ki,k->i", op.constant(W, "ki"), op.apply(TANH, inner))

    for target in ("numpy", "compiled"):
        how = {"b": "i"}, {"k": 512}
        program, moved = at_the_origin(8, terms, target, tmp_path, "float64", *how)
        b = np.linspace(-0.3, 0.4, 8)
        np.testing.assert_allclose(moved(b), np.tanh(W @ b) @ W, rtol=1e-12, atol=1e-12)
    assert len(program.path.read_text()) < 100_000


@pytest.mark.parametrize(
    "values, letters, message",
    [
        ([1.0, np.nan], "i", r"got nan at \[1\].*; accepted: finite numbers"),
        ([[1.0, 2.0], [np.inf, 0.0]], "ij", r"got inf at \[1, 0\].*; accepted: finite"),
        (np.inf, "", "got inf.*; accepted: finite"),
        ([1.0, 2.0, 3.0], "i", r"got shape \(3,\).*; accepted: shape \(2,\)"),
        ([[1.0, 2.0]], "i", r"got shape \(1, 2\).*; accepted: shape \(2,\)"),
        (1.0, "i", r"got shape \(\).*; accepted: shape \(2,\)"),
        (np.ones((2, 3)), "ki", r"got shape \(2, 3\).*; accepted: shape \(3, 2\)"),
        (np.ones((2, 2)), "ii", "got axes 'ii'.*; accepted: every axis once"),
        (
            [1.0, 2.0],
            "m",
            r"got the axis 'm'.*; accepted: the map's axes i, j, k\. Give its length",
        ),
        ([1.0, 1j], "i", "got dtype complex128.*; accepted: an array of real numbers"),
        (["1", "2"], "i", "got dtype <U1.*; accepted: an array of real numbers"),
        ([sp.pi, 1], "i", "got dtype object.*; accepted: an array of real numbers"),
        ([[1.0], [1.0, 2.0]], "ij", "accepted: an array of real numbers"),
    ],
)
def test_refusals(values, letters, message, tmp_path):
    def step(op, p, x):
        op.constant(values, letters)
        return x + p["b"]

    flow = Written(2, {"b": "i"}, step, None, {"k": 3})
    with pytest.raises(MapError, match=f"^constant: .*{message}"):
        compile_program(entropy_problem(2), flow, "numpy", folder=tmp_path)


# ---------------------------------------------------------------------------------- tensors alone


ROWS, COLUMNS = Axis("i", 3), Axis("k", 4)


def test_equal_arrays_are_one_tensor():
    c = numbers(3, 4)
    one = constant_array(c, (ROWS, COLUMNS))
    assert constant_array(c.tolist(), (ROWS, COLUMNS)) is one
    assert constant_array(np.asfortranarray(c), (ROWS, COLUMNS)) is one
    assert constant_array([0.0, -0.0, 1], (ROWS,)) is constant_array([-0.0, 0.0, 1], (ROWS,))
    others = [
        (c, (ROWS, Axis("m", 4))),
        (c.reshape(4, 3), (COLUMNS, ROWS)),
        (c + 1e-16, (ROWS, COLUMNS)),
    ]
    assert one not in [constant_array(*other) for other in others]
    c[0, 0] = 7.0  # the tensor has the numbers of before
    assert one.array[0, 0] != 7.0
    with pytest.raises(ValueError, match="read-only"):
        one.array[0, 0] = 7.0
    number = constant_array(0.1, ())
    assert isinstance(number, Constant) and float(number.value) == 0.1
    with pytest.raises(ValueError, match="shape"):
        constant_array(c, (COLUMNS, ROWS))


@pytest.mark.parametrize("seed", range(6))
def test_random_formulas(seed):
    """Derivatives, replaced parts and passes of einsums with constant arrays of random shapes."""
    rng = np.random.default_rng(seed)
    n, m, k = (Axis(name, int(rng.integers(1, 5))) for name in "imk")
    c, d, e = (constant_array(rng.normal(size=[a.size for a in axes]), axes)
               for axes in ((n, m), (m,), (k, n, m)))  # fmt: skip
    x, w = input_tensor("x", (n,), per_sample=True), input_tensor("w", (n, m))
    h = apply(sp.tanh(placeholder(0)), einsum("im,i->m", c, x) + d)
    y = add(
        einsum("kim,i,m->k", e, x, h),
        einsum("kim,im,m->k", e, w, d),
        einsum("kim,im->k", e, c) * 0.3,
        einsum(",k->k", einsum("im,im->", w, c), einsum("kim,m,i->k", e, d, x)),
    )

    def values(x, w):
        bent = np.tanh(x @ c.array + d.array)
        found = np.einsum("kim,ni,nm->nk", e.array, x, bent)
        found = found + np.einsum("kim,im,m->k", e.array, w, d.array)
        found = found + 0.3 * np.einsum("kim,im->k", e.array, c.array)
        return found + np.sum(w * c.array) * np.einsum("kim,m,ni->nk", e.array, d.array, x)

    at = {"x": rng.normal(size=(5, n.size)), "w": rng.normal(size=(n.size, m.size))}
    to = {name: rng.normal(size=value.shape) for name, value in at.items()}
    dx, dw = input_tensor("dx", (n,), True), input_tensor("dw", (n, m))
    u = input_tensor("u", (k,), True)
    (dy,) = jvp([y], {x: dx, w: dw})
    gx, gw = vjp({y: u}, [x, w])
    given = at | {"dx": to["x"], "dw": to["w"], "u": rng.normal(size=(5, k.size))}
    expected = values(at["x"] + 1e-30j * to["x"], at["w"] + 1e-30j * to["w"])
    for outputs in ([y, dy, gx, gw], simplify([y, dy, gx, gw])):
        found, moved, by_x, by_w = evaluate(outputs, given)
        np.testing.assert_allclose(found, expected.real, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(moved, expected.imag * 1e30, rtol=1e-11, atol=1e-11)
        pulled = np.sum(by_x * to["x"]) + np.sum(by_w * to["w"])
        np.testing.assert_allclose(pulled, np.sum(moved * given["u"]), rtol=1e-10, atol=1e-10)
    twice = constant_array(2 * d.array, d.axes)
    (again,) = evaluate(replace([product(1, [(d, d.axes)], d.axes) + d], {d: twice}), {})
    np.testing.assert_allclose(again, 4 * d.array)
