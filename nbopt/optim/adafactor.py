"""Adafactor: steps scaled by the parameter's size and by mean squares kept as rows and columns."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from nbopt.kernels.shares import run
from nbopt.optim import adafactor_passes as passes
from nbopt.optim.parameterwise import ParameterwiseOptimizer
from nbopt.optim.ranges import NON_NEGATIVE, Range, as_number

DOUBLE = np.dtype(np.float64)


class Adafactor(ParameterwiseOptimizer):
    """Adafactor: Adam's scaling at the memory of rows and columns.

    Parameters with two axes or more keep a mean square per row and per column of their last two
    axes, others one per element.

    Parameters
    ----------
    params : iterable
        Parameters, arrays, ``(name, array)`` pairs, a dict of names, or dicts of groups; real.
    lr : float, in [0, inf]
        Largest relative step: step t is ``min(lr, 1/sqrt(t))`` times the root mean square of the
        parameter. Also the factor of `weight_decay`.
    beta2_decay : float, in [-inf, 0]
        The mean squares move by ``t ** beta2_decay`` of the way in step t.
    eps : pair
        ``eps[0]``, None or in [0, inf), is the least root mean square that a gradient is divided by;
        None is the machine epsilon of the parameter's dtype. ``eps[1]``, in [0, inf), is the least
        size that a parameter counts with.
    d : float, in [1, inf]
        An update whose root mean square is larger is scaled down to it.
    weight_decay : float, in [0, inf)
        The parameter shrinks by ``lr * weight_decay`` of itself.
    foreach : optional
        Accepted for torch's sake; every step is compiled.
    maximize : bool
        Ascend instead of descend.

    Raises
    ------
    ValueError, TypeError
        If an option is outside its range, here, in a group, or edited later.
    RuntimeError
        If a parameter is complex or, at a step, a gradient sparse.

    Notes
    -----
    As in torch there is no momentum, and means stand where the paper has sums. Sums are kept in
    float64 and added in a fixed order, so that results do not depend on the number of threads.

    References
    ----------
    N. Shazeer, M. Stern: Adafactor: adaptive learning rates with sublinear memory cost, ICML 2018,
    algorithms 4 and 5.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = np.array([[1.0, -2.0], [3.0, 4.0]])
    >>> opt = nbopt.Adafactor([w], lr=0.1)
    >>> for _ in range(200):
    ...     opt.step(grads=[2 * w])
    >>> bool(np.abs(w).max() < 0.1)
    True
    """

    ranges: ClassVar[dict[str, Range]] = {
        "lr": Range(0.0, math.inf, "[]"),
        "beta2_decay": Range(-math.inf, 0.0, "[]"),
        "d": Range(1.0, math.inf, "[]"),
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def check_group(self, group: dict[str, Any]) -> None:
        """Check the ranges, the pair eps, and that decay has a finite factor."""
        super().check_group(group)
        eps = group["eps"]
        if not isinstance(eps, list | tuple) or len(eps) != 2:
            raise TypeError(f"{self._owner}: eps={eps!r} must be a pair: None or a number, and a number")
        for k, value in enumerate(eps):
            if k == 1 or value is not None:
                NON_NEGATIVE.check(self._owner, f"eps[{k}]", value)
        if as_number(group["lr"]) == math.inf and as_number(group["weight_decay"]) != 0:
            raise ValueError(
                f"{self._owner}: lr=inf leaves no room for weight_decay={group['weight_decay']!r}"
            )

    def state_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return a mean square per row and per column, or one per element."""
        if len(shape) < 2:
            return {"variance": shape}
        return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}

    def update(
        self, group: dict[str, Any], t: int, p: np.ndarray, g: np.ndarray, *states: np.ndarray
    ) -> None:
        """Step one parameter."""
        h = self.work("h", DOUBLE, (passes.NUMBERS,))
        h[: passes.DEPTH] = self._numbers(group, t, p.dtype)
        n, m = p.shape[-2:] if len(states) == 2 else (p.size, 1)
        h[passes.DEPTH : passes.HEIGHT] = p.size // (n * m), n, m
        h[passes.FACTOR] = 1.0
        flat = [a.reshape(-1) for a in (p, g, *states)]
        if len(states) == 1:
            self._step_line(flat[0], flat[1], flat[2], flat[2][:0], h)
        elif n == p.size:
            self._step_line(flat[0], flat[1], flat[2], flat[3], h)
        elif m == p.size:
            self._step_line(flat[0], flat[1], flat[3], flat[2], h)
        else:
            self._step_matrices(flat[0], flat[1], flat[2], flat[3], h)

    def _step_line(
        self, p: np.ndarray, g: np.ndarray, means: np.ndarray, other: np.ndarray, h: np.ndarray
    ) -> None:
        """Step a parameter with one mean square per element, and one across if it is a row or column."""
        chunks = -(-p.size // passes.CHUNK)
        arrays = p, g, means, other, self.work("u", p.dtype, p.shape)
        doubles = self.work("sums", DOUBLE, (chunks * (passes.HEAD + passes.LINE),)), h
        if other.size:
            run(passes.LINE_ACROSS, (chunks, 1, chunks, 1, chunks), arrays, doubles, 2 * p.nbytes)
        else:
            run(passes.LINE_ALONE, (chunks, 1, chunks), arrays, doubles, 2 * p.nbytes)

    def _step_matrices(
        self, p: np.ndarray, g: np.ndarray, row: np.ndarray, col: np.ndarray, h: np.ndarray
    ) -> None:
        """Step a stack of matrices."""
        depth, n, m = (int(k) for k in h[passes.DEPTH : passes.HEIGHT])
        width = min(m, passes.WIDEST)
        height = min(n, passes.TILE // width)
        h[passes.HEIGHT : passes.STEP] = height, width
        tiles = depth * -(-n // height) * -(-m // width)
        arrays = p, g, row, col, self.work("scales", p.dtype, (depth * (n + m),))
        folded = 0 if tiles == depth else depth * (n + m)
        doubles = self.work("sums", DOUBLE, (tiles * (passes.HEAD + width + height) + folded,)), h
        run(passes.MATRICES, (tiles, depth, tiles, 1, tiles), arrays, doubles, 2 * p.nbytes)

    def _numbers(self, group: dict[str, Any], t: int, dtype: np.dtype) -> tuple[float, ...]:
        """Return the share of the new squares, relative step, kept share, bounds and sign."""
        eps1, eps2 = group["eps"]
        eps1 = float(np.finfo(dtype).eps if eps1 is None else eps1)
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        return (
            float(t) ** float(group["beta2_decay"]),
            min(lr, 1.0 / math.sqrt(t)),
            1.0 - lr * decay if decay else 1.0,
            eps1,
            1.0 / eps1 if eps1 else math.inf,
            float(eps2),
            float(group["d"]),
            -1.0 if group["maximize"] else 1.0,
        )
