"""Adafactor on one vector, as a loop for minimize(): there is no matrix to factor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbopt.kernels.reductions import dot
from nbopt.optim.adafactor import Adafactor
from nbopt.optim.elementwise import ElementwiseOptimizer


def vector_adafactor(p, g, state, h):
    """Shazeer and Stern 2018, algorithm 5, in torch's form; the whole vector at once, for its two norms."""
    sign, weight, rate, keep, eps1, eps2, d = h[0], h[1], h[2], h[3], h[4], h[5], h[6]
    variance, update, _ = state
    n = p.size
    alpha = max(eps2, math.sqrt(dot(p, p) / n)) * rate
    for i in range(n):
        gi = sign * g[i]
        vi = variance[i] + weight * (gi * gi - variance[i])
        update[i] = gi / math.sqrt(max(vi, eps1 * eps1))
        variance[i] = vi
    step = alpha / max(1.0, math.sqrt(dot(update, update) / n) / d)
    for i in range(n):
        p[i] = keep * p[i] - step * update[i]


class VectorAdafactor(ElementwiseOptimizer):
    """Adafactor's options and numbers for `vector_adafactor`; only minimize() uses it."""

    options_of = Adafactor

    def __init__(self, params: Any, **options: Any) -> None:
        checked = Adafactor([np.zeros(1)], **options)
        super().__init__(params, checked.defaults)

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and its arrays."""
        return vector_adafactor, ("variance", "update")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, weight of the new square, rate, kept share, both eps and the threshold."""
        lr, (eps1, eps2) = float(group["lr"]), group["eps"]
        eps1 = float(np.finfo(np.float64).eps) if eps1 is None else eps1
        rate, keep = min(lr, 1.0 / math.sqrt(t)), 1.0 - lr * group["weight_decay"]
        sign = -1.0 if group["maximize"] else 1.0
        return sign, t ** group["beta2_decay"], rate, keep, eps1, eps2, group["d"]
