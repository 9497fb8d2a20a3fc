"""The burst of a bounded solve whose derivatives are finite differences, taken within the bounds."""

from __future__ import annotations

from nbopt.autodiff.bounded_differences import three_point_within, two_point_within
from nbopt.kernels.compile import compiled
from nbopt.kernels.native import call_advance, call_value
from nbopt.kernels.views import vector
from nbopt.solvers.bursts import EVALUATE


@compiled
def burst_within(
    advance, task, limit, work, counts, entry, words,
    central, scratch, steps, rule, automatic, lower, upper,
):  # fmt: skip
    """Do as `bursts.burst_differences` does, without a look beyond the bounds."""
    data, f, n = words.ctypes.data, 0.0, counts[0]
    x, g = vector(work, 0, n), vector(work, n, n)
    for _ in range(limit):
        if task == EVALUATE:
            for k in range(x.size):  # the function may write to what it gets
                scratch[k] = x[k]
            f = call_value(entry, scratch, data)
            if central:
                three_point_within(entry, data, x, f, g, scratch, steps, rule, automatic, lower, upper)
            else:
                two_point_within(entry, data, x, f, g, scratch, steps, rule, automatic, lower, upper)
        task = call_advance(advance, f, work, counts)
        if task != EVALUATE:
            break
    return task
