"""A solution in a few lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .solution import Solution

__all__ = ["summary"]


def summary(solution: Solution) -> str:
    """What a run did, line by line: how it ended, its errors and its work."""
    first, last = solution.t[0], solution.t[-1]
    missed = int(np.sum(~solution.converged))
    solves = "all solves converged" if missed == 0 else f"tolerance missed in {missed} rows"
    misfit = solution.misfit
    defect = f"{solution.defect[0]:.3g} to {solution.defect[-1]:.3g}; squared, {misfit[0]:.2g} to "
    defect += f"{misfit[-1]:.2g} of the largest dissipation"
    if np.all(np.isnan(solution.defect)):
        defect = "none: no velocity to compare with"
    lines = {
        "status": solution.status + (f": {solution.message}" if solution.message else ""),
        "success": f"{solution.success}",
        "map": f"{solution.map}, {solution.theta.shape[1]} parameters",
        "times": f"{solution.t.size} stored, {first:.6g} to {last:.6g}",
        "energy": f"{solution.energy[0]:.6g} to {solution.energy[-1]:.6g}",
        "defect": defect,
        "residual": f"at most {np.max(solution.residual):.1e}, {solves}",
    }
    if solution.unknown_constant:
        lines["energy"] += ", up to a constant: \N{INTEGRAL} f(x, 0) dx "
        lines["energy"] += f"was not found for f of {solution.unknown_constant}; "
        lines["energy"] += "differences over time are right"
    if solution.error_estimate is not None:
        lines["error"] = f"about {solution.error_estimate:.2g} of the spread at the end, "
        lines["error"] += f"tol = {solution.options['tol']:g}"
    if solution.restarts:
        times = ", ".join(f"{restart.t:.4g}" for restart in solution.restarts[:8])
        more = ", ..." if len(solution.restarts) > 8 else ""
        lines["restarts"] = f"{len(solution.restarts)}, at t = {times}{more}"
    if solution.nfev is not None:
        rejected = f" and {solution.nrejected} rejected" if solution.nrejected else ""
        lines["work"] = f"{solution.nsteps} steps{rejected}, {solution.nfev} right-hand sides, "
        lines["work"] += f"{solution.nit} iterations of linear solves, {solution.wall_time:.3g} s"
    return "Solution\n" + "\n".join(f"  {name:<9} {text}" for name, text in lines.items())
