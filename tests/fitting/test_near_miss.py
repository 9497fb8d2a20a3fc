"""A hint for a name that is nearly right."""

import pytest

from nbopt.fitting.fit_parameters import FitParameter, FitParameters
from nbopt.fitting.near_miss import did_you_mean

KNOWN = ("height", "Width", "base")


@pytest.mark.parametrize(
    "given, expected",
    [("heigth", "height"), ("width", "Width"), ("BASE", "base"), ("depth", None), (3, None), ("", None)],
)
def test_the_nearest_name_is_asked_for(given, expected):
    assert did_you_mean(given, KNOWN) == (f"; did you mean {expected!r}?" if expected else "")


def test_parameters_of_a_result_know_what_is_meant():
    params = FitParameters([FitParameter(name, 1.0, 0.1, 1.0) for name in KNOWN])
    with pytest.raises(KeyError, match=r"no parameter 'hight'; there are height, .*did you mean 'height'"):
        params["hight"]
    with pytest.raises(AttributeError, match=r"no parameter 'bases'.*did you mean 'base'"):
        params.bases
