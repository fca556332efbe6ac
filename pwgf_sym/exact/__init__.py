"""Exact and reference answers that tests, examples and benchmarks compare a flow with.

Closed forms where there are some, and computed references whose errors are known: finite volumes
for Fokker-Planck equations on the line and in the plane, with the positions of particles that move
along their velocity fields, and the radial map of the aggregation equation.  Nothing here uses the
rest of the package.
"""

from .distances import quantiles, w2_1d
from .gaussians import (
    mckean_vlasov,
    ornstein_uhlenbeck,
    ornstein_uhlenbeck_map,
    wasserstein_gaussian,
)
from .line import fokker_planck_1d
from .plane import fokker_planck_2d
from .radial import aggregation_minimum, aggregation_radial, barenblatt_scaling
from .rearrangement import rearrangement_1d

__all__ = [
    "aggregation_minimum",
    "aggregation_radial",
    "barenblatt_scaling",
    "fokker_planck_1d",
    "fokker_planck_2d",
    "mckean_vlasov",
    "ornstein_uhlenbeck",
    "ornstein_uhlenbeck_map",
    "quantiles",
    "rearrangement_1d",
    "w2_1d",
    "wasserstein_gaussian",
]
