"""Maps and laws of a user's, and flows with them whose answers are known."""

import json

import numpy as np

import pwgf_sym as pw
from pwgf_sym.declare.law import Law
from pwgf_sym.declare.laws import law_from_dict
from pwgf_sym.declare.maps import map_from_dict
from pwgf_sym.declare.registry import description

X = pw.coordinates(2)
RHO = pw.Density(X)
NUMPY = {"target": "numpy"}


class Stretch(pw.Map):
    """A z + b, and whatever else it is told."""

    steps = 1

    def __init__(self, dim, note=None, *more, scale=1.0, **others):
        self.dim, self.note, self.more, self.scale, self.others = dim, note, more, scale, others

    def parameters(self):
        return {"A": "ij", "b": "i"}

    def step(self, op, p, x):
        return self.scale * op.einsum("ij,j->i", p["A"], x) + p["b"]

    def initial_parameters(self, law, seed=0):
        return np.concatenate([np.eye(self.dim).ravel() / self.scale, np.zeros(self.dim)])


class Deeper(Stretch):
    """Its constructor has other arguments than the one that it calls."""

    def __init__(self, double):
        super().__init__(2 * double, note="of Deeper", scale=double)


class Bump(Stretch):
    def to_dict(self):
        return {"map": "Bump", "dim": self.dim, "scale": self.scale}


class Logistic(Law):
    """Independent logistic coordinates with a common scale; weights are never read."""

    def __init__(self, mean, scale, weights=()):
        self.mean, self.scale, self.weights = np.array(mean, float), float(scale), weights
        self.dim = len(self.mean)
        self.covariance = (np.pi * self.scale) ** 2 / 3 * np.eye(self.dim)

    def _transform(self, u):
        return self.mean + self.scale * np.log(u / (1 - u))

    def _log_density(self, points):
        y = np.abs(points - self.mean) / self.scale
        return np.sum(-y - 2 * np.log1p(np.exp(-y)) - np.log(self.scale), axis=1)

    def _score(self, points):
        return -np.tanh((points - self.mean) / (2 * self.scale)) / self.scale


def problem(law=None):
    energy = pw.integral((X[0] ** 2 + X[1] ** 2) / 2 * RHO, X)
    return pw.GradientFlow(energy, RHO, initial=law or pw.Gaussian([1.0, -0.5], 0.3))


def solution(flow, law=None):
    return pw.solve(problem(law), flow, (0, 1), integrator="rk4", dt=0.1, samples=64, **NUMPY)


def again(thing):
    """By the text of a file."""
    text = json.loads(json.dumps(description(thing), allow_nan=False))
    return law_from_dict(text) if isinstance(thing, Law) else map_from_dict(text)
