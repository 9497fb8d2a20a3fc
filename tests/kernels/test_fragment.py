"""Fragments: what compiled code calls is not compiled for its own sake, and computes the same."""

import math
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import types

from nbopt.kernels import compile as kernels_compile
from nbopt.kernels.compile import address_of, compiled
from nbopt.kernels.fragment import Dispatcher
from nbopt.solvers.cholesky import cholesky

LINE = types.Array(types.float64, 1, "C")


def power_sum(x, power, shift=0.0):
    """Return the sum of (x + shift)**power."""
    if power < 0:
        raise ValueError("no such power")
    total = 0.0
    for k in range(x.size):
        term = 1.0
        for _ in range(power):
            term *= x[k] + shift
        total += term
    return total


@pytest.fixture
def own(monkeypatch):
    """Return `compiled` for functions of this file, taken for one of the package."""
    monkeypatch.setattr(kernels_compile, "_PACKAGE", Path(__file__).resolve().parent)
    monkeypatch.setattr(kernels_compile, "_build_tag", lambda folder: "tests")
    return compiled


def test_only_functions_of_the_package_are_fragments():
    assert isinstance(cholesky, Dispatcher)
    assert not isinstance(compiled(power_sum), Dispatcher)  # the user's own may need Numba's environment


@pytest.mark.parametrize("inline", [False, True])
def test_a_caller_computes_what_python_gets(own, inline):
    f = own(power_sum, inline=inline)

    @numba.njit
    def caller(x, power):
        return f(x, power) + f(x, power, shift=1.0), f(x, 2)

    x = np.linspace(0.0, 1.0, 7)
    both, square = caller(x, 3)
    assert not f.overloads  # nothing was made for Python
    assert both == f(x, 3) + f(x, 3, 1.0) and square == f(x, 2)


def test_a_constant_does_not_make_another_fragment(own):
    f = own(power_sum)

    @numba.njit
    def caller(x, power):
        return f(x, 0, 0.5) + f(x, 1, 0.5) + f(x, power, 0.5)

    assert caller(np.ones(2), 2) == 2 + 3 + 4.5
    assert list(f._fragments.overloads) == [(LINE, types.int64, types.float64)]


def test_an_exception_reaches_python(own):
    f = own(power_sum)

    @numba.njit
    def caller(x, power):
        return f(x, power)

    assert math.isclose(caller(np.array([3.0]), 2), 9.0)
    with pytest.raises(ValueError, match="no such power"):
        caller(np.array([3.0]), -1)


def test_an_address_is_of_a_whole_function_after_a_fragment_of_it(own):
    f = own(power_sum)
    assert numba.njit(lambda x: f(x, 2, 0.0))(np.array([3.0])) == 9.0
    assert address_of(f, types.float64(LINE, types.int64, types.float64)) != 0
    assert len(f.overloads) == 1


def test_fragments_are_read_from_the_disk(own):
    x, found = np.linspace(0.0, 1.0, 7), []
    for _ in range(2):  # as in another process: a dispatcher that knows nothing yet
        f = own(power_sum)
        found.append(numba.njit(lambda x, f=f: f(x, 4, 0.25))(x))
    assert sum(f._fragments.stats.cache_hits.values()) == 1
    assert found[0] == found[1] == power_sum(x, 4, 0.25)


def test_fragments_are_not_written_where_the_disk_cache_is_left_out(own, monkeypatch):
    monkeypatch.setenv("NBOPT_CACHE", "0")
    f = own(power_sum)
    assert numba.njit(lambda x: f(x, 2, 1.0))(np.ones(3)) == 12.0
    assert type(f._fragments._cache).__name__ == "NullCache"
