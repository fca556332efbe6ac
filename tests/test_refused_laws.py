"""Written laws are stored as values, by names that import nothing; wrong ones are refused."""

import copy
import json
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.stats as st
import sympy as sp
from test_written_laws import CUSTOM, LAWS, LOGISTIC, draw_logistic, x1, x2

import pwgf_sym as pw
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.errors import LawError

# Storage.


@pytest.mark.parametrize("name", list(LAWS))
def test_laws_are_values(name):
    law = LAWS[name]
    again = law_from_dict(json.loads(json.dumps(law.to_dict())))
    assert again == law and hash(again) == hash(law)
    np.testing.assert_array_equal(again.sample(5, 1), law.sample(5, 1))
    for same in (pickle.loads(pickle.dumps(law)), copy.deepcopy(law)):
        assert same == law
        np.testing.assert_array_equal(same.sample(5, 1), law.sample(5, 1))
        points = law.sample(5, 2)
        np.testing.assert_array_equal(same.log_density(points), law.log_density(points))
        np.testing.assert_array_equal(same.score(points), law.score(points))
    assert sum(law == other for other in LAWS.values()) == 1
    assert len(repr(law)) < 600


def test_weights_keep_their_bits():
    for count in (3, 7, 10):
        law = pw.Mixture(np.arange(1, count + 1), np.zeros((count, 1)), 1.0)
        assert law_from_dict(law.to_dict()) == law


def test_a_sampler_without_a_name_cannot_be_stored():
    law = pw.Custom(LOGISTIC, x1, lambda n, rng: rng.logistic(size=(n, 1)))
    with pytest.raises(LawError, match="at the top of a module"):
        law.to_dict()
    assert law != CUSTOM and law == law and "Custom" in repr(law)


def test_names_of_samplers_import_nothing(monkeypatch):
    entries = CUSTOM.to_dict()
    assert entries["sampler"] == f"{draw_logistic.__module__}:draw_logistic"
    calls = ["this:d", "os:system", "shutil:rmtree", "nowhere:f", f"{__name__}:pw.solve", "", "x"]
    calls += ["antigravity:geohash", f"{__name__}:np.zeros", "posix:kill", "pwgf_sym:"]
    for name in calls:
        law = law_from_dict(entries | {"sampler": name})
        np.testing.assert_array_equal(law.log_density([[0.5]]), CUSTOM.log_density([[0.5]]))
        with pytest.raises(LawError, match="Import"):
            law.sample(3, 0)
    assert "this" not in sys.modules and "antigravity" not in sys.modules
    module = types.ModuleType("laws_of_mine")
    exec("def draw(n, rng):\n    return rng.logistic(size=(n, 1))", module.__dict__)
    law = law_from_dict(entries | {"sampler": "laws_of_mine:draw"})
    monkeypatch.setitem(sys.modules, "laws_of_mine", module)
    np.testing.assert_array_equal(law.sample(3, 0), CUSTOM.sample(3, 0))


@pytest.mark.parametrize(
    "entries",
    [
        {"law": "Custom"},
        {"law": "Custom", "formula": ["pi"], "sampler": 3},
        {"law": "OfSciPy", "distribution": "os", "shapes": [], "loc": 0.0, "scale": 1.0},
        {"law": "OfSciPy", "distribution": "poisson", "shapes": [2.0], "loc": 0.0, "scale": 1.0},
        {"law": "OfSciPy", "distribution": "t", "shapes": ["5"], "loc": 0.0, "scale": 1.0},
        {"law": "Mixture", "weights": [1.0], "means": [[0.0]]},
        {"law": "Product", "parts": []},
    ],
)
def test_damaged_entries_are_refused(entries):
    with pytest.raises((LawError, KeyError)):
        law_from_dict(entries)


# Refusals.


class Unnamed:
    def __call__(self, n, rng):
        return rng.normal(size=(n, 1))


NORMAL = -(x1[0] ** 2) / 2 - sp.log(2 * sp.pi) / 2


def normal(n, rng):
    return rng.normal(size=(n, 1))


@pytest.mark.parametrize(
    ("make", "argument", "message"),
    [
        (lambda: pw.Mixture([0.5, 0.0], [[0.0], [1.0]], 1), "weights", "Leave the component out"),
        (lambda: pw.Mixture([0.5, -1], [[0.0], [1.0]], 1), "weights", "of component 1"),
        (lambda: pw.Mixture([0.5, np.nan], [[0.0], [1.0]], 1), "weights", "finite"),
        (lambda: pw.Mixture([1e300, 1e-300], [[0.0], [1.0]], 1), "weights", "comparable"),
        (lambda: pw.Mixture([1], [[0.0], [1.0]], 1), "weights", "one a mean"),
        (lambda: pw.Mixture([1, 1], [0.0, 1.0], 1), "means", "one row a component"),
        (lambda: pw.Mixture([], np.zeros((0, 2)), 1), "means", "shape"),
        (lambda: pw.Mixture([1, 1], [[0.0], [np.inf]], 1), "means", "finite"),
        (lambda: pw.Mixture([1, 1], np.eye(2), np.eye(2)), "covs", "one matrix"),
        (lambda: pw.Mixture([1, 1], np.eye(2), [1, 2, 3]), "covs", "shape"),
        (lambda: pw.Mixture([1, 1], np.eye(2), [1, 0]), "covs", "positive definite"),
        (lambda: pw.Mixture([1], [[0, 0.0]], [[[1, 2], [2, 1]]]), "covs", "smallest eigenvalue"),
        (lambda: pw.Mixture([1], [[0, 0.0]], [[[1, 0.5], [0, 1]]]), "covs", "symmetric"),
        (lambda: pw.Empirical([[1.0, 2.0]]), "points", "two different"),
        (lambda: pw.Empirical([[1.0, 2.0]] * 5), "points", "two different"),
        (lambda: pw.Empirical([1.0, 2.0]), "points", "one point in each row"),
        (lambda: pw.Empirical([[1.0], [np.nan]]), "points", "finite"),
        (lambda: pw.Empirical([[1e200], [0.0]]), "points", "double precision"),
        (lambda: pw.Empirical([[0.0], [1.0]]).log_density([[0.0]]), "law", "no density"),
        (lambda: pw.Empirical([[0.0], [1.0]]).transform([[0.5]]), "u", "sampler alone"),
        (lambda: pw.Product([]), "laws", "no law"),
        (lambda: pw.Product([st.norm()]), "laws", "a list of laws"),
        (lambda: pw.Product(pw.Gaussian([0.0], 1)), "laws", "a list of laws"),
        (lambda: pw.from_scipy(st.t), "distribution", "not frozen"),
        (lambda: pw.from_scipy(st.poisson(3)), "distribution", "discrete"),
        (lambda: pw.from_scipy(st.poisson), "distribution", "discrete"),
        (lambda: pw.from_scipy(st.cauchy()), "distribution", "finite variance"),
        (lambda: pw.from_scipy(st.t(2)), "distribution", "finite variance"),
        (lambda: pw.from_scipy(st.t(1.5)), "distribution", "finite variance"),
        (lambda: pw.from_scipy(st.multivariate_t([0, 0], np.eye(2), 2)), "df", "above 2"),
        (lambda: pw.from_scipy(st.norm([0.0, 1.0], 1)), "distribution", "Product"),
        (lambda: pw.from_scipy(st.gamma(-1)), "distribution", "gamma has values for"),
        (lambda: pw.from_scipy(st.norm(0, -1)), "distribution", "norm has values for"),
        (lambda: pw.from_scipy(st.dirichlet([1, 2])), "distribution", "frozen continuous"),
        (lambda: pw.from_scipy("norm"), "distribution", "frozen continuous"),
        (lambda: pw.Custom(NORMAL, x1, 3), "sampler", "a function"),
        (lambda: pw.Custom(NORMAL, x1, len), "sampler", "raises TypeError: 'len"),
        (lambda: pw.Product(np.array(2)), "laws", "a list of laws"),
        (lambda: pw.Custom(NORMAL + sp.Symbol("a"), x1, normal), "log_density", "in a, too"),
        (lambda: pw.Custom("-x0**2", x1, normal), "log_density", "not evaluated"),
        (lambda: pw.Custom(NORMAL, "x0", normal), "coordinates", "got .x0."),
        (lambda: pw.Custom(sp.I * x1[0], x1, normal), "log_density", "formula"),
        (lambda: pw.Custom(NORMAL, x1, lambda n, rng: rng.normal(size=n)), "sampler", "shape"),
        (lambda: pw.Custom(NORMAL, x1, lambda n, rng: [["a"]] * n), "sampler", "real number"),
        (
            lambda: pw.Custom(NORMAL, x1, lambda n, rng: np.full((n, 1), np.nan)),
            "sampler",
            "finite",
        ),
        (
            lambda: pw.Custom(NORMAL, x1, lambda n, rng: np.random.normal(size=(n, 1))),
            "sampler",
            "rng",
        ),
        (lambda: pw.Custom(NORMAL + 1, x1, normal), "log density", "the mass 2.7"),
        (lambda: pw.Custom(-(x1[0] ** 2) / 2, x1, normal), "log density", "Subtract 0.918"),
        (lambda: pw.Custom(NORMAL, x1, lambda n, rng: 1.5 * normal(n, rng)), "sampler", "whose"),
        (lambda: pw.Custom(NORMAL, x1, lambda n, rng: 0.3 + normal(n, rng)), "sampler", "is below"),
        (lambda: pw.Custom(NORMAL, x1, normal, mean=[1.0]), "mean", "about 1"),
        (lambda: pw.Custom(NORMAL, x1, normal, covariance=[[0.3]]), "covariance", "about 0.3"),
        (
            lambda: pw.Custom(sp.S.Zero, x1, lambda n, rng: rng.random((n, 1))),
            "sampler",
            "Set jump = True",
        ),
        (
            lambda: pw.Custom(
                -(x2[0] ** 2) - x2[1] ** 2, x2, lambda n, rng: rng.normal(0, 0.5**0.5, (n, 2))
            ),
            "log density",
            "the mass 3.",
        ),
    ],
)
def test_refusals_name_the_argument(make, argument, message):
    with pytest.raises(LawError, match=message) as caught:
        make()
    assert caught.value.argument == argument


def test_a_sampler_that_is_an_object_is_taken():
    assert pw.Custom(NORMAL, x1, Unnamed()).mean == pytest.approx(0, abs=0.02)
