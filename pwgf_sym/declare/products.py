"""Laws of independent coordinates, or groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import brief, checked_call, dimension
from ..errors import LawError
from .law import Law
from .law_checks import frozen
from .registry import description

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Product"]


class Product(Law):
    """The law of independent groups of coordinates, each with a law of its own.

    Parameters
    ----------
    laws : sequence of Law
        In the order of the coordinates; a law of dimension k takes the next k of them.

    Raises
    ------
    LawError
        If there is none, or one of them is no law.

    Examples
    --------
    >>> from pwgf_sym.declare.laws import Gaussian, UniformBox
    >>> Product([Gaussian([0.0, 1.0], 0.5), UniformBox([0.0], 1.0)]).dim
    3
    """

    @checked_call
    def __init__(self, laws: Sequence[Law]) -> None:
        accepted, fix = "a list of laws", "Write Product([Gaussian([0], 1), UniformBox([0], 1)])."
        try:
            parts = list(laws)
        except TypeError:
            raise LawError("laws", brief(laws), accepted, fix) from None
        wrong = [part for part in parts if not isinstance(part, Law)]
        if wrong or not parts:
            raise LawError("laws", brief(wrong[0]) if wrong else "no law", accepted, fix)
        self._join(parts)

    def _join(self, parts: Sequence[Law]) -> None:
        """Take over what the parts say of themselves."""
        self._parts = list(parts)
        for part in parts:
            dimension("dim", part.dim, error=LawError)
        ends = np.cumsum([part.dim for part in parts])
        self.dim = dimension("laws", int(ends[-1]), error=LawError)
        self._places = [slice(e - p.dim, e) for e, p in zip(ends.tolist(), parts, strict=True)]
        self.mean = frozen(np.concatenate([part._stated("mean") for part in parts]))
        covariance = np.zeros((self.dim, self.dim))
        for part, own in zip(parts, self._places, strict=True):
            covariance[own, own] = part._stated("covariance")
        self.covariance = frozen(covariance)
        self.jump = any(part.jump for part in parts)
        kinds = {part.support for part in parts}
        self.support = kinds.pop() if len(kinds) == 1 else "part"

    @property
    def periods(self) -> tuple[float | None, ...]:
        return tuple(period for part in self._parts for period in part.periods)

    @property
    def reach(self) -> NDArray[np.float64]:
        return np.concatenate([part.reach for part in self._parts])

    @property
    def has_transform(self) -> bool:
        return all(part.has_transform for part in self._parts)

    @property
    def has_density(self) -> bool:
        return all(part.has_density for part in self._parts)

    @property
    def made_of(self) -> Sequence[Law]:
        return self._parts

    def coordinates_apart(self) -> list[Law] | None:
        apart: list[Law] = []
        for part in self._parts:
            own = [part] if part.dim == 1 else part.coordinates_apart()
            if own is None:
                return None
            apart += own
        return apart

    def sampler(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        if self.has_transform:
            return super().sampler(n, rng)
        return np.hstack([part._drawn(n, rng) for part in self._parts])

    def _transform(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hstack([part._transform(u[:, own]) for part, own in self._each])

    def _log_density(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        logs = [part._log_density(points[:, own]) for part, own in self._each]
        return np.asarray(np.sum(logs, axis=0))

    def _score(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hstack([part._score(points[:, own]) for part, own in self._each])

    @property
    def _each(self) -> list[tuple[Law, slice]]:
        return list(zip(self._parts, self._places, strict=True))

    def to_dict(self) -> dict[str, Any]:
        return {"law": "Product", "parts": [description(part) for part in self._parts]}

    @classmethod
    def from_entries(cls, entries: dict[str, Any]) -> Law:
        from .laws import law_from_dict

        return cls([law_from_dict(part) for part in entries["parts"]])

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(brief, self._parts))}])"
