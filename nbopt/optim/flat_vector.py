"""All parameters of a group as one vector: gathered, written back, and their gradients likewise."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from nbopt.kernels.arrays import as_reals
from nbopt.optim.gradients import checked_gradient, coalesced, gradient_of, is_sparse
from nbopt.optim.param_groups import array_of, check_member
from nbopt.optim.parameter import Parameter
from nbopt.optim.torch_tensors import is_tensor, mark_written


class FlatVector:
    """The parameters of a group end to end, each in C order of its indices.

    Complex numbers are pairs of reals, as in torch. Parameters of both dtypes together make a
    float64 vector.
    """

    def __init__(self, owner: str, params: list[Any]) -> None:
        for place, p in enumerate(params):
            check_member(owner, p, place)
        self.owner, self.params = owner, params
        self.arrays = [array_of(p) for p in params]
        self.tensors = [p for p in params if is_tensor(p)]
        ends = np.cumsum([0, *(a.size for a in self.arrays)]).tolist()
        self.pieces = [slice(*ends_of_one) for ends_of_one in pairwise(ends)]
        self.size: int = ends[-1]
        self.dtype = np.result_type(*(a.dtype for a in self.arrays))

    def read(self, x: np.ndarray) -> None:
        """Copy the parameters into the vector ``x``."""
        for piece, a in zip(self.pieces, self.arrays, strict=True):
            x[piece].reshape(a.shape)[...] = a

    def write(self, x: np.ndarray) -> None:
        """Copy the vector ``x`` into the parameters."""
        for piece, a in zip(self.pieces, self.arrays, strict=True):
            a[...] = x[piece].reshape(a.shape)
        mark_written(self.tensors)

    def read_gradient(self, g: np.ndarray) -> None:
        """Copy the gradients into the vector ``g``; missing ones are zeros, sparse ones become dense."""
        for k, (piece, p, a) in enumerate(zip(self.pieces, self.params, self.arrays, strict=True)):
            g[piece].reshape(a.shape)[...] = self._gradient(k, p, a)

    def _gradient(self, k: int, p: Any, a: np.ndarray) -> Any:
        """Return one gradient as something that broadcasts to its parameter's array of reals."""
        label = f"{self.owner}: gradient {k}"
        name = getattr(p, "name", None) if isinstance(p, Parameter) else None
        where = f"{label} ({name})" if name else label
        g = gradient_of(p, where)
        if g is None:
            return 0.0
        if not is_sparse(g):
            return checked_gradient(p, g, where)
        if is_tensor(g):
            return as_reals(g.detach().to_dense().resolve_conj().numpy())
        found, dense, place = coalesced(p, g, a, where), np.zeros(a.size, a.dtype), 0
        for start, length in found.blocks:
            dense[start : start + length] = found.values[place : place + length]
            place += length
        return dense.reshape(a.shape)
