"""The sentence that tells which line is in the way, from what Numba says."""

import pytest
from numba import njit
from numba.core.errors import TypingError

from nbopt.autodiff.not_differentiable import NotDifferentiable, explain


@njit
def fun(x):
    return x  # the line that is quoted


HERE = fun.py_func.__code__


LINE = HERE.co_firstlineno + 2
NO_RULE = "No implementation of function sum found\n \n >>> sum(array(dual4, 1d, C))\n"
STORE = "No implementation\n >>> setitem(array(float64, 1d, C), int64, dual4)\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NO_RULE, "no rule for sum(array(dual4, 1d, C))"),
        (STORE, "an array of floats cannot take dual numbers: setitem(array(float64, 1d, C), int64, dual4)"),
        ("Cannot unify a and b", "Cannot unify a and b"),
    ],
)
def test_the_line_and_the_reason(text, reason):
    said = TypingError(
        f'Failed in nopython mode pipeline\n{text}\n\nFile "{HERE.co_filename}", line {LINE}:\n'
    )
    error = explain("minimize", fun, said)
    assert isinstance(error, NotDifferentiable) and isinstance(error, TypeError)
    where = f"line {LINE} of test_not_differentiable.py, `return x  # the line that is quoted`"
    assert str(error) == f"minimize: fun cannot be built for dual numbers, {where}: {reason}"
    assert (error.filename, error.line, error.numba_error) == (HERE.co_filename, LINE, said)


def test_lines_of_numba_itself_are_not_the_user_s():
    import numba

    said = TypingError(f'broken\nFile "{numba.__file__}", line 3:\n')
    error = explain("jacobian", fun, said)
    assert str(error) == "jacobian: fun cannot be built for dual numbers: broken"
    assert error.filename is None and error.line is None
