"""Figures of solutions."""
