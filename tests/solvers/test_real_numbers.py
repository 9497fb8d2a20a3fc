"""Numbers as a user may give them, and what is none; what functions make of it stands in their tests."""

from fractions import Fraction

import numpy as np
import pytest

from nbopt.solvers.real_numbers import real_numbers


@pytest.mark.parametrize("kind", [float, int, bool, np.float32, np.uint8, object])
def test_all_kinds_of_numbers(kind):
    given = np.array([0, 1], kind)
    found = real_numbers(given)
    assert found.dtype == np.float64 and found.tolist() == [0.0, 1.0] and not np.shares_memory(found, given)


def test_numbers_of_other_types():
    assert real_numbers(np.array([Fraction(1, 4), np.float32(2)], object)).tolist() == [0.25, 2.0]


@pytest.mark.parametrize("bad", ["1", b"1", None, {"a": 1}, 1j, np.str_("2")])
def test_what_is_no_number(bad):
    values = np.empty(2, object)
    values[:] = 1.0, bad
    with pytest.raises(TypeError, match=r"^holds .*; it must be real numbers"):
        real_numbers(values)


@pytest.mark.parametrize("values", [["1", "2"], [b"12"], [1j]])
def test_arrays_of_something_else(values):
    with pytest.raises(TypeError, match=r"^has dtype .*; it must be real numbers"):
        real_numbers(np.array(values))
