"""Bounds for a potential V(x) = sum_k f_k(q_k . x) and entropy, direction by direction.

The law of the path is that of dX = (-grad V + g) dt + noise.  With equal noise the distance e_k of
X from a solution of the flow's equation along q_k sees the part g_k of the gap and nothing of the
other directions.  So W2^2 <= sum_k E e_k^2, where a direction with a modulus of 1e4 has long
forgotten what the one with 1 still knows.

KL is at most a sum over directions, too: shifts (:mod:`.shifts`) in each see its part of the gap
alone, and Girsanov's theorem has the sum of their squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .bounds import contracted, locally_contracted
from .shifts import shift_cost

if TYPE_CHECKING:
    from ..derive.one_sided import OneSidedSum
    from .gaps import Gaps

__all__ = ["entropy_by_directions", "transport_by_directions"]

# Times from where shifts are tried.
_TRIED = 16


def transport_by_directions(
    moduli: OneSidedSum, mean: dict[str, np.ndarray], gaps: Gaps, elapsed: float, ages: np.ndarray
) -> float:
    """W2: the root of the sum of E e_k^2.

    Parameters
    ----------
    moduli : OneSidedSum
    mean : dict of str to array
        Means of the gaps by their names.
    gaps : Gaps
    elapsed : float
        Time since the start.
    ages : (K,) array
        t - s at the nodes.
    """
    total, apart = 0.0, _local(moduli, mean, gaps)
    for k, modulus in enumerate(moduli.moduli):
        start, sizes = float(np.sqrt(mean["start_own"][k])), np.sqrt(mean["own"][:, k])
        value = contracted(modulus.least, start, sizes, ages, gaps.steps, elapsed)
        if k in apart:
            value = min(value, float(apart[k][-1]))
        total += value**2
    return float(np.sqrt(total))


def entropy_by_directions(
    moduli: OneSidedSum, mean: dict[str, np.ndarray], gaps: Gaps, sigma: float
) -> float:
    """KL: the sum of what shifts along the directions cost.

    Where a modulus is larger in the tails, equal noise alone, which sees that, comes first, for the
    best of some times.
    """
    total, apart = 0.0, _local(moduli, mean, gaps)
    for k, modulus in enumerate(moduli.moduli):
        start, sizes = float(np.sqrt(mean["start_own"][k])), np.sqrt(mean["own"][:, k])
        cost = shift_cost(start, sizes, gaps.steps, modulus.least)
        tried = np.linspace(1, sizes.size - 1, _TRIED if k in apart else 0).astype(int)
        for n in np.unique(tried[(tried > 0) & (tried < sizes.size)]):  # none at the start
            later = shift_cost(float(apart[k][n]), sizes[n:], gaps.steps[n:], modulus.least)
            cost = min(cost, later)
        total += cost
    return total / (4 * sigma)


def _local(moduli: OneSidedSum, mean: dict[str, np.ndarray], gaps: Gaps) -> dict[int, np.ndarray]:
    """(E e_k^2)^(1/2) of bent directions, at the start and after every node's step."""
    bent = list(moduli.bent)
    if not bent:
        return {}
    start, damped = mean["start_own"][bent], mean["damped"]
    found = locally_contracted(start, damped, gaps.rates, gaps.steps)
    return dict(zip(bent, found.T, strict=True))
