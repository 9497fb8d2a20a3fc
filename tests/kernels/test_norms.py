"""Passes over tables of memory: the same number for any number of threads, and with or without a compiler."""

import math

import numpy as np
import pytest
from fresh_process import run_python

import nbopt
from nbopt.kernels import norms
from nbopt.kernels.norms import CHUNK, Lines, disjoint, lines_from, lines_of, row_of

ORDERS = [1.0, 2.0, 2.5, math.inf, -1.5, -math.inf]
SIZES = [1, 15, 16, 17, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]


def lines(*arrays):
    flat = [a.view(a.real.dtype).reshape(-1) for a in arrays]
    return lines_from([row_of(f, a.dtype.kind == "c") for f, a in zip(flat, arrays, strict=True)], flat)


def some_arrays():
    rng = np.random.default_rng(0)
    yield rng.standard_normal(3 * CHUNK + 7).astype(np.float32)
    yield rng.standard_normal(5)
    yield (rng.standard_normal(CHUNK + 1) + 1j * rng.standard_normal(CHUNK + 1)).astype(np.complex64)
    yield np.zeros(0)
    yield rng.standard_normal(2 * CHUNK) * 1j


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_sizes_around_chunks_and_lanes(p, dtype):
    for n in SIZES:
        a = np.random.default_rng(n).standard_normal((n, 2)) @ [1, 1j if np.dtype(dtype).kind == "c" else 0]
        a = (a if np.dtype(dtype).kind == "c" else a.real).astype(dtype)
        unit, length = lines(a).norm(p)
        assert unit * length == pytest.approx(np.linalg.norm(a.astype(complex), p), rel=1e-12)


@pytest.mark.parametrize("p", ORDERS)
def test_the_number_of_threads_changes_no_bit(p, monkeypatch):
    arrays = [*some_arrays()]
    alone = lines(*arrays).norm(p)
    monkeypatch.setattr(norms, "PARALLEL_BYTES", 0)
    threads = nbopt.get_num_threads()
    try:
        for n in range(1, threads + 1):
            nbopt.set_num_threads(n)
            assert lines(*arrays).norm(p) == alone
    finally:
        nbopt.set_num_threads(threads)


@pytest.mark.parametrize("parallel_bytes", [0, 1 << 62])
def test_scale_and_clamp_reach_every_element(parallel_bytes, monkeypatch):
    monkeypatch.setattr(norms, "PARALLEL_BYTES", parallel_bytes)
    arrays = [*some_arrays()]
    before = [a.copy() for a in arrays]
    lines(*arrays).scale(0.5, 0.5)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b / 4)
    reals = [a for a in arrays if a.dtype.kind == "f"]
    lines(*reals).clamp(0.1)
    for a, b in zip(reals, [b for b in before if b.dtype.kind == "f"], strict=True):
        np.testing.assert_array_equal(a, np.clip(b / 4, -0.1, 0.1).astype(a.dtype))


def test_plain_arrays_are_read_in_one_call():
    a, b = np.arange(6.0).reshape(2, 3), np.ones((2, 2), np.float32, order="F")
    arrays = [a, b, np.array(2j), np.zeros((0, 3))]
    found = lines_of(arrays, writeable=True)
    assert found is not None
    assert found.squares == 55 + 4 + 4
    assert found.table.tolist() == [
        [a.ctypes.data, size, kind] for a, size, kind in zip(arrays, [6, 4, 2, 0], [1, 0, 3, 1], strict=True)
    ]


class Sub(np.ndarray):
    """An array class of somebody's own."""


@pytest.mark.parametrize(
    "odd", [np.ones(4)[::2], np.ones(3, int), np.ones(3, ">f8"), [1.0], np.ones(2).view(Sub)]
)
def test_other_arrays_need_a_closer_look(odd):
    assert lines_of([np.ones(2), odd], writeable=True) is None


def test_read_only_arrays_can_be_measured_but_not_changed():
    a = np.ones(2)
    a.flags.writeable = False
    assert lines_of([a], writeable=True) is None
    assert lines_of([a], writeable=False).squares == 2


def test_large_arrays_are_summed_without_the_lock(monkeypatch):
    monkeypatch.setattr(norms, "QUICK_BYTES", 64)
    found = lines_of([np.ones(100)], writeable=True)
    assert found.squares is None
    assert found.norm(2.0) == (1.0, 10.0)


def test_a_known_sum_is_forgotten_when_the_numbers_change():
    a = np.array([3.0, 4.0])
    found = lines_of([a], writeable=True)
    found.scale(2.0)
    assert found.norm(2.0) == (1.0, 10.0)


def test_overlaps():
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 100):
        table = np.ones((n, 3), np.int64)
        table[:, 0] = 8 * rng.permutation(n)
        assert Lines(table, []).disjoint
        assert disjoint(table[:, 0], np.full(n, 8))
        if n > 1:
            table[rng.integers(n), 1] = n  # reaches over a neighbour, unless it lies last
            reaches = table[table[:, 1] == n][0, 0] < 8 * (n - 1)
            assert Lines(table, []).disjoint != reaches
            table[:, 1] = 0
            assert Lines(table, []).disjoint
    shared = np.array([[64, 4, 1], [64, 0, 1], [72, 1, 0]], np.int64)
    assert not Lines(shared, []).disjoint
    assert not disjoint(np.full(100, 8), np.full(100, 8))


def test_without_a_compiler_the_same_bits():
    script = """
    import numpy as np
    from nbopt import Parameter
    from nbopt.optim.clip_grad import clip_grad_norm_, clip_grad_value_
    rng = np.random.default_rng(0)
    for p in (1.0, 2.0, 2.5, np.inf, -1.5):
        params = [Parameter(np.zeros(n, t), rng.standard_normal(n).astype(t))
                  for n in (3, 40, 0) for t in ("f4", "f8", "c8")]
        params.append(Parameter(np.zeros(5), rng.standard_normal(10)[::2]))
        print(clip_grad_norm_(params, 0.5, p).hex())
        print([q.grad.tobytes().hex() for q in params])
        clip_grad_value_([q for q in params if q.dtype.kind == "f"], 0.01)
        print([q.grad.tobytes().hex() for q in params])
    """
    compiled, plain = run_python(script), run_python(script, NUMBA_DISABLE_JIT="1")
    for a, b in [*zip(compiled.splitlines(), plain.splitlines(), strict=True)][3:6]:  # p = 2
        assert a == b
    norms_of = [[float.fromhex(line) for line in text.splitlines()[::3]] for text in (compiled, plain)]
    np.testing.assert_allclose(*norms_of, rtol=1e-15)
