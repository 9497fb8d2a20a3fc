"""Rates that fall: StepLR, MultiStepLR, ExponentialLR, PolynomialLR."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from nbopt.lr_scheduler.checks import number, whole, whole_list
from nbopt.lr_scheduler.pointwise import lesser
from nbopt.lr_scheduler.scheduler import LRScheduler
from nbopt.optim.ranges import NON_NEGATIVE


class StepLR(LRScheduler):
    """The rate times ``gamma`` every ``step_size`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    step_size : int >= 1
        Number of steps between two cuts.
    gamma : float >= 0
        The factor of a cut.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    Closed form: ``base_lr * gamma ** (step // step_size)``. Unlike torch, ``step_size=0`` is a
    ValueError with a reason.

    Examples
    --------
    >>> from nbopt.lr_scheduler import StepLR
    >>> StepLR.schedule(step_size=2, gamma=0.5).table(6, lr=0.8)
    array([0.8, 0.8, 0.4, 0.4, 0.2, 0.2])
    """

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = whole(self._owner, "step_size", step_size, 1)
        self.gamma = number(self._owner, "gamma", gamma, NON_NEGATIVE)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        return base_lr * self.gamma ** (step // self.step_size)

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        return lr * self.gamma if step > 0 and step % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """The rate times ``gamma`` at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    milestones : iterable of int >= 0
        Steps at which to cut, in any order. One that is listed twice cuts twice.
    gamma : float >= 0
        The factor of a cut.
    last_epoch : int >= -1
        See `LRScheduler`.

    Examples
    --------
    >>> from nbopt.lr_scheduler import MultiStepLR
    >>> MultiStepLR.schedule([2, 3], gamma=0.5).table(5, lr=0.8)
    array([0.8, 0.8, 0.4, 0.2, 0.2])
    """

    def __init__(
        self, optimizer: Any, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(whole_list(self._owner, "milestones", milestones, 0))
        self.gamma = number(self._owner, "gamma", gamma, NON_NEGATIVE)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        ordered = sorted(self.milestones.elements())
        if isinstance(step, np.ndarray):
            return base_lr * self.gamma ** np.searchsorted(ordered, step, side="right")
        return base_lr * self.gamma ** bisect_right(ordered, step)

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        return lr * self.gamma ** self.milestones[step]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state; the milestones as a dict from step to count."""
        return {**super().state_dict(), "milestones": dict(self.milestones)}

    def _take_state(self, state: dict[str, Any]) -> None:
        """Take over a state; the milestones as a Counter again."""
        super()._take_state({**state, "milestones": Counter(state["milestones"])})


class ExponentialLR(LRScheduler):
    """The rate times ``gamma`` every step.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    gamma : float >= 0
        The factor.
    last_epoch : int >= -1
        See `LRScheduler`.

    Examples
    --------
    >>> from nbopt.lr_scheduler import ExponentialLR
    >>> ExponentialLR.schedule(gamma=0.5).table(4, lr=0.8)
    array([0.8, 0.4, 0.2, 0.1])
    """

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = number(self._owner, "gamma", gamma, NON_NEGATIVE)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        return base_lr * self.gamma**step

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        return lr * self.gamma if step > 0 else lr


class PolynomialLR(LRScheduler):
    """The rate falls to 0 in ``total_iters`` steps, as ``(1 - step / total_iters) ** power``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    total_iters : int >= 1
        Number of steps until the rate is 0, where it stays.
    power : float >= 0
        Degree of the polynomial.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    Unlike torch, ``total_iters=0`` is a ValueError: there it leaves the rate as it is.

    Examples
    --------
    >>> from nbopt.lr_scheduler import PolynomialLR
    >>> PolynomialLR.schedule(total_iters=4, power=1.0).table(6, lr=0.8)
    array([0.8, 0.6, 0.4, 0.2, 0. , 0. ])
    """

    def __init__(
        self, optimizer: Any, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = whole(self._owner, "total_iters", total_iters, 1)
        self.power = number(self._owner, "power", power, NON_NEGATIVE)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        return base_lr * (1.0 - lesser(step, self.total_iters) / self.total_iters) ** self.power

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        if step == 0 or step > self.total_iters:
            return lr
        left = self.total_iters - step
        return lr * (left / (left + 1)) ** self.power
