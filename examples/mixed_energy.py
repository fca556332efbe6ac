"""All three kinds of term at once: a potential, an entropy and an interaction.

E = int (x'Ax/2) rho + rho log(rho)/beta + int int k |x - y|^2 rho(x) rho(y)/4.  From a Gaussian the
flow stays Gaussian: mean' = -A mean, cov' = -(A + k I) cov - cov (A + k I) + (2/beta) I.
The inverse temperature beta is a run-time parameter: the kernels are compiled once.
"""

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import pwgf_sym as pw

k = 0.8
A = np.array([[1.0, 0.4], [0.4, 2.0]])
start, cov = np.array([1.0, -0.5]), np.array([[1.0, 0.3], [0.3, 0.5]])

x = pw.coordinates(2)
y = pw.copy_of(x)
rho = pw.Density(x)
beta = sp.Symbol("beta", positive=True)
V = (A[0, 0] * x[0] ** 2 + 2 * A[0, 1] * x[0] * x[1] + A[1, 1] * x[1] ** 2) / 2
W = k * sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / 2
E = pw.integral(V * rho + rho * sp.log(rho) / beta, x) + pw.integral(W * rho * rho.at(y) / 2, x, y)
initial = pw.Gaussian(start, cov)
problem = pw.GradientFlow(E, rho, initial=initial, parameters={beta: 2.0})
flow = pw.NeuralFlow(dim=2, width=16, steps=4)

if __name__ == "__main__":
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for value, color in ((1.0, "#d94801"), (4.0, "#2171b5")):
        warm = pw.GradientFlow(E, rho, initial=initial, parameters={beta: value})
        solution = pw.solve(warm, flow, t_span=(0, 1))
        samples = solution.sample(32768, seed=1, sampling="sobol")
        _, exact_cov = pw.exact.ornstein_uhlenbeck(A + k * np.eye(2), 1 / value, start, cov, 1.0)
        exact_mean, _ = pw.exact.ornstein_uhlenbeck(A, 1 / value, start, cov, 1.0)
        own_mean, own_cov = samples.mean(axis=0), np.cov(samples.T)
        error = pw.exact.wasserstein_gaussian(own_mean, own_cov, exact_mean, exact_cov)
        print(f"beta = {value}: W2 of mean and covariance at t = 1 is {error:.1e}")

        axes[0].plot(*samples[:1500].T, ".", markersize=2, color=color, label=rf"$\beta$ = {value}")
        axes[1].plot(solution.t, solution.energy, color=color, label=rf"$\beta$ = {value}")
    axes[0].set(title="samples at t = 1", xlabel="$x_0$", ylabel="$x_1$", aspect="equal")
    axes[1].set(title="energy", xlabel="time t", ylabel="E")
    for axis in axes:
        axis.legend()
    figure.savefig("mixed_energy.png", dpi=150)
