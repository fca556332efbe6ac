"""NumPy: the whole batch with plain expressions, and blocks in place."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..cases import CG_ITERATIONS, SHIFT, TRIAL_ITERATIONS, Case, PairCase, step_parameters
from ..krylov import conjugate_gradients
from ..timing import Timed
from .passes import LAYOUTS, Passes
from .stacked import Stacked

__all__ = ["BLOCKS", "build", "build_pairs", "kernels_of", "missing", "step_of"]

SIDE = "numpy"
BLOCKS = (128, 256, 512)
PAIR_BLOCKS = (16, 64, 256)


def missing() -> str:
    """Why this side cannot run here; empty if it can."""
    return ""


class Ops:
    """In-place operations of NumPy; the twin of the PyTorch side's."""

    matmul, multiply = np.matmul, np.multiply

    def __init__(self, dtype):
        self.dtype = dtype

    def array(self, values):
        return np.array(values, self.dtype)

    def empty(self, shape):
        return np.empty(shape, self.dtype)

    def zeros(self, shape):
        return np.zeros(shape, self.dtype)

    def eye(self, size):
        return np.eye(size, dtype=self.dtype)

    @staticmethod
    def cat(parts):
        return np.concatenate(parts, axis=1)

    join = staticmethod(np.concatenate)
    transposed = staticmethod(lambda a: np.ascontiguousarray(a.T))

    @staticmethod
    def tanh(z, out):
        """1 - 2 / (exp(2 z) + 1), in half the time of np.tanh on AVX2."""
        np.multiply(z, 2, out=out)
        np.exp(out, out=out)
        np.add(out, 1, out=out)
        np.divide(2, out, out=out)
        np.subtract(1, out, out=out)

    @staticmethod
    def slope(h, out):
        np.multiply(h, h, out=out)
        np.subtract(1, out, out=out)

    @staticmethod
    def add_product(total, a, b):
        total += a @ b


def kernels_of(side: str, make, case: Case, blocks, convert) -> list[Timed]:
    """Timed kernels of the in-place passes, by block size; ``make(block, stored)`` builds them."""
    found, eta = [], None
    for block in sorted({min(b, case.samples) for b in (*blocks, case.samples)}):
        plain, label = make(block, False), f"in place {block}"
        eta = plain.ops.array(case.eta)
        for name in ("push", "push_log_density", "push_score", "gradient"):
            found.append(Timed(name, side, label, getattr(plain, name), convert))

        def metric(run=plain, eta=eta):
            run.prepare()
            return run.product(eta)

        found.append(Timed("metric", side, label, metric, convert))
        kept = make(block, True)
        kept.prepare()
        found.append(
            Timed("product", side, label, lambda run=kept, eta=eta: run.product(eta), convert)
        )
        for run, how in ((plain, "recomputed"), (kept, "stored")):
            found.append(step_of(side, f"{label} {how}", _step(run), convert))
    return found


def step_of(side: str, label: str, step, convert) -> Timed:
    """The full step from a function of the number of iterations."""
    trial = partial(step, TRIAL_ITERATIONS)
    return Timed("step", side, label, partial(step, CG_ITERATIONS), convert, trial=trial)


def _step(run: Stacked):
    def step(iterations):
        right = -run.gradient()[1]
        run.prepare()
        return conjugate_gradients(lambda u: run.product(u) + SHIFT * u, right, iterations)

    return step


def _rows(result):
    """Fields (d, N) of a result as (N, d)."""
    parts = result if isinstance(result, tuple) else (result,)
    parts = tuple(p.T if getattr(p, "ndim", 0) == 2 else p for p in parts)
    return parts if isinstance(result, tuple) else parts[0]


def build(case: Case) -> list[Timed]:
    """NumPy's variants of all kernels."""
    ops = Ops(np.dtype(case.dtype))
    found = kernels_of(SIDE, lambda b, s: Stacked(ops, case, b, s), case, BLOCKS, _rows)
    for layout in LAYOUTS:
        found += _whole(case, layout)
    return found


def _whole(case: Case, layout) -> list[Timed]:
    """Plain expressions on the whole batch."""
    passes, columns = Passes(np, layout), layout.name == "columns"
    z = np.ascontiguousarray(case.z.T) if columns else case.z
    theta, l0, weight = case.theta, case.log_density, 1.0 / case.samples

    def steps():
        return step_parameters(theta, case.dim, case.width)

    def joined(gradients):
        return np.concatenate([g[k].ravel() for g in gradients for k in g])

    def gradient():
        # The log density and the stored activations in one pass.
        x, stored = passes.stored(steps(), z)
        moved = sum(
            passes.divergence(p, 1 - h * h) for p, (_, h) in zip(steps(), stored, strict=True)
        )
        value = np.sum((x * x - 1) ** 2) / 4 + np.sum(l0 - moved / len(stored))
        field = weight * (x * x - 1) * x
        return value * weight, joined(passes.adjoint(steps(), stored, field, (weight, 1.0)))

    def product(stored, eta):
        etas = step_parameters(eta, case.dim, case.width)
        field = weight * passes.tangent(steps(), stored, etas)
        return joined(passes.adjoint(steps(), stored, field))

    kept = passes.stored(steps(), z)[1]

    def step(iterations):
        stored = passes.stored(steps(), z)[1]
        right = -gradient()[1]
        return conjugate_gradients(lambda u: product(stored, u) + SHIFT * u, right, iterations)

    calls = {
        "push": lambda: (passes.push(steps(), z),),
        "push_log_density": lambda: passes.push_log_density(steps(), z, l0),
        "push_score": lambda: passes.push_score(steps(), z, l0, -z),
        "gradient": gradient,
        "metric": lambda: product(passes.stored(steps(), z)[1], case.eta),
        "product": lambda: product(kept, case.eta),
    }
    # Gradients come back as (p,) and fields in the layout: only fields are turned.
    turn = _rows if columns else lambda r: r
    label = f"whole {layout.name}"
    found = [Timed(k, SIDE, label, call, turn) for k, call in calls.items()]
    return [*found, step_of(SIDE, label, step, turn)]


def build_pairs(case: PairCase, kind: str) -> list[Timed]:
    """NumPy's variants of value and velocity over all pairs."""
    return [
        Timed(kind, SIDE, f"gemm {block}", lambda b=block: _pairs(case.z, kind, b))
        for block in (*PAIR_BLOCKS, case.samples)
        if block <= case.samples
    ]


def _pairs(z, kind: str, block: int):
    """Value and velocity; blocks of rows, squares and sums by matrix products, in place."""
    count = len(z)
    square = np.einsum("nd,nd->n", z, z)
    out, value = np.empty_like(z), 0.0
    table, force = (np.empty((min(block, count), count), z.dtype) for _ in range(2))
    ones = np.ones((count, 1), z.dtype)
    points = np.concatenate([z, ones], axis=1)
    for first in range(0, count, block):
        x = z[first : first + block]
        r, k = table[: len(x)], force[: len(x)]
        np.matmul(-2 * x, z.T, out=r)
        r += square
        r += square[first : first + block, None]
        # grad W = k (x - y)
        if kind == "quartic":
            np.subtract(r, 1, out=k)
            value += (np.vdot(k, k) - k.size) / 4  # r^2/4 - r/2 = ((r - 1)^2 - 1) / 4
        else:
            r *= -0.5
            np.exp(r, out=k)
            value += np.sum(k) - len(x)  # W(x, x) = 1 is no pair
            np.negative(k, out=k)
        sums = k @ points
        out[first : first + block] = sums[:, :-1] - sums[:, -1:] * x
    return value / (2 * count * (count - 1)), out / (count - 1)
