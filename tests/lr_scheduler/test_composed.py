"""SequentialLR and ChainedScheduler."""

import copy

import numpy as np
import pytest
from schedule_cases import CASES, follow, ours, reading

import nbopt
from nbopt.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from nbopt.swa_utils import SWALR


def with_rate(lr):
    optimizer = nbopt.SGD([np.zeros(1)], lr=lr, momentum=0.9)
    optimizer.step()
    return optimizer


def rates_of(scheduler, steps):
    return follow(scheduler.optimizer, scheduler, steps)[:, 0, 0]


def three(optimizer):
    """Parts with states of their own, of which the last goes on from the rate as it is."""
    return [
        LinearLR(optimizer, 0.1, total_iters=4),
        CosineAnnealingWarmRestarts(optimizer, 2, 2, 0.001),
        SWALR(optimizer, 0.002, 5),
    ]


def test_sequential_golden_values_of_torch():
    optimizer = with_rate(1.0)
    parts = [LinearLR(optimizer, 0.1, total_iters=3), CosineAnnealingLR(optimizer, 5)]
    golden = [0.1, 0.4, 0.7, 1, 0.904508, 0.654508, 0.345492, 0.095492, 0, 0.095492]
    np.testing.assert_allclose(rates_of(SequentialLR(optimizer, parts, [3]), 10), golden, rtol=0, atol=5e-7)


def test_chained_golden_values_of_torch():
    optimizer = with_rate(1.0)
    parts = [ConstantLR(optimizer, 0.1, 3), ExponentialLR(optimizer, 0.9)]
    golden = [0.1, 0.09, 0.081, 0.729, 0.6561, 0.59049]
    np.testing.assert_allclose(rates_of(ChainedScheduler(parts), 6), golden, rtol=1e-12)


@pytest.mark.parametrize("finished", [0, 3, 6, 7, 10, 17, 18, 19, 30])
def test_sequential_resumes_by_last_epoch_unlike_torch(finished):
    optimizer = ours(2)
    scheduler = SequentialLR(optimizer, three(optimizer), [7, 18])
    follow(optimizer, scheduler, finished + 2)
    again = ours(2)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed = SequentialLR(again, three(again), [7, 18], last_epoch=finished)
    assert resumed.last_epoch == scheduler.last_epoch == finished + 1
    np.testing.assert_array_equal(follow(again, resumed, 40), follow(optimizer, scheduler, 40))


def test_sequential_resumes_by_its_state():
    optimizer = ours(2)
    scheduler = SequentialLR(optimizer, three(optimizer), [7, 18])
    follow(optimizer, scheduler, 11)
    again = ours(2)
    resumed = SequentialLR(again, three(again), [7, 18])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    resumed.load_state_dict(scheduler.state_dict())
    np.testing.assert_array_equal(follow(again, resumed, 40), follow(optimizer, scheduler, 40))


def test_a_one_cycle_does_not_rescale_the_part_before_it_unlike_torch():
    optimizer = with_rate(1.0)
    parts = [ConstantLR(optimizer, 0.5, 10), OneCycleLR(optimizer, 0.1, 20)]
    rates = rates_of(SequentialLR(optimizer, parts, [3]), 10)
    expected = [0.5, 0.5, 0.5, *OneCycleLR.schedule(0.1, 20).table(7)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_a_sequential_inside_a_sequential_keeps_time_unlike_torch():
    inner = SequentialLR.schedule([ConstantLR.schedule(0.5, 9), ConstantLR.schedule(0.2, 9)], [2])
    for place in (0, 1):
        parts = [inner, ExponentialLR.schedule(0.1)]
        optimizer = with_rate(0.1)
        scheduler = SequentialLR(optimizer, parts if place == 0 else parts[::-1], [3])
        inside = [0.05, 0.05, 0.02]
        outside = [0.1, 0.01, 0.001]
        expected = inside + outside if place == 0 else outside + inside
        np.testing.assert_allclose(rates_of(scheduler, 6), expected, rtol=1e-12)
        np.testing.assert_allclose(scheduler.table(6), expected, rtol=1e-12)


def test_a_sequential_inside_a_sequential_gives_no_false_warning_unlike_torch():
    optimizer = nbopt.SGD([np.zeros(1)], lr=0.1)
    inner = SequentialLR(optimizer, [ConstantLR(optimizer), ExponentialLR(optimizer, 0.5)], [2])
    scheduler = SequentialLR(optimizer, [inner, StepLR(optimizer, 2)], [4])
    for _ in range(6):
        optimizer.step()
        scheduler.step()


def test_a_chain_inside_a_sequential_works_in_any_place_unlike_torch():
    chain = ChainedScheduler.schedule([ConstantLR.schedule(0.5, 2), ExponentialLR.schedule(0.9)])
    inside = [0.5, 0.45, 0.81, 0.729]
    for place in (0, 1):
        parts = [chain, ExponentialLR.schedule(0.1)]
        scheduler = SequentialLR(
            with_rate(1.0), parts if place == 0 else parts[::-1], [4 if place == 0 else 2]
        )
        expected = [*inside, 1.0, 0.1] if place == 0 else [1.0, 0.1, *inside]
        np.testing.assert_allclose(rates_of(scheduler, 6), expected, rtol=1e-12)
        np.testing.assert_allclose(scheduler.table(6), expected, rtol=1e-12)


def test_a_sequential_inside_a_chain():
    optimizer = with_rate(1.0)
    inner = SequentialLR(optimizer, [ConstantLR(optimizer, 0.5, 9), ConstantLR(optimizer, 0.2, 9)], [2])
    scheduler = ChainedScheduler([inner, ExponentialLR(optimizer, 0.9)])
    expected = [0.5, 0.45, 0.18, 0.162]
    np.testing.assert_allclose(rates_of(scheduler, 4), expected, rtol=1e-12)
    np.testing.assert_allclose(scheduler.table(4), expected, rtol=1e-12)


def test_multiplicative_goes_on_from_the_rate_as_it_is():
    parts = [ConstantLR.schedule(0.5, 9), MultiplicativeLR.schedule(lambda step: 0.9)]
    scheduler = SequentialLR(with_rate(1.0), parts, [2])
    np.testing.assert_allclose(rates_of(scheduler, 4), [0.5, 0.5, 0.45, 0.405], rtol=1e-12)
    np.testing.assert_allclose(scheduler.table(4), [0.5, 0.5, 0.45, 0.405], rtol=1e-12)


ONE_EACH = list({case.name: case for case in CASES}.values())


@pytest.mark.parametrize("case", ONE_EACH, ids=lambda case: case.name)
def test_tables_are_what_stepping_gives(case):
    exponential = ExponentialLR.schedule(0.99)
    mine = case.kind.schedule(**case.options)
    schedules = [
        SequentialLR.schedule([exponential, mine], [40]),
        SequentialLR.schedule([mine, exponential, mine], [0, 70]),
        ChainedScheduler.schedule([mine, exponential]),
    ]
    for schedule in schedules:
        optimizer = ours(2)
        scheduler = schedule.bind(optimizer)
        before = reading(optimizer), scheduler.state_dict()
        table = scheduler.table(120)
        assert (reading(optimizer), scheduler.state_dict()) == before
        np.testing.assert_allclose(follow(optimizer, scheduler, 120)[:, 0], table, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(schedule.table(120, lr=[0.05, 0.02]), table)
        assert scheduler.table(20).shape == (20, 2)


def test_a_group_added_later_is_taken_in_by_the_parts():
    optimizer = ours(1)
    scheduler = SequentialLR(optimizer, [ConstantLR(optimizer, 0.5, 9), ExponentialLR(optimizer, 0.5)], [3])
    optimizer.add_param_group({"params": [np.zeros(1)], "lr": 4.0})
    np.testing.assert_allclose(follow(optimizer, scheduler, 5)[3:, 0], [[0.05, 4.0], [0.025, 2.0]])


@pytest.mark.parametrize("steps", [4, 5])
def test_a_part_that_fails_leaves_the_step_where_it_was(steps):
    optimizer = ours(1)
    scheduler = SequentialLR(optimizer, [StepLR(optimizer, 2), OneCycleLR(optimizer, 0.1, 3)], [2])
    follow(optimizer, scheduler, 6)
    for _ in range(2):
        with pytest.raises(ValueError, match="OneCycleLR: step 4 is beyond total_steps=3"):
            scheduler.step()
        assert scheduler.last_epoch == 5


@pytest.mark.parametrize("kind", ["SequentialLR", "ChainedScheduler"])
def test_wrong_parts_are_refused(kind):
    optimizer, other = ours(1), ours(1)

    def make(parts):
        if kind == "SequentialLR":
            return SequentialLR(optimizer, parts, [3] * (len(parts) - 1) if parts else [])
        return ChainedScheduler(parts, optimizer)

    good = StepLR(optimizer, 3)
    with pytest.raises(ValueError, match=rf"{kind}: schedulers\[1\] \(StepLR\) belongs to another optimizer"):
        make([good, StepLR(other, 3)])
    with pytest.raises(ValueError, match=rf"{kind}: schedulers\[1\]: ReduceLROnPlateau needs a metric"):
        make([good, ReduceLROnPlateau(optimizer)])
    with pytest.raises(ValueError, match=rf"{kind}: schedulers\[0\]: ReduceLROnPlateau needs a metric"):
        make([ReduceLROnPlateau.schedule()])
    with pytest.raises(TypeError, match=rf"{kind}: schedulers\[1\] must be a scheduler .*, not SGD"):
        make([good, optimizer])
    for parts in ([], None):
        with pytest.raises(ValueError, match=f"{kind}: schedulers must be a list of at least one"):
            make(parts)


def test_milestones_that_fall_are_refused_unlike_torch():
    optimizer = ours(1)
    parts = [StepLR(optimizer, 3), StepLR(optimizer, 3), StepLR(optimizer, 3)]
    with pytest.raises(ValueError, match=r"SequentialLR: milestones=\[5, 3\] must not fall"):
        SequentialLR(optimizer, parts, [5, 3])
    with pytest.raises(ValueError, match=r"SequentialLR: milestones\[0\]=-1 must be a whole number >= 0"):
        SequentialLR(optimizer, parts, [-1, 3])
    with pytest.raises(ValueError, match="SequentialLR: 3 schedulers need 2 milestones, not 1"):
        SequentialLR(optimizer, parts, [3])


def test_the_users_lists_are_copied():
    optimizer = ours(1)
    parts, milestones = [StepLR(optimizer, 3), ExponentialLR(optimizer, 0.5)], [3]
    scheduler = SequentialLR(optimizer, parts, milestones)
    parts.clear()
    milestones[0] = 1
    assert rates_of(scheduler, 3).tolist() == [0.05, 0.05, 0.05]


def test_schedules_in_a_chain_need_an_optimizer():
    with pytest.raises(TypeError, match="ChainedScheduler: schedules without an optimizer need one"):
        ChainedScheduler([StepLR.schedule(3)])
    with pytest.raises(TypeError, match="ChainedScheduler: optimizer must be an optimizer"):
        ChainedScheduler([3])


def test_a_state_that_does_not_fit_is_refused_down_to_the_parts_and_nothing_changes():
    optimizer = ours(1)
    scheduler = SequentialLR(optimizer, [StepLR(optimizer, 3), ExponentialLR(optimizer, 0.5)], [3])
    before = scheduler.state_dict()
    state = copy.deepcopy(before)
    state["last_epoch"], state["_schedulers"][0]["last_epoch"] = 9, 9
    del state["_schedulers"][1]["gamma"]
    with pytest.raises(ValueError, match=r"ExponentialLR: the state lacks \['gamma'\]"):
        scheduler.load_state_dict(state)
    state["_schedulers"].pop()
    with pytest.raises(ValueError, match="SequentialLR: the state has 1 schedulers, this one 2"):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == before


def test_get_lr_is_left_to_the_parts():
    optimizer = ours(1)
    for scheduler in (
        SequentialLR(optimizer, [StepLR(optimizer, 3)], []),
        ChainedScheduler([StepLR(optimizer, 3)]),
    ):
        assert isinstance(scheduler, LRScheduler)
        assert scheduler.get_last_lr() == [0.05]
        with pytest.raises(NotImplementedError, match="its parts compute the rates"):
            scheduler.get_lr()
