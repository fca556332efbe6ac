"""PyTorch on the CPU: automatic derivatives on the whole batch, and blocks in place."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..cases import SHIFT, Case, PairCase, step_parameters
from ..krylov import conjugate_gradients
from ..timing import Timed
from .numpy_side import BLOCKS, kernels_of, step_of
from .passes import LAYOUTS, Passes
from .stacked import Stacked

__all__ = ["build", "build_pairs", "missing"]

SIDE = "torch"
PAIR_BLOCKS = (16, 64, 256)


def missing() -> str:
    """Why this side cannot run here; empty if it can."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return "torch is not installed"
    return ""


class Ops:
    """In-place operations of PyTorch; the twin of the NumPy side's."""

    def __init__(self, dtype: str):
        import torch

        self.torch, self.dtype = torch, getattr(torch, dtype)
        self.matmul, self.multiply = torch.matmul, torch.multiply
        self.join, self.one = torch.cat, torch.ones((), dtype=self.dtype)

    def array(self, values):
        return self.torch.tensor(np.asarray(values), dtype=self.dtype)

    def empty(self, shape):
        return self.torch.empty(tuple(shape), dtype=self.dtype)

    def zeros(self, shape):
        return self.torch.zeros(shape, dtype=self.dtype)

    def eye(self, size):
        return self.torch.eye(size, dtype=self.dtype)

    def cat(self, parts):
        return self.torch.cat(parts, dim=1)

    @staticmethod
    def transposed(a):
        return a.T.contiguous()

    @staticmethod
    def tanh(z, out):
        """2 sigmoid(2 z) - 1, faster than torch.tanh on AVX2."""
        out.mul_(2).sigmoid_().mul_(2).sub_(1)

    def slope(self, h, out):
        self.torch.addcmul(self.one, h, h, value=-1, out=out)

    @staticmethod
    def add_product(total, a, b):
        total.addmm_(a, b)


def build(case: Case) -> list[Timed]:
    """PyTorch's variants of all kernels."""
    ops = Ops(case.dtype)
    found = kernels_of(SIDE, partial(Stacked, ops, case), case, BLOCKS, _rows)
    for layout in LAYOUTS:
        found += _whole(case, layout, ops)
    return [_without_tape(timed) for timed in found]


def _without_tape(timed: Timed) -> Timed:
    """Switch recording off around a call; automatic derivatives switch it on inside."""
    import torch

    timed.call = torch.no_grad()(timed.call)
    if timed.trial:
        timed.trial = torch.no_grad()(timed.trial)
    return timed


def _rows(result):
    """Fields (d, N) as (N, d), in NumPy."""
    if isinstance(result, tuple):
        return tuple(_rows(part) for part in result)
    found = np.asarray(result)
    return found.T if found.ndim == 2 else found


def _whole(case: Case, layout, ops: Ops) -> list[Timed]:
    """Plain expressions on the whole batch, derivatives by autograd and torch.func."""
    import torch

    passes, columns = Passes(torch, layout), layout.name == "columns"
    z = ops.array(case.z.T if columns else case.z).contiguous()
    theta, l0, eta = ops.array(case.theta), ops.array(case.log_density), ops.array(case.eta)
    weight = 1.0 / case.samples

    def steps(t):
        return step_parameters(t, case.dim, case.width)

    def push(t):
        return passes.push(steps(t), z)

    def energy(t):
        x, log_density = passes.push_log_density(steps(t), z, l0)
        return weight * (((x * x - 1) ** 2).sum() / 4 + log_density.sum())

    def gradient():
        with torch.enable_grad():
            leaf = theta.clone().requires_grad_()
            value = energy(leaf)
            return float(value.detach()), torch.autograd.grad(value, leaf)[0]

    def linearized():
        return torch.func.vjp(push, theta)[1]

    def product(backward, u):
        image = torch.func.jvp(push, (theta,), (u,))[1]
        return backward(weight * image, retain_graph=True)[0]

    def step(iterations):
        right, backward = -gradient()[1], linearized()
        return conjugate_gradients(lambda u: product(backward, u) + SHIFT * u, right, iterations)

    kept = linearized()
    calls = {
        "push": lambda: (push(theta),),
        "push_log_density": lambda: passes.push_log_density(steps(theta), z, l0),
        "push_score": lambda: passes.push_score(steps(theta), z, l0, -z),
        "gradient": gradient,
        "metric": lambda: product(linearized(), eta),
        "product": lambda: product(kept, eta),
    }
    turn = _rows if columns else _unturned
    label = f"automatic {layout.name}"
    found = [Timed(k, SIDE, label, call, turn) for k, call in calls.items()]
    return [*found, step_of(SIDE, label, step, turn)]


def _unturned(result):
    return tuple(map(np.asarray, result)) if isinstance(result, tuple) else np.asarray(result)


def build_pairs(case: PairCase, kind: str) -> list[Timed]:
    """PyTorch's variants of value and velocity over all pairs."""
    import torch

    z = torch.tensor(case.z)
    sizes = [block for block in (*PAIR_BLOCKS, case.samples) if block <= case.samples]
    calls = [(f"gemm {block}", partial(_pairs, z, kind, block)) for block in sizes]
    found = [Timed(kind, SIDE, label, call, _unturned) for label, call in calls]
    return [_without_tape(timed) for timed in found]


def _pairs(z, kind: str, block: int):
    """Value and velocity; blocks of rows, squares and sums by matrix products, in place."""
    import torch

    count = len(z)
    square = (z * z).sum(1)
    out, value = torch.empty_like(z), 0.0
    table = torch.empty((min(block, count), count), dtype=z.dtype)
    points = torch.cat([z, torch.ones((count, 1), dtype=z.dtype)], dim=1)
    shift = 1.0 if kind == "quartic" else 0.0
    for first in range(0, count, block):
        x = z[first : first + block]
        k = table[: len(x)]
        torch.addmm(square - shift, x, z.T, alpha=-2, out=k)
        k += square[first : first + block, None]
        if kind == "quartic":  # k = r - 1, and r^2/4 - r/2 = (k^2 - 1) / 4
            flat = k.view(-1)
            value += (float(flat @ flat) - flat.numel()) / 4
        else:
            k.mul_(-0.5).exp_()
            value += float(k.sum()) - len(x)  # W(x, x) = 1 is no pair
            k.neg_()
        sums = k @ points
        out[first : first + block] = sums[:, :-1] - sums[:, -1:] * x
    return value / (2 * count * (count - 1)), out / (count - 1)
