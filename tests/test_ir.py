"""The tensor IR: derivatives and passes on random graphs, against complex steps in NumPy."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pwgf_sym import tensors as ir
from pwgf_sym.declare.maps import NeuralFlow
from pwgf_sym.kernels.carried import levels
from pwgf_sym.kernels.formulas import StepFormulas
from pwgf_sym.kernels.kernels import map_kernels
from pwgf_sym.kernels.looped import Looped
from pwgf_sym.tensors import Add, Axis, Delta, Elementwise, Product, Zero, placeholder
from pwgf_sym.tensors.differentiate import jacobian, jvp, trace_of_jacobian, vjp
from pwgf_sym.tensors.evaluate import evaluate
from pwgf_sym.tensors.passes import PASSES, GatherCoefficients, ReadRenamed, simplify

COUNT = 5
STEP = 1e-30
SIZE = {"i": 3, "j": 3, "k": 4, "m": 2}
A = placeholder(0)
FORMULAS = [sp.tanh(A), sp.sin(A) * A, 1 / (2 + A**2), sp.exp(-(A**2)), A / (1 + sp.exp(-A))]
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def axis(name):
    return Axis(name, SIZE[name[0]])


INPUTS = {
    "x": ir.input_tensor("x", [axis("i")], per_sample=True),
    "h": ir.input_tensor("h", [axis("k")], per_sample=True),
    "g": ir.input_tensor("g", [axis("i"), axis("j")], per_sample=True),
    "r": ir.input_tensor("r", [], per_sample=True),
    "A": ir.input_tensor("A", [axis("i"), axis("j")]),
    "W": ir.input_tensor("W", [axis("k"), axis("j")]),
    "U": ir.input_tensor("U", [axis("i"), axis("k")]),
    "b": ir.input_tensor("b", [axis("i")]),
    "c": ir.input_tensor("c", [axis("k")]),
    "s": ir.input_tensor("s", []),
}
DELTA = ir.Delta(axis("i"), axis("j"))


def shape(tensor):
    return ([COUNT] if tensor.per_sample else []) + [a.size for a in tensor.axes]


def random_values(seed, inputs=INPUTS):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, shape(t)) for name, t in inputs.items()}


@st.composite
def graphs(draw):
    """A tensor made of random einsums, sums, scalar functions and scalings of the inputs."""
    pool = [*INPUTS.values(), DELTA]
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(
            st.sampled_from(["einsum", "einsum", "einsum", "apply", "apply2", "add", "scale"])
        )
        first = draw(st.sampled_from(pool))
        if kind == "apply":
            pool.append(ir.apply(draw(st.sampled_from(FORMULAS)), first))
        elif kind == "apply2":
            second = draw(st.sampled_from([t for t in pool if set(t.axes) <= set(first.axes)]))
            formula = sp.sin(placeholder(0) * placeholder(1)) + placeholder(1) ** 2
            pool.append(ir.apply(formula, first, second))
        elif kind == "scale":
            pool.append(ir.scale(draw(st.sampled_from([2, -1, sp.Rational(1, 3)])), first))
        elif kind == "add":
            same = [t for t in pool if t.axes == first.axes]
            pool.append(ir.add(first, draw(st.sampled_from(same))))
        else:
            pool.append(draw(einsums(first, draw(st.sampled_from(pool)))))
    return pool[-1]


@st.composite
def einsums(draw, first, second):
    """Product of two tensors under random labels: shared, repeated (a diagonal) or broadcast."""
    names = {"i": ["i", "j", "i_"], "j": ["i", "j", "i_"], "k": ["k", "k_"], "m": ["m"]}
    labels = [
        tuple(axis(draw(st.sampled_from(names[a.name[0]]))) for a in t.axes)
        for t in (first, second)
    ]
    found = sorted({a for ls in labels for a in ls}, key=str)
    kept = draw(st.lists(st.sampled_from(found), unique=True, max_size=3)) if found else []
    if draw(st.booleans()) and axis("m") not in kept and len(kept) < 3:
        kept.append(axis("m"))  # a broadcast
    return ir.product(
        draw(st.sampled_from([1, 3])), zip((first, second), labels, strict=True), kept
    )


def full(value, tensor):
    """Values of a graph whose only per-sample part is a broadcast still have all samples."""
    return np.broadcast_to(value, shape(tensor))


def check_forward(graph, seed):
    """Forward mode is the complex step."""
    values, directions = random_values(seed), random_values(seed + 100)
    named = {t: ir.input_tensor("d" + n, t.axes, t.per_sample) for n, t in INPUTS.items()}
    (tangent,) = jvp([graph], named)
    moved = {n: v + 1j * STEP * directions[n] for n, v in values.items()}
    expected = np.imag(evaluate([graph], moved)[0]) / STEP
    assert tangent.axes == graph.axes
    assert not isinstance(tangent, Zero) or not expected.any()
    values |= {"d" + n: v for n, v in directions.items()}
    for form in ([tangent], simplify([tangent])):
        got = full(evaluate(form, values)[0], graph)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def check_reverse(graph, seed):
    """<u, J eta> = <J^T u, eta> for every input, with and without the simplifying passes."""
    values, rng = random_values(seed), np.random.default_rng(seed + 1)
    u = ir.input_tensor("u", graph.axes, graph.per_sample)
    values["u"] = rng.normal(size=shape(graph))
    cotangents = vjp({graph: u}, INPUTS.values())
    for (name, tensor), cotangent in zip(INPUTS.items(), cotangents, strict=True):
        eta = rng.normal(size=shape(tensor))
        moved = {**values, name: values[name] + 1j * STEP * eta}
        slope = full(np.imag(evaluate([graph], moved)[0]) / STEP, graph)
        expected = np.sum(values["u"] * slope)
        assert cotangent.axes == tensor.axes
        for form in ([cotangent], simplify([cotangent])):
            got = np.broadcast_to(evaluate(form, values)[0], shape(tensor))
            scale = np.sum(np.abs(values["u"] * slope)) + np.sum(np.abs(got * eta))
            assert abs(np.sum(got * eta) - expected) <= 1e-12 * scale


def check_passes(graph, seed):
    """Every pass keeps the values."""
    values = random_values(seed)
    expected = evaluate([graph], values)[0]
    scale = np.abs(expected).max() + 1e-9
    for rewrite in (*(step.run for step in PASSES), simplify):
        (rewritten,) = rewrite([graph])
        assert (rewritten.axes, rewritten.per_sample) == (graph.axes, graph.per_sample)
        got = evaluate([rewritten], values)[0]
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11 * scale)


def check_second(graph, seed):
    """Reverse mode of reverse mode: the Hessian of a scalar of x, against complex steps."""
    values, rng = random_values(seed), np.random.default_rng(seed + 1)
    x = INPUTS["x"]
    total = ir.product(1, [(graph, graph.axes), (INPUTS["r"], ())], ())  # per sample
    (slope,) = vjp({total: ir.constant(1)}, [x])
    values["u"] = rng.normal(size=shape(x))
    (second,) = vjp({slope: ir.input_tensor("u", x.axes, True)}, [x])
    eta = rng.normal(size=shape(x))
    moved = {**values, "x": values["x"] + 1j * STEP * eta}
    change = np.imag(evaluate([slope], moved)[0]) / STEP
    expected = np.sum(values["u"] * change, axis=1)
    (second,) = simplify([second])
    got = np.sum(full(evaluate([second], values)[0], x) * eta, axis=1)
    scale = np.sum(np.abs(values["u"] * change)) + 1e-9
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11 * scale)


CHECKS = [check_forward, check_reverse, check_passes, check_second]


@pytest.mark.parametrize("check", CHECKS)
def test_random_graphs(check):
    quick(given(graphs(), st.integers(0, 99))(check))()


def _traps():
    """Graphs that an earlier version got wrong."""
    i, i_, m = axis("i"), axis("i_"), axis("m")
    x, g, r, s, c = (INPUTS[n] for n in "xgrsc")
    square = ir.product(1, [(x, (i,)), (x, (i,))], ())
    copies = ir.product(1, [(square, ())], (m,))
    return {
        "a diagonal beside its fresh name": ir.product(1, [(x, (i_,)), (g, (i, i))], ()),
        "a sum over a broadcast": ir.product(1, [(copies, (m,)), (r, ())], ()),
        "two broadcasts": ir.product(2, [(copies, (m,)), (copies, (m,)), (s, ())], ()),
        "three factors and a broadcast": ir.product(
            1, [(x, (i,)), (x, (i,)), (c, (axis("k"),))], (m,)
        ),
        "axes of a function's second operand first": ir.apply(
            sp.sin(placeholder(0) * placeholder(1)) + placeholder(1) ** 2,
            ir.product(1, [(copies, (m,)), (x, (i,)), (r, ())], (m, i)),
            x,
        ),
        "a function under an axis that its operand has not": ir.product(
            1,
            [(ir.apply(sp.sin(A), square, axes=(axis("m"),)), (axis("m"),))],
            (),
        ),
        "trace of a delta": ir.product(1, [(DELTA, (i, i)), (square, ())], ()),
        "diagonal of a delta": ir.product(3, [(DELTA, (i, i)), (x, (i,))], (i,)),
        "sum of a delta": ir.product(1, [(DELTA, DELTA.axes), (r, ())], ()),
        "three diagonals": ir.product(1, [(g, (i, i)), (g, (i, i)), (x, (i,))], (i,)),
    }


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", _traps())
def test_traps(name, check):
    check(_traps()[name], 5)


def test_inverse_and_log_determinant():
    matrix, values = INPUTS["g"], random_values(3)
    values["g"] = values["g"] + 2 * np.eye(3)
    outputs = [ir.Inverse(matrix), ir.LogDet(matrix)]
    tangents = jvp(outputs, {matrix: ir.input_tensor("dg", matrix.axes, True)})
    u = ir.input_tensor("u", matrix.axes[::-1], True)
    r = INPUTS["r"]
    (pulled,) = vjp({outputs[0]: u, outputs[1]: r}, [matrix])
    rng = np.random.default_rng(0)
    values["dg"], values["u"] = rng.normal(size=(COUNT, 3, 3)), rng.normal(size=(COUNT, 3, 3))
    moved = {**values, "g": values["g"] + 1j * STEP * values["dg"]}
    expected = [np.imag(v) / STEP for v in evaluate(outputs, moved)]
    for got, truth in zip(evaluate(tangents, values), expected, strict=True):
        np.testing.assert_allclose(got, truth, rtol=1e-12, atol=1e-13)
    (got,) = evaluate([pulled], values)
    both = np.einsum("nij,nij->n", values["u"], expected[0]) + values["r"] * expected[1]
    np.testing.assert_allclose(np.einsum("nij,nij->n", got, values["dg"]), both, rtol=1e-12)


def test_a_singular_matrix_spoils_its_own_sample_only():
    matrix, values = INPUTS["g"], random_values(3)
    values["g"] = values["g"] + 2 * np.eye(3)
    (expected,) = evaluate([ir.Inverse(matrix)], values)
    values["g"][2] = np.ones((3, 3))
    with np.errstate(divide="ignore"):
        found, volume = evaluate([ir.Inverse(matrix), ir.LogDet(matrix)], values)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found[others], expected[others])
    assert not np.isfinite(found[2]).any() and not np.isfinite(volume[2])


def test_repeated_axes_are_diagonals_and_deltas_disappear():
    matrix = INPUTS["A"]
    i = axis("i")
    diagonal = ir.einsum("ii->i", matrix)
    unit = ir.Delta(axis("j"), Axis("e", 3))
    renamed = ir.product(1, [(matrix, matrix.axes), (unit, unit.axes)], [i, Axis("e", 3)])
    values = random_values(0)
    got = evaluate([diagonal, renamed], values)
    np.testing.assert_array_equal(got[0], np.diag(values["A"]))
    np.testing.assert_array_equal(got[1], values["A"])
    assert not any(isinstance(t, Delta) for t in ir.topological([renamed]))
    trace = ir.product(2, [(DELTA, (i, i)), (INPUTS["s"], ())], ())
    assert evaluate([trace], values)[0] == 6 * values["s"]
    copies = ir.product(1, [(INPUTS["b"], (i,))], (i, axis("m")))
    total = ir.product(1, [(copies, (i, axis("m")))], ())
    for form in ([total], simplify([total])):
        np.testing.assert_allclose(evaluate(form, values)[0], 2 * values["b"].sum())
    (pulled,) = vjp({diagonal: INPUTS["b"]}, [matrix])
    np.testing.assert_array_equal(evaluate([pulled], values)[0], np.diag(values["b"]))


def test_equal_tensors_are_one_object():
    first = ir.einsum("kj,j->k", INPUTS["W"], INPUTS["x"])
    assert ir.einsum("kj,j->k", INPUTS["W"], INPUTS["x"]) is first
    assert ir.scale(1, first) is first and ir.add(first) is first
    with pytest.raises(ValueError, match="different axes"):
        ir.add(INPUTS["b"], INPUTS["c"])
    with pytest.raises(ValueError, match="lengths"):
        ir.einsum("ii->i", INPUTS["U"])
    named = Product(axes=first.axes, sum_samples=False, labels=first.labels, **_of_two(first))
    assert named is first and Zero(first.axes) is Zero(first.axes)
    for name in ("axes", "coefficient", "per_sample", "new"):
        with pytest.raises(AttributeError):
            setattr(first, name, ())


def _of_two(tensor):
    return {"coefficient": tensor.coefficient, "operands": tensor.operands}


def test_what_does_not_depend_has_zero_derivatives():
    """With the axes that others have; sums and products absorb them."""
    x, b, g, e = INPUTS["x"], INPUTS["b"], INPUTS["g"], Axis("e", 2)
    seed = ir.input_tensor("seed", (e, *b.axes), True)
    moving, still = vjp({x + b: seed}, [x, g], (e,))
    assert moving is seed and still is Zero((e, *g.axes))
    assert jvp([x, INPUTS["r"]], {b: b}, ()) == [Zero(x.axes), Zero(())]
    assert ir.add(still, still) is still and x + Zero(x.axes) is x and x - Zero(x.axes) is x
    assert ir.product(3, [(x, x.axes), (Zero((e,)), (e,))], (e,)) is Zero((e,))
    with pytest.raises(ValueError, match="different axes"):
        ir.add(x, Zero((e,)))


def test_what_samples_share_is_computed_once_under_any_names():
    """Products of parameters that differ in the names of their axes; sums keep theirs."""
    i, j, k, other = axis("i"), axis("j"), axis("k"), Axis("i_", SIZE["i"])
    u, w = INPUTS["U"], INPUTS["W"]

    def shared(name):
        return ir.product(1, [(u, (name, k)), (w, (k, j))], (name, k, j))

    readers = [
        ir.product(1, [(shared(a), (a, k, j)), (INPUTS["h"], (k,))], (j, a)) for a in (i, other)
    ]
    assert readers[0].operands[0] is readers[1].operands[0]
    values = random_values(4)
    expected = np.einsum("ik,kj,nk->nji", values["U"], values["W"], values["h"])
    for reader in readers:
        np.testing.assert_allclose(evaluate([reader], values)[0], expected, atol=1e-14)
    summed = ir.product(1, [(INPUTS["x"], (i,)), (INPUTS["x"], (other,))], (i, other), True)
    reader = ir.product(2, [(summed, (i, other)), (INPUTS["b"], (i,))], (other,))
    assert reader.operands[0] is summed


def test_numbers_are_gathered():
    """Common ones before a sum, others where a product is read; outputs keep their own."""
    x, h, r, c = (INPUTS[name] for name in "xhrc")
    a, b = 3 * ir.einsum(",k->k", r, h), -3 * ir.einsum("jk,j->k", INPUTS["U"], x)
    mixed, negative = ir.add(h, a, b), ir.add(-a, b)
    product = 2 * ir.einsum(",k->k", r, h)
    reader = ir.einsum("k,k->", product, c)
    before = [mixed, negative, product, ir.apply(A, reader)]
    after = GatherCoefficients().run(before)
    (_, gathered) = after[0].operands
    assert gathered.coefficient == 3 and isinstance(gathered.operands[0], Add)
    assert after[1].coefficient == -3 and isinstance(after[1].operands[0], Add)
    assert after[2].coefficient == 2
    # An output is not computed again for a sum that it is in.
    pushed = ir.einsum("jk,j->k", INPUTS["U"], x)
    output = ir.product(3, [(r, ()), (h, h.axes)], h.axes)
    shared = GatherCoefficients().run([output, ir.add(output, 3 * pushed)])
    assert shared[1].operands[0] is shared[0]
    # Of SymPy's floating-point numbers nothing is left either.
    (halves,) = GatherCoefficients().run([ir.add(h, sp.Float(0.5) * h, sp.Float(0.5) * pushed)])
    assert halves.operands[1].operands[0].operands == (h, pushed)
    values = random_values(3)
    for old, new in zip(evaluate(before, values), evaluate(after, values)):
        np.testing.assert_allclose(new, old, rtol=1e-14)


def test_parameters_are_read_under_other_names():
    i, e = axis("i"), Axis("e", SIZE["j"])
    matrix, square = INPUTS["A"], INPUTS["A"].axes
    renamed = ir.product(1, [(matrix, (i, e))], (i, e))
    transposed = ir.product(1, [(matrix, (e, i))], (i, e))
    halved = ir.product(sp.Rational(1, 2), [(matrix, (i, e))], (i, e))
    diagonal = ir.product(1, [(matrix, (i, i))], (i,))
    before = [renamed, transposed, halved, diagonal, ir.product(1, [(INPUTS["x"], (i,))], (), True)]
    after = ReadRenamed().run(before)
    assert after[0] == ir.input_tensor("A", (i, e)) and square != (i, e)
    assert after[1:] == before[1:]
    values = random_values(1)
    for a, b in zip(evaluate(before, values), evaluate(after, values), strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------- steps of the map
@st.composite
def activations(draw):
    """A random smooth formula in one symbol."""
    a = sp.Symbol("a", real=True)
    parts = [sp.tanh(a), sp.sin(a), a / (1 + sp.exp(-a)), sp.erf(a), sp.exp(-(a**2)), sp.atan(a)]
    parts += [sp.sqrt(1 + a**2), sp.log(1 + a**2), a**3 / (1 + a**2), sp.cosh(a) / sp.exp(a**2)]
    first, second = draw(st.sampled_from(parts)), draw(st.sampled_from(parts))
    how = draw(st.sampled_from(["sum", "product", "inside", "alone"]))
    combined = {
        "sum": first + second / 3,
        "product": first * second,
        "inside": first.xreplace({a: second}),
        "alone": first,
    }[how]
    return combined if combined.free_symbols else sp.tanh(a)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    activations(),
    st.sampled_from(["euler", "rk4"]),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(0, 99),
)
def test_divergence_of_random_fields(activation, substep, dim, width, seed):
    """trace_of_jacobian is the trace of the complex-step Jacobian, and holds no (i, e) matrix."""
    flow = NeuralFlow(
        dim, width, 1, lambda a: activation.xreplace({_symbol(activation): a}), substep
    )
    formulas = StepFormulas(Looped(flow))
    field = flow.field(_Operations, formulas.parameters, formulas.x)
    (divergence,) = simplify([trace_of_jacobian(field, formulas.x)])
    per_sample = [t for t in ir.topological([divergence]) if t.per_sample]
    assert max(len(t.axes) for t in per_sample) <= 1
    inputs = {"x": formulas.x, **formulas.parameters}
    values = random_values(seed, inputs)
    columns = []
    for k in range(dim):
        moved = {**values, "x": values["x"] + 1j * STEP * np.eye(dim)[k]}
        columns.append(np.imag(evaluate([field], moved)[0])[:, k] / STEP)
    (got,) = evaluate([divergence], values)
    expected = np.sum(columns, axis=0)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11 * np.abs(columns).max())


def _symbol(formula):
    (symbol,) = formula.free_symbols
    return symbol


class _Operations:
    einsum = staticmethod(ir.einsum)

    @staticmethod
    def apply(expression, tensor):
        return ir.apply(expression.xreplace({_symbol(expression): placeholder(0)}), tensor)


@pytest.mark.parametrize("substep", ["euler", "rk4"])
def test_jacobian_of_a_step(substep):
    flow = NeuralFlow(3, 5, 2, sp.tanh, substep)
    formulas = StepFormulas(Looped(flow))
    (after,) = formulas.after(levels()[0])
    matrix = jacobian(after, formulas.x)
    values = random_values(0, {"x": formulas.x, **formulas.parameters})
    (got,) = evaluate(simplify([matrix]), values)
    for k in range(3):
        moved = {**values, "x": values["x"] + 1j * STEP * np.eye(3)[k]}
        expected = np.imag(evaluate([after], moved)[0]) / STEP
        np.testing.assert_allclose(got[:, :, k], expected, rtol=1e-13, atol=1e-14)


def test_a_polynomial_that_is_repeated_divides_none_of_fewer_axes():
    a, (i, k) = placeholder(0), (Axis("i", 2), Axis("k", 3))
    x = ir.input_tensor("x", (i,), per_sample=True)
    low = ir.apply(1 - a**2, x, axes=(i, k))
    high = ir.apply(sp.expand(-2 * a * (1 - a**2)), x)
    (shared,) = simplify([ir.einsum("ik,i->i", low, high)])
    values = np.array([[0.3, -0.5], [1.5, 0.25]])
    expected = -2 * values * (1 - values**2) * 3 * (1 - values**2)
    np.testing.assert_allclose(evaluate([shared], {"x": values})[0], expected, rtol=1e-13)


def test_functions_are_computed_once():
    """The backward sweep reads tanh(a) back; tanh' and tanh'' are written in tanh."""
    kernels = map_kernels(Looped(NeuralFlow(3, 5, 2)))
    for kernel in kernels.values():
        tensors = [t for s in kernel.sweeps for t in ir.topological(s.outputs())]
        found = [t for t in tensors if isinstance(t, Elementwise) and t.expression.has(sp.tanh)]
        assert len(found) <= 1, (kernel.name, found)


@pytest.mark.parametrize("name", ["vjp", "metric"])
def test_the_time_step_is_multiplied_once_a_cotangent(name):
    """Sums over the samples carry it to the end, where there are no samples."""
    sweep = map_kernels(Looped(NeuralFlow(3, 5, 4)))[name].sweeps[-1]
    tensors = [t for t in ir.topological(sweep.outputs()) if t.per_sample]
    quarter = sp.Rational(1, 4)
    found = [t for t in tensors if isinstance(t, Product) and abs(t.coefficient) != 1]
    assert [t.coefficient for t in found] == [quarter]
    assert not any(isinstance(t, Elementwise) and t.expression.has(quarter) for t in tensors)
