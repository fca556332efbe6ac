"""Energies of the gallery, and their values by quadrature, for the tests of declare and derive.

The quadrature reads only the integrands, so it is independent of the derivations.
"""

from functools import lru_cache

import numpy as np
import sympy as sp

from pwgf_sym.declare import Density, EnergyIntegral, coordinates, copy_of, integral

BETA = sp.Symbol("beta", positive=True)
MATRIX = sp.Matrix([[2, sp.Rational(1, 2)], [sp.Rational(1, 2), 1]])


def ornstein_uhlenbeck():
    x = coordinates(2)
    rho, column = Density(x), sp.Matrix(x)
    potential = (column.T * MATRIX * column)[0] / 2
    return integral(potential * rho + rho * sp.log(rho) / BETA, x), rho


def double_well():
    x = coordinates(2)
    rho = Density(x)
    potential = (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2
    return integral(potential * rho + rho * sp.log(rho) / BETA, x), rho


def styblinski_tang(dim=10):
    x = coordinates(dim)
    rho, i = Density(x), sp.Symbol("i", integer=True)
    term = sp.Rational(3, 50) * (x[i] ** 4 - 16 * x[i] ** 2 + 5 * x[i])
    return integral(sp.Sum(term, (i, 0, dim - 1)) * rho + rho * sp.log(rho), x), rho


def porous_medium(m):
    x = coordinates(2)
    rho = Density(x)
    return integral(rho**m / (m - 1), x), rho


def aggregation():
    x = coordinates(2)
    y, rho = copy_of(x), Density(x)
    square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return integral((square**2 / 4 - square / 2) * rho * rho.at(y) / 2, x, y), rho


def mixed():
    x = coordinates(2)
    y, rho = copy_of(x), Density(x)
    potential = (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2
    kernel = sp.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))
    local = integral(potential * rho + rho * sp.log(rho) / BETA, x)
    return local + integral(kernel * rho * rho.at(y) / 2, x, y), rho


def root_of_mixed():
    energy, rho = mixed()
    return sp.sqrt(energy), rho


def square_of_well():
    energy, rho = double_well()
    return energy**2, rho


GALLERY = {
    "ornstein_uhlenbeck": ornstein_uhlenbeck,
    "double_well": double_well,
    "styblinski_tang": styblinski_tang,
    "porous_medium_2": lambda: porous_medium(2),
    "porous_medium_3": lambda: porous_medium(3),
    "porous_medium_m": lambda: porous_medium(sp.Symbol("m", positive=True)),
    "aggregation": aggregation,
    "mixed": mixed,
    "root_of_mixed": root_of_mixed,
    "square_of_well": square_of_well,
}


@lru_cache(maxsize=4096)
def numeric(names, expr):
    """NumPy function of an expression; `names` is a tuple of symbols."""
    return sp.lambdify(names, expr, "numpy")


class Quadrature:
    """Values of energies and first variations for a given density, on a Gauss-Legendre grid.

    Parameters
    ----------
    rho : Density, on 1 or 2 coordinates
    formula : Expr
        The density as a formula in its coordinates.
    half_width, order : float, int
        The grid: [-half_width, half_width]^d with `order` nodes a coordinate.
    values : dict of Symbol to number
        Values of the parameters.
    """

    def __init__(self, rho, formula, half_width, order, values=()):
        nodes, weights = np.polynomial.legendre.leggauss(order)
        dim = len(rho.args)
        grids = np.meshgrid(*[half_width * nodes] * dim, indexing="ij")
        self.points = [grid.ravel() for grid in grids]
        products = np.meshgrid(*[half_width * weights] * dim, indexing="ij")
        self.weights = np.prod([grid.ravel() for grid in products], axis=0)
        self.rho, self.formula, self.values = rho, sp.sympify(formula), dict(values)
        self._density = numeric(rho.args, self.formula)
        self._on_grid = self._density(*self.points)

    def integrate(self, values):
        return float(np.sum(self.weights * np.broadcast_to(values, self.weights.shape)))

    def energy(self, energy):
        return float(self._evaluate(energy, self.points, []))

    def at(self, expr, points):
        """Values of a first variation or a velocity at `points`, a list of d arrays (n,)."""
        points = [np.asarray(p, float) for p in points]
        return np.broadcast_to(self._evaluate(expr, points, list(self.rho.args)), points[0].shape)

    def _evaluate(self, expr, points, names):
        names, arrays = [*names, *self.values], [*points[: len(names)], *self.values.values()]
        for number, term in enumerate(sorted(expr.atoms(EnergyIntegral), key=str)):
            symbol = sp.Symbol(f"value_{number}")
            expr = expr.xreplace({term: symbol})
            names.append(symbol)
            arrays.append(self._integral(term, points))
        if expr.has(self.rho):
            expr = expr.xreplace({self.rho: self.formula}).doit()
        return numeric(tuple(names), expr)(*arrays)

    def _integral(self, term, points):
        """A number, or an array (n,) where the integral's kernel also depends on x."""
        marks = {self.rho.func(*c): sp.Symbol(f"rho_{i}") for i, c in enumerate(term.copies)}
        integrand = term.integrand.xreplace(marks)
        bound = [symbol for copy in term.copies for symbol in copy]
        free = [s for s in self.rho.args if s in integrand.free_symbols and s not in bound]
        names = [*bound, *marks.values(), *self.values, *free]
        function = numeric(tuple(names), integrand)
        here, values = [*self.points], list(self.values.values())
        if len(term.copies) == 2:
            grids = [[p[:, None] for p in here], [p[None, :] for p in here]]
            densities = [self._on_grid[:, None], self._on_grid[None, :]]
            integrated = function(*grids[0], *grids[1], *densities, *values)
            return self.weights @ np.broadcast_to(integrated, (len(here[0]),) * 2) @ self.weights
        outside = [np.asarray(points[self.rho.args.index(s)])[:, None] for s in free]
        integrated = function(*here, self._on_grid, *values, *outside)
        count = len(outside[0]) if free else 1
        summed = np.broadcast_to(integrated, (count, len(self.weights))) @ self.weights
        return summed if free else summed[0]
