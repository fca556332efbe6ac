"""What the doctor says, and how target="cuda" is refused where it cannot run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import pwgf_sym as ps
import pwgf_sym.solver.flow
from pwgf_sym.__main__ import main
from pwgf_sym.errors import TargetError
from pwgf_sym.look.doctor import _advice as advice_for
from pwgf_sym.look.doctor import examine, report
from pwgf_sym.runtime.cuda import toolkit


def problem():
    x = ps.coordinates(1)
    rho = ps.Density(x)
    energy = ps.integral(rho * sp.log(rho) + x[0] ** 2 * rho, x)
    return ps.GradientFlow(energy, rho, initial=ps.Gaussian(mean=[0], cov=1))


def test_report(monkeypatch, tmp_path):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "new" / "folder"))
    found = examine()
    assert found["cpu"]["cache_folder"] == str(tmp_path / "new" / "folder")
    assert found["cpu"]["vector_bits"] in (128, 256, 512) and found["cpu"]["cache_writable"]
    assert found["packages"]["numpy"] == np.__version__
    text = report(found)
    assert np.__version__ in text and found["cpu"]["processor"] in text
    assert not (tmp_path / "new").exists()  # looking changes nothing


def test_missing_parts_and_the_command_that_mends_them(monkeypatch):
    monkeypatch.setattr("pwgf_sym.look.doctor._version", lambda package: None)
    found = examine()
    assert any("pip install" in line and "cuda13" in line for line in found["advice"])
    assert "numpy           missing" in report(found)


@pytest.mark.parametrize("version", [None, "14.2.0"])
def test_cupy_is_asked_for_where_there_is_a_gpu(version):
    found = examine()
    found["cuda"] |= {"numba_cuda": "0.30", "devices": ["H100"], "cupy": version, "algebra": "host"}
    assert any("'pwgf_sym[cupy13]'" in line for line in advice_for(found))
    found["cuda"]["algebra"] = "CuPy"
    assert not any("cupy" in line for line in advice_for(found))


def test_command(capsys):
    assert main(["doctor", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) >= {"cpu", "cuda", "packages", "advice"}
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert all(f'target="{name}"' in text for name in ("cpu", "cuda", "numpy")) and "blas" in text


def test_cuda_is_refused_at_once_without_a_gpu(monkeypatch):
    monkeypatch.setattr(toolkit, "available", lambda: False)
    monkeypatch.setattr(sys.modules["pwgf_sym.solver.flow"], "build_program", pytest.fail)
    with pytest.raises(TargetError, match=r"cuda.*accepted.*NVIDIA GPU"):
        ps.solve(problem(), ps.Affine(1), (0, 1), target="cuda")


def test_code_needs_no_gpu(tmp_path):
    program = ps.compile(problem(), ps.Affine(1), target="cuda", folder=tmp_path)
    text = program.code_python()
    assert "@cuda.jit(cache=True)" in text and "target: cuda, float64" in text
    with pytest.raises(ValueError, match="code_ptx"):
        program.code_llvm("push")
    with pytest.raises(ValueError, match="code_native"):
        ps.compile(problem(), ps.Affine(1), folder=tmp_path).code_ptx("push")


@pytest.mark.parametrize("threads", ["3", "512", "many"])
def test_threads_of_a_block(threads, monkeypatch, tmp_path):
    monkeypatch.setenv("PWGF_SYM_CUDA_THREADS", threads)
    with pytest.raises(ps.PwgfError, match="power of two"):
        ps.compile(problem(), ps.Affine(1), target="cuda", folder=tmp_path)


def test_the_cpu_never_imports_cuda(tmp_path):
    """Nor does the generator of CUDA modules; Numba itself may import its own numba.cuda."""
    code = """
import sys
from pathlib import Path
import sympy as sp
import pwgf_sym as ps
x = ps.coordinates(1)
rho = ps.Density(x)
energy = ps.integral(rho * sp.log(rho) + x[0] ** 2 * rho, x)
problem = ps.GradientFlow(energy, rho, initial=ps.Gaussian(mean=[0], cov=1))
ps.solve(problem, ps.Affine(1), (0, 0.01), dt=0.01, samples=16)
assert "@cuda.jit" in ps.compile(problem, ps.Affine(1), target="cuda").code_python()
wrong = {"numba_cuda", "cupy", "cuda", "pwgf_sym.runtime.cuda.toolkit"} & set(sys.modules)
assert not wrong, wrong
"""
    variables = os.environ | {"PWGF_SYM_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True, timeout=300)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_folder_that_cannot_be_used(monkeypatch, tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "open"))
    assert any("chmod 700" in line for line in examine()["advice"])
    monkeypatch.delenv("PWGF_SYM_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert any("PWGF_SYM_CACHE" in line for line in examine()["advice"])
