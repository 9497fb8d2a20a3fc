"""Schedule: a scheduler's options without an optimizer, to be asked for its rates or bound to one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from nbopt.lr_scheduler.checks import whole
from nbopt.lr_scheduler.groups import is_list, rate
from nbopt.optim.ranges import as_number

if TYPE_CHECKING:
    from nbopt.lr_scheduler.scheduler import LRScheduler


class Schedule:
    """A scheduler that has no optimizer yet: its class and its options.

    Made by ``StepLR.schedule(...)`` and the like, with the arguments of the class but for the
    optimizer. `table` gives its rates as a function of the step; `bind` makes the scheduler.
    `SequentialLR` and `ChainedScheduler` take schedules wherever they take schedulers.

    Parameters
    ----------
    kind : type
        The class of the scheduler.
    args, kwargs : tuple, dict
        Its arguments without the optimizer.

    Examples
    --------
    >>> from nbopt.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> warmup = LinearLR.schedule(start_factor=0.5, total_iters=2)
    >>> schedule = SequentialLR.schedule([warmup, CosineAnnealingLR.schedule(T_max=4)], [2])
    >>> schedule.table(6, lr=0.1).round(4)
    array([0.05  , 0.075 , 0.1   , 0.0854, 0.05  , 0.0146])
    """

    def __init__(self, kind: type[LRScheduler], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            all_args, all_kwargs = kind._arguments(None, args, kwargs)
            inspect.signature(kind).bind(*all_args, **all_kwargs)
        except TypeError as error:
            raise TypeError(f"{kind.__name__}.schedule: {error}") from None
        self.kind, self.args, self.kwargs = kind, args, kwargs

    def bind(self, optimizer: Any) -> LRScheduler:
        """Return the scheduler on an optimizer, which then has the rates of step 0."""
        args, kwargs = self.kind._arguments(optimizer, self.args, self.kwargs)
        return self.kind(*args, **kwargs)

    def table(self, n: int, lr: Any = 1.0) -> np.ndarray:
        """Return the rates of the steps 0, ..., n - 1.

        Parameters
        ----------
        n : int >= 0
            Number of steps.
        lr : float or list of float
            The rate that the optimizer would have been given; a list stands for several groups.
            `CyclicLR` and `OneCycleLR` do not depend on it.

        Returns
        -------
        ndarray of float64, shape (n,), or (n, groups) if ``lr`` is a list
        """
        stand_in = StandIn([{"lr": one} for one in (lr if is_list(lr) else [lr])])
        columns = self.bind(stand_in)._columns(whole(self.kind.__name__, "n", n, 0))
        return columns if is_list(lr) else columns[:, 0].copy()

    def __repr__(self) -> str:
        shown = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"{self.kind.__name__}.schedule({', '.join(shown)})"


class StandIn:
    """Groups that look like an optimizer's and have nothing to optimize."""

    def __init__(self, groups: list[dict[str, Any]], defaults: dict[str, Any] | None = None) -> None:
        self.param_groups = [{"momentum": 0.0, **_without_arrays(group)} for group in groups]
        self.defaults = {"lr": None, "momentum": 0.0} if defaults is None else dict(defaults)
        self._step_calls = 1  # so that schedulers do not warn of the order of calls

    def step(self) -> None:
        """Do nothing."""


def _without_arrays(group: dict[str, Any]) -> dict[str, Any]:
    """Copy a group without its parameters, with its rate as a float if it is a number at all."""
    copied = {key: value for key, value in group.items() if key not in {"params", "param_names"}}
    copied["lr"] = group["lr"] if as_number(group["lr"]) is None else rate(group)
    return copied
