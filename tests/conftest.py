"""One folder of compiled kernels for the whole run: no test compiles what another one has."""

import os
import shutil
import tempfile

import pytest

_own_folder = None
if "PWGF_SYM_CACHE" not in os.environ:  # before anything can be compiled, also in subprocesses
    _own_folder = tempfile.mkdtemp(prefix="pwgf_sym_tests_")
    os.environ["PWGF_SYM_CACHE"] = _own_folder


def pytest_unconfigure(config):
    if _own_folder:
        shutil.rmtree(_own_folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mixed_program():
    """Double well, entropy and Gaussian attraction in the plane, with a flow of width 10."""
    from sample_energies import ENERGIES

    from pwgf_sym.compile.program import compile_program
    from pwgf_sym.declare.maps import NeuralFlow

    return compile_program(ENERGIES["mixed"].problem(), NeuralFlow(2, 10, steps=3))
