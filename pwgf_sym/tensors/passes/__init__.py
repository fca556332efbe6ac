"""Passes: transformations that keep the values and make them cheaper, one file each."""

from collections.abc import Sequence

from ..tensor import Tensor
from .base import Pass, Rewriting
from .contract_products import ContractProducts
from .flatten_products import FlattenProducts
from .gather_coefficients import GatherCoefficients
from .lower import Lower
from .read_renamed import ReadRenamed
from .share_factors import ShareFactors
from .share_functions import ShareFunctions
from .stabilize import Stabilize

__all__ = ["PASSES", "ContractProducts", "FlattenProducts", "GatherCoefficients", "Lower", "Pass"]
__all__ += ["ReadRenamed", "Rewriting", "ShareFactors", "ShareFunctions", "Stabilize", "simplify"]

#: The passes in their order.
PASSES: tuple[Pass, ...] = (
    Lower(),
    Stabilize(),
    ShareFunctions(),
    ShareFactors(),
    GatherCoefficients(),
    FlattenProducts(),
    ContractProducts(),
    ReadRenamed(),
)


def simplify(outputs: Sequence[Tensor]) -> list[Tensor]:
    """All passes in their order."""
    found = list(outputs)
    for one in PASSES:
        found = one.run(found)
    return found
