"""Random steps of maps on all targets: operators, parts and functions of tensors of any shape.

Truth: the same walk in NumPy, sample by sample, and complex steps.
"""

import random

import numpy as np
import pytest
import sympy as sp
from amounts import amount
from test_written_maps import check_values_and_derivatives

from pwgf_sym.declare.maps import Map
from pwgf_sym.errors import MapError

LENGTHS = {"k": 2, "l": 1, "m": 4, "r": 3}
FUNCTIONS = {
    "tanh": (sp.tanh, np.tanh),
    "sine": (sp.sin, np.sin),
    "of two": (
        lambda a, b: sp.tanh(a) * sp.exp(-(b**2)),
        lambda a, b: np.tanh(a) * np.exp(-(b**2)),
    ),
}
BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (1 + b * b)]
UNARY = [lambda a: a * 0.5, lambda a: 1 - a, lambda a: a + 2, lambda a: a**2, lambda a: a.T / 3]


class InTensors:
    """The operations of a map."""

    def __init__(self, op):
        self.concatenate, self.constant, self.sum, self._op = (
            op.concatenate,
            op.constant,
            op.sum,
            op,
        )

    def apply(self, name, *values):
        return self._op.apply(FUNCTIONS[name][0], *values)


class InNumPy:
    """The same of one sample's arrays."""

    constant, sum = staticmethod(np.asarray), staticmethod(np.sum)

    @staticmethod
    def concatenate(parts):
        return np.concatenate([np.atleast_1d(part) for part in parts])

    @staticmethod
    def apply(name, *values):
        return FUNCTIONS[name][1](*values)


def key_of(choose, shape):
    """Brackets: integers, slices, at most one list."""
    keys, listed = [], choose.random() < 0.4
    for size in shape:
        kind = choose.random()
        if kind < 0.3 and not listed:
            keys.append(choose.randrange(-size, size))
        elif kind < 0.5 and listed:
            keys.append([choose.randrange(-size, size) for _ in range(choose.randint(1, 4))])
            listed = False
        else:
            ends = choose.choice([None, 0, 1, -1]), choose.choice([None, 2, -1])
            part = slice(*ends, choose.choice([None, -1, 2]))
            keys.append(part if range(size)[part] else slice(None))
    return tuple(keys)


def next_value(op, choose, pool):
    """A value of those before; it may be refused."""
    a, b = choose.choice(pool), choose.choice(pool)
    kind = choose.choice(["binary", "binary", "unary", "item", "item", "apply", "row", "matrix"])
    if kind == "binary":
        return choose.choice(BINARY)(a, b)
    if kind == "unary":
        return choose.choice(UNARY)(a)
    if kind == "item":
        return a[key_of(choose, a.shape)]
    if kind == "apply":
        name = choose.choice(list(FUNCTIONS))
        return op.apply(name, *((a, b) if name == "of two" else (a,)))
    if kind == "matrix":
        return a @ b if a.shape and b.shape else a
    parts = [part for part in (a, b) if len(part.shape) < 2]
    return op.concatenate(parts) if parts else a


def walk(op, p, x, seed):
    """Some turns, of which the last ones are added to x."""
    choose, dim = random.Random(seed), x.shape[0]
    pool = [x, *p.values(), op.constant(np.linspace(-1, 1, dim)), op.constant([[1, 2], [0.5, -1]])]
    for _ in range(choose.randint(3, 7)):
        try:
            found = next_value(op, choose, pool)
        except (MapError, ValueError):  # shapes that do not fit
            continue
        pool += [found] if np.prod(found.shape) <= 60 else []
    total = x + p["b"]
    for last in pool[-2:]:
        small = op.apply("tanh", last) * 0.3
        if small.shape in ((), (1,), (dim,)):
            total = total + small
        else:
            total = total + op.sum(small) * x * 0.2
    return total


class Walk(Map):
    """Two steps of a random walk through the operations."""

    steps = 2

    def __init__(self, seed):
        self.dim, self.seed = 1 + seed % 3, seed

    def axes(self):
        return LENGTHS

    def parameters(self):
        choose, found = random.Random(self.seed + 10**6), {}
        for n in range(3):
            found[f"q{n}"] = "".join(choose.sample("ijklmr", choose.randint(0, 2 if n else 3)))
        return found | {"b": "i"}

    def step(self, op, p, x):
        return walk(InTensors(op), p, x, self.seed)

    def reference(self, theta, z):
        lengths = self.axis_lengths()
        shapes = {n: [lengths[c] for c in letters] for n, letters in self.parameters().items()}
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
        for part in theta.reshape(self.steps, -1):
            arrays = np.split(part, ends[:-1])
            p = {n: a.reshape(s) for (n, s), a in zip(shapes.items(), arrays, strict=True)}
            z = np.array([walk(InNumPy, p, x, self.seed) for x in z])
        return z


@pytest.mark.filterwarnings("ignore:No step of")
@pytest.mark.parametrize("seed", range(amount(12, 60)))
def test_random_steps(seed, target, tmp_path):
    check_values_and_derivatives(Walk(seed), target, tmp_path)
