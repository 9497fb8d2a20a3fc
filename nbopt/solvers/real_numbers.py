"""What a user gives as numbers, as an array of floats: text that reads like a number is none."""

from __future__ import annotations

import numpy as np


def real_numbers(values: np.ndarray) -> np.ndarray:
    """Return an array as float64.

    Parameters
    ----------
    values : ndarray

    Returns
    -------
    ndarray
        A copy of the same shape.

    Raises
    ------
    TypeError
        If something in it is no real number: the sentence begins after the name of the argument.

    Examples
    --------
    >>> import numpy as np
    >>> from nbopt.solvers.real_numbers import real_numbers
    >>> real_numbers(np.array([1, True, 2.5], object))
    array([1. , 1. , 2.5])
    """
    if values.dtype.kind not in "fiubO":
        raise TypeError(f"has dtype {values.dtype}; it must be real numbers")
    if values.dtype.kind == "O":
        for value in values.flat:
            if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
                raise TypeError(f"holds {value!r}; it must be real numbers")
    return values.astype(np.float64)
