"""Checks of options."""

import numpy as np
import pytest

from nbopt.lr_scheduler import checks
from nbopt.optim.ranges import FRACTION


def test_numbers_come_back_as_floats_and_counts_as_integers():
    for value in (1, np.float32(1), np.array([1.0])):
        assert type(checks.number("A", "x", value, FRACTION)) is float
    for value in (3, 3.0, np.int32(3), np.array(3)):
        assert checks.whole("A", "n", value, 1) == 3
        assert type(checks.whole("A", "n", value, 1)) is int
    assert checks.whole_list("A", "n", (n for n in [0, 2.0]), 0) == [0, 2]


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"A: x=1.5 must lie in \[0, 1\]"):
        checks.number("A", "x", 1.5, FRACTION)
    for value in (0, 2.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"A: n={value} must be a whole number >= 1"):
            checks.whole("A", "n", value, 1)
    for value in (True, None, "1", 1j, [1]):
        with pytest.raises(TypeError, match="must be a whole number >= 1"):
            checks.whole("A", "n", value, 1)
    with pytest.raises(TypeError, match="A: n='12' must be a list of whole numbers >= 0"):
        checks.whole_list("A", "n", "12", 0)
    with pytest.raises(ValueError, match=r"A: mode='x' must be one of \('a', 'b'\)"):
        checks.choice("A", "mode", "x", ("a", "b"))
    with pytest.raises(TypeError, match="A: f must be a function, not int"):
        checks.function("A", "f", 3)
