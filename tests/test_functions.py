"""The table of scalar functions: values, derivatives, storing, counting; what an entry costs."""

import json
from functools import cache, partial

import function_cases as cases
import mpmath
import numpy as np
import pytest
import sympy as sp

from pwgf_sym import functions
from pwgf_sym.declare.tree import from_tree, to_tree
from pwgf_sym.errors import FormulaError
from pwgf_sym.kernels.energies import FormulaKernel
from pwgf_sym.loops.cpu.formulas import TileFormulaBuilder
from pwgf_sym.loops.nodes import Name
from pwgf_sym.loops.printable import check_printable
from pwgf_sym.loops.scalars import assignments
from pwgf_sym.printers.cpu import RUNTIME, CpuPrinter
from pwgf_sym.printers.cuda import CudaPrinter
from pwgf_sym.runtime.cpu import tiles
from pwgf_sym.schedule.cpu import CpuTiling, Machine
from pwgf_sym.targets.store import load_module, write_module
from pwgf_sym.tensors.scalars.array_formulas import ArrayFormulas
from pwgf_sym.tensors.scalars.flops import expression_flops

BOTH = pytest.mark.parametrize("dtype", ["float64", "float32"])
EACH = pytest.mark.parametrize("entry", cases.ENTRIES, ids=lambda e: e.name)
a, b = sp.symbols("a b", real=True)


def printed(formula, printer):
    """The text of a formula in a and b."""
    lines, (value,) = assignments([formula], {a: Name("a"), b: Name("b")}, "t", printer)
    return " ".join(
        [*(line for node in lines for line in printer.lines(node)), printer.text(value)]
    )


def computed(kernel, columns):
    """The fields of a kernel at samples, on the CPU."""
    dtype = columns.dtype.name
    tiling = CpuTiling.for_machine(Machine(256), dtype)
    printer = CpuPrinter()
    text = '"""Functions.\n\ncontent: {content}\n"""\n'
    text += printer.whole(TileFormulaBuilder(kernel, tiling, printer).statements(), dtype)
    module, lanes = load_module(write_module(text, f"functions_{dtype}"), text), tiling.samples
    rows = sum(map(len, kernel.fields.values()))
    tiles_of = columns.reshape(len(columns), -1, lanes).swapaxes(0, 1).copy()
    out = np.empty((len(tiles_of), rows, lanes), columns.dtype)
    getattr(module, kernel.name)(tiles_of.ravel(), np.zeros(1, dtype), out.ravel(), 0, len(out))
    return out.swapaxes(0, 1).reshape(rows, -1)


def by_numpy(kernel, columns):
    """The same without a compiler."""
    with np.errstate(all="ignore"):  # of branches that are not taken
        found = ArrayFormulas(kernel.formulas(), kernel.reads["x"], columns.dtype)(*columns)
    assert {np.asarray(values).dtype for values in found} == {columns.dtype}
    return np.array([np.broadcast_to(values, columns.shape[1]) for values in found])


@cache
def everything(how, dtype):
    arguments = cases.points(32, dtype)
    return arguments, how(cases.kernel(), arguments)


@pytest.mark.parametrize("how", [computed, by_numpy])
@BOTH
@EACH
def test_values_and_derivatives(entry, dtype, how):
    """Within 24 units of the precision, of the larger of 1 and the value."""
    cases.check(entry, *everything(how, dtype), dtype)


@EACH
def test_what_is_printed_is_stored_and_counted(entry):
    formula = cases.application(entry, a, b)
    check_printable(formula, "a formula")
    back = from_tree(json.loads(json.dumps(to_tree(formula))))
    assert back == formula and type(back) is type(formula)
    for dtype, width in (("float64", 0), ("float32", 1)):
        found = expression_flops([formula], dtype)
        assert found == entry.operations[width] if entry.cpu else found >= 1
    for printer in (CpuPrinter(), CudaPrinter("float64", 128), CudaPrinter("float32", 128)):
        assert printed(formula, printer)


@EACH
def test_the_runtime_has_what_is_named(entry):
    if entry.cpu:
        assert callable(getattr(tiles, entry.cpu)) and entry.cpu in RUNTIME["tiles"]
    else:
        assert entry.written is not None


def test_a_new_function_is_one_entry(monkeypatch):
    """Declared once, it is printed on both targets, stored, read and counted."""

    class hyperbola(sp.Function):
        """1/(1 + u^2)."""

        def fdiff(self, argindex=1):
            return -2 * self.args[0] * self**2

    formula = 3 * hyperbola(a) + 1
    with pytest.raises(FormulaError, match="hyperbola"):
        check_printable(formula, "a formula")
    with pytest.raises(FormulaError, match="hyperbola"):
        to_tree(formula)
    monkeypatch.setattr(functions, "_TABLE", dict(functions._TABLE))
    functions.declare(hyperbola, written=lambda u: 1 / (1 + u**2))
    check_printable(formula, "a formula")
    assert from_tree(to_tree(formula)) == formula
    assert expression_flops([hyperbola(a)], "float64") == 3
    assert printed(hyperbola(a), CpuPrinter()) == "1.0/((a*a) + 1.0)"
    assert printed(hyperbola(a), CudaPrinter("float32", 128)).count("DTYPE(1.0)") == 2
    slope = functions.written_out(hyperbola(a).diff(a))
    assert abs(float(slope.subs(a, 2)) + 4 / 25) < 1e-15
    np.testing.assert_allclose(ArrayFormulas([formula], [a])(np.arange(3.0))[0], [4, 2.5, 1.6])


def test_a_new_function_has_a_name_of_its_own_and_a_way_to_compute_it(monkeypatch):
    monkeypatch.setattr(functions, "_TABLE", dict(functions._TABLE))
    for name, fix in {"sigmoid": "pwgf_sym.functions.sigmoid", "erf": "sympy.*erf"}.items():
        second = type(name, (sp.Function,), {"__module__": __name__})
        with pytest.raises(FormulaError, match=f"function {name}: .*name of its own.*{fix}"):
            functions.declare(second, written=sp.sin)
    for _ in range(2):  # as a cell of a notebook that is run again
        third = type("third", (sp.Function,), {"__module__": __name__})
        functions.declare(third, written=sp.sin)
        assert functions.function_of(third(a)).kind is third
    with pytest.raises(FormulaError, match=r"function fourth: .*written="):
        functions.declare(type("fourth", (sp.Function,), {"__module__": __name__}))
    with pytest.raises(FormulaError, match=r"kind: got an object of the type str"):
        functions.declare("fifth", written=sp.sin)
    with pytest.raises(FormulaError, match=r"kind: .*UndefinedFunction"):
        functions.declare(sp.Function("sixth"), written=sp.sin)


def test_messages_say_what_a_new_function_lacks(monkeypatch):
    monkeypatch.setattr(functions, "_TABLE", dict(functions._TABLE))
    bare = type("bare", (sp.Function,), {"__module__": __name__})
    with pytest.raises(FormulaError, match=r"function bare in bare\(a\).*declare\(bare, written"):
        check_printable(bare(a), "a formula")
    functions.declare(bare, written=sp.sin)
    with pytest.raises(FormulaError, match=r"Derivative\(bare\(a\), a\).*fdiff"):
        check_printable(bare(a).diff(a), "a formula")


@pytest.mark.parametrize(
    "formula", [sp.besselj(a, b), sp.besselj(sp.Rational(1, 2), a), sp.polygamma(b, a)], ids=str
)
def test_orders_are_whole_numbers(formula):
    with pytest.raises(FormulaError, match="order"):
        check_printable(formula, "a formula")


def test_unknown_functions_list_what_there_is():
    with pytest.raises(FormulaError, match=r"besselj.*erfcx.*logaddexp.*polygamma.*sinc"):
        check_printable(sp.besseli(0, a), "a formula")


# ----------------------------------------------------------- where written-out forms could go wrong
def _sine_quotient(n):
    """The n-th derivative by its power series."""

    def value(u):
        with mpmath.workdps(120):
            first = (n + 1) // 2
            return +mpmath.fsum(
                (-1) ** k * u ** (2 * k - n) / mpmath.factorial(2 * k - n) / (2 * k + 1)
                for k in range(first, first + 160)
            )

    return value


def _erfcx(n):
    def value(u):
        if u < 0:
            return mpmath.diff(lambda v: mpmath.exp(v * v) * mpmath.erfc(v), u, n)
        half, scale = mpmath.mpf(1) / 2, mpmath.factorial(n) / mpmath.sqrt(mpmath.pi)
        return (-1) ** n * scale * mpmath.hyperu((n + 1) * half, half, u * u)

    return value


NEAR_ZERO = [0.0, 1e-30, -1e-12, 1e-5, -3e-3, 0.4, -0.99, 1.01, -2.9, 3.1, 3.9, -4.1, 8.0, -7.99]
LARGE = [8.01, 20.0, -55.5, 300.0, 1e4, -1e4, 2.5e3, 6.0]
POSITIVE = [1e-6, 1e-3, 0.2, 1.0, 1.4616, 2.0, 3.5, 7.9, 10.0, 33.0, 1e3, 1e4]
# Formula, truth, arguments, and whether the error is a part of the value (else of 1, if larger).
SHARP = {
    **{
        f"sinc {n}": (
            functions.sine_quotient(a, n),
            _sine_quotient(n),
            NEAR_ZERO + LARGE[:3],
            False,
        )
        for n in range(4)
    },
    **{
        f"besselj {n}": (
            sp.besselj(n, a),
            lambda u, n=n: mpmath.besselj(n, u),
            NEAR_ZERO + LARGE,
            0,
        )
        for n in range(5)
    },
    **{
        f"polygamma {n}": (sp.polygamma(n, a), partial(mpmath.psi, n), POSITIVE, n > 0)
        for n in range(4)
    },
    "polygamma below 0": (sp.polygamma(0, a), lambda u: mpmath.psi(0, u), [-0.3, -2.6, -7.45], 0),
    "trigamma below 0": (sp.polygamma(1, a), lambda u: mpmath.psi(1, u), [-0.3, -2.6, -7.45], 0),
    **{
        f"erfcx {n}": (functions.erfcx(a, n), _erfcx(n), [0.0, *POSITIVE, -0.5, -2.0, -3.0], True)
        for n in range(3)
    },
    "sech": (sp.sech(a), mpmath.sech, [0.0, 1e-8, 3.0, -40.0, 80.0, -85.0], True),
}
UNITS = {"polygamma below 0": 64, "trigamma below 0": 64}


@cache
def sharp(dtype):
    symbols = sp.symbols(f"u:{len(SHARP)}", real=True)
    rows = [f.xreplace({a: u}) for u, (f, *_) in zip(symbols, SHARP.values(), strict=True)]
    kernel = FormulaKernel("sharp", "special arguments", {"x": symbols}, (), (), {"out": (*rows,)})
    columns = np.array([(given * 32)[:32] for _, _, given, _ in SHARP.values()]).astype(dtype)
    return columns, computed(kernel, columns)


@BOTH
@pytest.mark.parametrize("name", SHARP)
def test_special_functions_at_difficult_arguments(name, dtype):
    _, truth, _, relative = SHARP[name]
    columns, values = sharp(dtype)
    row, eps = list(SHARP).index(name), float(np.finfo(dtype).eps)
    with mpmath.workdps(40):
        for given, value in {*zip(columns[row], values[row], strict=True)}:
            exact = truth(mpmath.mpf(float(given)))
            error = abs(mpmath.mpf(float(value)) - exact)
            scale = abs(exact) if relative else max(1, abs(exact))
            assert error <= UNITS.get(name, 24) * eps * scale, (given, value)


@BOTH
def test_logaddexp_where_exponentials_overflow(dtype):
    pairs = [(0, 0), (1e4, 0), (-1e4, -1e4), (1e4, 9999), (-3e3, 2), (700, 720), (-0.3, 0.2)]
    columns = np.array((pairs + [(1.0, 2.0)]) * 2).T.astype(dtype)
    formula = functions.logaddexp(a, b)
    rows = (formula, formula.diff(a), formula.diff(b), formula.diff(a, b))
    kernel = FormulaKernel("added", "logaddexp", {"x": (a, b)}, (), (), {"out": rows})
    values, eps = computed(kernel, columns), float(np.finfo(dtype).eps)
    with mpmath.workdps(40):
        for (u, v), found in zip(columns.T, values.T, strict=True):
            top, gap = max(u, v), mpmath.mpf(float(u)) - mpmath.mpf(float(v))
            s = 1 / (1 + mpmath.exp(-gap))
            total = mpmath.mpf(float(top)) + mpmath.log1p(mpmath.exp(-abs(gap)))
            for value, truth in zip(found, (total, s, 1 - s, -s * (1 - s)), strict=True):
                assert abs(mpmath.mpf(float(value)) - truth) <= 4 * eps * max(1, abs(truth))


@BOTH
def test_beta_where_gamma_overflows(dtype):
    """1/(a (a + 1)) of beta(a, 2), and its sign where an argument is negative."""
    eps = np.finfo(dtype).eps

    def values(formula, *columns):
        columns = [np.array(column, dtype) for column in columns]
        with np.errstate(all="ignore"):  # of the branch that is not taken
            how = ArrayFormulas([functions.written_out(formula)], [a, b], np.dtype(dtype))
            return how(*columns)[0]

    large = np.array([29.0, 31.0, 180.0, 400.0, 1500.0])
    truth = 1 / (large * (large + 1))
    twos = np.full(5, 2.0)
    assert np.abs(values(sp.beta(a, b), large, twos) / truth - 1).max() < 1e4 * eps
    slopes = -truth * (1 / large + 1 / (large + 1))
    assert np.abs(values(sp.beta(b, a).diff(a), large, twos) / slopes - 1).max() < 1e6 * eps
    negative, beside = [-0.5, -1.5], [32.0, 33.0]
    truth = [float(mpmath.beta(u, v)) for u, v in zip(negative, beside, strict=True)]
    assert np.allclose(values(sp.beta(a, b), negative, beside), truth, rtol=1e3 * eps)


def test_numbers_are_worked_out():
    third, truth = sp.Rational(1, 3), sp.Float("0.255395676310505743865088580909", 30)
    assert abs(functions.erfcx(sp.Integer(2)).n(30) - truth) < 1e-28
    assert functions.sine_quotient(0) == 1 and functions.sine_quotient(0, 2) == -third
    assert functions.logaddexp(3, 3) == 3 + sp.log(2)
    assert float(functions.logaddexp(sp.Integer(10) ** 9, 1)) == 1e9
