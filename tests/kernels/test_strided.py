"""Parameters with gaps: cut into runs that cover every element once, and stepped as if they had none."""

import numpy as np
import pytest

from nbopt.kernels import launcher as at
from nbopt.kernels.arrays import fingerprint, is_dense
from nbopt.kernels.headers import address
from nbopt.kernels.strided import OFFSET, OWNER, RUN_P, STEP, N, runs_of
from nbopt.kernels.table import Table
from nbopt.optim.parameter import Parameter

hypothesis = pytest.importorskip("hypothesis", reason="draws shapes and strides")
from layouts import layouts  # noqa: E402  # needs hypothesis itself

easy = hypothesis.settings(deadline=None, max_examples=150)
M = np.zeros((6, 8, 10))


def element_addresses(a):
    found = np.full(a.shape, address(a), np.int64)
    for k, (n, stride) in enumerate(zip(a.shape, a.strides, strict=True)):
        found += (np.arange(n) * stride).reshape([-1 if j == k else 1 for j in range(a.ndim)])
    return found.reshape(-1)


@hypothesis.given(layouts())
@easy
def test_runs_name_every_element_once_in_c_order(a):
    runs = runs_of(a, address(a), 5)
    found = [run[RUN_P] + np.arange(run[N]) * run[STEP] for run in runs]
    assert np.array_equal(np.concatenate([np.empty(0, np.int64), *found]), element_addresses(a))
    assert np.array_equal(runs[:, OFFSET], np.cumsum(runs[:, N]) - runs[:, N])
    assert (runs[:, OWNER] == 5).all() and (runs[:, N] > 0).all()


@pytest.mark.parametrize(
    "a, runs",
    [
        (M, 1),
        (M[:, :, ::2], 1),
        (M[:, ::2], 24),
        (M[::2], 3),
        (M[:, :, :1], 1),
        (M[:, :1, :1], 1),
        (M[:, :, 3], 1),
        (M[0, :, 3], 1),
        (M[..., ::-1], 48),
        (M[::-1, ::-1, ::-1], 1),
        (M[:, :, None, ::2], 1),
        (M[:0], 0),
        (M[..., :9], 48),
        (M.transpose(2, 0, 1)[::2], 5),
        (np.array(3.0), 1),
    ],
    ids=lambda a: f"{a.shape}{a.strides}" if isinstance(a, np.ndarray) else None,
)
def test_runs_are_as_long_as_the_layout_allows(a, runs):
    assert len(runs_of(a, address(a), 0)) == runs


def smooth(p, g, state, h):
    t = p.dtype.type
    rate, keep = t(h[0]), t(h[1])
    m, v, _ = state
    for i in range(p.size):
        mi = keep * m[i] + rate * g[i]
        vi = v[i] + g[i] * g[i]
        p[i] -= mi / (np.sqrt(vi) + rate)
        m[i], v[i] = mi, vi


def stepped(arrays, gradients, idle=()):
    """Step three times; return copies in C order of parameters and states."""
    params = [Parameter(a, g) for a, g in zip(arrays, gradients, strict=True)]
    table = Table(params, arrays, range(len(arrays)), None, lambda p: fingerprint(p.data))
    states = [tuple(np.zeros(a.shape, a.dtype) for _ in range(2)) for a in arrays]
    for row, s in enumerate(states):
        table.set_states(row, s)
    table.activate([k not in idle for k in range(len(arrays))])
    for _ in range(3):
        table.held = [None] * len(arrays)
        for row, g in enumerate(gradients):
            table.take(row, g)
        table.set_numbers((0.3, 0.7))
        table.launch(smooth)
    return [np.ascontiguousarray(x).tobytes() for x in (*arrays, *(s for pair in states for s in pair))]


@hypothesis.given(hypothesis.strategies.lists(layouts(dtypes=[np.float64]), min_size=1, max_size=3))
@easy
def test_arrays_of_any_layout_step_as_their_copies_without_gaps_do(arrays):
    gappy = [a for a in arrays if not is_dense(a)]
    hypothesis.assume(gappy)
    copies = [np.ascontiguousarray(a).reshape(a.shape).copy() for a in gappy]
    gradients = [np.cos(c) for c in copies]
    assert stepped(copies, gradients) == stepped(gappy, gradients)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_lies_in_the_gaps_stays_and_idle_rows_too(dtype):
    whole = np.random.default_rng(0).standard_normal((7, 9)).astype(dtype)
    before, rest = whole.copy(), np.ones((4, 4), dtype)
    a, b = whole[1::2, ::-3], rest[:, ::2]
    stepped([a, b], [np.ones(a.shape, dtype), np.ones(b.shape, dtype)], idle={1})
    inside = np.zeros(whole.shape, bool)
    inside[1::2, ::-3] = True
    assert np.array_equal(whole[~inside], before[~inside])
    assert (whole[inside] != before[inside]).all()
    assert (rest == 1).all()


def test_what_a_loop_raises_in_a_run_reaches_the_caller():
    def refuse(p, g, state, h):
        for i in range(p.size):
            if g[i] == 3:
                raise ValueError("three")
            p[i] = 1

    a = np.zeros((4, 4))[:, ::2]
    p = Parameter(a, np.arange(8.0).reshape(4, 2))
    table = Table([p], [a], [0], None, lambda p: fingerprint(p.data))
    table.activate([True])
    table.held = [None]
    table.take(0, p.grad)
    with pytest.raises(ValueError, match=r"three"):
        table.launch(refuse)
    assert a.reshape(-1).tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_the_layout_for_strides_is_another_compilation():
    at_c = at.loop_address(smooth, np.dtype(np.float64), "C")
    assert at_c != at.loop_address(smooth, np.dtype(np.float64), "A")
