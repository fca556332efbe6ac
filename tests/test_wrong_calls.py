"""A thousand random wrong calls of the public names end in errors of the package, or are right."""

import random

import pytest
import wrong_calls


@pytest.mark.parametrize("seed", range(4))
def test_wrong_calls_end_in_errors_of_the_package(seed):
    assert wrong_calls.run(250, seed) == []


def test_the_harness_sees_what_is_wrong(tmp_path):
    """Foreign exceptions, endless loops, NaN and surplus memory are told apart from refusals."""

    def endless():
        while True:
            pass

    with wrong_calls.limited_memory(1 << 30):
        found = [
            wrong_calls.outcome("copy_of", call, (), {})
            for call in (lambda: [][1], endless, lambda: float("nan"), lambda: bytearray(1 << 40))
        ]
    assert found[0].startswith("IndexError") and found[1] == "takes too long"
    assert found[2] == "returned nan" and found[3].startswith("MemoryError")
    assert wrong_calls.outcome("copy_of", wrong_calls.pw.copy_of, ("x",), {}) == ""


def test_every_public_name_is_called(tmp_path):
    rng, calls = random.Random(5), wrong_calls.Calls(str(tmp_path))
    names = {wrong_calls.wrong_call(calls, rng)[0] for _ in range(2000)}
    assert names == set(calls.calls)
    public = {n for n in wrong_calls.pw.__all__ if not n.startswith("_")}
    other = {
        "Law",
        "Map",
        "PwgfError",
        "PwgfWarning",
        "errors",
        "exact",
        "Solution",
    }  # classes and modules
    assert public - other <= names
    assert set(wrong_calls.pw.exact.__all__) <= names
