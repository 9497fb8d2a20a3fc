"""What is Adagrad's own: its state is there from the start, and starts from its group's value."""

import numpy as np

import nbopt


def test_the_state_exists_before_the_first_step():
    p = np.ones(3)
    opt = nbopt.Adagrad([p], initial_accumulator_value=0.5)
    state = opt.state_dict()["state"][0]
    assert state["step"] == 0 and state["sum"].tolist() == [0.5] * 3


def test_each_group_has_its_own_first_value_unlike_torch():
    p, q = np.ones(2), np.ones(2)
    opt = nbopt.Adagrad([{"params": [p], "initial_accumulator_value": 3.0}, {"params": [q]}], lr=1.0, eps=0)
    opt.step(grads=[np.ones(2), np.ones(2)])
    np.testing.assert_array_equal(p, 0.5)  # 1 - 1 / sqrt(3 + 1)
    np.testing.assert_array_equal(q, 0.0)


def test_a_complex_parameters_sums_start_in_both_parts():
    opt = nbopt.Adagrad([np.ones(2, np.complex128)], initial_accumulator_value=0.5)
    assert opt.state_dict()["state"][0]["sum"].tolist() == [0.5 + 0.5j] * 2
