"""Names that no text can hold are refused where they are given, or read."""

import pytest
import sympy as sp

import pwgf_sym as ps
from pwgf_sym.declare.tree import from_tree, to_tree
from pwgf_sym.errors import EnergyError, StoredSolutionError

X = ps.coordinates(1)
RHO = ps.Density(X)
LAW = ps.Gaussian([0.5], 2.0)
UNPRINTABLE = ["a\0b", "\0", "\ud800", "k\udfffk", "a\nb", "\x1b[31m", "k\u200b", "\u2028"]
PRINTABLE = ["", " ", "a b", "\u03b2", "\\", '"""', "'''", "{content}", "\U0001d6fd", "\u1e9e"]


def flow_of(symbol):
    return ps.GradientFlow(
        ps.integral(symbol * X[0] ** 2 * RHO, X), RHO, initial=LAW, parameters={symbol: 1.5}
    )


def flow_along(symbol):
    rho = ps.Density([symbol])
    return ps.GradientFlow(ps.integral(symbol**2 * rho, [symbol]), rho, initial=LAW)


def flow_between(symbol):
    """With a partner that an integral binds."""
    energy = ps.integral((X[0] - symbol) ** 2 * RHO * RHO.at([symbol]), X, [symbol])
    return ps.GradientFlow(energy, RHO, initial=LAW)


PLACES = [flow_of, flow_along, flow_between]


@pytest.mark.parametrize("name", UNPRINTABLE, ids=ascii)
@pytest.mark.parametrize("place", PLACES)
def test_names_that_no_text_holds(place, name):
    with pytest.raises(EnergyError, match="printable characters") as caught:
        place(sp.Symbol(name, real=True))
    assert str(caught.value).isprintable() and repr(name) in str(caught.value)


@pytest.mark.parametrize("name", PRINTABLE, ids=ascii)
@pytest.mark.parametrize("place", PLACES)
def test_all_others_are_written(place, name):
    module = ps.compile(place(sp.Symbol(name, real=True)), ps.Affine(1)).module
    assert callable(module.push)


@pytest.mark.parametrize("name", UNPRINTABLE, ids=ascii)
def test_stored_names(name):
    with pytest.raises(StoredSolutionError):
        from_tree(to_tree(sp.Symbol(name)))


@pytest.mark.parametrize("name", PRINTABLE, ids=ascii)
def test_stored_names_come_back(name):
    assert from_tree(to_tree(sp.Symbol(name))) == sp.Symbol(name)
