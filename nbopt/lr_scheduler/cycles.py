"""Rates that go up and down while the momentum goes down and up: CyclicLR, OneCycleLR."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.lr_scheduler.checks import choice, function, number, whole
from nbopt.lr_scheduler.functions import inside
from nbopt.lr_scheduler.groups import check_optimizer, rate, set_rate
from nbopt.lr_scheduler.pointwise import cos, each, lesser, where
from nbopt.lr_scheduler.scheduler import LRScheduler
from nbopt.optim.ranges import DECAY, FRACTION, NON_NEGATIVE, POSITIVE

Rates = float | Sequence[float]


def _rate(owner: str, name: str, value: Any) -> float:
    """Return a checked rate."""
    return number(owner, name, value, NON_NEGATIVE)


def _decay(owner: str, name: str, value: Any) -> float:
    """Return a checked momentum."""
    return number(owner, name, value, DECAY)


class _Cycle(LRScheduler):
    """A scheduler that also moves ``momentum``, or the first of ``betas``, against the rate."""

    cycle_momentum: bool
    use_beta1: bool

    def _momentum(self, step: int, group: int) -> float:
        """Return a group's momentum at a step."""
        raise NotImplementedError

    def _take_momentum(self, low: Any, high: Any, names: tuple[str, str], fresh: bool) -> None:
        """Find what the optimizer's momentum is called, and keep its bounds in each group."""
        defaults = self.optimizer.defaults
        if "momentum" not in defaults and "betas" not in defaults:
            raise ValueError(
                f"{self._owner}: cycle_momentum=True needs an optimizer with momentum or betas, and "
                f"{type(self.optimizer).__name__} has neither; pass cycle_momentum=False"
            )
        self.use_beta1 = "betas" in defaults
        self._spread(names[0], "base_momentum", low, _decay)
        self._spread(names[1], "max_momentum", high, _decay)
        for k, group in enumerate(self.optimizer.param_groups if fresh else ()):
            self._bound_momentum(group, getattr(self, names[0])[k], getattr(self, names[1])[k])

    def _bound_momentum(self, group: dict[str, Any], low: float, high: float) -> None:
        """Write the bounds into a group, which starts at the upper one."""
        group["max_momentum"], group["base_momentum"] = high, low
        self._set_momentum(group, high)

    def _set_momentum(self, group: dict[str, Any], value: float) -> None:
        """Set a group's momentum, whatever it is called."""
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    def _write(self, new: list[float]) -> None:
        """Set the rates and the momenta of all groups."""
        super()._write(new)
        if self.cycle_momentum:
            for k, group in enumerate(self.optimizer.param_groups):
                self._set_momentum(group, float(self._momentum(self.last_epoch, k)))


class CyclicLR(_Cycle):
    """Triangles between ``base_lr`` and ``max_lr``, while the momentum goes the other way.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    base_lr, max_lr : float or list of float, >= 0
        The lower and the upper rate, for all groups or for each.
    step_size_up : float > 0
        Number of steps of the rise.
    step_size_down : float >= 0, optional
        Number of steps of the fall; as many as of the rise if not given.
    mode : {"triangular", "triangular2", "exp_range"}
        Whether the height stays, is halved each cycle, or is multiplied by ``gamma`` each step.
    gamma : float >= 0
        The factor of ``"exp_range"``.
    scale_fn : callable, optional
        A factor for the height instead of ``mode``: a function of the number of the cycle
        (from 1) or of the step.
    scale_mode : {"cycle", "iterations"}
        What ``scale_fn`` is given.
    cycle_momentum : bool
        Whether to move the momentum (or the first of ``betas``) too.
    base_momentum, max_momentum : float or list of float, in [0, 1)
        Its bounds.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    As in torch it sets the rate and the momentum whatever they were, at construction too. Unlike
    torch it starts at ``base_lr`` also if an earlier scheduler left another ``initial_lr``, and
    `get_lr` does not change the momentum.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.

    Examples
    --------
    >>> from nbopt.lr_scheduler import CyclicLR
    >>> schedule = CyclicLR.schedule(base_lr=0.1, max_lr=0.5, step_size_up=2, mode="triangular2")
    >>> schedule.table(9)
    array([0.1, 0.3, 0.5, 0.3, 0.1, 0.2, 0.3, 0.2, 0.1])
    """

    _base_lrs: list[float]
    max_lrs: list[float]
    base_momentums: list[float]
    max_momentums: list[float]
    _transient: ClassVar[frozenset[str]] = LRScheduler._transient | {"_base_lrs"}

    def __init__(
        self,
        optimizer: Any,
        base_lr: Rates,
        max_lr: Rates,
        step_size_up: float = 2000,
        step_size_down: float | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Rates = 0.8,
        max_momentum: Rates = 0.9,
        last_epoch: int = -1,
    ) -> None:
        owner = self._owner
        self.optimizer = check_optimizer(owner, optimizer)
        fresh = whole(owner, "last_epoch", last_epoch, -1) == -1
        self._spread("_base_lrs", "base_lr", base_lr, _rate)
        self._spread("max_lrs", "max_lr", max_lr, _rate)
        up = number(owner, "step_size_up", step_size_up, POSITIVE)
        down = up if step_size_down is None else number(owner, "step_size_down", step_size_down, NON_NEGATIVE)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        self._scale_fn_custom = None if scale_fn is None else function(owner, "scale_fn", scale_fn)
        modes = ("triangular", "triangular2", "exp_range")
        self.mode = mode if scale_fn is not None else choice(owner, "mode", mode, modes)
        self.gamma = number(owner, "gamma", gamma, NON_NEGATIVE)
        self.scale_mode = choice(owner, "scale_mode", scale_mode, ("cycle", "iterations"))
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = bool(cycle_momentum)
        if self.cycle_momentum:
            self._take_momentum(base_momentum, max_momentum, ("base_momentums", "max_momentums"), fresh)
        for group, base in zip(optimizer.param_groups if fresh else (), self._base_lrs, strict=False):
            set_rate(group, base)
        super().__init__(optimizer, last_epoch)

    def _bases(self) -> list[float]:
        """Return ``base_lr``, whatever ``initial_lr`` an earlier scheduler left."""
        return list(self._base_lrs)

    def _adopt(self, k: int, group: dict[str, Any]) -> None:
        """Give a new group its bounds."""
        group.setdefault("initial_lr", self._base_lrs[k])
        self.base_lrs.append(self._base_lrs[k])
        if self.cycle_momentum:
            self._bound_momentum(group, self.base_momentums[k], self.max_momentums[k])

    def scale_fn(self, x: Any) -> Any:
        """Return the factor of the height in cycle ``x``, or at step ``x``."""
        if self._scale_fn_custom is not None:
            return each(self._scale_fn_custom, x)
        if self.mode == "triangular":
            return 1.0
        return 0.5 ** (x - 1) if self.mode == "triangular2" else self.gamma**x

    def _height(self, step: Any) -> Any:
        """Return where a step is between the base (0) and the top (1)."""
        turns = step / self.total_size
        cycle = (1 + turns).astype(np.int64) if isinstance(turns, np.ndarray) else int(1 + turns)
        within = 1.0 + turns - cycle
        fall = (1.0 - within) / (1.0 - self.step_ratio) if self.step_ratio < 1 else 0.0
        triangle = where(within <= self.step_ratio, within / self.step_ratio, fall)
        return triangle * self.scale_fn(cycle if self.scale_mode == "cycle" else step)

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step; ``base_lr`` is the lower one."""
        return base_lr + (self.max_lrs[group] - base_lr) * self._height(step)

    def _momentum(self, step: int, group: int) -> float:
        """Return a group's momentum at a step."""
        high, low = self.max_momentums[group], self.base_momentums[group]
        return high - (high - low) * self._height(step)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state; of ``scale_fn`` only what a callable object holds."""
        kept = {k: v for k, v in vars(self).items() if k not in {*self._transient, "_scale_fn_custom"}}
        custom = self._scale_fn_custom
        return {**copy.deepcopy(kept), "_scale_fn_custom": None if custom is None else inside(custom)}

    def _take_state(self, state: dict[str, Any]) -> None:
        """Take over a state; a callable object gets back what it held."""
        held = state.pop("_scale_fn_custom")
        if held is not None and self._scale_fn_custom is not None:
            self._scale_fn_custom.__dict__.update(held)
        super()._take_state(state)


class OneCycleLR(_Cycle):
    """One rise to ``max_lr`` and one long fall below the start, within ``total_steps`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    max_lr : float or list of float, >= 0
        The highest rate, for all groups or for each.
    total_steps : int >= 1, optional
        Number of steps. If not given, ``epochs * steps_per_epoch``.
    epochs, steps_per_epoch : int >= 1, optional
        See ``total_steps``.
    pct_start : float in [0, 1]
        Share of the steps that the rise takes.
    anneal_strategy : {"cos", "linear"}
        Shape of rise and fall.
    cycle_momentum : bool
        Whether to move the momentum (or the first of ``betas``) the other way.
    base_momentum, max_momentum : float or list of float, in [0, 1)
        Its bounds.
    div_factor : float > 0
        The rate starts at ``max_lr / div_factor``.
    final_div_factor : float > 0
        It ends at the start rate over this.
    three_phase : bool
        Whether to fall to the start rate as fast as it rose, and only then to the end.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    The rates are kept in the groups, as ``"initial_lr"``, ``"max_lr"``, ``"min_lr"``, as in torch:
    schedulers made later start from this ``initial_lr``. The usual loop calls `step` once more than
    there are steps left; the rate then stays at the end. (torch runs on: below the lowest rate,
    even below zero, with ``"linear"``, and up again with ``"cos"``.) A second call too many is a
    ValueError, as in torch. ``pct_start`` may be an integer, and a rise of no length is no error.

    References
    ----------
    Smith and Topin, Super-convergence: very fast training of neural networks using large learning
    rates, 2017 (arXiv:1708.07120), section 3.

    Examples
    --------
    >>> from nbopt.lr_scheduler import OneCycleLR
    >>> schedule = OneCycleLR.schedule(max_lr=1.0, total_steps=5, pct_start=0.6, anneal_strategy="linear")
    >>> schedule.table(5).round(3)
    array([0.04, 0.52, 1.  , 0.5 , 0.  ])
    """

    _transient: ClassVar[frozenset[str]] = LRScheduler._transient | {
        "_max_lrs",
        "_base_momentums",
        "_max_momentums",
        "_divisors",
    }
    _max_lrs: list[float]
    _base_momentums: list[float]
    _max_momentums: list[float]

    def __init__(
        self,
        optimizer: Any,
        max_lr: Rates,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Rates = 0.85,
        max_momentum: Rates = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        owner = self._owner
        self.optimizer = check_optimizer(owner, optimizer)
        fresh = whole(owner, "last_epoch", last_epoch, -1) == -1
        self.total_steps = self._count(total_steps, epochs, steps_per_epoch)
        share = number(owner, "pct_start", pct_start, FRACTION)
        self._schedule_phases = _phases(share * self.total_steps, self.total_steps, three_phase)
        self._anneal_func_type = choice(owner, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self._divisors = (
            number(owner, "div_factor", div_factor, POSITIVE),
            number(owner, "final_div_factor", final_div_factor, POSITIVE),
        )
        self._spread("_max_lrs", "max_lr", max_lr, _rate)
        self.cycle_momentum = bool(cycle_momentum)
        if self.cycle_momentum:
            self._take_momentum(base_momentum, max_momentum, ("_base_momentums", "_max_momentums"), fresh)
        for k, group in enumerate(optimizer.param_groups if fresh else ()):
            self._bound_rates(group, self._max_lrs[k])
        super().__init__(optimizer, last_epoch)

    def _count(self, total: int | None, epochs: int | None, per_epoch: int | None) -> int:
        """Return the number of steps from one of the two ways to say it."""
        if total is not None:
            return whole(self._owner, "total_steps", total, 1)
        if epochs is None or per_epoch is None:
            raise ValueError(
                f"{self._owner}: total_steps={total!r}, epochs={epochs!r}, steps_per_epoch={per_epoch!r}: "
                "give total_steps, or epochs and steps_per_epoch, whole numbers >= 1"
            )
        return whole(self._owner, "epochs", epochs, 1) * whole(self._owner, "steps_per_epoch", per_epoch, 1)

    def _bound_rates(self, group: dict[str, Any], top: float) -> None:
        """Write start, top and end of the rate into a group."""
        group["initial_lr"] = top / self._divisors[0]
        group["max_lr"] = top
        group["min_lr"] = group["initial_lr"] / self._divisors[1]

    def _adopt(self, k: int, group: dict[str, Any]) -> None:
        """Give a new group its bounds."""
        self._bound_rates(group, self._max_lrs[k])
        if self.cycle_momentum:
            self._bound_momentum(group, self._base_momentums[k], self._max_momentums[k])
        self.base_lrs.append(group["initial_lr"])

    def _anneal(self, step: Any, bounds: dict[str, float], kind: str) -> Any:
        """Return the rate or the momentum at a step: the value of the phase that it falls into."""
        last = step.max(initial=0) if isinstance(step, np.ndarray) else step
        if last > self.total_steps:
            raise ValueError(
                f"{self._owner}: step {last} is beyond total_steps={self.total_steps}, for which the "
                "schedule was made"
            )
        step, first, result = lesser(step, self.total_steps - 1), 0.0, None
        for phase in self._schedule_phases:
            start, end = bounds[phase[f"start_{kind}"]], bounds[phase[f"end_{kind}"]]
            part = (step - first) / (phase["end_step"] - first or 1.0)
            rest = 1.0 - part if self._anneal_func_type == "linear" else (1.0 + cos(math.pi * part)) / 2.0
            new = end + (start - end) * rest
            result = new if result is None else where(step > first, new, result)
            first = phase["end_step"]
        return result

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step; ``base_lr`` is the one at the start."""
        held = self.optimizer.param_groups[group]
        bounds = {"initial_lr": base_lr, "max_lr": rate(held, "max_lr"), "min_lr": rate(held, "min_lr")}
        return self._anneal(step, bounds, "lr")

    def _momentum(self, step: int, group: int) -> float:
        """Return a group's momentum at a step."""
        return self._anneal(step, self.optimizer.param_groups[group], "momentum")


def _phases(rise: float, total: int, three: bool) -> list[dict[str, Any]]:
    """Return where each phase ends and what it goes between, under torch's keys."""
    corners = [(0.0, "initial_lr", "max_momentum"), (rise - 1.0, "max_lr", "base_momentum")]
    if three:
        corners.append((2 * rise - 2.0, "initial_lr", "max_momentum"))
    corners.append((total - 1, "min_lr", "max_momentum"))
    names = ("start_lr", "start_momentum", "end_step", "end_lr", "end_momentum")
    return [dict(zip(names, (*start[1:], *end), strict=True)) for start, end in itertools.pairwise(corners)]
