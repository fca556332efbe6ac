"""JAX on the CPU: automatic and manual derivatives, the whole batch and blocks, rows and columns.

Blocks of samples go through ``lax.scan``, so that a block's activations stay in the cache.  The
whole step, its conjugate gradients included, is one compiled function.
"""

from __future__ import annotations

import os
from functools import cache, partial

import numpy as np

from ..cases import CG_ITERATIONS, SHIFT, TRIAL_ITERATIONS, Case, PairCase, step_parameters
from ..timing import Timed
from .passes import Columns, JoinedPasses, Passes, Rows

__all__ = ["build", "build_pairs", "build_steps", "missing"]

SIDE = "jax"
# Rows, columns and blocks of 128, 512 and 4096 samples were tried at 10/64: columns won each kernel
# in blocks of 128 or, where None stands, as the whole batch, up to ties.
TRIED = ((Columns, 128), (Columns, None))
PAIR_BLOCKS = (16, 64, 256)


def missing() -> str:
    """Why this side cannot run here; empty if it can."""
    # On a GPU JAX would take most of the memory at once, beside arrays of ours.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax
    except ImportError:
        return "jax is not installed"
    jax.config.update("jax_enable_x64", True)
    return ""


def conjugate_gradients(apply, right, iterations):
    """Run a fixed number of iterations of CG from zero, as one loop in the compiled function."""
    import jax
    import jax.numpy as jnp

    def body(_, state):
        eta, residual, direction, square = state
        image = apply(direction)
        length = square / (direction @ image)
        residual = residual - length * image
        new = residual @ residual
        direction_next = residual + (new / square) * direction
        return eta + length * direction, residual, direction_next, new

    start = (jnp.zeros_like(right), right, right, right @ right)
    return jax.lax.fori_loop(0, iterations, body, start)[0]


def _unchanged(result):
    return result


class Blocks:
    """Kernels on blocks of ``block`` samples in one layout; one block is the whole batch."""

    def __init__(self, case: Case, layout, block: int, linear=Passes):
        import jax.numpy as jnp

        self.case, self.block, self.columns = case, block, layout.name == "columns"
        self.passes, self.linear = Passes(jnp, layout), linear(jnp, layout)
        self.weight = 1.0 / case.samples
        grid = case.z.reshape(-1, block, case.dim)
        self.z = jnp.asarray(grid.transpose(0, 2, 1) if self.columns else grid)
        self.l0 = jnp.asarray(case.log_density.reshape(-1, block))
        self.theta, self.eta = jnp.asarray(case.theta), jnp.asarray(case.eta)
        kind = "whole" if block == case.samples else f"blocks {block}"
        self.label = f"{kind} {'joined' if linear is JoinedPasses else layout.name}"

    def steps(self, theta):
        return step_parameters(theta, self.case.dim, self.case.width)

    # -- over blocks ------------------------------------------------------------------------------

    def each(self, function, *arrays):
        """Results of a function of a block, block by block."""
        import jax

        if len(self.z) == 1:
            found = function(*(a[0] for a in arrays))
            return jax.tree.map(lambda a: a[None], found)
        return jax.lax.map(lambda parts: function(*parts), arrays)

    def summed(self, function, *trees):
        """Sum over the blocks of a function's results."""
        import jax

        def part(k):
            return jax.tree.map(lambda a: a[k], trees)

        if len(self.z) == 1:
            return function(*part(0))
        shapes = jax.eval_shape(lambda: function(*part(0)))
        zero = jax.tree.map(lambda s: jax.numpy.zeros(s.shape, s.dtype), shapes)

        def body(total, parts):
            return jax.tree.map(lambda a, b: a + b, total, function(*parts)), None

        return jax.lax.scan(body, zero, trees)[0]

    # -- kernels ----------------------------------------------------------------------------------

    def push(self, theta, z):
        return self.each(lambda x: (self.passes.push(self.steps(theta), x),), z)

    def push_log_density(self, theta, z, l0):
        return self.each(partial(self.passes.push_log_density, self.steps(theta)), z, l0)

    def push_score(self, theta, z, l0):
        def score(x, log_density):
            return self.passes.push_score(self.steps(theta), x, log_density, -x)

        return self.each(score, z, l0)

    def block_energy(self, theta, z, l0):
        """This block's part of the mean of V + l."""
        x, log_density = self.passes.push_log_density(self.steps(theta), z, l0)
        return self.weight * (((x * x - 1) ** 2).sum() / 4 + log_density.sum())

    def gradient_automatic(self, theta, z, l0):
        import jax

        return self.summed(partial(jax.value_and_grad(self.block_energy), theta), z, l0)

    def gradient_manual(self, theta, z, l0):
        steps, passes = self.steps(theta), self.passes

        def part(x, log_density):
            end, stored = passes.stored(steps, x)
            for p, (_, h) in zip(steps, stored, strict=True):
                log_density = log_density - passes.divergence(p, 1 - h * h) / len(steps)
            value = self.weight * (((end * end - 1) ** 2).sum() / 4 + log_density.sum())
            weights = (self.weight, self.weight * self.block)
            field = self.weight * (end * end - 1) * end
            return value, passes.adjoint(steps, stored, field, weights)

        value, gradients = self.summed(part, z, l0)
        return value, self.joined(gradients)

    def joined(self, gradients):
        import jax.numpy as jnp

        return jnp.concatenate(
            [g[k].ravel() for g in gradients for k in ("A", "b", "W1", "c", "W2")]
        )

    def stored(self, theta, z):
        """Activations of all blocks."""
        return self.each(lambda x: self.linear.stored(self.steps(theta), x)[1], z)

    def product_stored(self, theta, stored, eta):
        """Mean of J^T J eta from activations."""
        steps = self.steps(theta)

        def part(kept):
            field = self.weight * self.linear.tangent(steps, kept, self.steps(eta))
            return self.linear.adjoint(steps, kept, field)

        return self.joined(self.summed(part, stored))

    def product_recomputed(self, theta, z, eta):
        steps = self.steps(theta)

        def part(x):
            kept = self.linear.stored(steps, x)[1]
            field = self.weight * self.linear.tangent(steps, kept, self.steps(eta))
            return self.linear.adjoint(steps, kept, field)

        return self.joined(self.summed(part, z))

    def product_automatic(self, theta, z, eta):
        """jvp, then vjp, of the push of each block."""
        import jax

        def part(x):
            def push(t):
                return self.passes.push(self.steps(t), x)

            _, image = jax.jvp(push, (theta,), (eta,))
            return jax.vjp(push, theta)[1](self.weight * image)[0]

        return self.summed(part, z)

    def linearized(self, theta, z):
        """The push of the whole batch linearized, and transposed, with its residuals stored."""
        import jax

        def push(t):
            return self.passes.push(self.steps(t), z[0])

        return jax.linearize(push, theta)[1], jax.vjp(push, theta)[1]

    def step(self, gradient, prepare, apply, theta, z, l0, iterations):
        """eta of the whole step; ``apply(theta, kept, u)`` is the product after ``prepare``."""
        right = -gradient(theta, z, l0)[1]
        kept = prepare(theta, z)
        return conjugate_gradients(lambda u: apply(theta, kept, u) + SHIFT * u, right, iterations)

    # -- what is timed ----------------------------------------------------------------------------

    def fields(self, result):
        """Blocks of fields and scalars as (N, d) and (N,)."""
        found = []
        for part in map(np.asarray, result):
            turned = part.transpose(0, 2, 1) if part.ndim == 3 and self.columns else part
            found.append(turned.reshape(self.case.samples, *turned.shape[2:]))
        return tuple(found)

    def timed(self) -> list[Timed]:
        """All kernels and variants of this layout and block."""
        theta, z, eta = self.theta, self.z, self.eta
        automatic, manual = self.gradient_automatic, self.gradient_manual
        push = self._timed("push", "", self.push, lambda: (theta, z), self.fields)
        found = [
            push,
            self._timed("push_log_density", "", self.push_log_density, self._given, self.fields),
            self._timed("push_score", "", self.push_score, self._given, self.fields),
            self._timed("gradient", "automatic ", automatic, self._given),
            self._timed("gradient", "manual ", manual, self._given),
            self._timed("metric", "automatic ", self.product_automatic, lambda: (theta, z, eta)),
            self._step("manual recomputed ", manual, lambda t, x: x, self.product_recomputed),
        ]
        return found + self.products() + (self._linearized() if len(z) == 1 else [])

    def products(self) -> list[Timed]:
        """Variants with the manual product."""
        theta, z, eta = self.theta, self.z, self.eta

        def kept():  # made when it is first needed
            return theta, jitted(self.stored)(theta, z), eta

        again = self.product_recomputed
        return [
            self._timed("metric", "manual ", again, lambda: (theta, z, eta)),
            self._timed("product", "manual ", self.product_stored, kept),
            self._step("manual stored ", self.gradient_manual, self.stored, self.product_stored),
        ]

    def _linearized(self) -> list[Timed]:
        def product(_, kept, u):
            forward, backward = kept
            return backward(self.weight * forward(u))[0]

        def given():
            return self.theta, jitted(self.linearized)(self.theta, self.z), self.eta

        step = self._step("linearize ", self.gradient_automatic, self.linearized, product)
        return [self._timed("product", "linearize ", product, given), step]

    def _given(self):
        return self.theta, self.z, self.l0

    def _timed(self, kernel, how, function, arguments, convert=_unchanged) -> Timed:
        """Compile at the first call; ``arguments()`` are made then too."""
        compiled, given = jitted(function), cache(arguments)
        call = partial(_finished, lambda: compiled(*given()))
        return Timed(kernel, SIDE, f"{how}{self.label}", call, convert)

    def _step(self, how, gradient, prepare, product) -> Timed:
        compiled = jitted(partial(self.step, gradient, prepare, product))

        def run(iterations):
            return _finished(lambda: compiled(*self._given(), iterations))

        trial, call = partial(run, TRIAL_ITERATIONS), partial(run, CG_ITERATIONS)
        return Timed("step", SIDE, f"{how}{self.label}", call, trial=trial)


def jitted(function):
    """The function compiled by JAX, which is imported late."""
    import jax

    return jax.jit(function)


def _finished(run):
    """Wait for what ``run`` started."""
    import jax

    return jax.block_until_ready(run())


def build(case: Case) -> list[Timed]:
    """JAX's variants of all kernels."""
    missing()
    found = []
    for layout, block in TRIED:
        block = block or case.samples
        if case.samples % block == 0:
            found += Blocks(case, layout, block).timed()
            if layout is Columns:
                found += Blocks(case, layout, block, JoinedPasses).products()
    return found


def build_steps(case: Case) -> list[Timed]:
    """JAX's variants of the step on the device that it takes by itself.

    A GPU multiplies in the precision that is asked for, not in TF32, and takes the whole batch.
    """
    import jax

    missing()
    device, tried = jax.devices()[0], TRIED
    if device.platform != "cpu":
        jax.config.update("jax_default_matmul_precision", "highest")
        tried = ((Columns, None), (Rows, None))
    found = []
    for layout, block in tried:
        block = block or case.samples
        if case.samples % block == 0:
            for linear in (Passes, JoinedPasses) if layout is Columns else (Passes,):
                calls = Blocks(case, layout, block, linear).products()
                found += [timed for timed in calls if timed.kernel == "step"]
    for timed in found:
        timed.side = f"{SIDE}, {device.device_kind}"
    return found


def build_pairs(case: PairCase, kind: str) -> list[Timed]:
    """JAX's variants of value and velocity over all pairs."""
    import jax
    import jax.numpy as jnp

    missing()
    z, found = jnp.asarray(case.z), []
    ways = {"differences": _differences, "gemm": _gemm, "automatic": _automatic}
    for how, way in ways.items():
        for block in PAIR_BLOCKS:
            if case.samples % block == 0:
                compiled = jax.jit(partial(_pairs, way, kind, block))
                call = partial(lambda f: jax.block_until_ready(f(z)), compiled)
                found.append(Timed(kind, SIDE, f"{how} {block}", call))
    return found


def _pairs(way, kind: str, block: int, z):
    """Value and velocity; ``way`` gives sum_j W and sum_j grad W of a block of rows."""
    import jax

    count, dim = z.shape
    value, slope = jax.lax.map(partial(way, kind, z), z.reshape(-1, block, dim))
    own = count if kind == "gaussian" else 0  # W(x, x) = 1 is no pair
    share = 1 / (count - 1)
    return (value.sum() - own) * share / (2 * count), -share * slope.reshape(count, dim)


def _interaction(kind: str, square):
    """W and k, where grad W = k (x - y), of squared distances."""
    import jax.numpy as jnp

    if kind == "quartic":
        return (square / 4 - 0.5) * square, square - 1
    w = jnp.exp(-0.5 * square)
    return w, -w


def _differences(kind, z, x):
    """Sums by coordinates: XLA fuses them into one loop over pairs."""
    import jax.numpy as jnp

    parts = [x[:, None, i] - z[None, :, i] for i in range(z.shape[1])]
    w, k = _interaction(kind, sum(p * p for p in parts))
    return w.sum(), jnp.stack([(k * p).sum(1) for p in parts], axis=1)


def _gemm(kind, z, x):
    """Squares and sums by matrix products."""
    square = (z * z).sum(1) + (x * x).sum(1)[:, None] - 2 * (x @ z.T)
    w, k = _interaction(kind, square)
    return w.sum(), k.sum(1)[:, None] * x - k @ z


def _automatic(kind, z, x):
    """Reverse mode through the sum over pairs."""
    import jax

    def total(y):
        square = ((y[:, None, :] - z[None, :, :]) ** 2).sum(-1)
        return _interaction(kind, square)[0].sum()

    return jax.value_and_grad(total)(x)
