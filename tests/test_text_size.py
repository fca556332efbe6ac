"""Texts grow with the number of operations, not with what they would be written out."""

import time

import mpmath
import numpy as np
import pytest
import sympy as sp
import tile_numpy

from pwgf_sym.declare.energies import integral
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.declare.problem import GradientFlow
from pwgf_sym.declare.symbols import Density, coordinates
from pwgf_sym.derive.calculus import Gradient
from pwgf_sym.emit.cuda import cuda_target
from pwgf_sym.emit.module import cpu_target, emit_module
from pwgf_sym.kernels.energies import FormulaKernel
from pwgf_sym.loops.cpu.formulas import TileFormulaBuilder
from pwgf_sym.loops.nodes import Name
from pwgf_sym.loops.scalars import assignments
from pwgf_sym.printers.cpu import CpuPrinter
from pwgf_sym.printers.cuda import CudaPrinter
from pwgf_sym.schedule.cpu import CpuTiling, Machine
from pwgf_sym.sharing import parts
from pwgf_sym.targets.program import compile_program

x = coordinates(1)
TARGETS = {"cpu": cpu_target("float64", Machine(256)), "cuda": cuda_target("float32")}
FIFTH, THIRD = sp.Rational(1, 5), sp.Rational(1, 3)


# Formulas of so many steps, written with the functions of SymPy or of mpmath.
def cubes(u, n, m=sp):
    for k in range(n):
        u = u**3 / 7 + u / (k + 3)
    return u


def mixed_powers(u, n, m=sp):
    for k in range(n):
        u = (u + 1) ** (k % 3 + 2) / 4 ** (k % 3 + 1) - u / 5
    return u


def gaussians(u, n, m=sp):
    for k in range(n):
        u = m.exp(-(u**2) / 3) + u / (k + 2)
    return u


def products(u, n, m=sp):
    value = u
    for k in range(n):
        value = value * (u + k) / (k + 2) + 1
    return value


def twice(u, n, m=sp):
    """Every value is read by the next two: written out, the text doubles every other step."""
    a, b = u, m.sin(u)
    for _ in range(n):
        a, b = b, m.cos(a) * b / 2 + a / 3
    return b


FAMILIES = {
    "cubes": (cubes, 4),
    "mixed powers": (mixed_powers, 4),
    "gaussians": (gaussians, 3),
    "products": (products, 6),
    "twice": (twice, 4),
}


def emitted(potential, kind: str) -> str:
    rho = Density(x)
    energy = integral(potential * rho, x)
    return emit_module(energy, rho, Affine(1), TARGETS[kind]).text


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_text_grows_with_the_operations(family, kind):
    """Three times as many steps: at most 60 characters for every new operation of V and V'."""
    formula, n = FAMILIES[family]
    sizes, operations = [], []
    for k in (1, 3):
        value = formula(x[0], k * n)
        text = emitted(value, kind)
        assert max(map(len, text.splitlines())) < 900
        sizes.append(len(text))
        operations.append(sum(1 for _ in parts(value, *Gradient(x)(value))))
    assert sizes[1] - sizes[0] < 60 * (operations[1] - operations[0])


def run(formulas, points):
    """Formulas in x0 at points, by the text of the CPU in NumPy."""
    kernel = FormulaKernel("nested", "a formula", {"x": x}, (), (), {"out": tuple(formulas)})
    printer, tiling = CpuPrinter(), CpuTiling.for_machine(Machine(256), "float64")
    body = printer.module(TileFormulaBuilder(kernel, tiling, printer).statements())
    names = {name: getattr(tile_numpy, name) for name in dir(tile_numpy)} | {"OPTIONS": {}}
    exec(body, names)
    out = np.empty(len(formulas) * tiling.samples)
    names["nested"](np.resize(points, tiling.samples), np.zeros(1), out, 0, 1)
    return out.reshape(len(formulas), -1)[:, : len(points)]


@pytest.mark.parametrize("family", FAMILIES)
def test_named_parts_have_the_right_values(family):
    formula, n = FAMILIES[family]
    value = formula(x[0], 2 * n)
    points = [-0.9, -0.2, 0.1, 0.55, 0.8]
    found = run([value, *Gradient(x)(value)], points)
    with mpmath.workdps(60):
        for k, point in enumerate(points):

            def truth(u):
                return formula(u, 2 * n, mpmath)

            u = mpmath.mpf(point)
            for got, exact in ((found[0, k], truth(u)), (found[1, k], mpmath.diff(truth, u))):
                assert abs(got - exact) <= 1e-13 * max(1, abs(exact)), (point, got)


def written(formula, printer=None):
    """A formula's shared parts by name, and its text, for the CPU if nothing else is given."""
    printer = printer or CpuPrinter()
    lines, (value,) = assignments([formula], {x[0]: Name("x0")}, "t", printer)
    return [(line.name, printer.text(line.value)) for line in lines], printer.text(value)


@pytest.mark.parametrize("exponent", [5, 8, 11, 31, 64, 65, 100, 1000, -7, -100])
@pytest.mark.parametrize("base", [x[0], x[0] / 3 + 1, sp.sin(x[0]) + FIFTH], ids=str)
def test_whole_powers_are_short(base, exponent):
    lines, text = written(base**exponent)
    assert sum(map(len, [text, *(line for _, line in lines)])) < 200
    points = [1.01, 0.7, -0.4]
    (found,) = run([base**exponent], points)
    with mpmath.workdps(60):
        for point, got in zip(points, found, strict=True):
            at = sp.lambdify(x[0], base, "mpmath")(mpmath.mpf(point))
            exact, loss = at**exponent, 4e-16 * (8 + 4 * abs(exponent))
            assert abs(got - exact) <= loss * abs(exact) + 1e-300, (point, got)


def test_a_sum_to_the_64th():
    """Six coordinates: nothing is multiplied out on the way, for which there is no time."""
    u = coordinates(6)
    rho = Density(u)
    for potential in (
        (sum(u) / 9) ** 64,
        (sum(c**2 for c in u) + 1) ** 20,
        sp.Mul(*(sum((k + j) * c for j, c in enumerate(u)) for k in range(1, 13))),
    ):
        start = time.process_time()
        for target in TARGETS.values():
            text = emit_module(integral(potential * rho, u), rho, Affine(6), target).text
            assert max(map(len, text.splitlines())) < 2000 and len(text) < 150_000
        assert time.process_time() - start < 20


def test_a_nested_activation():
    """Its derivatives, up to the third, share their parts; comments stay short, too."""
    rho, sizes = Density(x), []
    energy = integral(x[0] ** 2 * rho + rho * sp.log(rho), x)
    for n in (2, 4, 6):
        flow = NeuralFlow(1, 4, steps=2, activation=lambda u, n=n: cubes(u, n))
        for target in TARGETS.values():
            text = emit_module(energy, rho, flow, target).text
            assert max(map(len, text.splitlines())) < 1000
        sizes.append(len(text))
    assert sizes[2] - sizes[1] < 1.5 * (sizes[1] - sizes[0]) + 1000


def test_names_only_where_they_are_needed():
    """Short formulas are printed as they are written."""
    for formula, text in (
        ((x[0] + 2) ** 2 / 3, "(0.3333333333333333)*((x0 + 2.0)*(x0 + 2.0))"),
        (sp.exp(-x[0]) * x[0] ** 3, "(x0*x0*x0)*exp(-x0)"),
    ):
        assert written(formula) == ([], text)
    lines, text = written(sp.tanh(x[0]) ** 2)
    assert lines == [("t0", "tanh(x0)")] and text == "(t0*t0)"


@pytest.mark.parametrize(
    "formula", [sp.Max(x[0], x[0] ** 2, 1, -x[0], x[0] / 3), sp.Heaviside(x[0])]
)
def test_extrema_of_many_do_not_multiply(formula):
    lines, text = written(formula, CudaPrinter("float32", 128))
    assert sum(map(len, [text, *(line for _, line in lines)])) < 500


def lines(potential, u):
    """Lines of what the flow of int V rho + rho log rho calls first, those of its sums among it."""
    rho = Density(u)
    energy = integral(potential * rho + rho * sp.log(rho), u)
    parameters = dict.fromkeys(energy.free_symbols, 0.1)
    law = Gaussian(np.zeros(len(u)), 1.0)
    program = compile_program(GradientFlow(energy, rho, law, parameters), Affine(len(u)), "cpu")
    texts = [program.emission.text, *(s.first.emission.text for s in program.sums.values())]
    return sum(text.count("\n") for text in texts)


def test_a_lattice_of_a_hundred_sites():
    """Lattice phi^4: at most 200 lines beside those of |x|^2/2, also where ends are pinned."""
    a, i = sp.Symbol("a", positive=True), sp.Symbol("i", integer=True)
    for d in (60, 100):
        u = coordinates(d)
        wells = sp.Sum((1 - u[i] ** 2) ** 2, (i, 0, d - 1)) / (4 * a)
        bonds = sp.Sum((u[i + 1] - u[i]) ** 2, (i, 0, d - 2))
        ring = sp.Sum((u[sp.Mod(i + 1, d)] - u[i]) ** 2 / 2 + u[i] ** 4 / 4, (i, 0, d - 1))
        few = lines(sum(s**2 for s in u) / 2, u)
        assert lines(ring, u) - few <= 150
        assert lines(a * bonds / 2 + wells, u) - few <= 200
        pinned = a * (u[0] ** 2 + bonds + u[d - 1] ** 2) / 2 + wells
        assert lines(pinned, u) - few <= 200  # each end is a value of its own
        written = [sum((u[k] - u[k - 1]) ** 2 for k in range(d)), sum((1 - s**2) ** 2 for s in u)]
        assert lines(sum(written), u) - few <= 200
        around = sp.Sum((u[sp.Mod(i + 1, d)] - u[i]) ** 2, (i, 0, d - 1))
        assert lines(around + written[1], u) - few <= 200
