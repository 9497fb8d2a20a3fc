"""Rows of fits on all threads: the same bits as one by one, and what a failing model does."""

import numba
import numpy as np
import pytest
from fit_models import ERRORS, START, X, Y, peak

import nbopt
from nbopt.fitting.fit import fit
from nbopt.fitting.resample import Resampler
from nbopt.fitting.row_solves import RowSolves

RESULT = fit(peak, X, Y, START, sigma=ERRORS)


@pytest.mark.parametrize("kind", ["residuals", "pairs"])
def test_rows_are_the_fits_one_by_one_bit_for_bit(kind):
    resampler = Resampler(RESULT, kind, 0)
    data = [resampler.draw() for _ in range(12)]
    found = RowSolves.of(RESULT.problem, RESULT.x).run(iter(data), 12)
    alone = [RESULT.problem.solve(RESULT.x, data=one)["x"] for one in data]
    np.testing.assert_array_equal(found, alone)


def test_the_number_of_threads_changes_no_bit():
    before = nbopt.get_num_threads()
    try:
        found = []
        for threads in (1, before):
            nbopt.set_num_threads(threads)
            found.append(RESULT.bootstrap(50, seed=2).params)
    finally:
        nbopt.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_a_model_that_raises_fails_in_its_rows_only():
    @numba.njit
    def model(x, a):
        if a > 1.0:
            raise ValueError("too much")
        return a * x

    x = np.array([1.0, 2.0, 3.0])
    problem = fit(model, x, 0.5 * x + [0.1, -0.1, 0.05], (0.4,)).problem
    rows = [problem.data._replace(y=slope * x) for slope in (0.2, 5.0, 0.9, 7.0)]
    found = RowSolves.of(problem, np.array([0.5])).run(iter(rows), 4)[:, 0]
    np.testing.assert_allclose(found[[0, 2]], [0.2, 0.9])
    assert np.isnan(found[[1, 3]]).all()


@pytest.mark.parametrize(
    "given",
    [{"model": peak.py_func}, {"jac": "3-point"}, {"loss": lambda z: np.array([z, 1 + 0 * z, 0 * z])}],
)
def test_other_problems_are_not_for_rows(given):
    result = fit(**{"model": peak, "x": X, "y": Y, "p0": START, **given})
    assert RowSolves.of(result.problem, result.x) is None
    assert np.isfinite(result.bootstrap(3, seed=0).params).all()
