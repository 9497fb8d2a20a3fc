"""NAdam: Adam with Nesterov's momentum and a schedule for it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import DECAYS, NON_NEGATIVE, Range


def nadam(p, g, state, h):
    """Dozat 2016, algorithm 2, with the momentum schedule of its section 2."""
    t = p.dtype.type
    sign, keep, decay, b2, a1, a2, root, eps, now, ahead = (
        t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5]), t(h[6]), t(h[7]), t(h[8]), t(h[9]),
    )  # fmt: skip
    m, v, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        mi = m[i] + a1 * (gi - m[i])
        vi = b2 * v[i] + a2 * gi * gi
        p[i] = keep * pi - (now * gi + ahead * mi) / (math.sqrt(vi) * root + eps)
        m[i], v[i] = mi, vi


class NAdam(ElementwiseOptimizer):
    """NAdam: Adam that looks one step of momentum ahead.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    betas : pair of float, each in [0, 1)
        Decay rates of the running means; the first is approached as momentum_decay says.
    eps : float, in [0, inf)
        Added to the root of the corrected second mean.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient (L2), or taken off directly if decoupled.
    momentum_decay : float, in [0, inf)
        Momentum at step t is ``betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))``.
    decoupled_weight_decay : bool
        Decay as in `AdamW`.
    foreach, capturable, differentiable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    The running product of momenta is kept in float64 (torch: float32).

    References
    ----------
    T. Dozat: Incorporating Nesterov momentum into Adam, ICLR workshop 2016, algorithm 2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = nbopt.NAdam([w], lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(grads=[2 * w])
    >>> bool(np.abs(w).max() < 0.01)
    True
    """

    scalars: ClassVar[dict[str, float]] = {"mu_product": 1.0}
    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "betas": DECAYS,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return nadam, ("exp_avg", "exp_avg_sq")

    def _momentum(self, group: dict[str, Any], t: int) -> float:
        """Return the momentum of step ``t``."""
        return group["betas"][0] * (1.0 - 0.5 * 0.96 ** (t * group["momentum_decay"]))

    def next_scalars(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return the product of momenta after step ``t``."""
        return (scalars[0] * self._momentum(group, t),)

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, kept share, decay, beta2, 1 - betas, root, eps and the two steps."""
        lr, (b1, b2), decay = float(group["lr"]), group["betas"], group["weight_decay"]
        keep = 1.0
        if group["decoupled_weight_decay"]:
            keep, decay = 1.0 - lr * decay, 0.0
        mu, after = self._momentum(group, t), self._momentum(group, t + 1)
        product = scalars[0] * mu
        now, ahead = lr * (1.0 - mu) / (1.0 - product), lr * after / (1.0 - product * after)
        sign = -1.0 if group["maximize"] else 1.0
        root = 1.0 / math.sqrt(1.0 - b2**t)  # to multiply by: a division costs as much as the root
        return sign, keep, decay, b2, 1.0 - b1, 1.0 - b2, root, group["eps"], now, ahead
