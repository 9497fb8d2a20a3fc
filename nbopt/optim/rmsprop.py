"""RMSprop: steps scaled by a running mean of squared gradients, centered or not."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, Range


def plain(p, g, state, h):
    """Tieleman and Hinton 2012, lecture 6.5; eps stands outside the root."""
    t = p.dtype.type
    sign, decay, keep, share, lr, eps = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5])
    square, _, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        si = keep * square[i] + share * gi * gi
        p[i] = pi - lr * gi / (math.sqrt(si) + eps)
        square[i] = si


def with_momentum(p, g, state, h):
    """RMSprop whose scaled gradients feed a momentum buffer."""
    t = p.dtype.type
    sign, decay, keep, share, lr, eps, mu = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5]), t(h[6])
    square, buffer, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        si = keep * square[i] + share * gi * gi
        bi = mu * buffer[i] + gi / (math.sqrt(si) + eps)
        p[i] = pi - lr * bi
        square[i], buffer[i] = si, bi


def centered(p, g, state, h):
    """Graves 2013, equations 38 to 41: the scale is an estimate of the gradient's variance."""
    t = p.dtype.type
    sign, decay, keep, share, lr, eps = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5])
    square, mean, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        si = keep * square[i] + share * gi * gi
        ai = mean[i] + share * (gi - mean[i])
        p[i] = pi - lr * gi / (math.sqrt(si - ai * ai) + eps)
        square[i], mean[i] = si, ai


def centered_with_momentum(p, g, state, h):
    """Graves 2013, equations 38 to 41, with its momentum."""
    t = p.dtype.type
    sign, decay, keep, share, lr, eps, mu = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4]), t(h[5]), t(h[6])
    square, buffer, mean = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        si = keep * square[i] + share * gi * gi
        ai = mean[i] + share * (gi - mean[i])
        bi = mu * buffer[i] + gi / (math.sqrt(si - ai * ai) + eps)
        p[i] = pi - lr * bi
        square[i], buffer[i], mean[i] = si, bi, ai


class RMSprop(ElementwiseOptimizer):
    """RMSprop: steps divided by the root of a running mean of squared gradients.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    alpha : float, in [0, inf)
        Decay rate of the running mean; below 1 for a mean.
    eps : float, in [0, inf)
        Added to the root.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient.
    momentum : float, in [0, inf)
        Share of the last direction that is kept.
    centered : bool
        Divide by the root of the variance instead of the mean square. Under a constant gradient the
        variance goes to 0 and steps grow without bound.
    capturable, foreach, differentiable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    T. Tieleman, G. Hinton: Lecture 6.5, Neural networks for machine learning, 2012.
    A. Graves: Generating sequences with recurrent neural networks, arXiv 1308.0850, equations 38-45.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> nbopt.RMSprop([w], lr=0.01, alpha=0.75).step(grads=[2 * w])
    >>> w.round(6)
    array([ 0.98, -1.98])
    """

    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "alpha": NON_NEGATIVE,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        if group["momentum"] > 0:
            if group["centered"]:
                return centered_with_momentum, ("square_avg", "momentum_buffer", "grad_avg")
            return with_momentum, ("square_avg", "momentum_buffer")
        if group["centered"]:
            return centered, ("square_avg", "grad_avg")
        return plain, ("square_avg",)

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, decay, alpha, 1 - alpha, lr, eps and momentum."""
        sign, alpha = -1.0 if group["maximize"] else 1.0, group["alpha"]
        return sign, group["weight_decay"], alpha, 1.0 - alpha, group["lr"], group["eps"], group["momentum"]
