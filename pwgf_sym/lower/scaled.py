"""Sums of exponentials under their former name."""

from ..tensors.scalars.scaled import *  # noqa: F403
from ..tensors.scalars.scaled import __all__ as __all__
