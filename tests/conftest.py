"""One folder of compiled kernels for the whole run: no test compiles what another one has."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

_own_folder = None
if "PWGF_SYM_CACHE" not in os.environ:  # before anything can be compiled, also in subprocesses
    _own_folder = tempfile.mkdtemp(prefix="pwgf_sym_tests_")
    os.environ["PWGF_SYM_CACHE"] = _own_folder


def pytest_unconfigure(config):
    if _own_folder:
        shutil.rmtree(_own_folder, ignore_errors=True)


SIMULATOR = "test_cuda_simulator.py"


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name == SIMULATOR)  # the last: it waits for a process


@pytest.fixture(scope="session", autouse=True)
def simulator(request):
    """tests/cuda_sim in a process with Numba's CUDA simulator on, beside all other tests."""
    if all(item.path.name != SIMULATOR for item in request.session.items):
        yield None
        return
    variables = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PWGF_SYM_CUDA_THREADS": "4"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    folder = str(Path(__file__).parent / "cuda_sim")
    with tempfile.TemporaryFile("w+") as text:
        running = subprocess.Popen(
            [*command, folder], env=variables, stdout=text, stderr=subprocess.STDOUT
        )
        yield running, text
        running.kill()
        running.wait()


@pytest.fixture(scope="session", autouse=True)
def several_chunks():
    """The few samples of a test are cut into as many chunks as many samples are."""
    from pwgf_sym.compile import threads

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "LEAST_WORK", 1)
        yield


@pytest.fixture(scope="session")
def mixed_program():
    """Double well, entropy and Gaussian attraction in the plane, with a flow of width 10."""
    from sample_energies import ENERGIES

    from pwgf_sym.compile.program import compile_program
    from pwgf_sym.declare.maps import NeuralFlow

    return compile_program(ENERGIES["mixed"].problem(), NeuralFlow(2, 10, steps=3))
