"""The methods of minimize() as callables: ``scipy.optimize.minimize(f, x0, method=nbopt.methods.lbfgs)``.

And so as local minimizers of scipy's global ones: ``basinhopping(f, x0, minimizer_kwargs={"method":
nbopt.methods.lbfgs, "jac": True})``. scipy wraps a function that returns its gradient too; it is unwrapped
here, so that a compiled one is solved without returning to Python.
"""

from __future__ import annotations

from typing import Any

from scipy.optimize import OptimizeResult

from nbopt.solvers.minimize import minimize

__all__ = [
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "lbfgs",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
]


class ScipyMethod:
    """A method of `nbopt.minimize`, for the argument ``method`` of `scipy.optimize.minimize`.

    Parameters
    ----------
    name : str
        As `nbopt.minimize` knows it.

    Notes
    -----
    All arguments mean what they mean in `nbopt.minimize`; ``options`` are those of the method. scipy hands
    ``jac="2-point"`` and the like on as None: derivatives of a compiled function are then exact.

    Examples
    --------
    >>> import nbopt, scipy.optimize
    >>> fun = lambda x: ((x[0] - 3) ** 2, 2 * (x - 3))
    >>> res = scipy.optimize.minimize(fun, [0.0], jac=True, method=nbopt.methods.lbfgs, options={"maxcor": 5})
    >>> res.x.round(6), res.success
    (array([3.]), True)
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"nbopt.methods.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def __call__(
        self,
        fun: Any,
        x0: Any,
        args: Any = (),
        jac: Any = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Any = None,
        tol: float | None = None,
        **options: Any,
    ) -> OptimizeResult:
        """Minimize; called by scipy."""
        fun, jac = _unwrapped(fun, jac)
        return minimize(
            fun, x0, args, self.name, jac, hess, hessp, bounds, constraints, tol, callback, options
        )


def _unwrapped(fun: Any, jac: Any) -> tuple[Any, Any]:
    """Return the user's function from what scipy makes of one that returns its gradient too."""
    bound_to_it = jac is not None and getattr(jac, "__self__", None) is fun
    if bound_to_it and jac.__name__ == "derivative" and callable(getattr(fun, "fun", None)):
        return fun.fun, True
    return fun, jac


lbfgs = ScipyMethod("lbfgs")
sgd = ScipyMethod("sgd")
adam = ScipyMethod("adam")
adamw = ScipyMethod("adamw")
adamax = ScipyMethod("adamax")
nadam = ScipyMethod("nadam")
radam = ScipyMethod("radam")
rmsprop = ScipyMethod("rmsprop")
adagrad = ScipyMethod("adagrad")
adadelta = ScipyMethod("adadelta")
asgd = ScipyMethod("asgd")
rprop = ScipyMethod("rprop")
adafactor = ScipyMethod("adafactor")
