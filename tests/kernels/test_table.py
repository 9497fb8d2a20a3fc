"""The table against the objects it points into: every change is noticed, nothing is read after it is gone."""

import gc
import weakref

import numpy as np
import pytest
from numba.core import config as numba_config
from numpy.lib.stride_tricks import as_strided

from nbopt.kernels import launcher as at
from nbopt.kernels import table as tables
from nbopt.kernels.arrays import fingerprint
from nbopt.kernels.headers import HEADER
from nbopt.kernels.table import CHANGED, GRADIENT, LAUNCHED, Table, layout_digest, offsets_for
from nbopt.optim.parameter import Parameter

OFFSETS = offsets_for(Parameter)
needs_offsets = pytest.mark.skipif(OFFSETS is None, reason="this interpreter's headers are not read")


def add(p, g, state, h):
    a, _b, _c = state
    for i in range(p.size):
        p[i] += h[0] * g[i]
        if a.size:
            a[i] += 1


def parameters(shapes, dtype=np.float64, grads=True):
    params = [Parameter(np.zeros(s, dtype)) for s in shapes]
    for k, p in enumerate(params):
        p.grad = np.full(p.shape, k + 1.0, dtype) if grads else None
    return params


def table_of(params, offsets=OFFSETS, active=None):
    table = Table(
        params, [p.data for p in params], range(len(params)), offsets, lambda p: fingerprint(p.data)
    )
    table.activate([p.grad is not None for p in params] if active is None else active)
    return table


class TestCheck:
    """What a look at the headers answers."""

    pytestmark = needs_offsets

    def test_an_unchanged_table_may_be_launched_and_knows_the_gradients(self):
        params = parameters([(3,), (2, 2), (), (0,)])
        table = table_of(params)
        assert table.check(params) == LAUNCHED
        assert table.rows[:, at.G].tolist() == [p.grad.ctypes.data for p in params]
        held = [p.grad.copy() for p in params]
        assert table.check(params, held) == LAUNCHED
        assert table.rows[:, at.G].tolist() == [g.ctypes.data for g in held]

    def change_list(self, params):
        params.pop()

    def change_member(self, params):
        params[1] = Parameter(params[1].data, params[1].grad)

    def change_order(self, params):
        params.reverse()

    def change_data(self, params):
        params[1].data = params[1].data.copy()

    def change_to_list(self, params):
        params[1].data = params[1].data.tolist()

    def change_dtype(self, params):
        params[1].data = params[1].data.view(np.int64)

    def change_shape(self, params):
        params[1].data = params[1].data.reshape(3, 2)

    def change_shape_in_place(self, params):
        params[1].data.resize((6, 1), refcheck=False)

    def change_size_in_place(self, params):
        params[1].data.resize((200, 300), refcheck=False)

    def change_strides(self, params):
        params[1].data = params[1].data.reshape(3, 2).T

    def change_permission(self, params):
        params[1].data.flags.writeable = False

    def change_class(self, params):
        params[1].data = params[1].data.view(np.matrix)

    def change_gradient_to_none(self, params):
        params[1].grad = None

    def delete_gradient(self, params):
        del params[1].grad

    def delete_data(self, params):
        del params[1].data

    @pytest.mark.parametrize("change", [n for n in dir() if n.startswith(("change_", "delete_"))])
    def test_every_change_of_a_parameter_is_noticed(self, change):
        params = parameters([(2,), (2, 3), (4,)])
        table = table_of(params)
        getattr(self, change)(params)
        assert table.check(params) == CHANGED

    def test_a_gradient_where_there_was_none_is_noticed(self):
        params = parameters([(2,), (3,)])
        params[0].grad = None
        table = table_of(params)
        assert table.check(params) == LAUNCHED
        params[0].grad = np.ones(2)
        assert table.check(params) == CHANGED

    @pytest.mark.parametrize(
        "gradient",
        [
            np.ones((3, 2)).T,
            np.ones(6),
            np.ones((3, 2)),
            np.ones((2, 3), np.float32),
            np.ones((2, 3, 1)),
            np.ones((2, 3), ">f8"),
            np.ones((2, 3), int),
            np.ones((2, 6))[:, ::2],
            as_strided(np.ones(3), (2, 3), (0, 8)),
            np.ma.ones((2, 3)),
            np.ones((2, 3)).view(np.matrix),
            [[1.0] * 3] * 2,
            1.0,
            "x",
            np.float64(1),
            (1, 2),
            np.zeros(49, np.uint8)[1:].view(np.float64).reshape(2, 3),
            object(),
            np.ones((2, 3)).tolist(),
        ],
    )
    def test_a_gradient_that_lies_otherwise_is_left_to_be_looked_at(self, gradient):
        params = parameters([(2,), (2, 3), (4,)])
        table = table_of(params)
        params[1].grad = gradient
        assert table.check(params) == GRADIENT
        assert table.check(params, [p.grad for p in params]) == GRADIENT

    def test_a_gradient_that_shares_the_parameters_memory_is_looked_at(self):
        memory = np.zeros(10)
        params = [Parameter(memory[2:6])]
        for shift, answer in [(0, GRADIENT), (1, GRADIENT), (2, GRADIENT), (5, GRADIENT), (6, LAUNCHED)]:
            params[0].grad = memory[shift : shift + 4]
            assert table_of(params).check(params) == answer
        params = [Parameter(memory[4:])]
        for shift, answer in [(0, LAUNCHED), (1, GRADIENT)]:
            params[0].data, params[0].grad = memory[4:8], memory[shift : shift + 4]
            assert table_of(params).check(params) == answer


def test_without_offsets_every_change_is_noticed_through_python():
    changes = TestCheck()
    for name in dir(TestCheck):
        if name.startswith("change_"):
            params = parameters([(2,), (2, 3), (4,)])
            table = table_of(params, offsets=None)
            assert table.check(params) == GRADIENT
            if name in {"change_to_list", "change_class"}:
                continue  # the plan refuses lists; another class over the same memory changes nothing
            getattr(changes, name)(params)
            assert table.check(params) == CHANGED, name


@needs_offsets
def test_no_offsets_are_given_where_headers_are_not_read(monkeypatch):
    class Other:
        pass

    assert offsets_for(Other) is None
    monkeypatch.setattr(numba_config, "DISABLE_JIT", 1)
    assert offsets_for(Parameter) is None
    monkeypatch.setattr(numba_config, "DISABLE_JIT", 0)
    monkeypatch.setattr(tables, "HEADER", None)
    assert offsets_for(Parameter) is None
    assert HEADER is not None


@needs_offsets
@pytest.mark.parametrize(
    "a",
    [
        np.zeros(()),
        np.zeros(0),
        np.zeros(5),
        np.zeros((1, 1)),
        np.zeros((4, 3)).T,
        np.zeros((3, 0, 2)),
        np.zeros((2,) * 15),
        np.zeros((5, 6, 7))[::2, ::-1, 1::3],
        as_strided(np.zeros(2), (1, 2, 1), (999, 8, -7)),
    ],
    ids=lambda a: f"{a.shape}{a.strides}"[:40],
)
def test_compiled_code_and_python_digest_a_layout_alike(a):
    assert at._layout(id(a), OFFSETS) == layout_digest(a)


def test_layouts_that_differ_have_different_digests():
    hypothesis = pytest.importorskip("hypothesis", reason="draws shapes and strides")
    st = hypothesis.strategies
    axes = st.lists(st.tuples(st.integers(0, 2**40), st.integers(-(2**40), 2**40)), max_size=4)
    close = [(6, 4), (2, 4 + 4 * 1000003)]  # met under a small multiplier

    class Shape:
        def __init__(self, axes):
            self.shape, self.strides = tuple(n for n, _ in axes), tuple(s for _, s in axes)
            self.ndim = len(axes)

    def meaning(axes):
        return [(n, s if n != 1 else None) for n, s in axes]

    @hypothesis.given(axes, axes)
    @hypothesis.example(close[:1], close[1:])
    @hypothesis.settings(deadline=None, max_examples=300)
    def check(one, two):
        same = layout_digest(Shape(one)) == layout_digest(Shape(two))
        assert same == (meaning(one) == meaning(two))

    check()


class TestTake:
    """Gradients that do not lie as their parameters do."""

    def test_a_straight_gradient_is_used_as_it_lies(self):
        params = parameters([(2, 3)])
        table = table_of(params)
        table.held = [None]
        table.take(0, params[0].grad)
        assert table.held[0] is params[0].grad and table.rows[0, at.G] == params[0].grad.ctypes.data

    @pytest.mark.parametrize("layout", ["C", "F", "gaps"])
    @pytest.mark.parametrize(
        "kind", ["other order", "gaps", "reversed", "foreign", "unaligned", "aliased", "broadcast"]
    )
    def test_any_other_is_copied_into_the_right_order(self, layout, kind):
        data = {"C": np.zeros((4, 3)), "F": np.zeros((3, 4)).T, "gaps": np.zeros((4, 6))[:, ::2]}[layout]
        g = np.arange(12.0).reshape(4, 3)
        data[...] = g
        given = {
            "other order": np.asfortranarray(g) if layout == "C" else g,
            "gaps": np.repeat(g, 2, axis=1)[:, ::2],
            "reversed": g[::-1].copy()[::-1],
            "foreign": g.astype(">f8"),
            "unaligned": self.unaligned(g),
            "aliased": data,
            "broadcast": np.broadcast_to(g[0], g.shape),
        }[kind]
        values = given.copy()
        p = Parameter(data, grad=given)
        table = table_of([p])
        table.held = [None]
        table.take(0, given)
        table.set_numbers((2.0,))
        table.launch(add)
        assert np.array_equal(data, g + 2 * values)
        if kind not in {"aliased"}:
            assert np.array_equal(given, values), "the gradient itself was written"

    @staticmethod
    def unaligned(g):
        u = np.zeros(g.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(g.shape)
        u[...] = g
        return u

    def test_scratch_memory_is_used_again(self):
        params = parameters([(2, 3)])
        table = table_of(params)
        table.held = [None]
        table.take(0, np.ones((3, 2)).T)
        first = table.rows[0, at.G]
        table.take(0, np.full((3, 2), 5.0).T)
        assert table.rows[0, at.G] == first and table.held[0].max() == 5


@pytest.mark.parametrize("disable", [0, 1], ids=["compiled", "python"])
def test_only_active_and_chosen_rows_are_launched(disable, monkeypatch):
    monkeypatch.setattr(numba_config, "DISABLE_JIT", disable)
    params = parameters([(2,), (3,), (0,), (1, 2)])
    table = table_of(params, offsets=None, active=[True, False, True, True])
    table.held = [p.grad for p in params]
    table.rows[:, at.G] = [p.grad.ctypes.data for p in params]
    table.set_numbers((1.0,))
    table.launch(add)
    assert [p.data.sum() for p in params] == [2, 0, 0, 8]
    table.launch(add, chosen=np.array([3, 1]))
    assert [p.data.sum() for p in params] == [2, 0, 0, 16]
    assert table.active_rows() == [0, 2, 3] and table.total == 4


def test_gradients_in_other_rows_memory_are_found():
    memory = np.zeros(100)
    params = [Parameter(memory[k : k + 10]) for k in (40, 0, 60)]
    for start, crossed in [
        (0, True),
        (9, True),
        (10, False),
        (30, False),
        (31, True),
        (50, False),
        (51, True),
        (69, True),
        (70, False),
        (90, False),
    ]:
        params[0].grad, params[1].grad, params[2].grad = (
            memory[start : start + 10],
            np.zeros(10),
            np.zeros(10),
        )
        table = table_of(params)
        table.rows[:, at.G] = [p.grad.ctypes.data for p in params]
        assert table._crossed(table.rows) == crossed, start
        table.activate([True, False, False])
        assert not table._crossed(table.rows), "alone it crosses nobody"


def test_step_counts_are_advanced_up_to_a_ceiling_and_told_apart():
    params = parameters([(2,), (3,), (4,)])
    table = table_of(params)
    table.settle()
    assert table.count == 0 and table.moments() == [(0, (), None)]
    table.activate([True, False, True])
    table.advance(5)
    assert table.counts.tolist() == [1, 0, 1] and table.count == 1
    table.activate([True] * 3)
    table.settle()
    assert table.count is None
    assert [(c, rows.tolist()) for c, _, rows in table.moments()] == [(1, [0, 2]), (0, [1])]
    for _ in range(9):
        table.advance(5)
    assert table.counts.tolist() == [5, 5, 5]
    table.activate([False] * 3)
    table.settle()
    assert table.count == -1 and table.moments() == []


def test_bytes_are_counted_over_active_rows_and_their_states():
    params = parameters([(10,), (20,)], np.float32)
    table = table_of(params)
    assert (table.total, table.nbytes) == (30, 30 * 4 * 2)
    for row, p in enumerate(params):
        table.set_states(row, (np.zeros(p.shape, np.float32),) * 2)
    table.activate([False, True])
    assert (table.total, table.nbytes) == (20, 20 * 4 * 4)


def test_more_than_a_loop_can_be_given_is_refused():
    table = table_of(parameters([(2,)]))
    with pytest.raises(ValueError, match=r"at most 3 arrays per parameter, not 4"):
        table.set_states(0, (np.zeros(2),) * 4)
    with pytest.raises(TypeError, match=r"at most 16 floats in a tuple"):
        table.set_numbers((0.0,) * 17)
    with pytest.raises(TypeError, match=r"at most 16 floats in a tuple"):
        table.set_numbers(("0.1",))
    table.set_numbers((1.0,) * 16)
    assert table.h.tolist() == [1.0] * 16
    table.set_numbers((2.0,))
    assert table.h.tolist() == [2.0] + [0.0] * 15


@pytest.mark.parametrize("shape", [(3,), (6, 4)])
def test_the_table_keeps_its_arrays_alive_and_lets_go_with_its_own_end(shape):
    data = np.zeros(shape)[..., ::2]
    p = Parameter(data, np.zeros(data.shape))
    table = table_of([p])
    old, gradient = weakref.ref(p.data), weakref.ref(p.grad)
    table.held = [None]
    table.take(0, p.grad)
    del data
    p.data, p.grad = np.zeros(1), None
    assert old() is not None and gradient() is not None
    table.launch(add)
    table.advance(1)
    assert gradient() is None
    gc.disable()
    try:
        del table
        assert old() is None, "only the garbage collector could free it"
    finally:
        gc.enable()
