"""What is timed in our own process: steps of the optimizers, and the loop that only moves memory."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

import nbopt
from nbopt.kernels import launcher
from nbopt.optim.muon import PRODUCTS
from validation import rosenbrock
from validation.problems import PROBLEMS
from validation.timing import Case


def _optimizer(optimizer: str, options: dict[str, Any], arrays: int, size: int, dtype: str) -> Any:
    """Return an optimizer over random arrays with gradients in place."""
    rng = np.random.default_rng(0)
    params = [nbopt.Parameter(rng.standard_normal(size).astype(dtype)) for _ in range(arrays)]
    for p in params:
        p.grad = rng.standard_normal(size).astype(dtype)
    return getattr(nbopt, optimizer)(params, **options)


def step(
    optimizer: str, options: dict[str, Any], arrays: int, size: int, dtype: str, fresh: bool = False
) -> Case:
    """Return a step over ``arrays`` arrays of ``size``, with kept or new gradient objects."""
    opt = _optimizer(optimizer, options, arrays, size, dtype)
    params = opt.param_groups[0]["params"]
    source = [p.grad for p in params]

    def new_gradients() -> None:
        for p, g in zip(params, source, strict=True):
            p.grad = g.copy()

    return Case(opt.step, new_gradients if fresh else None)


def sparse_step(rows: int, columns: int, touched: int) -> Case:
    """Return a step of SparseAdam over a float32 table, with a gradient at so many different rows."""
    rng = np.random.default_rng(0)
    table = nbopt.Parameter(rng.standard_normal((rows, columns), np.float32))
    where = rng.choice(rows, touched, replace=False)
    table.grad = where, rng.standard_normal((touched, columns), np.float32)
    return Case(nbopt.SparseAdam([table]).step)


def muon_products(rows: int, columns: int, dtype: str) -> Case:
    """Return the matrix products of a Muon step, and nothing else: 5 times A = X X', A A, (A A) X."""
    syrk, gemm = PRODUCTS[np.dtype(dtype)]
    rng = np.random.default_rng(0)
    n = min(rows, columns)
    x = np.asfortranarray(rng.standard_normal((columns, rows)).astype(dtype) / 1000)
    a, square, y = (np.zeros(shape, dtype, order="F") for shape in ((n, n), (n, n), x.shape))
    wide = rows <= columns
    factors = (x, square) if wide else (square, x)

    def products() -> None:
        for _ in range(5):
            syrk(1.0, x, c=a, trans=int(wide), overwrite_c=1)
            syrk(1.0, a, c=square, overwrite_c=1)
            gemm(1.0, *factors, c=y, overwrite_c=1)

    return Case(products)


def forced_step(way: str, **given: Any) -> Case:
    """Return a step that takes the quickest serial way at any size, or the parallel way at any size."""
    everything = 1 << 60
    launcher.QUICK_BYTES = everything if way == "serial" else 0
    launcher.PARALLEL_BYTES = everything if way == "serial" else 0
    return step(**given)


@numba.njit(parallel=True, nogil=True, cache=True)
def _move_one(p, g):
    for i in numba.prange(p.size):
        p[i] += g[i]


@numba.njit(parallel=True, nogil=True, cache=True)
def _move_two(p, g, m):
    for i in numba.prange(p.size):
        gi = g[i]
        p[i] += gi
        m[i] += gi


@numba.njit(parallel=True, nogil=True, cache=True)
def _move_three(p, g, m, v):
    for i in numba.prange(p.size):
        gi = g[i]
        p[i] += gi
        m[i] += gi
        v[i] += gi


def move(written: int, size: int, dtype: str) -> Case:
    """Return a pass that reads a gradient and reads and writes ``written`` arrays, adding only."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(size).astype(dtype) for _ in range(written + 1)]
    loop = {1: _move_one, 2: _move_two, 3: _move_three}[written]
    return Case(lambda: loop(*arrays))


def threads() -> str:
    """Say how many threads a large launch uses and through which layer."""
    step("Adam", {}, 1, 10_000_000, "float32").call()
    return f"{nbopt.get_num_threads()} ({numba.threading_layer()})"


def parallel_bytes() -> int:
    """Return the constant that decides between one thread and all."""
    return launcher.PARALLEL_BYTES


def solve(kind: str, n: int, maxiter: int | None = None) -> Case:
    """Return a whole call of minimize()."""
    fun, x0 = rosenbrock.FUNCTIONS[kind], rosenbrock.start(n)
    options = {} if maxiter is None else {"maxiter": maxiter}
    return Case(lambda: nbopt.minimize(fun, x0, jac=True, options=options), clock=rosenbrock.clock(n))


def evaluate(kind: str, n: int) -> Case:
    """Return one call of the objective from Python."""
    fun, x0 = rosenbrock.FUNCTIONS[kind], rosenbrock.start(n)
    return Case(lambda: fun(x0), clock=rosenbrock.clock(n))


def counts(kind: str, n: int, maxiter: int | None = None) -> dict[str, Any]:
    """Return iterations, evaluations and the value that a solve ends at."""
    result = solve(kind, n, maxiter).call()
    return {"nit": int(result.nit), "nfev": int(result.nfev), "fun": float(result.fun)}


def problem(name: str, ftol: float | None = None) -> dict[str, Any]:
    """Solve a problem of validation/problems.py with default options, or another ``ftol``."""
    chosen = PROBLEMS[name]
    result = nbopt.minimize(chosen.fun_and_grad, chosen.start, jac=True, options={"ftol": ftol})
    return {"nfev": int(result.nfev), "fun": float(result.fun)}
