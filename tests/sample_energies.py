"""Energies given by V, U, W and the outer function, and what they are on samples, in mpmath.

E = F(int V rho dx + int U(rho) dx, int int W(x, y) rho(x) rho(y) dx dy): the formulas below follow
from the definitions, with derivatives of V, U and W by SymPy, and are evaluated with 50 digits.
"""

from dataclasses import dataclass, field
from functools import cached_property

import mpmath
import numpy as np
import sympy as sp

from pwgf_sym.declare.energies import integral
from pwgf_sym.declare.laws import Gaussian
from pwgf_sym.declare.problem import GradientFlow
from pwgf_sym.declare.symbols import Density, coordinates, copy_of

R = sp.Symbol("r", positive=True)  # the density's value in U
L = sp.Symbol("log_r", real=True)
LOCAL, PAIR = sp.symbols("local pair", real=True)
DIGITS = 50


@dataclass
class Energy:
    """V(x0, ...), U(r), W(x0, ..., y0, ...), and F of the two integrals."""

    dim: int
    potential: sp.Expr = sp.S.Zero
    internal: sp.Expr = sp.S.Zero
    pair: sp.Expr = sp.S.Zero
    outer: sp.Expr = LOCAL + PAIR
    parameters: dict = field(default_factory=dict)

    @cached_property
    def x(self):
        return coordinates(self.dim)

    @cached_property
    def y(self):
        return copy_of(self.x)

    def problem(self, law=None) -> GradientFlow:
        """The problem that a user would write."""
        rho = Density(self.x)
        local = self.potential * rho + self.internal.subs(R, rho)
        values = {
            LOCAL: integral(local, self.x) if local != 0 else sp.S.Zero,
            PAIR: sp.S.Zero,
        }
        if self.pair != 0:
            values[PAIR] = integral(self.pair * rho * rho.at(self.y), self.x, self.y)
        law = law or Gaussian(mean=np.zeros(self.dim), cov=1.0)
        energy = self.outer.subs(values)
        parameters = {s: v for s, v in self.parameters.items() if s in energy.free_symbols}
        return GradientFlow(energy, rho, law, parameters)

    @property
    def _exact(self):
        """The parameters' values as rational numbers: SymPy rounds 1/0.75 at once."""
        return {s: sp.Rational(v) for s, v in self.parameters.items()}

    # -- formulas in x, l = log r, the score and the partner ---------------------------------

    @cached_property
    def _functions(self):
        """The formulas as mpmath functions of (x, l) or (x, y)."""
        local = sp.expand(self.internal / R).subs(R, sp.exp(L)).subs(self._exact)
        potential = self.potential.subs(self._exact)
        pair = self.pair.subs(self._exact)
        swap = dict(zip([*self.x, *self.y], [*self.y, *self.x], strict=True))
        both = pair + pair.xreplace(swap)
        second = (R * self.internal.diff(R, 2)).subs(R, sp.exp(L)).subs(self._exact)
        with_log, with_partner = [*self.x, L], [*self.x, *self.y]

        def compiled(formulas, symbols):
            return [Running(f, symbols) for f in formulas]

        return {
            "density": compiled([potential + local], with_log),
            "slopes": compiled([potential.diff(c) for c in self.x], with_log),
            "by_log": compiled([local.diff(L)], with_log),
            "by_score": compiled([second], with_log),
            "pair": compiled([pair], with_partner),
            "pair_slopes": compiled([both.diff(c) for c in self.x], with_partner),
        }

    def _at_samples(self, name, x, log_density):
        functions = self._functions[name]
        rows = [[f(*p, v) for f in functions] for p, v in zip(x, log_density, strict=True)]
        return stacked(rows)

    def _at_pairs(self, name, x):
        """Mean over the other samples, a plain double loop."""
        functions, count = self._functions[name], len(x)
        rows = []
        for n, p in enumerate(x):
            row = []
            for f in functions:
                terms = [f(*p, *q) for m, q in enumerate(x) if m != n]
                value = mpmath.fsum(t[0] for t in terms) / max(count - 1, 1)
                row.append((value, mpmath.fsum(t[1] for t in terms) / max(count - 1, 1)))
            rows.append(row)
        return stacked(rows)

    def truth(self, x, log_density, score):
        """Integrals, velocity, gradients by x and l: name -> (value, magnitude) as arrays.

        The magnitude is the sum of the sizes of the terms that were added up on the way, carried
        through every operation: where terms cancel, no arithmetic of double precision can be
        accurate relative to the result, only relative to it.
        """
        with mpmath.workdps(DIGITS):
            local = self._at_samples("density", x, log_density)
            pair = self._at_pairs("pair", x)
            means = [(a.sum(axis=0) / len(x))[0] for part in (local, pair) for a in part]
            values = {LOCAL: means[0], PAIR: means[2]}
            symbols, outer = (LOCAL, PAIR), self.outer.subs(self._exact)
            c_local, c_pair = (_number(outer.diff(s).subs(values)) for s in symbols)
            slopes = self._at_samples("slopes", x, log_density)
            by_score = self._at_samples("by_score", x, log_density)
            by_log = self._at_samples("by_log", x, log_density)
            pulls = self._at_pairs("pair_slopes", x)
            velocity = [
                -c_local * (slopes[0] + by_score[0] * score) - c_pair * pulls[0],
                abs(c_local) * (slopes[1] + by_score[1] * abs(score)) + abs(c_pair) * pulls[1],
            ]
            return {
                "local": (means[0], means[1]),
                "pair": (means[2], means[3]),
                "energy": _number(outer.subs(values)),
                "velocity": velocity,
                "slopes": [c_local * slopes[0], abs(c_local) * slopes[1]],
                "by_log": [c_local * by_log[0], abs(c_local) * by_log[1]],
            }


def _number(expression):
    return (
        mpmath.mpf(sp.N(expression, DIGITS))
        if not isinstance(expression, mpmath.mpf)
        else expression
    )


def stacked(rows):
    """Rows of (value, magnitude) as two object arrays."""
    return tuple(np.array([[e[k] for e in row] for row in rows], dtype=object) for k in (0, 1))


class Running:
    """A formula in mpmath that also carries a running bound on the terms that are added up.

    The second number of a result is to be multiplied by the unit round-off: sums add those of
    their terms, and f(a) has |f'(a)| times that of a, plus its own |f(a)|.
    """

    def __init__(self, formula, symbols):
        pieces, (self.result,) = sp.cse([formula], order="canonical")
        self.steps = pieces
        self.symbols = symbols

    def __call__(self, *arguments):
        known = {
            s: (mpmath.mpf(v), mpmath.mpf(0)) for s, v in zip(self.symbols, arguments, strict=True)
        }
        for symbol, piece in self.steps:
            known[symbol] = self._of(piece, known)
        value, magnitude = self._of(self.result, known)
        return value, magnitude + abs(value)

    def _of(self, node, known):
        if node in known:
            return known[node]
        if node.is_number:
            value = _number(node)
            return value, abs(value)
        if isinstance(node, sp.Piecewise):
            numbers = {s: v for s, (v, _) in known.items()}
            for branch, condition in node.args:
                if condition == sp.true or condition.subs(numbers) == sp.true:
                    return self._of(branch, known)
        parts = [self._of(arg, known) for arg in node.args]
        values = [v for v, _ in parts]
        if isinstance(node, sp.Add):
            total = mpmath.fsum(values)
            return total, mpmath.fsum(m for _, m in parts) + mpmath.fsum(abs(v) for v in values)
        value, slopes = self._function(node.func, values)
        carried = mpmath.fsum(abs(s) * m for s, (_, m) in zip(slopes, parts, strict=True))
        return value, carried + abs(value)

    @staticmethod
    def _function(head, values):
        """Value and partial derivatives of one operation."""
        if head is sp.Mul:
            slopes = [mpmath.fprod(values[:k] + values[k + 1 :]) for k in range(len(values))]
            return mpmath.fprod(values), slopes
        if head is sp.Pow:
            base, exponent = values
            value = mpmath.power(base, exponent)
            by_exponent = value * mpmath.log(base) if base > 0 else mpmath.mpf(0)
            return value, [exponent * mpmath.power(base, exponent - 1), by_exponent]
        if head in (sp.Max, sp.Min):
            best = (max if head is sp.Max else min)(values)
            return best, [mpmath.mpf(v == best) for v in values]
        symbols = sp.symbols(f"u0:{len(values)}", real=True)
        formula = head(*symbols)
        at = dict(zip(symbols, values, strict=True))
        slopes = [formula.diff(s) for s in symbols]
        slopes = [sp.S.Zero if s.has(sp.DiracDelta, sp.Derivative) else s for s in slopes]
        return _number(formula.subs(at)), [_number(s.subs(at)) for s in slopes]


def _squares(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def _gallery():
    beta, theta = sp.Symbol("beta", positive=True), sp.Symbol("theta", positive=True)
    entropy = R * sp.log(R)
    x2, y2 = coordinates(2), copy_of(coordinates(2))
    square = _squares(x2, y2)
    well = (x2[0] ** 2 - 1) ** 2 + x2[1] ** 2 / 2
    x10 = coordinates(10)
    tang = sum(sp.Rational(3, 50) * (c**4 - 16 * c**2 + 5 * c) for c in x10)
    return {
        "mixed": Energy(2, well, entropy / beta, sp.exp(-square) / 2, parameters={beta: 2.0}),
        "double well": Energy(2, well, entropy / beta, parameters={beta: 0.75}),
        "ornstein uhlenbeck": full_quadratic(30),
        "styblinski tang": Energy(10, tang, entropy),
        "porous medium 2": Energy(2, internal=R**2),
        "porous medium 3": Energy(3, internal=R**3 / 2),
        "aggregation": Energy(2, pair=(square**2 / 4 - square / 2) / 2),
        "asymmetric pair": Energy(2, pair=sp.sin(x2[0]) * y2[1] ** 2 + x2[1] * y2[0]),
        "newtonian": Energy(2, x2[0] ** 2, pair=-sp.log(square) / (4 * sp.pi)),
        "root": Energy(
            2, well, entropy / beta, sp.exp(-square) / 2,
            sp.sqrt(theta + LOCAL**2 + PAIR), {beta: 2.0, theta: 3.0},
        ),
        "square": Energy(2, well, entropy, square, (LOCAL + 2 * PAIR) ** 2),
    }  # fmt: skip


def full_quadratic(dim, seed=0):
    """V = x'Ax/2 + b'x with a full random symmetric A of numbers."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dim, dim))
    matrix = factor @ factor.T / dim + np.eye(dim)
    matrix = (matrix + matrix.T) / 2
    column = sp.Matrix(coordinates(dim))
    shift = sp.Matrix(rng.normal(size=dim))
    potential = (column.T * sp.Matrix(matrix) * column)[0] / 2 + (shift.T * column)[0]
    return Energy(dim, sp.expand(potential), R * sp.log(R) / 2)


ENERGIES = _gallery()
