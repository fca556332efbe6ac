"""Option objects of `solve`: an object and its fields as keywords are one and the same.

The cases come from the fields themselves, so that a new field is tested with no line here.
"""

import copy
import dataclasses
import inspect
import pickle
import pydoc
import re
from pathlib import Path

import numpy as np
import pytest
from refusals import FLOW, PROBLEM, solve

import pwgf_sym as pw
from pwgf_sym.benchmarks import study as study_module
from pwgf_sym.errors import CallError, OptionError, StoredSolutionError
from pwgf_sym.solver import equilibrium as equilibrium_module
from pwgf_sym.solver import flow as flow_module
from pwgf_sym.solver.described import _options
from pwgf_sym.solver.option_objects import FIELDS, OBJECTS
from pwgf_sym.solver.options import FlowOptions, LinearOptions
from pwgf_sym.solver.steppers.pairs import RungeKutta
from pwgf_sym.solver.steppers.tableaus import TABLEAUS

# Values that some field takes; each field takes two of them at least.
NAMES = ("rk23", "rk45", "cg", "minres", "random", "sobol", "mixed", "working")
POOL = (0.25, 0.5, 3, 4, True, False, *NAMES)
# Options that some fields are refused without.
BESIDE = {"linear": {"method": "minres"}}


def two_values(kind, name):
    """Two values of a field, the first of which is not its default."""
    found = []
    for value in POOL:
        try:
            made = getattr(kind(**{name: value}), name)
        except OptionError:
            continue
        if type(made) is type(value) and value not in found:
            found.append(value)
    default = getattr(kind(), name)
    return sorted(found, key=lambda value: value == default)[:2]


def cases():
    for argument, kind in OBJECTS.items():
        for keyword, name in kind.keywords().items():
            yield pytest.param(argument, kind, keyword, name, id=keyword)


CASES = list(cases())


class Reached(Exception):
    """A run begins, with its options."""


@pytest.fixture
def outcome(monkeypatch):
    """The options that a call comes to, settled for its map, or the message of its error."""

    def begins(map, options, rows):
        raise Reached(options)

    for module in (flow_module, equilibrium_module):
        monkeypatch.setattr(module, "check_memory", begins)

    def of(call, **options):
        try:
            call(**options)
        except Reached as reached:
            return reached.args[0]
        except OptionError as error:
            return str(error)
        raise AssertionError("the run did not begin")

    return of


def flow(**options):
    return pw.solve(PROBLEM, FLOW, (0, 1), **options)


def equilibrium(**options):
    return pw.equilibrium(PROBLEM, FLOW, **options)


@pytest.mark.parametrize(("argument", "kind", "keyword", "name"), CASES)
def test_every_field_is_reached_both_ways(argument, kind, keyword, name, outcome):
    beside = BESIDE.get(argument, {})
    keywords = {k: beside[n] for k, n in kind.keywords().items() if n in beside}
    value = two_values(kind, name)[0]
    for call in (flow, equilibrium):
        by_object = outcome(call, **{argument: kind(**beside | {name: value})})
        assert by_object == outcome(call, **keywords | {keyword: value})
        assert by_object != outcome(call, **keywords)


@pytest.mark.parametrize(("argument", "kind", "keyword", "name"), CASES)
def test_a_field_given_twice_has_to_agree(argument, kind, keyword, name, outcome):
    if keyword == argument:
        return  # the number of samples: one argument, which cannot be given twice
    beside = BESIDE.get(argument, {})
    value, other = two_values(kind, name)
    given = kind(**beside | {name: value})
    assert outcome(flow, **{argument: given, keyword: value}) == outcome(flow, **{argument: given})
    with pytest.raises(OptionError, match=f"^{keyword}: got .* together with {argument}=") as error:
        flow(**{argument: given, keyword: other})
    changed = dataclasses.replace(given, **{name: other})
    assert error.value.argument == keyword and error.value.fix == f"Write {argument}={changed!r}."


def test_a_name_or_a_number_is_the_first_field(outcome):
    for short, whole in (
        ({"steps": "rkc"}, {"steps": pw.Steps("rkc")}),
        ({"linear": "lsmr"}, {"linear": pw.LinearSolve("lsmr")}),
        ({"samples": 48}, {"samples": pw.Samples(48)}),
        # A name leaves the other fields to keywords.
        ({"steps": "heun", "dt": 0.1}, {"steps": pw.Steps("heun", dt=0.1)}),
        ({"linear": "cg", "shift": 0.5}, {"linear_solver": "cg", "shift": 0.5}),
        ({"samples": 48, "max_samples": 96}, {"samples": pw.Samples(48, max=96)}),
        ({"steps": None, "linear": None, "samples": None}, {}),
    ):
        assert outcome(flow, **short) == outcome(flow, **whole)
    for given in (
        {"steps": "heun", "integrator": "rk4"},
        {"linear": "cg", "linear_solver": "lsmr"},
    ):
        assert "together with" in outcome(flow, **given)
    own = RungeKutta(TABLEAUS["rk45"])
    assert outcome(flow, steps=own).steps.method is own
    assert outcome(flow, steps=pw.Steps(own)) == outcome(flow, integrator=own)


@pytest.mark.parametrize(
    ("objects", "keywords"),
    [
        (
            {
                "steps": pw.Steps("heun", dt=0.1, energy_check=False),
                "linear": pw.LinearSolve("minres", shift=1e-3, warm_start=True),
                "samples": pw.Samples(64, sampling="random", resample=True, fresh=32),
            },
            {"integrator": "heun", "dt": 0.1, "energy_check": False}
            | {"linear_solver": "minres", "shift": 1e-3, "warm_start": True}
            | {"samples": 64, "sampling": "random", "resample": True, "fresh_samples": 32},
        ),
        (
            {"steps": pw.Steps(max_step=0.1), "samples": pw.Samples(64, max=64, tails=False)},
            {"max_step": 0.1, "samples": 64, "max_samples": 64, "tails": False},
        ),
    ],
    ids=["fixed", "adaptive"],
)
def test_both_forms_give_the_identical_run(objects, keywords):
    one, other = (pw.solve(PROBLEM, FLOW, (0, 0.3), **given) for given in (objects, keywords))
    assert one.options == other.options and one.t.tobytes() == other.t.tobytes()
    for name in ("theta", "energy", "defect"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    # The options of a run are flat, and repeat it.
    again = {k: v for k, v in one.options.items() if k not in ("chosen", "step_tol")}
    repeated = pw.solve(PROBLEM, FLOW, (0, 0.3), **again)
    if one.options["tol"] is None:  # a tolerance that is written out is that of the steps, too
        assert repeated.theta.tobytes() == one.theta.tobytes()


def test_an_equilibrium_has_its_own_defaults(outcome):
    found = outcome(equilibrium)
    assert found.steps.method == "rkc" and found.samples.max == 16384
    assert outcome(equilibrium, steps=pw.Steps("rkc"), max_samples=16384) == found
    longest = outcome(equilibrium, steps=pw.Steps(max_step=0.5), samples=pw.Samples(tails=False))
    assert longest.steps == pw.Steps("rkc", max_step=0.5) and longest.samples.max == 16384
    assert outcome(equilibrium, integrator="auto").steps.method == "auto"
    assert outcome(flow).steps.method == "auto"
    assert outcome(equilibrium, resample=False).startswith("resample: got False")
    assert outcome(equilibrium, resample=True) != outcome(equilibrium, resample=False)
    assert outcome(equilibrium, dt=0.1).startswith("tol: got 0.001 together with dt")


def test_a_study_takes_the_objects(monkeypatch):
    seen = []

    def recorded(problem, map, t_span, **options):
        seen.append(options)
        return pw.solve(problem, map, t_span, **options)

    monkeypatch.setattr(study_module, "solve", recorded)
    given = {"steps": pw.Steps("heun", dt=0.5), "linear": pw.LinearSolve("dense", shift=0.0)}
    name = "ornstein_uhlenbeck_2_affine"
    found = study_module.study([name], "samples", [16], points=16, **given)
    assert found.rows[0].samples == 16 and found.rows[0].steps == 2
    assert all(options["steps"] == given["steps"] for options in seen)


def test_methods_without_an_estimate_have_a_default_length(outcome):
    for given in ({"steps": "euler"}, {"integrator": "euler"}, {"steps": pw.Steps("euler")}):
        assert outcome(flow, **given).steps.dt == 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: solve(steps="rk99", dt=None),
            r"^steps: got 'rk99'; accepted: \"auto\", \"euler\"",
        ),
        (lambda: solve(integrator="rk99"), r"^integrator: got 'rk99'; accepted: \"auto\""),
        (lambda: pw.Steps("rk99"), r"^method: got 'rk99'; accepted: \"auto\""),
        (lambda: pw.Steps(dt=0), r"^dt: got 0; accepted: a finite real number above 0\.$"),
        (lambda: solve(linear="gmres"), r"^linear: got 'gmres'; accepted: \"auto\" or \"dense\""),
        (lambda: solve(linear_solver="gmres"), r"^linear_solver: got 'gmres'; accepted: \"auto\""),
        (lambda: solve(linear=pw.Steps()), r"^linear: got Steps\(\);.*Write linear=LinearSolve\("),
        (lambda: solve(steps={"dt": 1}), r"^steps: got {'dt': 1};.*Write steps=Steps\("),
        (lambda: solve(samples=2.5), r"^samples: got 2\.5; accepted: an integer of at least 1\.$"),
        (lambda: solve(max_samples=0), r"^max_samples: got 0; accepted: an integer of at least 1"),
        (lambda: pw.Samples(max=0), r"^max: got 0; accepted: an integer of at least 1\.$"),
        (lambda: solve(fresh_samples="9"), r"^fresh_samples: got '9'"),
        (lambda: solve(linear=pw.LinearSolve(precision="mixed")), r"^precision: got 'mixed'"),
        (lambda: solve(samples=pw.Samples(10**11)), r"^samples: got .* GiB"),
    ],
)
def test_errors_name_what_was_given(call, message, nothing_compiles):
    with pytest.raises(OptionError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "name", "here"),
    [
        (lambda: solve(method="rk4"), "method", "Use integrator: the method in time; linear"),
        (lambda: solve(stpes="rk4"), "stpes", "Did you mean steps?"),
        (lambda: solve(fresh=9), "fresh", "Use fresh_samples."),
        (lambda: solve(number=9), "number", "Use samples."),
        (lambda: solve(fields=9), "fields", "Did you mean"),
        (lambda: equilibrium(linear_solvr="cg"), "linear_solvr", "Did you mean linear_solver?"),
        (lambda: pw.Steps(integrator="rk4"), "integrator", "Use method."),
        (lambda: pw.Steps(scheme="rk4"), "scheme", "Use method: the method in time."),
        (lambda: pw.Steps(max_stp=1), "max_stp", "Did you mean max_step?"),
        (lambda: pw.Samples(n_samples=4), "n_samples", "Use number: the number of samples."),
        (lambda: pw.Samples(max_samples=4), "max_samples", "Use max."),
        (lambda: pw.LinearSolve(ridge=1), "ridge", "Use shift: added to the metric."),
        (lambda: pw.NeuralFlow(2, 8, layers=3), "layers", "Use steps: the number of steps, each"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(call, name, here, nothing_compiles):
    with pytest.raises(CallError, match=f"^{name}: got an argument that ") as caught:
        call()
    assert here in caught.value.fix


def test_words_of_maps_are_no_steps_in_time(nothing_compiles):
    for name in ("layers", "depth", "n_layers"):
        with pytest.raises(CallError, match=f"^{name}: ") as caught:
            solve(**{name: 3})
        assert not caught.value.fix


def test_the_page_on_options_names_every_field_and_its_example_runs():
    page = (Path(__file__).parent.parent / "docs" / "options.md").read_text(encoding="utf-8")
    for argument, kind in OBJECTS.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{argument}=pw."))
        for keyword, name in kind.keywords().items():
            assert f"`{name}`" in row and (keyword == name or f"`{keyword}` for `{name}`" in row)
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"problem": PROBLEM, "flow": FLOW}
    exec(example, names)
    assert names["solution"].options == names["same"].options
    assert names["solution"].theta.tobytes() == names["same"].theta.tobytes()


def test_the_signatures_are_short_and_documented():
    for function in (pw.solve, pw.equilibrium):
        assert len(inspect.signature(function).parameters) <= 20
        text = pydoc.render_doc(function, renderer=pydoc.plaintext)
        assert all(name in text for name in ("steps", "linear", "samples", "**fields"))
    for kind in OBJECTS.values():
        entries = [entry.name for entry in dataclasses.fields(kind)]
        documented = inspect.getdoc(kind)
        assert all(f"\n{name} : " in documented for name in entries)
        assert list(inspect.signature(kind).parameters) == entries
        assert kind.__name__ in inspect.getdoc(pw.solve)
    renamed = set(FIELDS) - {e.name for kind in OBJECTS.values() for e in dataclasses.fields(kind)}
    assert all(f"``{keyword}``" in inspect.getdoc(pw.solve) for keyword in renamed)


def test_objects_are_values():
    steps = pw.Steps("rk4", dt=0.125)
    assert repr(steps) == "Steps(method='rk4', dt=0.125)" and repr(pw.Samples()) == "Samples()"
    assert pickle.loads(pickle.dumps(steps)) == copy.deepcopy(steps) == steps
    assert {steps: 1}[pw.Steps("rk4", dt=np.float32(0.125))] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps.dt = 1.0
    assert LinearOptions is pw.LinearSolve


def test_stored_options_are_flat_and_come_back():
    options = FlowOptions.of({"shift": 0.5, "dt": 0.1, "max_samples": 64}, samples=32)
    entries = options.to_dict()
    assert set(FIELDS) | {"samples"} <= entries.keys() and not {"steps", "linear"} & entries.keys()
    assert FlowOptions.from_dict(entries) == options
    assert _options(entries) == entries
    for name in ("steps", "linear", "method", "colour"):
        with pytest.raises(OptionError, match=f"^{name}: "):
            FlowOptions.from_dict(entries | {name: None})
    with pytest.raises(StoredSolutionError):
        _options(entries | {"target": "tpu"})
