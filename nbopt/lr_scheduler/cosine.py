"""Half waves of a cosine: CosineAnnealingLR, CosineAnnealingWarmRestarts (SGDR)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbopt.lr_scheduler.checks import number, whole
from nbopt.lr_scheduler.pointwise import cos
from nbopt.lr_scheduler.scheduler import LRScheduler
from nbopt.optim.ranges import NON_NEGATIVE, POSITIVE


class CosineAnnealingLR(LRScheduler):
    """The rate falls along half a cosine to ``eta_min`` in ``T_max`` steps, and rises again.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    T_max : float > 0
        Number of steps of the fall. The rise takes as many.
    eta_min : float >= 0
        The lowest rate.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    Closed form: ``eta_min + (base_lr - eta_min) * (1 + cos(pi * step / T_max)) / 2``. In a chain
    it multiplies what lies above ``eta_min``, so it composes as a product only if ``eta_min`` is 0.
    Unlike torch, ``T_max=0`` is a ValueError with a reason.

    References
    ----------
    Loshchilov and Hutter, SGDR: Stochastic gradient descent with warm restarts, ICLR 2017, eq. 5.

    Examples
    --------
    >>> from nbopt.lr_scheduler import CosineAnnealingLR
    >>> CosineAnnealingLR.schedule(T_max=4).table(6, lr=0.05).round(6)
    array([0.05    , 0.042678, 0.025   , 0.007322, 0.      , 0.007322])
    """

    def __init__(self, optimizer: Any, T_max: float, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = number(self._owner, "T_max", T_max, POSITIVE)
        self.eta_min = number(self._owner, "eta_min", eta_min, NON_NEGATIVE)
        super().__init__(optimizer, last_epoch)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        return self.eta_min + (base_lr - self.eta_min) * (1 + cos(math.pi * step / self.T_max)) / 2

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        if step == 0:
            return lr
        turn = math.pi / self.T_max
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:  # at the bottom a ratio would be 0 / 0
            return lr + (base_lr - self.eta_min) * (1 - math.cos(turn)) / 2
        ratio = (1 + math.cos(turn * step)) / (1 + math.cos(turn * (step - 1)))
        return self.eta_min + (lr - self.eta_min) * ratio


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half cosines from the base rate towards ``eta_min``, each time starting anew at the top.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    T_0 : int >= 1
        Number of steps of the first wave.
    T_mult : int >= 1
        Each wave is this many times longer than the one before.
    eta_min : float >= 0
        What the rate falls towards; a new wave starts just before it is reached.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    `step` also takes a fraction of an epoch, and then goes to that point. Unlike torch, resuming
    by ``last_epoch`` finds the wave also where ``T_mult > 1``, and an epoch at which a wave
    starts is recognised exactly (torch takes a logarithm, which may fall short of it).

    References
    ----------
    Loshchilov and Hutter, SGDR: Stochastic gradient descent with warm restarts, ICLR 2017, eq. 5.

    Examples
    --------
    >>> from nbopt.lr_scheduler import CosineAnnealingWarmRestarts
    >>> CosineAnnealingWarmRestarts.schedule(T_0=2, T_mult=2).table(7, lr=0.1).round(4)
    array([0.1   , 0.05  , 0.1   , 0.0854, 0.05  , 0.0146, 0.1   ])
    """

    T_cur: float
    T_i: int

    def __init__(
        self, optimizer: Any, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = whole(self._owner, "T_0", T_0, 1)
        self.T_mult = whole(self._owner, "T_mult", T_mult, 1)
        self.eta_min = number(self._owner, "eta_min", eta_min, NON_NEGATIVE)
        resumed = whole(self._owner, "last_epoch", last_epoch, -1)
        self.T_cur, self.T_i = (-1, self.T_0) if resumed == -1 else self._place(resumed)
        super().__init__(optimizer, last_epoch)

    def _place(self, step: Any) -> tuple[Any, Any]:
        """Return how far a step (or each of an array) is into its wave, and the wave's length."""
        if self.T_mult == 1:
            return step % self.T_0, self.T_0
        length = self.T_0
        if not isinstance(step, np.ndarray):
            while step >= length:
                step, length = step - length, length * self.T_mult
            return step, length
        lengths = np.full(step.shape, length)
        while np.any(over := step >= lengths):
            step, lengths = step - over * lengths, np.where(over, lengths * self.T_mult, lengths)
        return step, lengths

    def _wave(self, place: Any, length: Any, base_lr: float) -> Any:
        """Return the rate at a place in a wave."""
        return self.eta_min + (base_lr - self.eta_min) * (1 + cos(math.pi * place / length)) / 2

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step, also a fractional one, from the base rate."""
        return self._wave(*self._place(step), base_lr)

    def get_lr(self) -> list[float]:
        """Return the rates at ``T_cur``; called by `step` (use `get_last_lr` to read)."""
        self._warn_outside_step()
        return [float(self._wave(self.T_cur, self.T_i, base)) for base in self.base_lrs]

    def _get_closed_form_lr(self) -> list[float]:
        """Return what `get_lr` does: ``T_cur`` knows the fraction, ``last_epoch`` does not."""
        return self.get_lr()

    def step(self, epoch: float | None = None) -> None:
        """Go to the next step, or to an epoch; the fraction counts.

        Parameters
        ----------
        epoch : float >= 0, optional
            Where to go, for instance ``i + batch / batches``. Not deprecated here.
        """
        if epoch is not None:
            number(self._owner, "epoch", epoch, NON_NEGATIVE)
        self._step_count += 1
        self._update_lr(epoch)

    def _update_lr(self, epoch: float | None = None) -> None:
        """Move within the wave, or into the next, and set the rates."""
        before = self.T_cur, self.T_i
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is not None:
            self.T_cur, self.T_i = self._place(epoch)
            epoch = math.floor(epoch)
        elif self.T_cur + 1 >= self.T_i:
            self.T_cur, self.T_i = (self.T_cur + 1) % self.T_i, self.T_i * self.T_mult
        else:
            self.T_cur += 1
        try:
            super()._update_lr(epoch)
        except BaseException:
            self.T_cur, self.T_i = before
            raise
