"""Where gradients lie in memory, so that all of them are measured and changed in one compiled pass."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from nbopt.kernels.arrays import as_reals, in_memory_order, is_dense, overlapping, overlaps_itself
from nbopt.kernels.headers import address
from nbopt.kernels.norms import KINDS, OFFSETS, PAIRS, Lines, disjoint, lines_from, lines_of, row_of
from nbopt.optim.device_arrays import device_lines, on_device
from nbopt.optim.gradients import coalesced, is_sparse
from nbopt.optim.parameter import Parameter
from nbopt.optim.torch_tensors import is_tensor, mark_written


class _Entry(NamedTuple):
    """One gradient: the memory that is measured, and where its numbers are changed."""

    row: tuple[int, int, int]  # as kernels.norms.row_of makes it
    held: Any  # owner of that memory
    place: Any  # array of reals or tensor to be changed; None: the measured memory itself
    where: str  # opens messages


class GradientLines:
    """What a call measures, what it changes, and which tensors' version counters move."""

    __slots__ = ("after", "measured", "others", "tensors", "written")

    def __init__(
        self, measured: Lines, written: Lines | None = None, others: Any = (), tensors: Any = ()
    ) -> None:
        self.measured, self.written = measured, measured if written is None else written
        self.others, self.tensors = others, tensors
        self.after: list[Callable[[], None]] = []

    def _changed(self) -> None:
        """Tell autograd, and put new arrays where a gradient was an immutable scalar."""
        mark_written(list(self.tensors))
        for put in self.after:
            put()

    def scale(self, first: float, second: float) -> None:
        """Multiply every gradient by both factors."""
        self.written.scale(first, second)
        with np.errstate(all="ignore"):
            for a in self.others:
                np.multiply(a, first, out=a)
                np.multiply(a, second, out=a)
        self._changed()

    def clamp(self, limit: float) -> None:
        """Move every value into [-limit, limit]."""
        self.written.clamp(limit)
        for a in self.others:
            np.clip(a, -limit, limit, out=a)
        self._changed()


def why_no_grad(where: str, p: Any) -> str:
    """Say why something cannot be a parameter here."""
    if isinstance(p, np.ndarray):
        return (
            f"{where} is a bare ndarray, which has no .grad; pass nbopt.Parameter objects (an optimizer "
            "keeps them in param_groups[i]['params']), or measure gradients with get_total_norm"
        )
    if isinstance(p, tuple):
        return f"{where} is a tuple; pass parameters without their names"
    return f"{where} is {type(p).__name__}, which has no .grad"


def lines_of_parameters(owner: str, params: list[Any], distinct_entries: bool = False) -> GradientLines:
    """Find the gradients of parameters, or say which cannot be used."""
    try:
        grads = [g for p in params if (g := p.grad) is not None]
    except AttributeError:
        k = next(k for k, p in enumerate(params) if not hasattr(p, "grad"))
        raise TypeError(why_no_grad(f"{owner}: parameter {k}", params[k])) from None
    lines = lines_of(grads, writeable=True)
    if lines is not None:
        if lines.disjoint:
            return GradientLines(lines)
    elif OFFSETS is not None and is_tensor(grads[0]):
        lines = _lines_of_tensors(grads)
        if lines is not None and lines.disjoint:
            return GradientLines(lines, tensors=grads)
    if any(on_device(g) for g in grads):
        listed = [p for p in params if p.grad is not None]
        return GradientLines(device_lines(owner, listed, grads), tensors=[g for g in grads if is_tensor(g)])
    return _looked_at(owner, params, distinct_entries)


def _looked_at(owner: str, params: list[Any], distinct_entries: bool) -> GradientLines:
    """Look at gradients one by one: tensors, sparse ones, ones with gaps, and shared ones."""
    entries, tensors, after = [], [], []
    first = {id(p): k for k, p in reversed([*enumerate(params)])}
    for k, p in enumerate(params):
        g = p.grad
        if g is None or first[id(p)] != k:
            continue
        name = getattr(p, "name", None)
        where = f"{owner}: the gradient of parameter {k}" + (f" ({name})" if isinstance(name, str) else "")
        if isinstance(g, np.generic):
            g = np.array(g)
            after.append(_putting(p, g))
        if is_tensor(g):
            tensors.append(g)
        if is_sparse(g):
            entries.append(_sparse_entry(where, p, g, distinct_entries))
        else:
            entries.append(_array_entry(where, g, writeable=True))
    written, others = _places(entries)
    measured = lines_from([e.row for e in entries], [e.held for e in entries])
    found = GradientLines(measured, written, others, tensors)
    found.after = after
    return found


def _putting(p: Any, g: np.ndarray) -> Callable[[], None]:
    """Return a function that sets a gradient."""
    return lambda: setattr(p, "grad", g)


def _array_entry(where: str, g: Any, writeable: bool = False) -> _Entry:
    """Return the entry of a dense gradient, or say why it cannot be used."""
    if is_tensor(g):
        row = _row_of_tensor(where, g)
        if row is not None and OFFSETS is not None:
            return _Entry(row, g, None, where)
        reals, pairs = _reals_of_tensor(g), g.is_complex()
    else:
        reals, pairs = _reals_of_array(where, g), np.iscomplexobj(g)
    if writeable and not reals.flags.writeable:
        raise ValueError(f"{where} is read-only; clipping changes gradients in place")
    if writeable and not is_dense(reals) and overlaps_itself(reals):
        raise ValueError(f"{where} overlaps itself (as an expanded array does); pass a copy")
    return _real_entry(where, reals, pairs)


def _reals_of_array(where: str, g: Any) -> np.ndarray:
    """Return an array of reals over a gradient's memory, or say why it cannot be used."""
    if isinstance(g, np.generic):
        g = np.asarray(g)
    if isinstance(g, Parameter):
        raise TypeError(f"{where} is a Parameter; pass its .grad")
    if is_sparse(g):
        raise TypeError(f"{where} is sparse; clip_grad_norm_ measures it with its parameter (max_norm=inf)")
    if not isinstance(g, np.ndarray) or isinstance(g, np.ma.MaskedArray):
        raise TypeError(f"{where} is {type(g).__name__}; it must be an array")
    if g.dtype.newbyteorder("=") not in KINDS:
        raise TypeError(f"{where} has dtype {g.dtype}; it must be float32, float64, complex64 or complex128")
    return as_reals(g)


def _real_entry(where: str, reals: np.ndarray, pairs: bool) -> _Entry:
    """Return the entry of an array of reals; what the loops cannot walk is measured as a copy."""
    if reals.dtype.isnative and reals.flags.aligned and is_dense(reals):
        line = in_memory_order(reals)
        return _Entry(row_of(line, pairs), line, None, where)
    line = np.ascontiguousarray(reals, reals.dtype.newbyteorder("=")).reshape(-1)
    return _Entry(row_of(line, pairs), line, reals, where)


def _lines_of_tensors(grads: list[Any]) -> Lines | None:
    """Return the memory of contiguous CPU tensors of reals; None if some need a closer look."""
    torch = sys.modules["torch"]
    strided, kinds = torch.strided, {torch.float32: 0, torch.float64: 1}
    pointers, sizes, found = [], [], []
    for g in grads:
        kind = kinds.get(g.dtype) if is_tensor(g) else None
        if kind is None or g.layout is not strided or not g.is_cpu or not g.is_contiguous():
            return None
        pointers.append(g.data_ptr())
        sizes.append(g.numel())
        found.append(kind)
    return Lines(np.array([pointers, sizes, found], np.int64).T.copy(), grads)


def _row_of_tensor(where: str, g: Any) -> tuple[int, int, int] | None:
    """Return the row of a contiguous tensor, None for another layout, or say why it cannot be used."""
    torch = sys.modules["torch"]
    if g.device.type != "cpu" or g.layout is not torch.strided:
        raise TypeError(f"{where} is on {g.device}, {g.layout}; it must be a dense CPU tensor")
    kind = _TORCH_KINDS.get(str(g.dtype))
    if kind is None:
        raise TypeError(f"{where} has dtype {g.dtype}; it must be float32, float64, complex64 or complex128")
    return (g.data_ptr(), g.numel() * (1 + kind // PAIRS), kind) if g.is_contiguous() else None


_TORCH_KINDS = {f"torch.{dtype}": kind for dtype, kind in KINDS.items()}


def _reals_of_tensor(g: Any) -> np.ndarray:
    """Return a tensor's memory as an array of reals; a lazy conjugate has the same moduli."""
    data = g.detach()
    if data.is_complex():
        data = sys.modules["torch"].view_as_real(data.conj() if data.is_conj() else data)
    if data.is_neg():
        data = data._neg_view()
    return data.numpy()


def _sparse_entry(where: str, p: Any, g: Any, distinct: bool) -> _Entry:
    """Return the entry of a sparse gradient: its coalesced values are measured, its stored ones changed."""
    stored: Any
    if is_tensor(g):
        values, stored = _reals_of_tensor(g.detach().coalesce().values()), _reals_of_tensor(g._values())
        pairs = g.is_complex()
    else:
        like = getattr(p, "data", None)
        if not isinstance(like, np.ndarray):
            raise TypeError(f"{where} is sparse; then its parameter must be a Parameter")
        values = coalesced(p, g, like, where).values
        stored = g[1] if isinstance(g, tuple) else getattr(g, "data", None)
        if not isinstance(stored, np.ndarray) or stored.dtype == object:
            kind = "its values are no ndarray" if isinstance(g, tuple) else f"it is a {type(g).__name__}"
            raise TypeError(f"{where}: {kind}, so it cannot be changed in place")
        if not stored.flags.writeable:
            raise ValueError(f"{where} is read-only; clipping changes gradients in place")
        pairs = values.dtype.kind == "c"
        values, stored = as_reals(values), as_reals(stored)
    if distinct and values.size != stored.size:
        raise ValueError(f"{where} has several entries of the same index; clip their sums: coalesce it first")
    line = np.ascontiguousarray(values).reshape(-1)
    return _Entry(row_of(line, pairs), line, stored, where)


def _places(entries: list[_Entry]) -> tuple[Lines, list[np.ndarray]]:
    """Return what is to be changed, each memory once, although several gradients may be one array."""
    spans = [
        (e.row[0], e.row[1] * (4 + 4 * (e.row[2] & 1))) if e.place is None else _span(e.place)
        for e in entries
    ]
    low, nbytes = np.array(spans, np.int64).reshape(-1, 2).T
    if not disjoint(low, nbytes):
        entries = _distinct(entries)
    direct = [e for e in entries if e.place is None]
    lines = lines_from([e.row for e in direct], [e.held for e in direct])
    return lines, [e.place for e in entries if e.place is not None]


def _span(a: np.ndarray) -> tuple[int, int]:
    """Return where an array's memory starts and how many bytes it reaches over."""
    low, high = byte_bounds(a)
    return low, (high - low) * bool(a.size)


def _distinct(entries: list[_Entry]) -> list[_Entry]:
    """Drop entries that change the same memory as one before; refuse ones that share a part of it."""
    found: dict[tuple, _Entry] = {}
    arrays: dict[tuple, np.ndarray] = {}
    for e in entries:
        a = e.place if e.place is not None else e.held
        if is_tensor(a):
            a = in_memory_order(_reals_of_tensor(a))
        key = (address(a), a.shape, a.strides)
        found.setdefault(key, e)
        arrays.setdefault(key, a)
    kept = list(found.values())
    pair = overlapping([a for key, a in arrays.items()])
    if pair is not None:
        raise ValueError(f"{kept[pair[1]].where} shares memory with that of another parameter; pass copies")
    return kept


def lines_of_arrays(owner: str, arrays: list[Any]) -> Lines:
    """Find the memory of arrays or tensors that are only to be measured."""
    lines = lines_of(arrays, writeable=False)
    if lines is None and any(on_device(a) for a in arrays):
        return device_lines(owner, arrays, arrays)
    if lines is None:
        entries = [_array_entry(f"{owner}: array {k}", a) for k, a in enumerate(arrays)]
        lines = lines_from([e.row for e in entries], [e.held for e in entries])
    return lines
