"""Every way to say which parameters to optimize, and the refusals."""

import collections
import copy
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import nbopt
from nbopt import Parameter
from nbopt.optim.param_groups import array_of


@pytest.fixture
def a():
    return np.arange(3.0)


@pytest.fixture
def b():
    return np.arange(4.0).reshape(2, 2)


def data_of(opt):
    return [[p.data for p in group["params"]] for group in opt.param_groups]


WAYS = {
    "list of arrays": lambda a, b: [a, b],
    "tuple of arrays": lambda a, b: (a, b),
    "generator": lambda a, b: (x for x in (a, b)),
    "dict view": lambda a, b: {"a": a, "b": b}.values(),
    "parameters": lambda a, b: [Parameter(a), Parameter(b)],
    "mixed": lambda a, b: [a, Parameter(b)],
    "pairs": lambda a, b: [("a", a), ("b", b)],
    "dict of names": lambda a, b: {"a": a, "b": b},
    "dict items": lambda a, b: {"a": a, "b": b}.items(),
    "one group": lambda a, b: [{"params": [a, b]}],
    "one group of names": lambda a, b: [{"params": {"a": a, "b": b}}],
    "other mapping": lambda a, b: collections.OrderedDict(a=a, b=b),
}


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_lead_to_one_group_with_the_users_memory(way, a, b):
    opt = nbopt.SGD(WAYS[way](a, b), lr=1.0)
    assert len(opt.param_groups) == 1
    found = data_of(opt)[0]
    assert found[0] is a and found[1] is b
    assert all(type(p) is Parameter for p in opt.param_groups[0]["params"])
    names = ["a", "b"] if "pairs" in way or "names" in way or "items" in way or "mapping" in way else None
    assert opt.param_groups[0].get("param_names") == names
    assert names is None or [p.name for p in opt.param_groups[0]["params"]] == names
    opt.step(grads=[np.ones(3), np.ones((2, 2))])
    assert a.tolist() == [-1, 0, 1] and b.tolist() == [[-1, 0], [1, 2]]


def test_parameters_stay_the_users_objects(a):
    p = Parameter(a)
    assert nbopt.SGD([p]).param_groups[0]["params"][0] is p
    assert nbopt.SGD([("w", p)]).param_groups[0]["params"][0] is p


def test_groups_keep_their_options_and_take_the_rest_from_the_defaults(a, b):
    given = [{"params": a, "lr": 0.5}, {"params": (p for p in [b]), "mine": "x"}]
    kept = copy.copy(given[0])
    opt = nbopt.SGD(given, lr=0.1, momentum=0.9)
    assert [g["lr"] for g in opt.param_groups] == [0.5, 0.1]
    assert [g["momentum"] for g in opt.param_groups] == [0.9, 0.9]
    assert opt.param_groups[1]["mine"] == "x" and opt.defaults["lr"] == 0.1
    assert given[0] == kept and opt.param_groups[0] is not given[0], "the user's dict was changed"
    opt.step(grads=[np.ones(3), np.ones((2, 2))])
    np.testing.assert_allclose(a, [-0.5, 0.5, 1.5])
    np.testing.assert_allclose(b, [[-0.1, 0.9], [1.9, 2.9]])


def test_an_empty_group_is_allowed_and_filled_later(a):
    opt = nbopt.SGD([{"params": []}, {"params": [a]}], lr=1.0)
    opt.step(grads=[np.ones(3)])
    opt.param_groups[0]["params"].append(Parameter(np.zeros(1), np.ones(1)))
    opt.step()
    assert a.tolist() == [-2, -1, 0] and data_of(opt)[0][0].tolist() == [-1]


def read_only(x):
    x.flags.writeable = False
    return x


OVERLAP = np.zeros(10)
REFUSED = {
    "one array": (np.zeros(2), TypeError, r"got one ndarray; write \[ndarray\] around it"),
    "one parameter": (Parameter(np.zeros(2)), TypeError, "got one Parameter"),
    "one group dict": ({"params": [np.zeros(2)]}, TypeError, r"one group dict; write \[\{'params'"),
    "set": ({1, 2}, TypeError, "is a set, which has no order"),
    "set in a group": ([{"params": {1, 2}}], TypeError, "is a set, which has no order"),
    "string": ("abc", TypeError, "must be an iterable, but got str"),
    "module": (SimpleNamespace(parameters=list), TypeError, r"Namespace; pass its parameters\(\)"),
    "number": (3, TypeError, "must be an iterable, but got int"),
    "none": (None, TypeError, "must be an iterable, but got NoneType"),
    "empty list": ([], ValueError, "params is empty"),
    "empty dict": ({}, ValueError, "params is empty"),
    "empty generator": ((x for x in ()), ValueError, "params is empty"),
    "numbers": ([1.0, 2.0], TypeError, r"params\[0\] is float"),
    "list of lists": ([[1.0]], TypeError, r"params\[0\] is list"),
    "integers": ([np.zeros(2), np.arange(2)], TypeError, r"params\[1\] has dtype int64"),
    "foreign": ([np.zeros(2, ">f8")], TypeError, "foreign byte order"),
    "masked": ([np.ma.zeros(2)], TypeError, "MaskedArray"),
    "objects": ([np.array([None])], TypeError, "dtype object"),
    "read-only": ([("w", read_only(np.zeros(2)))], ValueError, "w is read-only"),
    "broadcast": ([as_strided(np.zeros(2), (3, 2), (0, 8))], ValueError, "overlaps itself"),
    "same array twice": ([OVERLAP, OVERLAP], ValueError, "parameters 0 and 1 share memory"),
    "overlapping": ([OVERLAP[:6], np.zeros(3), OVERLAP[5:]], ValueError, "parameters 0 and 2 share memory"),
    "overlapping groups": ([{"params": OVERLAP[:6]}, {"params": OVERLAP[::5]}], ValueError, "share memory"),
    "some named": ([("a", np.zeros(1)), np.zeros(2)], ValueError, "some have none"),
    "name twice": ([("a", np.zeros(1)), ("a", np.zeros(2))], ValueError, "'a'.* more than one"),
    "name is no string": ([(1, np.zeros(1))], TypeError, r"must be \(name, array\)"),
    "triple": ([("a", np.zeros(1), 3)], TypeError, r"must be \(name, array\)"),
    "group without params": ([{"lr": 0.1}], ValueError, "needs the key 'params'"),
    "not all groups": ([{"params": [np.zeros(1)]}, np.zeros(2)], TypeError, "a group must be a dict"),
    "group among arrays": ([np.zeros(2), {"params": np.zeros(1)}], TypeError, r"params\[1\] is dict"),
    "named and unnamed groups": (
        [{"params": [("a", np.zeros(1))]}, {"params": [np.zeros(1)]}],
        ValueError,
        "all groups must have named",
    ),
    "option out of range": (
        [{"params": [np.zeros(1)], "lr": -1}],
        ValueError,
        r"lr=-1 must lie in \[0, inf\)",
    ),
    "option of no sense": (
        [{"params": [np.zeros(1)], "lr": "fast"}],
        TypeError,
        "lr='fast' must be a number",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals_name_the_owner_and_the_trouble(what):
    params, error, words = REFUSED[what]
    with pytest.raises(error, match=f"^SGD: .*{words}"):
        nbopt.SGD(params)


def test_the_same_parameter_twice_is_named(a):
    p = Parameter(a)
    with pytest.raises(ValueError, match=r"SGD: parameter 1 is parameter 0 again"):
        nbopt.SGD([p, p])
    with pytest.raises(ValueError, match=r"SGD: parameter 2 is parameter 0 again"):
        nbopt.SGD([{"params": [p, np.zeros(1)]}, {"params": [p]}])


def test_interleaved_slices_of_one_array_are_apart():
    whole = np.zeros(6)
    opt = nbopt.SGD([whole[::2], whole[1::2]], lr=1.0)
    opt.step(grads=[np.ones(3), np.full(3, 2.0)])
    assert whole.tolist() == [-1, -2] * 3


class TestAddParamGroup:
    """Groups added later."""

    def test_it_takes_part_from_the_next_step_on_and_the_others_keep_their_state(self, a, b):
        opt = nbopt.Adam([a], lr=0.1)
        opt.step(grads=[np.ones(3)])
        opt.add_param_group({"params": b, "lr": 0.5})
        opt.step(grads=[np.ones(3), np.ones((2, 2))])
        first, second = (g["params"][0] for g in opt.param_groups)
        assert opt.state[first]["step"] == 2 and opt.state[second]["step"] == 1
        np.testing.assert_allclose(b, np.arange(4.0).reshape(2, 2) - 0.5)

    @pytest.mark.parametrize(
        "group, error",
        [
            ({"params": [np.zeros(1)], "lr": -1}, ValueError),
            ({"params": [np.zeros(1), 3]}, TypeError),
            ({"lr": 1}, ValueError),
            ([np.zeros(1)], TypeError),
            ({"params": [("n", np.zeros(1))]}, ValueError),
            ({"params": [OVERLAP[3:]]}, ValueError),
        ],
    )
    def test_a_refusal_changes_nothing(self, group, error):
        opt = nbopt.Adam([OVERLAP])
        opt.step(grads=[np.ones(10)])
        before = repr(opt), copy.deepcopy(opt.state_dict()), len(opt.param_groups)
        with pytest.raises(error):
            opt.add_param_group(group)
        assert repr(opt) == before[0] and len(opt.param_groups) == before[2]
        np.testing.assert_equal(opt.state_dict(), before[1])
        opt.step()
        assert opt.state_dict()["state"][0]["step"] == 2


class TestNearMisses:
    """Misspelt options warn; keys of the user's own pass."""

    @pytest.mark.parametrize(
        "key, meant",
        [
            ("learning_rte", None),
            ("momentun", "momentum"),
            ("weight_decy", "weight_decay"),
            ("param", "params"),
            ("maximise", "maximize"),
        ],
    )
    def test_a_misspelt_option_warns(self, key, meant, a):
        if meant is None:
            assert nbopt.SGD([{"params": [a], key: 1}]).param_groups[0][key] == 1
        else:
            with pytest.warns(
                UserWarning, match=f"SGD: the group's {key!r} is not an option; is {meant!r} meant"
            ):
                nbopt.SGD([{"params": [a], key: 1}])

    @pytest.mark.parametrize(
        "key", ["initial_lr", "max_lr", "min_lr", "swa_lr", "name", "note", "layer", "lr_scale", 3]
    )
    def test_other_keys_pass(self, key, a):
        opt = nbopt.SGD([{"params": [a], key: 1}])
        assert opt.param_groups[0][key] == 1
        opt.step(grads=[np.ones(3)])


class TestEditedLists:
    """A group's list is the user's to edit; what does not fit is told at the next step."""

    def test_added_removed_and_exchanged_parameters(self, a):
        opt = nbopt.Adam([Parameter(a)], lr=0.1)
        opt.step(grads=[np.ones(3)])
        first = opt.param_groups[0]["params"][0]
        second, third = (Parameter(np.zeros(2), np.ones(2)) for _ in range(2))
        opt.param_groups[0]["params"].append(second)
        opt.step()
        opt.param_groups[0]["params"][1] = third
        opt.step()
        opt.param_groups[0]["params"] = [third]
        opt.step()
        assert [int(opt.state[p]["step"]) for p in (first, second, third)] == [3, 1, 2]
        np.testing.assert_allclose(third.data, [-0.2, -0.2])

    def test_a_tuple_in_place_of_the_list_works(self, a):
        opt = nbopt.SGD([a], lr=1.0)
        opt.param_groups[0]["params"] = tuple(opt.param_groups[0]["params"])
        for _ in range(2):
            opt.step(grads=[np.ones(3)])
        assert a.tolist() == [-2, -1, 0]

    @pytest.mark.parametrize("what", [np.zeros(2), None, "w"])
    def test_what_is_no_parameter_is_named(self, what, a):
        opt = nbopt.SGD([Parameter(a, np.ones(3))], lr=1.0)
        opt.param_groups[0]["params"].append(what)
        with pytest.raises(
            TypeError, match=r"SGD: parameter 1 of a group is .*use add_param_group, or wrap it"
        ):
            opt.step()
        with pytest.raises(TypeError, match=r"SGD: parameter 1 of a group is"):
            opt.step(grads=[np.ones(3), np.ones(2)])
        opt.param_groups[0]["params"].pop()
        opt.step()
        assert a.tolist() == [-1, 0, 1]

    def test_a_parameter_that_appears_twice_or_shares_memory_is_not_stepped_twice(self, a):
        p = Parameter(a, np.ones(3))
        opt = nbopt.SGD([p], lr=1.0)
        opt.step()
        opt.param_groups[0]["params"].append(p)
        with pytest.raises(ValueError, match=r"parameter 1 is parameter 0 again"):
            opt.step()
        opt.param_groups[0]["params"][1] = Parameter(a[1:], np.ones(2))
        with pytest.raises(ValueError, match=r"parameters 0 and 1 share memory"):
            opt.step()
        opt.param_groups[0]["params"][1].data = np.zeros(2)
        opt.step()
        assert a.tolist() == [-2, -1, 0]


def test_the_memory_of_a_parameter_is_an_array_without_its_subclass():
    assert array_of(Parameter(np.zeros(2))).shape == (2,)
    p = Parameter(np.zeros((2, 2)))
    p.data = p.data.view(np.matrix)
    assert type(array_of(p)) is np.ndarray and np.shares_memory(array_of(p), p.data)


def test_warnings_point_to_the_line_of_the_user():
    with pytest.warns(UserWarning, match="'weigth_decay' is not an option") as caught:
        optimizer = nbopt.AdamW([{"params": [np.zeros(2)], "weigth_decay": 0.1}])
        optimizer.add_param_group({"params": [np.zeros(2)], "weigth_decay": 0.1})
    assert [w.filename for w in caught] == [__file__] * 2
