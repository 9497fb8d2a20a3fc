r"""Checkpoints: nested state and arrays in one file, without pickle, checksummed, written atomically.

The file, all numbers little-endian:

=============  =====================================================================================
bytes          content
=============  =====================================================================================
0 to 9         ``\x89nbopt\r\n\x1a\n``
10 to 11       version of the format, 1
12 to 15       zeros
16 to 31       where the index starts, and how many bytes it has (two 64-bit integers)
32 to 63       SHA-256 of the index
64 to 95       zeros
96 to 127      SHA-256 of bytes 0 to 95; these 128 bytes stay as they are in later versions
128 to index   the arrays, each padded with zeros to a multiple of 64 bytes
index          JSON: ``{"state": node, "arrays": [...]}``; the file ends with it
=============  =====================================================================================

An entry of ``arrays`` has ``dtype`` (NumPy's string), ``shape``, ``order`` (the axes from the slowest
to the fastest in memory), ``offset``, ``nbytes`` and ``sha256`` (with the padding). A node of the state
is null, true, false, a string, an integer of up to 64 bits, a finite float or a list of nodes as JSON
writes them, else an object with one key that says what it is: ``dict`` (list of key and value),
``tuple``, ``array`` (its number), ``tensor`` (number, torch's dtype), ``scalar`` (dtype, bytes in hex),
``float`` and ``complex`` (bytes in hex), ``int`` (hex), ``bytes`` (hex).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbopt.kernels.arrays import memory_order
from nbopt.optim.atomic_file import replacing, write_all
from nbopt.optim.device_arrays import host_copy, on_device
from nbopt.optim.parameter import Parameter
from nbopt.optim.torch_tensors import is_tensor

MAGIC = b"\x89nbopt\r\n\x1a\n"
VERSION = 1
_HEAD = struct.Struct("<10sH4xQQ32s32x")
_HEAD_SIZE = _HEAD.size + 32
_ALIGN = 64
_CHUNK = 1 << 20  # bytes that are copied, hashed and written at a time
_DEPTH = 100  # levels of nesting
_KINDS = frozenset("biufcmMSU")
_INTEGERS = 1 << 63

# What other files start with, and who reads them.
_STRANGERS = {
    b"PK\x03\x04": "a zip archive (torch.save and numpy.savez write those); read it with what wrote it",
    b"\x80": "a pickle (pickle.dump and old torch.save write those), and pickles are not read",
    b"\x93NUMPY": "a NumPy array; read it with numpy.load",
    b"\x89HDF": "an HDF5 file",
    bytes(10): "a checkpoint that was never finished",
}

_HINTS = {
    "Generator": "; save its .bit_generator.state",
    "RandomState": "; save its .get_state()",
    "PCG64": "; save its .state",
    "MT19937": "; save its .state",
    "MaskedArray": "; save its .data and .mask",
    "set": "; save a sorted list",
    "frozenset": "; save a sorted list",
}


def save(path: str | os.PathLike, /, *unnamed: Any, **sections: Any) -> None:
    """Write a checkpoint: the old file at ``path`` is replaced whole, or stays as it is.

    Parameters
    ----------
    path : str or PathLike
        The file to write. Its folder must exist.
    *unnamed
        Refused: each section needs a name. ``save(obj, path)``, torch's order, is explained.
    **sections
        What to save, by name. Dicts with string or integer keys, lists, tuples, strings, bytes,
        numbers (integers of any size, NaN and inf), None; NumPy arrays and scalars of numbers, dates
        and strings; Parameters (their arrays); torch tensors (their values, on the CPU). Whatever
        has a ``state_dict()``, as optimizers, schedulers and torch modules do, stands for that.

    Raises
    ------
    TypeError
        If something cannot be saved; the message says where it is. No file is touched then.
    OSError
        If the disk fails or is full. If the new file could not be put in place whole, the old one
        is still there.

    Notes
    -----
    The arrays are written in pieces, not copied as a whole. The new file is flushed to disk before it
    takes the name, and the folder after it. Subclasses of dict, list, tuple and ndarray come back as
    these, bytearray as bytes; an array keeps the order of its axes in memory but not gaps.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, nbopt
    >>> w = nbopt.Parameter(np.ones(3))
    >>> opt = nbopt.Adam([w], lr=0.1)
    >>> path = os.path.join(tempfile.mkdtemp(), "run.ckpt")
    >>> nbopt.save(path, model={"w": w}, optimizer=opt, epoch=3)
    >>> found = nbopt.load(path)
    >>> opt.load_state_dict(found["optimizer"])
    >>> w.data[...] = found["model"]["w"]
    >>> found["epoch"]
    3
    """
    name = _checked_path(path, unnamed, sections)
    encoder = _Encoder()
    state = encoder.dict_node(sections, "", 0)
    with replacing(name) as fd:
        write_all(fd, memoryview(bytes(_HEAD_SIZE)))
        offset, entries = _HEAD_SIZE, []
        for array in encoder.arrays:
            entry = _write_array(fd, array, offset)
            entries.append(entry)
            offset += _padded(entry["nbytes"])
        index = json.dumps({"state": state, "arrays": entries}, separators=(",", ":"), allow_nan=False)
        data = index.encode("ascii")
        write_all(fd, memoryview(data))
        head = _HEAD.pack(MAGIC, VERSION, offset, len(data), hashlib.sha256(data).digest())
        os.lseek(fd, 0, os.SEEK_SET)
        write_all(fd, memoryview(head + hashlib.sha256(head).digest()))


def load(path: str | os.PathLike, /) -> dict[str, Any]:
    """Read a checkpoint that `save` wrote, all of it checked.

    Parameters
    ----------
    path : str or PathLike
        The file to read.

    Returns
    -------
    sections : dict
        What was saved, by name. Arrays are new ones. Tensors are CPU tensors if torch can be
        imported, else arrays.

    Raises
    ------
    ValueError
        If the file is no checkpoint, was written by a newer nbopt, is truncated or altered; the
        message says which, and for an array which one.
    OSError
        If it cannot be read at all.

    Examples
    --------
    >>> import os, tempfile, nbopt
    >>> path = os.path.join(tempfile.mkdtemp(), "run.ckpt")
    >>> nbopt.save(path, betas=(0.9, 0.999), best=float("inf"))
    >>> nbopt.load(path)
    {'betas': (0.9, 0.999), 'best': inf}
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"load: path must be a str or PathLike, not {type(path).__name__}")
    with open(path, "rb", buffering=0) as file:
        owner = f"load: {os.fspath(path)!r}"
        start, length, digest = _read_head(file, owner)
        data = _read(file, start, np.empty(length, np.uint8)).tobytes()
        if hashlib.sha256(data).digest() != digest:
            raise ValueError(f"{owner} is altered: its index does not match its checksum")
        try:
            index = json.loads(data)
            _check_tiling(index["arrays"], start)
            return _Decoder(file, owner, index["arrays"]).node(index["state"], "")
        except (_Damage, OSError, MemoryError):
            raise
        except Exception as error:  # whatever a forged index provokes
            raise ValueError(f"{owner} has an index that makes no sense ({error!r})") from error


class _Damage(ValueError):
    """What was written is not what is read."""


def _checked_path(path: Any, unnamed: tuple[Any, ...], sections: dict[str, Any]) -> str:
    """Return the path as a string; explain torch's order of arguments."""
    how = "nbopt.save takes the path first and then what to save, by name: nbopt.save('run.ckpt', {}=...)"
    if unnamed or not isinstance(path, str | os.PathLike):
        swapped = unnamed and isinstance(unnamed[0], str | os.PathLike)
        shown = repr(os.fspath(unnamed[0])) if swapped else "'run.ckpt'"
        word = "optimizer" if hasattr(path, "param_groups") else "state"
        hint = how.replace("'run.ckpt'", shown).format(word)
        if swapped:
            raise TypeError(f"save: got an object and then a path, as torch.save has them; {hint}")
        what = f"path is {type(path).__name__}" if not unnamed else "got something to save without a name"
        raise TypeError(f"save: {what}; {hint}")
    if not sections:
        raise TypeError(f"save: nothing to save; {how.format('optimizer')}")
    name = os.fspath(path)
    return name if isinstance(name, str) else os.fsdecode(name)


class _Encoder:
    """Turns state into nodes for JSON, and collects the arrays that it meets."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self._open: set[int] = set()

    def node(self, x: Any, where: str, depth: int) -> Any:
        """Return the node of a value, or raise TypeError saying where it is."""
        if x is None or isinstance(x, bool):
            return x
        if isinstance(x, np.generic):
            self._check_dtype(x.dtype, where)
            return {"scalar": [x.dtype.str, x.tobytes().hex()]}
        if isinstance(x, str):
            return str(x)
        if isinstance(x, int):
            return int(x) if -_INTEGERS <= x < _INTEGERS else {"int": hex(x)}
        if isinstance(x, float):
            return float(x) if math.isfinite(x) else {"float": struct.pack("<d", x).hex()}
        if isinstance(x, complex):
            return {"complex": struct.pack("<dd", x.real, x.imag).hex()}
        if isinstance(x, bytes | bytearray):
            return {"bytes": x.hex()}
        if isinstance(x, Parameter):
            x = x.data
        if isinstance(x, np.ndarray) and not isinstance(x, np.ma.MaskedArray):
            return {"array": self._array(x, where)}
        if is_tensor(x):
            return {"tensor": self._tensor(x, where)}
        if on_device(x):
            return {"array": self._array(host_copy(x), where)}
        return self._container(x, where, depth)

    def _container(self, x: Any, where: str, depth: int) -> Any:
        """Return the node of something that holds other values."""
        if id(x) in self._open:
            raise TypeError(f"save: {where} contains itself")
        if depth > _DEPTH:
            raise TypeError(f"save: {where} is nested deeper than {_DEPTH} levels")
        self._open.add(id(x))
        try:
            if isinstance(x, dict):
                return self.dict_node(x, where, depth)
            if isinstance(x, list | tuple):
                nodes = [self.node(v, f"{where}[{k}]", depth + 1) for k, v in enumerate(x)]
                return nodes if isinstance(x, list) else {"tuple": nodes}
            if callable(getattr(x, "state_dict", None)) and not isinstance(x, type):
                return self.node(x.state_dict(), where, depth + 1)
        finally:
            self._open.discard(id(x))
        kind = type(x).__name__
        article = "an" if kind[:1].lower() in "aeiou" else "a"
        raise TypeError(f"save: {where} is {article} {kind}, which cannot be saved{_HINTS.get(kind, '')}")

    def dict_node(self, x: dict, where: str, depth: int) -> Any:
        """Return the node of a dict; the sections are the dict at depth 0."""
        pairs = []
        for key, value in x.items():
            if not isinstance(key, str | int) or isinstance(key, bool | np.generic):
                raise TypeError(f"save: {where} has the key {key!r}; keys must be str or int")
            inside = f"{where}[{key!r}]" if where else str(key)
            pairs.append([self.node(key, inside, depth), self.node(value, inside, depth + 1)])
        return {"dict": pairs}

    def _check_dtype(self, dtype: np.dtype, where: str) -> None:
        """Refuse what has no plain bytes."""
        if dtype.kind not in _KINDS or not dtype.itemsize:
            raise TypeError(
                f"save: {where} has dtype {dtype}; only numbers, booleans, dates and strings of fixed "
                "length can be saved"
            )

    def _array(self, a: np.ndarray, where: str) -> int:
        """Note an array, and return its number."""
        self._check_dtype(a.dtype, where)
        self.arrays.append(a)
        return len(self.arrays) - 1

    def _tensor(self, tensor: Any, where: str) -> list[Any]:
        """Note a tensor's values, and return their number and torch's name for the dtype."""
        import torch

        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise TypeError(f"save: {where} is a tensor without plain values (sparse, quantized or meta)")
        values = tensor.detach().cpu().resolve_conj().resolve_neg()
        dtype = str(values.dtype).removeprefix("torch.")
        try:
            array = values.numpy()
        except TypeError:  # bfloat16 and others that NumPy lacks travel as integers of their size
            words = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
            array = values.view(words[values.element_size()]).numpy()
        return [self._array(array, where), dtype]


def _padded(nbytes: int) -> int:
    """Return the size of an array's block."""
    return -(-nbytes // _ALIGN) * _ALIGN


def _chunks(a: np.ndarray) -> Iterator[np.ndarray]:
    """Yield copies of the bytes of an array in C order, a piece at a time.

    Copies, so that what is hashed is what is written even if another thread changes the array.
    """
    if not a.nbytes:
        return
    if a.nbytes <= _CHUNK or a.ndim == 0:
        yield np.array(a, order="C", copy=True).reshape(-1).view(np.uint8)
    elif a.flags.c_contiguous:
        flat, step = a.reshape(-1), max(1, _CHUNK // a.itemsize)
        for k in range(0, flat.size, step):
            yield flat[k : k + step].copy().view(np.uint8)
    elif len(a) == 1:
        yield from _chunks(a[0])
    else:
        rows = max(1, _CHUNK // (a.nbytes // len(a)))
        for k in range(0, len(a), rows):
            yield from _chunks(a[k : k + rows])


def _write_array(fd: int, a: np.ndarray, offset: int) -> dict[str, Any]:
    """Write an array's block and return its entry in the index."""
    a = np.asarray(a)
    order = memory_order(a.shape, a.strides)
    digest = hashlib.sha256()
    for chunk in _chunks(a.transpose(order)):
        digest.update(chunk.data)
        write_all(fd, chunk.data)
    padding = bytes(_padded(a.nbytes) - a.nbytes)
    digest.update(padding)
    write_all(fd, memoryview(padding))
    return {
        "dtype": a.dtype.str,
        "shape": list(a.shape),
        "order": order,
        "offset": offset,
        "nbytes": a.nbytes,
        "sha256": digest.hexdigest(),
    }


def _read(file: Any, offset: int, out: np.ndarray) -> np.ndarray:
    """Fill an array of bytes from a place in the file."""
    file.seek(offset)
    view = out.data
    while len(view):
        n = file.readinto(view[: 1 << 30])
        if not n:
            raise _Damage(f"load: {file.name!r} was cut short while it was read")
        view = view[n:]
    return out


def _read_head(file: Any, owner: str) -> tuple[int, int, bytes]:
    """Return where the index is, its length and digest, if the file is whole and of a known version."""
    size = os.fstat(file.fileno()).st_size
    head = _read(file, 0, np.empty(min(size, _HEAD_SIZE), np.uint8)).tobytes()
    if not size:
        raise ValueError(f"{owner} is empty")
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        for start, what in _STRANGERS.items():
            if head.startswith(start):
                raise ValueError(f"{owner} is no nbopt checkpoint but {what}")
        raise ValueError(f"{owner} is no nbopt checkpoint: it starts with {head[:10]!r}")
    if size < _HEAD_SIZE:
        raise ValueError(f"{owner} is truncated: it has only {size} bytes")
    if hashlib.sha256(head[: _HEAD.size]).digest() != head[_HEAD.size :]:
        raise ValueError(f"{owner} is altered: its header does not match its checksum")
    _, version, start, length, digest = _HEAD.unpack(head[: _HEAD.size])
    if version > VERSION:
        raise ValueError(f"{owner} was written by a newer nbopt: format {version}; this one reads {VERSION}")
    if size != start + length:
        what = "truncated" if size < start + length else "altered"
        raise ValueError(f"{owner} is {what}: it has {size} bytes instead of {start + length}")
    return start, length, digest


def _check_tiling(entries: list[dict[str, Any]], end: int) -> None:
    """Check that the arrays' blocks fill the file without gaps, so that every byte has a checksum."""
    offset = _HEAD_SIZE
    for entry in entries:
        nbytes = np.dtype(entry["dtype"]).itemsize * math.prod(entry["shape"])
        if entry["offset"] != offset or entry["nbytes"] != nbytes or min(entry["shape"], default=0) < 0:
            raise KeyError("offset")
        offset += _padded(nbytes)
    if offset != end:
        raise KeyError("offset")


class _Decoder:
    """Turns nodes back into state, reading and checking each array where it is met."""

    def __init__(self, file: Any, owner: str, entries: list[dict[str, Any]]) -> None:
        self.file, self.owner, self.entries = file, owner, entries
        self._readers: dict[str, Callable[[Any, str], Any]] = {
            "dict": self._dict,
            "tuple": lambda v, where: tuple(self._list(v, where)),
            "array": self._array,
            "tensor": self._tensor,
            "scalar": lambda v, where: np.frombuffer(bytes.fromhex(v[1]), np.dtype(v[0]))[0],
            "float": lambda v, where: struct.unpack("<d", bytes.fromhex(v))[0],
            "complex": lambda v, where: complex(*struct.unpack("<dd", bytes.fromhex(v))),
            "int": lambda v, where: int(v, 16),
            "bytes": lambda v, where: bytes.fromhex(v),
        }

    def node(self, node: Any, where: str) -> Any:
        """Return the value of a node."""
        if isinstance(node, list):
            return self._list(node, where)
        if not isinstance(node, dict):
            return node
        ((kind, value),) = node.items()
        return self._readers[kind](value, where)

    def _list(self, nodes: list[Any], where: str) -> list[Any]:
        """Return a list of values."""
        return [self.node(v, f"{where}[{k}]") for k, v in enumerate(nodes)]

    def _dict(self, pairs: list[Any], where: str) -> dict[Any, Any]:
        """Return a dict."""
        found = {}
        for key_node, value in pairs:
            key = self.node(key_node, where)
            found[key] = self.node(value, f"{where}[{key!r}]" if where else str(key))
        return found

    def _array(self, number: int, where: str) -> np.ndarray:
        """Read an array and compare its checksum."""
        entry = self.entries[number]
        order, nbytes = entry["order"], entry["nbytes"]
        base = np.empty([entry["shape"][k] for k in order], np.dtype(entry["dtype"]))
        digest = hashlib.sha256()
        flat = base.reshape(-1).view(np.uint8) if nbytes else np.empty(0, np.uint8)
        for k in range(0, nbytes, _CHUNK):
            digest.update(_read(self.file, entry["offset"] + k, flat[k : k + _CHUNK]).data)
        padding = np.empty(_padded(nbytes) - nbytes, np.uint8)
        digest.update(_read(self.file, entry["offset"] + nbytes, padding).data)
        if digest.hexdigest() != entry["sha256"]:
            raise _Damage(f"{self.owner} is altered: {where} does not match its checksum")
        return base.transpose(np.argsort(order)) if base.ndim else base

    def _tensor(self, value: list[Any], where: str) -> Any:
        """Read a tensor; an array if torch cannot be imported."""
        array = self._array(value[0], where)
        try:
            import torch
        except ImportError:
            return array
        return torch.from_numpy(array).view(getattr(torch, value[1]))
