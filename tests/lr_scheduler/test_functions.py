"""LambdaLR and MultiplicativeLR."""

import numpy as np
import pytest
from schedule_cases import Falling, ours, reading

from nbopt.lr_scheduler import LambdaLR, MultiplicativeLR


@pytest.mark.parametrize("kind", [LambdaLR, MultiplicativeLR])
def test_what_is_no_function_is_refused(kind):
    with pytest.raises(TypeError, match=f"{kind.__name__}: lr_lambda must be a function, not float"):
        kind(ours(1), 0.5)
    with pytest.raises(TypeError, match="must be a function, not NoneType"):
        kind(ours(2), [abs, None])


@pytest.mark.parametrize("kind", [LambdaLR, MultiplicativeLR])
def test_a_callable_objects_contents_travel_in_the_state(kind):
    first, second = Falling(0.9), Falling(0.5)
    state = kind(ours(1), first).state_dict()
    assert state["lr_lambdas"] == [{"rate": 0.9}]
    first.rate = 0.1
    assert state["lr_lambdas"] == [{"rate": 0.9}]
    kind(ours(1), second).load_state_dict(state)
    assert second.rate == 0.9
    assert state["lr_lambdas"] == [{"rate": 0.9}]


def test_functions_do_not_travel():
    assert LambdaLR(ours(2), lambda step: 1.0).state_dict()["lr_lambdas"] == [None, None]
    assert LambdaLR(ours(1), abs).state_dict()["lr_lambdas"] == [None]


def test_a_state_with_another_number_of_functions_is_refused():
    state = LambdaLR(ours(2), abs).state_dict()
    state["lr_lambdas"].append(None)
    scheduler = LambdaLR(ours(2), abs)
    with pytest.raises(ValueError, match="LambdaLR: the state has 3 lr_lambdas, the scheduler 2"):
        scheduler.load_state_dict(state)


def test_functions_see_plain_integers_from_zero_or_one():
    seen = []

    def note(step):
        assert type(step) is int
        seen.append(step)
        return 1.0

    LambdaLR.schedule(note).table(4)
    assert seen[-4:] == [0, 1, 2, 3]
    seen.clear()
    optimizer = ours(1)
    scheduler = MultiplicativeLR(optimizer, note)
    scheduler.step()
    scheduler.step()
    assert seen == [1, 2]


def test_multiplicative_value_is_a_product():
    scheduler = MultiplicativeLR(ours(1), lambda step: 1.0 / step)
    assert scheduler.value(4, 48.0) == 2.0
    np.testing.assert_allclose(scheduler.value(np.array([0, 3, 2]), 6.0), [6.0, 1.0, 3.0])


def test_lambda_wipes_an_edited_rate():
    optimizer = ours(1)
    scheduler = LambdaLR(optimizer, lambda step: 0.5)
    optimizer.param_groups[0]["lr"] = 9.0
    scheduler.step()
    assert reading(optimizer)[0] == [0.025]
