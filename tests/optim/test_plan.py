"""Steps of a group on every road: any layout, any gradient, edits in between, errors, lifetimes."""

import copy
import gc
import weakref

import numpy as np
import pytest
from numba.core import config as numba_config
from numpy.lib.stride_tricks import as_strided

import nbopt
from nbopt import Parameter
from nbopt.kernels import launcher, table

ROADS = ["quick", "careful", "parallel", "no headers", "python"]


@pytest.fixture(params=ROADS)
def road(request, monkeypatch):
    """Send every step along one of the ways that lead to the same numbers."""
    return take(request.param, monkeypatch)


def take(road, monkeypatch):
    if road in {"careful", "parallel"}:
        monkeypatch.setattr(launcher, "QUICK_BYTES", -1)
    if road == "parallel":
        monkeypatch.setattr(launcher, "PARALLEL_BYTES", 0)
    if road == "no headers":
        monkeypatch.setattr(table, "HEADER", None)
    if road == "python":
        monkeypatch.setattr(numba_config, "DISABLE_JIT", 1)
    return road


def params_of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def numbers(opt):
    """Return copies, in C order, of all that an optimizer holds."""
    found = []
    for p in params_of(opt):
        found += [p.data.copy(), *(np.array(v) for v in opt.state.get(p, {}).values())]
    return found


def assert_equal(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


KINDS = {
    "SGD": lambda p: nbopt.SGD(p, lr=0.5),
    "momentum": lambda p: nbopt.SGD(p, lr=0.5, momentum=0.75, nesterov=True),
    "Adam": lambda p: nbopt.Adam(p, lr=0.5, amsgrad=True),
}

G = np.arange(1.0, 13).reshape(3, 4)
LAYOUTS = {
    "C": lambda a: a.copy(),
    "F": lambda a: a.copy(order="F"),
    "gaps": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "rows apart": lambda a: np.repeat(a, 3, axis=0)[::3],
    "reversed": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": lambda a: unaligned(a),
    "foreign": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: read_only(a.copy()),
    "subclass": lambda a: a.copy().view(np.matrix),
}
FOR_PARAMETERS = ["C", "F", "gaps", "rows apart", "reversed", "subclass"]


def unaligned(a):
    b = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


def read_only(a):
    a.flags.writeable = False
    return a


class TestGradients:
    """Of every layout, for parameters of every layout."""

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
    def test_they_count_element_by_element(self, road, kind, dtype):
        g = (G + (1j * G[::-1] if dtype is np.complex128 else 0)).astype(dtype)
        plain = KINDS[kind]([g * 2])
        for k in (1, 2, 3):
            plain.step(grads=[g * k])
        expected = numbers(plain)
        for layout in FOR_PARAMETERS:
            for other in LAYOUTS:
                opt = KINDS[kind]([LAYOUTS[layout](g * 2)])
                for k in (1, 2, 3):
                    given = LAYOUTS[other](g * k)
                    opt.step(grads=[given])
                    assert np.array_equal(given, g * k), "the gradient was written to"
                assert_equal(numbers(opt), expected)

    def test_arrays_of_all_layouts_and_dtypes_step_together(self, road):
        kinds = [(lay, d) for lay in FOR_PARAMETERS for d in (np.float32, np.float64, np.complex64)]
        opt = nbopt.Adam([LAYOUTS[lay](G.astype(d)) for lay, d in kinds], lr=0.5)
        alone = [nbopt.Adam([G.astype(d)], lr=0.5) for _, d in kinds]
        for k in (1, 2):
            opt.step(grads=[LAYOUTS["F"](np.cos(k * G).astype(d)) for _, d in kinds])
            for (_, d), o in zip(kinds, alone, strict=True):
                o.step(grads=[np.cos(k * G).astype(d)])
        for p, o in zip(params_of(opt), alone, strict=True):
            assert np.array_equal(p.data, params_of(o)[0].data)
            assert np.array_equal(opt.state[p]["exp_avg"], o.state[params_of(o)[0]]["exp_avg"])

    def test_new_and_kept_gradient_objects_give_the_same(self, road):
        kept, fresh = (nbopt.Adam([np.ones(5), np.zeros((2, 2))], lr=0.1) for _ in range(2))
        memory = [np.zeros(5), np.zeros((2, 2))]
        for p, g in zip(params_of(kept), memory, strict=True):
            p.grad = g
        for k in range(6):
            for p, q in zip(params_of(kept), params_of(fresh), strict=True):
                p.grad[...] = np.cos(k + p.data)
                q.grad = np.cos(k + q.data)
            kept.step()
            fresh.step()
            gc.collect()
        assert_equal(numbers(kept), numbers(fresh))

    def test_one_gradient_object_may_serve_many(self, road):
        opt, g = nbopt.SGD([np.zeros(3), np.ones(3)], lr=1.0), np.arange(3.0)
        opt.step(grads=[g, g])
        assert [p.data.tolist() for p in params_of(opt)] == [[0, -1, -2], [1, 0, -1]]

    @pytest.mark.parametrize("part", [slice(0, 6), slice(2, 8), slice(None, None, -1), slice(0, 12, 2)])
    def test_a_gradient_in_the_parameters_own_memory(self, road, part):
        memory = np.arange(12.0)
        p, g = memory[:6], memory[part][:6]
        expected = p - 0.5 * g
        nbopt.SGD([p], lr=0.5).step(grads=[g])
        assert np.array_equal(p, expected)

    def test_scalars_and_nothing(self, road):
        opt = nbopt.Adam([np.array(1.0), np.zeros(0), np.zeros((3, 0)), np.zeros((1, 1)), np.array(2.0, np.float32)], lr=0.5)
        for g in (np.array(2.0), np.float64(3), np.asarray(-1.0)):
            opt.step(grads=[g, np.zeros(0), np.zeros((3, 0)), np.ones((1, 1)), np.float32(g)])
        other = nbopt.Adam([np.ones(1), np.zeros(1), np.full(1, 2.0, np.float32)], lr=0.5)
        for g in (2.0, 3.0, -1.0):
            other.step(grads=[np.full(1, g), np.ones(1), np.full(1, g, np.float32)])
        ours, theirs = params_of(opt), params_of(other)
        assert [ours[k].data.item() for k in (0, 3, 4)] == [p.data.item() for p in theirs]

    @pytest.mark.parametrize("of", ["gradient", "values"])
    def test_special_values_pass_through(self, road, of):
        w = np.array([1.0, 2, 3, 4, 5])
        opt = nbopt.SGD([w], lr=1.0)
        opt.step(grads=[np.array([np.nan, np.inf, -np.inf, 0, 1])])
        np.testing.assert_array_equal(w, [np.nan, -np.inf, np.inf, 4, 4])

    REFUSED = {
        "shape": (np.ones((4, 3)), ValueError, r"has shape \(4, 3\), its parameter \(3, 4\)"),
        "rank": (np.ones(12), ValueError, r"has shape \(12,\)"),
        "dtype": (np.ones((3, 4), np.float32), TypeError, r"float32, its parameter float64; write grad.astype\('float64'\)"),
        "integers": (np.ones((3, 4), int), TypeError, "has dtype int64"),
        "complex": (np.ones((3, 4), complex), TypeError, "has dtype complex128"),
        "objects": (np.full((3, 4), None), TypeError, "has dtype object"),
        "list": (np.ones((3, 4)).tolist(), TypeError, "is list"),
        "number": (1.0, TypeError, "is float"),
        "numpy number": (np.float64(1), ValueError, r"has shape \(\)"),
        "text": ("g", TypeError, "is str"),
        "masked": (np.ma.ones((3, 4)), TypeError, "is MaskedArray"),
        "parameter": (Parameter(np.ones((3, 4))), TypeError, "is Parameter"),
    }  # fmt: skip

    @pytest.mark.parametrize("what", REFUSED)
    @pytest.mark.parametrize("layout", ["C", "gaps"])
    def test_what_is_no_gradient_is_refused_before_anything_is_stepped(self, road, layout, what):
        given, error, words = self.REFUSED[what]
        opt = nbopt.Adam([{"params": [np.ones(3)]}, {"params": [np.ones(2), LAYOUTS[layout](G)], "lr": 0.5}], lr=0.5)
        for _ in range(2):
            opt.step(grads=[np.ones(3), np.ones(2), np.cos(G)])
        before = numbers(opt)
        p = params_of(opt)[2]
        p.grad = given
        for _ in range(2):
            with pytest.raises(error, match=f"Adam: the gradient of parameter 1 .*{words}"):
                opt.step()
            assert_equal(numbers(opt), before)
        p.grad = np.cos(G)
        opt.step()
        twin = nbopt.Adam([np.ones(3), np.ones(2), G.copy()], lr=0.5)
        for _ in range(3):
            twin.step(grads=[np.ones(3), np.ones(2), np.cos(G)])
        assert_equal(numbers(opt), numbers(twin))

    def test_any_layout_of_both(self):
        hypothesis = pytest.importorskip("hypothesis", reason="draws shapes and strides")
        from layouts import layouts

        st = hypothesis.strategies
        dtypes = [np.float32, np.float64, np.complex64, np.complex128]

        @hypothesis.given(st.lists(layouts(dtypes=dtypes), min_size=1, max_size=3), layouts(), st.sampled_from(list(KINDS)))
        @hypothesis.settings(deadline=None, max_examples=80)
        def check(arrays, pattern, kind):
            plain = [np.ascontiguousarray(a).reshape(a.shape) for a in arrays]
            plain = [a.copy() for a in plain]
            one, two = KINDS[kind](arrays), KINDS[kind](plain)
            for _ in range(2):
                grads = [np.cos(a) for a in plain]
                two.step(grads=grads)
                one.step(grads=[g.T.copy().T if pattern.size % 2 else g for g in grads])
            assert_equal(numbers(one), numbers(two))

        check()


class TestMissingGradients:
    """None leaves a parameter alone, with a step count of its own."""

    def test_nothing_happens_without_any_gradient(self, road):
        w = np.ones(3)
        opt = nbopt.Adam([w], lr=0.1)
        for _ in range(3):
            opt.step()
        assert w.tolist() == [1, 1, 1] and opt.state == {}
        opt.step(grads=[np.ones(3)])
        opt.zero_grad()
        opt.step()
        opt.step()
        assert opt.state[params_of(opt)[0]]["step"] == 1

    def test_each_parameter_counts_its_own_steps(self, road):
        pattern = [(1, 0, 0), (1, 1, 0), (0, 1, 0), (1, 1, 1), (0, 0, 1), (1, 1, 1)]
        start = [np.ones(3), np.full((2, 2), 2.0), np.array(3.0)]
        together = nbopt.Adam([a.copy() for a in start], lr=0.1)
        alone = [nbopt.Adam([a.copy()], lr=0.1) for a in start]
        for k, wanted in enumerate(pattern):
            grads = [np.cos(k + a) if use else None for a, use in zip(start, wanted, strict=True)]
            together.step(grads=grads)
            for o, g in zip(alone, grads, strict=True):
                o.step(grads=[g])
        assert [int(together.state[p]["step"]) for p in params_of(together)] == [4, 4, 3]
        assert_equal(numbers(together), [a for o in alone for a in numbers(o)])

    def test_zeros_are_a_gradient(self, road):
        w = np.ones(3)
        opt = nbopt.AdamW([w], lr=0.1, weight_decay=0.5)
        opt.step(grads=[np.zeros(3)])
        np.testing.assert_allclose(w, 0.95)

    def test_a_deleted_gradient_is_an_error_and_no_crash(self, road):
        opt = nbopt.SGD([Parameter(np.ones(3), np.ones(3))], lr=1.0)
        opt.step()
        del params_of(opt)[0].grad
        with pytest.raises(AttributeError, match="grad"):
            opt.step()
        params_of(opt)[0].grad = np.ones(3)
        opt.step()
        assert params_of(opt)[0].data.tolist() == [-1, -1, -1]


class TestMovedMemory:
    """p.data may be exchanged or moved; the old memory is left alone."""

    def start(self, kind="Adam", shape=(2, 3)):
        opt = KINDS[kind]([np.ones(shape), np.ones(4)])
        opt.step(grads=[np.ones(shape), np.ones(4)])
        return opt, params_of(opt)[0]

    @pytest.mark.parametrize("layout", FOR_PARAMETERS)
    def test_another_array_of_the_same_shape(self, road, layout):
        opt, p = self.start(shape=(3, 4))
        old, kept = p.data, p.data.copy()
        p.data = LAYOUTS[layout](G)
        opt.step(grads=[np.ones((3, 4)), np.ones(4)])
        assert np.array_equal(old, kept)
        twin, q = self.start(shape=(3, 4))
        q.data[...] = G
        twin.step(grads=[np.ones((3, 4)), np.ones(4)])
        assert_equal(numbers(opt), numbers(twin))

    def test_moved_in_place_by_resize(self, road):
        opt = nbopt.Adam([Parameter(np.ones(5), np.ones(5))], lr=0.5)
        (p,) = params_of(opt)
        opt.step()
        with pytest.raises(ValueError, match="references"):
            p.data.resize(500_000)  # the optimizer holds the array, as NumPy rightly says
        address = p.data.ctypes.data
        blocks = []
        while p.data.ctypes.data == address:  # grow until the memory must move
            p.data.resize(2 * p.data.size, refcheck=False)
            blocks.append(np.zeros(p.data.size))
            p.data.resize(5, refcheck=False)
            if len(blocks) > 20:
                pytest.skip("this allocator never moved the block")
        twin = nbopt.Adam([np.ones(5)], lr=0.5)
        for o in (opt, twin, opt, twin):
            o.step(grads=[np.ones(5)])
        twin.step()
        assert [int(opt.state[p]["step"]), int(twin.state[params_of(twin)[0]]["step"])] == [3, 3]
        assert np.array_equal(p.data, params_of(twin)[0].data)

    def test_resized_in_place_to_another_shape(self, road):
        opt, p = self.start()
        before = opt.state[p]["exp_avg"].copy()
        p.data.resize((4, 5), refcheck=False)
        with pytest.raises(ValueError, match=r"Adam: parameter 0 has shape \(4, 5\), but its exp_avg has \(2, 3\)"):
            opt.step(grads=[np.ones((4, 5)), np.ones(4)])
        assert np.array_equal(opt.state[p]["exp_avg"], before)
        del opt.state[p]
        opt.step()
        assert opt.state[p]["exp_avg"].shape == (4, 5)

    def test_without_state_any_shape_will_do(self, road):
        opt, p = self.start("SGD")
        p.data = np.zeros(7)
        opt.step(grads=[np.ones(7), np.ones(4)])
        assert p.data.tolist() == [-0.5] * 7

    @pytest.mark.parametrize("dtype", [np.float32, np.complex128])
    def test_another_dtype(self, road, dtype):
        opt, p = self.start()
        p.data = p.data.astype(dtype)
        with pytest.raises((TypeError, ValueError)):
            opt.step(grads=[np.ones((2, 3)), np.ones(4)])
        if dtype is np.float32:
            opt.step(grads=[np.ones((2, 3), dtype), np.ones(4)])
            assert opt.state[p]["exp_avg"].dtype == dtype and opt.state[p]["step"] == 2

    BAD = {
        "list": (lambda a: a.tolist(), TypeError, "is list"),
        "none": (lambda a: None, TypeError, "is NoneType"),
        "integers": (lambda a: a.astype(int), TypeError, "dtype int64"),
        "read-only": (lambda a: read_only(a.copy()), ValueError, "is read-only"),
        "broadcast": (lambda a: as_strided(a, strides=(0, 8)), ValueError, "overlaps itself"),
        "foreign": (lambda a: a.astype(">f8"), TypeError, "foreign byte order"),
        "unaligned": (unaligned, ValueError, "is not aligned"),
        "masked": (np.ma.array, TypeError, "is MaskedArray"),
    }  # fmt: skip

    @pytest.mark.parametrize("what", BAD)
    def test_what_cannot_be_updated_in_place_is_refused_and_can_be_mended(self, road, what):
        make, error, words = self.BAD[what]
        opt, p = self.start()
        good, before = p.data, numbers(opt)
        p.data = make(good)
        for _ in range(2):
            with pytest.raises(error, match=f"Adam: parameter 0 .*{words}"):
                opt.step()
        p.data = good
        assert_equal(numbers(opt), before)
        opt.step()
        assert opt.state[p]["step"] == 2

    def test_a_flag_set_in_place(self, road):
        opt, p = self.start()
        p.data.flags.writeable = False
        with pytest.raises(ValueError, match="Adam: parameter 0 is read-only"):
            opt.step()
        p.data.flags.writeable = True
        opt.step()
        assert opt.state[p]["step"] == 2

    def test_two_parameters_moved_onto_each_other(self, road):
        opt, p = self.start("SGD", shape=(4,))
        p.data = params_of(opt)[1].data
        with pytest.raises(ValueError, match="SGD: parameters 0 and 1 share memory"):
            opt.step()

    def test_a_parameter_of_a_subclass(self, road):
        class Named(Parameter):
            __slots__ = ("unit",)

        class Computed(Parameter):
            @property
            def shape(self):
                return self.data.shape

        opt = nbopt.Adam([Named(np.ones(3)), Computed(np.ones(3)), np.ones(3)], lr=0.1)
        for k in range(3):
            opt.step(grads=[np.cos(k + p.data) for p in params_of(opt)])
        first, second, third = (p.data.tolist() for p in params_of(opt))
        assert first == second == third and opt.state[params_of(opt)[0]]["step"] == 3


class TestEditedState:
    """The state is the user's to read and to write."""

    def start(self, steps=3):
        opt = nbopt.Adam([Parameter(np.ones(3), np.arange(3.0))], lr=0.1)
        for _ in range(steps):
            opt.step()
        (p,) = params_of(opt)
        return opt, p, opt.state[p]

    def test_what_is_read_is_what_the_next_step_uses(self, road):
        opt, _, s = self.start()
        opt.step()
        assert s["step"] == 4
        np.testing.assert_allclose(s["exp_avg"], (1 - 0.9**4) * np.arange(3.0))

    @pytest.mark.parametrize("how", ["assign", "in place", "add"])
    @pytest.mark.parametrize("value", [10, np.float32(10), np.array([10]), np.array(10.0)])
    def test_the_step_count(self, road, how, value):
        opt, p, s = self.start()
        if how == "assign":
            s["step"] = value
        elif how == "in place":
            s["step"][...] = np.asarray(value).item()
        else:
            s["step"] += 7
        before = p.data.copy()
        m, v = s["exp_avg"].copy(), s["exp_avg_sq"].copy()
        opt.step()
        g = np.arange(3.0)
        m, v = m + (1 - 0.9) * (g - m), 0.999 * v + (1 - 0.999) * g * g
        expected = before - 0.1 / (1 - 0.9**11) * m / (np.sqrt(v) / np.sqrt(1 - 0.999**11) + 1e-8)
        np.testing.assert_allclose(p.data, expected, rtol=1e-14)
        assert opt.state[p]["step"] == 11

    @pytest.mark.parametrize("value", [-1, np.nan, np.inf, 2**62, "many", None, np.zeros(2), True])
    def test_a_step_count_that_cannot_be(self, road, value):
        opt, p, s = self.start()
        before = p.data.copy()
        s["step"] = value
        for _ in range(2):
            with pytest.raises(ValueError, match="Adam: parameter 0: step=.* must be a count of steps"):
                opt.step()
        assert np.array_equal(p.data, before)
        s["step"] = 3
        opt.step()
        assert s["step"] == 4

    def test_a_negative_count_written_in_place(self, road):
        opt, p, s = self.start()
        s["step"][...] = -2
        before = p.data.copy()
        with pytest.raises(ValueError, match="a step count in the state is negative"):
            opt.step()
        assert np.array_equal(p.data, before)

    def test_counts_do_not_stop_where_float32_does(self, road):
        opt, p, s = self.start()
        s["step"] = 2**24
        for _ in range(2):
            opt.step()
        assert s["step"] == 2**24 + 2

    @pytest.mark.parametrize("layout", ["C", "foreign", "read-only", "unaligned", "list", "float32"])
    def test_an_array_replaced(self, road, layout):
        opt, p, s = self.start()
        value = np.array([5.0, 6, 7])
        s["exp_avg"] = {
            "C": value, "foreign": value.astype(">f8"), "read-only": read_only(value.copy()),
            "unaligned": unaligned(value), "list": [5.0, 6, 7], "float32": value.astype(np.float32),
        }[layout]  # fmt: skip
        expected = value + (1 - 0.9) * (np.arange(3.0) - value)
        opt.step()
        np.testing.assert_array_equal(opt.state[p]["exp_avg"], expected)

    def test_an_array_written_in_place(self, road):
        opt, p, s = self.start()
        s["exp_avg"][...] = 5.0
        s["exp_avg_sq"] *= 0
        opt.step()
        np.testing.assert_array_equal(s["exp_avg"], 5.0 + (1 - 0.9) * (np.arange(3.0) - 5.0))
        np.testing.assert_array_equal(s["exp_avg_sq"], (1 - 0.999) * np.arange(3.0) ** 2)

    def test_the_parameters_own_memory_as_state_is_copied(self, road):
        opt, p, s = self.start()
        s["exp_avg"] = p.data
        value = p.data.copy()
        opt.step()
        np.testing.assert_array_equal(opt.state[p]["exp_avg"], value + (1 - 0.9) * (np.arange(3.0) - value))

    @pytest.mark.parametrize("value, error", [(np.zeros(4), ValueError), (0.0, ValueError), ("x", TypeError),
                                              ({}, TypeError), (np.zeros(3, complex), ValueError)])  # fmt: skip
    def test_what_is_no_state_is_refused_and_can_be_mended(self, road, value, error):
        opt, p, s = self.start()
        before, good = p.data.copy(), s["exp_avg"]
        s["exp_avg"] = value
        for _ in range(2):
            with pytest.raises(error, match="Adam: parameter 0.* its exp_avg"):
                opt.step()
        assert np.array_equal(p.data, before)
        s["exp_avg"] = good
        opt.step()
        assert s["step"] == 4

    def test_entries_and_parameters_deleted_start_afresh(self, road):
        opt, p, s = self.start()
        del s["exp_avg"]
        opt.step()
        np.testing.assert_allclose(opt.state[p]["exp_avg"], 0.1 * np.arange(3.0))
        assert opt.state[p]["step"] == 4
        del opt.state[p]
        opt.step()
        assert opt.state[p]["step"] == 1
        opt.state.clear()
        opt.step()
        assert opt.state[p]["step"] == 1

    def test_a_held_state_stays_the_state(self, road):
        opt, p, s = self.start()
        other = Parameter(np.zeros(2), np.ones(2))
        opt.add_param_group({"params": [other]})
        opt.step()
        p.grad, keep = None, p.grad
        opt.step()
        p.grad = keep
        opt.step()
        assert opt.state[p] is s and s["step"] == 5

    def test_the_users_own_entries_stay(self, road):
        opt, p, s = self.start()
        s["note"] = ["mine"]
        opt.state["elsewhere"] = 3
        opt.step()
        assert opt.state[p]["note"] == ["mine"] and opt.state["elsewhere"] == 3 and s["step"] == 4

    def test_an_uncounted_state(self, road):
        opt = nbopt.SGD([Parameter(np.zeros(2), np.ones(2))], lr=1.0, momentum=0.5, dampening=0.5)
        (p,) = params_of(opt)
        opt.step()
        assert opt.state[p]["momentum_buffer"].tolist() == [1, 1]
        opt.state[p]["momentum_buffer"] = np.array([4.0, 8])
        opt.step()
        assert opt.state[p]["momentum_buffer"].tolist() == [2.5, 4.5]
        opt.state.clear()
        opt.step()
        assert opt.state[p]["momentum_buffer"].tolist() == [1, 1], "the first buffer is the gradient itself"


class TestEditedOptions:
    """Options are read anew at every step, and checked when they changed."""

    def test_a_new_value_counts_from_the_next_step_on(self, road):
        w = np.zeros(2)
        opt = nbopt.SGD([w], lr=1.0)
        for lr in (1.0, 0.5, 0.25, 0.25, 0.0):
            opt.param_groups[0]["lr"] = lr
            opt.step(grads=[np.ones(2)])
        assert w.tolist() == [-2, -2]

    @pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
    @pytest.mark.parametrize("kind", [nbopt.SGD, nbopt.Adam])
    def test_an_array_changed_in_place(self, road, kind, shape):
        lr = np.full(shape, 1.0, np.float32)
        opt, twin = kind([np.zeros(2)], lr=lr), kind([np.zeros(2)], lr=1.0)
        for k in range(4):
            lr[...] = twin.param_groups[0]["lr"] = 0.5**k
            for o in (opt, twin):
                o.step(grads=[np.full(2, k + 1.0)])
        assert_equal(numbers(opt), numbers(twin))
        lr[...] = -1
        with pytest.raises(ValueError, match=r"(?s)lr=array.* must lie in \[0, inf\)"):
            opt.step()

    @pytest.mark.parametrize(
        "name, bad, error",
        [
            ("lr", -1, ValueError), ("lr", np.nan, ValueError), ("lr", "x", TypeError), ("lr", None, TypeError),
            ("lr", np.array([0.1, 0.2]), TypeError), ("lr", [0.1], TypeError), ("eps", -1e-8, ValueError),
            ("betas", (0.9, 1.0), ValueError), ("betas", 0.9, TypeError), ("betas", {0.9, 0.8}, TypeError),
        ],
    )  # fmt: skip
    def test_a_bad_value_stops_before_the_step_and_can_be_mended(self, road, name, bad, error):
        opt, twin = (nbopt.Adam([{"params": [np.ones(2)]}, {"params": [np.ones(3)]}], lr=0.1) for _ in range(2))
        for o in (opt, twin):
            o.step(grads=[np.ones(2), np.ones(3)])
        good, before = opt.param_groups[1][name], numbers(opt)
        opt.param_groups[1][name] = bad
        for _ in range(2):
            with pytest.raises(error, match=f"^Adam: {name}="):
                opt.step()
            assert_equal(numbers(opt), before)
        opt.param_groups[1][name] = good
        for o in (opt, twin):
            o.step()
        assert_equal(numbers(opt), numbers(twin))

    def test_a_list_changed_in_place_is_checked(self, road):
        opt = nbopt.Adam([np.zeros(2)], betas=[0.9, 0.99])
        opt.step(grads=[np.ones(2)])
        opt.param_groups[0]["betas"][1] = 0.5
        opt.step()
        np.testing.assert_allclose(opt.state[params_of(opt)[0]]["exp_avg_sq"], 0.01 * 0.5 + 0.5)
        opt.param_groups[0]["betas"][1] = 1.5
        with pytest.raises(ValueError, match=r"Adam: betas=\[0.9, 1.5\] must lie in"):
            opt.step()

    def test_options_that_choose_another_loop(self, road):
        opt = nbopt.SGD([np.zeros(2)], lr=1.0)
        (p,) = params_of(opt)
        opt.step(grads=[np.ones(2)])
        opt.param_groups[0]["momentum"] = 0.5
        opt.step()
        opt.step()
        assert p.data.tolist() == [-3.5, -3.5]
        opt.param_groups[0]["momentum"] = 0
        opt.step()
        assert p.data.tolist() == [-4.5, -4.5]
        opt.param_groups[0].update(momentum=0.5, nesterov=True)
        opt.step()
        assert p.data.tolist() == [-4.5 - 1 - 0.5 * (0.5 * 1.5 + 1)] * 2

    def test_the_same_group_dict_edited_by_two_names(self, road):
        opt = nbopt.Adam([np.zeros(2)], lr=0.1)
        opt.step(grads=[np.ones(2)])
        opt.param_groups = [dict(opt.param_groups[0], lr=0.0)]
        before = params_of(opt)[0].data.copy()
        opt.step()
        assert np.array_equal(params_of(opt)[0].data, before)
        assert opt.state[params_of(opt)[0]]["step"] == 2

    def test_a_deleted_option_is_named(self, road):
        opt = nbopt.Adam([np.zeros(2)], lr=0.1)
        opt.step(grads=[np.ones(2)])
        del opt.param_groups[0]["eps"]
        with pytest.raises(KeyError, match="eps"):
            opt.step()
        opt.param_groups[0]["eps"] = 1e-8
        opt.step()
        assert opt.state[params_of(opt)[0]]["step"] == 2


def halting(p, g, state, h):
    m, _, _ = state
    for i in range(p.size):
        if g[i] == 99:
            raise ValueError("the loop refuses 99")
        m[i] += 1
        p[i] -= g[i]


class Halting(nbopt.ElementwiseOptimizer):
    def __init__(self, params):
        super().__init__(params, {"lr": 1.0})

    def algorithm(self, group):
        return halting, ("visits",)

    def numbers(self, group, t):
        return ()


@pytest.mark.parametrize("place", [0, 700, 1999])
@pytest.mark.parametrize("gaps", [False, True])
def test_what_a_loop_raises_reaches_the_user_and_the_step_is_not_counted(road, place, gaps):
    w = np.zeros((2000, 2))[:, 0] if gaps else np.zeros(2000)
    opt = Halting([w])
    (p,) = params_of(opt)
    opt.step(grads=[np.ones(2000)])
    g = np.ones(2000)
    g[place] = 99
    for k in (1, 2):
        with pytest.raises(ValueError, match="the loop refuses 99"):
            opt.step(grads=[g])
        assert opt.state[p]["step"] == 1
        assert w[place] == -1 and w[0] == (-1 - k if place else -1)
        assert np.array_equal(opt.state[p]["visits"], -w), "some elements are half updated"
    opt.step(grads=[np.ones(2000)])
    assert opt.state[p]["step"] == 2 and w[place] == -2


class TestLifetimes:
    """Addresses live no longer than arrays, and arrays no longer than they are used."""

    @pytest.mark.parametrize("layout", ["C", "gaps"])
    def test_a_dropped_optimizer_frees_everything_at_once(self, road, layout):
        opt = nbopt.Adam([LAYOUTS[layout](G), np.ones(3)])
        opt.step(grads=[np.asfortranarray(G), np.ones(3)])
        opt.step()
        watched = [weakref.ref(p.data) for p in params_of(opt)] + [weakref.ref(p.grad) for p in params_of(opt)]
        watched += [weakref.ref(s["exp_avg"]) for s in opt.state.values()] + [weakref.ref(opt)]
        gc.disable()
        try:
            del opt
            assert [r() is None for r in watched] == [True] * len(watched)
        finally:
            gc.enable()

    def test_a_gradient_is_let_go_after_the_step(self, road):
        opt = nbopt.SGD([np.zeros(3)])
        for g in (np.ones(3), np.ones(6)[::2]):
            opt.step(grads=[g])
        gone = weakref.ref(params_of(opt)[0].grad)
        del g
        opt.zero_grad()
        assert gone() is None

    def test_an_exchanged_array_is_let_go_with_the_next_step(self, road):
        p = Parameter(np.zeros(3), np.ones(3))
        opt = nbopt.SGD([p], lr=1.0)
        opt.step()
        old = weakref.ref(p.data)
        p.data = np.zeros(3)
        opt.step()
        assert old() is None and p.data.tolist() == [-1, -1, -1]

    def test_the_optimizer_keeps_parameters_alive_that_nobody_else_holds(self, road):
        opt = nbopt.Adam(np.ones(k) for k in range(1, 30))
        for _ in range(5):
            opt.step(grads=[np.ones(p.size) for p in params_of(opt)])
            gc.collect()
            [np.full(k, np.nan) for k in range(1, 30)]  # would land in memory freed too soon
        assert len({float(p.data[0]) for p in params_of(opt)}) == 1

    def test_memory_does_not_grow_over_many_steps(self, road):
        opt = nbopt.Adam([np.zeros(10), np.zeros((3, 4)).T])

        def steps(n):
            for k in range(n):
                opt.step(grads=[np.ones(10), None if k % 3 == 0 else np.ones((4, 3))])
            gc.collect()
            return len(gc.get_objects())

        steps(20)
        assert steps(50) - steps(50) < 20


def test_all_roads_give_the_same_bits(monkeypatch):
    found = {}
    for road in ROADS:
        with monkeypatch.context() as patch:
            take(road, patch)
            arrays = [np.linspace(0, 1, n) for n in (0, 1, 7, 64, 65, 1000)] + [np.asfortranarray(G), G[:, ::2].copy()[::-1]]
            opt = nbopt.Adam(copy.deepcopy(arrays), lr=0.1)
            for k in range(5):
                opt.step(grads=[np.cos(k + a) if (k + a.size) % 3 else None for a in arrays])
            found[road] = b"".join(a.tobytes() for a in numbers(opt))
    assert len(set(found.values())) == 1
