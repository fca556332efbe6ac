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
from ..swiftly import swiftly

__all__ = ["Resources", "compile_ptx", "find_ptxas", "float64_instructions", "kernel_functions"]
__all__ += ["resources"]

# Arguments of kernels that are integers, and that are numbers; all others are arrays.
_INTEGERS = {"tiles", "steps", "extent", "width", "number", "blocks", "turn"}
_NUMBERS = {"a", "b", "damp", "value"}
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


def compile_ptx(function, dtype, capability: tuple[int, int] = (9, 0)) -> str:
    """PTX of a generated kernel.

    Parameters
    ----------
    function : callable
        The kernel's Python function.
    dtype : {"float64", "float32"}
        Precision of its arrays.
    capability : tuple of int
        Compute capability, (8, 0) or (9, 0) for instance.

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
    from numba import from_dtype, types
    from numpy import dtype as numpy_dtype

    array = types.Array(from_dtype(numpy_dtype(dtype)), 1, "C")
    names = inspect.signature(function).parameters
    kinds = dict.fromkeys(_INTEGERS, types.int64) | dict.fromkeys(_NUMBERS, types.float64)
    kinds["places"] = types.Array(types.int64, 1, "C")
    signature = types.void(*(kinds.get(name, array) for name in names))
    options = {"device": False, "abi": "numba", "output": "ptx", "cc": capability}
    with _no_device(capability):
        text, _ = swiftly(cuda.compile)(function, signature, **options)
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
