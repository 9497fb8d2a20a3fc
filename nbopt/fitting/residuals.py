"""What the user wants fitted, in the form that the engine can run on: compiled, or through Python."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from nbopt.autodiff.finite_differences import Differences
from nbopt.fitting.jacobian_differences import complex_jacobian, difference_jacobian
from nbopt.fitting.model import VALUES
from nbopt.fitting.python_differences import PythonDifferences, Residuals
from nbopt.fitting.refined_differences import RefinedDifferences, steps_of
from nbopt.fitting.whitening import NONE, whiten, whiten_rows
from nbopt.fitting.workspace import BOTH, CENTRAL, JACOBIAN
from nbopt.kernels.compile import compiled, is_compiled
from nbopt.kernels.native import NotNative, call_advance, key_of
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
from nbopt.solvers.bursts import EVALUATE, FIRST, GROWTH, SECONDS

_NO_WEIGHTS = np.empty((0, 0))
_EPS = 2.0**-52
_SHARE = 0.01  # of the data: what a variable that is near 0 changes by its size

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
        else:
            call_jacobian(jac_entry, x, r if task == BOTH else row, J, jac_data)
            whiten_rows(kind, W, J)
            if task == BOTH:
                whiten(kind, W, r)
        task = call_advance(advance, 0.0, work, counts)
        if task != EVALUATE and task != JACOBIAN and task != BOTH:
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
            k = 1 if central == ALWAYS or (central == AT_THE_END and counts[CENTRAL] != 0) else 0
            difference_jacobian(
                entry, data, kind, W, x, r, J, lower, upper, floor, change, steps[k], rule, automatic[k],
                k == 1, lines, scheme, rows,
            )  # fmt: skip
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

    __slots__ = ("burst", "jac_method", "keep", "limit", "refine", "size", "source", "together")

    def __init__(
        self,
        burst: Any,
        source: tuple[Any, ...],
        keep: tuple[Any, ...],
        jac_method: str,
        refine: bool = False,
        size: float = 0.0,
    ) -> None:
        self.burst, self.source, self.keep, self.limit = burst, source, keep, keep[0].pace
        self.jac_method, self.refine, self.together = jac_method, refine, jac_method == "dual"
        self.size = size

    def run(self, engine: Any, task: int, work: np.ndarray, counts: np.ndarray) -> int:
        """Go on until the engine stops or pauses at an iterate; return its task."""
        address, burst, source, limit = engine.address, self.burst, self.source, self.limit
        while True:
            began = perf_counter()
            task = burst(address, task, limit, work, counts, *source)
            if task not in (EVALUATE, JACOBIAN, BOTH):
                return task
            pace = SECONDS / max(perf_counter() - began, 1e-9)
            limit = self.limit = max(1, int(limit * min(pace, GROWTH)))
            self.keep[0].pace = min(limit, FIRST)

    def take(self, values: np.ndarray, r: np.ndarray) -> None:
        """Put residuals at a new point, that need no weights, where the engine finds them."""
        r[...] = values


class PythonCalls:
    """Runs the engine on functions called from Python.

    Parameters
    ----------
    problem : Problem
    jac : callable
        ``jac(x, r, J)`` writes the weighted Jacobian at x, where the weighted residuals are r, to J.
    jac_method : str
        Where the Jacobian comes from, for the result.
    refine : bool
        Whether ``jac`` takes the engine's arrays instead, and heeds what it is asked for in them.
    size : float
        Length of the weighted data, if that is looked at.
    """

    __slots__ = ("fill", "jac", "jac_method", "kind", "loss", "numbers", "refine", "size", "weights")
    together = False

    def __init__(
        self, problem: Problem, jac: Any, jac_method: str, refine: bool = False, size: float = 0.0
    ) -> None:
        self.jac, self.jac_method, self.refine, self.size = jac, jac_method, refine, size
        self.fill, self.numbers = _filler(problem)
        self.loss, self.kind, self.weights = problem.loss, problem.kind, problem.W

    def run(self, engine: Any, task: int, work: np.ndarray, counts: np.ndarray) -> int:
        """Go on until the engine stops or pauses at an iterate; return its task."""
        n, m = int(counts[0]), int(counts[1])
        x, r, J = work[:n], work[n : n + m], work[n + m : n + m + m * n].reshape(m, n)
        advance, fill, kind, jac, refine = engine.advance, self.fill, self.kind, self.jac, self.refine
        numbers = self.numbers
        while True:
            if task == EVALUATE:
                fill(numbers(x), r)
                if kind != NONE:
                    whiten(kind, self.weights, r)
                if self.loss is not None:
                    self.loss(r)
            elif task == JACOBIAN and refine:
                jac(work, counts)
            elif task == JACOBIAN:
                jac(x.copy(), r, J)
            task = advance(0.0, work, counts)
            if task != EVALUATE and task != JACOBIAN:
                return task

    def take(self, values: np.ndarray, r: np.ndarray) -> None:
        """Put residuals at a new point, that need no weights, where the engine finds them."""
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
    refine: bool = False  # take central differences at the end where forward ones do not do
    observed: Callable[[], np.ndarray] = functools.partial(np.empty, 0)  # the weighted data
    kind: int = NONE
    W: np.ndarray = _NO_WEIGHTS
    loss: Callable[[np.ndarray], None] | None = None
    unit: float = _EPS  # the rounding of the residuals, for finite differences
    fill: Callable[[Any, np.ndarray], None] | None = None  # python_fun of a line or list, to an array

    def check_shapes(self) -> None:
        """Name the shapes that compiled functions return, if these are wrong: compiled code cannot."""
        if is_compiled(self.fun):
            self.python_fun(self.x0.copy())
            if self.python_jac is not None:
                self.python_jac(self.x0.copy())


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
        return PythonCalls(problem, _weighted(problem, problem.python_jac), "user")
    exact = _exact_from_python(problem) if jac in ("dual", "auto") and is_compiled(problem.fun) else None
    if exact is not None:
        return PythonCalls(problem, _weighted(problem, exact), "dual")
    if problem.refine:
        steps = steps_of(problem.x0.size, problem.diff_step, problem.unit)
        residuals = _differentiated(problem)
        jac = RefinedDifferences(residuals, steps)
        return PythonCalls(problem, jac, "2-point", refine=True, size=residuals.length)
    ways = _ways(problem)
    if ways.method == "cs":
        return PythonCalls(problem, _weighted(problem, _complex_steps(problem.python_fun, ways)), "cs")
    return PythonCalls(problem, PythonDifferences(_differentiated(problem), ways), ways.method)


def _differentiated(problem: Problem) -> Residuals:
    """Return the residuals of a problem for differences through Python."""
    observed, length = _observed(problem)
    return Residuals(
        *_filler(problem), problem.kind, problem.W, problem.lower, problem.upper, problem.m,
        problem.unit, length, _SHARE * length, observed,
    )  # fmt: skip


_differences = functools.lru_cache(maxsize=64)(Differences)  # checked once; nobody changes them


def _ways(problem: Problem) -> Differences:
    """Return the finite differences to take."""
    method, step = "2-point" if problem.jac == "auto" else problem.jac, problem.diff_step
    make = _differences if isinstance(step, float) else Differences
    return make(method, problem.x0.size, step, unit=problem.unit)


def _observed(problem: Problem) -> tuple[np.ndarray, float]:
    """Return the weighted data and their length; nothing and 0 if sizes are not looked at."""
    observed = problem.observed() if problem.refine else np.empty(0)
    return observed, math.sqrt(float(observed @ observed))


def _filler(problem: Problem) -> tuple[Callable[[Any, np.ndarray], None], Callable[[np.ndarray], Any]]:
    """Return what writes the residuals at a point, which it leaves alone, and what makes it of an array."""
    if problem.fill is not None:  # for a model: of a list it takes each number in a fifth of the time
        return problem.fill, list
    fun = problem.python_fun

    def fill(x: np.ndarray, out: np.ndarray) -> None:
        out[...] = fun(x.copy())

    return fill, np.copy


def _weighted(problem: Problem, jac: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    """Return what writes a Jacobian, that is returned without weights, with them."""
    kind, W = problem.kind, problem.W

    def weighted(x: np.ndarray, r: np.ndarray, J: np.ndarray) -> None:
        J[...] = jac(x)
        if kind != NONE:
            whiten_rows(kind, W, J)

    return weighted


def _compiled(problem: Problem) -> Bursts:
    """Return the bursts of a problem whose functions are compiled."""
    fun, jac, args, n, m = problem.fun, problem.jac, problem.args, problem.lower.size, problem.m
    entry, exact, method = _entries(fun, jac, args, n)
    words = entry.words(args)
    if exact is not None:
        source = entry.address, words, exact.address, words, problem.kind, problem.W, np.empty(m)
        return Bursts(burst_exact, source, (entry, exact, args), method)
    ways = _ways(problem)
    start = entry.address, words, problem.kind, problem.W
    if ways.method == "cs":
        other = residual_entry(fun, args, COMPLEX_RESIDUALS)
        scratch = np.empty(n, np.complex128), np.empty(m, np.complex128)
        how = ways.steps, ways.rule, ways.automatic
        return Bursts(burst_complex, (*start, other.address, *how, *scratch), (entry, other, args), "cs")
    steps, automatic = np.array([ways.steps] * 2), np.array([ways.automatic] * 2)
    if problem.refine:
        steps, automatic = steps_of(n, problem.diff_step, problem.unit)
    central = AT_THE_END if problem.refine else ALWAYS if ways.method == "3-point" else NEVER
    rest = np.empty((3, n)), np.empty(n, np.int64), np.empty((2, m))
    size = _observed(problem)[1]
    limits = problem.lower, problem.upper, np.zeros(n), _SHARE * size
    more = *limits, steps, ways.rule, automatic, central
    return Bursts(burst_differences, (*start, *more, *rest), (entry, args), ways.method, problem.refine, size)


def _entries(fun: Any, jac: Any, args: tuple[Any, ...], n: int) -> tuple[Any, Any, str]:
    """Return the entries of residuals and exact Jacobian, the latter None if there is none, and its kind."""
    key = jac, n, *map(key_of, args)
    known = fun.__dict__.setdefault("_nbopt_pairs", {})
    found = known.get(key)
    if found is not None:  # a third of the time that it takes to find each again
        return found
    entry, exact = residual_entry(fun, args, RESIDUALS), None
    if callable(jac):
        exact = residual_entry(jac, args, USER_JACOBIAN)
    elif jac in ("auto", "dual"):
        exact = dual_entry(fun, args, n, jac == "dual")
    known[key] = found = entry, exact, "user" if callable(jac) else "dual"
    return found


@functools.cache
def _forward() -> Any:
    """Return the module, which brings in what Numba compiles with: not at import."""
    from nbopt.autodiff import forward

    return forward


def dual_entry(fun: Any, args: tuple[Any, ...], n: int, required: bool) -> Any:
    """Return the entry of residuals and exact Jacobian; None if there is none and it is not required."""
    forward = _forward()
    known = n if forward.is_single(n) else forward.MANY

    def make(fun: Any, kinds: tuple[Any, ...], load: Any) -> Any:
        ways = kinds, known, "least_squares", forward.RESIDUALS
        values = fun.__dict__.get(VALUES) if forward.is_single(known) else None
        if values is not None and forward.is_line(forward.result_type(values, *ways)):
            return forward.misfit_entry(values, known, load)
        kind = forward.result_type(fun, *ways)
        forward.check_result(kind, "jacobian", "least_squares")
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
    return lambda x: exact(x, *args)


def _complex_steps(fun: Callable, ways: Differences) -> Callable:
    """Return the Jacobian by complex steps of a function called from Python."""

    def jac(x: np.ndarray) -> np.ndarray:
        steps = ways.sizes(x)
        rows = [fun(_beside(x.astype(complex), i, complex(x[i], h))).imag / h for i, h in enumerate(steps)]
        return np.array(rows).T

    return jac


def _beside(x: np.ndarray, i: int, moved: complex) -> np.ndarray:
    """Return a copy of x with one element replaced."""
    beside = x.copy()
    beside[i] = moved
    return beside
