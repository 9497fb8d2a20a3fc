"""Six small problems of different kinds, on which validation/choosing.py compares the optimizers.

Each is a function of a seed, which moves what is random while it is being solved (mini-batches), and
nothing else: start, minimum and target stay.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Problem:
    """What an optimizer is given, and when it has arrived.

    ``evaluate(params, k)`` returns the loss and the gradients that step ``k`` sees, ``gap(params)`` how far
    the true loss is from its minimum. It counts as solved where ``gap`` is at most ``target``, which is
    looked at every ``every`` steps, and given up after ``limit`` evaluations.
    """

    start: Arrays
    evaluate: Callable[[Arrays, int], tuple[float, Any]]
    gap: Callable[[Arrays], float]
    target: float
    limit: int
    every: int


def quadratic(seed: int) -> Problem:
    """Pose a convex quadratic of 50 variables, condition 1000, its axes turned against the variables'."""
    del seed
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((50, 50)))[0]
    a = axes * np.geomspace(1e-3, 1, 50) @ axes.T
    solution = rng.standard_normal(50)

    def evaluate(params: Arrays, k: int) -> tuple[float, Any]:
        moved = params[0] - solution
        g = a @ moved
        return 0.5 * float(moved @ g), [g]

    start = [rng.standard_normal(50)]
    target = 1e-6 * evaluate(start, 0)[0]
    return Problem(start, evaluate, lambda params: evaluate(params, 0)[0], target, 2500, 5)


def rosenbrock(seed: int) -> Problem:
    """Follow Rosenbrock's valley in two variables, from (-1.2, 1)."""
    del seed

    def evaluate(params: Arrays, k: int) -> tuple[float, Any]:
        x, y = params[0].tolist()
        away, off = 1 - x, y - x * x
        return away * away + 100 * off * off, [np.array([-2 * away - 400 * x * off, 200 * off])]

    start = [np.array([-1.2, 1.0])]
    return Problem(start, evaluate, lambda params: evaluate(params, 0)[0], 1e-4, 10_000, 10)


@functools.cache
def _breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """Return 569 x 30 standardised measurements with a column of ones, and their classes as -1 and 1."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return np.column_stack([(x - x.mean(0)) / x.std(0), np.ones(len(x))]), 2.0 * y - 1.0


def logistic(seed: int) -> Problem:
    """Tell malignant from benign by logistic regression: Wisconsin breast cancer, all 569 rows at a step."""
    del seed
    x, y = _breast_cancer()
    decay = 1 / len(y)

    def evaluate(params: Arrays, k: int) -> tuple[float, Any]:
        w = params[0]
        margin = y * (x @ w)
        pull = x.T @ (-y / (1 + np.exp(margin))) / len(y)
        return np.logaddexp(0, -margin).mean() + 0.5 * decay * (w @ w), [pull + decay * w]

    def flat(w: np.ndarray) -> tuple[float, np.ndarray]:
        f, (g,) = evaluate([w], 0)
        return f, g

    start = np.zeros(x.shape[1])
    lowest = minimize(flat, start, jac=True, method="BFGS", options={"gtol": 1e-9}).fun
    return Problem([start], evaluate, lambda p: evaluate(p, 0)[0] - lowest, 1e-6, 2000, 5)


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1797 images of 8 x 8 pixels in [0, 1] with a one behind each, and the digits as unit rows."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = np.column_stack([x / 16, np.ones(len(x))]).astype(np.float32)
    return x, np.eye(10, dtype=np.float32)[y]


def _cross_entropy(out: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy of softmax(out) and its derivative by ``out``."""
    share = np.exp(out - out.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    loss = -np.log((share * y).sum(1) + np.float32(1e-30)).mean()
    return float(loss), (share - y) / np.float32(len(y))


def network(seed: int) -> Problem:
    """Train 32 tanh units on the 1797 digits of UCI, 100 at a step; biases are rows of the two matrices."""
    x, y = _digits()
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape, np.float32) / 8 for shape in ((65, 32), (33, 10))]
    order = np.random.default_rng(seed)
    batches = np.concatenate([order.permutation(len(x))[:1700].reshape(17, 100) for _ in range(40)])

    def hidden(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        h = np.ones((len(x), w.shape[1] + 1), np.float32)
        np.tanh(x @ w, out=h[:, :-1])
        return h

    def evaluate(params: Arrays, k: int) -> tuple[float, Any]:
        inner, outer = params
        rows = batches[k % len(batches)]
        h = hidden(x[rows], inner)
        loss, d = _cross_entropy(h @ outer, y[rows])
        back = (d @ outer[:-1].T) * (1 - h[:, :-1] ** 2)
        return loss, [x[rows].T @ back, h.T @ d]

    def gap(params: Arrays) -> float:
        return _cross_entropy(hidden(x, params[0]) @ params[1], y)[0]

    return Problem(start, evaluate, gap, 0.05, 600, 10)


ROWS, WIDTH, BAG, BAGS = 5000, 8, 6, 64


def embedding(seed: int, sparse: bool = False) -> Problem:
    """Fit a table of 5000 x 8 to sums of 6 of its rows, 64 sums at a step; few rows are frequent."""
    fixed = np.random.default_rng(0)
    truth = fixed.standard_normal((ROWS, WIDTH), np.float32)
    chance = 1 / (np.arange(ROWS) + 10.0)
    chance /= chance.sum()
    held_out = fixed.choice(ROWS, (2000, BAG), p=chance)
    bags = np.random.default_rng(1 + seed).choice(ROWS, (1000, BAGS, BAG), p=chance)

    def residual(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return (table[rows] - truth[rows]).sum(1)

    def evaluate(params: Arrays, k: int) -> tuple[float, Any]:
        rows = bags[k % len(bags)]
        r = residual(params[0], rows)
        index, values = rows.reshape(-1), np.repeat(r / np.float32(BAGS), BAG, 0)
        loss = 0.5 * float((r * r).sum()) / BAGS
        if sparse:
            return loss, [(index, values)]
        g = np.zeros_like(params[0])
        np.add.at(g, index, values)
        return loss, [g]

    def gap(params: Arrays) -> float:
        r = residual(params[0], held_out)
        return 0.5 * float((r * r).sum()) / len(r)

    start = [fixed.standard_normal((ROWS, WIDTH), np.float32) / 10]
    return Problem(start, evaluate, gap, 0.05 * gap(start), 750, 10)


def noisy(seed: int) -> Problem:
    """Estimate 20 unknowns by linear least squares from 8 new noisy observations at a step."""
    spread = np.geomspace(1, 0.1, 20)  # of the inputs: the Hessian's condition is 100
    truth = np.random.default_rng(0).standard_normal(20)
    stream = np.random.default_rng(1 + seed)
    x = stream.standard_normal((3000, 8, 20)) * spread
    y = x @ truth + stream.standard_normal((3000, 8))

    def evaluate(params: Arrays, k: int) -> tuple[float, Any]:
        r = x[k] @ params[0] - y[k]
        return 0.5 * float(r @ r) / 8, [r @ x[k] / 8]

    def gap(params: Arrays) -> float:
        moved = (params[0] - truth) * spread
        return 0.5 * float(moved @ moved)

    start = [np.zeros(20)]
    return Problem(start, evaluate, gap, 5e-3 * gap(start), 3000, 10)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "ill-conditioned quadratic": quadratic,
    "Rosenbrock": rosenbrock,
    "logistic regression": logistic,
    "small network": network,
    "sparse embedding": embedding,
    "noisy least squares": noisy,
}
NEEDS_SKLEARN = ("logistic regression", "small network")
RANDOM = ("small network", "sparse embedding", "noisy least squares")  # the seed matters
