"""Optimizer: closures and gradients, copies and pickles, subclasses of the user's own."""

import collections
import copy
import pickle
from typing import ClassVar

import numpy as np
import pytest
from numba.core import event

import nbopt
from nbopt import Parameter
from nbopt.optim.state import State


def sgd(*values, lr=1.0, **options):
    return nbopt.SGD([Parameter(np.array(v, float)) for v in values], lr=lr, **options)


def params_of(opt):
    return [p for group in opt.param_groups for p in group["params"]]


def values(opt):
    return [p.data.tolist() for p in params_of(opt)]


def test_the_base_class_has_no_step():
    opt = nbopt.Optimizer([np.zeros(1)], {"lr": 1})
    with pytest.raises(NotImplementedError, match=r"Optimizer does not define step\(\)"):
        opt.step()


class TestClosures:
    """step(closure) and step(grads=...)."""

    def test_a_closure_sets_gradients_and_its_loss_comes_back(self):
        opt = sgd([1.0, 2.0])
        (p,) = params_of(opt)
        calls = []

        def closure():
            calls.append(p.data.copy())
            opt.zero_grad()
            p.grad = 2 * p.data
            return float(p.data @ p.data)

        assert opt.step(closure) == 5.0
        assert len(calls) == 1 and values(opt) == [[-1, -2]]

    @pytest.mark.parametrize(
        "loss", [None, 0.0, np.float32(2), np.nan, "done", [1, 2], np.zeros(3), (1,), (1, 2, 3)]
    )
    def test_any_loss_comes_back_as_it_is(self, loss):
        opt = sgd([0.0])
        params_of(opt)[0].grad = np.ones(1)
        assert opt.step(lambda: loss) is loss
        assert values(opt) == [[-1]]

    def test_a_closure_may_return_loss_and_gradients(self):
        opt = sgd([1.0], [2.0, 3.0])
        assert opt.step(lambda: (7.0, [np.ones(1), None])) == 7.0
        assert values(opt) == [[0], [2, 3]]
        assert opt.step(lambda: (8.0, (None, np.ones(2)))) == 8.0
        assert values(opt) == [[0], [1, 2]]

    def test_what_a_closure_raises_passes_and_nothing_has_changed(self):
        opt = sgd([1.0])
        params_of(opt)[0].grad = np.ones(1)

        def closure():
            raise LookupError("data")

        with pytest.raises(LookupError, match=r"data"):
            opt.step(closure)
        assert values(opt) == [[1]]
        opt.step()
        assert values(opt) == [[0]]

    def test_closure_and_gradients_exclude_each_other(self):
        with pytest.raises(TypeError, match=r"SGD: pass a closure or grads, not both"):
            sgd([1.0]).step(lambda: 1.0, grads=[np.ones(1)])

    @pytest.mark.parametrize("closure", [3, "f", np.ones(1), [np.ones(1)]])
    def test_what_cannot_be_called_is_no_closure(self, closure):
        with pytest.raises(TypeError, match=r"closure must be callable, not"):
            sgd([1.0]).step(closure)

    def test_one_array_is_enough_for_one_parameter(self):
        opt = sgd([1.0, 2.0])
        opt.step(grads=np.ones(2))
        opt.step(grads=np.ones((1, 2)))
        opt.step(grads=(g for g in [np.ones(2)]))
        assert values(opt) == [[-2, -1]]

    @pytest.mark.parametrize(
        "grads, error, words",
        [
            ([np.ones(1)], ValueError, "got 1 gradients for 2 parameters"),
            ([np.ones(1)] * 3, ValueError, "got 3 gradients for 2 parameters"),
            ([], ValueError, "got 0 gradients"),
            ([np.ones(1), np.ones(3)], ValueError, r"gradient 1 has shape \(3,\), its parameter \(2,\)"),
            ([1.0, np.ones(2)], ValueError, r"gradient 0 has shape \(\)"),
            (3.0, TypeError, "grads must be a sequence"),
            ({"w": np.ones(1)}, TypeError, "grads must be a sequence"),
        ],
    )
    def test_gradients_that_do_not_fit_are_refused_before_any_is_set(self, grads, error, words):
        opt = sgd([1.0], [2.0, 3.0])
        for way in (lambda: opt.step(grads=grads), lambda: opt.step(lambda: (1.0, grads))):
            with pytest.raises(error, match=f"^SGD: .*{words}"):
                way()
        assert values(opt) == [[1], [2, 3]] and [p.grad for p in params_of(opt)] == [None, None]


class TestZeroGrad:
    """Both ways to forget gradients."""

    def test_dropped(self):
        opt = sgd([1.0], [2.0])
        params_of(opt)[0].grad = np.ones(1)
        opt.zero_grad()
        assert [p.grad for p in params_of(opt)] == [None, None]
        opt.step()
        assert values(opt) == [[1], [2]]

    def test_filled_with_zeros_in_place(self):
        opt = sgd([1.0], [2.0], momentum=0.5)
        g = np.ones(1)
        params_of(opt)[0].grad = g
        opt.step()
        opt.zero_grad(set_to_none=False)
        assert g.tolist() == [0] and params_of(opt)[0].grad is g and params_of(opt)[1].grad is None
        opt.step()
        assert values(opt) == [[-0.5], [2]], "zeros are a gradient, None is not"

    @pytest.mark.parametrize("gradient", [np.broadcast_to(1.0, (2,)), (np.array([1]), np.ones(1))])
    def test_replaced_by_zeros_where_its_memory_cannot_be_written(self, gradient):
        opt = sgd([1.0, 2.0])
        params_of(opt)[0].grad = gradient
        opt.zero_grad(set_to_none=False)
        assert params_of(opt)[0].grad.tolist() == [0, 0]

    def test_a_scalar_gradient_of_a_scalar_parameter(self):
        opt = nbopt.SGD([np.array(1.0)], lr=0.5)
        params_of(opt)[0].grad = np.float64(2)
        opt.step()
        opt.zero_grad(set_to_none=False)
        opt.step()
        assert params_of(opt)[0].data == 0 and params_of(opt)[0].grad == 0


def test_repr_shows_the_options_in_order():
    opt = nbopt.SGD([{"params": [("w", np.zeros(1))]}, {"params": [("v", np.zeros(1))], "lr": 0.5}], lr=0.1)
    lines = repr(opt).splitlines()
    assert lines[0] == "SGD (" and lines[1] == "Parameter Group 0" and lines[-1] == ")"
    options = sorted(set(opt.param_groups[0]) - {"params", "param_names"})
    assert [line.split(":")[0].strip() for line in lines[2 : 2 + len(options)]] == options
    assert "    lr: 0.1" in lines and "    lr: 0.5" in lines


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda o: pickle.loads(pickle.dumps(o))}
KINDS = {
    "SGD": lambda p: nbopt.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: nbopt.Adam(p, lr=0.1, amsgrad=True),
    "AdamW": lambda p: nbopt.AdamW(p, lr=0.1),
}


class TestCopies:
    """A copy steps its own memory, and only that."""

    def start(self, kind, layout=lambda a: a):
        rng = np.random.default_rng(0)
        data = [layout(rng.standard_normal((3, 4))), rng.standard_normal(5).astype(np.float32)]
        opt = KINDS[kind](data)
        for _ in range(3):
            opt.step(grads=[np.cos(a) for a in data])
        return opt, data

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("how", COPIES)
    def test_copy_and_original_go_their_own_ways_to_the_same_place(self, kind, how):
        opt, data = self.start(kind)
        twin = COPIES[how](opt)
        before = values(twin)
        assert type(twin) is type(opt) and before == values(opt)
        for _ in range(4):
            opt.step(grads=[np.cos(a) for a in data])
        assert values(twin) == before, "stepping the original moved the copy"
        there, saved = values(opt), opt.state_dict()
        for _ in range(4):
            twin.step(grads=[np.cos(p.data) for p in params_of(twin)])
        assert values(opt) == there, "stepping the copy moved the original"
        assert values(twin) == there
        np.testing.assert_equal(opt.state_dict(), saved)
        np.testing.assert_equal(twin.state_dict(), saved)

    @pytest.mark.parametrize("how", COPIES)
    @pytest.mark.parametrize(
        "layout", [np.asfortranarray, lambda a: np.repeat(a, 2, 1)[:, ::2], lambda a: a[::-1]]
    )
    def test_of_any_layout(self, how, layout):
        opt, _data = self.start("Adam", layout)
        twin = COPIES[how](opt)
        for o in (opt, twin):
            for _ in range(3):
                o.step(grads=[np.cos(p.data) for p in params_of(o)])
        assert values(opt) == values(twin)
        for p, q in zip(params_of(opt), params_of(twin), strict=True):
            assert not np.shares_memory(p.data, q.data)
        np.testing.assert_equal(opt.state_dict(), twin.state_dict())

    @pytest.mark.parametrize("how", COPIES)
    def test_parameters_and_optimizer_together_stay_together(self, how):
        data = {"w": Parameter(np.zeros(2)), "b": Parameter(np.zeros(1))}
        opt = nbopt.SGD(data, lr=1.0, momentum=0.5)
        opt.step(grads=[np.ones(2), np.ones(1)])
        data2, opt2 = COPIES[how]((data, opt))
        assert params_of(opt2) == [data2["w"], data2["b"]]
        opt2.step(grads=[np.ones(2), np.ones(1)])
        assert data2["w"].data.tolist() == [-2.5, -2.5] and data["w"].data.tolist() == [-1, -1]

    @pytest.mark.parametrize("how", COPIES)
    def test_state_and_options_are_the_copys_own(self, how):
        opt, _ = self.start("Adam")
        opt.param_groups[0]["note"] = [1]
        twin = COPIES[how](opt)
        twin.param_groups[0]["note"].append(2)
        twin.param_groups[0]["lr"] = 0.5
        assert opt.param_groups[0]["note"] == [1] and opt.param_groups[0]["lr"] == 0.1
        twin.state[params_of(twin)[0]]["exp_avg"][...] = 7
        assert not (opt.state[params_of(opt)[0]]["exp_avg"] == 7).any()

    def test_a_copy_of_a_fresh_optimizer_and_of_a_copy(self):
        opt = copy.deepcopy(copy.deepcopy(sgd([1.0])))
        opt.step(grads=[np.ones(1)])
        assert values(opt) == [[0]]

    def test_a_subclass_keeps_its_attributes(self):
        opt = Descent([np.zeros(1)])
        opt.history = [1.0]
        twin = copy.deepcopy(opt)
        twin.history.append(2.0)
        assert opt.history == [1.0] and twin.history == [1.0, 2.0]


class TestState:
    """opt.state as users read and edit it."""

    @pytest.mark.parametrize("fresh", [dict, lambda: collections.defaultdict(dict)])
    def test_an_empty_one_starts_afresh(self, fresh):
        opt, new = (nbopt.Adam([Parameter(np.zeros(2), np.ones(2))], lr=0.1) for _ in range(2))
        opt.step()
        opt.step()
        opt.state = fresh()
        assert isinstance(opt.state, State) and opt.state == {}
        opt.step()
        new.step()
        np.testing.assert_equal(opt.state_dict()["state"], new.state_dict()["state"])

    def test_state_from_elsewhere_is_taken_over(self):
        opt = nbopt.Adam([Parameter(np.zeros(2), np.ones(2))], lr=0.1)
        (p,) = params_of(opt)
        opt.step()
        opt.state = {p: {"step": 41, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}}
        opt.step()
        assert opt.state[p]["step"] == 42 and opt.state[p]["exp_avg"].tolist() == [1, 1]

    def test_a_parameter_without_state_has_an_empty_dict(self):
        opt = sgd([1.0])
        assert opt.state[params_of(opt)[0]] == {}
        opt.step(grads=[np.ones(1)])
        assert values(opt) == [[0]]


class Descent(nbopt.Optimizer):
    """A user's own: a step in Python."""

    def __init__(self, params, lr=0.5):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None, *, grads=None):
        loss = self.run_closure(closure, grads)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    state["n"] = state.get("n", 0) + 1
                    p.data -= group["lr"] / state["n"] * p.grad
        return loss


class TestOwnSubclass:
    """With a step in Python."""

    def test_it_steps_saves_loads_and_copies(self):
        w = np.array([1.0, 2.0])
        opt = Descent([w])
        assert opt.step(lambda: (3.0, [np.ones(2)])) == 3.0
        opt.step(grads=[np.ones(2)])
        assert w.tolist() == [0.25, 1.25]
        other = copy.deepcopy(opt)
        other.load_state_dict(opt.state_dict())
        for o in (opt, other):
            o.step(grads=[np.full(2, 3.0)])
            assert params_of(o)[0].data.tolist() == [-0.25, 0.75]

    def test_it_may_know_only_a_closure(self):
        class Old(nbopt.Optimizer):
            def step(self, closure=None):
                return self.run_closure(closure)

        opt = Old([np.zeros(1)], {})
        assert opt.step(lambda: 4.0) == 4.0 and opt.step() is None
        with pytest.raises(TypeError, match=r"grads"):
            opt.step(grads=[np.ones(1)])

    def test_steps_are_counted_for_schedulers_once_whatever_is_called(self):
        class Wrapped(Descent):
            def step(self, closure=None, *, grads=None):
                return super().step(closure, grads=grads)

        opt = Wrapped([np.zeros(1)])
        opt.step(grads=[np.ones(1)])
        opt.step()
        assert opt._step_calls == 2 and opt.state[params_of(opt)[0]]["n"] == 2

    def test_a_step_that_raises_is_not_counted_and_the_next_one_works(self):
        opt = Descent([np.zeros(1)])
        params_of(opt)[0].grad = "no array"
        with pytest.raises(TypeError):
            opt.step()
        params_of(opt)[0].grad = np.ones(1)
        opt.step()
        assert opt._step_calls == 1

    def test_its_ranges_are_checked_in_groups_too(self):
        from nbopt.optim.ranges import FRACTION

        class Ranged(Descent):
            ranges: ClassVar = {"lr": FRACTION}

        Ranged([np.zeros(1)], lr=1)
        with pytest.raises(ValueError, match=r"Ranged: lr=2 must lie in \[0, 1\]"):
            Ranged([np.zeros(1)], lr=2)
        with pytest.raises(ValueError, match=r"Ranged: lr=-1"):
            Ranged([{"params": [np.zeros(1)], "lr": -1}])

    def test_docstring_and_name_of_step_survive_the_hooks(self):
        assert Descent.step.__name__ == "step"
        assert nbopt.SGD.step.__doc__ == nbopt.ElementwiseOptimizer.step.__doc__


def cautious(p, g, state, h):
    """A user's own loop: signs, damped by a running mean."""
    t = p.dtype.type
    lr, keep = t(h[0]), t(h[1])
    m, _, _ = state
    for i in range(p.size):
        mi = keep * m[i] + (t(1) - keep) * g[i]
        p[i] -= lr * np.sign(mi)
        m[i] = mi


class Cautious(nbopt.ElementwiseOptimizer):
    """A user's own optimizer, from outside the package."""

    def __init__(self, params, lr=0.1, keep=0.5):
        super().__init__(params, {"lr": lr, "keep": keep})

    def algorithm(self, group):
        return cautious, ("mean",)

    def numbers(self, group, t):
        return group["lr"] / t, group["keep"]

    def initial(self, group, name):
        return 0.25


class TestOwnLoop:
    """A new element-wise optimizer takes a loop and three short methods."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_it_computes_what_the_loop_says(self, dtype):
        w = np.array([[1.0, -2.0], [3.0, -4.0]], dtype).T
        opt, mean, expected = Cautious([w]), np.full((2, 2), 0.25, dtype), w.copy()
        for t in (1, 2, 3):
            g = np.array([[1.0, -1.0], [0.5, 2.0]], dtype) / t
            mean = dtype(0.5) * mean + dtype(0.5) * g
            expected -= dtype(0.1 / t) * np.sign(mean)
            opt.step(grads=[g])
        np.testing.assert_array_equal(w, expected)
        p = params_of(opt)[0]
        np.testing.assert_array_equal(opt.state[p]["mean"], mean)
        assert opt.state[p]["step"] == 3 and opt.state[p]["mean"].dtype == dtype

    def test_it_is_saved_loaded_copied_and_hooked_as_any_other(self):
        opt, seen = Cautious([np.zeros(3)]), []
        opt.register_step_post_hook(lambda *a: seen.append(1))
        opt.step(grads=[np.ones(3)])
        other = Cautious([np.zeros(3)], lr=5)
        other.load_state_dict(opt.state_dict())
        twin = pickle.loads(pickle.dumps(opt))
        for o in (opt, twin):
            o.step(grads=[np.ones(3)])
        assert values(opt) == values(twin) and seen == [1, 1]
        assert (
            other.param_groups[0]["lr"] == 0.1
            and other.state_dict()["state"][0]["mean"].tolist() == [0.625] * 3
        )

    def test_a_second_object_compiles_nothing(self):
        Cautious([np.zeros(3)]).step(grads=[np.ones(3)])
        with event.install_recorder("numba:compile") as recorder:
            opt = Cautious([np.zeros((4, 4))])
            for _ in range(2):
                opt.step(grads=[np.ones((4, 4))])
        assert recorder.buffer == []

    def test_a_subclass_of_a_subclass_may_wrap_its_step(self):
        class Loud(Cautious):
            def step(self, closure=None, *, grads=None):
                self.said = "before"
                loss = super().step(closure, grads=grads)
                self.said += " after"
                return loss

        opt = Loud([np.zeros(1)])
        assert opt.step(lambda: (1.5, [np.ones(1)])) == 1.5
        assert opt.said == "before after" and opt._step_calls == 1

    def test_what_is_missing_is_named(self):
        class Nothing(nbopt.ElementwiseOptimizer):
            pass

        opt = Nothing([Parameter(np.zeros(1), np.ones(1))], {})
        with pytest.raises(NotImplementedError, match=r"Nothing does not define algorithm\(\)"):
            opt.step()
        Nothing.algorithm = lambda self, group: (cautious, ("mean",))
        with pytest.raises(NotImplementedError, match=r"Nothing does not define numbers\(\)"):
            opt.step()

    def test_more_state_than_a_loop_can_be_given_is_refused(self):
        class Greedy(Cautious):
            def algorithm(self, group):
                return cautious, ("a", "b", "c", "d")

        with pytest.raises(ValueError, match=r"at most 3 arrays per parameter, not 4"):
            Greedy([np.zeros(1)]).step(grads=[np.ones(1)])
