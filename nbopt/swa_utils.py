"""Averages of parameters over the steps (SWA, EMA), and SWALR, the schedule that goes with them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nbopt.lr_scheduler.checks import choice, number, whole
from nbopt.lr_scheduler.groups import check_optimizer, rate
from nbopt.lr_scheduler.pointwise import cos, lesser, where
from nbopt.lr_scheduler.scheduler import LRScheduler
from nbopt.optim.parameter import Parameter
from nbopt.optim.ranges import FRACTION, NON_NEGATIVE

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

AvgFn = Callable[[Any, Any, Any], Any]


def get_ema_avg_fn(decay: float = 0.999) -> AvgFn:
    """Return the function of an exponential moving average of one array.

    Parameters
    ----------
    decay : float in [0, 1]
        Share of the old average.

    Returns
    -------
    callable
        ``f(average, current, n_averaged) -> decay * average + (1 - decay) * current``.
    """
    keep = number("get_ema_avg_fn", "decay", decay, FRACTION)

    def ema(average: Any, current: Any, n_averaged: Any) -> Any:
        return keep * average + (1 - keep) * current

    return ema


def get_swa_avg_fn() -> AvgFn:
    """Return the function of an equally weighted average of one array.

    Returns
    -------
    callable
        ``f(average, current, n_averaged) -> average + (current - average) / (n_averaged + 1)``.
    """

    def swa(average: Any, current: Any, n_averaged: Any) -> Any:
        return average + (current - average) / (int(n_averaged) + 1)

    return swa


def get_ema_multi_avg_fn(decay: float = 0.999) -> AvgFn:
    """Return the function of an exponential moving average of a list of arrays, in place.

    Parameters
    ----------
    decay : float in [0, 1]
        Share of the old average.

    Returns
    -------
    callable
        ``f(averages, currents, n_averaged)``.
    """
    keep = number("get_ema_multi_avg_fn", "decay", decay, FRACTION)

    def ema(averages: Sequence[Any], currents: Sequence[Any], n_averaged: Any) -> None:
        _move(averages, currents, 1 - keep)

    return ema


def get_swa_multi_avg_fn() -> AvgFn:
    """Return the function of an equally weighted average of a list of arrays, in place.

    Returns
    -------
    callable
        ``f(averages, currents, n_averaged)``.
    """

    def swa(averages: Sequence[Any], currents: Sequence[Any], n_averaged: Any) -> None:
        _move(averages, currents, 1 / (int(n_averaged) + 1))

    return swa


def _move(averages: Sequence[Any], currents: Sequence[Any], weight: float) -> None:
    """Move each average by a share of its way to the current value."""
    for average, current in zip(averages, currents, strict=True):
        average[...] = average + weight * (current - average)


class AveragedModel:
    """A running average of parameters.

    Parameters
    ----------
    model : dict of arrays, list of arrays, or torch.nn.Module
        What to average: names to arrays, or arrays (or Parameters), floating or complex. For a
        torch module the result is torch's own AveragedModel, a module itself, with our averages.
    device : optional
        For torch modules only.
    avg_fn : callable, optional
        ``f(average, current, n_averaged)`` returns the new average of one array.
    multi_avg_fn : callable, optional
        ``f(averages, currents, n_averaged)`` changes a list of averages in place.
        Without either all steps weigh the same (SWA).
    use_buffers : bool
        For torch modules only: average the buffers too.

    Attributes
    ----------
    module : dict or list
        The averages, in the form of ``model``; a copy of it until the first update.
    n_averaged : int
        Number of updates so far. The first one copies.

    Notes
    -----
    Unlike torch's, the equally weighted average takes its weight ``1 / (n + 1)`` in double precision
    and integer buffers of a module.

    References
    ----------
    Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.swa_utils import AveragedModel
    >>> w = np.array([1.0, 2.0])
    >>> average = AveragedModel({"w": w})
    >>> for _ in range(3):
    ...     average.update_parameters({"w": w})
    ...     w += 1.0
    >>> average.module["w"], average.n_averaged
    (array([2., 3.]), 3)
    """

    module: Any
    n_averaged: int

    def __new__(
        cls,
        model: Any = None,
        device: Any = None,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: AvgFn | None = None,
        use_buffers: bool = False,
    ) -> Any:
        """Return a new object; for a torch module one of torch's."""
        if not _is_module(model):
            return super().__new__(cls)
        from torch.optim.swa_utils import AveragedModel as AveragedModule

        if avg_fn is None and multi_avg_fn is None:
            multi_avg_fn = get_swa_multi_avg_fn()
        return AveragedModule(model, device, avg_fn, multi_avg_fn, use_buffers)

    def __init__(
        self,
        model: Any,
        device: Any = None,
        avg_fn: AvgFn | None = None,
        multi_avg_fn: AvgFn | None = None,
        use_buffers: bool = False,
    ) -> None:
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        for name, value in {"device": device, "use_buffers": use_buffers or None}.items():
            if value is not None:
                raise ValueError(f"AveragedModel: {name}={value!r} has a meaning for torch modules only")
        for name, array in _named(model).items():
            if array.dtype.kind not in "fc":
                raise TypeError(
                    f"AveragedModel: {name} has dtype {array.dtype}; only floating and complex arrays "
                    "have an average"
                )
        self.module = _copied(model)
        self.n_averaged = 0
        self.avg_fn, self.multi_avg_fn = avg_fn, multi_avg_fn

    def parameters(self) -> list[np.ndarray]:
        """Return the averages as a list of arrays."""
        return list(_named(self.module).values())

    def update_parameters(self, model: Any) -> None:
        """Take the present parameters into the average.

        Parameters
        ----------
        model : dict or list of arrays
            Of the same names and shapes as at construction.

        Raises
        ------
        ValueError
            If names or shapes differ; nothing has changed then.
        """
        self._accept(_named(model), "update_parameters: model")

    def _accept(self, current: dict[str, np.ndarray], what: str) -> None:
        """Check names and shapes, and average."""
        mine = _check_same(_named(self.module), current, what)
        averages, currents = list(mine.values()), [current[name] for name in mine]
        if self.n_averaged == 0:
            for average, array in zip(averages, currents, strict=True):
                average[...] = array
        elif self.avg_fn is not None:
            new = [self.avg_fn(a, c, self.n_averaged) for a, c in zip(averages, currents, strict=True)]
            for average, array in zip(averages, new, strict=True):
                average[...] = array
        else:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, currents, self.n_averaged)
        self.n_averaged += 1

    def state_dict(self) -> dict[str, Any]:
        """Return a copy: ``{"n_averaged": int, "module.<name or number>": array, ...}``."""
        arrays = {f"module.{name}": array.copy() for name, array in _named(self.module).items()}
        return {"n_averaged": self.n_averaged, **arrays}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state; on an error nothing has changed.

        Raises
        ------
        ValueError
            If its names or shapes are not those of this average.
        """
        state = dict(state_dict)
        count = whole("AveragedModel", "state_dict['n_averaged']", state.pop("n_averaged", None), 0)
        arrays = {str(name).removeprefix("module."): np.asarray(array) for name, array in state.items()}
        mine = _check_same(_named(self.module), arrays, "load_state_dict: the state")
        for name, average in mine.items():
            average[...] = arrays[name]
        self.n_averaged = count


def _is_module(model: Any) -> bool:
    """Tell whether a model is torch's; if torch was never imported it cannot be."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _named(model: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a model by name; those of a list are numbered."""
    if isinstance(model, np.ndarray | Parameter | str) or not isinstance(model, Mapping | Iterable):
        raise TypeError(
            f"AveragedModel: model must be a dict or list of arrays, or a torch module, but got "
            f"{type(model).__name__}"
        )
    items = model.items() if isinstance(model, Mapping) else enumerate(model)
    arrays = {str(name): p.data if isinstance(p, Parameter) else p for name, p in items}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise TypeError(f"AveragedModel: {name} must be an array, but is {type(array).__name__}")
    return arrays


def _copied(model: Any) -> Any:
    """Return a model of the same form over copies of its arrays, without gradients."""

    def copied(p: Any) -> Any:
        return Parameter(p.data.copy(), name=p.name) if isinstance(p, Parameter) else p.copy()

    if isinstance(model, Mapping):
        return {name: copied(p) for name, p in model.items()}
    return [copied(p) for p in model]


def _check_same(mine: dict[str, Any], theirs: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the first if names and shapes are the same in both, else raise."""
    differ = sorted(mine.keys() ^ theirs.keys())
    if differ:
        raise ValueError(f"AveragedModel.{what} and the average do not both have {differ}")
    for name, array in mine.items():
        if array.shape != theirs[name].shape:
            raise ValueError(
                f"AveragedModel.{what} has shape {theirs[name].shape} for {name}, the average {array.shape}"
            )
    return mine


def update_bn(loader: Iterable[Any], model: Any, device: Any = None) -> None:
    """Compute the statistics of BatchNorm layers anew, in one pass over the data.

    For torch modules only: plain arrays have no such layers.

    Parameters
    ----------
    loader : iterable
        Of batches, or of lists and tuples that start with one.
    model : torch.nn.Module
        Its statistics are reset and computed.
    device : optional
        Where batches are sent before the model sees them.
    """
    if not _is_module(model):
        raise TypeError(f"update_bn: model must be a torch module, but got {type(model).__name__}")
    from torch.optim.swa_utils import update_bn as update

    update(loader, model, device)


class SWALR(LRScheduler):
    """The rate goes from what it is to ``swa_lr`` in ``anneal_epochs`` steps, and stays there.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates to set.
    swa_lr : float or list of float, >= 0
        The rate to end at, for all groups or for each.
    anneal_epochs : int >= 0
        How many steps it takes; 0 sets the rate at once.
    anneal_strategy : {"cos", "linear"}
        Shape of the way.
    last_epoch : int >= -1
        See `LRScheduler`.

    Notes
    -----
    Each step takes back the last blend of rates and makes the next, so another scheduler may run
    beside it. Unlike torch it counts by ``last_epoch``, so resuming by ``last_epoch`` goes on where
    it was; torch starts the way anew.

    References
    ----------
    Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018.

    Examples
    --------
    >>> from nbopt.swa_utils import SWALR
    >>> SWALR.schedule(swa_lr=0.1, anneal_epochs=4, anneal_strategy="linear").table(6, lr=0.5)
    array([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])
    """

    _transient: ClassVar[frozenset[str]] = LRScheduler._transient | {"_swa_lrs"}
    _from_base: ClassVar[bool] = False
    _swa_lrs: list[float]

    def __init__(
        self,
        optimizer: Any,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = check_optimizer(self._owner, optimizer)
        self._anneal_strategy = choice(self._owner, "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.anneal_epochs = whole(self._owner, "anneal_epochs", anneal_epochs, 0)
        self._spread("_swa_lrs", "swa_lr", swa_lr, _swa_rate)
        for group, end in zip(optimizer.param_groups, self._swa_lrs, strict=True):
            group["swa_lr"] = end
        super().__init__(optimizer, last_epoch)

    def _adopt(self, k: int, group: dict[str, Any]) -> None:
        """Give a new group its base rate and the rate to end at."""
        group["swa_lr"] = self._swa_lrs[k]
        super()._adopt(k, group)

    def _share(self, step: Any) -> Any:
        """Return the share of ``swa_lr`` in the rate at a step."""
        way = step / self.anneal_epochs if self.anneal_epochs else where(step < 0, 0.0, 1.0)
        way = lesser(where(way < 0, 0.0, way), 1.0)
        return way if self._anneal_strategy == "linear" else (1 - cos(math.pi * way)) / 2

    def value(self, step: Any, base_lr: float, group: int = 0) -> Any:
        """Return the rate at a step from the base rate."""
        share = self._share(step)
        return rate(self.optimizer.param_groups[group], "swa_lr") * share + base_lr * (1 - share)

    def _advance(self, step: int, lr: float, base_lr: float, group: int) -> Any:
        """Return the rate at a step from the rate before it."""
        end, before = rate(self.optimizer.param_groups[group], "swa_lr"), self._share(step - 1)
        start = end if before == 1.0 else (lr - before * end) / (1 - before)
        return self.value(step, start, group)

    def _get_closed_form_lr(self) -> list[float]:
        """Return what `get_lr` does: in torch, too, an epoch only sets the count."""
        return self.get_lr()


def _swa_rate(owner: str, name: str, value: Any) -> float:
    """Return a checked rate."""
    return number(owner, name, value, NON_NEGATIVE)
