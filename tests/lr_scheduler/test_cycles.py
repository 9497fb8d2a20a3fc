"""CyclicLR and OneCycleLR."""

import numpy as np
import pytest
from schedule_cases import Falling, follow, ours, reading

import nbopt
from nbopt.lr_scheduler import CyclicLR, OneCycleLR, StepLR


def test_cyclic_by_hand():
    optimizer = ours(1)
    scheduler = CyclicLR(optimizer, 1.0, 3.0, 2, 4, base_momentum=0.5, max_momentum=0.9)
    rates, momenta = follow(optimizer, scheduler, 8)[:, :, 0].T
    np.testing.assert_allclose(rates, [1, 2, 3, 2.5, 2, 1.5, 1, 2])
    np.testing.assert_allclose(momenta, [0.9, 0.7, 0.5, 0.6, 0.7, 0.8, 0.9, 0.7])


def test_cyclic_falls_at_once_if_step_size_down_is_zero():
    table = CyclicLR.schedule(0.0, 1.0, step_size_up=4, step_size_down=0).table(9)
    np.testing.assert_allclose(table, [0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 0])


def test_cyclic_starts_at_base_lr_whatever_ran_before_unlike_torch():
    optimizer = ours(1)
    StepLR(optimizer, 3)
    assert optimizer.param_groups[0]["initial_lr"] == 0.05
    scheduler = CyclicLR(optimizer, 0.01, 0.1, 5)
    assert reading(optimizer)[0] == [0.01]
    assert scheduler.base_lrs == [0.01]


@pytest.mark.parametrize(
    "make",
    [lambda o: CyclicLR(o, 0.01, 0.1, 5), lambda o: OneCycleLR(o, 0.1, 20)],
    ids=["Cyclic", "OneCycle"],
)
def test_get_lr_leaves_the_momentum_alone_unlike_torch(make):
    optimizer = ours(1)
    scheduler = make(optimizer)
    scheduler.last_epoch = 4
    before = reading(optimizer)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    assert reading(optimizer) == before


def test_the_first_beta_cycles_and_the_others_stay():
    optimizer = nbopt.Adam([np.zeros(1)], lr=0.1, betas=(0.3, 0.77))
    optimizer.step()
    scheduler = OneCycleLR(optimizer, 0.1, 20)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.77)
    follow(optimizer, scheduler, 6)
    assert optimizer.param_groups[0]["betas"] == (pytest.approx(0.85), 0.77)


@pytest.mark.parametrize("kind", [CyclicLR, OneCycleLR])
def test_an_optimizer_without_momentum_is_refused(kind):
    optimizer = nbopt.Rprop([np.zeros(1)])
    options = {"base_lr": 0.1, "max_lr": 1.0} if kind is CyclicLR else {"max_lr": 1.0, "total_steps": 9}
    with pytest.raises(ValueError, match=f"{kind.__name__}: cycle_momentum=True needs .* Rprop has neither"):
        kind(optimizer, **options)
    kind(optimizer, cycle_momentum=False, **options)
    assert "momentum" not in optimizer.param_groups[0]


def test_what_scale_fn_holds_travels_in_the_state():
    state = CyclicLR(ours(1), 0.1, 1.0, scale_fn=Falling(0.5), mode="mine").state_dict()
    assert state["_scale_fn_custom"] == {"rate": 0.5}
    other = Falling(0.9)
    CyclicLR(ours(1), 0.1, 1.0, scale_fn=other).load_state_dict(state)
    assert other.rate == 0.5


def test_one_cycle_golden_values_of_torch():
    optimizer = ours(1)
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=20, anneal_strategy="linear")
    assert follow(optimizer, scheduler, 20)[-1, 0, 0] == pytest.approx(4e-7, rel=1e-12)


@pytest.mark.parametrize("strategy", ["linear", "cos"])
def test_one_cycle_stays_at_the_end_at_the_call_too_many_unlike_torch(strategy):
    optimizer = ours(1)
    scheduler = OneCycleLR(optimizer, 0.1, 20, anneal_strategy=strategy)
    rates = follow(optimizer, scheduler, 21)[:, 0, 0]
    assert rates[20] == rates[19] == pytest.approx(4e-7)
    before = scheduler.state_dict(), reading(optimizer)
    for _ in range(2):
        with pytest.raises(ValueError, match="OneCycleLR: step 21 is beyond total_steps=20"):
            scheduler.step()
    state = scheduler.state_dict()
    assert (state["last_epoch"], state["_last_lr"], reading(optimizer)) == (
        20,
        before[0]["_last_lr"],
        before[1],
    )
    with pytest.raises(ValueError, match="OneCycleLR: step 22 is beyond total_steps=20"):
        scheduler.table(23)


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("share", [0, 0.0, 0.05, 0.1, 1, 1.0])
def test_one_cycle_with_a_rise_of_no_length_is_finite_unlike_torch(share, three_phase):
    """Torch divides by zero where pct_start * total_steps is 1, and takes no integer."""
    table = OneCycleLR.schedule(1.0, 20, pct_start=share, three_phase=three_phase).table(21)
    assert np.all((table >= 4e-6 * (1 - 1e-9)) & (table <= 1.0 + 1e-12))
    assert table[-1] == table[-2]


def test_one_cycle_of_one_step():
    assert OneCycleLR.schedule(1.0, 1).table(2) == pytest.approx([4e-6, 4e-6])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "total_steps=None, epochs=None, steps_per_epoch=None: give total_steps, or"),
        ({"epochs": 3}, "total_steps=None, epochs=3, steps_per_epoch=None: give total_steps, or"),
        ({"total_steps": 0}, "total_steps=0 must be a whole number >= 1"),
        ({"total_steps": 1.5}, "total_steps=1.5 must be a whole number >= 1"),
        ({"epochs": -1, "steps_per_epoch": 3}, "epochs=-1 must be a whole number >= 1"),
        ({"total_steps": 9, "pct_start": 1.1}, r"pct_start=1.1 must lie in \[0, 1\]"),
        (
            {"total_steps": 9, "anneal_strategy": "exp"},
            r"anneal_strategy='exp' must be one of \('cos', 'linear'\)",
        ),
        ({"total_steps": 9, "div_factor": 0}, r"div_factor=0 must lie in \(0, inf\)"),
        ({"total_steps": 9, "max_momentum": 1.0}, r"max_momentum=1.0 must lie in \[0, 1\)"),
        (
            {"total_steps": 9, "max_momentum": [0.9]},
            "max_momentum has 1 values, but there are 2 param groups",
        ),
    ],
)
def test_one_cycle_refuses_bad_options_before_anything_changes(options, message):
    optimizer = ours(2)
    before = [dict(g) for g in optimizer.param_groups]
    with pytest.raises(ValueError, match=f"OneCycleLR: {message}"):
        OneCycleLR(optimizer, 0.1, **options)
    assert optimizer.param_groups == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size_up": 0}, r"step_size_up=0 must lie in \(0, inf\)"),
        ({"step_size_down": -1}, r"step_size_down=-1 must lie in \[0, inf\)"),
        ({"mode": "square"}, "mode='square' must be one of"),
        ({"scale_mode": "epoch"}, "scale_mode='epoch' must be one of"),
        ({"gamma": -1}, r"gamma=-1 must lie in \[0, inf\)"),
        ({"base_momentum": -0.1}, r"base_momentum=-0.1 must lie in \[0, 1\)"),
    ],
)
def test_cyclic_refuses_bad_options_before_anything_changes(options, message):
    optimizer = ours(2)
    before = [dict(g) for g in optimizer.param_groups]
    with pytest.raises(ValueError, match=f"CyclicLR: {message}"):
        CyclicLR(optimizer, 0.01, 0.1, **options)
    with pytest.raises(ValueError, match=r"CyclicLR: max_lr=-1 must lie in \[0, inf\)"):
        CyclicLR(optimizer, 0.01, -1)
    with pytest.raises(ValueError, match="CyclicLR: base_lr has 3 values, but there are 2 param groups"):
        CyclicLR(optimizer, [0.01] * 3, 1.0)
    assert optimizer.param_groups == before
