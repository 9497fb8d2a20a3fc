"""RAdam: Adam that waits until the variance of its step size is finite."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import DECAYS, NON_NEGATIVE, Range


def radam(p, g, state, h):
    """Liu et al. 2020, algorithm 2; (adapt, plain) is (1, 0) once the step is rectified, else (0, 1)."""
    t = p.dtype.type
    sign, keep, decay, b2, a1, a2, step, eps, adapt, plain = (
        t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5]), t(h[6]), t(h[7]), t(h[8]), t(h[9]),
    )  # fmt: skip
    m, v, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        mi = m[i] + a1 * (gi - m[i])
        vi = b2 * v[i] + a2 * gi * gi
        p[i] = keep * pi - step * mi / (adapt * (math.sqrt(vi) + eps) + plain)
        m[i], v[i] = mi, vi


class RAdam(ElementwiseOptimizer):
    """RAdam: momentum at first, Adam with a rectified step once its second mean can be trusted.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    betas : pair of float, each in [0, 1)
        Decay rates of the two running means.
    eps : float, in [0, inf)
        Added to the root of the second mean, before its bias correction.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient (L2), or taken off directly if decoupled.
    decoupled_weight_decay : bool
        Decay as in `AdamW`.
    foreach, capturable, differentiable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    L. Liu et al.: On the variance of the adaptive learning rate and beyond, ICLR 2020, algorithm 2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> nbopt.RAdam([w], lr=0.1).step(grads=[2 * w])
    >>> w
    array([ 0.8, -1.6])
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
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return radam, ("exp_avg", "exp_avg_sq")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, kept share, decay, beta2, 1 - betas, step, eps and which way to step."""
        lr, (b1, b2), decay = float(group["lr"]), group["betas"], group["weight_decay"]
        keep = 1.0
        if group["decoupled_weight_decay"]:
            keep, decay = 1.0 - lr * decay, 0.0
        bc2, step = 1.0 - b2**t, lr / (1.0 - b1**t)
        longest = 2.0 / (1.0 - b2) - 1.0
        length = longest - 2.0 * t * b2**t / bc2
        adapt, plain = 0.0, 1.0
        if length > 5.0:
            adapt, plain = 1.0, 0.0
            top = (length - 4.0) * (length - 2.0) * longest
            step *= math.sqrt(bc2) * math.sqrt(top / ((longest - 4.0) * (longest - 2.0) * length))
        sign = -1.0 if group["maximize"] else 1.0
        return sign, keep, decay, b2, 1.0 - b1, 1.0 - b2, step, group["eps"], adapt, plain
