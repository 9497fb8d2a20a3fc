"""Rprop: step sizes that grow while the gradient keeps its sign and shrink when it changes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, Range, as_number


def rprop(p, g, state, h):
    """Igel and Huesken 2000, iRprop-: after a change of sign the element rests for one step."""
    t = p.dtype.type
    sign, shrink, grow, least, most = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4])
    zero, one = t(0), t(1)
    previous, size, _ = state
    for i in range(p.size):
        gi = sign * g[i]
        trend = gi * previous[i]
        factor = grow if trend > zero else (shrink if trend < zero else one)
        si = np.minimum(np.maximum(size[i] * factor, least), most)
        gi = zero if trend < zero else gi
        p[i] -= np.sign(gi) * si
        previous[i], size[i] = gi, si


class Rprop(ElementwiseOptimizer):
    """Rprop: only the signs of the gradients count. For full batches, not for noisy ones.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        First step size of every element; a schedule on ``lr`` changes nothing after the first step.
    etas : pair of float, ``0 < etas[0] < 1 < etas[1]``
        Factors on a step size when the sign changed, and when it stayed.
    step_sizes : pair of float
        Smallest and largest step size.
    capturable, foreach, differentiable : optional
        Accepted for torch's sake; every step is one fused launch.
    maximize : bool
        Ascend instead of descend.

    References
    ----------
    M. Riedmiller, H. Braun: A direct adaptive method for faster backpropagation learning, ICNN 1993.
    C. Igel, M. Huesken: Improving the Rprop learning algorithm, NC 2000 (the variant iRprop-).

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = nbopt.Rprop([w], lr=0.1)
    >>> for _ in range(60):
    ...     opt.step(grads=[2 * w])
    >>> bool(np.abs(w).max() < 1e-3)
    True
    """

    ranges: ClassVar[dict[str, Range]] = {"lr": NON_NEGATIVE}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges and the two pairs."""
        super().check_group(group)
        for name in ("etas", "step_sizes"):
            pair = group[name]
            if len(pair) != 2 or any(as_number(v) is None for v in pair):
                raise TypeError(f"Rprop: {name}={pair!r} must be a pair of numbers")
        if not 0.0 < group["etas"][0] < 1.0 < group["etas"][1]:
            raise ValueError(f"Rprop: etas={group['etas']!r} must satisfy 0 < etas[0] < 1 < etas[1]")
        if not 0.0 <= group["step_sizes"][0] <= group["step_sizes"][1]:
            raise ValueError(
                f"Rprop: step_sizes={group['step_sizes']!r} must satisfy 0 <= smallest <= largest"
            )

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        return rprop, ("prev", "step_size")

    def initial(self, group: dict[str, Any], name: str) -> float:
        """Return the first step size, and no gradient before the first."""
        return float(group["lr"]) if name == "step_size" else 0.0

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, the two factors and the two limits."""
        return (-1.0 if group["maximize"] else 1.0, *group["etas"], *group["step_sizes"])
