"""Maps and laws of one's own: compared, cached, saved, and loaded where their class is imported.

Truth: the arguments themselves, closed forms of flows, and what a second process finds.
"""

import copy
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from own_classes import Bump, Deeper, Logistic, Stretch, X, again, problem, solution

import pwgf_sym as pw
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.declare.maps import map_from_dict
from pwgf_sym.declare.registry import description, saved
from pwgf_sym.errors import CallError, MapError, StoredSolutionError

# -- arguments ----------------------------------------------------------------------------------

VALUES = {
    "numbers": [0, -3, 2**70, 0.1, -0.0, True, False, None],
    "without end": [float("inf"), -float("inf")],
    "texts": ["", "a'\"}{", "\ud800", "class"],
    "nested": [(1, [2, (3,)], {"k": (4,), (5, 6): [None]}), {"map": "Affine", "dim": 2}],
    "formulas": [sp.sin(X[0]) / 3, sp.Symbol("a"), sp.Float("0.3"), X[1] > 0],
    "a law": pw.Gaussian([0.0, 1.0], 2.0),
    "maps": [pw.Affine(3), pw.NeuralFlow(2, 3, activation=sp.atan)],
    "maps of one's own": [Stretch(2, note=(Stretch(1),)), Deeper(1), Bump(2, scale=3.0)],
    "a law of one's own": Logistic([0.0], 2.0),
}


def test_arguments_come_back():
    for kind in VALUES:
        flow = Stretch(2, VALUES[kind], VALUES[kind], "more", scale=0.5, other=VALUES[kind])
        same = again(flow)
        assert same.note == VALUES[kind] and same.others == {"other": VALUES[kind]}
        assert type(same.note) is type(VALUES[kind]) and repr(same) == repr(flow)
        assert same.more == (VALUES[kind], "more") and (same.dim, same.scale) == (2, 0.5)
        assert same == flow and hash(same) == hash(flow) and description(same) == description(flow)
        assert Stretch(2, VALUES[kind]) != Stretch(2, [VALUES[kind]])


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 1, 3)])
def test_arrays_come_back(shape):
    for dtype in ("bool", "int8", "uint64", "float16", "float32", ">f8", "i4"):
        rng = np.random.default_rng(0)
        array = np.array(100 * rng.random(shape), dtype)
        if array.size and array.dtype.kind == "f":
            array[(..., *[0] * len(shape))] = np.nan
        found = again(Stretch(2, array)).note
        np.testing.assert_array_equal(found, array)
        assert found.shape == shape and found.dtype == np.dtype(dtype).newbyteorder("=")
        assert again(Stretch(2, array)) == Stretch(2, array.copy()) != Stretch(2, array.ravel()[1:])


def test_functions_come_back():
    u = sp.Symbol("u")
    assert again(Stretch(2, sp.tanh)).note is sp.tanh
    for function in (lambda v: v / (1 + sp.exp(-v)), sp.Lambda(u, u / (1 + sp.exp(-u)))):
        flow = Stretch(2, function)
        found, value = again(again(flow)).note, 2 / (1 + np.exp(-2))
        assert found(u) == u / (1 + sp.exp(-u)) and float(found(2)) == pytest.approx(value)
        z = np.linspace(-3, 3, 7)  # a law's function is one of arrays
        np.testing.assert_allclose(found(z), z / (1 + np.exp(-z)), rtol=1e-14)
    a = sp.Symbol("a", real=True)  # not the argument
    with pytest.raises(StoredSolutionError, match="argument note"):
        description(Stretch(2, lambda v: a * v))
    assert Stretch(2, lambda v: 2 * v) == Stretch(2, lambda v: v + v) != Stretch(2, lambda v: v)


def test_arguments_are_those_of_the_call():
    """What is changed afterwards changes nothing, but that it is not saved unseen."""
    array, entries = np.ones(3), [1, [2]]
    flow = Stretch(2, array, entries)
    array[0], entries[1][0] = 5.0, 7
    found = again(flow)
    assert found.note.tolist() == [1, 1, 1] and found.more == ([1, [2]],)
    with pytest.raises(StoredSolutionError, match=r"attribute (note|more) is .*made anew"):
        saved(flow)


def test_the_most_derived_constructor_counts():
    flow = Deeper(1)
    assert description(flow)["arguments"] == {"double": 1}
    assert again(flow).dim == 2 and again(flow) == flow != Stretch(2, "of Deeper", scale=1)


def test_a_class_derived_from_a_family_is_not_taken_for_it():
    class Shifted(pw.Gaussian):
        def __init__(self, where):
            super().__init__([where, where], 1.0)

    class Flow(pw.NeuralFlow):
        pass

    law, flow = Shifted(2.0), Flow(2, 3)
    assert law != pw.Gaussian([2.0, 2.0], 1.0) and flow != pw.NeuralFlow(2, 3)
    assert law.to_dict()["law"] == "Shifted" and law.to_dict()["arguments"] == {"where": 2.0}
    assert repr(law) == "Shifted(where=2.0)" and repr(flow).startswith("Flow(dim=2, width=3")
    on_circle = flow.on_circle((1.0, None))
    assert type(on_circle) is Flow and on_circle.period == (1.0, None)

    class Narrow(pw.NeuralFlow):
        def __init__(self, dim):
            super().__init__(dim, 3)

    with pytest.raises(MapError, match=r"Narrow.*periodic"):
        Narrow(2).on_circle((1.0, None))


class Forgetful(Stretch):
    """Its pickle tells the dimension alone."""

    def __init__(self, dim=1):
        super().__init__(dim)

    def __getstate__(self):
        return {"dim": self.dim}

    def __setstate__(self, state):
        Stretch.__init__(self, state["dim"])


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_copies(copied):
    given = [Stretch(2, np.arange(3)), Deeper(2), Bump(3), Forgetful(4), Logistic([1.0], 2.0)]
    for thing in given:
        same = copied(thing)
        assert same == thing and same is not thing and description(same) == description(thing)
        assert repr(same) == repr(thing) and hash(same) == hash(thing)


def test_a_constructor_that_raises_leaves_nothing():
    class Picky(Stretch):
        def __init__(self, dim):
            if dim > 2:
                raise MapError("dim", dim, "at most 2")
            super().__init__(dim)

    with pytest.raises(MapError, match="at most 2"):
        Picky(3)
    with pytest.raises(TypeError, match="unexpected"):
        Picky(2, more=1)
    assert Picky(2) == Picky(2)
    with pytest.raises(CallError, match="dim"):
        pw.Affine()

    class Plain(pw.Map):
        dim, steps = 2, 1

    assert Plain() == Plain() and description(Plain())["arguments"] == {}
    with pytest.raises(TypeError, match="no arguments"):
        Plain(3)


@dataclass(eq=False)
class Data(Stretch):
    dim: int
    weights: list = field(default_factory=lambda: [1.0])
    note: object = None
    scale: float = 1.0


def test_a_dataclass():
    flow = Data(2, [3, 4])
    assert again(flow) == flow and again(flow).weights == [3, 4] and again(flow) != Data(2)


def test_what_cannot_be_stored_is_named():
    kinds = {"ufunc": np.tanh, "Fraction": Fraction(1, 3), "set": {1, 2}, "complex": 1j}
    kinds |= {"object": object(), "builtin_function_or_method": print, "bytes": [[b"a"]]}
    kinds |= {"type": float, "Generator": np.random.default_rng(0), "int": 1 << 20_000}
    kinds |= {"function": lambda v: np.tanh(v), "MutableDenseMatrix": sp.eye(2)}
    for name, value in kinds.items():
        flow = Stretch(2, value)
        assert flow == flow and flow != Stretch(2, value) and hash(flow) != hash(Stretch(2, value))
        assert repr(flow) == f"Stretch(dim=2, note=<{name}>, scale=1.0)"
        with pytest.raises(StoredSolutionError, match=rf"Stretch: .*argument note .*type {name},"):
            description(flow)


def test_solving_needs_no_description(tmp_path):
    flow = Stretch(2, np.tanh)
    found = solution(flow)
    points = problem().initial.sample(5, 0)
    np.testing.assert_allclose(found.push(points), np.exp(-1) * points, rtol=1e-4, atol=1e-5)
    with pytest.raises(StoredSolutionError, match=r"argument note .*type ufunc"):
        found.save(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_a_constructor_that_is_hidden():
    class Hidden(Stretch):
        def __new__(cls, *args):
            return super().__new__(cls)

        def __init__(self, dim=1):
            super().__init__(dim)

    assert Hidden(3) != Hidden(3) and repr(Hidden(3)) == "Hidden()"
    with pytest.raises(StoredSolutionError, match=r"not known.*to_dict"):
        description(Hidden(3))


def test_what_is_not_made_by_its_arguments_is_not_saved():
    class Random(Stretch):
        def __init__(self, dim):
            super().__init__(dim)
            self.weights = np.random.default_rng().random(3)

    flow, law = Random(2), pw.Gaussian([0.0], 1.0)
    with pytest.raises(StoredSolutionError, match="attribute weights"):
        saved(flow)
    flow = Stretch(2)
    flow.inner, flow._kind = [flow], "law"  # two that hold each other, and names of anybody's
    assert saved(flow) == description(flow) and saved(law) == law.to_dict()
    flow.scale = 3.0
    with pytest.raises(StoredSolutionError, match=r"attribute scale is 3\.0, and 1\.0"):
        saved(flow)


# -- a to_dict of one's own ---------------------------------------------------------------------


def local(dim=2, scale=2.0):
    class Local(Stretch):
        def to_dict(self):
            return {"map": "Local", "dim": self.dim, "scale": self.scale}

    return Local(dim, np.tanh, scale=scale)


def test_own_entries_are_compared():
    flow = Bump(2, np.tanh, scale=3.0)
    assert flow == Bump(2, print, scale=3.0) != Bump(2, scale=4.0)
    assert repr(flow) == "Bump(dim=2, scale=3.0)"
    named = {"map": "Bump", "class": "own_classes:Bump"}
    assert description(flow) == named | {"entries": {"dim": 2, "scale": 3.0}}
    assert again(Bump(2, scale=3.0)) == flow
    assert hash(local()) == hash(local()) and repr(local()) == repr(local())
    assert local() != local()  # two classes, whose formulas nobody compares
    one, two = (pw.compile(problem(), local(), target="cpu").path for _ in range(2))
    assert one == two


def test_a_local_class_is_saved_and_not_loaded(tmp_path):
    solution(local()).save(tmp_path / "a.npz")
    with pytest.raises(StoredSolutionError, match=r"local.*within a function.*top of a module"):
        pw.load_solution(tmp_path / "a.npz")


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [Stretch(2, sp.tanh, scale=2.0), Deeper(1), Bump(2, scale=0.5)])
def test_solutions_are_saved_and_loaded(flow, tmp_path):
    for law in (None, Logistic([1.0, -0.5], 0.4, weights=[1, 2, 3, 4])):
        found = solution(flow, law)
        found.save(tmp_path / "a.npz")
        loaded = pw.load_solution(tmp_path / "a.npz")
        assert loaded.map == flow and loaded.problem.initial == found.problem.initial
        points = found.problem.initial.sample(7, 1)
        np.testing.assert_array_equal(loaded.push(points), found.push(points))
        exact = np.exp(-1) * points
        np.testing.assert_allclose(loaded.push(points), exact, rtol=1e-4, atol=1e-5)


def test_a_law_of_ones_own_modulo_a_period():
    law = Logistic([1.0], 0.1)
    x = pw.coordinates(1, period=2 * sp.pi)
    rho = pw.Density(x)
    wrapped = pw.GradientFlow(pw.integral(sp.cos(x[0]) * rho, x), rho, initial=law).initial
    same = again(wrapped)
    assert same == wrapped and same.law == law and saved(wrapped) == description(wrapped)
    law.scale = 5.0
    with pytest.raises(StoredSolutionError, match="attribute scale"):
        saved(wrapped)


def test_the_packages_families_are_written_as_before():
    tree = ["tanh", ["Symbol", "a", {"real": True}]]
    flow = {"map": "NeuralFlow", "dim": 1, "width": 2, "steps": 3, "activation": tree}
    flow |= {"substep": "euler", "log_determinant": "exact"}
    assert pw.NeuralFlow(1, 2, 3).to_dict() == flow == description(pw.NeuralFlow(1, 2, 3))
    assert map_from_dict(flow) == pw.NeuralFlow(1, 2, 3)
    assert description(pw.Affine(2)) == {"map": "Affine", "dim": 2}
    law = {"law": "Gaussian", "mean": [0.0], "cov": [2.0]}
    assert description(pw.Gaussian([0], 2)) == law and law_from_dict(law) == pw.Gaussian([0], 2)


def test_equal_things_have_equal_hashes():
    assert pw.Gaussian([-0.0], 1) == pw.Gaussian([0.0], 1)
    assert hash(pw.Gaussian([-0.0], 1)) == hash(pw.Gaussian([0.0], 1))
    assert Stretch(2.0) == Stretch(2) and hash(Stretch(2.0)) == hash(Stretch(2))
    assert pw.Affine(1) != pw.Gaussian([0], 1) and pw.Affine(1) != 3
    assert len({pw.Affine(1), pw.Affine(1), pw.NeuralFlow(1, 2), Stretch(1), Stretch(1)}) == 3


# -- other processes ------------------------------------------------------------------------------

MODULE = '''
import numpy as np
import sympy as sp
import pwgf_sym as pw


class Planar(pw.Map):
    """x + v tanh(w.x + b)."""

    def __init__(self, dim=1, steps=2, bend=sp.tanh):
        self.dim, self.steps, self.bend = dim, steps, bend

    def parameters(self):
        return {"v": "i", "w": "j", "b": ""}

    def step(self, op, p, x):
        inner = op.einsum("j,j->", p["w"], x) + p["b"]
        bent = op.apply(self.bend(sp.Symbol("s", real=True)), inner)
        return x + op.einsum("i,->i", p["v"], bent)

    def initial_parameters(self, law, seed=0):
        rng, part = np.random.default_rng(seed), []
        for _ in range(self.steps):
            part += [np.zeros(self.dim), rng.standard_normal(self.dim), [0.0]]
        return np.concatenate(part)


def program(target):
    x = pw.coordinates(1)
    rho = pw.Density(x)
    law = pw.Gaussian([0.5], 1.0)
    problem = pw.GradientFlow(pw.integral(x[0] ** 2 / 2 * rho, x), rho, initial=law)
    return pw.compile(problem, Planar(steps=1, bend=lambda s: s / sp.sqrt(1 + s**2)), target=target)


def moved(program):
    samples = program.samples(np.array([[0.25]]))
    theta = np.array([0.5, 2.0, -1.0])
    return float(program.unpack(program.push(theta, samples).x, samples)[0, 0])
'''
# u = 0.25 - 0.5 is moved by 0.5 s/sqrt(1 + s^2), s = 2 u - 1.
MOVED = 0.25 - 0.5 * 1.5 / np.sqrt(1 + 1.5**2)


def process(code, folder, **variables):
    """A process of its own; its lines."""
    path = os.pathsep.join([str(folder), os.path.dirname(os.path.dirname(pw.__file__))])
    own = {"PYTHONPATH": path, "PWGF_SYM_CACHE": str(folder / "cache")} | variables
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_other_processes(tmp_path):
    """The first compiles, the second finds the machine code and saves, the third loads."""
    (tmp_path / "planar_module.py").write_text(MODULE)
    code = "import planar_module as m\np = m.program('cpu')\nprint(m.moved(p))\nprint(p.path)\n"
    code += "print(p.cache_statistics()['compiled'])\n"
    save = "import pwgf_sym as pw\nq = m.program('numpy')\n"
    save += "s = pw.solve(q.problem, q.map, (0, 0.1), dt=0.1, samples=32, target='numpy')\n"
    save += "s.save('a.npz')\n"
    first = process(code, tmp_path, PYTHONHASHSEED="1")
    second = process(code + save, tmp_path, PYTHONHASHSEED="2")
    assert first[:2] == second[:2] and int(first[2]) > 0 and int(second[2]) == 0
    assert float(first[0]) == pytest.approx(MOVED, rel=1e-14)
    load = "import pwgf_sym as pw\ns = pw.load_solution('a.npz')\n"
    load += "p = pw.compile(s.problem, s.map)\n"
    load += "print(m.moved(p), p.path, p.cache_statistics()['compiled'])\n"
    third = process("import planar_module as m\n" + load, tmp_path, PYTHONHASHSEED="3")
    assert third == [f"{first[0]} {first[1]} 0"]
    with pytest.raises(StoredSolutionError, match=r"import planar_module first, then load"):
        pw.load_solution(tmp_path / "a.npz")
    assert "planar_module" not in sys.modules


SCRIPT = """
import os

q = program("numpy")
if os.path.exists("b.npz"):
    assert pw.load_solution("b.npz").map == q.map
    print("loaded")
else:
    s = pw.solve(q.problem, q.map, (0, 0.1), dt=0.1, samples=32, target="numpy")
    s.save("b.npz")
"""


def test_a_script_loads_its_own_class(tmp_path):
    code = MODULE + SCRIPT
    assert [process(code, tmp_path) for _ in range(2)] == [[], ["loaded"]]
    with pytest.raises(StoredSolutionError, match="__main__:Planar, which is no map of that name"):
        pw.load_solution(tmp_path / "b.npz")
