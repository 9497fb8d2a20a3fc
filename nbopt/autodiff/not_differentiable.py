"""The error of a function that cannot be built for dual numbers, with the line that is in the way."""

from __future__ import annotations

import linecache
import os
import re
from typing import Any

import numba

_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_SIGNATURE = re.compile(r">>> (.+)")
_STORE = re.compile(r"(static_)?setitem\(array\(float|^i\w+\(array\(float")
_NUMBA = os.path.dirname(numba.__file__)


class NotDifferentiable(TypeError):
    """A compiled function cannot be built for dual numbers.

    Attributes
    ----------
    filename : str or None
        The file with the line that is in the way.
    line : int or None
        Its number.
    numba_error : exception or None
        What Numba said, at length.
    """

    filename: str | None = None
    line: int | None = None
    numba_error: BaseException | None = None


def explain(owner: str, fun: Any, error: BaseException) -> NotDifferentiable:
    """Make the error of what Numba said.

    Parameters
    ----------
    owner : str
        The public function that was called.
    fun : numba dispatcher
        The user's function.
    error : exception
        Raised while the function was compiled for duals.

    Returns
    -------
    NotDifferentiable
    """
    text = str(error)
    places = [(os.path.abspath(name), int(line)) for name, line in _PLACE.findall(text)]
    ours = [place for place in places if not place[0].startswith(_NUMBA)]
    filename, line = ours[0] if ours else (None, None)
    where = "" if filename is None else _quote(filename, line)
    found = NotDifferentiable(
        f"{owner}: {fun.__name__} cannot be built for dual numbers{where}: {_reason(text)}"
    )
    found.filename, found.line, found.numba_error = filename, line, error
    return found


def _quote(filename: str, line: int | None) -> str:
    """Return a line of a file with its place."""
    source = linecache.getline(filename, line or 0).strip()
    return f", line {line} of {os.path.basename(filename)}" + (f", `{source}`" if source else "")


def _reason(text: str) -> str:
    """Return what Numba found missing, in one line."""
    signature = _SIGNATURE.search(text)
    if signature is None:
        lines = [line.strip() for line in text.splitlines()]
        return next((line for line in lines if line and not line.startswith("Failed in nopython mode")), text)
    missing = signature[1].strip()
    if _STORE.search(missing):
        return f"an array of floats cannot take dual numbers: {missing}"
    return f"no rule for {missing}"
