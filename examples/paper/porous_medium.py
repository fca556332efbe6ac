"""Porous medium equation d rho/dt = Laplace rho^2 from Barenblatt's profile at t = 1."""

from schemes import compare

import pwgf_sym as pw

x = pw.coordinates(2)
rho = pw.Density(x)
problem = pw.GradientFlow(pw.integral(rho**2, x), rho, initial=pw.Barenblatt(2, 2, t0=1))

if __name__ == "__main__":
    factor = pw.exact.barenblatt_scaling(2, 2, 1, 3)
    compare(problem, pw.NeuralFlow(2, 16, 4), (1, 3), lambda z: factor * z, "porous_medium")
