"""Muon: momentum whose matrices are replaced by nearly orthogonal ones of the same directions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import blas

from nbopt.kernels.compile import compiled
from nbopt.kernels.reductions import dot, max_abs
from nbopt.optim.parameterwise import ParameterwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, REAL, Range

BLOCK = 32  # rows and columns of a block that is transposed within the first cache
STEPS_LIMIT = 100
PRODUCTS = {
    np.dtype(np.float32): (blas.ssyrk, blas.sgemm),
    np.dtype(np.float64): (blas.dsyrk, blas.dgemm),
}


@compiled
def blend(g, buffer, x, momentum, nesterov):
    """Move the running mean of gradients; set ``x`` to it, or ahead of it; return the sum of x**2."""
    t = x.dtype.type
    mu, share = t(momentum), t(1.0 - momentum)
    for k in range(x.size):
        gk = g[k]
        b = buffer[k] + share * (gk - buffer[k])
        buffer[k] = b
        x[k] = gk + mu * (b - gk) if nesterov else b
    return dot(x, x)


@compiled
def divide(x, norm):
    """Divide by a number in place."""
    c = x.dtype.type(norm)
    for k in range(x.size):
        x[k] = x[k] / c


@compiled
def mirror(a):
    """Copy the lower half of a square matrix to the upper one."""
    n = a.shape[0]
    for top in range(0, n, BLOCK):
        for left in range(0, top + 1, BLOCK):
            for i in range(top, min(top + BLOCK, n)):
                for j in range(left, min(left + BLOCK, i)):
                    a[j, i] = a[i, j]


@compiled
def polynomial(a, square, coefficients):
    """Set ``square``, of whose square of ``a`` the lower half is given, to c0*I + c1*a + c2*square."""
    t, (c0, c1, c2) = a.dtype.type, coefficients
    c0, c1, c2 = t(c0), t(c1), t(c2)
    for i in range(a.shape[0]):
        row, out = a[i, : i + 1], square[i, : i + 1]
        for j in range(row.size):
            out[j] = c1 * row[j] + c2 * out[j]
        out[i] += c0
    mirror(square)


@compiled
def shrink_and_step(p, x, keep, step):
    """Shrink a parameter and take a step along ``x``."""
    t = p.dtype.type
    keep, step = t(keep), t(step)
    for k in range(p.size):
        p[k] = keep * p[k] - step * x[k]


class Muon(ParameterwiseOptimizer):
    """Muon: momentum orthogonalised by Newton-Schulz iterations, for matrices.

    Every singular value of the momentum is brought near 1, so that all its directions make steps of
    one size. For the hidden layers of networks; give vectors, embeddings and heads to AdamW.

    Parameters
    ----------
    params : iterable
        Real parameters with two axes: arrays, ``(name, array)`` pairs, a dict of names, or groups.
    lr : float, in [0, inf)
        Step size, before `adjust_lr_fn`.
    weight_decay : float, in [0, inf)
        The parameter shrinks by ``lr * weight_decay`` of itself.
    momentum : float, in [0, inf)
        Decay rate of the running mean of gradients.
    nesterov : bool
        Orthogonalise the gradient moved by `momentum` of the way to the mean, not the mean.
    ns_coefficients : three floats
        (a, b, c) of an iteration ``X <- (a*I + b*A + c*A@A) @ X`` with ``A = X @ X.T``.
    eps : float, in [0, inf)
        Least norm that the first X is divided by.
    ns_steps : int, in [0, 100)
        Number of iterations.
    adjust_lr_fn : {None, "original", "match_rms_adamw"}
        Factor of `lr` for an n x m matrix: ``sqrt(max(1, n/m))``, also for None, or
        ``0.2 * sqrt(max(n, m))``, which makes steps as large as AdamW's.

    Raises
    ------
    ValueError, TypeError
        If a parameter has not two axes or an option is outside its range, here, in a group, or
        edited later.
    RuntimeError
        If a parameter is complex or, at a step, a gradient sparse.

    Notes
    -----
    The iterations run in the parameter's own dtype (torch: bfloat16). Their products are BLAS's, on
    BLAS's threads, everything else is compiled.

    References
    ----------
    K. Jordan and others: Muon: an optimizer for hidden layers in neural networks, 2024. J. Liu and
    others: Muon is scalable for LLM training, arXiv:2502.16982, 2025, section 2.2.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.zeros((2, 3))
    >>> opt = nbopt.Muon([w], lr=0.1)
    >>> opt.step(grads=[np.array([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])])
    >>> bool(np.all(np.abs(w[[0, 1], [0, 1]] + 0.1) < 0.05))
    True
    """

    counted: ClassVar[bool] = False
    ranges: ClassVar[dict[str, Range]] = {
        "lr": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum": NON_NEGATIVE,
        "eps": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, defaults)

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges, the coefficients, the number of iterations and the adjustment."""
        super().check_group(group)
        owner, three, steps = self._owner, group["ns_coefficients"], group["ns_steps"]
        if not isinstance(three, list | tuple) or len(three) != 3:
            raise ValueError(f"{owner}: ns_coefficients={three!r} must be three numbers")
        for k, value in enumerate(three):
            REAL.check(owner, f"ns_coefficients[{k}]", value)
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
            raise TypeError(f"{owner}: ns_steps={steps!r} must be an integer in [0, {STEPS_LIMIT})")
        if not 0 <= steps < STEPS_LIMIT:
            raise ValueError(f"{owner}: ns_steps={steps!r} must lie in [0, {STEPS_LIMIT})")
        adjust = group["adjust_lr_fn"]
        if adjust not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                f"{owner}: adjust_lr_fn={adjust!r} must be None, 'original' or 'match_rms_adamw'"
            )

    def check_shape(self, shape: tuple[int, ...], where: str) -> None:
        """Refuse all but matrices."""
        if len(shape) != 2:
            raise ValueError(f"{where} has shape {shape}; Muon takes matrices, which have two axes")

    def state_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the running mean of gradients."""
        return {"momentum_buffer": shape}

    def update(
        self, group: dict[str, Any], t: int, p: np.ndarray, g: np.ndarray, *states: np.ndarray
    ) -> None:
        """Step one parameter."""
        x = self.work("x", p.dtype, p.shape)
        flat = x.reshape(-1)
        momentum, nesterov = float(group["momentum"]), bool(group["nesterov"])
        squares = blend(g.reshape(-1), states[0].reshape(-1), flat, momentum, nesterov)
        if squares == math.inf and max_abs(flat) < math.inf:
            divide(flat, max_abs(flat))
            squares = dot(flat, flat)
        divide(flat, np.maximum(math.sqrt(squares), float(group["eps"])))
        three = tuple(float(c) for c in group["ns_coefficients"])
        x = self._orthogonalise(x, three, int(group["ns_steps"]))
        lr, (n, m) = float(group["lr"]), p.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(n, m))
        else:
            ratio = math.sqrt(max(1.0, n / m))
        keep = 1.0 - lr * float(group["weight_decay"])
        shrink_and_step(p.reshape(-1), x.reshape(-1), keep, lr * ratio)

    def _orthogonalise(self, x: np.ndarray, coefficients: tuple[float, ...], steps: int) -> np.ndarray:
        """Multiply ``x`` so many times by the polynomial of ``x @ x.T``, or ``x.T @ x`` if that is smaller.

        BLAS counts columns first, so each matrix goes in as its transpose. Of a symmetric product it
        computes one half, which then is the lower one.
        """
        syrk, gemm = PRODUCTS[x.dtype]
        n, m = x.shape
        r, wide = min(n, m), n <= m
        a, square = self.work("a", x.dtype, (r, r)), self.work("square", x.dtype, (r, r))
        turned, other = x.T, self.work("y", x.dtype, (n, m)).T
        for _ in range(steps):
            syrk(1.0, turned, c=a.T, trans=int(wide), overwrite_c=1)
            mirror(a)
            syrk(1.0, a.T, c=square.T, overwrite_c=1)
            polynomial(a, square, coefficients)
            factors = (turned, square.T) if wide else (square.T, turned)
            gemm(1.0, *factors, c=other, overwrite_c=1)
            turned, other = other, turned
        return turned.T
