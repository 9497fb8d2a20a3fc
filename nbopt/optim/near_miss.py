"""A hint for a name that is nearly right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(given: Any, known: Iterable[str], likeness: float = 0.65) -> str | None:
    """Return the known name that is nearest to what was given, None if none is near; case does not matter."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(given).lower(), lower, 1, likeness)
    return lower[close[0]] if close else None


def did_you_mean(given: Any, known: Iterable[str]) -> str:
    """Return a question to end a message with, or nothing if no known name is near.

    Parameters
    ----------
    given : object
        What is not known.
    known : iterable of str

    Returns
    -------
    str

    Examples
    --------
    >>> from nbopt.optim.near_miss import did_you_mean
    >>> did_you_mean("heigth", ["height", "width"]), did_you_mean("depth", ["a", "b"])
    ("; did you mean 'height'?", '')
    """
    close = nearest(given, known)
    return "" if close is None else f"; did you mean {close!r}?"
