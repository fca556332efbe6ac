"""What this machine has for every target, what is missing, and the command that mends it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ..errors import CacheError
from ..targets.table import TARGETS

__all__ = ["examine", "report"]

_PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "sympy", "matplotlib")
_CUPY = "pip install 'pwgf_sym[cupy13]', or 'pwgf_sym[cupy12]'"
_CUDA = "pip install 'pwgf_sym[cuda13]' (driver 580 or later), or 'pwgf_sym[cuda12]'"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _examine_cpu() -> dict:
    from ..files import cache_folder, exposed
    from ..targets.machine import this_machine
    from ..targets.threads import thread_count

    machine = this_machine()
    try:
        folder = cache_folder()
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        there, writable = folder.exists(), os.access(existing, os.W_OK)
        modules, reason = len(list(folder.glob("*.py"))), exposed(folder) if there else ""
    except CacheError as error:  # no home folder
        folder, writable, modules, reason = error.given, False, 0, ""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
        "vector_bits": machine.vector_bits,
        "cache_folder": str(folder),
        "cache_writable": writable,
        "cache_not_used": reason,
        "cache_modules": modules,
    }


def _examine_cupy() -> str:
    """Who makes matrices: CuPy, or the host with what is wrong with CuPy."""
    from ..targets.cuda.algebra import CupyAlgebra

    if find_spec("cupy") is None:
        return "host"
    try:
        CupyAlgebra()
        return "CuPy"
    except Exception as error:  # a broken installation: say what it says
        return f"host, {type(error).__name__}: {error}"


def _examine_cuda() -> dict:
    from ..runtime.cuda.toolkit import MODULE, PACKAGE, simulated
    from ..targets.cuda.ptx import find_ptxas

    found = {
        MODULE: _version(PACKAGE),
        "cupy": next((v for v in map(_version, ("cupy-cuda13x", "cupy-cuda12x")) if v), None),
        "ptxas": find_ptxas(),
        "algebra": _examine_cupy(),
        "simulator": simulated(),
        "devices": [],
    }
    if find_spec(MODULE) is None or simulated():
        return found
    try:
        from ..runtime.cuda.toolkit import cuda

        for device in cuda.gpus if cuda.is_available() else []:
            capability = ".".join(map(str, device.compute_capability))
            name = device.name.decode() if isinstance(device.name, bytes) else device.name
            found["devices"].append(f"{name}, compute capability {capability}")
    except Exception as error:  # a broken installation: say what it says
        found["error"] = f"{type(error).__name__}: {error}"
    return found


def _examine_numpy() -> dict:
    """What computes products of matrices; nothing else is needed."""
    import scipy.linalg.blas  # noqa: F401  (a library must be loaded to be found)
    from threadpoolctl import threadpool_info

    found = [i for i in threadpool_info() if i["user_api"] == "blas"]
    names = [f"{info['internal_api']} {info['version'] or ''}".strip() for info in found]
    return {"blas": list(dict.fromkeys(names))}


def examine() -> dict:
    """What was found, as numbers and texts.

    Returns
    -------
    dict
        "python", "packages" (name to version, None where missing), "cpu", "cuda", "numpy", and
        "advice", a list of what is missing with the command that mends it.
    """
    found = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu": _examine_cpu(),
        "cuda": _examine_cuda(),
        "numpy": _examine_numpy(),
    }
    return found | {"advice": _advice(found)}


def _advice(found: dict) -> list[str]:
    from ..runtime.cuda.toolkit import MODULE, PACKAGE

    cpu, cuda, advice = found["cpu"], found["cuda"], []
    if not cpu["cache_writable"]:
        advice.append(f"{cpu['cache_folder']} cannot be written: set PWGF_SYM_CACHE to a folder.")
    if cpu["cache_not_used"]:
        advice.append(f"{cpu['cache_folder']} is not used: {cpu['cache_not_used']}.")
    if cpu["threads"] < (cpu["cores"] or 1):
        advice.append(f"NUMBA_NUM_THREADS is {cpu['threads']}: unset it to use all cores.")
    if cuda[MODULE] is None:
        advice.append(f"CUDA: {PACKAGE} is not installed: {_CUDA}.")
    elif "error" in cuda:
        advice.append(f"CUDA: {cuda['error']}. Install anew: {_CUDA}.")
    elif not cuda["devices"] and not cuda["simulator"]:
        advice.append("CUDA: no GPU or no driver: install NVIDIA's driver, or use target='cpu'.")
    if cuda[MODULE] is not None and cuda["ptxas"] is None:
        install = "pip install 'cuda-toolkit[nvcc]==13.0.*'"
        advice.append(f"CUDA: no ptxas, which only reports of registers need: {install}.")
    if cuda["devices"] and cuda["algebra"] != "CuPy":
        why = f"CuPy {cuda['cupy']} does not work" if cuda["cupy"] else "no CuPy"
        advice.append(f"CUDA: {why}, matrices of dense solves are made on the host: {_CUPY}.")
    return advice


def report(found: dict) -> str:
    """The findings as text, an aligned line each."""
    lines = [f"Python {found['python']}"]
    lines += [f"  {name:<16}{version or 'missing'}" for name, version in found["packages"].items()]
    for target in TARGETS:
        lines.append(f'target="{target}"')
        for key, value in found[target].items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            shown = "none" if text in (None, "") else text
            lines.append(f"  {key.replace('_', ' '):<16}{shown}")
    lines += found["advice"] or ["Nothing is missing."]
    return "\n".join(lines)
