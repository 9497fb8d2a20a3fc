"""Adadelta: steps in the parameters' own units, from running means of steps and gradients."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import FRACTION, NON_NEGATIVE, Range


def adadelta(p, g, state, h):
    """Zeiler 2012, algorithm 1, times a learning rate."""
    t = p.dtype.type
    sign, decay, keep, share, lr, eps = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5])
    square, steps, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        si = keep * square[i] + share * gi * gi
        di = t(math.sqrt(steps[i] + eps)) / t(math.sqrt(si + eps)) * gi
        p[i] = pi - lr * di
        steps[i] = keep * steps[i] + share * di * di
        square[i] = si


class Adadelta(ElementwiseOptimizer):
    """Adadelta: the ratio of the root mean squares of past steps and gradients sets the step.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Factor on the step; 1 is Zeiler's method.
    rho : float, in [0, 1]
        Decay rate of both running means.
    eps : float, in [0, inf)
        Added inside both roots.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient.
    foreach, capturable, differentiable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    M. D. Zeiler: ADADELTA, an adaptive learning rate method, arXiv 1212.5701, algorithm 1.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> nbopt.Adadelta([w]).step(grads=[2 * w])
    >>> w.round(4)
    array([ 0.9968, -1.9968])
    """

    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "rho": FRACTION,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return adadelta, ("square_avg", "acc_delta")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, decay, rho, 1 - rho, lr and eps."""
        sign, rho = -1.0 if group["maximize"] else 1.0, group["rho"]
        return sign, group["weight_decay"], rho, 1.0 - rho, group["lr"], group["eps"]
