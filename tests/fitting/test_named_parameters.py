"""The parameters of a fit as they may be given; what is refused stands in test_fit.py, too."""

import numpy as np
import pytest
from scipy.optimize import Bounds

from nbopt.fitting.named_parameters import read_parameters


def model(x, a, b, c=3.0):
    return x


CASES = [
    # p0, fixed, bounds -> start, free, lower, upper
    ([1, 2, 4], (), None, [1, 2, 4], [0, 1, 2], [-np.inf] * 3, [np.inf] * 3),
    ({"b": 2, "a": 1}, (), None, [1, 2, 3], [0, 1, 2], [-np.inf] * 3, [np.inf] * 3),
    (None, "a", (0, [1, np.inf, 5]), [0.5, 1, 3], [1, 2], [0] * 3, [1, np.inf, 5]),
    (None, {"b": 9}, {"a": (None, -2)}, [-3, 9, 3], [0, 2], [-np.inf] * 3, [-2, np.inf, np.inf]),
    ([1, 2, 4], (), (0, None), [1, 2, 4], [0, 1, 2], [0] * 3, [np.inf] * 3),
    ([1, 2, 4], (), ([0, None, 1], None), [1, 2, 4], [0, 1, 2], [0, -np.inf, 1], [np.inf] * 3),
    ({"a": 1}, {"b": 9}, Bounds(0, 10), [1, 9, 3], [0, 2], [0] * 3, [10] * 3),
    ({"a": 1, "b": 2}, ["c", "b"], {"b": (1, 6)}, [1, 2, 3], [0], [-np.inf, 1, -np.inf], [np.inf, 6, np.inf]),
]


@pytest.mark.parametrize("p0, fixed, bounds, start, free, lower, upper", CASES)
def test_what_is_given_is_understood(p0, fixed, bounds, start, free, lower, upper):
    found = read_parameters("fit", model, p0, fixed, bounds)
    assert found.names == ("a", "b", "c")
    np.testing.assert_array_equal(found.start, start)
    np.testing.assert_array_equal(found.free, free)
    np.testing.assert_array_equal(found.lower, lower)
    np.testing.assert_array_equal(found.upper, upper)


def test_a_model_of_any_number_takes_the_names_of_a_dict_or_numbers():
    def many(x, *p):
        return x

    assert read_parameters("fit", many, {"u": 1, "v": 2}, (), None).names == ("u", "v")
    assert read_parameters("fit", many, [1, 2], "p1", None).names == ("p0", "p1")


@pytest.mark.parametrize(
    "error, given, words",
    [
        (TypeError, (3j, (), None), "a=3j must be a real number|takes 3 parameters"),
        (TypeError, ([1, 2], (), None), "takes 3 parameters after x .a, b, c., but p0 has 2$"),
        (TypeError, ("1,2,3", (), None), "p0='1,2,3' must be numbers, or a dict of names and numbers"),
        (TypeError, (["1", 2, 3], (), None), "p0: a='1' must be a real number"),
        (TypeError, ({"a": "1", "b": 2, "c": 3}, (), None), "p0: a='1' must be a real number"),
        (ValueError, ([1, 2, 3], (), {"a": (0, "5")}), r"bounds: a=\(0, '5'\) must be two numbers, or None"),
        (TypeError, ([1, 2, 3], 5, None), "fixed=5 must be names"),
        (TypeError, ([1, 2, 3], [0], None), "fixed holds 0; it must hold names"),
        (ValueError, ([1, 2, 3], {"a": np.inf}, None), "fixed: a=inf must be finite"),
        (ValueError, ([1, 2, 3], {"a": 7}, {"a": (3, 5)}), r"holds a at 7.0 outside its .* \[3.0, 5.0\]"),
        (ValueError, ([1, 2, 3], "b", {"b": (3, 5)}), r"holds b at 2.0, its start, outside its .* \[3.0"),
        (ValueError, ([1, 2, 3], "B", None), "fixed names 'B', which is none of a, b, c; did you mean 'b'?"),
        (ValueError, ([1, 2, 3], (), {"a": ("x", 5)}), r"bounds: a=\('x', 5\) must be two numbers, or None"),
        (ValueError, ([1, 2, 3], (), {"a": 3}), r"bounds: a=3 must be a pair \(lower, upper\)"),
        (ValueError, ([1, 2, 3], (), ([0, 0], 1)), "lower and upper must have 3 numbers each, or one"),
        (ValueError, ([1, 2, 3], (), {"a": (np.nan, 1)}), "lower bound of a, nan, must be less"),
        (
            ValueError,
            ([1, 2, 3], (), {"a": (1, 1)}),
            "lower bound of a, 1.0, must be less than the upper, 1.0$",
        ),
        (
            ValueError,
            ([1, 2, 3], (), ([0, 0, 0], [1, 0, 1])),
            r"bound of b, 0.0, must .* upper, 0.0 \(bounds are lower, upper; pairs go into a dict of names",
        ),
        (
            ValueError,
            ([1, 2, 3], (), [(0, 1)] * 3),
            "must be two sequences, lower and upper; pairs go into a",
        ),
        (ValueError, ([1, 2, 3], (), ("0", 1)), "lower and upper must have 3 numbers each"),
    ],
)
def test_what_is_wrong_is_said(error, given, words):
    with pytest.raises(error, match=words):
        read_parameters("fit", model, *given)


def test_parameters_in_one_argument_are_hinted_at():
    with pytest.raises(TypeError, match=r"takes 1 .* \(p\), but p0 has 2; each .* own: model\(x, a, b\)"):
        read_parameters("fit", lambda x, p: p[0] * x + p[1], [1, 2], (), None)
