"""Entries of residuals and Jacobians."""

import numba
import numpy as np
import pytest

from nbopt.kernels.compile import compiled
from nbopt.kernels.native import NotNative
from nbopt.kernels.native_residuals import (
    COMPLEX_RESIDUALS,
    JACOBIAN,
    RESIDUALS,
    call_jacobian,
    call_residuals,
    residual_entry,
)


@numba.njit
def line(x, t, y):
    return x[0] + x[1] * t - y


@numba.njit
def line_jac(x, t, y):
    jac = np.ones((t.size, 2))
    jac[:, 1] = t
    return jac


@compiled
def residuals(address, x, r, words):
    call_residuals(address, x, r, words.ctypes.data)


@compiled
def derivatives(address, x, r, jac, words):
    call_jacobian(address, x, r, jac, words.ctypes.data)


ARGS = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 4.0])


def test_residuals_and_jacobian_are_written():
    entry, x, r = residual_entry(line, ARGS, RESIDUALS), np.array([1.0, 0.5]), np.empty(3)
    residuals(entry.address, x, r, entry.words(ARGS))
    np.testing.assert_array_equal(r, line(x, *ARGS))
    entry, jac = residual_entry(line_jac, ARGS, JACOBIAN), np.empty((3, 2))
    derivatives(entry.address, x, r, jac, entry.words(ARGS))
    np.testing.assert_array_equal(jac, line_jac(x, *ARGS))


def test_complex_residuals():
    entry, x, r = (
        residual_entry(line, ARGS, COMPLEX_RESIDUALS),
        np.array([1.0, 0.5 + 1j]),
        np.empty(3, complex),
    )
    residuals(entry.address, x, r, entry.words(ARGS))
    np.testing.assert_array_equal(r.imag, ARGS[0])


def test_an_entry_is_made_once_for_arguments_of_a_type():
    assert residual_entry(line, ARGS, RESIDUALS) is residual_entry(line, (ARGS[1], ARGS[0]), RESIDUALS)
    assert residual_entry(line, ARGS, RESIDUALS) is not residual_entry(line, (1.0, ARGS[0]), RESIDUALS)


def test_another_number_of_residuals_is_an_error():
    entry = residual_entry(line, ARGS, RESIDUALS)
    with pytest.raises(ValueError, match="another number of residuals than at x0"):
        residuals(entry.address, np.ones(2), np.empty(2), entry.words(ARGS))
    entry = residual_entry(line_jac, ARGS, JACOBIAN)
    with pytest.raises(ValueError, match=r"another shape than \(m, n\)"):
        derivatives(entry.address, np.ones(2), np.empty(3), np.empty((3, 3)), entry.words(ARGS))


def test_results_of_another_form_are_not_native():
    @numba.njit
    def number(x):
        return x[0]

    @numba.njit
    def table(x):
        return np.ones((2, 2))

    for fun in (number, table):
        with pytest.raises(NotNative):
            residual_entry(fun, (), RESIDUALS)
    with pytest.raises(NotNative):
        residual_entry(line, ARGS, JACOBIAN)
    with pytest.raises(NotNative):
        residual_entry(line, ([1.0], ARGS[1]), RESIDUALS)
