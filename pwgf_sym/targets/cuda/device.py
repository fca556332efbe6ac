"""Whether there is a device that kernels of the target "cuda" can run on."""

from __future__ import annotations

from ...errors import TargetError
from ...runtime.cuda.toolkit import PACKAGE, available, nvidia

__all__ = ["require"]

_INSTALL = "pip install 'pwgf_sym[cuda13]' (CUDA 13, driver 580 or later) or 'pwgf_sym[cuda12]'"


def require() -> None:
    """Refuse to go on where kernels cannot run.

    Raises
    ------
    TargetError
        That names what is missing and the command that mends it.
    """
    if available():
        return
    missing = "no GPU or driver was found"
    fix = 'Use target="cpu"; compile(..., target="cuda") and its code_python() need no GPU.'
    if not nvidia():
        missing += f", and {PACKAGE} is not installed"
        fix = f'{_INSTALL}; or use target="cpu".'
    accepted = "a machine with an NVIDIA GPU, or NUMBA_ENABLE_CUDASIM=1 for Numba's simulator"
    raise TargetError('target="cuda"', missing, accepted, fix)
