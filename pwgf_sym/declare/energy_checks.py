"""What an energy may hold: :func:`check_energy` says whether the package can derive it.

:func:`pair_kernel` reads W off ``W(x, y) rho(x) rho(y)``, and :func:`convolution_kernel` K off
``K(x, y) rho(y)`` inside of another integral.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import sympy as sp
from sympy.core.function import AppliedUndef

from ..errors import EnergyError
from ..sharing import parts, parts_of_kind, replaced
from .energies import EnergyIntegral, ordered_integrals, short_text
from .families import check_family, energy_parts, is_family
from .formula_checks import check_formula, expanded_terms
from .indexed import check_bound
from .symbols import Density, as_copy, copy_of

__all__ = ["check_energy", "convolution_kernel", "is_density_pair", "linear_kernel", "pair_kernel"]

_CONVOLUTION = "integral(K*rho.at(y), y) with a kernel K in x and y"
_MANY = {2: "double", 3: "triple"}
# Integrands are multiplied out in the densities, to at most so many terms.
LARGEST_EXPANDED = 2000


def check_energy(energy: sp.Expr, rho: Density) -> None:
    """Check that an expression is an energy of `rho` that the package can derive.

    Raises
    ------
    EnergyError
        Naming the offending term: coordinates or the density outside an integral, an integral
        without the density or with another one, the density at an argument that is not
        integrated over, derivatives of the density, a two-copy integrand that is not bilinear,
        undefined functions, coordinates that are not integrated over, an integral inside of
        another that is no convolution.
    """
    if not isinstance(rho, Density):
        raise EnergyError("rho", short_text(rho), "a Density", "Write rho = Density(x).")
    if not isinstance(energy, sp.Expr):
        fix = "Build it with integral(f, x)."
        raise EnergyError("energy", short_text(energy), "a SymPy expression of integrals", fix)
    check_formula(energy, "energy")
    outermost = energy_parts(energy)
    for node in outermost:
        if is_family(node):
            check_family(node)
    found = ordered_integrals(energy)
    known = _known_coordinates(found, rho)
    _check_outside(energy, outermost, known)
    for node in outermost:
        if is_family(node):
            _check_family_of(node, rho, known)
        else:
            _check_indices(node, ())
    for term in found:
        _check_integrand(term, rho)
        foreign = term.free_symbols & known
        if foreign:
            culprit = sorted(foreign, key=str)[0]
            given = f"{short_text(term)} with the free coordinate {culprit}"
            accepted = "integrands in the coordinates that are integrated over"
            raise EnergyError("energy", given, accepted, "Integrate over it: integral(f, x, y).")


def _known_coordinates(found: list[EnergyIntegral], rho: Density) -> set[sp.Symbol]:
    """Symbols that are certainly coordinates; all other symbols are parameters."""
    known = set(rho.coordinates) | set(copy_of(rho.coordinates))
    for term in found:
        for one in (term, *ordered_integrals(term.integrand)):
            known.update(one.bound_symbols)
        known.update(s for d in parts_of_kind(term.integrand, Density) for s in d.free_symbols)
    return known


def _check_indices(term: EnergyIntegral, limits: Sequence[sp.Tuple]) -> None:
    inner = [copy for one in ordered_integrals(term.integrand) for copy in one.copies]
    spaces = [as_copy(copy, "copy of the space") for copy in (*term.copies, *inner)]
    check_bound(term.integrand, spaces, limits)


def _check_family_of(node: sp.Sum, rho: Density, known: set[sp.Symbol]) -> None:
    """Check what stands in a sum over integrals."""
    marks = {}
    for term in ordered_integrals(node.function):
        _check_indices(term, node.limits)
        linear_kernel(term, rho)
        marks[term] = sp.Dummy(real=True)
    outer = replaced(node, marks)
    wrong = sorted(outer.atoms(AppliedUndef) | (outer.free_symbols & known), key=str)
    if wrong:
        given = f"{short_text(node)} with {wrong[0]} outside an integral"
        accepted = "integrals, arrays, parameters and functions of them"
        raise EnergyError("energy", given, accepted, "Write integral(f, x) around it.")
    _check_real(outer, node)
    check_bound(outer, [])


def _check_outside(energy: sp.Expr, found: list[sp.Expr], known: set[sp.Symbol]) -> None:
    marks = {term: sp.Dummy(real=True) for term in found}
    for term in sp.Add.make_args(energy):
        outer = term.xreplace(marks)
        wrong = sorted(outer.atoms(AppliedUndef) | (outer.free_symbols & known), key=str)
        if wrong:
            given = f"{short_text(term)} with {wrong[0]} outside an integral"
            accepted = "integrals, parameters and functions of them"
            raise EnergyError("energy", given, accepted, "Write integral(f, x) around it.")
        _check_real(outer, term)
        loose = parts_of_kind(outer, sp.Sum, sp.Product, sp.Indexed)
        if loose:
            given = f"{short_text(term)} with {min(map(str, loose))} outside an integral"
            fix = "Write a number, or a Symbol, in its place, or the sum in the integrand."
            raise EnergyError("energy", given, "sums and arrays in integrands", fix)
    if not found:
        accepted = "an expression with at least one integral of the density"
        raise EnergyError("energy", short_text(energy), accepted, "Write integral(f*rho, x).")


def _check_integrand(term: EnergyIntegral, rho: Density) -> None:
    for part in sp.Add.make_args(term.integrand):
        _check_part(part, term, rho)
    if not any(isinstance(part, Density) for part in parts(term.integrand)):
        accepted = f"integrals with the density {rho} in them"
        fix = "A constant needs no integral; write f*rho for a mean."
        raise EnergyError("energy", short_text(term), accepted, fix)
    if len(term.copies) > 1 and not is_density_pair(term, rho):
        pair_kernel(term, rho)


def _check_part(part: sp.Expr, term: EnergyIntegral, rho: Density) -> None:
    """Check one summand of an integrand for objects that no derivation knows."""

    def refuse(what: str, accepted: str, fix: str = "") -> NoReturn:
        raise EnergyError(
            "energy", f"{short_text(part)} in {short_text(term)}: {what}", accepted, fix
        )

    kinds = (AppliedUndef, EnergyIntegral, sp.Derivative, sp.Subs)
    outside = parts(part, within=lambda p: not isinstance(p, EnergyIntegral))
    functions = [p for p in outside if isinstance(p, kinds)]
    for function in sorted(functions, key=lambda f: (isinstance(f, Density), str(f))):
        if isinstance(function, EnergyIntegral):
            _check_inner(function, term, rho)
            continue
        if isinstance(function, (sp.Derivative, sp.Subs)):
            accepted = "formulas in the coordinates and the density itself"
            fix = "Write derivatives of known formulas out with .doit()."
            if function.atoms(Density):
                _check_slope(function, term, rho, refuse)
                continue
            refuse(f"the unevaluated derivative {function}", accepted, fix)
        if not isinstance(function, Density):
            refuse(f"the undefined function {function}", "formulas with known functions")
        if function.func != rho.func or len(function.args) != len(rho.args):
            refuse(f"the density {function}", f"one density, {rho}")
        if function.args not in term.copies:
            refuse(
                f"the density {function} used as a test function",
                f"{rho.func.__name__} at a copy of the space that is integrated over",
                "Write integral(f*rho*rho.at(y), x, y) for an interaction.",
            )
    _check_real(part, term)


def _check_slope(
    slope: sp.Basic, term: EnergyIntegral, rho: Density, refuse: Callable[..., NoReturn]
) -> None:
    """Check a derivative in an integrand: one of the density, of first order."""
    accepted = f"first derivatives of {rho.func.__name__} in integrals over one copy of the space"
    if len(term.copies) > 1:
        refuse(f"the derivative {slope} in a {_MANY[len(term.copies)]} integral", accepted)
    if not isinstance(slope, sp.Derivative) or not isinstance(slope.expr, Density):
        refuse(f"the unevaluated derivative {slope}", accepted, "Carry it out with .doit().")
    if slope.derivative_count > 1:
        refuse(f"the second derivative {slope}", accepted, "Integrate by parts.")


def _check_inner(inner: EnergyIntegral, term: EnergyIntegral, rho: Density) -> None:
    """Check that an integral inside of another one is a convolution, int K(x, y) rho(y) dy."""

    def refuse(what: str, accepted: str = "", fix: str = "") -> NoReturn:
        given = f"{short_text(inner)} in {short_text(term)}: {what}"
        accepted = accepted or f"inside an integral over x, convolutions {_CONVOLUTION}"
        raise EnergyError("energy", given, accepted, fix)

    if len(term.copies) > 1:
        refuse(f"an integral inside a {_MANY[len(term.copies)]} integral")
    if len(inner.copies) > 1:
        refuse(f"a {_MANY[len(inner.copies)]} integral inside an integral")
    if ordered_integrals(inner.integrand):
        refuse("integrals nested deeper than one level")
    if set(inner.bound_symbols) & set(term.bound_symbols):
        fix = "Use y = copy_of(x), and rho.at(y)."
        refuse("both integrals over the same coordinates", fix=fix)
    densities = parts_of_kind(inner.integrand, Density)
    if any(density.args in term.copies for density in densities):
        fix = "Take it out of the inner integral."
        refuse("the density of the outer copy inside the inner integral", fix=fix)
    if parts_of_kind(inner.integrand, sp.Derivative, sp.Subs):
        refuse("a derivative inside the inner integral", fix="Integrate by parts.")
    for part in sp.Add.make_args(inner.integrand):
        _check_part(part, inner, rho)
    if not densities:
        refuse("an inner integral without the density")
    convolution_kernel(inner, rho)


def _check_real(expr: sp.Expr, term: sp.Expr) -> None:
    kinds = (sp.core.numbers.ImaginaryUnit, *map(type, (sp.zoo, sp.nan, sp.oo, -sp.oo)))
    wrong = parts_of_kind(expr, *kinds)
    if wrong:
        given = f"{short_text(term)} with {min(map(str, wrong))}"
        raise EnergyError("energy", given, "real, finite formulas")


def pair_kernel(term: EnergyIntegral, rho: Density) -> sp.Expr:
    """W(x, y) of an integral of W(x, y) rho(x) rho(y), in the integral's own copies.

    So of one over three copies W(x, y, z).

    Raises
    ------
    EnergyError
        Naming the summand that is not linear in the density at each copy.
    """
    return _kernel(term, rho, f"{_MANY[len(term.copies)]} integrals of W")


def linear_kernel(term: EnergyIntegral, rho: Density) -> sp.Expr:
    """h of an integral of h rho in a sum over integrals, in the integral's own copy.

    Raises
    ------
    EnergyError
        Naming the summand that is not linear in rho.
    """
    return _kernel(term, rho, "in a sum over integrals, integrals of h")


def is_density_pair(term: EnergyIntegral, rho: Density) -> bool:
    """Whether a double integral is one of f(x, y, rho(x), rho(y)) that is no W(x, y) rho rho.

    Where one of the densities is 0 so has to be f, or its integral over the whole space diverges.
    """
    if len(term.copies) != 2:
        return False
    marks = {rho.func(*copy): sp.Dummy(positive=True) for copy in term.copies}
    integrand = term.integrand.xreplace(marks)
    at_zero = [integrand.xreplace({mark: sp.S.Zero}) for mark in marks.values()]
    if any(value != 0 and not value.has(sp.nan) for value in at_zero):  # nan: of rho log(rho)
        return False
    try:
        pair_kernel(term, rho)
    except EnergyError:
        return True
    return False


def convolution_kernel(inner: EnergyIntegral, rho: Density) -> sp.Expr:
    """K(x, y) of an inner integral of K(x, y) rho(y), in the integral's own copy y.

    Raises
    ------
    EnergyError
        Naming the summand that is not linear in rho(y).
    """
    return _kernel(inner, rho, "inside of an integral, integrals of K")


def _kernel(term: EnergyIntegral, rho: Density, accepted: str) -> sp.Expr:
    """What the densities at all copies of an integral are multiplied by."""
    marks = {rho.func(*copy): sp.Dummy(positive=True) for copy in term.copies}
    wanted = sp.Mul(*marks.values())
    found: dict[sp.Expr, list[tuple[sp.Expr, sp.Expr]]] = {wanted: []}
    for part in sp.Add.make_args(term.integrand):
        for densities, factor in _in_densities(part, marks):
            found.setdefault(densities, []).append((factor, part))
    for densities, summands in found.items():
        # Other factors than the product of all densities may only stand in summands that cancel.
        if densities != wanted and sp.Add(*(factor for factor, _ in summands)) != 0:
            product = "*".join(map(str, marks))
            given = f"{short_text(summands[0][1])} in {short_text(term)}"
            every = "both factors" if len(marks) == 2 else "all factors"
            fix = f"Give each summand {every}, or write integral(f, x) for one of one copy."
            fix = fix if len(marks) > 1 else ""
            raise EnergyError("energy", given, f"{accepted}*{product}", fix)
    return sp.Add(*(factor for factor, _ in found[wanted]))


def _in_densities(
    part: sp.Expr, marks: dict[Density, sp.Dummy]
) -> Iterator[tuple[sp.Expr, sp.Expr]]:
    """Pairs (g, c) with part = sum of c*g, where c holds no density and g nothing else."""
    both = tuple(marks.values())
    factor, rest = part.xreplace(marks).as_independent(*both, as_Add=False)
    if expanded_terms(rest) > LARGEST_EXPANDED:
        given = f"{short_text(part)}, which has thousands of terms when it is multiplied out"
        accepted = "integrals that are products of the densities, W*rho(x)*rho(y)"
        raise EnergyError("energy", given, accepted)
    for piece in sp.Add.make_args(rest if rest.is_Symbol else sp.expand(rest)):
        inner, densities = piece.as_independent(*both, as_Add=False)
        yield densities, factor * inner
