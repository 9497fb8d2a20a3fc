"""Schedulers made of schedulers: SequentialLR (one after the other), ChainedScheduler (all at once)."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.lr_scheduler.checks import whole, whole_list
from nbopt.lr_scheduler.groups import check_optimizer, rates
from nbopt.lr_scheduler.plateau import ReduceLROnPlateau
from nbopt.lr_scheduler.schedule import Schedule
from nbopt.lr_scheduler.scheduler import LRScheduler


class _ComposedLR(LRScheduler):
    """A scheduler that acts through others."""

    _schedulers: list[LRScheduler]
    _transient: ClassVar[frozenset[str]] = LRScheduler._transient | {"_schedulers"}

    def _gather(self, schedulers: Any, optimizer: Any) -> None:
        """Keep the parts, each checked; a schedule becomes a scheduler on the optimizer."""
        check_optimizer(self._owner, optimizer)
        for k, part in enumerate(schedulers):
            where = f"{self._owner}: schedulers[{k}]"
            kind = part.kind if isinstance(part, Schedule) else type(part)
            if not issubclass(kind, LRScheduler):
                raise TypeError(f"{where} must be a scheduler or a schedule of nbopt, not {kind.__name__}")
            if issubclass(kind, ReduceLROnPlateau):
                raise ValueError(f"{where}: ReduceLROnPlateau needs a metric to step; step it yourself")
            if not isinstance(part, Schedule) and part.optimizer is not optimizer:
                raise ValueError(f"{where} ({kind.__name__}) belongs to another optimizer")
        self.optimizer = optimizer
        self._schedulers = [p.bind(optimizer) if isinstance(p, Schedule) else p for p in schedulers]

    def _listed(self, schedulers: Any) -> list[Any]:
        """Return the parts as a list, or refuse what is none."""
        if not isinstance(schedulers, list | tuple) or not schedulers:
            raise ValueError(f"{self._owner}: schedulers must be a list of at least one, not {schedulers!r}")
        return list(schedulers)

    def get_lr(self) -> list[float]:
        """Refuse, as torch does: the parts compute the rates."""
        raise NotImplementedError(f"{self._owner}: its parts compute the rates; use `get_last_lr()`")

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state, with the states of the parts under ``"_schedulers"``."""
        return {**super().state_dict(), "_schedulers": [part.state_dict() for part in self._schedulers]}

    def _check_state(self, state_dict: Any) -> None:
        """Raise unless a state fits, down to the parts."""
        super()._check_state(state_dict)
        parts = state_dict["_schedulers"]
        if len(parts) != len(self._schedulers):
            raise ValueError(
                f"{self._owner}: the state has {len(parts)} schedulers, this one {len(self._schedulers)}"
            )
        for part, state in zip(self._schedulers, parts, strict=True):
            part._check_state(state)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state, from nbopt or torch; on an error nothing has changed."""
        super().load_state_dict(state_dict)
        for part, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            part.load_state_dict(state)

    def _rewind(self) -> None:
        """Stand before step 0, with all parts."""
        for part in self._schedulers:
            part._rewind()

    def _begin(self) -> None:
        """Go back to step 0."""
        self._restart()


class SequentialLR(_ComposedLR):
    """Schedulers one after the other, each from its own step 0.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    schedulers : list of LRScheduler or Schedule
        In order. Schedulers must belong to ``optimizer``; schedules are bound to it.
    milestones : list of int >= 0, not falling
        The steps at which the next one takes over: one less than there are schedulers.
    last_epoch : int >= -1
        -1 starts anew. To resume, give the number of the last finished step: all parts are taken
        to where they were.

    Notes
    -----
    A part starts from its own base rates; `MultiplicativeLR` and `SWALR` go on from the rate as it
    is. Unlike torch, ``last_epoch`` positions the parts, a part may itself be a `SequentialLR` or a
    `ChainedScheduler`, an `OneCycleLR` among the parts does not rescale the start of another, and
    milestones that fall are a ValueError.

    Examples
    --------
    >>> from nbopt.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> parts = [ConstantLR.schedule(factor=0.5), ExponentialLR.schedule(gamma=0.5)]
    >>> SequentialLR.schedule(parts, milestones=[2]).table(5, lr=0.8)
    array([0.4, 0.4, 0.8, 0.4, 0.2])
    """

    def __init__(
        self,
        optimizer: Any,
        schedulers: Sequence[LRScheduler | Schedule],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        schedulers = self._listed(schedulers)
        finished = whole(self._owner, "last_epoch", last_epoch, -1)
        self._milestones = whole_list(self._owner, "milestones", milestones, 0)
        if self._milestones != sorted(self._milestones):
            raise ValueError(f"{self._owner}: milestones={self._milestones} must not fall")
        parts = len(schedulers)
        if len(self._milestones) != parts - 1:
            raise ValueError(
                f"{self._owner}: {parts} schedulers need {parts - 1} milestones, not {len(self._milestones)}"
            )
        self._gather(schedulers, optimizer)
        self._restart()
        with warnings.catch_warnings():  # the steps until here were taken in an earlier run
            warnings.simplefilter("ignore")
            for _ in range(finished + 1):
                self.step()

    def _restart(self) -> None:
        """Go back to step 0 and to the base rates of the part that starts."""
        self._rewind()
        self.last_epoch = 0
        self._schedulers[bisect_right(self._milestones, 0)]._restart()
        self._last_lr = rates(self.optimizer)

    def _take_over(self) -> None:
        """Start at step 0 in the middle of a run, as a part of another."""
        self.last_epoch = 0
        self._schedulers[bisect_right(self._milestones, 0)]._take_over()
        self._last_lr = rates(self.optimizer)

    def step(self) -> None:  # type: ignore[override]
        """Go to the next step: of the part whose turn it is, or to the start of the next part."""
        step = self.last_epoch + 1
        k = bisect_right(self._milestones, step)
        if k > 0 and self._milestones[k - 1] == step:
            self._schedulers[k]._take_over()
        else:
            self._schedulers[k].step()
        self.last_epoch = step
        self._last_lr = rates(self.optimizer)

    def _columns(self, n: int) -> np.ndarray:
        """Return the table: the tables of the parts, end to end, where none depends on the last."""
        if not all(part._is_function() and part._from_base for part in self._schedulers):
            return self._replay(n)
        starts = [0, *self._milestones]
        ends = [*self._milestones, n]
        lengths = [max(min(end, n) - start, 0) for start, end in zip(starts, ends, strict=True)]
        pieces = [part._columns(m) for part, m in zip(self._schedulers, lengths, strict=True)]
        return np.concatenate(pieces)


class ChainedScheduler(_ComposedLR):
    """Schedulers all at once: each goes on from the rate that the one before it left.

    Parameters
    ----------
    schedulers : list of LRScheduler or Schedule
        In the order in which they act. Schedules need ``optimizer``.
    optimizer : Optimizer, optional
        Whose rates to set; that of the first scheduler if not given.

    Notes
    -----
    Schedulers that multiply the rate compose as products. Those that set it whatever it was
    (`LambdaLR`, `CyclicLR`, `OneCycleLR`, `CosineAnnealingWarmRestarts`) wipe what ran before them:
    put them first.

    Examples
    --------
    >>> from nbopt.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
    >>> parts = [ConstantLR.schedule(factor=0.1, total_iters=3), ExponentialLR.schedule(gamma=0.9)]
    >>> ChainedScheduler.schedule(parts).table(6, lr=1.0)
    array([0.1    , 0.09   , 0.081  , 0.729  , 0.6561 , 0.59049])
    """

    def __init__(self, schedulers: Sequence[LRScheduler | Schedule], optimizer: Any = None) -> None:
        schedulers = self._listed(schedulers)
        if optimizer is None:
            if isinstance(schedulers[0], Schedule):
                raise TypeError(f"{self._owner}: schedules without an optimizer need one: pass optimizer=...")
            optimizer = getattr(schedulers[0], "optimizer", None)
        self._gather(schedulers, optimizer)
        self._last_lr = rates(optimizer)

    @classmethod
    def _arguments(cls, optimizer: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Put the optimizer where the constructor takes it."""
        return args, {**kwargs, "optimizer": optimizer}

    def _restart(self) -> None:
        """Go back to step 0: the first part from its base rates, the others from what it left."""
        self._schedulers[0]._restart()
        for part in self._schedulers[1:]:
            part._begin()
        self._last_lr = rates(self.optimizer)

    def _take_over(self) -> None:
        """Start at step 0 in the middle of a run, as a part of `SequentialLR`."""
        self._schedulers[0]._take_over()
        for part in self._schedulers[1:]:
            part._begin()
        self._last_lr = rates(self.optimizer)

    def step(self) -> None:  # type: ignore[override]
        """Go to the next step of every part."""
        for part in self._schedulers:
            part.step()
        self._last_lr = rates(self.optimizer)
