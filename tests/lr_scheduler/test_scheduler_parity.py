"""Every scheduler beside torch's own: alone, several at once, in sequence, resumed, with states exchanged."""

import copy
import itertools
import warnings

import numpy as np
import pytest
from schedule_cases import CASES, LISTS, STEPS, follow, ours, reading, slowly, theirs

import nbopt
from nbopt.lr_scheduler import ChainedScheduler, ReduceLROnPlateau, SequentialLR

torch = pytest.importorskip("torch", reason="torch is not installed: parity was not tested")
peers = torch.optim.lr_scheduler

# One row of each class, for combinations.
ONE_EACH = {case.name: case for case in CASES if case.options}
MULTIPLYING = {name: case for name, case in ONE_EACH.items() if case.multiplies}
PAIRS = list(itertools.permutations(ONE_EACH.values(), 2))
# In torch a OneCycleLR rescales the part before it: test_composed.py has what we do.
IN_SEQUENCE = [
    (first, second)
    for first, second in PAIRS
    if second.name != "OneCycleLR" or first.name in {"CyclicLR", "OneCycleLR"}
]
# Where torch's own resumption goes on where it was: last_epoch counts from the checkpoint's
# scheduler (0), or from the one before (-1); see the notes of LRScheduler.
TORCH_RESUMES = {
    "LambdaLR": (0, -1),
    "MultiplicativeLR": (-1,),
    "StepLR": (0,),
    "MultiStepLR": (0,),
    "ConstantLR": (0,),
    "LinearLR": (-1,),
    "ExponentialLR": (-1,),
    "PolynomialLR": (-1,),
    "CosineAnnealingLR": (-1,),
    "CyclicLR": (0, -1),
    "OneCycleLR": (0, -1),
}


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_alone(case, groups):
    a, b = ours(groups), theirs(groups)
    close(follow(a, case.ours(a)), follow(b, case.theirs(b)))


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_alone_with_one_value_per_group(case):
    a, b = ours(2), theirs(2)
    close(follow(a, case.ours(a)), follow(b, case.theirs(b)))


@pytest.mark.parametrize(
    "case", [c for c in CASES if "base_momentum" in c.options or "max_lr" in c.options], ids=str
)
def test_momentum_as_the_first_beta(case):
    a, b = ours(1, nbopt.Adam), theirs(1, "Adam")
    close(follow(a, case.ours(a)), follow(b, case.theirs(b)))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_torch_optimizers(case):
    a, b = theirs(2), theirs(2)
    close(follow(a, case.ours(a)), follow(b, case.theirs(b)))


@pytest.mark.parametrize("case", MULTIPLYING.values(), ids=str)
def test_a_rate_edited_by_hand_stays_edited(case):
    seen = []
    for optimizer, make in [(ours(1), case.ours), (theirs(1), case.theirs)]:
        scheduler = make(optimizer)
        first = follow(optimizer, scheduler, 20)
        optimizer.param_groups[0]["lr"] *= 0.3
        seen.append(np.concatenate([first, follow(optimizer, scheduler, 100)]))
    close(*seen)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_two_on_one_optimizer(pair):
    a, b = ours(1), theirs(1)
    mine = [case.ours(a) for case in pair]
    peer = [case.theirs(b) for case in pair]
    first = 1 if pair[1].name == "CyclicLR" else 0  # whose first rate is base_lr here: test_cycles.py
    seen = []
    for optimizer, schedulers in ((a, mine), (b, peer)):
        rows = [reading(optimizer)]
        for _ in range(STEPS - 1):
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
            rows.append(reading(optimizer))
        seen.append(np.array(rows))
    close(seen[0][first:], seen[1][first:])


@pytest.mark.parametrize("case", ONE_EACH.values(), ids=str)
def test_chained(case):
    a, b = ours(2), theirs(2)
    three = [case, ONE_EACH["MultiStepLR"], ONE_EACH["StepLR"]]
    mine = ChainedScheduler([c.ours(a) for c in three])
    peer = peers.ChainedScheduler([c.theirs(b) for c in three])
    close(follow(a, mine), follow(b, peer))
    close(mine.get_last_lr(), peer.get_last_lr())


@pytest.mark.parametrize("pair", IN_SEQUENCE, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_sequential(pair):
    a, b = ours(1), theirs(1)
    mine = SequentialLR(a, [case.ours(a) for case in pair], [70])
    peer = peers.SequentialLR(b, [case.theirs(b) for case in pair], [70])
    close(follow(a, mine), follow(b, peer))
    close(mine.get_last_lr(), peer.get_last_lr())


def test_sequential_of_three_and_from_milestone_zero():
    for milestones in ([20, 90], [0, 50], [30, 30]):
        a, b = ours(2), theirs(2)
        three = [ONE_EACH[name] for name in ("ConstantLR", "LinearLR", "ExponentialLR")]
        mine = SequentialLR(a, [c.ours(a) for c in three], milestones)
        peer = peers.SequentialLR(b, [c.theirs(b) for c in three], milestones)
        close(follow(a, mine), follow(b, peer))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode, threshold_mode):
    metrics = 5.0 + np.random.default_rng(3).standard_normal(STEPS).cumsum() * 0.05
    metrics[[40, 90]] = np.nan
    options = {"mode": mode, "threshold_mode": threshold_mode, "factor": 0.7, "patience": 2, "cooldown": 3}
    a, b = ours(2), theirs(2)
    mine = ReduceLROnPlateau(a, min_lr=[0.001, 0.01], threshold=0.01, **options)
    peer = peers.ReduceLROnPlateau(b, min_lr=[0.001, 0.01], threshold=0.01, **options)
    for metric in metrics:
        mine.step(metric)
        peer.step(metric)
        assert reading(a) == reading(b)
        assert mine.state_dict() == peer.state_dict()


@pytest.mark.parametrize("epoch", [0, 3, 31, 90])
@pytest.mark.parametrize("case", [c for c in ONE_EACH.values() if c.name != "SWALR"], ids=str)
def test_step_with_an_epoch(case, epoch):
    """Torch's SWALR counts calls, not epochs: left out; test_swa_utils.py has what we do."""
    a, b = ours(2), theirs(2)
    mine, peer = case.ours(a), case.theirs(b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for scheduler in (mine, peer):
            for to in (None, None, epoch, None):
                scheduler.step(to)
    close(reading(a), reading(b))
    assert mine.last_epoch == peer.last_epoch


@pytest.mark.parametrize("epoch", [0.5, 2.999, 3, 9.25, 21, 45.5, 46.75])
@pytest.mark.parametrize("mult", [1, 2, 3])
def test_warm_restarts_at_fractions_of_epochs(mult, epoch):
    a, b = ours(1), theirs(1)
    mine = nbopt.lr_scheduler.CosineAnnealingWarmRestarts(a, 3, mult, 0.001)
    peer = peers.CosineAnnealingWarmRestarts(b, 3, mult, 0.001)
    for scheduler, optimizer in ((mine, a), (peer, b)):
        optimizer.step()
        scheduler.step()
        scheduler.step(epoch)
    close(reading(a), reading(b))
    for _ in range(60):
        mine.step(), peer.step()
        close(reading(a), reading(b))
        assert (mine.last_epoch, mine.T_cur, mine.T_i) == (peer.last_epoch, peer.T_cur, peer.T_i)


@pytest.mark.parametrize("case", [c for c in CASES if c.name in TORCH_RESUMES], ids=str)
def test_resumed_by_last_epoch(case):
    for offset in TORCH_RESUMES[case.name]:
        seen = []
        for new, make in [(ours, case.ours), (theirs, case.theirs)]:
            optimizer = new(2)
            scheduler = make(optimizer)
            follow(optimizer, scheduler, 33)
            again = new(2)
            again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            seen.append(follow(again, make(again, last_epoch=scheduler.last_epoch + offset), 100))
        close(*seen)


def test_two_resumed_by_last_epoch():
    pair = [c for c in CASES if c.name in {"ExponentialLR", "CosineAnnealingLR"}][:2]
    seen = []
    for new, make in [(ours, "ours"), (theirs, "theirs")]:
        optimizer = new(1)
        both = [getattr(case, make)(optimizer) for case in pair]
        for _ in range(21):
            optimizer.step()
            for scheduler in both:
                scheduler.step()
        again = new(1)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        both = [getattr(case, make)(again, last_epoch=20) for case in pair]
        rows = [reading(again)]
        for _ in range(60):
            again.step()
            for scheduler in both:
                scheduler.step()
            rows.append(reading(again))
        seen.append(rows)
    close(*seen)


@pytest.mark.parametrize("case", CASES + LISTS, ids=str)
def test_states_have_torchs_keys_and_travel_both_ways(case):
    a, b = ours(2), theirs(2)
    mine, peer = case.ours(a), case.theirs(b)
    follow(a, mine, 40), follow(b, peer, 40)
    mine_state, peer_state = mine.state_dict(), copy.deepcopy(peer.state_dict())
    assert mine_state.keys() == peer_state.keys()
    new_a, new_b = ours(2), theirs(2)
    swapped, back = case.ours(new_a), case.theirs(new_b)
    new_a.param_groups[:] = [{**g, "params": []} for g in b.param_groups]
    new_b.param_groups[:] = [{**g, "params": []} for g in a.param_groups]
    swapped.load_state_dict(peer_state)
    back.load_state_dict(mine_state)
    expected = follow(a, mine, 100)
    close(follow(b, peer, 100), expected)
    for optimizer, scheduler in ((new_a, swapped), (new_b, back)):
        rows = [reading(optimizer)]
        for _ in range(99):
            scheduler.step()
            rows.append(reading(optimizer))
        close(rows, expected)


def test_states_of_composed_schedulers_travel_both_ways():
    parts = [ONE_EACH["LinearLR"], ONE_EACH["ExponentialLR"]]
    a, b = ours(1), theirs(1)
    mine = SequentialLR(a, [c.ours(a) for c in parts], [30])
    peer = peers.SequentialLR(b, [c.theirs(b) for c in parts], [30])
    follow(a, mine, 40), follow(b, peer, 40)
    assert mine.state_dict().keys() == peer.state_dict().keys()
    again = ours(1)
    other = SequentialLR(again, [c.ours(again) for c in parts], [30])
    other.load_state_dict(peer.state_dict())
    again.param_groups[0]["lr"] = b.param_groups[0]["lr"]
    close(follow(again, other, 50), follow(b, peer, 50))


def test_a_group_added_later_is_taken_in_where_torch_takes_it_in():
    for name in ("StepLR", "ExponentialLR", "MultiStepLR", "LinearLR"):
        case = ONE_EACH[name]
        seen = []
        for new, make in [(ours, case.ours), (theirs, case.theirs)]:
            optimizer = new(1)
            scheduler = make(optimizer)
            follow(optimizer, scheduler, 10)
            extra = np.zeros(1) if new is ours else torch.zeros(1)
            optimizer.add_param_group({"params": [extra], "lr": 0.3})
            seen.append(follow(optimizer, scheduler, 60))
        close(*seen)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_rate_in_a_tensor_is_written_in_place(shape):
    held = torch.full(shape, 0.5, dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=held)
    scheduler = nbopt.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is held
    assert held.item() == 0.25
    assert scheduler.get_last_lr() == [0.25]
    assert scheduler.base_lrs == [0.5]


def test_the_order_warning_on_torch_optimizers():
    optimizer = theirs(1)
    scheduler = nbopt.lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    optimizer = theirs(1)
    scheduler = nbopt.lr_scheduler.StepLR(optimizer, 3)
    optimizer.step()
    scheduler.step()


def test_a_scheduler_of_torchs_is_refused_as_a_part():
    optimizer = theirs(1)
    with pytest.raises(TypeError, match=r"SequentialLR: schedulers\[0\] must be a scheduler"):
        SequentialLR(optimizer, [peers.LambdaLR(optimizer, slowly)], [])
