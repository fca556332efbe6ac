"""Numbers of any kind are numbers; what is none is refused by the argument's name."""

import math
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from refusals import ENERGY, LAW, RHO

import pwgf_sym as pw
from pwgf_sym import arguments
from pwgf_sym.errors import (
    CallError,
    CoordinateError,
    LawError,
    OptionError,
)
from pwgf_sym.solver.options import FlowOptions


@pytest.mark.parametrize(
    "value",
    [
        *(0.375, Fraction(3, 8), Decimal("0.375"), sp.Rational(3, 8), sp.Float(0.375)),
        *(np.float32(0.375), np.longdouble(0.375), np.array(0.375), sp.sin(sp.asin(0.375))),
    ],
)
def test_numbers_of_any_kind_are_numbers(value):
    assert arguments.number("dt", value) == pytest.approx(0.375, rel=1e-15)
    assert arguments.real_array("cov", value) == pytest.approx(0.375, rel=1e-15)
    assert arguments.real_array("cov", [value, 1]).tolist() == pytest.approx([0.375, 1])


@pytest.mark.parametrize("value", [6, np.int16(6), sp.Integer(6), np.array(6), Fraction(12, 2)])
def test_integers_of_any_kind_are_integers(value):
    found = arguments.integer("samples", value, 1)
    assert found == 6 and type(found) is int
    assert type(arguments.number("dt", value)) is float


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.bool_(False), np.array(True), "0.5", b"1", None, 1j, np.complex64(1), math.nan),
        *(math.inf, sp.I, sp.nan, sp.oo, sp.zoo, sp.Symbol("q"), -(10**400), Decimal("NaN"), [0.5]),
        *(np.array([0.5]), np.array("1"), object(), int, {}, np.datetime64("2020-01-01")),
    ],
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(OptionError, match=r"^dt: got .*; accepted: a finite real number"):
        arguments.number("dt", value)
    with pytest.raises(OptionError, match=r"^samples: got .*; accepted: an integer of at"):
        arguments.integer("samples", value if value is not True else 2.5, 3)


def test_bounds_and_near_integers_are_named():
    for bounds in ({"above": 2}, {"least": 3}, {"below": 1.5}):
        with pytest.raises(LawError, match=r"(above 2|at least 3|below 1\.5)\.$"):
            arguments.number("radius", 2, error=LawError, **bounds)
    with pytest.raises(OptionError, match=r"Write 2000\.$"):
        arguments.integer("samples", 2e3, 1)


@pytest.mark.parametrize(
    "value",
    [["1", "2"], [True, False], [1, [2, 3]], [1j], [None], {1, 2}, "12", np.zeros(2, "M8[s]")],
)
def test_arrays_of_anything_else_are_refused(value):
    with pytest.raises(LawError, match="mean: got"):
        pw.Gaussian(value, 1.0)


def test_numbers_of_any_kind_reach_a_run(soon):
    options = {"shift": Fraction(1, 1000), "samples": sp.Integer(16), "dt": Decimal("0.1")}
    samples = options.pop("samples")
    entries = FlowOptions.of(options, samples=samples).to_dict()
    assert [entries[k] for k in ("samples", "dt", "shift")] == [16, 0.1, 0.001]
    assert entries.pop("chosen") == []
    assert all(type(v) in (int, float, str, bool, type(None)) for v in entries.values())
    beta = sp.Symbol("beta")
    problem = pw.GradientFlow(beta * ENERGY, RHO, LAW, {beta: np.float32(0.5)})
    assert problem.parameters == {beta: 0.5}


def test_laws_of_numbers_of_any_kind():
    half = [Fraction(1, 2), sp.Rational(-1, 4)]
    cov = sp.Matrix([[2, 1], [1, 3]])
    assert pw.Gaussian(half, cov) == pw.Gaussian([0.5, -0.25], [[2, 1], [1, 3]])
    assert pw.UniformBall(half, Decimal("1.5")) == pw.UniformBall([0.5, -0.25], 1.5)
    assert pw.UniformBox(half, np.float32(2)) == pw.UniformBox([0.5, -0.25], 2.0)
    assert pw.Barenblatt(np.int8(2), Fraction(5, 2), sp.Integer(1)) == pw.Barenblatt(2, 2.5, 1.0)
    assert pw.NeuralFlow(sp.Integer(2), np.int64(3), np.array(2)) == pw.NeuralFlow(2, 3, 2)


def test_errors_of_two_kinds_travel():
    for kind, other in ((CallError, TypeError), (CoordinateError, IndexError)):
        error = pickle.loads(pickle.dumps(kind("a", "b", "c", "d")))
        assert isinstance(error, other) and str(error) == "a: got b; accepted: c. d"
