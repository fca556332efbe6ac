"""The tensor IR under its former name: :mod:`pwgf_sym.tensors`."""

from ..tensors import *  # noqa: F403
from ..tensors import __all__ as __all__
from ..tensors import count_uses as uses  # noqa: F401
