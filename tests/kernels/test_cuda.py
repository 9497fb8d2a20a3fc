"""The shim: what it says where there is no device, how it reads arrays' own words, and that it sleeps."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_stand_in import SHIFT, DeviceArray
from fresh_process import run_python
from numba.core import config as numba_config

import nbopt
from nbopt.kernels import cuda
from nbopt.kernels.arrays import fills_one_block


def test_the_cpu_works_without_importing_cuda():
    script = """
        import json, sys
        import numpy as np, nbopt
        w = np.ones(3)
        nbopt.Adam([w]).step(grads=[w.copy()])
        print(json.dumps(sorted(m for m in sys.modules if m.startswith(("numba.cuda.", "numba_cuda")))))
    """
    assert json.loads(run_python(script)) == []


def test_without_a_device_it_says_what_is_missing_and_an_array_gets_that_as_an_error(monkeypatch):
    monkeypatch.setattr(cuda, "_found", lambda: (None, "there is no driver"))
    assert not nbopt.cuda.is_available() and nbopt.cuda.why() == "there is no driver"
    there = DeviceArray(np.ones(2))
    with pytest.raises(RuntimeError, match=r"Adam: params\[0\] is a device array: there is no driver"):
        nbopt.Adam([there])
    with pytest.raises(RuntimeError, match="SGD: w is a device array"):
        nbopt.SGD({"w": there}, lr=0.1)


def test_looking_names_what_stands_in_the_way(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(numba_config, "DISABLE_JIT", 1)
        assert cuda._look() == (None, "NUMBA_DISABLE_JIT is set, and nothing can be compiled for a device")
    monkeypatch.setattr(numba_config, "DISABLE_JIT", 0)
    with monkeypatch.context() as patch:
        patch.setenv("NUMBA_ENABLE_CUDASIM", "1")
        assert "simulator" in cuda._look()[1]
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)

    def no_module():
        raise ImportError("no module")

    monkeypatch.setattr(cuda, "_module", no_module)
    found, why = cuda._look()
    assert found is None and "no CUDA target" in why and cuda.INSTALL in why
    monkeypatch.setattr(cuda, "_module", lambda: SimpleNamespace(is_available=lambda: 1 / 0))
    assert "does not start: division by zero" in cuda._look()[1]


def test_the_real_search_ends_with_a_device_or_a_sentence():
    found, why = cuda._look()
    assert (found is None) == bool(why)
    assert "libNVVM" in why or "driver" in why or "NUMBA" in why or "CUDA" in why or found.describe()


def swapped(a):
    return np.ascontiguousarray(a.transpose(1, 2, 0)).transpose(2, 0, 1)


LAYOUTS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "permuted": swapped}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_an_arrays_own_words_are_read(layout, dtype):
    a = np.empty((2, 3, 4), dtype)
    a[...] = np.arange(24).reshape(2, 3, 4) * (1 + 2j if a.dtype.kind == "c" else 1)
    there = DeviceArray(LAYOUTS[layout](a), stream=7)
    memory = cuda.memory_of(there, "it")
    assert memory.pointer == there.host.__array_interface__["data"][0] + SHIFT
    assert (memory.shape, memory.strides) == (a.shape, there.host.strides)
    assert memory.owner is there and memory.stream == 7 and memory.device == 0
    assert memory.dtype == a.real.dtype and memory.pairs == (a.dtype.kind == "c")
    assert memory.end - memory.pointer == a.nbytes
    flat = cuda.in_memory(a, memory)
    assert np.array_equal(flat.view(dtype), there.host.ravel(order="K"))
    back = cuda.in_shape(flat, memory)
    assert np.array_equal(back, a) and back.flags.c_contiguous and back.dtype == a.dtype


REFUSED = {
    "int": (DeviceArray(np.ones(3, np.int64)), TypeError, "it has dtype int64; it must be float32"),
    "half": (DeviceArray(np.ones(3, np.float16)), TypeError, "dtype float16"),
    "gaps": (DeviceArray(np.ones((4, 4))[:, ::2]), ValueError, r"it has gaps \(shape \(4, 2\)"),
    "reversed": (DeviceArray(np.ones(4)[::-1]), ValueError, "it has gaps"),
    "read-only": (DeviceArray(np.ones(4), read_only=True), ValueError, "it is read-only"),
    "unaligned": (DeviceArray(np.zeros(33, np.uint8)[1:].view(np.float64)), ValueError, "not aligned"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_stepped_is_refused(name):
    there, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        cuda.memory_of(there, "it")


def test_masked_arrays_are_refused_and_read_only_gradients_are_not():
    masked = SimpleNamespace(__cuda_array_interface__={"mask": object()})
    with pytest.raises(TypeError, match="masked"):
        cuda.memory_of(masked, "it")
    assert cuda.memory_of(DeviceArray(np.ones(4), read_only=True), "it", written=False).size == 4


def test_devices_are_known_by_the_names_of_both_libraries():
    for place, number in ((SimpleNamespace(id=2), 2), (SimpleNamespace(index=3), 3), ("gpu", 0)):
        there = DeviceArray(np.ones(4))
        there.device = place
        assert cuda.memory_of(there, "it").device == number


def test_a_block_without_gaps_is_recognized():
    assert fills_one_block((2, 3), (24, 8), 8) and fills_one_block((2, 3), (8, 16), 8)
    assert fills_one_block((0, 3), (5, 7), 8) and fills_one_block((1, 3), (999, 8), 8)
    assert not fills_one_block((2, 3), (32, 8), 8) and not fills_one_block((2, 3), (0, 8), 8)


def test_the_cuda_target_has_every_call_that_is_made_of_it():
    script = """
        import inspect, json, sys, warnings
        warnings.simplefilter("ignore")
        try:
            from numba import cuda
        except ImportError:
            print(json.dumps(None))
            sys.exit()
        wanted = {
            "pinned_array": ["shape", "dtype"], "device_array": ["shape", "dtype", "strides"],
            "event": ["timing"], "external_stream": ["ptr"], "legacy_default_stream": [],
            "per_thread_default_stream": [], "default_stream": [], "get_current_device": [],
            "from_cuda_array_interface": ["desc", "owner"], "is_available": [],
            "compile_ptx": ["pyfunc", "sig", "cc"], "jit": ["device"],
        }
        missing = [n for n in [*wanted, "gpus"] if n not in dir(cuda)]
        for name in set(wanted) - set(missing):
            known = inspect.signature(getattr(cuda, name)).parameters
            missing += [f"{name}({p})" for p in wanted[name] if p not in known]
        print(json.dumps(missing))
    """
    missing = json.loads(run_python(script, NUMBA_ENABLE_CUDASIM="0", NUMBA_DISABLE_JIT="0"))
    if missing is None:
        pytest.skip("Numba has no CUDA target here")
    assert missing == []


class RecordingArray(SimpleNamespace):
    """What a call of the recording module returns: it notes what is asked of it in turn."""

    def copy_to_device(self, a, stream):
        self.log.append(("copy_to_device", a.tolist(), stream))

    def copy_to_host(self, stream):
        self.log.append(("copy_to_host", stream))
        return np.ones(2)

    def synchronize(self):
        self.log.append(("synchronize", self.name))


class RecordingModule:
    """A CUDA target that only writes down what it is asked for."""

    gpus = (None,)

    def __init__(self):
        self.log = []

    def __getattr__(self, name):
        def call(*args, **given):
            self.log.append((name, *args, *sorted(given.items())))
            return RecordingArray(log=self.log, name=f"{name}{args}")

        return call


def test_calls_go_to_the_right_streams_and_do_not_wait_but_for_what_comes_back():
    module = RecordingModule()
    device = cuda.Cuda(module)
    numbers, pinned = device.numbers(2), np.arange(2)
    assert module.log == [("device_array", 2, np.int64)]
    module.log.clear()
    device.send(pinned, numbers, 0)
    assert module.log == [("copy_to_device", [0, 1], 0)]
    for handle, made in ((1, "legacy_default_stream"), (2, "per_thread_default_stream")):
        module.log.clear()
        device.send(pinned, numbers, handle)
        assert module.log[0] == (made,) and module.log[1][0] == "copy_to_device"
    module.log.clear()
    for _ in range(2):  # the object of a stream is made once
        device.send(pinned, numbers, 77)
    assert [entry[0] for entry in module.log] == ["external_stream", "copy_to_device", "copy_to_device"]
    module.log.clear()
    assert device.fetch(numbers, 0).tolist() == [1, 1]
    assert [entry[0] for entry in module.log] == ["copy_to_host", "default_stream", "synchronize"]


def test_blocks_are_copied_as_lines_of_reals_and_new_memory_has_the_layout_asked_for():
    module = RecordingModule()
    device = cuda.Cuda(module)
    memory = cuda.memory_of(DeviceArray(np.asfortranarray(np.ones((2, 3), complex))), "it")
    device.empty(memory)
    assert module.log == [("device_array", (2, 3), np.dtype(complex), ("strides", (16, 32)))]
    module.log.clear()
    device.upload(np.arange(12.0), memory, 0)
    (name, facts, owner), copied = module.log
    assert name == "from_cuda_array_interface" and owner is memory.owner and copied[1] == [*range(12)]
    assert facts["shape"] == (12,) and facts["data"] == (memory.pointer, False) and facts["typestr"] == "<f8"
    module.log.clear()
    device.download(memory, 0)
    assert [e[0] for e in module.log] == ["from_cuda_array_interface", "copy_to_host", "default_stream",
                                          "synchronize"]  # fmt: skip
    nothing = cuda.memory_of(DeviceArray(np.empty(0)), "it")
    module.log.clear()
    device.upload(np.empty(0), nothing, 0)
    assert device.download(nothing, 0).size == 0 and module.log == []


def test_a_small_launch_warns_nobody():
    import warnings

    from numba.core.errors import NumbaPerformanceWarning

    launched = []

    class Kernel:
        def __getitem__(self, configuration):
            warnings.warn(NumbaPerformanceWarning("Grid size 1"), stacklevel=1)
            return lambda *args: launched.append((configuration, args))

    cuda.Cuda(RecordingModule()).launch(Kernel(), 3, 128, 0, (1, 2))
    assert launched == [((3, 128, 0), (1, 2))]
