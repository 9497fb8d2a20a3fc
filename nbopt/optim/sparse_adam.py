"""SparseAdam: Adam whose moments and steps touch only the rows that have a gradient."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.parameter import Parameter
from nbopt.optim.ranges import DECAYS, POSITIVE, Range


def sparse_adam(p, g, state, h):
    """Kingma and Ba 2015, section 2 (the form with epsilon-hat), on stored entries only."""
    t = p.dtype.type
    sign, a1, a2, step, eps = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4])
    m, v, _ = state
    for i in range(p.size):
        gi = sign * g[i]
        mi = m[i] + a1 * (gi - m[i])
        vi = v[i] + a2 * (gi * gi - v[i])
        p[i] -= step * (mi / (math.sqrt(vi) + eps))
        m[i], v[i] = mi, vi


class SparseAdam(ElementwiseOptimizer):
    """Adam for sparse gradients: embedding tables of which each step touches a few rows.

    Parameters
    ----------
    params : iterable
        Dense parameters; their gradients are ``(indices, values)`` of rows, scipy.sparse arrays (for
        2-D parameters) or sparse torch tensors. Entries that occur twice are summed.
    lr : float, in (0, inf)
        Step size.
    betas : pair of float, each in [0, 1)
        Decay rates of the two running means.
    eps : float, in (0, inf)
        Added to the root of the second mean, before its bias correction.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    RuntimeError
        At a step, if a gradient is dense.

    Notes
    -----
    All rows share one step count: a row that was not touched for long does not decay and meets late
    bias corrections, as in torch.

    References
    ----------
    D. P. Kingma, J. Ba: Adam, a method for stochastic optimization, ICLR 2015, section 2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> table = np.zeros((1000, 4))
    >>> opt = nbopt.SparseAdam([table], lr=0.1)
    >>> opt.step(grads=[(np.array([3, 7]), np.ones((2, 4)))])
    >>> np.flatnonzero(table.any(axis=1))
    array([3, 7])
    """

    sparse: ClassVar[bool | str] = "only"
    takes_device_arrays: ClassVar[bool] = False
    ranges: ClassVar[dict[str, Range]] = {"lr": POSITIVE, "betas": DECAYS, "eps": POSITIVE}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges, and that the parameters are real."""
        super().check_group(group)
        for k, p in enumerate(group["params"]):
            if p.data.dtype.kind == "c" if isinstance(p, Parameter) else p.is_complex():
                raise ValueError(f"SparseAdam: parameter {k} is complex; it must be real")

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return sparse_adam, ("exp_avg", "exp_avg_sq")

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, 1 - betas, step and eps."""
        b1, b2 = group["betas"]
        step = group["lr"] * math.sqrt(1.0 - b2**t) / (1.0 - b1**t)
        return -1.0 if group["maximize"] else 1.0, 1.0 - b1, 1.0 - b2, step, group["eps"]
