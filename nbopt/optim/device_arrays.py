"""The door for arrays on a device: CuPy's, Numba's, torch's CUDA tensors; their states, and copies."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import numpy as np

from nbopt.kernels import cuda
from nbopt.kernels.arrays import same_layout
from nbopt.kernels.cuda import DeviceMemory, is_device_array
from nbopt.kernels.device_norms import DeviceLines
from nbopt.kernels.device_table import DeviceTable
from nbopt.optim.parameter import Parameter
from nbopt.optim.torch_tensors import current_stream_of_tensor, facts_of_tensor, is_tensor

ABLE = (
    "SGD, Adam, AdamW, Adamax, NAdam, RAdam, RMSprop, Adagrad, Adadelta, ASGD, Rprop and your own "
    "ElementwiseOptimizer do"
)


def on_device(x: Any) -> bool:
    """Tell whether a parameter, gradient or state lies on a device."""
    if isinstance(x, Parameter):
        x = x.data
    if isinstance(x, np.ndarray):
        return False
    return x.device.type == "cuda" if is_tensor(x) else is_device_array(x)


def refuse_device(owner: str, params: list[Any]) -> None:
    """Raise TypeError if a parameter of an optimizer that works in host memory lies on a device."""
    for place, p in enumerate(params):
        if on_device(p):
            raise TypeError(
                f"{owner}: params[{place}] is a device array; {owner} does not work on a device yet ({ABLE})"
            )


def memory_of(x: Any, where: str, written: bool = True) -> DeviceMemory:
    """Return where an array on a device lies, whoever made it, or say why it cannot be used."""
    if is_tensor(x):
        return cuda.device_memory(x, where, *facts_of_tensor(x, where))
    return cuda.memory_of(x, where, written)


def memory_of_parameter(p: Any, where: str) -> DeviceMemory:
    """Return where a parameter lies, once there is a device to step it."""
    cuda.device(where)
    return memory_of(p.data if isinstance(p, Parameter) else p, where)


def memory_of_gradient(p: Any, g: Any, where: str) -> DeviceMemory:
    """Return where a dense gradient lies, or say why it cannot be used."""
    if not on_device(g):
        kind = "sparse" if isinstance(g, tuple) or hasattr(g, "nnz") else "in host memory"
        raise TypeError(f"{where} is {kind}, its parameter on a device; send a dense one there first")
    if is_tensor(g):
        g = g.detach().resolve_conj().resolve_neg()
    like = memory_of(p.data if isinstance(p, Parameter) else p, where)
    try:
        found = memory_of(g, where, written=False)
    except ValueError:  # gaps: its library may know how to copy
        found = memory_of(_copied(p, g, where), where)
    if found.shape != like.shape:
        raise ValueError(f"{where} has shape {found.shape}, its parameter {like.shape}")
    if (found.dtype, found.pairs) != (like.dtype, like.pairs):
        raise TypeError(f"{where} has another dtype than its parameter, {p.dtype}; cast it")
    if found.device != like.device:
        raise ValueError(f"{where} is on device {found.device}, its parameter on device {like.device}")
    return found


def straight_interfaces(table: DeviceTable, rows: list[int]) -> bool:
    """Hold gradients and note where they lie, if all lie as their parameters do; else do nothing.

    The road of every step over many arrays: each gradient is asked once where it lies.
    """
    if table.device.several or is_tensor(table.params[0]):
        return False
    held, pointers, streams = [p.grad for p in table.params], [], set()
    for row in rows:
        facts = getattr(held[row], "__cuda_array_interface__", None)
        if facts is None or facts.get("mask") is not None or _layout_of(facts) != table.prints[row][2:]:
            return False
        pointers.append(facts["data"][0])
        streams.add(facts.get("stream"))
    return table.take_all(rows, held, pointers, streams)


def _layout_of(facts: dict[str, Any]) -> tuple:
    """Return how an array says that its elements lie."""
    return facts["shape"], facts.get("strides"), facts["typestr"]


def straightened(p: Any, g: DeviceMemory, where: str) -> DeviceMemory:
    """Return a gradient's copy in the layout of its parameter."""
    return memory_of(_copied(p, g.owner, where), where)


def _copied(p: Any, g: Any, where: str) -> Any:
    """Copy a gradient into new memory in its parameter's layout, by the library that both belong to."""
    data: Any = p.data if isinstance(p, Parameter) else p
    if is_tensor(data) and is_tensor(g):
        return _torch().empty_like(data.detach()).copy_(g.detach())
    module = _cupy_of(data)
    if module is None or _cupy_of(g) is None:
        raise ValueError(f"{where} does not lie as its parameter does, or in its memory; pass a copy")
    copy = module.empty_like(data)
    copy[...] = g
    return copy


def _torch() -> Any:
    return sys.modules["torch"]


def _cupy_of(x: Any) -> Any:
    """Return CuPy if ``x`` is an array of it."""
    module = sys.modules.get("cupy")
    return module if module is not None and isinstance(x, getattr(module, "ndarray", ())) else None


def current_stream(p: Any) -> int | None:
    """Return the stream that a parameter's owner works in now."""
    if is_tensor(p):
        return current_stream_of_tensor(p)
    return p.data.__cuda_array_interface__.get("stream")


def fingerprint_of_device_array(x: Any) -> tuple:
    """Return what changes when a device array's memory is moved, laid out anew, or used in another stream."""
    facts = getattr(x, "__cuda_array_interface__", None)
    return (type(x),) if facts is None else (facts["data"][0], facts.get("stream"), *_layout_of(facts))


def new_state(p: Any, value: float) -> Any:
    """Return a new array beside a parameter on a device, of the same library and layout, filled."""
    like = memory_of_parameter(p, "a parameter")
    data: Any = p.data if isinstance(p, Parameter) else p
    filled = value * (1 + 1j) if like.pairs else value
    if is_tensor(data):
        return _torch().full_like(data.detach(), filled)
    module = _cupy_of(data)
    if module is not None:
        return module.full_like(data, filled)
    return _uploaded(like, np.full(like.size, value, like.dtype))


def placed(p: Any, a: np.ndarray) -> Any:
    """Return a host array of a parameter's shape as an array beside the parameter, in its layout."""
    if not on_device(p):
        return a
    like = memory_of_parameter(p, "a parameter")
    data: Any = p.data if isinstance(p, Parameter) else p
    if is_tensor(data):
        return _torch().empty_like(data.detach()).copy_(_torch().from_numpy(np.ascontiguousarray(a)))
    module = _cupy_of(data)
    if module is None:
        return _uploaded(like, cuda.in_memory(a, like))
    made = module.empty_like(data)
    made[...] = module.asarray(a)
    return made


def _uploaded(like: DeviceMemory, flat: np.ndarray) -> Any:
    """Return new memory in the layout of a parameter, with reals from the host."""
    device = cuda.device("a state")
    with device.on(like.device):
        made = device.empty(like)
        device.upload(flat, memory_of(made, "a state"), like.stream or 0)
    return made


def fill(x: Any, value: float) -> None:
    """Fill an array on a device."""
    memory = memory_of(x, "an array")
    device = cuda.device("an array")
    with device.on(memory.device):
        device.upload(np.full(memory.size, value, memory.dtype), memory, memory.stream or 0)


def host_copy(x: Any) -> np.ndarray:
    """Return a copy of an array on a device in host memory, in C order."""
    if is_tensor(x):
        return x.detach().cpu().numpy()
    memory = memory_of(x, "an array", written=False)
    device = cuda.device("an array")
    with device.on(memory.device):
        return cuda.in_shape(device.download(memory, memory.stream or 0), memory)


def usable_state(have: Any, like: DeviceMemory, where: str) -> bool:
    """Tell whether a state array can be kept as it is: on the device, laid out as its parameter."""
    if not on_device(have):
        return False
    found = memory_of(have, where)
    same = (found.dtype, found.pairs, found.device) == (like.dtype, like.pairs, like.device)
    return same and same_layout(found, like) and (found.end <= like.pointer or like.end <= found.pointer)


def device_lines(owner: str, params: list[Any], grads: list[Any]) -> DeviceLines:
    """Return gradients on a device as lines that are measured and changed there; each memory once.

    ``params`` are the gradients' parameters, or the gradients themselves where they are only measured.
    """
    places = {id(p): k for k, p in reversed([*enumerate(params)])}
    memories, streams = [], []
    for k in sorted(places.values()):
        where = f"{owner}: the gradient of parameter {k}"
        if not on_device(grads[k]):
            raise TypeError(f"{where} is in host memory, others on a device; clip them apart")
        memories.append(memory_of(grads[k].detach() if is_tensor(grads[k]) else grads[k], where))
        stream = current_stream_of_tensor(grads[k]) if is_tensor(grads[k]) else memories[-1].stream
        streams.append(stream or 0)
    pair = overlapping_memory(memories)
    if pair is not None:
        raise ValueError(f"{owner}: the gradients of parameters {pair[0]} and {pair[1]} share memory")
    return DeviceLines(cuda.device(owner), memories, streams)


def overlapping_memory(memories: list[DeviceMemory]) -> tuple[int, int] | None:
    """Return the positions of two blocks that share memory, or None."""
    spans = sorted((m.device, m.pointer, m.end, k) for k, m in enumerate(memories) if m.size)
    for (one, _, end, j), (two, start, _, k) in pairwise(spans):
        if one == two and start < end:
            return min(j, k), max(j, k)
    return None
