"""Which number of a run is not finite: from the parameters, over the energy, to the direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FlowError
from .vectors import is_finite

if TYPE_CHECKING:
    from .protocols import Program, State, Vector

    Target = dict[str, Vector]
    Where = dict[str, Any]

__all__ = ["SMALLER", "diagnosis"]

SMALLER = "Use a smaller dt, a larger shift, or fewer parameters or more samples."


def diagnosis(
    program: Program,
    theta: Vector,
    state: State,
    integrals: np.ndarray,
    target: Target,
    where: Where,
) -> FlowError:
    """The error that names the first number that is not finite.

    Parameters
    ----------
    program : Program
        The kernels.
    theta, state, integrals
        Parameters, state of the samples, values of the integrals.
    target : dict
        "field": w, or "right": -grad E, where it is known.
    where : dict
        Step and time, as FlowError takes them.
    """
    theta = np.asarray(theta)
    if not np.all(np.isfinite(theta)):
        return FlowError("parameters not finite", "finite numbers", SMALLER, **where)
    return (
        _of_samples(state, target, where)
        or _of_integrals(program, integrals, where)
        or _of_direction(target, where)
    )


def _of_samples(state: State, target: Target, where: Where) -> FlowError | None:
    """The first sample with a position, log density, score or velocity that is not finite."""
    samples, logs = state.samples, state.log_density
    vectors = {
        "position x": state.x,
        "score": state.score,
        "target velocity w": target.get("field"),
    }
    found = {name: samples.unpack(v) for name, v in vectors.items() if v is not None}
    if logs is not None:
        found["log density"] = samples.unpack_scalar(logs)[:, None]
    for name in ("position x", "log density", "score", "target velocity w"):
        finite = np.isfinite(found.get(name, np.zeros((1, 1)))).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            given = f"{name} = {found[name][bad]}"
            return FlowError(given, "finite numbers", SMALLER, sample=bad, **where)
    return None


def _of_integrals(program: Program, integrals: np.ndarray, where: Where) -> FlowError | None:
    """The first integral that is not finite, or an energy without a value."""
    for integral, value in zip(program.form.integrals, integrals):
        if not np.isfinite(value):
            fix = "Check that the term is finite wherever samples can go. " + SMALLER
            given = f"value {value}"
            return FlowError(given, "a finite energy", fix, term=integral.label, **where)
    if np.isfinite(program.energy(integrals)):
        return None
    labels = (integral.label for integral in program.form.integrals)
    found = ", ".join(f"{value:.6g} for {k}" for k, value in zip(labels, integrals))
    fix = "Check roots, logarithms and powers of integrals: they need positive values."
    given = f"integrals {found}, of which the energy has no finite real value"
    return FlowError(given, "an energy with a value", fix, **where)


def _of_direction(target: Target, where: Where) -> FlowError:
    what = "gradient of the energy" if "right" in target else "direction eta"
    fine = "right" not in target or is_finite(target["right"])
    what = "direction eta of the linear solve" if fine else what
    return FlowError(f"{what} not finite", "finite numbers", SMALLER, **where)
