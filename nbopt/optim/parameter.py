"""Parameter: an array that an optimizer updates in place, with its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np


class Parameter:
    """An array to be optimized, with its gradient beside it.

    Parameters
    ----------
    data : ndarray of float32 or float64, any shape, or an array on a device
        The memory that optimizers update in place. It is never copied.
    grad : array of the same shape and dtype, in the same memory, or None
        The gradient. None means "leave this parameter alone"; zeros do not.
    name : str, optional
        Shown in messages.

    Examples
    --------
    >>> import numpy as np, nbopt
    >>> w = nbopt.Parameter(np.ones(3), name="w")
    >>> w.grad = 2 * w.data
    >>> w.shape
    (3,)
    """

    __slots__ = ("__weakref__", "data", "grad", "name")

    data: np.ndarray
    grad: Any
    name: str | None

    def __init__(self, data: np.ndarray, grad: Any = None, name: str | None = None) -> None:
        if isinstance(data, Parameter):
            raise TypeError("Parameter: data is a Parameter already; pass its .data")
        # A subclass such as memmap becomes a plain view of the same memory: headers stay readable.
        plain = isinstance(data, np.ndarray) and not isinstance(data, np.ma.MaskedArray)
        self.data = data.view(np.ndarray) if plain and type(data) is not np.ndarray else data
        self.grad = grad
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the array's elements."""
        return self.data.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    def __len__(self) -> int:
        return len(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        label = f"{self.name}: " if self.name else ""
        return f"Parameter({label}{self.data!r})"
