"""What schedulers see of an optimizer."""

import numpy as np
import pytest
from schedule_cases import ours

import nbopt
from nbopt.lr_scheduler import groups


def test_rates_are_read_as_floats():
    optimizer = ours(2)
    optimizer.param_groups[1]["lr"] = np.array([0.25], np.float32)
    assert groups.rates(optimizer) == [0.05, 0.25]
    assert groups.check_optimizer("A", optimizer) is optimizer


def test_one_value_or_a_list_of_them():
    optimizer = ours(2)
    assert groups.per_group("A", "x", 3, optimizer) == [3, 3]
    for values in ([1, 2], (1, 2), np.array([1, 2])):
        assert groups.per_group("A", "x", values, optimizer) == [1, 2]
    with pytest.raises(ValueError, match="A: x has 3 values, but there are 2 param groups"):
        groups.per_group("A", "x", [1, 2, 3], optimizer)


def test_steps_are_counted_where_the_optimizer_does_not():
    fresh = nbopt.SGD([np.zeros(1)], lr=0.1)
    assert groups.never_stepped(fresh)
    fresh.step()
    assert not groups.never_stepped(fresh)

    class Hooked:
        def __init__(self):
            self.hooks = []

        def register_step_post_hook(self, hook):
            self.hooks.append(hook)

    other = Hooked()
    assert not groups.never_stepped(other)  # nothing is known
    groups.count_steps(other)
    groups.count_steps(other)
    assert groups.never_stepped(other)
    assert len(other.hooks) == 1
    other.hooks[0](other, (), {})
    assert not groups.never_stepped(other)
