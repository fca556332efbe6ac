"""Shapes of blocks and register tiles, one description a target."""
