"""LambdaLR and MultiplicativeLR: schedules given by the user's own functions."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.lr_scheduler.checks import function
from nbopt.lr_scheduler.groups import check_optimizer
from nbopt.lr_scheduler.pointwise import each
from nbopt.lr_scheduler.scheduler import LRScheduler

Function = Callable[[int], float]


def inside(f: Any) -> dict[str, Any] | None:
    """Return a copy of what a callable object holds, which a state can keep; None for functions."""
    held = None if isinstance(f, types.FunctionType) else getattr(f, "__dict__", None)
    return None if held is None else copy.deepcopy(held)


class _FunctionLR(LRScheduler):
    """A scheduler that takes one function for all groups, or a list with one for each."""

    lr_lambdas: list[Function]

    def __init__(
        self, optimizer: Any, lr_lambda: Function | Sequence[Function], last_epoch: int = -1
    ) -> None:
        self.optimizer = check_optimizer(self._owner, optimizer)
        self._spread("lr_lambdas", "lr_lambda", lr_lambda, function)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state; of the functions only what callable objects hold."""
        kept = {k: v for k, v in vars(self).items() if k not in {*self._transient, "lr_lambdas"}}
        return {**copy.deepcopy(kept), "lr_lambdas": [inside(f) for f in self.lr_lambdas]}

    def _check_state(self, state_dict: Any) -> None:
        """Raise unless a state fits, with one entry per function."""
        super()._check_state(state_dict)
        held = state_dict["lr_lambdas"]
        if len(held) != len(self.lr_lambdas):
            raise ValueError(
                f"{self._owner}: the state has {len(held)} lr_lambdas, the scheduler {len(self.lr_lambdas)}"
            )

    def _take_state(self, state: dict[str, Any]) -> None:
        """Take over a state; callable objects get back what they held."""
        for f, held in zip(self.lr_lambdas, state.pop("lr_lambdas"), strict=True):
            if held is not None:
                f.__dict__.update(held)
        super()._take_state(state)


class LambdaLR(_FunctionLR):
    """The base rate times a function of the step: ``base_lr * lr_lambda(step)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    lr_lambda : callable or list of callable
        Called with the step number; returns a factor. A list has one for each group.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    It sets the rate whatever it was: in a chain it wipes what ran before it.

    Examples
    --------
    >>> from nbopt.lr_scheduler import LambdaLR
    >>> LambdaLR.schedule(lambda step: 1 / (1 + step)).table(4, lr=0.6)
    array([0.6 , 0.3 , 0.2 , 0.15])
    """

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return ``base_lr * lr_lambda(step)``."""
        return base_lr * each(self.lr_lambdas[group], step)


class MultiplicativeLR(_FunctionLR):
    """The rate times a function of the step, each step: ``lr * lr_lambda(step)``.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    lr_lambda : callable or list of callable
        Called with the step number from 1 on; returns a factor. A list has one for each group.
    last_epoch : int >= -1
        See `LRScheduler`. Resuming calls the function for all steps so far.

    Examples
    --------
    >>> from nbopt.lr_scheduler import MultiplicativeLR
    >>> MultiplicativeLR.schedule(lambda step: 0.5).table(4, lr=0.8)
    array([0.8, 0.4, 0.2, 0.1])
    """

    _from_base: ClassVar[bool] = False  # as in torch, it multiplies whatever rate it finds

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return ``base_lr * lr_lambda(1) * ... * lr_lambda(step)``."""
        last = int(np.max(step, initial=0))
        factors = each(self.lr_lambdas[group], np.arange(1, last + 1))
        return base_lr * np.cumprod(np.concatenate([[1.0], factors]))[step]

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return ``lr * lr_lambda(step)``; construction leaves the rate as it is."""
        return lr if self._is_initial else lr * self.lr_lambdas[group](step)

    def _get_closed_form_lr(self) -> list[float]:
        """Return what `get_lr` does: in torch, too, an epoch only picks the factor."""
        return self.get_lr()
