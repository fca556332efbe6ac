"""A flow by the scheme of the paper and by ours, with the same map, and a picture of both.

The paper (Jin, Liu, Wu, Ye, Zhou, arXiv 2404.19133): d theta/dt = -G(theta)^+ grad E by forward
Euler, G and grad E by Monte Carlo, MINRES.  The settings are those that other papers of the group
print: 10,000 samples and steps of 1e-3 (2306.00191, 2505.11762), a residual of 3e-4 (2306.00191);
50 iterations are those of its code.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

import pwgf_sym as pw

PAPER = {
    "integrator": "euler",
    "dt": 1e-3,
    "formulation": "energy",
    "sampling": "random",
    "resample": True,
}
PAPER |= {
    "samples": 10000,
    "linear_solver": "minres",
    "tolerance": 3e-4,
    "max_iterations": 50,
    "shift": 0.0,
}


def compare(problem, flow, t_span, exact, name):
    """Print error and time of both; ``exact(z)`` are the true positions of points z at the end."""
    z = problem.initial.sample(16384, seed=99)
    goal = exact(z)
    spread = np.sqrt(np.trace(np.cov(goal.T)))
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 4), layout="constrained", sharex=True, sharey=True
    )
    runs = {"the paper's scheme": PAPER, "pw.solve(problem, map, t_span)": {}}
    for axis, (title, options) in zip(axes, runs.items(), strict=True):
        pw.solve(problem, flow, (t_span[0], t_span[0] + 1e-6), **options)  # compiles
        begin = perf_counter()
        solution = pw.solve(problem, flow, t_span, save_at=t_span, energy_check=False, **options)
        seconds = perf_counter() - begin
        gap = solution.push(z) - goal
        error = np.sqrt(np.mean(np.sum(gap**2, axis=1))) / spread
        work = f"{solution.nsteps} steps, {seconds:.0f} s"
        print(f"{name}: {title}: error of the map {error:.1e} of the spread, {work}")
        axis.plot(*goal[:2000].T, ".", ms=3, color="#9ecae1", label="exact")
        axis.plot(*solution.push(z[:2000]).T, ".", ms=1, color="#08306b", label="computed")
        axis.set(title=f"{title}\nerror {error:.1e}, {work}", aspect="equal")
    axes[0].legend(markerscale=3)
    figure.savefig(f"paper_{name}.png", dpi=150)
