"""Gradients as users give them: read, checked against their parameters, sparse ones coalesced."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbopt.kernels.arrays import as_reals
from nbopt.kernels.cuda import is_device_array
from nbopt.optim.torch_tensors import gradient_of_tensor, is_tensor, sparse_parts_of_tensor


class Blocks(NamedTuple):
    """A coalesced sparse gradient: blocks of neighbouring elements, and their values end to end."""

    blocks: np.ndarray  # (blocks, 2): first element and number of elements
    values: np.ndarray  # (elements,)


def gradient_of(p: Any, where: str) -> Any:
    """Return a parameter's gradient as it is, or a tensor's as an array of reals; None if there is none."""
    return gradient_of_tensor(p, where) if is_tensor(p) else p.grad


def checked_gradient(p: Any, g: Any, where: str) -> np.ndarray:
    """Return a dense gradient as an array of reals, or say why it cannot be used."""
    if is_sparse(g):
        raise RuntimeError(f"{where} is sparse; only SparseAdam, SGD and Adagrad take sparse gradients")
    if is_tensor(p):
        return g
    if isinstance(g, np.generic):
        g = np.asarray(g)
    like = p.data
    if not isinstance(g, np.ndarray) or isinstance(g, np.ma.MaskedArray):
        if is_device_array(g):
            raise TypeError(f"{where} is on a device, its parameter in host memory")
        raise TypeError(f"{where} is {type(g).__name__}; it must be an array like its parameter")
    if g.shape != like.shape:
        raise ValueError(f"{where} has shape {g.shape}, its parameter {like.shape}")
    if g.dtype.newbyteorder("=") != like.dtype:
        raise TypeError(
            f"{where} has dtype {g.dtype}, its parameter {like.dtype}; write grad.astype({like.dtype.name!r})"
        )
    return as_reals(np.asarray(g))  # a subclass such as matrix as a plain view


def is_sparse(g: Any) -> bool:
    """Tell whether a gradient is given as stored entries: (indices, values), scipy.sparse, torch sparse."""
    if isinstance(g, tuple):
        return len(g) == 2
    if isinstance(g, np.ndarray | np.generic):
        return False
    return (hasattr(g, "tocoo") and hasattr(g, "nnz")) or (is_tensor(g) and g.is_sparse)


def coalesced(p: Any, g: Any, like: np.ndarray, where: str) -> Blocks:
    """Return the stored entries of a sparse gradient in order, duplicates summed.

    Parameters
    ----------
    p : Parameter or tensor
        Its parameter, of shape (n, ...).
    g : (indices, values), scipy.sparse array or torch sparse tensor
        ``indices`` (k,) of rows with ``values`` (k, ...), or the stored entries of a 2-D array.
    like : ndarray
        The parameter's memory, in C order.
    where : str
        Opens messages.
    """
    if not like.flags.c_contiguous or like.ndim == 0:
        raise ValueError(f"{where} is sparse; then the parameter must be contiguous, with at least one axis")
    if is_tensor(g):
        index, values, length = sparse_parts_of_tensor(g)
    elif isinstance(g, tuple):
        index, values, length = _rows(g, like, where)
    else:
        index, values, length = _entries(g, like, where)
    if values.dtype != like.dtype:
        raise TypeError(
            f"{where} has values of dtype {values.dtype}, its parameter {like.dtype}; write "
            f"values.astype({like.dtype.name!r})"
        )
    return _merge(*_sum_duplicates(index, np.ascontiguousarray(values)), length)


def _rows(g: tuple, like: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read (indices, values) of rows."""
    index, values = np.asarray(g[0]), np.asarray(g[1])
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise TypeError(f"{where}: indices must be a 1-D array of integers, not {index.dtype} {index.shape}")
    if values.shape != (index.size, *like.shape[1:]):
        raise ValueError(
            f"{where}: values have shape {values.shape}, but {index.size} rows need "
            f"{(index.size, *like.shape[1:])}"
        )
    if index.size and (index.min() < 0 or index.max() >= like.shape[0]):
        bad = int(index[(index < 0) | (index >= like.shape[0])][0])
        raise ValueError(f"{where}: index {bad} is outside [0, {like.shape[0]})")
    length = like.size // max(1, like.shape[0])
    return index.astype(np.int64), values.reshape(index.size, length), length


def _entries(g: Any, like: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read the stored entries of a scipy.sparse array."""
    if tuple(g.shape) != like.shape or like.ndim != 2:
        raise ValueError(f"{where} has shape {tuple(g.shape)}, its parameter {like.shape}")
    entries = g.tocoo()
    row, column = (entries.row, entries.col) if hasattr(entries, "row") else entries.coords
    index = row.astype(np.int64) * like.shape[1] + column
    return index, entries.data.reshape(-1, 1), 1


def _sum_duplicates(index: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort by index and add up the values of equal ones."""
    if index.size == 0 or (np.diff(index) > 0).all():
        return index, values
    order = np.argsort(index, kind="stable")
    index, values = index[order], values[order]
    first = np.flatnonzero(np.r_[True, np.diff(index) > 0])
    lengths = np.diff(np.r_[first, index.size])
    if 8 * first.size < index.size:
        return index[first], np.add.reduceat(values, first, axis=0, dtype=values.dtype)
    # reduceat costs most for each of its sums: only those of several rows go through it.
    several = lengths > 1
    summed = values[first]
    if several.any():
        parts, ends = values[np.repeat(several, lengths)], np.cumsum(lengths[several])
        starts = ends - lengths[several]
        summed[several] = np.add.reduceat(parts, starts, axis=0, dtype=values.dtype)
    return index[first], summed


def _merge(index: np.ndarray, values: np.ndarray, length: int) -> Blocks:
    """Join neighbouring rows to blocks, since each block costs one call of the loop."""
    if index.size == 0 or length == 0:
        return Blocks(np.empty((0, 2), np.int64), values.reshape(-1))
    first = np.flatnonzero(np.r_[True, np.diff(index) != 1])
    lengths = np.diff(np.r_[first, index.size]) * length
    return Blocks(np.column_stack([index[first] * length, lengths]), values.reshape(-1))


def with_rows_of(blocks: Blocks, touched: np.ndarray, length: int) -> Blocks:
    """Add zero gradients for rows touched before; ``touched`` is sorted and holds all of the blocks' rows."""
    values = np.zeros((touched.size, length), blocks.values.dtype)
    values[np.searchsorted(touched, rows_of(blocks, length))] = blocks.values.reshape(-1, length)
    return _merge(touched, values, length)


def rows_of(blocks: Blocks, length: int) -> np.ndarray:
    """Return the rows (of ``length`` elements) that whole-row blocks cover."""
    counts = blocks.blocks[:, 1] // length
    ends = np.cumsum(counts)
    return np.repeat(blocks.blocks[:, 0] // length - (ends - counts), counts) + np.arange(counts.sum())
