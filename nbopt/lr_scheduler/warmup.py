"""Rates that start low and come up: ConstantLR, LinearLR."""

from __future__ import annotations

from typing import Any

from nbopt.lr_scheduler.checks import number, whole
from nbopt.lr_scheduler.pointwise import lesser, where
from nbopt.lr_scheduler.scheduler import LRScheduler
from nbopt.optim.ranges import FRACTION, Range

_START = Range(0.0, 1.0, "(]")


class ConstantLR(LRScheduler):
    """The rate times ``factor`` for ``total_iters`` steps, then the full rate.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    factor : float in [0, 1]
        The factor of the first steps.
    total_iters : int >= 1
        How many they are.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    Unlike torch, ``factor=0`` works (after it the rate is the base rate: a division would be by
    zero) and ``total_iters=0`` is a ValueError (there the factor would stay forever).

    Examples
    --------
    >>> from nbopt.lr_scheduler import ConstantLR
    >>> ConstantLR.schedule(factor=0.5, total_iters=2).table(4, lr=0.8)
    array([0.4, 0.4, 0.8, 0.8])
    """

    def __init__(
        self, optimizer: Any, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = number(self._owner, "factor", factor, FRACTION)
        self.total_iters = whole(self._owner, "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        return base_lr * where(step < self.total_iters, self.factor, 1.0)

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        if step == 0:
            return lr * self.factor
        if step != self.total_iters:
            return lr
        return lr / self.factor if self.factor > 0 else base_lr


class LinearLR(LRScheduler):
    """The rate times a factor that goes from ``start_factor`` to ``end_factor`` in a line.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    start_factor : float in (0, 1]
        The factor of step 0.
    end_factor : float in [0, 1]
        The factor from step ``total_iters`` on.
    total_iters : int >= 1
        Number of steps of the line.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    Unlike torch, ``total_iters=0`` is a ValueError: there the start factor would stay forever.

    Examples
    --------
    >>> from nbopt.lr_scheduler import LinearLR
    >>> LinearLR.schedule(start_factor=0.5, total_iters=2).table(4, lr=0.8)
    array([0.4, 0.6, 0.8, 0.8])
    """

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number(self._owner, "start_factor", start_factor, _START)
        self.end_factor = number(self._owner, "end_factor", end_factor, FRACTION)
        self.total_iters = whole(self._owner, "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        done = lesser(step, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * done)

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        if step == 0:
            return lr * self.start_factor
        if step > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        return lr * (1.0 + rise / (self.total_iters * self.start_factor + (step - 1) * rise))
