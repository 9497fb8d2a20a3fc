"""Handles in compiled code: arguments of all kinds, lifetimes, caching, what is refused."""

import copy
import gc
import pickle
import warnings

import numpy as np
import pytest
from fresh_process import run_python
from numba import njit
from numba.core.errors import NumbaWarning, TypingError

import nbopt


@njit
def scale(x):
    return 2.0 * x


@njit
def mixed(x, i, flag, z, inner, table, nothing, function):
    a, (b, c) = inner
    s = i + z.real - z.imag + a + b * c.sum() + table[0, 1] + table.sum()
    s = -s if flag else s
    d = function(x[0]) - s
    return d * d


@njit
def pass_on(handle, x0, i, flag, z, inner, table, nothing):
    return nbopt.minimize(handle, x0, (i, flag, z, inner, table, nothing, scale)).x


def test_arguments_of_all_kinds_reach_the_function():
    inner, table = (np.float32(0.5), (3, np.arange(3.0))), np.arange(12.0).reshape(3, 4)[::2, ::-1]
    args = 7, True, 2.0 - 1.5j, inner, table, None
    handle = nbopt.compile(mixed, (*args, scale))
    x = pass_on(handle, np.zeros(1), *args)
    expected = nbopt.minimize(mixed, np.zeros(1), (*args, scale)).x
    np.testing.assert_array_equal(x, expected)
    total = 7 + 2.0 + 1.5 + 0.5 + 3 * 3.0 + table[0, 1] + table.sum()
    assert x[0] == pytest.approx(-total / 2.0, rel=1e-6)


@njit
def shifted(x, c, w):
    d = x - c
    return w * (d * d).sum()


@njit
def solve_shifted(handle, x0, c, w):
    return nbopt.minimize(handle, x0, (c, w)).x


def test_arguments_are_converted_where_that_is_safe():
    handle = nbopt.compile(shifted, (np.ones(2)[::1], 1.0))
    np.testing.assert_allclose(solve_shifted(handle, np.zeros(2), np.ones(2), 3), 1.0, atol=1e-6)  # an int
    strided = nbopt.compile(shifted, (np.ones((2, 2))[:, 0], 1.0))
    np.testing.assert_allclose(solve_shifted(strided, np.zeros(2), np.ones(2), 1.0), 1.0, atol=1e-6)
    for x0 in (np.zeros(2, np.int32), np.zeros((2, 3))[:, 1], np.zeros(2, np.float32)):
        np.testing.assert_allclose(solve_shifted(handle, x0, np.ones(2), 3.0), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda h: solve_shifted(h, np.zeros(2), np.ones((2, 2))[:, 0], 1.0),
            r"args\[0\] is array\(float64, 1d, A\)",
        ),
        (lambda h: solve_shifted(h, np.zeros(2), np.ones(2), 1j), r"args\[1\] is complex128.*given float64"),
        (lambda h: solve_shifted(h, 3.0, np.ones(2), 1.0), "x0 is float64; .* 1-D array"),
        (lambda h: solve_shifted(h, np.zeros((2, 2)), np.ones(2), 1.0), "x0 is array"),
        (lambda h: solve_shifted(shifted, np.zeros(2), np.ones(2), 1.0), "what nbopt.compile.* returned"),
        (lambda h: njit(lambda h, x: nbopt.minimize(h, x))(h, np.zeros(2)), "0 args were given; .* given 2"),
    ],
)
def test_what_is_refused_when_the_caller_is_compiled(call, match):
    handle = nbopt.compile(shifted, (np.ones(2), 1.0))
    with pytest.raises(TypingError, match=match):
        call(handle)


@njit
def sphere(x):
    return (x * x).sum()


@njit
def quartic(x):
    return (x**4).sum()


@njit
def value_of(handle, x0):
    return nbopt.minimize(handle, x0).fun


def test_code_that_gets_its_handle_serves_all_alike():
    first, second = nbopt.compile(sphere), nbopt.compile(quartic)
    assert value_of(first, np.ones(3)) == nbopt.minimize(sphere, np.ones(3)).fun
    assert value_of(second, np.ones(3)) == nbopt.minimize(quartic, np.ones(3)).fun
    assert len(value_of.signatures) == 1


def test_a_handle_among_the_globals_outlives_its_name():
    def make():
        handle = nbopt.compile(njit(lambda x: ((x - 3.0) ** 2).sum()))
        return njit(lambda x0: nbopt.minimize(handle, x0).x)

    solve = make()
    solve(np.zeros(2))
    del make
    gc.collect()
    garbage = [np.full(64, 7) for _ in range(100)]
    np.testing.assert_allclose(solve(np.zeros(2)), 3.0, atol=1e-6)
    assert len(garbage) == 100


def test_temporary_arguments_live_as_long_as_the_solve():
    @njit
    def with_temporaries(handle, k):
        return nbopt.minimize(handle, np.zeros(50), (np.full(50, float(k)), 1.0)).x

    handle = nbopt.compile(shifted, (np.ones(2), 1.0))
    for k in range(200):
        np.testing.assert_allclose(with_temporaries(handle, k), float(k), atol=1e-5)


def test_handles_are_not_copied_to_where_their_addresses_mean_nothing():
    handle = nbopt.compile(sphere)
    with pytest.raises(TypeError, match="holds addresses of this process: call nbopt"):
        pickle.dumps(handle)
    assert copy.copy(handle) is copy.deepcopy(handle) is handle


CACHED = """
    import numba, numpy as np, nbopt, sys
    from nbopt.solvers import handle as module, lbfgs
    sys.path.insert(0, sys.argv[1])
    from cached_caller import handle, by_argument
    print(by_argument(handle, np.ones(2)).round(6).tolist(), *(
        sum(function.stats.cache_hits.values()) for function in (by_argument, module.solve, lbfgs.advance)
    ))
"""
CALLER = """
import numba, nbopt

@numba.njit
def fun(x):
    return ((x - 3.0) ** 2).sum(), 2.0 * (x - 3.0)

handle = nbopt.compile(fun, jac=True)

@numba.njit(cache=True)
def by_argument(handle, x0):
    return nbopt.minimize(handle, x0).x

@numba.njit(cache=True)
def by_name(x0):
    return nbopt.minimize(handle, x0).x
"""


def test_code_that_gets_its_handle_is_cached_and_code_that_names_it_is_not(tmp_path, monkeypatch):
    (tmp_path / "cached_caller.py").write_text(CALLER)
    nbopt.compile(sphere)  # the solver is on disk
    runs = [run_python(CACHED, tmp_path).split() for _ in range(2)]
    assert runs == [["[3.0,", "3.0]", *hits, "1", "1"] for hits in ("0", "1")]
    monkeypatch.syspath_prepend(tmp_path)
    import cached_caller

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_allclose(cached_caller.by_name(np.ones(2)), 3.0, atol=1e-6)
    assert any(w.category is NumbaWarning and "Cannot cache" in str(w.message) for w in caught)
