"""A stand-in for a CUDA device: host memory behind the interface of device arrays, loops on the CPU.

Its addresses are shifted out of the address space, so that anything that takes them for addresses of
host memory ends the process at once, as a test of the device's road should.
"""

import contextlib
import ctypes
from types import SimpleNamespace

import numpy as np

from nbopt.kernels import cuda_launcher as cl
from nbopt.kernels import device_norms as dn
from nbopt.kernels import launcher
from nbopt.kernels.compile import compiled

SHIFT = 1 << 60


class DeviceArray:
    """An array as CuPy's and Numba's present themselves: an address, and no way to read it from here."""

    def __init__(self, host, stream=None, read_only=False):
        self.host, self.stream, self.read_only = host, stream, read_only

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    size = property(lambda self: self.host.size)
    ndim = property(lambda self: self.host.ndim)

    def __len__(self):
        return len(self.host)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a device array does not turn into a host array by itself")

    @property
    def __cuda_array_interface__(self):
        facts = self.host.__array_interface__
        strides = None if self.host.flags.c_contiguous else self.host.strides
        place = facts["data"][0] + SHIFT if self.host.size else 0
        return {
            "shape": self.host.shape, "typestr": self.host.dtype.str, "data": (place, self.read_only),
            "strides": strides, "version": 3, "stream": self.stream,
        }  # fmt: skip


def on_host(address, n, dtype):
    """Return the elements at a device address."""
    dtype = np.dtype(dtype)
    if n == 0 or address == 0:
        return np.empty(0, dtype)
    block = (ctypes.c_char * (n * dtype.itemsize)).from_address(address - SHIFT)
    return np.frombuffer(block, dtype)


class StandIn:
    """The calls of `nbopt.kernels.cuda.Cuda`, done at once, and a log of them.

    ``busy`` makes the device seem to be behind. ``own_code`` runs the kernels' own Python source,
    compiled for the CPU, thread by thread; otherwise each block's elements go to the CPU's loop.
    """

    def __init__(self, own_code=False):
        self.log, self.busy, self.own_code, self.launches = [], False, own_code, 0
        self.compiled, self.several = {}, False

    def describe(self):
        return "a stand-in in host memory"

    def on(self, device):
        return contextlib.nullcontext()

    def pinned(self, n):
        return np.full(n, -1, np.int64)

    def numbers(self, n):
        self.log.append(("new table", n))
        return DeviceArray(np.full(n, -1, np.int64))

    def send(self, pinned, numbers, stream):
        self.log.append(("send", pinned.size, stream))
        numbers.host[:] = pinned

    def event(self):
        return SimpleNamespace(stream=None)

    def record(self, event, stream):
        event.stream = stream

    def wait(self, stream, event):
        self.log.append(("wait", stream, event.stream))

    def done(self, event):
        return not self.busy

    def doubles(self, n):
        return DeviceArray(np.full(n, np.nan))

    def fetch(self, numbers, stream):
        self.log.append(("fetch", numbers.size, stream))
        return numbers.host.copy()

    def kernel(self, make, *given):
        return (dn.reduction, *given) if make is dn.reduction else given

    def launch(self, kernel, blocks, threads, stream, args):
        self.launches += 1
        self.log.append(("launch", blocks, stream))
        assert threads == cl.THREADS
        if kernel[0] is dn.reduction:
            self._reduce(kernel, blocks, *args)
            return
        table, arrays, numbers = args
        assert len(numbers) == launcher.NUMBERS
        h = np.array(numbers)
        if self.own_code:
            self._run_own_code(kernel, blocks, table.host, arrays, h)
        else:
            for block in range(blocks):
                self._run_block(*kernel, block, table.host, arrays, h)

    def _run_block(self, loop, dtype, states, block, table, arrays, h):
        """Run the CPU's loop over a block's elements."""
        column = int(plain(cl.column_of)(block, table, arrays))
        facts = table.reshape(cl.ROWS, arrays)[:, column]
        first = (block - int(facts[cl.FIRST])) * cl.CHUNK
        n = min(cl.CHUNK, int(facts[cl.SIZE]) - first)
        lines = [on_host(int(a), int(facts[cl.SIZE]), dtype)[first : first + n] for a in facts[cl.P :]]
        assert all((line.size > 0) == (k < 2 + states) for k, line in enumerate(lines))
        p, g, *state = lines
        launcher.run_loop(launcher.loop_address(loop, dtype), p, g, tuple(state), h)

    def _run_own_code(self, kernel, blocks, table, arrays, h):
        """Run each thread's share by the code that a device runs."""
        if kernel not in self.compiled:
            self.compiled[kernel] = _all_threads(cl.thread_work(host_tools(), *kernel))
        self.compiled[kernel](blocks, unshifted(table, arrays), arrays, h)

    def _reduce(self, kernel, blocks, table, arrays, p, unit, terms):
        """Compute threads' terms by the code that a device runs, and join them in its order."""
        term = _terms.get(kernel)
        if term is None:
            term = _terms[kernel] = compiled(dn.thread_term(host_tools(), *kernel[1:]), cache=False)
        join, here = dn.joined(kernel[1]), unshifted(table.host, arrays)
        for block in range(blocks):
            found = [term(block, thread, here, arrays, p, unit) for thread in range(cl.THREADS)]
            while len(found) > 1:
                half = len(found) // 2
                found = [join(a, b) for a, b in zip(found[:half], found[half:], strict=True)]
            terms.host[block] = found[0]

    def empty(self, like):
        order = np.argsort([-abs(s) for s in like.strides], kind="stable")
        dtype = np.result_type(like.dtype, np.complex64) if like.pairs else like.dtype
        block = np.empty([like.shape[k] for k in order], dtype)
        return DeviceArray(block.transpose(np.argsort(order)), like.stream)

    def upload(self, flat, memory, stream):
        assert flat.dtype == memory.dtype and flat.size == memory.size
        on_host(memory.pointer, memory.size, memory.dtype)[:] = flat

    def download(self, memory, stream):
        self.log.append(("download", memory.size))
        return on_host(memory.pointer, memory.size, memory.dtype).copy()


_terms = {}  # compiled once for all stand-ins


def unshifted(table, arrays):
    """Return a device's table with addresses of this process."""
    facts = table.copy().reshape(cl.ROWS, arrays)
    facts[cl.P :][facts[cl.P :] != 0] -= SHIFT
    return facts.reshape(-1)


def plain(function):
    """Return a function uncompiled."""
    return getattr(function, "py_func", function)


def host_tools():
    """Return what makes a kernel's code run on the CPU."""
    from numba import types
    from numba.extending import intrinsic

    def device_function(function):
        return compiled(function, cache=False)

    return SimpleNamespace(
        cuda=None, types=types, intrinsic=intrinsic, device_function=device_function, space=0
    )


def _all_threads(work):
    """Return a function that does what all threads of all blocks do, one after the other."""
    work = compiled(work, cache=False)
    threads = cl.THREADS

    def run(blocks, table, arrays, h):
        for block in range(blocks):
            for thread in range(threads):
                work(block, thread, table, arrays, h)

    return compiled(run, cache=False)
