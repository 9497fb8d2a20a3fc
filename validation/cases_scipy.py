"""What is timed in scipy's process: whole solves, and the objective alone."""

from __future__ import annotations

from typing import Any

from scipy.optimize import minimize

from validation import rosenbrock
from validation.problems import PROBLEMS
from validation.timing import Case


def solve(kind: str, n: int, maxiter: int | None = None) -> Case:
    """Return a whole call of scipy's L-BFGS-B."""
    fun, x0 = rosenbrock.FUNCTIONS[kind], rosenbrock.start(n)
    options = {} if maxiter is None else {"maxiter": maxiter}
    return Case(
        lambda: minimize(fun, x0, jac=True, method="L-BFGS-B", options=options), clock=rosenbrock.clock(n)
    )


def counts(kind: str, n: int, maxiter: int | None = None) -> dict[str, Any]:
    """Return iterations, evaluations and the value that a solve ends at."""
    result = solve(kind, n, maxiter).call()
    return {"nit": int(result.nit), "nfev": int(result.nfev), "fun": float(result.fun)}


def problem(name: str, method: str) -> dict[str, Any]:
    """Solve a problem of validation/problems.py with default options."""
    chosen = PROBLEMS[name]
    result = minimize(chosen.fun_and_grad, chosen.start, jac=True, method=method)
    return {"nfev": int(result.nfev), "fun": float(result.fun)}
