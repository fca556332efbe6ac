"""Aggregation in the plane: W = |x - y|^4/4 - |x - y|^2/2 gathers the mass on a circle.

E = int int W(x - y) rho(x) rho(y)/2 from N(0, I).  The exact map is radial, and the energy is
bounded below by -d/(8 (d + 1)) = -1/12, reached on the circle of radius 1/sqrt(3).
"""

import matplotlib.pyplot as plt
import numpy as np

import pwgf_sym as pw

x = pw.coordinates(2)
y = pw.copy_of(x)
rho = pw.Density(x)
r2 = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
E = pw.integral((r2**2 / 4 - r2 / 2) * rho * rho.at(y) / 2, x, y)
problem = pw.GradientFlow(E, rho, initial=pw.Gaussian(mean=[0, 0], cov=1))
flow = pw.NeuralFlow(dim=2, width=16, steps=4)

if __name__ == "__main__":
    # Fast at first, slow later: steps grow.  A disc is pressed onto a circle, which no map does
    # without a fold: at tol=1e-2 that is within the tolerance.
    solution = pw.solve(problem, flow, t_span=(0, 20), save_at=[0, 1, 2, 20], tol=1e-2)
    z = problem.initial.sample(8192, seed=1)
    for t in (1, 2):
        exact, moment = pw.exact.aggregation_radial(z, t)
        moved = solution.push(z, t=t)
        error = np.mean(np.linalg.norm(moved - exact, axis=1)) / np.sqrt(moment)
        own = np.mean(np.sum(solution.sample(32768, t=t, seed=1, sampling="sobol") ** 2, axis=1))
        print(f"t = {t}: E|x|^2 = {own:.5f}, exact {moment:.5f}; mean error of the map {error:.1e}")
    minimum = pw.exact.aggregation_minimum(2)
    print(f"t = 20: energy {solution.energy[-1]:.5f}, minimum {minimum:.5f}")

    figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
    angle = np.linspace(0, 2 * np.pi, 200)
    for axis, t in zip(axes, solution.t):
        points = solution.push(z[:2000], t=t)
        axis.plot(*points.T, ".", markersize=2, alpha=0.4, color="#2171b5")
        axis.plot(np.cos(angle) / np.sqrt(3), np.sin(angle) / np.sqrt(3), color="#d94801", lw=1)
        limit = 3 if t == 0 else 1
        axis.set(title=f"t = {t:g}", xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    figure.savefig("aggregation.png", dpi=150)
