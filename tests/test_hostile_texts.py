"""What a stranger has written into stored solutions, or gives as a text, runs nothing."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import sympy as sp
from planted import Payload

import pwgf_sym as ps

# -- stored solutions ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    x = ps.coordinates(1)
    rho = ps.Density(x)
    beta = sp.Symbol("beta", positive=True)
    energy = ps.integral(beta * x[0] ** 2 * rho + rho * sp.log(rho), x)
    law = ps.Gaussian([0.0], 1.0)
    problem = ps.GradientFlow(energy, rho, initial=law, parameters={beta: 1.5})
    flow = ps.NeuralFlow(1, 2, steps=1, activation=sp.tanh)
    options = {"samples": 32, "dt": 0.05, "linear_solver": "dense"}
    solution = ps.solve(problem, flow, (0, 0.05), **options)
    path = tmp_path_factory.mktemp("stored") / "a.npz"
    solution.save(path)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def leaves(value, where=()):
    """Paths to all texts of a description, names of its entries among them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*where, (name,))
            yield from leaves(inner, (*where, name))
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            yield from leaves(inner, (*where, k))
    elif isinstance(value, str):
        yield where


def put(value, where, text):
    first, *rest = where
    if isinstance(first, tuple):
        value[text] = value.pop(first[0])
    elif rest:
        put(value[first], rest, text)
    else:
        value[first] = text


def opened(path) -> str:
    """Load a stored solution, look at it, and run its texts as far as a module.

    Our own errors are as good as the right numbers.  The module's text, if it came to that.
    """
    try:
        solution = ps.load_solution(path)
        repr(solution)
        solution.problem  # noqa: B018
        str(solution.problem.energy)
        assert solution.program.module
        return solution.program.code_python()
    except ps.PwgfError:
        return ""


def test_texts_of_stored_solutions(stored, tmp_path):
    """Every text of the description, one by one: heads of trees, names, options, activations."""
    description, mark = json.loads(str(stored["description"])), tmp_path / "mark"
    text = f"__import__('os').system('touch {mark}')"
    places = list(leaves(description))
    assert len(places) > 40
    for where in places:
        changed = json.loads(str(stored["description"]))
        put(changed, where, text)
        arrays = stored | {"description": np.array(json.dumps(changed))}
        np.savez(tmp_path / "a.npz", **arrays)
        opened(tmp_path / "a.npz")
        assert not mark.exists(), where


def at(value, where):
    for one in where:
        value = one[0] if isinstance(one, tuple) else value[one]
    return value


@pytest.mark.parametrize("text", ["'+open('{}', 'w')+'", '"""; open(\'{}\', \'w\'); """\\'])
def test_texts_that_come_to_a_module(stored, tmp_path, text):
    """Every text wherever it stands: so names of symbols and densities go as far as the emitter."""
    description, mark, reached = json.loads(str(stored["description"])), tmp_path / "mark", []
    places = list(leaves(description))
    for old in dict.fromkeys(at(description, where) for where in places):
        changed = json.loads(str(stored["description"]))
        for where in places:
            if at(description, where) == old and not isinstance(where[-1], tuple):
                put(changed, where, text.format(mark))
        arrays = stored | {"description": np.array(json.dumps(changed))}
        np.savez(tmp_path / "a.npz", **arrays)
        reached += [old] if opened(tmp_path / "a.npz") else []
        assert not mark.exists(), old
    assert "beta" in reached


def test_pickles_in_stored_solutions(stored, tmp_path):
    mark = tmp_path / "mark"
    planted = np.empty(1, object)
    planted[0] = Payload(mark)
    for name in stored:
        np.savez(tmp_path / "a.npz", **(stored | {name: planted}))
        opened(tmp_path / "a.npz")
        with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
            archive.writestr("more.pkl", pickle.dumps(Payload(mark)))
            archive.writestr("../outside.npy", b"")
        opened(tmp_path / "a.npz")
        assert not mark.exists(), name
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Payload(mark)))
    opened(tmp_path / "a.npz")
    assert not mark.exists() and not (tmp_path.parent / "outside.npy").exists()


# -- texts as arguments ------------------------------------------------------------------------

X = ps.coordinates(1)
RHO = ps.Density(X)
LAW = ps.Gaussian([0.0], 1.0)


def solve(**options):
    problem = ps.GradientFlow(ps.integral(X[0] ** 2 * RHO, X), RHO, initial=LAW)
    ps.solve(problem, ps.Affine(1), **{"t_span": (0, 0.1), "samples": 8, **options})


TEXTS = {
    "activation": lambda text: ps.NeuralFlow(1, 2, 1, activation=text),
    "activation's value": lambda text: ps.NeuralFlow(1, 2, 1, activation=lambda a: text),
    "integrand": lambda text: ps.integral(text, X),
    "coordinates": lambda text: ps.integral(RHO, text),
    "dimension": lambda text: ps.coordinates(text),
    "mean": lambda text: ps.Gaussian([text], 1.0),
    "covariance": lambda text: ps.Gaussian([0.0], text),
    "density": lambda text: ps.Density(text),
    "argument of the density": lambda text: RHO.at([text]),
    "energy": lambda text: ps.GradientFlow(text, RHO, initial=LAW),
    "variation": lambda text: ps.first_variation(text, RHO),
    "parameter": lambda text: ps.GradientFlow(
        ps.integral(X[0] ** 2 * RHO, X), RHO, initial=LAW, parameters={text: 1.0}
    ),
    "value": lambda text: ps.GradientFlow(
        ps.integral(sp.Symbol("k") * RHO, X), RHO, initial=LAW, parameters={sp.Symbol("k"): text}
    ),
    "times": lambda text: solve(t_span=(0, text)),
    "dt": lambda text: solve(dt=text),
    "save_at": lambda text: solve(save_at=[text]),
    "samples": lambda text: solve(samples=text),
    "seed": lambda text: solve(seed=text),
    "solver": lambda text: solve(linear_solver=text),
    "theta0": lambda text: solve(theta0=[text, text]),
    "target": lambda text: solve(target=text),
}


@pytest.mark.parametrize("argument", TEXTS)
def test_texts_are_not_evaluated(argument, tmp_path):
    mark = tmp_path / "mark"
    for text in (f"__import__('os').system('touch {mark}')", f"open({str(mark)!r}, 'w')"):
        with pytest.raises(ps.PwgfError):
            TEXTS[argument](text)
    assert not mark.exists()
