"""``pwgf-sym cache``: what is listed, what is removed, and what is left alone."""

import os
import time

import pytest

from pwgf_sym.__main__ import main
from pwgf_sym.errors import CacheError
from pwgf_sym.look.cache import clean, kept, limit

ONE, TWO = "affine_d1_float64_0123456789abcdef", "cuda_neuralflow_d20_float32_fedcba9876543210"
OURS = {
    f"{ONE}.py": 100,
    f"machine_code/{ONE}.push-12.py311.nbi": 10,
    f"machine_code/{ONE}.push-12.py311.0123456789abcdef.nbc": 1000,
    f"__pycache__/{ONE}.cpython-311.pyc": 20,
    f"__pycache__/{ONE}.push-12.py311.1.nbc": 30,
    f"{TWO}.py": 200,
    f"machine_code/{TWO}.vjp_finish-7.py314.nbi": 5,
    "machine_code/waiting._watch-97.py311.nbi": 7,
    "sobol_2_256_3279477483793325325_scipy1.17.1.npy": 40,
    ".0123456789abcdef.tmp": 3,
    "machine_code.key": 32,
}
OTHERS = [
    "notes.py",
    "sobol.npy",
    "affine_d1_float64.py",
    f"{ONE}.py.bak",
    "machine_code/readme.txt",
    "__pycache__/notes.cpython-311.pyc",
    f"deeper/{ONE}.py",
    ".tmp",
]
KEY = "key of machine code"  # as young as what it is for
DAYS = {ONE: 3, TWO: 1, "waiting": 10, "sobol": 5, ".0": 20}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache"
    for name, size in [*OURS.items(), *((name, 11) for name in OTHERS)]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        days = next((d for start, d in DAYS.items() if path.name.startswith(start)), 100)
        os.utime(path, (0, time.time() - days * 86400))
    return folder


def files(folder) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}


def test_list(folder, capsys):
    assert main(["cache", "list"]) == 0
    first, _, *lines = capsys.readouterr().out.splitlines()
    assert str(folder) in first
    assert [line.split() for line in lines] == [
        ["key", "of", "machine", "code", "1", "32", "1"],
        [TWO, "2", "205", "1"],
        [ONE, "5", "1,160", "3"],
        ["points", "1", "40", "5"],
        ["waiting", "1", "7", "10"],
        ["left", "half", "written", "1", "3", "20"],
        ["in", "all", "11", "1,447"],
    ]
    assert files(folder) == {*OURS, *OTHERS}


def test_clean(folder, capsys):
    assert main(["cache", "clean", "--older", "4.5"]) == 0
    assert "removed 3 files, 50 bytes" in capsys.readouterr().out
    assert {g.name for g in kept()} == {ONE, TWO, KEY}
    assert main(["cache", "clean"]) == 0
    assert files(folder) == set(OTHERS)
    assert clean() == (0, 0)


@pytest.mark.parametrize(
    "size, left",
    [("1.5k", {KEY, ONE, TWO, "points", "waiting", "left half written"}), ("2T", None)]
    + [("1437", {KEY, ONE, TWO, "points"}), ("1400b", {KEY, ONE, TWO}), ("1 KB", {KEY, TWO})]
    + [("0", set()), ("204", {KEY})],
)
def test_limit(folder, size, left):
    before = {g.name for g in kept()}
    assert main(["cache", "limit", size]) == 0
    assert {g.name for g in kept()} == (before if left is None else left)
    assert set(OTHERS) <= files(folder)


@pytest.mark.parametrize(
    "command",
    [["clean", "--older", text] for text in ("-1", "nan", "inf", "week")]
    + [["limit", text] for text in ("-1", "many", "1e3", "", "1" * 400, "__import__('os')")]
    + [["list", "--folder", "/nowhere/at/all"]],
)
def test_options(folder, command, capsys):
    assert main(["cache", *command]) == 2
    assert "OptionError" in capsys.readouterr().err
    assert files(folder) == {*OURS, *OTHERS}


def test_another_folder(folder, monkeypatch, capsys):
    monkeypatch.setenv("PWGF_SYM_CACHE", str(folder / "nowhere"))
    assert main(["cache", "list"]) == 0 and limit(0) == (0, 0)
    assert main(["cache", "clean", "--folder", str(folder)]) == 0
    assert files(folder) == set(OTHERS)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_links_are_not_followed(folder, tmp_path):
    far = tmp_path / "far"
    (folder / "machine_code").rename(far)
    (folder / "machine_code").symlink_to(far)
    (folder / f"{ONE}.py").unlink()
    (folder / f"{ONE}.py").symlink_to(far / "readme.txt")
    before = files(far)
    clean()
    assert files(far) == before and (folder / f"{ONE}.py").is_symlink()


def test_a_folder_that_cannot_be_used(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pwgf_sym.look.cache.os.scandir", refuse)
    with pytest.raises(CacheError, match="PWGF_SYM_CACHE"):
        kept()
    monkeypatch.undo()


def test_modules_that_the_package_writes(tmp_path):
    """All of them are known by their names."""
    import pwgf_sym as ps

    x = ps.coordinates(1)
    rho = ps.Density(x)
    problem = ps.GradientFlow(ps.integral(x[0] ** 4 * rho, x), rho, initial=ps.Gaussian([0.0], 1.0))
    for flow in (ps.Affine(1), ps.NeuralFlow(1, 2, 1)):
        ps.compile(problem, flow, folder=tmp_path)
        ps.compile(problem, flow, target="cuda", dtype="float32", folder=tmp_path)
    program = ps.compile(problem, ps.Affine(1), folder=tmp_path)
    program.push(program.map.initial_parameters(problem.initial), program.samples([[1.0]]))
    assert sum(len(group.files) for group in kept(tmp_path)) == len(files(tmp_path)) >= 6
