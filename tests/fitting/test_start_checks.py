"""Whether x, y and model go together; more that is refused stands in test_fit.py."""

import math

import numba
import numpy as np
import pytest

from nbopt.fitting.fit import fit

X = np.linspace(0.0, 3.0, 8)
Y = 2.0 * X + 1.0 + 0.01 * np.cos(9.0 * X)


@pytest.mark.parametrize(
    "model",
    [lambda x, a: a, lambda x, a: [a], numba.njit(lambda x, a: a), lambda x, a: a + 0 * x.max()],
    ids=["number", "list", "njit", "of x"],
)
def test_a_model_that_is_a_constant_may_return_one_number(model):
    assert fit(model, X, Y).params.a.value == pytest.approx(Y.mean())


def test_one_point_may_have_one_number():
    result = fit(lambda x, a: a * np.sum(x), X[3:4], Y[3:4], sigma=0.1, absolute_sigma=True)
    assert result.params.a.value == pytest.approx(Y[3] / X[3])


@pytest.mark.parametrize(
    "error, model, x, y, words",
    [
        (ValueError, lambda x, a: a * np.sum(x), X, Y, r"one number for the 8 points.*shape \(8,\)"),
        (ValueError, lambda x, a: a * x[0].mean(), np.array([X, X]), Y, "one number for the 8 points"),
        (TypeError, lambda x, a: a * math.exp(x), X, Y, r"takes one number x, not an array of shape \(8,\)"),
        (TypeError, lambda x, a: a if x > 1 else 0.0, X, Y, "np.where for if"),
        (
            TypeError,
            lambda x, a: (a * x).astype(np.int32),
            X,
            Y,
            r"returned int32: whole numbers.*return",
        ),
        (TypeError, numba.njit(lambda x, a: [a * v for v in x]), X, Y, "an array, not a list"),
        (ValueError, lambda x, a: 1 / 0, X, Y, r"the model divides by zero at p0 \(a=1\)"),
        (
            ValueError,
            lambda x, a: a * x,
            Y,
            np.array([X, X]),
            r"y has shape \(2, 8\), x has shape \(8,\).*exch",
        ),
        (
            ValueError,
            lambda x, a: a * x,
            np.array([X, X]),
            Y,
            r"shape \(2, 8\) for x of shape \(2, 8\); y has",
        ),
        (ValueError, lambda x, a: a * x, X, [[1.0, 2.0], [3.0]], "y must be real numbers"),
    ],
)
def test_what_does_not_go_together_is_said(error, model, x, y, words):
    with pytest.raises(error, match=words):
        fit(model, x, y)
