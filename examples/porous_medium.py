"""Porous medium equation from Barenblatt data: the exact flow is a scaling of the initial law.

E = int rho^m/(m - 1), d rho/dt = Laplace rho^m.  Between t0 and t the exact map is
x -> (t/t0)^beta x with beta = 1/(d (m - 1) + 2).
"""

import matplotlib.pyplot as plt
import numpy as np

import pwgf_sym as pw


def case(m, dim):
    """The problem and the map for d rho/dt = Laplace rho^m in ``dim`` dimensions."""
    x = pw.coordinates(dim)
    rho = pw.Density(x)
    E = pw.integral(rho**m / (m - 1), x)
    problem = pw.GradientFlow(E, rho, initial=pw.Barenblatt(dim, m, t0=1))
    return problem, pw.NeuralFlow(dim=dim, width=8, steps=2)


gallery = {"porous_medium_m2_d2": case(2, 2), "porous_medium_m3_d5": case(3, 5)}

if __name__ == "__main__":
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for axis, (m, dim) in zip(axes, [(2, 2), (3, 5)], strict=True):
        problem, flow = gallery[f"porous_medium_m{m}_d{dim}"]
        # The law stands at t0 = 1: run from 1 to 3.
        solution = pw.solve(problem, flow, t_span=(1, 3), save_at=[1, 2, 3])
        z = problem.initial.sample(32768, seed=1)
        exact = pw.exact.barenblatt_scaling(dim, m, 1, 3) * np.linalg.norm(z, axis=1)
        radius = np.linalg.norm(solution.push(z, t=3), axis=1)
        error = np.mean(np.abs(radius - exact) / exact)
        print(f"m = {m}, d = {dim}: mean relative error of |x| at t = 3 is {error:.1e}")

        for t, color in zip(solution.t, ["#9ecae1", "#4292c6", "#08306b"], strict=True):
            x = solution.push(z, t=t)
            order = np.argsort(np.linalg.norm(x, axis=1))[::32]
            axis.plot(
                np.linalg.norm(x[order], axis=1),
                np.exp(solution.log_density(x[order], t=t)),
                color=color,
                label=f"t = {t:g}",
            )
        axis.set(title=f"m = {m}, d = {dim}", xlabel="|x|", ylabel=r"density $\rho$")
        axis.legend()
    figure.savefig("porous_medium.png", dpi=150)
