"""The one file that imports CUDA, and only when a device array arrives: what was found, and its calls.

`numba-cuda` takes the place of ``numba.cuda`` where it is installed; else Numba's own target serves.
Arrays are known by their addresses (`DeviceMemory`), whichever library allocated them; streams by
their handles, 0 being the default stream.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numba.core import config as numba_config

from nbopt.kernels.arrays import PAIRS, REALS, fills_one_block, memory_order

INSTALL = "pip install 'nbopt[cuda]'"


class DeviceMemory(NamedTuple):
    """Where an array lies on a device: one block without gaps, counted in reals."""

    owner: Any  # keeps the memory alive
    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes
    dtype: np.dtype  # of the reals: float32 or float64
    size: int  # reals; a complex number is a pair of them
    device: int
    stream: int | None  # whose work must come first; None: nobody's

    @property
    def pairs(self) -> bool:
        """Whether the elements are complex numbers."""
        return self.size != math.prod(self.shape)

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.pointer + self.size * self.dtype.itemsize


def is_device_array(x: Any) -> bool:
    """Tell whether ``x`` says where it lies on a device."""
    return getattr(x, "__cuda_array_interface__", None) is not None


def memory_of(x: Any, where: str, written: bool = True) -> DeviceMemory:
    """Return where a device array lies, or say why it cannot be used; ``where`` opens the message."""
    facts = x.__cuda_array_interface__
    if facts.get("mask") is not None:
        raise TypeError(f"{where} is a masked device array; pass its data")
    dtype, shape = np.dtype(facts["typestr"]), tuple(facts["shape"])
    pointer, read_only = facts["data"]
    if read_only and written:
        raise ValueError(f"{where} is read-only; a parameter must be writeable")
    return device_memory(x, where, pointer, shape, facts.get("strides"), dtype, facts.get("stream"))


def device_memory(
    owner: Any,
    where: str,
    pointer: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    dtype: np.dtype,
    stream: int | None,
) -> DeviceMemory:
    """Check what an array says of itself; ``strides`` are bytes, None means C order."""
    if dtype not in REALS and dtype not in PAIRS:
        raise TypeError(f"{where} has dtype {dtype}; it must be float32, float64, complex64 or complex128")
    if strides is None:
        strides = tuple(dtype.itemsize * math.prod(shape[k + 1 :]) for k in range(len(shape)))
    if not fills_one_block(shape, strides, dtype.itemsize):
        raise ValueError(
            f"{where} has gaps (shape {shape}, strides {tuple(strides)}); on a device arrays must be "
            "contiguous, in any order of their axes"
        )
    if pointer % dtype.itemsize:
        raise ValueError(f"{where} is not aligned to its {dtype.itemsize}-byte elements; pass a copy")
    place = getattr(owner, "device", None)  # CuPy numbers it by id, torch by index, Numba not at all
    numbers = [getattr(place, name, None) for name in ("id", "index")]
    number = next((n for n in numbers if isinstance(n, int)), 0)
    real = PAIRS.get(dtype, dtype)
    size = math.prod(shape) * (dtype.itemsize // real.itemsize)
    return DeviceMemory(owner, pointer, shape, tuple(strides), real, size, number, stream)


def in_shape(flat: np.ndarray, like: DeviceMemory) -> np.ndarray:
    """Return the reals of a block, in the order of memory, as an array of the block's shape, in C order."""
    if like.pairs:
        flat = flat.view(np.result_type(flat.dtype, np.complex64))
    order = memory_order(like.shape, like.strides)
    return np.ascontiguousarray(flat.reshape([like.shape[k] for k in order]).transpose(np.argsort(order)))


def in_memory(a: np.ndarray, like: DeviceMemory) -> np.ndarray:
    """Return an array's reals in the order in which a block of its shape holds them."""
    dtype = np.result_type(like.dtype, np.complex64) if like.pairs else like.dtype
    line = np.ascontiguousarray(a.transpose(memory_order(like.shape, like.strides)), dtype)
    return line.reshape(-1).view(like.dtype)


class Cuda:
    """What the launcher asks of a device; tests put a stand-in of the same methods in its place."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.several = len(module.gpus) > 1
        self._streams: dict[int, Any] = {0: 0}

    def describe(self) -> str:
        """Say which package, device and driver were found."""
        device = self.module.get_current_device()
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
        major, minor = device.compute_capability
        return f"{name} (sm_{major}{minor}) through {package()}"

    def on(self, device: int) -> Any:
        """Return a context in which calls concern this device."""
        return self.module.gpus[device] if self.several else contextlib.nullcontext()

    def _stream(self, handle: int) -> Any:
        """Return Numba's object for a stream of anybody's."""
        if handle not in self._streams:
            named = {1: "legacy_default_stream", 2: "per_thread_default_stream"}.get(handle)
            made = getattr(self.module, named)() if named else self.module.external_stream(handle)
            self._streams[handle] = made
        return self._streams[handle]

    def pinned(self, n: int) -> np.ndarray:
        """Return host memory that can be sent without waiting."""
        return self.module.pinned_array(n, np.int64)

    def numbers(self, n: int) -> Any:
        """Return device memory for so many int64."""
        return self.module.device_array(n, np.int64)

    def doubles(self, n: int) -> Any:
        """Return device memory for so many float64."""
        return self.module.device_array(n, np.float64)

    def fetch(self, numbers: Any, stream: int) -> np.ndarray:
        """Return a copy of such memory on the host, once the stream has got there."""
        found = numbers.copy_to_host(stream=self._stream(stream))
        self._synchronize(stream)
        return found

    def _synchronize(self, stream: int) -> None:
        """Wait until all that a stream was given is done."""
        (self._stream(stream) or self.module.default_stream()).synchronize()

    def send(self, pinned: np.ndarray, numbers: Any, stream: int) -> None:
        """Copy ``pinned`` to the device when the stream gets there."""
        numbers.copy_to_device(pinned, stream=self._stream(stream))

    def event(self) -> Any:
        """Return a mark for a place in a stream."""
        return self.module.event(timing=False)

    def record(self, event: Any, stream: int) -> None:
        """Set the mark after what the stream was given so far."""
        event.record(self._stream(stream))

    def wait(self, stream: int, event: Any) -> None:
        """Let a stream go on only after the mark; the host does not wait."""
        event.wait(self._stream(stream))

    def done(self, event: Any) -> bool:
        """Tell whether the device is past the mark."""
        return event.query()

    def kernel(self, make: Callable, *given: Any) -> Any:
        """Return the kernel that ``make(tools, ...)`` describes, compiled at its first launch."""
        return self.module.jit(make(tools(self.module), *given))

    def launch(self, kernel: Any, blocks: int, threads: int, stream: int, args: tuple) -> None:
        """Put a launch into a stream."""
        with warnings.catch_warnings():  # a small group fills no GPU, and that is no fault of the user's
            warnings.simplefilter("ignore", category=numba_performance_warning())
            configured = kernel[blocks, threads, self._stream(stream)]
        configured(*args)

    def empty(self, like: DeviceMemory) -> Any:
        """Return new device memory in the layout of ``like``, as Numba's array."""
        dtype = np.result_type(like.dtype, np.complex64) if like.pairs else like.dtype
        return self.module.device_array(like.shape, dtype, strides=like.strides)

    def _line(self, memory: DeviceMemory) -> Any:
        """Return a block of device memory as Numba's 1-D array."""
        facts = {
            "shape": (memory.size,), "typestr": memory.dtype.str, "data": (memory.pointer, False),
            "version": 3,
        }  # fmt: skip
        return self.module.from_cuda_array_interface(facts, memory.owner)

    def upload(self, flat: np.ndarray, memory: DeviceMemory, stream: int) -> None:
        """Fill a block with reals from the host."""
        if memory.size:
            self._line(memory).copy_to_device(flat, stream=self._stream(stream))

    def download(self, memory: DeviceMemory, stream: int) -> np.ndarray:
        """Return a copy of a block on the host, once all that was put into the stream is done."""
        if not memory.size:
            return np.empty(0, memory.dtype)
        flat = self._line(memory).copy_to_host(stream=self._stream(stream))
        self._synchronize(stream)
        return flat


def numba_performance_warning() -> type[Warning]:
    """Return the class of Numba's remarks on small launches."""
    return importlib.import_module("numba.core.errors").NumbaPerformanceWarning


@functools.cache
def _module() -> Any:
    """Import the CUDA target; whoever provides it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Numba's own is deprecated in favour of numba-cuda
        return importlib.import_module("numba.cuda")


def package() -> str:
    """Return the name and version of the package that compiles for the device."""
    from importlib.metadata import version

    if getattr(_module(), "implementation", "") == "Built-in":
        return f"numba {version('numba')} (its own CUDA target)"
    return f"numba-cuda {version('numba-cuda')}"


@functools.cache
def tools(module: Any = None) -> SimpleNamespace:
    """Return what a kernel is made of: the compiler of device functions, its types, its intrinsics."""
    module = _module() if module is None else module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        types = importlib.import_module("numba.cuda.types")
        if not hasattr(types, "Array"):
            types = importlib.import_module("numba").types
        intrinsic = importlib.import_module("numba.cuda.extending").intrinsic
        _teach_sign(module)
    compiled = module.jit(device=True)

    def device_function(function: Callable) -> Any:
        return compiled(getattr(function, "py_func", function))  # a user's loop may be @njit already

    return SimpleNamespace(
        cuda=module, types=types, intrinsic=intrinsic, device_function=device_function, space=1
    )


def _teach_sign(module: Any) -> None:
    """Give the CUDA target ``np.sign``, which it lacks."""
    ufuncs = importlib.import_module("numba.cuda.ufuncs")
    if np.sign in ufuncs.ufunc_db():
        return
    ufuncs.ufunc_db()[np.sign] = {"f->f": _sign, "d->d": _sign}
    if getattr(module, "implementation", "") == "Built-in":  # numba-cuda knows its type already
        typing = importlib.import_module("numba.core.typing.npydecl")
        declared = importlib.import_module("numba.cuda.cudadecl")
        typing.register_numpy_ufunc("sign", declared.register_global)


def _sign(context: Any, builder: Any, signature: Any, args: Any, loc: Any = None) -> Any:
    """Emit 1, -1, or the argument itself where it is a zero or NaN."""
    x = args[0]
    above = builder.fcmp_ordered(">", x, x.type(0.0))
    below = builder.fcmp_ordered("<", x, x.type(0.0))
    return builder.select(above, x.type(1.0), builder.select(below, x.type(-1.0), x))


def _look() -> tuple[Cuda | None, str]:
    """Look for a device; return it, or None and what is missing."""
    if numba_config.DISABLE_JIT:
        return None, "NUMBA_DISABLE_JIT is set, and nothing can be compiled for a device"
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        return None, "NUMBA_ENABLE_CUDASIM is set, and Numba's simulator has no device memory"
    try:
        module = _module()
        if not module.is_available():
            return None, f"{package()} is installed, but {_trouble()}"
        return Cuda(module), ""
    except ImportError as error:
        return None, f"Numba has no CUDA target ({error}); {INSTALL}"
    except Exception as error:  # whatever a driver or toolkit that does not fit raises
        return None, f"CUDA was found but does not start: {error}"


def _trouble() -> str:
    """Say whether it is the driver or the compiler's library that is missing."""
    driver = importlib.import_module("numba.cuda.cudadrv.driver").driver
    with contextlib.suppress(Exception):
        if driver.is_available:
            return f"libNVVM, the compiler's library, is not found; {INSTALL}, or set CUDA_HOME"
    reason = " ".join(str(driver.initialization_error or "").split())
    return f"there is no CUDA driver or device{': ' + reason if reason else ''}"


@functools.cache
def _found() -> tuple[Cuda | None, str]:
    """Look once."""
    return _look()


def found() -> Any:
    """Return the device's calls, or None."""
    return _found()[0]


def missing() -> str:
    """Say what stands in the way of a device, or nothing."""
    return _found()[1]


def device(where: str) -> Any:
    """Return the device's calls, or raise; ``where`` opens the message."""
    if found() is None:
        raise RuntimeError(f"{where} is a device array: {missing()}")
    return found()


@contextlib.contextmanager
def compiling_for(capability: tuple[int, int]) -> Iterator[None]:
    """Let device functions be compiled for a device that is not here."""
    dispatcher: Any = importlib.import_module("numba.cuda.dispatcher")
    known = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = known


def ptx(make: Callable, given: tuple, signature: Callable, capability: tuple[int, int]) -> str:
    """Compile a kernel to PTX without a device; ``signature(types)`` names its arguments' types."""
    module = _module()
    with compiling_for(capability):
        chosen = tools(module)
        text = module.compile_ptx(make(chosen, *given), signature(chosen.types), cc=capability)[0]
    return text.decode() if isinstance(text, bytes) else text
