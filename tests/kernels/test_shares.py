"""Stages of tiles on one thread and many: all tiles, each once, in the order of the stages."""

import threading

import numpy as np
import pytest
from numba.core import config as numba_config
from numba.core import event

from nbopt.kernels import launcher, shares
from nbopt.kernels.compile import compiled

EMPTY = np.empty(0)


@compiled
def fill(low, high, arrays, doubles):
    """Write each tile's number into it, and count the visits."""
    for k in range(low, high):
        arrays[0][k] = k + arrays[1][0]
        doubles[0][k] += 1.0


@compiled
def total(low, high, arrays, doubles):
    """Add up all tiles: a stage of one tile."""
    doubles[1][0] = 0.0
    for k in range(arrays[0].size):
        doubles[1][0] += arrays[0][k]
    doubles[1][1] += high - low


@compiled
def subtract(low, high, arrays, doubles):
    """Use what the stage before left behind."""
    for k in range(low, high):
        arrays[0][k] -= arrays[0].dtype.type(doubles[1][0])
        doubles[0][k] += 1.0


STAGES = fill, total, subtract


@pytest.fixture(params=["one thread", "threads", "more shares than threads", "python"])
def road(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(numba_config, "DISABLE_JIT", 1)
    monkeypatch.setattr(launcher, "PARALLEL_BYTES", 1 << 60 if request.param == "one thread" else 0)
    if request.param == "more shares than threads":
        monkeypatch.setattr(launcher, "get_num_threads", lambda: 5)
    monkeypatch.setattr(launcher, "_busy", launcher._Busy())
    return request.param


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 64, 1001])
def test_every_tile_is_visited_once_by_each_stage_in_order(road, dtype, n):
    a, start = np.zeros(n, dtype), np.full(1, 3, dtype)
    empty = EMPTY.astype(dtype)
    visits, h = np.zeros(n), np.zeros(2)
    for _ in range(3):
        shares.run(STAGES, (n, 1, n), (a, start, empty, empty, empty), (visits, h), 100)
    numbers = np.arange(n) + 3.0
    assert np.array_equal(a, (numbers - numbers.sum()).astype(dtype))
    assert (visits == 6).all() and h.tolist() == [numbers.sum(), 3]


def test_the_second_run_compiles_nothing_and_finds_its_addresses(road):
    arrays, doubles = (np.zeros(8), np.zeros(1), EMPTY, EMPTY, EMPTY), (np.zeros(8), np.zeros(2))
    shares.run(STAGES, (8, 1, 8), arrays, doubles, 100)
    before = dict(shares._addresses)
    with event.install_recorder("numba:compile") as recorder:
        shares.run(STAGES, (8, 1, 8), arrays, doubles, 100)
    assert recorder.buffer == [] and shares._addresses.keys() == before.keys()


def test_threads_are_used_from_the_crossing_on_unless_they_are_busy(monkeypatch):
    calls = []
    monkeypatch.setattr(launcher, "PARALLEL_BYTES", 1000)
    monkeypatch.setattr(launcher, "get_num_threads", lambda: 2)
    monkeypatch.setattr(launcher, "on_all_threads", lambda f, *args: calls.append(args[0]))
    monkeypatch.setattr(launcher, "_busy", launcher._Busy())
    arrays, doubles = (np.zeros(8), np.zeros(1), EMPTY, EMPTY, EMPTY), (np.zeros(8), np.zeros(2))
    shares.run(STAGES, (8, 1, 8), arrays, doubles, 999)
    assert calls == []
    shares.run(STAGES, (8, 1, 8), arrays, doubles, 1000)
    assert calls == [2]
    launcher._busy.note(1.0, 1000)
    shares.run(STAGES, (8, 1, 8), arrays, doubles, 1000)
    assert calls == [2]


def test_python_threads_may_run_stages_side_by_side(monkeypatch):
    monkeypatch.setattr(launcher, "PARALLEL_BYTES", 0)
    found = []

    def work(start):
        a, h = np.zeros(100), np.zeros(2)
        for _ in range(50):
            arrays = a, np.full(1, float(start)), EMPTY, EMPTY, EMPTY
            shares.run(STAGES, (100, 1, 100), arrays, (np.zeros(100), h), 100)
        found.append((start, h[0]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(found) == [(k, 4950.0 + 100 * k) for k in range(3)]
