"""Velocity and energy at points, as arrays: for scripts and tests that know no packed samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arguments import checked_call, number, real_array
from ..declare.map import start_parameters
from ..errors import OptionError
from .packing import State

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .program import Program

__all__ = ["PointMethods"]


class PointMethods:
    """Methods of a program that take points of the initial law, and push them."""

    @checked_call
    def velocity_at(
        self, points: ArrayLike, theta: ArrayLike | None = None, time: float | None = None
    ) -> NDArray[np.float64]:
        """The velocity w = -grad dE/drho at T_theta(points).

        Parameters
        ----------
        points : (N, d) array-like
            Points of the initial law.  They stand for it: integrals that the velocity reads, and
            means over partners, are those over them.
        theta : (p,) array-like, optional
            Parameters of the map; by default those at which it is the identity.
        time : float, optional
            Where the problem depends on the time.

        Returns
        -------
        (N, d) array

        Raises
        ------
        EnergyError
            Where the first variation jumps, so that there is no velocity.
        OptionError
            If an argument has another shape, a point is not finite, or the time is missing.
        """
        program = self._at(time)
        state = self._pushed(points, theta, self.form.reads)
        return np.array(state.samples.unpack(program.velocity(state)), np.float64)

    @checked_call
    def energy_at(
        self, points: ArrayLike, theta: ArrayLike | None = None, time: float | None = None
    ) -> float:
        """The energy of T_theta(points), its integrals over the density as means over them.

        Parameters
        ----------
        points : (N, d) array-like
            Points of the initial law, which stand for it.
        theta : (p,) array-like, optional
            Parameters of the map; by default those at which it is the identity.
        time : float, optional
            Where the energy depends on the time.

        Raises
        ------
        OptionError
            If an argument has another shape, a point is not finite, or the time is missing.
        """
        program = self._at(time)
        state = self._pushed(points, theta, self.form.energy_reads)
        return program.energy(program.integrals(state))

    def _at(self, time: float | None) -> Program:
        """The program at a time that a caller gives, who has to where it matters."""
        symbol = self.problem.time
        if time is not None:
            return self.at(number("time", time))
        if symbol is not None and self.time is None:
            accepted = f"a time: the problem depends on {symbol}"
            raise OptionError("time", "None", accepted, "Pass time=0.0.")
        return self

    def _pushed(self, points: ArrayLike, theta: ArrayLike | None, carry: tuple[str, ...]) -> State:
        if theta is None:
            theta = start_parameters(self.map, self.problem.initial.whitened, seed=0)
        samples = self.samples(real_array("points", points))
        return self.push(real_array("theta", theta, finite=False), samples, carry)
