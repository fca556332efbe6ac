"""Integrals inside integrals as quantities of a sample: a convolution c(x), and its gradient.

Formulas of an energy read c(x) = int K(x, y) rho(y) dy as one symbol, and its gradient as d more.
An integral I of f(x, rho, c) has the first variation

    dI/drho(x) = f_rho(x, rho, c) + int K(y, x) f_c(y, rho(y), c(y)) dy,

since rho moves f at x, and c wherever K looks at x from.  Over samples c_n is the mean of
K(x_n, x_m) over all partners m, and the second term the mean of K(x_m, x_n) a_m with the weights
a = f_c/rho.  A sample is a partner of its own in both: so c stays positive where K is, and the
velocity of int rho g(x, c) dx is the negative slope of the mean of g, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy as sp

from ..declare.energies import EnergyIntegral, ordered_integrals, short_text
from ..declare.energy_checks import convolution_kernel
from ..declare.symbols import Density
from ..errors import EnergyError
from ..sharing import holds, replaced, symbols_of
from .calculus import Gradient
from .pieces import in_pieces

__all__ = ["Convolution", "ConvolutionTable", "convolutions_in_full"]


@dataclass(frozen=True)
class Convolution:
    """An integral of K(x, y) rho(y) over y inside the integrals of an energy.

    Attributes
    ----------
    symbol : Symbol
        Its value c at a sample.
    slopes : tuple of d Symbols
        Its gradient there.
    weight : Symbol
        a, the derivative of the energy by c over the density, at a partner.
    kernel : Expr
        K(x, y), in the energy's coordinates and partners.
    first : tuple of d Expr
        Derivatives of K(x, y) by x.
    turned : Expr
        K(y, x).
    second : tuple of d Expr
        Derivatives of K(y, x) by x.
    """

    symbol: sp.Symbol
    slopes: tuple[sp.Symbol, ...]
    weight: sp.Symbol
    kernel: sp.Expr
    first: tuple[sp.Expr, ...]
    turned: sp.Expr
    second: tuple[sp.Expr, ...]


class ConvolutionTable:
    """Finds the convolutions in an energy's integrands and gives them symbols.

    Parameters
    ----------
    coordinates, partners : sequence of d Symbols
        What x and y of a kernel are called.
    used : set of str
        Names that the energy uses otherwise; those of new symbols are added.
    """

    def __init__(
        self, coordinates: Sequence[sp.Symbol], partners: Sequence[sp.Symbol], used: set[str]
    ):
        self.coordinates, self.partners = tuple(coordinates), tuple(partners)
        self._used, self._found = used, dict[sp.Expr, Convolution]()
        self._gradient = Gradient(self.coordinates)

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions so far."""
        return tuple(self._found.values())

    def without_convolutions(self, integral: EnergyIntegral, rho: Density) -> sp.Expr:
        """The integrand of a single integral with the symbols of its convolutions.

        Raises
        ------
        EnergyError
            If a kernel holds a sum over data.
        """
        (copy,) = integral.copies
        inner = ordered_integrals(integral.integrand)
        values = {one: self._value(one, copy, rho) for one in inner}
        return replaced(integral.integrand, values) if inner else integral.integrand

    def _value(self, inner: EnergyIntegral, copy: Sequence[sp.Symbol], rho: Density) -> sp.Expr:
        """A factor that no partner changes, in the integral's own copy, times a symbol."""
        (own,) = inner.copies
        kernel = in_pieces(convolution_kernel(inner, rho))
        if holds(kernel, (sp.Sum, sp.Product)):
            given = f"{short_text(inner)}, an inner integral with a sum over an index"
            accepted = "inside of an integral, kernels K(x, y) without sums over data"
            raise EnergyError("energy", given, accepted, "Write the sum out, term by term.")
        factor, rest = kernel.as_independent(*own, as_Add=False)
        if not symbols_of(rest) & set(own):  # the mass, which is 1
            return factor * rest
        names = dict(zip(copy, self.coordinates, strict=True))
        names |= zip(own, self.partners, strict=True)
        return factor * self._of_kernel(replaced(rest, names)).symbol

    def _of_kernel(self, kernel: sp.Expr) -> Convolution:
        if kernel not in self._found:
            x, y, number = self.coordinates, self.partners, len(self._found)
            turned = replaced(kernel, dict(zip((*x, *y), (*y, *x), strict=True)))
            positive = True if kernel.is_positive else None
            self._found[kernel] = Convolution(
                sp.Symbol(self._free(f"C{number}"), real=True, positive=positive),
                tuple(sp.Symbol(self._free(f"dC{number}_{i}"), real=True) for i in range(len(x))),
                sp.Symbol(self._free(f"a{number}"), real=True),
                kernel,
                self._gradient(kernel),
                turned,
                self._gradient(turned),
            )
        return self._found[kernel]

    def _free(self, name: str) -> str:
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name


def convolutions_in_full(
    formula: sp.Expr,
    convolutions: Iterable[Convolution],
    rho: Density,
    names: tuple[Sequence[sp.Symbol], Sequence[sp.Symbol]],
) -> sp.Expr:
    """A formula with convolutions, and their derivatives, in the place of their symbols.

    ``names`` are the partners in which kernels are written, and what they are to be called.
    """
    old, new = names
    own = dict(zip(old, new, strict=True))
    found: dict[sp.Basic, sp.Basic] = {}
    for one in convolutions:
        pairs = zip((one.symbol, *one.slopes), (one.kernel, *one.first), strict=True)
        for symbol, kernel in pairs:
            found[symbol] = EnergyIntegral(replaced(kernel, own) * rho.at(new), new)
    return replaced(formula, found)
