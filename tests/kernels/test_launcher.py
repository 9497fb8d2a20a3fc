"""Launches over tables of arrays: every element once, the same bits however they are cut and threaded."""

import importlib
import inspect
import pkgutil
import re
import threading

import numba
import numpy as np
import pytest
from fresh_process import run_python

import nbopt
from nbopt.kernels import launcher as at
from nbopt.kernels.compile import compiled

F8, F4 = np.dtype(np.float64), np.dtype(np.float32)
H = np.zeros(at.NUMBERS)


def visit(p, g, state, h):
    """Count the visits; leave the place of the element within its call."""
    a, b, c = state
    for i in range(p.size):
        p[i] += 1
        a[i] += g[i]
        b[i] = a[i] * g[i] - b[i]
        c[i] = h[0]


def smooth(p, g, state, h):
    t = p.dtype.type
    rate, keep = t(h[0]), t(h[1])
    m, v, _ = state
    for i in range(p.size):
        mi = keep * m[i] + rate * g[i]
        p[i] -= mi / (np.sqrt(v[i] * v[i] + g[i] * g[i]) + rate)
        m[i], v[i] = mi, g[i]


def refuse_above_one(p, g, state, h):
    for i in range(p.size):
        if g[i] > 1:
            raise ValueError("above one at", g[i])
        p[i] += 1


class Arrays:
    """Parameters, gradients and three states of given sizes, and the table that points to them."""

    def __init__(self, sizes, dtype, idle=()):
        rng = np.random.default_rng(len(sizes))
        self.all = [[rng.standard_normal(n).astype(dtype) for n in sizes] for _ in range(5)]
        self.table = np.zeros((len(sizes), at.COLUMNS), np.int64)
        self.table[:, at.SIZE] = sizes
        self.table[:, at.ACTIVE] = [k not in idle for k in range(len(sizes))]
        for k, column in enumerate([at.P, at.G, at.STATE, at.STATE + 1, at.STATE + 2]):
            self.table[:, column] = [a.ctypes.data for a in self.all[k]]
        self.total = sum(n for k, n in enumerate(sizes) if k not in idle)
        self.like = np.empty(0, dtype)

    def bits(self):
        return [a.tobytes() for kind in self.all for a in kind]

    def serial(self, loop, h=H):
        at.serial(at.loop_address(loop, self.like.dtype), self.table, self.like, h)
        return self

    def parallel(self, loop, pieces, h=H):
        faults = np.zeros((pieces, 2), np.int64)
        at.parallel(at.loop_address(loop, self.like.dtype), self.table, self.like, h, self.total, faults)
        return self


SIZES = [
    [0],
    [1],
    [7],
    [8],
    [15],
    [16],
    [17],
    [63],
    [64],
    [65],
    [127],
    [128],
    [129],
    [4096],
    [100_003],
    [],
    [0, 0, 0],
    [0, 1, 7, 0, 8, 0],
    [1] * 1000,
    [1, 50_000, 3, 0, 70],
    [64, 64, 64],
    [63, 1, 65, 127],
]
size_name = {"ids": lambda s: f"{len(s)}x{max(s, default=0)}"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", SIZES, **size_name)
def test_a_parallel_launch_equals_the_serial_one_bit_for_bit_in_any_number_of_pieces(sizes, dtype):
    h = np.array([0.3, 0.7, *np.zeros(at.NUMBERS - 2)])
    expected = Arrays(sizes, dtype).serial(smooth, h).bits()
    assert sum(sizes) == 0 or expected != Arrays(sizes, dtype).bits()
    for pieces in (1, 2, 3, 7, 16):
        assert Arrays(sizes, dtype).parallel(smooth, pieces, h).bits() == expected, pieces


@pytest.mark.parametrize("sizes", SIZES, **size_name)
@pytest.mark.parametrize("pieces", [None, 1, 2, 5, 64])
def test_each_element_of_the_active_rows_is_visited_once(sizes, pieces):
    idle = {1, 3, 998}
    arrays, before = Arrays(sizes, np.float64, idle), Arrays(sizes, np.float64, idle)
    arrays.serial(visit) if pieces is None else arrays.parallel(visit, pieces)
    for k in range(len(sizes)):
        p, p0 = arrays.all[0][k], before.all[0][k]
        assert np.array_equal(p, p0 if k in idle else p0 + 1)


@pytest.mark.parametrize("pieces", [None, 1, 2, 6])
@pytest.mark.parametrize("place", [0, 700, 1999])
def test_what_a_loop_raises_on_any_thread_reaches_the_caller(place, pieces):
    arrays = Arrays([1000, 500, 500], np.float64)
    for g in arrays.all[1]:
        g[...] = 0
    flat = [(k, i) for k, n in enumerate([1000, 500, 500]) for i in range(n)]
    k, i = flat[place]
    arrays.all[1][k][i] = 7.5
    with pytest.raises(ValueError) as caught:
        arrays.serial(refuse_above_one) if pieces is None else arrays.parallel(refuse_above_one, pieces)
    assert caught.value.args == ("above one at", 7.5)
    arrays.all[1][k][i] = 0
    arrays.serial(refuse_above_one) if pieces is None else arrays.parallel(refuse_above_one, pieces)


def test_of_several_faults_the_first_in_the_arrays_is_raised():
    arrays = Arrays([4000], np.float64)
    arrays.all[1][0][...] = 0
    arrays.all[1][0][[100, 1500, 3990]] = 2, 3, 4
    for pieces in (1, 2, 8):
        with pytest.raises(ValueError) as caught:
            arrays.parallel(refuse_above_one, pieces)
        assert caught.value.args == ("above one at", 2.0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("nbytes", [0, at.PARALLEL_BYTES - 1, at.PARALLEL_BYTES])
def test_a_launch_is_parallel_from_the_crossing_on_if_there_are_threads(threads, nbytes, monkeypatch):
    calls = []
    monkeypatch.setattr(at, "serial", lambda *a: calls.append("serial"))
    monkeypatch.setattr(at, "parallel", lambda *a: calls.append(("parallel", a[-1].shape)))
    monkeypatch.setattr(at, "get_num_threads", lambda: threads)
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    monkeypatch.setitem(at._state, "lock", True)
    monkeypatch.setattr(at, "_busy", at._Busy())
    for _ in range(2):
        at.launch(0, np.zeros((1, at.COLUMNS)), np.empty(0), H, 1, nbytes)
    many = threads > 1 and nbytes >= at.PARALLEL_BYTES
    assert calls == [("parallel", (2, 2)) if many else "serial"] * 2
    assert at._state["lock"] is not many


def test_a_launch_that_waited_for_its_cores_is_followed_by_some_on_one_thread():
    busy, small = at._Busy(), 1 << 22
    for rest in (8, 16, 32, 64, 128, 256, 256):
        busy.note(0.01, small)
        assert [busy.allows(small) for _ in range(rest)] == [False] * rest
        assert busy.allows(small)
    busy.note(0.01, small)
    assert busy.allows(1 << 30) and not busy.allows(small), "a large step gains from threads all the same"
    busy.note(0.002, small)
    assert busy.allows(small) and busy.rest == 0
    busy.note(0.008, 1 << 24)  # as long as a slice of time, where memory takes 2 ms
    assert busy.rest == 8


def test_an_empty_table_is_launched_into_nothing(monkeypatch):
    monkeypatch.setattr(at, "PARALLEL_BYTES", 0)
    arrays = Arrays([0, 0], np.float32)
    at.launch(at.loop_address(visit, F4), arrays.table, arrays.like, H, 0, 0)
    assert arrays.bits() == Arrays([0, 0], np.float32).bits()


def test_a_loop_is_compiled_once_per_dtype_and_layout():
    def fresh(p, g, state, h):
        for i in range(p.size):
            p[i] = g[i]

    found = {at.loop_address(fresh, dtype, layout) for dtype in (F4, F8) for layout in "CA" for _ in range(3)}
    assert len(found) == 4


def test_two_threads_that_compile_one_loop_get_one_address(monkeypatch):
    """The other compilation is dropped: its address must not be in use."""

    def fresh(p, g, state, h):
        for i in range(p.size):
            p[i] = g[i]

    together, found = threading.Barrier(2), []
    original = at.address_of

    def address_of(dispatcher, signature):
        together.wait(30)
        return original(dispatcher, signature)

    monkeypatch.setattr(at, "address_of", address_of)
    threads = [threading.Thread(target=lambda: found.append(at.loop_address(fresh, F8))) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 2 and found[0] == found[1]


MOST = numba.config.NUMBA_NUM_THREADS


@pytest.mark.parametrize("n", [0, -1, MOST + 1, 1.0, True, None, "1", np.float64(1)])
def test_a_number_of_threads_that_cannot_be_is_refused(n):
    before = nbopt.get_num_threads()
    with pytest.raises(ValueError, match=rf"set_num_threads: n=.* must be an integer in \[1, {MOST}\]"):
        nbopt.set_num_threads(n)
    assert nbopt.get_num_threads() == before


@pytest.mark.parametrize("n", [1, MOST, np.int64(1)])
def test_the_number_of_threads_is_set_for_this_thread(n):
    before = nbopt.get_num_threads()
    try:
        nbopt.set_num_threads(n)
        assert nbopt.get_num_threads() == numba.get_num_threads() == n
    finally:
        nbopt.set_num_threads(before)


def test_a_forked_child_uses_one_thread(monkeypatch):
    monkeypatch.setitem(at._state, "forked", False)
    at._after_fork_in_child()
    assert nbopt.get_num_threads() == 1


def all_loops():
    """Return every loop of the package: functions of (p, g, state, h) in the files of optim/."""
    found = {}
    for info in pkgutil.iter_modules(nbopt.optim.__path__, "nbopt.optim."):
        module = importlib.import_module(info.name)
        for name, f in vars(module).items():
            own = inspect.isfunction(f) and f.__module__ == info.name
            if own and list(inspect.signature(f).parameters) == ["p", "g", "state", "h"]:
                found[f"{info.name.rpartition('.')[2]}.{name}"] = f
    return found


DOUBLE = re.compile(r"= (?:fadd|fsub|fmul|fdiv|frem|fneg)[a-z ]* double|x double>|call double @llvm")
VECTOR = re.compile(r"= (?:fadd|fsub|fmul|fdiv)[a-z ]*<\d+ x float>")


def float32_code(loop):
    dispatcher, signature = compiled(loop, cache=False), at.loop_signature(F4)
    dispatcher.compile(signature)
    return dispatcher.inspect_llvm(signature.args)


@pytest.mark.parametrize("name", all_loops())
def test_the_float32_loop_is_vectorised_and_computes_nothing_in_float64(name):
    code = float32_code(all_loops()[name])
    assert DOUBLE.findall(code) == []
    assert VECTOR.search(code)


def test_float64_arithmetic_in_a_float32_loop_would_be_noticed():
    def mixed(p, g, state, h):
        for i in range(p.size):
            p[i] -= h[0] * g[i]

    assert DOUBLE.search(float32_code(mixed))


def test_all_algorithms_were_looked_at():
    assert {"sgd.descent", "sgd.momentum", "sgd.nesterov", "adam.adam", "adam.amsgrad"} <= set(all_loops())


STEPS = """
    import sys, threading
    import numpy as np
    import nbopt

    def run(seed, sizes=(40_000, 1, 77, 100_000), dtype=np.float32, steps=30):
        rng = np.random.default_rng(seed)
        params = [rng.standard_normal(n).astype(dtype) for n in sizes]
        opt = nbopt.Adam(params, lr=0.01)
        for _ in range(steps):
            opt.step(grads=[p * p - p for p in params])
        return b"".join(p.tobytes() for p in params)
"""


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_threads_and_forked_children_step_as_one_thread_does(layer):
    """Each layer in a process of its own: two threads at once, then children of parallel steps."""
    script = (
        STEPS
        + """
    import numba, os

    from nbopt.kernels import launcher
    assert launcher.PARALLEL_BYTES == 4096
    found = [None] * 4
    def work(k):
        found[k] = run(k)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert numba.config.NUMBA_NUM_THREADS == 1 or numba.threading_layer() is not None

    nbopt.set_num_threads(1)
    alone = [run(k) for k in range(4)]
    assert found == alone, "threads disturbed each other"
    nbopt.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert [run(k) for k in range(4)] == alone, "the number of threads changed the result"

    if hasattr(os, "fork"):
        for k in range(2):
            child = os.fork()
            if child == 0:
                same = run(k) == alone[k] and nbopt.get_num_threads() == 1
                os._exit(0 if same else 7)
            assert os.waitpid(child, 0)[1] == 0, "a forked child failed"
        assert run(0) == alone[0], "the parent failed after a fork"
    print(numba.threading_layer() if numba.config.NUMBA_NUM_THREADS > 1 else "one thread")
    """
    )
    environment = {"NBOPT_PARALLEL_BYTES": "4096", "PYTHONWARNINGS": "ignore"}
    if layer != "default":
        environment["NUMBA_THREADING_LAYER"] = layer
    used = run_python(script, **environment).strip()
    assert used and (layer == "default" or used in {layer, "one thread"})


def test_plain_python_gives_the_same_bits_in_a_process_without_the_compiler():
    script = (
        STEPS
        + """
    import hashlib

    def strided(kind, dtype):
        rng = np.random.default_rng(3)
        a = np.asfortranarray(rng.standard_normal((4, 6)).astype(dtype))
        b = rng.standard_normal((5, 8)).astype(dtype)[::-2, 1::3]
        opt = kind([a, b], lr=0.05)
        for _ in range(6):
            opt.step(grads=[np.ascontiguousarray(a) - 1, (b * b).T.copy().T])
        return a.tobytes() + b.tobytes()

    digest = hashlib.sha256()
    for dtype in (np.float32, np.float64):
        digest.update(run(1, (17, 0, 1, 64), dtype, steps=5))
        for kind in (nbopt.Adam, lambda p, lr: nbopt.SGD(p, lr, momentum=0.9)):
            digest.update(strided(kind, dtype))
    from nbopt.kernels import launcher
    print(digest.hexdigest(), callable(launcher.serial) and type(launcher.serial).__name__)
    """
    )
    python, kind = run_python(script, NUMBA_DISABLE_JIT="1").split()
    compiled_too, other = run_python(script, NUMBA_DISABLE_JIT="0").split()
    assert python == compiled_too
    assert (kind, other) == ("function", "Dispatcher")
