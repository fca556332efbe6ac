"""Names and arguments of classes that anybody may write into a file are refused."""

import sys
import types

import pytest
from own_classes import Logistic, Stretch  # noqa: F401  (a name below)

import pwgf_sym as pw
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.declare.maps import map_from_dict
from pwgf_sym.declare.registry import restored
from pwgf_sym.errors import LawError, StoredSolutionError

CALLED = []


class Trap(pw.Map):
    def __init__(self, *args, **keywords):
        CALLED.append((args, keywords))


def bystander(*args, **keywords):
    CALLED.append((args, keywords))


class Bystander:
    def __init__(self, *args, **keywords):
        CALLED.append((args, keywords))

    Inner = Trap


# Objects of this module that are no maps, or are not called so.
HERE = ["bystander", "Bystander", "Bystander.Inner", "Logistic", "Trap.__init__", "__builtins__"]
HERE += ["pw.Map", "pw.Affine", "", "Trap()", "T rap", "Stretch.mro", "Stretch.step", "MISSING"]
HOSTILE = ["os:system", "builtins:exec", "builtins:object", "subprocess:Popen", "os.path:join"]
HOSTILE += ["pwgf_sym.declare.maps:Map", "pwgf_sym.declare.circle:Arc", "pwgf_sym:Map", "__main__"]
HOSTILE += ["", ":", ":Trap", __name__, "sys:modules", "strewn:Trap", "../strewn:Trap", "\0:\0"]
HOSTILE += ["x" * 10**7, "a." * 10**6 + "b:c", 3, None, [], {}, [f"{__name__}:Trap"], "\n:\n"]
HOSTILE += [f"{__name__}:{name}" for name in HERE]


@pytest.mark.parametrize("kind", ["map", "law"])
def test_hostile_names_are_refused(kind, tmp_path, monkeypatch):
    (tmp_path / "strewn.py").write_text("import os\nos.mkdir('mark')\nclass Trap: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in HOSTILE if kind == "map" else [*HOSTILE, f"{__name__}:Trap"]:
        if kind == "law" and name == f"{__name__}:Logistic":
            continue
        with pytest.raises(StoredSolutionError) as caught:
            restored(kind, {kind: "Trap", "class": name, "arguments": {}})
        assert len(str(caught.value)) < 1000 and caught.value.argument == f"class of the {kind}"
        assert not CALLED and "strewn" not in sys.modules, name
        assert not (tmp_path / "mark").exists(), name


def test_a_trap_is_one():
    """So what else is tried reaches what it should: the name of an imported map is taken."""
    with pytest.raises(StoredSolutionError):
        map_from_dict({"map": "Trap", "class": f"{__name__}:Trap", "arguments": {"a": 1}})
    map_from_dict({"map": "Trap", "class": f"{__name__}:Trap", "arguments": {"args": [1]}})
    assert CALLED == [((1,), {})]
    CALLED.clear()


ARGUMENTS = [
    None,
    [],
    3,
    "dim",
    {},
    {"self": 1},
    {"dim": {"map": "Affine"}},
    {"dim": {"eval": "1"}},
]
NOTES = [
    *({"a": 1, "b": 2}, {"dict": [[[1], 2]]}, {"float": "1e3"}, {"tuple": 3}, {"law": "Gaussian"}),
    {"array": [1], "dtype": "O", "shape": [1]},
    {"array": [1], "dtype": "int8", "shape": [10**9]},
    {"formula": ["__import__", ["pi"]]},
    {"formula": ["Pow", ["Integer", "10"], ["Integer", "9" * 12]]},
    {"function": ["Pow", ["Integer", "10"], ["Integer", "9" * 12]]},
    {"function": ["Symbol", "b", {}]},
    {"function": ["Integer", "1"]},
    {"function": ["Density", "exec", ["Symbol", "a", {"real": True}]]},
    {"function": ["Sum", ["Symbol", "n", {}], ["Tuple", ["Symbol", "n", {}], ["pi"], ["pi"]]]},
    {"map": "Trap", "class": "os:system", "arguments": {}},
    {"law": "Gaussian", "mean": "__import__('os')", "cov": 1},
]


@pytest.mark.parametrize("own", ["arguments", "entries", "other"])
def test_hostile_arguments_are_refused(own):
    given = [*ARGUMENTS, *({"dim": 2, "note": note} for note in NOTES)]
    for arguments in given:
        with pytest.raises(StoredSolutionError):
            map_from_dict({"map": "Stretch", "class": f"{__name__}:Stretch", own: arguments})
    with pytest.raises(StoredSolutionError, match="unknown arguments among"):
        unknown = {"dim": 2, "nothing": 3}
        map_from_dict({"map": "Stretch", "class": f"{__name__}:Stretch", "arguments": unknown})


def test_names_without_a_class():
    with pytest.raises(StoredSolutionError, match=r"one of .*'NeuralFlow'.*class"):
        map_from_dict({"map": "Bump", "dim": 2})
    with pytest.raises(LawError, match=r"Gaussian.*class"):
        law_from_dict({"law": "Logistic", "mean": [0.0]})
    for nothing in (None, [], {"map": 3}, {"map": ["Affine"]}, {"map": "Affine"}):
        with pytest.raises(StoredSolutionError):
            map_from_dict(nothing)


def test_a_class_that_another_has_replaced(monkeypatch):
    module = types.ModuleType("replaced_module")
    monkeypatch.setitem(sys.modules, "replaced_module", module)
    entries = {"map": "Stretch", "class": "replaced_module:Stretch", "arguments": {"dim": 2}}
    with pytest.raises(StoredSolutionError, match="no map of that name"):
        map_from_dict(entries)
    module.Stretch = 3
    with pytest.raises(StoredSolutionError, match="no map of that name"):
        map_from_dict(entries)
    module.Stretch = Stretch
    assert map_from_dict(entries) == Stretch(2)
