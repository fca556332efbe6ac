"""Aggregation in the plane, W = |x - y|^4/4 - |x - y|^2/2, from N(0, I)."""

from schemes import compare

import pwgf_sym as pw

x = pw.coordinates(2)
y = pw.copy_of(x)
rho = pw.Density(x)
r2 = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
E = pw.integral((r2**2 / 4 - r2 / 2) * rho * rho.at(y) / 2, x, y)
problem = pw.GradientFlow(E, rho, initial=pw.Gaussian([0, 0], 1.0))

if __name__ == "__main__":

    def exact(z):
        return pw.exact.aggregation_radial(z, 2)[0]

    compare(problem, pw.NeuralFlow(2, 16, 4), (0, 2), exact, "aggregation")
