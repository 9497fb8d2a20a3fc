"""Formulas for one step and for arrays of steps."""

import numpy as np
import pytest

from nbopt.lr_scheduler import pointwise


def test_a_number_gives_a_number_and_an_array_an_array():
    steps = np.arange(5)
    formulas = (
        pointwise.cos,
        lambda x: pointwise.lesser(x, 2),
        lambda x: pointwise.where(x < 3, x, -1.0),
        lambda x: pointwise.each(lambda step: step**2 + 0.5, x),
    )
    for f in formulas:
        whole = f(steps)
        assert whole.shape == (5,)
        assert [f(step) for step in steps.tolist()] == pytest.approx(whole.tolist(), abs=1e-15)
        assert not isinstance(f(3), np.ndarray | np.generic)
