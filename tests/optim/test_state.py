"""The state's dicts: they note every change, and behave as dicts."""

import copy
import pickle

import numpy as np
import pytest

from nbopt.optim.state import Flag, NotingDict, State


@pytest.fixture
def flag():
    return Flag()


CHANGES = {
    "set": lambda d: d.__setitem__("b", 2),
    "delete": lambda d: d.__delitem__("a"),
    "or": lambda d: d.__ior__({"b": 2}),
    "clear": lambda d: d.clear(),
    "pop": lambda d: d.pop("a"),
    "pop with a default": lambda d: d.pop("z", None),
    "popitem": lambda d: d.popitem(),
    "setdefault": lambda d: d.setdefault("b", 2),
    "update": lambda d: d.update(b=2),
}
READS = {
    "get": lambda d: d["a"],
    "get or none": lambda d: d.get("z"),
    "in": lambda d: "a" in d,
    "items": lambda d: list(d.items()),
    "len": len,
    "or": lambda d: d | {"b": 2},
    "copy": lambda d: d.copy(),
    "deepcopy": copy.deepcopy,
    "compare": lambda d: d == {"a": {}},
}


@pytest.mark.parametrize("kind", [NotingDict, State])
@pytest.mark.parametrize("change", CHANGES)
def test_each_change_raises_the_flag_and_does_what_dict_does(change, kind, flag):
    noting = kind(flag)
    plain = {"a": {"x": 1}}
    noting["a"] = {"x": 1}
    flag.raised = False
    CHANGES[change](noting)
    CHANGES[change](plain)
    assert flag.raised and noting == plain


@pytest.mark.parametrize("kind", [NotingDict, State])
@pytest.mark.parametrize("read", READS)
def test_reading_does_not(read, kind, flag):
    noting = kind(flag)
    noting["a"] = {}
    flag.raised = False
    READS[read](noting)
    assert not flag.raised


def test_an_unknown_parameter_has_an_empty_state_from_then_on(flag):
    state = State(flag)
    flag.raised = False
    inner = state["p"]
    assert inner == {} and "p" in state and flag.raised
    assert state["p"] is inner
    assert state.get("q") is None and "q" not in state


@pytest.mark.parametrize(
    "insert",
    [
        lambda s, d: s.__setitem__("p", d),
        lambda s, d: s.update({"p": d}),
        lambda s, d: s.update([("p", d)]),
        lambda s, d: s.update(p=d),
        lambda s, d: s.setdefault("p", d),
        lambda s, d: s.__ior__({"p": d}),
    ],
    ids=["set", "update", "pairs", "keyword", "setdefault", "or"],
)
def test_however_a_state_came_in_a_change_inside_it_is_noted(insert, flag):
    state = State(flag)
    insert(state, {"step": 1})
    flag.raised = False
    state["p"]["step"] = 2
    assert flag.raised and state == {"p": {"step": 2}}
    assert isinstance(state, State)


def test_setdefault_keeps_what_is_there(flag):
    state = State(flag)
    state["p"] = {"step": 1}
    assert state.setdefault("p", {"step": 5}) == {"step": 1}
    assert state.setdefault("q") == {}


def test_the_dict_of_another_optimizer_is_copied(flag):
    state, other = State(flag), State(Flag())
    other["p"] = {"step": 1}
    state["p"] = other["p"]
    state["p"]["step"] = 2
    assert other["p"]["step"] == 1 and state["p"] is not other["p"]


def test_what_is_no_dict_is_kept_as_it_is(flag):
    state = State(flag)
    state["note"] = [1, 2]
    assert state["note"] == [1, 2]


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d)), State.copy]
)
def test_copies_are_plain_dicts(how, flag):
    state = State(flag)
    state["p"] = {"m": np.zeros(2)}
    twin = how(state)
    assert type(twin) is dict and twin.keys() == {"p"}
    assert twin["p"]["m"].tolist() == [0, 0]
