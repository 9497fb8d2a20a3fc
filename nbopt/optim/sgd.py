"""SGD: gradient descent, with momentum in torch's form."""

from __future__ import annotations

from typing import Any, ClassVar

from nbopt.optim.elementwise import ElementwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, REAL, Range


def descent(p, g, state, h):
    """Plain gradient descent."""
    t = p.dtype.type
    sign, decay, lr = t(h[0]), t(h[1]), t(h[2])
    for i in range(p.size):
        pi = p[i]
        p[i] = pi - lr * (sign * g[i] + decay * pi)


def momentum(p, g, state, h):
    """Descent along a decaying sum of gradients: Sutskever et al. 2013, equation 1, lr outside."""
    t = p.dtype.type
    sign, decay, lr, mu, share = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4])
    buffer, _, _ = state
    for i in range(p.size):
        pi = p[i]
        bi = mu * buffer[i] + share * (sign * g[i] + decay * pi)
        p[i] = pi - lr * bi
        buffer[i] = bi


def nesterov(p, g, state, h):
    """Nesterov's momentum, evaluated where the parameters are: Sutskever et al. 2013, equation 7."""
    t = p.dtype.type
    sign, decay, lr, mu, share = t(h[0]), t(h[1]), t(h[2]), t(h[3]), t(h[4])
    buffer, _, _ = state
    for i in range(p.size):
        pi = p[i]
        gi = sign * g[i] + decay * pi
        bi = mu * buffer[i] + share * gi
        p[i] = pi - lr * (gi + mu * bi)
        buffer[i] = bi


class SGD(ElementwiseOptimizer):
    """Stochastic gradient descent, optionally with (Nesterov) momentum.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups.
    lr : float, in [0, inf)
        Step size.
    momentum : float, in [0, inf)
        Share of the last direction that is kept: ``buf = momentum * buf + (1 - dampening) * grad``,
        ``p -= lr * buf``. The first buffer is the gradient itself.
    dampening : float
        Takes off from the gradient's share, from the second step on.
    weight_decay : float, in [0, inf)
        Times the parameter, added to the gradient.
    nesterov : bool
        Use ``grad + momentum * buf`` as direction; needs momentum and no dampening.
    maximize : bool
        Ascend instead of descend.
    foreach, differentiable, fused : optional
        Accepted for torch's sake; every step is one fused launch.

    Raises
    ------
    ValueError, TypeError
        If an option is outside its range, here, in a group, or when edited later.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton: On the importance of initialization and momentum in
    deep learning, ICML 2013.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = nbopt.SGD([w], lr=0.1, momentum=0.5)
    >>> for _ in range(100):
    ...     opt.step(grads=[2 * w])
    >>> bool(np.abs(w).max() < 1e-6)
    True
    """

    counted: ClassVar[bool] = False
    sparse: ClassVar[bool | str] = True
    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "momentum": NON_NEGATIVE,
        "dampening": REAL,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges, and that Nesterov has what it needs."""
        super().check_group(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov=True needs momentum > 0 and dampening = 0, not "
                f"momentum={group['momentum']!r}, dampening={group['dampening']!r}"
            )

    def algorithm(self, group: dict[str, Any]) -> Any:
        """Return the loop and the names of its state."""
        if group["momentum"] == 0:
            return descent, ()
        return (nesterov if group["nesterov"] else momentum), ("momentum_buffer",)

    def sparse_keeps_moving(self, group: dict[str, Any]) -> bool:
        """Tell whether momentum moves rows that have no gradient."""
        return group["momentum"] != 0

    def numbers(self, group: dict[str, Any], t: int, *scalars: float) -> tuple[float, ...]:
        """Return sign, decay, lr, momentum and the gradient's share in the buffer (1 at first)."""
        share = 1.0 - group["dampening"] if t > 1 else 1.0
        sign = -1.0 if group["maximize"] else 1.0
        return sign, group["weight_decay"], group["lr"], group["momentum"], share
