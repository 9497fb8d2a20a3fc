"""A hint for a name that is nearly right."""

import pytest

from nbopt.optim.near_miss import did_you_mean

KNOWN = ("height", "Width", "base")


@pytest.mark.parametrize(
    "given, expected",
    [("heigth", "height"), ("width", "Width"), ("BASE", "base"), ("depth", None), (3, None), ("", None)],
)
def test_the_nearest_name_is_asked_for(given, expected):
    assert did_you_mean(given, KNOWN) == (f"; did you mean {expected!r}?" if expected else "")
