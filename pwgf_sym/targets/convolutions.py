"""Integrals inside integrals at samples: two passes over pairs, with weights of partners between.

Forward, every sample takes the means over its partners of K(x_n, x_m) and its slope; backward, the
mean of a_m grad_2 K(x_m, x_n).  Neither pass stores a number a pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from ..kernels.carried import levels
from .packing import State

__all__ = ["ConvolutionMethods"]


class ConvolutionMethods:
    """Methods of a program about the convolutions in its energy."""

    def convolutions_at(self, points: np.ndarray) -> np.ndarray:
        """Values of the convolutions at points (N, d) that stand for the density, (N, K)."""
        samples = self.packed(points)
        state = State(samples, x=samples.z)
        if not self.form.convolutions:
            return np.zeros((samples.count, 0))
        self._carry_convolutions(state)
        values = samples.unpack(np.asarray(state.carried["convolutions"], float))
        return values[:, :: 1 + self.dim]

    def _carry_read(self, state: State, kernel: str, integrals) -> None:
        """Compute what a kernel of the energy reads of samples, where the state has it not yet."""
        if state.time != self.time:
            self._at_own_time(state)
        if kernel not in self._reading_more:
            return
        self._carry_sums(state, kernel, integrals)
        if "convolutions" in self.emission.formulas[kernel].reads:
            self._carry_convolutions(state)

    @cached_property
    def _reading_more(self) -> frozenset[str]:
        """Kernels of the energy that read more of samples than what the map carries."""
        of_map = {quantity.name for quantity in levels()[-1]}
        kernels = self.emission.formulas.items()
        return frozenset(name for name, kernel in kernels if not of_map.issuperset(kernel.reads))

    @cached_property
    def _moved_by_pairs(self) -> bool:
        """Whether the velocity is more than formulas of single samples."""
        pairs = {f"{of}_velocity" for of in ("convolution", "pair", "triple", "density_pair")}
        return not pairs.isdisjoint(self.emission.formulas) or self.polynomials is not None

    def _pair_velocity(self, out, state: State, integrals) -> None:
        """Add the velocity of double and triple integrals, and of convolutions at partners."""
        self._convolution_velocity(out, state, integrals)
        for kernel in ("pair_velocity", "triple_velocity"):
            if kernel in self.emission.formulas:
                self.kernels.fields(kernel, state, self.values(integrals), {"velocity": out})
        if self.polynomials is not None:
            self.polynomials.add_velocity(out, state, self.values(integrals).tolist())

    def _carry_convolutions(self, state: State) -> None:
        """Add the convolutions and their gradients to what the samples carry."""
        if "convolutions" not in state.carried:
            out = self._zeros_of("convolutions", "convolutions_out", state)
            self.kernels.fields("convolutions", state, self.values(None), {"convolutions": out})
            state.carried["convolutions"] = out

    def _convolution_velocity(self, out, state: State, integrals) -> None:
        """Add the velocity that samples have since partners see them."""
        if "convolution_velocity" not in self.emission.formulas:
            return
        name, values = "partner_weights", self.values(integrals)
        self._carry_read(state, "convolution_weights", integrals)
        weights = self._zeros_of("convolution_weights", f"{name}_out", state)
        self.kernels.fields("convolution_weights", state, values, {name: weights})
        state.carried[name] = weights
        self.kernels.fields("convolution_velocity", state, values, {"velocity": out})
        del state.carried[name]  # they hang on the integrals, too

    @contextmanager
    def _partners_know(self, kernel: str, state: State) -> Iterator[None]:
        """The log density of partners, where a kernel of pairs reads it."""
        name = "partner_weights"
        if self.emission.formulas[kernel].partner_weights:
            state.carried[name] = state.carried["log_density"]
        try:
            yield
        finally:
            state.carried.pop(name, None)

    def _density_pairs(self, part: str, state: State, integrals, out: dict) -> None:
        """Add what double integrals of the density at both copies do to samples."""
        kernel = f"density_pair_{part}"
        if kernel in self.emission.formulas:
            with self._partners_know(kernel, state):
                self.kernels.fields(kernel, state, self.values(integrals), out)

    def _zeros_of(self, kernel: str, field: str, state: State):
        """A packed array for a field of a kernel of the energy."""
        components = len(self.emission.formulas[kernel].fields[field])
        return self.kernels.zeros(state.samples.tiles * state.samples.lanes * components)
