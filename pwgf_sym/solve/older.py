"""Parameters of maps in files of version 1, whose maps acted on the user's coordinates."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["in_units"]


def in_units(theta: np.ndarray, flow, law) -> np.ndarray:
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
