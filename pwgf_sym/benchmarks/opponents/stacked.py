"""Passes in place on blocks of samples, for NumPy and PyTorch: stacked matrices, kept activations.

What a step multiplies is stacked, so that a step of a pass is two matrix products and a few passes
over the hidden units, all into buffers that stay in the cache when the block is small.  A step's
buffer holds the rows

    H (m), x (d), 1, dx (d), dH (m)

and every product reads a contiguous range of them:

    Z = [W1 c] [x 1],                    x' = [h W2, I + h A, h b] [H x 1],
    dZ = [dW1 dc W1] [x 1 dx],           dx' = [h dW2, h dA, h db, I + h A, h W2] [H x 1 dx dH].
"""

from __future__ import annotations

from ..cases import step_parameters

__all__ = ["Stacked"]


class Buffers:
    """Activations of one block of samples; ``keep`` of them, one a step or two in turns."""

    def __init__(self, ops, dim, width, block, keep):
        self.s = [ops.empty((2 * width + 2 * dim + 1, block)) for _ in range(keep)]
        self.d = [ops.empty((width, block)) for _ in range(keep)]
        self.end = ops.empty((2 * dim, block))
        for s in self.s:
            s[width + dim] = 1.0


class Stacked:
    """All kernels on blocks of ``block`` samples.

    Parameters
    ----------
    ops : Ops
        Array operations of NumPy or PyTorch that write in place.
    case : Case
    block : int
        Samples in a block.
    stored : bool
        Whether products keep the activations of all blocks; else they are recomputed by block.
    """

    def __init__(self, ops, case, block: int, stored: bool):
        self.ops, self.dim, self.width, self.steps = ops, case.dim, case.width, case.steps
        self.h = 1.0 / case.steps
        self.count, self.block = case.samples, min(block, case.samples)
        self.z = ops.array(case.z.T.copy())
        self.log_density = ops.array(case.log_density)
        self.theta = ops.array(case.theta)
        d, m = self.dim, self.width
        self.hidden, self.x, self.dx = slice(m), slice(m, m + d), slice(m + d + 1, m + 2 * d + 1)
        self.point, self.feature = slice(m, m + d + 1), slice(m + d + 1)
        self.moving, self.dh = slice(m, m + 2 * d + 1), slice(m + 2 * d + 1, None)
        self.stored = stored
        self._buffers: dict = {}
        self.back = [ops.empty((d + m, self.block)) for _ in range(2)]
        self.scratch = ops.empty((m, self.block))

    # -- matrices ---------------------------------------------------------------------------------

    def tables(self, theta):
        """Stacked matrices of every step."""
        cat, eye, found = self.ops.cat, self.ops.eye(self.dim), []
        for p in step_parameters(theta, self.dim, self.width):
            near, out = eye + self.h * p["A"], self.h * p["W2"]
            q = (p["W2"] * p["W1"].T).sum(0)
            table = {
                "in": cat([p["W1"], p["c"][:, None]]),
                "out": cat([out, near, self.h * p["b"][:, None]]),
                "out_T": self.ops.transposed(out),
                "back": cat([near.T, p["W1"].T]),
                "score": cat([eye - self.h * p["A"].T, -self.h * p["W1"].T]),
                "W2_T": self.ops.transposed(p["W2"]),
                "q": q,
                "trace": p["A"].diagonal().sum(),
            }
            found.append(p | table)
        return found

    def directions(self, tables, eta):
        """Stacked matrices of the tangent pass along ``eta``."""
        cat, found = self.ops.cat, []
        for t, e in zip(tables, step_parameters(eta, self.dim, self.width), strict=True):
            near = t["out"][:, self.x]
            steps = [
                self.h * e["W2"],
                self.h * e["A"],
                self.h * e["b"][:, None],
                near,
                t["out"][:, self.hidden],
            ]
            found.append((cat([e["W1"], e["c"][:, None], t["W1"]]), cat(steps)))
        return found

    # -- blocks -----------------------------------------------------------------------------------

    def blocks(self):
        """(first, last) of each block."""
        edges = range(0, self.count, self.block)
        return [(first, min(first + self.block, self.count)) for first in edges]

    def buffers(self, key, keep):
        if (key, keep) not in self._buffers:
            sizes = (self.dim, self.width, self.block, keep)
            self._buffers[key, keep] = Buffers(self.ops, *sizes)
        return self._buffers[key, keep]

    # -- passes -----------------------------------------------------------------------------------

    def forward(self, tables, buffers, first, last, slopes=False, each=None):
        """Fill the buffers from the samples; ``each(table, H, D)`` runs in every step."""
        n, keep = last - first, len(buffers.s)
        buffers.s[0][self.x, :n] = self.z[:, first:last]
        for step, t in enumerate(tables):
            s, d = buffers.s[step % keep][:, :n], buffers.d[step % keep][:, :n]
            self.ops.matmul(t["in"], s[self.point], out=s[self.hidden])
            self.ops.tanh(s[self.hidden], out=s[self.hidden])
            if slopes:
                self.ops.slope(s[self.hidden], d)
            if each:
                each(t, s[self.hidden], d)
            last_step = step + 1 == len(tables)
            after = buffers.end[: self.dim] if last_step else buffers.s[(step + 1) % keep][self.x]
            self.ops.matmul(t["out"], s[self.feature], out=after[:, :n])
        return buffers.end[: self.dim, :n]

    def tangent(self, matrices, buffers, n):
        """dx at the end; the buffers hold activations and slopes."""
        for step, (inner, outer) in enumerate(matrices):
            s, d = buffers.s[step][:, :n], buffers.d[step][:, :n]
            if step == 0:
                s[self.dx] = 0.0
            self.ops.matmul(inner, s[self.moving], out=s[self.dh])
            self.ops.multiply(s[self.dh], d, out=s[self.dh])
            last_step = step + 1 == len(matrices)
            after = buffers.end[self.dim :] if last_step else buffers.s[step + 1][self.dx]
            self.ops.matmul(outer, s, out=after[:, :n])
        return buffers.end[self.dim :, :n]

    def adjoint(self, tables, buffers, field, n, sums, weight=None):
        """Add the adjoint of ``field`` to ``sums``; with ``weight`` that of weight * sum l too."""
        dim = self.dim
        self.back[0][:dim, :n] = field
        for step in reversed(range(len(tables))):
            t, s, d = tables[step], buffers.s[step][:, :n], buffers.d[step][:, :n]
            r, other = self.back[0][:, :n], self.back[1][:, :n]
            self.ops.add_product(sums[step][0], r[:dim], s[self.feature].T)
            self.ops.matmul(t["out_T"], r[:dim], out=r[dim:])
            if weight is not None:
                product = self.scratch[:, :n]
                self.ops.multiply(
                    s[self.hidden], (2 * self.h * weight) * t["q"][:, None], out=product
                )
                r[dim:] += product
                sums[step][2].__iadd__(d.sum(1))
            self.ops.multiply(r[dim:], d, out=r[dim:])
            self.ops.add_product(sums[step][1], r[dim:], s[self.point].T)
            if step:
                self.ops.matmul(t["back"], r, out=other[:dim])
            self.back.reverse()

    def new_sums(self):
        """Sums over the samples of every step: [W2 A b]-shaped, [W1 c]-shaped, and of D."""
        d, m, zeros = self.dim, self.width, self.ops.zeros
        return [(zeros((d, m + d + 1)), zeros((m, d + 1)), zeros((m,))) for _ in range(self.steps)]

    def packed(self, sums, tables=None, weight=0.0):
        """The gradient (p,) from the sums; with ``tables`` the divergence's part is added."""
        parts = []
        for step, (outer, inner, slopes) in enumerate(sums):
            a, b = self.h * outer[:, self.x], self.h * outer[:, -1]
            w1, c, w2 = inner[:, : self.dim], inner[:, self.dim], self.h * outer[:, self.hidden]
            if tables is not None:
                by_q = -self.h * weight * slopes
                a = a - self.h * self.ops.eye(self.dim)
                w1 = w1 + by_q[:, None] * tables[step]["W2"].T
                w2 = w2 + by_q * tables[step]["W1"].T
            parts += [a.reshape(-1), b, w1.reshape(-1), c, w2.reshape(-1)]
        return self.ops.join(parts)

    # -- kernels ----------------------------------------------------------------------------------

    def push(self):
        tables, out = self.tables(self.theta), self.ops.empty(self.z.shape)
        for first, last in self.blocks():
            out[:, first:last] = self.forward(tables, self.buffers(0, 2), first, last)
        return (out,)

    def push_log_density(self, score: bool = False):
        """x and l, and the score if ``score``."""
        tables, x = self.tables(self.theta), self.ops.empty(self.z.shape)
        found, s_out = self.log_density + 0, self.ops.empty(self.z.shape) if score else None
        for first, last in self.blocks():
            n, now = last - first, found[first:last]
            self.back[0][: self.dim, :n] = self.z[:, first:last]
            self.back[0][: self.dim, :n] *= -1.0  # the score of N(0, I)

            def each(t, h, d, n=n, now=now):
                now -= self.h * (t["trace"] + t["q"] @ d)
                if score:
                    self._move_score(t, h, d, n)

            x[:, first:last] = self.forward(
                tables, self.buffers(0, 2), first, last, slopes=True, each=each
            )
            if score:
                s_out[:, first:last] = self.back[0][: self.dim, :n]
        return (x, found, s_out) if score else (x, found)

    def _move_score(self, t, h, d, n):
        r, other, product = (b[:, :n] for b in (*self.back, self.scratch))
        self.ops.matmul(t["W2_T"], r[: self.dim], out=r[self.dim :])
        self.ops.multiply(h, 2 * t["q"][:, None], out=product)
        r[self.dim :] -= product
        self.ops.multiply(r[self.dim :], d, out=r[self.dim :])
        self.ops.matmul(t["score"], r, out=other[: self.dim])
        self.back.reverse()

    def push_score(self):
        return self.push_log_density(score=True)

    def gradient(self):
        """The sample mean of V + l, and its gradient."""
        tables, sums, value = self.tables(self.theta), self.new_sums(), 0.0
        weight = 1.0 / self.count
        moved = float(self.log_density.sum())
        for first, last in self.blocks():
            n, buffers = last - first, self.buffers(0, self.steps)
            x = self.forward(tables, buffers, first, last, slopes=True)
            well = x * x - 1
            value += float((well * well).sum()) / 4
            self.adjoint(tables, buffers, weight * (well * x), n, sums, weight)
        for t, (_, _, slopes) in zip(tables, sums, strict=True):
            moved -= self.h * (self.count * float(t["trace"]) + float(t["q"] @ slopes))
        return (value + moved) * weight, self.packed(sums, tables, weight)

    def prepare(self):
        """Activations of all blocks, if they are stored."""
        self.now = self.tables(self.theta)
        if self.stored:
            for k, (first, last) in enumerate(self.blocks()):
                self.forward(self.now, self.buffers(k, self.steps), first, last, slopes=True)

    def product(self, eta):
        """Mean of J^T J eta, after `prepare`."""
        matrices, sums = self.directions(self.now, eta), self.new_sums()
        for k, (first, last) in enumerate(self.blocks()):
            buffers = self.buffers(k if self.stored else 0, self.steps)
            if not self.stored:
                self.forward(self.now, buffers, first, last, slopes=True)
            field = self.tangent(matrices, buffers, last - first)
            self.adjoint(self.now, buffers, field, last - first, sums)
        return self.packed(sums) / self.count
