"""ReduceLROnPlateau: cut the rate when a metric has stopped improving."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from nbopt.lr_scheduler.checks import choice, number, whole
from nbopt.lr_scheduler.groups import check_optimizer, rate, rates, set_rate
from nbopt.lr_scheduler.scheduler import EPOCH_DEPRECATION_WARNING, LRScheduler
from nbopt.optim.ranges import DECAY, NON_NEGATIVE, as_number


def _least(owner: str, name: str, value: Any) -> float:
    """Return a checked lowest rate."""
    return number(owner, name, value, NON_NEGATIVE)


class ReduceLROnPlateau(LRScheduler):
    """Cut the rate when a metric has not improved for more than ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    mode : {"min", "max"}
        Whether less or more of the metric is better.
    factor : float in [0, 1)
        The rate is multiplied by it.
    patience : int >= 0
        Number of steps without improvement that are let pass; the next one cuts.
    threshold : float >= 0
        By how much a metric must be better than the best to count.
    threshold_mode : {"rel", "abs"}
        Whether the threshold is a share of the best or a number by itself.
    cooldown : int >= 0
        Number of steps after a cut in which bad ones do not count.
    min_lr : float or list of float, >= 0
        The rate does not fall below, for all groups or for each.
    eps : float >= 0
        A cut by no more than this is left out.

    Notes
    -----
    Unlike torch the relative margin is ``threshold * abs(best)``: a metric may be negative. In
    torch a flat negative metric counts as an improvement each time and the rate is never cut.
    NaN counts as bad. The rates depend on the metrics, so there is no table of them.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> from nbopt.lr_scheduler import ReduceLROnPlateau
    >>> optimizer = nbopt.SGD([np.zeros(2)], lr=0.1)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [3.0, 2.0, 2.0, 2.0]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.05]
    """

    min_lrs: list[float]

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        owner = self._owner
        self.optimizer = check_optimizer(owner, optimizer)
        self.mode = choice(owner, "mode", mode, ("min", "max"))
        self.factor = number(owner, "factor", factor, DECAY)
        self.patience = whole(owner, "patience", patience, 0)
        self.threshold = number(owner, "threshold", threshold, NON_NEGATIVE)
        self.threshold_mode = choice(owner, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = whole(owner, "cooldown", cooldown, 0)
        self.eps = number(owner, "eps", eps, NON_NEGATIVE)
        self._spread("min_lrs", "min_lr", min_lr, _least)
        self.default_min_lr = None if self._per_group["min_lrs"][1] else _least(owner, "min_lr", min_lr)
        self.last_epoch = 0
        self._last_lr = rates(optimizer)
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self._reset()

    def _reset(self) -> None:
        """Forget the best metric and all counts."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether the last cut is so fresh that bad steps do not count."""
        return self.cooldown_counter > 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Take in a metric, and cut the rates if it has not improved for too long.

        Parameters
        ----------
        metrics : float
            The metric of this step.
        epoch : int, optional
            Deprecated: the number of this step.
        """
        current = as_number(metrics)
        if current is None:
            raise TypeError(f"{self._owner}: metrics={metrics!r} must be one number")
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._grow_lists(len(self.optimizer.param_groups), RuntimeError)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = rates(self.optimizer)

    def _reduce(self) -> None:
        """Cut the rates of all groups."""
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            new = max(rate(group) * self.factor, least)
            if rate(group) - new > self.eps:
                set_rate(group, new)

    def _is_better(self, a: float, best: float) -> bool:
        """Tell whether a metric beats the best by more than the margin."""
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "abs":
            bar = best + sign * self.threshold
        else:  # as a factor, since a margin of an infinite best would be inf - inf
            bar = best * (1.0 + sign * math.copysign(self.threshold, best))
        return sign * a > sign * bar

    def _columns(self, n: int) -> Any:
        """Refuse: nothing is known without metrics."""
        raise NotImplementedError(f"{self._owner}: the rates depend on the metrics, so there is no table")
