"""Parts of a caller's work array, as arrays of their own: no allocation, no reference counts."""

from __future__ import annotations

from numba import carray
from numba.core import config as numba_config

from nbopt.kernels.address import pointer_to
from nbopt.kernels.compile import compiled

if numba_config.DISABLE_JIT:  # an intrinsic has no Python body

    def vector(work, start, n):
        """Return ``work[start : start + n]``."""
        return work[start : start + n]

    def matrix(work, start, rows, n):
        """Return the ``rows * n`` elements from ``start`` on as an array of shape (rows, n)."""
        return work[start : start + rows * n].reshape(rows, n)

else:

    @compiled
    def vector(work, start, n):
        """Return ``work[start : start + n]``, valid as long as the caller holds ``work``."""
        return carray(pointer_to(work.ctypes.data + start * work.itemsize, work), (n,))

    @compiled
    def matrix(work, start, rows, n):
        """Return the ``rows * n`` elements from ``start`` on as an array of shape (rows, n)."""
        return carray(pointer_to(work.ctypes.data + start * work.itemsize, work), (rows, n))
