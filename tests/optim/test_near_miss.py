"""A hint for a name that is nearly right."""

import pytest

from nbopt.optim.near_miss import did_you_mean

KNOWN = ("height", "Width", "base")


@pytest.mark.parametrize(
    "given, expected",
    [
        ("heigth", "height"),
        ("width", "Width"),
        ("BASE", "base"),
        ("depth", None),
        (3, None),
        ("", None),
    ],
)
def test_the_nearest_name_is_asked_for(given, expected):
    assert did_you_mean(given, KNOWN) == (f"; did you mean {expected!r}?" if expected else "")


def test_two_letters_of_a_short_name_may_be_exchanged():
    assert did_you_mean("tua", ["a", "tau", "c"]) == "; did you mean 'tau'?"
