"""Velocity and energy at points, as arrays: for scripts and tests that know no packed samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, real_array
from .packing import State

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PointMethods"]


class PointMethods:
    """Methods of a program that take points of the initial law, and push them."""

    @checked_call
    def velocity_at(self, points: ArrayLike, theta: ArrayLike | None = None) -> NDArray[np.float64]:
        """The velocity w = -grad dE/drho at T_theta(points).

        Parameters
        ----------
        points : (N, d) array-like
            Points of the initial law.  They stand for it: integrals that the velocity reads, and
            means over partners, are those over them.
        theta : (p,) array-like, optional
            Parameters of the map; by default those at which it is the identity.

        Returns
        -------
        (N, d) array

        Raises
        ------
        EnergyError
            Where the first variation jumps, so that there is no velocity.
        OptionError
            If an argument has another shape, or a point is not finite.
        """
        state = self._pushed(points, theta, self.form.reads)
        return np.array(state.samples.unpack(self.velocity(state)), np.float64)

    @checked_call
    def energy_at(self, points: ArrayLike, theta: ArrayLike | None = None) -> float:
        """The energy of T_theta(points), its integrals over the density as means over them.

        Parameters
        ----------
        points : (N, d) array-like
            Points of the initial law, which stand for it.
        theta : (p,) array-like, optional
            Parameters of the map; by default those at which it is the identity.

        Raises
        ------
        OptionError
            If an argument has another shape, or a point is not finite.
        """
        state = self._pushed(points, theta, self.form.energy_reads)
        return self.energy(self.integrals(state))

    def _pushed(self, points: ArrayLike, theta: ArrayLike | None, carry: tuple[str, ...]) -> State:
        if theta is None:
            theta = self.map.initial_parameters(self.problem.initial.whitened)
        samples = self.samples(real_array("points", points))
        return self.push(real_array("theta", theta, finite=False), samples, carry)
