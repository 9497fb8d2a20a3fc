"""Named access to fitted parameters, and how a value is written with its error."""

import copy
import math
import pickle

import pytest

from nbopt.fitting.fit_parameters import FitParameter, FitParameters, with_error

PARAMS = FitParameters([FitParameter("a", 1.5, 0.2, 1.0), FitParameter("keys", 2.0, 0.0, 2.0, fixed=True)])


def test_by_name_and_by_attribute():
    assert PARAMS["a"] is PARAMS.a and float(PARAMS.a) == 1.5
    assert PARAMS["keys"].fixed and list(PARAMS.keys()) == ["a", "keys"]  # a method comes first
    assert len(PARAMS) == 2 and "a" in PARAMS and "a" in dir(PARAMS)
    assert repr(PARAMS) == "FitParameters(a = 1.50 ± 0.20, keys = 2 (fixed))"


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no parameter 'b'; there are a, keys"):
        PARAMS.b
    with pytest.raises(KeyError):
        PARAMS["b"]


def test_a_name_that_is_nearly_right():
    params = FitParameters([FitParameter(name, 1.0, 0.1, 1.0) for name in ("height", "base")])
    with pytest.raises(KeyError, match=r"no parameter 'hight'; there are height, .*did you mean 'height'"):
        params["hight"]
    with pytest.raises(AttributeError, match=r"no parameter 'bases'.*did you mean 'base'"):
        params.bases


def test_copies_and_pickles_are_alike():
    for other in (copy.deepcopy(PARAMS), pickle.loads(pickle.dumps(PARAMS))):
        assert dict(other) == dict(PARAMS)


@pytest.mark.parametrize(
    "value, error, text",
    [
        (1.23456, 0.0123, "1.235 ± 0.012"),
        (-1234.5, 67.0, "-1234 ± 67"),
        (-1234.56, 1234.0, "-1235 ± 1234"),
        (0.0, 0.5, "0.00 ± 0.50"),
        (2.5e12, 3e9, "(2.5000 ± 0.0030)e+12"),
        (1e-30, 2e-31, "(1.00 ± 0.20)e-30"),
        (1.0, 1e-16, "1 ± 1.0e-16"),
        (1.5, math.nan, "1.5 ± ?"),
        (1.5, math.inf, "1.5 ± ∞"),
        (1.5, 0.0, "1.5"),
    ],
)
def test_a_value_with_its_error(value, error, text):
    assert with_error(value, error) == text
