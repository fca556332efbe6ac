"""Methods of a program that pack points for its kernels, and unpack what these found."""

from __future__ import annotations

import numpy as np

from ..arguments import brief
from ..errors import OptionError
from .packing import Samples, Units, check_packed, pack_samples

__all__ = ["SampleMethods"]


class SampleMethods:
    """Methods of :class:`~pwgf_sym.targets.program.Program`."""

    def samples(self, points: np.ndarray, shares: np.ndarray | None = None) -> Samples:
        """Pack points (N, d) of the initial law, with its log density and score.

        ``shares`` (N,) are their parts of a mean, of sum 1, where they are not equal.  Sums over
        pairs and the energy form's slope want equal ones.
        """
        return self._packed(points, self.problem.initial, self.units, shares)

    def again(self, samples: Samples, count: int | None = None) -> Samples:
        """The first samples of any program for this map, packed for this one: points only."""
        check_packed(samples, self.dim)
        shares = samples.unpack_scalar(samples.weight)[:count].astype(np.float64)
        return self.packed(samples.unpack(samples.z)[:count], shares / shares.sum())

    def packed(self, points: np.ndarray, shares: np.ndarray | None = None) -> Samples:
        """Pack points (N, d) in the map's coordinates, without the law's density at them."""
        return self._packed(points, None, Units.none(self.dim), shares)

    def _packed(self, points, law, units: Units, shares=None) -> Samples:
        lanes = self.emission.tiling.samples
        return self.kernels.resident(pack_samples(points, law, units, self.dtype, lanes, shares))

    def unpack(self, values: np.ndarray, samples: Samples) -> np.ndarray:
        """A packed vector field (M,) as an array (N, d)."""
        check_packed(samples, self.dim)
        if getattr(values, "shape", None) != (samples.width,):
            accepted = f"a packed field of shape ({samples.width},), such as push(...).x"
            raise OptionError("values", brief(values), accepted)
        return samples.unpack(values)

    def unpack_scalar(self, values: np.ndarray, samples: Samples) -> np.ndarray:
        """A packed scalar as an array (N,)."""
        check_packed(samples, self.dim)
        numbers = samples.tiles * samples.lanes
        if getattr(values, "shape", None) != (numbers,):
            accepted = f"packed numbers of shape ({numbers},), such as push(...).log_density"
            raise OptionError("values", brief(values), accepted)
        return samples.unpack_scalar(values)

    def _check_packed(self, samples: Samples) -> None:
        """Kernels do not check bounds: samples have to be in the layout that they read."""
        check_packed(samples, self.dim, self.emission.tiling.samples)
