"""Lazy fields: made once, when asked for, however they are asked for."""

import copy
import json
import pickle

import pytest
from scipy.optimize import OptimizeResult

from nbopt.solvers.result import Lazy, LazyResult


def make():
    made = []

    def build():
        made.append(1)
        return 42

    return LazyResult(x=1.0, big=Lazy(build), success=True), made


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.big,
        lambda r: r["big"],
        lambda r: r.get("big"),
        lambda r: r.get("big", 0),
        lambda r: r.setdefault("big", 0),
        lambda r: dict(r)["big"],
        lambda r: {**r}["big"],
        lambda r: dict(r.items())["big"],
        lambda r: list(r.values())[1],
        lambda r: r.copy().big,
        lambda r: copy.copy(r).big,
        lambda r: copy.deepcopy(r).big,
        lambda r: OptimizeResult(r).big,
        lambda r: r.pop("big"),
        lambda r: (r | {})["big"],
        lambda r: pickle.loads(pickle.dumps(r)).big,
        lambda r: json.loads(json.dumps(dict(r)))["big"],
    ],
)
def test_every_way_of_asking(ask):
    result, made = make()
    assert ask(result) == 42
    assert len(made) == 1


def test_nothing_is_made_before():
    result, made = make()
    assert result.x == 1.0 and "big" in result and list(result) == ["x", "big", "success"]
    assert result.keys() == {"x", "big", "success"} and len(result) == 3 and set(dir(result)) == set(result)
    assert not made
    assert result.big == result.big == 42
    assert len(made) == 1


def test_it_is_an_optimize_result():
    result, _ = make()
    assert isinstance(result, OptimizeResult)
    assert "big: 42" in repr(result)
    assert result == {"x": 1.0, "big": 42, "success": True} and result != {"x": 1.0}
    result.x = 2.0
    assert result["x"] == 2.0
    del result.x
    with pytest.raises(AttributeError):
        result.x
    with pytest.raises(KeyError):
        result["y"]
    assert result.get("y", 3) == 3 and result.pop("y", 4) == 4
    assert result.popitem() == ("success", True)


def test_pickle_keeps_the_class():
    assert type(pickle.loads(pickle.dumps(make()[0]))) is LazyResult
