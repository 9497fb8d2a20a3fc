"""A progress bar for long solves: iterations and their rate, f and the gradient, by tqdm."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from nbopt.solvers.lbfgs import NIT

SECONDS = 0.1  # between two looks at a run
DELAY = 0.5  # a shorter solve shows nothing


class Progress:
    """The bar of one run.

    Parameters
    ----------
    w : Workspace
        The engine's, of the run.
    total : int or None
        Number of iterations, where a run is likely to make them all.

    Raises
    ------
    ImportError
        If tqdm is not installed.
    """

    __slots__ = ("bar", "next", "w")

    def __init__(self, w: Any, total: int | None) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError:
            raise ImportError(
                'minimize: options={"progress": True} needs the package tqdm: pip install tqdm'
            ) from None
        self.bar = tqdm(total=total, desc="minimize", unit="it", delay=DELAY, mininterval=0.0, miniters=0)
        self.w, self.next = w, 0.0

    def look(self) -> None:
        """Bring the bar up to date, unless it was a moment ago."""
        now = perf_counter()
        if now >= self.next:
            self.next = now + SECONDS
            self.show()

    def show(self) -> None:
        """Bring the bar up to date."""
        w = self.w
        self.bar.set_postfix_str(f"f={w.f:.8g}, |g|={w.gradient_size():.2e}", refresh=False)
        self.bar.update(int(w.counts[NIT]) - self.bar.n)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self.show()
        self.bar.close()
