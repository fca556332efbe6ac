"""Where formulas jump: values on the two sides of every border, compared.

A border is where u = 0 for the u of sign(u), Heaviside(u), Abs(u), of a condition of a Piecewise
and so on.  From the leaves up, a border of a step is open until a part of the formula is met that
is continuous across it: that of x*Heaviside(x) is closed by the product.  Two sides are compared
with 60 digits at points of the border, found on random lines; a border that no line crosses, such
as x**2 = 0, cuts nothing.  A spike narrower than the places on these lines can be missed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import mpmath
import sympy as sp
from sympy.codegen.cfunctions import exp2
from sympy.core.relational import Relational

from ..functions import erfcx, expm1, host_function, logaddexp, sigmoid
from ..sharing import has_symbols, holds, parts, parts_of_kind
from .pieces import KINKS

__all__ = ["Border", "jump"]

DIGITS = 60
# Points of a border that are compared, lines that are tried to find them, and places on a line.
POINTS, LINES, _FAR = 16, 48, 20.0
_PLACES = [s * 10.0 ** (k / 4) for k in range(-8, 37) for s in (-1, 1)]
# Functions with finite limits, or one-sided ones, at infinite arguments: steps of 1/u, tan(u).
_BOUNDED = (
    *(sp.exp, sp.tanh, sp.atan, sp.acot, sp.erf, sp.erfc, sp.cos, sp.sin, sp.coth, sp.sech),
    *(sigmoid, expm1, erfcx, logaddexp, exp2),
)
# Functions that are infinite where another is 0, and those that are at negative whole numbers.
_ZEROS = {sp.tan: sp.cos, sp.sec: sp.cos, sp.cot: sp.sin, sp.csc: sp.sin}
_ZEROS |= dict.fromkeys((sp.csch, sp.coth, sp.acsch), lambda u: u)
_OF_GAMMA = (sp.gamma, sp.factorial, sp.polygamma)

#: What symbols are called in a text.
Names = Mapping[sp.Symbol, sp.Expr]
# A line through the space of the symbols; a formula at a point and along a line, None where it has
# no value; the difference of two sides, and their size.
Line = Callable[[mpmath.mpf], list[mpmath.mpf]]
AtPoint = Callable[[Sequence[mpmath.mpf]], mpmath.mpf | None]
OnLine = Callable[[mpmath.mpf], mpmath.mpf | None]
Gap = tuple[mpmath.mpf, mpmath.mpf]


@dataclass(frozen=True)
class Border:
    """Where ``left = right``, or where ``left`` is an integer if ``right`` is None."""

    left: sp.Expr
    right: sp.Expr | None

    @property
    def zero(self) -> sp.Expr:
        """A formula that changes its sign on the border."""
        return sp.sin(sp.pi * self.left) if self.right is None else self.left - self.right

    def text(self, names: Names | None = None) -> str:
        """The border as text, with some symbols called otherwise."""
        left = self.left.xreplace(names or {})
        if self.right is None:
            return f"where {left} is an integer"
        right = self.right.xreplace(names or {})
        for symbol in sorted(self.zero.free_symbols, key=_prominence(names)):
            slope = self.zero.diff(symbol)
            if slope.is_number and slope != 0:
                left = symbol
                right = -self.zero.subs(symbol, 0) / slope
                left, right = (side.xreplace(names or {}) for side in (left, right))
                break
        return f"at {left} = {right}"


def _prominence(names: Names | None) -> Callable[[sp.Symbol], tuple[bool, bool, str]]:
    """Sorts symbols by what a text is about: the density, coordinates (x0), then parameters."""
    return lambda s: (s not in (names or {}), not s.name[-1:].isdigit(), s.name)


def jump(expr: sp.Expr) -> Border | None:
    """A border across which a formula jumps; None for a formula that is continuous.

    Parameters
    ----------
    expr : Expr
        In real symbols, as :func:`~pwgf_sym.derive.pieces.in_pieces` writes it.
    """
    if not _may_jump(expr):
        return None
    found = _open(expr, {})
    return min(found, key=lambda border: (len(str(border)), str(border))) if found else None


def _may_jump(expr: sp.Expr) -> bool:
    return any(True for part in parts(expr) for _ in _made(part))


def _open(node: sp.Basic, seen: dict[sp.Basic, frozenset[Border]]) -> frozenset[Border]:
    """Borders across which a part of a formula jumps."""
    if not isinstance(node, sp.Expr) or not node.args or not has_symbols(node):
        return frozenset()
    if node not in seen:
        inner = {arg: _open(arg, seen) for arg in _parts(node)}
        candidates = {border for found in inner.values() for border in found} | set(_own(node))
        seen[node] = frozenset(b for b in candidates if _jumps_across(node, b, inner))
    return seen[node]


def _parts(node: sp.Expr) -> list[sp.Expr]:
    if isinstance(node, sp.Piecewise):
        return [value for value, _ in node.args]
    return list(node.args)


def _jumps_across(node: sp.Expr, border: Border, inner: dict[sp.Basic, frozenset[Border]]) -> bool:
    if node.is_Add:  # the summands that are continuous there add nothing to the jump
        node = sp.Add(*(arg for arg in node.args if inner[arg]))
    # What only divides by 0 there is infinite, which is no jump, as long as nothing else cuts it.
    divides = node.is_Mul and border not in set().union(*inner.values())
    bounded = divides and not holds(node, (*KINKS, sp.Piecewise))
    return _compared(*_with_own_names(node, border), bounded)


def _own(node: sp.Expr) -> Iterator[Border]:
    """Borders that the outermost operation of a formula may make.

    A formula like Max(u, 0) vanishes on one side of u = 0 without a change of sign: its own
    borders are asked about, too.
    """
    for border in _made(node):
        yield border
        yield from _within(border.left)
        if border.right is not None:
            yield from _within(border.right)


def _within(formula: sp.Expr) -> Iterator[Border]:
    """Borders of the kinks and steps in a formula."""
    for part in parts(formula):
        yield from _of_kink(part) if isinstance(part, KINKS) else _made(part)


def _made(node: sp.Basic) -> Iterator[Border]:
    """Where the formulas that the outermost operation compares with numbers meet these."""
    if isinstance(node, (sp.sign, sp.Heaviside)):
        yield Border(node.args[0], sp.S.Zero)
    elif isinstance(node, (sp.floor, sp.ceiling)):
        yield Border(node.args[0], None)
    elif isinstance(node, sp.Piecewise):
        for _, condition in node.args:
            yield from (Border(c.lhs, c.rhs) for c in parts_of_kind(condition, Relational))
    elif isinstance(node, (sp.atan2, sp.acot)):
        yield from (Border(arg, sp.S.Zero) for arg in node.args)
    elif isinstance(node, _BOUNDED):
        for arg in node.args:
            yield from _poles(arg)
    elif node.is_Mul and any(_is_quotient(arg) for arg in node.args):
        yield from _of_quotient(node)
    elif node.is_Pow and has_symbols(node.exp):
        for kink in parts_of_kind(node, *KINKS):  # 0**Max(u, 0) is 1 or 0
            yield from _of_kink(kink)
        yield from _poles(node.exp)


def _of_quotient(node: sp.Mul) -> Iterator[Border]:
    """Borders at which a quotient may have two finite limits: |u|/u, u/sqrt(u^2 + u^4)."""
    kinks = parts_of_kind(node, *KINKS)
    for kink in kinks:
        yield from _of_kink(kink)
    roots = [p for p in parts_of_kind(node, sp.Pow) if p.exp.is_Rational and p.exp.q == 2]
    if kinks or any(not p.base.is_positive or any(_poles(p.base)) for p in roots):
        yield from _poles(node)
        above = [f for f in node.args if has_symbols(f) and not (_is_quotient(f) or f.is_positive)]
        yield from (Border(factor, sp.S.Zero) for factor in above)


def _of_kink(node: sp.Expr) -> Iterator[Border]:
    if isinstance(node, sp.Abs):
        yield Border(node.args[0], sp.S.Zero)
    else:
        yield from (Border(*pair) for pair in combinations(node.args, 2))


def _is_quotient(node: sp.Expr) -> bool:
    return node.is_Pow and node.exp.is_negative is True and has_symbols(node.base)


def _poles(formula: sp.Expr) -> Iterator[Border]:
    """Where a part of a formula may be infinite, with another sign on each side."""
    for part in parts(formula):
        if not isinstance(part, sp.Expr) or not has_symbols(part):
            continue
        if _is_quotient(part) and not part.base.is_positive:
            yield Border(part.base, sp.S.Zero)
        elif type(part) in _ZEROS:
            yield Border(_ZEROS[type(part)](part.args[0]), sp.S.Zero)
        elif isinstance(part, _OF_GAMMA):
            yield Border(part.args[-1], None)


# ---------------------------------------------------------------- the two sides in numbers


def _with_own_names(node: sp.Expr, border: Border) -> tuple[sp.Expr, sp.Expr]:
    """Formula and border in symbols by their order, so that equal questions are asked once."""
    zero = border.zero
    symbols = sorted(node.free_symbols | zero.free_symbols, key=lambda s: (s.name, str(s)))
    names = {}
    for k, symbol in enumerate(symbols):
        given = {k: v for k, v in symbol.assumptions0.items() if v is not None}
        names[symbol] = sp.Symbol(f"u{k}_", **given)
    return node.xreplace(names), zero.xreplace(names)


@lru_cache(maxsize=4096)
def _compared(node: sp.Expr, zero: sp.Expr, bounded: bool = False) -> bool:
    """Whether a formula has two values, on request bounded ones, on the two sides of zero = 0."""
    if not zero.free_symbols:
        return False
    symbols = sorted(node.free_symbols | zero.free_symbols, key=lambda s: s.name)
    value, side = (_function(symbols, e) for e in (node, zero))
    rng = random.Random(20240419)
    points = 0
    with mpmath.workdps(DIGITS):
        for turn in range(LINES):
            line = _line(symbols, rng, far=turn % 2 == 1)
            place = _crossing(side, line)
            if place is None:
                continue
            wide, near = (_gap(value, line, place, mpmath.mpf(10) ** -n) for n in (15, 30))
            if wide is None or near is None:
                continue
            if _stays(wide, near) and not (bounded and near[0] > 1e3 * wide[0]):
                return True
            points += 1
            if points == POINTS:
                break
    return False


def _stays(wide: Gap, near: Gap) -> bool:
    """Whether a difference of two sides stays as the points come nearer to the border."""
    (gap_before, size_before), (gap, size) = wide, near
    tiny = mpmath.mpf(10)
    vanishes = size < tiny**-10 * size_before  # as exp(-1/x^2) does
    return gap > 0.7 * gap_before and gap > size * tiny**-25 and not vanishes


def _function(symbols: Sequence[sp.Symbol], expr: sp.Expr) -> AtPoint:
    """A formula of a point as a real number, or None where it has no value."""
    compiled = host_function(symbols, expr, "mpmath")

    def value(point: Sequence[mpmath.mpf]) -> mpmath.mpf | None:
        try:
            found = mpmath.mpmathify(compiled(*point))
        except (ArithmeticError, ValueError, TypeError):
            return None
        if isinstance(found, mpmath.mpc):
            found = found.real if found.imag == 0 else mpmath.nan
        return None if mpmath.isnan(found) else found

    return value


def _line(symbols: Sequence[sp.Symbol], rng: random.Random, far: bool) -> Line:
    """A random line through the space of the symbols, bent so that signs they have are kept.

    Every other one is ``far``, at any place within some periods: sin(x) = 0 has even and odd
    crossings, and most places near 0 have the same nearest one.
    """
    sizes = [_FAR * rng.random() if far else 10 ** rng.uniform(-2, 1) for _ in symbols]
    starts = [rng.choice((-1, 1)) * size for size in sizes]
    slopes = [rng.gauss(0, 1) for _ in symbols]

    def at(t: mpmath.mpf) -> list[mpmath.mpf]:
        return [
            _coordinate(symbol, start, slope, t)
            for symbol, start, slope in zip(symbols, starts, slopes, strict=True)
        ]

    return at


def _coordinate(symbol: sp.Symbol, start: float, slope: float, t: mpmath.mpf) -> mpmath.mpf:
    if symbol.is_integer:
        size = 1 + int(abs(start)) % 5
        size = 2 * size if symbol.is_even else 2 * size + 1 if symbol.is_odd else size
        return mpmath.mpf(-size if symbol.is_negative else size)
    if symbol.is_nonnegative or symbol.is_nonpositive:
        size = abs(start) * mpmath.exp(slope * mpmath.asinh(t))
        return -size if symbol.is_nonpositive else size
    return start + slope * mpmath.mpf(t)


def _crossing(formula: AtPoint, line: Line) -> mpmath.mpf | None:
    """The place on a line nearest to its start where a formula changes its sign, or None."""

    def side(t: mpmath.mpf) -> mpmath.mpf | None:
        return formula(line(t))

    bracket = _bracket(side)
    if bracket is None:
        return None
    low, high, negative = bracket
    for _ in range(4 * DIGITS):
        middle = (low + high) / 2
        value = side(middle)
        if value is None:
            return None
        if value == 0:
            return middle
        low, high = (middle, high) if (value < 0) == negative else (low, middle)
    return (low + high) / 2


def _bracket(side: OnLine) -> tuple[mpmath.mpf, mpmath.mpf, bool] | None:
    """Two places with a change of sign between them, and whether it is negative at the first."""
    before = {1: (mpmath.mpf(0), side(mpmath.mpf(0)))}
    before[-1] = before[1]
    for place in _PLACES:
        direction, place = (1 if place > 0 else -1), mpmath.mpf(place)
        value, (last, known) = side(place), before[direction]
        if value is not None and abs(value) < mpmath.mpf(10) ** (20 - DIGITS):
            continue  # rounding, as in 1 + tanh(x) far on the left
        if value is not None and known is not None and value * known < 0:
            return last, place, bool(known < 0)
        before[direction] = (place, value)
    return None


def _gap(value: AtPoint, line: Line, place: mpmath.mpf, distance: mpmath.mpf) -> Gap | None:
    """|right - left| at a distance from a place on a line, and the size of the values."""
    left, right = (value(line(place + s * distance * (1 + abs(place)))) for s in (-1, 1))
    if left is None or right is None or mpmath.isinf(left) or mpmath.isinf(right):
        return None
    return abs(right - left), abs(left) + abs(right)
