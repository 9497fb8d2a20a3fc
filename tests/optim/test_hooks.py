"""Hooks: order, handles, new arguments, and that none is left behind."""

import copy
import pickle

import numpy as np
import pytest

import nbopt
from nbopt.optim import hooks


@pytest.fixture
def opt():
    return nbopt.SGD([nbopt.Parameter(np.zeros(2), np.ones(2))], lr=1.0)


@pytest.fixture(autouse=True)
def no_global_hooks_are_left():
    yield
    assert not hooks.global_step_pre_hooks and not hooks.global_step_post_hooks


def test_step_hooks_run_global_own_step_own_global(opt):
    seen = []

    def note(label):
        return lambda o, args, kwargs: seen.append((label, o.param_groups[0]["params"][0].data[0]))

    with (
        nbopt.register_optimizer_step_pre_hook(note("global before")),
        nbopt.register_optimizer_step_post_hook(note("global after")),
    ):
        opt.register_step_pre_hook(note("own before 1"))
        opt.register_step_pre_hook(note("own before 2"))
        opt.register_step_post_hook(note("own after"))
        opt.step()
    assert seen == [
        ("global before", 0),
        ("own before 1", 0),
        ("own before 2", 0),
        ("own after", -1),
        ("global after", -1),
    ]
    seen.clear()
    opt.step()
    assert [label for label, _ in seen] == ["own before 1", "own before 2", "own after"]


def test_global_hooks_see_every_optimizer(opt):
    other, seen = nbopt.Adam([np.zeros(1)]), []
    with nbopt.register_optimizer_step_post_hook(lambda o, args, kwargs: seen.append(o)):
        opt.step()
        other.step()
    opt.step()
    assert seen == [opt, other]


def test_hooks_are_given_the_arguments_with_the_optimizer_first(opt):
    seen = []
    opt.register_step_pre_hook(lambda o, args, kwargs: seen.append((o, args, kwargs)))

    def closure():
        return 3.0

    assert opt.step(closure) == 3.0
    opt.step(grads=None)
    assert seen == [(opt, (opt, closure), {}), (opt, (opt,), {"grads": None})]


@pytest.mark.parametrize("with_self", [True, False])
def test_a_pre_hook_may_give_new_arguments(opt, with_self):
    new = [np.full(2, 5.0)]
    opt.register_step_pre_hook(lambda o, args, kwargs: ((o,) if with_self else (), {"grads": new}))
    seen = []
    opt.register_step_post_hook(lambda o, args, kwargs: seen.append((args, kwargs)))
    opt.step()
    assert opt.param_groups[0]["params"][0].data.tolist() == [-5, -5]
    assert seen == [((opt,), {"grads": new})]


@pytest.mark.parametrize("answer", [3, (1,), (1, 2, 3), [(), {}], "ab"])
def test_any_other_answer_is_refused_before_the_step(opt, answer):
    opt.register_step_pre_hook(lambda o, args, kwargs: answer)
    with pytest.raises(RuntimeError, match=r"SGD: a step pre-hook must return None or a new"):
        opt.step()
    assert opt.param_groups[0]["params"][0].data.tolist() == [0, 0]


def test_a_hook_that_raises_leaves_the_optimizer_usable(opt):
    def fail(o, args, kwargs):
        raise KeyError("mine")

    handle = opt.register_step_pre_hook(fail)
    with pytest.raises(KeyError, match=r"mine"):
        opt.step()
    handle.remove()
    opt.step()
    assert opt.param_groups[0]["params"][0].data.tolist() == [-1, -1]


def test_handles_remove_once_and_twice_and_in_with(opt):
    seen = []
    handle = opt.register_step_pre_hook(lambda *a: seen.append("a"))
    with opt.register_step_pre_hook(lambda *a: seen.append("b")) as inner:
        opt.step()
    assert isinstance(inner, hooks.RemovableHandle)
    handle.remove()
    handle.remove()
    opt.step()
    assert seen == ["a", "b"]


def test_a_hook_may_remove_itself_while_it_runs(opt):
    seen = []

    def once(o, args, kwargs):
        seen.append(1)
        handle.remove()

    handle = opt.register_step_post_hook(once)
    opt.step()
    opt.step()
    assert seen == [1]


def test_hooks_run_once_where_a_subclass_calls_its_parents_step():
    class Twice(nbopt.SGD):
        def step(self, closure=None, *, grads=None):
            super().step(closure, grads=grads)
            return super().step()

    opt, seen = Twice([np.zeros(1)], lr=1.0), []
    opt.register_step_pre_hook(lambda *a: seen.append("before"))
    opt.register_step_post_hook(lambda *a: seen.append("after"))
    opt.step(grads=[np.ones(1)])
    assert seen == ["before", "after"]
    assert opt.param_groups[0]["params"][0].data[0] == -2


class TestStateDictHooks:
    """Around state_dict and load_state_dict."""

    def test_they_run_before_and_after_in_order_with_prepend(self, opt):
        seen = []

        def note(label):
            return lambda o, *rest: seen.append((label, len(rest)))

        opt.register_state_dict_pre_hook(note("pre 2"))
        opt.register_state_dict_pre_hook(note("pre 1"), prepend=True)
        opt.register_state_dict_post_hook(note("post 2"))
        opt.register_state_dict_post_hook(note("post 3"))
        opt.register_state_dict_post_hook(note("post 1"), prepend=True)
        saved = opt.state_dict()
        assert seen == [("pre 1", 0), ("pre 2", 0), ("post 1", 1), ("post 2", 1), ("post 3", 1)]
        seen.clear()
        opt.register_load_state_dict_pre_hook(note("pre 2"))
        opt.register_load_state_dict_pre_hook(note("pre 1"), prepend=True)
        opt.register_load_state_dict_post_hook(note("post 2"))
        opt.register_load_state_dict_post_hook(note("post 1"), prepend=True)
        opt.load_state_dict(saved)
        assert seen == [("pre 1", 1), ("pre 2", 1), ("post 1", 0), ("post 2", 0)]

    def test_a_post_hook_may_replace_what_is_saved(self, opt):
        handle = opt.register_state_dict_post_hook(lambda o, saved: {**saved, "note": "mine"})
        assert opt.state_dict()["note"] == "mine"
        handle.remove()
        assert "note" not in opt.state_dict()

    def test_a_pre_hook_may_replace_what_is_loaded(self, opt):
        saved = opt.state_dict()

        def halve(o, given):
            groups = [{**g, "lr": g["lr"] / 2} for g in given["param_groups"]]
            return {**given, "param_groups": groups}

        opt.register_load_state_dict_pre_hook(halve)
        opt.load_state_dict(saved)
        assert opt.param_groups[0]["lr"] == 0.5
        assert saved["param_groups"][0]["lr"] == 1.0

    def test_a_pre_hook_cannot_take_keys_out_of_the_users_dict(self, opt):
        saved = opt.state_dict()
        opt.register_load_state_dict_pre_hook(lambda o, given: given.pop("nbopt") and None)
        opt.load_state_dict(saved)
        assert "nbopt" in saved


@pytest.mark.parametrize("register", [n for n in dir(nbopt.Optimizer) if n.startswith("register_")])
def test_what_cannot_be_called_is_no_hook(opt, register):
    with pytest.raises(TypeError, match=r"a hook must be callable, not int"):
        getattr(opt, register)(3)


def test_prepending_keeps_the_order_of_the_others():
    table, calls = {}, []
    for k in range(3):
        hooks.register(table, lambda k=k: calls.append(k))
    first = hooks.register(table, lambda: calls.append("first"), prepend=True)
    for hook in table.values():
        hook()
    assert calls == ["first", 0, 1, 2]
    first.remove()
    assert len(table) == 3


@pytest.mark.parametrize("how", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_have_no_hooks(opt, how):
    seen = []
    opt.register_step_pre_hook(lambda *a: seen.append(a))
    how(opt).step()
    assert seen == []
