"""Every scalar function of formulas, declared once.

An entry says how each target spells the function and how many operations it takes, or writes it
out in other functions.  Printing, storing and counting ask this table; the derivative is that of
the SymPy class (``fdiff``).  A new function is one entry: written out in others, or named after a
function of the tile runtime (``runtime/cpu/vector_math.py``), of Python's ``math``, which Numba
compiles for GPUs, and of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import sympy as sp
from sympy.codegen import cfunctions
from sympy.codegen.cfunctions import expm1, log1p
from sympy.codegen.scipy_nodes import cosm1, powm1
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import BooleanFalse, BooleanTrue

from . import special
from .errors import FormulaError

__all__ = [
    "LARGEST_CHAIN",
    "STRUCTURES",
    "ScalarFunction",
    "before_derivatives",
    "declare",
    "declared",
    "entry_of",
    "erfcx",
    "expm1",
    "function_of",
    "host_function",
    "log1p",
    "logaddexp",
    "names",
    "runtime_names",
    "sigmoid",
    "sine_quotient",
    "written_out",
]

# What targets print by its structure, and what is stored beside functions and numbers.
STRUCTURES = (
    *(sp.Add, sp.Mul, sp.Pow, sp.Max, sp.Min, sp.Heaviside, sp.Piecewise, ExprCondPair),
    *(sp.Eq, sp.Ne, sp.Lt, sp.Le, sp.Gt, sp.Ge, sp.And, sp.Or, sp.Not, BooleanTrue, BooleanFalse),
)
#: Largest whole exponent of powers that are products; beyond, real powers lose fewer digits.
LARGEST_CHAIN = 64
_LARGEST_ORDER = 8  # of Bessel functions and derivatives


@dataclass(frozen=True)
class ScalarFunction:
    """A scalar function of formulas.

    Attributes
    ----------
    kind : type
        Its SymPy class, under whose name it is stored; ``fdiff`` is its derivative.
    cpu : str
        Its name in the tile runtime; "" for a function that is written out.
    cuda : str
        Its text for one thread of a GPU, with ``{0}``, ``{1}`` for the arguments and ``{one}``,
        ``{zero}``, ``{minus}`` for numbers of the thread's precision.
    numpy : str or callable
        Its name in NumPy or in ``scipy.special``, or a function of arrays.
    operations : (int, int)
        Operations in float64 and float32: the instructions of its code, a fused multiply-add as
        two.
    written : callable or None
        From its arguments to the same in other functions.
    early : bool
        Whether it is written out before derivatives are taken, not after.
    orders : int
        Number of the argument that has to be a whole number from 0 to 8; -1 if there is none.
    """

    kind: type
    cpu: str
    cuda: str
    numpy: str | Callable[..., Any]
    operations: tuple[int, int]
    written: Callable[..., sp.Expr] | None
    early: bool
    orders: int

    @property
    def name(self) -> str:
        """The name of the SymPy class."""
        return self.kind.__name__

    def of(self, args: Sequence[sp.Basic]) -> sp.Expr | None:
        """The function of some arguments in other functions; None where it is not written out."""
        return None if self.written is None else self.written(*args)

    def of_arrays(self) -> Callable[..., Any]:
        """The function of arrays, entry by entry: NumPy's, or SciPy's."""
        import numpy as np

        if callable(self.numpy):
            return self.numpy
        if hasattr(np, self.numpy):
            return getattr(np, self.numpy)
        import scipy.special  # only where it is needed

        return getattr(scipy.special, self.numpy)

    def accepts(self, node: sp.Basic) -> bool:
        """Whether the orders of an application are whole numbers that targets print."""
        if not 0 <= self.orders < len(node.args):
            return True
        order = node.args[self.orders]
        return bool(order.is_Integer) and 0 <= int(order) <= _LARGEST_ORDER


_TABLE: dict[str, ScalarFunction] = {}


def declare(
    kind: type,
    *,
    cpu: str = "",
    cuda: str = "",
    numpy: str | Callable[..., Any] = "",
    operations: tuple[int, int] = (40, 30),
    written: Callable[..., sp.Expr] | None = None,
    early: bool = False,
    orders: int = -1,
) -> ScalarFunction:
    """Declare a scalar function; the arguments are the attributes of :class:`ScalarFunction`.

    Raises
    ------
    FormulaError
        If another module has a function of this name, or nothing says how to compute it.
    """
    _check_declared(kind, bool(written or cpu))
    if written is None:
        cpu = cpu or kind.__name__
        cuda, numpy = cuda or f"math.{cpu}({{0}})", numpy or cpu
    entry = ScalarFunction(kind, cpu, cuda, numpy, operations, written, early, orders)
    _TABLE[kind.__name__] = entry
    return entry


def _check_declared(kind: type, has_code: bool) -> None:
    """Refuse a name that is taken; the same cell of a notebook may declare its class again."""
    if not isinstance(kind, type) or not kind.__module__:  # sp.Function("f") is of no module
        given = f"an object of the type {type(kind).__name__}"
        raise FormulaError("kind", given, "a class derived from sp.Function")
    what, before = f"function {kind.__name__}", _TABLE.get(kind.__name__)
    if before is not None and before.kind.__module__ != kind.__module__:
        fix = f"Rename the class, or use {before.kind.__module__}.{kind.__name__}."
        raise FormulaError(what, "a name that is taken", "a name of its own", fix)
    if not has_code and kind.__module__.split(".")[0] not in ("sympy", __package__):
        accepted = "written=, the same in other functions, or cpu=, cuda=, numpy=, names of code"
        raise FormulaError(what, "no way to compute it", accepted)


def declared() -> list[ScalarFunction]:
    """All scalar functions, in the order in which they were declared."""
    return list(_TABLE.values())


def names() -> list[str]:
    """The names of all scalar functions, sorted."""
    return sorted(_TABLE)


def runtime_names() -> list[str]:
    """Names of the tile runtime that stand for scalar functions."""
    return [entry.cpu for entry in _TABLE.values() if entry.cpu]


def entry_of(name: str) -> ScalarFunction:
    """The entry of a name that has one."""
    return _TABLE[name]


def function_of(node: sp.Basic | str) -> ScalarFunction | None:
    """The entry of a function's application, or of a name; None where there is none."""
    if isinstance(node, str):
        return _TABLE.get(node)
    entry = _TABLE.get(type(node).__name__)
    return entry if entry is not None and type(node) is entry.kind else None


def written_out(expression: sp.Basic) -> sp.Basic:
    """The same formula in functions that targets have a name for."""
    return _written(expression, ScalarFunction.of, {})


def before_derivatives(expression: sp.Basic) -> sp.Basic:
    """The same formula in functions whose derivatives keep their digits, or are pieces.

    SymPy's sinc has the derivative cos(u)/u - sin(u)/u^2, which cancels near 0, and Mod has none.
    """
    return _written(expression, _early, {})


def _early(entry: ScalarFunction, args: Sequence[sp.Basic]) -> sp.Expr | None:
    return entry.of(args) if entry.early else None


def _exactly(entry: ScalarFunction, args: Sequence[sp.Basic]) -> sp.Expr | None:
    """Closed forms in place of the polynomials that :mod:`.special` fits to double precision."""
    if issubclass(entry.kind, _Ordered):
        return entry.kind._of_number(args[0], int(args[1]) if len(args) > 1 else 0)
    return None if entry.kind in (sp.besselj, sp.polygamma) else entry.of(args)


def host_function(
    symbols: Sequence[sp.Symbol], formula: sp.Expr, library: str
) -> Callable[..., Any]:
    """A Python function of as many arguments that evaluates a formula on the host.

    Parameters
    ----------
    symbols : sequence of Symbol
        Its arguments, in their order.
    formula : Expr
        In these symbols and functions of the table.
    library : {"math", "numpy", "mpmath"}
        Of numbers, of arrays (with SciPy), or of numbers with as many digits as mpmath is set to.
    """
    # Dummies: a parameter may be called sqrt.
    dummies = [sp.Dummy(**s.assumptions0) for s in symbols]
    formula = formula.xreplace(dict(zip(symbols, dummies, strict=True)))
    exact = library == "mpmath"
    written = _written(formula, _exactly, {}) if exact else written_out(formula)
    modules = ["scipy", "numpy"] if library == "numpy" else [library]
    table = {"sigmoid": _SIGMOIDS[library]} | ({"exp": _exp_of_digits} if exact else {})
    return sp.lambdify(dummies, written, [table, *modules], cse=library == "numpy")


def _sigmoid_of_array(u: Any) -> Any:
    """The logistic function, also of complex numbers, which SciPy's does not take."""
    import numpy as np
    from scipy.special import expit

    return 1 / (1 + np.exp(-u)) if np.iscomplexobj(u) else expit(u)


def _exp_of_digits(u: Any) -> Any:
    """The exponential, 0 or infinite where its exponent would not fit into memory."""
    if isinstance(u, mpmath.mpf) and abs(u) > 1e40:
        return mpmath.inf if u > 0 else mpmath.mpf(0)
    return mpmath.exp(u)


_SIGMOIDS = {
    "math": lambda u: (1 + math.tanh(u / 2)) / 2,
    "numpy": _sigmoid_of_array,
    "mpmath": lambda u: 1 / (1 + mpmath.exp(-u)),
}


def _written(
    node: sp.Basic,
    how: Callable[[ScalarFunction, Sequence[sp.Basic]], sp.Expr | None],
    known: dict[sp.Basic, sp.Basic],
) -> sp.Basic:
    """The node with functions as ``how`` writes them, if it does; ``known`` remembers results."""
    if not isinstance(node, sp.Basic) or not node.args:  # a Python number is one, too
        return node
    if node not in known:
        args = [_written(arg, how, known) for arg in node.args]
        entry = function_of(node)
        found = how(entry, args) if entry is not None and entry.accepts(node) else None
        if found is None:
            same = all(a is b for a, b in zip(args, node.args, strict=True))
            known[node] = node if same else node.func(*args)
        else:
            known[node] = _written(found, how, known)
    return known[node]


# --------------------------------------------------------------------------------- our functions
class _Real(sp.Function):
    """A function that is real where its arguments are."""

    def __new__(cls, *args: object, **options: object) -> sp.Expr:
        """Refuse texts, which SymPy would evaluate, and what is no formula of one value."""
        try:
            formulas = [sp.sympify(arg, strict=True) for arg in args]
        except (sp.SympifyError, TypeError, ValueError, AttributeError):
            formulas = [None]
        scalar = all(isinstance(f, sp.Expr) and not hasattr(f, "shape") for f in formulas)
        if not scalar or len(args) not in cls.nargs:
            given = f"arguments of the types {', '.join(type(a).__name__ for a in args) or 'none'}"
            accepted = f"{' or '.join(map(str, cls.nargs))} SymPy expressions or numbers"
            raise FormulaError(cls.__name__, given, accepted)
        return super().__new__(cls, *formulas, **options)

    def _eval_is_real(self) -> bool | None:
        return True if all(arg.is_real for arg in self.args) else None


class sigmoid(_Real):
    """The logistic function 1/(1 + exp(-u))."""

    nargs = 1

    @classmethod
    def eval(cls, u: sp.Expr) -> sp.Expr | None:
        """Numbers are worked out at once."""
        return 1 / (1 + sp.exp(-u)) if u.is_number else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """s (1 - s)."""
        return self * (1 - self)

    def _eval_is_positive(self) -> bool | None:
        return self.args[0].is_extended_real


class logaddexp(_Real):
    """log(exp(a) + exp(b)), right where the exponentials overflow."""

    nargs = 2

    @classmethod
    def eval(cls, a: sp.Expr, b: sp.Expr) -> sp.Expr | None:
        """Numbers are worked out at once."""
        if a.is_number and b.is_number:
            larger, smaller = (a, b) if (a - b).is_nonnegative else (b, a)
            return larger + sp.log(1 + sp.exp(smaller - larger))
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The logistic function of the difference."""
        a, b = self.args
        return sigmoid(a - b) if argindex == 1 else sigmoid(b - a)


class _Ordered(_Real):
    """A function with an order: f(u, n) is the n-th derivative of f(u)."""

    nargs = (1, 2)

    @classmethod
    def eval(cls, u: sp.Expr, *order: sp.Expr) -> sp.Expr | None:
        """Order 0 is not written, and numbers are worked out at once."""
        n = order[0] if order else sp.S.Zero
        if u.is_number and n.is_Integer and n >= 0:
            return cls._of_number(u, int(n))
        return cls(u) if order and n == 0 else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The same function of the next order."""
        return self.func(self.args[0], (self.args[1] if len(self.args) > 1 else 0) + 1)


class erfcx(_Ordered):
    """The scaled complementary error function exp(u^2) erfc(u), and its derivatives."""

    @classmethod
    def _of_number(cls, u: sp.Expr, order: int) -> sp.Expr:
        # y' = 2 u y - 2/sqrt(pi), and y^(n+1) = 2 u y^(n) + 2 n y^(n-1).
        rows = [sp.exp(u**2) * sp.erfc(u)]
        rows.append(2 * u * rows[0] - 2 / sp.sqrt(sp.pi))
        for n in range(1, order):
            rows.append(2 * u * rows[n] + 2 * n * rows[n - 1])
        return rows[order]


class sine_quotient(_Ordered):
    """sin(u)/u and its derivatives; what SymPy's sinc becomes."""

    @classmethod
    def _of_number(cls, u: sp.Expr, order: int) -> sp.Expr:
        if u.is_zero:
            return sp.Integer(0 if order % 2 else (-1) ** (order // 2)) / (order + 1)
        value = sp.sin(u) / u
        for n in range(1, order + 1):  # (u y)^(n) = u y^(n) + n y^(n-1)
            value = (sp.sin(u + n * sp.pi / 2) - n * value) / u
        return value


# --------------------------------------------------------------------------------------- entries
def _beta(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Euler's beta function; gamma overflows at 172, in single precision at 36."""
    inside = sp.exp(sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b))
    plain = sp.gamma(a) * sp.gamma(b) / sp.gamma(a + b)
    return sp.Piecewise((inside, sp.And(a + b > 30, a > 0, b > 0)), (plain, True))


_SIGN = "({one} if ({0}) > {zero} else ({minus} if ({0}) < {zero} else {0}))"
declare(sp.exp, operations=(30, 20))
declare(sp.log, operations=(32, 22))
declare(sp.tanh, operations=(34, 24))
declare(sp.sin, operations=(32, 22))
declare(sp.cos, operations=(32, 22))
for _kind in (sp.tan, sp.asin, sp.acos, sp.atan, sp.sinh, sp.cosh, sp.asinh, sp.acosh, sp.atanh):
    _name = _kind.__name__
    declare(_kind, numpy=f"arc{_name[1:]}" if _name.startswith("a") else _name)
declare(sigmoid, cuda="({one}/({one} + math.exp(-({0}))))", numpy=_sigmoid_of_array)
declare(expm1)
declare(log1p)
declare(sp.erf, operations=(60, 36))
declare(sp.erfc)
declare(sp.gamma)
declare(sp.loggamma, cuda="math.lgamma({0})", numpy="gammaln")
declare(sp.floor, cuda="DTYPE(math.floor({0}))")
declare(sp.ceiling, cpu="ceil", cuda="DTYPE(math.ceil({0}))")
declare(sp.sign, cuda=_SIGN)
declare(sp.Abs, cpu="absolute", cuda="math.fabs({0})")
declare(sp.atan2, cuda="math.atan2({0}, {1})", numpy="arctan2")
# Written out in those above.
declare(logaddexp, written=lambda a, b: sp.Max(a, b) + log1p(sp.exp(-sp.Abs(a - b))))
declare(sine_quotient, written=special.sinc, orders=1)
declare(sp.sinc, written=sine_quotient, early=True)
declare(erfcx, written=special.erfcx, orders=1)
declare(sp.besselj, written=special.besselj, orders=0)
declare(sp.polygamma, written=special.polygamma, orders=0)
declare(sp.beta, written=_beta)
declare(sp.factorial, written=lambda u: sp.gamma(u + 1))
declare(sp.sech, written=special.sech)
declare(sp.csch, written=lambda u: 1 / sp.sinh(u))
declare(sp.coth, written=lambda u: 1 / sp.tanh(u))
declare(sp.sec, written=lambda u: 1 / sp.cos(u))
declare(sp.csc, written=lambda u: 1 / sp.sin(u))
declare(sp.cot, written=lambda u: sp.cos(u) / sp.sin(u))
declare(sp.asec, written=lambda u: sp.acos(1 / u))
declare(sp.acsc, written=lambda u: sp.asin(1 / u))
declare(sp.acot, written=lambda u: sp.atan(1 / u))
declare(sp.asech, written=lambda u: sp.acosh(1 / u))
declare(sp.acsch, written=lambda u: sp.asinh(1 / u))
declare(sp.acoth, written=lambda u: sp.atanh(1 / u))
declare(sp.Mod, written=lambda a, b: a - b * sp.floor(a / b), early=True)
declare(sp.frac, written=lambda u: u - sp.floor(u), early=True)
declare(cfunctions.log2, written=lambda u: sp.log(u) / sp.log(2))
declare(cfunctions.log10, written=lambda u: sp.log(u) / sp.log(10))
declare(cfunctions.exp2, written=lambda u: sp.Integer(2) ** u)
declare(cfunctions.Sqrt, written=sp.sqrt, early=True)
declare(cfunctions.Cbrt, written=lambda u: sp.sign(u) * sp.Abs(u) ** sp.Rational(1, 3))
declare(cfunctions.hypot, written=lambda a, b: sp.sqrt(a**2 + b**2))
declare(cfunctions.fma, written=lambda a, b, c: a * b + c)
declare(cosm1, written=lambda u: -2 * sp.sin(u / 2) ** 2)
declare(powm1, written=lambda a, b: expm1(b * sp.log(a)))
