"""AdamW: Adam whose weight decay does not pass through the moments."""

from __future__ import annotations

from typing import Any

from nbopt.optim.adam import Adam


class AdamW(Adam):
    """Adam with decoupled weight decay: parameters shrink by ``lr * weight_decay`` each step.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused
        As in `Adam`.
    weight_decay : float, in [0, inf)
        Times ``lr``, the share of each parameter that is taken off before the step.

    References
    ----------
    I. Loshchilov, F. Hutter: Decoupled weight decay regularization, ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0])
    >>> nbopt.AdamW([w], lr=0.1, weight_decay=0.5).step(grads=[np.zeros(1)])
    >>> w
    array([0.95])
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip

    def adopt_group(self, group: dict[str, Any]) -> None:
        """Keep the decay decoupled, whatever a checkpoint of Adam's says."""
        group["decoupled_weight_decay"] = True
