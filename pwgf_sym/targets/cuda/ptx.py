"""PTX of generated kernels, and what ptxas says of their resources: no GPU and no driver needed."""

from __future__ import annotations

import inspect
import re
import subprocess
import sysconfig
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from ...errors import OptionError, TargetError
from ...loops.signature import Argument, KernelSignature
from ..bound import numba_type
from ..swiftly import swiftly

__all__ = ["Resources", "compile_ptx", "find_ptxas", "float64_instructions", "kernel_functions"]
__all__ += ["resources"]

# What arguments of kernels written by hand are annotated with, by type and dimensions; all others
# are arrays.
_ANNOTATED = {"int": ("int64", 0), "float": ("float64", 0), "NDArray[np.int64]": ("int64", 1)}
# Registers and shared memory of a multiprocessor, threads on it, and the granularity of registers
# by warp (CUDA C++ Programming Guide, technical specifications by compute capability; 8.0 and 9.0).
_REGISTERS, _THREADS, _UNIT, _BLOCKS = 65536, 2048, 256, 32
_SHARED = {(8, 0): 164 * 1024, (9, 0): 228 * 1024}
_RESERVED = 1024  # bytes of shared memory that every block takes for the system


@dataclass(frozen=True)
class Resources:
    """What a kernel takes: registers a thread, bytes of spills, stack and shared memory."""

    registers: int
    spills: int
    stack: int
    shared: int

    def occupancy(self, threads: int, capability: tuple[int, int] = (9, 0)) -> float:
        """Warps that are on a multiprocessor at a time, of those that it can hold.

        Registers are given out to warps in units of 256, shared memory to blocks.
        """
        warps = -(-threads // 32)
        per_warp = -(-self.registers * 32 // _UNIT) * _UNIT
        by_registers = _REGISTERS // per_warp // warps
        by_shared = _SHARED[capability] // (self.shared + _RESERVED)
        blocks = min(by_registers, by_shared, _THREADS // (warps * 32), _BLOCKS)
        return blocks * warps / (_THREADS // 32)


def kernel_functions(module) -> dict[str, object]:
    """The Python functions of a generated module's kernels by name, device functions left out.

    A kernel that has several names is there once, under the first.
    """
    found = {}
    for name, kernel in vars(module).items():
        function = getattr(kernel, "py_func", None)
        if function is None or kernel.targetoptions.get("device"):
            continue
        if function not in found.values():
            found[name] = function
    return found


@contextmanager
def _no_device(capability):
    """Answer for the missing device when a kernel calls a device function."""
    from ...runtime.cuda.toolkit import cuda, part

    dispatcher = part("dispatcher")
    before = getattr(dispatcher, "get_current_device", None)
    if cuda.is_available() or before is None:
        yield
        return
    stub = type("NoDevice", (), {"compute_capability": capability})
    dispatcher.get_current_device = lambda: stub
    try:
        yield
    finally:
        dispatcher.get_current_device = before


def _annotated(function) -> list[Argument]:
    """What a function takes, from its annotations."""
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = parameter.annotation
        kind = getattr(kind, "__name__", kind)  # annotations are kept as text, or are not
        dtype, dimensions = _ANNOTATED.get(kind, ("", 1))
        found.append(Argument(name, "input", dtype=dtype, dimensions=dimensions))
    return found


def compile_ptx(
    function,
    dtype: str,
    capability: tuple[int, int] = (9, 0),
    signature: KernelSignature | None = None,
) -> str:
    """PTX of a kernel.

    Parameters
    ----------
    function : callable
        The kernel's Python function.
    dtype : {"float64", "float32"}
        Precision of its arrays.
    capability : tuple of int
        Compute capability, (8, 0) or (9, 0) for instance.
    signature : KernelSignature, optional
        What a generated kernel takes; one written by hand is annotated, where it takes numbers.

    Raises
    ------
    TargetError
        When NVIDIA's package for Numba is not installed.
    """
    from ...runtime.cuda.toolkit import PACKAGE, cuda, nvidia

    if not nvidia():
        accepted = f"{PACKAGE} with its compiler"
        fix = "Install it: pip install 'pwgf_sym[cuda13]', or 'pwgf_sym[cuda12]'."
        raise TargetError("code_ptx", f"Numba without {PACKAGE}", accepted, fix)
    from numba import types

    arguments = _annotated(function) if signature is None else signature.arguments
    taken = types.void(*(numba_type(argument, dtype) for argument in arguments))
    options = {"device": False, "abi": "numba", "output": "ptx", "cc": capability}
    with _no_device(capability):
        text, _ = swiftly(cuda.compile)(function, taken, **options)
    return text


def float64_instructions(ptx: str) -> list[str]:
    """Lines of a kernel in float32 that compute in double precision."""
    return [line.strip() for line in ptx.splitlines() if re.search(r"\.f64\b", line)]


def find_ptxas() -> str | None:
    """The assembler of the pip packages, else that on the PATH; None without any."""
    site = Path(sysconfig.get_path("purelib")) / "nvidia"
    wheels = [site / "cu13" / "bin" / "ptxas", site / "cuda_nvcc" / "bin" / "ptxas"]
    return next((str(path) for path in wheels if path.exists()), None) or which("ptxas")


def resources(ptx: str, capability: tuple[int, int] = (9, 0)) -> Resources:
    """Assemble PTX of one kernel and read ptxas' report.

    Raises
    ------
    TargetError
        When there is no ptxas.
    OptionError
        When ptxas refuses the text.
    """
    assembler = find_ptxas()
    if assembler is None:
        fix = "Install it: pip install 'pwgf_sym[cuda13]', or 'pwgf_sym[cuda12]'."
        raise TargetError("ptxas", "none", "the assembler of the CUDA toolkit", fix)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx, encoding="utf-8")
        command = [assembler, "-v", f"-arch=sm_{capability[0]}{capability[1]}", str(source)]
        command += ["-o", str(Path(folder, "kernel.cubin"))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    log = done.stderr + done.stdout
    if done.returncode:
        raise OptionError("ptx", log.strip()[-300:], "PTX that this ptxas assembles")
    stack, stores, loads = map(int, re.findall(_FRAME, log)[-1])
    shared = re.search(r"(\d+) bytes smem", log)
    registers = int(re.search(r"Used (\d+) registers", log).group(1))
    return Resources(registers, stores + loads, stack, int(shared.group(1)) if shared else 0)


_FRAME = r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
