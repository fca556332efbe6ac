"""Sums of exponentials as exp(m) r: m is the largest exponent, r a number of moderate size.

A sum c_1 exp(v_1) + ... + c_K exp(v_K) overflows, or underflows to zero, long before its logarithm
or its quotient by another such sum do.  So a product of sums is written exp(m) r, where exponents
of numerator and denominator cancel as formulas, and only what is left is evaluated:

    m = max_k v_k,   r = sum_k c_k exp(v_k - m),   log of the sum = m + log r.

Weights that add up to zero have expm1 for exp, which keeps the digits where exponents are near to
each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import sympy as sp

from ...functions import erfcx, expm1, log1p

__all__ = ["ExponentialSum", "Product", "largest"]

# Differences of exponents with more operations are not multiplied out to see what cancels.
_LARGEST = 200
# An exponential above is not looked for among more products of those below.
_PLACES = 300


class largest(sp.Function):
    """The largest of its arguments; they are compared with 0 only.

    SymPy's Max compares every two of them by their assumptions: a minute for twelve Gaussians.
    """

    @classmethod
    def eval(cls, *args: sp.Expr) -> sp.Expr | None:
        """Without what is seen to be smaller, in an order that depends on nothing else."""
        known = {part for arg in args for part in (arg.args if isinstance(arg, cls) else (arg,))}
        if 0 in known:
            known = {g for g in known if g == 0 or not g.is_nonpositive}
            if any(g.is_nonnegative and g != 0 for g in known):
                known.discard(sp.S.Zero)
        ordered = tuple(sorted(known, key=sp.default_sort_key))
        if len(ordered) == 1:
            return ordered[0]
        return None if ordered == args else cls(*ordered)

    def _eval_is_real(self) -> bool:
        return True

    def _eval_is_nonnegative(self) -> bool | None:
        return True if 0 in self.args else None

    def _written(self, printer: Any) -> str:
        return printer._print(sp.Max(*self.args, evaluate=False))

    _numpycode = _mpmathcode = _pythoncode = _written


@dataclass(frozen=True)
class ExponentialSum:
    """The sum of weights[k] exp(exponents[k]), exponents different from each other."""

    exponents: tuple[sp.Expr, ...]
    weights: tuple[sp.Expr, ...]

    @staticmethod
    def of(terms: dict[sp.Expr, sp.Expr]) -> ExponentialSum:
        """From weights by exponents, in an order that depends on nothing else."""
        known = {v: c for v, c in terms.items() if c != 0}
        exponents = sorted(known, key=sp.default_sort_key)
        return ExponentialSum(tuple(exponents), tuple(known[v] for v in exponents))

    @cached_property
    def _common(self) -> sp.Expr:
        """The terms that all exponents have."""
        found = set(sp.Add.make_args(self.exponents[0]))
        for v in self.exponents[1:]:
            found &= set(sp.Add.make_args(v))
        return sp.Add(*sorted(found, key=sp.default_sort_key))

    @cached_property
    def _gaps(self) -> tuple[sp.Expr, ...]:
        """Exponents without their common terms."""
        return tuple(v - self._common for v in self.exponents)

    @cached_property
    def _largest(self) -> sp.Expr:
        """The largest of the gaps; one that is itself the largest of some others stands alone."""
        inner = {part for g in self._gaps for part in _candidates(g) if part != g}
        left = [g for g in self._gaps if g not in inner]
        if len(left) == 2 and left[0] == -left[1]:
            return sp.Abs(left[0])
        return left[0] if len(left) == 1 else largest(*left)

    @cached_property
    def scale(self) -> sp.Expr:
        """m, the largest exponent."""
        return self._common + self._largest

    def shifted(self, k: int) -> sp.Expr:
        """v_k - m: exactly zero for the larger one of two exponents."""
        own, candidates = self._gaps[k], _candidates(self._largest)
        if own == self._largest:
            return sp.S.Zero
        if len(candidates) == 2 and own in candidates:
            (other,) = (c for c in candidates if c != own)
            return -largest(sp.S.Zero, _difference(other, own))
        return own - self._largest

    def value(self, terms: ExponentialSum) -> sp.Expr:
        """r of a sum whose exponents are among these: exp(-m) times it."""
        places = [self.exponents.index(v) for v in terms.exponents]
        function = expm1 if sp.Add(*terms.weights) == 0 else sp.exp
        pairs = zip(terms.weights, places, strict=True)
        return sp.Add(*(c * function(self.shifted(k)) for c, k in pairs))

    @property
    def positive(self) -> bool:
        """Whether all weights are seen to be positive."""
        return all(c.is_positive for c in self.weights)

    @property
    def bounded(self) -> bool:
        """Whether the largest exponent is 0, as in 1 + exp(-x**2)."""
        return self.scale == 0

    @property
    def invertible(self) -> bool:
        """Whether 1/sum needs no scale: it tends to zero where the sum overflows."""
        return self.positive or sum(v != 0 for v in self.exponents) < 2

    @property
    def constant(self) -> int | None:
        """The place of a term 1, if the sum has one."""
        found = [k for k, v in enumerate(self.exponents) if v == 0 and self.weights[k] == 1]
        return found[0] if found else None

    def logarithm(self, own: sp.Expr | None = None) -> sp.Expr:
        """The logarithm of a sum with positive weights, less ``own``, one of its exponents."""
        if len(self.exponents) == 2 and all(map(_simple, self.weights)):
            return self._logarithm_of_two(own)
        m = self.scale if own is None else -self.shifted(self.exponents.index(own))
        one = self.constant
        if one is None:
            return m + sp.log(self.value(self))
        rest = [c * sp.exp(self.shifted(k)) for k, c in enumerate(self.weights) if k != one]
        return m + log1p(sp.Add(expm1(self.shifted(one)), *rest))

    def _logarithm_of_two(self, own: sp.Expr | None) -> sp.Expr:
        """log(c exp(a) + d exp(b)) = max(a', b') + log1p(exp(-|a' - b'|)), a' = a + log c."""
        moved = [v + sp.log(c) for v, c in zip(self.exponents, self.weights, strict=True)]
        gap = _difference(*self._gaps) + sp.log(self.weights[0]) - sp.log(self.weights[1])
        tail = log1p(sp.exp(-sp.Abs(gap)))
        if own is not None:
            k = self.exponents.index(own)
            return sp.log(self.weights[k]) + largest(sp.S.Zero, gap if k else -gap) + tail
        if self.weights[0] == self.weights[1]:
            return sp.log(self.weights[0]) + self.scale + tail
        return largest(*moved) + tail

    @property
    def opposite(self) -> bool:
        """Whether it is c (exp(a) - exp(b))."""
        return len(self.exponents) == 2 and sp.Add(*self.weights) == 0 and _real(self.weights[0])

    def logarithm_of_difference(self) -> sp.Expr:
        """log(c (exp(a) - exp(b))) = log c + a + log(1 - exp(b - a)), where that is real."""
        high = 0 if self.weights[0].is_positive else 1
        d = _difference(self._gaps[1 - high], self._gaps[high])
        near = sp.log(-expm1(d))
        rest = sp.Piecewise((log1p(-sp.exp(d)), d < -sp.log(2)), (near, True))
        return sp.log(self.weights[high]) + self.exponents[high] + rest

    def as_logistic(self, power: sp.Expr, exponent: sp.Expr) -> tuple[sp.Expr, sp.Expr, int] | None:
        """(factor, u, k) with exp(exponent) sum**power = factor s(u)**k s(-u)**(-power - k).

        s is the logistic function; None where there is no such integer k.
        """
        if len(self.exponents) != 2 or not all(map(_simple, self.weights)):
            return None
        (a, b), (first, second) = self.exponents, self.weights
        if a == 0 or b == 0:  # 1/(1 + exp(u)) is s(-u)
            a, b, first, second = (a, b, first, second) if a == 0 else (b, a, second, first)
        left = exponent + power * a
        for k in range(int(sp.floor(-power)) + 1):
            if sp.expand(left - k * (b - a)) == 0:
                ratio = first / second
                return first**power * ratio**k, b - a + sp.log(second) - sp.log(first), k
        return None


def _candidates(scale: sp.Expr) -> tuple[sp.Expr, ...]:
    """What a largest exponent is the largest of."""
    if isinstance(scale, sp.Abs):
        return scale.args[0], -scale.args[0]
    return scale.args if isinstance(scale, largest) else (scale,)


def _difference(first: sp.Expr, second: sp.Expr) -> sp.Expr:
    """first - second, multiplied out where that is shorter: squares of Gaussians cancel."""
    plain = first - second
    if sp.count_ops(plain) > _LARGEST:
        return plain
    expanded = sp.expand(plain)
    return expanded if sp.count_ops(expanded) < sp.count_ops(plain) else plain


def _simple(weight: sp.Expr) -> bool:
    """A positive weight whose logarithm is a number, or belongs to a parameter."""
    return bool(weight.is_positive) and all(a.is_Atom for a in weight.as_powers_dict())


def _real(weight: sp.Expr) -> bool:
    return bool(weight.is_positive or weight.is_negative)


@dataclass
class Product:
    """exp(exponent) times powers of sums times what has no exponentials.

    Attributes
    ----------
    exponent : Expr
    sums : dict of ExponentialSum to Expr
        Powers.
    plain : list of Expr
    written : dict of ExponentialSum to Expr
        The sums as they were written.
    tails : dict of Expr to Expr
        Powers of erfc(u) = exp(-max(u, 0)**2) r(u), by u.
    """

    exponent: sp.Expr = sp.S.Zero
    sums: dict[ExponentialSum, sp.Expr] = field(default_factory=dict)
    plain: list[sp.Expr] = field(default_factory=list)
    written: dict[ExponentialSum, sp.Expr] = field(default_factory=dict)
    tails: dict[sp.Expr, sp.Expr] = field(default_factory=dict)

    def multiply(self, found: ExponentialSum, power: sp.Expr, written: sp.Expr) -> None:
        """Multiply by a power of a sum."""
        if not found.exponents:  # all weights are zero
            self.plain.append(sp.S.Zero**power)
            return
        if len(found.exponents) == 1:
            self.exponent += power * found.exponents[0]
            self.plain.append(found.weights[0] ** power)
            return
        self.sums[found] = self.sums.get(found, sp.S.Zero) + power
        self.written.setdefault(found, written)
        if self.sums[found] == 0:
            del self.sums[found]

    @property
    def needs_scale(self) -> bool:
        """Whether, evaluated as it is written, it can be 0 times infinity, or their quotient."""
        if len(self.sums) + len(self.tails) + (self.exponent != 0) != 1:
            return bool(self.tails or self.sums) and not self._grows_together()
        for found, power in self.sums.items():
            if power.is_Integer:
                return not (power.is_positive or found.invertible)
            return not found.bounded
        return False

    def _grows_together(self) -> bool:
        """Whether it is exp(k u)/(1 + exp(-u))**p, k > 0: all factors grow with u."""
        if self.tails or len(self.sums) != 1:
            return False
        ((found, power),) = self.sums.items()
        if not power.is_negative or len(found.exponents) != 2 or not found.positive:
            return False
        rates = [self.exponent / v for v in found.exponents if v != 0]
        return len(rates) == 1 and bool(rates[0].is_number and rates[0].is_negative)

    def with_tangents(self) -> None:
        """Write (exp(a) - exp(b))/(exp(a) + exp(b)) as tanh((a - b)/2)."""
        for minus in [s for s in self.sums if s.opposite]:
            first = minus.weights[0]
            for plus in list(self.sums):
                if plus.exponents != minus.exponents or plus.weights[0] != plus.weights[1]:
                    continue
                power, other = self.sums[minus], self.sums[plus]
                if power.is_Integer and (power * other).is_negative:
                    a, b = minus.exponents
                    self.plain.append((first / plus.weights[0] * sp.tanh((a - b) / 2)) ** power)
                    del self.sums[minus]
                    self.sums[plus] = other + power
                    if self.sums[plus] == 0:
                        del self.sums[plus]
                    break

    def with_tails(self) -> list[sp.Expr]:
        """Move exp(-max(u, 0)**2) of each erfc(u) to the exponent; what is left of them."""
        found = []
        for u, power in self.tails.items():
            scaled = sp.Piecewise((erfcx(u), u > 0), (sp.erfc(u), True))
            found.append(scaled**power)
            rest = sp.expand(self.exponent - power * u**2)
            if self.exponent != 0 and sp.count_ops(rest) < sp.count_ops(self.exponent):
                self.exponent = rest + power * largest(sp.S.Zero, -u) ** 2  # of exp(-u**2)/erfc(u)
            else:
                self.exponent -= power * largest(sp.S.Zero, u) ** 2
        self.plain += found
        self.tails = {}
        return found

    def scaled(self) -> tuple[sp.Expr, sp.Expr]:
        """(m, r) with the product equal to exp(m) r."""
        self.with_tangents()
        self.with_tails()
        found = self._quotient()
        if found is not None:
            return sp.S.Zero, found
        m, factors = self.exponent, list(self.plain)
        for found, power in self.sums.items():
            m += power * found.scale
            factors.append(found.value(found) ** power)
        return m, sp.Mul(*factors)

    def _quotient(self) -> sp.Expr | None:
        """The value, where each exponential above is one of a sum below, and all scales cancel.

        Each exp(v_k - m) then is one value above and below, and weights of a softmax add up to 1.
        """
        left = {s: -p for s, p in self.sums.items() if p.is_negative}
        factors = [s.value(s) ** -p for s, p in left.items()]
        for found, power in self.sums.items():
            if power.is_negative:
                continue
            inside = (s for s in left if set(found.exponents) <= set(s.exponents))
            frame = next(inside, None)
            if frame is None:
                return None
            left[frame] -= power
            factors.append(frame.value(found) ** power)
        above = self._above(left)
        if above is None or any(left.values()):
            return None
        return sp.Mul(*self.plain, *factors, *above)

    def _above(self, left: dict[ExponentialSum, sp.Expr]) -> list[sp.Expr] | None:
        """exp(exponent) in the places of exponentials below; ``left`` has what powers are left."""
        v, found = self.exponent, []
        for frame in [s for s, power in left.items() if power.is_Integer and power > 0]:
            exponents, power = frame.exponents, int(left[frame])
            if v == 0 or len(exponents) ** power > _PLACES:
                continue
            for places in combinations_with_replacement(range(len(exponents)), power):
                if sp.Add(*(exponents[k] for k in places)) == v:
                    found += [sp.exp(frame.shifted(k)) for k in places]
                    v, left[frame] = sp.S.Zero, sp.S.Zero
                    break
        return found if v == 0 else None
