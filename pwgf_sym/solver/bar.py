"""A bar that shows how far a run is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Bar"]

# What tqdm shows of a span of time: no counts of fractions.
_OF_TIME = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"


class Bar:
    """A tqdm bar over the steps or the time, or nothing; tqdm is imported only where it is shown.

    Parameters
    ----------
    shown : bool
        Whether there is one.
    total : float
        Steps, or the span of time where their number is not known.
    unit : str
        "step" or "t".

    A stream that takes no text (closed, a full disk, a pipe without a reader) ends the bar and not
    the run.
    """

    def __init__(self, shown: bool, total: float, unit: str) -> None:
        self._bar: tqdm | None = None
        if shown and sys.stderr is not None:  # None: closed from the start, or no console
            from tqdm.auto import tqdm

            try:
                shape = {} if unit == "step" else {"bar_format": _OF_TIME}
                self._bar = tqdm(total=total, unit=unit, desc="flow", **shape)
            except (OSError, ValueError):
                return

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._show(lambda bar: bar.close())

    def update(self, t: float, energy: float, residual: float, by: float = 1) -> None:
        """Advance by a step, or so much time."""

        def advance(bar: tqdm) -> None:
            fields = {"t": f"{t:.4g}", "energy": f"{energy:.6g}", "residual": f"{residual:.1e}"}
            bar.set_postfix(fields)
            bar.update(by)

        self._show(advance)

    def _show(self, act: Callable[[tqdm], None]) -> None:
        if self._bar is None:
            return
        try:
            act(self._bar)
        except (OSError, ValueError):
            self._bar.disable = True  # it would write once more when it is deleted
            self._bar = None
