"""Entries of compiled callbacks: what they may return, called by address, compiled once."""

import numpy as np
import pytest
from numba import njit

from nbopt.kernels.compile import compiled
from nbopt.kernels.native_callback import call_callback, callback_entry


@compiled(cache=False)
def ask(address, x, f):
    return call_callback(address, x, f)


@njit
def only_true(x, f):
    if f < 1.0:
        return True


@njit
def counts(x):
    return int(x[0])


@njit
def nothing(x, f):
    x[0] = f


@njit
def never(x):
    return None


@pytest.mark.parametrize(
    ("callback", "with_value", "f", "answer"),
    [
        (only_true, True, 0.5, True),
        (only_true, True, 2.0, False),
        (counts, False, 0.0, True),
        (nothing, True, 0.0, False),
        (never, False, 0.0, False),
        (njit(lambda x, f: np.float64(f)), True, 0.0, False),
        (njit(lambda x: True), False, 0.0, True),
    ],
)
def test_what_a_callback_may_return(callback, with_value, f, answer):
    entry = callback_entry(callback, with_value)
    assert ask(entry.address, np.array([3.0, 4.0]), f) is answer
    assert callback_entry(callback, with_value) is entry


def test_what_it_raises_propagates():
    @njit
    def broken(x):
        raise LookupError("callback")

    with pytest.raises(LookupError, match="callback"):
        ask(callback_entry(broken, False).address, np.ones(1), 0.0)


@pytest.mark.parametrize("odd", [lambda x: x, lambda x: "stop", lambda x: (True, False), lambda x: 1j])
def test_other_results_are_refused(odd):
    with pytest.raises(TypeError, match=r"minimize: callback returned .* nothing, or whether to stop"):
        callback_entry(njit(odd), False)
