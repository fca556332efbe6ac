"""Stored formulas: every formula comes back equal, and nothing else is read."""

import json

import pytest
import sympy as sp
from gallery_energies import GALLERY
from hypothesis import given, settings
from hypothesis import strategies as st

from pwgf_sym.declare import Density, coordinates, from_tree, to_tree
from pwgf_sym.derive import first_variation
from pwgf_sym.errors import FormulaError, StoredSolutionError

A = sp.Symbol("a", real=True)
N = sp.Symbol("n", integer=True, positive=True)
U = sp.Symbol("u")


def through_json(expr):
    return from_tree(json.loads(json.dumps(to_tree(expr))))


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_energies_come_back(name):
    energy, rho = GALLERY[name]()
    back = through_json(energy)
    assert back == energy and sp.srepr(back) == sp.srepr(energy)
    assert back.free_symbols == energy.free_symbols  # equal symbols have equal assumptions
    assert first_variation(back, rho) == first_variation(energy, rho)


FORMULAS = [
    sp.Integer(-7),
    sp.Integer(10) ** 400,
    sp.Rational(-22, 7),
    sp.Float("0.1"),
    sp.Float("-1.25e-300"),
    sp.Float(0.0),
    sp.Float("3.14159265358979323846264338327950288", 35),
    sp.pi * sp.E - sp.EulerGamma,
    sp.oo,
    sp.sqrt(2) * A ** sp.Rational(3, 7) / (1 + N),
    2 * (A + N),
    sp.Mul(2, A + 1, evaluate=False),
    sp.tanh(U) * sp.exp(-(U**2)) + sp.log(1 + sp.exp(U)),
    sp.Piecewise((A**2, A > 0), (sp.sin(A), sp.And(A < -1, sp.Ne(A, -3))), (0, True)),
    sp.Max(0, A) + sp.Min(A, N) + sp.Abs(A) + sp.sign(A) + sp.Heaviside(A),
    sp.erf(A) + sp.gamma(N) + sp.besselj(0, A) + sp.atan2(A, N) + sp.Mod(A, 2),
    Density(coordinates(3)).diff(coordinates(3)[1]) ** 2,
    sp.Eq(A, 1),
    sp.true,
]


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_formulas_come_back(formula):
    back = through_json(formula)
    assert back == formula and sp.srepr(back) == sp.srepr(formula)


def test_symbols_keep_their_assumptions():
    for symbol in (A, N, U, sp.Symbol("q", nonnegative=True), sp.Symbol("x", real=False)):
        assert through_json(symbol).assumptions0 == symbol.assumptions0
    assert to_tree(A) == ["Symbol", "a", {"real": True}]


def test_precision_of_floats_is_kept():
    long = sp.Float("0.1", 40)
    assert through_json(long)._prec == long._prec and through_json(long) == long


LEAVES = st.sampled_from([A, N, U, sp.Rational(1, 3), sp.Float(0.7), sp.Integer(-2), sp.pi])


def _larger(inner):
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: p[0] + p[1]),
        pair.map(lambda p: p[0] * p[1]),
        inner.map(lambda e: e**2),
        inner.map(lambda e: sp.exp(-e)),
        inner.map(sp.tanh),
        pair.map(lambda p: sp.Piecewise((p[0], A > 0), (p[1], True))),
    )


@settings(max_examples=25, deadline=None)
@given(st.recursive(LEAVES, _larger, max_leaves=8))
def test_random_formulas_come_back(formula):
    assert sp.srepr(through_json(formula)) == sp.srepr(formula)


@pytest.mark.parametrize(
    "tree",
    [
        ["Lambda", ["Symbol", "a", {}]],
        ["__import__", "os"],
        ["Add", ["Function", "f"]],
        ["Symbol"],
        ["Symbol", "a"],
        ["Symbol", "a", {"evil": True}],
        ["Symbol", "a", {"real": 1}],
        ["Symbol", "a", {"positive": True, "negative": True}],
        ["Symbol", 3, {}],
        ["Integer", "1 + 1"],
        ["Integer", "9" * 5000],
        ["Integer", 3],
        ["Rational", "1", "0"],
        ["Float", 0, "1", "x", 53],
        ["Float", 2, "1", 0, 53],
        ["exp"],
        ["exp", ["pi"], ["pi"]],
        ["Pow", ["pi"]],
        ["pi", ["pi"]],
        ["Piecewise"],
        ["Density", "rho; import os", ["Symbol", "a", {}]],
        ["EnergyIntegral", ["pi"], ["pi"]],
        [],
        [["Add"]],
        "pi",
        3,
        None,
        {"Add": []},
    ],
    ids=str,
)
def test_other_trees_are_refused(tree):
    with pytest.raises(StoredSolutionError):
        from_tree(tree)


def test_deep_trees_are_refused_rather_than_crash():
    tree = ["pi"]
    for _ in range(100_000):
        tree = ["exp", tree]
    with pytest.raises(StoredSolutionError):
        from_tree(tree)


def test_stored_text_starts_no_long_computation():
    tower = ["Integer", "10"]
    for _ in range(3):
        tower = ["Pow", ["Integer", "10"], tower]
    assert isinstance(from_tree(tower), sp.Pow)


@pytest.mark.parametrize(
    "formula", [sp.Dummy("d"), sp.I * A, sp.Function("f")(A), sp.Integral(A, (A, 0, 1)), sp.zoo]
)
def test_what_cannot_be_stored_is_named(formula):
    with pytest.raises(FormulaError, match="formula: got"):
        to_tree(formula)
