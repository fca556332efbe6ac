"""Files of older versions.

Maps of version 1 acted on the user's coordinates; versions 1 and 2 had fixed steps only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..declare.law import Law
from ..declare.maps import Map
from .history import History

__all__ = ["in_units", "with_columns"]


def in_units(theta: np.ndarray, flow: Map, law: Law) -> np.ndarray:
    """The same maps in the coordinates u = (z - m)/s, with mean m and spread s of the law.

    Parameters
    ----------
    theta : (K, p) array
        Parameters of maps of z, one row a time.
    flow : Affine or NeuralFlow
        The family.  z + h (A z + b + W2 f(W1 z + c)) is a step of the same form in u.
    law : Law

    Returns
    -------
    (K, p) array
    """
    m, s, axes = law.mean, law.spread, flow.axes()
    rows = theta.reshape(len(theta), flow.steps, -1)
    shapes = {name: [axes[axis] for axis in term] for name, term in flow.parameters().items()}
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = zip(shapes.items(), np.split(rows, ends, axis=2), strict=True)
    p = {name: part.reshape(*part.shape[:2], *shape) for (name, shape), part in parts}
    if "W1" in p:
        p["b"] = (p["b"] + p["A"] @ m) / s
        p["c"] = p["c"] + p["W1"] @ m
        p["W1"], p["W2"] = p["W1"] * s, p["W2"] / s
    else:
        p["b"] = (p["b"] + p["A"] @ m - m) / s
    found = [p[name].reshape(*rows.shape[:2], -1) for name in shapes]
    return np.concatenate(found, axis=2).reshape(theta.shape)


def with_columns(
    steps: dict[str, np.ndarray | None], description: dict[str, Any]
) -> dict[str, np.ndarray | None]:
    """Columns of a history, those that an older file does not have with what they would hold.

    Parameters
    ----------
    steps : dict of str to array or None
        What the file has.
    description : dict
        Its description, not checked.
    """
    if all(array is None for array in steps.values()):
        return History.empty()._asdict()
    if description.get("version") != 2 or steps["t"] is None or steps["t"].ndim != 1:
        return steps
    kinds, count = History.dtypes(), steps["t"].size
    added = dict.fromkeys(("error", "stages", "samples", "shift"), 0)
    return steps | {n: np.full(count, v, kinds[n]) for n, v in added.items() if steps[n] is None}
