"""Laws of all schedulers: tables, states, resumption, later groups, warnings, your own classes, refusals."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
from schedule_cases import CASES, LISTS, LRS, STEPS, follow, ours, reading, slowly

import nbopt
from nbopt.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

ADOPTING = [case for case in CASES if case.adopts]
CLASSES = list({case.name: case for case in CASES}.values())


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def plain(value):
    """Tell whether a state is made of types that need no pickle."""
    if isinstance(value, dict):
        return all(type(key) in {str, int} and plain(v) for key, v in value.items()) and type(value) is dict
    if type(value) in {list, tuple}:
        return all(plain(v) for v in value)
    return value is None or type(value) in {bool, int, float, str}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_table_is_what_stepping_gives(case, groups):
    optimizer = ours(groups)
    scheduler = case.ours(optimizer)
    before = copy.deepcopy([{**g, "params": None} for g in optimizer.param_groups])
    early = scheduler.table(STEPS)
    assert [{**g, "params": None} for g in optimizer.param_groups] == before
    stepped = follow(optimizer, scheduler)[:, 0]
    assert early.shape == ((STEPS,) if groups == 1 else (STEPS, groups))
    close(early.reshape(STEPS, groups), stepped)
    close(scheduler.table(STEPS), early)  # wherever the scheduler stands
    close(scheduler.table(50), early[:50])
    assert scheduler.table(0).shape == early[:0].shape


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_table_with_one_value_per_group(case):
    optimizer = ours(2)
    scheduler = case.ours(optimizer)
    close(scheduler.table(STEPS), follow(optimizer, scheduler)[:, 0])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_schedule_without_an_optimizer(case):
    schedule = case.kind.schedule(**case.options)
    optimizer = ours(2)
    stepped = follow(optimizer, schedule.bind(optimizer))[:, 0]
    close(schedule.table(STEPS, lr=LRS), stepped)
    close(schedule.table(STEPS, lr=LRS[0]), stepped[:, 0])


@pytest.mark.parametrize("case", CASES + LISTS, ids=str)
def test_state_is_plain_and_goes_on_where_it_was(case):
    optimizer = ours(2)
    scheduler = case.ours(optimizer)
    follow(optimizer, scheduler, 61)
    state, options = scheduler.state_dict(), copy.deepcopy(optimizer.state_dict())
    assert plain(state)
    kept = copy.deepcopy(state)
    expected = follow(optimizer, scheduler, 130)
    assert state == kept  # a copy: stepping on did not change it

    again = ours(2)
    resumed = case.ours(again)
    again.load_state_dict(options)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == kept
    assert np.array_equal(follow(again, resumed, 130), expected)
    assert state == kept


@pytest.mark.parametrize("offset", [0, -1])
@pytest.mark.parametrize("case", CASES + LISTS, ids=str)
def test_resumed_by_last_epoch_of_the_finished_step_or_the_scheduler_unlike_torch(case, offset):
    """Torch needs the one in half of the classes and the other in the rest."""
    for stop in (1, 7, 30):
        optimizer = ours(2)
        scheduler = case.ours(optimizer)
        follow(optimizer, scheduler, stop + 1)
        options = copy.deepcopy(optimizer.state_dict())
        whole = follow(optimizer, scheduler, 50)[1 + offset :]
        again = ours(2)
        again.load_state_dict(options)
        resumed = case.ours(again, last_epoch=scheduler.last_epoch - 49 + offset)
        assert resumed.last_epoch == stop + 1 + offset
        close(follow(again, resumed, 48), whole[:48])


def test_resumed_keeps_an_edited_rate():
    optimizer = ours(1)
    StepLR(optimizer, 5)
    optimizer.param_groups[0]["lr"] = 0.123
    StepLR(optimizer, 5, last_epoch=4)
    assert reading(optimizer)[0] == [0.123]


def test_resuming_without_a_base_rate_is_refused():
    with pytest.raises(KeyError, match=r"StepLR: last_epoch=3 .* param_groups\[0\] has no 'initial_lr'"):
        StepLR(ours(1), 5, last_epoch=3)
    with pytest.raises(ValueError, match=r"StepLR: last_epoch=-2 must be a whole number >= -1"):
        StepLR(ours(1), 5, last_epoch=-2)


@pytest.mark.parametrize("case", ADOPTING, ids=str)
def test_a_group_added_later_is_taken_in_unlike_torch(case):
    optimizer = ours(1)
    scheduler = case.ours(optimizer)
    follow(optimizer, scheduler, 10)
    first = reading(optimizer)
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 0.02})
    for _ in range(60):
        optimizer.step()
        scheduler.step()
    alone = ours(1)
    expected = follow(alone, case.ours(alone), 70)[-1]
    close(reading(optimizer)[0][0], expected[0][0])
    close(reading(optimizer)[1][0], expected[1][0])
    assert len(scheduler.get_last_lr()) == len(scheduler.base_lrs) == 2
    assert scheduler.base_lrs[1] == optimizer.param_groups[1]["initial_lr"]
    assert first != reading(optimizer)
    if not case.multiplies:  # where the rate depends on the step alone
        close(reading(optimizer)[0][1], case.kind.schedule(**case.options).table(70, lr=0.02)[-1])
    assert scheduler.table(5).shape == (5, 2)


def test_a_table_counts_groups_that_no_step_has_seen():
    optimizer = ours(1)
    scheduler = StepLR(optimizer, 2)
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 1.0})
    close(scheduler.table(3), [[0.05, 1.0], [0.05, 1.0], [0.005, 0.1]])
    assert "initial_lr" not in optimizer.param_groups[1]


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_a_list_that_is_too_short_for_a_later_group_is_refused(case):
    optimizer = ours(2)
    scheduler = case.ours(optimizer)
    optimizer.step()
    scheduler.step()
    before = reading(optimizer), scheduler.state_dict()
    optimizer.add_param_group({"params": [np.zeros(1)]})
    with pytest.raises(ValueError, match=f"{case.name}: .* has 2 values, but the optimizer has 3 groups"):
        scheduler.step()
    optimizer.param_groups.pop()
    after = scheduler.state_dict()
    assert (reading(optimizer), after["base_lrs"]) == (before[0], before[1]["base_lrs"])
    assert after["last_epoch"] == before[1]["last_epoch"]


def test_a_group_that_went_is_refused():
    optimizer = ours(2)
    scheduler = StepLR(optimizer, 3)
    del optimizer.param_groups[0]
    with pytest.raises(ValueError, match="StepLR: the optimizer had 2 groups and now has 1"):
        scheduler.step()


def test_a_second_scheduler_starts_from_the_first_ones_base():
    optimizer = ours(1)
    first = StepLR(optimizer, 1)
    first.step()
    LambdaLR(optimizer, lambda step: 1.0)
    assert reading(optimizer)[0] == [0.05]


def test_construction_sets_initial_lr_once():
    optimizer = ours(2)
    StepLR(optimizer, 3)
    optimizer.param_groups[0]["lr"] = 9.0
    assert StepLR(optimizer, 3).base_lrs == list(LRS)


def test_the_order_warning():
    fresh = nbopt.SGD([np.zeros(1)], lr=0.1)
    scheduler = StepLR(fresh, 3)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` was called before `optimizer.step\(\)`"):
        scheduler.step()
    scheduler.step()  # once is enough

    good = nbopt.SGD([np.zeros(1)], lr=0.1)
    scheduler = StepLR(good, 3)
    good.step()
    scheduler.step()


def test_a_step_replaced_by_the_user_gives_no_warning_unlike_torch():
    optimizer = nbopt.SGD([np.zeros(1)], lr=0.1)
    scheduler = StepLR(optimizer, 3)
    assert "step" not in vars(optimizer)  # nothing was patched
    own = optimizer.step
    optimizer.step = lambda *args: own(*args)
    optimizer.step()
    scheduler.step()


def test_warnings_for_an_epoch_and_for_get_lr():
    optimizer = ours(1)
    scheduler = ExponentialLR(optimizer, 0.5)
    with pytest.warns(UserWarning, match=r"step\(epoch\) is deprecated"):
        scheduler.step(3)
    assert reading(optimizer)[0] == [0.05 * 0.5**3]
    with pytest.warns(UserWarning, match="get_last_lr"):
        assert scheduler.get_lr() == [0.05 * 0.5**4]
    with pytest.raises(ValueError, match=r"ExponentialLR: epoch=-1 must lie in \[0, inf\)"):
        scheduler.step(-1)


def test_get_last_lr_is_a_copy():
    optimizer = ours(2)
    scheduler = StepLR(optimizer, 3)
    scheduler.get_last_lr()[0] = 7.0
    assert scheduler.get_last_lr() == list(LRS)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_rate_in_an_array_is_written_in_place(shape):
    optimizer = ours(1)
    held = optimizer.param_groups[0]["lr"] = np.full(shape, 0.5)
    scheduler = ExponentialLR(optimizer, 0.5)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is held
    assert held == 0.25
    assert json.dumps(scheduler.state_dict())


class FromTorch(LRScheduler):
    """A subclass as people write them for torch: get_lr over last_epoch, base_lrs and groups."""

    def __init__(self, optimizer, divisor, last_epoch=-1):
        self.divisor = divisor
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        if not self._get_lr_called_within_step:
            warnings.warn("not in step", stacklevel=1)
        if self._is_initial:
            return [group["lr"] for group in self.optimizer.param_groups]
        return [group["lr"] / self.divisor for group in self.optimizer.param_groups]


class Halving(LRScheduler):
    def value(self, step, base_lr, group=0):
        return base_lr * 0.5**step


class Reworked(StepLR):
    def get_lr(self):
        return [0.25 * base for base in self.base_lrs]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("make", [Halving, lambda o: FromTorch(o, 2.0), lambda o: Reworked(o, 3)])
def test_your_own_class(make, groups):
    optimizer = ours(groups)
    scheduler = make(optimizer)
    expected = follow(optimizer, scheduler, 20)[:, 0]
    close(scheduler.table(20).reshape(20, groups), expected)
    factors = 0.25 if isinstance(scheduler, Reworked) else 0.5 ** np.arange(20)[:, None]
    close(expected, factors * np.array(LRS[:groups]) * np.ones((20, 1)))
    state = scheduler.state_dict()
    again = make(ours(groups))
    again.load_state_dict(state)
    assert again.state_dict() == state


def test_a_class_with_neither_form_says_so():
    with pytest.raises(NotImplementedError, match=r"LRScheduler defines neither get_lr\(\) nor value\(\)"):
        LRScheduler(ours(1))


def test_a_get_lr_of_the_wrong_length_changes_nothing():
    class Short(LRScheduler):
        def get_lr(self):
            return [0.1] * (2 if self.last_epoch == 0 else 1)

    optimizer = ours(2)
    scheduler = Short(optimizer)
    before = scheduler.last_epoch, reading(optimizer)
    with pytest.raises(ValueError, match=r"Short: get_lr\(\) must give one number for each of 2 groups"):
        scheduler.step()
    assert (scheduler.last_epoch, reading(optimizer)) == before


def test_copies_are_independent():
    optimizer = ours(1)
    scheduler = CosineAnnealingLR(optimizer, 9)
    for copied in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        other, follower = copied((optimizer, scheduler))
        assert follower.optimizer is other
        other.step()
        follower.step()
        assert reading(other) != reading(optimizer)
        assert scheduler.last_epoch == 0


@pytest.mark.parametrize("other", CLASSES, ids=lambda case: case.name)
def test_a_state_of_another_class_is_refused_and_nothing_changes(other):
    optimizer = ours(1)
    foreign = other.ours(ours(1)).state_dict()
    scheduler = (StepLR if other.name != "StepLR" else CosineAnnealingLR)(optimizer, 3)
    before = scheduler.state_dict()
    with pytest.raises(ValueError, match=r"the state lacks \["):
        scheduler.load_state_dict(foreign)
    with pytest.raises(TypeError, match="a state must be a dict, but got list"):
        scheduler.load_state_dict([1])
    assert scheduler.state_dict() == before


def test_a_state_shares_nothing_with_the_scheduler():
    optimizer = ours(1)
    scheduler = StepLR(optimizer, 3)
    state = scheduler.state_dict()
    state["base_lrs"][0] = state["_last_lr"][0] = 9.0
    assert scheduler.base_lrs == scheduler.get_last_lr() == [0.05]
    scheduler.load_state_dict(state)
    state["base_lrs"].append(1.0)
    assert scheduler.base_lrs == [9.0]


def test_a_state_with_more_groups_is_refused():
    state = StepLR(ours(2), 3).state_dict()
    with pytest.raises(ValueError, match="StepLR: the state has 2 groups, the optimizer 1"):
        StepLR(ours(1), 3).load_state_dict(state)


@pytest.mark.parametrize("foreign", [None, 3, [np.zeros(2)], {"lr": 0.1}, np.zeros(3), nbopt.SGD])
@pytest.mark.parametrize("case", CASES[::3] + LISTS, ids=str)
def test_a_foreign_optimizer_is_refused(case, foreign):
    with pytest.raises(TypeError, match=f"{case.name}: optimizer must be an optimizer of nbopt or torch"):
        case.ours(foreign)


def test_anything_with_groups_defaults_and_step_will_do():
    class Own:
        def __init__(self):
            self.param_groups, self.defaults = [{"params": [], "lr": 1.0}], {"lr": 1.0}

        def step(self):
            pass

    optimizer = Own()
    scheduler = StepLR(optimizer, 1)
    scheduler.step()  # it does not count its steps, so there is no warning
    assert optimizer.param_groups[0]["lr"] == 0.1
    optimizer.param_groups[0].pop("lr")
    with pytest.raises(ValueError, match=r"StepLR: param_groups\[0\] of Own has no number 'lr'"):
        StepLR(optimizer, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: StepLR(o, 0), "StepLR: step_size=0 must be a whole number >= 1"),
        (lambda o: StepLR(o, 2.5), "StepLR: step_size=2.5 must be a whole number >= 1"),
        (lambda o: StepLR(o, 3, gamma=-0.1), r"StepLR: gamma=-0.1 must lie in \[0, inf\)"),
        (lambda o: StepLR(o, 3, gamma=float("nan")), r"StepLR: gamma=nan must lie in \[0, inf\)"),
        (lambda o: CosineAnnealingLR(o, 0), r"CosineAnnealingLR: T_max=0 must lie in \(0, inf\)"),
        (lambda o: OneCycleLR(o, [0.1], 5), "OneCycleLR: max_lr has 1 values, but there are 2 param groups"),
        (
            lambda o: ReduceLROnPlateau(o, min_lr=[0.0] * 3),
            "min_lr has 3 values, but there are 2 param groups",
        ),
        (lambda o: LambdaLR(o, [slowly]), "LambdaLR: lr_lambda has 1 values, but there are 2 param groups"),
        (lambda o: SequentialLR(o, [], []), "SequentialLR: schedulers must be a list of at least one"),
    ],
)
def test_bad_options_are_refused_before_anything_changes(make, message):
    optimizer = ours(2)
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(ValueError, match=message):
        make(optimizer)
    assert optimizer.param_groups == before


def test_a_tables_length_is_checked():
    with pytest.raises(ValueError, match="StepLR: n=-1 must be a whole number >= 0"):
        StepLR(ours(1), 3).table(-1)
    with pytest.raises(TypeError, match="StepLR: n='a' must be a whole number >= 0"):
        StepLR(ours(1), 3).table("a")
