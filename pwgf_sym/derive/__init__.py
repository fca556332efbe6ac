"""Derive: first variations, velocities, equations and their sample forms.  Imports SymPy only."""

from .samples import SampleForm, SampleIntegral, sample_form
from .variation import first_variation, pde, velocity

__all__ = ["SampleForm", "SampleIntegral", "first_variation", "pde", "sample_form", "velocity"]
