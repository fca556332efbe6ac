"""Maps one after the other, and the order of coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..arguments import brief, checked_call, dimension, integer, whole_seed
from ..errors import MapError
from ..memory import fitting
from .affine import Affine
from .map import VECTORS, Family, Map, Operations, V, parameter_count, start_parameters
from .registry import description, restored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .law import Law, WhitenedLaw
    from .periods import Periods

__all__ = ["Chain", "Permute"]


class Permute(Family):
    """Coordinates in another order, T(z)_i = z_{order[i]}; it has no parameters.

    Parameters
    ----------
    order : sequence of d int
        A permutation of 0, ..., d - 1.

    Raises
    ------
    MapError
        When it is none.
    """

    arguments = ("order",)

    @checked_call
    def __init__(self, order: Sequence[int]) -> None:
        accepted = "a permutation of 0, ..., d - 1, such as [1, 0]"
        order = order.tolist() if isinstance(order, np.ndarray) else order
        if not isinstance(order, Sequence) or isinstance(order, str):
            raise MapError("order", brief(order), accepted)
        found = [integer("order", one, least=0, error=MapError) for one in order]
        if not found or sorted(found) != list(range(len(found))):
            raise MapError("order", brief(list(order)), accepted)
        self.order = tuple(found)
        self.dim = dimension("order", len(found), error=MapError)

    def parameters(self) -> dict[str, str]:
        return {}

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        return x[list(self.order)]

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        return np.zeros(0)

    def __repr__(self) -> str:
        return f"Permute({list(self.order)})"


class Chain(Family):
    """Maps one after the other, the first of the list first.

    The kernels loop over the shortest run of steps that the chain repeats: a chain of four equal
    couplings and permutations costs the code of one.

    Parameters
    ----------
    maps : sequence of Map
        Maps of one dimension.  Chains among them are taken apart.

    Raises
    ------
    MapError
        When one of them is no map, or of another dimension.

    Notes
    -----
    Each map starts where it starts alone, as a rule at the identity.  Permutations do not: if they
    do not cancel, the last :class:`Affine` map undoes them, so that the chain starts at the
    identity.  Without such a map, :func:`~pwgf_sym.solve` warns.

    The log density is exact, whatever ``log_determinant`` the parts have.
    """

    arguments = ("maps",)

    @checked_call
    def __init__(self, maps: Sequence[Map]) -> None:
        if not isinstance(maps, Sequence) or not maps or not all(isinstance(m, Map) for m in maps):
            fix = "Write Chain([Affine(2), NeuralFlow(2, 16)])."
            raise MapError("maps", brief(maps), "a list of maps, at least one", fix)
        self.maps = tuple(part for map in maps for part in map.parts())
        dims = {map.dim for map in self.maps}
        if len(dims) > 1:
            raise MapError("maps", f"dimensions {sorted(dims)}", "maps of one dimension")
        self.dim, self.steps = dims.pop(), 1
        fitting("maps", parameter_count(self), 8 * VECTORS, "parameters", error=MapError)

    def parts(self) -> list[Map]:
        return list(self.maps)

    def parameters(self) -> dict[str, str]:
        raise self._of_parts("parameters")

    def step(self, op: Operations[V], p: dict[str, V], x: V) -> V:
        raise self._of_parts("step")

    def _of_parts(self, method: str) -> MapError:
        given, fix = f"{method} of a chain", f"Ask each map of chain.parts() for its {method}."
        return MapError("map", given, "a map that is no chain", fix)

    def initial_parameters(self, law: Law | WhitenedLaw, seed: int = 0) -> NDArray[np.float64]:
        seed = whole_seed("seed", seed, error=MapError)
        starts = [
            start_parameters(part, law, seed + number) for number, part in enumerate(self.maps)
        ]
        affine = [n for n, part in enumerate(self.maps) if type(part) is Affine]
        if affine:
            at = affine[-1]
            first, last = self._order(self.maps[:at]), self._order(self.maps[at:])
            undone = np.eye(self.dim)[last].T @ np.eye(self.dim)[first].T
            starts[at] = np.concatenate([undone.ravel(), np.zeros(self.dim)])
        return np.concatenate(starts)

    def _order(self, maps: Sequence[Map]) -> NDArray[np.int64]:
        """The permutation that the maps are at their start."""
        found = np.arange(self.dim)
        for part in maps:
            if isinstance(part, Permute):
                found = found[list(part.order)]
        return found

    def on_circle(self, periods: Periods) -> Map:
        found, now = [], periods
        for part in self.maps:
            if isinstance(part, Permute):
                now = tuple(now[place] for place in part.order)
            found.append(part if isinstance(part, Permute) else part.on_circle(now))
        return Chain(found)

    def to_dict(self) -> dict[str, Any]:
        return {"map": "Chain", "maps": [description(part) for part in self.maps]}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Self:
        if entries.keys() != {"maps"} or not isinstance(entries["maps"], list):
            raise TypeError("a chain has maps")
        maps = [restored("map", one) for one in entries["maps"]]
        return cls([map for map in maps if isinstance(map, Map)])

    def __repr__(self) -> str:
        return f"Chain([{', '.join(map(repr, self.maps))}])"
