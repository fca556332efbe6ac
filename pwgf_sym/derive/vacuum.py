"""What an integrand is where there is no mass, and its difference to that over the density.

A mean of f(x, rho)/rho over samples of rho estimates the integral of f over the volume that the
samples cover, and its terms grow as f(x, 0)/rho in the tails.  The mean of

    e(x, rho) = (f(x, rho) - f(x, 0+))/rho

does neither; int f(x, 0+) dx is a number that moves no mass.  The difference is divided rule by
rule, as derivatives are taken, because subtracting values would lose all digits where rho is tiny.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import sympy as sp
from sympy.logic.boolalg import Boolean

from ..functions import expm1, log1p
from ..sharing import holds
from .calculus import RHO, Gradient, power_of_density, times_density
from .pieces import KINKS, STEPS

__all__ = ["limit_in_vacuum", "over_density"]

# Powers up to this are divided as sums of products; times that a quotient is differentiated.
_LARGEST_POWER, _DEEPEST = 8, 3
_INFINITE = sp.zoo


@lru_cache(maxsize=16)
def over_density(formula: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    """e(x, RHO) and f0(x) with f(x, RHO) = RHO e(x, RHO) + f0(x).

    Parameters
    ----------
    formula : Expr
        f, a formula in x and RHO.

    Returns
    -------
    e, f0 : Expr
        f0 is the sum of the limits of all summands of f that are finite as RHO goes to 0.
    """
    quotients, limits, infinite = [], [], []
    for part in sp.Add.make_args(formula):
        value = _quick_limit(part)
        if value is None:
            value = limit_in_vacuum(part)
        if value is None:
            infinite.append(part)
        elif value == 0 and _vanishes_as_a_power(part):
            quotients.append(times_density(part, -1))
        else:
            limits.append(value)
            quotients.append(_Quotient().of(part))
    if infinite:  # infinite summands may cancel each other
        together = sp.expand_log(sp.Add(*infinite), force=True) if len(infinite) > 1 else None
        value = limit_in_vacuum(together) if together is not None else None
        if value is None:
            quotients += [times_density(part, -1) for part in infinite]
        else:
            limits.append(value)
            quotients.append(_Quotient().of(together))
    return sp.Add(*quotients), sp.Add(*limits)


def _quick_limit(part: sp.Expr) -> sp.Expr | None:
    """0 for c RHO**p, times log(RHO) if p > 0; the limit of what holds no density."""
    exponent, rest = power_of_density(part)
    if holds(exponent, [RHO]):
        return None
    if not holds(rest, [RHO]):
        return part if exponent == 0 else sp.S.Zero
    others = [f for f in sp.Mul.make_args(rest) if holds(f, [RHO])]
    plain = all(_is_logarithm(f) for f in others)
    return sp.S.Zero if plain and exponent.is_positive else None


def _is_logarithm(factor: sp.Expr) -> bool:
    base, exponent = factor.as_base_exp()
    if not (isinstance(base, sp.log) and exponent.is_Integer):
        return False
    power, rest = power_of_density(base.args[0])
    return power != 0 and not holds(rest, [RHO])


def _vanishes_as_a_power(part: sp.Expr) -> bool:
    exponent, rest = power_of_density(part)
    return exponent != 0 and (exponent.is_nonnegative is not False or not holds(rest, [RHO]))


# ---------------------------------------------------------------- limits


def limit_in_vacuum(formula: sp.Expr) -> sp.Expr | None:
    """The limit of a formula as RHO goes to 0 from above, or None where it is not finite.

    Sums, products, powers and functions of known limits; a product of 0 and infinity by the orders
    of its factors, or by de l'Hopital's rule.  The work is bounded.
    """
    found = _Limits().of(formula)
    return found if _is_finite(found) else None


def _is_finite(value: sp.Expr) -> bool:
    return not value.has(sp.oo, -sp.oo, sp.zoo, sp.nan, sp.AccumBounds)


class _Limits:
    """Limits of the parts of a formula: expressions, oo or -oo, or zoo where not known."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self._seen: dict[sp.Expr, sp.Expr] = {}

    def of(self, node: sp.Expr) -> sp.Expr:
        """The limit of a formula."""
        if not holds(node, [RHO]):
            return node
        if node not in self._seen:
            found = self._of_node(node)
            self._seen[node] = _INFINITE if found.has(sp.nan) else found
        return self._seen[node]

    def _of_node(self, node: sp.Expr) -> sp.Expr:
        if node == RHO:
            return sp.S.Zero
        if isinstance(node, sp.Piecewise):
            return self._of_piecewise(node)
        if node.is_Pow:
            return self._of_power(node)
        args = [self.of(arg) for arg in node.args]
        if node.is_Mul:
            return self._of_product(node, args)
        if isinstance(node, sp.log):
            (inner,) = args
            return -sp.oo if inner == 0 else sp.oo if inner == sp.oo else self._applied(node, args)
        return self._applied(node, args)

    @staticmethod
    def _applied(node: sp.Expr, args: Sequence[sp.Expr]) -> sp.Expr:
        if sp.zoo in args:
            return _INFINITE
        return node.func(*args)

    def _of_piecewise(self, node: sp.Piecewise) -> sp.Expr:
        cases = []
        for value, condition in node.args:
            cases.append((self.of(value), self.of_condition(condition)))
        return sp.Piecewise(*cases)

    def of_condition(self, condition: Boolean) -> Boolean:
        """A condition with the limits of both sides of its comparisons."""
        comparisons = condition.atoms(sp.core.relational.Relational)
        return condition.xreplace({c: c.func(self.of(c.lhs), self.of(c.rhs)) for c in comparisons})

    def _of_power(self, node: sp.Pow) -> sp.Expr:
        if holds(node.exp, [RHO]):
            return self._applied(sp.exp, [self.of(node.exp * sp.log(node.base))])
        base, exponent = self.of(node.base), node.exp
        if base == 0:
            return _INFINITE if exponent.is_negative else sp.S.Zero
        if not _is_finite(base):
            return sp.S.Zero if exponent.is_negative else base**exponent
        return base**exponent

    def _of_product(self, node: sp.Mul, args: Sequence[sp.Expr]) -> sp.Expr:
        if all(_is_finite(a) for a in args):
            return sp.Mul(*args)
        if sp.S.Zero not in args:
            return sp.Mul(*args)
        power, logs = self.order(node)
        if power is not None and (power.is_positive or (power == 0 and logs < 0)):
            return sp.S.Zero
        if power is not None and (power.is_negative or (power == 0 and logs > 0)):
            return _INFINITE
        return self._of_quotient(node, args)

    def _of_quotient(self, node: sp.Mul, args: Sequence[sp.Expr]) -> sp.Expr:
        """A product of factors that vanish and factors that do not stay finite."""
        if self.depth >= _DEEPEST:
            return _INFINITE
        pairs = list(zip(node.args, args, strict=True))
        finite = sp.Mul(*(limit for _, limit in pairs if _is_finite(limit) and limit != 0))
        above = sp.Mul(*(factor for factor, limit in pairs if limit == 0))
        below = sp.Mul(*(1 / factor for factor, limit in pairs if not _is_finite(limit)))
        if below.has(sp.log):
            return _INFINITE
        slope = Gradient([RHO])
        ((up,), (down,)) = slope(above), slope(below)
        return finite * _Limits(self.depth + 1).of(up / down) if down != 0 else _INFINITE

    def order(self, node: sp.Expr) -> tuple[sp.Expr | None, int]:
        """p and q where a formula behaves as RHO**p log(RHO)**q; p is None where not known."""
        if not holds(node, [RHO]):
            return sp.S.Zero, 0
        if node == RHO:
            return sp.S.One, 0
        if node.is_Mul:
            orders = [self.order(arg) for arg in node.args]
            known = all(p is not None for p, _ in orders)
            return (sp.Add(*(p for p, _ in orders)) if known else None), sum(q for _, q in orders)
        if node.is_Pow and not holds(node.exp, [RHO]):
            power, logs = self.order(node.base)
            whole = logs == 0 or node.exp.is_Integer
            return (None if power is None or not whole else power * node.exp), (
                int(logs * node.exp) if logs and whole else 0
            )
        limit = self.of(node)
        if _is_finite(limit):
            return (sp.S.Zero, 0) if limit != 0 else self._order_of_zero(node)
        if isinstance(node, sp.log):
            power, _ = self.order(node.args[0])
            return (sp.S.Zero, 1) if power is not None and power.is_nonzero else (None, 0)
        return None, 0

    def _order_of_zero(self, node: sp.Expr) -> tuple[sp.Expr | None, int]:
        """Order 1 of what vanishes with a slope."""
        if self.depth >= _DEEPEST or node.has(*STEPS, *KINKS, sp.Piecewise):
            return None, 0
        (slope,) = Gradient([RHO])(node)
        limit = _Limits(self.depth + 1).of(slope)
        return (sp.S.One, 0) if _is_finite(limit) and limit != 0 else (None, 0)


# ---------------------------------------------------------------- differences over the density


class _Quotient:
    """(u(RHO) - u(0))/RHO of a formula u, by rules such as those for derivatives."""

    def __init__(self) -> None:
        self.limits = _Limits()
        self._seen: dict[sp.Expr, sp.Expr] = {}

    def of(self, node: sp.Expr) -> sp.Expr:
        """The quotient of a formula with a finite limit."""
        if not holds(node, [RHO]):
            return sp.S.Zero
        if node not in self._seen:
            found = self._by_rule(node)
            self._seen[node] = self._plain(node) if found is None else found
        return self._seen[node]

    def _plain(self, node: sp.Expr) -> sp.Expr:
        limit = self.limits.of(node)
        return times_density(node, -1) if limit == 0 else (node - limit) / RHO

    def _by_rule(self, node: sp.Expr) -> sp.Expr | None:
        if node == RHO:
            return sp.S.One
        if node.is_Pow and node.base == RHO and not holds(node.exp, [RHO]):
            return RHO ** (node.exp - 1)
        if isinstance(node, sp.Piecewise):
            return self._of_piecewise(node)
        if not all(_is_finite(self.limits.of(a)) for a in node.args if isinstance(a, sp.Expr)):
            return None
        if node.is_Add:
            return sp.Add(*map(self.of, node.args))
        if node.is_Mul:
            return self._of_product(node)
        if node.is_Pow and not holds(node.exp, [RHO]):
            return self._of_power(node.base, node.exp)
        rules: dict[type, Callable[[sp.Expr], sp.Expr | None]] = {
            sp.log: self._of_log,
            sp.exp: self._of_exp,
            sp.Abs: self._of_abs,
        }
        if type(node) in rules:
            return rules[type(node)](node.args[0])
        return self._by_series(node) if len(node.args) == 1 else None

    def _of_product(self, node: sp.Mul) -> sp.Expr:
        exponent, rest = power_of_density(node)
        if exponent != 0:
            return times_density(node, -1)
        fixed, moving = rest.as_independent(RHO, as_Add=False)
        factors = list(sp.Mul.make_args(moving))
        # a b - a0 b0 = (a - a0) b + a0 (b - b0)
        terms: list[sp.Expr] = []
        before: list[sp.Expr] = []
        for k, factor in enumerate(factors):
            terms.append(sp.Mul(*before, self.of(factor), *factors[k + 1 :]))
            before.append(self.limits.of(factor))
        return fixed * sp.Add(*terms)

    def _of_power(self, base: sp.Expr, exponent: sp.Expr) -> sp.Expr | None:
        start, step = self.limits.of(base), self.of(base)
        if exponent.is_negative and start != 0:
            inverse = -step / (base * start)
            return inverse if exponent == -1 else self._chained(1 / base, inverse, -exponent)
        return self._chained(base, step, exponent)

    def _chained(self, base: sp.Expr, step: sp.Expr, exponent: sp.Expr) -> sp.Expr | None:
        """Of base**exponent, the quotient of the base being known."""
        start = self.limits.of(base)
        if exponent == 1:
            return step
        if exponent.is_Integer and 1 < exponent <= _LARGEST_POWER:
            powers = [base**k * start ** (exponent - 1 - k) for k in range(int(exponent))]
            return step * sp.Add(*powers)
        if start == 0 or exponent.is_Integer:
            return None
        if exponent == sp.S.Half:
            return step / (sp.sqrt(base) + sp.sqrt(start))
        if start.is_positive:
            change = expm1(exponent * log1p(times_density(step, 1) / start))
            return start**exponent * change / RHO
        return None

    def _of_log(self, base: sp.Expr) -> sp.Expr | None:
        start = self.limits.of(base)
        return log1p(times_density(self.of(base), 1) / start) / RHO if start != 0 else None

    def _of_exp(self, power: sp.Expr) -> sp.Expr:
        return sp.exp(self.limits.of(power)) * expm1(times_density(self.of(power), 1)) / RHO

    def _of_piecewise(self, node: sp.Piecewise) -> sp.Expr | None:
        """The quotient of the piece at 0, and of values less its limit in the other pieces."""
        held = [self.limits.of_condition(condition) for _, condition in node.args]
        first = held.index(sp.true) if sp.true in held else None
        if first is None or any(h != sp.false for h in held[:first]):
            return None
        start = self.limits.of(node.args[first][0])
        cases = []
        for k, (value, condition) in enumerate(node.args):
            cases.append((self.of(value) if k == first else (value - start) / RHO, condition))
        return sp.Piecewise(*cases) if _is_finite(start) else None

    def _by_series(self, node: sp.Expr) -> sp.Expr | None:
        """Of a smooth function: by its series where the argument changes by little."""
        if isinstance(node, (*STEPS, *KINKS)) or type(node).fdiff is sp.Function.fdiff:
            return None
        (inner,) = node.args
        start, step, mark = self.limits.of(inner), self.of(inner), sp.Dummy(real=True)
        change = times_density(step, 1)
        slopes = [node.func(mark).diff(mark, k).subs(mark, start) for k in range(1, 5)]
        if not all(map(_is_finite, slopes)):
            return None
        terms = [s * change**k / sp.factorial(k + 1) for k, s in enumerate(slopes)]
        series = step * sp.Add(*terms)
        near = sp.Abs(change) < sp.Rational(1, 1000)
        return sp.Piecewise((series, near), ((node - node.func(start)) / RHO, True))

    def _of_abs(self, inner: sp.Expr) -> sp.Expr | None:
        start = self.limits.of(inner)
        if start == 0:
            return None
        same = sp.sign(start) * self.of(inner)
        jumped = (sp.Abs(inner) - sp.Abs(start)) / RHO
        return sp.Piecewise((same, inner * start > 0), (jumped, True))
