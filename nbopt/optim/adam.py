"""Adam and its AMSGrad variant."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import DECAYS, NON_NEGATIVE, Range


def adam(p, g, state, h):
    """Kingma and Ba 2015, algorithm 1; with keep < 1 Loshchilov and Hutter 2019, algorithm 2."""
    t = p.dtype.type
    sign, keep, decay, b2, a1, a2, step, root, eps = (
        t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5]), t(h[6]), t(h[7]), t(h[8]),
    )  # fmt: skip
    m, v, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        mi = m[i] + a1 * (gi - m[i])
        vi = b2 * v[i] + a2 * gi * gi
        p[i] = keep * pi - step * mi / (math.sqrt(vi) * root + eps)
        m[i], v[i] = mi, vi


def amsgrad(p, g, state, h):
    """Adam with the largest second moment so far: Reddi, Kale and Kumar 2018, algorithm 2."""
    t = p.dtype.type
    sign, keep, decay, b2, a1, a2, step, root, eps = (
        t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5]), t(h[6]), t(h[7]), t(h[8]),
    )  # fmt: skip
    m, v, top = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        mi = m[i] + a1 * (gi - m[i])
        vi = b2 * v[i] + a2 * gi * gi
        ti = np.maximum(top[i], vi)
        p[i] = keep * pi - step * mi / (math.sqrt(ti) * root + eps)
        m[i], v[i], top[i] = mi, vi, ti


class Adam(ElementwiseOptimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    betas : pair of float, each in [0, 1)
        Decay rates of the two running means.
    eps : float, in [0, inf)
        Added to the root of the second mean, after its bias correction.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient (L2), or taken off directly if decoupled.
    amsgrad : bool
        Divide by the largest second mean so far.
    foreach, capturable, differentiable, fused : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.
    decoupled_weight_decay : bool
        Decay as in `AdamW`.

    Raises
    ------
    ValueError, TypeError
        If an option is outside its range, here, in a group, or when edited later.

    References
    ----------
    D. P. Kingma, J. Ba: Adam, a method for stochastic optimization, ICLR 2015, algorithm 1.
    S. J. Reddi, S. Kale, S. Kumar: On the convergence of Adam and beyond, ICLR 2018, algorithm 2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = nbopt.Adam([w], lr=0.1)
    >>> for _ in range(200):
    ...     opt.step(grads=[2 * w])
    >>> bool(np.abs(w).max() < 0.01)
    True
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
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        if group["amsgrad"]:
            return amsgrad, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        return adam, ("exp_avg", "exp_avg_sq")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, kept share, L2 decay, beta2, 1 - beta1, 1 - beta2, step, root, eps."""
        lr, (b1, b2), decay = float(group["lr"]), group["betas"], group["weight_decay"]
        keep = 1.0
        if group["decoupled_weight_decay"]:
            keep, decay = 1.0 - lr * decay, 0.0
        sign = -1.0 if group["maximize"] else 1.0
        root = 1.0 / math.sqrt(1.0 - b2**t)  # to multiply by: a division costs as much as the root
        return sign, keep, decay, b2, 1.0 - b1, 1.0 - b2, lr / (1.0 - b1**t), root, group["eps"]
