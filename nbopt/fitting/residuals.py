"""What the user wants fitted, in the form that the engine can run on: compiled, or through Python."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nbopt.autodiff.finite_differences import Differences
from nbopt.fitting.jacobian_differences import (
    CENTRAL,
    FORWARD,
    complex_jacobian,
    difference_jacobian,
    place_steps,
    size_variables,
)
from nbopt.fitting.whitening import NONE, whiten, whiten_rows
from nbopt.fitting.workspace import JACOBIAN, POLISHING
from nbopt.kernels.compile import compiled, is_compiled
from nbopt.kernels.native import NotNative, call_advance
from nbopt.kernels.native_residuals import (
    COMPLEX_RESIDUALS,
    EXACT,
    RESIDUALS,
    call_jacobian,
    call_residuals,
    residual_entry,
)
from nbopt.kernels.native_residuals import JACOBIAN as USER_JACOBIAN
from nbopt.kernels.views import matrix, vector
from nbopt.solvers.bursts import EVALUATE, GROWTH, SECONDS

_NO_WEIGHTS = np.empty((0, 0))
_EPS = 2.0**-52

# When differences are central.
NEVER, ALWAYS, AT_THE_END = range(3)


@compiled
def burst_exact(advance, task, limit, work, counts, entry, words, jac_entry, jac_words, kind, W, row):
    """Run with an entry of the residuals and one of the Jacobian; return the task that ended the burst."""
    data, jac_data, n, m = words.ctypes.data, jac_words.ctypes.data, counts[0], counts[1]
    x, r, J = vector(work, 0, n), vector(work, n, m), matrix(work, n + m, m, n)
    for _ in range(limit):
        if task == EVALUATE:
            call_residuals(entry, x, r, data)
            whiten(kind, W, r)
        elif task == JACOBIAN:
            call_jacobian(jac_entry, x, row, J, jac_data)
            whiten_rows(kind, W, J)
        task = call_advance(advance, 0.0, work, counts)
        if task != EVALUATE and task != JACOBIAN:
            break
    return task


@compiled
def burst_differences(
    advance, task, limit, work, counts, entry, words, kind, W, lower, upper, floor, change, steps, rule,
    automatic, central, lines, scheme, rows,
):  # fmt: skip
    """Run with an entry of the residuals and differences of them; row 1 of ``steps`` is for central ones."""
    data, n, m = words.ctypes.data, counts[0], counts[1]
    x, r, J = vector(work, 0, n), vector(work, n, m), matrix(work, n + m, m, n)
    for _ in range(limit):
        if task == EVALUATE:
            call_residuals(entry, x, r, data)
            whiten(kind, W, r)
        elif task == JACOBIAN:
            k = 1 if central == ALWAYS or (central == AT_THE_END and counts[POLISHING] != 0) else 0
            difference_jacobian(
                entry, data, kind, W, x, r, J, lower, upper, floor, steps[k], rule, automatic[k], k == 1,
                lines, scheme, rows,
            )  # fmt: skip
            size_variables(J, change, floor)
        task = call_advance(advance, 0.0, work, counts)
        if task != EVALUATE and task != JACOBIAN:
            break
    return task


@compiled
def burst_complex(
    advance,
    task,
    limit,
    work,
    counts,
    entry,
    words,
    kind,
    W,
    complex_entry,
    steps,
    rule,
    automatic,
    beside,
    row,
):
    """Run with an entry of the residuals and complex steps of one that takes complex x."""
    data, n, m = words.ctypes.data, counts[0], counts[1]
    x, r, J = vector(work, 0, n), vector(work, n, m), matrix(work, n + m, m, n)
    for _ in range(limit):
        if task == EVALUATE:
            call_residuals(entry, x, r, data)
            whiten(kind, W, r)
        elif task == JACOBIAN:
            complex_jacobian(complex_entry, data, x, J, steps, rule, automatic, beside, row)
            whiten_rows(kind, W, J)
        task = call_advance(advance, 0.0, work, counts)
        if task != EVALUATE and task != JACOBIAN:
            break
    return task


class Bursts:
    """Runs the engine on compiled residuals, each burst as long as the last ones allow."""

    __slots__ = ("burst", "jac_method", "keep", "limit", "source")

    def __init__(self, burst: Any, source: tuple[Any, ...], keep: Any, jac_method: str) -> None:
        self.burst, self.source, self.keep, self.jac_method, self.limit = burst, source, keep, jac_method, 1

    def run(self, engine: Any, task: int, work: np.ndarray, counts: np.ndarray) -> int:
        """Go on until the engine stops or pauses at an iterate; return its task."""
        address, burst, source, limit = engine.address, self.burst, self.source, self.limit
        while True:
            began = perf_counter()
            task = burst(address, task, limit, work, counts, *source)
            if task != EVALUATE and task != JACOBIAN:
                return task
            pace = SECONDS / max(perf_counter() - began, 1e-9)
            limit = self.limit = max(1, int(limit * min(pace, GROWTH)))

    def take(self, values: np.ndarray, r: np.ndarray) -> None:
        """Put residuals at a new point, that need no weights, where the engine finds them."""
        r[...] = values


class PythonCalls:
    """Runs the engine on functions called from Python.

    Parameters
    ----------
    fun, jac : callable
        ``fun(x) -> r`` of shape (m,) and ``jac(x, r) -> J`` of shape (m, n), both float64 and weighted.
    loss : callable, optional
        ``loss(r)``, called after the residuals at a new point.
    jac_method : str
        Where the Jacobian comes from, for the result.
    fine : callable, optional
        Takes the place of ``jac`` while the engine polishes.
    """

    __slots__ = ("fine", "fun", "jac", "jac_method", "loss")

    def __init__(self, fun: Any, jac: Any, loss: Any, jac_method: str, fine: Any = None) -> None:
        self.fun, self.jac, self.loss, self.jac_method = fun, jac, loss, jac_method
        self.fine = jac if fine is None else fine

    def run(self, engine: Any, task: int, work: np.ndarray, counts: np.ndarray) -> int:
        """Go on until the engine stops or pauses at an iterate; return its task."""
        n, m = int(counts[0]), int(counts[1])
        x, r, J = work[:n], work[n : n + m], work[n + m : n + m + m * n].reshape(m, n)
        advance = engine.advance
        while True:
            if task == EVALUATE:
                self.take(self.fun(x.copy()), r)
            elif task == JACOBIAN:
                J[...] = (self.fine if counts[POLISHING] else self.jac)(x.copy(), r)
            task = advance(0.0, work, counts)
            if task not in (EVALUATE, JACOBIAN):
                return task

    def take(self, values: np.ndarray, r: np.ndarray) -> None:
        """Put residuals at a new point where the engine finds them."""
        r[...] = values
        if self.loss is not None:
            self.loss(r)


class Problem(NamedTuple):
    """Residuals of n variables: functions, their further arguments, bounds, and how to differentiate.

    ``jac`` is a function, "dual", "auto" or a method of `Differences`; ``python_fun`` and ``python_jac``
    are the same functions, checked, of x alone.
    """

    fun: Any
    jac: Any
    args: tuple[Any, ...]
    python_fun: Callable[[np.ndarray], np.ndarray]
    python_jac: Callable[[np.ndarray], np.ndarray] | None
    x0: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    m: int
    diff_step: Any = None
    refine: bool = False  # take central differences at the end
    change: Callable[[], float] = float  # of the residuals, what makes the size of a variable that is near 0
    kind: int = NONE
    W: np.ndarray = _NO_WEIGHTS
    loss: Callable[[np.ndarray], None] | None = None


def calls_of(problem: Problem) -> Bursts | PythonCalls:
    """Return what runs the engine on a problem: compiled if its functions are.

    Raises
    ------
    NotDifferentiable
        If ``jac`` is "dual" and the function has no exact derivatives.
    """
    jac = problem.jac
    if is_compiled(problem.fun) and (not callable(jac) or is_compiled(jac)) and problem.loss is None:
        try:
            return _compiled(problem)
        except NotNative:  # an argument such as a list: each call goes through Python
            pass
    if problem.python_jac is not None:
        user = problem.python_jac
        return _python(problem, lambda x, r: user(x), "user")
    exact = _exact_from_python(problem) if jac in ("dual", "auto") and is_compiled(problem.fun) else None
    if exact is not None:
        return _python(problem, exact, "dual")
    ways = Differences("2-point" if jac == "auto" else jac, problem.lower.size, rel_step=problem.diff_step)
    if ways.method == "cs":
        return _python(problem, _complex_steps(problem.python_fun, ways), "cs")
    fun, fine, floor = _weighted(problem), None, np.zeros(problem.x0.size)
    if problem.refine:
        fine = _python_differences(problem, fun, _central(problem), floor)
    jac_of = _python_differences(problem, fun, ways, floor)
    return PythonCalls(fun, jac_of, problem.loss, ways.method, fine)


def _central(problem: Problem) -> Differences:
    """Return the central differences for the end of a fit; a step for forward ones is too short there."""
    return Differences("3-point", problem.x0.size, rel_step=_EPS ** (1 / 3))


def _weighted(problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
    """Return the residuals with their weights, for calls from Python."""
    fun, kind, W = problem.python_fun, problem.kind, problem.W
    if kind == NONE:
        return fun

    def weighted(x: np.ndarray) -> np.ndarray:
        r = np.array(fun(x), np.float64)
        whiten(kind, W, r)
        return r

    return weighted


def _python(problem: Problem, jac: Any, jac_method: str) -> PythonCalls:
    """Return the calls of a problem through Python, its Jacobian being without weights."""
    kind, W, weighted = problem.kind, problem.W, jac
    if kind != NONE:

        def weighted(x: np.ndarray, r: np.ndarray) -> np.ndarray:
            J = np.array(jac(x, r), np.float64, order="C")
            whiten_rows(kind, W, J)
            return J

    return PythonCalls(_weighted(problem), weighted, problem.loss, jac_method)


def _compiled(problem: Problem) -> Bursts:
    """Return the bursts of a problem whose functions are compiled."""
    fun, jac, args, n, m = problem.fun, problem.jac, problem.args, problem.lower.size, problem.m
    entry = residual_entry(fun, args, RESIDUALS)
    words = entry.words(args)
    exact, method = None, "user"
    if callable(jac):
        exact = residual_entry(jac, args, USER_JACOBIAN)
    elif jac in ("auto", "dual"):
        exact, method = dual_entry(fun, args, n, jac == "dual"), "dual"
    if exact is not None:
        source = entry.address, words, exact.address, words, problem.kind, problem.W, np.empty(m)
        return Bursts(burst_exact, source, (entry, exact, args), method)
    ways = Differences("2-point" if jac == "auto" else jac, n, rel_step=problem.diff_step)
    start = entry.address, words, problem.kind, problem.W
    if ways.method == "cs":
        other = residual_entry(fun, args, COMPLEX_RESIDUALS)
        scratch = np.empty(n, np.complex128), np.empty(m, np.complex128)
        how = ways.steps, ways.rule, ways.automatic
        return Bursts(burst_complex, (*start, other.address, *how, *scratch), (entry, other, args), "cs")
    fine = _central(problem) if problem.refine else ways
    steps = np.array([ways.steps, fine.steps])
    central = AT_THE_END if problem.refine else ALWAYS if ways.method == "3-point" else NEVER
    rest = np.empty((2, n)), np.empty(n, np.int64), np.empty((2, m))
    automatic = np.array([ways.automatic, fine.automatic])
    limits = problem.lower, problem.upper, np.zeros(n), problem.change()
    more = *limits, steps, ways.rule, automatic, central
    return Bursts(burst_differences, (*start, *more, *rest), (entry, args), ways.method)


def dual_entry(fun: Any, args: tuple[Any, ...], n: int, required: bool) -> Any:
    """Return the entry of residuals and exact Jacobian; None if there is none and it is not required."""
    from nbopt.autodiff import forward  # brings in what Numba compiles with: not at import

    known = n if forward.is_single(n) else forward.MANY

    def make(fun: Any, kinds: tuple[Any, ...], load: Any) -> Any:
        forward.check_result(
            forward.result_type(fun, kinds, known, "least_squares"), "jacobian", "least_squares"
        )
        return forward.jacobian_entry(fun, known, load)

    failed = fun.__dict__.setdefault("_nbopt_not_differentiable", set())
    key = known, *map(type, args)
    if key in failed and not required:
        return None
    try:
        return residual_entry(fun, args, EXACT, make, known)
    except NotNative:
        raise
    except TypeError:  # NotDifferentiable, or a result of the wrong kind
        if required:
            raise
        failed.add(key)
        return None


def _exact_from_python(problem: Problem) -> Any:
    """Return the exact Jacobian of compiled residuals for calls from Python; None if there is none."""
    from nbopt.autodiff.gradient import jacobian

    exact, args = jacobian(problem.fun), problem.args
    try:
        exact(problem.x0, *args)
    except Exception:  # whatever the user's function raises there: differences will show it again
        if problem.jac == "dual":
            raise
        return None
    return lambda x, r: exact(x, *args)


def _python_differences(problem: Problem, fun: Callable, ways: Differences, floor: np.ndarray) -> Callable:
    """Return the Jacobian by finite differences of a function called from Python."""
    n, central = problem.x0.size, ways.method == "3-point"
    h, scheme = np.empty(n), np.empty(n, np.int64)
    change = problem.change()
    limits = problem.lower, problem.upper, floor
    rules = *limits, ways.steps, ways.rule, ways.automatic, central, h, scheme

    def jac(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        place_steps(x, *rules)
        columns, widths = np.empty((n, r.size)), np.empty((n, 1))
        for i, (at, step, how) in enumerate(zip(x.tolist(), h.tolist(), scheme.tolist(), strict=True)):
            one = at - step if how == CENTRAL else at + step
            columns[i] = fun(_beside(x, i, one))
            widths[i] = one - at
            if how != FORWARD:
                two = at + step if how == CENTRAL else at + 2.0 * step
                second = fun(_beside(x, i, two))
                if how == CENTRAL:
                    columns[i] -= second - r
                else:  # a parabola through three points on one side
                    columns[i] *= 4.0
                    columns[i] -= 2.0 * r + second
                widths[i] = one - two if how == CENTRAL else two - at
        columns -= r
        columns /= widths
        if change > 0.0:
            norms = np.sqrt(np.einsum("ij,ij->i", columns, columns))
            floor[:] = np.where(norms > 0.0, change / np.where(norms > 0.0, norms, 1.0), 0.0)
        return columns.T

    return jac


def _complex_steps(fun: Callable, ways: Differences) -> Callable:
    """Return the Jacobian by complex steps of a function called from Python."""

    def jac(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        steps = ways.sizes(x)
        rows = [fun(_beside(x.astype(complex), i, complex(x[i], h))).imag / h for i, h in enumerate(steps)]
        return np.array(rows).T

    return jac


def _beside(x: np.ndarray, i: int, moved: complex) -> np.ndarray:
    """Return a copy of x with one element replaced."""
    beside = x.copy()
    beside[i] = moved
    return beside
