"""A small problem, and how it is run, for tests of what is refused."""

import pwgf_sym as pw

X = pw.coordinates(2)
Y = pw.copy_of(X)
RHO = pw.Density(X)
LAW = pw.Gaussian([0.5, -0.25], [1.5, 0.75])
ENERGY = pw.integral((X[0] ** 2 + 3 * X[1] ** 2) * RHO, X)
PROBLEM = pw.GradientFlow(ENERGY, RHO, LAW)
FLOW = pw.Affine(2)


def solve(problem=PROBLEM, flow=FLOW, t_span=(0.0, 0.3), **options):
    return pw.solve(problem, flow, t_span, **{"samples": 32, "dt": 0.1, **options})
