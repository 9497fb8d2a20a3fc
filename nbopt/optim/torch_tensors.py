"""CPU torch tensors through the same door: their memory as arrays, without importing torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nbopt.kernels.arrays import overlaps_itself
from nbopt.kernels.launcher import SIZE, G, P


def is_tensor(x: Any) -> bool:
    """Tell whether ``x`` is a torch tensor; if torch was never imported nothing can be one."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, getattr(torch, "Tensor", ()))


def view_of_tensor(tensor: Any, where: str) -> np.ndarray:
    """Return the memory of a dense CPU tensor as an array, or say why that cannot be."""
    if tensor.device.type != "cpu":
        raise TypeError(f"{where} is on device {tensor.device}; here only CPU tensors can be updated")
    _check_tensor(tensor, where)
    a = _numpy(tensor)
    if a.size > 1 and overlaps_itself(a):
        raise ValueError(f"{where} is an expanded tensor, whose elements share memory; clone it")
    return a


def _check_tensor(tensor: Any, where: str) -> None:
    """Refuse a tensor that cannot be stepped, wherever it lies."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind not in {"float32", "float64", "complex64", "complex128"}:
        raise TypeError(
            f"{where} has dtype {kind}; a parameter must be float32, float64, complex64 or complex128"
        )
    if tensor.layout != sys.modules["torch"].strided:
        raise TypeError(f"{where} is sparse; a parameter must be dense")
    if tensor.is_conj() or tensor.is_neg():
        raise ValueError(f"{where} is a lazy conjugate or negative; call resolve_conj().resolve_neg()")
    if not tensor.is_leaf and not tensor.retains_grad:
        raise ValueError(f"{where} is not a leaf tensor: its value is computed from others")


def facts_of_tensor(tensor: Any, where: str) -> tuple[Any, ...]:
    """Return address, shape, strides in bytes and dtype of a tensor on a device; its stream comes later."""
    _check_tensor(tensor, where)
    dtype = dtype_of_tensor(tensor)
    strides = tuple(dtype.itemsize * s for s in tensor.stride())
    return tensor.data_ptr(), tuple(tensor.shape), strides, dtype, None


def current_stream_of_tensor(tensor: Any) -> int:
    """Return the stream that torch works in now on a tensor's device."""
    return sys.modules["torch"].cuda.current_stream(tensor.device).cuda_stream


def _numpy(tensor: Any) -> np.ndarray:
    """Return a tensor's memory as an array of reals; complex numbers are pairs of them."""
    data = tensor.detach().resolve_neg()
    if data.is_complex():
        data = sys.modules["torch"].view_as_real(data.resolve_conj())
    return data.numpy()


def gradient_of_tensor(tensor: Any, where: str) -> np.ndarray | None:
    """Return a tensor's gradient as an array that shares its memory, or None."""
    grad = tensor.grad
    if grad is None:
        return None
    return grad if grad.is_sparse else _numpy(grad)


def sparse_parts_of_tensor(grad: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Return a sparse COO gradient as flat row numbers, values by row, and the elements of a row."""
    grad = grad.detach().coalesce()
    outer = tuple(grad.shape[: grad.sparse_dim()])
    index = np.ravel_multi_index(tuple(grad.indices().numpy()), outer)
    length = grad.numel() // max(1, int(np.prod(outer)))
    return index.astype(np.int64), grad.values().numpy().reshape(index.size, length), length


def fingerprint_of_tensor(tensor: Any) -> tuple:
    """Return what changes when a tensor's memory is moved or laid out anew."""
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def dtype_of_tensor(tensor: Any) -> np.dtype:
    """Return the NumPy dtype of a tensor."""
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


def straight_pointers(table: Any, rows: list[int]) -> bool:
    """Hold tensors' gradients and note where they lie, if all lie as their tensors do; else do nothing.

    The road of every step of a torch model: no array is made, only addresses are compared.
    """
    if table.fingerprint is not fingerprint_of_tensor or table.prints[0][3].is_complex:
        return False  # a complex gradient may be a lazy conjugate
    strided, dtype = sys.modules["torch"].strided, table.prints[0][3]
    held = [p.grad for p in table.params]
    pointers = []
    for row in rows:
        g = held[row]
        if g.layout is not strided or g.dtype is not dtype or g.stride() != table.prints[row][2]:
            return False
        if g.is_neg():
            return False
        pointers.append(g.data_ptr())
    where, known = np.array(pointers, np.int64), table.rows[rows]
    if (np.abs(where - known[:, P]) < known[:, SIZE] * table.like.itemsize).any():
        return False
    table.held = held
    table.rows[rows, G] = where
    return True


def mark_written(tensors: list[Any]) -> None:
    """Tell autograd that these tensors changed, so that a stale backward() is caught."""
    if tensors:
        sys.modules["torch"].autograd.graph.increment_version(tensors)


def from_array(a: np.ndarray) -> Any:
    """Return a tensor over an array's memory."""
    return sys.modules["torch"].from_numpy(a)
