"""Seven maps as a user writes them, each in at most 20 lines, and the same maps in NumPy."""

import numpy as np
import sympy as sp

import pwgf_sym as pw


class Planes(pw.Map):
    """x + u tanh(w.x + b)."""

    def __init__(self, dim, steps=2):
        self.dim, self.steps = dim, steps

    def parameters(self):
        return {"u": "i", "w": "i", "b": ""}

    def step(self, op, p, x):
        return x + p["u"] * op.apply(sp.tanh, p["w"] @ x + p["b"])

    def initial_parameters(self, law, seed=0):
        found = np.random.default_rng(seed).normal(size=(self.steps, 2 * self.dim + 1))
        found[:, : self.dim] = 0
        return found.ravel()


class TwoLayers(pw.Map):
    """x + C tanh(B tanh(A x + a) + b)."""

    def __init__(self, dim, width, steps=2):
        self.dim, self.width, self.steps = dim, width, steps

    def axes(self):
        return {"k": self.width, "m": self.width}

    def parameters(self):
        return {"A": "kj", "a": "k", "B": "mk", "b": "m", "C": "im"}

    def step(self, op, p, x):
        first = op.apply(sp.tanh, p["A"] @ x + p["a"])
        return x + p["C"] @ op.apply(sp.tanh, p["B"] @ first + p["b"])


class RealNVP(pw.Map):
    """Half of the coordinates move by the other half; then the order is turned around."""

    def __init__(self, dim, steps=3):
        self.dim, self.steps = dim, steps

    def axes(self):
        return {"k": self.dim // 2, "m": self.dim - self.dim // 2}

    def parameters(self):
        return {"S": "mk", "T": "mk", "s": "m", "t": "m"}

    def step(self, op, p, x):
        stay, move = x[: self.dim // 2], x[self.dim // 2 :]
        scale = op.apply(lambda a: sp.exp(sp.tanh(a)), p["S"] @ stay + p["s"])
        moved = move * scale + op.apply(sp.sin, p["T"] @ stay + p["t"])
        return op.concatenate([stay, moved])[list(range(self.dim))[::-1]]


class NeuralODE(pw.Map):
    """dx/dt = B tanh(A x + t s), the same field for all steps, by Ralston's method."""

    def __init__(self, dim, width, steps=3):
        self.dim, self.width, self.steps = dim, width, steps

    def axes(self):
        return {"k": self.width}

    def shared(self):
        return {"A": "kj", "s": "k", "B": "ik"}

    def parameters(self):
        return {}

    def step(self, op, p, x):
        def field(y, time):
            return p["B"] @ op.apply(sp.tanh, p["A"] @ y + time * p["s"])

        return op.integrate(field, x, "ralston", time=op.time)


class Bends(pw.Map):
    """x + C tanh(n b x) + s sin(a x)/2 in the step n: parameters, by any names, in functions."""

    def __init__(self, dim, steps=2, names=("b", "b_i", "X")):
        self.dim, self.steps, self.names = dim, steps, names

    def parameters(self):
        return {"C": "ij"} | dict(zip(self.names, ("i", "i", ""), strict=True))

    def step(self, op, p, x):
        b, a, s = [p[name] for name in self.names]
        bent = op.apply(lambda u, v: sp.tanh(u * v * (1 + op.number)), b, x)
        waves = op.apply(lambda u, v, w: v * sp.sin(u * w) / 2, a, s, x)
        return x + p["C"] @ bent + waves


class Features(pw.Map):
    """x + C cos(W x + c) with W and c of random numbers that stay."""

    def __init__(self, dim, count, seed=0):
        self.dim, self.count, self.seed = dim, count, seed

    def axes(self):
        return {"k": self.count}

    def parameters(self):
        return {"C": "ik", "b": "i"}

    def step(self, op, p, x):
        random = np.random.default_rng(self.seed)
        weights = op.constant(random.normal(size=(self.count, self.dim)), "kj")
        shifts = op.constant(random.uniform(0, 2 * np.pi, self.count), "k")
        return x + p["b"] + p["C"] @ op.apply(sp.cos, weights @ x + shifts)


class Polynomial(pw.Map):
    """x_k + sum_ij Q_kij x_i x_j + r |x|^2 x_k/4."""

    def __init__(self, dim, steps=2):
        self.dim, self.steps = dim, steps

    def axes(self):
        return {"k": self.dim}

    def parameters(self):
        return {"Q": "kij", "r": ""}

    def step(self, op, p, x):
        return x + op.einsum("kij,i,j->k", p["Q"], x, x) + p["r"] ** 2 * (x @ x) * x / 4


# ------------------------------------------------------------------------------------- in NumPy


def cut(theta, *shapes):
    """Arrays of these shapes, one after the other."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    assert ends[-1] == len(theta)
    parts = np.split(theta, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def planes(flow, theta, x):
    for part in theta.reshape(flow.steps, -1):
        u, w, b = cut(part, (flow.dim,), (flow.dim,), ())
        x = x + np.tanh(x @ w + b)[:, None] * u
    return x


def two_layers(flow, theta, x):
    d, m = flow.dim, flow.width
    for part in theta.reshape(flow.steps, -1):
        A, a, B, b, C = cut(part, (m, d), (m,), (m, m), (m,), (d, m))
        x = x + np.tanh(np.tanh(x @ A.T + a) @ B.T + b) @ C.T
    return x


def real_nvp(flow, theta, x):
    half = flow.dim // 2
    rest = flow.dim - half
    for part in theta.reshape(flow.steps, -1):
        S, T, s, t = cut(part, (rest, half), (rest, half), (rest,), (rest,))
        stay, move = x[:, :half], x[:, half:]
        moved = move * np.exp(np.tanh(stay @ S.T + s)) + np.sin(stay @ T.T + t)
        x = np.concatenate([stay, moved], axis=1)[:, ::-1]
    return x


def neural_ode(flow, theta, x):
    A, s, B = cut(theta, (flow.width, flow.dim), (flow.width,), (flow.dim, flow.width))
    h = 1 / flow.steps

    def field(y, time):
        return np.tanh(y @ A.T + time * s) @ B.T

    for number in range(flow.steps):
        first = field(x, number * h)
        second = field(x + 2 * h / 3 * first, (number + 2 / 3) * h)
        x = x + h * (first + 3 * second) / 4
    return x


def bends(flow, theta, x):
    d = flow.dim
    for number, part in enumerate(theta.reshape(flow.steps, -1)):
        C, b, a, s = cut(part, (d, d), (d,), (d,), ())
        x = x + np.tanh((1 + number) * b * x) @ C.T + s * np.sin(a * x) / 2
    return x


def with_features(flow, theta, x):
    random = np.random.default_rng(flow.seed)
    W = random.normal(size=(flow.count, flow.dim))
    c = random.uniform(0, 2 * np.pi, flow.count)
    C, b = cut(theta, (flow.dim, flow.count), (flow.dim,))
    return x + b + np.cos(x @ W.T + c) @ C.T


def polynomial(flow, theta, x):
    d = flow.dim
    for part in theta.reshape(flow.steps, -1):
        Q, r = cut(part, (d, d, d), ())
        norm = np.sum(x**2, axis=1, keepdims=True)
        x = x + np.einsum("kij,ni,nj->nk", Q, x, x) + r**2 * norm * x / 4
    return x


IN_NUMPY = {
    Planes: planes,
    TwoLayers: two_layers,
    RealNVP: real_nvp,
    NeuralODE: neural_ode,
    Bends: bends,
    Features: with_features,
    Polynomial: polynomial,
}
