"""Tests of PTX: they need numba-cuda and ptxas, and no GPU; without them they are left out."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cuda_sim")]
pytest.register_assert_rewrite("test_blocks", "test_vectors")
missing = find_spec("numba_cuda") is None or os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
collect_ignore_glob = ["test_*.py"] if missing else []


@pytest.fixture(scope="session")
def compiled():
    """The machine of all tests: what it has compiled it keeps."""
    from on_machine import Machine

    return Machine()


@pytest.fixture(scope="module")
def machine(compiled):
    """While a module's tests run, target="cuda" runs on the machine."""
    from on_machine import on_machine

    with on_machine(compiled):
        yield compiled
