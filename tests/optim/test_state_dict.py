"""state_dict and load_state_dict: copies both ways, everything checked, nothing changed by a failure."""

import copy

import numpy as np
import pytest

import nbopt
from nbopt import Parameter


def adam(shapes=((3,), (2, 2)), steps=2, seed=0, **options):
    rng = np.random.default_rng(seed)
    params = [Parameter(rng.standard_normal(s)) for s in shapes]
    opt = nbopt.Adam(params, **{"lr": 0.1, **options})
    for _ in range(steps):
        opt.step(grads=[rng.standard_normal(p.shape) for p in params])
    return opt


def arrays(opt):
    return [a for s in opt.state.values() for a in s.values() if isinstance(a, np.ndarray)]


def test_it_is_numbered_through_the_groups_and_plain():
    p, q, r = (Parameter(np.zeros(k + 1)) for k in range(3))
    opt = nbopt.Adam([{"params": [p, q], "lr": np.float64(0.5)}, {"params": [r], "note": ["x"]}])
    opt.step(grads=[np.ones(1), None, np.ones(3)])
    saved = opt.state_dict()
    assert [g["params"] for g in saved["param_groups"]] == [[0, 1], [2]]
    assert list(saved["state"]) == [0, 2]
    assert list(saved["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert type(saved["state"][0]["step"]) is int and type(saved["param_groups"][0]["lr"]) is float
    assert saved["param_groups"][1]["note"] == ["x"] and saved["nbopt"]["class"] == "Adam"
    assert "param_names" not in saved["param_groups"][0]


def test_what_is_saved_is_a_copy():
    opt = adam()
    saved = opt.state_dict()
    kept = copy.deepcopy(saved)
    opt.step()
    opt.param_groups[0]["lr"] = 7.0
    np.testing.assert_equal(saved, kept)
    saved["state"][0]["exp_avg"][...] = 1e9
    saved["param_groups"][0]["betas"] = (0.0, 0.0)
    assert max(np.abs(a).max() for a in arrays(opt)) < 100
    assert opt.param_groups[0]["betas"] == (0.9, 0.999)


def test_what_is_loaded_is_a_copy():
    opt, other = adam(), adam(seed=1)
    saved = opt.state_dict()
    kept = copy.deepcopy(saved)
    other.load_state_dict(saved)
    other.step()
    np.testing.assert_equal(saved, kept)
    assert not any(np.shares_memory(a, b) for a in arrays(opt) for b in arrays(other))


def test_a_run_goes_on_from_what_was_loaded():
    opt = adam(steps=5)
    other = nbopt.Adam([Parameter(p.data.copy()) for p in opt.param_groups[0]["params"]], lr=9.0)
    other.load_state_dict(opt.state_dict())
    for o in (opt, other):
        for k in range(3):
            o.step(grads=[np.full(p.shape, k - 1.0) for p in o.param_groups[0]["params"]])
    for p, q in zip(opt.param_groups[0]["params"], other.param_groups[0]["params"], strict=True):
        assert p.data.tobytes() == q.data.tobytes()
    np.testing.assert_equal(opt.state_dict(), other.state_dict())


def test_held_groups_and_lists_stay_the_same_objects():
    opt = adam()
    group, params, p = opt.param_groups[0], opt.param_groups[0]["params"], opt.param_groups[0]["params"][0]
    opt.load_state_dict(adam(seed=3, lr=0.7).state_dict())
    assert opt.param_groups[0] is group and group["params"] is params and params[0] is p
    assert group["lr"] == 0.7
    group["lr"] = 0.0
    before = p.data.copy()
    opt.step(grads=[np.ones(3), np.ones((2, 2))])
    assert np.array_equal(p.data, before)


def test_the_state_that_was_there_is_replaced_whole():
    opt = adam()
    opt.load_state_dict(adam(steps=0).state_dict())
    assert opt.state == {}
    opt.step(grads=[np.ones(3), None])
    assert [int(s["step"]) for s in opt.state.values()] == [1]


LAYOUTS = {
    "C": lambda a: a,
    "F": np.asfortranarray,
    "gaps": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
}


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", LAYOUTS)
def test_elements_keep_their_places_whatever_the_layouts(source, target):
    start = np.random.default_rng(0).standard_normal((3, 4))
    g = np.random.default_rng(1).standard_normal((3, 4))
    p, q = LAYOUTS[source](start.copy()), LAYOUTS[target](start.copy())
    opt, other = nbopt.Adam([p]), nbopt.Adam([q])
    opt.step(grads=[g])
    other.step(grads=[g])
    one, two = opt.state_dict(), other.state_dict()
    np.testing.assert_equal(one, two)
    np.testing.assert_array_equal(one["state"][0]["exp_avg"], (1 - 0.9) * g)
    other.load_state_dict(one)
    for o in (opt, other):
        o.step(grads=[np.cos(g)])
    assert np.array_equal(p, q)


def test_state_of_another_precision_is_cast_to_the_parameters():
    opt = nbopt.Adam([np.zeros(3, np.float32)])
    opt.load_state_dict(adam(shapes=[(3,)]).state_dict())
    opt.step(grads=[np.ones(3, np.float32)])
    assert all(a.dtype == np.float32 for s in opt.state.values() for k, a in s.items() if k != "step")


class TestNames:
    """Named parameters are matched by name."""

    def make(self, names, steps=1):
        opt = nbopt.SGD({name: np.zeros(len(name)) for name in names}, lr=0.1, momentum=0.9)
        for _ in range(steps):
            opt.step(grads=[np.full(len(name), float(ord(name[0]))) for name in names])
        return opt

    def test_in_another_order(self):
        saved = self.make(["a", "bb", "ccc"]).state_dict()
        other = self.make(["ccc", "a", "bb"], steps=0)
        other.load_state_dict(saved)
        kept = {p.name: other.state[p]["momentum_buffer"] for p in other.param_groups[0]["params"]}
        assert {n: (len(v), chr(int(v[0]))) for n, v in kept.items()} == {
            "a": (1, "a"),
            "bb": (2, "b"),
            "ccc": (3, "c"),
        }
        assert other.param_groups[0]["param_names"] == ["ccc", "a", "bb"]

    def test_other_names_are_refused(self):
        with pytest.raises(
            ValueError, match=r"SGD: group 0 names other parameters than the state_dict: \['b', 'c'\]"
        ):
            self.make(["a", "b"]).load_state_dict(self.make(["a", "c"]).state_dict())

    @pytest.mark.parametrize("named", ["saved", "own"])
    def test_where_one_side_has_no_names_the_order_counts(self, named):
        plain = nbopt.SGD([np.zeros(1), np.zeros(2)], lr=0.1, momentum=0.9)
        plain.step(grads=[np.ones(1), np.full(2, 2.0)])
        with_names = self.make(["a", "bb"])
        source, target = (with_names, plain) if named == "saved" else (plain, with_names)
        target.load_state_dict(source.state_dict())
        assert ("param_names" in target.param_groups[0]) == (target is with_names)
        values = [float(s["momentum_buffer"][0]) for s in target.state.values()]
        assert values == ([97, 98] if named == "saved" else [1, 2])


def without(saved, *path):
    at = saved
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return saved


def edited(saved, value, *path):
    at = saved
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return saved


BROKEN = {
    "no dict": (lambda s: [1], "a state_dict is a dict with"),
    "no state": (lambda s: without(s, "state"), "a state_dict is a dict with"),
    "no groups": (lambda s: without(s, "param_groups"), "a state_dict is a dict with"),
    "groups of no list": (lambda s: edited(s, 3, "param_groups"), "must be a list of dicts"),
    "state of no dict": (lambda s: edited(s, [1], "state"), "must be a list of dicts and 'state' a dict"),
    "group of no dict": (lambda s: edited(s, 3, "param_groups", 0), "group 0 .* is not a dict with a list"),
    "group without params": (
        lambda s: without(s, "param_groups", 0, "params"),
        "group 0 .* is not a dict with a list",
    ),
    "another class": (lambda s: edited(s, "AdamW", "nbopt", "class"), "belongs to AdamW"),
    "another version": (lambda s: edited(s, 99, "nbopt", "version"), "has version 99; this nbopt reads 1"),
    "marker of no dict": (lambda s: edited(s, 3, "nbopt"), "'nbopt' is int"),
    "more groups": (
        lambda s: edited(s, s["param_groups"] * 2, "param_groups"),
        "has 2 parameter groups, the optimizer 1",
    ),
    "fewer parameters": (
        lambda s: edited(s, [0], "param_groups", 0, "params"),
        "has 1 parameters, the optimizer's 2",
    ),
    "parameter twice": (
        lambda s: edited(s, [0, 0], "param_groups", 0, "params"),
        "lists a parameter a second time",
    ),
    "missing option": (
        lambda s: without(s, "param_groups", 0, "betas"),
        "has no 'betas'; it belongs to another class",
    ),
    "option out of range": (lambda s: edited(s, -1, "param_groups", 0, "lr"), "lr=-1 must lie"),
    "state nobody owns": (lambda s: edited(s, {}, "state", 7), "has state for 7, which no group contains"),
    "state of one of no dict": (lambda s: edited(s, 3, "state", 1), "the state of parameter 1 is int"),
    "missing array": (lambda s: without(s, "state", 1, "exp_avg"), "parameter 1 has the state .*expected"),
    "missing step": (lambda s: without(s, "state", 0, "step"), "parameter 0 has the state .*expected"),
    "another shape": (
        lambda s: edited(s, np.zeros(5), "state", 0, "exp_avg"),
        r"exp_avg has shape \(5,\), the parameter \(3,\)",
    ),
    "transposed": (
        lambda s: edited(s, np.zeros((1, 3)), "state", 0, "exp_avg_sq"),
        r"exp_avg_sq has shape \(1, 3\)",
    ),
    "negative step": (lambda s: edited(s, -1, "state", 0, "step"), "step=-1 must be a count"),
    "step of many": (lambda s: edited(s, np.zeros(2), "state", 0, "step"), "step=.* must be a count"),
    "step of nan": (lambda s: edited(s, np.nan, "state", 0, "step"), "step=nan must be a count"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_does_not_fit_is_refused_and_nothing_has_changed(what):
    breaks, words = BROKEN[what]
    opt, twin = adam(), adam()
    broken = breaks(adam(seed=5, lr=0.3).state_dict())
    with pytest.raises(ValueError, match=f"^Adam: .*{words}"):
        opt.load_state_dict(broken)
    np.testing.assert_equal(opt.state_dict(), twin.state_dict())
    for o in (opt, twin):
        o.step(grads=[np.ones(3), np.ones((2, 2))])
    np.testing.assert_equal(opt.state_dict(), twin.state_dict())
    assert all(
        np.array_equal(p.data, q.data)
        for p, q in zip(opt.param_groups[0]["params"], twin.param_groups[0]["params"], strict=True)
    )


@pytest.mark.parametrize("bad", ["text", object(), np.array([1 + 1j])])
def test_a_step_that_is_no_number_is_an_error(bad):
    opt = adam()
    with pytest.raises((ValueError, TypeError)):
        opt.load_state_dict(edited(opt.state_dict(), bad, "state", 0, "step"))
    assert [int(s["step"]) for s in opt.state.values()] == [2, 2]


def test_options_that_came_later_are_filled_in():
    opt, saved = adam(), adam().state_dict()
    for name in ("amsgrad", "maximize", "foreach", "decoupled_weight_decay"):
        del saved["param_groups"][0][name]
    opt.load_state_dict(saved)
    assert opt.param_groups[0]["amsgrad"] is False and opt.param_groups[0]["foreach"] is None


def test_an_adamw_stays_decoupled_whatever_is_loaded():
    opt = nbopt.AdamW([np.zeros(3)])
    saved = opt.state_dict()
    saved["param_groups"][0]["decoupled_weight_decay"] = False
    opt.load_state_dict(saved)
    assert opt.param_groups[0]["decoupled_weight_decay"] is True


class TestUsersOwnKeys:
    """What users keep in state and groups travels along."""

    def test_there_and_back(self):
        opt = adam()
        p = opt.param_groups[0]["params"][0]
        opt.state["history"] = [1.0, {"x": np.arange(2)}]
        opt.state[p]["mine"] = ["a", np.arange(3)]
        opt.param_groups[0]["layer"] = {"depth": 3}
        opt.step()
        saved = opt.state_dict()
        opt.state["history"][1]["x"][0] = 99
        opt.state[p]["mine"][1][0] = 99
        opt.param_groups[0]["layer"]["depth"] = 99
        assert saved["state"]["history"][1]["x"][0] == 0 and saved["state"][0]["mine"][1][0] == 0
        assert saved["param_groups"][0]["layer"]["depth"] == 3
        other = adam(seed=9)
        other.load_state_dict(saved)
        q = other.param_groups[0]["params"][0]
        np.testing.assert_equal(other.state["history"], [1.0, {"x": np.arange(2)}])
        np.testing.assert_equal(other.state[q]["mine"], ["a", np.arange(3)])
        assert other.param_groups[0]["layer"] == {"depth": 3}
        other.step()
        assert other.state[q]["step"] == 4 and other.state[q]["mine"][0] == "a"

    def test_state_left_over_from_an_option_switched_off(self):
        opt = nbopt.SGD([np.zeros(2)], lr=0.1, momentum=0.9)
        opt.step(grads=[np.ones(2)])
        opt.param_groups[0]["momentum"] = 0
        opt.step()
        opt.load_state_dict(opt.state_dict())
        opt.step()
        assert opt.state_dict()["state"][0]["momentum_buffer"].tolist() == [1, 1]

    def test_without_the_marker_unknown_state_tells_the_class(self):
        saved = adam().state_dict()
        del saved["nbopt"]
        adam().load_state_dict(copy.deepcopy(saved))
        saved["state"][0]["mu_product"] = 0.9
        with pytest.raises(
            ValueError, match=r"state of parameter 0 has \['mu_product'\], which belongs to another"
        ):
            adam().load_state_dict(saved)


def test_a_subclass_may_check_and_change_what_is_loaded():
    class Half(nbopt.Optimizer):
        def __init__(self, params):
            super().__init__(params, {})

        def check_state(self, group, param, state, where):
            if "m" not in state:
                raise ValueError(f"{where} has no m")

        def adopt_state(self, group, param, state):
            return {"m": state["m"] / 2}

        def export_param_state(self, param, state):
            return {"m": state["m"] * 2, "seen": True}

        def adopt_group(self, group):
            group["mended"] = True

    opt = Half([np.zeros(2)])
    p = opt.param_groups[0]["params"][0]
    opt.state[p]["m"] = np.ones(2)
    saved = opt.state_dict()
    assert saved["state"][0]["m"].tolist() == [2, 2] and saved["state"][0]["seen"] is True
    opt.load_state_dict(saved)
    assert opt.state[p]["m"].tolist() == [1, 1] and opt.param_groups[0]["mended"] is True
    del saved["state"][0]["m"]
    with pytest.raises(ValueError, match=r"Half: parameter 0 has no m"):
        opt.load_state_dict(saved)


def test_arrays_inside_lists_are_copied():
    opt = nbopt.Optimizer([np.zeros(2)], {})
    p = opt.param_groups[0]["params"][0]
    opt.state[p]["pairs"] = [np.ones(2), (np.zeros(1), "x")]
    saved = opt.state_dict()
    opt.state[p]["pairs"][0][0] = 5
    assert saved["state"][0]["pairs"][0][0] == 1 and type(saved["state"][0]["pairs"][1]) is tuple
    opt.load_state_dict(saved)
    saved["state"][0]["pairs"][0][0] = 7
    assert opt.state[p]["pairs"][0][0] == 1
