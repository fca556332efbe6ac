"""The targets that kernels run on, each a row of one table: what it prints, who calls its kernels.

Parts are imported when a program first needs them, so that asking for the table costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..emit.module import Target

__all__ = ["TARGETS", "TargetHost"]


def _part(module: str, name: str) -> Callable[[], Any]:
    """A function that imports a name of this folder."""
    return lambda: getattr(import_module(f".{module}", __package__), name)


@dataclass(frozen=True)
class TargetHost:
    """The host's side of a target.

    Attributes
    ----------
    name : str
        What users call it.
    printed : callable
        From precision and whether interactions may become moments to what kernels are printed for.
    caller : callable
        Gives the class that calls kernels.
    moments : callable
        Gives the class of interactions that are computed from moments of the samples.
    compiles : bool
        Whether modules are written, and Numba compiles them.
    on_host : bool
        Whether vectors and matrices are NumPy's, in the memory of the host.
    shown_by : str
        The method of a program that shows what is run.
    prefix : str
        What the names of its modules begin with.
    """

    name: str
    printed: Callable[[str, bool], Target]
    caller: Callable[[], type]
    moments: Callable[[], type]
    compiles: bool = True
    on_host: bool = True
    shown_by: str = "code_native(kernel)"
    prefix: str = ""

    def require_compiler(self) -> None:
        """Refuse to go on where Numba's compiler is switched off, if kernels are compiled.

        Raises
        ------
        TargetError
            That names the variable.
        """
        if self.compiles:
            from .machine_code import require_compiler

            require_compiler()

    def require_device(self) -> None:
        """Refuse to go on where kernels cannot run.

        Raises
        ------
        TargetError
            With what is missing, and the command that mends it.
        """
        if not self.on_host:
            from .cuda.device import require

            require()

    def write(self, text: str, name: str, folder: Path | None) -> Path | None:
        """Write a module that is going to be loaded; see :func:`.store.write_module`."""
        if not self.compiles:
            return None
        from .store import write_module

        return write_module(text, self.prefix + name, folder)

    def load(self, path: Path | None, text: str) -> ModuleType:
        """The module of a text that was written; an empty one where nothing is compiled."""
        if path is None:
            return ModuleType(f"pwgf_sym_{self.name}")
        from .store import load_module

        return load_module(path, text)


def _for_cpu(dtype: str, moments: bool) -> Target:
    from ..emit.module import cpu_target
    from . import machine

    return cpu_target(dtype, machine.this_machine(), moments)


def _for_cuda(dtype: str, moments: bool) -> Target:
    from ..emit.cuda import cuda_target
    from .machine import block_threads

    return cuda_target(dtype, block_threads(), moments)


def _for_numpy(dtype: str, moments: bool) -> Target:
    from ..emit.listing import numpy_target

    return numpy_target(dtype, moments)


#: Targets by name; the first is the default.
TARGETS = {
    target.name: target
    for target in (
        TargetHost("cpu", _for_cpu, _part("kernels", "KernelCaller"), _part("moments", "Moments")),
        TargetHost(
            "cuda",
            _for_cuda,
            _part("cuda.caller", "CudaCaller"),
            _part("cuda.moments", "CudaMoments"),
            on_host=False,
            shown_by="code_ptx(kernel)",
            prefix="cuda_",
        ),
        TargetHost(
            "numpy",
            _for_numpy,
            _part("numpy.caller", "NumpyCaller"),
            _part("numpy.moments", "NumpyMoments"),
            compiles=False,
            shown_by="code_python()",
        ),
    )
}
