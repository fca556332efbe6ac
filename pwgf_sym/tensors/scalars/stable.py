"""Formulas in functions that lose no digits and do not overflow on the way.

SymPy has no logistic function, and its tree keeps 1/(1 + exp(-u)), log(1 + u) and exp(u) - 1 as
they are.  Evaluated like that they overflow or cancel, and the derivative of 1/(1 + exp(-u)) needs
another exp; that of sigmoid(u) is s (1 - s) with the value s that is there already.

:func:`smooth` names these three functions; its results can be differentiated.  :func:`stable`
brings logarithms, quotients and products of any sums of exponentials to the form exp(m) r of
:mod:`~pwgf_sym.tensors.scalars.scaled` besides.  It is the last step: m is a maximum, which cancels
in exact arithmetic but has a kink of its own.  Rewriting after differentiation serves quotients
that users write as well as those that derivatives leave; logarithms that are rewritten before it,
as log-sum-exp L with the derivative sum_k v_k' exp(v_k - L), serve the latter only, and lose
the digits of L in the exponents: at L = 1e4 the weights of a softmax are wrong by 1e-12 in double
and by 1e-3 in single precision, where exp(v_k - m) of the largest exponent is exactly 1.
"""

from __future__ import annotations

import sympy as sp

from ...functions import expm1, log1p, sigmoid
from ...sharing import has_symbols, holds
from .gates import gated
from .scaled import ExponentialSum, Product, largest

__all__ = ["smooth", "stable"]


# What makes an expression worth a look.
_EXPONENTIAL = (sp.exp, sp.sinh, sp.cosh, sp.sech, sp.csch, sp.coth, expm1)

# log(1 + u)/u is 1 for so small u in both precisions.
_SMALL = sp.Float(1e-30)
_RATES = (1, 2, 3, sp.Rational(1, 2), sp.Rational(3, 2))


def smooth(expression: sp.Basic) -> sp.Basic:
    """The same function of the same symbols, with sigmoid, log1p and expm1 where they apply.

    (c + c exp(v))**p with p < 0 becomes c**p sigmoid(-v)**-p, and exp(v) sigmoid(-v) sigmoid(v).
    """
    return _smooth(expression, {}) if holds(expression, (sp.exp, sp.log)) else expression


def stable(expression: sp.Basic) -> sp.Basic:
    """The same function, right wherever its value is a number of the precision's range.

    Not to be differentiated any more.
    """
    if holds(expression, (*_EXPONENTIAL, sp.Pow, sp.log)):
        expression = _Scaling().of(expression)
    return smooth(expression)


def _is_even_power(node: sp.Basic) -> bool:
    """Whether a node is an even power of a real number, which leaves the range before that."""
    return bool(node.is_Pow and node.args[1].is_even and node.args[0].is_real)


class _Scaling:
    """Brings logarithms, quotients and products of exponentials to exp(m) r; remembers results."""

    def __init__(self) -> None:
        self._known: dict[sp.Basic, sp.Basic] = {}
        self._moving: dict[sp.Basic, bool] = {}
        self._weights: dict[sp.Expr, dict[sp.Expr, sp.Expr]] = {}

    def of(self, node: sp.Basic) -> sp.Basic:
        """The stable form of a node."""
        if not node.args:
            return node
        if node not in self._known:
            pieces = gated(node) if node.is_Mul else None
            if pieces is not None:
                self._known[node] = self.of(pieces)
            elif isinstance(node, (sp.Mul, sp.Pow)) and self.moving(node):
                self._known[node] = self._product(node)
            elif isinstance(node, sp.log) and _is_even_power(node.args[0]):
                base, exponent = node.args[0].args
                self._known[node] = exponent * self.of(sp.log(sp.Abs(base)))
            elif isinstance(node, (sp.log, log1p)):
                inside = node.args[0] + (1 if isinstance(node, log1p) else 0)
                flipped = self._flipped(inside)
                if flipped is not None:
                    self._known[node] = -self.of(sp.log(flipped))
                    return self._known[node]
                logistic = any(isinstance(f, sigmoid) for f in inside.as_powers_dict())
                moving = logistic or self.moving(inside)
                found = self._logarithm(inside) if moving else None
                self._known[node] = self._generic(node) if found is None else found
            else:
                self._known[node] = self._generic(node)
        return self._known[node]

    def _generic(self, node: sp.Basic) -> sp.Basic:
        args = [self.of(arg) for arg in node.args]
        same = all(a is b for a, b in zip(args, node.args, strict=True))
        return node if same else node.func(*args)

    def moving(self, node: sp.Basic) -> bool:
        """Whether a node is a sum, product or power of exponentials of something."""
        if not node.args:
            return False
        if node not in self._moving:
            self._moving[node] = self._is_moving(node)
        return self._moving[node]

    def _is_moving(self, node: sp.Basic) -> bool:
        if isinstance(node, (*_EXPONENTIAL, sp.erfc)):
            return has_symbols(node.args[0])
        if node.is_Pow:
            base, exponent = node.args
            number = base.is_number and base.is_positive and has_symbols(exponent)
            return bool(number) or self.moving(base)
        if isinstance(node, (sp.Add, sp.Mul, sp.Abs)):
            return _tail(node) is not None or any(map(self.moving, node.args))
        return False

    def _product(self, node: sp.Expr) -> sp.Expr:
        parts = self._with_small_logarithm(node)
        if parts is not None:
            m, r = parts.scaled()
            return sp.exp(m) * r
        parts = self.parts(node)
        single = not parts.sums and not parts.tails
        if single and parts.exponent == 0:  # a quotient of equal exponentials
            return sp.Mul(*parts.plain)
        if single and _mixed(node):
            return sp.exp(parts.exponent) * sp.Mul(*parts.plain)
        if not parts.needs_scale and not self._inverse(parts):
            return self._generic(node)
        found = _logistic(parts)
        if found is None and parts.needs_scale:
            parts.with_tangents()
            if parts.needs_scale:
                m, r = parts.scaled()
                found = _logistic(parts) or sp.exp(m) * r
            else:
                powers = [self._generic(parts.written[s]) ** p for s, p in parts.sums.items()]
                powers += [sp.erfc(u) ** p for u, p in parts.tails.items()]
                found = sp.Mul(*parts.plain, sp.exp(parts.exponent), *powers)
        return self._generic(node) if found is None else found

    def _with_small_logarithm(self, node: sp.Expr) -> Product | None:
        """exp(-k v) log(1 + c exp(v)), with the logarithm as exp(v - max(v, 0)) r."""
        factors = sp.Mul.make_args(node)
        for factor in factors:
            if not isinstance(factor, (sp.log, log1p)):
                continue
            inside = factor.args[0] + (1 if isinstance(factor, log1p) else 0)
            flipped = self._flipped(inside)
            sign, inside = (1, inside) if flipped is None else (-1, flipped)
            terms = self._terms(inside) if inside.is_Add and self.moving(inside) else {}
            weight, others = terms.get(sp.S.Zero), [v for v in terms if v != 0]
            if weight != 1 or len(others) != 1:
                continue
            (v,) = others
            parts = self.parts(sp.Mul(*(f for f in factors if f is not factor)))
            if any(sp.expand(parts.exponent + k * v) == 0 for k in _RATES):
                parts.exponent += v - largest(sp.S.Zero, v)
                small = largest(sp.exp(-sp.Abs(v)), _SMALL)
                ratio = log1p(terms[v] * small) / small
                parts.plain.append(sp.Piecewise((sign * ratio, v < 0), (self.of(factor), True)))
                return parts
        return None

    def _flipped(self, inside: sp.Expr) -> sp.Expr | None:
        """1 + B/A of 1 - B/(A + B) = A/(A + B): the quotient loses what is near 0 beside 1."""
        if not inside.is_Add or len(inside.args) > 3 or not self.moving(inside):
            return None
        above, below = sp.fraction(sp.together(inside))
        if above.is_Add or not below.has(sp.Add):
            return None
        ratio = sp.Add(*(t / above for t in sp.Add.make_args(sp.expand_mul(below))))
        return ratio if ratio.as_coeff_Add()[0] == 1 and len(ratio.args) == 2 else None

    @staticmethod
    def _inverse(parts: Product) -> bool:
        """Whether it is a negative power of one sum c + c exp(v)."""
        if parts.exponent != 0 or len(parts.sums) != 1:
            return False
        ((found, power),) = parts.sums.items()
        return bool(power.is_negative and 0 in found.exponents and len(set(found.weights)) == 1)

    def _logarithm(self, inside: sp.Expr) -> sp.Expr | None:
        """The logarithm of a product of exponentials; None where it is right as it stands."""
        parts = self.parts(inside)
        bounded = parts.exponent == 0 and all(found.bounded for found in parts.sums)
        if bounded and not parts.tails:
            return None
        parts.with_tails()
        plain = sp.Mul(*parts.plain)
        if all(found.positive for found in parts.sums):
            return self._sum_of_logarithms(parts) + sp.log(plain)
        if len(parts.sums) == 1 and plain.is_positive:
            ((found, power),) = parts.sums.items()
            if found.opposite and abs(power) == 1:
                terms = [parts.exponent, power * found.logarithm_of_difference()]
                return sp.Add(*terms, sp.log(plain))
        m, r = parts.scaled()
        return m + sp.log(r)

    @staticmethod
    def _sum_of_logarithms(parts: Product) -> sp.Expr:
        exponent, terms = parts.exponent, []
        for found, power in parts.sums.items():
            if power == -1 and exponent in found.exponents:  # of exp(a)/(exp(a) + exp(b)), near 1
                terms.append(-found.logarithm(exponent))
                exponent = sp.S.Zero
            else:
                terms.append(power * found.logarithm())
        return sp.Add(exponent, *terms)

    def parts(self, node: sp.Expr) -> Product:
        """A product taken apart."""
        parts = Product()
        for factor in sp.Mul.make_args(node):
            self._multiply(parts, factor, sp.S.One)
        return parts

    def _multiply(self, parts: Product, factor: sp.Expr, power: sp.Expr) -> None:
        base, exponent = factor.as_base_exp()
        if isinstance(base, sigmoid):
            u = self.of(base.args[0])
            terms = {sp.S.Zero: sp.S.One, -u: sp.S.One}
            parts.multiply(ExponentialSum.of(terms), -power * self.of(exponent), 1 + sp.exp(-u))
        elif not self.moving(factor):
            parts.plain.append(self.of(factor) ** power)
        elif isinstance(factor, sp.exp):
            parts.exponent += power * self.of(factor.args[0])
        elif isinstance(factor, (sp.sech, sp.csch)):
            inverse = sp.cosh if isinstance(factor, sp.sech) else sp.sinh
            self._multiply(parts, inverse(factor.args[0]), -power)
        elif isinstance(factor, sp.coth):
            self._multiply(parts, sp.cosh(factor.args[0]), power)
            self._multiply(parts, sp.sinh(factor.args[0]), -power)
        elif isinstance(factor, sp.erfc):
            u = self.of(factor.args[0])
            parts.tails[u] = parts.tails.get(u, sp.S.Zero) + power
        elif (tail := _tail(factor)) is not None:
            number, u = tail
            parts.plain.append(number**power)
            parts.tails[self.of(u)] = parts.tails.get(self.of(u), sp.S.Zero) + power
        elif factor.is_Mul:
            for part in factor.args:
                self._multiply(parts, part, power)
        elif factor.is_Pow:
            self._multiply_power(parts, factor, power)
        elif isinstance(factor, sp.Abs):
            m, r = self.parts(factor.args[0]).scaled()
            parts.exponent += power * m
            parts.plain.append(sp.Abs(r) ** power)
        elif self._flipped(factor) is not None:
            self._multiply(parts, self._flipped(factor), -power)
        else:
            parts.multiply(ExponentialSum.of(self._terms(factor)), power, factor)

    def _multiply_power(self, parts: Product, factor: sp.Pow, power: sp.Expr) -> None:
        base, exponent = factor.args
        if not self.moving(base):
            parts.exponent += power * self.of(exponent) * sp.log(base)
        elif exponent.is_Integer or not base.is_Mul:
            self._multiply(parts, base, power * self.of(exponent))
        else:  # the factors of the base may be negative, two by two
            m, r = self.parts(base).scaled()
            parts.exponent += power * self.of(exponent) * m
            parts.plain.append(r ** (power * self.of(exponent)))

    def _terms(self, node: sp.Expr) -> dict[sp.Expr, sp.Expr]:
        """Weights by exponents of a sum of exponentials."""
        if node not in self._weights:
            self._weights[node] = self._new_terms(node)
        return self._weights[node]

    def _new_terms(self, node: sp.Expr) -> dict[sp.Expr, sp.Expr]:
        half = sp.Rational(1, 2)
        if isinstance(node, (sp.sinh, sp.cosh)):
            u = self.of(node.args[0])
            return {u: half, -u: half if isinstance(node, sp.cosh) else -half}
        if isinstance(node, expm1):
            return {self.of(node.args[0]): sp.S.One, sp.S.Zero: sp.S.NegativeOne}
        if node.is_Add:
            found: dict[sp.Expr, sp.Expr] = {}
            for term in node.args:
                for exponent, weight in self._terms(term).items():
                    found[exponent] = found.get(exponent, sp.S.Zero) + weight
            return found
        parts = self.parts(node)
        if list(parts.sums.values()) == [1]:
            parts.with_tails()
            (inner,) = parts.sums
            pairs = zip(inner.exponents, inner.weights, strict=True)
            plain = sp.Mul(*parts.plain)
            return {parts.exponent + v: plain * c for v, c in pairs}
        logistic = _logistic(parts) if parts.needs_scale else None
        m, r = parts.scaled() if logistic is None else (sp.S.Zero, logistic)
        return {m: r}


def _logistic(parts: Product) -> sp.Expr | None:
    """The product in sigmoid, where it is exp(k u)/(1 + exp(u))**p with 0 <= k <= p."""
    if len(parts.sums) != 1 or parts.tails:
        return None
    ((found, power),) = parts.sums.items()
    if not (power.is_number and power.is_negative):
        return None
    form = found.as_logistic(power, parts.exponent)
    if form is None:
        return None
    factor, u, k = form
    return sp.Mul(*parts.plain, factor, sigmoid(u) ** k, sigmoid(-u) ** (-power - k))


def _tail(node: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
    """(c, u) of c + c erf(-u) = c erfc(u), and of 2 c - c erfc(-u), which SymPy makes of it."""
    number, rest = node.as_coeff_Add()
    factor, function = rest.as_coeff_Mul()
    if isinstance(function, sp.erf) and number != 0 and abs(factor) == abs(number):
        return number, function.args[0] * (-factor / number)
    if isinstance(function, sp.erfc) and number != 0 and number == -2 * factor:
        return -factor, -function.args[0]
    return None


def _mixed(node: sp.Expr) -> bool:
    """Whether it has two exponentials, of which one may overflow where the other is zero."""
    exponents = [f.args[0] for f in sp.Mul.make_args(node) if isinstance(f, sp.exp)]
    return len(exponents) > 1 and not all(v.is_nonpositive for v in exponents)


def _smooth(expression: sp.Basic, known: dict[sp.Basic, sp.Basic]) -> sp.Basic:
    """Subexpressions first; ``known`` remembers results, since large formulas repeat themselves."""
    if not expression.args:
        return expression
    if expression not in known:
        args = [_smooth(arg, known) for arg in expression.args]
        same = all(a is b for a, b in zip(args, expression.args, strict=True))
        rebuilt = expression if same else expression.func(*args)
        rule = next((rule for kind, rule in _RULES if isinstance(rebuilt, kind)), None)
        known[expression] = rule(rebuilt) if rule else rebuilt
    return known[expression]


def _exponential_term(term: sp.Expr) -> tuple[sp.Expr, sp.Expr] | None:
    """(c, v) of a term c exp(v) with a number c, else None."""
    number, factor = term.as_coeff_Mul()
    return (number, factor.args[0]) if isinstance(factor, sp.exp) else None


def _power(power: sp.Pow) -> sp.Expr:
    base, exponent = power.args
    number, rest = base.as_coeff_Add()
    term = _exponential_term(rest)
    if term is None or not (exponent.is_number and exponent.is_negative and number.is_positive):
        return power
    factor, v = term
    return number**exponent * sigmoid(-v) ** -exponent if (factor - number).is_zero else power


def _product(product: sp.Mul) -> sp.Expr:
    factors = list(product.args)
    for k, factor in enumerate(factors):
        if not isinstance(factor, sp.exp):
            continue
        for j, other in enumerate(factors):
            base, exponent = other.as_base_exp()
            if isinstance(base, sigmoid):
                (w,) = base.args
                times = -factor.args[0] / w
                if times.is_Integer and exponent.is_number and 0 < times <= exponent:
                    factors[k] = sigmoid(-w) ** times
                    factors[j] = base ** (exponent - times)
                    return sp.Mul(*factors)
    return product


def _sum(total: sp.Add) -> sp.Expr:
    number, _ = total.as_coeff_Add()
    if number == 0:
        return total
    for term in total.args:
        match _exponential_term(term):
            case (factor, v) if (factor + number).is_zero:
                return total - term - number + factor * expm1(v)
    return total


def _logarithm(logarithm: sp.log) -> sp.Expr:
    (inside,) = logarithm.args
    if inside.is_Mul and holds(inside, [sp.exp]):  # the derivative of log(u/v) is u'/u - v'/v
        apart = sp.expand_log(logarithm, deep=False)
        return apart if apart.func is sp.log else _smooth(apart, {})
    number, rest = inside.as_coeff_Add()
    return log1p(rest) if (number - 1).is_zero and has_symbols(rest) else logarithm


_RULES = [(sp.Pow, _power), (sp.Mul, _product), (sp.Add, _sum), (sp.log, _logarithm)]
