"""Adamax: Adam with the infinity norm in place of the second moment."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import DECAYS, NON_NEGATIVE, Range


def adamax(p, g, state, h):
    """Kingma and Ba 2015, algorithm 2; eps stands inside the maximum."""
    t = p.dtype.type
    sign, decay, b2, a1, step, eps = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5])
    m, u, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        mi = m[i] + a1 * (gi - m[i])
        ui = np.maximum(b2 * u[i], abs(gi) + eps)
        p[i] = pi - step * (mi / ui)
        m[i], u[i] = mi, ui


class Adamax(ElementwiseOptimizer):
    """Adamax: steps scaled by the largest recent gradient.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    betas : pair of float, each in [0, 1)
        Decay rates of the mean gradient and of the largest one.
    eps : float, in [0, inf)
        Added to the magnitude of each gradient.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient.
    foreach, differentiable, capturable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    D. P. Kingma, J. Ba: Adam, a method for stochastic optimization, ICLR 2015, algorithm 2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> nbopt.Adamax([w], lr=0.5).step(grads=[2 * w])
    >>> w
    array([ 0.5, -1.5])
    """

    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "betas": DECAYS,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return adamax, ("exp_avg", "exp_inf")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, L2 decay, beta2, 1 - beta1, step and eps."""
        b1, b2 = group["betas"]
        sign = -1.0 if group["maximize"] else 1.0
        return sign, group["weight_decay"], b2, 1.0 - b1, group["lr"] / (1.0 - b1**t), group["eps"]
