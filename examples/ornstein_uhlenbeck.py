"""Ornstein-Uhlenbeck in 30 dimensions: an affine map follows the flow to round-off.

E = int (x'Ax/2) rho + rho log rho.  The flow of a Gaussian stays Gaussian:
mean' = -A mean, cov' = -A cov - cov A + 2 I.
"""

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import pwgf_sym as pw

dim = 30
A = 0.5 ** np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))  # full, 1/3 < A < 3
rng = np.random.default_rng(7)
mean = rng.standard_normal(dim)
factor = rng.standard_normal((dim, dim))
cov = factor @ factor.T / dim + 0.5 * np.eye(dim)

x = pw.coordinates(dim)
rho = pw.Density(x)
V = sp.Add(*[A[i, j] * x[i] * x[j] / 2 for i in range(dim) for j in range(dim)])
E = pw.integral(V * rho + rho * sp.log(rho), x)
problem = pw.GradientFlow(E, rho, initial=pw.Gaussian(mean, cov))
flow = pw.Affine(dim)

if __name__ == "__main__":
    times = np.linspace(0, 1, 6)
    solution = pw.solve(problem, flow, t_span=(0, 1), samples=256, dt=0.01, save_at=times)
    errors = []
    for t in solution.t:
        # The map is affine: where the mean and its neighbours go says all of it.
        moved = solution.push(np.vstack([mean, mean + np.eye(dim)]), t)
        M = (moved[1:] - moved[0]).T
        exact_mean, exact_cov = pw.exact.ornstein_uhlenbeck(A, 1.0, mean, cov, t)
        mean_error = np.linalg.norm(moved[0] - exact_mean) / np.linalg.norm(exact_mean)
        cov_error = np.linalg.norm(M @ cov @ M.T - exact_cov) / np.linalg.norm(exact_cov)
        errors.append((mean_error, cov_error))
    print(f"relative error at t = 1: mean {errors[-1][0]:.1e}, covariance {errors[-1][1]:.1e}")

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    axes[0].imshow(exact_cov, cmap="RdBu_r", vmin=-1, vmax=1)
    axes[0].set(title="covariance at t = 1", xlabel="component", ylabel="component")
    axes[1].semilogy(solution.t[1:], np.array(errors)[1:], "o-", label=["mean", "covariance"])
    axes[1].set(title="relative error", xlabel="time t")
    axes[1].legend()
    figure.savefig("ornstein_uhlenbeck.png", dpi=150)
