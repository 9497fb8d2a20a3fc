"""The door for arrays: what may be a parameter, how its memory is laid out, and clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from nbopt.kernels.headers import address

REALS = {np.dtype(np.float32), np.dtype(np.float64)}
PAIRS: dict[np.dtype, np.dtype] = {
    np.dtype(np.complex64): np.dtype(np.float32),
    np.dtype(np.complex128): np.dtype(np.float64),
}


def memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """Return the axes from the slowest to the fastest in memory."""
    return sorted(range(len(shape)), key=lambda k: (-abs(strides[k]), k))


def is_dense(a: np.ndarray) -> bool:
    """Tell whether ``a`` fills one block of memory without gaps or overlaps, in any order of axes."""
    if a.flags.c_contiguous or a.flags.f_contiguous:
        return True
    return fills_one_block(a.shape, a.strides, a.itemsize)


def fills_one_block(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
    """Tell whether elements laid out so fill one block of memory without gaps or overlaps."""
    if 0 in shape:
        return True
    step = itemsize
    for k in reversed(memory_order(shape, strides)):
        if shape[k] == 1:
            continue
        if strides[k] != step:
            return False
        step *= shape[k]
    return True


def in_memory_order(a: np.ndarray) -> np.ndarray:
    """Return a dense array as a 1-D view in the order of its memory."""
    if a.flags.c_contiguous:
        return a.reshape(-1)
    return a.transpose(memory_order(a.shape, a.strides)).reshape(-1)


def as_reals(a: np.ndarray) -> np.ndarray:
    """Return a complex array as a view of its (real, imaginary) pairs, one axis more; reals as they are."""
    if a.dtype.newbyteorder("=") not in PAIRS:
        return a
    return np.lib.stride_tricks.as_strided(a.real, (*a.shape, 2), (*a.strides, a.itemsize // 2))


def as_complex(a: np.ndarray) -> np.ndarray:
    """Return pairs of reals along the last axis as a view of complex numbers."""
    pair: np.ndarray = a.view(np.result_type(a.dtype, np.complex64))
    return pair[..., 0]


def fingerprint(a: np.ndarray) -> tuple:
    """Return what changes when an array's memory is moved or laid out anew."""
    return address(a), a.shape, a.strides, a.dtype, a.flags.writeable


def same_layout(a: Any, b: Any) -> bool:
    """Tell whether elements with the same index stand at the same place in both arrays, on a device too."""
    if a.shape != b.shape:
        return False
    pairs = zip(a.shape, a.strides, b.strides, strict=True)
    return all(n == 1 or s == r for n, s, r in pairs)


def empty_like(a: np.ndarray) -> np.ndarray:
    """Return new memory in the layout of ``a`` (in C order if ``a`` has gaps), never resizable."""
    if is_dense(a):
        order = memory_order(a.shape, a.strides)
        base = np.empty([a.shape[k] for k in order], a.dtype)
        return base.transpose(np.argsort(order))
    return np.empty(a.shape, a.dtype)[...]


def check_parameter(a: Any, where: str) -> None:
    """Refuse what cannot be updated in place; ``where`` opens the message."""
    if hasattr(a, "__cuda_array_interface__"):
        raise TypeError(f"{where} is a CUDA array; here only arrays in host memory can be updated")
    if not isinstance(a, np.ndarray) or isinstance(a, np.ma.MaskedArray):
        raise TypeError(
            f"{where} is {type(a).__name__}; a parameter must be a NumPy array (or Parameter) "
            "of floats, so that it can be updated in place"
        )
    if a.dtype not in REALS and a.dtype not in PAIRS:
        order = " in foreign byte order" if not a.dtype.isnative else ""
        raise TypeError(
            f"{where} has dtype {a.dtype}{order}; a parameter must be float32, float64, complex64 or "
            "complex128 and is never cast, because it is updated in place"
        )
    if not a.flags.writeable:
        raise ValueError(f"{where} is read-only; a parameter must be writeable")
    if not a.flags.aligned:
        raise ValueError(f"{where} is not aligned to its {a.itemsize}-byte elements; pass a copy")
    if a.size > 1 and overlaps_itself(a):
        raise ValueError(f"{where} overlaps itself (shape {a.shape}, strides {a.strides}); pass a copy")


def overlaps_itself(a: np.ndarray) -> bool:
    """Tell whether two indices of ``a`` may share memory (as in a broadcast array)."""
    reach = a.itemsize
    for k in reversed(memory_order(a.shape, a.strides)):
        if a.shape[k] > 1:
            if abs(a.strides[k]) < reach:
                return True
            reach += (a.shape[k] - 1) * abs(a.strides[k])
    return False


def overlapping(arrays: list[np.ndarray]) -> tuple[int, int] | None:
    """Return the positions of two arrays that share memory, or None."""
    spans = sorted((*byte_bounds(a), k) for k, a in enumerate(arrays) if a.size)
    active: list[tuple[int, int]] = []
    for low, high, k in spans:
        active = [(h, j) for h, j in active if h > low]
        for _, j in active:
            if _shares(arrays[j], arrays[k]):
                return min(j, k), max(j, k)
        active.append((high, k))
    return None


def _shares(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether two arrays share an element; what is too hard to decide counts as sharing."""
    try:
        return np.shares_memory(a, b, max_work=100_000)  # type: ignore[arg-type]  # NumPy's stub knows only -1 and 0
    except np.exceptions.TooHardError:
        return True
