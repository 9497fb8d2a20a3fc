"""Columns that are constant: found, left out, computed at the end, and taken back where they were not."""

import numpy as np
import pytest
import scipy.optimize as so
from fit_models import Counted
from hypothesis import given, settings
from hypothesis import strategies as st

import nbopt
from nbopt.fitting.constant_columns import compare, is_linear, leave_out
from nbopt.fitting.jacobian_differences import FORWARD, LEFT_OUT
from nbopt.fitting.workspace import CONSTANT, EXACT, MOVING, UNKNOWN

INF = np.inf
X = np.linspace(0.0, 10.0, 40)


def peak(x, a, mu, s, b, c):
    return a * np.exp(-0.5 * ((x - mu) / s) ** 2) + b + c * x


def fit_counted(model, y, p0, **options):
    counted = Counted(model)
    return (*nbopt.curve_fit(counted, X, y, p0, **options), counted.calls)


def marks_after(J, before, marks, scheme=None, noise=1e-14):
    n, marks = J.shape[1], np.array(marks)
    scheme = np.full(n, FORWARD) if scheme is None else np.array(scheme)
    wrong = compare(J, before, marks, np.ones(n), np.full((2, n), 1.0 + 1e-8), scheme, noise)
    return wrong, marks.tolist()


def test_columns_are_told_apart_by_two_points():
    before = np.random.default_rng(0).normal(size=(20, 3))
    other = before * [1.5, 1.0, 1.0 + 1e-4]
    assert marks_after(other, before, [UNKNOWN] * 3) == (0, [MOVING, CONSTANT, MOVING])
    near = before * [1.001, 1.0, 1.0]  # that may be the same point
    assert marks_after(near, before, [UNKNOWN] * 3) == (0, [UNKNOWN] * 3)
    assert marks_after(other * [1, 0, 1], before * [1, 0, 1], [UNKNOWN] * 3)[1][1] == MOVING  # of nothing
    assert marks_after(other, before, [UNKNOWN] * 3, noise=1e-6)[1] == [MOVING] * 3  # noise hides them


def test_constant_columns_are_exact_once_computed_anew_or_found_to_move():
    before = np.random.default_rng(0).normal(size=(20, 3))
    other, marks = before * [1.5, 1.0, 1.1], [MOVING, CONSTANT, CONSTANT]
    assert marks_after(other, before, marks) == (1, [MOVING, EXACT, MOVING])
    assert marks_after(other, before, marks, [FORWARD, LEFT_OUT, LEFT_OUT]) == (0, marks)


def test_what_is_left_out_depends_on_how_far_the_fit_is():
    marks = np.array([UNKNOWN, CONSTANT, MOVING, EXACT, CONSTANT])

    def chosen(ending, others):
        scheme, points = np.full(5, FORWARD), np.full((2, 5), 1.0 + 2.0**-30)
        upper = np.array([INF, INF, INF, INF, 1.0 + 2.0**-20])
        kept = leave_out(np.ones(5), np.full(5, -INF), upper, points, scheme, marks, ending, others)
        return kept, (scheme == FORWARD).tolist(), (points[0] - 1.0) * 2.0**30

    kept, computed, _ = chosen(False, True)
    assert kept == 2 and computed == [True, False, True, False, False]
    kept, computed, steps = chosen(True, False)
    assert kept == 0 and computed == [False, True, False, False, True]
    assert steps[1] == 2.0**12 and steps[4] == 2.0**10  # no step beyond the bound


def test_a_linear_model_is_known_by_what_its_jacobian_foretold():
    J, r = np.random.default_rng(0).normal(size=(20, 3)), np.random.default_rng(1).normal(size=20)
    x, before = np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, -1.0])
    assert is_linear(x, r + J @ (x - before), before, r, J)
    assert not is_linear(x, r + J @ (x - before) + 1e-3, before, r, J)


def test_an_offset_and_a_slope_are_differentiated_at_the_first_two_points_and_the_end():
    y = peak(X, 3, 4.5, 0.8, 1, 0.1) + np.random.default_rng(0).normal(0, 0.1, X.size)
    p0 = [2, 4, 1, 0.5, 0.0]
    popt, pcov, info, _, _, calls = fit_counted(peak, y, p0, full_output=True)
    right = so.curve_fit(peak, X, y, p0, xtol=1e-14, ftol=1e-14, gtol=1e-14, maxfev=10_000)
    # between, mu and s: the amplitude follows from the others (see `homogeneity`)
    assert info["njev"] > 4 and calls == info["nfev"] + 5 * 2 + 2 * (info["njev"] - 2) + 3
    np.testing.assert_allclose(popt, right[0], rtol=1e-6)
    np.testing.assert_allclose(pcov, right[1], rtol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_linear_model_takes_two_jacobians_in_all(n, start):
    def polynomial(x, *p):
        return sum(c * x**k for k, c in enumerate(p))

    true = np.array([1.0, 2.0, -0.5, 0.1])[:n]
    y = polynomial(X, *true) + np.random.default_rng(0).normal(0, 0.1, X.size)
    popt, _, calls = fit_counted(polynomial, y, np.full(n, start))
    assert calls <= 2 * n + 4
    np.testing.assert_allclose(popt, np.polynomial.Polynomial.fit(X, y, n - 1).convert().coef, rtol=1e-9)


def test_a_column_that_changes_late_is_found_out():
    def kinked(x, a, k, b):  # b is an offset until a reaches 2
        return a * np.exp(-k * x) + b * (1.0 + 0.05 * max(a - 2.0, 0.0) * x)

    y = kinked(X, 3.0, 0.7, 0.5)
    popt, _, _ = fit_counted(kinked, y, [1.0, 1.0, 0.3])
    assert np.sum((kinked(X, *popt) - y) ** 2) < 1e-12
    np.testing.assert_allclose(popt, [3.0, 0.7, 0.5], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-3, 3),
    st.floats(-1, 1),
    st.sampled_from(["none", "errors", "matrix"]),
    st.sampled_from([(-INF, INF), ([0, 0, 0.1, -0.2, -2], [9, 9, 5, 0.7, 2])]),
    st.integers(0, 5),
)
def test_a_fit_ends_where_one_with_the_exact_jacobian_does(b, c, errors, bounds, seed):
    rng = np.random.default_rng(seed)
    y = peak(X, 3, 4.5, 0.8, b, c) + rng.normal(0, 0.1, X.size)
    sigma = {
        "none": None,
        "errors": np.linspace(0.5, 2, X.size),
        "matrix": np.diag(np.linspace(0.2, 2, X.size)),
    }
    start = np.array([2, 4, 1, 0.5, 0.0])

    def jac(x, a, mu, s, b, c):
        z = (x - mu) / s
        e = np.exp(-0.5 * z * z)
        return np.column_stack([e, a * e * z / s, a * e * z * z / s, np.ones_like(x), x])

    popt, pcov = nbopt.curve_fit(peak, X, y, start, sigma[errors], bounds=bounds)
    right, cov = nbopt.curve_fit(peak, X, y, start, sigma[errors], bounds=bounds, jac=jac)
    scale = np.sqrt(np.diag(cov))
    np.testing.assert_allclose((popt - right) / scale, 0.0, atol=1e-5)
    np.testing.assert_allclose(pcov / np.outer(scale, scale), cov / np.outer(scale, scale), atol=2e-5)
