"""Passes over long vectors: NumPy's results, and the same bits from any team and from none."""

import ctypes
import itertools
import math

import numba
import numpy as np
import pytest
from fresh_process import run_python

from nbopt.kernels import large_vectors, launcher, reductions
from nbopt.kernels.large_vectors import Team, team_for
from nbopt.kernels.reductions import BLOCK, LANES

SIZES = [1, LANES, BLOCK - 1, BLOCK + LANES - 1, BLOCK + LANES, 3 * BLOCK, 5 * BLOCK + LANES + 3]
DTYPES = [np.float64, np.float32]


def vectors(n, dtype, count=5):
    return list(np.random.default_rng(n).standard_normal((count, n)).astype(dtype))


def passes(team, n, dtype):
    """Run each pass once; return all that it writes and returns."""
    a, b, c, d, e = vectors(n, dtype)
    found = [large_vectors.dot(team, a, b), large_vectors.axpy_dot(team, 0.3, a, b, c), b.copy()]
    large_vectors.scale(team, -0.7, c, d)
    found += [d.copy(), large_vectors.copy_max_abs(team, d, e), e.copy()]
    large_vectors.along(team, 0.1, a, b, c)
    found += [c.copy(), *large_vectors.curvature_pair(team, 0.9, 1.1, a, b, c, d, e), d, e]
    large_vectors.along(team, 0.1, a, b, a)
    return [*found, a]


def by_numpy(n, dtype):
    """Return what `passes` does, in float64."""
    a, b, c, _, _ = (v.astype(float) for v in vectors(n, dtype))
    new = b + 0.3 * a
    d = -0.7 * c
    found = [a @ b, new @ c, new, d, np.abs(d).max(), d]
    point, s = a + 0.1 * new, 0.9 * a
    y = 1.1 * (new - point)
    return [*found, point, y @ s, y @ y, s, y, point]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_passes_give_what_numpy_gives(n, dtype):
    unit = 30 * np.finfo(dtype).eps
    for found, expected in zip(passes(0, n, dtype), by_numpy(n, dtype), strict=True):
        scale = 1.0 if isinstance(found, np.ndarray) else math.sqrt(n) + abs(expected)
        np.testing.assert_allclose(found, expected, rtol=unit, atol=unit * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_no_bit_depends_on_the_number_of_threads(n, dtype):
    alone = passes(0, n, dtype)
    for shares in (1, 2, 3):
        team = Team(n, np.dtype(dtype), shares)
        for one, other in zip(alone, passes(team.address, n, dtype), strict=True):
            assert np.array_equal(one, other), shares


def test_a_sum_is_that_of_its_blocks_in_order():
    a, b = vectors(3 * BLOCK + 5, np.float64, 2)
    total, cuts = 0.0, [0, BLOCK, 2 * BLOCK, 3 * BLOCK + 5]  # the last 5 fill no lanes
    for low, high in itertools.pairwise(cuts):
        total += reductions.dot(a[low:high], b[low:high])
    assert reductions.dot(a, b) == total
    assert reductions.blocks_of(a.size) == 3
    assert [reductions.blocks_of(n) for n in (0, 1, BLOCK + 15, BLOCK + 16)] == [1, 1, 1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, BLOCK, 2 * BLOCK + 6])
def test_what_is_not_finite_is_not_lost(bad, at):
    n = 2 * BLOCK + 7
    team = Team(n, np.dtype(float), 2)
    a, out = np.ones(n), np.empty(n)
    a[at] = bad
    assert str(large_vectors.copy_max_abs(team.address, a, out)) == str(bad)
    assert not math.isfinite(large_vectors.dot(team.address, a, np.ones(n)))


def test_few_elements_or_one_thread_need_no_team(monkeypatch):
    n = launcher.PARALLEL_BYTES // (8 * large_vectors.BYTES)
    monkeypatch.setattr(launcher, "get_num_threads", lambda: 2)
    assert team_for(n - 1) is None
    made = team_for(n)
    assert made is None if numba.threading_layer() == "workqueue" else isinstance(made, Team)
    monkeypatch.setattr(launcher, "get_num_threads", lambda: 1)
    assert team_for(n) is None


@pytest.fixture
def clocked():
    """Return a team whose clock tells the times in a list, the list, and its rest, restored in the end."""
    times, rest = [], large_vectors._rest
    team, saved = Team(2 * BLOCK, np.dtype(float), 2), rest.copy()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64))
    def clock(which, pair):
        pair[0], pair[1] = divmod(round(times.pop(0) * 1e9), 10**9)
        return 0

    team._words[large_vectors.CLOCK] = ctypes.cast(clock, ctypes.c_void_p).value
    rest[:] = 0.0

    def run(*looks):
        times[:] = looks
        a = np.ones(2 * BLOCK)
        assert large_vectors.dot(team.address, a, a) == a.size
        assert not times  # looked as often as that: once in a rest, else before and after

    yield run, rest
    rest[:] = saved


def test_threads_that_wait_too_often_rest_and_then_longer(clocked):
    run, rest = clocked
    run(1.0, 1.02)  # one wait is forgiven
    assert rest[large_vectors.END] == 0 < rest[large_vectors.DEBT] < 0.02
    run(2.0, 2.02)
    assert rest[large_vectors.END] == pytest.approx(2.02 + large_vectors.SHORTEST)
    run(2.02 + large_vectors.SHORTEST - 1e-6)
    run(3.0, 3.02)
    assert rest[large_vectors.END] == pytest.approx(3.02 + 2 * large_vectors.SHORTEST)
    for k in range(9):
        run(10.0 * k + 10, 10.0 * k + 10.02)
    assert rest[large_vectors.LENGTH] == large_vectors.LONGEST


def test_passes_without_a_wait_pay_off_a_debt(clocked):
    run, rest = clocked
    run(1.0, 1.02)
    for k in range(40):
        run(2.0 + k, 2.0005 + k)
    assert rest[large_vectors.DEBT] == rest[large_vectors.LENGTH] == 0
    run(50.0, 50.02)
    assert rest[large_vectors.END] == 0


def test_without_a_clock_a_team_never_rests():
    n = 2 * BLOCK
    a, team = np.ones(n), Team(n, np.dtype(float), 2)
    team._words[large_vectors.CLOCK] = 0
    assert large_vectors.dot(team.address, a, a) == n


SUMS = """
    import numpy as np
    from nbopt.kernels import large_vectors, reductions

    n = 2 * reductions.BLOCK + 21
    a, b, c = np.random.default_rng(0).standard_normal((3, n))
    d, e = np.empty((2, n))
    assert large_vectors.team_for(1 << 20) is None
    print(large_vectors.dot(0, a, b).hex(), large_vectors.axpy_dot(0, 0.3, a, b, c).hex())
    print(*(v.hex() for v in large_vectors.curvature_pair(0, 0.9, 1.1, a, b, c, d, e)), d.sum(), e.sum())
"""


def test_plain_python_gives_the_same_bits_and_workqueue_gets_no_team():
    plain = run_python(SUMS, NUMBA_DISABLE_JIT="1")
    assert run_python(SUMS, NUMBA_THREADING_LAYER="workqueue") == plain
