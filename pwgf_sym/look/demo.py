"""The demo: a double well from the formula to a checked density, in under a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sympy as sp

from .. import exact
from ..declare.energies import integral
from ..declare.laws import Gaussian
from ..declare.maps import NeuralFlow
from ..declare.problem import GradientFlow
from ..declare.symbols import Density, coordinates
from ..derive.variation import first_variation, pde
from ..solver.flow import solve
from ..solver.verdict import to_its_end
from ..targets.program import compile_program
from .figures import check_path, save

__all__ = ["run_demo"]

_VARIANCE = 0.49
_TIMES = (0.0, 0.1, 0.3, 1.0)


def run_demo(picture: str | Path, say: Callable[[str], None] = print, progress: bool = True):
    """Solve the Fokker-Planck equation in V = (x0^2 - 1)^2 + x1^2/2 and compare with the truth.

    Parameters
    ----------
    picture : path
        Where the picture is saved (PNG).
    say : callable
        Receives each line of text.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    float
        W2 distance between the x0-marginal at t = 1 and a fine finite-volume solution.
    """
    start = time.perf_counter()
    check_path("picture", picture)
    x = coordinates(2)
    rho = Density(x)
    potential = (x[0] ** 2 - 1) ** 2 + x[1] ** 2 / 2
    energy = integral(potential * rho + rho * sp.log(rho), x)
    problem = GradientFlow(energy, rho, initial=Gaussian(mean=[0, 0], cov=_VARIANCE))
    flow = NeuralFlow(dim=2, width=12, steps=4)
    program = compile_program(problem, flow)
    equation = pde(energy, rho)
    for label, formula in (
        ("energy", energy),
        ("first variation", first_variation(energy, rho)),
        ("equation", equation),
    ):
        say(f"{label}:\n{sp.pretty(formula, wrap_line=False)}\n")
    say(f"generated code: {program.path}\n")
    solution = to_its_end(solve(problem, flow, (0, 1), save_at=_TIMES, progress=progress))
    grid, density, cdf = exact.fokker_planck_1d(
        lambda q: (q**2 - 1) ** 2, 1.0, _start_density, _TIMES[1:], -5, 5
    )
    fresh = {t: solution.sample(32768, t=t, seed=1, sampling="sobol")[:, 0] for t in _TIMES[1:]}
    error = exact.w2_1d(fresh[1.0], grid, cdf[-1])
    say(
        f"W2 of the x0-marginal at t = 1 against finite volumes: {error:.1e} (32,768 fresh samples)"
    )
    say(f"estimated error of the map: {solution.error_estimate:.1e} of the spread")
    _draw(picture, solution, fresh, grid, density)
    found = solution.program.cache_statistics()
    say(f"picture: {picture}")
    say(
        f"compiled {found['compiled']} kernels, {found['loaded']} came from the cache; "
        f"{time.perf_counter() - start:.0f} s"
    )
    return error


def _start_density(q: np.ndarray) -> np.ndarray:
    return np.exp(-(q**2) / (2 * _VARIANCE)) / np.sqrt(2 * np.pi * _VARIANCE)


def _draw(picture, solution, fresh, grid, density) -> None:
    """Marginals over time, and the joint density at the end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained", dpi=150)
    axes = figure.subplots(1, 4)
    for axis, (t, samples), truth in zip(axes, fresh.items(), density, strict=False):
        axis.hist(samples, bins=100, density=True, color="#9ecae1", label="samples of the map")
        axis.plot(grid, truth, color="#08306b", label="finite volumes")
        axis.set(title=f"t = {t:g}", xlabel="$x_0$", xlim=(-2.5, 2.5), ylim=(0, 0.62))
    axes[0].set_ylabel("density of $x_0$")
    axes[0].legend(loc="upper left", fontsize=8, frameon=False)
    side = np.linspace(-2.5, 2.5, 160)
    mesh = np.stack(np.meshgrid(side, side), axis=-1)
    joint = np.exp(solution.log_density(mesh.reshape(-1, 2))).reshape(mesh.shape[:2])
    image = axes[3].pcolormesh(side, side, joint, cmap="Blues", rasterized=True)
    axes[3].set(title=r"$\rho(x_0, x_1)$ at t = 1", xlabel="$x_0$", ylabel="$x_1$", aspect="equal")
    figure.colorbar(image, ax=axes[3])
    save(figure, picture)
