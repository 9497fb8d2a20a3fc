"""When rows are found backwards: what that is faster for."""

import operator

import numpy as np
import pytest
from numba.core import ir

from nbopt.autodiff.backwards import Expression
from nbopt.autodiff.rows_backwards import Guess, is_faster

HERE = ir.Loc(__file__, 1)
A, B = (ir.Var(None, name, HERE) for name in "ab")
KNOWN = {"a": Guess(0, frozenset({0})), "b": Guess(None, frozenset({0, 1}))}
UNKNOWN = KNOWN | {"b": Guess(None, None)}


@pytest.mark.parametrize(
    ("tree", "guesses", "k", "expected"),
    [
        ((operator.mul, [A, B]), KNOWN, 2, True),
        ((operator.mul, [A, B]), UNKNOWN, 8, False),
        ((np.exp, [A]), KNOWN, 4, False),
        ((np.exp, [A]), KNOWN, 8, True),
        ((np.hypot, [A, B]), KNOWN, 8, False),
    ],
)
def test_what_it_is_faster_for(tree, guesses, k, expected):
    assert is_faster(Expression(tree, {"a", "b"}), guesses, k) == expected
