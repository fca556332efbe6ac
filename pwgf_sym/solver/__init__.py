"""The solver: samples, linear solves with the pullback metric, time stepping, solutions."""
