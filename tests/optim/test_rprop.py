"""What is Rprop's own: the order of its step sizes, and of its factors."""

import numpy as np
import pytest

import nbopt


@pytest.mark.parametrize("bad", [(5.0, 1.0), (-1e-6, 50.0), (0.1, float("nan"))], ids=str)
def test_step_sizes_out_of_order_are_refused_everywhere_unlike_torch(bad):
    said = r"Rprop: step_sizes=.* must satisfy 0 <= smallest <= largest"
    with pytest.raises(ValueError, match=said):
        nbopt.Rprop([np.ones(2)], step_sizes=bad)
    with pytest.raises(ValueError, match=said):
        nbopt.Rprop([{"params": [np.ones(2)], "step_sizes": bad}])
    p = np.ones(2)
    opt = nbopt.Rprop([p])
    opt.param_groups[0]["step_sizes"] = bad
    with pytest.raises(ValueError, match=said):
        opt.step(grads=[np.ones(2)])
    assert p.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("bad", [(1.0, 1.2), (0.5, 1.0), (0.0, 1.2)], ids=str)
def test_factors_that_do_not_shrink_and_grow_are_refused(bad):
    with pytest.raises(ValueError, match=r"Rprop: etas="):
        nbopt.Rprop([np.ones(2)], etas=bad)
