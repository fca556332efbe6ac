"""Calculus on formulas f(x, rho): all partial derivatives at once, and rho written as exp(l).

Inside formulas the value of the density is the symbol :data:`RHO`, an independent variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import sympy as sp
from sympy.core.function import AppliedUndef

from ..sharing import holds, is_long, parts, symbols_of
from .pieces import KINKS, STEPS, piecewise_slopes

__all__ = [
    "RHO",
    "Gradient",
    "derivative",
    "derivatives",
    "in_log_density",
    "negated",
    "times_density",
]

RHO = sp.Dummy("rho", positive=True)


class Gradient:
    """All partial derivatives of expressions at once, each subexpression visited once.

    ``expr.diff`` walks the whole expression once a symbol, d times as long.  One object serves
    several expressions, for instance an energy density and its first variation, and remembers
    the derivatives of what they have in common.  Kinks and steps are differentiated between their
    borders: that is the derivative of what is continuous across them, which is not checked here.

    Parameters
    ----------
    symbols : sequence of Symbol
        Independent variables; a density in an expression counts as a constant.
    """

    def __init__(self, symbols: Sequence[sp.Symbol]):
        self.symbols = tuple(symbols)
        self._wanted = frozenset(symbols)
        self._seen: dict[sp.Expr, dict[sp.Symbol, sp.Expr]] = {}

    def __call__(self, expr: sp.Expr) -> tuple[sp.Expr, ...]:
        """The partial derivatives, one a symbol."""
        found = self._partials(expr)
        return tuple(found.get(symbol, sp.S.Zero) for symbol in self.symbols)

    def _partials(self, node: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """The nonzero partial derivatives of a node."""
        if node not in self._seen:
            self._seen[node] = self._of_node(node)
        return self._seen[node]

    def _of_node(self, node: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        if node.is_Symbol:
            return {node: sp.S.One} if node in self._wanted else {}
        if not node.args or isinstance(node, AppliedUndef):
            return {}
        if node.is_Add:
            return _linear(self._partials(arg) for arg in self._groups(node))
        pieces = piecewise_slopes(node, self._partials)
        if pieces is not None:
            return pieces
        if node.is_Mul:
            return _linear(self._of_factor(node.args, i) for i in range(len(node.args)))
        if node.is_Pow and not self._partials(node.exp):
            slopes = self._partials(node.base)
            rest = node.base ** (node.exp - 1) if slopes else None
            return {s: sp.Mul(node.exp, slope, rest) for s, slope in slopes.items()}
        if isinstance(node, sp.log) and node.args[0].is_Mul:
            # Factor by factor: the quotient of a product of exponentials by itself overflows.
            return _linear(self._partials(sp.log(factor)) for factor in node.args[0].args)
        if _has_derivative(node):
            return _linear(self._of_argument(node, i) for i in range(len(node.args)))
        present = sorted(symbols_of(node) & self._wanted, key=str)
        found = {symbol: node.diff(symbol) for symbol in present}
        return {symbol: slope for symbol, slope in found.items() if slope != 0}

    def _groups(self, node: sp.Add) -> list[sp.Expr]:
        """The summands, those without RHO that depend on x as one sum.

        V stands in V + log(rho) and in V + log(rho) + 1: its derivatives are added up once.
        """
        free: list[sp.Expr] = []
        groups: list[sp.Expr] = []
        for arg in node.args:
            if self._partials(arg):
                (groups if holds(arg, [RHO]) else free).append(arg)
        return [*groups, sp.Add(*free)] if groups and free else [*groups, *free]

    def _of_argument(self, node: sp.Function, i: int) -> dict[sp.Symbol, sp.Expr]:
        """What argument i adds to the derivatives of a function."""
        slopes = self._partials(node.args[i])
        outer = node.fdiff(i + 1) if slopes else None
        return {symbol: _times(outer, slope) for symbol, slope in slopes.items()}

    def _of_factor(self, factors: Sequence[sp.Expr], i: int) -> dict[sp.Symbol, sp.Expr]:
        slopes = self._partials(factors[i])
        rest = sp.Mul(*factors[:i], *factors[i + 1 :]) if slopes else None
        return {symbol: _times(rest, slope) for symbol, slope in slopes.items()}


def derivative(expr: sp.Expr, symbol: sp.Symbol) -> sp.Expr:
    """The derivative between borders of kinks; SymPy's own where there are none."""
    if holds(expr, (*STEPS, *KINKS, sp.Piecewise)):
        return Gradient([symbol])(expr)[0]
    return expr.diff(symbol)


def derivatives(expr: sp.Expr, symbols: Sequence[sp.Symbol]) -> Sequence[sp.Expr]:
    """The derivatives by symbols; of what shares most of its parts, a determinant, all at once."""
    if is_long(expr, 4 * sum(1 for _ in parts(expr))):
        return Gradient(symbols)(expr)
    return [derivative(expr, symbol) for symbol in symbols]


def _has_derivative(node: sp.Expr) -> bool:
    # Function.fdiff itself only makes an unevaluated Derivative; sign and Piecewise inherit it.
    return isinstance(node, sp.Function) and type(node).fdiff is not sp.Function.fdiff


def _linear(summands: Iterable[dict[sp.Symbol, sp.Expr]]) -> dict[sp.Symbol, sp.Expr]:
    collected: dict[sp.Symbol, list[sp.Expr]] = {}
    for slopes in summands:
        for symbol, slope in slopes.items():
            collected.setdefault(symbol, []).append(slope)
    return {symbol: sp.Add(*slopes) for symbol, slopes in collected.items()}


def _times(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    # Products with one are most of the derivatives of a polynomial, and SymPy's are slow.
    return b if a is sp.S.One else a if b is sp.S.One else a * b


def negated(expr: sp.Expr) -> sp.Expr:
    """-expr with the sign in a factor that reads better so: (x - y)*e for -(y - x)*e."""
    return sp.Add(*(_negated_product(p) for p in sp.Add.make_args(expr)))


def _negated_product(product: sp.Expr) -> sp.Expr:
    coefficient, factors = product.as_coeff_mul()
    for i, factor in enumerate(factors):
        if coefficient.is_positive and factor.is_Add and factor.could_extract_minus_sign():
            return sp.Mul(coefficient, *factors[:i], -factor, *factors[i + 1 :])
    return -product


def times_density(expr: sp.Expr, power: int) -> sp.Expr:
    """``expr * RHO**power``, summand by summand and with the powers of RHO in each combined."""
    return sp.Add(*(_combined(p, power) for p in sp.Add.make_args(expr)))


def _combined(product: sp.Expr, power: int) -> sp.Expr:
    exponent, rest = power_of_density(product)
    return rest * RHO ** (exponent + power)


def power_of_density(product: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """p and c of the product c*RHO**p; SymPy leaves RHO*RHO**(m - 2) as it is."""
    exponent, rest = sp.S.Zero, []
    for factor in sp.Mul.make_args(product):
        base, power = factor.as_base_exp()
        if base == RHO:
            exponent += power
        else:
            rest.append(factor)
    return exponent, sp.Mul(*rest)


def in_log_density(expr: sp.Expr, log_density: sp.Symbol) -> sp.Expr:
    """Write RHO = exp(l): products of powers RHO**p as exp(p*l), log(c*RHO**p) as p*l + log(c).

    Exponents are added first, where exp(l)*exp((m - 2)*l) could overflow or be 0*inf.
    """
    seen = {RHO: sp.exp(log_density)}

    local_parts: dict[sp.Basic, bool] = {}

    def is_local(node: sp.Basic) -> bool:
        if node not in local_parts:
            local_parts[node] = node == RHO or any(map(is_local, node.args))
        return local_parts[node]

    def written(node: sp.Basic) -> sp.Basic:
        if node not in seen:
            local = is_local(node)
            seen[node] = _node_in_log_density(node, written, log_density) if local else node
        return seen[node]

    return written(expr)


def _node_in_log_density(
    node: sp.Basic, written: Callable[[sp.Basic], sp.Basic], log_density: sp.Symbol
) -> sp.Basic:
    product, exponent = node, sp.S.One
    if node.is_Pow:  # RHO is positive, so (c RHO**p)**q = c**q RHO**(p q).
        product, exponent = node.args
    elif isinstance(node, sp.log):
        product = node.args[0]
    if product == RHO or product.is_Mul or product.is_Pow:
        power, rest = power_of_density(product)
        if power != 0 and isinstance(node, sp.log):
            return written(power) * log_density + sp.log(written(rest))
        if power != 0:
            return sp.exp(written(power * exponent) * log_density) * written(rest**exponent)
    return node.func(*(written(arg) for arg in node.args))
