"""The map's passes by hand, as plain functions of arrays: forward, tangent and adjoint.

They run on NumPy, JAX and PyTorch arrays, with samples as rows (N, d) or as columns (d, N).  With
Z = W1 x + c, H = tanh(Z), D = 1 - H^2 and q_k = sum_i W2_ik W1_ki one step is

    v = A x + b + W2 H,   div v = tr A + q . D,
    grad div v + (grad v)^T s = A^T s + W1^T (D (W2^T s - 2 q H)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LAYOUTS", "Columns", "JoinedPasses", "Passes", "Rows"]


class Columns:
    """Samples as columns: fields are (d, N)."""

    name = "columns"

    @staticmethod
    def apply(w, x):
        return w @ x

    @staticmethod
    def adjoint(w, x):
        return w.T @ x

    @staticmethod
    def outer(g, x):
        return g @ x.T

    @staticmethod
    def bias(b):
        return b[:, None]

    @staticmethod
    def dot(q, x):
        return q @ x

    @staticmethod
    def total(g):
        return g.sum(1)


class Rows:
    """Samples as rows: fields are (N, d)."""

    name = "rows"

    @staticmethod
    def apply(w, x):
        return x @ w.T

    @staticmethod
    def adjoint(w, x):
        return x @ w

    @staticmethod
    def outer(g, x):
        return g.T @ x

    @staticmethod
    def bias(b):
        return b

    @staticmethod
    def dot(q, x):
        return x @ q

    @staticmethod
    def total(g):
        return g.sum(0)


LAYOUTS = (Columns, Rows)


@dataclass(frozen=True)
class Passes:
    """Passes over the steps in one layout.

    Attributes
    ----------
    xp : module
        numpy, jax.numpy or torch.
    layout : type
        `Rows` or `Columns`.
    """

    xp: Any
    layout: Any

    def hidden(self, p, x):
        return self.xp.tanh(self.layout.apply(p["W1"], x) + self.layout.bias(p["c"]))

    def field(self, p, x, h):
        to = self.layout
        return to.apply(p["A"], x) + to.bias(p["b"]) + to.apply(p["W2"], h)

    def push(self, steps, x):
        """x after all steps."""
        for p in steps:
            x = x + self.field(p, x, self.hidden(p, x)) / len(steps)
        return x

    def stored(self, steps, x):
        """x after all steps, and (x, H) before each."""
        found = []
        for p in steps:
            h = self.hidden(p, x)
            found.append((x, h))
            x = x + self.field(p, x, h) / len(steps)
        return x, found

    def push_log_density(self, steps, x, log_density):
        """x and l after all steps."""
        for p in steps:
            h = self.hidden(p, x)
            log_density = log_density - self.divergence(p, 1 - h * h) / len(steps)
            x = x + self.field(p, x, h) / len(steps)
        return x, log_density

    def divergence(self, p, d):
        trace = p["A"].diagonal().sum()
        return trace + self.layout.dot((p["W2"] * p["W1"].T).sum(0), d)

    def push_score(self, steps, x, log_density, score):
        """x, l and s after all steps."""
        to = self.layout
        for p in steps:
            h = self.hidden(p, x)
            d = 1 - h * h
            q = to.bias((p["W2"] * p["W1"].T).sum(0))
            inner = d * (to.adjoint(p["W2"], score) - 2 * q * h)
            slope = to.adjoint(p["A"], score) + to.adjoint(p["W1"], inner)
            log_density = log_density - self.divergence(p, d) / len(steps)
            x = x + self.field(p, x, h) / len(steps)
            score = score - slope / len(steps)
        return x, log_density, score

    def tangent(self, steps, stored, etas):
        """Derivative of the map along the direction ``etas``, from stored (x, H)."""
        to, dx = self.layout, None
        for p, e, (x, h) in zip(steps, etas, stored, strict=True):
            dz = to.apply(e["W1"], x) + to.bias(e["c"])
            dz = dz if dx is None else dz + to.apply(p["W1"], dx)
            dv = to.apply(e["A"], x) + to.bias(e["b"]) + to.apply(e["W2"], h)
            dv = dv + to.apply(p["W2"], (1 - h * h) * dz)
            if dx is None:
                dx = dv / len(steps)
            else:
                dx = dx + (dv + to.apply(p["A"], dx)) / len(steps)
        return dx

    def adjoint(self, steps, stored, field, weights=None):
        """Adjoint of the map's derivative on ``field``; a list of gradients by step and name.

        With ``weights`` = (one sample's, their sum) also the gradient of the weighted sum of l is
        added.
        """
        to, share, found = self.layout, 1 / len(steps), []
        one, total = weights or (0, 0)
        for p, (x, h) in zip(reversed(steps), reversed(stored), strict=True):
            g, d = share * field, 1 - h * h
            back = to.adjoint(p["W2"], g)
            if weights:
                q = to.bias((p["W2"] * p["W1"].T).sum(0))
                back = back + (2 * share * one) * q * h
            back = d * back
            found.append(self._gradients(x, h, g, back))
            if weights:
                by_q = (-share * one) * to.total(d)
                self._add_divergence(found[-1], p, by_q, -share * total)
            field = field + to.adjoint(p["A"], g) + to.adjoint(p["W1"], back)
        return found[::-1]

    def _gradients(self, x, h, g, back):
        to = self.layout
        first = {"A": to.outer(g, x), "b": to.total(g), "W1": to.outer(back, x)}
        return first | {"c": to.total(back), "W2": to.outer(g, h)}

    def _add_divergence(self, gradient, p, by_q, by_trace):
        """Add the gradient through tr A and q, given those by q (m,) and by the trace."""
        identity = self.xp.eye(p["A"].shape[0], dtype=p["A"].dtype)
        gradient["A"] = gradient["A"] + by_trace * identity
        gradient["W1"] = gradient["W1"] + by_q[:, None] * p["W2"].T
        gradient["W2"] = gradient["W2"] + by_q * p["W1"].T


class JoinedPasses(Passes):
    """The linear passes with stacked matrices: fewer, larger products.  For columns, by JAX.

    Stored are [H x 1] and D of every step; with lambda the field at a step's end, the sums over
    the samples are lambda [H x 1]^T and (D W2^T lambda) [x 1]^T.
    """

    def stored(self, steps, x):
        """x after all steps, and ([H x 1], D) before each."""
        join, found, one = self.xp.concatenate, [], self.xp.ones((1, x.shape[1]), x.dtype)
        for p in steps:
            h = self.hidden(p, x)
            s = join([h, x, one])
            found.append((s, 1 - h * h))
            x = x + join([p["W2"], p["A"], p["b"][:, None]], axis=1) @ s / len(steps)
        return x, found

    def tangent(self, steps, stored, etas):
        """Derivative of the map along the direction ``etas``."""
        join, dx, h = self.xp.concatenate, None, 1 / len(steps)
        for p, e, (s, d) in zip(steps, etas, stored, strict=True):
            width = d.shape[0]
            inner, point = [e["W1"], e["c"][:, None]], s[width:]
            if dx is not None:
                inner, point = [*inner, p["W1"]], join([point, dx])
            moved = d * (join(inner, axis=1) @ point)
            dv = join([e["W2"], e["A"], e["b"][:, None]], axis=1) @ s
            parts = [moved] if dx is None else [moved, dx]
            outer = [p["W2"]] if dx is None else [p["W2"], p["A"]]
            dv = h * (dv + join(outer, axis=1) @ join(parts))
            dx = dv if dx is None else dx + dv
        return dx

    def adjoint(self, steps, stored, field, weights=None):
        """Adjoint of the map's derivative on ``field``; ``weights`` are not taken here."""
        join, found = self.xp.concatenate, []
        for p, (s, d) in zip(reversed(steps), reversed(stored), strict=True):
            width, g = d.shape[0], field / len(steps)
            back = d * (p["W2"].T @ g)
            outer, inner = g @ s.T, back @ s[width:].T
            gradient = {"A": outer[:, width:-1], "b": outer[:, -1], "W1": inner[:, :-1]}
            found.append(gradient | {"c": inner[:, -1], "W2": outer[:, :width]})
            field = field + join([p["A"], p["W1"]]).T @ join([g, back])
        return found[::-1]
