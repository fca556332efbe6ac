"""The maps in plain NumPy, from their definitions: the truth that kernels are compared with.

Nothing here comes from the package.  Everything is safe for complex steps: with h = 1e-30 the
imaginary part of f(x + i h) is h f'(x) to round-off, without any cancellation.
"""

import numpy as np

STEP = 1e-30


def complex_step(function, at, direction):
    """Derivative of a function along a direction, to round-off."""
    return np.imag(function(at + 1j * STEP * direction)) / STEP


class Reference:
    """A map T(z) of n points (n, d) and what it carries along.

    Subclasses say how one step acts; ``theta`` may be complex.
    """

    def __init__(self, dim, steps):
        self.dim, self.steps = dim, steps

    def push(self, theta, z):
        """x = T(z), (n, d)."""
        for step in range(self.steps):
            z = self.one_step(self.step_parameters(theta, step), z)
        return z

    def jacobian_z(self, theta, z):
        """dT/dz, (n, d, d) with the derivative last: the chain rule, step by step."""
        tangent = np.broadcast_to(np.eye(self.dim), (len(z), self.dim, self.dim))
        for step in range(self.steps):
            z, tangent = self.step_with_tangent(self.step_parameters(theta, step), z, tangent)
        return tangent

    def log_det(self, theta, z):
        """log|det dT/dz|, (n,)."""
        volume = np.linalg.det(self.jacobian_z(theta, z))
        return np.log(volume * np.sign(np.real(volume)))

    def log_density(self, theta, z, start):
        """log rho(T(z)) by the change of variables."""
        return start - self.log_det(theta, z)

    def score(self, theta, z, start):
        """grad log rho at T(z): J^-T (s - grad log|det J|)."""
        unit = np.eye(self.dim)
        slope = [complex_step(lambda p: self.log_det(theta, p), z, e) for e in unit]
        transposed = np.swapaxes(self.jacobian_z(theta, z), 1, 2)
        return np.linalg.solve(transposed, (start - np.stack(slope, -1))[..., None])[..., 0]

    def jacobian_theta(self, theta, z):
        """dT/dtheta, (p, n, d)."""
        unit = np.eye(len(theta))
        return np.stack([complex_step(lambda t: self.push(t, z), theta, e) for e in unit])

    def log_density_theta(self, theta, z, start):
        """d log rho(T(z))/dtheta, (p, n)."""
        unit = np.eye(len(theta))
        return np.stack(
            [complex_step(lambda t: self.log_density(t, z, start), theta, e) for e in unit]
        )


class InUnits(Reference):
    """A map on (z - origin)/spread, its samples brought back: origin + spread T(...)."""

    def __init__(self, inner, origin, spread):
        self.inner, self.origin, self.spread = inner, np.asarray(origin), spread

    def inward(self, z):
        return (z - self.origin) / self.spread

    def push(self, theta, z):
        return self.origin + self.spread * self.inner.push(theta, self.inward(z))

    def jacobian_z(self, theta, z):
        return self.inner.jacobian_z(theta, self.inward(z))

    def log_density(self, theta, z, start):
        return self.inner.log_density(theta, self.inward(z), start)

    def score(self, theta, z, start):
        return self.inner.score(theta, self.inward(z), self.spread * start) / self.spread


class AffineReference(Reference):
    """T(z) = A z + b."""

    def __init__(self, dim):
        super().__init__(dim, 1)

    def step_parameters(self, theta, step):
        return theta[: self.dim**2].reshape(self.dim, self.dim), theta[self.dim**2 :]

    def one_step(self, parameters, x):
        matrix, shift = parameters
        return x @ matrix.T + shift

    def step_with_tangent(self, parameters, x, tangent):
        return self.one_step(parameters, x), parameters[0] @ tangent


class FlowReference(Reference):
    """Steps of v(x) = A x + b + W2 f(W1 x + c) over 1/steps of flow time each.

    Parameters
    ----------
    sigma : tuple of three functions
        f, f' and f''.
    substep : {"euler", "rk4"}
    trace : bool
        Whether log density and score are integrated along with x, by the same scheme:
        dl/dtau = -div v,  ds/dtau = -grad div v - (grad v)^T s.
    """

    def __init__(self, dim, width, steps, sigma, substep="euler", trace=False):
        super().__init__(dim, steps)
        self.width, self.sigma, self.substep, self.trace = width, sigma, substep, trace

    @property
    def size(self):
        return self.steps * (self.dim**2 + self.dim + 2 * self.dim * self.width + self.width)

    def step_parameters(self, theta, step):
        d, m = self.dim, self.width
        shapes = [(d, d), (d,), (m, d), (m,), (d, m)]
        own = np.split(theta, self.steps)[step]
        ends = np.cumsum([int(np.prod(s)) for s in shapes])
        return [part.reshape(s) for part, s in zip(np.split(own, ends[:-1]), shapes, strict=True)]

    def field(self, parameters, x):
        matrix, shift, w1, c, w2 = parameters
        return x @ matrix.T + shift + self.sigma[0](x @ w1.T + c) @ w2.T

    def one_step(self, parameters, x):
        return self.integrate(lambda y: [self.field(parameters, y[0])], [x])[0]

    def step_with_tangent(self, parameters, x, tangent):
        """The scheme applied to d(dx/dz)/dtau = Dv(x) dx/dz gives the scheme's own derivative."""
        matrix, _, w1, c, w2 = parameters

        def field(states):
            y, own = states
            slopes = self.sigma[1](y @ w1.T + c)
            linear = matrix + np.einsum("ik,nk,kj->nij", w2, slopes, w1)
            return [self.field(parameters, y), linear @ own]

        return self.integrate(field, [x, tangent])

    def integrate(self, field, states):
        h = 1 / self.steps

        def moved(by, slopes):
            return [y + by * k for y, k in zip(states, slopes, strict=True)]

        k1 = field(states)
        if self.substep == "euler":
            return moved(h, k1)
        k2 = field(moved(h / 2, k1))
        k3 = field(moved(h / 2, k2))
        k4 = field(moved(h, k3))
        slopes = [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
        return moved(h / 6, slopes)

    def joint_field(self, parameters, states):
        """Field of (x, l, s): closed forms of the divergence, its gradient and (grad v)^T s."""
        x, _, score = states
        matrix, _, w1, c, w2 = parameters
        _, first, second = self.sigma
        a = x @ w1.T + c
        diagonal = np.einsum("kj,jk->k", w1, w2)
        divergence = np.trace(matrix) + first(a) @ diagonal
        gradient = (second(a) * diagonal) @ w1
        transposed = score @ matrix + (first(a) * (score @ w2)) @ w1
        return [self.field(parameters, x), -divergence, -gradient - transposed]

    def carried(self, theta, z, log_density, score):
        """(x, l, s) integrated together."""
        states = [z, log_density, score]
        for step in range(self.steps):
            own = self.step_parameters(theta, step)
            states = self.integrate(lambda y, own=own: self.joint_field(own, y), states)
        return states

    def log_density(self, theta, z, start):
        if self.trace:
            return self.carried(theta, z, start, np.zeros_like(z))[1]
        return super().log_density(theta, z, start)

    def score(self, theta, z, start):
        if self.trace:
            return self.carried(theta, z, np.zeros(len(z)), start)[2]
        return super().score(theta, z, start)


def tanh_derivatives():
    """tanh and its first two derivatives."""

    def first(a):
        return 1 / np.cosh(a) ** 2

    return np.tanh, first, lambda a: -2 * np.tanh(a) * first(a)


def from_formula(formula):
    """A SymPy formula in one symbol and its first two derivatives as NumPy functions."""
    import sympy as sp

    (symbol,) = formula.free_symbols
    derivatives = [formula.diff(symbol, k) for k in range(3)]
    modules = [{"erf": erf}, "scipy", "numpy"]
    return tuple(_full(sp.lambdify(symbol, d, modules)) for d in derivatives)


def _full(function):
    return lambda a: function(a) + 0 * a


def erf(a):
    """erf, at complex steps by its derivative: SciPy's complex erf loses tiny imaginary parts."""
    import scipy.special

    if np.iscomplexobj(a):
        slope = 2 / np.sqrt(np.pi) * np.exp(-(a.real**2))
        return scipy.special.erf(a.real) + 1j * a.imag * slope
    return scipy.special.erf(a)
