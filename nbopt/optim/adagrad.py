"""Adagrad: steps divided by the root of the sum of all squared gradients."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, Range


def adagrad(p, g, state, h):
    """Duchi, Hazan and Singer 2011, figure 1, diagonal form."""
    t = p.dtype.type
    sign, decay, step, eps = t(h[0]), t(h[1]), t(h[2]), t(h[3])
    total, _, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        si = total[i] + gi * gi
        p[i] = pi - step * gi / (math.sqrt(si) + eps)
        total[i] = si


class Adagrad(ElementwiseOptimizer):
    """Adagrad: each element's rate falls with the gradients that it has seen.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    lr_decay : float, in [0, inf)
        The rate at step t is ``lr / (1 + (t - 1) * lr_decay)``.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient.
    initial_accumulator_value : float, in [0, inf)
        What the sums start from; may differ between groups (torch ignores that).
    eps : float, in [0, inf)
        Added to the root.
    foreach, differentiable, fused : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    Notes
    -----
    The state exists from the start, as in torch. Gradients may be sparse, without weight decay.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer: Adaptive subgradient methods for online learning and stochastic
    optimization, JMLR 12 (2011), figure 1.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> nbopt.Adagrad([w], lr=0.5).step(grads=[2 * w])
    >>> w
    array([ 0.5, -1.5])
    """

    sparse: ClassVar[bool | str] = True
    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "lr_decay": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "initial_accumulator_value": NON_NEGATIVE,
        "eps": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group and start its sums."""
        super().add_param_group(param_group)
        self._start(self.param_groups[-1])

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return adagrad, ("sum",)

    def initial(self, group: dict[str, Any], name: str) -> float:
        """Return what the sums start from."""
        return group["initial_accumulator_value"]

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, decay, the decayed rate and eps."""
        sign, step = -1.0 if group["maximize"] else 1.0, group["lr"] / (1.0 + (t - 1) * group["lr_decay"])
        return sign, group["weight_decay"], step, group["eps"]
