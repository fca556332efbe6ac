"""Printing of formulas, generated text and machine code."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import sympy as sp
from sample_energies import ENERGIES, LOCAL, Energy, R, Running, full_quadratic
from tile_numpy import interpreted
from work import calls_of

import pwgf_sym
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.declare.symbols import coordinates
from pwgf_sym.emit.module import cpu_target, emit_module
from pwgf_sym.errors import FormulaError, OptionError
from pwgf_sym.functions import declared
from pwgf_sym.kernels.energies import FormulaKernel
from pwgf_sym.loops.cpu.formulas import TileFormulaBuilder
from pwgf_sym.loops.printable import check_printable
from pwgf_sym.printers.cpu import CpuPrinter
from pwgf_sym.schedule.cpu import CpuTiling, Machine
from pwgf_sym.targets.machine import this_machine
from pwgf_sym.targets.packing import State
from pwgf_sym.targets.program import compile_program
from pwgf_sym.targets.store import load_module, write_module
from pwgf_sym.tensors.scalars.array_formulas import ArrayFormulas

ROOT = Path(pwgf_sym.__file__).resolve().parents[1]
x, y = sp.symbols("x0 x1", real=True)
p = sp.Symbol("p", positive=True)

# Arguments within each function's domain for all real x and y.
ARGUMENTS = {
    "log": 1 + x**2,
    "log1p": x**2,
    "asin": sp.sin(x) / 2,
    "acos": sp.sin(x) / 2,
    "atanh": sp.sin(x) / 2,
    "acosh": 2 + x**2,
    "gamma": 1 + x**2,
    "loggamma": 1 + x**2,
}

NAMED = [entry for entry in declared() if entry.cpu]  # the others: tests/test_functions.py
FORMULAS = [
    *(e.kind(ARGUMENTS.get(e.name, x)) for e in NAMED if e.name != "atan2"),
    sp.atan2(x - sp.Rational(1, 8), y),  # in all quadrants
    *(x**k for k in range(2, 10)),
    *((1 + x**2) ** -k for k in range(1, 10)),
    *((x + y) ** k for k in (3, 7)),
    *((1 + x**2) ** sp.Rational(k, 2) for k in (1, 3, 5, -1, -3)),
    *((1 + x**2) ** sp.Rational(k, 3) for k in (1, 2, -4)),
    (1 + x**2) ** p,
    (1 + x**2) ** (-p / 3),
    p**x,
    2**x,
    x**2 / (y**2 + 1) / 3 - x / (p * sp.sqrt(2 + y**2)),
    -x / 7 - (x - y) * (x + y) / (1 + x**2) ** 2,
    -(x**2),
    -sp.exp(-(x**2)) / sp.sqrt(2 * sp.pi),
    sp.sqrt(3) * x + sp.pi * y - sp.E + sp.EulerGamma + sp.GoldenRatio + sp.Catalan,
    (1 - sp.sqrt(3)) * x**3 + sp.Rational(1, 3) * y,
    sp.Max(x, y, 0) - sp.Min(x, 2 * y) + sp.Max(x, -1) ** 2,
    sp.Heaviside(x) + 3 * sp.Heaviside(x - y) * x,
    sp.Heaviside(x, 0) + sp.Heaviside(y, 1),
    sp.Piecewise((x**2, x < 0), (x, x <= 1), (2 * x - 1, True)),
    sp.Piecewise((x, (x > 0) & (y > 0)), (y, sp.Or(x < -1, sp.Ne(y, 0))), (p, True)),
    sp.Piecewise((1, sp.Not((x > 0) & (y < 0))), (sp.log(1 + y**2), True)),
    sp.Mul(x, sp.Mul(2, y, evaluate=False), evaluate=False),
    sp.Abs(x - y) ** 3 * sp.sign(x),
    sp.Integer(10) ** 30 * x + sp.Float("1e-300"),
    sp.Float("0.1") * x - sp.Rational(1, 10) * y,
]
POINTS = np.array(
    [
        [0.3, -0.7],
        [-1.5, 0.2],
        [0.0, 0.0],
        [2.5, -2.5],
        [-0.0, 1.0],
        [1.0, 1.0],
        [-3.1, -0.4],
        [4, 3],
    ]
)


def many_formulas(dtype):
    """A module with one kernel that evaluates all formulas at every sample."""
    tiling = CpuTiling.for_machine(Machine(256), dtype)
    kernel = FormulaKernel(
        "formulas", "all of them", {"x": (x, y)}, (), (p,), {"out": tuple(FORMULAS)}
    )
    printer = CpuPrinter()
    text = '"""Many formulas.\n\ncontent: {content}\n"""\n'
    text += printer.whole(TileFormulaBuilder(kernel, tiling, printer).statements(), dtype)
    return load_module(write_module(text, f"formulas_{dtype}"), text), tiling


def compiled_values(points):
    """All formulas at as many points as a tile has samples, by a compiled kernel."""
    module, tiling = many_formulas("float64")
    assert len(points) == tiling.samples
    out = np.empty(len(FORMULAS) * tiling.samples)
    module.formulas(points.T.ravel().copy(), np.array([1.7]), out, 0, 1)
    return out.reshape(len(FORMULAS), -1)


def numpy_values(points):
    """The same by NumPy."""
    with np.errstate(all="ignore"):
        found = ArrayFormulas(FORMULAS, (x, y, p))(*points.T, np.float64(1.7))
    return [np.broadcast_to(values, len(points)) for values in found]


BOTH = pytest.mark.parametrize("values", [compiled_values, numpy_values])


@BOTH
def test_every_function_and_power(values):
    got = values(POINTS)
    with mpmath.workdps(40):
        for formula, row in zip(FORMULAS, got, strict=True):
            truth = Running(formula, [x, y, p])
            for point, value in zip(POINTS, row, strict=True):
                expected, magnitude = truth(*point, 1.7)
                assert abs(value - expected) <= 1e-15 * 8 * (magnitude + 1e-290), (formula, point)


@BOTH
def test_functions_of_not_a_number(values):
    """NaN in, NaN out, for all but comparisons, whose other branch is a number."""
    for formula, row in zip(FORMULAS, values(np.full_like(POINTS, np.nan)), strict=True):
        if not formula.has(sp.Piecewise):
            assert np.isnan(row).all(), formula


UNPRINTABLE = [sp.zeta(x), sp.besseli(0, x), sp.Function("f")(x), sp.DiracDelta(x)]


@pytest.mark.parametrize("formula", UNPRINTABLE, ids=str)
def test_unprintable_functions_are_named(formula):
    with pytest.raises(FormulaError, match=type(formula).__name__):
        check_printable(1 + x * formula, "a formula")
    with pytest.raises(FormulaError, match=type(formula).__name__):
        ArrayFormulas([1 + x * formula], [x])


@pytest.mark.parametrize("formula", [sp.zoo * x, sp.I * x, x + sp.oo, sp.log(-2) * x], ids=str)
def test_complex_and_infinite_formulas(formula):
    with pytest.raises(FormulaError):
        check_printable(formula, "a formula")


def test_refusals_before_anything_is_compiled(tmp_path):
    energy = Energy(1, sp.zeta(2 + coordinates(1)[0] ** 2))
    with pytest.raises(FormulaError, match="zeta"):
        compile_program(energy.problem(), Affine(1), folder=tmp_path)
    potential = sp.Piecewise((coordinates(1)[0], coordinates(1)[0] > 0))
    with pytest.raises(FormulaError, match="last branch"):
        compile_program(Energy(1, potential).problem(), Affine(1), folder=tmp_path)
    problem = Energy(2, internal=R**2).problem()
    with pytest.raises(FormulaError, match="zeta"):
        compile_program(problem, NeuralFlow(2, 3, activation=sp.zeta), folder=tmp_path)
    with pytest.raises(FormulaError, match="derivative jumps at a = 0"):  # the score needs sigma''
        compile_program(
            problem, NeuralFlow(2, 3, activation=lambda a: sp.Max(a, 0)), folder=tmp_path
        )
    for keywords, match in [
        ({"target": "tpu"}, "target"),
        ({"dtype": "float16"}, "dtype.*float32"),
    ]:
        with pytest.raises(OptionError, match=match):
            compile_program(problem, Affine(2), folder=tmp_path, **keywords)
    with pytest.raises(OptionError, match=r"dimension 3.*dimension 2"):
        compile_program(problem, Affine(3), folder=tmp_path)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------ names
HOSTILE = (
    *(
        "x",
        "theta",
        "values",
        "weight",
        "first",
        "last",
        "np",
        "exp",
        "log",
        "l",
        "s0",
        "I_0",
        "t0",
    ),
    *(
        "beta",
        "lambda_",
        "lambda",
        "gamma",
        "sqrt",
        "power",
        "range",
        "njit",
        "j",
        "w",
        "own",
        "out",
    ),
    *(
        "sums",
        "tile",
        "mean0",
        "sum0",
        "share",
        "partners",
        "DTYPE",
        "y0_",
        "form0_0",
        "VELOCITY_0",
    ),
    *("where", "1 2", "", "µ", "maximum", "add_lane_sums", "p", "class", "None", "__name__", "t_0"),
    *('"""; raise SystemExit; """', "{content}", "\\", "a\\nb", "content: 0123456789abcdef"),
)


def formulas_with(names):
    """An energy of potential, internal and pair terms in which every name is a parameter."""
    symbols = [sp.Symbol(name, real=True) for name in names]
    (a, b), (c, d) = coordinates(2), sp.symbols("y0 y1", real=True)
    potential = sum(sp.exp(-s * a**2 / (k + 9)) for k, s in enumerate(symbols))
    potential += sp.sqrt(1 + symbols[0] ** 2 * a**2) + sp.Max(a * symbols[1], b) ** 2
    internal = (
        R * sp.log(R) * symbols[2] + R ** (2 + symbols[3] ** 2) + sp.gamma(2 + symbols[4] ** 2) * R
    )
    pair = sum(s * sp.exp(-k * (a - c) ** 2 - (b - d) ** 2) for k, s in enumerate(symbols))
    values = {s: 0.3 + k / 40 for k, s in enumerate(symbols)}
    return Energy(2, potential, internal, pair, sp.sqrt(9 + LOCAL**2) + LOCAL, values)


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 6))
def test_hostile_names(start, tmp_path):
    """Parameters may be called anything: the numbers are those of harmless names, to the bit."""
    hostile = (HOSTILE + HOSTILE)[start : start + 6]
    results = []
    for names in (hostile, [f"harmless{k}" for k in range(6)]):
        program = interpreted(formulas_with(names).problem(), Affine(2), tmp_path)
        samples = program.samples(np.random.default_rng(0).normal(size=(9, 2)))
        state = State(samples, x=samples.z, log_density=samples.log_density, score=samples.score)
        integrals = program.integrals(state)
        theta = np.array([1.0, 0.1, 0.0, 1.2, 0.0, 0.0])
        gradient = program.gradient(program.linearize(theta, samples, "log_density"), integrals)
        results.append([integrals, program.velocity(state, integrals), gradient])
        assert np.isfinite(program.energy(integrals))
    for got, expected in zip(*results, strict=True):
        # Sums over sorted names may be added in another order.
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-14)


def test_hostile_names_compiled():
    results = []
    for names in (["exp", "gamma", "t0", "values", "lambda", "x"], list("abcdef")):
        program = compile_program(formulas_with(names).problem(), Affine(2))
        samples = program.samples(np.random.default_rng(0).normal(size=(9, 2)))
        state = State(samples, x=samples.z, log_density=samples.log_density, score=samples.score)
        integrals = program.integrals(state)
        results.append([integrals, program.velocity(state, integrals)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-14)


# ---------------------------------------------------------------------------- the same text again
HASHES = """
import sys
sys.path.insert(0, sys.argv[1])
from sample_energies import ENERGIES
from pwgf_sym.targets.store import content_hash
from pwgf_sym.declare.maps import Affine, NeuralFlow
from pwgf_sym.emit.module import cpu_target, emit_module
from pwgf_sym.schedule.cpu import Machine
for name in ("root", "styblinski tang"):
    problem = ENERGIES[name].problem()
    flow = NeuralFlow(2, 6) if problem.dim == 2 else Affine(problem.dim)
    how = cpu_target("float64", Machine())
    text = emit_module(problem.energy, problem.density, flow, how).text
    print(content_hash(text))
"""


def hashes(seed):
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HASHES, str(Path(__file__).parent)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_text_does_not_depend_on_hash_seeds():
    found = set()
    for seeds in ((0, 1), (2, 3), (4, 5), (6, 7)):
        running = [hashes(seed) for seed in seeds]
        for process in running:
            text, _ = process.communicate(timeout=120)
            assert process.returncode == 0 and len(text.split()) == 2
            found.add(text)
    assert len(found) == 1, found


def test_same_text_twice(mixed_program):
    problem, flow = mixed_program.problem, mixed_program.map
    again = emit_module(
        problem.energy, problem.density, flow, cpu_target("float64", this_machine())
    )
    assert again.text == mixed_program.emission.text
    assert compile_program(problem, flow).path == mixed_program.path


NUMBERS = """
import sys
sys.path.insert(0, sys.argv[1])
import hashlib
import numpy as np
from sample_energies import ENERGIES
from pwgf_sym.targets.program import compile_program
from pwgf_sym.targets import threads
from pwgf_sym.declare.maps import NeuralFlow

threads.LEAST_WORK = 1  # several chunks
problem, flow = ENERGIES["mixed"].problem(), NeuralFlow(2, 10, steps=3)
program = compile_program(problem, flow)
samples = program.samples(problem.initial.sample(700, 3))
theta = flow.initial_parameters(problem.initial, 0)
theta = theta + 0.2 * np.random.default_rng(0).standard_normal(theta.size)
state = program.push(theta, samples, "score")
integrals = program.integrals(state)
found = [state.x, state.log_density, state.score, integrals]
found += [program.velocity(state, integrals)]
linearization = program.linearize(theta, samples, "log_density")
found += [program.gradient(linearization, integrals), linearization.metric(theta)]
found += [program.jvp(theta, samples, theta), program.vjp(theta, samples, state.score)]
found += list(program.invert(theta, program.unpack(state.x, samples)))
print(threads.thread_count(), program.cache_statistics()["compiled"])
print(hashlib.sha256(b"".join(np.ascontiguousarray(f).tobytes() for f in found)).hexdigest())
"""


@pytest.mark.slow
def test_same_bits_for_any_number_of_threads(mixed_program):
    """And a second process compiles nothing, once a first one has compiled all."""
    command = [sys.executable, "-c", NUMBERS, str(Path(__file__).parent)]
    results = []
    for threads in ("1", "2"):
        environment = os.environ | {"NUMBA_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        counts, digest = run.stdout.strip().split("\n")
        results.append((counts.split(), digest))
    (first, digest), (second, other) = results
    assert [first[0], second[0]] == ["1", "2"]
    assert digest == other
    assert second[1] == "0"


# ------------------------------------------------------------------------------------ machine code
def float64_arithmetic(code):
    """Instructions on doubles; a parameter of a function that only handles memory is none."""
    operations = "fadd|fsub|fmul|fdiv|fneg|fcmp|fpext|fptrunc|sitofp|uitofp|call|load|store"
    found = re.findall(
        rf"^\s*(?:%\S+ = )?(?:tail )?(?:{operations}) [^\n]*\bdouble\b[^\n]*", code, re.M
    )
    return [line for line in found if "NRT" not in line]


@pytest.fixture(scope="module")
def single():
    return compile_program(
        ENERGIES["root"].problem(),
        NeuralFlow(2, 4, 2, lambda a: a / (1 + sp.exp(-a))),
        dtype="float32",
    )


def test_the_search_for_doubles_finds_them():
    for line in (
        "  %3 = fadd contract <8 x double> %1, %2",
        "  %3 = tail call double @pow(double %1, double 2.0)",
        "  %.5 = fpext <8 x float> %1 to <8 x double>",
        "  store double %3, double* %4, align 8",
    ):
        assert float64_arithmetic(f"entry:\n{line}\n")


@pytest.mark.parametrize("kernel", ["push_score", "vjp", "velocity", "pair_velocity", "integrals"])
def test_float32_stays_float32(single, kernel):
    code = single.code_llvm(kernel)
    assert "define" in code and re.search(r"<\d+ x float>", code)  # the machine's width
    assert float64_arithmetic(code) == []
    flags = set(re.findall(r"\b(nnan|ninf|nsz|arcp|afn|reassoc|fast)\b(?= )", code))
    assert flags == set()
    assert "contract" in code


def test_float32_functions():
    """Also of numbers such as 2**x and 1/sqrt(pi): nothing but power is computed in doubles."""
    module, tiling = many_formulas("float32")
    arrays = [np.zeros(2 * tiling.samples, np.float32), np.full(1, 1.7, np.float32)]
    out = np.empty(len(FORMULAS) * tiling.samples, np.float32)
    kernel = module.formulas.__class__(
        module.formulas.py_func, targetoptions=module.formulas.targetoptions
    )
    kernel(*arrays, out, 0, 1)
    (code,) = kernel.inspect_llvm().values()
    code = re.sub(r"^define internal [^\n]*@pwgf_power_.*?^}", "", code, flags=re.M | re.S)
    assert float64_arithmetic(code) == []


def test_introspection(mixed_program):
    text = mixed_program.code_python()
    assert text == mixed_program.path.read_text(encoding="utf-8")
    assert "def push(" in text and "content: " in text and '"beta' not in text
    symbolic = mixed_program.code_symbolic()
    for part in ("first variation: ", "equation: ", "kernel metric", "sweep backward", "exp(-"):
        assert part in symbolic
    assert "ms" in symbolic.splitlines()[-1]
    llvm = mixed_program.code_llvm("push")
    assert re.search(r"define .*push", llvm) and " x double>" in llvm
    native = mixed_program.code_native("push")
    assert "push" in native
    if "mm0" in native:  # x86
        assert "vfmadd" in native
    for wrong in ("pushed", "load", "__name__"):
        with pytest.raises(OptionError, match="push_score"):
            mixed_program.code_llvm(wrong)
    names = mixed_program.kernel_names()
    assert {"push", "push_score", "jvp", "vjp", "metric", "gradient", "velocity"} <= set(names)


def test_wrong_arguments_of_kernels(mixed_program):
    problem = mixed_program.problem
    samples = mixed_program.samples(problem.initial.sample(5, 0))
    theta = mixed_program.map.initial_parameters(problem.initial, 0)
    for call in (
        lambda: mixed_program.push(theta[:-1], samples),
        lambda: mixed_program.push(np.tile(theta, 2), samples),
        lambda: mixed_program.jvp(theta, samples, theta[:-1]),
        lambda: mixed_program.vjp(theta, samples, samples.weights[:-1]),
        lambda: mixed_program.samples(np.zeros((3, 5))),
        lambda: mixed_program.samples(np.full((3, 2), np.nan)),
        lambda: mixed_program.invert(theta, np.zeros((3, 5))),
    ):
        with pytest.raises(OptionError):
            call()


def test_work_of_an_emission_grows_with_the_number_of_terms():
    """Four times as many in twice the dimension; texts of thirty dimensions are not long."""

    def emission(dim):
        problem, how = full_quadratic(dim, seed=1).problem(), cpu_target("float64", Machine())
        return emit_module(problem.energy, problem.density, NeuralFlow(dim, 32), how)

    assert calls_of(lambda: emission(20)) < 6 * calls_of(lambda: emission(10))
    found = emission(30)
    assert set(found.timings) == {"derive", "lower", "emit"}
    assert len(found.text) < 400_000
