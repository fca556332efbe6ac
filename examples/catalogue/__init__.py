"""Energies of the literature: formulas, what is derived of them, and exact answers.

``python examples/catalogue`` writes docs/catalogue.md and its picture.  A new entry is one function
with ``@entry(...)`` above it, in the file of its family.
"""
