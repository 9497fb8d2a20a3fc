"""Steps after edits: memory exchanged or moved, state and options written to, everything mended again."""

from typing import ClassVar

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from roads import FOR_PARAMETERS, KINDS, LAYOUTS, G, assert_equal, numbers, params_of, read_only, unaligned

import nbopt
from nbopt import Parameter


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
        with pytest.raises(ValueError, match=r"references"):
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
        with pytest.raises(
            ValueError, match=r"Adam: parameter 0 has shape \(4, 5\), but its exp_avg has \(2, 3\)"
        ):
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

    BAD: ClassVar = {
        "list": (lambda a: a.tolist(), TypeError, "is list"),
        "none": (lambda a: None, TypeError, "is NoneType"),
        "integers": (lambda a: a.astype(int), TypeError, "dtype int64"),
        "read-only": (lambda a: read_only(a.copy()), ValueError, "is read-only"),
        "broadcast": (lambda a: as_strided(a, strides=(0, 8)), ValueError, "overlaps itself"),
        "foreign": (lambda a: a.astype(">f8"), TypeError, "foreign byte order"),
        "unaligned": (unaligned, ValueError, "is not aligned"),
        "masked": (np.ma.array, TypeError, "is MaskedArray"),
    }

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
        with pytest.raises(ValueError, match=r"Adam: parameter 0 is read-only"):
            opt.step()
        p.data.flags.writeable = True
        opt.step()
        assert opt.state[p]["step"] == 2

    def test_two_parameters_moved_onto_each_other(self, road):
        opt, p = self.start("SGD", shape=(4,))
        p.data = params_of(opt)[1].data
        with pytest.raises(ValueError, match=r"SGD: parameters 0 and 1 share memory"):
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
            with pytest.raises(ValueError, match=r"Adam: parameter 0: step=.* must be a count of steps"):
                opt.step()
        assert np.array_equal(p.data, before)
        s["step"] = 3
        opt.step()
        assert s["step"] == 4

    def test_a_negative_count_written_in_place(self, road):
        opt, p, s = self.start()
        s["step"][...] = -2
        before = p.data.copy()
        with pytest.raises(ValueError, match=r"a step count in the state is negative"):
            opt.step()
        assert np.array_equal(p.data, before)

    def test_counts_do_not_stop_where_float32_does(self, road):
        opt, _p, s = self.start()
        s["step"] = 2**24
        for _ in range(2):
            opt.step()
        assert s["step"] == 2**24 + 2

    @pytest.mark.parametrize("layout", ["C", "foreign", "read-only", "unaligned", "list", "float32"])
    def test_an_array_replaced(self, road, layout):
        opt, p, s = self.start()
        value = np.array([5.0, 6, 7])
        s["exp_avg"] = {
            "C": value,
            "foreign": value.astype(">f8"),
            "read-only": read_only(value.copy()),
            "unaligned": unaligned(value),
            "list": [5.0, 6, 7],
            "float32": value.astype(np.float32),
        }[layout]
        expected = value + (1 - 0.9) * (np.arange(3.0) - value)
        opt.step()
        np.testing.assert_array_equal(opt.state[p]["exp_avg"], expected)

    def test_an_array_written_in_place(self, road):
        opt, _p, s = self.start()
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

    @pytest.mark.parametrize(
        "value, error",
        [
            (np.zeros(4), ValueError),
            (0.0, ValueError),
            ("x", TypeError),
            ({}, TypeError),
            (np.zeros(3, complex), ValueError),
        ],
    )
    def test_what_is_no_state_is_refused_and_can_be_mended(self, road, value, error):
        opt, p, s = self.start()
        before, good = p.data.copy(), s["exp_avg"]
        s["exp_avg"] = value
        for _ in range(2):
            with pytest.raises(error, match=r"Adam: parameter 0.* its exp_avg"):
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
            ("lr", -1, ValueError),
            ("lr", np.nan, ValueError),
            ("lr", "x", TypeError),
            ("lr", None, TypeError),
            ("lr", np.array([0.1, 0.2]), TypeError),
            ("lr", [0.1], TypeError),
            ("eps", -1e-8, ValueError),
            ("betas", (0.9, 1.0), ValueError),
            ("betas", 0.9, TypeError),
            ("betas", {0.9, 0.8}, TypeError),
        ],
    )
    def test_a_bad_value_stops_before_the_step_and_can_be_mended(self, road, name, bad, error):
        opt, twin = (
            nbopt.Adam([{"params": [np.ones(2)]}, {"params": [np.ones(3)]}], lr=0.1) for _ in range(2)
        )
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
        with pytest.raises(KeyError, match=r"eps"):
            opt.step()
        opt.param_groups[0]["eps"] = 1e-8
        opt.step()
        assert opt.state[params_of(opt)[0]]["step"] == 2
