"""LRScheduler: the base of all schedulers, and of your own."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from nbopt.lr_scheduler.checks import number, whole
from nbopt.lr_scheduler.groups import (
    check_optimizer,
    count_steps,
    is_list,
    never_stepped,
    per_group,
    rate,
    rates,
    set_rate,
)
from nbopt.lr_scheduler.schedule import Schedule, StandIn
from nbopt.optim.ranges import NON_NEGATIVE, as_number

EPOCH_DEPRECATION_WARNING = (
    "step(epoch) is deprecated, as in torch: call step() once per epoch. With an epoch the rate "
    "is set from the base rate (the closed form) where there is one."
)
ORDER_WARNING = (
    "`lr_scheduler.step()` was called before `optimizer.step()`: the first rate of the schedule is "
    "never used. Call the optimizer first; see "
    "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)


class LRScheduler:
    """Base of all schedulers.

    Parameters
    ----------
    optimizer : Optimizer
        An optimizer of nbopt or of torch. Only its ``param_groups`` are touched.
    last_epoch : int >= -1
        -1 starts anew. To resume without a saved scheduler, load the optimizer's state and give
        the number of the last finished step; the scheduler then stands at ``last_epoch + 1``.

    Attributes
    ----------
    last_epoch : int
        Number of the present step; 0 after construction.
    base_lrs : list of float
        The rate that each group started with.

    Notes
    -----
    Construction takes step 0. `step` goes on from the rate that the group has now, as torch does:
    several schedulers on one optimizer compose, and an edited rate stays edited. Beside this
    recursive form most classes have the closed form `value`, a pure function of the step, and
    all have `table`.

    A subclass writes `value`, or `get_lr` as in torch.

    Differences from torch: rates in ``base_lrs`` and `get_last_lr` are floats, also where the
    group's is a tensor (which is written in place). A group that is added later is taken in with
    its rate as base, and with the options that were given as one value for all groups; torch
    raises errors in most classes. Resumed by ``last_epoch``, a rate that is that of the step
    already stays and one that is still that of the step before moves on, whichever class; in
    torch half of the classes expect one and half the other. `optimizer.step` is not replaced:
    nbopt's optimizers count their steps. Wrong options, states of another class, and lists of a
    wrong length raise errors that name them, and then nothing has changed.

    Examples
    --------
    >>> from nbopt.lr_scheduler import LRScheduler
    >>> class Halving(LRScheduler):
    ...     def value(self, step, base_lr, group=0):
    ...         return base_lr * 0.5**step
    >>> Halving.schedule().table(4, lr=0.8)
    array([0.8, 0.4, 0.2, 0.1])
    """

    optimizer: Any
    base_lrs: list[float]
    last_epoch: int
    _last_lr: list[float]
    _step_count: int
    _is_initial: bool = False
    _get_lr_called_within_step: bool = False
    _per_group: dict[str, tuple[str, bool]]

    # Attributes that do not belong to the state.
    _transient: ClassVar[frozenset[str]] = frozenset({"optimizer", "_per_group"})
    # Whether it starts from the base rates when SequentialLR hands over to it.
    _from_base: ClassVar[bool] = True

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        self.optimizer = check_optimizer(self._owner, optimizer)
        self.last_epoch = whole(self._owner, "last_epoch", last_epoch, -1)
        for k, group in enumerate(optimizer.param_groups):
            if self.last_epoch == -1:
                group.setdefault("initial_lr", rate(group))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{self._owner}: last_epoch={last_epoch} resumes a run, but param_groups[{k}] has no "
                    "'initial_lr'; load the optimizer's state first, or start with last_epoch=-1"
                )
        self.base_lrs = self._bases()
        count_steps(optimizer)
        self._initial_step()

    @property
    def _owner(self) -> str:
        """The name that messages start with."""
        return type(self).__name__

    def _bases(self) -> list[float]:
        """Return the rates that the groups start from."""
        return [rate(group, "initial_lr") for group in self.optimizer.param_groups]

    # ---- the schedule as a function of the step

    @classmethod
    def schedule(cls, *args: Any, **kwargs: Any) -> Schedule:
        """Return the scheduler without an optimizer: see `Schedule`.

        Parameters
        ----------
        *args, **kwargs
            The arguments of the class without the optimizer.
        """
        return Schedule(cls, args, kwargs)

    @classmethod
    def _arguments(cls, optimizer: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """Put the optimizer where the constructor takes it."""
        return (optimizer, *args), kwargs

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step, from the base rate alone.

        Parameters
        ----------
        step : int or ndarray of int
            The step or steps, counted from 0.
        base_lr : float
            The group's rate at the start.
        group : int
            Number of the group, where options differ between groups.
        """
        raise NotImplementedError(f"{self._owner} has no closed form")

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it: the form that composes."""
        return self.value(step, base_lr, group)

    def table(self, n: int) -> np.ndarray:
        """Return the rates of the steps 0, ..., n - 1, without touching the optimizer.

        They start from the base rates, wherever the scheduler stands now, as if it were alone.

        Parameters
        ----------
        n : int >= 0
            Number of steps.

        Returns
        -------
        ndarray of float64, shape (n,), or (n, groups) if there are several groups
        """
        columns = self._columns(whole(self._owner, "n", n, 0))
        return columns[:, 0].copy() if columns.shape[1] == 1 else columns

    def _columns(self, n: int) -> np.ndarray:
        """Return the table with one column per group."""
        if not self._is_function() or len(self.optimizer.param_groups) > len(self.base_lrs):
            return self._replay(n)
        steps = np.arange(n)
        columns = np.empty((n, len(self.base_lrs)))
        for k, base_lr in enumerate(self.base_lrs):
            columns[:, k] = self.value(steps, base_lr, k)
        return columns

    def _is_function(self) -> bool:
        """Tell whether `value` says all: it is defined, and no later class rewrote `get_lr`."""
        for cls in type(self).__mro__:
            if "value" in vars(cls):
                return cls is not LRScheduler
            if "get_lr" in vars(cls):
                return False
        return False

    def _replay(self, n: int) -> np.ndarray:
        """Return the table by stepping a copy over groups that stand in for the optimizer's."""
        stand_in = StandIn(self.optimizer.param_groups, self.optimizer.defaults)
        twin = copy.deepcopy(self, {id(self.optimizer): stand_in})
        columns = np.empty((n, len(stand_in.param_groups)))
        for step in range(n):
            if step == 0:
                twin._restart()
            else:
                twin.step()
            columns[step] = rates(stand_in)
        return columns

    # ---- stepping

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last, one per group."""
        return list(self._last_lr)

    def get_lr(self) -> list[float]:
        """Return the rates of step ``last_epoch``; called by `step` (use `get_last_lr` to read)."""
        if type(self).value is LRScheduler.value:
            raise NotImplementedError(f"{self._owner} defines neither get_lr() nor value()")
        self._warn_outside_step()
        if self._is_initial and self.last_epoch > 0:
            return [self._resumed(k, lr) for k, lr in enumerate(rates(self.optimizer))]
        old = zip(rates(self.optimizer), self.base_lrs, strict=True)
        return [float(self._advance(self.last_epoch, lr, base, k)) for k, (lr, base) in enumerate(old)]

    def _resumed(self, k: int, lr: float) -> float:
        """Return a group's rate on resumption: where it stands, or one step on if it lags behind."""
        step, base_lr = self.last_epoch, self.base_lrs[k]
        now = float(self.value(step, base_lr, k))
        if type(self)._advance is LRScheduler._advance:
            return now
        before = float(self.value(step - 1, base_lr, k))
        lags = math.isclose(lr, before, rel_tol=1e-9) and not math.isclose(lr, now, rel_tol=1e-9)
        return now if lags else lr

    def _get_closed_form_lr(self) -> list[float]:
        """Return the rates of step ``last_epoch`` by the closed form."""
        return [float(self.value(self.last_epoch, base, k)) for k, base in enumerate(self.base_lrs)]

    def _has_closed_form(self) -> bool:
        """Tell whether this class, or a subclass written for torch, has a closed form."""
        base, cls = LRScheduler, type(self)
        return cls.value is not base.value or cls._get_closed_form_lr is not base._get_closed_form_lr

    def _warn_outside_step(self) -> None:
        """Warn that `get_lr` is not the way to read the rate."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                f"{self._owner}: get_lr() computes one more step; read the last rates with `get_last_lr()`",
                UserWarning,
                stacklevel=3,
            )

    def step(self, epoch: int | None = None) -> None:
        """Go to the next step and set the groups' rates.

        Parameters
        ----------
        epoch : int, optional
            Deprecated: the step to go to.
        """
        if self._step_count == 1 and never_stepped(self.optimizer):
            warnings.warn(ORDER_WARNING, UserWarning, stacklevel=2)
        if epoch is not None:
            number(self._owner, "epoch", epoch, NON_NEGATIVE)
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._step_count += 1
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        """Move to the next step, or to ``epoch``, and set the rates; on an error do neither."""
        before = self.last_epoch
        self._adopt_groups()
        self._get_lr_called_within_step = True
        try:
            self.last_epoch = before + 1 if epoch is None else epoch
            closed = epoch is not None and self._has_closed_form()
            new = self._get_closed_form_lr() if closed else self.get_lr()
            self._write(new)
        except BaseException:
            self.last_epoch = before
            raise
        finally:
            self._get_lr_called_within_step = False

    def _write(self, new: list[float]) -> None:
        """Set the rates of all groups."""
        groups = self.optimizer.param_groups
        checked = [value if type(value) is float else as_number(value) for value in new]
        if len(checked) != len(groups) or None in checked:
            raise ValueError(
                f"{self._owner}: get_lr() must give one number for each of {len(groups)} groups, not {new!r}"
            )
        for group, value in zip(groups, checked, strict=True):
            set_rate(group, value)
        self._last_lr = rates(self.optimizer)

    def _initial_step(self) -> None:
        """Take the step that construction takes."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def _restart(self) -> None:
        """Go back to step 0 and to the base rates."""
        self._adopt_groups()
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            set_rate(group, base_lr)
        self._begin()

    def _begin(self) -> None:
        """Go back to step 0 from the rates as they are."""
        self._rewind()
        self._initial_step()

    def _rewind(self) -> None:
        """Stand before step 0, as a scheduler whose turn has not come."""
        self.last_epoch = -1

    def _take_over(self) -> None:
        """Start at step 0 in the middle of a run, as a part of SequentialLR."""
        self._update_lr(0)

    # ---- groups and their options

    def _spread(self, attribute: str, option: str, value: Any, check: Callable[[str, str, Any], Any]) -> None:
        """Keep an option as one checked value per group, and remember if it was given as a list."""
        values = per_group(self._owner, option, value, self.optimizer)
        setattr(self, attribute, [check(self._owner, option, one) for one in values])
        self.__dict__.setdefault("_per_group", {})[attribute] = (option, is_list(value))

    def _adopt_groups(self) -> None:
        """Take in the groups that were added to the optimizer since the last step."""
        groups, known = self.optimizer.param_groups, len(self.base_lrs)
        if len(groups) < known:
            raise ValueError(f"{self._owner}: the optimizer had {known} groups and now has {len(groups)}")
        if len(groups) == known:
            return
        self._grow_lists(len(groups), ValueError)
        for k in range(known, len(groups)):
            self._adopt(k, groups[k])

    def _grow_lists(self, n: int, error: type[Exception]) -> None:
        """Extend each option to ``n`` groups; one that was given as a list cannot know how."""
        options = self.__dict__.get("_per_group", {})
        for attribute, (option, listed) in options.items():
            have = len(getattr(self, attribute))
            if listed and have < n:
                raise error(
                    f"{self._owner}: {option} has {have} values, but the optimizer has {n} groups by now; "
                    f"append to {attribute}, or give one value for all groups"
                )
        for attribute in options:
            values = getattr(self, attribute)
            values.extend(values[:1] * (n - len(values)))

    def _adopt(self, k: int, group: dict[str, Any]) -> None:
        """Give a new group its base rate."""
        self.base_lrs.append(float(group.setdefault("initial_lr", rate(group))))

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state: numbers, strings, lists and dicts under torch's keys."""
        kept = {key: value for key, value in vars(self).items() if key not in self._transient}
        return copy.deepcopy(kept)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state, from nbopt or torch; on an error nothing has changed.

        The rates in the optimizer are not touched: they are part of the optimizer's state.

        Raises
        ------
        ValueError
            If the state lacks a key, as that of another class does, or has more groups.
        """
        self._check_state(state_dict)
        self._take_state(copy.deepcopy({k: v for k, v in state_dict.items() if k not in self._transient}))

    def _check_state(self, state_dict: Any) -> None:
        """Raise unless a state fits this scheduler."""
        if not isinstance(state_dict, dict):
            raise TypeError(f"{self._owner}: a state must be a dict, but got {type(state_dict).__name__}")
        young = {"_is_initial", "_get_lr_called_within_step"}  # older versions of torch lack them
        missing = sorted(self.state_dict().keys() - state_dict.keys() - young)
        if missing:
            raise ValueError(f"{self._owner}: the state lacks {missing}; is it another scheduler's?")
        groups = len(self.optimizer.param_groups)
        if len(state_dict.get("base_lrs", ())) > groups:
            raise ValueError(
                f"{self._owner}: the state has {len(state_dict['base_lrs'])} groups, the optimizer {groups}"
            )

    def _take_state(self, state: dict[str, Any]) -> None:
        """Take over a state that was checked and copied."""
        for key in {"base_lrs", "_last_lr"} & state.keys():
            state[key] = [float(value) for value in state[key]]
        self.__dict__.update(state)
