"""Paths of parameters with dense output, made of the rows of a solution."""

import numpy as np


class Hermite:
    """The cubic through (t_k, theta_k) with slopes rate_k."""

    def __init__(self, t, theta, rate):
        self.t = np.asarray(t, float)
        self.theta, self.slopes = np.asarray(theta, float), np.asarray(rate, float)

    def _place(self, t):
        k = int(np.clip(np.searchsorted(self.t, t, side="right") - 1, 0, len(self.t) - 2))
        h = self.t[k + 1] - self.t[k]
        return k, h, (t - self.t[k]) / h

    def __call__(self, t):
        k, h, s = self._place(t)
        a, b, u, v = *self.theta[k : k + 2], *(h * self.slopes[k : k + 2])
        return a + s * u + s**2 * (3 * (b - a) - 2 * u - v) + s**3 * (2 * (a - b) + u + v)

    def rate(self, t):
        k, h, s = self._place(t)
        a, b, u, v = *self.theta[k : k + 2], *(h * self.slopes[k : k + 2])
        return (u + 2 * s * (3 * (b - a) - 2 * u - v) + 3 * s**2 * (2 * (a - b) + u + v)) / h


class Polygon(Hermite):
    """Straight lines between the rows: what explicit Euler steps are."""

    def __init__(self, t, theta):
        super().__init__(t, theta, np.zeros_like(theta))

    def __call__(self, t):
        k, _, s = self._place(t)
        return (1 - s) * self.theta[k] + s * self.theta[k + 1]

    def rate(self, t):
        k, h, _ = self._place(t)
        return (self.theta[k + 1] - self.theta[k]) / h


def rate_at(program, theta, points):
    """The direction of the flow at parameters, by least squares with a small shift."""
    samples = program.samples(points)
    state = program.push(theta, samples, program.form.reads)
    w = program.velocity(state, program.integrals(state))
    jacobian = np.array(program.jacobian(theta, samples)) * np.sqrt(samples.weights)
    metric = jacobian @ jacobian.T
    metric[np.diag_indices_from(metric)] += 1e-9 * np.trace(metric) / len(metric)
    return np.linalg.solve(metric, jacobian @ (np.sqrt(samples.weights) * w))


def path_of(solution, count=2048):
    """A cubic path through all rows of a solution."""
    program = solution.program
    points = program.problem.initial.sample(count, 99)
    rates = [rate_at(program, theta, points) for theta in solution.theta]
    return Hermite(solution.t, solution.theta, rates)
