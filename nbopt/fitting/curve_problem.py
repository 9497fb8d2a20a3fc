"""A model, its data and its free parameters: what a fit solves, and solves again from near by.

The engine sees the free parameters only. A parameter can be pinned to a value for one solve without
compiling anything anew: the compiled residuals take ``p[j] * s[j] + c[i]`` for a free parameter, so that
s = 0 and c = value pin it, and its column of the Jacobian is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbopt.fitting.curve_data import Data
from nbopt.fitting.losses import KINDS
from nbopt.fitting.model import VALUES, is_compiled_model
from nbopt.fitting.named_parameters import Named
from nbopt.fitting.poisson import deviance_roots, root_slopes
from nbopt.fitting.residuals import Problem
from nbopt.fitting.solve import INTERRUPT, Settings, solve, workspace_of
from nbopt.fitting.workspace import Workspace
from nbopt.kernels.compile import compiled
from nbopt.solvers.result import LazyResult

FORWARD = 2.0**-26  # MINPACK's relative step
# The first trust region, relative to |D x|. MINPACK's 100 loses fits that start far off, 1 is slow where the
# start is good; all 54 of NIST's problems and starts end well with 1, 3 and 10.
FACTOR = 3.0


@dataclass(frozen=True)
class CurveProblem:
    """What is to be fitted, checked.

    Parameters
    ----------
    owner : str
        The public function that was called, for the messages.
    model : callable
        ``model(x, *parameters) -> array of shape (m,)``.
    jac : callable or str
        As for `fit`; the function's derivatives are by all parameters.
    data : Data
    named : Named
    poisson : bool
        Whether the data are counts.
    loss : str or callable
    f_scale : float
    max_nfev : int
    """

    owner: str
    model: Any
    jac: Any
    data: Data
    named: Named
    poisson: bool = False
    loss: Any = "linear"
    f_scale: float = 1.0
    max_nfev: int = 1000

    def values(self, full: np.ndarray, x: Any = None) -> np.ndarray:
        """Return what the model gives, for the data's x or another."""
        return np.asarray(self.model(self.data.x if x is None else x, *full), np.float64)

    def solve(self, start: np.ndarray, pinned: int | None = None, data: Data | None = None) -> LazyResult:
        """Fit from a start, one parameter held if it is pinned.

        Parameters
        ----------
        start : ndarray of shape (n,)
            All parameters, within their bounds; the pinned one has the value that it keeps.
        pinned : int, optional
            Its place among the free parameters.
        data : Data, optional
            Other data of the same shapes.

        Returns
        -------
        LazyResult
            Of `least_squares`, over the free parameters; the entries of the pinned one mean nothing.
        """
        return solve(self.owner, self.problem(start, pinned, data or self.data), self._settings(), None)

    def refit(self, start: np.ndarray, pinned: int | None = None, data: Data | None = None) -> LazyResult:
        """Do the same as a part of something longer, which Ctrl-C is to end."""
        found = self.solve(start, pinned, data)
        if found["status"] == INTERRUPT:
            raise KeyboardInterrupt
        return found

    def _settings(self) -> Settings:
        """Return how to run the engine."""
        return Settings(
            scale=None,
            loss=self.loss if callable(self.loss) else KINDS[self.loss],
            f_scale=self.f_scale,
            tolerances=(1e-8, 1e-8, 1e-8),
            max_nfev=self.max_nfev,
            cosines=True,
            polish=20 + 10 * self.named.free.size,
            factor=FACTOR,
        )

    def workspace(self, start: np.ndarray, calls: Any) -> Workspace:
        """Return the engine's arrays for a fit of all free parameters, by a loss that has a name."""
        problem, settings = self.problem(start, None, self.data), self._settings()
        return workspace_of(problem, settings, settings.loss, calls)

    def problem(self, start: np.ndarray, pinned: int | None, data: Data) -> Problem:
        """Return the problem that the engine solves; see `solve`."""
        free, offsets, factors = self.named.free, start.copy(), np.ones(self.named.free.size)
        offsets[free] = 0.0
        x0, lower, upper = start[free], self.named.lower[free], self.named.upper[free]
        if pinned is not None:  # the engine moves a variable that nothing depends on
            offsets[free[pinned]], factors[pinned], x0[pinned] = start[free[pinned]], 0.0, 0.0
            lower[pinned], upper[pinned] = -np.inf, np.inf
        args = data.x, data.y, offsets, factors, free
        form, user = (None, "2-point" if self.jac in ("auto", "dual") else self.jac), None
        if is_compiled_model(self.model, self.jac):
            form = _compiled_forms(self.model, self.jac, start.size, tuple(free.tolist()), self.poisson)
        if callable(self.jac):
            user = self._derivatives(args)
        refine = self.jac == "auto"  # for parameters may be tiny; but one that is 0 in fact has no size
        diff_step = FORWARD if refine else None

        return Problem(
            form[0], form[1], args, self._residuals(args), user, x0, lower, upper, data.y.size, diff_step,
            refine, data.weighted, data.kind, data.W,
        )  # fmt: skip

    def _residuals(self, args: tuple[Any, ...]) -> Callable[[np.ndarray], np.ndarray]:
        """Return the residuals of the free parameters, for calls from Python."""
        x, y, offsets, factors, free = args
        model, poisson = self.model, self.poisson

        def residuals(p: np.ndarray) -> np.ndarray:
            full = offsets.copy()
            full[free] += p * factors
            values = np.asarray(model(x, *full), np.float64)
            return deviance_roots(values + 0.0 * y, y) if poisson else values - y

        return residuals

    def _derivatives(self, args: tuple[Any, ...]) -> Callable[[np.ndarray], np.ndarray]:
        """Return the user's Jacobian, of the free parameters, for calls from Python."""
        x, y, offsets, factors, free = args
        shape = y.size, offsets.size

        def derivatives(p: np.ndarray) -> np.ndarray:
            full = offsets.copy()
            full[free] += p * factors
            J = np.asarray(self.jac(x, *full), np.float64)
            if J.shape != shape:
                raise ValueError(f"{self.owner}: jac returned shape {J.shape}; it must be {shape}")
            J = J[:, free] * factors
            if self.poisson:
                J *= root_slopes(self.values(full, x) + 0.0 * y, y)[:, None]
            return J

        return derivatives


def _compiled_forms(model: Any, jac: Any, n: int, free: tuple[int, ...], poisson: bool) -> tuple[Any, Any]:
    """Return compiled residuals, and the compiled Jacobian if that is a function."""
    items = ", ".join(f"p[{free.index(i)}] * s[{free.index(i)}] + c[{i}]" if i in free else f"c[{i}]"
                      for i in range(n))  # fmt: skip
    body = f"f(x, {items})"
    text = f"roots({body} + 0.0 * y, y)" if poisson else f"{body} - y"
    scope = {"f": model, "roots": deviance_roots}
    residuals = _written_out(model, (free, poisson), text, scope)
    if not poisson and VALUES not in residuals.__dict__:
        residuals.__dict__[VALUES] = _curve(body, scope)
    if not callable(jac):
        return residuals, jac
    scope = {"f": model, "jac": jac, "slopes": root_slopes, "columns": _columns}
    by = f"slopes({body} + 0.0 * y, y)" if poisson else "y[:0]"
    text = f"columns(jac(x, {items}), c.size, free, s, {by})"
    return residuals, _written_out(jac, (free, poisson, model), text, scope)


@compiled
def _columns(J, n, free, factors, by):
    """Return columns of a matrix times their factors, and times those of the rows if there are any."""
    if J.shape[1] != n or (by.size > 0 and by.size != J.shape[0]):
        raise ValueError("fit: jac returned an array of another shape than (m, n)")
    out = np.empty((J.shape[0], free.size))
    for i in range(J.shape[0]):
        for j in range(free.size):
            out[i, j] = J[i, free[j]] * factors[j]
            if by.size > 0:
                out[i, j] *= by[i]
    return out


def _written_out(owner: Any, key: Any, text: str, scope: dict[str, Any]) -> Any:
    """Return a compiled function of one vector, kept on the function that it calls as long as that lives."""
    made = owner.__dict__.setdefault("_nbopt_free", {})
    if key not in made:
        made[key] = _curve(text, scope)
    return made[key]


def _curve(text: str, scope: dict[str, Any]) -> Any:
    """Return the compiled function that an expression stands for."""
    exec(f"def curve(p, x, y, c, s, free):\n    return {text}\n", scope)
    return compiled(scope["curve"], cache=False)
