"""Energies, first variations and velocities at a density that is given as a formula.

Integrals are Gauss-Legendre quadrature of the integrands as they are written: nothing here asks the
package for a derivative.  On the line every integral is cut where a coordinate that stands outside
is, so that kernels of |x - y| are integrated to round-off, too.  In more dimensions the nodes are a
tensor grid.
"""

from functools import cached_property, lru_cache, reduce

import numpy as np
import sympy as sp

from pwgf_sym.declare.energies import EnergyIntegral, ordered_integrals

MODULES = [
    {
        "Max": lambda *a: reduce(np.maximum, a),
        "Min": lambda *a: reduce(np.minimum, a),
        "sign": np.sign,
    },
    "numpy",
    "scipy",
]


@lru_cache(maxsize=4096)
def numeric(names, formula):
    """NumPy function of a formula; ``names`` is a tuple of symbols."""
    return sp.lambdify(names, formula, MODULES)


def written_out(formula, values, coordinates=()):
    """A formula with numbers in the place of parameters, arrays, and sums over their rows.

    ``values`` has numbers and arrays by Symbol and by IndexedBase; other entries ``x[i]`` are
    ``coordinates``.
    """
    numbers = {s: sp.sympify(v) for s, v in values.items() if isinstance(s, sp.Symbol)}
    arrays = {s.name: v for s, v in values.items() if isinstance(s, sp.IndexedBase)}
    for s, array in ((s, v) for s, v in values.items() if isinstance(s, sp.IndexedBase)):
        lengths = zip(s.shape, array.shape, strict=True)
        numbers |= {n: sp.Integer(k) for n, k in lengths if isinstance(n, sp.Symbol)}
    formula = formula.xreplace(numbers)
    if not formula.has(sp.Sum, sp.Indexed):
        return formula

    by_name = {s.name: s for s in coordinates}

    def entry(array, *indices):
        if array.name not in arrays:
            return by_name[f"{array.name}{indices[0]}"]
        return sp.Float(arrays[array.name][tuple(map(int, indices))])

    def terms(function, *limits):
        (index, first, last), *others = limits[::-1]
        inner = sp.Sum(function, *others[::-1]) if others else function
        each = (inner.xreplace({index: sp.Integer(k)}) for k in range(int(first), int(last) + 1))
        return sp.Add(*(written_out(one, values, coordinates) for one in each))

    while formula.has(sp.Sum):  # outermost first: limits of inner ones are numbers then
        outer = next(e for e in sp.preorder_traversal(formula) if isinstance(e, sp.Sum))
        formula = formula.xreplace({outer: terms(outer.function, *outer.limits)})
    entries = {e: entry(e.base, *e.indices) for e in formula.atoms(sp.Indexed)}
    return formula.xreplace(entries)


class Quadrature:
    """Numbers of formulas with integrals, for a density and, to a step, along a perturbation.

    Parameters
    ----------
    rho : Density
    density : Expr
        The density in the coordinates of ``rho``.
    values : dict
        Numbers and arrays of the parameters.
    box : (float, float) or d of them
        Where the density lives.
    breaks : tuple of float
        Points of the line where formulas have kinks.
    reach : float
        Kernels have a kink at this distance too, on the line.
    singular : bool
        Whether kernels have a singularity that can be integrated where x = y: nodes on the line
        are gathered at the ends of the pieces, and pairs of one node are left out in the plane.
    order : int
        Nodes of a piece of the line, or of an axis in more dimensions.
    direction, step : Expr, complex
        The density is ``density + step*direction``.
    """

    def __init__(
        self,
        rho,
        density,
        values=(),
        box=(-10, 10),
        breaks=(),
        reach=0,
        singular=False,
        order=None,
        direction=0,
        step=0,
    ):
        self.rho, self.values, self.breaks = rho, dict(values), tuple(breaks)
        self.dim = len(rho.args)
        self.boxes = [box] * self.dim if np.ndim(box) == 1 else list(box)
        self.singular, self.reach = singular, reach
        self.order = order or {1: 100 if singular else 40, 2: 56}.get(self.dim, 20)
        self.density, self.direction = sp.sympify(density), sp.sympify(direction)
        self.step = step

    def __call__(self, formula, points=None):
        """A number, or values (n,) at ``points`` (n, d) of the coordinates of rho."""
        if points is None:
            return self._value(formula, {})[()]
        points = np.asarray(points, float).reshape(-1, self.dim)
        axes = dict(zip(self.rho.args, points.T, strict=True))
        return np.broadcast_to(self._value(formula, axes), len(points))

    @cached_property
    def _tensor(self):
        """Nodes (n, d) and weights (n,) of the grid in more dimensions."""
        nodes, weights = np.polynomial.legendre.leggauss(self.order)
        grids, products = [], []
        for low, high in self.boxes:
            grids.append((low + high) / 2 + (high - low) / 2 * nodes)
            products.append((high - low) / 2 * weights)
        mesh = np.meshgrid(*grids, indexing="ij")
        weights = np.prod([w.ravel() for w in np.meshgrid(*products, indexing="ij")], axis=0)
        return np.stack([m.ravel() for m in mesh], axis=-1), weights

    @cached_property
    def _line(self):
        """Nodes and weights on (-1, 1)."""
        nodes, weights = np.polynomial.legendre.leggauss(self.order)
        if not self.singular:
            return nodes, weights
        u, p = (1 + nodes) / 2, 5
        near, far = u**p, (1 - u) ** p
        slope = p * (u * (1 - u)) ** (p - 1) / (near + far) ** 2
        return (near - far) / (near + far), weights * slope

    def _nodes(self, axes):
        """Coordinates, a list of d arrays, and weights, with one axis more than ``axes``."""
        if self.dim > 1:
            nodes, weights = self._tensor
            return list(nodes.T), weights
        (low, high), outside = self.boxes[0], list(axes.values())
        shape = np.broadcast_shapes(*(a.shape for a in outside)) if outside else ()
        cuts = [np.full(shape, float(c)) for c in (low, *self.breaks, (low + high) / 2, high)]
        offsets = {-self.reach, 0, self.reach}
        cuts += [np.broadcast_to(a + o, shape) for a in outside for o in sorted(offsets)]
        cuts = np.sort(np.clip(np.stack(cuts, axis=-1), low, high), axis=-1)
        nodes, weights = self._line
        half = np.diff(cuts, axis=-1)[..., None] / 2
        middle = (cuts[..., 1:] + cuts[..., :-1])[..., None] / 2
        flat = (*shape, -1)
        return [(middle + half * nodes).reshape(flat)], (half * weights).reshape(flat)

    def _value(self, formula, axes):
        """Values of a formula whose free coordinates have the arrays ``axes``."""
        names, arrays = list(axes), list(axes.values())
        marks = {}
        for k, term in enumerate(ordered_integrals(formula)):
            marks[term] = sp.Symbol(f"integral_{k}")
            names.append(marks[term])
            arrays.append(self._integral(term, axes))
        formula = written_out(formula.xreplace(marks), self.values, axes)
        held = formula.atoms(sp.Derivative) | formula.atoms(type(self.rho))
        densities = [d for d in held if d.has(self.rho.func)]
        for k, one in enumerate(sorted(densities, key=lambda d: -d.count_ops())):
            mark = sp.Symbol(f"density_{k}")
            formula = formula.xreplace({one: mark})
            names.append(mark)
            arrays.append(self._density(one, axes))
        beside = "ignore" if self.singular else "warn"
        with np.errstate(over="ignore", divide=beside, invalid=beside):
            found = np.asarray(numeric(tuple(names), formula)(*arrays))
        return np.where(np.isfinite(found), found, 0) if self.singular else found

    def _density(self, one, axes):
        """Values of the density, or of a derivative of it, at a copy of the space."""
        at = one.expr if isinstance(one, sp.Derivative) else one

        def values(formula):
            formula = formula.xreplace(dict(zip(self.rho.args, at.args, strict=True)))
            if isinstance(one, sp.Derivative):
                formula = formula.diff(*one.variable_count)
            return numeric(tuple(at.args), formula)(*(axes[s] for s in at.args))

        found = values(self.density)
        return found + self.step * values(self.direction) if self.step else found

    def _integral(self, term, axes):
        """Integrals over the copies of a term, of the shape that ``axes`` have together."""
        shape = np.broadcast_shapes(*(a.shape for a in axes.values())) if axes else ()
        outside = {s: a for s, a in axes.items() if s in term.free_symbols}
        found = self._over(list(term.copies), term.integrand, outside)
        return np.broadcast_to(found, shape)

    def _over(self, copies, integrand, outside):
        if not copies:
            return self._value(integrand, outside)
        nodes, weights = self._nodes(outside)
        inner = {s: a[..., None] for s, a in outside.items()}
        inner |= dict(zip(copies[0], nodes, strict=True))
        values = self._over(copies[1:], integrand, inner)
        shape = np.broadcast_shapes(np.shape(values), weights.shape)
        return np.sum(np.broadcast_to(values, shape) * weights, axis=-1)


def gateaux(energy, rho, density, direction, **options):
    """d/dh E(rho + h g) at h = 0 by a complex step, exact to round-off."""
    step = 1e-60
    made = Quadrature(rho, density, direction=direction, step=1j * step, **options)
    return float(np.imag(made(energy)) / step)


def pairing(variation, rho, density, direction, **options):
    """int (dE/drho) g dx."""
    made = Quadrature(rho, density, **options)
    return float(made(EnergyIntegral(variation * direction, rho.args)))
