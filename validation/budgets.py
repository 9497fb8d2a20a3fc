"""The budgets: what the library promises to stay within, and what is known where it does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A value held against a budget, the case it comes from if it is the worst of several, and a reason.

    ``why`` is shown where the budget is missed, before the budget's ``cause``: what the run itself says.
    """

    value: float
    where: str = ""
    why: str = ""


@dataclass(frozen=True)
class Budget:
    """One promise: ``value`` in ``unit`` at most, or at least, ``limit``."""

    key: str
    what: str
    at_most: bool
    limit: float
    unit: str
    cause: str = ""

    def met(self, value: float) -> bool:
        """Tell whether a measured value keeps the promise."""
        return value <= self.limit if self.at_most else value >= self.limit

    def show(self, value: float) -> str:
        """Write a value in the budget's unit."""
        digits = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return f"{digits}{'' if self.unit == 'x' else ' '}{self.unit}"

    def short(self, value: float) -> str:
        """Say by how much a value misses."""
        if self.limit == 0:
            return self.show(abs(value))
        return f"{abs(value / self.limit - 1):.0%}"

    @property
    def limit_text(self) -> str:
        """The promise as a phrase."""
        return f"{'≤' if self.at_most else '≥'} {self.show(self.limit)}"


def at_most(key: str, what: str, limit: float, unit: str, **more: str) -> Budget:
    """Make a budget that must not be exceeded."""
    return Budget(key, what, True, limit, unit, **more)


def at_least(key: str, what: str, limit: float, unit: str, **more: str) -> Budget:
    """Make a budget that must be reached."""
    return Budget(key, what, False, limit, unit, **more)


_FUSED = "against torch fused"
_PYTHON = "3 µs of ours are Python's, and torch fused takes a fifth of what it took where the budget was set"
_ROOT = (
    "a root and a division per element bind both; ours starts all threads from 2 MiB on only, "
    "for a busy core holds them up for milliseconds"
)
_CACHE = "all arrays lie in the last-level cache, where torch's passes cost little, too"
_WAITS = (
    "from 2 MiB on ours starts all threads, and while another process holds a core each launch waits for it, "
    "some 8 ms; else both wait for the same memory"
)
_MEMORY = "both wait for the same memory; a run differs from the next by as much"
_COMPILES = "nearly all of it is Numba compiling L-BFGS and its line search, some thirty functions"
_LANES = (
    "where a row is no expression of few variables its 8 partials go through all steps, while the loop by "
    "hand shares what the derivatives have in common"
)
BUDGETS = (
    at_most("adam_10_kept", "`Adam.step()`, one float64 array of 10, same gradient object", 4, "µs"),
    at_most("adam_10_new", "the same, a new gradient object each step", 8, "µs"),
    at_least("adam_10_ratio", f"the same, either way, {_FUSED}", 15, "x", cause=_PYTHON),
    at_least("adam_1000_kept", f"`Adam.step()`, 1000 arrays of 10, same gradients, {_FUSED}", 30, "x"),
    at_least("adam_1000_new", f"the same, new gradients, {_FUSED}", 20, "x"),
    at_least("float32_10000", f"float32, 1e4 elements, {_FUSED}", 10, "x", cause=_PYTHON),
    at_least("float32_100000", f"float32, 1e5 elements, {_FUSED}", 3, "x", cause=_ROOT),
    at_least("float32_1000000", f"float32, 1e6 elements, {_FUSED}", 1.2, "x", cause=_WAITS),
    at_least("float32_20000000", f"float32, 2e7 elements, {_FUSED}", 0.95, "x", cause=_MEMORY),
    at_least("float64", f"float64, every size, {_FUSED}", 0.95, "x", cause=_MEMORY),
    at_least(
        "elementwise",
        "other element-wise ones but ASGD, 1e6 elements, torch's best path",
        4,
        "x",
        cause=_CACHE,
    ),
    at_least("asgd", "the same, ASGD", 3, "x", cause=_CACHE),
    at_most("muon", "Muon's step, in times of its own matrix products in BLAS", 1.3, "x"),
    at_least("sparse_adam", "SparseAdam, 1000 rows of a 1e6 x 64 float32 table, against torch", 1, "x"),
    at_least(
        "roofline", "2e7 elements: share of the speed of a loop without arithmetic", 0.95, "", cause=_MEMORY
    ),
    at_most("iteration_2", "`minimize`, @njit Rosenbrock n = 2, per iteration", 1, "µs"),
    at_most("iteration_10", "the same, n = 10", 1, "µs"),
    at_most("iteration_100", "the same, n = 100", 2, "µs"),
    at_least("solve_2", "the whole call against scipy L-BFGS-B, n = 2", 50, "x"),
    at_least("solve_10", "the same, n = 10", 50, "x"),
    at_least("solve_100", "the same, n = 100", 25, "x"),
    at_most("python_overhead", "`minimize`, Python fun, n ≤ 100: our own time per evaluation", 8, "µs"),
    at_least("python_small", "the whole call, Python fun, n ≤ 100, against scipy", 3, "x"),
    at_least("python_large", "the same, n up to 1e5", 1, "x"),
    at_most("derivative", "exact derivative, time over the hand-written one, n ≤ 8", 1.5, "x", cause=_LANES),
    at_most("evaluations", "evaluations on problems both solve, nbopt over scipy L-BFGS-B", 1, ""),
    at_least("solved", "problems solved, beside the best of L-BFGS-B, BFGS, torch LBFGS", 0, "more"),
    at_most("coverage", "shares of profile intervals that hold the truth, from 68.3 % and 95 %", 1.5, "%"),
    at_most("minos", "ends of `conf_int` from those of MINOS, in standard errors", 1e-3, "sigma"),
    at_least("nist_six", "NIST StRD, 54 runs: 6 digits of every parameter", 54, "runs"),
    at_least("nist_eight", "the same: 8 digits", 45, "runs"),
    at_least("nist_errors", "the same: 4 digits of every standard error", 54, "runs"),
    at_most(
        "nist_evaluations",
        "evaluations, Python model, over scipy's for the same digits (tolerances 1e-14)",
        1,
        "",
    ),
    at_most(
        "nist_default",
        "the same, scipy's tolerances the defaults: it has fewer digits",
        1,
        "",
        cause="ours goes on while digits come: see the columns of digits; and dogbox finds MGH17 by chance",
    ),
    at_most("import", "`import nbopt`, beyond numba and scipy.optimize", 0.1, "s"),
    at_most("adam_cached", "first Adam step in a new process, disk cache filled", 0.5, "s"),
    at_most("minimize_cached", "first `minimize` of a new @njit fun, disk cache filled", 0.5, "s"),
    at_most("adam_cold", "first Adam step, empty cache", 3, "s"),
    at_most("minimize_cold", "first `minimize`, empty cache", 6, "s", cause=_COMPILES),
    at_least("gpu_copy", "GPU: Adam, float32, 1e8 elements, share of a device copy's bandwidth", 0.9, ""),
    at_least("gpu_fused", f"GPU: the same {_FUSED}", 1, "x"),
)
