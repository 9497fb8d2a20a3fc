"""ASGD: gradient descent with a decaying rate, and the average of where it has been."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, REAL, Range
from nbopt.optim.state_dict import into_array


def asgd(p, g, state, h):
    """Bottou 2010, section 5, after Polyak and Juditsky 1992: step, then average."""
    t = p.dtype.type
    sign, decay, keep, eta, mu = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4])
    average, _, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        pi = keep * pi - eta * gi
        ai = average[i]
        p[i] = pi
        average[i] = pi if mu == t(1) else ai + (pi - ai) * mu


class ASGD(ElementwiseOptimizer):
    """Averaged stochastic gradient descent.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        First step size.
    lambd : float
        Decay: the rate after step t is ``lr / (1 + lambd * lr * t) ** alpha``, and parameters shrink
        by ``lambd`` times the rate.
    alpha : float
        Power of the decay.
    t0 : float
        Step after which averaging starts.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient.
    foreach, differentiable, capturable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    As in torch the rate of a step is computed at the end of the step before, so that a new ``lr``
    takes effect one step late. Rate and weight of the average are kept in float64 (torch: float32).

    References
    ----------
    B. T. Polyak, A. B. Juditsky: Acceleration of stochastic approximation by averaging, SIAM J.
    Control Optim. 30 (1992). L. Bottou: Large-scale machine learning with SGD, COMPSTAT 2010.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = nbopt.ASGD([w], lr=0.1, lambd=0.0, t0=0)
    >>> for _ in range(3):
    ...     opt.step(grads=[np.ones(2)])
    >>> w.round(3), opt.averages()[0].round(3)
    (array([ 0.7, -2.3]), array([ 0.75, -2.25]))
    """

    scalars: ClassVar[dict[str, float]] = {"eta": np.nan, "mu": 1.0}
    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "lambd": REAL,
        "alpha": REAL,
        "t0": REAL,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def averages(self) -> list[np.ndarray | None]:
        """Return copies of the averaged parameters, in order; None where there was no step yet."""
        found = [self.state.get(p, {}).get("ax") for g in self.param_groups for p in g["params"]]
        return [None if a is None else into_array(a) for a in found]

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return asgd, ("ax",)

    def first_scalars(self, group: dict[str, Any]) -> tuple[float, ...]:
        """Return the first rate and the first weight."""
        return float(group["lr"]), 1.0

    def next_scalars(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return the rate and the weight in the average for the step after ``t``."""
        lr = float(group["lr"])
        return lr / (1.0 + group["lambd"] * lr * t) ** group["alpha"], 1.0 / max(1.0, t - group["t0"])

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, decay, kept share, rate and weight in the average."""
        sign, (eta, mu) = -1.0 if group["maximize"] else 1.0, scalars
        return sign, group["weight_decay"], 1.0 - group["lambd"] * eta, eta, mu
